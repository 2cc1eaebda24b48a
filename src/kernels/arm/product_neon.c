/* SPDX-License-Identifier: Apache-2.0
 *
 * Products with what every AArch64 processor has, half a panel at a time. UMULL makes 16 bits of
 * two bytes, UADALP adds two of these to one of 32: with u8 by u8 no sum is too wide. The right
 * operand is taken as s8 + 128 for that, and 128 * the row's sum is taken off. An accumulator holds
 * the sums of k 0 and 1 and of k 2 and 3 for two columns, so 6 rows by 8 columns are 24 of the 32
 * registers.
 */
#include "kernels/arm/engine_neon.h"

void iviti_offset_corrections_neon(const uint8_t *x, size_t x_stride, size_t rows, size_t groups,
                                   int32_t *correction)
{
    for (size_t r = 0; r < rows; r++) {
        const uint8_t *row = x + r * x_stride;
        uint32x4_t sums = vdupq_n_u32(0);
        size_t g = 0;
        for (; g + 4 <= groups; g += 4)
            sums = vpadalq_u16(sums, vpaddlq_u8(vld1q_u8(row + g * IVITI_GROUP)));
        for (; g < groups; g++)
            sums = vaddw_u16(sums, vpaddl_u8(load_group(row + g * IVITI_GROUP)));
        correction[r] = -128 * (int32_t)vaddvq_u32(sums);
    }
}

/* Four k of a row in each group of four lanes. */
INLINE uint8x16_t repeat_group(const uint8_t *x)
{
    return vreinterpretq_u8_u32(vdupq_lane_u32(vreinterpret_u32_u8(load_group(x)), 0));
}

INLINE void product_half(const size_t rows, const uint8_t *x, size_t x_stride, const int8_t *half,
                         size_t groups, const int32_t *correction, int32_t *out)
{
    const uint8x16_t offset = vdupq_n_u8(128);
    uint32x4_t sum[TILE_ROWS][4];

    EACH_ROW for (size_t i = 0; i < 4; i++) sum[r][i] = vdupq_n_u32(0);
    for (size_t g = 0; g < groups; g++) {
        uint8x16_t right[2];
        for (size_t i = 0; i < 2; i++)
            right[i] = veorq_u8(vreinterpretq_u8_s8(vld1q_s8(half + g * 64 + i * 16)), offset);
        EACH_ROW
        {
            const uint8x16_t left = repeat_group(x + r * x_stride + g * IVITI_GROUP);
            for (size_t i = 0; i < 2; i++) {
                const uint16x8_t low = vmull_u8(vget_low_u8(right[i]), vget_low_u8(left));
                const uint16x8_t high = vmull_high_u8(right[i], left);
                sum[r][2 * i] = vpadalq_u16(sum[r][2 * i], low);
                sum[r][2 * i + 1] = vpadalq_u16(sum[r][2 * i + 1], high);
            }
            KEEP_IN_ORDER(sum[r][0], sum[r][1]);
            KEEP_IN_ORDER(sum[r][2], sum[r][3]);
        }
    }
    EACH_ROW for (size_t i = 0; i < 2; i++)
    {
        const uint32x4_t columns = vpaddq_u32(sum[r][2 * i], sum[r][2 * i + 1]);
        vst1q_s32(out + r * TILE_COLUMNS + i * 4,
                  vaddq_s32(vreinterpretq_s32_u32(columns), vdupq_n_s32(correction[r])));
    }
}

INLINE void product_panels(const size_t rows, size_t count, const uint8_t *x, size_t x_stride,
                           const int8_t *panels, size_t panel_bytes, size_t groups, int32_t *acc)
{
    int32_t correction[TILE_ROWS];

    iviti_offset_corrections_neon(x, x_stride, rows, groups, correction);
    for (size_t h = 0; h < 2 * count; h++)
        product_half(rows, x, x_stride, panels + h / 2 * panel_bytes + h % 2 * 32, groups,
                     correction, acc + h * 8);
}

IVITI_NEON_KERNELS(neon)

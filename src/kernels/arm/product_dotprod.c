/* SPDX-License-Identifier: Apache-2.0
 *
 * Products with UDOT, a panel at a time: 6 rows by 16 columns are 24 accumulators of the 32
 * registers, 4 more hold the panel's four k, one a row's. Both operands of the instruction have the
 * same signedness, so the right one is taken as s8 + 128, and 128 * the row's sum is taken off.
 */
#include "kernels/arm/engine_neon.h"

INLINE void product_panel(const size_t rows, const uint8_t *x, size_t x_stride, const int8_t *panel,
                          size_t groups, const int32_t *correction, int32_t *out)
{
    const uint8x16_t offset = vdupq_n_u8(128);
    uint32x4_t sum[TILE_ROWS][4];

    EACH_ROW for (size_t i = 0; i < 4; i++) sum[r][i] = vdupq_n_u32((uint32_t)correction[r]);
    for (size_t g = 0; g < groups; g++) {
        uint8x16_t right[4];
        for (size_t i = 0; i < 4; i++)
            right[i] = veorq_u8(vreinterpretq_u8_s8(vld1q_s8(panel + g * 64 + i * 16)), offset);
        EACH_ROW
        {
            const uint8x8_t left = load_group(x + r * x_stride + g * IVITI_GROUP);
            for (size_t i = 0; i < 4; i++)
                sum[r][i] = vdotq_lane_u32(sum[r][i], right[i], left, 0);
            KEEP_IN_ORDER(sum[r][0], sum[r][1]);
            KEEP_IN_ORDER(sum[r][2], sum[r][3]);
        }
    }
    EACH_ROW for (size_t i = 0; i < 4; i++)
        vst1q_s32(out + r * TILE_COLUMNS + i * 4, vreinterpretq_s32_u32(sum[r][i]));
}

INLINE void product_panels(const size_t rows, size_t count, const uint8_t *x, size_t x_stride,
                           const int8_t *panels, size_t panel_bytes, size_t groups, int32_t *acc)
{
    int32_t correction[TILE_ROWS];

    iviti_offset_corrections_neon(x, x_stride, rows, groups, correction);
    for (size_t p = 0; p < count; p++)
        product_panel(rows, x, x_stride, panels + p * panel_bytes, groups, correction,
                      acc + p * IVITI_PANEL);
}

IVITI_NEON_KERNELS(dotprod)

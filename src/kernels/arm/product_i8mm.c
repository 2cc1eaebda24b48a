/* SPDX-License-Identifier: Apache-2.0
 *
 * Products with USMMLA, which multiplies 2 rows of 8 u8 by 2 columns of 8 s8. Two groups of a
 * panel, interleaved, are eight k of each column; 3 pairs of rows by 16 columns are 24 accumulators
 * of the 32 registers. Where rows are odd in number, the last one is its own partner.
 */
#include "kernels/arm/engine_neon.h"

#define PAIRS   (TILE_ROWS / 2)
#define VECTORS (IVITI_PANEL / 2) /* of two columns */

/* For each pair of rows; see EACH_ROW. */
#define EACH_PAIR _Pragma("GCC unroll 3") for (size_t p = 0; p < PAIRS; p++) if (2 * p < rows)

/* Row 2p + 1, or row 2p where that is the last. */
INLINE size_t partner(size_t rows, size_t p)
{
    return 2 * p + 1 < rows ? 2 * p + 1 : 2 * p;
}

/* Eight k of two rows times eight k of 16 columns: two groups of a panel, or one and zeros. */
INLINE void multiply(const size_t rows, const uint8x16_t left[PAIRS], const int8_t *group,
                     const bool two, int32x4_t sum[PAIRS][VECTORS])
{
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++) {
        const int32x4_t first = vreinterpretq_s32_s8(vld1q_s8(group + i * 16));
        const int32x4_t last =
            two ? vreinterpretq_s32_s8(vld1q_s8(group + 64 + i * 16)) : vdupq_n_s32(0);
        const int8x16_t low = vreinterpretq_s8_s32(vzip1q_s32(first, last));
        const int8x16_t high = vreinterpretq_s8_s32(vzip2q_s32(first, last));
        EACH_PAIR
        {
            sum[p][2 * i] = vusmmlaq_s32(sum[p][2 * i], left[p], low);
            sum[p][2 * i + 1] = vusmmlaq_s32(sum[p][2 * i + 1], left[p], high);
            KEEP_IN_ORDER(sum[p][2 * i], sum[p][2 * i + 1]);
        }
    }
}

INLINE void product_panel(const size_t rows, const uint8_t *x, size_t x_stride, const int8_t *panel,
                          size_t groups, int32_t *out)
{
    int32x4_t sum[PAIRS][VECTORS];
    uint8x16_t left[PAIRS];
    size_t g = 0;

    EACH_PAIR for (size_t i = 0; i < VECTORS; i++) sum[p][i] = vdupq_n_s32(0);
    for (; g + 2 <= groups; g += 2) {
        const uint8_t *at = x + g * IVITI_GROUP;
        EACH_PAIR left[p] =
            vcombine_u8(vld1_u8(at + 2 * p * x_stride), vld1_u8(at + partner(rows, p) * x_stride));
        multiply(rows, left, panel + g * 64, true, sum);
    }
    if (g < groups) {
        const uint8_t *at = x + g * IVITI_GROUP;
        EACH_PAIR left[p] = vcombine_u8(load_group(at + 2 * p * x_stride),
                                        load_group(at + partner(rows, p) * x_stride));
        multiply(rows, left, panel + g * 64, false, sum);
    }
    EACH_PAIR for (size_t i = 0; i < VECTORS; i += 2)
    {
        const int64x2_t a = vreinterpretq_s64_s32(sum[p][i]);
        const int64x2_t b = vreinterpretq_s64_s32(sum[p][i + 1]);
        int32_t *at = out + 2 * p * TILE_COLUMNS + i * 2;
        vst1q_s32(at, vreinterpretq_s32_s64(vzip1q_s64(a, b)));
        if (2 * p + 1 < rows)
            vst1q_s32(at + TILE_COLUMNS, vreinterpretq_s32_s64(vzip2q_s64(a, b)));
    }
}

INLINE void product_panels(const size_t rows, size_t count, const uint8_t *x, size_t x_stride,
                           const int8_t *panels, size_t panel_bytes, size_t groups, int32_t *acc)
{
    for (size_t p = 0; p < count; p++)
        product_panel(rows, x, x_stride, panels + p * panel_bytes, groups, acc + p * IVITI_PANEL);
}

IVITI_NEON_KERNELS(i8mm)

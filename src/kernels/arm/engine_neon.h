/* SPDX-License-Identifier: Apache-2.0
 *
 * What the engines of AArch64 share: all but the products, and the making of an engine from a
 * product of one panel.
 */
#ifndef IVITI_ENGINE_NEON_H
#define IVITI_ENGINE_NEON_H

#include "kernels/arm/lanes_neon.h"
#include "kernels/prototypes.h"

void iviti_finish_neon(const iviti_finish *f);
iviti_join_row iviti_join_row_neon;
iviti_spread_tokens iviti_spread_keys_neon, iviti_spread_values_neon;
iviti_softmax iviti_softmax_table_neon, iviti_softmax_shift_neon;
iviti_finish_output iviti_finish_output_neon;

/* For each row of a tile. `rows` is a constant where this is inlined, so the rows' accumulators are
 * registers. */
#define EACH_ROW _Pragma("GCC unroll 6") for (size_t r = 0; r < TILE_ROWS; r++) if (r < rows)

/* The plans of the products need nearly all 32 registers: a compiler that loads all rows before it
 * multiplies them, as some do, keeps accumulators in memory. */
#define KEEP_IN_ORDER(a, b) __asm__ volatile("" : "+w"(a), "+w"(b))

/* -128 * the sum of 4 * groups bytes for each row: what is to be added to a product of u8 by
 * s8 + 128. */
void iviti_offset_corrections_neon(const uint8_t *x, size_t x_stride, size_t rows, size_t groups,
                                   int32_t *correction);

/* Four k of a row. */
INLINE uint8x8_t load_group(const uint8_t *x)
{
    uint32_t group;
    memcpy(&group, x, sizeof group);
    return vreinterpret_u8_u32(vset_lane_u32(group, vdup_n_u32(0), 0));
}

#define PRODUCT(rows, count)                                                                       \
    static void product_##rows##x##count(const uint8_t *x, size_t x_stride, const int8_t *panels,  \
                                         size_t panel_bytes, size_t groups, int32_t *acc,          \
                                         const iviti_finish *other)                                \
    {                                                                                              \
        (void)other;                                                                               \
        product_panels(rows, count, x, x_stride, panels, panel_bytes, groups, acc);                \
    }
#define PRODUCTS(rows) PRODUCT(rows, 1) PRODUCT(rows, 2) PRODUCT(rows, 3) PRODUCT(rows, 4)
#define PRODUCT_ROW(rows)                                                                          \
    {                                                                                              \
        product_##rows##x1, product_##rows##x2, product_##rows##x3, product_##rows##x4             \
    }

/* Defines the kernels of an engine from
 * product_panels(rows, count, x, x_stride, panels, panel_bytes, groups, acc). */
#define IVITI_NEON_KERNELS(set)                                                                    \
    PRODUCTS(1)                                                                                    \
    PRODUCTS(2)                                                                                    \
    PRODUCTS(3)                                                                                    \
    PRODUCTS(4)                                                                                    \
    PRODUCTS(5)                                                                                    \
    PRODUCTS(6)                                                                                    \
    static const iviti_engine engine = {                                                           \
        .products = { PRODUCT_ROW(1), PRODUCT_ROW(2), PRODUCT_ROW(3), PRODUCT_ROW(4),              \
                      PRODUCT_ROW(5), PRODUCT_ROW(6) },                                            \
        .overlaps = false,                                                                         \
        .finish = iviti_finish_neon,                                                               \
        .join_row = iviti_join_row_neon,                                                           \
        .spread_keys = iviti_spread_keys_neon,                                                     \
        .spread_values = iviti_spread_values_neon,                                                 \
        .softmax_table = iviti_softmax_table_neon,                                                 \
        .softmax_shift = iviti_softmax_shift_neon,                                                 \
        .finish_output = iviti_finish_output_neon,                                                 \
    };                                                                                             \
    IVITI_ENGINE_KERNELS(&engine, set)

#endif

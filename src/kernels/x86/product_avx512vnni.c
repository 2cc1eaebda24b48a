/* SPDX-License-Identifier: Apache-2.0
 *
 * The inner loop: every step multiplies four k of 6 rows with four k of 64 columns. Register plan:
 * 24 accumulators, 4 vectors of the right operand, 1 or 2 broadcasts of the left one. A step is 24
 * vpdpbusd on two ports (12 cycles) beside 10 loads, so the loads never limit it, and the panels may
 * come from the second-level cache.
 */
#include "kernels/x86/product_avx512vnni.h"

#include <immintrin.h>
#include <string.h>

static inline __attribute__((always_inline)) __m512i broadcast_group(const uint8_t *x)
{
    int32_t group;
    memcpy(&group, x, sizeof group);
    return _mm512_set1_epi32(group);
}

/* `rows` and `count` are constants where this is inlined, so that acc is a set of registers. */
static inline __attribute__((always_inline)) void
product(const size_t rows, const size_t count, const uint8_t *x, size_t x_stride,
        const int8_t *panels, size_t panel_bytes, size_t groups, const int32_t *start, int32_t *out)
{
    __m512i acc[TILE_ROWS][TILE_PANELS];

#pragma GCC unroll 6
    for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (size_t p = 0; p < count; p++)
            acc[r][p] = _mm512_loadu_si512(start + p * IVITI_PANEL);

    for (size_t g = 0; g < groups; g++) {
        __m512i right[TILE_PANELS];
#pragma GCC unroll 4
        for (size_t p = 0; p < count; p++)
            right[p] = _mm512_load_si512(panels + p * panel_bytes + g * 64);
#pragma GCC unroll 6
        for (size_t r = 0; r < rows; r++) {
            const __m512i left = broadcast_group(x + r * x_stride + g * IVITI_GROUP);
#pragma GCC unroll 4
            for (size_t p = 0; p < count; p++)
                acc[r][p] = _mm512_dpbusd_epi32(acc[r][p], left, right[p]);
        }
    }

#pragma GCC unroll 6
    for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (size_t p = 0; p < count; p++)
            _mm512_store_si512(out + r * TILE_COLUMNS + p * IVITI_PANEL, acc[r][p]);
}

#define PRODUCT(rows, count)                                                                       \
    static void product_##rows##x##count(const uint8_t *x, size_t x_stride, const int8_t *panels,  \
                                         size_t panel_bytes, size_t groups, const int32_t *start,  \
                                         int32_t *acc)                                             \
    {                                                                                              \
        product(rows, count, x, x_stride, panels, panel_bytes, groups, start, acc);                \
    }
#define PRODUCTS(rows) PRODUCT(rows, 1) PRODUCT(rows, 2) PRODUCT(rows, 3) PRODUCT(rows, 4)
PRODUCTS(1)
PRODUCTS(2)
PRODUCTS(3)
PRODUCTS(4)
PRODUCTS(5)
PRODUCTS(6)

#define ROW(rows) { product_##rows##x1, product_##rows##x2, product_##rows##x3, product_##rows##x4 }
const iviti_product_avx512vnni iviti_products_avx512vnni[TILE_ROWS][TILE_PANELS] = {
    ROW(1), ROW(2), ROW(3), ROW(4), ROW(5), ROW(6),
};

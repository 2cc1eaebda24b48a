/* SPDX-License-Identifier: Apache-2.0
 *
 * Products with AVX-VNNI, a panel at a time: 6 rows by 16 columns are 12 accumulators of the 16
 * registers, two more hold the panel's four k and one a row's.
 */
#include "kernels/prototypes.h"
#include "kernels/x86/engine_avx2.h"
#include "kernels/x86/requantize_avx2.h"

/* `rows` is a constant where the loops below are inlined; see product_avx512vnni.c. */
#define EACH_ROW _Pragma("GCC unroll 6") for (size_t r = 0; r < TILE_ROWS; r++) if (r < rows)

INLINE __m256i broadcast_group(const uint8_t *x)
{
    int32_t group;
    memcpy(&group, x, sizeof group);
    return _mm256_set1_epi32(group);
}

INLINE void product_panel(const size_t rows, const uint8_t *x, size_t x_stride, const int8_t *panel,
                          size_t groups, int32_t *out)
{
    __m256i left[TILE_ROWS], right[TILE_ROWS];

    EACH_ROW left[r] = right[r] = _mm256_setzero_si256();
    for (size_t g = 0; g < groups; g++) {
        const __m256i low = load_256(panel + g * 64);
        const __m256i high = load_256(panel + g * 64 + 32);
        EACH_ROW
        {
            const __m256i group = broadcast_group(x + r * x_stride + g * IVITI_GROUP);
            left[r] = _mm256_dpbusd_avx_epi32(left[r], group, low);
            right[r] = _mm256_dpbusd_avx_epi32(right[r], group, high);
        }
    }
    EACH_ROW
    {
        store_256(out + r * TILE_COLUMNS, left[r]);
        store_256(out + r * TILE_COLUMNS + 8, right[r]);
    }
}

#define PRODUCT(rows, count)                                                                       \
    static void product_##rows##x##count(const uint8_t *x, size_t x_stride, const int8_t *panels,  \
                                         size_t panel_bytes, size_t groups, int32_t *acc,          \
                                         const iviti_finish *other)                                \
    {                                                                                              \
        for (size_t p = 0; p < count; p++) {                                                       \
            product_panel(rows, x, x_stride, panels + p * panel_bytes, groups,                     \
                          acc + p * IVITI_PANEL);                                                  \
            iviti_finish_share(other, p, count);                                                   \
        }                                                                                          \
    }
#define PRODUCTS(rows) PRODUCT(rows, 1) PRODUCT(rows, 2) PRODUCT(rows, 3) PRODUCT(rows, 4)
PRODUCTS(1)
PRODUCTS(2)
PRODUCTS(3)
PRODUCTS(4)
PRODUCTS(5)
PRODUCTS(6)

#define ROW(rows)                                                                                  \
    {                                                                                              \
        product_##rows##x1, product_##rows##x2, product_##rows##x3, product_##rows##x4             \
    }

static const iviti_engine engine = {
    .products = { ROW(1), ROW(2), ROW(3), ROW(4), ROW(5), ROW(6) },
    IVITI_ENGINE_AVX2_PARTS,
};

IVITI_ENGINE_KERNELS(&engine, avxvnni)

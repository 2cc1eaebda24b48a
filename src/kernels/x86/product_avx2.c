/* SPDX-License-Identifier: Apache-2.0
 *
 * Products with AVX2. The instruction that multiplies bytes saturates its sums of two at 16 bits,
 * so both operands are widened to 16 bits first: the left one once for a tile, into a buffer that
 * stays in the first-level cache, the right one as it is loaded, for all 6 rows. Register plan for
 * 6 rows by 8 columns: a column's sum is kept in two halves, of k 0 and 1 and of k 2 and 3, which
 * makes 12 accumulators; 2 vectors hold the right operand, 1 a row, 1 a product.
 */
#include "kernels/prototypes.h"
#include "kernels/x86/engine_avx2.h"
#include "kernels/x86/requantize_avx2.h"

#define DEPTH 128 /* groups of 4 k that are widened at once */

/* `rows` is a constant where the loops below are inlined; see product_avx512vnni.c. */
#define EACH_ROW _Pragma("GCC unroll 6") for (size_t r = 0; r < TILE_ROWS; r++) if (r < rows)

/* The plan needs all 16 registers: a compiler that loads all rows before it multiplies them, as
 * some do, keeps half of the accumulators in memory. */
#define KEEP_IN_ORDER(a, b) __asm__ volatile("" : "+x"(a), "+x"(b))

typedef struct widened {
    _Alignas(32) int16_t row[TILE_ROWS][DEPTH * IVITI_GROUP];
} widened;

INLINE void widen_row(const uint8_t *x, size_t count, int16_t *out)
{
    size_t k = 0;
    for (; k + 16 <= count; k += 16)
        store_256(out + k, _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(x + k))));
    for (; k < count; k++)
        out[k] = x[k];
}

INLINE __m256i broadcast_group(const int16_t *x)
{
    int64_t group;
    memcpy(&group, x, sizeof group);
    return _mm256_set1_epi64x(group);
}

/* 4 k of 4 columns. */
INLINE __m256i load_right(const int8_t *p)
{
    return _mm256_cvtepi8_epi16(_mm_load_si128((const __m128i *)p));
}

/* Sums of 8 columns in order, from the halves of columns 0 to 3 and 4 to 7. */
INLINE __m256i join_halves(__m256i first, __m256i last)
{
    return _mm256_permute4x64_epi64(_mm256_hadd_epi32(first, last), 0xD8);
}

/* 8 columns, half a panel; adds to what is there unless it is the first depth. */
INLINE void product_half(const size_t rows, const widened *x, const int8_t *half, size_t groups,
                         bool first_depth, int32_t *out)
{
    __m256i first[TILE_ROWS], last[TILE_ROWS];

    EACH_ROW first[r] = last[r] = _mm256_setzero_si256();
    for (size_t g = 0; g < groups; g++) {
        const __m256i right0 = load_right(half + g * 64);
        const __m256i right1 = load_right(half + g * 64 + 16);
        EACH_ROW
        {
            const __m256i left = broadcast_group(x->row[r] + g * IVITI_GROUP);
            first[r] = _mm256_add_epi32(first[r], _mm256_madd_epi16(left, right0));
            last[r] = _mm256_add_epi32(last[r], _mm256_madd_epi16(left, right1));
            KEEP_IN_ORDER(first[r], last[r]);
        }
    }
    EACH_ROW
    {
        __m256i sum = join_halves(first[r], last[r]);
        if (!first_depth)
            sum = _mm256_add_epi32(sum, load_256(out + r * TILE_COLUMNS));
        store_256(out + r * TILE_COLUMNS, sum);
    }
}

INLINE void product(const size_t rows, size_t count, const uint8_t *x, size_t x_stride,
                    const int8_t *panels, size_t panel_bytes, size_t groups, int32_t *acc,
                    const iviti_finish *other)
{
    widened wide;

    for (size_t g = 0; g < groups; g += DEPTH) {
        const size_t depth = groups - g < DEPTH ? groups - g : DEPTH;
        for (size_t r = 0; r < rows; r++)
            widen_row(x + r * x_stride + g * IVITI_GROUP, depth * IVITI_GROUP, wide.row[r]);
        for (size_t h = 0; h < 2 * count; h++) {
            product_half(rows, &wide, panels + h / 2 * panel_bytes + g * 64 + h % 2 * 32, depth,
                         g == 0, acc + h * 8);
            if (g == 0)
                iviti_finish_share(other, h, 2 * count);
        }
    }
}

#define PRODUCT(rows, count)                                                                       \
    static void product_##rows##x##count(const uint8_t *x, size_t x_stride, const int8_t *panels,  \
                                         size_t panel_bytes, size_t groups, int32_t *acc,          \
                                         const iviti_finish *other)                                \
    {                                                                                              \
        product(rows, count, x, x_stride, panels, panel_bytes, groups, acc, other);                \
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

IVITI_ENGINE_KERNELS(&engine, avx2)

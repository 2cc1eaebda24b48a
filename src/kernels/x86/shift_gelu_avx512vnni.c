/* SPDX-License-Identifier: Apache-2.0
 *
 * ShiftGELU. A row's values depend on its input and its maximum alone, so rows of equal maximum
 * share a table of 256 entries, indexed by the difference to the maximum; and a batch of rows has
 * few maxima.
 */
#include "kernels/prototypes.h"
#include "kernels/x86/requantize_avx512vnni.h"

#define SHIFT_GELU_N 23
#define BATCH        1024 /* rows that are sorted by their maximum at once */
#define NO_ROW       UINT16_MAX
#define SPARE        16 /* bits of x * sigmoid */

/* Exponentials of 0, -1, ..., -255: below 2^31 since one_over_scale is at most 255. */
static void make_exponentials(int32_t one_over_scale, int32_t *e)
{
    for (int32_t d = 0; d < 256; d++)
        e[d] = (int32_t)iviti_shift_exp(-d, one_over_scale, SHIFT_GELU_N);
}

/* Turns 64 numbers s into floor((2^31 - 1) / s), bit by bit: the dividend's bits are all ones. All
 * of s is in [2^low, 2^31), so the quotients have at most 31 - low bits, and the first remainder is
 * low ones. Each step waits for the one before; four vectors side by side take no longer than one.
 */
INLINE void divide_into_ones(__m512i s[4], unsigned low)
{
    const __m512i one = _mm512_set1_epi32(1);
    const __m512i first = _mm512_set1_epi32((int32_t)((1u << low) - 1));
    const __m512i none = _mm512_setzero_si512();
    __m512i rest[4] = { first, first, first, first };
    __m512i quotient[4] = { none, none, none, none };

    for (unsigned i = low; i < 31; i++)
#pragma GCC unroll 4
        for (size_t v = 0; v < 4; v++) {
            rest[v] = _mm512_add_epi32(_mm512_add_epi32(rest[v], rest[v]), one);
            quotient[v] = _mm512_add_epi32(quotient[v], quotient[v]);
            const __mmask16 fits = _mm512_cmpge_epi32_mask(rest[v], s[v]);
            rest[v] = _mm512_mask_sub_epi32(rest[v], fits, rest[v], s[v]);
            quotient[v] = _mm512_mask_add_epi32(quotient[v], fits, quotient[v], one);
        }
    for (size_t v = 0; v < 4; v++)
        s[v] = quotient[v];
}

/* Outputs for differences 0 to 255 to the maximum `max`, as far as they do not lead below -128. */
static void make_table(const int32_t *e, int32_t max, int32_t one_over_scale,
                       const factor_512 *output, uint8_t *table)
{
    const int64_t e_zero = iviti_shift_exp(-max, one_over_scale, SHIFT_GELU_N);
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i most = _mm512_set1_epi32(INT32_MAX);
    const __m512i zero = _mm512_set1_epi32((int32_t)(e_zero < INT32_MAX ? e_zero : INT32_MAX));

    for (int32_t d = 0; d <= max + 128; d += 64) {
        __m512i sum[4], y[4];
        __m512i least = most;
        for (int32_t v = 0; v < 4; v++) {
            const __m512i value = _mm512_load_si512(e + d + v * 16);
            sum[v] = _mm512_min_epu32(_mm512_add_epi32(value, zero), most);
            least = _mm512_min_epu32(least, sum[v]);
        }
        divide_into_ones(sum, 31 - (unsigned)__builtin_clz(_mm512_reduce_min_epu32(least)));
        for (int32_t v = 0; v < 4; v++) {
            const __m512i value = _mm512_load_si512(e + d + v * 16);
            const __m512i sigmoid = _mm512_srli_epi32(_mm512_mullo_epi32(value, sum[v]), 24);
            const __m512i x = _mm512_sub_epi32(_mm512_set1_epi32(max - d - v * 16), lanes);
            y[v] = scale_by_factor(_mm512_mullo_epi32(x, sigmoid), output);
        }
        _mm512_storeu_si512(table + d, _mm512_xor_si512(pack_s8(y), _mm512_set1_epi8(-128)));
    }
}

static uint8_t max_of_row(const uint8_t *x, size_t width)
{
    __m512i max = _mm512_setzero_si512();
    for (size_t c = 0; c < width; c += 64)
        max = _mm512_max_epu8(max, _mm512_maskz_loadu_epi8(first_lanes(width - c), x + c));
    const __m256i half =
        _mm256_max_epu8(_mm512_castsi512_si256(max), _mm512_extracti64x4_epi64(max, 1));
    const __m128i quarter =
        _mm_max_epu8(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    return (uint8_t)_mm512_reduce_max_epu32(_mm512_cvtepu8_epi32(quarter));
}

static void look_up_row(uint8_t *x, size_t width, uint8_t max, const uint8_t *table)
{
    const __m512i top = _mm512_set1_epi8((char)max);
    for (size_t c = 0; c < width; c += 64) {
        const __mmask64 mask = first_lanes(width - c);
        const __m512i difference = _mm512_sub_epi8(top, _mm512_maskz_loadu_epi8(mask, x + c));
        _mm512_mask_storeu_epi8(x + c, mask, look_up_memory_u8(table, difference));
    }
}

/* Rows of each maximum, as lists. */
typedef struct lists {
    uint16_t first[256];
    uint16_t next[BATCH];
} lists;

static void sort_rows(const uint8_t *x, size_t stride, size_t rows, size_t width, lists *l)
{
    for (size_t i = 0; i < 256; i++)
        l->first[i] = NO_ROW;
    for (size_t r = 0; r < rows; r++) {
        uint16_t *first = &l->first[max_of_row(x + r * stride, width)];
        l->next[r] = *first;
        *first = (uint16_t)r;
    }
}

void iviti_shift_gelu_avx512vnni(uint8_t *x, size_t stride, size_t rows, size_t width,
                                 int32_t one_over_scale, iviti_dyadic output)
{
    const factor_512 factor = make_factor(output, SPARE);
    _Alignas(64) int32_t e[256];
    _Alignas(64) uint8_t table[256];
    lists l;

    make_exponentials(one_over_scale, e);
    for (size_t r = 0; r < rows; r += BATCH) {
        uint8_t *batch = x + r * stride;
        sort_rows(batch, stride, rows - r < BATCH ? rows - r : BATCH, width, &l);
        for (int32_t max = 0; max < 256; max++) {
            if (l.first[max] == NO_ROW)
                continue;
            make_table(e, max - 128, one_over_scale, &factor, table);
            for (uint16_t i = l.first[max]; i != NO_ROW; i = l.next[i])
                look_up_row(batch + i * stride, width, (uint8_t)max, table);
        }
    }
}

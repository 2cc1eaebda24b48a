/* SPDX-License-Identifier: Apache-2.0
 *
 * ShiftGELU of the 256-bit engines; see shift_gelu_avx512vnni.c.
 */
#include "kernels/prototypes.h"
#include "kernels/x86/requantize_avx2.h"

#define SHIFT_GELU_N 23
#define BATCH        1024 /* rows that are sorted by their maximum at once */
#define NO_ROW       UINT16_MAX
#define SPARE        16 /* bits of x * sigmoid */

/* floor((2^31 - 1) / s), bit by bit: the dividend's bits are all ones. All of s is in [2^low,
 * 2^31), so the quotient has at most 31 - low bits, and the first remainder is low ones. */
INLINE __m256i divide_into_ones(__m256i s, unsigned low)
{
    const __m256i one = _mm256_set1_epi32(1);
    __m256i rest = _mm256_set1_epi32((int32_t)((1u << low) - 1));
    __m256i quotient = _mm256_setzero_si256();

    for (unsigned i = low; i < 31; i++) {
        rest = _mm256_add_epi32(_mm256_add_epi32(rest, rest), one);
        const __m256i too_large = _mm256_cmpgt_epi32(s, rest);
        rest = _mm256_sub_epi32(rest, _mm256_andnot_si256(too_large, s));
        quotient = _mm256_add_epi32(_mm256_add_epi32(quotient, quotient),
                                    _mm256_add_epi32(one, too_large));
    }
    return quotient;
}

static uint32_t least_of(__m256i v)
{
    uint32_t lanes[8], least = UINT32_MAX;
    store_256(lanes, v);
    for (size_t i = 0; i < 8; i++)
        least = lanes[i] < least ? lanes[i] : least;
    return least;
}

/* Outputs for differences 0 to 255 to the maximum `max`. Differences that lead below -128 do not
 * occur. */
static void make_table(const int32_t *e, int32_t max, int32_t one_over_scale,
                       const factor_256 *output, uint8_t *table)
{
    const int64_t e_zero = iviti_shift_exp(-max, one_over_scale, SHIFT_GELU_N);
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i most = _mm256_set1_epi32(INT32_MAX);
    const __m256i zero = _mm256_set1_epi32((int32_t)(e_zero < INT32_MAX ? e_zero : INT32_MAX));

    for (int32_t d = 0; d < 256; d += 32) {
        __m256i y[4];
        for (int32_t i = 0; i < 4; i++) {
            const __m256i value = load_256(e + d + i * 8);
            const __m256i sum = _mm256_min_epu32(_mm256_add_epi32(value, zero), most);
            const unsigned low = 31 - (unsigned)__builtin_clz(least_of(sum));
            const __m256i inverse = divide_into_ones(sum, low);
            const __m256i sigmoid = _mm256_srli_epi32(_mm256_mullo_epi32(value, inverse), 24);
            const __m256i x = _mm256_sub_epi32(_mm256_set1_epi32(max - d - i * 8), lanes);
            y[i] = scale_by_factor(_mm256_mullo_epi32(x, sigmoid), output);
        }
        store_256(table + d, _mm256_xor_si256(pack_s8(y), _mm256_set1_epi8(-128)));
    }
}

static uint8_t max_of_row(const uint8_t *x, size_t width)
{
    uint8_t lanes[32], max = 0;
    __m256i v = _mm256_setzero_si256();
    for (size_t c = 0; c < width; c += 32)
        v = _mm256_max_epu8(v, load_part(x + c, width - c));
    store_256(lanes, v);
    for (size_t i = 0; i < 32; i++)
        max = lanes[i] > max ? lanes[i] : max;
    return max;
}

static void look_up_row(uint8_t *x, size_t width, uint8_t max, const uint8_t *table)
{
    const __m256i top = _mm256_set1_epi8((char)max);
    for (size_t c = 0; c < width; c += 32) {
        const __m256i difference = _mm256_sub_epi8(top, load_part(x + c, width - c));
        store_part(x + c, look_up_u8(table, difference), width - c);
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

void iviti_shift_gelu_avx2(uint8_t *x, size_t stride, size_t rows, size_t width,
                           int32_t one_over_scale, iviti_dyadic output)
{
    const factor_256 factor = make_factor(output, SPARE);
    int32_t e[256];
    uint8_t table[256];
    lists l;

    for (int32_t d = 0; d < 256; d++)
        e[d] = (int32_t)iviti_shift_exp(-d, one_over_scale, SHIFT_GELU_N);
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

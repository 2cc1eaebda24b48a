/* SPDX-License-Identifier: Apache-2.0
 *
 * A resize with AVX2. In a row, two taps of one output pixel go together: their RGB bytes become
 * pairs of 16 bits, and vpmaddwd multiplies them by the low halves of both coefficients in the
 * lower lane and by the high halves in the upper one.
 */
#include <immintrin.h>
#include <string.h>

#include "kernels/ref/ref.h"

void iviti_resample_row_avx2(const iviti_row_filter *f, const uint8_t *in, uint8_t *out);
void iviti_resample_add_avx2(int32_t *sums, const uint8_t *row, int32_t coefficient, size_t count);

static __m256i load_pair(const iviti_tap_pair *pair)
{
    int64_t bits;
    memcpy(&bits, pair, sizeof bits);
    /* The lower lane takes the low halves, the upper lane the high ones. */
    const __m256i halves = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
    return _mm256_permutevar8x32_epi32(_mm256_castsi128_si256(_mm_cvtsi64_si128(bits)), halves);
}

/* RGB of two pixels in the lowest six bytes, as (r, r'), (g, g'), (b, b') of 16 bits in both lanes.
 */
static __m256i spread(__m128i bytes)
{
    const __m256i places = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1));
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(bytes), places);
}

/* Six bytes, or three where the row ends. */
static __m128i load_last(const uint8_t *pixel, size_t bytes)
{
    uint64_t value = 0;
    memcpy(&value, pixel, bytes);
    return _mm_cvtsi64_si128((int64_t)value);
}

void iviti_resample_row_avx2(const iviti_row_filter *f, const uint8_t *in, uint8_t *out)
{
    const __m128i half = _mm_set1_epi32(IVITI_COEFFICIENT_HALF);
    const iviti_tap_pair *pairs = f->pairs;

    for (uint32_t x = 0; x < f->out; x++, pairs += f->stride, out += 3) {
        const iviti_window window = f->windows[x];
        const uint8_t *pixel = in + (size_t)3 * window.first;
        /* As many pairs for every pixel, so that the processor foresees the loop's end; those
         * behind the window are zero. Where the row ends, only the window's own, and the last with
         * care. */
        const uint32_t left = f->in - window.first, within = left < 3 ? 0 : (left - 1) / 2;
        const uint32_t whole = within < f->stride ? (window.taps + 1) / 2 : (uint32_t)f->stride;
        const uint32_t easy = within < whole ? within : whole;
        __m256i sum = _mm256_setzero_si256();
        uint32_t p = 0;

        for (; p < easy; p++, pixel += 6)
            sum = _mm256_add_epi32(
                sum, _mm256_madd_epi16(spread(_mm_loadl_epi64((const __m128i *)pixel)),
                                       load_pair(&pairs[p])));
        for (; p < whole; p++, pixel += 6) {
            const size_t bytes = left - 2 * p > 1 ? 6 : 3;
            sum = _mm256_add_epi32(
                sum, _mm256_madd_epi16(spread(load_last(pixel, bytes)), load_pair(&pairs[p])));
        }

        const __m128i high = _mm_slli_epi32(_mm256_extracti128_si256(sum, 1), IVITI_TAP_BITS);
        __m128i v = _mm_add_epi32(_mm_add_epi32(_mm256_castsi256_si128(sum), half), high);
        v = _mm_srai_epi32(v, IVITI_COEFFICIENT_BITS);
        v = _mm_packs_epi32(v, v);
        v = _mm_packus_epi16(v, v);
        const uint32_t rgb = (uint32_t)_mm_cvtsi128_si32(v);
        memcpy(out, &rgb, x + 1 < f->out ? 4 : 3); /* the next pixel overwrites the fourth byte */
    }
}

void iviti_resample_add_avx2(int32_t *sums, const uint8_t *row, int32_t coefficient, size_t count)
{
    const __m256i c = _mm256_set1_epi32(coefficient);
    size_t i = 0;

    for (; i + 16 <= count; i += 16) {
        const __m128i bytes = _mm_loadu_si128((const __m128i *)(row + i));
        __m256i *s = (__m256i *)(sums + i);
        const __m256i low = _mm256_mullo_epi32(_mm256_cvtepu8_epi32(bytes), c);
        const __m256i high =
            _mm256_mullo_epi32(_mm256_cvtepu8_epi32(_mm_unpackhi_epi64(bytes, bytes)), c);
        _mm256_storeu_si256(s, _mm256_add_epi32(_mm256_loadu_si256(s), low));
        _mm256_storeu_si256(s + 1, _mm256_add_epi32(_mm256_loadu_si256(s + 1), high));
    }
    iviti_resample_add_ref(sums + i, row + i, coefficient, count - i);
}

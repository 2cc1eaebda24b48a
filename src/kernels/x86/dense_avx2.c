/* SPDX-License-Identifier: Apache-2.0
 *
 * Linear layers of the 256-bit engines: what becomes of a multiplied tile.
 */
#include "kernels/x86/engine_avx2.h"
#include "kernels/x86/requantize_avx2.h"

#define VECTORS (TILE_COLUMNS / 8)

/* ---- from accumulators to a row of the output ------------------------------------------------ */

/* 8 accumulators of a row, from column n on. `any_shift`: whether c may be 32, whose rounding term
 * is added to the low half of the product. */
INLINE __m256i scale(const iviti_finish *f, size_t row, size_t n, const bool any_shift)
{
    const iviti_scales *s = f->scales;
    const __m256i shift = load_256(s->shift + n);
    const __m256i z =
        _mm256_add_epi32(load_256(f->acc + row * TILE_COLUMNS + n), load_256(s->bias + n));
    __m256i even = even_products(z, load_256(s->multiplier + n));
    __m256i odd = odd_products(z, load_256(s->odd_multiplier + n));

    if (any_shift) {
        const __m256i zero = _mm256_cmpeq_epi32(shift, _mm256_setzero_si256());
        const __m256i half = _mm256_slli_epi32(zero, 31);
        even = _mm256_add_epi64(even, _mm256_blend_epi32(half, _mm256_setzero_si256(), 0xAA));
        odd = _mm256_add_epi64(odd, _mm256_srli_epi64(half, 32));
    }
    const __m256i sum = _mm256_add_epi32(high_halves(even, odd), load_256(s->round + n));
    return _mm256_srav_epi32(sum, shift);
}

/* Where the vector of `bytes` bytes ends in a row: what of it there is to store. */
INLINE size_t part(const iviti_finish *f, size_t first)
{
    const size_t bytes = f->columns * f->element;
    return first < bytes ? bytes - first : 0;
}

INLINE void put(const iviti_finish *f, uint8_t *y, size_t first, __m256i v)
{
    const size_t bytes = part(f, first);
    if (bytes)
        store_part(y + first, v, bytes);
}

INLINE void put_s8(const iviti_finish *f, uint8_t *y, size_t first, const __m256i v[4])
{
    const __m256i value = pack_s8(v);
    const __m256i offset = _mm256_set1_epi8(-128);
    const __m256i flip = _mm256_set1_epi8((char)f->flip);

    put(f, y, first,
        f->table ? look_up_u8(f->table, _mm256_xor_si256(value, offset))
                 : _mm256_xor_si256(value, flip));
}

INLINE void put_s16(const iviti_finish *f, uint8_t *y, size_t first, __m256i v)
{
    if (f->add && part(f, first))
        v = _mm256_adds_epi16(load_part(y + first, part(f, first)), v);
    put(f, y, first, v);
}

INLINE void finish_row(const iviti_finish *f, size_t row, const bool any_shift)
{
    uint8_t *y = f->row[row];
    __m256i v[VECTORS];

#pragma GCC unroll 8
    for (size_t i = 0; i < VECTORS; i++)
        v[i] = scale(f, row, i * 8, any_shift);
    if (f->element == 1) {
        put_s8(f, y, 0, v);
        put_s8(f, y, 32, v + 4);
    } else if (f->element == 2) {
#pragma GCC unroll 4
        for (size_t i = 0; i < VECTORS / 2; i++)
            put_s16(f, y, i * 32, pack_s16(v[2 * i], v[2 * i + 1]));
    } else {
#pragma GCC unroll 8
        for (size_t i = 0; i < VECTORS; i++)
            put(f, y, i * 32, v[i]);
    }
}

void iviti_finish_rows_avx2(const iviti_finish *f, size_t first, size_t end)
{
    for (size_t row = first; row < end; row++)
        finish_row(f, row, false);
}

void iviti_finish_avx2(const iviti_finish *f)
{
    if (!f->halves) {
        iviti_finish_rows_avx2(f, 0, f->rows);
        return;
    }
    for (size_t row = 0; row < f->rows; row++)
        finish_row(f, row, true);
}

/* ---- what becomes of rows that are finished -------------------------------------------------- */

/* s16 values have 16 bits to spare. With c from 24 on each scaled value has at most 23 bits. */
void iviti_join_row_avx2(const iviti_join *join, const int16_t *branch, int16_t *y, size_t columns)
{
    const factor_256 of_stream = make_factor(join->stream, 16);
    const factor_256 of_branch = make_factor(join->branch, 16);

    for (size_t n = 0; n < columns; n += 16) {
        const size_t bytes = (columns - n) * sizeof *y;
        const __m256i a = load_part(y + n, bytes);
        const __m256i b = load_256(branch + n);
        __m256i sum[2];
        for (int i = 0; i < 2; i++) {
            const __m128i a8 = i ? _mm256_extracti128_si256(a, 1) : _mm256_castsi256_si128(a);
            const __m128i b8 = i ? _mm256_extracti128_si256(b, 1) : _mm256_castsi256_si128(b);
            sum[i] = _mm256_add_epi32(scale_by_factor(_mm256_cvtepi16_epi32(a8), &of_stream),
                                      scale_by_factor(_mm256_cvtepi16_epi32(b8), &of_branch));
        }
        store_part(y + n, pack_s16(sum[0], sum[1]), bytes);
    }
}

/* Four tokens by 16 channels: each quarter of `v` becomes four dwords of one piece. */
INLINE void transpose_dwords(__m128i v[4])
{
    const __m128i low01 = _mm_unpacklo_epi32(v[0], v[1]);
    const __m128i high01 = _mm_unpackhi_epi32(v[0], v[1]);
    const __m128i low23 = _mm_unpacklo_epi32(v[2], v[3]);
    const __m128i high23 = _mm_unpackhi_epi32(v[2], v[3]);
    v[0] = _mm_unpacklo_epi64(low01, low23);
    v[1] = _mm_unpackhi_epi64(low01, low23);
    v[2] = _mm_unpacklo_epi64(high01, high23);
    v[3] = _mm_unpackhi_epi64(high01, high23);
}

INLINE void load_tokens(const iviti_spread *s, size_t token, size_t piece, __m128i v[4])
{
    for (size_t i = 0; i < 4; i++)
        v[i] =
            _mm_load_si128((const __m128i *)(iviti_next_row(s, token + i) + piece * IVITI_GROUP));
}

/* Four channels of four tokens are 16 bytes of the key panels. */
void iviti_spread_keys_avx2(const iviti_spread *s, size_t tokens)
{
    int8_t *line = s->window + iviti_panel_offset(s->token, 0, s->to->head_dim);

    for (size_t t = 0; t < tokens; t += 4)
        for (size_t p = 0; p < s->pieces; p += 4) {
            __m128i v[4];
            load_tokens(s, t, p, v);
            transpose_dwords(v);
            for (size_t i = 0; i < 4 && p + i < s->pieces; i++) {
                int8_t *to = line + s->piece[p + i] + t * IVITI_GROUP;
                if (tokens - t >= 4)
                    _mm_storeu_si128((__m128i *)to, v[i]);
                else
                    memcpy(to, &v[i], (tokens - t) * IVITI_GROUP);
            }
        }
}

/* Four rows of 16 bytes become 16 groups of 4. */
INLINE void interleave_rows(__m128i v[4])
{
    const __m128i low01 = _mm_unpacklo_epi8(v[0], v[1]);
    const __m128i high01 = _mm_unpackhi_epi8(v[0], v[1]);
    const __m128i low23 = _mm_unpacklo_epi8(v[2], v[3]);
    const __m128i high23 = _mm_unpackhi_epi8(v[2], v[3]);
    v[0] = _mm_unpacklo_epi16(low01, low23);
    v[1] = _mm_unpackhi_epi16(low01, low23);
    v[2] = _mm_unpacklo_epi16(high01, high23);
    v[3] = _mm_unpackhi_epi16(high01, high23);
}

/* The first `tokens` bytes of each group of four. */
INLINE void store_tokens(int8_t *to, __m128i v, size_t tokens)
{
    int8_t bytes[16];
    if (tokens >= IVITI_GROUP) {
        _mm_storeu_si128((__m128i *)to, v);
        return;
    }
    _mm_storeu_si128((__m128i *)bytes, v);
    for (size_t i = 0; i < 16; i += IVITI_GROUP)
        memcpy(to + i, bytes + i, tokens);
}

/* Four tokens of four channels are 16 bytes of the value panels. */
void iviti_spread_values_avx2(const iviti_spread *s, size_t tokens)
{
    for (size_t t = 0; t < tokens; t += IVITI_GROUP) {
        int8_t *line = s->window + iviti_panel_offset(0, s->token + t, s->to->tokens);
        for (size_t p = 0; p < s->pieces; p += 4) {
            __m128i v[4];
            load_tokens(s, t, p, v);
            interleave_rows(v);
            for (size_t i = 0; i < 4 && p + i < s->pieces; i++)
                store_tokens(line + s->piece[p + i], v[i], tokens - t);
        }
    }
}

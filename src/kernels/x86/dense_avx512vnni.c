/* SPDX-License-Identifier: Apache-2.0
 *
 * Linear layers: what becomes of rows that are finished.
 */
#include "kernels/x86/engine_avx512vnni.h"
#include "kernels/x86/requantize_avx512vnni.h"

/* s16 values have 16 bits to spare. With c from 24 on each scaled value has at most 23 bits. */
void iviti_join_row_avx512vnni(const iviti_join *join, const int16_t *branch, int16_t *y,
                               size_t columns)
{
    const factor_512 of_stream = make_factor(join->stream, 16);
    const factor_512 of_branch = make_factor(join->branch, 16);

    for (size_t n = 0; n < columns; n += 16) {
        const __mmask16 mask = (__mmask16)first_lanes(columns - n);
        const __m512i a = _mm512_cvtepi16_epi32(_mm256_maskz_loadu_epi16(mask, y + n));
        const __m512i b = _mm512_cvtepi16_epi32(_mm256_load_si256((const __m256i *)(branch + n)));
        const __m512i sum =
            _mm512_add_epi32(scale_by_factor(a, &of_stream), scale_by_factor(b, &of_branch));
        _mm512_mask_cvtsepi32_storeu_epi16(y + n, mask, sum);
    }
}

/* Sixteen rows of sixteen dwords become sixteen columns. */
INLINE void transpose_dwords(__m512i v[16])
{
    __m512i t[16];
    for (size_t i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
    }
    for (size_t i = 0; i < 16; i += 4)
        for (size_t j = 0; j < 2; j++) {
            v[i + 2 * j] = _mm512_unpacklo_epi64(t[i + j], t[i + j + 2]);
            v[i + 2 * j + 1] = _mm512_unpackhi_epi64(t[i + j], t[i + j + 2]);
        }
    for (size_t i = 0; i < 16; i += 8)
        for (size_t j = 0; j < 4; j++) {
            t[i + j] = _mm512_shuffle_i32x4(v[i + j], v[i + j + 4], 0x88);
            t[i + j + 4] = _mm512_shuffle_i32x4(v[i + j], v[i + j + 4], 0xDD);
        }
    for (size_t j = 0; j < 8; j++) {
        v[j] = _mm512_shuffle_i32x4(t[j], t[j + 8], 0x88);
        v[j + 8] = _mm512_shuffle_i32x4(t[j], t[j + 8], 0xDD);
    }
}

/* Sixteen tokens fill a line of the key panels with four of their channels. */
void iviti_spread_keys_avx512vnni(const iviti_spread *s, size_t tokens)
{
    int8_t *line = s->window + iviti_panel_offset(s->token, 0, s->to->head_dim);
    const __mmask16 mask = (__mmask16)first_lanes(tokens);
    __m512i v[16];

    for (size_t i = 0; i < 16; i++)
        v[i] = _mm512_load_si512(iviti_next_row(s, i));
    transpose_dwords(v);
    for (size_t i = 0; i < s->pieces; i++)
        _mm512_mask_storeu_epi32(line + s->piece[i], mask, v[i]);
}

/* Four rows of 64 bytes become, for each run of 16 columns, 16 groups of 4 bytes. */
INLINE void interleave_rows(const iviti_spread *s, size_t row, __m512i lines[4])
{
    const __m512i r0 = _mm512_load_si512(iviti_next_row(s, row));
    const __m512i r1 = _mm512_load_si512(iviti_next_row(s, row + 1));
    const __m512i r2 = _mm512_load_si512(iviti_next_row(s, row + 2));
    const __m512i r3 = _mm512_load_si512(iviti_next_row(s, row + 3));
    const __m512i low01 = _mm512_unpacklo_epi8(r0, r1);
    const __m512i high01 = _mm512_unpackhi_epi8(r0, r1);
    const __m512i low23 = _mm512_unpacklo_epi8(r2, r3);
    const __m512i high23 = _mm512_unpackhi_epi8(r2, r3);
    /* Quarter p of the j-th of these holds columns 16 * p + 4 * j and the three after it. */
    const __m512i q0 = _mm512_unpacklo_epi16(low01, low23);
    const __m512i q1 = _mm512_unpackhi_epi16(low01, low23);
    const __m512i q2 = _mm512_unpacklo_epi16(high01, high23);
    const __m512i q3 = _mm512_unpackhi_epi16(high01, high23);
    const __m512i even01 = _mm512_shuffle_i32x4(q0, q1, 0x88);
    const __m512i even23 = _mm512_shuffle_i32x4(q2, q3, 0x88);
    const __m512i odd01 = _mm512_shuffle_i32x4(q0, q1, 0xDD);
    const __m512i odd23 = _mm512_shuffle_i32x4(q2, q3, 0xDD);
    lines[0] = _mm512_shuffle_i32x4(even01, even23, 0x88);
    lines[1] = _mm512_shuffle_i32x4(odd01, odd23, 0x88);
    lines[2] = _mm512_shuffle_i32x4(even01, even23, 0xDD);
    lines[3] = _mm512_shuffle_i32x4(odd01, odd23, 0xDD);
}

/* The same to head widths that are no multiple of 16, piece by piece. */
static void store_pieces(const iviti_spread *s, int8_t *line, __mmask16 mask,
                         const __m512i lines[4])
{
    _Alignas(64) int8_t bytes[4 * 64];

    for (size_t p = 0; p < 4; p++)
        _mm512_store_si512(bytes + p * 64, lines[p]);
    for (size_t i = 0; i < s->pieces; i++)
        _mm_mask_storeu_epi8(line + s->piece[i], mask,
                             _mm_load_si128((const __m128i *)(bytes + i * 16)));
}

/* Four tokens fill a line of the value panels with sixteen of their channels. */
void iviti_spread_values_avx512vnni(const iviti_spread *s, size_t tokens)
{
    for (size_t t = 0; t < tokens; t += IVITI_GROUP) {
        int8_t *line = s->window + iviti_panel_offset(0, s->token + t, s->to->tokens);
        const size_t left = tokens - t < IVITI_GROUP ? tokens - t : IVITI_GROUP;
        const uint64_t mask = 0x1111111111111111 * first_lanes(left);
        __m512i lines[4];

        interleave_rows(s, t, lines);
        if (s->to->head_dim % IVITI_PANEL == 0)
            for (size_t p = 0; p * 4 < s->pieces; p++)
                _mm512_mask_storeu_epi8(line + s->piece[p * 4], mask, lines[p]);
        else
            store_pieces(s, line, (__mmask16)mask, lines);
    }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Softmax numerators. Rows are passed twice: for their maxima, then for the numerators and their
 * sums.
 */
#include "kernels/x86/engine_avx512vnni.h"

#include "kernels/x86/requantize_avx512vnni.h"

/* ---- blocks of tokens ------------------------------------------------------------------------ */

/* One block of a row. */
typedef struct block {
    size_t panels;
    uint64_t visible; /* a bit for each token that the query sees */
    int32_t *scores;  /* (64) */
    const int32_t *correction;
    const int32_t *bias; /* or NULL */
} block;

/* `whole` and `hides` are constants: whether the block has all its 64 tokens, and whether regions
 * hide some. */
INLINE block block_of(const iviti_call *c, size_t b, size_t row, size_t query, const bool whole,
                      const bool hides)
{
    const iviti_attention *a = c->a;
    const size_t token = b * BLOCK_TOKENS;
    const size_t left = a->tokens - token;
    block k = { .panels = whole || left >= BLOCK_TOKENS ? TILE_PANELS
                                                        : (left + IVITI_PANEL - 1) / IVITI_PANEL,
                .visible = whole ? ~(uint64_t)0 : first_lanes(left),
                .scores = c->scores + (b * TILE_ROWS + row) * TILE_COLUMNS,
                .correction = c->correction + token,
                .bias = a->bias ? a->bias + query * a->bias_stride + token : NULL };

    if (hides && a->region) {
        const __m512i region = _mm512_maskz_loadu_epi8(k.visible, a->region + token);
        const __m512i own = _mm512_set1_epi8((char)a->region[query]);
        k.visible &= _mm512_cmpeq_epi8_mask(region, own);
    }
    return k;
}

INLINE __mmask16 visible_in(const block *k, size_t panel)
{
    return (__mmask16)(k->visible >> panel * IVITI_PANEL);
}

INLINE __m512i load_bias(const block *k, size_t panel)
{
    return _mm512_maskz_loadu_epi32(visible_in(k, panel), k->bias + panel * IVITI_PANEL);
}

/* q.k of 16 tokens: the query's offset of 128 is taken off. */
INLINE __m512i load_product(const block *k, size_t panel)
{
    return _mm512_sub_epi32(_mm512_load_si512(k->scores + panel * IVITI_PANEL),
                            _mm512_load_si512(k->correction + panel * IVITI_PANEL));
}

/* Adds the sums of four bytes to each of 16 sums. */
INLINE __m512i add_bytes(__m512i sum, __m512i bytes)
{
    return _mm512_dpbusd_epi32(sum, bytes, _mm512_set1_epi8(1));
}

/* ---- table softmax --------------------------------------------------------------------------- */

/* How (max - score) * factor becomes an index. If the multiplier has no bits below 2^20, then
 * R = (d * (m >> 20) + 2^(c-21)) >> (c-20), which needs 32 bits alone while d is at most `most`;
 * and any larger d would have an index beyond 255 as well. */
typedef enum index_form { INDEX_32, INDEX_32_CLAMPED, INDEX_64 } index_form;

typedef struct index_factor {
    index_form form;
    uint32_t most;
    __m512i multiplier;
    __m512i round;
    __m128i shift;
} index_factor;

static index_factor make_index_factor(const iviti_attention *a)
{
    const uint64_t multiplier = (uint64_t)a->score.multiplier >> 20;
    const int shift = a->score.shift - 20;
    const uint64_t widest = (uint64_t)a->head_dim * (128 * 255); /* of max - min without a bias */

    if (a->score.multiplier % (1 << 20) == 0 && shift >= 1 && shift <= 32) {
        const uint64_t round = (uint64_t)1 << (shift - 1);
        const uint64_t most = (UINT32_MAX - round) / multiplier;
        const bool always = !a->bias && widest <= most;
        if (always || (most * multiplier + round) >> shift >= 255)
            return (index_factor){ .form = always ? INDEX_32 : INDEX_32_CLAMPED,
                                   .most = (uint32_t)most,
                                   .multiplier = _mm512_set1_epi32((int32_t)multiplier),
                                   .round = _mm512_set1_epi32((int32_t)round),
                                   .shift = _mm_cvtsi32_si128(shift) };
    }
    return (index_factor){ .form = INDEX_64,
                           .multiplier = _mm512_set1_epi32(a->score.multiplier),
                           .round = _mm512_set1_epi64(1LL << (a->score.shift - 1)),
                           .shift = _mm_cvtsi32_si128(a->score.shift) };
}

INLINE __m512i index_64(__m512i product, const index_factor *f)
{
    const __m512i scaled = _mm512_srl_epi64(_mm512_add_epi64(product, f->round), f->shift);
    return _mm512_min_epu64(scaled, _mm512_set1_epi64(255));
}

/* What is added to (-score) * multiplier: the rounding term, and the maximum's share where nothing
 * lies between the difference and its product. */
INLINE __m512i index_base(__m512i least, const index_factor *f)
{
    if (f->form != INDEX_32)
        return f->round;
    return _mm512_sub_epi32(f->round, _mm512_mullo_epi32(least, f->multiplier));
}

/* Indices of 16 negative scores of which `least` is the row's lowest: at least those up to 255 are
 * exact. */
INLINE __m512i make_index(__m512i negative, __m512i least, __m512i base, const index_factor *f)
{
    if (f->form == INDEX_64) {
        const __m512i d = _mm512_sub_epi32(negative, least);
        const __m512i even = _mm512_mul_epu32(d, f->multiplier);
        const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(d, 32), f->multiplier);
        return _mm512_or_si512(index_64(even, f), _mm512_slli_epi64(index_64(odd, f), 32));
    }
    if (f->form == INDEX_32_CLAMPED)
        negative = _mm512_min_epu32(_mm512_sub_epi32(negative, least),
                                    _mm512_set1_epi32((int32_t)f->most));
    const __m512i scaled = _mm512_add_epi32(_mm512_mullo_epi32(negative, f->multiplier), base);
    return _mm512_srl_epi32(scaled, f->shift);
}

/* Negates the scores of a block with everything that belongs to them. `panels` and `hides` are
 * constants; outside `visible` there is no bias to read. */
INLINE __m512i negate_block(const block *k, const size_t panels, const bool hides, __m512i least)
{
#pragma GCC unroll 4
    for (size_t p = 0; p < TILE_PANELS; p++) {
        if (p >= panels)
            break;
        __m512i negative = _mm512_sub_epi32(_mm512_load_si512(k->correction + p * IVITI_PANEL),
                                            _mm512_load_si512(k->scores + p * IVITI_PANEL));
        if (k->bias)
            negative = _mm512_sub_epi32(negative, load_bias(k, p));
        if (hides)
            negative =
                _mm512_mask_mov_epi32(_mm512_set1_epi32(NO_TOKEN), visible_in(k, p), negative);
        _mm512_store_si512(k->scores + p * IVITI_PANEL, negative);
        least = _mm512_min_epi32(least, negative);
    }
    return least;
}

/* Numerators of 64 tokens, 0 where the query sees none. `panels` and `all` are constants: `all`
 * says that it sees all 64. */
INLINE __m512i block_numerators(const block *k, const size_t panels, const bool all,
                                const __m512i table[4], __m512i least, __m512i base,
                                const index_factor *f)
{
    __m512i index[TILE_PANELS];

#pragma GCC unroll 4
    for (size_t p = 0; p < TILE_PANELS; p++)
        index[p] = p < panels
                       ? make_index(_mm512_load_si512(k->scores + p * IVITI_PANEL), least, base, f)
                       : _mm512_setzero_si512();
    const __m512i e = look_up_u8(table, pack_u8(index));
    return all ? e : _mm512_maskz_mov_epi8(k->visible, e);
}

/* The lowest lane in every lane. */
INLINE __m512i spread_least(__m512i v)
{
    v = _mm512_min_epi32(v, _mm512_shuffle_i32x4(v, v, 0x4E));
    v = _mm512_min_epi32(v, _mm512_shuffle_i32x4(v, v, 0xB1));
    v = _mm512_min_epi32(v, _mm512_shuffle_epi32(v, (_MM_PERM_ENUM)0x4E));
    return _mm512_min_epi32(v, _mm512_shuffle_epi32(v, (_MM_PERM_ENUM)0xB1));
}

INLINE __m512i least_of_row(const iviti_call *c, size_t row, size_t query, const bool hides)
{
    const size_t whole = c->a->tokens / BLOCK_TOKENS;
    __m512i least = _mm512_set1_epi32(INT32_MAX);

    for (size_t b = 0; b < whole; b++) {
        const block k = block_of(c, b, row, query, true, hides);
        least = negate_block(&k, TILE_PANELS, hides, least);
    }
    if (whole == c->blocks)
        return spread_least(least);
    const block k = block_of(c, whole, row, query, false, hides);
    for (size_t p = 1; p <= TILE_PANELS; p++)
        if (p == k.panels)
            least = negate_block(&k, p, hides, least);
    return spread_least(least);
}

/* `form` and `hides` are constants where this is inlined. */
INLINE void table_row(const iviti_call *c, size_t row, size_t query, __m512i least,
                      const __m512i table[4], const index_factor *f, const bool hides,
                      iviti_dyadic *output)
{
    const size_t whole = c->a->tokens / BLOCK_TOKENS;
    const __m512i base = index_base(least, f);
    uint8_t *low = c->low + row * c->stride;
    __m512i sum = _mm512_setzero_si512();

    for (size_t b = 0; b < c->blocks; b++) {
        const block k = block_of(c, b, row, query, b < whole, hides);
        const __m512i e =
            b < whole       ? block_numerators(&k, TILE_PANELS, !hides, table, least, base, f)
            : k.panels == 1 ? block_numerators(&k, 1, false, table, least, base, f)
                            : block_numerators(&k, TILE_PANELS, false, table, least, base, f);
        _mm512_storeu_si512(low + b * BLOCK_TOKENS, e);
        sum = add_bytes(sum, e);
    }
    *output = divide_factor(c->a->output, (uint32_t)_mm512_reduce_add_epi32(sum));
}

INLINE void table_softmax(const iviti_call *c, size_t rows, size_t query, index_factor f,
                          const index_form form, const bool hides, iviti_dyadic *output)
{
    const uint8_t *t = c->a->exp_table;
    const __m512i table[4] = { _mm512_loadu_si512(t), _mm512_loadu_si512(t + 64),
                               _mm512_loadu_si512(t + 128), _mm512_loadu_si512(t + 192) };
    __m512i least[TILE_ROWS];

    f.form = form;
    for (size_t r = 0; r < rows; r++)
        least[r] = least_of_row(c, r, query + r, hides);
    for (size_t r = 0; r < rows; r++)
        table_row(c, r, query + r, least[r], table, &f, hides, &output[r]);
}

void iviti_softmax_table_avx512vnni(const iviti_call *c, size_t rows, size_t query,
                                    iviti_dyadic output[TILE_ROWS])
{
    const index_factor f = make_index_factor(c->a);

    if (f.form == INDEX_64)
        table_softmax(c, rows, query, f, INDEX_64, true, output);
    else if (c->a->region)
        table_softmax(c, rows, query, f, INDEX_32_CLAMPED, true, output);
    else if (f.form == INDEX_32_CLAMPED)
        table_softmax(c, rows, query, f, INDEX_32_CLAMPED, false, output);
    else
        table_softmax(c, rows, query, f, INDEX_32, false, output);
}

/* ---- Shiftmax -------------------------------------------------------------------------------- */

/* How scores become s8 logits. A product of a query and a key has 22 bits and a sign, a logit 7. */
typedef struct logit_factors {
    factor_512 score;
    factor_512 bias; /* of the first logit, where a bias is added */
} logit_factors;

INLINE __m512i make_logits(const block *k, size_t panel, const logit_factors *f)
{
    const __m512i low = _mm512_set1_epi32(INT8_MIN);
    const __m512i high = _mm512_set1_epi32(INT8_MAX);
    __m512i logit = scale_by_factor(load_product(k, panel), &f->score);

    if (k->bias) {
        logit = _mm512_max_epi32(_mm512_min_epi32(logit, high), low);
        logit = _mm512_add_epi32(scale_by_factor(logit, &f->bias), load_bias(k, panel));
    }
    return logit;
}

/* s8 logits of a block; the lowest one where the query does not see the token. `all` is a constant:
 * it sees all 64. */
INLINE __m512i block_logits(const block *k, const logit_factors *f, const bool all)
{
    __m512i logit[TILE_PANELS];
#pragma GCC unroll 4
    for (size_t p = 0; p < TILE_PANELS; p++)
        logit[p] = all || p < k->panels ? make_logits(k, p, f) : _mm512_setzero_si512();
    const __m512i packed = pack_s8(logit);
    return all ? packed : _mm512_mask_mov_epi8(_mm512_set1_epi8(INT8_MIN), k->visible, packed);
}

INLINE int32_t max_of_bytes(__m512i v)
{
    const __m256i a = _mm256_max_epi8(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
    return _mm512_reduce_max_epi32(_mm512_cvtepi8_epi32(
        _mm_max_epi8(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1))));
}

/* Exponentials of a block, in the order that unpacking bytes gives, into the place of its scores.
 * Adds their bytes to the four sums. */
INLINE void block_exponentials(const block *k, const uint8_t *exp_bytes, __m512i difference,
                               const bool all, __m512i sums[4])
{
    __m512i byte[4];
#pragma GCC unroll 4
    for (size_t b = 0; b < 4; b++) {
        byte[b] = look_up_memory_u8(exp_bytes + b * 256, difference);
        if (!all)
            byte[b] = _mm512_maskz_mov_epi8(k->visible, byte[b]);
        sums[b] = add_bytes(sums[b], byte[b]);
    }
    const __m512i low01 = _mm512_unpacklo_epi8(byte[0], byte[1]);
    const __m512i high01 = _mm512_unpackhi_epi8(byte[0], byte[1]);
    const __m512i low23 = _mm512_unpacklo_epi8(byte[2], byte[3]);
    const __m512i high23 = _mm512_unpackhi_epi8(byte[2], byte[3]);
    _mm512_store_si512(k->scores, _mm512_unpacklo_epi16(low01, low23));
    _mm512_store_si512(k->scores + 16, _mm512_unpackhi_epi16(low01, low23));
    _mm512_store_si512(k->scores + 32, _mm512_unpacklo_epi16(high01, high23));
    _mm512_store_si512(k->scores + 48, _mm512_unpackhi_epi16(high01, high23));
}

/* e * factor >> shift: since factor = (2^31 - 1) / sum, the product stays below 2^31. Packing
 * undoes the order that unpacking made. */
INLINE void block_probabilities(const int32_t *e, __m512i factor, __m128i shift, uint8_t *low,
                                uint8_t *high)
{
    const __m512i byte = _mm512_set1_epi16(0xFF);
    __m512i p[4];
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++)
        p[i] = _mm512_srl_epi32(_mm512_mullo_epi32(_mm512_load_si512(e + i * 16), factor), shift);
    const __m512i a = _mm512_packus_epi32(p[0], p[1]);
    const __m512i b = _mm512_packus_epi32(p[2], p[3]);
    _mm512_storeu_si512(low,
                        _mm512_packus_epi16(_mm512_and_si512(a, byte), _mm512_and_si512(b, byte)));
    _mm512_storeu_si512(high,
                        _mm512_packus_epi16(_mm512_srli_epi16(a, 8), _mm512_srli_epi16(b, 8)));
}

/* s8 logits of a row, into the place of its numerators; returns the largest. */
INLINE int32_t row_logits(const iviti_call *c, size_t row, size_t query, const logit_factors *f,
                          const bool hides)
{
    const size_t whole = c->a->tokens / BLOCK_TOKENS;
    uint8_t *low = c->low + row * c->stride;
    __m512i max = _mm512_set1_epi8(INT8_MIN);

    for (size_t b = 0; b < c->blocks; b++) {
        const block k = block_of(c, b, row, query, b < whole, hides);
        const __m512i logits =
            b < whole && !hides ? block_logits(&k, f, true) : block_logits(&k, f, false);
        _mm512_storeu_si512(low + b * BLOCK_TOKENS, logits);
        max = _mm512_max_epi8(max, logits);
    }
    return max_of_bytes(max);
}

/* Exponentials of a row; returns their sum, capped. A sum of bytes is at most 4 * 64 * 255 in each
 * lane, so two of them make one sum of 32 bits. */
INLINE int32_t row_exponentials(const iviti_call *c, size_t row, size_t query, int32_t max,
                                const bool hides)
{
    const size_t whole = c->a->tokens / BLOCK_TOKENS;
    const __m512i top = _mm512_set1_epi8((char)max);
    const uint8_t *low = c->low + row * c->stride;
    __m512i sums[4] = { _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
                        _mm512_setzero_si512() };

    for (size_t b = 0; b < c->blocks; b++) {
        const block k = block_of(c, b, row, query, b < whole, hides);
        const __m512i difference = _mm512_sub_epi8(top, _mm512_loadu_si512(low + b * BLOCK_TOKENS));
        if (b < whole && !hides)
            block_exponentials(&k, c->exp_bytes, difference, true, sums);
        else
            block_exponentials(&k, c->exp_bytes, difference, false, sums);
    }
    const __m512i lower = _mm512_add_epi32(sums[0], _mm512_slli_epi32(sums[1], 8));
    const __m512i upper = _mm512_add_epi32(sums[2], _mm512_slli_epi32(sums[3], 8));
    const int64_t sum =
        _mm512_reduce_add_epi32(lower) + ((int64_t)_mm512_reduce_add_epi32(upper) << 16);
    return (int32_t)(sum < INT32_MAX ? sum : INT32_MAX);
}

INLINE void shift_softmax(const iviti_call *c, size_t rows, size_t query, const bool hides)
{
    const iviti_attention *a = c->a;
    const logit_factors f = { make_factor(a->score, 8),
                              a->bias ? make_factor(a->bias_score, 24) : make_factor(a->score, 8) };
    const __m128i shift = _mm_cvtsi32_si128(a->kind == IVITI_SOFTMAX_SHIFT16 ? 16 : 24);
    int32_t max[TILE_ROWS], factor[TILE_ROWS];

    for (size_t r = 0; r < rows; r++)
        max[r] = row_logits(c, r, query + r, &f, hides);
    for (size_t r = 0; r < rows; r++)
        factor[r] = INT32_MAX / row_exponentials(c, r, query + r, max[r], hides);
    for (size_t r = 0; r < rows; r++)
        for (size_t b = 0; b < c->blocks; b++) {
            const size_t at = r * c->stride + b * BLOCK_TOKENS;
            block_probabilities(c->scores + (b * TILE_ROWS + r) * TILE_COLUMNS,
                                _mm512_set1_epi32(factor[r]), shift, c->low + at, c->high + at);
        }
}

void iviti_softmax_shift_avx512vnni(const iviti_call *c, size_t rows, size_t query,
                                    iviti_dyadic output[TILE_ROWS])
{
    if (c->a->region)
        shift_softmax(c, rows, query, true);
    else
        shift_softmax(c, rows, query, false);
    for (size_t r = 0; r < rows; r++)
        output[r] = c->a->output;
}

/* ---- outputs --------------------------------------------------------------------------------- */

/* Sums of numerator * value to s8. */
void iviti_finish_output_avx512vnni(const int32_t *low, const int32_t *high, iviti_dyadic output,
                                    uint8_t *y, size_t columns)
{
    const factor_512 f = make_factor(output, 0);
    const __mmask64 mask = first_lanes(columns);
    __m512i v[TILE_PANELS];

#pragma GCC unroll 4
    for (size_t p = 0; p < TILE_PANELS; p++) {
        v[p] = _mm512_setzero_si512();
        if (p * IVITI_PANEL >= columns)
            continue;
        v[p] = _mm512_load_si512(low + p * IVITI_PANEL);
        if (high)
            v[p] = _mm512_add_epi32(
                v[p], _mm512_slli_epi32(_mm512_load_si512(high + p * IVITI_PANEL), 8));
        v[p] = scale_by_factor(v[p], &f);
    }
    _mm512_mask_storeu_epi8(y, mask, _mm512_xor_si512(pack_s8(v), _mm512_set1_epi8(-128)));
}

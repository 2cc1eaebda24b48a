/* SPDX-License-Identifier: Apache-2.0
 *
 * Softmax numerators of the 256-bit engines; see softmax_avx512vnni.c. Tokens are taken in spans of
 * 32, half a block.
 */
#include "kernels/x86/engine_avx2.h"
#include "kernels/x86/requantize_avx2.h"

#define SPAN 32

/* ---- spans of tokens ------------------------------------------------------------------------- */

/* 32 tokens of a row. */
typedef struct span {
    size_t tokens;             /* how many of them there are */
    int32_t *scores;           /* (32) */
    const int32_t *correction; /* (32) */
    const int32_t *bias;       /* (tokens) or NULL */
    __m256i visible;           /* 0xFF for each token that the query sees */
} span;

/* `hides` is a constant: whether regions hide some tokens. */
INLINE span span_of(const iviti_call *c, size_t token, size_t row, size_t query, const bool hides)
{
    const iviti_attention *a = c->a;
    const size_t left = a->tokens - token;
    const __m256i number =
        _mm256_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20,
                         21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31);
    const size_t at =
        (token / BLOCK_TOKENS * TILE_ROWS + row) * TILE_COLUMNS + token % BLOCK_TOKENS;
    span s = { .tokens = left < SPAN ? left : SPAN,
               .scores = c->scores + at,
               .correction = c->correction + token,
               .bias = a->bias ? a->bias + query * a->bias_stride + token : NULL };

    s.visible = _mm256_cmpgt_epi8(_mm256_set1_epi8((char)s.tokens), number);
    if (hides && a->region) {
        const __m256i region = load_part(a->region + token, s.tokens);
        const __m256i own = _mm256_set1_epi8((char)a->region[query]);
        s.visible = _mm256_and_si256(s.visible, _mm256_cmpeq_epi8(region, own));
    }
    return s;
}

/* Bias of tokens [n, n + 8). */
INLINE __m256i load_bias(const span *s, size_t n)
{
    return n < s->tokens ? load_part(s->bias + n, (s->tokens - n) * sizeof *s->bias)
                         : _mm256_setzero_si256();
}

/* q.k of tokens [n, n + 8): the query's offset of 128 is taken off. */
INLINE __m256i load_product(const span *s, size_t n)
{
    return _mm256_sub_epi32(load_256(s->scores + n), load_256(s->correction + n));
}

INLINE int32_t max_of_lanes(__m256i v)
{
    int32_t lanes[8], max = INT32_MIN;
    store_256(lanes, v);
    for (size_t i = 0; i < 8; i++)
        max = lanes[i] > max ? lanes[i] : max;
    return max;
}

INLINE uint64_t sum_of_quads(__m256i v)
{
    uint64_t lanes[4];
    store_256(lanes, v);
    return lanes[0] + lanes[1] + lanes[2] + lanes[3];
}

/* ---- table softmax --------------------------------------------------------------------------- */

/* How (max - score) * factor becomes an index; see softmax_avx512vnni.c. */
typedef enum index_form { INDEX_32, INDEX_32_CLAMPED, INDEX_64 } index_form;

typedef struct index_factor {
    index_form form;
    uint32_t most;
    __m256i multiplier;
    __m256i round;
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
                                   .multiplier = _mm256_set1_epi32((int32_t)multiplier),
                                   .round = _mm256_set1_epi32((int32_t)round),
                                   .shift = _mm_cvtsi32_si128(shift) };
    }
    return (index_factor){ .form = INDEX_64,
                           .multiplier = _mm256_set1_epi32(a->score.multiplier),
                           .round = _mm256_set1_epi64x(1LL << (a->score.shift - 1)),
                           .shift = _mm_cvtsi32_si128(a->score.shift) };
}

INLINE __m256i index_64(__m256i product, const index_factor *f)
{
    const __m256i most = _mm256_set1_epi64x(255);
    const __m256i scaled = _mm256_srl_epi64(_mm256_add_epi64(product, f->round), f->shift);
    return _mm256_blendv_epi8(scaled, most, _mm256_cmpgt_epi64(scaled, most));
}

/* What is added to (-score) * multiplier: the rounding term, and the maximum's share where nothing
 * lies between the difference and its product. */
INLINE __m256i index_base(__m256i least, const index_factor *f)
{
    if (f->form != INDEX_32)
        return f->round;
    return _mm256_sub_epi32(f->round, _mm256_mullo_epi32(least, f->multiplier));
}

/* Indices of 8 negative scores of which `least` is the row's lowest: at least those up to 255 are
 * exact. */
INLINE __m256i make_index(__m256i negative, __m256i least, __m256i base, const index_factor *f)
{
    if (f->form == INDEX_64) {
        const __m256i d = _mm256_sub_epi32(negative, least);
        const __m256i even = _mm256_mul_epu32(d, f->multiplier);
        const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(d, 32), f->multiplier);
        return _mm256_or_si256(index_64(even, f), _mm256_slli_epi64(index_64(odd, f), 32));
    }
    if (f->form == INDEX_32_CLAMPED)
        negative = _mm256_min_epu32(_mm256_sub_epi32(negative, least),
                                    _mm256_set1_epi32((int32_t)f->most));
    const __m256i scaled = _mm256_add_epi32(_mm256_mullo_epi32(negative, f->multiplier), base);
    return _mm256_srl_epi32(scaled, f->shift);
}

/* Negates the scores of a span with everything that belongs to them, and finds the lowest. */
INLINE __m256i negate_scores(const span *s, const bool hides, __m256i least)
{
    _Alignas(32) int8_t visible[SPAN];
    if (hides)
        store_256(visible, s->visible);
    for (size_t n = 0; n < s->tokens; n += 8) {
        __m256i negative = _mm256_sub_epi32(load_256(s->correction + n), load_256(s->scores + n));
        if (s->bias)
            negative = _mm256_sub_epi32(negative, load_bias(s, n));
        if (hides)
            negative = _mm256_blendv_epi8(
                _mm256_set1_epi32(NO_TOKEN), negative,
                _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(visible + n))));
        store_256(s->scores + n, negative);
        least = _mm256_min_epi32(least, negative);
    }
    return least;
}

/* The lowest lane in every lane. */
INLINE __m256i spread_least(__m256i v)
{
    v = _mm256_min_epi32(v, _mm256_permute2x128_si256(v, v, 1));
    v = _mm256_min_epi32(v, _mm256_shuffle_epi32(v, 0x4E));
    return _mm256_min_epi32(v, _mm256_shuffle_epi32(v, 0xB1));
}

INLINE __m256i least_of_row(const iviti_call *c, size_t row, size_t query, const bool hides)
{
    __m256i least = _mm256_set1_epi32(INT32_MAX);
    for (size_t t = 0; t < c->a->tokens; t += SPAN) {
        const span s = span_of(c, t, row, query, hides);
        least = negate_scores(&s, hides, least);
    }
    return spread_least(least);
}

INLINE __m256i span_numerators(const span *s, const uint8_t *table, __m256i least, __m256i base,
                               const index_factor *f)
{
    __m256i index[4];
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++)
        index[i] = make_index(load_256(s->scores + i * 8), least, base, f);
    return _mm256_and_si256(look_up_u8(table, pack_u8(index)), s->visible);
}

INLINE iviti_dyadic table_row(const iviti_call *c, size_t row, size_t query, __m256i least,
                              const index_factor *f, const bool hides)
{
    const __m256i base = index_base(least, f);
    const uint8_t *table = c->a->exp_table;
    uint8_t *low = c->low + row * c->stride;
    __m256i sum = _mm256_setzero_si256();

    for (size_t t = 0; t < c->a->tokens; t += SPAN) {
        const span s = span_of(c, t, row, query, hides);
        const __m256i e = span_numerators(&s, table, least, base, f);
        store_256(low + t, e);
        sum = _mm256_add_epi64(sum, _mm256_sad_epu8(e, _mm256_setzero_si256()));
    }
    return divide_factor(c->a->output, (uint32_t)sum_of_quads(sum));
}

/* `form` and `hides` are constants where this is inlined. */
INLINE void table_softmax(const iviti_call *c, size_t rows, size_t query, index_factor f,
                          const index_form form, const bool hides, iviti_dyadic *output)
{
    __m256i least[TILE_ROWS];

    f.form = form;
    for (size_t r = 0; r < rows; r++)
        least[r] = least_of_row(c, r, query + r, hides);
    for (size_t r = 0; r < rows; r++)
        output[r] = table_row(c, r, query + r, least[r], &f, hides);
}

void iviti_softmax_table_avx2(const iviti_call *c, size_t rows, size_t query,
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
    factor_256 score;
    factor_256 bias; /* of the first logit, where a bias is added */
} logit_factors;

INLINE __m256i make_logits(const span *s, size_t n, const logit_factors *f)
{
    const __m256i low = _mm256_set1_epi32(INT8_MIN);
    const __m256i high = _mm256_set1_epi32(INT8_MAX);
    __m256i logit = scale_by_factor(load_product(s, n), &f->score);

    if (s->bias) {
        logit = _mm256_max_epi32(_mm256_min_epi32(logit, high), low);
        logit = _mm256_add_epi32(scale_by_factor(logit, &f->bias), load_bias(s, n));
    }
    return logit;
}

/* s8 logits of a span; the lowest one where the query does not see the token. */
INLINE __m256i span_logits(const span *s, const logit_factors *f)
{
    __m256i logit[4];
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++)
        logit[i] = make_logits(s, i * 8, f);
    return _mm256_blendv_epi8(_mm256_set1_epi8(INT8_MIN), pack_s8(logit), s->visible);
}

INLINE int32_t max_of_bytes(__m256i v)
{
    const __m128i half = _mm_max_epi8(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    return max_of_lanes(_mm256_max_epi32(_mm256_cvtepi8_epi32(half),
                                         _mm256_cvtepi8_epi32(_mm_srli_si128(half, 8))));
}

/* Exponentials of a span into the place of its scores, their sums added to four of 64 bits. */
INLINE __m256i span_exponentials(const span *s, const int32_t *exp_shift, __m256i difference,
                                 __m256i sum)
{
    _Alignas(32) int8_t visible[SPAN];
    _Alignas(32) uint8_t index[SPAN];
    store_256(visible, s->visible);
    store_256(index, difference);

    for (size_t n = 0; n < SPAN; n += 8) {
        const __m256i mask = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(visible + n)));
        const __m256i d = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(index + n)));
        const __m256i e = _mm256_and_si256(_mm256_i32gather_epi32(exp_shift, d, 4), mask);
        store_256(s->scores + n, e);
        sum = _mm256_add_epi64(sum, _mm256_srli_epi64(e, 32));
        sum = _mm256_add_epi64(sum, _mm256_blend_epi32(e, _mm256_setzero_si256(), 0xAA));
    }
    return sum;
}

/* e * factor >> shift: since factor = (2^31 - 1) / sum, the product stays below 2^31. */
INLINE void span_probabilities(const span *s, __m256i factor, __m128i shift, uint8_t *low,
                               uint8_t *high)
{
    const __m256i byte = _mm256_set1_epi32(0xFF);
    __m256i l[4], h[4];
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++) {
        const __m256i p =
            _mm256_srl_epi32(_mm256_mullo_epi32(load_256(s->scores + i * 8), factor), shift);
        l[i] = _mm256_and_si256(p, byte);
        h[i] = _mm256_srli_epi32(p, 8);
    }
    store_256(low, pack_u8(l));
    store_256(high, pack_u8(h));
}

static void shift_softmax(const iviti_call *c, size_t row, size_t query)
{
    const iviti_attention *a = c->a;
    const logit_factors f = { make_factor(a->score, 8),
                              a->bias ? make_factor(a->bias_score, 24) : make_factor(a->score, 8) };
    const __m128i shift = _mm_cvtsi32_si128(a->kind == IVITI_SOFTMAX_SHIFT16 ? 16 : 24);
    uint8_t *low = c->low + row * c->stride;
    uint8_t *high = c->high + row * c->stride;
    __m256i max = _mm256_set1_epi8(INT8_MIN);
    __m256i sums = _mm256_setzero_si256();

    for (size_t t = 0; t < a->tokens; t += SPAN) {
        const span s = span_of(c, t, row, query, true);
        const __m256i logits = span_logits(&s, &f);
        store_256(low + t, logits);
        max = _mm256_max_epi8(max, logits);
    }
    max = _mm256_set1_epi8((char)max_of_bytes(max));
    for (size_t t = 0; t < a->tokens; t += SPAN) {
        const span s = span_of(c, t, row, query, true);
        const __m256i difference = _mm256_sub_epi8(max, load_256(low + t));
        sums = span_exponentials(&s, a->exp_shift, difference, sums);
    }

    const uint64_t sum = sum_of_quads(sums);
    const __m256i factor =
        _mm256_set1_epi32((int32_t)(INT32_MAX / (sum < INT32_MAX ? sum : INT32_MAX)));
    for (size_t t = 0; t < a->tokens; t += SPAN) {
        const span s = span_of(c, t, row, query, true);
        span_probabilities(&s, factor, shift, low + t, high + t);
    }
}

void iviti_softmax_shift_avx2(const iviti_call *c, size_t rows, size_t query,
                              iviti_dyadic output[TILE_ROWS])
{
    for (size_t r = 0; r < rows; r++) {
        shift_softmax(c, r, query + r);
        output[r] = c->a->output;
    }
}

/* ---- outputs --------------------------------------------------------------------------------- */

/* Sums of numerator * value to s8. */
void iviti_finish_output_avx2(const int32_t *low, const int32_t *high, iviti_dyadic output,
                              uint8_t *y, size_t columns)
{
    const factor_256 f = make_factor(output, 0);

    for (size_t n = 0; n < columns; n += 32) {
        __m256i v[4];
        for (size_t i = 0; i < 4; i++) {
            __m256i sum = load_256(low + n + i * 8);
            if (high)
                sum = _mm256_add_epi32(sum, _mm256_slli_epi32(load_256(high + n + i * 8), 8));
            v[i] = scale_by_factor(sum, &f);
        }
        store_part(y + n, _mm256_xor_si256(pack_s8(v), _mm256_set1_epi8(-128)), columns - n);
    }
}

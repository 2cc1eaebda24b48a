/* SPDX-License-Identifier: Apache-2.0
 *
 * Softmax numerators of the AArch64 engines, and attention's outputs. Tokens are taken in spans of
 * 16, a panel of keys.
 */
#include "kernels/arm/engine_neon.h"

#define SPAN 16

/* ---- spans of tokens ------------------------------------------------------------------------- */

typedef struct span {
    size_t tokens;             /* how many of the 16 there are */
    int32_t *scores;           /* (16) */
    const int32_t *correction; /* (16) */
    const int32_t *bias;       /* (tokens) or NULL */
    uint8x16_t visible;        /* 0xFF for each token that the query sees */
} span;

INLINE span span_of(const iviti_call *c, size_t token, size_t row, size_t query)
{
    static const uint8_t numbers[SPAN] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
    const iviti_attention *a = c->a;
    const size_t left = a->tokens - token;
    const size_t at =
        (token / BLOCK_TOKENS * TILE_ROWS + row) * TILE_COLUMNS + token % BLOCK_TOKENS;
    span s = { .tokens = left < SPAN ? left : SPAN,
               .scores = c->scores + at,
               .correction = c->correction + token,
               .bias = a->bias ? a->bias + query * a->bias_stride + token : NULL };

    s.visible = vcltq_u8(vld1q_u8(numbers), vdupq_n_u8((uint8_t)s.tokens));
    if (a->region) {
        const uint8x16_t region = load_part(a->region + token, s.tokens);
        s.visible = vandq_u8(s.visible, vceqq_u8(region, vdupq_n_u8(a->region[query])));
    }
    return s;
}

/* Masks of 32 bits for four times four tokens. */
INLINE void widen_mask(uint8x16_t mask, uint32x4_t wide[4])
{
    const int8x16_t bytes = vreinterpretq_s8_u8(mask);
    const int16x8_t low = vmovl_s8(vget_low_s8(bytes));
    const int16x8_t high = vmovl_high_s8(bytes);
    wide[0] = vreinterpretq_u32_s32(vmovl_s16(vget_low_s16(low)));
    wide[1] = vreinterpretq_u32_s32(vmovl_high_s16(low));
    wide[2] = vreinterpretq_u32_s32(vmovl_s16(vget_low_s16(high)));
    wide[3] = vreinterpretq_u32_s32(vmovl_high_s16(high));
}

/* q.k of tokens [n, n + 4): the query's offset of 128 is taken off. */
INLINE int32x4_t load_product(const span *s, size_t n)
{
    return vsubq_s32(vld1q_s32(s->scores + n), vld1q_s32(s->correction + n));
}

/* ---- table softmax --------------------------------------------------------------------------- */

/* Corrects the scores of a span, adds the bias, and hides what the query does not see. */
INLINE int32x4_t max_of_scores(const span *s, bool hides, int32x4_t max)
{
    uint32x4_t visible[4];
    widen_mask(s->visible, visible);
    for (size_t i = 0; i < 4; i++) {
        int32x4_t score = load_product(s, i * 4);
        if (s->bias)
            score = vaddq_s32(score, load_s32(s->bias, i * 4, s->tokens));
        if (hides)
            score = vbslq_s32(visible[i], score, vdupq_n_s32(-NO_TOKEN));
        vst1q_s32(s->scores + i * 4, score);
        max = vmaxq_s32(max, score);
    }
    return max;
}

/* Indices are not negative, and saturate at 255. */
INLINE uint8x16_t make_indices(const span *s, int32x4_t max, const lane_factor *f)
{
    int32x4_t v[4];
    for (size_t i = 0; i < 4; i++)
        v[i] = scale_by_factor(vsubq_s32(max, vld1q_s32(s->scores + i * 4)), f);
    return vqmovun_high_s16(vqmovun_s16(pack_s16(v[0], v[1])), pack_s16(v[2], v[3]));
}

static iviti_dyadic table_softmax(const iviti_call *c, size_t row, size_t query)
{
    const lane_factor f = make_factor(c->a->score, 0);
    const lane_table table = load_table(c->a->exp_table);
    uint8_t *low = c->low + row * c->stride;
    int32x4_t max = vdupq_n_s32(INT32_MIN);
    uint32x4_t sum = vdupq_n_u32(0);

    for (size_t t = 0; t < c->a->tokens; t += SPAN) {
        const span s = span_of(c, t, row, query);
        max = max_of_scores(&s, c->a->region, max);
    }
    max = vdupq_n_s32(vmaxvq_s32(max));
    for (size_t t = 0; t < c->a->tokens; t += SPAN) {
        const span s = span_of(c, t, row, query);
        const uint8x16_t e = vandq_u8(look_up(&table, make_indices(&s, max, &f)), s.visible);
        vst1q_u8(low + t, e);
        sum = vpadalq_u16(sum, vpaddlq_u8(e));
    }
    return divide_factor(c->a->output, vaddvq_u32(sum));
}

void iviti_softmax_table_neon(const iviti_call *c, size_t rows, size_t query,
                              iviti_dyadic output[TILE_ROWS])
{
    for (size_t r = 0; r < rows; r++)
        output[r] = table_softmax(c, r, query + r);
}

/* ---- Shiftmax -------------------------------------------------------------------------------- */

/* How scores become s8 logits. A product of a query and a key has 22 bits and a sign, a logit 7. */
typedef struct logit_factors {
    lane_factor score;
    lane_factor bias;
} logit_factors;

INLINE int32x4_t make_logits(const span *s, size_t n, const logit_factors *f)
{
    int32x4_t logit = scale_by_factor(load_product(s, n), &f->score);

    if (s->bias) {
        logit = vmaxq_s32(vminq_s32(logit, vdupq_n_s32(INT8_MAX)), vdupq_n_s32(INT8_MIN));
        logit = vqaddq_s32(scale_by_factor(logit, &f->bias), load_s32(s->bias, n, s->tokens));
    }
    return logit;
}

/* s8 logits of a span; the lowest one where the query does not see the token. */
INLINE int8x16_t span_logits(const span *s, const logit_factors *f)
{
    int32x4_t logit[4];
    for (size_t i = 0; i < 4; i++)
        logit[i] = make_logits(s, i * 4, f);
    return vbslq_s8(s->visible, pack_s8(logit), vdupq_n_s8(INT8_MIN));
}

/* Exponentials of a span into the place of its scores; returns their sum. There is no instruction
 * that gathers. */
INLINE uint64_t span_exponentials(const span *s, const int32_t *exp_shift, uint8x16_t difference)
{
    uint32x4_t visible[4];
    uint64x2_t sum = vdupq_n_u64(0);
    uint8_t index[SPAN];

    vst1q_u8(index, difference);
    for (size_t i = 0; i < SPAN; i++)
        s->scores[i] = exp_shift[index[i]];
    widen_mask(s->visible, visible);
    for (size_t i = 0; i < 4; i++) {
        const int32x4_t value = vld1q_s32(s->scores + i * 4);
        const uint32x4_t e = vandq_u32(vreinterpretq_u32_s32(value), visible[i]);
        vst1q_s32(s->scores + i * 4, vreinterpretq_s32_u32(e));
        sum = vpadalq_u32(sum, e);
    }
    return vaddvq_u64(sum);
}

/* e * factor >> shift: since factor = (2^31 - 1) / sum, the product stays below 2^31. */
INLINE void span_probabilities(const span *s, uint32_t factor, int32x4_t shift, uint8_t *low,
                               uint8_t *high)
{
    uint16x8_t p[2];
    for (size_t i = 0; i < 2; i++) {
        const uint32x4_t a = vreinterpretq_u32_s32(vld1q_s32(s->scores + i * 8));
        const uint32x4_t b = vreinterpretq_u32_s32(vld1q_s32(s->scores + i * 8 + 4));
        p[i] = vmovn_high_u32(vmovn_u32(vshlq_u32(vmulq_n_u32(a, factor), shift)),
                              vshlq_u32(vmulq_n_u32(b, factor), shift));
    }
    vst1q_u8(low, vmovn_high_u16(vmovn_u16(p[0]), p[1]));
    vst1q_u8(high, vshrn_high_n_u16(vshrn_n_u16(p[0], 8), p[1], 8));
}

static void shift_softmax(const iviti_call *c, size_t row, size_t query)
{
    const iviti_attention *a = c->a;
    const logit_factors f = { make_factor(a->score, 8),
                              make_factor(a->bias ? a->bias_score : a->score, 24) };
    const int32x4_t shift = vdupq_n_s32(a->kind == IVITI_SOFTMAX_SHIFT16 ? -16 : -24);
    uint8_t *low = c->low + row * c->stride;
    uint8_t *high = c->high + row * c->stride;
    int8x16_t max = vdupq_n_s8(INT8_MIN);
    uint64_t sum = 0;

    for (size_t t = 0; t < a->tokens; t += SPAN) {
        const span s = span_of(c, t, row, query);
        const int8x16_t logits = span_logits(&s, &f);
        vst1q_u8(low + t, vreinterpretq_u8_s8(logits));
        max = vmaxq_s8(max, logits);
    }
    const uint8x16_t top = vdupq_n_u8((uint8_t)vmaxvq_s8(max));
    for (size_t t = 0; t < a->tokens; t += SPAN) {
        const span s = span_of(c, t, row, query);
        sum += span_exponentials(&s, a->exp_shift, vsubq_u8(top, vld1q_u8(low + t)));
    }

    const uint32_t factor = INT32_MAX / (uint32_t)(sum < INT32_MAX ? sum : INT32_MAX);
    for (size_t t = 0; t < a->tokens; t += SPAN) {
        const span s = span_of(c, t, row, query);
        span_probabilities(&s, factor, shift, low + t, high + t);
    }
}

void iviti_softmax_shift_neon(const iviti_call *c, size_t rows, size_t query,
                              iviti_dyadic output[TILE_ROWS])
{
    for (size_t r = 0; r < rows; r++) {
        shift_softmax(c, r, query + r);
        output[r] = c->a->output;
    }
}

/* ---- outputs --------------------------------------------------------------------------------- */

/* Sums of numerator * value to s8. */
void iviti_finish_output_neon(const int32_t *low, const int32_t *high, iviti_dyadic output,
                              uint8_t *y, size_t columns)
{
    const lane_factor f = make_factor(output, 0);

    for (size_t n = 0; n < columns; n += 16) {
        int32x4_t v[4];
        for (size_t i = 0; i < 4; i++) {
            int32x4_t sum = vld1q_s32(low + n + i * 4);
            if (high)
                sum = vaddq_s32(sum, vshlq_n_s32(vld1q_s32(high + n + i * 4), 8));
            v[i] = scale_by_factor(sum, &f);
        }
        store_part(y + n, flip_sign(pack_s8(v)), columns - n);
    }
}

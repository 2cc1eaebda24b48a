/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention of one head over one window, a query row at a time: scores, softmax, values.
 */
#include <string.h>

#include "kernels/ref/comparison.h"
#include "kernels/ref/ref.h"
#include "kernels/requantize.h"
#include "model/geometry.h"

/* A token that a query must not see: no score, no probability. */
static bool hidden_from(const iviti_attention *a, size_t query, size_t key)
{
    return a->region && a->region[query] != a->region[key];
}

/* q.k of one query with every key of the window, a panel of keys at a time; q in offset binary. */
static void products(const iviti_attention *a, const uint8_t *q, const int8_t *keys, int32_t *score)
{
    for (size_t t = 0; t < a->tokens; t += IVITI_PANEL) {
        const int8_t *key = keys + iviti_panel_offset(t, 0, a->head_dim);
        const size_t count = a->tokens - t < IVITI_PANEL ? a->tokens - t : IVITI_PANEL;
        int32_t sum[IVITI_PANEL] = { 0 };
        for (size_t d = 0; d < a->head_dim; d += IVITI_GROUP, key += IVITI_PANEL * IVITI_GROUP)
            for (size_t n = 0; n < IVITI_PANEL; n++)
                for (size_t j = 0; j < IVITI_GROUP; j++)
                    sum[n] += (q[d + j] - 128) * key[n * IVITI_GROUP + j];
        memcpy(score + t, sum, count * sizeof *sum);
    }
}

/* Table softmax: numerators of 8 or 12 bits into p; returns their sum. */
static uint32_t table_softmax(const iviti_attention *a, size_t query, int32_t *score, uint16_t *p)
{
    int32_t max = INT32_MIN;
    for (size_t t = 0; t < a->tokens; t++) {
        if (a->bias)
            score[t] += a->bias[query * a->bias_stride + t];
        if (!hidden_from(a, query, t) && score[t] > max)
            max = score[t];
    }

    uint32_t sum = 0;
    for (size_t t = 0; t < a->tokens; t++) {
        p[t] = 0;
        if (hidden_from(a, query, t))
            continue;
        const int64_t index =
            iviti_scale(max - score[t], a->score.multiplier, a->score.shift);
        const size_t entry = (size_t)(index < 255 ? index : 255);
        p[t] = a->wide_table ? a->wide_table[entry] : a->exp_table[entry];
        sum += p[t];
    }
    return sum;
}

/* Numerators to the codes of SULQ; a token that the query does not see has the probability zero. */
static void sulq_codes(const iviti_attention *a, uint32_t sum, uint16_t *p)
{
    for (size_t t = 0; t < a->tokens; t++) {
        uint8_t code = (uint8_t)p[t];
        iviti_sulq_codes(&code, 1, sum, a->sulq->threshold, &code);
        p[t] = code;
    }
}

/* Softmax over s8 logits; its exponentials come from a table of all 256 differences. */
static void logit_softmax(const iviti_attention *a, size_t query, int32_t *score, uint16_t *p)
{
    const int bits = a->kind == IVITI_SOFTMAX_SHIFT8 ? 8 : 16;
    int32_t least[IVITI_LIS_CODES];

    int32_t max = INT8_MIN;
    for (size_t t = 0; t < a->tokens; t++) {
        score[t] = iviti_requantize_s8(score[t], a->score);
        if (a->bias)
            score[t] = iviti_saturate_s8(iviti_requantize(score[t], a->bias_score) +
                                         a->bias[query * a->bias_stride + t]);
        if (!hidden_from(a, query, t) && score[t] > max)
            max = score[t];
    }

    int64_t sum = 0;
    for (size_t t = 0; t < a->tokens; t++)
        if (!hidden_from(a, query, t))
            sum += a->exp_shift[max - score[t]];
    if (a->kind == IVITI_SOFTMAX_LIS)
        iviti_lis_thresholds((uint64_t)sum, least);
    if (sum > INT32_MAX)
        sum = INT32_MAX;

    const int64_t factor = INT32_MAX / sum;
    for (size_t t = 0; t < a->tokens; t++) {
        p[t] = 0;
        if (hidden_from(a, query, t))
            continue;
        const int32_t e = a->exp_shift[max - score[t]];
        if (a->kind == IVITI_SOFTMAX_LIS)
            iviti_lis_numerators(&e, 1, least, &p[t]);
        else
            p[t] = (uint16_t)((e * factor) >> (31 - bits + 1));
    }
}

/* Numerators of one row, and what sums of numerator * value are multiplied with. */
static iviti_dyadic softmax(const iviti_attention *a, size_t query, int32_t *score, uint16_t *p)
{
    if (!iviti_softmax_has_table(a->kind)) {
        logit_softmax(a, query, score, p);
        return a->output;
    }
    const uint32_t sum = table_softmax(a, query, score, p);
    if (a->kind == IVITI_SOFTMAX_TABLE)
        return iviti_reciprocal(sum, a->output);
    sulq_codes(a, sum, p);
    return a->output;
}

void iviti_attention_row_ref(const iviti_attention *a, const uint8_t *q, size_t query,
                             const int8_t *keys, uint32_t *p, void *scratch)
{
    const iviti_dyadic whole = { 1 << 30, 14 }; /* 2^16 */
    int32_t *score = scratch;
    uint16_t *e = (uint16_t *)(score + (a->tokens + 15) / 16 * 16);

    products(a, q, keys, score);
    if (iviti_softmax_has_table(a->kind)) { /* SULQ: before they are coded */
        const iviti_dyadic share = iviti_reciprocal(table_softmax(a, query, score, e), whole);
        for (size_t t = 0; t < a->tokens; t++)
            p[t] += (uint32_t)iviti_scale(e[t], share.multiplier, share.shift);
    } else {
        const unsigned shift = a->kind == IVITI_SOFTMAX_SHIFT8 ? 9 : 1;
        logit_softmax(a, query, score, e);
        for (size_t t = 0; t < a->tokens; t++)
            p[t] += (uint32_t)e[t] << shift;
    }
}

void iviti_attention_ref(const iviti_attention *a, const uint8_t *q, size_t q_stride, size_t first,
                         size_t rows, const int8_t *keys, const int8_t *values, uint8_t *y,
                         size_t y_stride, void *scratch)
{
    int32_t *score = scratch;                            /* (tokens) */
    uint16_t *p = (uint16_t *)(score + (a->tokens + 15) / 16 * 16); /* (tokens) */

    for (size_t r = 0; r < rows; r++) {
        products(a, q + r * q_stride, keys, score);
        const iviti_dyadic output = softmax(a, first + r, score, p);
        for (size_t d = 0; d < a->head_dim; d++) {
            const int8_t *value = values + iviti_panel_offset(d, 0, a->tokens);
            int32_t sum = 0, all = 0;
            for (size_t t = 0; t < a->tokens; t++) {
                const int32_t v =
                    value[t / IVITI_GROUP * (IVITI_PANEL * IVITI_GROUP) + t % IVITI_GROUP];
                sum += p[t] * v;
                all += v;
            }
            if (a->kind == IVITI_SOFTMAX_SULQ)
                sum = sum * (1 << a->sulq->shift) - all * a->sulq->eta;
            if (a->wide_table) {
                const int16_t wide = iviti_saturate_wide(iviti_requantize(sum, output));
                y[r * y_stride + d] = iviti_high_digit(wide);
                a->low[r * y_stride + d] = iviti_low_digit(wide);
            } else {
                y[r * y_stride + d] = (uint8_t)(iviti_requantize_s8(sum, output) + 128);
            }
        }
    }
}

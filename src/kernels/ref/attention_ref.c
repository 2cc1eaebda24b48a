/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention of one head over one window, a query row at a time: scores, softmax, values.
 */
#include <string.h>

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

/* Table softmax: u8 numerators into p; returns what the sums of p * v are multiplied with. */
static iviti_dyadic table_softmax(const iviti_attention *a, size_t query, int32_t *score,
                                  int16_t *p)
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
        const uint8_t e = a->exp_table[index < 255 ? index : 255];
        p[t] = e;
        sum += e;
    }
    return iviti_reciprocal(sum, a->output);
}

/* Shiftmax over s8 logits; its exponentials come from a table of all 256 differences. */
static iviti_dyadic shift_softmax(const iviti_attention *a, size_t query, int32_t *score,
                                  int16_t *p)
{
    const int bits = a->kind == IVITI_SOFTMAX_SHIFT16 ? 16 : 8;

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
    if (sum > INT32_MAX)
        sum = INT32_MAX;

    const int64_t factor = INT32_MAX / sum;
    for (size_t t = 0; t < a->tokens; t++)
        p[t] = (int16_t)(hidden_from(a, query, t)
                             ? 0
                             : (a->exp_shift[max - score[t]] * factor) >> (31 - bits + 1));
    return a->output;
}

void iviti_attention_row_ref(const iviti_attention *a, const uint8_t *q, size_t query,
                             const int8_t *keys, uint32_t *p, void *scratch)
{
    const iviti_dyadic whole = { 1 << 30, 14 }; /* 2^16 */
    iviti_attention row = *a;
    int32_t *score = scratch;
    int16_t *e = (int16_t *)(score + (a->tokens + 15) / 16 * 16);

    products(a, q, keys, score);
    if (a->kind == IVITI_SOFTMAX_TABLE) {
        row.output = whole;
        const iviti_dyadic share = table_softmax(&row, query, score, e);
        for (size_t t = 0; t < a->tokens; t++)
            p[t] += (uint32_t)iviti_scale(e[t], share.multiplier, share.shift);
    } else {
        const unsigned shift = a->kind == IVITI_SOFTMAX_SHIFT16 ? 1 : 9;
        shift_softmax(a, query, score, e);
        for (size_t t = 0; t < a->tokens; t++)
            p[t] += (uint32_t)e[t] << shift;
    }
}

void iviti_attention_ref(const iviti_attention *a, const uint8_t *q, size_t q_stride, size_t first,
                         size_t rows, const int8_t *keys, const int8_t *values, uint8_t *y,
                         size_t y_stride, void *scratch)
{
    int32_t *score = scratch;                            /* (tokens) */
    int16_t *p = (int16_t *)(score + (a->tokens + 15) / 16 * 16); /* (tokens) */

    for (size_t r = 0; r < rows; r++) {
        products(a, q + r * q_stride, keys, score);
        const iviti_dyadic output = a->kind == IVITI_SOFTMAX_TABLE
                                        ? table_softmax(a, first + r, score, p)
                                        : shift_softmax(a, first + r, score, p);
        for (size_t d = 0; d < a->head_dim; d++) {
            const int8_t *value = values + iviti_panel_offset(d, 0, a->tokens);
            int32_t sum = 0;
            for (size_t t = 0; t < a->tokens; t++)
                sum += p[t] * value[t / IVITI_GROUP * (IVITI_PANEL * IVITI_GROUP) + t % IVITI_GROUP];
            y[r * y_stride + d] = (uint8_t)(iviti_requantize_s8(sum, output) + 128);
        }
    }
}

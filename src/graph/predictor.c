/* SPDX-License-Identifier: Apache-2.0
 *
 * DynamicViT's predictor (Rao et al. 2021) of one stage: each patch token is rated by what it is and by
 * what the patches are on average. The published network ends in two logits and a softmax; which tokens
 * come first is told by the difference of the logits alone, so that the last layer is one row of
 * weights and its sums are the ratings.
 */
#include <string.h>

#include "graph/prune.h"
#include "kernels/requantize.h"

/* The second half of the channels of h, summed over this thread's patches of each picture. */
static void add_up(iviti_session *s, const iviti_tokens *t, iviti_rows rows, unsigned thread)
{
    const size_t prefix = s->model->geometry.prefix_tokens, dim = s->model->geometry.stage[0].dim;
    const size_t stride = iviti_row_stride(dim), half = dim / 2;
    int32_t *sums = s->buffers.sums + thread * s->batch * half;

    memset(sums, 0, s->pictures * half * sizeof *sums);
    for (size_t row = rows.first; row < rows.first + rows.count; row++) {
        const uint8_t *restrict h = s->buffers.query + row * stride + half;
        int32_t *restrict sum = sums + row / t->window * half;
        if (row % t->window < prefix)
            continue;
        for (size_t c = 0; c < half; c++)
            sum[c] += h[c] - 128;
    }
}

/* What the means of a picture add to the accumulators of the layer after: the same for all tokens. */
static void share_means(const iviti_session *s, const iviti_predictor *p, size_t picture,
                        int8_t *mean, int32_t *bias)
{
    const size_t half = p->local.in;

    for (size_t c = 0; c < half; c++) {
        int32_t sum = 0;
        for (unsigned thread = 0; thread < s->threads; thread++)
            sum += s->buffers.sums[(thread * s->batch + picture) * half + c];
        mean[c] = iviti_requantize_s8(sum, p->mean[c]);
    }
    for (size_t o = 0; o < p->local.out; o++) {
        const int8_t *weight = p->global + o * half;
        int32_t sum = 0;
        for (size_t c = 0; c < half; c++)
            sum += weight[c] * mean[c];
        bias[o] = p->local.bias[o] + sum;
    }
}

/* The rows of one picture, whose h is in the query buffer. */
static void rate(iviti_session *s, const iviti_predictor *p, size_t picture, size_t first,
                 size_t count, unsigned thread)
{
    const iviti_buffers *b = &s->buffers;
    const size_t stride = iviti_row_stride(s->model->geometry.stage[0].dim);
    const size_t padded = (p->local.out + IVITI_PANEL - 1) / IVITI_PANEL * IVITI_PANEL;
    int32_t *bias = (int32_t *)(void *)(b->choice + thread * b->choice_bytes);
    uint8_t *u = b->attended + first * stride, *v = b->normed + first * stride;
    iviti_dense local = p->local;

    memcpy(bias, local.bias, padded * sizeof *bias);
    share_means(s, p, picture, (int8_t *)(bias + padded), bias);
    local.bias = bias;
    s->kernels.dense_table(&local, p->local_table, b->query + first * stride, stride, count, u,
                           stride);
    s->kernels.dense_table(&p->out, p->out_table, u, stride, count, v, stride);
    for (size_t row = 0; row < count; row++) {
        int32_t score = 0;
        for (size_t c = 0; c < p->out.out; c++)
            score += p->score[c] * (v[row * stride + c] - 128);
        b->rating[first + row] = (uint32_t)score ^ UINT32_C(0x80000000);
    }
}

void iviti_predict(iviti_session *s, uint32_t stage, const iviti_tokens *t, iviti_rows rows,
                   unsigned thread)
{
    const iviti_predictor *p = &s->model->predictors[stage];
    const size_t stride = iviti_row_stride(s->model->geometry.stage[0].dim);
    const size_t at = rows.first * stride, end = rows.first + rows.count;

    if (rows.count) {
        s->kernels.norm_s8(&p->norm, t->stream + at, stride, NULL, rows.count,
                           s->buffers.normed + at, stride);
        s->kernels.dense_table(&p->in, p->in_table, s->buffers.normed + at, stride, rows.count,
                               s->buffers.query + at, stride);
    }
    add_up(s, t, rows, thread);
    iviti_pool_barrier(&s->pool);
    for (size_t row = rows.first, count; row < end; row += count) { /* picture by picture */
        count = t->window - row % t->window < end - row ? t->window - row % t->window : end - row;
        rate(s, p, row / t->window, row, count, thread);
    }
    iviti_pool_barrier(&s->pool);
}

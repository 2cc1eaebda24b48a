/* SPDX-License-Identifier: Apache-2.0
 *
 * Which tokens are alike (Bolya et al. 2023): tokens of even number look for the token of odd number
 * whose mean key over the heads points most nearly in the same direction. The mean of the heads' keys
 * is a linear layer of its own, on what the keys are made from.
 */
#include <string.h>

#include "graph/prune.h"
#include "kernels/requantize.h"

uint32_t iviti_log2(uint32_t value)
{
    uint32_t whole = 0;
    while (value >> (whole + 1))
        whole++;
    uint64_t y = (uint64_t)value << (31 - whole); /* in [1, 2), units of 2^-31 */
    uint32_t result = whole;
    for (int bit = 0; bit < 16; bit++) {
        y = (y * y) >> 31;
        result <<= 1;
        if (y >> 32) {
            y >>= 1;
            result |= 1;
        }
    }
    return result;
}

/* 2^20 / length of a mean key (NUMERICS.md, Fewer tokens). */
static uint32_t inverse_length(const uint8_t *x, size_t count)
{
    uint32_t squares = 0;
    for (size_t c = 0; c < count; c++)
        squares += (uint32_t)((x[c] - 128) * (x[c] - 128));
    const uint32_t length = iviti_isqrt((uint64_t)squares << 8);
    return length ? (UINT32_C(1) << 24) / length : 0;
}

/* The mean key of a token of B to its column. */
static void place(const iviti_alike *k, size_t picture, size_t number, const uint8_t *x, size_t count)
{
    int8_t *panel = k->b + picture * k->panel_bytes + iviti_panel_offset(number, 0, count);
    int32_t sum = 0;
    for (size_t c = 0; c < count; c += IVITI_GROUP, panel += IVITI_PANEL * IVITI_GROUP)
        for (size_t j = 0; j < IVITI_GROUP; j++) {
            panel[j] = (int8_t)(x[c + j] - 128);
            sum += panel[j];
        }
    k->b_bias[picture * k->b_tokens + number] = -128 * sum;
}

/* The most alike of B, from `from` on, ties to the lower number. product: of one of A with all of B. */
static size_t best_of(const int32_t *product, const uint32_t *inverse, size_t from, size_t count)
{
    size_t best = from;
    int64_t most = (int64_t)product[from] * inverse[2 * from + 1];
    for (size_t i = from + 1; i < count; i++) {
        const int64_t cosine = (int64_t)product[i] * inverse[2 * i + 1];
        best = cosine > most ? i : best;
        most = cosine > most ? cosine : most;
    }
    return best;
}

/* Partners of the tokens of A in `rows` of a picture. Prefix tokens take no part. */
static void look(iviti_session *s, const iviti_dense *b, const iviti_tokens *t, size_t picture,
                 iviti_rows rows, unsigned thread)
{
    const iviti_alike *k = &s->buffers.alike;
    const size_t prefix = s->model->geometry.prefix_tokens, row = picture * t->window;
    const size_t begin = (rows.first + 1) / 2, end = (rows.first + rows.count + 1) / 2;
    int32_t *product = (int32_t *)(void *)(s->buffers.scratch + thread * s->buffers.scratch_bytes);
    const uint32_t *inverse = k->inverse + row;
    uint16_t *partner = k->partner + picture * k->a_tokens;
    size_t count = 0;

    for (size_t a = begin > 0 ? begin : 1; a < end; a += count) {
        count = end - a < IVITI_ATTENTION_ROWS ? end - a : IVITI_ATTENTION_ROWS;
        s->kernels.dense_s32(b, k->mean + (row + 2 * a) * k->stride, 2 * k->stride, count, product,
                             b->out);
        for (size_t i = 0; i < count; i++) {
            const int32_t *own = product + i * b->out;
            const size_t best = best_of(own, inverse, prefix / 2, b->out);
            const int64_t cosine =
                (int64_t)own[best] * inverse[2 * best + 1] * inverse[2 * (a + i)];
            partner[a + i] = (uint16_t)best;
            s->buffers.rating[row + 2 * (a + i)] =
                (uint32_t)iviti_shift_right(cosine, 10) ^ UINT32_C(0x80000000);
        }
    }
}

void iviti_match(iviti_session *s, uint32_t stage, const iviti_tokens *t, iviti_rows rows,
                 unsigned thread)
{
    const iviti_alike *k = &s->buffers.alike;
    const iviti_dense *key = &s->model->mean_keys[stage];
    const size_t stride = iviti_row_stride(s->model->geometry.stage[0].dim);
    const size_t end = rows.first + rows.count;

    if (rows.count)
        s->kernels.dense_s8(key, s->buffers.normed + rows.first * stride, stride, rows.count,
                            k->mean + rows.first * k->stride, k->stride);
    for (size_t row = rows.first; row < end; row++) {
        const uint8_t *x = k->mean + row * k->stride;
        k->inverse[row] = inverse_length(x, key->out);
        if (!iviti_in_a(row % t->window))
            place(k, row / t->window, row % t->window / 2, x, key->out);
    }
    iviti_pool_barrier(&s->pool);
    for (size_t picture = rows.first / t->window; picture * t->window < end; picture++) {
        const iviti_dense b = { .in = key->out,
                                .out = t->window / 2,
                                .panels = k->b + picture * k->panel_bytes,
                                .bias = k->b_bias + picture * k->b_tokens,
                                .multiplier = k->multiplier,
                                .shift = k->shift };
        look(s, &b, t, picture, iviti_rows_of_picture(rows, picture, t->window), thread);
    }
    iviti_pool_barrier(&s->pool);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Which tokens are alike (Bolya et al. 2023): tokens of even number look for the token of odd number
 * whose mean key over the heads points most nearly in the same direction. The mean of the heads' keys
 * is a linear layer of its own, on what the keys are made from.
 */
#include <string.h>

#include "graph/prune.h"
#include "kernels/requantize.h"

#define LENGTH 127 /* of a key, whatever it was */

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

/* What brings a row of s16 to the length 127. */
static iviti_dyadic shrink(const int16_t *x, size_t count)
{
    uint64_t squares = 0;
    for (size_t c = 0; c < count; c++)
        squares += (uint64_t)((int64_t)x[c] * x[c]);
    const uint32_t length = iviti_isqrt(squares);
    return iviti_reciprocal(length ? length : 1, (iviti_dyadic){ LENGTH << 24, 24 });
}

/* A token's key to its place: a row of A, or a column of B. */
static void place(const iviti_alike *k, size_t picture, size_t token, const int16_t *x, size_t count)
{
    const iviti_dyadic f = shrink(x, count);
    const size_t number = token / 2;

    if (iviti_in_a(token)) {
        uint8_t *row = k->a + (picture * k->a_tokens + number) * k->stride;
        for (size_t c = 0; c < count; c++)
            row[c] = (uint8_t)(iviti_requantize_s8(x[c], f) + 128);
    } else {
        int8_t *panels = k->b + picture * k->panel_bytes;
        int32_t sum = 0;
        for (size_t c = 0; c < count; c++) {
            const int8_t value = iviti_requantize_s8(x[c], f);
            panels[iviti_panel_offset(number, c, count)] = value;
            sum += value;
        }
        k->b_bias[picture * k->b_tokens + number] = -128 * sum;
    }
}

/* The most alike of B, from `from` on, ties to the lower number. */
static size_t best_of(const int32_t *score, size_t from, size_t count)
{
    size_t best = from;
    for (size_t i = from + 1; i < count; i++)
        if (score[i] > score[best])
            best = i;
    return best;
}

/* Partners of the tokens of A in `rows` of a picture. Prefix tokens take no part. */
static void look(iviti_session *s, const iviti_dense *b, const iviti_tokens *t, size_t picture,
                 iviti_rows rows, unsigned thread)
{
    const iviti_alike *k = &s->buffers.alike;
    const size_t prefix = s->model->geometry.prefix_tokens;
    const size_t begin = (rows.first + 1) / 2, end = (rows.first + rows.count + 1) / 2;
    int32_t *score = (int32_t *)(void *)(s->buffers.scratch + thread * s->buffers.scratch_bytes);
    uint32_t *rating = s->buffers.rating + picture * t->window;
    uint16_t *partner = k->partner + picture * k->a_tokens;
    size_t count = 0;

    for (size_t a = begin > 0 ? begin : 1; a < end; a += count) {
        count = end - a < IVITI_ATTENTION_ROWS ? end - a : IVITI_ATTENTION_ROWS;
        s->kernels.dense_s32(b, k->a + (picture * k->a_tokens + a) * k->stride, k->stride, count,
                             score, b->out);
        for (size_t i = 0; i < count; i++) {
            const size_t best = best_of(score + i * b->out, prefix / 2, b->out);
            partner[a + i] = (uint16_t)best;
            rating[2 * (a + i)] = (uint32_t)score[i * b->out + best] ^ UINT32_C(0x80000000);
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
        s->kernels.dense_s16(key, s->buffers.normed + rows.first * stride, stride, rows.count,
                             k->mean + rows.first * k->stride, k->stride);
    for (size_t row = rows.first; row < end; row++)
        place(k, row / t->window, row % t->window, k->mean + row * k->stride, key->out);
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

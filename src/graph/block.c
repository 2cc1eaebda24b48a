/* SPDX-License-Identifier: Apache-2.0
 *
 * The transformer block, shared by ViT and Swin: x + proj(attention(norm1(x))), then
 * x + fc2(gelu(fc1(norm2(x)))). A row here is a token in window order; ViT has one window.
 *
 * Twice: for threads that own rows, and, where rows are fewer than threads could share, for threads
 * that own columns of every layer (iviti_block_finish).
 */
#include <string.h>

#include "graph/session.h"
#include "kernels/ref/ref.h"
#include "kernels/requantize.h"

static uint32_t head_dim(const iviti_stage *g)
{
    return g->dim / g->heads;
}

static iviti_head_panels keys_of(const iviti_session *s, const iviti_tokens *t)
{
    const iviti_stage *g = &s->model->geometry.stage[t->stage];
    return (iviti_head_panels){ s->buffers.keys[t->parity],
                                iviti_panel_bytes(t->window, head_dim(g)), g->heads, head_dim(g),
                                t->window };
}

static iviti_head_panels values_of(const iviti_session *s, const iviti_tokens *t)
{
    const iviti_stage *g = &s->model->geometry.stage[t->stage];
    return (iviti_head_panels){ s->buffers.values[t->parity],
                                iviti_panel_bytes(head_dim(g), t->window), g->heads, head_dim(g),
                                t->window };
}

/* ---- activations of fewer than 8 bits ------------------------------------------------------- */

static int bits_of(const iviti_session *s, const iviti_block *b, uint32_t stage,
                   iviti_activation which)
{
    const uint32_t index = (uint32_t)(b - s->model->blocks);
    return iviti_activation_bits(&s->model->geometry, iviti_block_activation(index, stage, which));
}

void iviti_clip_rows(const iviti_session *s, int bits, uint8_t *x, size_t stride, size_t rows,
                     size_t width)
{
    const int limit = 1 << (bits - 1);
    if (bits < 8) /* nothing for wide ones, which are clamped where they are split */
        s->kernels.clip_s8(x, stride, rows, width, 0x80, (int8_t)-limit, (int8_t)(limit - 1));
}

/* Where in each panel the tokens of some rows lie. Keys have their tokens in columns: whole panels; a
 * value's panel holds all tokens, one after the other. */
typedef struct panel_part {
    size_t first, bytes;   /* of a panel run */
    size_t stride, count;  /* of panel runs */
} panel_part;

static panel_part keys_part(const iviti_head_panels *p, size_t token, size_t count)
{
    const size_t panel = iviti_panel_bytes(IVITI_PANEL, p->head_dim);
    return (panel_part){ token / IVITI_PANEL * panel,
                         (count + IVITI_PANEL - 1) / IVITI_PANEL * panel, 0, 1 };
}

static panel_part values_part(const iviti_head_panels *p, size_t token, size_t count)
{
    return (panel_part){ iviti_panel_bytes(IVITI_PANEL, token), iviti_panel_bytes(IVITI_PANEL, count),
                         iviti_panel_bytes(IVITI_PANEL, p->tokens),
                         (p->head_dim + IVITI_PANEL - 1) / IVITI_PANEL };
}

/* Clips what rows of this thread have written into the panels. A thread's rows of a window begin at
 * a panel and end at one or with the window. */
static void clip_panels(const iviti_session *s, int bits, const iviti_head_panels *p,
                        panel_part (*part_of)(const iviti_head_panels *, size_t, size_t),
                        iviti_rows rows)
{
    const int limit = 1 << (bits - 1);
    size_t count = 0;

    for (size_t row = rows.first; row < rows.first + rows.count; row += count) {
        const size_t token = row % p->tokens, left = rows.first + rows.count - row;
        int8_t *const window = p->panels + row / p->tokens * p->heads * p->block;
        count = p->tokens - token < left ? p->tokens - token : left;
        const panel_part part = part_of(p, token, count);
        for (size_t head = 0; head < p->heads; head++)
            s->kernels.clip_s8((uint8_t *)window + head * p->block + part.first, part.stride,
                               part.count, part.bytes, 0, (int8_t)-limit, (int8_t)(limit - 1));
    }
}

/* ---- the block ------------------------------------------------------------------------------ */

/* Stream rows that the buffer rows from `first` on stand for: either mapped, or the same. */
typedef struct source {
    int16_t *stream;
    size_t stride;
    const uint32_t *map;
} source;

static source stream_rows(const iviti_session *s, const iviti_tokens *t, size_t first)
{
    const size_t stride = iviti_row_stride(s->model->geometry.stage[t->stage].dim);
    return (source){ t->map ? t->stream : t->stream + first * stride, stride,
                     t->map ? t->map + first : NULL };
}

/* Rows that enter proj, fc1 or fc2. */
typedef struct digits {
    uint8_t *high; /* or whole s8 activations */
    uint8_t *low;  /* NULL where they are not wide */
    size_t stride;
} digits;

/* x into the stream, the low digits after the high ones. */
static void join_digits(const iviti_session *s, const iviti_dense *w, const iviti_dense *w_low,
                        const iviti_join *join, const digits *x, size_t rows, const source *out)
{
    s->kernels.dense_join(w, join, x->high, x->stride, rows, out->stream, out->stride, out->map);
    if (x->low)
        s->kernels.dense_join(w_low, join, x->low, x->stride, rows, out->stream, out->stride,
                              out->map);
}

void iviti_block_project(iviti_session *s, const iviti_block *b, const iviti_tokens *t,
                         iviti_rows rows)
{
    const iviti_kernels *k = &s->kernels;
    const source in = stream_rows(s, t, rows.first);
    const iviti_head_panels keys = keys_of(s, t), values = values_of(s, t);
    uint8_t *normed = s->buffers.normed + rows.first * in.stride;

    if (!rows.count) /* more threads than rows */
        return;
    k->norm_s8(&b->norm1, in.stream, in.stride, in.map, rows.count, normed, in.stride);
    iviti_clip_rows(s, bits_of(s, b, t->stage, IVITI_ACTIVATION_QKV), normed, in.stride, rows.count,
                    b->key.in);
    k->dense_keys(&b->key, normed, in.stride, rows.first, rows.count, &keys);
    k->dense_values(&b->value, normed, in.stride, rows.first, rows.count, &values);
    const int bits = bits_of(s, b, t->stage, IVITI_ACTIVATION_ATTENTION);
    if (bits == 8)
        return;
    clip_panels(s, bits, &keys, keys_part, rows);
    clip_panels(s, bits, &values, values_part, rows);
}

static iviti_attention attention_of(const iviti_session *s, const iviti_block *b,
                                    const iviti_tokens *t, uint32_t head)
{
    const iviti_geometry *g = &s->model->geometry;
    const size_t bias_stride = (t->window + 15) / 16 * 16;
    return (iviti_attention){
        .kind = g->softmax_kind < IVITI_SOFTMAX_KERNELS ? g->softmax_kind : IVITI_SOFTMAX_SHIFT16,
        .head_dim = head_dim(&g->stage[t->stage]),
        .tokens = t->window,
        .score = b->score[head],
        .exp_table = b->exp_table,
        .wide_table = b->wide_exp,
        .exp_shift = b->exp_shift,
        .sulq = &b->sulq,
        .output = b->output[head],
        .bias = b->position_bias ? b->position_bias + head * t->window * bias_stride : NULL,
        .bias_stride = bias_stride,
        .bias_score = b->bias_score,
    };
}

/* A token that stands for several patches is attended to as often as they were: the log of their
 * number joins the scores of all queries alike. */
static void weigh_keys(const iviti_session *s, const iviti_block *b, const iviti_tokens *t,
                       size_t window, uint32_t head, unsigned thread, iviti_attention *a)
{
    int32_t *bias = (int32_t *)(void *)(s->buffers.choice + thread * s->buffers.choice_bytes);
    const uint16_t *size = t->size + window * t->window;

    for (size_t i = 0; i < t->window; i++)
        bias[i] = (int32_t)iviti_scale((int32_t)s->buffers.log2[size[i]], b->size[head].multiplier,
                                       b->size[head].shift);
    a->bias = bias;
    a->bias_stride = 0;
}

/* The rows of one head, window by window. */
static void attend_head(iviti_session *s, const iviti_block *b, const iviti_tokens *t,
                        iviti_rows rows, uint32_t head, unsigned thread)
{
    const iviti_head_panels keys = keys_of(s, t), values = values_of(s, t);
    const size_t stride = iviti_row_stride(s->model->geometry.stage[t->stage].dim);
    iviti_attention a = attention_of(s, b, t, head);
    size_t count = 0;

    for (size_t row = rows.first; row < rows.first + rows.count; row += count) {
        const size_t window = row / t->window, token = row % t->window;
        const size_t left = rows.first + rows.count - row;
        const size_t block = window * keys.heads + head;
        const size_t at = row * stride + head * keys.head_dim;

        count = t->window - token < left ? t->window - token : left;
        a.region = t->region ? t->region + window * t->window : NULL;
        if (t->size)
            weigh_keys(s, b, t, window, head, thread, &a);
        a.low = b->wide_attention ? s->buffers.low + at : NULL;
        s->kernels.attention(&a, s->buffers.query + at, stride, token, count,
                             keys.panels + block * keys.block,
                             values.panels + block * values.block, s->buffers.attended + at,
                             stride, s->buffers.scratch + thread * s->buffers.scratch_bytes);
    }
}

void iviti_block_attend(iviti_session *s, const iviti_block *b, const iviti_tokens *t,
                        iviti_rows rows, unsigned thread)
{
    const source out = stream_rows(s, t, rows.first);
    const size_t at = rows.first * out.stride;

    if (!rows.count)
        return;
    s->kernels.dense_s8(&b->query, s->buffers.normed + at, out.stride, rows.count,
                        s->buffers.query + at, out.stride);
    iviti_clip_rows(s, bits_of(s, b, t->stage, IVITI_ACTIVATION_ATTENTION), s->buffers.query + at,
                    out.stride, rows.count, b->query.out);
    for (uint32_t head = 0; head < s->model->geometry.stage[t->stage].heads; head++)
        attend_head(s, b, t, rows, head, thread);
    iviti_clip_rows(s, bits_of(s, b, t->stage, IVITI_ACTIVATION_PROJ), s->buffers.attended + at,
                    out.stride, rows.count, b->proj.in);
    const digits x = { s->buffers.attended + at, b->wide_attention ? s->buffers.low + at : NULL,
                       out.stride };
    join_digits(s, &b->proj, &b->proj_low, &b->join1, &x, rows.count, &out);
}

void iviti_class_attention(iviti_session *s, const iviti_block *b, const iviti_tokens *t,
                           size_t picture, uint32_t *sums, unsigned thread)
{
    const iviti_head_panels keys = keys_of(s, t);
    const size_t stride = iviti_row_stride(s->model->geometry.stage[t->stage].dim);
    const uint8_t *query = s->buffers.query + picture * t->window * stride;

    memset(sums, 0, t->window * sizeof *sums);
    for (uint32_t head = 0; head < keys.heads; head++) {
        iviti_attention a = attention_of(s, b, t, head);
        if (t->size)
            weigh_keys(s, b, t, picture, head, thread, &a);
        iviti_attention_row_ref(&a, query + head * keys.head_dim, 0,
                                keys.panels + (picture * keys.heads + head) * keys.block, sums,
                                s->buffers.scratch + thread * s->buffers.scratch_bytes);
    }
}

iviti_dense iviti_dense_columns(const iviti_dense *w, iviti_rows columns)
{
    iviti_dense part = *w;
    part.out = (uint32_t)columns.count;
    part.panels += iviti_panel_bytes(columns.first, w->in);
    part.bias += columns.first;
    part.multiplier += columns.first;
    part.shift += columns.first;
    return part;
}

/* What the MLP of some rows has in the buffers. */
typedef struct mlp_rows {
    digits normed, hidden;
    int16_t *middle; /* wide: normed, then hidden, before they are split */
    size_t middle_stride;
} mlp_rows;

static mlp_rows mlp_rows_from(const iviti_session *s, const iviti_block *b, uint32_t stage,
                              size_t first)
{
    const iviti_stage *g = &s->model->geometry.stage[stage];
    const size_t stride = iviti_row_stride(g->dim), hidden_stride = iviti_row_stride(g->hidden);
    const size_t wider = stride > hidden_stride ? stride : hidden_stride;
    const size_t at = first * stride, hidden_at = first * hidden_stride;
    return (mlp_rows){
        { s->buffers.normed + at, b->wide_mlp ? s->buffers.low + at : NULL, stride },
        { s->buffers.hidden + hidden_at, b->wide_mlp ? s->buffers.hidden_low + hidden_at : NULL,
          hidden_stride },
        b->wide_mlp ? s->buffers.middle + first * wider : NULL,
        wider,
    };
}

/* normed = norm2 of rows of the stream */
static void normalise(const iviti_session *s, const iviti_block *b, uint32_t stage,
                      const source *in, size_t rows, const mlp_rows *m)
{
    const digits *y = &m->normed;

    if (b->wide_mlp) {
        s->kernels.norm_s16(&b->norm2, in->stream, in->stride, in->map, rows, m->middle,
                            m->middle_stride);
        iviti_split_digits(m->middle, m->middle_stride, rows, b->fc1.in, y->high, y->low,
                           y->stride);
    } else {
        s->kernels.norm_s8(&b->norm2, in->stream, in->stride, in->map, rows, y->high, y->stride);
        iviti_clip_rows(s, bits_of(s, b, stage, IVITI_ACTIVATION_FC1), y->high, y->stride, rows,
                        b->fc1.in);
    }
}

/* Columns of hidden = gelu(fc1(normed)); with ShiftGELU, which needs whole rows, of fc1(normed). */
static void expand(const iviti_session *s, const iviti_block *b, iviti_rows columns, size_t rows,
                   const mlp_rows *m)
{
    const iviti_kernels *k = &s->kernels;
    const iviti_dense fc1 = iviti_dense_columns(&b->fc1, columns);
    const digits *x = &m->normed;
    const size_t stride = m->hidden.stride, group = columns.first / IVITI_GELU_GROUP;
    uint8_t *y = m->hidden.high + columns.first;

    if (b->wide_mlp) {
        const iviti_join sum = { IVITI_DYADIC_ONE, IVITI_DYADIC_ONE };
        const iviti_dense fc1_low = iviti_dense_columns(&b->fc1_low, columns);
        int16_t *middle = m->middle + columns.first;
        k->dense_s16(&fc1, x->high, x->stride, rows, middle, m->middle_stride);
        k->dense_join(&fc1_low, &sum, x->low, x->stride, rows, middle, m->middle_stride, NULL);
        iviti_split_table(b->wide_gelu + group * IVITI_WIDE_ENTRIES, middle, m->middle_stride, rows,
                          columns.count, y, m->hidden.low + columns.first, stride);
    } else if (b->gelu_table) { /* whose entries have the bits that they may */
        k->dense_table(&fc1, b->gelu_table + group * 256, x->high, x->stride, rows, y, stride);
    } else {
        k->dense_s8(&fc1, x->high, x->stride, rows, y, stride);
    }
}

/* hidden = ShiftGELU(hidden), where there are no tables. */
static void shift_gelu(const iviti_session *s, const iviti_block *b, uint32_t stage, size_t rows,
                       const mlp_rows *m)
{
    if (b->gelu_table || b->wide_mlp)
        return;
    s->kernels.shift_gelu(m->hidden.high, m->hidden.stride, rows, b->fc1.out,
                          b->gelu_one_over_scale, b->gelu_output);
    iviti_clip_rows(s, bits_of(s, b, stage, IVITI_ACTIVATION_FC2), m->hidden.high, m->hidden.stride,
                    rows, b->fc1.out);
}

void iviti_block_mlp(iviti_session *s, const iviti_block *b, const iviti_tokens *t, iviti_rows rows)
{
    const source stream = stream_rows(s, t, rows.first);
    const mlp_rows m = mlp_rows_from(s, b, t->stage, rows.first);

    if (!rows.count)
        return;
    normalise(s, b, t->stage, &stream, rows.count, &m);
    expand(s, b, (iviti_rows){ 0, b->fc1.out }, rows.count, &m);
    shift_gelu(s, b, t->stage, rows.count, &m);
    join_digits(s, &b->fc2, &b->fc2_low, &b->join2, &m.hidden, rows.count, &stream);
}

/* proj or fc2 of the prefix rows into the stream; returns when all threads have done their columns. */
static void join_columns(iviti_session *s, const iviti_dense *w, const iviti_dense *w_low,
                         const iviti_join *join, const digits *x, const source *out,
                         iviti_rows prefix, unsigned thread)
{
    const iviti_rows columns = iviti_share(s, w->out, w->out, IVITI_PANEL, thread);

    if (columns.count) {
        const iviti_dense part = iviti_dense_columns(w, columns);
        const iviti_dense part_low = x->low ? iviti_dense_columns(w_low, columns) : *w_low;
        const source some = { out->stream + columns.first, out->stride, NULL };
        join_digits(s, &part, &part_low, join, x, prefix.count, &some);
    }
    iviti_pool_barrier(&s->pool);
}

/* hidden = gelu(fc1(normed)) of the prefix rows; likewise. */
static void hidden_columns(iviti_session *s, const iviti_block *b, const mlp_rows *m,
                           iviti_rows prefix, unsigned thread)
{
    const iviti_rows columns = iviti_share(s, b->fc1.out, b->fc1.out, IVITI_GELU_GROUP, thread);

    if (columns.count)
        expand(s, b, columns, prefix.count, m);
    iviti_pool_barrier(&s->pool);
    if (b->gelu_table || b->wide_mlp)
        return;
    if (thread == 0) /* ShiftGELU needs whole rows */
        shift_gelu(s, b, 0, prefix.count, m);
    iviti_pool_barrier(&s->pool);
}

void iviti_block_finish(iviti_session *s, const iviti_block *b, const iviti_tokens *t,
                        iviti_rows prefix, unsigned thread)
{
    const iviti_geometry *g = &s->model->geometry;
    const iviti_kernels *k = &s->kernels;
    const source out = stream_rows(s, t, prefix.first);
    const size_t stride = out.stride, at = prefix.first * stride;
    const iviti_rows heads = iviti_share(s, g->stage[0].heads, g->stage[0].heads, 1, thread);
    const iviti_rows queries = iviti_share(s, b->query.out, b->query.out, IVITI_PANEL, thread);
    const size_t width = head_dim(&g->stage[0]);
    uint8_t *normed = s->buffers.normed + at, *attended = s->buffers.attended + at;
    const digits x = { attended, b->wide_attention ? s->buffers.low + at : NULL, stride };
    const mlp_rows m = mlp_rows_from(s, b, 0, prefix.first);

    if (queries.count) {
        const iviti_dense part = iviti_dense_columns(&b->query, queries);
        uint8_t *query = s->buffers.query + at + queries.first;
        k->dense_s8(&part, normed, stride, prefix.count, query, stride);
        iviti_clip_rows(s, bits_of(s, b, 0, IVITI_ACTIVATION_ATTENTION), query, stride,
                        prefix.count, queries.count);
    }
    iviti_pool_barrier(&s->pool);
    for (size_t head = heads.first; head < heads.first + heads.count; head++)
        attend_head(s, b, t, prefix, (uint32_t)head, thread);
    iviti_clip_rows(s, bits_of(s, b, 0, IVITI_ACTIVATION_PROJ), attended + heads.first * width, stride,
                    prefix.count, heads.count * width);
    iviti_pool_barrier(&s->pool);
    join_columns(s, &b->proj, &b->proj_low, &b->join1, &x, &out, prefix, thread);
    if (thread == 0)
        normalise(s, b, 0, &out, prefix.count, &m);
    iviti_pool_barrier(&s->pool);
    hidden_columns(s, b, &m, prefix, thread);
    join_columns(s, &b->fc2, &b->fc2_low, &b->join2, &m.hidden, &out, prefix, thread);
}

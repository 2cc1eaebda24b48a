/* SPDX-License-Identifier: Apache-2.0
 *
 * The transformer block, shared by ViT and Swin: x + proj(attention(norm1(x))), then
 * x + fc2(gelu(fc1(norm2(x)))). A row here is a token in window order; ViT has one window.
 *
 * Twice: for threads that own rows, and, where rows are fewer than threads could share, for threads
 * that own columns of every layer (iviti_block_finish).
 */
#include "graph/session.h"

/* Tokens that attend to each other: a Swin window, or all of a ViT. */
static uint32_t window_tokens(const iviti_session *s, uint32_t stage)
{
    return s->windows[stage].count ? s->windows[stage].tokens
                                   : iviti_stage_tokens(&s->model->geometry, stage);
}

static uint32_t head_dim(const iviti_stage *g)
{
    return g->dim / g->heads;
}

static iviti_head_panels keys_of(const iviti_session *s, uint32_t stage, unsigned parity)
{
    const iviti_stage *g = &s->model->geometry.stage[stage];
    const uint32_t tokens = window_tokens(s, stage);
    return (iviti_head_panels){ s->buffers.keys[parity], iviti_panel_bytes(tokens, head_dim(g)),
                                g->heads, head_dim(g), tokens };
}

static iviti_head_panels values_of(const iviti_session *s, uint32_t stage, unsigned parity)
{
    const iviti_stage *g = &s->model->geometry.stage[stage];
    const uint32_t tokens = window_tokens(s, stage);
    return (iviti_head_panels){ s->buffers.values[parity], iviti_panel_bytes(head_dim(g), tokens),
                                g->heads, head_dim(g), tokens };
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
    if (bits < 8)
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

static source stream_rows(const iviti_session *s, uint32_t stage, size_t first, const uint32_t *map)
{
    const size_t stride = iviti_row_stride(s->model->geometry.stage[stage].dim);
    return (source){ map ? s->buffers.stream : s->buffers.stream + first * stride, stride,
                     map ? map + first : NULL };
}

void iviti_block_project(iviti_session *s, const iviti_block *b, uint32_t stage, unsigned parity,
                         iviti_rows rows, const uint32_t *window_map)
{
    const iviti_kernels *k = &s->kernels;
    const size_t dim = s->model->geometry.stage[stage].dim, stride = iviti_row_stride(dim);
    const source in = stream_rows(s, stage, rows.first, window_map);
    const iviti_head_panels keys = keys_of(s, stage, parity);
    const iviti_head_panels values = values_of(s, stage, parity);
    uint8_t *normed = s->buffers.normed + rows.first * stride;

    if (!rows.count) /* more threads than rows */
        return;
    k->norm_s8(&b->norm1, in.stream, in.stride, in.map, rows.count, normed, stride);
    iviti_clip_rows(s, bits_of(s, b, stage, IVITI_ACTIVATION_QKV), normed, stride, rows.count, dim);
    k->dense_keys(&b->key, normed, stride, rows.first, rows.count, &keys);
    k->dense_values(&b->value, normed, stride, rows.first, rows.count, &values);
    const int bits = bits_of(s, b, stage, IVITI_ACTIVATION_ATTENTION);
    if (bits == 8)
        return;
    clip_panels(s, bits, &keys, keys_part, rows);
    clip_panels(s, bits, &values, values_part, rows);
}

static iviti_attention attention_of(const iviti_block *b, const iviti_geometry *g,
                                    uint32_t stage, uint32_t tokens, uint32_t head)
{
    const size_t bias_stride = (tokens + 15) / 16 * 16;
    return (iviti_attention){
        .kind = g->softmax_kind,
        .head_dim = head_dim(&g->stage[stage]),
        .tokens = tokens,
        .score = b->score[head],
        .exp_table = b->exp_table,
        .exp_shift = b->exp_shift,
        .output = b->output[head],
        .bias = b->position_bias ? b->position_bias + head * tokens * bias_stride : NULL,
        .bias_stride = bias_stride,
        .bias_score = b->bias_score,
    };
}

/* The rows of one head, window by window. */
static void attend_head(iviti_session *s, iviti_attention *a, iviti_rows rows, uint32_t head,
                        const iviti_head_panels *keys, const iviti_head_panels *values,
                        size_t stride, const uint8_t *region, void *scratch)
{
    size_t count = 0;

    for (size_t row = rows.first; row < rows.first + rows.count; row += count) {
        const size_t window = row / keys->tokens, token = row % keys->tokens;
        const size_t left = rows.first + rows.count - row;
        const size_t block = window * keys->heads + head;
        const size_t at = row * stride + head * keys->head_dim;

        count = keys->tokens - token < left ? keys->tokens - token : left;
        a->region = region ? region + window * keys->tokens : NULL;
        s->kernels.attention(a, s->buffers.query + at, stride, token, count,
                             keys->panels + block * keys->block,
                             values->panels + block * values->block, s->buffers.attended + at,
                             stride, scratch);
    }
}

void iviti_block_attend(iviti_session *s, const iviti_block *b, uint32_t stage, unsigned parity,
                        iviti_rows rows, const uint8_t *region, const uint32_t *window_map,
                        unsigned thread)
{
    const iviti_geometry *g = &s->model->geometry;
    const size_t dim = g->stage[stage].dim, stride = iviti_row_stride(dim);
    const size_t at = rows.first * stride;
    const source out = stream_rows(s, stage, rows.first, window_map);
    const iviti_head_panels keys = keys_of(s, stage, parity);
    const iviti_head_panels values = values_of(s, stage, parity);
    void *scratch = s->buffers.scratch + thread * s->buffers.scratch_bytes;

    if (!rows.count)
        return;
    s->kernels.dense_s8(&b->query, s->buffers.normed + at, stride, rows.count,
                        s->buffers.query + at, stride);
    iviti_clip_rows(s, bits_of(s, b, stage, IVITI_ACTIVATION_ATTENTION), s->buffers.query + at, stride,
                    rows.count, dim);
    for (uint32_t head = 0; head < keys.heads; head++) {
        iviti_attention a = attention_of(b, g, stage, keys.tokens, head);
        attend_head(s, &a, rows, head, &keys, &values, stride, region, scratch);
    }
    iviti_clip_rows(s, bits_of(s, b, stage, IVITI_ACTIVATION_PROJ), s->buffers.attended + at, stride,
                    rows.count, dim);
    s->kernels.dense_join(&b->proj, &b->join1, s->buffers.attended + at, stride, rows.count,
                          out.stream, out.stride, out.map);
}

void iviti_block_mlp(iviti_session *s, const iviti_block *b, uint32_t stage, iviti_rows rows,
                     const uint32_t *window_map)
{
    const iviti_kernels *k = &s->kernels;
    const iviti_geometry *g = &s->model->geometry;
    const size_t dim = g->stage[stage].dim, hidden_dim = g->stage[stage].hidden;
    const size_t stride = iviti_row_stride(dim), hidden_stride = iviti_row_stride(hidden_dim);
    const source stream = stream_rows(s, stage, rows.first, window_map);
    uint8_t *normed = s->buffers.normed + rows.first * stride;
    uint8_t *hidden = s->buffers.hidden + rows.first * hidden_stride;

    if (!rows.count)
        return;
    k->norm_s8(&b->norm2, stream.stream, stream.stride, stream.map, rows.count, normed, stride);
    iviti_clip_rows(s, bits_of(s, b, stage, IVITI_ACTIVATION_FC1), normed, stride, rows.count, dim);
    if (g->gelu_kind == IVITI_GELU_TABLE) { /* whose entries have the bits that they may */
        k->dense_table(&b->fc1, b->gelu_table, normed, stride, rows.count, hidden, hidden_stride);
    } else {
        k->dense_s8(&b->fc1, normed, stride, rows.count, hidden, hidden_stride);
        k->shift_gelu(hidden, hidden_stride, rows.count, hidden_dim, b->gelu_one_over_scale,
                      b->gelu_output);
        iviti_clip_rows(s, bits_of(s, b, stage, IVITI_ACTIVATION_FC2), hidden, hidden_stride,
                        rows.count, hidden_dim);
    }
    k->dense_join(&b->fc2, &b->join2, hidden, hidden_stride, rows.count, stream.stream,
                  stream.stride, stream.map);
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

/* proj or fc2 of the prefix rows into the stream; returns when all threads have done their columns. */
static void join_columns(iviti_session *s, const iviti_dense *w, const iviti_join *join,
                         const uint8_t *x, size_t x_stride, source out, iviti_rows prefix,
                         unsigned thread)
{
    const iviti_rows columns = iviti_share(s, w->out, w->out, IVITI_PANEL, thread);

    if (columns.count) {
        const iviti_dense part = iviti_dense_columns(w, columns);
        s->kernels.dense_join(&part, join, x, x_stride, prefix.count, out.stream + columns.first,
                              out.stride, NULL);
    }
    iviti_pool_barrier(&s->pool);
}

/* hidden = gelu(fc1(normed)) of the prefix rows; likewise. */
static void hidden_columns(iviti_session *s, const iviti_block *b, const uint8_t *normed,
                           size_t stride, uint8_t *hidden, size_t hidden_stride, iviti_rows prefix,
                           unsigned thread)
{
    const iviti_geometry *g = &s->model->geometry;
    const iviti_rows columns = iviti_share(s, b->fc1.out, b->fc1.out, IVITI_GELU_GROUP, thread);

    if (columns.count) {
        const iviti_dense part = iviti_dense_columns(&b->fc1, columns);
        uint8_t *y = hidden + columns.first;
        if (g->gelu_kind == IVITI_GELU_TABLE)
            s->kernels.dense_table(&part, b->gelu_table + columns.first / IVITI_GELU_GROUP * 256,
                                   normed, stride, prefix.count, y, hidden_stride);
        else
            s->kernels.dense_s8(&part, normed, stride, prefix.count, y, hidden_stride);
    }
    iviti_pool_barrier(&s->pool);
    if (g->gelu_kind == IVITI_GELU_TABLE)
        return;
    if (thread == 0) { /* ShiftGELU needs whole rows */
        s->kernels.shift_gelu(hidden, hidden_stride, prefix.count, b->fc1.out,
                              b->gelu_one_over_scale, b->gelu_output);
        iviti_clip_rows(s, bits_of(s, b, 0, IVITI_ACTIVATION_FC2), hidden, hidden_stride,
                        prefix.count, b->fc1.out);
    }
    iviti_pool_barrier(&s->pool);
}

void iviti_block_finish(iviti_session *s, const iviti_block *b, unsigned parity, iviti_rows prefix,
                        unsigned thread)
{
    const iviti_geometry *g = &s->model->geometry;
    const iviti_kernels *k = &s->kernels;
    const size_t stride = iviti_row_stride(g->stage[0].dim);
    const size_t hidden_stride = iviti_row_stride(g->stage[0].hidden);
    const source out = stream_rows(s, 0, prefix.first, NULL);
    const iviti_head_panels keys = keys_of(s, 0, parity), values = values_of(s, 0, parity);
    const iviti_rows heads = iviti_share(s, keys.heads, keys.heads, 1, thread);
    const iviti_rows queries = iviti_share(s, b->query.out, b->query.out, IVITI_PANEL, thread);
    uint8_t *normed = s->buffers.normed + prefix.first * stride;
    uint8_t *query = s->buffers.query + prefix.first * stride;
    uint8_t *attended = s->buffers.attended + prefix.first * stride;
    uint8_t *hidden = s->buffers.hidden + prefix.first * hidden_stride;
    void *scratch = s->buffers.scratch + thread * s->buffers.scratch_bytes;

    if (queries.count) {
        const iviti_dense part = iviti_dense_columns(&b->query, queries);
        k->dense_s8(&part, normed, stride, prefix.count, query + queries.first, stride);
        iviti_clip_rows(s, bits_of(s, b, 0, IVITI_ACTIVATION_ATTENTION), query + queries.first, stride,
                        prefix.count, queries.count);
    }
    iviti_pool_barrier(&s->pool);
    for (size_t head = heads.first; head < heads.first + heads.count; head++) {
        iviti_attention a = attention_of(b, g, 0, keys.tokens, (uint32_t)head);
        attend_head(s, &a, prefix, (uint32_t)head, &keys, &values, stride, NULL, scratch);
    }
    iviti_clip_rows(s, bits_of(s, b, 0, IVITI_ACTIVATION_PROJ),
                    attended + heads.first * keys.head_dim, stride, prefix.count,
                    heads.count * keys.head_dim);
    iviti_pool_barrier(&s->pool);
    join_columns(s, &b->proj, &b->join1, attended, stride, out, prefix, thread);
    if (thread == 0) {
        k->norm_s8(&b->norm2, out.stream, out.stride, NULL, prefix.count, normed, stride);
        iviti_clip_rows(s, bits_of(s, b, 0, IVITI_ACTIVATION_FC1), normed, stride, prefix.count,
                        b->fc1.in);
    }
    iviti_pool_barrier(&s->pool);
    hidden_columns(s, b, normed, stride, hidden, hidden_stride, prefix, thread);
    join_columns(s, &b->fc2, &b->join2, hidden, hidden_stride, out, prefix, thread);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Swin Transformer (Liu et al. 2021), top to bottom. The stream lies in spatial order; within a block
 * rows are in window order, and a map says which stream row each one is.
 */
#include <string.h>

#include "graph/session.h"
#include "kernels/requantize.h"

/* What a dense layer writes into the stream of a stage, saturated to s8 where the model was trained
 * so. */
static void enter(const iviti_session *s, int16_t *stream, size_t stride, size_t rows, size_t width)
{
    if (!s->model->geometry.narrow_entry)
        return;
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < width; c++)
            stream[r * stride + c] = iviti_saturate_s8(stream[r * stride + c]);
}

/* stream = patch norm(patch embedding) */
static void embed(iviti_session *s, iviti_rows rows)
{
    const iviti_model *m = s->model;
    const size_t stride = iviti_row_stride(m->geometry.stage[0].dim);
    const size_t grid = iviti_stage_tokens(&m->geometry, 0), last = rows.first + rows.count;
    int16_t *stream = s->buffers.stream + rows.first * stride;

    for (size_t row = rows.first, count; row < last; row += count) { /* picture by picture */
        count = grid - row % grid < last - row ? grid - row % grid : last - row;
        s->kernels.dense_s16(&m->embed, iviti_session_patches(s, row / grid, row % grid, count),
                             s->buffers.patch_stride, count, s->buffers.stream + row * stride,
                             stride);
    }
    if (!rows.count)
        return;
    enter(s, stream, stride, rows.count, m->embed.out);
    s->kernels.norm_s16(&m->embed_norm, stream, stride, NULL, rows.count, stream, stride);
}

/* Block j of a stage, over this thread's rows; odd blocks shift their windows. Late stages have fewer
 * windows than there may be threads, so that threads share windows: keys and values are written by panels of
 * tokens, and once all have met any rows will do. */
static void block(iviti_session *s, const iviti_block *b, uint32_t stage, uint32_t j,
                  unsigned thread)
{
    const iviti_windows *w = &s->windows[stage];
    const bool shifted = (j & 1) && w->region;
    const iviti_tokens t = { .stage = stage,
                             .window = w->tokens,
                             .stream = s->buffers.stream,
                             .map = w->map[shifted],
                             .region = shifted ? w->region : NULL };
    const size_t count = s->pictures * w->count * w->tokens;
    const iviti_rows rows = iviti_share(s, count, w->tokens, 1, thread);

    iviti_block_project(s, b, &t, iviti_share(s, count, w->tokens, IVITI_PANEL, thread));
    iviti_pool_barrier(&s->pool);
    iviti_block_attend(s, b, &t, rows, thread);
    iviti_block_mlp(s, b, &t, rows);
}

/* Four neighbours become one token of twice the width: (0,0), (1,0), (0,1), (1,1) as (row, column).
 * next_stream = reduction(norm(neighbours)) */
static void merge(iviti_session *s, uint32_t stage, unsigned thread)
{
    const iviti_model *m = s->model;
    const iviti_buffers *b = &s->buffers;
    const iviti_merge *layer = &m->merges[stage];
    const iviti_stage *from = &m->geometry.stage[stage];
    const iviti_stage *to = &m->geometry.stage[stage + 1];
    const size_t in_stride = iviti_row_stride(from->dim);
    const size_t out_stride = iviti_row_stride(to->dim);
    const size_t wide_stride = iviti_row_stride(4 * (size_t)from->dim);
    const size_t tokens = (size_t)to->grid_width * to->grid_height;
    const iviti_rows rows = iviti_share(s, s->pictures * tokens, 1, 1, thread);

    for (size_t r = rows.first; r < rows.first + rows.count; r++) {
        const size_t first = r / tokens * tokens * 4; /* of the picture, in the stream */
        const size_t y = r % tokens / to->grid_width * 2, x = r % to->grid_width * 2;
        for (size_t part = 0; part < 4; part++) {
            const size_t neighbour =
                first + (y + part % 2) * from->grid_width + x + part / 2;
            memcpy(b->merged + r * wide_stride + part * from->dim,
                   b->stream + neighbour * in_stride, from->dim * sizeof(int16_t));
        }
    }
    if (!rows.count)
        return;
    uint8_t *normed = b->hidden + rows.first * wide_stride;
    s->kernels.norm_s8(&layer->norm, b->merged + rows.first * wide_stride, wide_stride, NULL,
                       rows.count, normed, wide_stride);
    iviti_clip_rows(s, iviti_activation_bits(&m->geometry, iviti_merge_activation(&m->geometry, stage)),
                    normed, wide_stride, rows.count, layer->norm.width);
    s->kernels.dense_s16(&layer->reduction, normed, wide_stride, rows.count,
                         b->next_stream + rows.first * out_stride, out_stride);
    enter(s, b->next_stream + rows.first * out_stride, out_stride, rows.count, to->dim);
}

static void exchange_streams(iviti_session *s)
{
    int16_t *stream = s->buffers.stream;
    s->buffers.stream = s->buffers.next_stream;
    s->buffers.next_stream = stream;
}

/* logits = head(mean over tokens(norm(stream))), of one picture */
static void classify(iviti_session *s, size_t picture)
{
    const iviti_model *m = s->model;
    const iviti_buffers *b = &s->buffers;
    const iviti_stage *g = &m->geometry.stage[m->geometry.stages - 1];
    const size_t stride = iviti_row_stride(g->dim);
    const size_t tokens = (size_t)g->grid_width * g->grid_height;
    uint8_t *normed = b->normed + picture * tokens * stride;
    uint8_t *features = b->features + picture * m->geometry.features;

    s->kernels.norm_s8(&m->norm, b->stream + picture * tokens * stride, stride, NULL, tokens, normed,
                       stride);
    for (size_t c = 0; c < g->dim; c++) {
        int32_t sum = 0;
        for (size_t t = 0; t < tokens; t++)
            sum += normed[t * stride + c] - 128;
        features[c] = (uint8_t)(iviti_requantize_s8(sum, m->pool[c]) + 128);
    }
    s->kernels.dense_s32(&m->head, features, m->geometry.features, 1,
                         b->logits + picture * m->geometry.classes, m->geometry.classes);
}

void iviti_swin_forward(void *session, unsigned thread)
{
    iviti_session *s = session;
    const iviti_model *m = s->model;
    const iviti_block *b = m->blocks;

    embed(s, iviti_share(s, s->pictures * iviti_stage_tokens(&m->geometry, 0), 1, 1, thread));
    iviti_pool_barrier(&s->pool);
    for (uint32_t stage = 0; stage < m->geometry.stages; stage++) {
        for (uint32_t j = 0; j < m->geometry.stage[stage].depth; j++, b++) {
            block(s, b, stage, j, thread);
            iviti_pool_barrier(&s->pool);
        }
        if (stage + 1 < m->geometry.stages) {
            merge(s, stage, thread);
            iviti_pool_barrier(&s->pool);
            if (thread == 0)
                exchange_streams(s);
            iviti_pool_barrier(&s->pool);
        }
    }
    const iviti_rows pictures = iviti_share(s, s->pictures, 1, 1, thread);
    for (size_t i = pictures.first; i < pictures.first + pictures.count; i++)
        classify(s, i);
}

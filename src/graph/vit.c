/* SPDX-License-Identifier: Apache-2.0
 *
 * ViT and DeiT (Dosovitskiy et al. 2021, Touvron et al. 2021), top to bottom.
 */
#include <string.h>

#include "graph/prune.h"

iviti_rows iviti_rows_of_picture(iviti_rows rows, size_t picture, size_t tokens)
{
    const size_t begin = picture * tokens, end = begin + tokens, last = rows.first + rows.count;
    const size_t first = rows.first > begin ? rows.first : begin;
    return (iviti_rows){ first - begin, last < end ? last - first : end - first };
}

/* stream = position (+ patch for all but the prefix tokens), of one picture */
static void embed(iviti_session *s, size_t picture, iviti_rows rows)
{
    const iviti_model *m = s->model;
    const size_t dim = m->geometry.stage[0].dim, stride = iviti_row_stride(dim);
    const size_t prefix = m->geometry.prefix_tokens;
    const size_t end = rows.first + rows.count;
    const size_t first = rows.first > prefix ? rows.first : prefix;
    int16_t *stream =
        s->buffers.stream + picture * iviti_stage_tokens(&m->geometry, 0) * stride;

    for (size_t r = rows.first; r < end; r++)
        memcpy(stream + r * stride, m->position + r * dim, dim * sizeof(int16_t));
    if (end > first)
        s->kernels.dense_join(&m->embed, &m->embed_join,
                              iviti_session_patches(s, picture, first - prefix, end - first),
                              s->buffers.patch_stride, end - first, stream + first * stride,
                              stride, NULL);
}

/* Token head: for some classes, adds the largest of the patches' logits to those of one picture. Both have
 * one scale. normed: (tokens, dim) of the picture. */
static void add_patches(iviti_session *s, const uint8_t *normed, size_t tokens, iviti_rows classes,
                        unsigned thread, int32_t *logits)
{
    const iviti_geometry *g = &s->model->geometry;
    const size_t stride = iviti_row_stride(g->stage[0].dim);
    const iviti_dense head = iviti_dense_columns(&s->model->patches_head, classes);
    int32_t *some = s->buffers.patch_logits + thread * (IVITI_PANEL + 1) * (size_t)g->classes;
    int32_t *most = some + IVITI_PANEL * classes.count;
    size_t count;

    for (size_t c = 0; c < classes.count; c++)
        most[c] = INT32_MIN;
    for (size_t row = g->prefix_tokens; row < tokens; row += count) {
        count = tokens - row < IVITI_PANEL ? tokens - row : IVITI_PANEL;
        s->kernels.dense_s32(&head, normed + row * stride, stride, count, some, classes.count);
        for (size_t r = 0; r < count; r++)
            for (size_t c = 0; c < classes.count; c++)
                most[c] = some[r * classes.count + c] > most[c] ? some[r * classes.count + c]
                                                                : most[c];
    }
    for (size_t c = 0; c < classes.count; c++)
        logits[c] += most[c];
}

/* logits = head(norm(prefix tokens)) of every picture; the threads share the classes. */
static void classify(iviti_session *s, const iviti_tokens *t, unsigned thread)
{
    const iviti_model *m = s->model;
    const iviti_geometry *g = &m->geometry;
    const size_t dim = g->stage[0].dim, stride = iviti_row_stride(dim);
    const iviti_rows classes = iviti_share(s, g->classes, g->classes, IVITI_PANEL, thread);

    for (size_t picture = thread; picture < s->pictures; picture += s->threads)
        s->kernels.norm_s8(&m->norm, t->stream + picture * t->window * stride, stride, NULL,
                           g->prefix_tokens, s->buffers.features + picture * g->features, dim);
    iviti_pool_barrier(&s->pool);
    if (classes.count) {
        const iviti_dense head = iviti_dense_columns(&m->head, classes);
        s->kernels.dense_s32(&head, s->buffers.features, g->features, s->pictures,
                             s->buffers.logits + classes.first, g->classes);
    }
    for (size_t i = 0; i < s->pictures && g->token_head && classes.count; i++)
        add_patches(s, s->buffers.normed + i * t->window * stride, t->window, classes, thread,
                    s->buffers.logits + i * g->classes + classes.first);
}

/* The last block and the head. The head reads the prefix tokens alone, so that of each picture no
 * others are computed once keys and values of all are there; a token head reads all. */
static void finish(iviti_session *s, const iviti_block *b, const iviti_tokens *t, iviti_rows rows,
                   unsigned thread)
{
    if (s->model->geometry.token_head) {
        const size_t stride = iviti_row_stride(s->model->geometry.stage[0].dim);
        iviti_block_attend(s, b, t, rows, thread);
        iviti_block_mlp(s, b, t, rows);
        if (rows.count)
            s->kernels.norm_s8(&s->model->patches_norm, t->stream + rows.first * stride, stride,
                               NULL, rows.count, s->buffers.normed + rows.first * stride, stride);
        iviti_pool_barrier(&s->pool);
        classify(s, t, thread);
        return;
    }
    for (size_t picture = 0; picture < s->pictures; picture++) {
        const iviti_rows prefix = { picture * t->window, s->model->geometry.prefix_tokens };
        iviti_block_finish(s, b, t, prefix, thread);
    }
    classify(s, t, thread);
}

void iviti_vit_forward(void *session, unsigned thread)
{
    iviti_session *s = session;
    const iviti_model *m = s->model;
    const uint32_t last = m->geometry.depth - 1;
    iviti_tokens t = { .window = iviti_stage_tokens(&m->geometry, 0), .stream = s->buffers.stream };
    iviti_rows rows = iviti_share(s, s->pictures * t.window, t.window, IVITI_PANEL, thread);

    iviti_stem_forward(s, thread);
    for (size_t p = rows.first / t.window; p * t.window < rows.first + rows.count; p++)
        embed(s, p, iviti_rows_of_picture(rows, p, t.window));
    for (uint32_t i = 0; i <= last; i++) {
        const iviti_block *b = &m->blocks[i];
        t.parity = i & 1;
        rows = iviti_prune_before(s, i, &t, rows, thread);
        iviti_block_project(s, b, &t, rows);
        iviti_pool_barrier(&s->pool);
        if (i == last)
            break;
        iviti_block_attend(s, b, &t, rows, thread);
        rows = iviti_prune_within(s, i, &t, rows, thread);
        iviti_block_mlp(s, b, &t, rows);
    }
    finish(s, &m->blocks[last], &t, rows, thread);
    iviti_record_last(s, &t, thread);
}

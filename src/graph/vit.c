/* SPDX-License-Identifier: Apache-2.0
 *
 * ViT and DeiT (Dosovitskiy et al. 2021, Touvron et al. 2021), top to bottom.
 */
#include <string.h>

#include "graph/session.h"

/* Rows of picture `picture` among `rows`, counted within the picture. */
static iviti_rows rows_of_picture(iviti_rows rows, size_t picture, size_t tokens)
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

/* logits = head(norm(prefix tokens)) of every picture; the threads share the classes. */
static void classify(iviti_session *s, unsigned thread)
{
    const iviti_model *m = s->model;
    const iviti_geometry *g = &m->geometry;
    const size_t dim = g->stage[0].dim, stride = iviti_row_stride(dim);
    const size_t tokens = iviti_stage_tokens(g, 0);
    const iviti_rows classes = iviti_share(s, g->classes, g->classes, IVITI_PANEL, thread);

    for (size_t picture = thread; picture < s->pictures; picture += s->threads)
        s->kernels.norm_s8(&m->norm, s->buffers.stream + picture * tokens * stride, stride, NULL,
                           g->prefix_tokens, s->buffers.features + picture * g->features, dim);
    iviti_pool_barrier(&s->pool);
    if (classes.count) {
        const iviti_dense head = iviti_dense_columns(&m->head, classes);
        s->kernels.dense_s32(&head, s->buffers.features, g->features, s->pictures,
                             s->buffers.logits + classes.first, g->classes);
    }
}

/* The last block and the head. The head reads the prefix tokens alone, so that of each picture no
 * others are computed once keys and values of all are there. */
static void finish(iviti_session *s, const iviti_block *b, unsigned parity, unsigned thread)
{
    const size_t tokens = iviti_stage_tokens(&s->model->geometry, 0);

    for (size_t picture = 0; picture < s->pictures; picture++) {
        const iviti_rows prefix = { picture * tokens, s->model->geometry.prefix_tokens };
        iviti_block_finish(s, b, parity, prefix, thread);
    }
    classify(s, thread);
}

void iviti_vit_forward(void *session, unsigned thread)
{
    iviti_session *s = session;
    const iviti_model *m = s->model;
    const size_t tokens = iviti_stage_tokens(&m->geometry, 0);
    const iviti_rows rows = iviti_share(s, s->pictures * tokens, tokens, IVITI_PANEL, thread);
    const uint32_t last = m->geometry.depth - 1;

    for (size_t picture = rows.first / tokens; picture * tokens < rows.first + rows.count; picture++)
        embed(s, picture, rows_of_picture(rows, picture, tokens));
    for (uint32_t i = 0; i < last; i++) {
        const iviti_block *b = &m->blocks[i];
        iviti_block_project(s, b, 0, i & 1, rows, NULL);
        iviti_pool_barrier(&s->pool);
        iviti_block_attend(s, b, 0, i & 1, rows, NULL, NULL, thread);
        iviti_block_mlp(s, b, 0, rows, NULL);
    }
    iviti_block_project(s, &m->blocks[last], 0, last & 1, rows, NULL);
    iviti_pool_barrier(&s->pool);
    finish(s, &m->blocks[last], last & 1, thread);
}

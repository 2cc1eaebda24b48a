/* SPDX-License-Identifier: Apache-2.0
 *
 * ViT and DeiT (Dosovitskiy et al. 2021, Touvron et al. 2021), top to bottom.
 */
#include <string.h>

#include "graph/session.h"

/* stream = position (+ patch for all but the prefix tokens) */
static void embed(iviti_session *s, iviti_rows rows)
{
    const iviti_model *m = s->model;
    const iviti_buffers *b = &s->buffers;
    const size_t dim = m->geometry.stage[0].dim;
    const size_t stride = iviti_row_stride(dim);
    const size_t prefix = m->geometry.prefix_tokens;
    const size_t end = rows.first + rows.count;
    const size_t first = rows.first > prefix ? rows.first : prefix;

    for (size_t r = rows.first; r < end; r++)
        memcpy(b->stream + r * stride, m->position + r * dim, dim * sizeof(int16_t));
    if (end > first)
        s->kernels.dense_join(&m->embed, &m->embed_join,
                              b->patches + (first - prefix) * b->patch_stride, b->patch_stride,
                              end - first, b->stream + first * stride, stride, NULL);
}

/* logits = head(norm(prefix tokens)) */
static void classify(iviti_session *s)
{
    const iviti_model *m = s->model;
    const size_t dim = m->geometry.stage[0].dim;

    s->kernels.norm_s8(&m->norm, s->buffers.stream, iviti_row_stride(dim), NULL,
                       m->geometry.prefix_tokens, s->buffers.features, dim);
    s->kernels.dense_s32(&m->head, s->buffers.features, m->geometry.features, 1, s->buffers.logits,
                         m->geometry.classes);
}

void iviti_vit_forward(void *session, unsigned thread)
{
    iviti_session *s = session;
    const iviti_model *m = s->model;
    const size_t prefix = m->geometry.prefix_tokens;
    const iviti_rows rows =
        iviti_share(s, iviti_stage_tokens(&m->geometry, 0), IVITI_PANEL, thread);
    /* Of many threads the first may have no rows at all. */
    const bool has_prefix = rows.first == 0 && rows.count > 0;

    embed(s, rows);
    for (uint32_t i = 0; i < m->geometry.depth; i++) {
        const iviti_block *b = &m->blocks[i];
        /* The head reads the prefix tokens alone, so the last block computes no others. */
        const bool last = i + 1 == m->geometry.depth;
        const iviti_rows queries = last ? (iviti_rows){ 0, has_prefix ? prefix : 0 } : rows;

        iviti_block_project(s, b, 0, i & 1, rows, queries, NULL);
        iviti_pool_barrier(&s->pool);
        iviti_block_attend(s, b, 0, i & 1, queries, NULL, thread);
        iviti_block_join(s, b, 0, queries, NULL);
        iviti_block_mlp(s, b, 0, queries, NULL);
    }
    if (has_prefix)
        classify(s);
}

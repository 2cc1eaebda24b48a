/* SPDX-License-Identifier: Apache-2.0
 *
 * A network's products follow from its geometry alone. Nothing is left out: the library's own run
 * skips what the head does not read, a model as it is defined does not.
 */
#include "bench/products.h"

static void add(product_list *list, product p)
{
    list->item[list->count++] = p;
}

static void add_dense(product_list *list, uint32_t rows, uint32_t in, uint32_t out)
{
    add(list, (product){ 1, rows, in, out, true });
}

/* A block whose MLP is for `leaving` of its tokens. */
static void add_block(product_list *list, const iviti_stage *s, uint32_t tokens, uint32_t leaving)
{
    const uint32_t seen = s->window != 0 ? s->window * s->window : tokens;
    const uint32_t head_dim = s->dim / s->heads;
    const uint32_t heads = tokens / seen * s->heads; /* of all windows */

    add_dense(list, tokens, s->dim, 3 * s->dim);
    add(list, (product){ heads, seen, head_dim, seen, false });
    add(list, (product){ heads, seen, seen, head_dim, false });
    add_dense(list, tokens, s->dim, s->dim);
    add_dense(list, leaving, s->dim, s->hidden);
    add_dense(list, leaving, s->hidden, s->dim);
}

/* What choosing the tokens of a stage of pruning takes. */
static void add_pruning(product_list *list, const iviti_geometry *g, uint32_t k)
{
    const uint32_t dim = g->stage[0].dim, heads = g->stage[0].heads, head_dim = dim / heads;
    const uint32_t before =
        k > 0 ? iviti_leaving_tokens(g, g->prune.at[k - 1]) : iviti_stage_tokens(g, 0);
    const uint32_t patches = before - g->prefix_tokens;

    switch (g->prune.kind) {
    case IVITI_PRUNE_PREDICTOR:
        add_dense(list, patches, dim, dim);
        add_dense(list, 1, dim / 2, dim / 2);
        add_dense(list, patches, dim / 2, dim / 2);
        add_dense(list, patches, dim / 2, dim / 4);
        add_dense(list, patches, dim / 4, 1);
        break;
    case IVITI_PRUNE_CLS:
        add(list, (product){ heads, 1, head_dim, before, false });
        break;
    default:
        add_dense(list, before, dim, head_dim);
        add(list, (product){ 1, before - before / 2, head_dim, before / 2, false });
        break;
    }
}

void products_of(const iviti_geometry *g, product_list *list)
{
    const iviti_stage *const first = &g->stage[0];

    list->count = 0;
    for (uint32_t i = 0; i < g->convolutions; i++) {
        const iviti_convolution *const c = &g->convolution[i];
        add_dense(list, c->width * c->height, iviti_convolution_inputs(g, i), c->channels);
    }
    add_dense(list, first->grid_width * first->grid_height, iviti_embed_inputs(g), first->dim);
    for (uint32_t i = 0; i < g->stages; i++) {
        const iviti_stage *const s = &g->stage[i];
        for (uint32_t j = 0; j < s->depth; j++) {
            const uint32_t tokens = iviti_stage_tokens(g, i);
            const bool vit = g->family == IVITI_VIT;
            add_block(list, s, vit ? iviti_entering_tokens(g, j) : tokens,
                      vit ? iviti_leaving_tokens(g, j) : tokens);
        }
        if (i + 1 < g->stages) {
            add_dense(list, iviti_stage_tokens(g, i + 1), 4 * s->dim, g->stage[i + 1].dim);
        }
    }
    for (uint32_t k = 0; k < g->prune.stages; k++) {
        add_pruning(list, g, k);
    }
    add_dense(list, 1, g->features, g->classes);
    if (g->token_head) {
        add_dense(list, iviti_leaving_tokens(g, g->depth - 1) - g->prefix_tokens, first->dim,
                  g->classes);
    }
}

uint64_t product_macs(const product *p)
{
    return (uint64_t)p->batch * p->rows * p->inner * p->columns;
}

uint64_t products_macs(const product_list *list)
{
    uint64_t macs = 0;

    for (size_t i = 0; i < list->count; i++) {
        macs += product_macs(&list->item[i]);
    }
    return macs;
}

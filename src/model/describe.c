/* SPDX-License-Identifier: Apache-2.0
 *
 * What a program may ask of a model.
 */
#include <string.h>

#include "model/model.h"
#include "model/schema.h"

/* Weights, biases and position table entries: what training has set. */
static uint64_t count_parameters(const iviti_geometry *g)
{
    iviti_tensor_spec spec;
    uint64_t count = 0;
    for (size_t i = 0; iviti_schema_tensor(g, i, &spec); i++) {
        const bool dense = spec.kind == IVITI_DENSE &&
                           (spec.field == IVITI_FIELD_WEIGHT || spec.field == IVITI_FIELD_BIAS);
        const bool norm = spec.kind == IVITI_NORM &&
                          (spec.field == IVITI_FIELD_MULTIPLIER || spec.field == IVITI_FIELD_BIAS);
        if (dense || norm || spec.owner == IVITI_EMBED_POSITION ||
            spec.owner == IVITI_BLOCK_POSITION_BIAS)
            count += spec.bits != 0 ? (uint64_t)spec.shape[0] * spec.inputs : spec.count;
    }
    return count;
}

/* What choosing the tokens of a stage of pruning takes, beside attention itself. */
static uint64_t prune_macs(const iviti_geometry *g, uint32_t k)
{
    const uint64_t c = g->stage[0].dim, head_dim = c / g->stage[0].heads;
    const uint32_t block = g->prune.at[k];
    const uint64_t before = k > 0 ? iviti_leaving_tokens(g, g->prune.at[k - 1])
                                  : iviti_stage_tokens(g, 0);
    const uint64_t entering = iviti_entering_tokens(g, block);
    switch (g->prune.kind) {
    case IVITI_PRUNE_PREDICTOR:
        return (before - g->prefix_tokens) * (c * c + c / 2 * (c / 2) + c / 2 * (c / 4) + c / 4) +
               c / 2 * (c / 2);
    case IVITI_PRUNE_CLS:
        return entering * c;
    default: /* mean keys, and the products of all pairs */
        return entering * c * head_dim + (entering - entering / 2) * (entering / 2) * head_dim;
    }
}

/* Multiply-accumulates of a block: its attention and its MLP, which may be for fewer tokens. */
static uint64_t block_macs(const iviti_geometry *g, uint32_t stage, uint32_t block)
{
    const iviti_stage *const s = &g->stage[stage];
    const bool vit = g->family == IVITI_VIT;
    const uint64_t tokens = vit ? iviti_entering_tokens(g, block) : iviti_stage_tokens(g, stage);
    const uint64_t leaving = vit ? iviti_leaving_tokens(g, block) : tokens;
    const uint64_t seen = vit ? tokens : (uint64_t)s->window * s->window;
    return tokens * (4ull * s->dim * s->dim + 2 * seen * s->dim) +
           leaving * 2ull * s->dim * s->hidden;
}

static uint64_t count_macs(const iviti_geometry *g)
{
    const iviti_stage *const first = &g->stage[0];
    const uint64_t grid = (uint64_t)first->grid_width * first->grid_height;
    uint64_t macs = grid * first->dim * iviti_embed_inputs(g);
    for (uint32_t i = 0; i < g->convolutions; i++) {
        const iviti_convolution *const c = &g->convolution[i];
        macs += (uint64_t)c->width * c->height * c->channels * iviti_convolution_inputs(g, i);
    }
    if (g->token_head)
        macs += (uint64_t)(iviti_leaving_tokens(g, g->depth - 1) - g->prefix_tokens) * first->dim *
                g->classes;
    uint32_t block = 0;
    for (uint32_t i = 0; i < g->stages; i++) {
        const iviti_stage *const s = &g->stage[i];
        for (uint32_t j = 0; j < s->depth; j++)
            macs += block_macs(g, i, block++);
        if (i + 1 < g->stages)
            macs += iviti_stage_tokens(g, i) / 4 * (4ull * s->dim) * (2ull * s->dim);
    }
    for (uint32_t k = 0; k < g->prune.stages; k++)
        macs += prune_macs(g, k);
    return macs + (uint64_t)g->classes * g->features;
}

void iviti_model_describe(const iviti_model *model, iviti_model_info *info)
{
    const iviti_geometry *const g = &model->geometry;
    *info = (iviti_model_info){
        .architecture = g->family == IVITI_VIT ? "vit" : "swin",
        .image_width = g->image_width,
        .image_height = g->image_height,
        .patch_size = g->patch,
        .depth = g->depth,
        .dim = g->stage[0].dim,
        .classes = g->classes,
        .features = g->features,
        .tokens = iviti_stage_tokens(g, 0),
        .prefix_tokens = g->prefix_tokens,
        .parameters = count_parameters(g),
        .macs = count_macs(g),
        .logits_multiplier = g->logits_multiplier,
        .logits_shift = g->logits_shift,
        .memory = model->memory,
        .grid_width = g->stage[0].grid_width,
        .grid_height = g->stage[0].grid_height,
        .prune_stages = g->prune.stages,
    };
}

const char *iviti_model_label(const iviti_model *model, uint32_t index)
{
    if (model->labels == NULL || index >= model->geometry.classes)
        return "";
    return model->labels + model->label_offset[index];
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "quantize/emit.h"

static const void *of_dense(const integer_dense *d, iviti_field field)
{
    switch (field) {
    case IVITI_FIELD_WEIGHT:
        return d->packed ? (const void *)d->packed : d->weight;
    case IVITI_FIELD_BIAS:
        return d->bias;
    case IVITI_FIELD_MULTIPLIER:
        return d->factor.multiplier;
    default:
        return d->factor.shift;
    }
}

static const void *of_norm(const integer_norm *n, iviti_field field)
{
    switch (field) {
    case IVITI_FIELD_BIAS:
        return n->bias;
    case IVITI_FIELD_EPSILON:
        return n->epsilon;
    case IVITI_FIELD_MULTIPLIER:
        return n->factor.multiplier;
    default:
        return n->factor.shift;
    }
}

static const void *of_factors(const int32_t *multiplier, const int8_t *shift, iviti_field field)
{
    return field == IVITI_FIELD_MULTIPLIER ? (const void *)multiplier : shift;
}

static const void *of_block(const integer_block *b, const iviti_tensor_spec *spec)
{
    const iviti_field field = spec->field;

    switch (spec->owner) {
    case IVITI_BLOCK_NORM1:
        return of_norm(&b->norm1, field);
    case IVITI_BLOCK_QKV:
        return of_dense(&b->qkv, field);
    case IVITI_BLOCK_SCORE:
        return of_factors(b->score.multiplier, b->score.shift, field);
    case IVITI_BLOCK_EXP_TABLE:
        return b->wide_exp ? (const void *)b->wide_exp : b->exp_table;
    case IVITI_BLOCK_EXP_SCALE:
        return &b->logit_scale;
    case IVITI_BLOCK_EXPONENTIALS:
        return b->exponentials;
    case IVITI_BLOCK_EXP_POLYNOMIAL:
        return b->exp_polynomial;
    case IVITI_BLOCK_THRESHOLDS:
        return b->sulq_thresholds;
    case IVITI_BLOCK_ETA:
        return b->sulq_eta;
    case IVITI_BLOCK_POSITION_BIAS:
        return b->position_bias;
    case IVITI_BLOCK_BIAS_SCORE:
        return of_factors(&b->bias_multiplier, &b->bias_shift, field);
    case IVITI_BLOCK_OUTPUT:
        return of_factors(b->output.multiplier, b->output.shift, field);
    case IVITI_BLOCK_PROJ:
        return of_dense(&b->proj, field);
    case IVITI_BLOCK_JOIN1:
        return of_factors(b->join1.multiplier, b->join1.shift, field);
    case IVITI_BLOCK_NORM2:
        return of_norm(&b->norm2, field);
    case IVITI_BLOCK_FC1:
        return of_dense(&b->fc1, field);
    case IVITI_BLOCK_GELU_TABLE:
        return b->wide_gelu ? (const void *)b->wide_gelu : b->gelu_table;
    case IVITI_BLOCK_GELU_SCALE:
        return &b->gelu_scale;
    case IVITI_BLOCK_GELU_POLYNOMIAL:
        return b->gelu_polynomial;
    case IVITI_BLOCK_GELU_OUTPUT:
        return of_factors(&b->gelu_multiplier, &b->gelu_shift, field);
    case IVITI_BLOCK_FC2:
        return of_dense(&b->fc2, field);
    default:
        return of_factors(b->join2.multiplier, b->join2.shift, field);
    }
}

static const void *of_predictor(const integer_predictor *p, const iviti_tensor_spec *spec)
{
    switch (spec->owner) {
    case IVITI_PREDICTOR_NORM:
        return of_norm(&p->norm, spec->field);
    case IVITI_PREDICTOR_IN:
        return of_dense(&p->in, spec->field);
    case IVITI_PREDICTOR_IN_TABLE:
        return p->in_table;
    case IVITI_PREDICTOR_MEAN:
        return of_factors(p->mean.multiplier, p->mean.shift, spec->field);
    case IVITI_PREDICTOR_GLOBAL:
        return p->global;
    case IVITI_PREDICTOR_LOCAL:
        return of_dense(&p->local, spec->field);
    case IVITI_PREDICTOR_LOCAL_TABLE:
        return p->local_table;
    case IVITI_PREDICTOR_OUT:
        return of_dense(&p->out, spec->field);
    case IVITI_PREDICTOR_OUT_TABLE:
        return p->out_table;
    default:
        return p->score;
    }
}

const void *integer_network_tensor(const integer_network *n, const iviti_tensor_spec *spec)
{
    switch (spec->owner) {
    case IVITI_STEM:
        return of_dense(&n->stem[spec->index], spec->field);
    case IVITI_EMBED_PIXELS:
        return n->pixel_table;
    case IVITI_EMBED:
        return of_dense(&n->embed, spec->field);
    case IVITI_EMBED_POSITION:
        return n->position;
    case IVITI_EMBED_JOIN:
        return of_factors(n->embed_join.multiplier, n->embed_join.shift, spec->field);
    case IVITI_EMBED_NORM:
        return of_norm(&n->embed_norm, spec->field);
    case IVITI_MERGE_NORM:
        return of_norm(&n->merges[spec->index].norm, spec->field);
    case IVITI_MERGE_REDUCTION:
        return of_dense(&n->merges[spec->index].reduction, spec->field);
    case IVITI_FINAL_NORM:
        return of_norm(&n->norm, spec->field);
    case IVITI_POOL:
        return of_factors(n->pool.multiplier, n->pool.shift, spec->field);
    case IVITI_HEAD:
        return of_dense(&n->head, spec->field);
    case IVITI_PATCHES_NORM:
        return of_norm(&n->patches_norm, spec->field);
    case IVITI_PATCHES_HEAD:
        return of_dense(&n->patches_head, spec->field);
    case IVITI_MERGING_KEY:
        return of_dense(&n->mean_keys[spec->index], spec->field);
    case IVITI_MERGING_SIZE:
        return of_factors(n->size.multiplier, n->size.shift, spec->field);
    default:
        if (spec->owner >= IVITI_PREDICTOR_NORM && spec->owner <= IVITI_PREDICTOR_SCORE)
            return of_predictor(&n->predictors[spec->index], spec);
        return of_block(&n->blocks[spec->index], spec);
    }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Every tensor of a checkpoint must have exactly the shape that the geometry asks for.
 */
#include "network/source_shape.h"

#include <stdio.h>

/* (out, in) of a linear layer; (out) alone, in = 0, of everything else. */
typedef struct extent {
    uint64_t out, in;
} extent;

static extent extent_of(const source *s, module m, uint32_t stage)
{
    const iviti_geometry *g = &s->geometry;
    const uint64_t c = g->stage[stage].dim;
    const uint64_t hidden = g->stage[stage].hidden;
    const uint64_t last = g->stage[g->stages - 1].dim;
    const uint64_t side = 2 * (uint64_t)s->table_window[stage] - 1;
    switch (m) {
    case MODULE_EMBED:
        return (extent){ c, iviti_embed_inputs(g) };
    case MODULE_NORM:
        return (extent){ last, 0 };
    case MODULE_HEAD:
    case MODULE_HEAD_DISTILL:
    case MODULE_HEAD_PATCHES:
        return (extent){ g->classes, last };
    case MODULE_QKV:
        return (extent){ 3 * c, c };
    case MODULE_QUERY:
    case MODULE_KEY:
    case MODULE_VALUE:
    case MODULE_PROJ:
        return (extent){ c, c };
    case MODULE_BIAS_TABLE:
        return (extent){ side * side, g->stage[stage].heads };
    case MODULE_FC1:
        return (extent){ hidden, c };
    case MODULE_FC2:
        return (extent){ c, hidden };
    case MODULE_MERGE_NORM:
        return (extent){ 4 * c, 0 };
    case MODULE_MERGE_REDUCTION:
        return (extent){ 2 * c, 4 * c };
    case MODULE_PREDICTOR_IN:
        return (extent){ c, c };
    case MODULE_PREDICTOR_OUT:
        return (extent){ c / 2, c };
    case MODULE_PREDICTOR_OUT2:
        return (extent){ c / 4, c / 2 };
    case MODULE_PREDICTOR_OUT3:
        return (extent){ 2, c / 4 };
    default:
        return (extent){ c, 0 };
    }
}

static bool has_shape(const checkpoint_tensor *t, uint32_t rank, const uint64_t *shape)
{
    if (t->rank != rank)
        return false;
    for (uint32_t i = 0; i < rank; i++)
        if (t->shape[i] != shape[i])
            return false;
    return true;
}

/* Whether the dimensions, multiplied in two groups, are (first, second): (dim, heads, width) is a
 * matrix of dim and heads * width. */
static bool splits_into(const checkpoint_tensor *t, uint64_t first, uint64_t second)
{
    uint64_t before = 1;
    for (uint32_t i = 0; i < t->rank; i++) {
        before *= t->shape[i];
        if (before == first && t->count == first * second)
            return true;
    }
    return false;
}

static bool weight_fits(const source *s, module m, const checkpoint_tensor *t, extent e)
{
    const uint64_t side = s->geometry.embed_side, channels = iviti_embed_channels(&s->geometry);
    const bool flax = s->map->flax;
    switch (m) {
    case MODULE_EMBED:
        return flax ? has_shape(t, 4, (const uint64_t[]){ side, side, channels, e.out })
                    : has_shape(t, 4, (const uint64_t[]){ e.out, channels, side, side });
    case MODULE_CLASS_TOKEN:
    case MODULE_DISTILL_TOKEN:
        return t->rank >= 1 && t->count == e.out && t->shape[t->rank - 1] == e.out;
    case MODULE_POSITION: /* its rows are told by itself */
        return t->rank >= 2 && t->shape[t->rank - 1] == e.out &&
               t->count == e.out * t->shape[t->rank - 2];
    default:
        break;
    }
    if (e.in == 0)
        return has_shape(t, 1, (const uint64_t[]){ e.out });
    if (flax)
        return t->rank >= 2 && splits_into(t, e.in, e.out);
    return has_shape(t, 2, (const uint64_t[]){ e.out, e.in });
}

static bool bias_fits(const source *s, const checkpoint_tensor *t, extent e)
{
    if (s->map->flax)
        return t->rank >= 1 && t->count == e.out;
    return has_shape(t, 1, (const uint64_t[]){ e.out });
}

void shape_text(const checkpoint_tensor *t, char text[SHAPE_TEXT])
{
    size_t used = (size_t)snprintf(text, SHAPE_TEXT, "(");
    for (uint32_t i = 0; i < t->rank && used < SHAPE_TEXT; i++)
        used += (size_t)snprintf(text + used, SHAPE_TEXT - used, "%s%llu", i ? ", " : "",
                                 (unsigned long long)t->shape[i]);
    if (used < SHAPE_TEXT)
        snprintf(text + used, SHAPE_TEXT - used, ")");
}

static bool wrong(const source *s, const checkpoint_tensor *t, extent e, bool bias, report *r)
{
    char text[SHAPE_TEXT];
    shape_text(t, text);
    if (bias || e.in == 0)
        return report_fail(r, "%s: tensor %s has the shape %s where %llu values are needed",
                           s->c->file, t->name, text, (unsigned long long)e.out);
    return report_fail(
        r, "%s: tensor %s has the shape %s where %llu outputs of %llu inputs are needed",
        s->c->file, t->name, text, (unsigned long long)e.out, (unsigned long long)e.in);
}

static bool check_layer(const source *s, module m, uint32_t stage, const source_layer *layer,
                        report *r)
{
    if (layer->weight == NULL)
        return true;
    const extent e = extent_of(s, m, stage);
    if (!weight_fits(s, m, layer->weight, e))
        return wrong(s, layer->weight, e, false, r);
    if (layer->bias != NULL && !bias_fits(s, layer->bias, e))
        return wrong(s, layer->bias, e, true, r);
    return true;
}

bool source_check_shapes(const source *s, report *r)
{
    const iviti_geometry *g = &s->geometry;
    for (module m = 0; m < MODULE_FIRST_STEM; m++)
        if (!check_layer(s, m, 0, &s->once[m], r))
            return false;
    uint32_t block = 0;
    for (uint32_t stage = 0; stage < g->stages; stage++)
        for (uint32_t i = 0; i < g->stage[stage].depth; i++, block++)
            for (module m = MODULE_FIRST_BLOCK; m < MODULE_FIRST_MERGE; m++)
                if (!check_layer(s, m, stage, &s->block[block][m], r))
                    return false;
    for (uint32_t stage = 0; stage + 1 < g->stages; stage++)
        for (module m = MODULE_FIRST_MERGE; m < MODULE_FIRST_PREDICTOR; m++)
            if (!check_layer(s, m, stage, &s->merge[stage][m], r))
                return false;
    for (uint32_t k = 0; k < s->predictors; k++)
        for (module m = MODULE_FIRST_PREDICTOR; m < MODULE_COUNT; m++)
            if (!check_layer(s, m, 0, &s->predictor[k][m], r))
                return false;
    return true;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Finds the tensor of every module under the dialect's names; what is missing or left over is
 * named.
 */
#include "network/source.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* LayerScale and biases may be absent from a block, but then from all of them; the names of the
 * required ones are what the sentence about an incomplete checkpoint says. */
static bool is_required(const source *s, module m)
{
    switch (m) {
    case MODULE_DISTILL_TOKEN:
    case MODULE_HEAD_DISTILL:
    case MODULE_HEAD_PATCHES:
    case MODULE_SCALE1:
    case MODULE_SCALE2:
        return false;
    default:
        return s->map->key[m] != NULL;
    }
}

/* qkv_bias=False is a published option, and merging layers have no bias by definition, convolutions
 * none before a batch norm. */
static bool may_lack_bias(module m)
{
    return m == MODULE_QKV || m == MODULE_QUERY || m == MODULE_KEY || m == MODULE_VALUE ||
           m == MODULE_MERGE_REDUCTION || m == MODULE_STEM;
}

static void mark(source *s, const checkpoint_tensor *t)
{
    s->used[t - s->c->tensors] = true;
}

static bool check_type(const source *s, const checkpoint_tensor *t, report *r)
{
    switch (t->type) {
    case CHECKPOINT_F32:
    case CHECKPOINT_F16:
    case CHECKPOINT_BF16:
    case CHECKPOINT_F64:
        return true;
    default:
        return report_fail(r,
                           "%s: tensor %s holds integers where floating-point weights are needed "
                           "(an already quantised checkpoint?)",
                           s->c->file, t->name);
    }
}

static bool collect(source *s, module m, place at, source_layer *layer, report *r)
{
    char name[KEY_BYTES];
    const checkpoint_tensor *t = keymap_find(s->map, s->prefix, s->c, m, false, at, name);
    if (t == NULL) {
        if (!is_required(s, m))
            return true;
        if (m == MODULE_HEAD)
            return report_fail(r,
                               "%s: there is no classifier (tensor %s): a network that gives "
                               "features alone is not supported",
                               s->c->file, name);
        return report_fail(r, "%s: tensor %s of the %s naming is missing", s->c->file, name,
                           s->map->name);
    }
    mark(s, t);
    layer->weight = t;
    if (!check_type(s, t, r))
        return false;
    if (module_kind_of(m) == MODULE_VECTOR)
        return true;
    layer->bias = keymap_find(s->map, s->prefix, s->c, m, true, at, name);
    if (layer->bias == NULL)
        return may_lack_bias(m) || report_fail(r, "%s: tensor %s of the %s naming is missing",
                                               s->c->file, name, s->map->name);
    mark(s, layer->bias);
    return check_type(s, layer->bias, r);
}

/* Whether the stage's block exists, told by its first LayerNorm. */
static bool block_exists(const source *s, uint32_t stage, uint32_t block)
{
    char name[KEY_BYTES];
    const place at = { stage, block };
    return keymap_find(s->map, s->prefix, s->c, MODULE_NORM1, false, at, name) != NULL;
}

static bool count_blocks(source *s, report *r)
{
    iviti_geometry *g = &s->geometry;
    const uint32_t most_stages = g->family == IVITI_SWIN ? IVITI_MAX_STAGES : 1;
    while (g->stages < most_stages && block_exists(s, g->stages, 0)) {
        iviti_stage *stage = &g->stage[g->stages];
        while (block_exists(s, g->stages, stage->depth)) {
            stage->depth++;
            if (++g->depth > IVITI_MAX_BLOCKS)
                return report_fail(r, "%s: more than %d blocks are not supported", s->c->file,
                                   IVITI_MAX_BLOCKS);
        }
        g->stages++;
    }
    if (g->depth == 0)
        return report_fail(r, "%s: there is not one whole block in the %s naming", s->c->file,
                           s->map->name);
    return true;
}

static bool collect_stem(source *s, report *r)
{
    uint32_t *const count = &s->geometry.convolutions;
    char name[KEY_BYTES];
    while (keymap_find(s->map, s->prefix, s->c, MODULE_STEM, false, (place){ 0, *count }, name)) {
        if (*count == IVITI_MAX_CONVOLUTIONS)
            return report_fail(r, "%s: more than %d convolutions before the patches are not supported",
                               s->c->file, IVITI_MAX_CONVOLUTIONS);
        for (module m = MODULE_FIRST_STEM; m < MODULE_FIRST_BLOCK; m++)
            if (!collect(s, m, (place){ 0, *count }, &s->stem[*count][m], r))
                return false;
        ++*count;
    }
    s->lvvit = *count > 0 && strcmp(s->map->name, "timm") == 0;
    return true;
}

static bool check_scales(const source *s, report *r)
{
    for (uint32_t i = 0; i < s->geometry.depth; i++) {
        const bool first = s->block[0][MODULE_SCALE1].weight != NULL;
        if ((s->block[i][MODULE_SCALE1].weight != NULL) != first ||
            (s->block[i][MODULE_SCALE2].weight != NULL) != first)
            return report_fail(r,
                               "%s: LayerScale is incomplete: block %u differs from the attention "
                               "of block 0",
                               s->c->file, (unsigned)i);
    }
    return true;
}

static bool check_left_over(const source *s, report *r)
{
    char names[400] = "";
    size_t used = 0, count = 0;
    for (size_t i = 0; i < s->c->count; i++) {
        const char *name = s->c->tensors[i].name;
        if (s->used[i] || keymap_may_ignore(name, s->ivit))
            continue;
        if (++count <= 3 && used < sizeof names)
            used += (size_t)snprintf(names + used, sizeof names - used, "%s%.100s",
                                     count == 1 ? "" : ", ", name);
    }
    if (count == 0)
        return true;
    return report_fail(r, "%s: %zu tensor%s no place in a %s of the %s naming: %s%s", s->c->file,
                       count, count == 1 ? " has" : "s have",
                       s->geometry.family == IVITI_SWIN ? "Swin" : "ViT", s->map->name, names,
                       count > 3 ? ", ..." : "");
}

/* DynamicViT's, as many as there are. */
static bool collect_predictors(source *s, report *r)
{
    char name[KEY_BYTES];
    while (keymap_find(s->map, s->prefix, s->c, MODULE_FIRST_PREDICTOR, false,
                       (place){ s->predictors, 0 }, name) != NULL) {
        if (s->predictors == s->geometry.depth)
            return report_fail(r, "%s: has more predictors than its %u blocks", s->c->file,
                               (unsigned)s->geometry.depth);
        for (module m = MODULE_FIRST_PREDICTOR; m < MODULE_COUNT; m++)
            if (!collect(s, m, (place){ s->predictors, 0 }, &s->predictor[s->predictors][m], r))
                return false;
        s->predictors++;
    }
    return true;
}

bool source_collect(source *s, report *r)
{
    iviti_geometry *g = &s->geometry;
    g->family = s->map->family;
    if (!count_blocks(s, r))
        return false;
    for (module m = 0; m < MODULE_FIRST_STEM; m++)
        if (!collect(s, m, (place){ 0, 0 }, &s->once[m], r))
            return false;
    if (!collect_stem(s, r))
        return false;
    uint32_t block = 0;
    for (uint32_t stage = 0; stage < g->stages; stage++)
        for (uint32_t i = 0; i < g->stage[stage].depth; i++, block++)
            for (module m = MODULE_FIRST_BLOCK; m < MODULE_FIRST_MERGE; m++)
                if (!collect(s, m, (place){ stage, i }, &s->block[block][m], r))
                    return false;
    for (uint32_t stage = 0; stage + 1 < g->stages; stage++)
        for (module m = MODULE_FIRST_MERGE; m < MODULE_FIRST_PREDICTOR; m++)
            if (!collect(s, m, (place){ stage, 0 }, &s->merge[stage][m], r))
                return false;
    if (!collect_predictors(s, r))
        return false;
    if (s->once[MODULE_HEAD_DISTILL].weight != NULL && s->once[MODULE_DISTILL_TOKEN].weight == NULL)
        return report_fail(r, "%s: there is a distillation head without a distillation token",
                           s->c->file);
    return check_scales(s, r) && check_left_over(s, r);
}

void source_note(source *s, const char *format, ...)
{
    const size_t used = strlen(s->note);
    if (used + 2 >= sizeof s->note)
        return;
    va_list arguments;
    va_start(arguments, format);
    if (used > 0)
        memcpy(s->note + used, " ", 2);
    const size_t at = used + (used > 0);
    vsnprintf(s->note + at, sizeof s->note - at, format, arguments);
    va_end(arguments);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Fewer tokens, in float: DynamicViT's predictors (Rao et al. 2021), EViT (Liang et al. 2022), token
 * merging (Bolya et al. 2023). Tokens that are left keep their order.
 */
#include <cblas.h>
#include <math.h>
#include <string.h>

#include "network/forward_one.h"

void one_unpruned(const network *n, workspace *w)
{
    const uint32_t prefix = n->geometry.prefix_tokens;
    w->tokens = iviti_stage_tokens(&n->geometry, 0);
    for (uint32_t i = 0; i < w->tokens; i++) {
        w->origin[i] = i < prefix ? UINT32_MAX : i - prefix;
        w->size[i] = 1;
    }
}

static bool better(const workspace *w, size_t a, size_t b)
{
    return w->rating[a] > w->rating[b] || (!(w->rating[a] < w->rating[b]) && a < b);
}

/* Whether fewer than `count` of the tokens first, first + step, ... are rated above `token`. */
static bool is_among(const workspace *w, size_t token, size_t first, size_t step, size_t tokens,
                     size_t count)
{
    size_t above = 0;
    for (size_t i = first; i < tokens; i += step)
        above += better(w, i, token);
    return above < count;
}

static void move(workspace *w, size_t from, size_t to, size_t dim, float *x)
{
    if (from != to)
        memcpy(x + to * dim, x + from * dim, dim * sizeof *x);
    w->origin[to] = w->origin[from];
    w->size[to] = w->size[from];
}

static void note(const network *n, const workspace *w, uint32_t stage, uint32_t **kept)
{
    const uint32_t count = n->geometry.prune.kept[stage];
    if (*kept == NULL)
        return;
    memcpy(*kept, w->origin + n->geometry.prefix_tokens, count * sizeof **kept);
    *kept += count;
}

/* ---- DynamicViT -------------------------------------------------------------------------------- */

/* The mean of the second half of the channels takes their place in every row. */
static void mix(float *h, size_t rows, size_t dim)
{
    for (size_t c = dim / 2; c < dim; c++) {
        double sum = 0;
        for (size_t i = 0; i < rows; i++)
            sum += (double)h[i * dim + c];
        for (size_t i = 0; i < rows; i++)
            h[i * dim + c] = (float)(sum / (double)rows);
    }
}

void one_predict(const network *n, workspace *w, uint32_t stage, size_t tokens, const float *x,
                 const network_predictor_capture *capture)
{
    const network_predictor *p = &n->predictors[stage];
    const size_t dim = n->geometry.stage[0].dim, prefix = n->geometry.prefix_tokens;
    const size_t rows = tokens - prefix;
    const network_predictor_capture own = { w->norm,          w->qkv,
                                            w->attention,     w->branch,
                                            w->qkv,           w->norm,
                                            w->branch };
    const network_predictor_capture c = capture != NULL ? *capture : own;

    normalise(&p->norm, NETWORK_PREDICTOR_EPSILON, x + prefix * dim, rows, dim, c.norm);
    dense(&p->in, c.norm, rows, dim, dim, c.in);
    gelu(c.in, rows * dim, c.mixed);
    mix(c.mixed, rows, dim);
    dense(&p->out[0], c.mixed, rows, dim, dim / 2, c.out0);
    gelu(c.out0, rows * dim / 2, c.gelu0);
    dense(&p->out[1], c.gelu0, rows, dim / 2, dim / 4, c.out1);
    gelu(c.out1, rows * dim / 4, c.gelu1);
    for (size_t i = 0; i < rows; i++) { /* log softmax grows with the difference of the two */
        float z[2];
        dense(&p->out[2], c.gelu1 + i * (dim / 4), 1, dim / 4, 2, z);
        w->rating[prefix + i] = z[0] - z[1];
    }
}

/* Notes the patches that the ratings would keep, and then rates those that are followed above all
 * others. Both lists ascend. */
static void follow_others(const network *n, workspace *w, uint32_t stage, uint32_t **kept)
{
    const uint32_t prefix = n->geometry.prefix_tokens, count = n->geometry.prune.kept[stage];
    const uint32_t *const end = w->follow + count;
    for (size_t i = prefix; i < w->tokens && *kept != NULL; i++)
        if (is_among(w, i, prefix, 1, w->tokens, count))
            *(*kept)++ = w->origin[i];
    for (size_t i = prefix; i < w->tokens; i++) {
        const bool followed = w->follow < end && *w->follow == w->origin[i];
        w->rating[i] = followed ? 1 : 0;
        w->follow += followed;
    }
    w->follow = end;
}

size_t one_keep(const network *n, workspace *w, size_t tokens, size_t kept, float *x)
{
    const size_t prefix = n->geometry.prefix_tokens, dim = n->geometry.stage[0].dim;
    size_t count = prefix, chosen = 0;
    for (size_t i = prefix; i < tokens; i++)
        if (is_among(w, i, prefix, 1, tokens, kept))
            w->list[chosen++] = (uint32_t)i;
    for (size_t i = 0; i < chosen; i++)
        move(w, w->list[i], count++, dim, x);
    return count;
}

void one_prune_before(const network *n, workspace *w, uint32_t block, float *x, uint32_t **kept)
{
    const iviti_prune *p = &n->geometry.prune;
    const int stage = p->kind == IVITI_PRUNE_PREDICTOR ? iviti_prune_stage(&n->geometry, block) : -1;
    if (stage < 0)
        return;
    one_predict(n, w, (uint32_t)stage, w->tokens, x, NULL);
    if (w->follow != NULL)
        follow_others(n, w, (uint32_t)stage, kept);
    w->tokens = one_keep(n, w, w->tokens, p->kept[stage], x);
    if (w->follow == NULL)
        note(n, w, (uint32_t)stage, kept);
}

/* ---- EViT ---------------------------------------------------------------------------------------- */

/* The sum of the tokens that will not be kept, weighted by the class token's attention, in y; or their
 * mean. */
static void fuse(const network *n, const workspace *w, size_t kept, const float *x, float *y)
{
    const size_t prefix = n->geometry.prefix_tokens, dim = n->geometry.stage[0].dim;
    double weights = 0;
    memset(y, 0, dim * sizeof *y);
    for (size_t i = prefix; i < w->tokens; i++) {
        if (is_among(w, i, prefix, 1, w->tokens, kept))
            continue;
        cblas_saxpy((int)dim, w->rating[i], x + i * dim, 1, y, 1);
        weights += (double)w->rating[i];
    }
    if (n->geometry.prune.fuse == IVITI_FUSE_MEAN && weights > 0)
        cblas_sscal((int)dim, (float)(1 / weights), y, 1);
}

static void prune_by_class(const network *n, workspace *w, uint32_t stage, float *x)
{
    const iviti_prune *p = &n->geometry.prune;
    const size_t dim = n->geometry.stage[0].dim;

    memcpy(w->rating, w->class_row, w->tokens * sizeof *w->rating);
    if (p->fuse != IVITI_FUSE_NONE)
        fuse(n, w, p->kept[stage], x, w->branch);
    w->tokens = one_keep(n, w, w->tokens, p->kept[stage], x);
    if (p->fuse == IVITI_FUSE_NONE)
        return;
    memcpy(x + w->tokens * dim, w->branch, dim * sizeof *x);
    w->size[w->tokens] = 1;
    w->origin[w->tokens++] = UINT32_MAX;
}

/* ---- merging ------------------------------------------------------------------------------------- */

/* The mean of the heads' keys at unit length: (tokens, head width). */
static void mean_keys(const network *n, const workspace *w, float *keys)
{
    const iviti_stage *s = &n->geometry.stage[0];
    const size_t dim = s->dim, width = dim / s->heads;
    for (size_t i = 0; i < w->tokens; i++) {
        float *const key = keys + i * width;
        memset(key, 0, width * sizeof *key);
        for (size_t h = 0; h < s->heads; h++)
            cblas_saxpy((int)width, 1, w->qkv + i * 3 * dim + dim + h * width, 1, key, 1);
        const float length = cblas_snrm2((int)width, key, 1);
        cblas_sscal((int)width, length > 0 ? 1 / length : 0, key, 1);
    }
}

/* Token `from` joins token `to`, both as long as their sizes. */
static void join(workspace *w, size_t from, size_t to, size_t dim, float *x)
{
    const float total = w->size[from] + w->size[to];
    cblas_sscal((int)dim, w->size[to] / total, x + to * dim, 1);
    cblas_saxpy((int)dim, w->size[from] / total, x + from * dim, 1, x + to * dim, 1);
    w->size[to] = total;
}

/* Each token of even number looks for the most alike of odd number; the pairs that are most alike become
 * one. Prefix tokens take no part. */
static void merge(const network *n, workspace *w, uint32_t stage, float *x)
{
    const size_t prefix = n->geometry.prefix_tokens, dim = n->geometry.stage[0].dim;
    const size_t width = dim / n->geometry.stage[0].heads, tokens = w->tokens;
    const size_t pairs = tokens - prefix - n->geometry.prune.kept[stage];
    float *const keys = w->norm;
    size_t count = 0;

    mean_keys(n, w, keys);
    for (size_t a = 2; a < tokens; a += 2) {
        w->rating[a] = -INFINITY;
        for (size_t b = prefix / 2 * 2 + 1; b < tokens; b += 2) {
            const float alike =
                cblas_sdot((int)width, keys + a * width, 1, keys + b * width, 1);
            if (alike > w->rating[a]) {
                w->rating[a] = alike;
                w->list[a] = (uint32_t)b;
            }
        }
    }
    for (size_t a = 2; a < tokens; a += 2)
        if (is_among(w, a, 2, 2, tokens, pairs))
            join(w, a, w->list[a], dim, x);
    for (size_t i = 0; i < tokens; i++)
        if (i == 0 || i % 2 == 1 || !is_among(w, i, 2, 2, tokens, pairs))
            w->list[count++] = (uint32_t)i;
    for (size_t i = 0; i < count; i++)
        move(w, w->list[i], i, dim, x);
    w->tokens = count;
}

void one_prune_within(const network *n, workspace *w, uint32_t block, float *x, uint32_t **kept)
{
    const iviti_prune *p = &n->geometry.prune;
    const int stage = iviti_prune_stage(&n->geometry, block);
    if (stage < 0 || p->kind == IVITI_PRUNE_PREDICTOR)
        return;
    if (p->kind == IVITI_PRUNE_CLS)
        prune_by_class(n, w, (uint32_t)stage, x);
    else
        merge(n, w, (uint32_t)stage, x);
    note(n, w, (uint32_t)stage, kept);
}

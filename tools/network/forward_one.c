/* SPDX-License-Identifier: Apache-2.0
 *
 * The forward pass of one picture in paper order.
 */
#include "network/forward_one.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory --------------------------------------------------------------------------------- */

static float *take(float *base, size_t *used, size_t count)
{
    float *const memory = base == NULL ? NULL : base + *used;
    *used += (count + 15) / 16 * 16;
    return memory;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Lays the workspace out from `base`, NULL to learn the size; returns it in floats. */
static size_t lay_out(const network *n, workspace *w, float *base)
{
    const iviti_geometry *g = &n->geometry;
    size_t stream = 0, hidden = 0, scores = 0, window = 0, used = 0;
    for (uint32_t s = 0; s < g->stages; s++) {
        const iviti_stage *stage = &g->stage[s];
        const size_t tokens = iviti_stage_tokens(g, s);
        const size_t attended = stage->window != 0 ? (size_t)stage->window * stage->window : tokens;
        stream = larger(stream, tokens * stage->dim);
        hidden = larger(hidden, tokens * stage->hidden);
        scores = larger(scores, attended * attended);
        if (stage->window != 0)
            window = larger(window, attended * 4 * stage->dim);
    }
    const size_t grid = (size_t)g->stage[0].grid_width * g->stage[0].grid_height;
    w->patches = take(base, &used, grid * iviti_embed_inputs(g));
    w->norm = take(base, &used, stream);
    w->qkv = take(base, &used, 3 * stream);
    w->attention = take(base, &used, stream);
    w->branch = take(base, &used, stream);
    w->hidden = take(base, &used, hidden);
    w->scores = take(base, &used, scores);
    w->window = take(base, &used, window);
    w->x[0] = take(base, &used, stream);
    w->x[1] = take(base, &used, stream);
    const size_t tokens = iviti_stage_tokens(g, 0);
    w->size = take(base, &used, tokens);
    w->rating = take(base, &used, tokens);
    w->class_row = take(base, &used, tokens);
    w->origin = (uint32_t *)(void *)take(base, &used, tokens);
    w->list = (uint32_t *)(void *)take(base, &used, tokens);
    return used + stem_lay_out(n, w, base == NULL ? NULL : base + used);
}

bool workspace_create(const network *n, workspace *w)
{
    w->arena = malloc(lay_out(n, w, NULL) * sizeof(float));
    if (w->arena == NULL)
        return false;
    lay_out(n, w, w->arena);
    return true;
}

void workspace_free(workspace *w)
{
    free(w->arena);
    w->arena = NULL;
}

/* ---- layers --------------------------------------------------------------------------------- */

void dense(const network_linear *linear, const float *x, size_t rows, size_t in, size_t out,
           float *y)
{
    for (size_t i = 0; i < rows; i++)
        memcpy(y + i * out, linear->bias, out * sizeof *y);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)out, (int)in, 1.0f, x,
                (int)in, linear->weight, (int)in, 1.0f, y, (int)out);
}

void normalise(const network_norm *norm, double epsilon, const float *x, size_t rows, size_t width,
               float *y)
{
    for (size_t i = 0; i < rows; i++, x += width, y += width) {
        double sum = 0, squares = 0;
        for (size_t c = 0; c < width; c++)
            sum += (double)x[c];
        const double mean = sum / (double)width;
        for (size_t c = 0; c < width; c++) {
            const double centred = (double)x[c] - mean;
            squares += centred * centred;
        }
        const double factor = 1 / sqrt(squares / (double)width + epsilon);
        for (size_t c = 0; c < width; c++)
            y[c] = (float)(((double)x[c] - mean) * factor * (double)norm->gain[c] +
                           (double)norm->bias[c]);
    }
}

void gelu(const float *x, size_t count, float *y)
{
    const double half_root = 0.70710678118654752440;
    for (size_t i = 0; i < count; i++) {
        const double v = (double)x[i];
        y[i] = (float)(0.5 * v * (1 + erf(v * half_root)));
    }
}

static void add(float *x, const float *branch, size_t count)
{
    for (size_t i = 0; i < count; i++)
        x[i] += branch[i];
}

/* ---- embedding ------------------------------------------------------------------------------ */

void pixel_values(const network *n, float value[3][256])
{
    for (int c = 0; c < 3; c++)
        for (int u = 0; u < 256; u++)
            value[c][u] = ((float)u / 255.0f - n->mean[c]) / n->std[c];
}

/* Patches row by row, RGB interleaved, of pixels normalised as (u / 255 - mean) / std. */
static void extract_patches(const network *n, const uint8_t *pixels, float *patches)
{
    const iviti_geometry *g = &n->geometry;
    const size_t patch = g->patch, row_bytes = (size_t)g->image_width * 3;
    float value[3][256];
    pixel_values(n, value);
    for (size_t top = 0; top < g->image_height; top += patch) {
        for (size_t left = 0; left < g->image_width; left += patch) {
            for (size_t y = 0; y < patch; y++) {
                const uint8_t *row = pixels + (top + y) * row_bytes + left * 3;
                for (size_t i = 0; i < patch * 3; i++)
                    *patches++ = value[i % 3][row[i]];
            }
        }
    }
}

void one_embed(const network *n, workspace *w, const uint8_t *pixels, float *x, float *patches)
{
    const iviti_geometry *g = &n->geometry;
    const size_t dim = g->stage[0].dim;
    const size_t grid = (size_t)g->stage[0].grid_width * g->stage[0].grid_height;
    const size_t prefix = g->prefix_tokens * dim;
    float *const embedded = patches != NULL ? patches : w->branch;
    if (g->convolutions > 0)
        one_stem(n, w, pixels, w->patches);
    else
        extract_patches(n, pixels, w->patches);
    dense(&n->embed, w->patches, grid, iviti_embed_inputs(g), dim, embedded);
    if (g->family == IVITI_SWIN) {
        normalise(&n->embed_norm, n->epsilon, embedded, grid, dim, x);
        return;
    }
    memcpy(x, n->prefix, prefix * sizeof *x);
    memcpy(x + prefix, embedded, grid * dim * sizeof *x);
    add(x + prefix, n->position, grid * dim);
}

/* ---- blocks --------------------------------------------------------------------------------- */

/* Where a step writes: to the capture if somebody wants it, else to the workspace. */
static float *choose(float *captured, float *own)
{
    return captured != NULL ? captured : own;
}

void one_attend(const network *n, workspace *w, uint32_t block, size_t tokens, const float *size,
                float *x, const network_capture *capture)
{
    const uint32_t s = network_stage_of(n, block);
    const iviti_stage *stage = &n->geometry.stage[s];
    const network_block *b = &n->blocks[block];
    const size_t dim = stage->dim;
    float *const norm1 = choose(capture->norm1, w->norm);
    float *const qkv = choose(capture->qkv, w->qkv);
    float *const attention = choose(capture->attention, w->attention);
    float *const proj = choose(capture->proj, w->branch);

    normalise(&b->norm1, n->epsilon, x, tokens, dim, norm1);
    dense(&b->qkv, norm1, tokens, dim, 3 * dim, qkv);
    if (stage->window == 0) {
        attend_globally(stage, tokens, qkv, size, w->scores, w->class_row, attention);
    } else {
        uint32_t first = 0;
        for (uint32_t i = 0; i < s; i++)
            first += n->geometry.stage[i].depth;
        const bool shifted = (block - first) % 2 == 1 && stage->window < stage->grid_width &&
                             stage->window < stage->grid_height;
        attend_in_windows(stage, shifted, b->position_bias, qkv, w->scores, w->window, attention);
    }
    dense(&b->proj, attention, tokens, dim, dim, proj);
    add(x, proj, tokens * dim);
    if (capture->middle != NULL)
        memcpy(capture->middle, x, tokens * dim * sizeof *x);
}

void one_mlp(const network *n, workspace *w, uint32_t block, size_t tokens, float *x,
             const network_capture *capture)
{
    const iviti_stage *stage = &n->geometry.stage[network_stage_of(n, block)];
    const network_block *b = &n->blocks[block];
    const size_t dim = stage->dim;
    float *const norm2 = choose(capture->norm2, w->norm);
    float *const fc1 = choose(capture->fc1, w->hidden);
    float *const act = choose(capture->gelu, w->hidden);
    float *const fc2 = choose(capture->fc2, w->branch);

    normalise(&b->norm2, n->epsilon, x, tokens, dim, norm2);
    dense(&b->fc1, norm2, tokens, dim, stage->hidden, fc1);
    gelu(fc1, tokens * stage->hidden, act);
    dense(&b->fc2, act, tokens, stage->hidden, dim, fc2);
    add(x, fc2, tokens * dim);
}

/* ---- merging and the head ------------------------------------------------------------------- */

/* Four neighbours side by side, down before right, normalised and reduced. */
void one_merge(const network *n, workspace *w, uint32_t stage, const float *x, float *out,
               float *norm)
{
    const iviti_stage *from = &n->geometry.stage[stage];
    const size_t dim = from->dim, width = from->grid_width, height = from->grid_height;
    const size_t tokens = width * height / 4;
    float *const normalised = choose(norm, w->norm);
    float *neighbours = w->attention;
    for (size_t y = 0; y < height; y += 2)
        for (size_t column = 0; column < width; column += 2)
            for (size_t i = 0; i < 4; i++, neighbours += dim)
                memcpy(neighbours, x + ((y + i % 2) * width + column + i / 2) * dim,
                       dim * sizeof *x);
    normalise(&n->merges[stage].norm, n->epsilon, w->attention, tokens, 4 * dim, normalised);
    dense(&n->merges[stage].reduction, normalised, tokens, 4 * dim, 2 * dim, out);
}

/* The largest logit of any patch, class by class. */
static void add_patches(const network *n, size_t tokens, const float *normalised, float *logits)
{
    const iviti_geometry *g = &n->geometry;
    const size_t dim = g->stage[0].dim;
    const network_linear *head = &n->patches_head;
    for (size_t o = 0; o < g->classes; o++) {
        float most = -INFINITY;
        for (size_t t = g->prefix_tokens; t < tokens; t++) {
            const float logit = cblas_sdot((int)dim, head->weight + o * dim, 1,
                                           normalised + t * dim, 1);
            most = logit > most ? logit : most;
        }
        logits[o] += most + head->bias[o];
    }
}

void one_head(const network *n, workspace *w, size_t all, const float *x, float *logits,
              float *features, float *norm)
{
    const iviti_geometry *g = &n->geometry;
    const size_t dim = g->stage[g->stages - 1].dim;
    const bool swin = g->family == IVITI_SWIN;
    const size_t tokens = swin || g->token_head ? all : g->prefix_tokens;
    float *const normalised = choose(norm, w->norm);
    normalise(&n->norm, n->epsilon, x, tokens, dim, normalised);
    const float *entering = normalised;
    if (swin) {
        for (size_t c = 0; c < dim; c++) {
            double sum = 0;
            for (size_t i = 0; i < tokens; i++)
                sum += (double)normalised[i * dim + c];
            w->attention[c] = (float)(sum / (double)tokens);
        }
        entering = w->attention;
    }
    if (features != NULL)
        memcpy(features, entering, g->features * sizeof *features);
    dense(&n->head, entering, 1, g->features, g->classes, logits);
    if (g->token_head)
        add_patches(n, all, normalised, logits);
}

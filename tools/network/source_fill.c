/* SPDX-License-Identifier: Apache-2.0
 *
 * The canonical tensors out of the checkpoint's: layouts turned, batch norms, LayerScale and the
 * factors of LV-ViT and of two heads folded. Every dialect of the same weights gives the same floats.
 */
#include "network/source.h"

#include "network/fold.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_NORM_EPSILON 1e-5 /* PyTorch's, which no published stem changes */

/* Hands out the arena twice: first with base NULL, to learn its size, then for good. */
typedef struct arena {
    float *base;
    size_t used;
} arena;

static float *take(arena *a, size_t count)
{
    float *const memory = a->base == NULL ? NULL : a->base + a->used;
    a->used += (count + 15) / 16 * 16;
    return memory;
}

static network_linear take_linear(arena *a, size_t out, size_t in)
{
    float *const weight = take(a, out * in);
    return (network_linear){ weight, take(a, out) };
}

static network_norm take_norm(arena *a, size_t width)
{
    float *const gain = take(a, width);
    return (network_norm){ gain, take(a, width) };
}

static void lay_out(network *n, arena *a)
{
    const iviti_geometry *g = &n->geometry;
    const iviti_stage *first = &g->stage[0];
    const bool swin = g->family == IVITI_SWIN;
    const size_t c = first->dim;
    for (uint32_t i = 0; i < g->convolutions; i++)
        n->stem[i] = take_linear(a, g->convolution[i].channels, iviti_convolution_inputs(g, i));
    n->embed = take_linear(a, c, iviti_embed_inputs(g));
    if (swin) {
        n->embed_norm = take_norm(a, c);
    } else {
        n->prefix = take(a, g->prefix_tokens * c);
        n->position = take(a, (size_t)first->grid_width * first->grid_height * c);
    }
    network_block *b = n->blocks;
    for (uint32_t s = 0; s < g->stages; s++) {
        const iviti_stage *stage = &g->stage[s];
        const size_t dim = stage->dim;
        const size_t side = 2 * (size_t)stage->window - 1;
        for (uint32_t i = 0; i < stage->depth; i++, b++) {
            b->norm1 = take_norm(a, dim);
            b->qkv = take_linear(a, 3 * dim, dim);
            b->position_bias = swin ? take(a, side * side * stage->heads) : NULL;
            b->proj = take_linear(a, dim, dim);
            b->norm2 = take_norm(a, dim);
            b->fc1 = take_linear(a, stage->hidden, dim);
            b->fc2 = take_linear(a, dim, stage->hidden);
        }
        if (s + 1 < g->stages) {
            n->merges[s].norm = take_norm(a, 4 * dim);
            n->merges[s].reduction = take_linear(a, 2 * dim, 4 * dim);
        }
    }
    for (uint32_t k = 0; n->predictors != NULL && k < g->prune.stages; k++) {
        network_predictor *const p = &n->predictors[k];
        p->norm = take_norm(a, c);
        p->in = take_linear(a, c, c);
        p->out[0] = take_linear(a, c / 2, c);
        p->out[1] = take_linear(a, c / 4, c / 2);
        p->out[2] = take_linear(a, 2, c / 4);
    }
    const size_t last = g->stage[g->stages - 1].dim;
    n->norm = take_norm(a, last);
    n->head = take_linear(a, g->classes, g->features);
    if (g->token_head)
        n->patches_head = take_linear(a, g->classes, last);
}

/* ---- reading one tensor --------------------------------------------------------------------- */

typedef struct reader {
    const source *s;
    float *scratch; /* as large as the largest tensor */
    report *r;
} reader;

static bool read_tensor(const reader *in, const checkpoint_tensor *t, float *out)
{
    checkpoint_to_float(t, out);
    for (uint64_t i = 0; i < t->count; i++)
        if (!isfinite(out[i]))
            return report_fail(in->r,
                               "%s: tensor %s holds a value that is not finite (element %llu)",
                               in->s->c->file, t->name, (unsigned long long)i);
    return true;
}

static void transpose(const float *in, size_t rows, size_t columns, float *out)
{
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++)
            out[j * rows + i] = in[i * columns + j];
}

static bool read_linear(const reader *in, const source_layer *layer, size_t outs, size_t ins,
                        float *weight, float *bias)
{
    if (!in->s->map->flax) {
        if (!read_tensor(in, layer->weight, weight))
            return false;
    } else {
        if (!read_tensor(in, layer->weight, in->scratch))
            return false;
        transpose(in->scratch, ins, outs, weight);
    }
    return layer->bias == NULL || read_tensor(in, layer->bias, bias);
}

static bool read_norm(const reader *in, const source_layer *layer, const network_norm *norm)
{
    return read_tensor(in, layer->weight, norm->gain) && read_tensor(in, layer->bias, norm->bias);
}

/* (out, channel, row, column), or Flax's (row, column, channel, out), to (out, row, column,
 * channel). */
static bool read_embed(const reader *in, network *n)
{
    const source_layer *layer = &in->s->once[MODULE_EMBED];
    const size_t outs = n->geometry.stage[0].dim;
    const size_t channels = iviti_embed_channels(&n->geometry);
    const size_t taps = (size_t)n->geometry.embed_side * n->geometry.embed_side;
    if (!read_tensor(in, layer->weight, in->scratch) ||
        !read_tensor(in, layer->bias, n->embed.bias))
        return false;
    if (in->s->map->flax) {
        transpose(in->scratch, taps * channels, outs, n->embed.weight);
        return true;
    }
    for (size_t o = 0; o < outs; o++)
        transpose(in->scratch + o * taps * channels, channels, taps,
                  n->embed.weight + o * taps * channels);
    return true;
}

/* A convolution, its batch norm folded into it, in the layout of the embedding. */
static bool read_convolution(const reader *in, network *n, uint32_t i)
{
    const iviti_geometry *g = &n->geometry;
    const source_layer *layers = in->s->stem[i];
    const size_t outs = g->convolution[i].channels, ins = iviti_convolution_channels(g, i);
    const size_t taps = (size_t)g->convolution[i].kernel * g->convolution[i].kernel;
    float *const weight = in->scratch, *const gain = weight + outs * ins * taps;
    float *const bias = gain + outs, *const mean = bias + outs, *const variance = mean + outs;
    const network_norm affine = { gain, bias };
    const source_layer convolution = layers[MODULE_STEM];
    const batch_norm norm = { gain, bias, mean, variance, BATCH_NORM_EPSILON };
    const fold_layer layer = { .name = convolution.weight->name,
                               .out = outs,
                               .in = ins,
                               .groups = 1,
                               .taps = taps,
                               .padded = g->convolution[i].padding > 0,
                               .weight = weight,
                               .bias = n->stem[i].bias };
    if (!read_tensor(in, convolution.weight, weight) ||
        (convolution.bias != NULL && !read_tensor(in, convolution.bias, layer.bias)) ||
        !read_norm(in, &layers[MODULE_STEM_NORM], &affine) ||
        !read_tensor(in, layers[MODULE_STEM_MEAN].weight, mean) ||
        !read_tensor(in, layers[MODULE_STEM_VARIANCE].weight, variance) ||
        !fold_norm_behind(&norm, &layer, in->r))
        return false;
    for (size_t o = 0; o < outs; o++)
        transpose(weight + o * ins * taps, ins, taps, n->stem[i].weight + o * ins * taps);
    return true;
}

/* ---- ViT's tokens --------------------------------------------------------------------------- */

static bool read_tokens(const reader *in, network *n)
{
    const source *s = in->s;
    const iviti_geometry *g = &n->geometry;
    const size_t c = g->stage[0].dim;
    if (!read_tensor(in, s->once[MODULE_CLASS_TOKEN].weight, n->prefix))
        return false;
    if (g->prefix_tokens == 2 &&
        !read_tensor(in, s->once[MODULE_DISTILL_TOKEN].weight, n->prefix + c))
        return false;
    if (!read_tensor(in, s->once[MODULE_POSITION].weight, in->scratch))
        return false;
    const float *grid = in->scratch;
    if (s->position_has_prefix) {
        for (size_t i = 0; i < g->prefix_tokens * c; i++)
            n->prefix[i] += in->scratch[i];
        grid += g->prefix_tokens * c;
    }
    const uint32_t side = g->stage[0].grid_width;
    if (side == s->position_grid)
        memcpy(n->position, grid, (size_t)side * side * c * sizeof *grid);
    else
        position_resample(grid, s->position_grid, n->position, side, (uint32_t)c);
    return true;
}

/* ---- blocks --------------------------------------------------------------------------------- */

/* q, k and v of one matrix, or of three put below each other. */
static bool read_qkv(const reader *in, const source_layer *layers, size_t c, network_linear qkv)
{
    if (layers[MODULE_QKV].weight != NULL)
        return read_linear(in, &layers[MODULE_QKV], 3 * c, c, qkv.weight, qkv.bias);
    for (size_t i = 0; i < 3; i++)
        if (!read_linear(in, &layers[MODULE_QUERY + i], c, c, qkv.weight + i * c * c,
                         qkv.bias + i * c))
            return false;
    return true;
}

/* LayerScale multiplies a branch channel by channel: the rows of its last matrix take it over. */
static bool fold_scale(const reader *in, const source_layer *scale, size_t outs, size_t ins,
                       network_linear linear)
{
    if (scale->weight == NULL)
        return true;
    if (!read_tensor(in, scale->weight, in->scratch))
        return false;
    for (size_t o = 0; o < outs; o++) {
        for (size_t i = 0; i < ins; i++)
            linear.weight[o * ins + i] *= in->scratch[o];
        linear.bias[o] *= in->scratch[o];
    }
    return true;
}

/* The middle of a bias table (2w-1, 2w-1, heads) for a smaller window. */
static bool read_table(const reader *in, const source_layer *layer, uint32_t from, uint32_t to,
                       size_t heads, float *out)
{
    if (!read_tensor(in, layer->weight, in->scratch))
        return false;
    const size_t side_in = 2 * (size_t)from - 1, side = 2 * (size_t)to - 1;
    for (size_t row = 0; row < side; row++)
        memcpy(out + row * side * heads,
               in->scratch + ((row + from - to) * side_in + from - to) * heads,
               side * heads * sizeof *out);
    return true;
}

/* LV-ViT divides its residual branches by a constant. */
static void fold_skip(const source *s, size_t c, size_t hidden, const network_block *b)
{
    const fold_layer layers[2] = {
        { .out = c, .in = c, .groups = 1, .taps = 1, .weight = b->proj.weight, .bias = b->proj.bias },
        { .out = c, .in = hidden, .groups = 1, .taps = 1, .weight = b->fc2.weight,
          .bias = b->fc2.bias },
    };
    for (size_t i = 0; i < 2 && s->lvvit; i++)
        fold_factor(&layers[i], 1 / s->skip);
}

static bool read_block(const reader *in, const source_layer *layers, const iviti_stage *stage,
                       uint32_t table_window, network_block *b)
{
    const size_t c = stage->dim, hidden = stage->hidden;
    return read_norm(in, &layers[MODULE_NORM1], &b->norm1) && read_qkv(in, layers, c, b->qkv) &&
           (b->position_bias == NULL ||
            read_table(in, &layers[MODULE_BIAS_TABLE], table_window, stage->window, stage->heads,
                       b->position_bias)) &&
           read_linear(in, &layers[MODULE_PROJ], c, c, b->proj.weight, b->proj.bias) &&
           fold_scale(in, &layers[MODULE_SCALE1], c, c, b->proj) &&
           read_norm(in, &layers[MODULE_NORM2], &b->norm2) &&
           read_linear(in, &layers[MODULE_FC1], hidden, c, b->fc1.weight, b->fc1.bias) &&
           read_linear(in, &layers[MODULE_FC2], c, hidden, b->fc2.weight, b->fc2.bias) &&
           fold_scale(in, &layers[MODULE_SCALE2], c, hidden, b->fc2);
}

static bool read_predictor(const reader *in, const source_layer *layers, size_t c,
                           const network_predictor *p)
{
    return read_norm(in, &layers[MODULE_PREDICTOR_NORM], &p->norm) &&
           read_linear(in, &layers[MODULE_PREDICTOR_IN], c, c, p->in.weight, p->in.bias) &&
           read_linear(in, &layers[MODULE_PREDICTOR_OUT], c / 2, c, p->out[0].weight,
                       p->out[0].bias) &&
           read_linear(in, &layers[MODULE_PREDICTOR_OUT2], c / 4, c / 2, p->out[1].weight,
                       p->out[1].bias) &&
           read_linear(in, &layers[MODULE_PREDICTOR_OUT3], 2, c / 4, p->out[2].weight,
                       p->out[2].bias);
}

/* ---- the head ------------------------------------------------------------------------------- */

/* Logits of a distilled DeiT are the mean of two heads, one on each prefix token; where there is
 * only one head the distillation token has no say. */
static bool read_head(const reader *in, network *n)
{
    const source *s = in->s;
    const iviti_geometry *g = &n->geometry;
    const size_t c = g->stage[g->stages - 1].dim, features = g->features;
    float *const rows = in->scratch + in->s->geometry.features * (size_t)g->classes;
    float *const bias = rows + c * g->classes;
    const source_layer *heads[2] = { &s->once[MODULE_HEAD], &s->once[MODULE_HEAD_DISTILL] };
    if (heads[1]->weight == NULL && features == c)
        return read_linear(in, heads[0], g->classes, c, n->head.weight, n->head.bias);
    const float share = heads[1]->weight != NULL ? 0.5f : 1.0f;
    for (size_t h = 0; h < 2 && heads[h]->weight != NULL; h++) {
        if (!read_linear(in, heads[h], g->classes, c, rows, bias))
            return false;
        for (size_t o = 0; o < g->classes; o++) {
            for (size_t i = 0; i < c; i++)
                n->head.weight[o * features + h * c + i] = share * rows[o * c + i];
            n->head.bias[o] += share * bias[o];
        }
    }
    return true;
}

/* LV-ViT's second head, of whose logits one half counts. */
static bool read_patches_head(const reader *in, network *n)
{
    const iviti_geometry *g = &n->geometry;
    const size_t dim = g->stage[0].dim;
    const fold_layer layer = { .out = g->classes,
                               .in = dim,
                               .groups = 1,
                               .taps = 1,
                               .weight = n->patches_head.weight,
                               .bias = n->patches_head.bias };
    if (!g->token_head)
        return true;
    if (!read_linear(in, &in->s->once[MODULE_HEAD_PATCHES], g->classes, dim, layer.weight,
                     layer.bias))
        return false;
    fold_factor(&layer, 0.5);
    return true;
}

static bool read_all(const reader *in, network *n)
{
    const source *s = in->s;
    const iviti_geometry *g = &n->geometry;
    for (uint32_t i = 0; i < g->convolutions; i++)
        if (!read_convolution(in, n, i))
            return false;
    if (!read_embed(in, n))
        return false;
    if (g->family == IVITI_SWIN ? !read_norm(in, &s->once[MODULE_EMBED_NORM], &n->embed_norm)
                                : !read_tokens(in, n))
        return false;
    uint32_t block = 0;
    for (uint32_t i = 0; i < g->stages; i++)
        for (uint32_t j = 0; j < g->stage[i].depth; j++, block++)
            if (!read_block(in, s->block[block], &g->stage[i], s->table_window[i],
                            &n->blocks[block]))
                return false;
    for (uint32_t i = 0; i < g->depth; i++)
        fold_skip(s, g->stage[0].dim, g->stage[0].hidden, &n->blocks[i]);
    for (uint32_t i = 0; i + 1 < g->stages; i++) {
        const size_t dim = g->stage[i].dim;
        const network_merge *m = &n->merges[i];
        if (!read_norm(in, &s->merge[i][MODULE_MERGE_NORM], &m->norm) ||
            !read_linear(in, &s->merge[i][MODULE_MERGE_REDUCTION], 2 * dim, 4 * dim,
                         m->reduction.weight, m->reduction.bias))
            return false;
    }
    for (uint32_t k = 0; k < s->predictors; k++)
        if (!read_predictor(in, s->predictor[k], g->stage[0].dim, &n->predictors[k]))
            return false;
    return read_norm(in, &s->once[MODULE_NORM], &n->norm) && read_head(in, n) &&
           read_patches_head(in, n);
}

/* Room for the largest tensor; for a head also for its transposed copy and bias beside it. */
static size_t scratch_floats(const source *s)
{
    size_t most = 0;
    for (size_t i = 0; i < s->c->count; i++)
        if (s->used[i] && s->c->tensors[i].count > most)
            most = (size_t)s->c->tensors[i].count;
    const size_t head =
        2 * (size_t)s->geometry.features * s->geometry.classes + s->geometry.classes;
    const size_t norms = 4 * IVITI_MAX_DIM; /* behind a convolution */
    return (most > head ? most : head) + norms;
}

static network *allocate(const source *s)
{
    const iviti_geometry *g = &s->geometry;
    const size_t structs = sizeof(network) + g->depth * sizeof(network_block) +
                           g->stages * sizeof(network_merge) +
                           s->predictors * sizeof(network_predictor);
    network *n = calloc(1, structs);
    if (n == NULL)
        return NULL;
    n->geometry = *g;
    n->blocks = (network_block *)(n + 1);
    n->merges = (network_merge *)(n->blocks + g->depth);
    n->predictors = s->predictors > 0 ? (network_predictor *)(n->merges + g->stages) : NULL;
    arena a = { NULL, 0 };
    lay_out(n, &a);
    n->arena = calloc(a.used, sizeof(float));
    if (n->arena == NULL) {
        free(n);
        return NULL;
    }
    a = (arena){ n->arena, 0 };
    lay_out(n, &a);
    return n;
}

bool source_fill(const source *s, network **out, report *r)
{
    network *n = allocate(s);
    const reader in = { s, malloc(scratch_floats(s) * sizeof(float)), r };
    bool done = n != NULL && in.scratch != NULL;
    if (!done)
        (void)report_fail(r, "%s: not enough memory for its weights", s->c->file);
    done = done && read_all(&in, n);
    free(in.scratch);
    if (!done) {
        network_free(n);
        return false;
    }
    *out = n;
    return true;
}

void network_free(network *n)
{
    if (n == NULL)
        return;
    free(n->arena);
    free(n);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The walk through the network: embedding, blocks, merges, head. Each part runs the float network on
 * all pictures, looks at what it computed, and emits its integer twin.
 */
#include "quantize/quantize.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quantize/dyadic.h"
#include "quantize/head_fit.h"
#include "quantize/quantizer.h"
#include "quantize/reconstruct.h"
#include "quantize/sensitivity.h"
#include "quantize/views.h"

#define STREAM_MARGIN 1.25 /* between the largest value seen and the end of s16 */

/* Reconstruction: views of each picture, and what a stream of all of them may take. */
#define VIEWS       7
#define VIEWS_BYTES ((size_t)384 << 20)
#define VIEWS_SEED  UINT64_C(0x51EED)

/* What prefix tokens count for beside all patches together. The head reads nothing else, and they are
 * unlike patches: one token in 197 would otherwise be left to what suits the others. */
#define PREFIX_SHARE 0.1

int quantizer_bits(const quantizer *q, uint32_t block, iviti_activation which)
{
    const uint32_t stage = network_stage_of(q->source, block);
    return iviti_activation_bits(&q->out->geometry, iviti_block_activation(block, stage, which));
}

code quantizer_stream_code(quantizer *q, uint32_t stage)
{
    code c = code_new(&q->scratch, q->source->geometry.stage[stage].dim);
    for (size_t i = 0; i < c.width; i++)
        c.scale[i] = q->stream_scale[stage];
    return c;
}

bool quantizer_branch(quantizer *q, uint32_t stage, const network_linear *layer, const code *in,
                      int bits, code *branch, integer_join *join)
{
    const double stream = q->stream_scale[stage];
    *branch = quantizer_stream_code(q, stage);
    if (q->scratch.failed)
        return report_fail(q->r, "stage %u: out of memory", stage);

    const int width = q->options->codebook && bits == 4 ? 8 : bits; /* of the integers */
    const double scale = fmax(stream, dense_finest_scale(layer->weight, branch->width, in, width));
    for (size_t i = 0; i < branch->width; i++)
        branch->scale[i] = scale;
    iviti_dyadic f;
    if (!dyadic_from_real(scale / stream, 20, 62, &f, q->r))
        return false;
    *join = (integer_join){ { 1 << 30, f.multiplier }, { 30, (int8_t)f.shift } };
    return true;
}

void quantizer_note(quantizer *q, const char *name, const integer_dense *dense,
                    const network_linear *layer, const code *in, const code *out, const float *x,
                    size_t rows)
{
    layer_row *row = &q->rows[q->row_count++];
    snprintf(row->name, sizeof row->name, "%s", name);
    row->slot = -1;
    row->bits = dense->bits;
    row->bytes = ((size_t)dense->in * (size_t)dense->bits + 7) / 8 * dense->out +
                 (size_t)dense->out * 9;
    row->snr = x ? dense_snr(dense, layer->weight, layer->bias, in, out, x, rows) : NAN;
}

uint32_t quantizer_slot(const quantizer *q, uint32_t block, block_layer layer)
{
    return iviti_block_weights(block, network_stage_of(q->source, block)) + (uint32_t)layer;
}

int quantizer_weight_bits(const quantizer *q, uint32_t block, block_layer layer)
{
    return q->out->geometry.weight_bits[quantizer_slot(q, block, layer)];
}

bool quantizer_ranks(const quantizer *q)
{
    return q->source->geometry.prune.kind == IVITI_PRUNE_PREDICTOR && q->options->compensate;
}

const double *quantizer_balance(quantizer *q, const code *c, const float *x, size_t rows,
                                const network_linear *layer, size_t outputs, int bits)
{
    const code_reader reader = { layer->weight, outputs, bits, q->options->compensate };
    double *factor = ARENA_TAKE(&q->scratch, double, c->width);
    if (q->scratch.failed || !balance_factors(c, x, rows, &reader, factor)) {
        report_fail(q->r, "quantising: out of memory");
        return NULL;
    }
    return factor;
}

bool quantizer_code_norm(quantizer *q, const network_norm *norm, const float *x, size_t rows,
                         const network_linear *layer, size_t outputs, size_t width, int code_bits,
                         int bits, code *c)
{
    /* what is clipped on pictures that were not seen costs rankings more than a coarser step does */
    const range_method method =
        code_bits > 8 || (quantizer_ranks(q) && code_bits == 8) ? RANGE_MINMAX : q->options->method;
    *c = code_per_channel(&q->scratch, x, rows, width, norm->gain, code_bits, method);
    if (q->scratch.failed)
        return report_fail(q->r, "quantising: out of memory");
    const double *factor = quantizer_balance(q, c, x, rows, layer, outputs, bits);
    if (!factor)
        return false;
    balance_scales(c, factor);
    code_observe_weighted(c, x, rows, &q->weights);
    return true;
}

bool quantizer_dense(quantizer *q, const char *name, const network_linear *layer, size_t outputs,
                     const code *in, const code *out, uint32_t slot, const float *x, size_t rows,
                     integer_dense *result)
{
    const bool placed = slot != QUANTIZER_NO_SLOT;
    const int bits = placed ? q->out->geometry.weight_bits[slot] : 8;
    arena memory; /* of the compensation, which is large */
    compensation c;
    arena_init(&memory);
    const bool compensate = q->options->compensate;
    const bool codebook = q->options->codebook && bits == 4;
    const dense_fit fit = { .method = q->options->method,
                            .bits = bits,
                            .codebook = codebook,
                            .compensation = compensate ? &c : NULL };
    const bool measured = placed && q->sensitivity;
    const bool wanted = compensate || measured;
    bool done = !wanted || compensation_prepare(&memory, in, x, rows, &q->weights, &c) ||
                report_fail(q->r, "%s: out of memory", name);
    done = done && (!measured || sensitivity_layer(q, slot, layer, outputs, in, out, &c));
    done = done && quantize_dense(q->memory, name, layer->weight, layer->bias, outputs, in, out, false,
                                  &fit, result, q->r);
    arena_free(&memory);
    if (!done)
        return false;
    if (codebook)
        memcpy(q->out->geometry.codebook[slot], result->codebook, IVITI_CODEBOOK);
    quantizer_note(q, name, result, layer, in, out, x, rows);
    q->rows[q->row_count - 1].slot = placed ? (int)slot : -1;
    return true;
}

size_t quantizer_steps(const quantizer *q)
{
    return 2 + reconstruct_iterations(q->options->iterations);
}

/* Of progress: one for each block at first, then those of each block. */
static size_t steps_in_all(const quantizer *q)
{
    return (1 + quantizer_steps(q)) * q->source->geometry.depth;
}

static double largest(const float *x, size_t count)
{
    double most = 0;
    for (size_t i = 0; i < count; i++)
        most = fmax(most, fabs((double)x[i]));
    return most;
}

/* A stream that never moves still needs a scale. */
static double stream_scale_for(double most)
{
    return fmax(most, 1e-6) * STREAM_MARGIN / 32767;
}

/* DynamicViT: the stage of pruning before a block, or -1. */
static int predictor_of(const iviti_geometry *g, uint32_t block)
{
    return g->prune.kind == IVITI_PRUNE_PREDICTOR ? iviti_prune_stage(g, block) : -1;
}

/* First pass over the network: how far the residual stream of each stage reaches. */
static bool measure_streams(quantizer *q, const uint8_t *pixels, float *x, float *next)
{
    const network *n = q->source;
    const iviti_geometry *g = &n->geometry;
    const unsigned threads = q->options->threads;
    uint32_t block = 0;

    if (!network_embed(n, pixels, q->pictures, threads, x, NULL, q->r))
        return false;
    for (uint32_t stage = 0; stage < g->stages; stage++) {
        size_t size = q->pictures * iviti_stage_tokens(g, stage) * g->stage[stage].dim;
        float *middle = malloc(size * sizeof *middle);
        double most = largest(x, size);
        bool done = middle != NULL || report_fail(q->r, "calibration: out of memory");

        for (uint32_t j = 0; j < g->stage[stage].depth && done; j++, block++) {
            const network_capture capture = { .middle = middle };
            const int pruning = predictor_of(g, block);
            done = pruning < 0 || network_run_predictor(n, (uint32_t)pruning, q->pictures, threads, x,
                                                        NULL, q->r);
            size = q->pictures * network_tokens_of(n, block) * g->stage[stage].dim;
            done = done && network_run_block(n, block, q->pictures, threads, x, &capture, q->r);
            if (done)
                most = fmax(most, fmax(largest(middle, size), largest(x, size)));
            if (done && q->options->progress)
                q->options->progress(q->options->user, block + 1, steps_in_all(q));
        }
        free(middle);
        q->stream_scale[stage] = stream_scale_for(most);
        if (done && stage + 1 < g->stages) {
            done = network_run_merge(n, stage, q->pictures, threads, x, next, NULL, q->r);
            memcpy(x, next, size / 2 * sizeof *x);
        }
        if (!done)
            return false;
    }
    return true;
}

code quantizer_pixel_code(quantizer *q, size_t inputs)
{
    const network *n = q->source;
    code c = code_new(&q->scratch, inputs);
    for (size_t k = 0; k < c.width; k++) {
        c.scale[k] = 1 / (255.0 * n->std[k % 3]);
        c.offset[k] = -(double)n->mean[k % 3] / n->std[k % 3];
        c.mean[k] = c.offset[k];
    }
    return c;
}

static bool quantize_position(quantizer *q)
{
    const network *n = q->source;
    const iviti_geometry *g = &n->geometry;
    const size_t dim = g->stage[0].dim, tokens = iviti_stage_tokens(g, 0);
    int16_t *position = ARENA_TAKE(q->memory, int16_t, tokens * dim);
    if (!position)
        return report_fail(q->r, "embed.position: out of memory");
    for (size_t i = 0; i < tokens * dim; i++) {
        const float value = i < g->prefix_tokens * dim
                                ? n->prefix[i]
                                : n->position[i - g->prefix_tokens * dim];
        position[i] =
            (int16_t)fmax(-32768, fmin(32767, nearbyint(value / q->stream_scale[0])));
    }
    q->out->position = position;
    return true;
}

/* The weights of the embedding between its codes. */
static bool fit_embed(quantizer *q, const uint8_t *pixels, code *in, const code *out)
{
    const network_linear *layer = &q->source->embed;
    arena memory; /* of the compensation, which is large */
    compensation c;
    arena_init(&memory);
    const bool compensate = quantizer_ranks(q) && q->source->geometry.convolutions == 0;
    const dense_fit fit = { .method = q->options->method, .bits = 8,
                            .compensation = compensate ? &c : NULL };
    const bool done = (!compensate || quantizer_compensate_pixels(q, pixels, in, &memory, &c) ||
                       report_fail(q->r, "embed: out of memory")) &&
                      quantize_dense(q->memory, "embed", layer->weight, layer->bias, out->width, in, out,
                                     true, &fit, &q->out->embed, q->r);
    arena_free(&memory);
    if (done)
        quantizer_note(q, "embed", &q->out->embed, layer, in, out, NULL, 0);
    return done;
}

static bool quantize_embed(quantizer *q, const uint8_t *pixels, float *x)
{
    const network *n = q->source;
    const iviti_geometry *g = &n->geometry;
    const size_t dim = g->stage[0].dim;
    const size_t values =
        q->pictures * g->stage[0].grid_width * g->stage[0].grid_height * dim;
    code in, out;
    double patch_scale = q->stream_scale[0];

    if (!quantize_stem(q, pixels, &in))
        return false;
    if (q->scratch.failed)
        return report_fail(q->r, "embed: out of memory");
    if (!quantizer_branch(q, 0, &n->embed, &in, 8, &out, &q->out->embed_join))
        return false;
    if (g->family == IVITI_SWIN) { /* the patches' own scale, before their LayerNorm */
        float *patches = ARENA_TAKE(&q->scratch, float, values);
        if (!patches)
            return report_fail(q->r, "embed: out of memory");
        if (!network_embed(n, pixels, q->pictures, q->options->threads, x, patches, q->r))
            return false;
        patch_scale = fmax(stream_scale_for(largest(patches, values)),
                           dense_finest_scale(n->embed.weight, dim, &in, 8));
        for (size_t c = 0; c < dim; c++)
            out.scale[c] = patch_scale;
    } else if (!network_embed(n, pixels, q->pictures, q->options->threads, x, NULL, q->r)) {
        return false;
    }
    if (q->scratch.failed)
        return report_fail(q->r, "embed: out of memory");

    if (!fit_embed(q, pixels, &in, &out))
        return false;
    if (g->family == IVITI_VIT)
        return quantize_position(q);
    const code stream = quantizer_stream_code(q, 0);
    if (q->scratch.failed)
        return report_fail(q->r, "embed.norm: out of memory");
    return quantize_norm(q->memory, "embed.norm", &n->embed_norm, n->epsilon, patch_scale,
                         q->out->geometry.norm_kind, &stream, &q->out->embed_norm, q->r);
}

bool quantizer_capture(quantizer *q, size_t rows, size_t dim, size_t hidden, network_capture *c)
{
    *c = (network_capture){
        .norm1 = ARENA_TAKE(&q->scratch, float, rows *dim),
        .qkv = ARENA_TAKE(&q->scratch, float, rows * 3 * dim),
        .attention = ARENA_TAKE(&q->scratch, float, rows *dim),
        .norm2 = ARENA_TAKE(&q->scratch, float, rows *dim),
        .fc1 = ARENA_TAKE(&q->scratch, float, rows *hidden),
        .gelu = ARENA_TAKE(&q->scratch, float, rows *hidden),
    };
    return !q->scratch.failed;
}

static row_weights weights_of(const iviti_geometry *g, size_t tokens)
{
    const size_t prefix = g->prefix_tokens;
    const double share = prefix ? PREFIX_SHARE * (double)(tokens - prefix) / (double)prefix : 1;
    return (row_weights){ tokens, prefix, fmax(share, 1) };
}

static bool quantize_block(quantizer *q, uint32_t i, float *x)
{
    const network *n = q->source;
    const network_block *from = &n->blocks[i];
    integer_block *to = &q->out->blocks[i];
    const uint32_t stage = network_stage_of(n, i);
    const size_t dim = n->geometry.stage[stage].dim, hidden = n->geometry.stage[stage].hidden;
    const size_t rows = q->pictures * network_tokens_of(n, i);
    const iviti_norm_kind kind = q->out->geometry.norm_kind;
    network_capture seen;
    code norm1, norm2, qkv, attention, branch;
    char name[48];

    if (q->sensitivity)
        sensitivity_enter(q->sensitivity, stage, x, q->pictures);
    q->weights = weights_of(&n->geometry, rows / q->pictures);
    if (q->coded)
        return quantize_reconstructed(q, i, x);
    if (!quantizer_capture(q, rows, dim, hidden, &seen))
        return report_fail(q->r, "block %u: out of memory", i);
    if (!network_run_block(n, i, q->pictures, q->options->threads, x, &seen, q->r))
        return false;

    const int qkv_bits = quantizer_weight_bits(q, i, LAYER_QKV);
    const int proj_bits = quantizer_weight_bits(q, i, LAYER_PROJ);
    const int fc1_bits = quantizer_weight_bits(q, i, LAYER_FC1);
    if (!quantizer_code_norm(q, &from->norm1, seen.norm1, rows, &from->qkv, 3 * dim, dim,
                             quantizer_bits(q, i, IVITI_ACTIVATION_QKV), qkv_bits, &norm1) ||
        !quantizer_code_norm(q, &from->norm2, seen.norm2, rows, &from->fc1, hidden, dim,
                             quantizer_bits(q, i, IVITI_ACTIVATION_FC1), fc1_bits, &norm2))
        return false;
    if (!quantize_attention(q, i, &seen, rows, &qkv, &attention))
        return false;
    if (!quantizer_branch(q, stage, &from->proj, &attention, proj_bits, &branch, &to->join1))
        return false;

    snprintf(name, sizeof name, "block.%u.norm1", i);
    if (!quantize_norm(q->memory, name, &from->norm1, n->epsilon, q->stream_scale[stage], kind,
                       &norm1, &to->norm1, q->r))
        return false;
    snprintf(name, sizeof name, "block.%u.qkv", i);
    if (!quantizer_dense(q, name, &from->qkv, 3 * dim, &norm1, &qkv,
                         quantizer_slot(q, i, LAYER_QKV), seen.norm1, rows, &to->qkv))
        return false;
    const int pruning =
        q->source->geometry.prune.kind == IVITI_PRUNE_MERGE ? iviti_prune_stage(&n->geometry, i) : -1;
    if (pruning >= 0 && !quantize_mean_key(q, (uint32_t)pruning, &norm1, &seen, rows))
        return false;
    snprintf(name, sizeof name, "block.%u.proj", i);
    if (!quantizer_dense(q, name, &from->proj, dim, &attention, &branch,
                         quantizer_slot(q, i, LAYER_PROJ), seen.attention, rows, &to->proj))
        return false;
    snprintf(name, sizeof name, "block.%u.norm2", i);
    return quantize_norm(q->memory, name, &from->norm2, n->epsilon, q->stream_scale[stage], kind,
                         &norm2, &to->norm2, q->r) &&
           quantize_mlp(q, i, &seen, rows, &norm2) &&
           (!q->variants || quantize_block_variants(q, i, &seen, rows, &norm1, &norm2));
}

/* All pictures and views of a stream, to the next stage. */
static bool merge_streams(quantizer *q, uint32_t stage, float *x, float *next)
{
    const iviti_stage *s = &q->source->geometry.stage[stage];
    const size_t count = q->pictures + q->views;
    const size_t values = (size_t)s->grid_width * s->grid_height * s->dim / 2; /* of the next stage */
    if (!network_run_merge(q->source, stage, count, q->options->threads, x, next, NULL, q->r))
        return false;
    memcpy(x, next, count * values * sizeof *x);
    return true;
}

static bool quantize_merge(quantizer *q, uint32_t stage, float *x, float *next)
{
    const network *n = q->source;
    const iviti_stage *s = &n->geometry.stage[stage];
    const size_t wide = 4 * (size_t)s->dim;
    const size_t rows = q->pictures * s->grid_width * s->grid_height / 4;
    float *normed = ARENA_TAKE(&q->scratch, float, rows *wide);
    integer_merge *to = &q->out->merges[stage];
    char name[48];

    if (q->sensitivity)
        sensitivity_enter(q->sensitivity, stage, x, q->pictures);
    q->weights = (row_weights){ 1, 0, 1 };
    if (!normed)
        return report_fail(q->r, "merge %u: out of memory", stage);
    if (!network_run_merge(n, stage, q->pictures, q->options->threads, x, next, normed, q->r))
        return false;
    const network_linear *reduction = &n->merges[stage].reduction;
    const uint32_t slot = iviti_merge_weights(&n->geometry, stage);
    const int bits = q->out->geometry.weight_bits[slot];
    code in;
    const int code_bits =
        iviti_activation_bits(&q->out->geometry, iviti_merge_activation(&n->geometry, stage));
    if (!quantizer_code_norm(q, &n->merges[stage].norm, normed, rows, reduction, 2 * s->dim, wide,
                             code_bits, bits, &in))
        return false;
    if (!q->scratch.failed)
        q->stream_scale[stage + 1] = fmax(q->stream_scale[stage + 1],
                                          dense_finest_scale(reduction->weight, 2 * s->dim, &in, bits));
    const code out = quantizer_stream_code(q, stage + 1);
    if (q->scratch.failed)
        return report_fail(q->r, "merge %u: out of memory", stage);

    snprintf(name, sizeof name, "merge.%u.norm", stage);
    if (!quantize_norm(q->memory, name, &n->merges[stage].norm, n->epsilon, q->stream_scale[stage],
                       q->out->geometry.norm_kind, &in, &to->norm, q->r))
        return false;
    snprintf(name, sizeof name, "merge.%u.reduction", stage);
    if (!quantizer_dense(q, name, reduction, 2 * s->dim, &in, &out, slot, normed, rows,
                         &to->reduction))
        return false;
    if (!q->coded) {
        memcpy(x, next, rows * 2 * s->dim * sizeof *x);
        return true;
    }
    return merge_streams(q, stage, x, next) && merge_streams(q, stage, q->coded, next);
}

/* Swin: the mean over tokens as s8, about the offset of the tokens' code. */
static bool quantize_pool(quantizer *q, const float *features, size_t tokens, const code *norm,
                          code *pooled)
{
    const size_t dim = norm->width;
    q->out->pool = (integer_dyadics){ ARENA_TAKE(q->memory, int32_t, dim),
                                      ARENA_TAKE(q->memory, int8_t, dim) };
    *pooled = code_new(&q->scratch, dim);
    if (q->memory->failed || q->scratch.failed)
        return report_fail(q->r, "pool: out of memory");
    for (size_t c = 0; c < dim; c++) {
        double reach = norm->scale[c]; /* at least one step of the tokens' code */
        for (size_t i = 0; i < q->pictures; i++)
            reach = fmax(reach, STREAM_MARGIN * fabs(features[i * dim + c] - norm->offset[c]));
        code_set_symmetric(pooled, c, norm->offset[c], reach);
        iviti_dyadic f;
        if (!dyadic_from_real(norm->scale[c] / (double)tokens / pooled->scale[c], 1, 62, &f, q->r))
            return false;
        q->out->pool.multiplier[c] = f.multiplier;
        q->out->pool.shift[c] = (int8_t)f.shift;
    }
    return true;
}

static bool held_row(const void *user, size_t row)
{
    const quantizer *q = user;
    return reconstruct_holds_out(q->pictures, row % q->pictures);
}

/* The classifier for the features that reconstructed blocks leave. x: the float stream. */
static bool fit_head(quantizer *q, const float *x, network_linear *head)
{
    const network *n = q->source;
    const size_t width = n->geometry.features, classes = n->geometry.classes;
    const size_t count = q->pictures + q->views;
    float *exact = ARENA_TAKE(&q->scratch, float, count *width);
    float *coded = ARENA_TAKE(&q->scratch, float, count *width);
    float *logits = ARENA_TAKE(&q->scratch, float, count *classes);
    const network_linear fitted = { ARENA_TAKE(&q->scratch, float, classes *width),
                                    ARENA_TAKE(&q->scratch, float, classes) };
    const head_fit fit = { exact, coded, count, width, classes, held_row, q };
    double gain;
    if (q->scratch.failed)
        return report_fail(q->r, "head: out of memory");
    if (!network_run_head(n, count, q->options->threads, x, logits, exact, NULL, q->r) ||
        !network_run_head(n, count, q->options->threads, q->coded, logits, coded, NULL, q->r))
        return false;
    if (!head_fit_solve(&fit, &n->head, &fitted, &gain))
        return report_fail(q->r, "head: out of memory");
    *head = fitted;
    return true;
}

/* x: the float stream. */
static bool quantize_head(quantizer *q, const float *x)
{
    const network *n = q->source;
    const iviti_geometry *g = &n->geometry;
    const uint32_t last = g->stages - 1;
    const size_t dim = g->stage[last].dim;
    const bool pooled = g->prefix_tokens == 0;
    const size_t all = network_tokens_of(n, g->depth - 1);
    const size_t tokens = pooled ? all : g->prefix_tokens;
    const size_t kept = g->token_head ? all : tokens;
    const float *seen = q->coded ? q->coded : x;
    network_linear head = n->head;
    float *normed = ARENA_TAKE(&q->scratch, float, q->pictures *kept *dim);
    float *features = ARENA_TAKE(&q->scratch, float, q->pictures *g->features);
    float *logits = ARENA_TAKE(&q->scratch, float, q->pictures *g->classes);
    code out = code_new(&q->scratch, g->classes);
    code in = code_new(&q->scratch, g->features);

    if (q->scratch.failed)
        return report_fail(q->r, "head: out of memory");
    if (!network_run_head(n, q->pictures, q->options->threads, seen, logits, features, normed, q->r))
        return false;
    const float *read = g->token_head ? quantizer_prefix_rows(q, normed, kept) : normed;
    if (!read)
        return report_fail(q->r, "head: out of memory");
    const code norm = code_per_channel(&q->scratch, read, q->pictures * tokens, dim,
                                       n->norm.gain, 8, q->options->method);
    if (q->scratch.failed)
        return report_fail(q->r, "head: out of memory");
    if (!quantize_norm(q->memory, "norm", &n->norm, n->epsilon, q->stream_scale[last],
                       q->out->geometry.norm_kind, &norm, &q->out->norm, q->r))
        return false;
    if (pooled && !quantize_pool(q, features, tokens, &norm, &in))
        return false;
    for (size_t c = 0; c < g->features && !pooled; c++) {
        in.scale[c] = norm.scale[c % dim];
        in.offset[c] = norm.offset[c % dim];
        in.mean[c] = norm.mean[c % dim];
        in.mean_code[c] = norm.mean_code[c % dim];
    }

    patches_inputs patches;
    double least_scale = 0;
    if (g->token_head) {
        if (!quantizer_patches_inputs(q, normed, kept, &patches))
            return false;
        least_scale =
            dense_finest_scale(n->patches_head.weight, g->classes, &patches.code, 8);
    }
    if (q->coded && !g->token_head && !fit_head(q, x, &head))
        return false;
    if (!quantize_logits(&q->scratch, q->memory, &head, least_scale, &in, q->options->method,
                         q->out, q->r))
        return false;
    const iviti_dyadic scale = { (int32_t)q->out->geometry.logits_multiplier,
                                 (int32_t)q->out->geometry.logits_shift };
    for (size_t o = 0; o < g->classes; o++)
        out.scale[o] = dyadic_to_real(scale);
    quantizer_note(q, "head", &q->out->head, &head, &in, &out, features, q->pictures);
    return !g->token_head || quantize_patches_head(q, &patches);
}

static void start_layer(quantizer *q)
{
    arena_free(&q->scratch);
    arena_init(&q->scratch);
}

/* Reconstruction trains on views of the pictures, too; the streams of both begin alike. */
static bool embed_views(quantizer *q, float *x)
{
    const iviti_geometry *g = &q->source->geometry;
    const size_t values = (size_t)iviti_stage_tokens(g, 0) * g->stage[0].dim;
    if (!network_embed(q->source, q->view_pixels, q->views, q->options->threads,
                       x + q->pictures * values, NULL, q->r))
        return false;
    memcpy(q->coded, x, (q->pictures + q->views) * values * sizeof *x);
    return true;
}

static bool walk(quantizer *q, const uint8_t *pixels, float *x, float *next)
{
    const iviti_geometry *g = &q->source->geometry;
    uint32_t block = 0;

    if (!measure_streams(q, pixels, x, next) || !quantize_embed(q, pixels, x))
        return false;
    if (q->coded && !embed_views(q, x))
        return false;
    for (uint32_t stage = 0; stage < g->stages; stage++) {
        for (uint32_t j = 0; j < g->stage[stage].depth; j++, block++) {
            const int pruning = predictor_of(g, block);
            start_layer(q);
            if (pruning >= 0 && !quantize_predictor(q, (uint32_t)pruning, x))
                return false;
            start_layer(q);
            if (!quantize_block(q, block, x))
                return false;
            if (q->options->progress)
                q->options->progress(q->options->user,
                                     g->depth + quantizer_steps(q) * (block + 1), steps_in_all(q));
        }
        start_layer(q);
        if (stage + 1 < g->stages && !quantize_merge(q, stage, x, next))
            return false;
    }
    return quantize_head(q, x);
}

/* The largest stream of all stages. */
static size_t stream_values(const iviti_geometry *g)
{
    size_t most = 0;
    for (uint32_t stage = 0; stage < g->stages; stage++) {
        const size_t values = (size_t)iviti_stage_tokens(g, stage) * g->stage[stage].dim;
        most = values > most ? values : most;
    }
    return most;
}

void quantize_activation_bits(const quantize_options *options, iviti_geometry *g)
{
    const bool wide = options->activation_bits == IVITI_WIDE_BITS;
    uint32_t block = 0;
    for (uint32_t i = 0; i < iviti_activations(g); i++)
        g->activation_bits[i] = (uint8_t)(wide ? 8 : options->activation_bits);
    for (uint32_t stage = 0; stage < g->stages && wide; stage++)
        for (uint32_t j = 0; j < g->stage[stage].depth; j++, block++) {
            uint8_t *const bits = g->activation_bits + iviti_block_activation(block, stage, 0);
            const bool mlp = block < options->wide_mlps;
            bits[IVITI_ACTIVATION_PROJ] = IVITI_WIDE_BITS;
            bits[IVITI_ACTIVATION_FC1] = bits[IVITI_ACTIVATION_FC2] = mlp ? IVITI_WIDE_BITS : 8;
        }
}

static void set_operators(integer_network *n, operators o)
{
    n->geometry.norm_kind = o.norm;
    n->geometry.softmax_kind = o.softmax;
    n->geometry.gelu_kind = o.gelu;
}

/* Networks for the variants, in the memory of the first. */
static bool take_variants(const variant_set *v)
{
    integer_network *first = v->made[0];
    for (size_t i = 1; i < v->count; i++) {
        v->made[i] = calloc(1, sizeof *first);
        if (!v->made[i])
            return false;
        arena_init(&v->made[i]->memory);
        v->made[i]->geometry = first->geometry;
        set_operators(v->made[i], v->kinds[i]);
        v->made[i]->blocks = ARENA_TAKE(&first->memory, integer_block, first->geometry.depth);
    }
    return !first->memory.failed;
}

/* Views of each picture, as many as fit into what streams of reconstruction may take. */
static unsigned views_for(const iviti_geometry *g, size_t count)
{
    const size_t picture = stream_values(g) * sizeof(float);
    unsigned views = VIEWS;
    while (views > 0 && count * (1 + views) > VIEWS_BYTES / picture)
        views--;
    return views;
}

static uint8_t *make_views(const iviti_geometry *g, const uint8_t *pixels, size_t count, unsigned views)
{
    uint8_t *made = malloc(count * views * g->image_width * g->image_height * 3 + 1);
    if (made)
        views_make(pixels, count, g->image_width, g->image_height, views, VIEWS_SEED, made);
    return made;
}

/* `variants` may be NULL; its first network is then the caller's. */
static bool quantize(const network *source, const uint8_t *pixels, size_t count,
                     const quantize_options *options, const variant_set *variants,
                     integer_network **out, quantize_table *table, report *r)
{
    const iviti_geometry *g = &source->geometry;
    const unsigned views_each = options->iterations ? views_for(g, count) : 0;
    const size_t views = count * views_each;
    const size_t values = stream_values(g) * (count + views);
    float *x = malloc(values * sizeof *x);
    float *next = malloc(values * sizeof *next);
    integer_network *n = calloc(1, sizeof *n);
    quantizer q = { .source = source, .options = options, .pictures = count, .out = n, .r = r,
                    .variants = variants, .sensitivity = options->sensitivity };
    float *coded = options->iterations ? malloc(values * sizeof *coded) : NULL;
    uint8_t *view_pixels = options->iterations ? make_views(g, pixels, count, views_each) : NULL;
    bool done = x && next && n && ((coded && view_pixels) || !options->iterations);
    q.coded = coded;
    q.views = views;
    q.view_pixels = view_pixels;

    if (done) {
        arena_init(&n->memory);
        arena_init(&q.scratch);
        q.memory = &n->memory;
        n->geometry = *g;
        set_operators(n, options->operators);
        for (uint32_t i = 0; i < iviti_weight_layers(g); i++)
            n->geometry.weight_bits[i] =
                options->layer_bits ? options->layer_bits[i] : (uint8_t)options->weight_bits;
        n->geometry.codebooks = options->codebook;
        quantize_activation_bits(options, &n->geometry);
        n->blocks = ARENA_TAKE(&n->memory, integer_block, g->depth);
        n->merges = ARENA_TAKE(&n->memory, integer_merge, g->stages);
        n->predictors = ARENA_TAKE(&n->memory, integer_predictor, g->prune.stages + 1);
        n->mean_keys = ARENA_TAKE(&n->memory, integer_dense, g->prune.stages + 1);
        n->size = (integer_dyadics){ ARENA_TAKE(&n->memory, int32_t, g->depth * g->stage[0].heads),
                                     ARENA_TAKE(&n->memory, int8_t, g->depth * g->stage[0].heads) };
        q.rows = ARENA_TAKE(&n->memory, layer_row, 4 * g->depth + g->stages + g->convolutions + 3 +
                                                       3 * g->prune.stages);
        done = !n->memory.failed;
    }
    if (done && variants) {
        variants->made[0] = n;
        done = take_variants(variants);
    }
    done = done || report_fail(r, "out of memory");
    if (done && g->prune.kind == IVITI_PRUNE_MERGE && n->geometry.softmax_kind != IVITI_SOFTMAX_TABLE)
        done = report_fail(r, "--merge needs softmax by tables: merged tokens change its scores");
    if (done && options->activation_bits == IVITI_WIDE_BITS &&
        (n->geometry.softmax_kind != IVITI_SOFTMAX_TABLE ||
         n->geometry.gelu_kind != IVITI_GELU_TABLE))
        done = report_fail(r, "activations of 12 bits need softmax and GELU by tables");
    if (done && coded)
        done = quantize_reconstructible(&n->geometry, r);
    done = done && walk(&q, pixels, x, next);
    arena_free(&q.scratch);
    free(x);
    free(next);
    free(coded);
    free(view_pixels);
    if (!done) {
        integer_network_free(n);
        return false;
    }
    *table = (quantize_table){ q.rows, q.row_count };
    *out = n;
    return true;
}

void integer_network_free(integer_network *n)
{
    if (!n)
        return;
    arena_free(&n->memory);
    free(n);
}

bool quantize_network(const network *source, const uint8_t *pixels, size_t count,
                      const quantize_options *options, integer_network **out,
                      quantize_table *table, report *r)
{
    return quantize(source, pixels, count, options, NULL, out, table, r);
}

bool quantize_variants(const network *source, const uint8_t *pixels, size_t pictures,
                       const quantize_options *options, const operators *kinds, size_t count,
                       integer_network **out, quantize_table *table, report *r)
{
    const variant_set v = { kinds, out, count };
    quantize_options first = *options;
    first.operators = kinds[0];
    for (size_t i = 0; i < count; i++)
        out[i] = NULL;
    const bool made = quantize(source, pixels, pictures, &first, &v, &out[0], table, r);
    bool done = made;
    for (size_t i = 1; i < count && done; i++)
        done = integer_network_vary(out[0], out[i], r);
    if (done)
        return true;
    for (size_t i = count; i-- > (made ? 0 : 1);)
        integer_network_free(out[i]);
    return false;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "predictor_fit.h"

#include <cblas.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "network/dialect.h"
#include "network/forward.h"
#include "quantize/calibration.h"
#include "quantize/compensate.h"

#define RIDGE        1.0  /* of a channel's variance, which is 1 */
#define LEAST        1e-5 /* added to attention before its logarithm */
#define EPSILON      1e-5 /* of the predictors' LayerNorm */
#define OTHER_WEIGHT 0.3  /* deviation of what random weights give, where the rating's is 1 */
#define OTHER_BIAS   0.05
#define MOST_PAIRED  64 /* channels that carry the rating, half of them its negative */

/* ---- what the network does with the pictures ---------------------------------------------------
 */

typedef struct observed {
    const network *n;
    size_t pictures, tokens, patches, dim;
    float *stream;     /* (pictures * tokens, dim) */
    float *qkv;        /* (pictures * tokens, 3 dim) */
    double *attention; /* (pictures, patches) of the class token, heads and blocks summed */
    float *normed; /* (stages, pictures * patches, dim) before each stage, without gain and bias */
} observed;

static void normalise(const float *x, size_t dim, float *y)
{
    double mean = 0, variance = 0;
    for (size_t c = 0; c < dim; c++)
        mean += x[c] / (double)dim;
    for (size_t c = 0; c < dim; c++)
        variance += (x[c] - mean) * (x[c] - mean) / (double)dim;
    for (size_t c = 0; c < dim; c++)
        y[c] = (float)((x[c] - mean) / sqrt(variance + EPSILON));
}

static void note_stream(const observed *o, uint32_t stage)
{
    const size_t prefix = o->tokens - o->patches;
    for (size_t i = 0; i < o->pictures; i++)
        for (size_t t = 0; t < o->patches; t++)
            normalise(o->stream + (i * o->tokens + prefix + t) * o->dim, o->dim,
                      o->normed + ((stage * o->pictures + i) * o->patches + t) * o->dim);
}

/* Adds the class token's probabilities of one picture and head. q, k: those of the head, of token
 * 0. */
static void add_attention(const observed *o, const float *q, const float *k, size_t width,
                          double *score, double *sum)
{
    double most = -INFINITY, total = 0;
    for (size_t t = 0; t < o->tokens; t++) {
        score[t] = 0;
        for (size_t d = 0; d < width; d++)
            score[t] += (double)q[d] * k[t * 3 * o->dim + d] / sqrt((double)width);
        most = fmax(most, score[t]);
    }
    for (size_t t = 0; t < o->tokens; t++)
        total += exp(score[t] - most);
    for (size_t t = 0; t < o->patches; t++)
        sum[t] += exp(score[o->tokens - o->patches + t] - most) / total;
}

static void note_attention(const observed *o, double *score)
{
    const size_t heads = o->n->geometry.stage[0].heads, width = o->dim / heads;
    for (size_t i = 0; i < o->pictures; i++)
        for (size_t h = 0; h < heads; h++) {
            const float *row = o->qkv + i * o->tokens * 3 * o->dim + h * width;
            add_attention(o, row, row + o->dim, width, score, o->attention + i * o->patches);
        }
}

static uint32_t place_of(uint32_t depth, uint32_t stages, uint32_t stage)
{
    return depth * (stage + 1) / (stages + 1);
}

static bool observe(observed *o, const uint8_t *pixels, uint32_t stages, report *r)
{
    const uint32_t depth = o->n->geometry.depth;
    const network_capture seen = { .qkv = o->qkv };
    double *score = malloc(o->tokens * sizeof *score);
    bool done = score && network_embed(o->n, pixels, o->pictures, 1, o->stream, NULL, r);
    for (uint32_t block = 0; block < depth && done; block++) {
        for (uint32_t k = 0; k < stages; k++)
            if (place_of(depth, stages, k) == block)
                note_stream(o, k);
        done = network_run_block(o->n, block, o->pictures, 1, o->stream, &seen, r);
        if (done && block >= depth / 2)
            note_attention(o, score);
    }
    free(score);
    return done;
}

/* ---- regression ---------------------------------------------------------------------------------
 */

/* Logarithms, less their mean of each picture: a predictor compares patches of one picture. */
static void make_targets(const observed *o, double *target)
{
    for (size_t i = 0; i < o->pictures; i++) {
        double mean = 0;
        for (size_t t = i * o->patches; t < (i + 1) * o->patches; t++) {
            target[t] = log(o->attention[t] + LEAST);
            mean += target[t] / (double)o->patches;
        }
        for (size_t t = i * o->patches; t < (i + 1) * o->patches; t++)
            target[t] -= mean;
    }
}

/* rows of x, centred here. */
static bool regress(float *x, const double *target, size_t rows, size_t dim, double *map,
                    double *correlation)
{
    double *square = calloc(dim * dim, sizeof *square);
    double *mean = calloc(dim, sizeof *mean);
    bool done = square && mean;

    for (size_t i = 0; i < rows * dim && done; i++)
        mean[i % dim] += x[i] / (double)rows;
    for (size_t i = 0; i < rows * dim && done; i++)
        x[i] = (float)(x[i] - mean[i % dim]);
    memset(map, 0, (dim + 1) * sizeof *map);
    for (size_t r = 0; r < rows && done; r++) {
        const float *row = x + r * dim;
        for (size_t a = 0; a < dim; a++) {
            map[a] += row[a] * target[r];
            for (size_t b = 0; b <= a; b++)
                square[a * dim + b] += (double)row[a] * row[b];
        }
    }
    for (size_t c = 0; c < dim && done; c++)
        square[c * dim + c] += RIDGE * (double)rows;
    done = done && cholesky(square, dim);
    if (done) {
        cblas_dtrsv(CblasRowMajor, CblasLower, CblasNoTrans, CblasNonUnit, (int)dim, square,
                    (int)dim, map, 1);
        cblas_dtrsv(CblasRowMajor, CblasLower, CblasTrans, CblasNonUnit, (int)dim, square, (int)dim,
                    map, 1);
    }
    double power = 0, along = 0, aimed = 0;
    for (size_t r = 0; r < rows && done; r++) {
        double rating = 0;
        for (size_t c = 0; c < dim; c++)
            rating += map[c] * x[r * dim + c];
        power += rating * rating;
        along += rating * target[r];
        aimed += target[r] * target[r];
    }
    for (size_t c = 0; c < dim && done; c++) {
        map[c] /= sqrt(power / (double)rows);
        map[dim] -= map[c] * mean[c];
    }
    *correlation = along / sqrt(power * aimed);
    free(square);
    free(mean);
    return done;
}

static bool fit(const network *n, const calibration *seen, uint32_t stages, predictor_fit *out,
                report *r)
{
    const size_t dim = n->geometry.stage[0].dim, tokens = network_tokens_of(n, 0);
    const size_t patches = tokens - n->geometry.prefix_tokens, rows = seen->count * patches;
    observed o = { .n = n,
                   .pictures = seen->count,
                   .tokens = tokens,
                   .patches = patches,
                   .dim = dim,
                   .stream = malloc(seen->count * tokens * dim * sizeof(float)),
                   .qkv = malloc(seen->count * tokens * 3 * dim * sizeof(float)),
                   .attention = calloc(rows, sizeof(double)),
                   .normed = malloc(stages * rows * dim * sizeof(float)) };
    double *target = malloc(rows * sizeof *target);
    *out = (predictor_fit){ stages, (uint32_t)dim, malloc(stages * (dim + 1) * sizeof(double)),
                            malloc(stages * sizeof(double)) };
    bool done =
        (o.stream && o.qkv && o.attention && o.normed && target && out->map && out->correlation) ||
        report_fail(r, "fitting predictors: out of memory");
    done = done && observe(&o, seen->pixels, stages, r);
    if (done)
        make_targets(&o, target);
    for (uint32_t k = 0; k < stages && done; k++)
        done = regress(o.normed + k * rows * dim, target, rows, dim, out->map + k * (dim + 1),
                       &out->correlation[k]) ||
               report_fail(r, "fitting predictors: no solution for stage %u", (unsigned)k);
    free(o.stream);
    free(o.qkv);
    free(o.attention);
    free(o.normed);
    free(target);
    return done;
}

bool predictor_fit_make(const checkpoint *from, const char *pictures, size_t limit, uint32_t stages,
                        predictor_fit *out, report *r)
{
    network *n = NULL;
    calibration seen = { 0 };
    *out = (predictor_fit){ 0 };
    const bool done = network_from_checkpoint(from, NULL, &n, r) &&
                      calibration_load(&n->geometry, pictures, limit, true, &seen, r) &&
                      fit(n, &seen, stages, out, r);
    calibration_free(&seen);
    network_free(n);
    return done;
}

void predictor_fit_free(predictor_fit *f)
{
    free(f->map);
    free(f->correlation);
    *f = (predictor_fit){ 0 };
}

/* ---- tensors ------------------------------------------------------------------------------------
 */

/* Mean 0, deviation 1, uniform. */
static double noise(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return ((double)(*state >> 33) / 0x1p31 - 0.5) * sqrt(12);
}

static double sign_of(size_t row)
{
    return row % 2 == 0 ? 1 : -1;
}

/* (out, in): the first `carriers` rows give the rating and its negative in turn, from such pairs
 * among the inputs: GELU(z) - GELU(-z) is z. */
static void pair_weights(float *weight, size_t out, size_t in, size_t from, size_t carriers)
{
    for (size_t o = 0; o < out && o < carriers; o++)
        for (size_t k = 0; k < from; k++)
            weight[o * in + k] += (float)(sign_of(o) * sign_of(k) * 2 / (double)from);
}

static void fill(const predictor_fit *f, uint32_t stage, const char *part, size_t in, size_t out,
                 uint64_t seed, float *values)
{
    const double *map = f->map + stage * (f->dim + 1);
    const bool bias = in == 0, norm = strncmp(part, "in_conv.0", 9) == 0;
    const size_t count = bias ? out : in * out, half = f->dim / 2;
    const size_t first = half < MOST_PAIRED ? half / 2 * 2 : MOST_PAIRED;
    uint64_t state = seed;
    for (const char *c = part; *c; c++)
        state = state * 31 + (uint64_t)(unsigned char)*c + stage;
    for (size_t i = 0; i < count; i++)
        values[i] = (float)(norm   ? !bias
                            : bias ? OTHER_BIAS * noise(&state)
                                   : OTHER_WEIGHT * noise(&state) / sqrt((double)in));
    if (strcmp(part, "in_conv.1.weight") == 0)
        for (size_t o = 0; o < first; o++)
            for (size_t k = 0; k < in; k++)
                values[o * in + k] += (float)(sign_of(o) * map[k]);
    else if (strcmp(part, "in_conv.1.bias") == 0)
        for (size_t o = 0; o < first; o++)
            values[o] += (float)(sign_of(o) * map[f->dim]);
    else if (strcmp(part, "out_conv.0.weight") == 0)
        pair_weights(values, out, in, first, first / 2);
    else if (strcmp(part, "out_conv.2.weight") == 0)
        pair_weights(values, out, in, first / 2, first / 4);
    else if (strcmp(part, "out_conv.4.weight") == 0)
        pair_weights(values, out, in, first / 4, 2);
}

float *predictor_fit_tensor(const predictor_fit *f, const char *name, uint64_t seed)
{
    const size_t dim = f->dim;
    const struct {
        const char *part;
        size_t in, out; /* in 0: a bias */
    } parts[] = { { "in_conv.0.weight", 1, dim },
                  { "in_conv.0.bias", 0, dim },
                  { "in_conv.1.weight", dim, dim },
                  { "in_conv.1.bias", 0, dim },
                  { "out_conv.0.weight", dim, dim / 2 },
                  { "out_conv.0.bias", 0, dim / 2 },
                  { "out_conv.2.weight", dim / 2, dim / 4 },
                  { "out_conv.2.bias", 0, dim / 4 },
                  { "out_conv.4.weight", dim / 4, 2 },
                  { "out_conv.4.bias", 0, 2 } };
    for (uint32_t stage = 0; stage < f->stages; stage++)
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
            char own[64];
            snprintf(own, sizeof own, "score_predictor.%" PRIu32 ".%s", stage, parts[i].part);
            if (strcmp(own, name) != 0)
                continue;
            const size_t count = (parts[i].in ? parts[i].in : 1) * parts[i].out;
            float *values = malloc(count * sizeof *values);
            if (values)
                fill(f, stage, parts[i].part, parts[i].in, parts[i].out, seed, values);
            return values;
        }
    return NULL;
}

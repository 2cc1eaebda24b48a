/* SPDX-License-Identifier: Apache-2.0
 *
 * Integer twins of what chooses tokens: DynamicViT's predictors, and the mean keys of token merging.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "quantize/dyadic.h"
#include "quantize/quantizer.h"

#define MEAN_MARGIN 1.25 /* between the largest mean seen and the end of its code */
#define SCORE_LIMIT 127

static bool take_capture(quantizer *q, size_t rows, size_t dim, network_predictor_capture *c)
{
    *c = (network_predictor_capture){
        .norm = ARENA_TAKE(&q->scratch, float, rows *dim),
        .in = ARENA_TAKE(&q->scratch, float, rows *dim),
        .mixed = ARENA_TAKE(&q->scratch, float, rows *dim),
        .out0 = ARENA_TAKE(&q->scratch, float, rows *dim / 2),
        .gelu0 = ARENA_TAKE(&q->scratch, float, rows *dim / 2),
        .out1 = ARENA_TAKE(&q->scratch, float, rows *dim / 4),
        .gelu1 = ARENA_TAKE(&q->scratch, float, rows *dim / 4),
    };
    return !q->scratch.failed;
}

/* A dense layer and the GELU after it: in is the code of x (rows, in->width), before (rows, outputs) what
 * the layer gave, out the code that GELU gives. next reads it. */
static bool layer_and_table(quantizer *q, const char *name, const network_linear *layer,
                            size_t outputs, const code *in, const float *x, size_t rows,
                            const float *before, const double *next, integer_dense *dense,
                            int8_t **table, code *out)
{
    size_t *order = ARENA_TAKE(&q->scratch, size_t, outputs);
    code middle = code_new(&q->scratch, outputs);
    *out = code_new(&q->scratch, outputs);
    for (size_t c = 0; c < outputs && order; c++)
        order[c] = c;
    if (q->scratch.failed || !next ||
        !(*table = quantizer_gelu_tables(q, before, rows, outputs, order, next, false, &middle, out)))
        return report_fail(q->r, "%s: out of memory", name);
    return quantizer_dense(q, name, layer, outputs, in, &middle, QUANTIZER_NO_SLOT, x, rows, dense);
}

/* The second half of the channels as means over the tokens: codes about the offset of what is averaged. */
static bool code_means(quantizer *q, uint32_t stage, const float *mixed, size_t rows, size_t tokens,
                       const code *gelu, code *out)
{
    const size_t dim = gelu->width, half = dim / 2;
    integer_dyadics *mean = &q->out->predictors[stage].mean;

    *out = code_new(&q->scratch, dim);
    *mean = (integer_dyadics){ ARENA_TAKE(q->memory, int32_t, half),
                               ARENA_TAKE(q->memory, int8_t, half) };
    if (q->scratch.failed || q->memory->failed)
        return report_fail(q->r, "predictor.%u.mean: out of memory", stage);
    for (size_t c = 0; c < dim; c++) {
        out->scale[c] = gelu->scale[c];
        out->offset[c] = gelu->offset[c];
        if (c < half)
            continue;
        double reach = gelu->scale[c];
        for (size_t i = 0; i < rows; i += tokens)
            reach = fmax(reach, MEAN_MARGIN * fabs(mixed[i * dim + c] - gelu->offset[c]));
        code_set_symmetric(out, c, gelu->offset[c], reach);
        iviti_dyadic f;
        if (!dyadic_from_real(gelu->scale[c] / (double)tokens / out->scale[c], 1, 62, &f, q->r))
            return false;
        mean->multiplier[c - half] = f.multiplier;
        mean->shift[c - half] = (int8_t)f.shift;
    }
    code_observe(out, mixed, rows);
    return true;
}

/* The layer that reads [one half, means of the other half] in two parts of half as many inputs. */
static bool split(quantizer *q, uint32_t stage, const integer_dense *whole)
{
    integer_predictor *p = &q->out->predictors[stage];
    const size_t half = whole->in / 2;
    p->local = *whole;
    p->local.in = (uint32_t)half;
    p->local.weight = ARENA_TAKE(q->memory, int8_t, half * whole->out);
    p->global = ARENA_TAKE(q->memory, int8_t, half * whole->out);
    if (q->memory->failed)
        return report_fail(q->r, "predictor.%u.local: out of memory", stage);
    for (size_t o = 0; o < whole->out; o++) {
        memcpy(p->local.weight + o * half, whole->weight + o * whole->in, half);
        memcpy(p->global + o * half, whole->weight + o * whole->in + half, half);
    }
    return true;
}

/* The weights of the rating, (inputs): "keep" less "drop", at any scale. */
static double *rating_weights(quantizer *q, const network_linear *layer, size_t inputs)
{
    double *weight = ARENA_TAKE(&q->scratch, double, inputs);
    for (size_t c = 0; c < inputs && weight; c++)
        weight[c] = (double)layer->weight[c] - layer->weight[inputs + c];
    return weight;
}

static bool quantize_score(quantizer *q, uint32_t stage, const double *weight, const code *in)
{
    int8_t *score = ARENA_TAKE(q->memory, int8_t, in->width);
    double most = 0;
    if (!score)
        return report_fail(q->r, "predictor.%u.score: out of memory", stage);
    for (size_t c = 0; c < in->width; c++)
        most = fmax(most, fabs(weight[c] * in->scale[c]));
    for (size_t c = 0; c < in->width && most > 0; c++)
        score[c] = (int8_t)lround(weight[c] * in->scale[c] / most * SCORE_LIMIT);
    q->out->predictors[stage].score = score;
    return true;
}

static bool quantize_layers(quantizer *q, uint32_t stage, size_t rows, size_t tokens,
                            const network_predictor_capture *seen)
{
    const network_predictor *from = &q->source->predictors[stage];
    integer_predictor *to = &q->out->predictors[stage];
    const size_t dim = q->source->geometry.stage[0].dim;
    const code norm = code_per_channel(&q->scratch, seen->norm, rows, dim, from->norm.gain, 8,
                                       q->options->method);
    double *rating = rating_weights(q, &from->out[2], dim / 4);
    code gelu, mixed, gelu0, gelu1;
    integer_dense whole;
    char name[48];

    if (q->scratch.failed)
        return report_fail(q->r, "predictor %u: out of memory", stage);
    snprintf(name, sizeof name, "predictor.%u.norm", stage);
    if (!quantize_norm(q->memory, name, &from->norm, NETWORK_PREDICTOR_EPSILON, q->stream_scale[0],
                       q->out->geometry.norm_kind, &norm, &to->norm, q->r))
        return false;
    snprintf(name, sizeof name, "predictor.%u.in", stage);
    if (!layer_and_table(q, name, &from->in, dim, &norm, seen->norm, rows, seen->in,
                         quantizer_column_weights(q, &from->out[0], dim, dim / 2), &to->in,
                         &to->in_table, &gelu) ||
        !code_means(q, stage, seen->mixed, rows, tokens, &gelu, &mixed))
        return false;
    snprintf(name, sizeof name, "predictor.%u.local", stage);
    if (!layer_and_table(q, name, &from->out[0], dim / 2, &mixed, seen->mixed, rows, seen->out0,
                         quantizer_column_weights(q, &from->out[1], dim / 2, dim / 4), &whole,
                         &to->local_table, &gelu0) ||
        !split(q, stage, &whole))
        return false;
    code_observe(&gelu0, seen->gelu0, rows);
    double *squares = ARENA_TAKE(&q->scratch, double, dim / 4);
    for (size_t c = 0; c < dim / 4 && squares; c++)
        squares[c] = rating[c] * rating[c];
    snprintf(name, sizeof name, "predictor.%u.out", stage);
    return layer_and_table(q, name, &from->out[1], dim / 4, &gelu0, seen->gelu0, rows, seen->out1,
                           squares, &to->out, &to->out_table, &gelu1) &&
           quantize_score(q, stage, rating, &gelu1);
}

bool quantize_predictor(quantizer *q, uint32_t stage, float *x)
{
    const iviti_geometry *g = &q->source->geometry;
    const size_t before =
        stage > 0 ? iviti_leaving_tokens(g, g->prune.at[stage - 1]) : iviti_stage_tokens(g, 0);
    const size_t tokens = before - g->prefix_tokens, rows = q->pictures * tokens;
    network_predictor_capture seen;

    q->weights = (row_weights){ 1, 0, 1 }; /* no prefix tokens among them */
    if (!take_capture(q, rows, g->stage[0].dim, &seen))
        return report_fail(q->r, "predictor %u: out of memory", stage);
    return network_run_predictor(q->source, stage, q->pictures, q->options->threads, x, &seen, q->r) &&
           quantize_layers(q, stage, rows, tokens, &seen);
}

/* ---- merging ------------------------------------------------------------------------------------- */

/* The mean of the heads' keys is linear in what they are made from. */
static bool mean_layer(quantizer *q, uint32_t block, network_linear *layer)
{
    const iviti_stage *s = &q->source->geometry.stage[0];
    const network_linear *qkv = &q->source->blocks[block].qkv;
    const size_t dim = s->dim, width = dim / s->heads;

    *layer = (network_linear){ ARENA_TAKE(&q->scratch, float, width *dim),
                               ARENA_TAKE(&q->scratch, float, width) };
    for (size_t row = 0; row < dim && !q->scratch.failed; row++) {
        layer->bias[row % width] += qkv->bias[dim + row] / (float)s->heads;
        for (size_t k = 0; k < dim; k++)
            layer->weight[row % width * dim + k] +=
                qkv->weight[(dim + row) * dim + k] / (float)s->heads;
    }
    return !q->scratch.failed;
}

/* How far they reach: keys are the second third of qkv (rows, 3C). */
static double reach_of(const float *qkv, size_t rows, size_t dim, size_t heads)
{
    const size_t width = dim / heads;
    double most = 1e-6;
    for (size_t i = 0; i < rows; i++)
        for (size_t o = 0; o < width; o++) {
            double sum = 0;
            for (size_t h = 0; h < heads; h++)
                sum += (double)qkv[i * 3 * dim + dim + h * width + o];
            most = fmax(most, fabs(sum) / (double)heads);
        }
    return most;
}

bool quantize_mean_key(quantizer *q, uint32_t stage, const code *in, const network_capture *seen,
                       size_t rows)
{
    const iviti_geometry *g = &q->source->geometry;
    const size_t heads = g->stage[0].heads, width = g->stage[0].dim / heads;
    network_linear layer;
    code out = code_new(&q->scratch, width);
    char name[48];

    if (!mean_layer(q, g->prune.at[stage], &layer))
        return report_fail(q->r, "merging %u: out of memory", stage);
    const double finest = dense_finest_scale(layer.weight, width, in, 8);
    const double scale = fmax(finest, reach_of(seen->qkv, rows, in->width, heads) / INT8_MAX);
    for (size_t o = 0; o < width; o++) /* one for all: their directions are compared */
        out.scale[o] = scale;
    snprintf(name, sizeof name, "merging.%u.key", stage);
    return quantizer_dense(q, name, &layer, width, in, &out, QUANTIZER_NO_SLOT, seen->norm1, rows,
                           &q->out->mean_keys[stage]);
}

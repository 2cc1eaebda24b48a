/* SPDX-License-Identifier: Apache-2.0 */
#include "quantize/block_weights.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quantize/float_rows.h"

#define CANDIDATES  24 /* scales of a row of weights */
#define NARROWEST   0.5
#define NEAR        0.45f /* to an integer, of its step: it is rounded to it */

/* Twice the way that Adam may go in all steps: of weights and biases in units of the root mean square of the
 * layer's weights, of the norms' gains and biases in steps of their codes. */
#define RATE_WEIGHT 0.7
#define RATE_NORM   0.3

/* The dense layers' arrays. */
static const struct {
    block_part weight, bias;
} layer_parts[BLOCK_LAYERS] = { { PART_QKV_WEIGHT, PART_QKV_BIAS },
                                { PART_PROJ_WEIGHT, PART_PROJ_BIAS },
                                { PART_FC1_WEIGHT, PART_FC1_BIAS },
                                { PART_FC2_WEIGHT, PART_FC2_BIAS } };

bool block_weights_take(arena *memory, const block_shape *shape, const step_code *codes, layer_grid *layer,
                        block_weights *w)
{
    *w = (block_weights){ .shape = shape, .codes = codes, .layer = layer,
                          .layout = block_layout_of(shape) };
    const size_t all = w->layout.offset[BLOCK_PARTS];
    w->values = ARENA_TAKE(memory, float, all);
    w->used = ARENA_TAKE(memory, float, all);
    w->gradient = ARENA_TAKE(memory, float, all);
    w->kept = ARENA_TAKE(memory, float, all);
    return !memory->failed;
}

bool block_weights_start(block_weights *w, arena *memory, unsigned steps)
{
    const size_t all = w->layout.offset[BLOCK_PARTS];
    memcpy(w->kept, w->values, all * sizeof *w->kept);
    return adam_init(memory, all, steps, &w->adam);
}

void block_weights_undo(block_weights *w)
{
    memcpy(w->values, w->kept, w->layout.offset[BLOCK_PARTS] * sizeof *w->kept);
}

static size_t layer_inputs(const block_shape *s, int layer)
{
    return layer == 3 ? s->hidden : s->dim;
}

static size_t layer_outputs(const block_shape *s, int layer)
{
    return layer == 0 ? 3 * s->dim : layer == 2 ? s->hidden : s->dim;
}

static float on_grid(float value, float scale, float limit)
{
    float q = value / scale;
    q = q > limit ? limit : q;
    q = q < -limit ? -limit : q;
    return float_nearest(q) * scale;
}

/* Squared error of a row on the grid of a scale. */
static double row_error(const float *row, size_t count, float scale, float limit)
{
    double error = 0;
    for (size_t k = 0; k < count; k++) {
        const double d = (double)row[k] - on_grid(row[k], scale, limit);
        error += d * d;
    }
    return error;
}

/* The scale of least error of a row, and its integers. */
static float nearest_row(const layer_grid *g, size_t output, const float *row, size_t count,
                         int8_t *integers)
{
    float most = 0, best = g->smallest[output];
    double least = INFINITY;
    for (size_t k = 0; k < count; k++)
        most = fmaxf(most, fabsf(row[k]));
    for (int i = 0; i < CANDIDATES; i++) {
        const float shrink = 1 - (float)NARROWEST * (float)i / CANDIDATES;
        const float wanted = most / (float)g->limit * shrink;
        const float s = fmaxf(fminf(wanted, g->coarsest[output]), g->smallest[output]);
        const double error = row_error(row, count, s, (float)g->limit);
        if (error < least) {
            least = error;
            best = s;
        }
    }
    for (size_t k = 0; k < count; k++)
        integers[k] = (int8_t)lrintf(on_grid(row[k], best, (float)g->limit) / best);
    return best;
}

static bool fold_layer(block_weights *w, int layer, first_integers *begin, void *user)
{
    const layer_grid *g = &w->layer[layer];
    const size_t in = layer_inputs(w->shape, layer), out = layer_outputs(w->shape, layer);
    float *weight = w->values + w->layout.offset[layer_parts[layer].weight];
    float *bias = w->values + w->layout.offset[layer_parts[layer].bias];
    int8_t *integers = malloc(in * out);
    bool done = integers && (!begin || begin(user, layer, w->values, integers, g->scale));

    for (size_t o = 0; o < out && done; o++) {
        float *const row = weight + o * in;
        for (size_t k = 0; k < in; k++) {
            bias[o] += row[k] * g->centre[k];
            row[k] *= g->fold[k];
        }
        if (!begin)
            g->scale[o] = nearest_row(g, o, row, in, integers + o * in);
        for (size_t k = 0; k < in; k++) {
            const float low = ((float)integers[o * in + k] - NEAR) * g->scale[o];
            const float high = ((float)integers[o * in + k] + NEAR) * g->scale[o];
            row[k] = row[k] < low ? low : row[k] > high ? high : row[k];
        }
    }
    free(integers);
    return done;
}

bool block_weights_fold(block_weights *w, first_integers *begin, void *user)
{
    for (int layer = 0; layer < BLOCK_LAYERS; layer++)
        if (!fold_layer(w, layer, begin, user))
            return false;
    w->coded = true;
    return true;
}

/* A row of folded weights, on the grid, and the bias that goes with it. */
static void use_row(const layer_grid *g, size_t output, size_t count, float *row, float *bias)
{
    const float scale = g->scale[output], limit = (float)g->limit;
    for (size_t k = 0; k < count; k++)
        row[k] = on_grid(row[k], scale, limit) / g->fold[k];
    *bias -= row_product(row, g->centre, count);
}

void block_weights_use(block_weights *w)
{
    memcpy(w->used, w->values, w->layout.offset[BLOCK_PARTS] * sizeof *w->used);
    for (int layer = 0; layer < BLOCK_LAYERS && w->coded; layer++) {
        const layer_grid *g = &w->layer[layer];
        const size_t in = layer_inputs(w->shape, layer);
        const size_t out = layer_outputs(w->shape, layer);
        float *weight = w->used + w->layout.offset[layer_parts[layer].weight];
        float *bias = w->used + w->layout.offset[layer_parts[layer].bias];
        for (size_t o = 0; o < out; o++)
            use_row(g, o, in, weight + o * in, &bias[o]);
    }
}

/* From the gradients of the weights used to those of the folded weights about the centres: rounding passes
 * straight through; a clipped weight has no gradient. */
static void gradient_of_grid(block_weights *w, int layer)
{
    const layer_grid *g = &w->layer[layer];
    const size_t in = layer_inputs(w->shape, layer), out = layer_outputs(w->shape, layer);
    const float *value = w->values + w->layout.offset[layer_parts[layer].weight];
    const float *bias = w->gradient + w->layout.offset[layer_parts[layer].bias];
    float *weight = w->gradient + w->layout.offset[layer_parts[layer].weight];

    for (size_t o = 0; o < out; o++) {
        const float most = g->scale[o] * ((float)g->limit + 0.5f);
        for (size_t k = 0; k < in; k++) {
            float *const d = &weight[o * in + k];
            *d = fabsf(value[o * in + k]) <= most ? (*d - bias[o] * g->centre[k]) / g->fold[k] : 0;
        }
    }
}

static double root_mean_square(const float *x, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)x[i] * x[i];
    return sqrt(sum / (double)count);
}

/* Each array at a rate in proportion to what it holds. */
void block_weights_move(block_weights *w)
{
    for (int layer = 0; layer < BLOCK_LAYERS && w->coded; layer++)
        gradient_of_grid(w, layer);
    const size_t *at = w->layout.offset;
    const double share = 1.0 / w->adam.steps;
    const float *const steps1 = w->codes[PLACE_NORM1].scale;
    const float *const steps2 = w->codes[PLACE_NORM2].scale;
    const size_t width = w->shape->dim;
    const double norm_rate = RATE_NORM * share;
    adam_move(&w->adam, at[PART_GAIN1], width, norm_rate, steps1, w->gradient, w->values);
    adam_move(&w->adam, at[PART_BIAS1], width, norm_rate, steps1, w->gradient, w->values);
    adam_move(&w->adam, at[PART_GAIN2], width, norm_rate, steps2, w->gradient, w->values);
    adam_move(&w->adam, at[PART_BIAS2], width, norm_rate, steps2, w->gradient, w->values);
    for (int layer = 0; layer < BLOCK_LAYERS; layer++) {
        const size_t weight = at[layer_parts[layer].weight], bias = at[layer_parts[layer].bias];
        const size_t end = at[layer_parts[layer].bias + 1];
        const double rate =
            RATE_WEIGHT * share * root_mean_square(w->kept + weight, bias - weight);
        adam_move(&w->adam, weight, end - weight, rate, NULL, w->gradient, w->values);
    }
    adam_next(&w->adam);
}

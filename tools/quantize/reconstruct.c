/* SPDX-License-Identifier: Apache-2.0 */
#include "quantize/reconstruct.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <cblas.h>

#include "quantize/adam.h"

#define LANES       8  /* sums of gradients: as many whatever the number of threads */
#define BATCH       16 /* pictures of a step */
#define HELD_OUT    8  /* one picture in so many, where there are enough */
#define FEW         16
#define CANDIDATES  24 /* scales of a row of weights */
#define NARROWEST   0.5
#define NEAR        0.45f /* to an integer, of its step: it is rounded to it */

/* Twice the way that Adam may go in all steps: of weights and biases in units of the root mean square of the
 * layer's weights, of the norms' gains and biases in steps of their codes. */
#define RATE_WEIGHT 0.35
#define RATE_NORM   0.3

/* The dense layers' arrays. */
static const struct {
    block_part weight, bias;
} layer_parts[BLOCK_LAYERS] = { { PART_QKV_WEIGHT, PART_QKV_BIAS },
                                { PART_PROJ_WEIGHT, PART_PROJ_BIAS },
                                { PART_FC1_WEIGHT, PART_FC1_BIAS },
                                { PART_FC2_WEIGHT, PART_FC2_BIAS } };

/* Memory of one sum. */
typedef struct lane {
    block_trace trace;
    float *gradient; /* (layout) */
    float *y, *back; /* (tokens, dim) */
    double error, power;
} lane;

typedef struct trainer {
    reconstruction *job;
    block_layout layout;
    bool weights_coded;                 /* stage 3 */
    float *values;   /* (layout) what Adam moves: the parameters, in stage 3 folded */
    float *used;     /* (layout) parameters of the forward pass */
    float *gradient; /* (layout) */
    float *kept;     /* (layout) values before the stage */
    lane lanes[LANES];
    adam adam;
    size_t *train, *held; /* pictures */
    size_t train_count, held_count;
    uint64_t random;
    unsigned done;
    arena memory;

    /* the pictures at hand */
    const size_t *pictures;
    size_t count;
    const float *in;
    bool backward;
    float *out; /* where outputs go, or NULL */
} trainer;

/* ---- one set of pictures, shared out ---------------------------------------------------------- */

static size_t picture_values(const trainer *t)
{
    return t->job->shape->tokens * t->job->shape->dim;
}

/* Squared error of the rows that count, and its gradient. */
static void score(const trainer *t, lane *l, const float *target)
{
    const size_t width = t->job->shape->dim;
    for (size_t token = 0; token < t->job->shape->tokens; token++) {
        const float weight =
            token < t->job->scored ? (float)row_weight(&t->job->weights, token) : 0;
        for (size_t i = token * width; i < (token + 1) * width; i++) {
            const float d = l->y[i] - target[i];
            l->error += (double)(weight * d * d);
            l->power += (double)(weight * target[i] * target[i]);
            l->back[i] = 2 * weight * d;
        }
    }
}

static void run_lane(const trainer *t, lane *l, size_t first)
{
    const reconstruction *job = t->job;
    const size_t values = picture_values(t);
    l->error = l->power = 0;
    if (t->backward)
        memset(l->gradient, 0, t->layout.offset[BLOCK_PARTS] * sizeof *l->gradient);
    for (size_t i = first; i < t->count; i += LANES) {
        const size_t picture = t->pictures ? t->pictures[i] : i;
        block_forward(job->shape, job->codes, t->used, t->in + picture * values, &l->trace, l->y);
        score(t, l, job->float_out + picture * values);
        if (t->backward)
            block_backward(job->shape, job->codes, t->used, l->back, &l->trace, l->gradient, NULL);
        if (t->out)
            memcpy(t->out + picture * values, l->y, values * sizeof *l->y);
    }
}

typedef struct worker {
    trainer *t;
    unsigned first, step; /* lanes */
} worker;

static void *work(void *argument)
{
    const worker *w = argument;
    for (size_t i = w->first; i < LANES; i += w->step)
        run_lane(w->t, &w->t->lanes[i], i);
    return NULL;
}

/* Runs the pictures; error over power. A thread that cannot be started is done without. */
static double run(trainer *t)
{
    const unsigned threads = t->job->threads < 1       ? 1
                             : t->job->threads > LANES ? LANES
                                                       : t->job->threads;
    worker workers[LANES];
    pthread_t thread[LANES];
    bool started[LANES] = { false };
    double error = 0, power = 0;

    for (unsigned i = 0; i < threads; i++)
        workers[i] = (worker){ t, i, threads };
    for (unsigned i = 1; i < threads; i++)
        started[i] = pthread_create(&thread[i], NULL, work, &workers[i]) == 0;
    work(&workers[0]);
    for (unsigned i = 1; i < threads; i++)
        if (started[i])
            pthread_join(thread[i], NULL);
        else
            work(&workers[i]);
    for (size_t i = 0; i < LANES; i++) {
        error += t->lanes[i].error;
        power += t->lanes[i].power;
    }
    return error / fmax(power, 1e-30);
}

static void collect_gradient(trainer *t)
{
    const size_t count = t->layout.offset[BLOCK_PARTS];
    memcpy(t->gradient, t->lanes[0].gradient, count * sizeof *t->gradient);
    for (size_t i = 1; i < LANES; i++)
        cblas_saxpy((int)count, 1, t->lanes[i].gradient, 1, t->gradient, 1);
}

/* ---- weights and their grid -------------------------------------------------------------------- */

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
    const float q = nearbyintf(value / scale);
    return (q > limit ? limit : q < -limit ? -limit : q) * scale;
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

/* Stage 2 for the weights: folded columns, and biases that are the outputs at the inputs' centres. Then they
 * move, as little as it takes, to where they round to the integers that stage 3 begins with. */
static bool fold_layer(trainer *t, int layer)
{
    const layer_grid *g = &t->job->layer[layer];
    const size_t in = layer_inputs(t->job->shape, layer), out = layer_outputs(t->job->shape, layer);
    float *weight = t->values + t->layout.offset[layer_parts[layer].weight];
    float *bias = t->values + t->layout.offset[layer_parts[layer].bias];
    int8_t *integers = malloc(in * out);
    bool done = integers && (!t->job->begin ||
                             t->job->begin(t->job->user, layer, t->values, integers, g->scale));

    for (size_t o = 0; o < out && done; o++) {
        float *const row = weight + o * in;
        for (size_t k = 0; k < in; k++) {
            bias[o] += row[k] * g->centre[k];
            row[k] *= g->fold[k];
        }
        if (!t->job->begin)
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

/* The parameters of the forward pass from the values. */
static void use_values(trainer *t)
{
    memcpy(t->used, t->values, t->layout.offset[BLOCK_PARTS] * sizeof *t->used);
    for (int layer = 0; layer < BLOCK_LAYERS && t->weights_coded; layer++) {
        const layer_grid *g = &t->job->layer[layer];
        const size_t in = layer_inputs(t->job->shape, layer);
        const size_t out = layer_outputs(t->job->shape, layer);
        float *weight = t->used + t->layout.offset[layer_parts[layer].weight];
        float *bias = t->used + t->layout.offset[layer_parts[layer].bias];
        for (size_t o = 0; o < out; o++)
            for (size_t k = 0; k < in; k++) {
                float *const w = &weight[o * in + k];
                *w = on_grid(*w, g->scale[o], (float)g->limit) / g->fold[k];
                bias[o] -= *w * g->centre[k];
            }
    }
}

/* From the gradients of the weights used to those of the folded weights about the centres: rounding passes
 * straight through; a clipped weight has no gradient. */
static void gradient_of_grid(trainer *t, int layer)
{
    const layer_grid *g = &t->job->layer[layer];
    const size_t in = layer_inputs(t->job->shape, layer), out = layer_outputs(t->job->shape, layer);
    const float *value = t->values + t->layout.offset[layer_parts[layer].weight];
    const float *bias = t->gradient + t->layout.offset[layer_parts[layer].bias];
    float *weight = t->gradient + t->layout.offset[layer_parts[layer].weight];

    for (size_t o = 0; o < out; o++) {
        const float most = g->scale[o] * ((float)g->limit + 0.5f);
        for (size_t k = 0; k < in; k++) {
            float *const d = &weight[o * in + k];
            *d = fabsf(value[o * in + k]) <= most ? (*d - bias[o] * g->centre[k]) / g->fold[k] : 0;
        }
    }
}

/* ---- training ---------------------------------------------------------------------------------- */

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static void shuffle(size_t *list, size_t count, uint64_t *state)
{
    for (size_t i = count; i > 1; i--) {
        const size_t j = (size_t)(next_random(state) % i), other = list[j];
        list[j] = list[i - 1];
        list[i - 1] = other;
    }
}

static double root_mean_square(const float *x, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)x[i] * x[i];
    return sqrt(sum / (double)count);
}

/* Moves each array at a rate in proportion to what it holds. */
static void move(trainer *t)
{
    const size_t *at = t->layout.offset;
    const double share = 1.0 / t->job->iterations;
    const float *const steps1 = t->job->codes[PLACE_NORM1].scale;
    const float *const steps2 = t->job->codes[PLACE_NORM2].scale;
    const size_t width = t->job->shape->dim;
    const double norm_rate = RATE_NORM * share;
    adam_move(&t->adam, at[PART_GAIN1], width, norm_rate, steps1, t->gradient, t->values);
    adam_move(&t->adam, at[PART_BIAS1], width, norm_rate, steps1, t->gradient, t->values);
    adam_move(&t->adam, at[PART_GAIN2], width, norm_rate, steps2, t->gradient, t->values);
    adam_move(&t->adam, at[PART_BIAS2], width, norm_rate, steps2, t->gradient, t->values);
    for (int layer = 0; layer < BLOCK_LAYERS; layer++) {
        const size_t weight = at[layer_parts[layer].weight], bias = at[layer_parts[layer].bias];
        const size_t end = at[layer_parts[layer].bias + 1];
        const double rate =
            RATE_WEIGHT * share * root_mean_square(t->kept + weight, bias - weight);
        adam_move(&t->adam, weight, end - weight, rate, NULL, t->gradient, t->values);
    }
    adam_next(&t->adam);
}

/* Error on the pictures held out or, where there are none, on all. */
static double validate(trainer *t)
{
    t->pictures = t->held_count ? t->held : NULL;
    t->count = t->held_count ? t->held_count : t->job->pictures;
    t->backward = false;
    use_values(t);
    return run(t);
}

static bool train(trainer *t, const float *in, report *r)
{
    const size_t all = t->layout.offset[BLOCK_PARTS];
    arena memory;
    size_t at = 0;

    arena_init(&memory);
    if (!adam_init(&memory, all, t->job->iterations, &t->adam)) {
        arena_free(&memory);
        return report_fail(r, "reconstruction: out of memory");
    }
    t->in = in;
    memcpy(t->kept, t->values, all * sizeof *t->kept);
    t->job->before = validate(t);
    for (unsigned i = 0; i < t->job->iterations; i++) {
        if (at + BATCH > t->train_count || i == 0) {
            shuffle(t->train, t->train_count, &t->random);
            at = 0;
        }
        t->pictures = t->train + at;
        t->count = t->train_count < BATCH ? t->train_count : BATCH;
        t->backward = true;
        at += t->count;
        use_values(t);
        run(t);
        collect_gradient(t);
        for (int layer = 0; layer < BLOCK_LAYERS && t->weights_coded; layer++)
            gradient_of_grid(t, layer);
        move(t);
        if (t->job->progress)
            t->job->progress(t->job->user, ++t->done);
    }
    t->job->after = validate(t);
    if (!(t->job->after < t->job->before)) {
        memcpy(t->values, t->kept, all * sizeof *t->kept);
        t->job->after = t->job->before;
    }
    arena_free(&memory);
    return true;
}

/* ---- a block ----------------------------------------------------------------------------------- */

static void divide_pictures(trainer *t)
{
    const size_t pictures = t->job->pictures;
    for (size_t i = 0; i < pictures; i++)
        if (pictures >= FEW && i % HELD_OUT == HELD_OUT - 1)
            t->held[t->held_count++] = i;
        else
            t->train[t->train_count++] = i;
}

static bool prepare(trainer *t, reconstruction *job)
{
    const block_shape *s = job->shape;
    *t = (trainer){ .job = job, .layout = block_layout_of(s), .random = job->seed };
    arena_init(&t->memory);
    const size_t all = t->layout.offset[BLOCK_PARTS], values = s->tokens * s->dim;
    t->values = ARENA_TAKE(&t->memory, float, all);
    t->used = ARENA_TAKE(&t->memory, float, all);
    t->gradient = ARENA_TAKE(&t->memory, float, all);
    t->kept = ARENA_TAKE(&t->memory, float, all);
    t->train = ARENA_TAKE(&t->memory, size_t, job->pictures);
    t->held = ARENA_TAKE(&t->memory, size_t, job->pictures);
    for (int i = 0; i < LANES; i++) {
        lane *l = &t->lanes[i];
        l->gradient = ARENA_TAKE(&t->memory, float, t->layout.offset[BLOCK_PARTS]);
        l->y = ARENA_TAKE(&t->memory, float, values);
        l->back = ARENA_TAKE(&t->memory, float, values);
        if (!block_trace_take(&t->memory, s, &l->trace))
            return false;
    }
    return !t->memory.failed;
}

unsigned reconstruct_iterations(unsigned iterations)
{
    return 2 * iterations;
}

bool reconstruct_block(reconstruction *job, report *r)
{
    trainer *t = malloc(sizeof *t);
    bool done = t && prepare(t, job);

    openblas_set_num_threads(1); /* pictures are what is shared out; and sums keep their order */
    if (!done)
        report_fail(r, "reconstruction: out of memory");
    if (done) {
        divide_pictures(t);
        memcpy(t->values, job->parameters, t->layout.offset[BLOCK_PARTS] * sizeof *t->values);
        done = train(t, job->float_in, r);
    }
    if (done) {
        for (int layer = 0; layer < BLOCK_LAYERS && done; layer++)
            done = fold_layer(t, layer) || report_fail(r, "reconstruction: out of memory");
        t->weights_coded = true;
        done = done && train(t, job->coded_in, r);
    }
    if (done) {
        use_values(t);
        t->pictures = NULL;
        t->count = job->pictures;
        t->backward = false;
        t->out = job->coded_out;
        run(t);
        memcpy(job->parameters, t->used, t->layout.offset[BLOCK_PARTS] * sizeof *t->used);
    }
    if (t)
        arena_free(&t->memory);
    free(t);
    return done;
}

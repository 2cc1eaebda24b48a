/* SPDX-License-Identifier: Apache-2.0 */
#include "quantize/reconstruct.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <cblas.h>

#include "quantize/random_bits.h"

#define LANES       8  /* sums of gradients: as many whatever the number of threads */
#define BATCH       16 /* pictures of a step */
#define HELD_OUT    8  /* one picture in so many, where there are enough */
#define FEW         16

/* Memory of one sum. */
typedef struct lane {
    block_trace trace;
    float *gradient; /* (layout) */
    float *y, *back; /* (tokens, dim) */
    double error, power;
} lane;

typedef struct trainer {
    reconstruction *job;
    block_weights weights;
    lane lanes[LANES];
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
        memset(l->gradient, 0, t->weights.layout.offset[BLOCK_PARTS] * sizeof *l->gradient);
    for (size_t i = first; i < t->count; i += LANES) {
        const size_t picture = t->pictures ? t->pictures[i] : i;
        block_forward(job->shape, job->codes, t->weights.used, t->in + picture * values, &l->trace,
                      l->y);
        score(t, l, job->float_out + picture * values);
        if (t->backward)
            block_backward(job->shape, job->codes, t->weights.used, l->back, &l->trace, l->gradient, NULL);
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
    const size_t count = t->weights.layout.offset[BLOCK_PARTS];
    memcpy(t->weights.gradient, t->lanes[0].gradient, count * sizeof *t->weights.gradient);
    for (size_t i = 1; i < LANES; i++)
        cblas_saxpy((int)count, 1, t->lanes[i].gradient, 1, t->weights.gradient, 1);
}

/* ---- training ---------------------------------------------------------------------------------- */

static void shuffle(size_t *list, size_t count, uint64_t *state)
{
    for (size_t i = count; i > 1; i--) {
        const size_t j = (size_t)(random_bits(state) % i), other = list[j];
        list[j] = list[i - 1];
        list[i - 1] = other;
    }
}

/* Error on the pictures held out or, where there are none, on all. */
static double validate(trainer *t)
{
    t->pictures = t->held_count ? t->held : NULL;
    t->count = t->held_count ? t->held_count : t->job->pictures;
    t->backward = false;
    block_weights_use(&t->weights);
    return run(t);
}

static bool train(trainer *t, const float *in, report *r)
{
    arena memory;
    size_t at = 0;

    arena_init(&memory);
    if (!block_weights_start(&t->weights, &memory, t->job->iterations)) {
        arena_free(&memory);
        return report_fail(r, "reconstruction: out of memory");
    }
    t->in = in;
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
        block_weights_use(&t->weights);
        run(t);
        collect_gradient(t);
        block_weights_move(&t->weights);
        if (t->job->progress)
            t->job->progress(t->job->user, ++t->done);
    }
    t->job->after = validate(t);
    if (!(t->job->after < t->job->before)) {
        block_weights_undo(&t->weights);
        t->job->after = t->job->before;
    }
    arena_free(&memory);
    return true;
}

/* ---- a block ----------------------------------------------------------------------------------- */

bool reconstruct_holds_out(size_t sources, size_t picture)
{
    return sources >= FEW && picture % HELD_OUT == HELD_OUT - 1;
}

/* Of what is held out, views do not count. */
static void divide_pictures(trainer *t)
{
    const size_t sources = t->job->sources;
    for (size_t i = 0; i < t->job->pictures; i++)
        if (!reconstruct_holds_out(sources, i % sources))
            t->train[t->train_count++] = i;
        else if (i < sources)
            t->held[t->held_count++] = i;
}

static bool prepare(trainer *t, reconstruction *job)
{
    const block_shape *s = job->shape;
    *t = (trainer){ .job = job, .random = job->seed };
    arena_init(&t->memory);
    if (!block_weights_take(&t->memory, s, job->codes, job->layer, &t->weights))
        return false;
    const size_t values = s->tokens * s->dim;
    t->train = ARENA_TAKE(&t->memory, size_t, job->pictures);
    t->held = ARENA_TAKE(&t->memory, size_t, job->pictures);
    for (int i = 0; i < LANES; i++) {
        lane *l = &t->lanes[i];
        l->gradient = ARENA_TAKE(&t->memory, float, t->weights.layout.offset[BLOCK_PARTS]);
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
        memcpy(t->weights.values, job->parameters, t->weights.layout.offset[BLOCK_PARTS] * sizeof *t->weights.values);
        done = train(t, job->float_in, r);
    }
    if (done) {
        done = block_weights_fold(&t->weights, job->begin, job->user) ||
               report_fail(r, "reconstruction: out of memory");
        done = done && train(t, job->coded_in, r);
    }
    if (done) {
        block_weights_use(&t->weights);
        t->pictures = NULL;
        t->count = job->pictures;
        t->backward = false;
        t->out = job->coded_out;
        run(t);
        memcpy(job->parameters, t->weights.used, t->weights.layout.offset[BLOCK_PARTS] * sizeof *t->weights.used);
    }
    if (t)
        arena_free(&t->memory);
    free(t);
    return done;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The networks of an ablation, and the workers that run them. A worker takes a picture, brings it to the
 * network's pixels once, and runs everything on it.
 */
#define _POSIX_C_SOURCE 200809L

#include "common/ablation.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/integer_model.h"
#include "common/model_open.h"
#include "common/options.h"
#include "common/progress.h"
#include "image/image.h"
#include "picture/picture.h"
#include "quantize/float_nonlinear.h"

/* ---- the rows ---------------------------------------------------------------------------------- */

static const char BASE[] = "tables, exact LayerNorm";
static const char FROM_BASE[] = "one operator changed";
static const char FAMILY[] = "I-ViT's operators";
static const char FROM_FAMILY[] = "one of I-ViT's changed, as in its ablation";
static const char SIMULATED[] = "floating point between integer products";

#define EXACT   IVITI_NORM_EXACT
#define TABLE   IVITI_SOFTMAX_TABLE
#define SHIFT16 IVITI_SOFTMAX_SHIFT16
#define NEWTON  IVITI_NORM_NEWTON

static const struct {
    const char *part, *name;
    operators kinds;
} PLAN[] = {
    { BASE, "", { EXACT, TABLE, IVITI_GELU_TABLE } },
    { FROM_BASE, "softmax q15", { EXACT, IVITI_SOFTMAX_Q15, IVITI_GELU_TABLE } },
    { FROM_BASE, "softmax Shiftmax, 16 bits", { EXACT, SHIFT16, IVITI_GELU_TABLE } },
    { FROM_BASE, "softmax Shiftmax, 8 bits", { EXACT, IVITI_SOFTMAX_SHIFT8, IVITI_GELU_TABLE } },
    { FROM_BASE, "softmax i-exp", { EXACT, IVITI_SOFTMAX_I_EXP, IVITI_GELU_TABLE } },
    { FROM_BASE, "softmax LIS, 4 bits", { EXACT, IVITI_SOFTMAX_LIS, IVITI_GELU_TABLE } },
    { FROM_BASE, "softmax SULQ, 4 bits", { EXACT, IVITI_SOFTMAX_SULQ, IVITI_GELU_TABLE } },
    { FROM_BASE, "GELU ShiftGELU", { EXACT, TABLE, IVITI_GELU_SHIFT } },
    { FROM_BASE, "GELU i-GELU", { EXACT, TABLE, IVITI_GELU_I_GELU } },
    { FROM_BASE, "LayerNorm Newton", { NEWTON, TABLE, IVITI_GELU_TABLE } },
    { FROM_BASE, "LayerNorm L1", { IVITI_NORM_L1, TABLE, IVITI_GELU_TABLE } },
    { FAMILY, "", { NEWTON, SHIFT16, IVITI_GELU_SHIFT } },
    { FROM_FAMILY, "softmax i-exp", { NEWTON, IVITI_SOFTMAX_I_EXP, IVITI_GELU_SHIFT } },
    { FROM_FAMILY, "softmax LIS, 4 bits", { NEWTON, IVITI_SOFTMAX_LIS, IVITI_GELU_SHIFT } },
    { FROM_FAMILY, "GELU i-GELU", { NEWTON, SHIFT16, IVITI_GELU_I_GELU } },
    { FROM_FAMILY, "LayerNorm L1", { IVITI_NORM_L1, SHIFT16, IVITI_GELU_SHIFT } },
};
#define PLANNED (sizeof PLAN / sizeof *PLAN)

/* ---- what the workers share -------------------------------------------------------------------- */

typedef struct pool {
    const ablation_task *task;
    integer_network *networks[PLANNED];
    iviti_model *models[PLANNED];
    float_nonlinear *simulation; /* or NULL */
    size_t rows;                 /* with the simulation */
    evaluation_picture *results; /* (rows, pictures) */
    uint32_t classes;
    pthread_mutex_t lock; /* of what follows */
    size_t next, done;
    bool failed;
    report failure;
    progress progress;
} pool;

typedef struct worker {
    pool *pool;
    pthread_t thread;
    iviti_session *sessions[PLANNED];
    uint8_t *pixels;
    void *scratch;
    size_t scratch_bytes;
    float *wanted;    /* (classes) */
    float *simulated; /* (classes) */
    double *own;      /* (classes) */
} worker;

/* ---- one picture ------------------------------------------------------------------------------- */

static uint32_t rank_of(const double *logits, uint32_t classes, uint32_t label)
{
    uint32_t rank = 0;
    for (uint32_t i = 0; i < classes; i++)
        rank += logits[i] > logits[label] || (!(logits[i] < logits[label]) && i < label);
    return rank;
}

/* own and wanted (classes): logits of a row and of the float network. */
static void compare(const double *own, const float *wanted, uint32_t classes, uint32_t label,
                    evaluation_picture *out)
{
    double dot = 0, power = 0;
    uint32_t best = 0, best_wanted = 0, reference_rank = 0;

    for (uint32_t i = 0; i < classes; i++) {
        dot += own[i] * wanted[i];
        power += own[i] * own[i];
        out->energy += (double)wanted[i] * wanted[i];
        out->difference += (own[i] - wanted[i]) * (own[i] - wanted[i]);
        best = own[i] > own[best] ? i : best;
        best_wanted = wanted[i] > wanted[best_wanted] ? i : best_wanted;
        reference_rank += wanted[i] > wanted[label] || (!(wanted[i] < wanted[label]) && i < label);
    }
    const double lengths = sqrt(power) * sqrt(out->energy);
    out->cosine = lengths > 0 ? dot / lengths : 0;
    out->agrees = best == best_wanted;
    out->best = best;
    out->reference_best = best_wanted;
    out->reference_rank = reference_rank;
    out->rank = rank_of(own, classes, label);
}

static bool run_integer(worker *w, size_t row, evaluation_picture *out, report *r)
{
    const iviti_geometry *g = &w->pool->networks[row]->geometry;
    const iviti_image image = { w->pixels, g->image_width, g->image_height,
                                (ptrdiff_t)g->image_width * 3 };
    const double scale = ldexp(g->logits_multiplier, -(int)g->logits_shift);
    const double before = clock_seconds();

    if (iviti_session_run_pixels(w->sessions[row], &image) != IVITI_OK)
        return report_fail(r, "the integer model does not run");
    out->seconds = clock_seconds() - before;
    const int32_t *logits = iviti_session_logits(w->sessions[row]);
    for (uint32_t i = 0; i < w->pool->classes; i++)
        w->own[i] = logits[i] * scale;
    return true;
}

static bool load_pixels(worker *w, const char *path, report *r)
{
    const iviti_geometry *g = &w->pool->task->source->geometry;
    picture p = { 0 };
    if (!picture_load(path, &p, r))
        return false;
    const iviti_image image = { p.pixels, p.width, p.height, (ptrdiff_t)p.width * 3 };
    const iviti_status status = iviti_fit_image(&g->preprocess, g->image_width, g->image_height,
                                              &image, w->pixels, w->scratch, w->scratch_bytes);
    picture_free(&p);
    return status == IVITI_OK || report_fail(r, "%s: %s", path, iviti_status_text(status));
}

static bool take_picture(worker *w, size_t index, report *r)
{
    pool *p = w->pool;
    const labelled_picture *item = &p->task->pictures->item[index];
    const size_t count = p->task->pictures->count;

    if (!load_pixels(w, item->path, r) ||
        !network_forward(p->task->source, w->pixels, 1, 1, w->wanted, r))
        return false;
    for (size_t turn = 0; turn < p->rows; turn++) {
        const size_t row = (turn + index) % p->rows;
        evaluation_picture *out = &p->results[row * count + index];
        if (row < PLANNED && !run_integer(w, row, out, r))
            return false;
        if (row == PLANNED) {
            if (!float_nonlinear_run(p->simulation, w->pixels, 1, 1, w->simulated, r))
                return false;
            for (uint32_t i = 0; i < p->classes; i++)
                w->own[i] = w->simulated[i];
        }
        compare(w->own, w->wanted, p->classes, item->label, out);
    }
    return true;
}

/* ---- workers ----------------------------------------------------------------------------------- */

static void *work(void *argument)
{
    worker *w = argument;
    pool *p = w->pool;
    report r = { "" };

    pthread_mutex_lock(&p->lock);
    while (!p->failed && p->next < p->task->pictures->count) {
        const size_t index = p->next++;
        pthread_mutex_unlock(&p->lock);
        const bool good = take_picture(w, index, &r);
        pthread_mutex_lock(&p->lock);
        if (!good && !p->failed) {
            p->failed = true;
            p->failure = r;
        }
        progress_set(&p->progress, ++p->done);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static void worker_close(worker *w)
{
    for (size_t i = 0; i < PLANNED; i++)
        iviti_session_free(w->sessions[i]);
    free(w->pixels);
    free(w->scratch);
    free(w->wanted);
    free(w->simulated);
    free(w->own);
}

/* The worker may be closed whatever is returned. */
static bool worker_open(worker *w, pool *p, report *r)
{
    const iviti_geometry *g = &p->task->source->geometry;
    *w = (worker){ .pool = p };
    w->scratch_bytes = iviti_fit_scratch(&g->preprocess, g->image_width, g->image_height);
    w->pixels = malloc((size_t)g->image_width * g->image_height * 3);
    w->scratch = malloc(w->scratch_bytes);
    w->wanted = malloc(p->classes * sizeof *w->wanted);
    w->simulated = malloc(p->classes * sizeof *w->simulated);
    w->own = malloc(p->classes * sizeof *w->own);
    if (!w->pixels || !w->scratch || !w->wanted || !w->simulated || !w->own)
        return report_fail(r, "ablation: out of memory");
    for (size_t i = 0; i < PLANNED; i++) {
        w->sessions[i] = session_open(p->models[i], 1, p->task->isa, r);
        if (!w->sessions[i])
            return false;
    }
    return true;
}

static bool run_workers(pool *p, report *r)
{
    const size_t count = p->task->pictures->count;
    const size_t wanted = p->task->threads < count ? p->task->threads : count;
    worker workers[OPTION_MAX_THREADS];
    unsigned opened = 0, started = 1;
    bool good = true;

    while (good && opened < wanted && opened < OPTION_MAX_THREADS)
        good = worker_open(&workers[opened++], p, r);
    if (good) {
        while (started < opened &&
               pthread_create(&workers[started].thread, NULL, work, &workers[started]) == 0)
            started++;
        (void)work(&workers[0]); /* the work gets done with fewer threads too */
        for (unsigned i = 1; i < started; i++)
            pthread_join(workers[i].thread, NULL);
    }
    for (unsigned i = 0; i < opened; i++)
        worker_close(&workers[i]);
    return good && (!p->failed || report_fail(r, "%s", p->failure.text));
}

/* ---- the networks ------------------------------------------------------------------------------ */

static void show_progress(void *user, size_t done, size_t of)
{
    (void)of;
    progress_set(user, done);
}

static bool make_networks(pool *p, char *note, size_t note_bytes, report *r)
{
    const ablation_task *t = p->task;
    operators kinds[PLANNED];
    quantize_table table;
    report why = { "" };
    progress shown;

    for (size_t i = 0; i < PLANNED; i++)
        kinds[i] = PLAN[i].kinds;
    progress_start(&shown, "quantising", 3 * (uint64_t)t->source->geometry.depth, t->quiet);
    const quantize_options options = { .method = RANGE_MSE,
                                       .weight_bits = 8,
                                       .activation_bits = 8,
                                       .threads = t->threads,
                                       .progress = show_progress,
                                       .user = &shown };
    bool done = quantize_variants(t->source, t->calibration->pixels, t->calibration->count, &options,
                                  kinds, PLANNED, p->networks, &table, r);
    progress_end(&shown);
    if (!done) {
        memset(p->networks, 0, sizeof p->networks);
        return false;
    }
    for (size_t i = 0; i < PLANNED && done; i++) {
        p->models[i] = integer_model_load(p->networks[i], r);
        done = p->models[i] != NULL;
    }
    p->rows = PLANNED + 1;
    if (done && !float_nonlinear_open(p->networks[0], &p->simulation, &why)) {
        p->rows = PLANNED;
        snprintf(note, note_bytes, "%s", why.text);
    }
    return done;
}

static void release(pool *p)
{
    float_nonlinear_free(p->simulation);
    for (size_t i = PLANNED; i-- > 0;) {
        iviti_model_free(p->models[i]);
        integer_network_free(p->networks[i]);
    }
    free(p->results);
}

/* ---- figures ----------------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_ms(const evaluation_picture *results, size_t count)
{
    double *ms = malloc(count * sizeof *ms);
    if (!ms)
        return NAN;
    for (size_t i = 0; i < count; i++)
        ms[i] = results[i].seconds * 1e3;
    qsort(ms, count, sizeof *ms, ascending);
    const double middle = ms[count / 2];
    free(ms);
    return middle;
}

static void collect(const pool *p, ablation *out)
{
    const size_t count = p->task->pictures->count;

    out->count = p->rows;
    out->pictures = count;
    out->calibration_pictures = p->task->calibration->count;
    for (size_t row = 0; row < p->rows; row++) {
        const bool simulated = row == PLANNED;
        ablation_row *to = &out->row[row];
        to->part = simulated ? SIMULATED : PLAN[row].part;
        to->name = simulated ? "" : PLAN[row].name;
        to->kinds = simulated ? OPERATORS_TABLE : PLAN[row].kinds;
        to->simulated = simulated;
        evaluation_add_up(p->results + row * count, count, &to->result);
        to->result.ms_per_image = simulated ? NAN : median_ms(p->results + row * count, count);
    }
    out->reference_top1 = out->row[0].result.reference_top1;
}

bool ablation_run(const ablation_task *task, ablation *out, report *r)
{
    _Static_assert(PLANNED + 1 <= ABLATION_ROWS, "a row for each network");
    pool p = { .task = task, .classes = task->source->geometry.classes };

    *out = (ablation){ .count = 0 };
    bool good = make_networks(&p, out->note, sizeof out->note, r);
    if (good) {
        p.results = calloc(p.rows * task->pictures->count, sizeof *p.results);
        good = p.results || report_fail(r, "ablation: out of memory");
    }
    if (good && pthread_mutex_init(&p.lock, NULL) != 0)
        good = report_fail(r, "cannot create a lock");
    else if (good) {
        progress_start(&p.progress, "evaluating", task->pictures->count, task->quiet);
        good = run_workers(&p, r);
        progress_end(&p.progress);
        pthread_mutex_destroy(&p.lock);
    }
    if (good)
        collect(&p, out);
    release(&p);
    return good;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The workers of evaluation.h.
 */
#define _POSIX_C_SOURCE 200809L

#include "common/evaluation.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/model_open.h"
#include "common/options.h"
#include "common/progress.h"
#include "network/forward.h"
#include "picture/picture.h"

/* What the workers share; everything that changes is under the lock. */
typedef struct pool {
    const evaluation_task *task;
    evaluation_picture *results; /* each written by the one worker that took it */
    double logits_scale;
    uint32_t classes;
    uint32_t prune_stages; /* that both networks have */
    pthread_mutex_t lock;
    size_t next;
    size_t done;
    size_t failed; /* the lowest picture that failed, or SIZE_MAX */
    report failure;
    progress progress;
} pool;

typedef struct worker {
    pool *pool;
    pthread_t thread;
    iviti_session *session;
    float *reference_logits;
    uint32_t *reference_kept;
    uint32_t *kept; /* as the reference has it */
} worker;

/* ---- one picture
 * ----------------------------------------------------------------------------------- */

static uint32_t rank_of(const int32_t *logits, uint32_t classes, uint32_t label)
{
    uint32_t rank = 0;

    for (uint32_t i = 0; i < classes; i++) {
        rank += logits[i] > logits[label] || (logits[i] == logits[label] && i < label);
    }
    return rank;
}

static uint32_t rank_of_float(const float *logits, uint32_t classes, uint32_t label)
{
    uint32_t rank = 0;

    for (uint32_t i = 0; i < classes; i++) {
        rank += logits[i] > logits[label] || (!(logits[i] < logits[label]) && i < label);
    }
    return rank;
}

static void compare(const pool *p, const int32_t *logits, const float *wanted, uint32_t label,
                    evaluation_picture *out)
{
    double dot = 0;
    double own = 0;
    uint32_t best = 0;
    uint32_t best_wanted = 0;

    out->energy = 0;
    out->difference = 0;
    for (uint32_t i = 0; i < p->classes; i++) {
        const double a = (double)logits[i] * p->logits_scale;
        const double b = (double)wanted[i];
        dot += a * b;
        own += a * a;
        out->energy += b * b;
        out->difference += (a - b) * (a - b);
        best = logits[i] > logits[best] ? i : best;
        best_wanted = wanted[i] > wanted[best_wanted] ? i : best_wanted;
    }
    const double lengths = sqrt(own) * sqrt(out->energy);
    out->cosine = lengths > 0 ? dot / lengths : 0;
    out->agrees = best == best_wanted;
    out->reference_best = best_wanted;
    out->reference_rank = rank_of_float(wanted, p->classes, label);
}

/* Numbers that both ascending lists have. */
static size_t count_common(const uint32_t *a, size_t a_count, const uint32_t *b, size_t b_count)
{
    size_t common = 0;

    for (size_t i = 0, k = 0; i < a_count && k < b_count;) {
        common += a[i] == b[k];
        if (a[i] < b[k]) {
            i++;
        } else if (a[i] > b[k]) {
            k++;
        } else {
            i++;
            k++;
        }
    }
    return common;
}

/* The share of the patches kept at each stage that `wanted` holds as well. */
static void compare_kept(const worker *w, const uint32_t *wanted, float *overlap)
{
    const iviti_prune *const prune =
        w->pool->prune_stages > 0 ? &w->pool->task->reference->geometry.prune : NULL;

    for (uint32_t stage = 0; stage < w->pool->prune_stages; stage++) {
        size_t count = 0;
        const uint32_t *const kept = iviti_session_kept(w->session, stage, &count);
        if (kept != NULL && count > 0) {
            const size_t common = count_common(kept, count, wanted, prune->kept[stage]);
            overlap[stage] = (float)common / (float)count;
        }
        wanted += prune->kept[stage];
    }
}

/* What a stage loses is lost for those after it. So each predictor is judged by itself, too: the
 * float network chooses at every stage among the patches that the integer network had there. */
static bool compare_alone(worker *w, evaluation_picture *out, report *r)
{
    const iviti_prune *const prune = &w->pool->task->reference->geometry.prune;
    uint32_t *follow = w->kept;

    if (w->pool->prune_stages == 0 || prune->kind != IVITI_PRUNE_PREDICTOR) {
        return true;
    }
    for (uint32_t stage = 0; stage < w->pool->prune_stages; stage++) {
        size_t count = 0;
        const uint32_t *const kept = iviti_session_kept(w->session, stage, &count);
        if (kept == NULL || count != prune->kept[stage]) {
            return true; /* another number of patches: nothing to compare */
        }
        memcpy(follow, kept, count * sizeof(*kept));
        follow += count;
    }
    if (!network_forward_following(w->pool->task->reference, iviti_session_pixels(w->session), 1, 1,
                                   w->kept, w->reference_logits, w->reference_kept, r)) {
        return false;
    }
    compare_kept(w, w->reference_kept, out->overlap_alone);
    out->alone = true;
    return true;
}

static bool evaluate_picture(worker *w, size_t index, report *r)
{
    pool *const p = w->pool;
    const labelled_picture *const item = &p->task->pictures->item[index];
    evaluation_picture *const out = &p->results[index];
    picture image = { 0 };

    if (!picture_load(item->path, &image, r)) {
        return false;
    }
    const double before = clock_seconds();
    const bool ran = session_run(w->session, &image, item->path, r);
    out->seconds = clock_seconds() - before;
    picture_free(&image);
    if (!ran) {
        return false;
    }
    const int32_t *const logits = iviti_session_logits(w->session);
    iviti_class top = { 0 };
    if (iviti_session_top(w->session, 1, &top, NULL) == IVITI_OK) {
        out->best = top.index;
        out->probability = top.probability;
    }
    out->rank = rank_of(logits, p->classes, item->label);
    if (p->task->reference != NULL) {
        /* The float network sees the very pixels that the integer network saw. */
        if (!network_forward_kept(p->task->reference, iviti_session_pixels(w->session), 1, 1,
                                  w->reference_logits, w->reference_kept, r)) {
            return false;
        }
        compare(p, logits, w->reference_logits, item->label, out);
        compare_kept(w, w->reference_kept, out->overlap);
        return compare_alone(w, out, r);
    }
    return true;
}

/* ---- workers
 * ------------------------------------------------------------------------------------------ */

static void *work(void *argument)
{
    worker *const w = argument;
    pool *const p = w->pool;
    report r = { "" };

    pthread_mutex_lock(&p->lock);
    while (p->failed == SIZE_MAX && p->next < p->task->pictures->count) {
        const size_t index = p->next++;
        pthread_mutex_unlock(&p->lock);
        const bool good = evaluate_picture(w, index, &r);
        pthread_mutex_lock(&p->lock);
        if (!good && index < p->failed) {
            p->failed = index;
            p->failure = r;
        }
        p->done++;
        progress_set(&p->progress, p->done);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static void close_worker(worker *w)
{
    iviti_session_free(w->session);
    free(w->reference_logits);
    free(w->reference_kept);
    free(w->kept);
}

static bool open_worker(worker *w, pool *p, report *r)
{
    *w = (worker){ .pool = p };
    w->session = session_open(p->task->model, 1, p->task->isa, r);
    if (w->session == NULL) {
        return false;
    }
    if (p->task->reference != NULL) {
        const size_t kept = network_kept_numbers(p->task->reference);
        w->reference_logits = malloc(p->classes * sizeof(*w->reference_logits));
        w->reference_kept = malloc((kept + 1) * sizeof(*w->reference_kept));
        w->kept = malloc((kept + 1) * sizeof(*w->kept));
        if (w->reference_logits == NULL || w->reference_kept == NULL || w->kept == NULL) {
            close_worker(w);
            return report_fail(r, "no memory for %u logits", (unsigned)p->classes);
        }
    }
    return true;
}

/* Runs all workers to the end; the first works in this thread. */
static bool run_workers(pool *p, worker *workers, unsigned count, report *r)
{
    unsigned opened = 0;
    unsigned started = 1;
    bool good = true;

    while (opened < count && good) {
        good = open_worker(&workers[opened], p, r);
        opened += good;
    }
    if (good) {
        while (started < count &&
               pthread_create(&workers[started].thread, NULL, work, &workers[started]) == 0) {
            started++;
        }
        (void)work(&workers[0]); /* the work gets done with fewer threads too */
        for (unsigned i = 1; i < started; i++) {
            pthread_join(workers[i].thread, NULL);
        }
    }
    for (unsigned i = 0; i < opened; i++) {
        close_worker(&workers[i]);
    }
    return good;
}

/* ---- figures
 * ------------------------------------------------------------------------------------------- */

void evaluation_add_up(const evaluation_picture *results, size_t count, evaluation *out)
{
    const double n = (double)count;
    double difference = 0;
    double energy = 0;

    *out = (evaluation){ .pictures = count };
    for (size_t i = 0; i < count; i++) {
        const evaluation_picture *const one = &results[i];
        out->top1 += one->rank == 0;
        out->top5 += one->rank < 5;
        out->reference_top1 += one->reference_rank == 0;
        out->reference_top5 += one->reference_rank < 5;
        out->agreement += one->agrees;
        out->cosine += one->cosine;
        out->ms_per_image += one->seconds * 1e3;
        difference += one->difference;
        energy += one->energy;
    }
    out->top1 *= 100 / n;
    out->top5 *= 100 / n;
    out->reference_top1 *= 100 / n;
    out->reference_top5 *= 100 / n;
    out->agreement *= 100 / n;
    out->cosine /= n;
    out->ms_per_image /= n;
    out->relative_mse = energy > 0 ? difference / energy : 0;
}

static void add_overlaps(const pool *p, size_t count, evaluation *out)
{
    out->prune_stages = p->prune_stages;
    out->alone = count > 0 && p->results[0].alone; /* the networks decide, not the picture */
    for (uint32_t k = 0; k < p->prune_stages; k++) {
        for (size_t i = 0; i < count; i++) {
            out->overlap[k] += 100 * (double)p->results[i].overlap[k] / (double)count;
            out->overlap_alone[k] += 100 * (double)p->results[i].overlap_alone[k] / (double)count;
        }
    }
}

bool evaluate(const evaluation_task *task, evaluation *out, report *r)
{
    const size_t count = task->pictures->count;
    const unsigned workers = task->workers < 1                    ? 1
                             : task->workers > OPTION_MAX_THREADS ? OPTION_MAX_THREADS
                                                                  : task->workers;
    worker pool_workers[OPTION_MAX_THREADS];
    pool p = { .task = task, .failed = SIZE_MAX };
    iviti_model_info info;

    iviti_model_describe(task->model, &info);
    p.classes = info.classes;
    if (task->reference != NULL && task->reference->geometry.prune.stages == info.prune_stages) {
        p.prune_stages = info.prune_stages;
    }
    p.logits_scale = ldexp((double)info.logits_multiplier, -(int)info.logits_shift);
    p.results = calloc(count, sizeof(*p.results));
    if (p.results == NULL) {
        return report_fail(r, "no memory for the results of %zu pictures", count);
    }
    if (pthread_mutex_init(&p.lock, NULL) != 0) {
        free(p.results);
        return report_fail(r, "cannot create a lock");
    }
    progress_start(&p.progress, "evaluating", count, task->quiet);
    bool good = run_workers(&p, pool_workers, count < workers ? (unsigned)count : workers, r);
    progress_end(&p.progress);
    pthread_mutex_destroy(&p.lock);
    if (good && p.failed != SIZE_MAX) {
        good = report_fail(r, "%s", p.failure.text);
    }
    if (!good) {
        free(p.results);
        return false;
    }
    evaluation_add_up(p.results, count, out);
    add_overlaps(&p, count, out);
    out->picture = p.results;
    return true;
}

void evaluation_free(evaluation *e)
{
    free(e->picture);
    e->picture = NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "quantize/head_fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cblas.h>

#include "common/arena.h"
#include "quantize/compensate.h"

/* Ridges that are tried, of the mean variance of a feature; the first leaves the identity. */
static const double ridges[] = { 1e6, 30, 10, 3, 1, 0.3, 0.1, 0.03 };
#define RIDGES (sizeof ridges / sizeof *ridges)

typedef struct solver {
    const head_fit *fit;
    const network_linear *head;
    double *mean_exact, *mean_coded;  /* (features) */
    double *square, *product;         /* (features, features) cov(coded), cov(exact, coded) */
    double *factor;                   /* (features, features) */
    double *map, *best;               /* (features, features) */
    float *small;                     /* (features, features) the map for the BLAS */
    float *centred, *guess;           /* (held rows, features) */
    float *logits, *target;           /* (held rows, classes) about the means */
    size_t held;
    arena memory;
} solver;

static bool open_solver(solver *s, const head_fit *fit, const network_linear *head)
{
    const size_t n = fit->features;
    *s = (solver){ .fit = fit, .head = head };
    arena_init(&s->memory);
    for (size_t i = 0; i < fit->rows; i++)
        s->held += fit->held(fit->user, i);
    s->mean_exact = ARENA_TAKE(&s->memory, double, n);
    s->mean_coded = ARENA_TAKE(&s->memory, double, n);
    s->square = ARENA_TAKE(&s->memory, double, n *n);
    s->product = ARENA_TAKE(&s->memory, double, n *n);
    s->factor = ARENA_TAKE(&s->memory, double, n *n);
    s->map = ARENA_TAKE(&s->memory, double, n *n);
    s->best = ARENA_TAKE(&s->memory, double, n *n);
    s->small = ARENA_TAKE(&s->memory, float, n *n);
    s->centred = ARENA_TAKE(&s->memory, float, s->held *n);
    s->guess = ARENA_TAKE(&s->memory, float, s->held *n);
    s->logits = ARENA_TAKE(&s->memory, float, s->held *fit->classes);
    s->target = ARENA_TAKE(&s->memory, float, s->held *fit->classes);
    return !s->memory.failed;
}

/* Means and covariances of the rows that were trained on. */
static void observe(solver *s)
{
    const head_fit *f = s->fit;
    const size_t n = f->features;
    const double share = 1 / (double)(f->rows - s->held);
    for (size_t i = 0; i < f->rows; i++) {
        if (f->held(f->user, i))
            continue;
        for (size_t k = 0; k < n; k++) {
            s->mean_exact[k] += share * f->exact[i * n + k];
            s->mean_coded[k] += share * f->coded[i * n + k];
        }
    }
    for (size_t i = 0; i < f->rows; i++) {
        if (f->held(f->user, i))
            continue;
        for (size_t a = 0; a < n; a++) {
            const double coded = share * (f->coded[i * n + a] - s->mean_coded[a]);
            const double exact = share * (f->exact[i * n + a] - s->mean_exact[a]);
            for (size_t b = 0; b < n; b++) {
                const double other = f->coded[i * n + b] - s->mean_coded[b];
                s->square[a * n + b] += coded * other;
                s->product[a * n + b] += exact * other;
            }
        }
    }
}

/* x (rows, features) through the classifier's weights, without biases. */
static void classify(const solver *s, const float *x, float *logits)
{
    const int n = (int)s->fit->features, classes = (int)s->fit->classes;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)s->held, classes, n, 1, x, n,
                s->head->weight, n, 0, logits, classes);
}

static void take_held(solver *s)
{
    const head_fit *f = s->fit;
    const size_t n = f->features;
    size_t row = 0;
    for (size_t i = 0; i < f->rows; i++) {
        if (!f->held(f->user, i))
            continue;
        for (size_t k = 0; k < n; k++) {
            s->centred[row * n + k] = (float)(f->coded[i * n + k] - s->mean_coded[k]);
            s->guess[row * n + k] = (float)(f->exact[i * n + k] - s->mean_exact[k]);
        }
        row++;
    }
    classify(s, s->guess, s->target);
}

/* map = (cov(exact, coded) + ridge) (cov(coded) + ridge)^-1. False where that has none. */
static bool solve(solver *s, double ridge)
{
    const size_t n = s->fit->features;
    double trace = 0;
    for (size_t k = 0; k < n; k++)
        trace += s->square[k * n + k] / (double)n;
    const double added = ridge * fmax(trace, 1e-20);
    memcpy(s->factor, s->square, n * n * sizeof *s->factor);
    memcpy(s->map, s->product, n * n * sizeof *s->map);
    for (size_t k = 0; k < n; k++) {
        s->factor[k * n + k] += added;
        s->map[k * n + k] += added;
    }
    if (!cholesky(s->factor, n))
        return false;
    cblas_dtrsm(CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit, (int)n, (int)n, 1,
                s->factor, (int)n, s->map, (int)n);
    cblas_dtrsm(CblasRowMajor, CblasRight, CblasLower, CblasNoTrans, CblasNonUnit, (int)n, (int)n, 1,
                s->factor, (int)n, s->map, (int)n);
    return true;
}

/* Squared error of the logits on the rows held out with the map at hand, times its best factor. */
static double held_error(solver *s, double *factor)
{
    const int n = (int)s->fit->features;
    double power = 0, along = 0, error = 0;
    for (size_t i = 0; i < (size_t)n * (size_t)n; i++)
        s->small[i] = (float)s->map[i];
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)s->held, n, n, 1, s->centred, n, s->small,
                n, 0, s->guess, n);
    classify(s, s->guess, s->logits);
    for (size_t i = 0; i < s->held * s->fit->classes; i++) {
        power += (double)s->logits[i] * s->logits[i];
        along += (double)s->logits[i] * s->target[i];
    }
    *factor = power > 0 ? fmax(0, along / power) : 1;
    for (size_t i = 0; i < s->held * s->fit->classes; i++)
        error += pow(*factor * s->logits[i] - s->target[i], 2);
    return error;
}

/* Without map: features taken for those of the float network. */
static double plain_error(solver *s)
{
    const head_fit *f = s->fit;
    const size_t n = f->features;
    double error = 0;
    for (size_t row = 0; row < s->held; row++)
        for (size_t k = 0; k < n; k++)
            s->guess[row * n + k] =
                (float)(s->centred[row * n + k] + s->mean_coded[k] - s->mean_exact[k]);
    classify(s, s->guess, s->logits);
    for (size_t i = 0; i < s->held * f->classes; i++)
        error += pow((double)s->logits[i] - s->target[i], 2);
    return error;
}

/* The classifier with the best map before it. */
static void fold(const solver *s, const network_linear *fitted)
{
    const size_t n = s->fit->features;
    for (size_t i = 0; i < n * n; i++)
        s->small[i] = (float)s->best[i];
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)s->fit->classes, (int)n, (int)n, 1,
                s->head->weight, (int)n, s->small, (int)n, 0, fitted->weight, (int)n);
    for (size_t o = 0; o < s->fit->classes; o++) {
        double bias = s->head->bias[o];
        for (size_t k = 0; k < n; k++)
            bias += s->head->weight[o * n + k] * s->mean_exact[k] -
                    fitted->weight[o * n + k] * s->mean_coded[k];
        fitted->bias[o] = (float)bias;
    }
}

bool head_fit_solve(const head_fit *fit, const network_linear *head, const network_linear *fitted,
                    double *gain)
{
    const size_t n = fit->features;
    solver s;
    const bool room = open_solver(&s, fit, head);
    *gain = 1;
    if (room) {
        memcpy(fitted->weight, head->weight, fit->classes * n * sizeof *head->weight);
        memcpy(fitted->bias, head->bias, fit->classes * sizeof *head->bias);
    }
    if (room && s.held && s.held < fit->rows) {
        observe(&s);
        take_held(&s);
        const double plain = plain_error(&s);
        double least = plain, factor;
        for (size_t i = 0; i < RIDGES; i++) {
            if (!solve(&s, ridges[i]))
                continue;
            const double error = held_error(&s, &factor);
            if (!(error < least))
                continue;
            least = error;
            for (size_t k = 0; k < n * n; k++)
                s.best[k] = factor * s.map[k];
        }
        if (least < plain) {
            fold(&s, fitted);
            *gain = least / plain;
        }
    }
    arena_free(&s.memory);
    return room;
}

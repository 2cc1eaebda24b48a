/* SPDX-License-Identifier: Apache-2.0 */
#include "quantize/balance.h"

#include <math.h>
#include <stdlib.h>

#define POWERS 9      /* 0, 1/8 ... 1 */
#define ROWS_TRIED 48 /* of the weight, spread over all */
#define STEPS_TRIED 10
#define LEAST_STEP 0.4 /* of the one that covers the whole row */
#define ANSWERED 0.5   /* of the error of rounding is left by compensation, about */

/* What the powers are judged on. */
typedef struct trial {
    const code *c;
    const code_reader *reader;
    double *variance; /* (width) of the real inputs */
    double *target;   /* (width) a row of weights in the domain of codes */
    double *factor;   /* (width) */
} trial;

static void variances(const code *c, const float *x, size_t rows, double *variance)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t k = 0; k < c->width; k++) {
            const double d = x[r * c->width + k] - c->mean[k];
            variance[k] += d * d / (double)rows;
        }
}

static void factors_of(const code *c, double power, double *factor)
{
    double largest = 0;
    for (size_t k = 0; k < c->width; k++)
        largest = fmax(largest, c->scale[k]);
    for (size_t k = 0; k < c->width; k++)
        factor[k] = pow(largest / c->scale[k], 1 - power);
}

/* Squared error that rounding one row at the best of some steps leaves at its output. */
static double row_error(const trial *t, const float *weight)
{
    const int limit = (1 << (t->reader->bits - 1)) - 1;
    double largest = 0, least = INFINITY;
    for (size_t k = 0; k < t->c->width; k++) {
        t->target[k] = weight[k] * t->c->scale[k] * t->factor[k];
        largest = fmax(largest, fabs(t->target[k]));
    }
    if (!(largest > 0))
        return 0;
    for (int i = 0; i < STEPS_TRIED; i++) {
        const double step = largest / limit * (1 - (1 - LEAST_STEP) * i / STEPS_TRIED);
        double error = 0;
        for (size_t k = 0; k < t->c->width; k++) {
            const double scale = t->c->scale[k] * t->factor[k];
            double q = nearbyint(t->target[k] / step);
            q = q > limit ? limit : q < -limit ? -limit : q;
            const double d = (t->target[k] - q * step) / scale;
            error += d * d * t->variance[k];
        }
        least = fmin(least, error);
    }
    return least;
}

/* Squared error at the layer's output with the factors at hand, summed over the rows that are tried. */
static double output_error(const trial *t)
{
    const size_t width = t->c->width, outputs = t->reader->outputs;
    const size_t tried = outputs < ROWS_TRIED ? outputs : ROWS_TRIED;
    double of_weights = 0, of_inputs = 0;
    for (size_t i = 0; i < tried; i++) {
        const float *const weight = t->reader->weight + i * outputs / tried * width;
        of_weights += row_error(t, weight);
        for (size_t k = 0; k < width; k++) {
            const double step = weight[k] * t->c->scale[k] * t->factor[k];
            of_inputs += step * step / 12;
        }
    }
    return of_inputs + of_weights * (t->reader->compensated ? ANSWERED : 1);
}

bool balance_factors(const code *c, const float *x, size_t rows, const code_reader *reader,
                     double *factor)
{
    trial t = { c, reader, calloc(c->width, sizeof(double)), malloc(c->width * sizeof(double)),
                factor };
    const bool room = t.variance && t.target;
    double least = INFINITY, best = 1;
    if (room)
        variances(c, x, rows, t.variance);
    for (int i = POWERS; i-- > 0 && room;) {
        const double power = (double)i / (POWERS - 1);
        factors_of(c, power, factor);
        const double error = output_error(&t);
        if (error < least) {
            least = error;
            best = power;
        }
    }
    if (room)
        factors_of(c, best, factor);
    free(t.variance);
    free(t.target);
    return room;
}

void balance_scales(code *c, const double *factor)
{
    for (size_t k = 0; k < c->width; k++) {
        const double scale = c->scale[k] * factor[k];
        c->offset[k] += (scale - c->scale[k]) / 2; /* codes reach from -128 to 127 */
        c->scale[k] = scale;
    }
}

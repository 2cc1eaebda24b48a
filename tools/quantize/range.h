/* SPDX-License-Identifier: Apache-2.0
 *
 * Where to clip: the range of values that an 8-bit code covers, chosen by least squared error over
 * what calibration saw. Rounding costs step^2 / 12 inside the range, clipping the squared distance
 * outside; a narrower range trades the one for the other.
 */
#ifndef RANGE_H
#define RANGE_H

#include <stdbool.h>
#include <stddef.h>

typedef enum range_method {
    RANGE_MINMAX, /* all that was seen */
    RANGE_MSE     /* least squared error */
} range_method;

typedef struct range {
    double low, high; /* low <= high */
} range;

/* What was seen of one quantity: weighted counts in equal bins. */
#define HISTOGRAM_BINS 1024
typedef struct histogram {
    double low, high; /* extremes seen */
    double mean;
    double weight[HISTOGRAM_BINS];
    double total;
} histogram;

/* One histogram per column of x (rows, width), rows `stride` floats apart. */
void histogram_columns(const float *x, size_t rows, size_t width, size_t stride, histogram *out);

/* Adds b, times `weight`, to a, which then covers both. */
void histogram_merge(histogram *a, const histogram *b, double weight);

/* Mean squared value about `centre`. */
double histogram_power(const histogram *h, double centre);

/* Expected squared error of a code with `steps` steps over the range. */
double histogram_error(const histogram *h, range r, int steps);

/* The best range for a code with its own zero, and for one that is symmetric about `centre`; never
 * empty: where all values are equal it has some width. */
range range_asymmetric(const histogram *h, int steps, range_method method);
double range_symmetric(const histogram *h, double centre, int steps, range_method method);

#endif

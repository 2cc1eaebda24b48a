/* SPDX-License-Identifier: Apache-2.0
 *
 * Closed-form compensation of a layer's weights: what rounding does to one weight, and what rounding
 * of the inputs does to all of them, is made up for by the other weights of the row, as far as the
 * inputs that calibration saw go together.
 *
 * In the domain of integer codes. Let q be the centred codes of a row of inputs (the bias takes back
 * the means), x = scale q + d the centred inputs themselves, d what rounding left. H = cov(q) + damping.
 * The real-valued weights that come nearest to the exact output on coded inputs are those of a ridge
 * regression, T = W scale + W cov(d, q) H^-1; integer weights Q at the scale s miss it by the squared
 * error (T - s Q) H (T - s Q)^T. With H = L L^T that is a sum of squares, of which the one of column j
 * holds only the columns from j on: rounded last to first, every column takes over the errors of those
 * before it. (The feedback known from GPTQ, without an inverse.)
 */
#ifndef COMPENSATE_H
#define COMPENSATE_H

#include <stdint.h>

#include "model/geometry.h"
#include "quantize/code.h"

/* The integers that a weight may be. */
typedef struct weight_grid {
    int limit;           /* -limit to limit */
    const int8_t *entry; /* (IVITI_CODEBOOK) rising: none but these; NULL: all */
} weight_grid;

/* The one that is nearest to x. */
double weight_nearest(const weight_grid *grid, double x);

typedef struct compensation {
    size_t width;
    size_t *order;      /* (width) input at each place; the last is rounded first */
    double *factor;     /* (width, width) L of H in that order, lower triangle */
    double *square;     /* (width, width) H, in that order */
    double *correction; /* (width, width) cov(d, q), d in the inputs' own order, q in the other */
} compensation;

/* From what a layer's inputs x (rows, in->width) were; rows >= 1. The means of `in` must be those of x
 * with the same weights (code_observe). False where memory runs out. */
bool compensation_prepare(arena *memory, const code *in, const float *x, size_t rows,
                          const row_weights *w, compensation *c);

/* T of weight (outputs, width), its columns in the order of `order`. target (outputs, width). False
 * where memory runs out. */
bool compensation_target(const compensation *c, const code *in, const float *weight, size_t outputs,
                         double *target);

/* Integers of the grid for a row of targets at `scale`, both in the order of `order`. error (width) is
 * scratch. Returns the squared error. */
double compensation_round(const compensation *c, const double *target, double scale,
                          const weight_grid *grid, double *error, int8_t *integers);

/* Changes single integers while that lowers the error. gradient (width) is scratch. */
void compensation_refine(const compensation *c, const double *target, double scale,
                         const weight_grid *grid, double *gradient, int8_t *integers);

/* Lower Cholesky factor of the symmetric a (n, n), in place; the upper triangle is left as it is. False
 * if a is not positive definite. */
bool cholesky(double *a, size_t n);

#endif

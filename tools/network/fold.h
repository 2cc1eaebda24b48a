/* SPDX-License-Identifier: Apache-2.0
 *
 * Batch normalisation of a trained network is a fixed affine map per channel: it folds into the
 * convolution or linear layer beside it, exactly up to the rounding of the folded floats. This is
 * done before anything is calibrated or quantised; sums and products are taken in double precision.
 */
#ifndef FOLD_H
#define FOLD_H

#include <stddef.h>

#include "common/report.h"

/* y_c = (x_c - mean_c) / sqrt(variance_c + epsilon) * gain_c + bias_c */
typedef struct batch_norm {
    const float *gain, *bias;     /* (channels); NULL: ones, zeros */
    const float *mean, *variance; /* (channels) running statistics */
    double epsilon;
} batch_norm;

/* A convolution, or a linear layer with one tap. */
typedef struct fold_layer {
    const char *name; /* for sentences */
    size_t out, in;   /* channels */
    size_t groups;    /* divides both; `in` for a depthwise convolution */
    size_t taps;      /* of the kernel, height * width */
    bool padded;      /* with zeros */
    float *weight;    /* (out, in / groups, taps) */
    float *bias;      /* (out), zeros where the layer has none: folding gives it one */
} fold_layer;

/* norm(layer(x)), norm over layer->out channels, becomes layer(x). The layer is untouched where
 * this is refused. */
bool fold_norm_behind(const batch_norm *norm, const fold_layer *layer, report *r);

/* layer(norm(x)), norm over layer->in channels, becomes layer(x). A padded layer with more than one
 * tap is refused: outside the picture the norm's output is zero, which no constant input stands
 * for. */
bool fold_norm_before(const batch_norm *norm, const fold_layer *layer, report *r);

/* layer(x) * factor becomes layer(x): a scale of a residual branch. */
void fold_factor(const fold_layer *layer, double factor);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Predictors for a trained ViT, of which no DynamicViT was published: with the shape and the names
 * of DynamicViT's, they rate patches by what the class token attends to in the later half of the
 * blocks, as far as a linear map of a patch's normalised stream tells that (ridge regression on
 * pictures). Around that map the weights are random, so that every channel is at work.
 */
#ifndef PREDICTOR_FIT_H
#define PREDICTOR_FIT_H

#include <stddef.h>
#include <stdint.h>

#include "checkpoint/checkpoint.h"
#include "common/report.h"

typedef struct predictor_fit {
    uint32_t stages, dim;
    double *map;         /* (stages, dim + 1) ratings of deviation 1: weights, then what is added */
    double *correlation; /* (stages) of ratings and attention on the pictures */
} predictor_fit;

/* At most `limit` pictures of the folder; predictors before blocks that divide the network evenly,
 * as iviti-convert takes them to be. Free with predictor_fit_free. */
bool predictor_fit_make(const checkpoint *from, const char *pictures, size_t limit, uint32_t stages,
                        predictor_fit *out, report *r);
void predictor_fit_free(predictor_fit *f);

/* The values of a predictor's tensor, to be freed; NULL for other names, or without memory. */
float *predictor_fit_tensor(const predictor_fit *f, const char *name, uint64_t seed);

#endif

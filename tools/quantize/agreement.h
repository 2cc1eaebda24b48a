/* SPDX-License-Identifier: Apache-2.0
 *
 * How the integer model compares with the float network it came from.
 */
#ifndef AGREEMENT_H
#define AGREEMENT_H

#include "iviti/iviti.h"
#include "network/network.h"
#include "quantize/integer_network.h"

typedef struct agreement {
    double same_top1;    /* percent of pictures */
    double cosine;       /* mean over pictures, of the logits */
    double relative_mse; /* mean squared logit difference / mean squared float logit */
} agreement;

/* Runs both on pixels (count, image_height, image_width, 3), count >= 1. */
bool agreement_measure(const network *n, const iviti_model *model, const uint8_t *pixels,
                       size_t count, unsigned threads, agreement *out, report *r);

/* The same for the simulation of the model: its integers in every product, floating point between them
 * (float_nonlinear.h). What it has better is the price of integers alone. */
bool agreement_simulate(const network *n, const integer_network *model, const uint8_t *pixels,
                        size_t count, unsigned threads, agreement *out, report *r);

#endif

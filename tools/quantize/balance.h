/* SPDX-License-Identifier: Apache-2.0
 *
 * How far the scales of a layer's input channels may differ.
 *
 * A scale of its own for every channel makes the most of an activation's 8 bits. But it folds into the
 * weights, of which a row has one step for all channels: scales that differ spread a row's integers,
 * and what few bits of a weight leave of them is coarse where it should be fine. Scales of one size
 * serve the weights and waste the activation's codes. Between the two lie the powers of the channels'
 * own scales; the one with the least error at the layer's output is taken.
 */
#ifndef BALANCE_H
#define BALANCE_H

#include "quantize/code.h"

/* Who reads a code. */
typedef struct code_reader {
    const float *weight; /* (outputs, width of the code) */
    size_t outputs;
    int bits;         /* of its weights */
    bool compensated; /* they make up for one another's rounding */
} code_reader;

/* The factors (width), none below 1, by which the scales of `c` are best enlarged for the reader, where
 * x (rows, width) is what it is given. False where memory runs out. */
bool balance_factors(const code *c, const float *x, size_t rows, const code_reader *reader,
                     double *factor);

/* Scales of an asymmetric code times factors (width); ranges keep their centres. */
void balance_scales(code *c, const double *factor);

#endif

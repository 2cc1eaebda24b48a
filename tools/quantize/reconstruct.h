/* SPDX-License-Identifier: Apache-2.0
 *
 * Reconstruction of one block: its weights are trained until the block, quantised, gives what the float
 * block gives. After I&S-ViT (Zhong et al. 2023), in three stages:
 *
 *  1. activations quantised, weights not; inputs of the float network;
 *  2. scales per channel become scales per layer (columns of weights are multiplied with what their
 *     inputs are divided by; exact);
 *  3. weights quantised as well; inputs as the quantised blocks before leave them.
 *
 * Adam, and rounding that passes gradients straight through. Beside the pictures it is trained on views of
 * them (views.h). Part of the pictures is held out, with their views: a stage whose result is no better on
 * them is undone. Deterministic: the order of pictures comes from a
 * seed, and sums do not depend on the number of threads.
 */
#ifndef RECONSTRUCT_H
#define RECONSTRUCT_H

#include "common/report.h"
#include "quantize/block_weights.h"
#include "quantize/code.h"

typedef struct reconstruction {
    const block_shape *shape;
    const step_code *codes; /* (BLOCK_PLACES) */
    layer_grid layer[BLOCK_LAYERS];
    size_t pictures;
    size_t sources; /* picture i is a view of picture i % sources */
    const float *float_in, *float_out; /* (pictures, tokens, dim) */
    const float *coded_in;             /* the same, after the quantised blocks before */
    float *coded_out;                  /* out; may be coded_in */
    size_t scored;                     /* leading tokens of a picture that somebody reads afterwards */
    row_weights weights;               /* of the tokens' errors */
    first_integers *begin;             /* of stage 3; NULL: nearest */
    unsigned iterations;               /* of each stage */
    unsigned threads;
    uint64_t seed;
    void (*progress)(void *user, unsigned done); /* iterations of this block; may be NULL */
    void *user;
    float *parameters; /* (layout) in: the float block's; out: the trained, weights on their grid */
    double before, after; /* out: squared error over squared output, held-out pictures */
} reconstruction;

/* Iterations that `progress` counts for a block. */
unsigned reconstruct_iterations(unsigned iterations);

/* Whether this one of the pictures that are not views of others is held out, and all views of it. */
bool reconstruct_holds_out(size_t sources, size_t picture);

bool reconstruct_block(reconstruction *job, report *r);

#endif

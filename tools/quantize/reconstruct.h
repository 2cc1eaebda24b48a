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
 * Adam, and rounding that passes gradients straight through. Part of the pictures is held out: a stage
 * whose result is no better on them is undone. Deterministic: the order of pictures comes from a
 * seed, and sums do not depend on the number of threads.
 */
#ifndef RECONSTRUCT_H
#define RECONSTRUCT_H

#include "common/report.h"
#include "quantize/block_gradient.h"
#include "quantize/code.h"

#define BLOCK_LAYERS 4 /* qkv, proj, fc1, fc2 */

/* A dense layer of the block, for its weights' integers. */
typedef struct layer_grid {
    int limit;             /* integers are -limit to limit */
    const float *fold;     /* (inputs) scale of each input over their mean */
    const float *centre;   /* (inputs) about which they are */
    const float *smallest; /* (outputs) scales lie between these */
    const float *coarsest;
    float *scale; /* (outputs) out: weight (o, k) = integer * scale[o] / fold[k] */
} layer_grid;

typedef struct reconstruction {
    const block_shape *shape;
    const step_code *codes; /* (BLOCK_PLACES) */
    layer_grid layer[BLOCK_LAYERS];
    size_t pictures;
    const float *float_in, *float_out; /* (pictures, tokens, dim) */
    const float *coded_in;             /* the same, after the quantised blocks before */
    float *coded_out;                  /* out; may be coded_in */
    size_t scored;                     /* leading tokens of a picture that somebody reads afterwards */
    row_weights weights;               /* of the tokens' errors */
    /* Integers (outputs, inputs) and scales of a layer's weights for stage 3 to begin with, from the
     * parameters of stage 1; NULL: nearest, at the scale of least error */
    bool (*begin)(void *user, int layer, const float *parameters, int8_t *integers, float *scale);
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

bool reconstruct_block(reconstruction *job, report *r);

#endif

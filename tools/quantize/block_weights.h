/* SPDX-License-Identifier: Apache-2.0
 *
 * The weights of a block while they are trained: values that Adam moves, and what the forward pass makes of
 * them, which from stage 3 on lies on the grid of the integers.
 */
#ifndef BLOCK_WEIGHTS_H
#define BLOCK_WEIGHTS_H

#include "quantize/adam.h"
#include "quantize/block_gradient.h"

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

typedef struct block_weights {
    const block_shape *shape;
    const step_code *codes;  /* (BLOCK_PLACES) */
    layer_grid *layer;       /* (BLOCK_LAYERS) */
    block_layout layout;
    bool coded;      /* values are folded, and rounded when they are used: stage 3 */
    float *values;   /* (layout) what Adam moves */
    float *used;     /* (layout) parameters of the forward pass */
    float *gradient; /* (layout) */
    float *kept;     /* (layout) values before the stage */
    adam adam;
} block_weights;

/* Room for all arrays; false where there is none. */
bool block_weights_take(arena *memory, const block_shape *shape, const step_code *codes, layer_grid *layer,
                        block_weights *w);

/* Integers (outputs, inputs) and scales of a layer's weights to begin with, from parameters (layout). */
typedef bool first_integers(void *user, int layer, const float *parameters, int8_t *integers,
                            float *scale);

/* Stage 2: folded columns, and biases that are the outputs at the inputs' centres. Then weights move, as
 * little as it takes, to where they round to the integers of `begin`; NULL: nearest, at the scale of least
 * error. False where memory runs out. */
bool block_weights_fold(block_weights *w, first_integers *begin, void *user);

/* A stage begins: keeps the values. `steps` of Adam. False where memory runs out. */
bool block_weights_start(block_weights *w, arena *memory, unsigned steps);

/* Back to what was kept. */
void block_weights_undo(block_weights *w);

/* The parameters of the forward pass from the values. */
void block_weights_use(block_weights *w);

/* One step, from the gradients of the parameters of the forward pass, which are used up. */
void block_weights_move(block_weights *w);

#endif

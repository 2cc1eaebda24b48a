/* SPDX-License-Identifier: Apache-2.0
 *
 * A transformer block with quantisers in it, forward and backward, for reconstruction.
 *
 *     x -> norm1 -> Q -> qkv -> Q -> attention -> Q -> proj -> + x -> norm2 -> Q -> fc1 -> Q -> GELU -> Q -> fc2 -> +
 *
 * Each Q rounds to a code and back. Its gradient is that of clipping alone: rounding passes it
 * through as it is (straight-through), what was clipped passes none. Everything else has its exact
 * gradient. One picture at a time, with single-threaded BLAS.
 */
#ifndef BLOCK_GRADIENT_H
#define BLOCK_GRADIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"

/* A code as the simulation wants it: value of channel c = offset[c] + scale[c] * integer. */
typedef struct step_code {
    const float *scale, *offset; /* (width); NULL: values pass as they are */
    float low, high;             /* integers */
    bool clips_only;             /* for comparisons with finite differences: no rounding */
} step_code;

/* What attention makes of a row of probabilities before it multiplies the values, in place. */
typedef void coded_probabilities(const void *user, float *row, size_t count);

typedef struct block_shape {
    size_t tokens, dim, heads, hidden;
    double epsilon;
    size_t window;         /* tokens that attend to each other; `tokens` if all do */
    const uint32_t *map;   /* (tokens) the row of each token in window order, or NULL: the same */
    const uint8_t *region; /* (tokens) in window order, or NULL: pairs of different regions do not meet */
    const float *bias;     /* (heads, window, window) added to the scores, or NULL */
    coded_probabilities *probabilities; /* NULL: as they are */
    const void *probabilities_user;
} block_shape;

/* The trainable arrays of a block, one after the other. */
typedef enum block_part {
    PART_GAIN1,
    PART_BIAS1,
    PART_QKV_WEIGHT, /* (3C, C) */
    PART_QKV_BIAS,
    PART_PROJ_WEIGHT,
    PART_PROJ_BIAS,
    PART_GAIN2,
    PART_BIAS2,
    PART_FC1_WEIGHT, /* (H, C) */
    PART_FC1_BIAS,
    PART_FC2_WEIGHT, /* (C, H) */
    PART_FC2_BIAS,
    BLOCK_PARTS
} block_part;

typedef struct block_layout {
    size_t offset[BLOCK_PARTS + 1]; /* the last is the length of all */
} block_layout;

block_layout block_layout_of(const block_shape *s);

/* The places of quantisers in a block. */
typedef enum block_place {
    PLACE_NORM1,
    PLACE_QKV,
    PLACE_ATTENTION,
    PLACE_NORM2,
    PLACE_FC1,
    PLACE_GELU,
    BLOCK_PLACES
} block_place;

/* What a forward pass leaves for the backward pass, and room for both. */
typedef struct block_trace {
    float *normal1, *spread1; /* (tokens, C) normalised; (tokens) one over the deviation */
    float *normal2, *spread2;
    float *exact[BLOCK_PLACES]; /* what enters the quantiser */
    float *coded[BLOCK_PLACES]; /* what leaves it */
    float *chance, *chance_coded; /* (heads, tokens, window) probabilities, windows one after the other */
    float *middle;              /* (tokens, C) after attention */
    float *slope;               /* (tokens, H) of GELU */
    float *back_middle, *back_narrow, *back_wide; /* gradients: (tokens, C), (tokens, 3C), (tokens, H) */
    float *window;              /* q, k, v, output of a head in a window and their gradients */
} block_trace;

/* False where memory runs out. */
bool block_trace_take(arena *memory, const block_shape *s, block_trace *t);

/* y (tokens, C) of x (tokens, C); parameters laid out by block_layout_of. */
void block_forward(const block_shape *s, const step_code codes[BLOCK_PLACES], const float *parameters,
                   const float *x, block_trace *t, float *y);

/* Adds the gradients of the parameters to `gradient`, given those of y, after block_forward of x with the
 * same parameters. back_x (tokens, C), may be NULL: the gradients of x. */
void block_backward(const block_shape *s, const step_code codes[BLOCK_PLACES], const float *parameters,
                    const float *back_y, block_trace *t, float *gradient, float *back_x);

#endif

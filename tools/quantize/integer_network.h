/* SPDX-License-Identifier: Apache-2.0
 *
 * The integer network as the quantiser makes it and the model file stores it (models/FORMAT.md): the
 * same layers, with constants in plain arrays.
 */
#ifndef INTEGER_NETWORK_H
#define INTEGER_NETWORK_H

#include "common/arena.h"
#include "model/geometry.h"

typedef struct integer_dyadics {
    int32_t *multiplier; /* (count) */
    int8_t *shift;       /* (count) */
} integer_dyadics;

typedef struct integer_dense {
    uint32_t in, out;
    int bits;                /* of a weight; 3, 4, 6 or 8 */
    int8_t *weight;          /* (out, in), in the range of these bits */
    uint8_t *packed;         /* the same as the file has it; NULL for 8 bits */
    int8_t *codebook;        /* (IVITI_CODEBOOK) what the weights are entries of, or NULL */
    int32_t *bias;           /* (out) */
    integer_dyadics factor;  /* (out) */
} integer_dense;

typedef struct integer_norm {
    uint32_t width;
    integer_dyadics factor;  /* (width) multipliers may be negative */
    int32_t *bias;           /* (width) */
    int32_t epsilon[2];
} integer_norm;

typedef struct integer_join { /* stream, branch */
    int32_t multiplier[2];
    int8_t shift[2];
} integer_join;

/* What the integers of a block's non-linear operators stand for: not in the file, and known to models
 * that come from the quantiser alone. */
typedef struct integer_reals {
    double logit;       /* a table's index, or an s8 logit, as a real logit */
    double probability; /* a unit of softmax's numerators; 1 where they are divided by their sum */
    double *gelu;       /* (4, hidden) scale and offset of its input, then of its output */
} integer_reals;

typedef struct integer_block {
    integer_norm norm1;
    integer_dense qkv;
    integer_dyadics score;       /* (heads) */
    int8_t *exp_table;           /* (256) table softmax, u8 bits */
    int16_t *wide_exp;           /* (256) the same of a wide block */
    int32_t logit_scale;         /* s8 logits: ceil(1 / scale) */
    int16_t *exponentials;       /* (256) exact exponentials of s8 logits */
    int32_t exp_polynomial[3];   /* i-exp */
    int32_t sulq_thresholds[IVITI_SULQ_THRESHOLDS];
    int32_t sulq_eta[2];         /* SULQ: shift, eta */
    int32_t *position_bias;      /* Swin: ((2w-1)^2, heads) */
    int32_t bias_multiplier;     /* Swin, s8 logits */
    int8_t bias_shift;
    integer_dyadics output;      /* (heads) */
    integer_dense proj;
    integer_join join1;
    integer_norm norm2;
    integer_dense fc1;
    int8_t *gelu_table;          /* (ceil(hidden / 64), 256) s8 */
    int16_t *wide_gelu;          /* (ceil(hidden / 64), 4096) the same of a wide block */
    int32_t gelu_scale;          /* ShiftGELU: ceil(1 / (1.702 * scale)) */
    int32_t gelu_polynomial[2];  /* i-GELU: b, c */
    int32_t gelu_multiplier;     /* ShiftGELU, i-GELU */
    int8_t gelu_shift;
    integer_dense fc2;
    integer_join join2;
    integer_reals reals;
} integer_block;

typedef struct integer_merge {
    integer_norm norm;
    integer_dense reduction;
} integer_merge;

typedef struct integer_predictor { /* of a stage of pruning, models/FORMAT.md */
    integer_norm norm;
    integer_dense in;
    int8_t *in_table;
    integer_dyadics mean; /* (dim / 2) */
    int8_t *global;       /* (dim / 2, dim / 2) */
    integer_dense local;
    int8_t *local_table;
    integer_dense out;
    int8_t *out_table;
    int8_t *score; /* (dim / 4) */
} integer_predictor;

typedef struct integer_network {
    iviti_geometry geometry; /* complete, operators and logits scale included */
    int8_t *pixel_table;     /* (3, 256) or NULL */
    integer_dense stem[IVITI_MAX_CONVOLUTIONS];
    integer_dense embed;
    int16_t *position;       /* ViT: (tokens, dim) */
    integer_join embed_join; /* ViT */
    integer_norm embed_norm; /* Swin */
    integer_block *blocks;   /* (depth) */
    integer_merge *merges;   /* (stages - 1) */
    integer_predictor *predictors; /* DynamicViT: (stages of pruning) */
    integer_dense *mean_keys;      /* merging: (stages of pruning) */
    integer_dyadics size;          /* merging: (depth * heads) */
    integer_norm norm;
    integer_dyadics pool;    /* Swin: (dim) */
    integer_dense head;
    integer_norm patches_norm; /* token head */
    integer_dense patches_head;
    arena memory;
} integer_network;

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * A model in memory: geometry, and every layer ready for the kernels. Immutable once loaded.
 */
#ifndef IVITI_MODEL_H
#define IVITI_MODEL_H

#include "iviti/iviti.h"
#include "kernels/kernel.h"
#include "model/geometry.h"

typedef struct iviti_block {
    iviti_norm norm1;
    iviti_dense query, key, value; /* rows of qkv.weight */
    const iviti_dyadic *score;     /* (heads) */
    bool wide_attention;           /* the input of proj has two digits (kernels/kernel.h) */
    bool wide_mlp;                 /* the inputs of fc1 and fc2 have */
    const uint8_t *exp_table;      /* (256) table softmax */
    const uint16_t *wide_exp;      /* wide, instead: (256) */
    const int32_t *exp_shift;      /* (256) softmax of s8 logits: exponentials, built at load */
    iviti_sulq sulq;               /* SULQ */
    const iviti_dyadic *output;    /* (heads) */
    const int32_t *position_bias;  /* Swin: (heads, window^2, bias_stride), expanded at load */
    iviti_dyadic bias_score;       /* Swin, softmax of s8 logits */
    iviti_dense proj;              /* wide: of the high digits, */
    iviti_dense proj_low;          /* and of the low ones, which share the weights */
    iviti_join join1;
    iviti_norm norm2;
    iviti_dense fc1, fc1_low;
    const uint8_t *gelu_table; /* (ceil(hidden/64), 256) offset binary; NULL: ShiftGELU, or wide */
    const uint16_t
        *wide_gelu; /* wide, instead: (ceil(hidden/64), 4096) as iviti_split_table reads it */
    int32_t gelu_one_over_scale;   /* ShiftGELU */
    iviti_dyadic gelu_output;      /* ShiftGELU, i-GELU */
    iviti_dense fc2, fc2_low;
    iviti_join join2;
    const iviti_dyadic *size;      /* merged tokens: (heads) 2^-16 octaves to what q.k is in */
} iviti_block;

/* DynamicViT: rates the patches of a stage of pruning (graph/predictor.c). */
typedef struct iviti_predictor {
    iviti_norm norm;
    iviti_dense in;             /* (dim, dim), then a table */
    const uint8_t *in_table;
    const iviti_dyadic *mean;   /* (dim / 2) from the sum over patches to s8: channels dim / 2 and on */
    const int8_t *global;       /* (dim / 2, dim / 2) of these means, to the accumulators of local */
    iviti_dense local;          /* (dim / 2, dim / 2) of the other half of the channels */
    const uint8_t *local_table;
    iviti_dense out;            /* (dim / 4, dim / 2) */
    const uint8_t *out_table;
    const int8_t *score;        /* (dim / 4) */
} iviti_predictor;

typedef struct iviti_merge { /* Swin, between stages */
    iviti_norm norm;         /* over 4 * dim */
    iviti_dense reduction;   /* (2 * dim, 4 * dim), to the next stage's s16 stream */
} iviti_merge;

struct iviti_model {
    iviti_geometry geometry;
    iviti_allocator allocator;
    void *memory_block;            /* all of the model, this struct included; what to release */
    size_t memory;                 /* its bytes */

    const uint8_t *pixel_table;    /* (3, 256) offset binary, or NULL: pixels enter as they are */
    iviti_dense stem[IVITI_MAX_CONVOLUTIONS]; /* (geometry.convolutions): windows of u8 to u8, ReLU in
                                                 the lower end of the output's range */
    iviti_dense embed;             /* in = iviti_embed_inputs(): u8, raw pixels or the stem's map */
    const int16_t *position;       /* ViT: (tokens, dim), prefix rows whole, patch rows to be added to */
    iviti_join embed_join;         /* ViT: position row and patch */
    iviti_norm embed_norm;         /* Swin: over the s16 patch rows, to the s16 stream */
    iviti_block *blocks;           /* (geometry.depth) */
    iviti_merge *merges;           /* (stages - 1) */
    iviti_predictor *predictors;   /* DynamicViT: (stages of pruning) */
    iviti_dense *mean_keys;        /* merging: (stages of pruning) the mean of the heads' keys, s8 */
    iviti_norm norm;
    const iviti_dyadic *pool;      /* Swin: (dim) factor from the sum over tokens to s8 */
    iviti_dense head;              /* in = features */
    iviti_norm patches_norm;       /* token head: the patches, */
    iviti_dense patches_head;      /* and (classes, dim) of them, at the scale of the head */

    const char *labels;            /* classes strings, NUL-terminated, back to back, or NULL */
    const uint32_t *label_offset;  /* (classes) */
};

#endif

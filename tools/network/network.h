/* SPDX-License-Identifier: Apache-2.0
 *
 * The canonical float network: what every checkpoint dialect becomes, and what the quantiser reads.
 * All tensors are row-major float32 in one arena owned by the network.
 */
#ifndef NETWORK_H
#define NETWORK_H

#include "common/report.h"
#include "model/geometry.h"

typedef struct network_norm {
    float *gain; /* (width) */
    float *bias; /* (width) */
} network_norm;

typedef struct network_linear {
    float *weight; /* (out, in) */
    float *bias;   /* (out); zeros where the checkpoint has none */
} network_linear;

typedef struct network_block {
    network_norm norm1;
    network_linear qkv;   /* (3C, C): q, k, v rows, each heads-major */
    float *position_bias; /* Swin: ((2w-1)^2, heads), w the window actually used by the stage */
    network_linear proj;  /* LayerScale and LV-ViT's 1/2 already folded into it */
    network_norm norm2;
    network_linear fc1;
    network_linear fc2;
} network_block;

typedef struct network_merge {
    network_norm norm;        /* (4C) order (0,0), (1,0), (0,1), (1,1) as (row, column) */
    network_linear reduction; /* (2C, 4C) */
} network_merge;

/* DynamicViT: scores the patch tokens x (.., C) of a stage of geometry.prune:
 * h = gelu(in(norm(x))); the second half of its channels is averaged over the tokens; then
 * out[2](gelu(out[1](gelu(out[0]([first half, mean of second half])))), of which output 0 says keep. */
typedef struct network_predictor {
    network_norm norm;     /* (C), with an epsilon of its own */
    network_linear in;     /* (C, C) */
    network_linear out[3]; /* (C/2, C), (C/4, C/2), (2, C/4) */
} network_predictor;

#define NETWORK_PREDICTOR_EPSILON 1e-5

typedef struct network {
    iviti_geometry geometry; /* complete, with preprocess; operators are left to the quantiser */
    char dialect[48];        /* "timm", "huggingface", ... for people */
    char preset[24];         /* the preprocessing preset that was taken, before overrides */
    char note[512];          /* what was inferred rather than read, in sentences; may be empty */
    double epsilon;          /* of every LayerNorm */
    float mean[3], std[3];   /* in units of 1 (pixel / 255) */

    network_linear stem[IVITI_MAX_CONVOLUTIONS]; /* (geometry.convolutions): (channels, kernel * kernel *
                                channels before): rows of a window, channels interleaved; batch norms
                                folded; each followed by ReLU; on normalised pixels, padded with 0 */
    network_linear embed;    /* (C, iviti_embed_inputs()): patch rows, RGB or the stem's channels
                                interleaved, as the model file has them; on pixels that are
                                already normalised */
    float *prefix;           /* (prefix_tokens, C): tokens with their positions added */
    float *position;         /* ViT: (grid, C), added to the patches */
    network_norm embed_norm; /* Swin, or NULL pointers */
    network_block *blocks;   /* (depth) */
    network_merge *merges;   /* (stages - 1) */
    network_predictor *predictors; /* (geometry.prune.stages) of DynamicViT; else NULL */
    network_norm norm;
    network_linear head; /* (classes, features): two heads of a distilled DeiT side by side,
                            each halved */
    network_linear patches_head; /* geometry.token_head: (classes, C), LV-ViT's 1/2 folded into it;
                                    else NULL pointers */
    void *arena;         /* everything above, freed by network_free */
} network;

void network_free(network *n);

#endif

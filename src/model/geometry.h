/* SPDX-License-Identifier: Apache-2.0
 *
 * The shape of a network: all that is needed to know every tensor of the model file and every buffer
 * of a run. Filled from metadata by the reader, and by the converter for the writer.
 */
#ifndef IVITI_GEOMETRY_H
#define IVITI_GEOMETRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "iviti/kernels.h"
#include "kernels/kernel.h"

#define IVITI_MAX_STAGES 4
#define IVITI_MAX_BLOCKS 64
#define IVITI_MAX_DIM 4096
#define IVITI_MAX_HEADS 64
#define IVITI_MAX_HEAD_DIM 256
#define IVITI_MAX_TOKENS 4096
#define IVITI_MAX_HIDDEN 16384
#define IVITI_MAX_CLASSES 65536
#define IVITI_MAX_IMAGE 1024
#define IVITI_MAX_PATCH 64
#define IVITI_MAX_WINDOW 32
#define IVITI_MAX_RESIZE 2048
#define IVITI_MAX_CONVOLUTIONS 8
#define IVITI_MAX_KERNEL 16       /* side of a convolution's window, and its stride */
#define IVITI_MAX_INPUTS 16384    /* of a convolution's or of the embedding's window */
#define IVITI_BLOCK_WEIGHTS 4 /* dense layers of a block: qkv, proj, fc1, fc2 */
#define IVITI_CODEBOOK 16 /* entries of a layer's codebook */
#define IVITI_MAX_WEIGHTS (IVITI_BLOCK_WEIGHTS * IVITI_MAX_BLOCKS + IVITI_MAX_STAGES - 1)

/* Activations of a block whose bits the file tells, in the order of the computation. */
typedef enum iviti_activation {
    IVITI_ACTIVATION_QKV,       /* input of qkv */
    IVITI_ACTIVATION_ATTENTION, /* q, k and v */
    IVITI_ACTIVATION_PROJ,      /* input of proj */
    IVITI_ACTIVATION_FC1,       /* input of fc1 */
    IVITI_ACTIVATION_FC2,       /* input of fc2 */
    IVITI_BLOCK_ACTIVATIONS
} iviti_activation;
#define IVITI_MAX_ACTIVATIONS (IVITI_BLOCK_ACTIVATIONS * IVITI_MAX_BLOCKS + IVITI_MAX_STAGES - 1)

typedef enum iviti_family { IVITI_VIT, IVITI_SWIN } iviti_family;
typedef enum iviti_gelu_kind {
    IVITI_GELU_TABLE,
    IVITI_GELU_SHIFT,
    IVITI_GELU_I_GELU,
    IVITI_GELU_KINDS
} iviti_gelu_kind;
typedef enum iviti_fit { IVITI_FIT_CROP, IVITI_FIT_SQUASH } iviti_fit;

/* What happens to a picture of any size: shorter side to `resize`, then the centre (CROP), or both
 * sides to the network's size (SQUASH). */
typedef struct iviti_preprocess {
    iviti_fit fit;
    uint32_t resize; /* CROP only; at least the larger side of the image */
    iviti_interpolation interpolation;
} iviti_preprocess;

/* How a ViT goes on with fewer tokens. */
typedef enum iviti_prune_kind {
    IVITI_PRUNE_NONE,
    IVITI_PRUNE_PREDICTOR, /* DynamicViT: before a block, patches by the score of a small network */
    IVITI_PRUNE_CLS,       /* EViT: in a block, patches by the class token's attention to them */
    IVITI_PRUNE_MERGE      /* ToMe: in a block, the most alike tokens become one, pair by pair */
} iviti_prune_kind;

/* EViT: what becomes of the patches that are not kept. */
typedef enum iviti_fuse {
    IVITI_FUSE_NONE, /* they are dropped */
    IVITI_FUSE_MEAN, /* one token more: their mean, weighted by the class token's attention */
    IVITI_FUSE_SUM   /* the same without the division by the weights' sum, as published */
} iviti_fuse;

typedef struct iviti_prune {
    iviti_prune_kind kind;
    iviti_fuse fuse;
    uint32_t stages;                 /* at most one for each block */
    uint32_t at[IVITI_MAX_BLOCKS];   /* the block of each stage, ascending */
    uint32_t kept[IVITI_MAX_BLOCKS]; /* patch tokens it leaves, the fused one not counted */
} iviti_prune;

typedef struct iviti_stage {
    uint32_t depth;
    uint32_t dim;
    uint32_t heads;
    uint32_t hidden;      /* width of the MLP */
    uint32_t grid_width;  /* tokens, prefix tokens not counted */
    uint32_t grid_height;
    uint32_t window;      /* Swin: side of the window actually used; 0: global attention */
} iviti_stage;

/* One convolution of a stem: windows of kernel x kernel over the map before, which is padded on all
 * sides. */
typedef struct iviti_convolution {
    uint32_t kernel;
    uint32_t stride;
    uint32_t padding;
    uint32_t channels; /* of its output */
    uint32_t width;    /* of its output */
    uint32_t height;
} iviti_convolution;

typedef struct iviti_geometry {
    iviti_family family;
    uint32_t image_width;
    uint32_t image_height;
    uint32_t patch;
    uint32_t prefix_tokens; /* ViT: 1 (class) or 2 (class, distillation); Swin: 0 */
    uint32_t convolutions;  /* ViT: of the stem; 0: the patch embedding reads the pixels */
    iviti_convolution convolution[IVITI_MAX_CONVOLUTIONS];
    uint32_t pixel_padding[3]; /* stem: the pixel value around the picture, of each channel */
    uint32_t embed_side;       /* of the patch embedding's window in what it reads */
    uint32_t stages;
    iviti_stage stage[IVITI_MAX_STAGES];
    uint32_t depth;    /* sum over stages */
    uint32_t features; /* ViT: prefix_tokens * dim; Swin: dim of the last stage */
    uint32_t classes;
    bool token_head;                 /* ViT: the largest of a second head's logits over all patches is
                                        added, as in LV-ViT */
    bool pixel_table;                /* pixels pass through a table, I-ViT's quantised image */
    bool narrow_entry;               /* Swin: the patch embedding and the merges write s8, as in
                                        I-ViT's code; the stream is s16 all the same */
    iviti_norm_kind norm_kind;       /* every LayerNorm of the file */
    iviti_softmax_kind softmax_kind;
    iviti_gelu_kind gelu_kind;
    iviti_prune prune;               /* ViT only */
    iviti_preprocess preprocess;
    uint8_t weight_bits[IVITI_MAX_WEIGHTS]; /* 3, 4, 6 or 8 for each dense layer of the blocks and
                                               merges, in the order of the file; 0 is 8, too */
    bool codebooks; /* 4-bit weights are indices into the layer's codebook */
    int8_t codebook[IVITI_MAX_WEIGHTS][IVITI_CODEBOOK]; /* -127..127, not falling; 0 without 4 bits */
    uint8_t activation_bits[IVITI_MAX_ACTIVATIONS];     /* 2 to 8, or 12, for each activation of the
                                                           blocks and input of a merge; 0 is 8, too */
    uint32_t logits_multiplier; /* in [2^30, 2^31) */
    uint32_t logits_shift;      /* in [1, 62] */
} iviti_geometry;

/* What the values of iviti.operators.norm, .softmax and .gelu are called in a file; NULL beyond the
 * last. */
const char *iviti_norm_name(iviti_norm_kind kind);
const char *iviti_softmax_name(iviti_softmax_kind kind);
const char *iviti_gelu_name(iviti_gelu_kind kind);

/* Fills depth, features, the stem's maps, grids and windows of later stages from the rest, and checks every limit of
 * the network itself. stage[0].window is the configured window; each stage gets the one it uses.
 * Returns NULL, or the sentence that says which field breaks which limit (in `text`). */
const char *iviti_geometry_complete(iviti_geometry *g, char *text, size_t text_bytes);

/* The same, and the status that goes with the sentence. */
const char *iviti_geometry_check(iviti_geometry *g, iviti_status *status, char *text,
                                 size_t text_bytes);

/* What a complete network needs besides to become a model file: operators, preprocessing and the
 * scale of the logits. */
const char *iviti_geometry_check_file(const iviti_geometry *g, iviti_status *status, char *text,
                                      size_t text_bytes);

/* Dense layers of the blocks and merges, and where in weight_bits those of a block and of a merge lie. */
static inline uint32_t iviti_weight_layers(const iviti_geometry *g)
{
    return IVITI_BLOCK_WEIGHTS * g->depth + g->stages - 1;
}

static inline uint32_t iviti_block_weights(uint32_t block, uint32_t stage)
{
    return IVITI_BLOCK_WEIGHTS * block + stage;
}

static inline uint32_t iviti_merge_weights(const iviti_geometry *g, uint32_t stage)
{
    uint32_t blocks = 0;
    for (uint32_t i = 0; i <= stage; i++)
        blocks += g->stage[i].depth;
    return IVITI_BLOCK_WEIGHTS * blocks + stage;
}

/* The same for activations: how many there are, and the bits of one of a block and of a merge's input. */
static inline uint32_t iviti_activations(const iviti_geometry *g)
{
    return IVITI_BLOCK_ACTIVATIONS * g->depth + g->stages - 1;
}

static inline uint32_t iviti_block_activation(uint32_t block, uint32_t stage, iviti_activation which)
{
    return IVITI_BLOCK_ACTIVATIONS * block + stage + (uint32_t)which;
}

static inline uint32_t iviti_merge_activation(const iviti_geometry *g, uint32_t stage)
{
    uint32_t blocks = 0;
    for (uint32_t i = 0; i <= stage; i++)
        blocks += g->stage[i].depth;
    return IVITI_BLOCK_ACTIVATIONS * blocks + stage;
}

static inline int iviti_activation_bits(const iviti_geometry *g, uint32_t slot)
{
    return g->activation_bits[slot] == 0 ? 8 : g->activation_bits[slot];
}

/* Whether an activation may have so many bits, somewhere. */
static inline bool iviti_activation_known(uint32_t bits)
{
    return (bits >= 2 && bits <= 8) || bits == IVITI_WIDE_BITS;
}

/* Whether a block has wide activations (kernels/kernel.h): the input of proj; those of fc1 and fc2,
 * which are wide together. */
static inline bool iviti_wide_attention(const iviti_geometry *g, uint32_t block, uint32_t stage)
{
    return iviti_activation_bits(g, iviti_block_activation(block, stage, IVITI_ACTIVATION_PROJ)) ==
           IVITI_WIDE_BITS;
}

static inline bool iviti_wide_mlp(const iviti_geometry *g, uint32_t block, uint32_t stage)
{
    return iviti_activation_bits(g, iviti_block_activation(block, stage, IVITI_ACTIVATION_FC1)) ==
           IVITI_WIDE_BITS;
}

/* Channels of what the patch embedding reads, and values in its window. */
static inline uint32_t iviti_embed_channels(const iviti_geometry *g)
{
    return g->convolutions ? g->convolution[g->convolutions - 1].channels : 3;
}

static inline uint32_t iviti_embed_inputs(const iviti_geometry *g)
{
    return g->embed_side * g->embed_side * iviti_embed_channels(g);
}

/* What convolution i reads. */
static inline uint32_t iviti_convolution_channels(const iviti_geometry *g, uint32_t i)
{
    return i ? g->convolution[i - 1].channels : 3;
}

static inline uint32_t iviti_convolution_inputs(const iviti_geometry *g, uint32_t i)
{
    return g->convolution[i].kernel * g->convolution[i].kernel * iviti_convolution_channels(g, i);
}

/* Tokens of a stage, prefix tokens included. */
static inline uint32_t iviti_stage_tokens(const iviti_geometry *g, uint32_t stage)
{
    return g->prefix_tokens + g->stage[stage].grid_width * g->stage[stage].grid_height;
}

/* The stage of pruning that belongs to a block, or -1. */
int iviti_prune_stage(const iviti_geometry *g, uint32_t block);

/* Tokens of a picture that a block of a ViT computes attention for, and those that go through its MLP
 * and on to the next; prefix tokens included. */
uint32_t iviti_entering_tokens(const iviti_geometry *g, uint32_t block);
uint32_t iviti_leaving_tokens(const iviti_geometry *g, uint32_t block);

#endif

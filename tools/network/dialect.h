/* SPDX-License-Identifier: Apache-2.0
 *
 * From a checkpoint in anybody's naming to the canonical float network. The dialect is told by the
 * tensors' names, the geometry by their shapes; what neither tells comes from a preset or from the
 * caller's options, and network.note says what was inferred.
 */
#ifndef DIALECT_H
#define DIALECT_H

#include "checkpoint/checkpoint.h"
#include "network/network.h"

/* All zeros: everything from the checkpoint and its dialect's preset. */
typedef struct network_options {
    uint32_t heads;     /* attention heads (of the first stage) */
    uint32_t window;    /* Swin: side of a window; must agree with the bias tables */
    uint32_t image;     /* side of the picture that enters the network */
    uint32_t resize;    /* shorter side before the centre is cut out */
    uint32_t crop;      /* the same as image; both may be given if they agree */
    double epsilon;     /* of every LayerNorm */
    double skip;        /* LV-ViT: what residual branches are divided by */
    uint32_t strides;   /* of a stem's convolutions; 0: inferred */
    uint32_t stride[IVITI_MAX_CONVOLUTIONS];
    const char *preset; /* one of network_preset_names() */
    bool has_interpolation, has_mean, has_std;
    iviti_interpolation interpolation;
    float mean[3], std[3];

    /* Fewer tokens. DynamicViT: base_rate, base_rate^2, ... of the first patch tokens are kept; EViT:
     * keep[] of those that enter each stage; merging: so many pairs in each block. */
    double base_rate;
    double keep[IVITI_MAX_BLOCKS];
    uint32_t merge;
    iviti_fuse fuse;                     /* of EViT */
    uint32_t prune_at[IVITI_MAX_BLOCKS]; /* blocks, counted from 0 */
    uint32_t keep_count, prune_at_count;
} network_options;

/* Maps the checkpoint. [in] options: NULL for none. [out] out: the caller's until network_free,
 * untouched on failure, which leaves one sentence in r. The checkpoint is not needed afterwards. */
bool network_from_checkpoint(const checkpoint *c, const network_options *options, network **out,
                             report *r);

/* "deit, deit-timm, ..." */
const char *network_preset_names(void);

/* Whether the checkpoint was saved by I-ViT's quantisation-aware training: it holds the scales of
 * its activations beside the float weights. network_from_checkpoint maps the float weights. */
bool network_is_ivit(const checkpoint *c);

/* The value of a tensor of one element by its exact name; false where there is none. */
bool network_scalar(const checkpoint *c, const char *name, double *value);

#endif

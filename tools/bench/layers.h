/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the time of a run goes: every kernel of a session's table is put behind one that reads the
 * clock, so that the library itself has no timing code. One thread.
 */
#ifndef LAYERS_H
#define LAYERS_H

#include "common/progress.h"
#include "common/report.h"
#include "iviti/iviti.h"

typedef enum layer {
    LAYER_STEM,
    LAYER_EMBED,
    LAYER_EMBED_NORM,
    LAYER_NORM1,
    LAYER_QKV,
    LAYER_ATTENTION,
    LAYER_PROJ,
    LAYER_NORM2,
    LAYER_FC1,
    LAYER_GELU,
    LAYER_FC2,
    LAYER_MERGE_NORM,
    LAYER_MERGE,
    LAYER_CHOICE, /* which tokens to prune or to merge */
    LAYER_NORM,
    LAYER_HEAD,
    LAYER_OTHER, /* no kernel: patches, copies, what the forward pass does itself */
    LAYERS
} layer;

typedef struct layer_use {
    const char *name;
    uint32_t calls; /* of kernels in one run */
    uint64_t macs;  /* of one run */
    double seconds; /* of one run, the median */
    double share;   /* of the sum over all layers */
} layer_use;

typedef struct layer_profile {
    layer_use layer[LAYERS];
    double seconds; /* of a whole run, the median */
    uint64_t macs;  /* that a run computes: what the head does not read is left out */
    double fit;     /* seconds of resize and crop of a picture, which a run of pixels has not */
} layer_profile;

#define LAYERS_PICTURE_WIDTH  500 /* the picture of `fit` */
#define LAYERS_PICTURE_HEIGHT 375

/* Runs `pixels` that often in a session of its own. Not to be called by two threads at once, since
 * kernels carry no context and the clocks are therefore static. */
bool layers_measure(const iviti_model *model, iviti_isa isa, const iviti_image *pixels,
                    uint32_t runs, layer_profile *profile, progress *p, report *r);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * A checkpoint taken apart: which tensor is which module, and the geometry that their shapes tell.
 * Private to the mapping of checkpoints.
 */
#ifndef SOURCE_H
#define SOURCE_H

#include "network/dialect.h"
#include "network/keymap.h"

typedef struct source_layer {
    const checkpoint_tensor *weight; /* or the module's only tensor; NULL: the module is absent */
    const checkpoint_tensor *bias;   /* NULL: none */
} source_layer;

typedef struct source {
    const checkpoint *c;
    const keymap *map;
    const char *prefix;
    bool ivit;
    bool *used; /* (c->count) */
    source_layer once[MODULE_COUNT];
    source_layer stem[IVITI_MAX_CONVOLUTIONS][MODULE_COUNT];
    source_layer block[IVITI_MAX_BLOCKS][MODULE_COUNT];
    source_layer merge[IVITI_MAX_STAGES][MODULE_COUNT];
    source_layer predictor[IVITI_MAX_BLOCKS][MODULE_COUNT];
    uint32_t predictors; /* DynamicViT: stages that have one */
    iviti_geometry geometry;
    uint32_t table_window[IVITI_MAX_STAGES]; /* side of the window that the bias tables are of */
    uint32_t position_grid;   /* side of the grid that the position embedding is of */
    bool position_has_prefix; /* its first rows belong to the prefix tokens */
    bool lvvit;             /* a ViT with the stem of LV-ViT, and with its other rules */
    double skip;            /* LV-ViT: residual branches are divided by it */
    double epsilon;
    char preset[24];
    float mean[3], std[3];
    char note[512];
} source;

/* Finds the tensor of every module and marks it as used. */
bool source_collect(source *s, report *r);

/* Geometry from shapes and options; every tensor's shape is checked against it. */
bool source_measure(source *s, const network_options *options, report *r);

/* The stem's windows and strides, and the patch of pixels that follows from the embedding's window
 * behind it. [in] s->geometry.patch: that window, as it is without a stem. */
bool source_measure_stem(source *s, const network_options *options, report *r);

/* Where tokens are pruned or merged: what the options and the predictors say. The geometry is complete
 * but for that. */
bool source_measure_pruning(source *s, const network_options *options, report *r);

/* The canonical tensors; called when everything is checked. */
bool source_fill(const source *s, network **out, report *r);

/* Appends a sentence to the note. */
void source_note(source *s, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;

/* The grid rows of a position embedding (from * from, dim) for another grid (to * to, dim), both of
 * at most IVITI_MAX_TOKENS rows: bicubic, antialiased where it shrinks. */
void position_resample(const float *in, uint32_t from, float *out, uint32_t to, uint32_t dim);

#endif

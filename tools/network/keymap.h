/* SPDX-License-Identifier: Apache-2.0
 *
 * How each dialect names the parts of a network: one table per dialect, nothing but data.
 */
#ifndef KEYMAP_H
#define KEYMAP_H

#include "checkpoint/checkpoint.h"
#include "model/geometry.h"

/* The parts of a network that checkpoints have names for. */
typedef enum module {
    /* once */
    MODULE_EMBED,
    MODULE_EMBED_NORM,
    MODULE_CLASS_TOKEN,
    MODULE_DISTILL_TOKEN,
    MODULE_POSITION,
    MODULE_NORM,
    MODULE_HEAD,
    MODULE_HEAD_DISTILL,
    MODULE_HEAD_PATCHES,
    /* per convolution of a stem */
    MODULE_STEM,
    MODULE_STEM_NORM,
    MODULE_STEM_MEAN,
    MODULE_STEM_VARIANCE,
    /* per block */
    MODULE_NORM1,
    MODULE_QKV,
    MODULE_QUERY,
    MODULE_KEY,
    MODULE_VALUE,
    MODULE_BIAS_TABLE,
    MODULE_PROJ,
    MODULE_SCALE1,
    MODULE_NORM2,
    MODULE_FC1,
    MODULE_FC2,
    MODULE_SCALE2,
    /* per stage but the last */
    MODULE_MERGE_NORM,
    MODULE_MERGE_REDUCTION,
    /* per stage of DynamicViT */
    MODULE_PREDICTOR_NORM,
    MODULE_PREDICTOR_IN,
    MODULE_PREDICTOR_OUT,
    MODULE_PREDICTOR_OUT2,
    MODULE_PREDICTOR_OUT3,
    MODULE_COUNT
} module;

#define MODULE_FIRST_STEM  MODULE_STEM
#define MODULE_FIRST_BLOCK MODULE_NORM1
#define MODULE_FIRST_MERGE MODULE_MERGE_NORM
#define MODULE_FIRST_PREDICTOR MODULE_PREDICTOR_NORM

typedef enum module_kind {
    MODULE_LINEAR, /* weight (out, in) and bias (out) */
    MODULE_PLAIN,  /* a norm: weight and bias, (width) each */
    MODULE_VECTOR  /* one tensor */
} module_kind;

module_kind module_kind_of(module m);

/* A key is a pattern, which follows the prefix unless it begins with `^`: `*` stands for the word
 * of weight or bias, {block} for the number of the block in its stage or of the convolution, {block+1}
 * for the next, {stage}, {stage+1}, {2stage+1}, {2stage+2} for the stage counted from 0; `|` separates spellings that different
 * versions used. */
typedef struct keymap {
    const char *name;
    iviti_family family;
    bool flax;             /* kernels (in, out) and (height, width, in, out); its own words */
    double epsilon;        /* of LayerNorm, which checkpoints do not store */
    const char *preset;    /* preprocessing unless the caller says otherwise */
    const char *prefix[5]; /* tried in order, NULL-terminated */
    const char *key[MODULE_COUNT];
} keymap;

/* Where in the network a module stands; once-only modules ignore it. */
typedef struct place {
    uint32_t stage;
    uint32_t block;
} place;

#define KEY_BYTES (CHECKPOINT_MAX_NAME + 1)

/* The tensor of that module, or NULL; `name` gets the key that was looked for (the first spelling
 * if none is there), or "" where the dialect has no such module. */
const checkpoint_tensor *keymap_find(const keymap *k, const char *prefix, const checkpoint *c,
                                     module m, bool bias, place at, char name[KEY_BYTES]);

/* The dialect of a checkpoint and its prefix, or NULL. */
const keymap *keymap_detect(const checkpoint *c, const char **prefix);

/* A sentence's end that says why a network with such a key cannot be taken ("is a Swin V2..."),
 * with the key in *key; NULL where no key is of a kind known to be unsupported. */
const char *keymap_refusal(const checkpoint *c, const char **key);

/* Whether a key that no module claims may be passed over: buffers that are recomputed, and parts
 * that classification does not use. */
bool keymap_may_ignore(const char *key, bool ivit);

#endif

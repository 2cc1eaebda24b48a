/* SPDX-License-Identifier: Apache-2.0
 *
 * What a user may say about a checkpoint that the checkpoint does not say itself: the same options
 * in every tool that reads one.
 */
#ifndef CHECKPOINT_OPTIONS_H
#define CHECKPOINT_OPTIONS_H

#include "common/options.h"
#include "network/dialect.h"

typedef struct checkpoint_options {
    uint32_t heads; /* 0, 0.0, NULL, -1 and empty lists: not given */
    uint32_t window;
    uint32_t image;
    uint32_t resize;
    uint32_t crop;
    option_numbers strides;
    double skip;
    double epsilon;
    const char *preset;
    int interpolation;
    option_reals mean;
    option_reals std;
    double base_rate; /* fewer tokens, see network_options */
    option_reals keep;
    option_numbers prune_at;
    uint32_t merge;
    int fuse;
} checkpoint_options;

/* Nothing given. */
checkpoint_options checkpoint_options_none(void);

/* --preset, --heads, --window, --img, --resize, --crop, --interpolation, --mean, --std,
 * --stem-strides, --skip, --eps, under that title, and --base-rate, --prune-at, --keep, --fuse,
 * --merge. */
option_group checkpoint_options_group(checkpoint_options *c, const char *title);

/* True where any of them was given. */
bool checkpoint_options_given(const checkpoint_options *c);

/* What network_from_checkpoint() takes. False where they contradict each other: a sentence is on
 * stderr and the program ends with *status. */
bool checkpoint_options_network(const checkpoint_options *c, const option_program *program,
                                network_options *out, int *status);

#endif

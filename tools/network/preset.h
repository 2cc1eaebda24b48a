/* SPDX-License-Identifier: Apache-2.0
 *
 * How pictures were prepared where a network was trained: published accuracy depends on it, and no
 * checkpoint says it.
 */
#ifndef PRESET_H
#define PRESET_H

#include "model/geometry.h"

typedef struct preset {
    const char *name;
    iviti_fit fit;
    uint32_t resize;     /* shorter side for pictures of 224, scaled for others */
    uint32_t whole_from; /* from this size on the whole shorter side; 0: never */
    iviti_interpolation interpolation;
    const float *mean, *std; /* (3) */
    uint32_t image;          /* where the checkpoint does not tell; 0: none */
    uint32_t heads;          /* likewise */
} preset;

const preset *preset_find(const char *name); /* NULL if there is none */

/* What torchvision's published weights of that geometry were evaluated with. */
void preset_adapt_torchvision(preset *p, const iviti_geometry *g);

/* The preprocessing of a network of that image size. */
iviti_preprocess preset_preprocess(const preset *p, uint32_t image);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * What a network looked at, as a picture: the picture it saw, the same under a smooth colour
 * overlay, and, where patches were left out on the way, the patches that were left after each
 * stage.
 */
#ifndef HEATMAP_H
#define HEATMAP_H

#include <stddef.h>
#include <stdint.h>

#include "common/report.h"

#define HEATMAP_GAP    8 /* white pixels between two panels */
#define HEATMAP_STAGES 4 /* panels of stages at most */

typedef struct heatmap {
    const uint8_t *pixels;  /* (height, width, 3) */
    uint32_t width, height; /* of a panel */
    uint32_t columns, rows; /* of patches */
    const double *heat;     /* (rows, columns) at least 0, of any scale */
    size_t stages;          /* at most HEATMAP_STAGES */
    const uint8_t *kept;    /* (stages, rows, columns) 1: the patch is left */
} heatmap;

/* Panels side by side: the picture, the overlay, the stages in order. The result is
 * (2 + stages) * width + (1 + stages) * HEATMAP_GAP pixels wide and as high as a panel; RGB,
 * malloc'ed. NULL where memory runs out. */
uint8_t *heatmap_draw(const heatmap *h, uint32_t *width, uint32_t *height);

#endif

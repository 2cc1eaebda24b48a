/* SPDX-License-Identifier: Apache-2.0
 *
 * The pictures that calibration looks at: a folder's, spread evenly over its names in order, brought
 * to the network's pixels as the library will.
 */
#ifndef CALIBRATION_H
#define CALIBRATION_H

#include <stdint.h>

#include "common/report.h"
#include "model/geometry.h"

typedef struct calibration {
    uint8_t *pixels; /* (count, image_height, image_width, 3) */
    size_t count;    /* at least 1 */
    size_t skipped;  /* pictures that could not be read */
    char first_skipped[1024]; /* why, of the first */
} calibration;

/* At most `limit` pictures of `path`. It is an error if none can be read. Written on success only,
 * then the caller's until calibration_free. */
bool calibration_load(const iviti_geometry *g, const char *path, size_t limit, bool quiet,
                      calibration *out, report *r);
void calibration_free(calibration *c);

#endif

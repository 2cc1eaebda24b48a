/* SPDX-License-Identifier: Apache-2.0
 *
 * PNG files: heat maps, and pictures that programs draw.
 */
#ifndef WRITE_PNG_H
#define WRITE_PNG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/report.h"

/* pixels (height, width, channels) u8, without padding; channels 1 (gray) or 3 (RGB). An incomplete
 * file is removed. */
bool write_png(const char *path, const uint8_t *pixels, uint32_t width, uint32_t height,
               uint32_t channels, report *r);

/* The same, each piece of the file handed to `take`; sides at most PICTURE_MAX_SIDE. False where there
 * is not enough memory. */
bool encode_png(void (*take)(void *context, void *data, int size), void *context,
                const uint8_t *pixels, uint32_t width, uint32_t height, uint32_t channels);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * JPEG and PNG files as RGB8 pixels.
 *
 * The structure of a file is checked before the decoder sees a byte of it (inspect.h), and the
 * decoder gets its memory from a budget that follows from the picture's size.
 */
#ifndef PICTURE_H
#define PICTURE_H

#include <stdint.h>

#include "common/report.h"

#define PICTURE_MAX_FILE   (UINT64_C(256) << 20) /* bytes */
#define PICTURE_MAX_SIDE   16384u
#define PICTURE_MAX_PIXELS (64u << 20)

typedef struct picture {
    uint8_t *pixels; /* (height, width, 3), malloc'ed */
    uint32_t width;
    uint32_t height;
} picture;

/* Gray is widened to RGB; an alpha channel is dropped, the colours below it stay as they are; of 16
 * bits a channel the higher eight are kept; a camera's rotation tag is not applied.
 * `out` is written on success only, and then the caller's until picture_free. */
bool picture_load(const char *path, picture *out, report *r);

/* The same from memory; `name` is what the sentences call it. */
bool picture_decode(const uint8_t *data, size_t size, const char *name, picture *out, report *r);

void picture_free(picture *p); /* NULL and an empty picture are allowed */

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * What a picture's file says of itself: format, size, and whether its parts fit together. A walk
 * over segments and chunks that decodes nothing.
 */
#ifndef INSPECT_H
#define INSPECT_H

#include <stdint.h>

#include "common/report.h"

typedef enum picture_format { PICTURE_JPEG, PICTURE_PNG } picture_format;

typedef struct inspection {
    picture_format format;
    uint32_t width;
    uint32_t height;
} inspection;

/* Refuses, in a sentence that names `name`: other formats, files that end too early, PNG chunks
 * with a wrong checksum, JPEG processes and colour spaces that the decoder does not know, and
 * pictures beyond the limits of picture.h. */
bool inspect_picture(const uint8_t *data, size_t size, const char *name, inspection *out,
                     report *r);

#endif

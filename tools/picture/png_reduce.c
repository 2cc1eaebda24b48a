/* SPDX-License-Identifier: Apache-2.0
 *
 * The four kinds of PNG chunks that matter, copied.
 */
#include "picture/png_reduce.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define SIGNATURE_BYTES 8
#define CHUNK_BYTES     12 /* length, type and checksum */
#define PALETTE_BYTES   768

static size_t length_of(const uint8_t *chunk)
{
    return (size_t)chunk[0] << 24 | (size_t)chunk[1] << 16 | (size_t)chunk[2] << 8 | chunk[3];
}

static bool is(const uint8_t *chunk, const char *type)
{
    return memcmp(chunk + 4, type, 4) == 0;
}

/* Copies length, type and contents to zeroed memory. */
static size_t copy_chunk(uint8_t *to, const uint8_t *chunk)
{
    const size_t length = length_of(chunk);
    memcpy(to, chunk, 8 + length);
    return CHUNK_BYTES + length;
}

static size_t copy_palette(uint8_t *to, const uint8_t *chunk)
{
    copy_chunk(to, chunk);
    to[2] = PALETTE_BYTES >> 8;
    to[3] = PALETTE_BYTES & 0xff;
    return CHUNK_BYTES + PALETTE_BYTES;
}

uint8_t *png_reduce(const uint8_t *data, size_t *size)
{
    /* One palette is enough: later ones are left out. */
    uint8_t *const reduced = calloc(*size + PALETTE_BYTES, 1);
    if (!reduced)
        return NULL;
    memcpy(reduced, data, SIGNATURE_BYTES);
    size_t used = SIGNATURE_BYTES;
    bool palette = false;
    for (const uint8_t *chunk = data + SIGNATURE_BYTES;; chunk += CHUNK_BYTES + length_of(chunk)) {
        if (is(chunk, "PLTE") && !palette) {
            used += copy_palette(reduced + used, chunk);
            palette = true;
        } else if (is(chunk, "IHDR") || is(chunk, "IDAT") || is(chunk, "IEND")) {
            used += copy_chunk(reduced + used, chunk);
        }
        if (is(chunk, "IEND"))
            break;
    }
    *size = used;
    return reduced;
}

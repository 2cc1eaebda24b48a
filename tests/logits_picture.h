/* SPDX-License-Identifier: Apache-2.0
 *
 * Pictures made by program and hashes of logits: what tests/golden/logits.txt is made of, on a computer as
 * on a device without an operating system.
 */
#ifndef LOGITS_PICTURE_H
#define LOGITS_PICTURE_H

#include "iviti/iviti.h"

/* FNV-1a over the logits, lowest byte first. */
static inline uint64_t hash_logits(const int32_t *logits, size_t count)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < count; i++)
        for (int b = 0; b < 32; b += 8)
            hash = (hash ^ ((uint32_t)logits[i] >> b & 0xFF)) * 0x100000001b3u;
    return hash;
}

/* Several sizes, so that some are enlarged and some reduced. */
static inline uint32_t picture_width(unsigned number)
{
    return 29 + 83 * number % 300;
}

static inline uint32_t picture_height(unsigned number)
{
    return 31 + 131 * number % 290;
}

static inline size_t picture_bytes(unsigned number)
{
    return (size_t)picture_width(number) * picture_height(number) * 3;
}

/* Waves of colour, and noise that grows from one picture to the next. pixels (picture_bytes) */
static inline iviti_image paint(unsigned number, uint8_t *pixels)
{
    const uint32_t width = picture_width(number), height = picture_height(number);
    const iviti_image image = { pixels, width, height, (ptrdiff_t)(3 * width) };
    uint32_t state = number * 2654435761u + 1;
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++)
            for (uint32_t c = 0; c < 3; c++) {
                const uint32_t wave = x * (number + c + 1) * 7 + y * (2 * c + 3) * 5;
                const uint32_t smooth = wave & 256 ? 255 - (wave & 255) : wave & 255;
                state = state * 1664525u + 1013904223u;
                const uint32_t noise = (state >> 24) * (number % 4);
                *pixels++ = (uint8_t)((smooth * 4 + noise) / (4 + number % 4));
            }
    return image;
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The one door to stb_image: JPEG and PNG only, from memory, within a budget of memory.
 */
#ifndef STB_DECODE_H
#define STB_DECODE_H

#include <stddef.h>
#include <stdint.h>

/* RGB8 pixels (height, width, 3), malloc'ed; or NULL and a few words. The picture must have been
 * inspected: width and height are those of its header. */
uint8_t *stb_decode(const uint8_t *data, size_t size, uint32_t width, uint32_t height,
                    const char **reason);

#endif

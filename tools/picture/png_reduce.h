/* SPDX-License-Identifier: Apache-2.0
 *
 * A PNG file without what does not change its colours.
 */
#ifndef PNG_REDUCE_H
#define PNG_REDUCE_H

#include <stddef.h>
#include <stdint.h>

/* Of a file that inspect_picture accepted, the header, the palette and the data; the palette is
 * continued with black to 256 colours, so that every index has one. Checksums are zero.
 * data (*size); returns malloc'ed bytes and their number in *size, or NULL without memory. */
uint8_t *png_reduce(const uint8_t *data, size_t *size);

#endif

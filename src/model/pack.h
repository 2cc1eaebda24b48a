/* SPDX-License-Identifier: Apache-2.0
 *
 * From the rows of a weight to the panels that the kernels want, see kernels/kernel.h.
 */
#ifndef IVITI_PACK_H
#define IVITI_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of a row of `in` weights of `bits` bits, models/FORMAT.md. */
static inline size_t iviti_packed_row(size_t in, uint32_t bits)
{
    return (in * bits + 7) / 8;
}

/* Packs one panel: rows (count, iviti_packed_row(in, bits)) as the file has them, count 1 to 16, bits 3,
 * 4, 6 or 8, to panel (ceil(in / 4), 16, 4), padding zero. codebook (16), with bits 4: what the weights
 * are indices of; NULL: they are numbers. sums (16) receives the sum of each row. False if a weight is the
 * least of its bits, which has no opposite. */
bool iviti_pack_panel(const uint8_t *rows, size_t count, size_t in, uint32_t bits,
                      const int8_t *codebook, int8_t *panel, int32_t *sums);

/* Whether the bits behind the last weight of each row are zero. */
bool iviti_packed_padding_zero(const uint8_t *rows, size_t count, size_t in, uint32_t bits);

/* Sum of the magnitudes of row `n` of panels of depth `in`. */
uint32_t iviti_panel_magnitude(const int8_t *panels, size_t n, size_t in);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * From the rows of a weight to the panels that the kernels want, see kernels/kernel.h.
 */
#ifndef IVITI_PACK_H
#define IVITI_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Packs one panel: rows (count, in), count 1 to 16, to panel (ceil(in / 4), 16, 4), padding zero.
 * sums (16) receives the sum of each row. False if a weight is -128. */
bool iviti_pack_panel(const int8_t *rows, size_t count, size_t in, int8_t *panel, int32_t *sums);

/* Sum of the magnitudes of row `n` of panels of depth `in`. */
uint32_t iviti_panel_magnitude(const int8_t *panels, size_t n, size_t in);

#endif

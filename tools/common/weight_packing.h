/* SPDX-License-Identifier: Apache-2.0
 *
 * Weights of fewer than 8 bits as the model file holds them (models/FORMAT.md, section 3).
 */
#ifndef WEIGHT_PACKING_H
#define WEIGHT_PACKING_H

#include <stddef.h>
#include <stdint.h>

/* weights (rows, in), each within -(2^(bits-1) - 1) to 2^(bits-1) - 1, to packed (rows,
 * iviti_packed_row(in, bits)). bits: 1 to 8. */
void weight_packing_pack(const int8_t *weights, size_t rows, size_t in, unsigned bits, uint8_t *packed);

#endif

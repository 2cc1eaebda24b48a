/* SPDX-License-Identifier: Apache-2.0 */
#include "common/weight_packing.h"

#include <string.h>

#include "model/pack.h"

void weight_packing_pack(const int8_t *weights, size_t rows, size_t in, unsigned bits, uint8_t *packed)
{
    const size_t row_bytes = iviti_packed_row(in, bits);
    memset(packed, 0, rows * row_bytes);
    for (size_t r = 0; r < rows; r++)
        for (size_t k = 0; k < in; k++) {
            const unsigned code = (unsigned)weights[r * in + k] & ((1u << bits) - 1);
            const size_t at = k * bits;
            uint8_t *const byte = packed + r * row_bytes + at / 8;
            const unsigned spread = code << at % 8;
            byte[0] = (uint8_t)(byte[0] | (spread & 0xFF));
            if (spread > 0xFF)
                byte[1] = (uint8_t)(byte[1] | spread >> 8);
        }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Activations of fewer than 8 bits.
 */
#include "kernels/ref/ref.h"

void iviti_clip_s8_ref(uint8_t *x, size_t stride, size_t rows, size_t width, uint8_t flip,
                       int8_t low, int8_t high)
{
    for (size_t r = 0; r < rows; r++, x += stride)
        for (size_t c = 0; c < width; c++) {
            const int8_t v = (int8_t)(x[c] ^ flip);
            x[c] = (uint8_t)((uint8_t)(v < low ? low : v > high ? high : v) ^ flip);
        }
}

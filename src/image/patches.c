/* SPDX-License-Identifier: Apache-2.0
 *
 * Patches as matrix rows: the patch embedding is a product of these with the weights.
 */
#include "iviti/kernels.h"

#include <string.h>

void iviti_extract_patches(const uint8_t *pixels, ptrdiff_t stride, uint32_t width, uint32_t height,
                           uint32_t patch, uint8_t *out, size_t out_stride)
{
    const size_t line = (size_t)patch * 3;
    const size_t row = line * patch;
    for (uint32_t top = 0; top < height; top += patch) {
        for (uint32_t left = 0; left < width; left += patch, out += out_stride) {
            const uint8_t *from = pixels + (ptrdiff_t)top * stride + (ptrdiff_t)left * 3;
            for (uint32_t y = 0; y < patch; y++)
                memcpy(out + y * line, from + (ptrdiff_t)y * stride, line);
            memset(out + row, 0, out_stride - row);
        }
    }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Patches as matrix rows: the patch embedding is a product of these with the weights.
 */
#include "image/image.h"

#include <string.h>

void iviti_extract_some_patches(const uint8_t *pixels, ptrdiff_t stride, uint32_t width,
                                uint32_t patch, size_t first, size_t count, uint8_t *out,
                                size_t out_stride)
{
    const size_t line = (size_t)patch * 3, row = line * patch, across = width / patch;

    for (size_t i = first; i < first + count; i++, out += out_stride) {
        const size_t top = i / across * patch, left = i % across * line;
        const uint8_t *from = pixels + (ptrdiff_t)top * stride + left;
        for (uint32_t y = 0; y < patch; y++)
            memcpy(out + y * line, from + (ptrdiff_t)y * stride, line);
        memset(out + row, 0, out_stride - row);
    }
}

void iviti_extract_patches(const uint8_t *pixels, ptrdiff_t stride, uint32_t width, uint32_t height,
                           uint32_t patch, uint8_t *out, size_t out_stride)
{
    const size_t count = (size_t)(width / patch) * (height / patch);
    iviti_extract_some_patches(pixels, stride, width, patch, 0, count, out, out_stride);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Windows as matrix rows: a convolution is a product of these with its weights (im2col). Nothing
 * but copies: where a window reaches beyond the map, a constant stands.
 */
#include <string.h>

#include "image/image.h"

/* `pixels` pixels of the constant. */
static uint8_t *surround(uint8_t *out, const uint8_t *around, size_t pixels, size_t channels)
{
    if (around == NULL) {
        memset(out, 0, pixels * channels);
        return out + pixels * channels;
    }
    for (size_t i = 0; i < pixels; i++, out += channels)
        memcpy(out, around, channels);
    return out;
}

/* Row `y` of a window whose left column is `left` of the map; both may lie outside. */
static uint8_t *copy_row(const iviti_window_grid *g, const uint8_t *map, const uint8_t *around,
                         int64_t y, int64_t left, uint8_t *out)
{
    const int64_t right = left + g->kernel;
    const int64_t first = left > 0 ? left : 0;
    const int64_t end = right < g->width ? right : g->width;

    if (y < 0 || y >= g->height || first >= end)
        return surround(out, around, g->kernel, g->channels);
    out = surround(out, around, (size_t)(first - left), g->channels);
    const size_t bytes = (size_t)(end - first) * g->channels;
    memcpy(out, map + ((size_t)y * g->width + (size_t)first) * g->channels, bytes);
    return surround(out + bytes, around, (size_t)(right - end), g->channels);
}

void iviti_extract_windows(const iviti_window_grid *grid, const uint8_t *map, const uint8_t *around,
                           size_t first, size_t count, uint8_t *out, size_t out_stride)
{
    for (size_t i = first; i < first + count; i++, out += out_stride) {
        const int64_t top = (int64_t)(i / grid->columns * grid->stride) - grid->padding;
        const int64_t left = (int64_t)(i % grid->columns * grid->stride) - grid->padding;
        uint8_t *to = out;
        for (uint32_t y = 0; y < grid->kernel; y++)
            to = copy_row(grid, map, around, top + y, left, to);
    }
}

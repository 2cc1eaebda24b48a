/* SPDX-License-Identifier: Apache-2.0
 *
 * The convolutions before the patches, in float: windows as rows of a matrix product, a line of the
 * map at a time, then ReLU. The picture is padded with normalised zeros, as networks are trained.
 */
#include <string.h>

#include "network/forward_one.h"

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

size_t stem_lay_out(const network *n, workspace *w, float *base)
{
    const iviti_geometry *g = &n->geometry;
    size_t map = (size_t)g->image_width * g->image_height * 3, windows = 0;
    if (g->convolutions == 0)
        return 0;
    for (uint32_t i = 0; i < g->convolutions; i++) {
        const iviti_convolution *c = &g->convolution[i];
        map = larger(map, (size_t)c->width * c->height * c->channels);
        windows = larger(windows, (size_t)c->width * iviti_convolution_inputs(g, i));
    }
    if (base != NULL) {
        w->map[0] = base;
        w->map[1] = base + map;
        w->windows = base + 2 * map;
    }
    return 2 * map + windows;
}

static void normalise_pixels(const network *n, const uint8_t *pixels, float *out)
{
    const size_t count = (size_t)n->geometry.image_width * n->geometry.image_height * 3;
    float value[3][256];
    pixel_values(n, value);
    for (size_t i = 0; i < count; i++)
        out[i] = value[i % 3][pixels[i]];
}

/* The windows of line `top` of the output: (c->width, kernel * kernel * channels). */
static void extract_line(const iviti_convolution *c, const float *map, int width, int height,
                         size_t channels, int top, float *out)
{
    const int kernel = (int)c->kernel, padding = (int)c->padding;
    memset(out, 0, c->width * (size_t)kernel * (size_t)kernel * channels * sizeof *out);
    for (int left = -padding; left + kernel <= width + padding; left += (int)c->stride)
        for (int y = top; y < top + kernel; y++, out += (size_t)kernel * channels) {
            const int first = left > 0 ? left : 0;
            const int end = left + kernel < width ? left + kernel : width;
            if (y >= 0 && y < height && first < end)
                memcpy(out + (size_t)(first - left) * channels,
                       map + ((size_t)y * (size_t)width + (size_t)first) * channels,
                       (size_t)(end - first) * channels * sizeof *out);
        }
}

static void convolve(const network *n, workspace *w, uint32_t i, const float *map, float *out)
{
    const iviti_geometry *g = &n->geometry;
    const iviti_convolution *c = &g->convolution[i];
    const int width = (int)(i ? (c - 1)->width : g->image_width);
    const int height = (int)(i ? (c - 1)->height : g->image_height);
    const size_t line = (size_t)c->width * c->channels;
    for (uint32_t y = 0; y < c->height; y++, out += line) {
        extract_line(c, map, width, height, iviti_convolution_channels(g, i),
                     (int)(y * c->stride) - (int)c->padding, w->windows);
        dense(&n->stem[i], w->windows, c->width, iviti_convolution_inputs(g, i), c->channels, out);
        for (size_t k = 0; k < line; k++)
            out[k] = out[k] > 0 ? out[k] : 0;
    }
}

const float *one_convolutions(const network *n, workspace *w, const uint8_t *pixels, uint32_t count)
{
    normalise_pixels(n, pixels, w->map[0]);
    for (uint32_t i = 0; i < count; i++)
        convolve(n, w, i, w->map[i % 2], w->map[(i + 1) % 2]);
    return w->map[count % 2];
}

void one_stem(const network *n, workspace *w, const uint8_t *pixels, float *patches)
{
    const iviti_geometry *g = &n->geometry;
    const iviti_convolution *last = &g->convolution[g->convolutions - 1];
    const size_t side = g->embed_side, channels = last->channels;
    const float *map = one_convolutions(n, w, pixels, g->convolutions);
    for (size_t top = 0; top < last->height; top += side)
        for (size_t left = 0; left < last->width; left += side)
            for (size_t y = 0; y < side; y++, patches += side * channels)
                memcpy(patches, map + ((top + y) * last->width + left) * channels,
                       side * channels * sizeof *patches);
}

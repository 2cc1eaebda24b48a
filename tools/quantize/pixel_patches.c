/* SPDX-License-Identifier: Apache-2.0
 *
 * What the patch embedding reads, for the compensation of its weights. Pixels beside each other are alike,
 * so that the weights of a row can make up for nearly all of one another's rounding.
 */
#include "quantize/quantizer.h"

#define MOST_PATCHES 16384 /* spread over all pictures */

/* Patch `index` of all pictures, row by row, as u8 values. */
static void take_patch(const iviti_geometry *g, const uint8_t *pixels, size_t index, float *values)
{
    const size_t across = g->stage[0].grid_width, grid = across * g->stage[0].grid_height;
    const size_t line = (size_t)g->image_width * 3, width = (size_t)g->patch * 3;
    const size_t top = index % grid / across * g->patch, left = index % across * width;
    const uint8_t *const first =
        pixels + (index / grid * g->image_height + top) * line + left;

    for (size_t y = 0; y < g->patch; y++)
        for (size_t k = 0; k < width; k++)
            values[y * width + k] = first[y * line + k];
}

bool quantizer_compensate_pixels(quantizer *q, const uint8_t *pixels, code *in, arena *memory,
                                 compensation *c)
{
    const iviti_geometry *g = &q->source->geometry;
    const size_t all = q->pictures * g->stage[0].grid_width * g->stage[0].grid_height;
    const size_t rows = all < MOST_PATCHES ? all : MOST_PATCHES;
    float *x = ARENA_TAKE(memory, float, rows *in->width);
    code centred = code_new(memory, in->width); /* the same values by s8 codes */
    if (memory->failed)
        return false;

    for (size_t r = 0; r < rows; r++)
        take_patch(g, pixels, r * all / rows, x + r * in->width);
    for (size_t k = 0; k < in->width; k++) {
        centred.scale[k] = in->scale[k];
        centred.offset[k] = in->offset[k] + 128 * in->scale[k];
    }
    for (size_t i = 0; i < rows * in->width; i++) {
        const size_t k = i % in->width;
        x[i] = (float)(in->offset[k] + in->scale[k] * (double)x[i]);
    }
    code_observe(&centred, x, rows);
    for (size_t k = 0; k < in->width; k++) {
        in->mean[k] = centred.mean[k];
        in->mean_code[k] = centred.mean_code[k] + 128;
    }
    return compensation_prepare(memory, &centred, x, rows, NULL, c);
}

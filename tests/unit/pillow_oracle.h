/* SPDX-License-Identifier: Apache-2.0
 *
 * Pillow's Image.resize of RGB pictures in double precision, as its documentation and the papers
 * behind it describe it, written without a look at the library's own.
 */
#ifndef PILLOW_ORACLE_H
#define PILLOW_ORACLE_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "iviti/kernels.h"

static inline double oracle_kernel(double x, iviti_interpolation interpolation)
{
    x = fabs(x);
    if (interpolation == IVITI_BILINEAR)
        return x < 1.0 ? 1.0 - x : 0.0;
    if (x < 1.0)
        return (1.5 * x - 2.5) * x * x + 1.0;
    return x < 2.0 ? (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5 : 0.0;
}

/* One line of `in` samples, `step` bytes apart, to `out` samples. */
static inline void oracle_line(const uint8_t *from, size_t step, uint32_t in, uint8_t *to,
                               size_t to_step, uint32_t out, iviti_interpolation interpolation)
{
    const double scale = (double)in / out;
    const double stretch = scale < 1.0 ? 1.0 : scale;
    const double reach = (interpolation == IVITI_BICUBIC ? 2.0 : 1.0) * stretch;
    double *const weights = malloc(in * sizeof *weights);
    assert_non_null(weights);
    for (uint32_t i = 0; i < out; i++) {
        const double centre = (i + 0.5) * scale;
        const double low = centre - reach + 0.5, high = centre + reach + 0.5;
        const uint32_t first = low < 0.0 ? 0 : (uint32_t)low;
        const uint32_t end = high > in ? in : (uint32_t)high;
        double total = 0.0;
        for (uint32_t x = first; x < end; x++)
            total += weights[x] = oracle_kernel((x - centre + 0.5) / stretch, interpolation);
        int64_t sum = 1 << 21;
        for (uint32_t x = first; x < end; x++)
            sum += (int64_t)lround(weights[x] / total * 4194304.0) * from[x * step];
        const double value = floor((double)sum / 4194304.0);
        to[i * to_step] = value < 0.0 ? 0 : value > 255.0 ? 255 : (uint8_t)value;
    }
    free(weights);
}

/* Horizontal pass first; a pass that changes nothing is left out. */
static inline uint8_t *oracle_resized(const uint8_t *pixels, uint32_t width, uint32_t height,
                                      uint32_t out_width, uint32_t out_height,
                                      iviti_interpolation interpolation)
{
    const size_t row = (size_t)3 * width, out_row = (size_t)3 * out_width;
    uint8_t *const wide = malloc(out_row * height);
    uint8_t *const out = malloc(out_row * out_height);
    assert_non_null(wide);
    assert_non_null(out);
    if (width == out_width)
        memcpy(wide, pixels, row * height);
    else
        for (uint32_t y = 0; y < height; y++)
            for (size_t c = 0; c < 3; c++)
                oracle_line(pixels + y * row + c, 3, width, wide + y * out_row + c, 3, out_width,
                            interpolation);
    if (height == out_height)
        memcpy(out, wide, out_row * height);
    else
        for (size_t c = 0; c < out_row; c++)
            oracle_line(wide + c, out_row, height, out + c, out_row, out_height, interpolation);
    free(wide);
    return out;
}

#endif

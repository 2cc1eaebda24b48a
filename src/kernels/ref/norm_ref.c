/* SPDX-License-Identifier: Apache-2.0
 *
 * LayerNorm of stream rows and ShiftGELU of activation rows, composed of the public operators in
 * strips so that no memory is needed.
 */
#include "kernels/ref/ref.h"
#include "kernels/requantize.h"
#include "model/geometry.h"

#define WIDEST (4 * IVITI_MAX_DIM) /* the norm of Swin's patch merging */

static void normalise(const iviti_norm *n, const int16_t *x, int32_t *y)
{
    if (n->kind == IVITI_NORM_NEWTON)
        iviti_layernorm_newton(x, n->width, y);
    else if (n->kind == IVITI_NORM_L1)
        iviti_layernorm_l1(x, n->width, y);
    else
        iviti_layernorm_exact(x, n->width, n->epsilon, y);
}

/* The affine part of channel c, in units of the output before saturation. */
static int64_t affine(const iviti_norm *n, size_t c, int32_t y)
{
    return iviti_shift_right(iviti_scale(y, n->multiplier[c], n->shift[c]) + n->bias[c] + 128, 8);
}

void iviti_norm_s8_ref(const iviti_norm *n, const int16_t *x, size_t x_stride, const uint32_t *map,
                       size_t rows, uint8_t *y, size_t y_stride)
{
    int32_t normalised[WIDEST];

    for (size_t r = 0; r < rows; r++) {
        normalise(n, x + (map ? map[r] : r) * x_stride, normalised);
        for (size_t c = 0; c < n->width; c++)
            y[r * y_stride + c] = (uint8_t)(iviti_saturate_s8(affine(n, c, normalised[c])) + 128);
    }
}

void iviti_norm_s16_ref(const iviti_norm *n, const int16_t *x, size_t x_stride, const uint32_t *map,
                        size_t rows, int16_t *y, size_t y_stride)
{
    int32_t normalised[WIDEST];

    for (size_t r = 0; r < rows; r++) {
        normalise(n, x + (map ? map[r] : r) * x_stride, normalised);
        for (size_t c = 0; c < n->width; c++)
            y[r * y_stride + c] = iviti_saturate_s16(affine(n, c, normalised[c]));
    }
}

void iviti_shift_gelu_ref(uint8_t *x, size_t stride, size_t rows, size_t width,
                          int32_t one_over_scale, iviti_dyadic output)
{
    int8_t input[IVITI_MAX_HIDDEN];
    int32_t product[IVITI_MAX_HIDDEN];

    for (size_t r = 0; r < rows; r++) {
        uint8_t *row = x + r * stride;
        for (size_t c = 0; c < width; c++)
            input[c] = (int8_t)(row[c] - 128);
        iviti_shift_gelu(input, width, one_over_scale, product);
        for (size_t c = 0; c < width; c++)
            row[c] = (uint8_t)(iviti_requantize_s8(product[c], output) + 128);
    }
}

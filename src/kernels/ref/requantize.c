/* SPDX-License-Identifier: Apache-2.0
 *
 * Requantisation and the residual sum (include/iviti/kernels.h).
 */
#include "kernels/requantize.h"

#include "iviti/kernels.h"

int64_t iviti_requantize(int32_t z, iviti_dyadic factor)
{
    return iviti_scale(z, factor.multiplier, factor.shift);
}

int8_t iviti_requantize_s8(int32_t z, iviti_dyadic factor)
{
    return iviti_saturate_s8(iviti_requantize(z, factor));
}

int16_t iviti_requantize_s16(int32_t z, iviti_dyadic factor)
{
    return iviti_saturate_s16(iviti_requantize(z, factor));
}

int32_t iviti_requantize_s32(int32_t z, iviti_dyadic factor)
{
    return iviti_saturate_s32(iviti_requantize(z, factor));
}

void iviti_requantize_rows_s8(const int32_t *acc, const iviti_dyadic *factor, size_t rows,
                              size_t channels, int8_t *y)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t o = 0; o < channels; o++)
            y[r * channels + o] = iviti_requantize_s8(acc[r * channels + o], factor[o]);
}

void iviti_requantize_rows_s16(const int32_t *acc, const iviti_dyadic *factor, size_t rows,
                               size_t channels, int16_t *y)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t o = 0; o < channels; o++)
            y[r * channels + o] = iviti_requantize_s16(acc[r * channels + o], factor[o]);
}

void iviti_residual_add(const int16_t *a, iviti_dyadic fa, const int16_t *b, iviti_dyadic fb,
                        size_t count, int16_t *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = iviti_saturate_s16(iviti_requantize(a[i], fa) + iviti_requantize(b[i], fb));
}

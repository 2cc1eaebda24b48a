/* SPDX-License-Identifier: Apache-2.0
 *
 * I-ViT's shift operators over exact integers (I-ViT sections 3.3 and 3.4; NUMERICS.md, Shift family).
 */
#include "iviti/kernels.h"
#include "kernels/requantize.h"

#define SHIFTMAX_N 15
#define SHIFT_GELU_N 23
#define EXP_LIMIT ((int64_t)1 << 62)

int64_t iviti_shift_exp(int32_t x, int32_t one_over_scale, int n)
{
    const int64_t x0 = one_over_scale; /* the paper's I0 is its negative */
    int64_t t = (int64_t)x + iviti_shift_right(x, 1) - iviti_shift_right(x, 4);

    if (t < -n * x0)
        t = -n * x0;

    /* t = -q * x0 + r with r in (-x0, 0]: q = floor(t / -x0), negative for t > 0. */
    const int64_t q = t <= 0 ? -t / x0 : -((t + x0 - 1) / x0);
    const int64_t r = t + q * x0;
    const int64_t twice = r + 2 * x0; /* 2 * (r / 2 + x0), in (x0, 2 * x0] */
    const int64_t shift = n - q - 1;  /* the half of r / 2 is taken out of the power */

    if (shift < 0)
        return twice >> -shift;
    if (shift > 61 || twice > EXP_LIMIT >> shift)
        return EXP_LIMIT;
    return twice << shift;
}

void iviti_shiftmax(const int8_t *x, size_t count, int32_t one_over_scale, int bits, int16_t *p)
{
    int32_t max = x[0];
    for (size_t i = 1; i < count; i++)
        if (x[i] > max)
            max = x[i];

    int64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += iviti_shift_exp(x[i] - max, one_over_scale, SHIFTMAX_N);
    if (sum > INT32_MAX)
        sum = INT32_MAX;

    const int64_t factor = INT32_MAX / sum;
    for (size_t i = 0; i < count; i++) {
        const int64_t e = iviti_shift_exp(x[i] - max, one_over_scale, SHIFTMAX_N);
        p[i] = (int16_t)((e * factor) >> (31 - bits + 1));
    }
}

void iviti_shift_gelu(const int8_t *x, size_t count, int32_t one_over_scale, int32_t *y)
{
    int32_t max = x[0];
    for (size_t i = 1; i < count; i++)
        if (x[i] > max)
            max = x[i];

    const int64_t e_zero = iviti_shift_exp(-max, one_over_scale, SHIFT_GELU_N);
    for (size_t i = 0; i < count; i++) {
        const int64_t e = iviti_shift_exp(x[i] - max, one_over_scale, SHIFT_GELU_N);
        int64_t sum = e + e_zero;
        if (sum > INT32_MAX)
            sum = INT32_MAX;
        const int64_t sigmoid = sum > 0 ? (e * (INT32_MAX / sum)) >> 24 : 0;
        y[i] = x[i] * (int32_t)sigmoid;
    }
}

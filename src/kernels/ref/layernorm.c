/* SPDX-License-Identifier: Apache-2.0
 *
 * LayerNorm, the published Newton form and the exact form (NUMERICS.md, LayerNorm).
 */
#include "iviti/kernels.h"
#include "kernels/ref/comparison.h"
#include "kernels/requantize.h"

/* Two bits of the operand give one bit of the root. */
uint32_t iviti_isqrt(uint64_t v)
{
    uint64_t root = 0;
    uint64_t bit = (uint64_t)1 << 62;

    while (bit > v)
        bit >>= 2;
    for (; bit; bit >>= 2) {
        if (v >= root + bit) {
            v -= root + bit;
            root = (root >> 1) + bit;
        } else {
            root >>= 1;
        }
    }
    return (uint32_t)root;
}

static int64_t sum_of(const int16_t *x, size_t count)
{
    int64_t sum = 0;
    for (size_t c = 0; c < count; c++)
        sum += x[c];
    return sum;
}

/* sum / count, halves to the even neighbour, as the official code's round() does. */
static int64_t mean_half_even(int64_t sum, int64_t count)
{
    int64_t quotient = sum / count;
    int64_t rest = sum % count;
    if (rest < 0) {
        rest += count;
        quotient -= 1;
    }
    if (2 * rest > count || (2 * rest == count && (quotient & 1)))
        quotient += 1;
    return quotient;
}

uint32_t iviti_layernorm_newton(const int16_t *x, size_t count, int32_t *y)
{
    const int64_t mean = mean_half_even(sum_of(x, count), (int64_t)count);

    uint64_t variance = 0;
    for (size_t c = 0; c < count; c++)
        variance += (uint64_t)((x[c] - mean) * (x[c] - mean));

    uint64_t root = 1 << 16;
    for (int step = 0; step < 10; step++)
        root = (root + variance / root) >> 1;

    const int64_t factor = INT32_MAX / (int64_t)root;
    for (size_t c = 0; c < count; c++)
        y[c] = (int32_t)iviti_shift_right((x[c] - mean) * factor, 1);
    return (uint32_t)root;
}

uint32_t iviti_layernorm_exact(const int16_t *x, size_t count, int64_t epsilon, int32_t *y)
{
    const int64_t width = (int64_t)count;
    const int64_t sum = sum_of(x, count);

    int64_t squares = 0;
    for (size_t c = 0; c < count; c++)
        squares += (int64_t)x[c] * x[c];

    const uint32_t root = iviti_isqrt((uint64_t)(width * squares - sum * sum + epsilon));
    const iviti_dyadic inverse = iviti_reciprocal(root, (iviti_dyadic){ 1 << 30, 14 });
    for (size_t c = 0; c < count; c++)
        y[c] = (int32_t)iviti_requantize((int32_t)(width * x[c] - sum), inverse);
    return root;
}

/* sqrt(pi / 2), by which the mean magnitude of normal numbers is smaller than their deviation. */
#define L1_FACTOR ((iviti_dyadic){ 1345735808, 30 })
#define L1_MOST   7 /* bits before the point of a normalised value */

uint32_t iviti_l1_root(const int16_t *x, size_t count, int64_t sum)
{
    const int32_t width = (int32_t)count, total = (int32_t)sum; /* |C x - sum| <= 2^30 */
    int64_t distance = 0;
    int32_t most = 0;

    for (size_t c = 0; c < count; c++) {
        const int32_t d = width * x[c] - total;
        const int32_t magnitude = d < 0 ? -d : d;
        distance += magnitude;
        most = magnitude > most ? magnitude : most;
    }
    const int64_t root = iviti_requantize((int32_t)(distance / width), L1_FACTOR);
    const int64_t least = (most >> L1_MOST) + 1;
    return (uint32_t)(root > least ? root : least);
}

uint32_t iviti_layernorm_l1(const int16_t *x, size_t count, int32_t *y)
{
    const int64_t width = (int64_t)count;
    const int64_t sum = sum_of(x, count);
    const uint32_t root = iviti_l1_root(x, count, sum);
    const iviti_dyadic inverse = iviti_reciprocal(root, (iviti_dyadic){ 1 << 30, 14 });

    for (size_t c = 0; c < count; c++)
        y[c] = (int32_t)iviti_requantize((int32_t)(width * x[c] - sum), inverse);
    return root;
}

void iviti_layernorm_affine_s8(const int32_t *y, const iviti_dyadic *factor, const int32_t *bias,
                               size_t count, int8_t *out)
{
    for (size_t c = 0; c < count; c++)
        out[c] = iviti_saturate_s8(
            iviti_shift_right(iviti_requantize(y[c], factor[c]) + bias[c] + 128, 8));
}

void iviti_layernorm_affine_s16(const int32_t *y, const iviti_dyadic *factor, const int32_t *bias,
                                size_t count, int16_t *out)
{
    for (size_t c = 0; c < count; c++)
        out[c] = iviti_saturate_s16(
            iviti_shift_right(iviti_requantize(y[c], factor[c]) + bias[c] + 128, 8));
}

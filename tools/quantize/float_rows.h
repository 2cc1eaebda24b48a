/* SPDX-License-Identifier: Apache-2.0
 *
 * Exponentials, GELU and sums of rows of floats as compilers turn them into vectors: no calls and no
 * branches inside the loops, sums in a fixed number of parts. Good to about 1e-7; training needs no more.
 */
#ifndef FLOAT_ROWS_H
#define FLOAT_ROWS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ROW_PARTS 16 /* of a sum */

/* The nearest integer, halves upwards, of a value of magnitude at most 1024. */
static inline float float_nearest(float x)
{
    return (float)(int32_t)(x + 1024.5f) - 1024;
}

#define LEAST_EXPONENT (-88.0f)

/* e^x for LEAST_EXPONENT <= x <= 0; 0 at the least. */
static inline float float_exp(float x)
{
    const int32_t power = (int32_t)(x * 1.44269504f + 127.5f); /* nearest, biased; 0 makes it 0 */
    const float n = (float)(power - 127);
    const float r = x - n * 0.693359375f + n * 2.12194440e-4f; /* of ln 2, in two parts */
    float p = 1.9875691500e-4f; /* e^r = 1 + r + r^2 p(r) for |r| < ln 2 / 2 */
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    const int32_t bits = (int32_t)((uint32_t)power << 23);
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return (p * r * r + r + 1) * scale;
}

/* y = e^(x - most); x at most `most`. In two loops: with its bound, an exponential has branches. */
static inline void row_exp(const float *x, size_t count, float most, float *y)
{
    for (size_t i = 0; i < count; i++) {
        const float d = x[i] - most;
        y[i] = d < LEAST_EXPONENT ? LEAST_EXPONENT : d;
    }
    for (size_t i = 0; i < count; i++)
        y[i] = float_exp(y[i]);
}

/* GELU and its slope; the error function after Abramowitz and Stegun, 7.1.26. */
static inline void row_gelu(const float *x, size_t count, float *slope, float *y)
{
    for (size_t i = 0; i < count; i++) {
        const float d = -0.5f * x[i] * x[i];
        slope[i] = d < LEAST_EXPONENT ? LEAST_EXPONENT : d;
    }
    for (size_t i = 0; i < count; i++) {
        const float sign = (float)(1 - 2 * (x[i] < 0)); /* factors, not branches */
        const float t = 1 / (1 + 0.3275911f * 0.70710678f * sign * x[i]);
        const float bell = float_exp(slope[i]);
        float p = 1.061405429f;
        p = p * t - 1.453152027f;
        p = p * t + 1.421413741f;
        p = p * t - 0.284496736f;
        p = p * t + 0.254829592f;
        const float below = 0.5f + sign * (0.5f - 0.5f * p * t * bell); /* of a normal distribution */
        slope[i] = below + x[i] * 0.39894228f * bell;
        y[i] = x[i] * below;
    }
}

static inline float row_sum(const float *x, size_t count)
{
    float part[ROW_PARTS] = { 0 }, sum = 0;
    size_t i = 0;
    for (; i + ROW_PARTS <= count; i += ROW_PARTS)
        for (size_t k = 0; k < ROW_PARTS; k++)
            part[k] += x[i + k];
    for (; i < count; i++)
        sum += x[i];
    for (size_t k = 0; k < ROW_PARTS; k++)
        sum += part[k];
    return sum;
}

static inline float row_product(const float *x, const float *y, size_t count)
{
    float part[ROW_PARTS] = { 0 }, sum = 0;
    size_t i = 0;
    for (; i + ROW_PARTS <= count; i += ROW_PARTS)
        for (size_t k = 0; k < ROW_PARTS; k++)
            part[k] += x[i + k] * y[i + k];
    for (; i < count; i++)
        sum += x[i] * y[i];
    for (size_t k = 0; k < ROW_PARTS; k++)
        sum += part[k];
    return sum;
}

/* count >= 1 */
static inline float row_largest(const float *x, size_t count)
{
    float part[ROW_PARTS], most = x[0];
    size_t i = 0;
    for (size_t k = 0; k < ROW_PARTS; k++)
        part[k] = x[0];
    for (; i + ROW_PARTS <= count; i += ROW_PARTS)
        for (size_t k = 0; k < ROW_PARTS; k++)
            part[k] = part[k] < x[i + k] ? x[i + k] : part[k];
    for (; i < count; i++)
        most = most < x[i] ? x[i] : most;
    for (size_t k = 0; k < ROW_PARTS; k++)
        most = most < part[k] ? part[k] : most;
    return most;
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The one rounding rule, inline for the kernels (NUMERICS.md, Requantisation).
 */
#ifndef IVITI_REQUANTIZE_H
#define IVITI_REQUANTIZE_H

#include <stdint.h>

/* Floor division by 2^shift for values of either sign: C leaves >> of a negative number to the
 * compiler, so it is written without. Compilers turn this into one arithmetic shift. */
static inline int64_t iviti_shift_right(int64_t value, int shift)
{
    return value >= 0 ? (int64_t)((uint64_t)value >> shift)
                      : (int64_t)~(~(uint64_t)value >> shift);
}

/* (z * m + 2^(c-1)) >> c. |z| <= 2^31, |m| < 2^31, c in [1, 62]: |z * m| < 2^62 and the rounding
 * term is at most 2^61, so the sum stays below 2^63. */
static inline int64_t iviti_scale(int32_t z, int32_t multiplier, int32_t shift)
{
    return iviti_shift_right((int64_t)z * multiplier + ((int64_t)1 << (shift - 1)), shift);
}

static inline int64_t iviti_clamp(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

static inline int8_t iviti_saturate_s8(int64_t value)
{
    return (int8_t)iviti_clamp(value, INT8_MIN, INT8_MAX);
}

static inline int16_t iviti_saturate_wide(int64_t value)
{
    return (int16_t)iviti_clamp(value, -(1 << 11), (1 << 11) - 1);
}

static inline int16_t iviti_saturate_s16(int64_t value)
{
    return (int16_t)iviti_clamp(value, INT16_MIN, INT16_MAX);
}

static inline int32_t iviti_saturate_s32(int64_t value)
{
    return (int32_t)iviti_clamp(value, INT32_MIN, INT32_MAX);
}

/* The digits of a wide activation as they are stored (kernel.h): 16 * (high - 128) + low = value.
 */
static inline uint8_t iviti_high_digit(int16_t wide)
{
    return (uint8_t)((wide + (1 << 11)) >> 4);
}

static inline uint8_t iviti_low_digit(int16_t wide)
{
    return (uint8_t)((wide + (1 << 11)) & 15);
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The only place that computes sizes from numbers that a file or a caller may have chosen: each
 * function returns false, and leaves its result alone, where the true value does not fit.
 */
#ifndef IVITI_CHECKED_H
#define IVITI_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool iviti_add_u64(uint64_t a, uint64_t b, uint64_t *sum)
{
    if (a > UINT64_MAX - b)
        return false;
    *sum = a + b;
    return true;
}

static inline bool iviti_mul_u64(uint64_t a, uint64_t b, uint64_t *product)
{
#if defined(__GNUC__)
    uint64_t value;
    if (__builtin_mul_overflow(a, b, &value))
        return false;
    *product = value;
    return true;
#else
    if (b != 0 && a > UINT64_MAX / b)
        return false;
    *product = a * b;
    return true;
#endif
}

/* The next multiple of `alignment`, a power of two. */
static inline bool iviti_align_u64(uint64_t a, uint64_t alignment, uint64_t *aligned)
{
    uint64_t sum;
    if (!iviti_add_u64(a, alignment - 1, &sum))
        return false;
    *aligned = sum & ~(alignment - 1);
    return true;
}

static inline bool iviti_add_size(size_t a, size_t b, size_t *sum)
{
    if (a > SIZE_MAX - b)
        return false;
    *sum = a + b;
    return true;
}

static inline bool iviti_mul_size(size_t a, size_t b, size_t *product)
{
#if defined(__GNUC__)
    size_t value;
    if (__builtin_mul_overflow(a, b, &value))
        return false;
    *product = value;
    return true;
#else
    if (b != 0 && a > SIZE_MAX / b)
        return false;
    *product = a * b;
    return true;
#endif
}

static inline bool iviti_align_size(size_t a, size_t alignment, size_t *aligned)
{
    size_t sum;
    if (!iviti_add_size(a, alignment - 1, &sum))
        return false;
    *aligned = sum & ~(alignment - 1);
    return true;
}

static inline bool iviti_u64_to_size(uint64_t a, size_t *size)
{
#if SIZE_MAX < UINT64_MAX
    if (a > SIZE_MAX)
        return false;
#endif
    *size = (size_t)a;
    return true;
}

#endif

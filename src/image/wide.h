/* SPDX-License-Identifier: Apache-2.0
 *
 * Unsigned integers of 128 bits, for the few places where 64 are not enough; C11 has none.
 */
#ifndef IVITI_WIDE_H
#define IVITI_WIDE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct iviti_wide {
    uint64_t high;
    uint64_t low;
} iviti_wide;

static inline iviti_wide iviti_wide_add(iviti_wide a, iviti_wide b)
{
    const uint64_t low = a.low + b.low;
    return (iviti_wide){ a.high + b.high + (low < a.low), low };
}

static inline iviti_wide iviti_wide_sub(iviti_wide a, iviti_wide b)
{
    return (iviti_wide){ a.high - b.high - (a.low < b.low), a.low - b.low };
}

static inline bool iviti_wide_less(iviti_wide a, iviti_wide b)
{
    return a.high != b.high ? a.high < b.high : a.low < b.low;
}

static inline iviti_wide iviti_wide_product(uint64_t a, uint64_t b)
{
    const uint64_t a0 = a & UINT32_MAX, a1 = a >> 32, b0 = b & UINT32_MAX, b1 = b >> 32;
    const uint64_t low = a0 * b0;
    const uint64_t middle = a1 * b0 + (low >> 32); /* below 2^64, as is every sum here */
    const uint64_t cross = a0 * b1 + (middle & UINT32_MAX);
    return (iviti_wide){ a1 * b1 + (middle >> 32) + (cross >> 32),
                         (cross << 32) | (low & UINT32_MAX) };
}

/* floor(a * 2^bits / b) for a < 2 * b and b < 2^126, bit by bit. */
static inline uint64_t iviti_wide_ratio(iviti_wide a, iviti_wide b, unsigned bits)
{
    uint64_t quotient = 0;
    for (unsigned i = 0;; i++) {
        const bool one = !iviti_wide_less(a, b);
        if (one)
            a = iviti_wide_sub(a, b);
        quotient = (quotient << 1) | one;
        if (i == bits)
            return quotient;
        a = iviti_wide_add(a, a);
    }
}

#endif

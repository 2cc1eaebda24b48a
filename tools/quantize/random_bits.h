/* SPDX-License-Identifier: Apache-2.0
 *
 * Random numbers that are the same everywhere: what is drawn must not depend on the C library.
 */
#ifndef RANDOM_BITS_H
#define RANDOM_BITS_H

#include <stdint.h>

/* 64 bits after SplitMix64 (Steele, Lea and Flood 2014); any seed will do for the first state. */
static inline uint64_t random_bits(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * CRC-32C with the processor's own instruction. It takes three cycles and a new one can begin in
 * each, so three stretches of the data go through it side by side; a stretch's register is then
 * moved past the bytes that follow it by a multiplication with a power of x modulo the polynomial.
 */
#include <nmmintrin.h>
#include <string.h>

#include "kernels/kernel.h"

#define POLYNOMIAL 0x82f63b78u
#define STRETCH    8192        /* bytes of each of the three */
#define PAST_ONE   0x28461564u /* x^(8 * STRETCH) */
#define PAST_TWO   0xbf455269u /* x^(16 * STRETCH) */

uint32_t iviti_crc32c_sse42(uint32_t crc, const void *data, size_t bytes);

/* a * b modulo the polynomial, bits reflected: bit 31 is x^0. */
static uint32_t multiply(uint32_t a, uint32_t b)
{
    uint32_t product = 0;
    for (int i = 0; i < 32; i++) {
        product ^= b & (0u - (a >> 31));
        a <<= 1;
        b = b >> 1 ^ (POLYNOMIAL & (0u - (b & 1)));
    }
    return product;
}

static uint64_t load(const uint8_t *p)
{
    uint64_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

uint32_t iviti_crc32c_sse42(uint32_t crc, const void *data, size_t bytes)
{
    const uint8_t *p = data;
    uint64_t a = ~crc;
    for (; bytes >= 3 * STRETCH; bytes -= 3 * STRETCH, p += 3 * STRETCH) {
        uint64_t b = 0, c = 0;
        for (size_t i = 0; i < STRETCH; i += 8) {
            a = _mm_crc32_u64(a, load(p + i));
            b = _mm_crc32_u64(b, load(p + STRETCH + i));
            c = _mm_crc32_u64(c, load(p + 2 * STRETCH + i));
        }
        a = multiply(PAST_TWO, (uint32_t)a) ^ multiply(PAST_ONE, (uint32_t)b) ^ c;
    }
    for (; bytes >= 8; bytes -= 8, p += 8)
        a = _mm_crc32_u64(a, load(p));
    for (; bytes > 0; bytes--, p++)
        a = _mm_crc32_u8((uint32_t)a, *p);
    return ~(uint32_t)a;
}

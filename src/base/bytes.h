/* SPDX-License-Identifier: Apache-2.0
 *
 * Little-endian numbers in byte strings, on any processor and at any alignment.
 */
#ifndef IVITI_BYTES_H
#define IVITI_BYTES_H

#include <stdint.h>

static inline uint16_t iviti_get_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t iviti_get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t iviti_get_u64(const uint8_t *p)
{
    return (uint64_t)iviti_get_u32(p) | (uint64_t)iviti_get_u32(p + 4) << 32;
}

/* Two's complement without an implementation-defined conversion. */
static inline int16_t iviti_get_s16(const uint8_t *p)
{
    const int32_t value = iviti_get_u16(p);
    return (int16_t)(value < 0x8000 ? value : value - 0x10000);
}

static inline int32_t iviti_get_s32(const uint8_t *p)
{
    const uint32_t value = iviti_get_u32(p);
    return value < 0x80000000u ? (int32_t)value : -(int32_t)(UINT32_MAX - value) - 1;
}

static inline int8_t iviti_get_s8(const uint8_t *p)
{
    return (int8_t)(p[0] < 0x80 ? p[0] : p[0] - 0x100);
}

static inline void iviti_put_u32(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)value;
    p[1] = (uint8_t)(value >> 8);
    p[2] = (uint8_t)(value >> 16);
    p[3] = (uint8_t)(value >> 24);
}

static inline void iviti_put_u64(uint8_t *p, uint64_t value)
{
    iviti_put_u32(p, (uint32_t)value);
    iviti_put_u32(p + 4, (uint32_t)(value >> 32));
}

#endif

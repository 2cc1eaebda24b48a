/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes of an untrusted file: little-endian loads, arithmetic that cannot wrap, and a cursor whose
 * take() is the only way forward, so that no reader computes a bound of its own.
 */
#ifndef CHECKPOINT_BYTES_H
#define CHECKPOINT_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline uint16_t load_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t load_u32(const uint8_t *p)
{
    return (uint32_t)load_u16(p) | (uint32_t)load_u16(p + 2) << 16;
}

static inline uint64_t load_u64(const uint8_t *p)
{
    return (uint64_t)load_u32(p) | (uint64_t)load_u32(p + 4) << 32;
}

static inline bool add_checked(uint64_t a, uint64_t b, uint64_t *sum)
{
    *sum = a + b;
    return *sum >= a;
}

static inline bool multiply_checked(uint64_t a, uint64_t b, uint64_t *product)
{
    *product = a * b;
    return a == 0 || b <= UINT64_MAX / a;
}

typedef struct cursor {
    const uint8_t *bytes;
    size_t size;
    size_t position;
} cursor;

static inline size_t cursor_left(const cursor *c)
{
    return c->size - c->position;
}

/* The next `count` bytes, or NULL and no movement where fewer are left. */
static inline const uint8_t *cursor_take(cursor *c, uint64_t count)
{
    if (count > cursor_left(c)) {
        return NULL;
    }
    const uint8_t *taken = c->bytes + c->position;
    c->position += (size_t)count;
    return taken;
}

#endif

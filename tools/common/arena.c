/* SPDX-License-Identifier: Apache-2.0 */
#include "common/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 64

struct arena_chunk {
    struct arena_chunk *next;
};

void arena_init(arena *a)
{
    *a = (arena){ NULL, false };
}

void *arena_take(arena *a, size_t count, size_t size)
{
    if (size && count > (SIZE_MAX - 2 * ALIGNMENT) / size) {
        a->failed = true;
        return NULL;
    }
    const size_t bytes = (count * size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    struct arena_chunk *chunk = aligned_alloc(ALIGNMENT, bytes + ALIGNMENT);
    if (!chunk) {
        a->failed = true;
        return NULL;
    }
    memset(chunk, 0, bytes + ALIGNMENT);
    chunk->next = a->chunks;
    a->chunks = chunk;
    return (char *)chunk + ALIGNMENT;
}

void arena_free(arena *a)
{
    while (a->chunks) {
        struct arena_chunk *next = a->chunks->next;
        free(a->chunks);
        a->chunks = next;
    }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Many small arrays that live and die together. The tools build large object graphs, and no one of
 * their parts outlives the whole.
 */
#ifndef ARENA_H
#define ARENA_H

#include <stdbool.h>
#include <stddef.h>

typedef struct arena {
    struct arena_chunk *chunks;
    bool failed; /* an allocation was refused since arena_init */
} arena;

void arena_init(arena *a);

/* `count` elements of `size` bytes, zeroed, aligned to 64; NULL where memory is out or the product
 * does not fit. Zero elements give a valid pointer. */
void *arena_take(arena *a, size_t count, size_t size);

void arena_free(arena *a);

#define ARENA_TAKE(a, type, count) ((type *)arena_take((a), (count), sizeof(type)))

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "failing_memory.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

static atomic_ulong calls; /* threads of the work share them */
static atomic_long alive;
static unsigned long fail_at; /* 0: none fails */
static bool later_too;
static bool counting;

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *memory, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
void __real_free(void *memory);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *memory, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
void __wrap_free(void *memory);

static bool refuse(void)
{
    if (!counting)
        return false;
    const unsigned long call = atomic_fetch_add(&calls, 1) + 1;
    return call == fail_at || (later_too && fail_at != 0 && call > fail_at);
}

static void *counted(void *memory)
{
    if (counting && memory != NULL)
        atomic_fetch_add(&alive, 1);
    return memory;
}

void *__wrap_malloc(size_t bytes)
{
    return refuse() ? NULL : counted(__real_malloc(bytes));
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    return refuse() ? NULL : counted(__real_calloc(count, bytes));
}

void *__wrap_realloc(void *memory, size_t bytes)
{
    if (refuse())
        return NULL;
    return memory == NULL ? counted(__real_realloc(memory, bytes)) : __real_realloc(memory, bytes);
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    return refuse() ? NULL : counted(__real_aligned_alloc(alignment, bytes));
}

void __wrap_free(void *memory)
{
    if (counting && memory != NULL)
        atomic_fetch_sub(&alive, 1);
    __real_free(memory);
}

void must(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "allocation %lu%s: %s\n", fail_at, later_too ? " and all later ones" : "", what);
    exit(1);
}

bool memory_fails(void)
{
    return fail_at != 0;
}

void memory_count(bool on)
{
    counting = on;
}

static bool once(memory_work work, const void *input, unsigned long n, bool later)
{
    atomic_store(&calls, 0);
    atomic_store(&alive, 0);
    fail_at = n;
    later_too = later;
    counting = true;
    const bool good = work(input);
    counting = false;
    must(atomic_load(&alive) == 0, "memory is left behind");
    return good;
}

unsigned long memory_fail_in_turn(memory_work work, const void *input, memory_lack lack, unsigned long all,
                                  unsigned long spread)
{
    if (!once(work, input, 0, false))
        return 0;
    const unsigned long sites = atomic_load(&calls);
    const unsigned long step = sites > all ? (sites - all) / spread + 1 : 1;
    for (unsigned long n = 1; n <= sites; n += n < all ? 1 : step) {
        const bool borne = once(work, input, n, false);
        must(!borne || lack == LACK_BORNE, "all went well");
        must(!once(work, input, n, true), "all went well");
    }
    return sites;
}

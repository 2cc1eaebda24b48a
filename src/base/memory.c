/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory from the caller's allocator. The allocator promises 16-byte alignment and the kernels want
 * 64, so every block is a little larger than asked for.
 */
#if defined(__linux__) && !defined(IVITI_FREESTANDING)
#define _DEFAULT_SOURCE
#include <sys/mman.h>
#endif

#include "base/memory.h"

#include <stdlib.h>

#include "base/checked.h"

#ifdef IVITI_FREESTANDING
/* There is no memory but the caller's. */
static const iviti_allocator default_allocator;
#else
#if defined(__linux__) && defined(MADV_HUGEPAGE)
#define HUGE_PAGE ((size_t)2 << 20)

/* Filling a large model page by page costs more than reading it from the disk's cache, so large
 * blocks ask for huge pages: for those that lie wholly inside, so that no more memory is touched.
 */
static void *default_allocate(void *user, size_t bytes)
{
    size_t rounded;
    (void)user;
    if (bytes < 2 * HUGE_PAGE || !iviti_align_size(bytes, HUGE_PAGE, &rounded))
        return malloc(bytes);
    void *const memory = aligned_alloc(HUGE_PAGE, rounded);
    if (memory != NULL)
        (void)madvise(memory, bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
    return memory;
}
#else
static void *default_allocate(void *user, size_t bytes)
{
    (void)user;
    return malloc(bytes);
}
#endif

static void default_release(void *user, void *memory)
{
    (void)user;
    free(memory);
}

static const iviti_allocator default_allocator = { default_allocate, default_release, NULL };
#endif

bool iviti_allocator_resolve(const iviti_allocator *given, iviti_allocator *resolved)
{
    if (given == NULL || (given->allocate == NULL && given->release == NULL))
        given = &default_allocator;
    if (given->allocate == NULL || given->release == NULL)
        return false;
    *resolved = *given;
    return true;
}

void *iviti_allocate(const iviti_allocator *allocator, size_t bytes, void **block)
{
    size_t with_slack;
    if (!iviti_add_size(bytes, IVITI_ALIGNMENT - 1, &with_slack))
        return NULL;
    unsigned char *const memory = allocator->allocate(allocator->user, with_slack);
    if (memory == NULL)
        return NULL;
    *block = memory;
    const size_t past = (size_t)((uintptr_t)memory % IVITI_ALIGNMENT);
    return past == 0 ? memory : memory + (IVITI_ALIGNMENT - past);
}

void iviti_release(const iviti_allocator *allocator, void *block)
{
    if (block != NULL)
        allocator->release(allocator->user, block);
}

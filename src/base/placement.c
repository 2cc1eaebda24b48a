/* SPDX-License-Identifier: Apache-2.0
 *
 * A thread is moved by forbidding it the taken processors for a moment. Nothing is pinned: programs
 * that place their threads themselves, and the scheduler, keep the last word.
 */
#ifdef __linux__
#define _GNU_SOURCE /* sched_getcpu, CPU_SET */
#include <sched.h>
#endif
#include "base/placement.h"

#include <stdbool.h>
#include <stddef.h>

#ifndef IVITI_FREESTANDING

#if defined(__linux__) && CPU_SETSIZE >= IVITI_PLACEMENT_PROCESSORS

/* Another member may move to the same processor at the same time. */
#define ATTEMPTS 4

static bool take(iviti_placement *placement, int processor)
{
    if (processor < 0 || processor >= IVITI_PLACEMENT_PROCESSORS)
        return true;
    const unsigned bit = 1u << (processor % 32);
    return !(atomic_fetch_or(&placement->taken[processor / 32], bit) & bit);
}

static bool is_taken(iviti_placement *placement, int processor)
{
    return atomic_load(&placement->taken[processor / 32]) >> (processor % 32) & 1;
}

/* Moves this thread to a processor that is not taken and takes it. False where another was faster. */
static bool move(iviti_placement *placement)
{
    cpu_set_t allowed, others;

    if (sched_getaffinity(0, sizeof allowed, &allowed))
        return true;
    others = allowed;
    for (int i = 0; i < IVITI_PLACEMENT_PROCESSORS; i++) {
        if (is_taken(placement, i))
            CPU_CLR((size_t)i, &others);
    }
    if (CPU_COUNT(&others) == 0 || sched_setaffinity(0, sizeof others, &others))
        return true;
    const bool mine = take(placement, sched_getcpu());
    (void)sched_setaffinity(0, sizeof allowed, &allowed);
    return mine;
}

void iviti_placement_begin(iviti_placement *placement)
{
    for (size_t i = 0; i < IVITI_PLACEMENT_PROCESSORS / 32; i++)
        atomic_store_explicit(&placement->taken[i], 0, memory_order_relaxed);
    (void)take(placement, sched_getcpu());
}

void iviti_placement_join(iviti_placement *placement)
{
    if (take(placement, sched_getcpu()))
        return;
    for (int i = 0; i < ATTEMPTS && !move(placement); i++)
        continue;
}

#else

void iviti_placement_begin(iviti_placement *placement)
{
    (void)placement;
}

void iviti_placement_join(iviti_placement *placement)
{
    (void)placement;
}

#endif

#endif

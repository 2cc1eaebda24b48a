/* SPDX-License-Identifier: Apache-2.0
 *
 * A thread is moved by forbidding it the taken processors for a moment. Nothing is pinned: programs
 * that place their threads themselves, and the scheduler, keep the last word.
 */
#ifdef __linux__
#define _GNU_SOURCE /* sched_getcpu, CPU_SET */
#include <sched.h>
#endif
#include "base/spread.h"

#include <stdbool.h>
#include <stddef.h>

#ifndef IVITI_FREESTANDING

#if defined(__linux__) && CPU_SETSIZE >= IVITI_SPREAD_PROCESSORS

/* Another member may move to the same processor at the same time. */
#define ATTEMPTS 4

static bool take(iviti_spread *spread, int processor)
{
    if (processor < 0 || processor >= IVITI_SPREAD_PROCESSORS)
        return true;
    const unsigned bit = 1u << (processor % 32);
    return !(atomic_fetch_or(&spread->taken[processor / 32], bit) & bit);
}

static bool is_taken(iviti_spread *spread, int processor)
{
    return atomic_load(&spread->taken[processor / 32]) >> (processor % 32) & 1;
}

/* Moves this thread to a processor that is not taken and takes it. False where another was faster. */
static bool move(iviti_spread *spread)
{
    cpu_set_t allowed, others;

    if (sched_getaffinity(0, sizeof allowed, &allowed))
        return true;
    others = allowed;
    for (int i = 0; i < IVITI_SPREAD_PROCESSORS; i++) {
        if (is_taken(spread, i))
            CPU_CLR((size_t)i, &others);
    }
    if (CPU_COUNT(&others) == 0 || sched_setaffinity(0, sizeof others, &others))
        return true;
    const bool mine = take(spread, sched_getcpu());
    (void)sched_setaffinity(0, sizeof allowed, &allowed);
    return mine;
}

void iviti_spread_begin(iviti_spread *spread)
{
    for (size_t i = 0; i < IVITI_SPREAD_PROCESSORS / 32; i++)
        atomic_store_explicit(&spread->taken[i], 0, memory_order_relaxed);
    (void)take(spread, sched_getcpu());
}

void iviti_spread_join(iviti_spread *spread)
{
    if (take(spread, sched_getcpu()))
        return;
    for (int i = 0; i < ATTEMPTS && !move(spread); i++)
        continue;
}

#else

void iviti_spread_begin(iviti_spread *spread)
{
    (void)spread;
}

void iviti_spread_join(iviti_spread *spread)
{
    (void)spread;
}

#endif

#endif

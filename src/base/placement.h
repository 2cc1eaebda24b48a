/* SPDX-License-Identifier: Apache-2.0
 *
 * Keeps threads that work together on processors of their own. A scheduler may wake a thread on the
 * processor of the one that woke it although another is free: Linux does so in virtual machines
 * whose host has put the free processor to sleep. Two threads that meet at barriers would then take
 * longer than one alone, until the scheduler notices, which it may not before the run is over.
 */
#ifndef IVITI_PLACEMENT_H
#define IVITI_PLACEMENT_H

#ifndef IVITI_FREESTANDING
#include <stdatomic.h>

#define IVITI_PLACEMENT_PROCESSORS 1024 /* those beyond are left to the scheduler */

/* Where the members of one group run. All zero: nowhere yet. */
typedef struct iviti_placement {
    atomic_uint taken[IVITI_PLACEMENT_PROCESSORS / 32];
} iviti_placement;

/* By the thread that is about to wake the others: it alone has a processor. */
void iviti_placement_begin(iviti_placement *placement);

/* By every other thread when it wakes: takes the processor it is on. If that is taken it moves, within
 * the processors that it may use, to one that is not; if there is none, or the system has no such
 * call, it stays. The set of processors that the thread may use is afterwards what it was. */
void iviti_placement_join(iviti_placement *placement);
#endif

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Keeps threads that work together on processors of their own. A scheduler may wake a thread on the
 * processor of the one that woke it although another is free: Linux does so in virtual machines
 * whose host has put the free processor to sleep. Two threads that meet at barriers would then take
 * longer than one alone, until the scheduler notices, which it may not before the run is over.
 */
#ifndef IVITI_SPREAD_H
#define IVITI_SPREAD_H

#ifndef IVITI_FREESTANDING
#include <stdatomic.h>

#define IVITI_SPREAD_PROCESSORS 1024 /* those beyond are left to the scheduler */

/* Where the members of one group run. All zero: nowhere yet. */
typedef struct iviti_spread {
    atomic_uint taken[IVITI_SPREAD_PROCESSORS / 32];
} iviti_spread;

/* By the thread that is about to wake the others: it alone has a processor. */
void iviti_spread_begin(iviti_spread *spread);

/* By every other thread when it wakes: takes the processor it is on. If that is taken it moves, within
 * the processors that it may use, to one that is not; if there is none, or the system has no such
 * call, it stays. The set of processors that the thread may use is afterwards what it was. */
void iviti_spread_join(iviti_spread *spread);
#endif

#endif

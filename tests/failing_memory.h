/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory that is not there: the n-th allocation of a piece of work fails, for every n. Programs that use this
 * are linked with the C library's allocating functions wrapped (CMakeLists.txt), so it counts what our code
 * asks for, not what the libraries beneath it do.
 */
#ifndef FAILING_MEMORY_H
#define FAILING_MEMORY_H

#include <stdbool.h>

/* Says what broke, at which allocation, and ends the program, unless the condition holds. */
void must(bool condition, const char *what);

/* Whether an allocation fails in the present piece of work. */
bool memory_fails(void);

/* Files of the test's own, in the midst of the work, are not counted. */
void memory_count(bool counting);

/* True: it went well; false: it was refused, in the way that it promises, which it checks itself. */
typedef bool (*memory_work)(const void *input);

typedef enum memory_lack {
    LACK_REFUSED, /* a single allocation that fails must be answered by a refusal */
    LACK_BORNE    /* or by the result without it, such as that of one thread fewer */
} memory_lack;

/* The work with each of the first `all` allocations failing, and with about `spread` of the others; alone and
 * with all later ones. Nothing may stay allocated. How many allocations it has, or 0 where it is refused with
 * all memory there. */
unsigned long memory_fail_in_turn(memory_work work, const void *input, memory_lack lack, unsigned long all,
                                  unsigned long spread);

#endif

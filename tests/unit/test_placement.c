/* SPDX-License-Identifier: Apache-2.0
 *
 * Threads that begin on one processor end on several, and are allowed afterwards what they were before.
 */
#ifdef __linux__
#define _GNU_SOURCE
#include <sched.h>
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/placement.h"

#ifdef __linux__

#define MEMBERS 3

typedef struct member {
    iviti_placement *placement;
    const cpu_set_t *allowed;
    int first; /* the processor on which it begins */
    bool began, kept;
} member;

static unsigned processors(const iviti_placement *placement)
{
    unsigned count = 0;

    for (size_t i = 0; i < IVITI_PLACEMENT_PROCESSORS / 32; i++) {
        for (unsigned bits = atomic_load(&placement->taken[i]); bits; bits &= bits - 1)
            count++;
    }
    return count;
}

static int first_of(const cpu_set_t *set)
{
    int i = 0;

    while (i < CPU_SETSIZE - 1 && !CPU_ISSET((size_t)i, set))
        i++;
    return i;
}

/* Goes to the processor where everybody begins, may then leave it, and joins. */
static void *join(void *argument)
{
    member *const m = argument;
    cpu_set_t one, after;

    CPU_ZERO(&one);
    CPU_SET((size_t)m->first, &one);
    m->began = sched_setaffinity(0, sizeof one, &one) == 0 && sched_getcpu() == m->first &&
               sched_setaffinity(0, sizeof *m->allowed, m->allowed) == 0;
    iviti_placement_join(m->placement);
    m->kept = sched_getaffinity(0, sizeof after, &after) == 0 && CPU_EQUAL(&after, m->allowed);
    return NULL;
}

/* How many processors are taken when 1 + MEMBERS threads began on the first of those allowed. */
static unsigned placed_over(const cpu_set_t *allowed)
{
    static iviti_placement placement;
    const int first = first_of(allowed);
    cpu_set_t one;

    CPU_ZERO(&one);
    CPU_SET((size_t)first, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    memset(&placement, 0xff, sizeof placement); /* of a run before */
    iviti_placement_begin(&placement);
    assert_int_equal(processors(&placement), 1);
    for (int i = 0; i < MEMBERS; i++) {
        member m = { .placement = &placement, .allowed = allowed, .first = first };
        pthread_t handle;
        assert_int_equal(pthread_create(&handle, NULL, join, &m), 0);
        assert_int_equal(pthread_join(handle, NULL), 0);
        assert_true(m.began);
        assert_true(m.kept);
    }
    return processors(&placement);
}

static void members_leave_a_processor_that_is_taken(void **state)
{
    cpu_set_t all;
    (void)state;

    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    const unsigned available = (unsigned)CPU_COUNT(&all);
    if (available == 1)
        print_message("one processor: nobody can be seen to move\n");
    assert_int_equal(placed_over(&all), available < 1 + MEMBERS ? available : 1 + MEMBERS);
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
}

static void members_stay_where_there_is_one_processor(void **state)
{
    cpu_set_t all, one;
    (void)state;

    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    CPU_ZERO(&one);
    CPU_SET((size_t)first_of(&all), &one);
    assert_int_equal(placed_over(&one), 1);
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_leave_a_processor_that_is_taken),
        cmocka_unit_test(members_stay_where_there_is_one_processor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
    puts("skipped: threads are moved under Linux only");
    return 0;
}

#endif

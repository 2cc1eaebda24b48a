/* SPDX-License-Identifier: Apache-2.0
 *
 * Rounds of turns on the monotonic clock.
 */
#define _POSIX_C_SOURCE 200809L /* nanosleep */

#include "bench/timing.h"

#include <stdlib.h>
#include <time.h>

#include "common/clock.h"

#define WARM_UP_RUNS 2

static int compare_seconds(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;

    return (x > y) - (x < y);
}

double timing_median(double *seconds, size_t count)
{
    qsort(seconds, count, sizeof(*seconds), compare_seconds);
    return (seconds[(count - 1) / 2] + seconds[count / 2]) / 2;
}

static void rest(double seconds)
{
    struct timespec left = { (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) };

    if (seconds > 0) {
        (void)nanosleep(&left, NULL); /* cut short by a signal: a shorter rest */
    }
}

/* One turn: its time, or a negative number where the run failed. */
static double turn(const contestant *c, bool warm_up, double pause)
{
    rest(pause);
    if (warm_up && !c->run(c->context)) {
        return -1;
    }
    const double before = clock_seconds();
    const bool good = c->run(c->context);
    const double after = clock_seconds();
    return good ? after - before : -1;
}

static bool warm_up(const contestant *all, size_t count)
{
    for (size_t c = 0; c < count; c++) {
        for (uint32_t i = 0; i < WARM_UP_RUNS; i++) {
            if (!all[c].run(all[c].context)) {
                return false;
            }
        }
    }
    return true;
}

uint32_t timing_rounds(contestant *all, size_t count, const timing_plan *plan, progress *p)
{
    uint32_t rounds = 0;

    if (!warm_up(all, count)) {
        return 0;
    }
    const double started = clock_seconds();
    while (rounds < plan->rounds &&
           (rounds < plan->least || clock_seconds() - started < plan->patience)) {
        for (size_t c = 0; c < count; c++) {
            all[c].seconds[rounds] = turn(&all[c], count > 1, plan->rest);
            if (all[c].seconds[rounds] < 0) {
                return 0;
            }
        }
        progress_set(p, ++rounds);
    }
    for (size_t c = 0; c < count && rounds > 0; c++) {
        all[c].median = timing_median(all[c].seconds, rounds);
        all[c].fastest = all[c].seconds[0];
    }
    return rounds;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The monotonic clock: a wall clock that is set while a run lasts must not spoil a measurement.
 */
#define _POSIX_C_SOURCE 200809L

#include "common/clock.h"

#include <time.h>

double clock_seconds(void)
{
    struct timespec now;

    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0) {
        return 0.0;
    }
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

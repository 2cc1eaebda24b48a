/* SPDX-License-Identifier: Apache-2.0
 *
 * Times of one piece of work, or of several that compete. Competitors take turns in every round, so
 * that a machine that slows down or is shared slows all of them, and medians are compared.
 */
#ifndef TIMING_H
#define TIMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/progress.h"

typedef struct contestant {
    bool (*run)(void *context); /* false: it failed, and the timing ends */
    void *context;
    double *seconds; /* (rounds) of each run; sorted in the end */
    double median;
    double fastest;
} contestant;

typedef struct timing_plan {
    uint32_t rounds;
    uint32_t least;  /* rounds, however long they take */
    double patience; /* seconds after which no round beyond the least begins */
    double rest;     /* seconds before each turn, for the others' threads to fall asleep */
} timing_plan;

/* Every contestant runs twice untimed. Then, in each round, each in its turn: one run untimed, to
 * bring its own data back into the caches, where there are several contestants; one timed. Fills
 * medians and minima; returns the rounds, or 0 where a run failed. */
uint32_t timing_rounds(contestant *all, size_t count, const timing_plan *plan, progress *p);

/* Sorts and returns the middle; count is at least 1. */
double timing_median(double *seconds, size_t count);

#endif

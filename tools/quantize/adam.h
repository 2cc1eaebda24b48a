/* SPDX-License-Identifier: Apache-2.0
 *
 * Adam (Kingma and Ba, 2015), without weight decay, with a rate that falls to zero as a cosine.
 */
#ifndef ADAM_H
#define ADAM_H

#include <stdbool.h>
#include <stddef.h>

#include "common/arena.h"

typedef struct adam {
    size_t count;
    float *mean, *square; /* (count) running averages of the gradient and of its square */
    unsigned step, steps; /* done, and in all */
} adam;

/* False where memory runs out. */
bool adam_init(arena *memory, size_t count, unsigned steps, adam *a);

/* The cosine's value at the step to come: from 1 to 0. */
double adam_cosine(const adam *a);

/* One step of values [first, first + count) at `rate`, before the cosine, times unit (count) if that is not
 * NULL. The arrays hold all values. */
void adam_move(adam *a, size_t first, size_t count, double rate, const float *unit,
               const float *gradient, float *values);

/* All values of the step are moved. */
void adam_next(adam *a);

#endif

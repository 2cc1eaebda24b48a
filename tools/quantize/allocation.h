/* SPDX-License-Identifier: Apache-2.0
 *
 * One choice for each of several items, such that the sum of their costs is least and the sum of their
 * bytes within a budget. Exact: dynamic programming over the bytes, in units of their greatest common
 * divisor.
 */
#ifndef ALLOCATION_H
#define ALLOCATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct allocation_choice {
    double cost;
    uint64_t bytes;
} allocation_choice;

/* Of choices (items, count), count at most 256: picked (items). Of equal sums the lower choices of the
 * first items. Where the budget has more than some hundred thousand units, sizes are rounded up to
 * coarser ones: the result keeps the budget, and is the best up to that rounding. False where nothing
 * fits, or memory runs out. */
bool allocation_best(const allocation_choice *choices, size_t items, size_t count, uint64_t budget,
                     uint8_t *picked);

/* The least sum of bytes. */
uint64_t allocation_least(const allocation_choice *choices, size_t items, size_t count);

/* All items take the same choice, the largest that fits, of choices in rising order of bytes; then one
 * after the other, in `order` (items), takes the next as long as it fits. False where nothing fits. */
bool allocation_in_order(const allocation_choice *choices, size_t items, size_t count,
                         uint64_t budget, const size_t *order, uint8_t *picked);

#endif

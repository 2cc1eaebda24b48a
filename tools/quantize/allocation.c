/* SPDX-License-Identifier: Apache-2.0 */
#include "quantize/allocation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_UNITS 200000

static uint64_t least_of(const allocation_choice *c, size_t count)
{
    uint64_t least = c[0].bytes;
    for (size_t i = 1; i < count; i++)
        least = c[i].bytes < least ? c[i].bytes : least;
    return least;
}

uint64_t allocation_least(const allocation_choice *choices, size_t items, size_t count)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < items; i++)
        sum += least_of(choices + i * count, count);
    return sum;
}

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
    while (b) {
        const uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* What all choices need beyond the least of their item is a multiple of this. */
static uint64_t unit_of(const allocation_choice *choices, size_t items, size_t count,
                        uint64_t budget)
{
    uint64_t unit = 0;
    for (size_t i = 0; i < items; i++) {
        const uint64_t least = least_of(choices + i * count, count);
        for (size_t c = 0; c < count; c++)
            unit = common_divisor(choices[i * count + c].bytes - least, unit);
    }
    const uint64_t coarse = budget / MOST_UNITS + 1;
    return unit > coarse ? unit : unit == 0 || budget / unit > MOST_UNITS ? coarse : unit;
}

/* best[u], of the items done so far, becomes that of one more; pick[u] is its choice. */
static void add_item(const allocation_choice *choices, size_t count, uint64_t unit, size_t units,
                     const double *best, double *next, uint8_t *pick)
{
    const uint64_t least = least_of(choices, count);
    for (size_t u = 0; u <= units; u++)
        next[u] = INFINITY;
    for (size_t c = 0; c < count; c++) {
        const uint64_t need = (choices[c].bytes - least + unit - 1) / unit;
        for (size_t u = (size_t)need; need <= units && u <= units; u++) {
            const double cost = best[u - need] + choices[c].cost;
            if (cost < next[u]) {
                next[u] = cost;
                pick[u] = (uint8_t)c;
            }
        }
    }
}

bool allocation_best(const allocation_choice *choices, size_t items, size_t count, uint64_t budget,
                     uint8_t *picked)
{
    const uint64_t least = allocation_least(choices, items, count);
    if (least > budget)
        return false;
    const uint64_t unit = unit_of(choices, items, count, budget - least);
    const size_t units = (size_t)((budget - least) / unit);
    double *best = calloc(units + 1, sizeof *best);
    double *next = calloc(units + 1, sizeof *next);
    uint8_t *pick = calloc(items, units + 1);
    const bool room = best && next && pick;

    for (size_t i = 0; i < items && room; i++) {
        add_item(choices + i * count, count, unit, units, best, next, pick + i * (units + 1));
        memcpy(best, next, (units + 1) * sizeof *best);
    }
    size_t left = units;
    for (size_t i = items; i-- > 0 && room;) {
        const allocation_choice *const of = choices + i * count;
        picked[i] = pick[i * (units + 1) + left];
        left -= (size_t)((of[picked[i]].bytes - least_of(of, count) + unit - 1) / unit);
    }
    free(best);
    free(next);
    free(pick);
    return room;
}

bool allocation_in_order(const allocation_choice *choices, size_t items, size_t count,
                         uint64_t budget, const size_t *order, uint8_t *picked)
{
    uint64_t used = 0;
    size_t base = count;
    while (base > 0) {
        base--;
        used = 0;
        for (size_t i = 0; i < items; i++)
            used += choices[i * count + base].bytes;
        if (used <= budget)
            break;
        if (base == 0)
            return false;
    }
    for (size_t i = 0; i < items; i++)
        picked[i] = (uint8_t)base;
    for (size_t i = 0; i < items && base + 1 < count; i++) {
        const allocation_choice *const of = choices + order[i] * count;
        const uint64_t more = of[base + 1].bytes - of[base].bytes;
        if (used + more > budget)
            break;
        used += more;
        picked[order[i]]++;
    }
    return true;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The allocation of bytes against all allocations there are.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "quantize/allocation.h"

#define ITEMS   5
#define CHOICES 4
#define ALL     1024 /* CHOICES^ITEMS */

static uint32_t draw(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*state >> 33);
}

/* Sizes that rise with the choice, in multiples of `grain`; costs that fall, mostly. */
static void draw_choices(uint64_t *state, uint64_t grain, allocation_choice *c)
{
    for (int i = 0; i < ITEMS; i++) {
        uint64_t bytes = grain * (1 + draw(state) % 50);
        for (int k = 0; k < CHOICES; k++) {
            c[i * CHOICES + k] = (allocation_choice){ draw(state) % 1000 * pow(0.3, k), bytes };
            bytes += grain * (1 + draw(state) % 90);
        }
    }
}

static void sum_of(const allocation_choice *c, const uint8_t *picked, double *cost, uint64_t *bytes)
{
    *cost = 0;
    *bytes = 0;
    for (int i = 0; i < ITEMS; i++) {
        *cost += c[i * CHOICES + picked[i]].cost;
        *bytes += c[i * CHOICES + picked[i]].bytes;
    }
}

static double exhaustive(const allocation_choice *c, uint64_t budget)
{
    double least = INFINITY;
    for (int all = 0; all < ALL; all++) {
        uint8_t picked[ITEMS];
        double cost;
        uint64_t bytes;
        for (int i = 0, rest = all; i < ITEMS; i++, rest /= CHOICES)
            picked[i] = (uint8_t)(rest % CHOICES);
        sum_of(c, picked, &cost, &bytes);
        if (bytes <= budget && cost < least)
            least = cost;
    }
    return least;
}

static void test_best(void **state)
{
    (void)state;
    uint64_t numbers = 3;
    for (int round = 0; round < 60; round++) {
        allocation_choice c[ITEMS * CHOICES];
        uint8_t picked[ITEMS], again[ITEMS];
        draw_choices(&numbers, round % 2 ? 64 : 4608, c);
        const uint64_t least = allocation_least(c, ITEMS, CHOICES);
        const uint64_t budget = least + draw(&numbers) % (2 * least);
        double cost;
        uint64_t bytes;
        assert_true(allocation_best(c, ITEMS, CHOICES, budget, picked));
        sum_of(c, picked, &cost, &bytes);
        assert_true(bytes <= budget);
        assert_true(fabs(cost - exhaustive(c, budget)) < 1e-9);
        assert_true(allocation_best(c, ITEMS, CHOICES, budget, again));
        assert_memory_equal(picked, again, sizeof picked);

        assert_false(allocation_best(c, ITEMS, CHOICES, least - 1, picked));
        assert_true(allocation_best(c, ITEMS, CHOICES, least, picked));
        sum_of(c, picked, &cost, &bytes);
        assert_int_equal(bytes, least);
    }
}

/* Sizes without a common divisor and a budget of many units: rounded, never beyond the budget, and near
 * to the best. */
static void test_large(void **state)
{
    (void)state;
    uint64_t numbers = 9;
    for (int round = 0; round < 8; round++) {
        allocation_choice c[ITEMS * CHOICES];
        uint8_t picked[ITEMS];
        double cost;
        uint64_t bytes;
        draw_choices(&numbers, 1000003, c);
        for (int i = 0; i < ITEMS * CHOICES; i++)
            c[i].bytes += draw(&numbers) % 64;
        const uint64_t budget = allocation_least(c, ITEMS, CHOICES) * 2;
        assert_true(allocation_best(c, ITEMS, CHOICES, budget, picked));
        sum_of(c, picked, &cost, &bytes);
        assert_true(bytes <= budget);
        assert_true(cost <= exhaustive(c, budget - budget / 10000) + 1e-9);
    }
}

static void test_equal_costs(void **state)
{
    (void)state;
    const allocation_choice c[2 * CHOICES] = { { 0, 3 }, { 0, 4 }, { 0, 6 }, { 0, 8 },
                                               { 0, 3 }, { 0, 4 }, { 0, 6 }, { 0, 8 } };
    uint8_t picked[2] = { 9, 9 };
    assert_true(allocation_best(c, 2, CHOICES, 100, picked));
    assert_int_equal(picked[0], 0);
    assert_int_equal(picked[1], 0);
}

static void test_in_order(void **state)
{
    (void)state;
    const allocation_choice c[3 * CHOICES] = { { 9, 30 }, { 5, 40 }, { 1, 60 }, { 0, 80 },
                                               { 9, 3 },  { 5, 4 },  { 1, 6 },  { 0, 8 },
                                               { 9, 3 },  { 5, 4 },  { 1, 6 },  { 0, 8 } };
    const size_t order[] = { 1, 2, 0 };
    uint8_t picked[3];
    assert_true(allocation_in_order(c, 3, CHOICES, 51, order, picked)); /* 48 at the second width */
    const uint8_t wanted[] = { 1, 2, 1 };
    assert_memory_equal(picked, wanted, 3);
    assert_true(allocation_in_order(c, 3, CHOICES, 36, order, picked));
    const uint8_t lowest[] = { 0, 0, 0 };
    assert_memory_equal(picked, lowest, 3);
    assert_false(allocation_in_order(c, 3, CHOICES, 35, order, picked));
    assert_true(allocation_in_order(c, 3, CHOICES, 1000, order, picked));
    const uint8_t highest[] = { 3, 3, 3 };
    assert_memory_equal(picked, highest, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_best),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_equal_costs),
        cmocka_unit_test(test_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

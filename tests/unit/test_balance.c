/* SPDX-License-Identifier: Apache-2.0
 *
 * Scales between the channels' own and one for all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "quantize/balance.h"

#define WIDTH   24
#define OUTPUTS 40
#define ROWS    600

static double noise(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(*state >> 40) / (double)(1 << 23) - 1;
}

/* Channels whose ranges lie a factor of forty apart, and weights of one size. */
static code make(arena *memory, float *x, float *weight)
{
    uint64_t state = 77;
    code c = code_new(memory, WIDTH);
    assert_false(memory->failed);
    for (size_t k = 0; k < WIDTH; k++) {
        const double reach = pow(40, (double)k / (WIDTH - 1));
        for (size_t i = 0; i < ROWS; i++)
            x[i * WIDTH + k] = (float)(reach * noise(&state) + 0.5);
        code_set_asymmetric(&c, k, (range){ 0.5 - reach, 0.5 + reach });
    }
    for (size_t i = 0; i < OUTPUTS * WIDTH; i++)
        weight[i] = (float)noise(&state);
    code_observe(&c, x, ROWS);
    return c;
}

static void ratio_of(const code *c, const double *factor, double *ratio)
{
    double least = INFINITY, most = 0;
    for (size_t k = 0; k < WIDTH; k++) {
        least = fmin(least, c->scale[k] * factor[k]);
        most = fmax(most, c->scale[k] * factor[k]);
    }
    *ratio = most / least;
}

static void test_bits(void **state)
{
    (void)state;
    float x[ROWS * WIDTH], weight[OUTPUTS * WIDTH];
    double factor[WIDTH], few, many;
    arena memory;
    arena_init(&memory);
    const code c = make(&memory, x, weight);
    const code_reader four = { weight, OUTPUTS, 4, true }, eight = { weight, OUTPUTS, 8, true };
    assert_true(balance_factors(&c, x, ROWS, &four, factor));
    for (size_t k = 0; k < WIDTH; k++)
        assert_true(factor[k] >= 1);
    ratio_of(&c, factor, &few);
    assert_true(balance_factors(&c, x, ROWS, &eight, factor));
    ratio_of(&c, factor, &many);
    assert_true(few <= many && few < 41 && many > 1);
    arena_free(&memory);
}

/* Nothing that was within reach is clipped, and the centre of a range stays where it was. */
static void test_scales(void **state)
{
    (void)state;
    float x[ROWS * WIDTH], weight[OUTPUTS * WIDTH], q[ROWS * WIDTH];
    double factor[WIDTH], centre[WIDTH];
    arena memory;
    arena_init(&memory);
    code c = make(&memory, x, weight);
    for (size_t k = 0; k < WIDTH; k++) {
        factor[k] = 1 + 0.3 * (double)k;
        centre[k] = c.offset[k] - c.scale[k] / 2;
    }
    balance_scales(&c, factor);
    code_integers(&c, x, ROWS, q);
    for (size_t k = 0; k < WIDTH; k++)
        assert_true(fabs(c.offset[k] - c.scale[k] / 2 - centre[k]) < 1e-9);
    for (size_t i = 0; i < ROWS * WIDTH; i++) {
        const size_t k = i % WIDTH;
        const double real = c.offset[k] + c.scale[k] * q[i];
        assert_true(fabs(real - x[i]) <= 0.5001 * c.scale[k]);
    }
    arena_free(&memory);
}

/* Inputs that never move and weights that are zero have no preference, and do no harm. */
static void test_nothing(void **state)
{
    (void)state;
    float x[2 * WIDTH] = { 0 }, weight[OUTPUTS * WIDTH] = { 0 };
    double factor[WIDTH];
    arena memory;
    arena_init(&memory);
    const code c = code_new(&memory, WIDTH);
    const code_reader reader = { weight, OUTPUTS, 3, false };
    assert_true(balance_factors(&c, x, 2, &reader, factor));
    for (size_t k = 0; k < WIDTH; k++)
        assert_true(fabs(factor[k] - 1) < 1e-12);
    arena_free(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_scales),
        cmocka_unit_test(test_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

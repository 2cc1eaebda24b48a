/* SPDX-License-Identifier: Apache-2.0
 *
 * Compensation of weights against exhaustive search, plain rounding and the definition of its error.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quantize/compensate.h"
#include "quantize/dyadic.h"
#include "quantize/layers.h"
#include "quantize/quantizer.h"

#define WIDTH 5
#define ROWS  400

/* Numbers that are the same everywhere. */
static double noise(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(*state >> 40) / (double)(1 << 23) - 1;
}

/* Inputs that go together in part, in channels of different width, and their code. */
static code inputs(arena *memory, uint64_t seed, float *x, size_t rows, size_t width, double step)
{
    code c = code_new(memory, width);
    for (size_t i = 0; i < rows; i++) {
        const double shared = noise(&seed);
        for (size_t k = 0; k < width; k++)
            x[i * width + k] = (float)((1 + (double)k) * (shared + 0.7 * noise(&seed)) + 0.3);
    }
    for (size_t k = 0; k < width; k++) {
        c.scale[k] = step * (1 + (double)k);
        c.offset[k] = 0.1;
    }
    code_observe(&c, x, rows);
    return c;
}

/* (t - s q) H (t - s q)^T with H = L L^T. */
static double error_of(const compensation *c, const double *target, double scale, const int8_t *q)
{
    double sum = 0;
    for (size_t j = 0; j < c->width; j++) {
        double part = 0;
        for (size_t i = j; i < c->width; i++)
            part += (target[i] - scale * q[i]) * c->factor[i * c->width + j];
        sum += part * part;
    }
    return sum;
}

static void nearest(const double *target, double scale, int limit, size_t width, int8_t *q)
{
    for (size_t k = 0; k < width; k++)
        q[k] = (int8_t)fmax(-limit, fmin(limit, nearbyint(target[k] / scale)));
}

/* The least error of all (2 limit + 1)^WIDTH rows of integers. */
static double exhaustive(const compensation *c, const double *target, double scale, int limit)
{
    int8_t q[WIDTH];
    double least = INFINITY;
    memset(q, -limit, sizeof q);
    for (;;) {
        least = fmin(least, error_of(c, target, scale, q));
        size_t k = 0;
        while (k < WIDTH && q[k] == limit)
            q[k++] = (int8_t)-limit;
        if (k == WIDTH)
            return least;
        q[k]++;
    }
}

static void test_against_exhaustive(void **state)
{
    (void)state;
    double nearest_sum = 0, compensated_sum = 0, best_sum = 0;
    for (uint64_t seed = 1; seed <= 24; seed++) {
        arena memory;
        compensation c;
        float x[ROWS * WIDTH], weight[WIDTH];
        double target[WIDTH], scratch[WIDTH];
        int8_t q[WIDTH], plain[WIDTH];
        uint64_t numbers = seed * 77;
        arena_init(&memory);
        const code in = inputs(&memory, seed, x, ROWS, WIDTH, 0.02);
        assert_true(compensation_prepare(&memory, &in, x, ROWS, NULL, &c));
        for (size_t k = 0; k < WIDTH; k++)
            weight[k] = (float)(noise(&numbers) / (1 + (double)k));
        assert_true(compensation_target(&c, &in, weight, 1, target));

        const double scale = 0.02 / 3;
        const weight_grid grid = { 3, NULL };
        const double error = compensation_round(&c, target, scale, &grid, scratch, q);
        nearest(target, scale, 3, WIDTH, plain);
        const double best = exhaustive(&c, target, scale, 3);
        assert_true(fabs(error - error_of(&c, target, scale, q)) <= 1e-9 * (error + 1e-12));
        assert_true(error >= best * (1 - 1e-9));
        for (size_t k = 0; k < WIDTH; k++)
            assert_in_range(q[k] + 3, 0, 6);
        compensation_refine(&c, target, scale, &grid, scratch, q);
        const double refined = error_of(&c, target, scale, q);
        assert_true(refined <= error * (1 + 1e-9) && refined >= best * (1 - 1e-9));
        for (size_t k = 0; k < WIDTH; k++)
            assert_in_range(q[k] + 3, 0, 6);
        nearest_sum += error_of(&c, target, scale, plain);
        compensated_sum += error;
        best_sum += best;
        arena_free(&memory);
    }
    assert_true(compensated_sum < 0.7 * nearest_sum);
    assert_true(compensated_sum < 3 * best_sum);
}

/* The target is what least squares says, damping aside: no other real weights come nearer to the exact
 * output on coded inputs. */
static void test_target(void **state)
{
    (void)state;
    arena memory;
    compensation c;
    float x[ROWS * WIDTH];
    const float weight[WIDTH] = { 1, -0.5F, 0.25F, 0.8F, -0.3F };
    double target[WIDTH];
    arena_init(&memory);
    const code in = inputs(&memory, 5, x, ROWS, WIDTH, 0.4); /* coarse: rounding matters */
    assert_true(compensation_prepare(&memory, &in, x, ROWS, NULL, &c));
    assert_true(compensation_target(&c, &in, weight, 1, target));

    float codes[ROWS * WIDTH];
    code_integers(&in, x, ROWS, codes);
    double missed = 0, missed_plain = 0;
    for (size_t i = 0; i < ROWS; i++) {
        double y = 0, z = 0, plain = 0;
        for (size_t p = 0; p < WIDTH; p++) {
            const size_t k = c.order[p];
            const double q = codes[i * WIDTH + k] - in.mean_code[k];
            y += weight[k] * (x[i * WIDTH + k] - in.mean[k]);
            z += target[p] * q;
            plain += weight[k] * in.scale[k] * q;
        }
        missed += (y - z) * (y - z);
        missed_plain += (y - plain) * (y - plain);
    }
    assert_true(missed < missed_plain);
    arena_free(&memory);
}

static void test_still_inputs(void **state)
{
    (void)state;
    arena memory;
    compensation c;
    float x[3 * WIDTH] = { 0 };
    const float weight[WIDTH] = { 1, 2, 3, 4, 5 };
    double target[WIDTH];
    arena_init(&memory);
    code in = code_new(&memory, WIDTH);
    code_observe(&in, x, 3);
    assert_true(compensation_prepare(&memory, &in, x, 3, NULL, &c));
    assert_true(compensation_target(&c, &in, weight, 1, target));
    for (size_t k = 0; k < WIDTH; k++)
        assert_true(fabs(target[k] - weight[c.order[k]]) < 1e-6);
    arena_free(&memory);
}

static void test_cholesky(void **state)
{
    (void)state;
    enum { SIZE = 150 }; /* more than two blocks */
    double *a = calloc(2 * SIZE * SIZE, sizeof *a), *l = a + SIZE * SIZE;
    uint64_t seed = 3;
    assert_non_null(a);
    for (size_t i = 0; i < SIZE; i++)
        for (size_t j = 0; j <= i; j++)
            a[i * SIZE + j] = a[j * SIZE + i] = noise(&seed) + (i == j ? SIZE : 0);
    memcpy(l, a, SIZE * SIZE * sizeof *a);
    assert_true(cholesky(l, SIZE));
    for (size_t i = 0; i < SIZE; i++)
        for (size_t j = 0; j <= i; j++) {
            double sum = 0;
            for (size_t k = 0; k <= j; k++)
                sum += l[i * SIZE + k] * l[j * SIZE + k];
            assert_true(fabs(sum - a[i * SIZE + j]) < 1e-9 * SIZE);
        }
    a[70 * SIZE + 70] = -1;
    assert_false(cholesky(a, SIZE));
    free(a);
}

/* A whole layer: within its bits, the same each time, nearer than each weight by itself. */
static void test_layer(void **state)
{
    (void)state;
    enum { IN = 36, OUT = 20, SAMPLES = 600 };
    static const int bits[] = { 3, 4, 6, 8 };
    arena memory;
    compensation c;
    report r = { "" };
    arena_init(&memory);
    float *x = ARENA_TAKE(&memory, float, SAMPLES *IN);
    float *weight = ARENA_TAKE(&memory, float, IN *OUT);
    float *bias = ARENA_TAKE(&memory, float, OUT);
    uint64_t seed = 9;
    assert_false(memory.failed);
    for (size_t i = 0; i < IN * OUT; i++)
        weight[i] = (float)noise(&seed);
    for (size_t o = 0; o < OUT; o++)
        bias[o] = (float)noise(&seed);
    const code in = inputs(&memory, 4, x, SAMPLES, IN, 0.02);
    code out = code_new(&memory, OUT);
    assert_true(compensation_prepare(&memory, &in, x, SAMPLES, NULL, &c));

    double before = 0;
    for (size_t b = 0; b < sizeof bits / sizeof *bits; b++) {
        const dense_fit plain = { .method = RANGE_MSE, .bits = bits[b] };
        const dense_fit fit = { .method = RANGE_MSE, .bits = bits[b], .compensation = &c };
        integer_dense one, two, alone;
        assert_true(quantize_dense(&memory, "x", weight, bias, OUT, &in, &out, false, &fit, &one, &r));
        assert_true(quantize_dense(&memory, "x", weight, bias, OUT, &in, &out, false, &fit, &two, &r));
        assert_true(
            quantize_dense(&memory, "x", weight, bias, OUT, &in, &out, false, &plain, &alone, &r));
        assert_memory_equal(one.weight, two.weight, IN * OUT);
        assert_memory_equal(one.bias, two.bias, OUT * sizeof *one.bias);
        assert_memory_equal(one.factor.multiplier, two.factor.multiplier, OUT * sizeof(int32_t));
        for (size_t i = 0; i < IN * OUT; i++)
            assert_true(abs(one.weight[i]) <= weight_limit(bits[b]));
        assert_int_equal(one.bits, bits[b]);
        assert_true((one.packed == NULL) == (bits[b] == 8));
        const double with = dense_snr(&one, weight, bias, &in, &out, x, SAMPLES);
        const double without = dense_snr(&alone, weight, bias, &in, &out, x, SAMPLES);
        assert_true(with > without);
        assert_true(with > before);
        before = with;
    }
    arena_free(&memory);
}

/* Patches of pictures that are smooth: one tenth of the error of plain rounding at most, on pictures of the
 * same kind. */
static void test_pixels(void **state)
{
    enum { SIDE = 16, PATCH = 4, IN = PATCH * PATCH * 3, OUT = 6, PICTURES = 40 };
    static uint8_t pixels[2 * PICTURES * SIDE * SIDE * 3]; /* the second half was not seen */
    const iviti_geometry g = { .image_width = SIDE, .image_height = SIDE, .patch = PATCH,
                               .stage = { { .dim = OUT, .grid_width = 4, .grid_height = 4 } } };
    const network source = { .geometry = g };
    quantizer q = { .source = &source, .pictures = PICTURES };
    arena memory;
    compensation c;
    report r = { "" };
    float weight[OUT * IN], bias[OUT] = { 0 };
    uint64_t seed = 5;
    (void)state;
    arena_init(&memory);

    for (size_t i = 0; i < 2 * PICTURES; i++) {
        const double dx = 5 * noise(&seed), dy = 5 * noise(&seed), middle = 128 + 40 * noise(&seed);
        for (size_t k = 0; k < SIDE * SIDE * 3; k++) {
            const double x = (double)(k / 3 % SIDE) - 8, y = (double)(k / 3 / SIDE) - 8;
            pixels[i * SIDE * SIDE * 3 + k] = (uint8_t)(middle + dx * x + dy * y + noise(&seed));
        }
    }
    for (size_t i = 0; i < OUT * IN; i++)
        weight[i] = (float)noise(&seed);
    code in = code_new(&memory, IN), out = code_new(&memory, OUT);
    for (size_t k = 0; k < IN; k++)
        in.offset[k] = in.mean[k] = -100;
    const dense_fit plain = { .method = RANGE_MSE, .bits = 8 };
    const dense_fit fit = { .method = RANGE_MSE, .bits = 8, .compensation = &c };
    integer_dense layer[2];
    assert_true(quantize_dense(&memory, "x", weight, bias, OUT, &in, &out, true, &plain, &layer[0], &r));
    assert_true(quantizer_compensate_pixels(&q, pixels, &in, &memory, &c));
    assert_true(quantize_dense(&memory, "x", weight, bias, OUT, &in, &out, true, &fit, &layer[1], &r));

    double error[2] = { 0 };
    for (size_t n = PICTURES * 16; n < 2 * PICTURES * 16; n++) { /* patches */
        const uint8_t *first = pixels + (n / 16 * SIDE + n % 16 / 4 * PATCH) * SIDE * 3 + n % 4 * PATCH * 3;
        for (size_t o = 0; o < 2 * OUT; o++) {
            const integer_dense *d = &layer[o / OUT];
            const iviti_dyadic f = { d->factor.multiplier[o % OUT], d->factor.shift[o % OUT] };
            double sum = d->bias[o % OUT], exact = 0;
            for (size_t k = 0; k < IN; k++) {
                const int u = first[k / (PATCH * 3) * SIDE * 3 + k % (PATCH * 3)];
                sum += u * d->weight[o % OUT * IN + k];
                exact += (u - 100.0) * (double)weight[o % OUT * IN + k];
            }
            const double miss = sum * dyadic_to_real(f) - exact;
            error[o / OUT] += miss * miss;
        }
    }
    assert_true(error[1] < 0.1 * error[0]);
    arena_free(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_exhaustive), cmocka_unit_test(test_target),
        cmocka_unit_test(test_still_inputs),       cmocka_unit_test(test_cholesky),
        cmocka_unit_test(test_layer),              cmocka_unit_test(test_pixels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Folding of batch norms: the folded layer against the layer and the norm one after the other,
 * reckoned in plain loops in double precision from the unfolded weights.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "network/fold.h"

#define MAX_CHANNELS 16
#define MAX_WEIGHTS  (MAX_CHANNELS * MAX_CHANNELS * 9)
#define SIDE         7
#define TOLERANCE    1e-5 /* of the largest output */

typedef struct trial {
    size_t out, in, groups, kernel, padding;
    bool bias;          /* of the layer */
    double variance;    /* largest of the norm */
    double gain_centre; /* gains lie one to either side */
    bool affine;
    float weight[MAX_WEIGHTS], offset[MAX_CHANNELS];
    float gain[MAX_CHANNELS], shift[MAX_CHANNELS], mean[MAX_CHANNELS], var[MAX_CHANNELS];
    double x[MAX_CHANNELS * SIDE * SIDE];
} trial;

static double uniform(uint64_t *state) /* in [-1, 1) */
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(*state >> 33) / (double)(1u << 30) - 1;
}

static trial *make(trial shape, size_t norm_channels, uint64_t seed)
{
    trial *const t = malloc(sizeof *t);
    uint64_t state = seed;
    assert_non_null(t);
    *t = shape;
    for (size_t i = 0; i < t->out * (t->in / t->groups) * t->kernel * t->kernel; i++)
        t->weight[i] = (float)uniform(&state);
    for (size_t i = 0; i < t->out; i++)
        t->offset[i] = t->bias ? (float)uniform(&state) : 0;
    for (size_t i = 0; i < norm_channels; i++) {
        t->gain[i] = (float)(t->gain_centre + uniform(&state));
        t->shift[i] = (float)uniform(&state);
        t->mean[i] = (float)(0.3 * uniform(&state));
        t->var[i] = (float)(t->variance * (1.1 + uniform(&state)) / 2);
    }
    for (size_t i = 0; i < t->in * SIDE * SIDE; i++)
        t->x[i] = uniform(&state);
    return t;
}

static batch_norm norm_of(const trial *t)
{
    return (batch_norm){ t->affine ? t->gain : NULL, t->affine ? t->shift : NULL, t->mean, t->var,
                         1e-5 };
}

/* In place: x (channels, size). */
static void normalise(const trial *t, double *x, size_t channels, size_t size)
{
    for (size_t c = 0; c < channels; c++)
        for (size_t i = 0; i < size; i++) {
            double *const v = &x[c * size + i];
            *v = (*v - (double)t->mean[c]) / sqrt((double)t->var[c] + 1e-5);
            if (t->affine)
                *v = *v * (double)t->gain[c] + (double)t->shift[c];
        }
}

/* Convolution of stride 1: x (in, SIDE, SIDE) to y (out, side, side); returns side. */
static size_t convolve(const trial *t, const float *weight, const float *bias, const double *x,
                       double *y)
{
    const size_t k = t->kernel, inputs = t->in / t->groups, outputs = t->out / t->groups;
    const size_t side = SIDE + 2 * t->padding - k + 1;
    for (size_t o = 0; o < t->out; o++)
        for (size_t at = 0; at < side * side; at++) {
            double sum = (double)bias[o];
            for (size_t i = 0; i < inputs; i++)
                for (size_t tap = 0; tap < k * k; tap++) {
                    const size_t row = at / side + tap / k - t->padding;
                    const size_t column = at % side + tap % k - t->padding;
                    const size_t channel = o / outputs * inputs + i;
                    if (row < SIDE && column < SIDE) /* size_t: below zero is far above */
                        sum += (double)weight[(o * inputs + i) * k * k + tap] *
                               x[channel * SIDE * SIDE + row * SIDE + column];
                }
            y[o * side * side + at] = sum;
        }
    return side;
}

static void assert_near(const double *expected, const double *y, size_t count)
{
    double largest = 0, difference = 0;
    for (size_t i = 0; i < count; i++) {
        largest = fmax(largest, fabs(expected[i]));
        difference = fmax(difference, fabs(expected[i] - y[i]));
    }
    if (!(difference <= TOLERANCE * largest))
        fail_msg("differs by %g of %g", difference, largest);
}

static fold_layer layer_of(trial *t)
{
    return (fold_layer){ .name = "layer",
                         .out = t->out,
                         .in = t->in,
                         .groups = t->groups,
                         .taps = t->kernel * t->kernel,
                         .padded = t->padding > 0,
                         .weight = t->weight,
                         .bias = t->offset };
}

static void check_behind(trial shape)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        trial *const t = make(shape, shape.out, seed);
        static double expected[MAX_CHANNELS * 81], y[MAX_CHANNELS * 81];
        const size_t side = convolve(t, t->weight, t->offset, t->x, expected);
        normalise(t, expected, t->out, side * side);
        const batch_norm norm = norm_of(t);
        const fold_layer layer = layer_of(t);
        report r = { "" };
        assert_true(fold_norm_behind(&norm, &layer, &r));
        convolve(t, t->weight, t->offset, t->x, y);
        assert_near(expected, y, t->out * side * side);
        free(t);
    }
}

static void check_before(trial shape)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        trial *const t = make(shape, shape.in, seed);
        static double expected[MAX_CHANNELS * 81], y[MAX_CHANNELS * 81];
        double *const x = malloc(sizeof t->x);
        assert_non_null(x);
        memcpy(x, t->x, sizeof t->x);
        normalise(t, x, t->in, SIDE * SIDE);
        const size_t side = convolve(t, t->weight, t->offset, x, expected);
        const batch_norm norm = norm_of(t);
        const fold_layer layer = layer_of(t);
        report r = { "" };
        assert_true(fold_norm_before(&norm, &layer, &r));
        convolve(t, t->weight, t->offset, t->x, y);
        assert_near(expected, y, t->out * side * side);
        free(x);
        free(t);
    }
}

/* The usual case first; gains of both signs, of either sign alone, and no gain at all. */
static void a_norm_behind_a_convolution(void **state)
{
    (void)state;
    const trial usual = { .out = 8,
                          .in = 3,
                          .groups = 1,
                          .kernel = 3,
                          .padding = 1,
                          .bias = true,
                          .variance = 1,
                          .gain_centre = 0,
                          .affine = true };
    trial t = usual;
    check_behind(t);
    t.gain_centre = -2;
    check_behind(t);
    t.gain_centre = 2;
    t.bias = false;
    check_behind(t);
    t.affine = false;
    check_behind(t);
}

static void a_tiny_variance(void **state)
{
    (void)state;
    trial t = { .out = 8,
                .in = 4,
                .groups = 1,
                .kernel = 3,
                .padding = 1,
                .bias = true,
                .variance = 1e-12,
                .gain_centre = 0.5,
                .affine = true };
    check_behind(t);
    t.padding = 0;
    check_before(t);
    t.variance = 0;
    check_behind(t);
    check_before(t);
}

/* Grouped and depthwise convolutions. */
static void groups(void **state)
{
    (void)state;
    trial t = { .out = 12,
                .in = 8,
                .groups = 4,
                .kernel = 3,
                .padding = 1,
                .bias = true,
                .variance = 1,
                .gain_centre = 1,
                .affine = true };
    check_behind(t);
    t.padding = 0;
    check_before(t);
    t.out = t.in = t.groups = 10;
    check_before(t);
    t.padding = 1;
    check_behind(t);
}

/* A linear layer, a 1x1 convolution and an unpadded one behind a norm; without a bias of its own
 * the layer gains one. */
static void a_norm_before_a_layer(void **state)
{
    (void)state;
    trial t = { .out = 6,
                .in = 10,
                .groups = 1,
                .kernel = 1,
                .padding = 0,
                .bias = false,
                .variance = 2,
                .gain_centre = 0,
                .affine = true };
    check_before(t);
    t.bias = true;
    t.affine = false;
    check_before(t);
    t.kernel = 3;
    check_before(t);
    check_behind(t);
}

static void a_norm_before_padding_is_refused(void **state)
{
    (void)state;
    trial *const t = make((trial){ .out = 2,
                                   .in = 2,
                                   .groups = 1,
                                   .kernel = 3,
                                   .padding = 1,
                                   .variance = 1,
                                   .affine = true },
                          2, 1);
    float before[MAX_CHANNELS];
    memcpy(before, t->weight, sizeof before);
    const batch_norm norm = norm_of(t);
    const fold_layer layer = layer_of(t);
    report r = { "" };
    assert_false(fold_norm_before(&norm, &layer, &r));
    assert_non_null(strstr(r.text, "layer: "));
    assert_non_null(strstr(r.text, "padding"));
    assert_memory_equal(before, t->weight, sizeof before);
    free(t);
}

static void impossible_statistics_are_refused(void **state)
{
    (void)state;
    trial *const t =
        make((trial){ .out = 4, .in = 4, .groups = 1, .kernel = 1, .variance = 1, .affine = true },
             4, 1);
    const batch_norm norm = norm_of(t);
    const fold_layer layer = layer_of(t);
    report r = { "" };
    t->var[2] = -1;
    assert_false(fold_norm_behind(&norm, &layer, &r));
    assert_non_null(strstr(r.text, "channel 2"));
    assert_non_null(strstr(r.text, "-1"));
    assert_false(fold_norm_before(&norm, &layer, &r));
    t->var[2] = NAN;
    assert_false(fold_norm_behind(&norm, &layer, &r));
    t->var[2] = 1;
    t->mean[3] = INFINITY;
    assert_false(fold_norm_behind(&norm, &layer, &r));
    assert_non_null(strstr(r.text, "channel 3"));
    free(t);
}

static void a_scale_multiplies_everything(void **state)
{
    (void)state;
    float weight[6] = { 1, -2, 3, 4, -5, 6 }, bias[2] = { 8, -1 };
    const fold_layer layer = {
        .name = "layer", .out = 2, .in = 3, .groups = 1, .taps = 1, .weight = weight, .bias = bias
    };
    const float half_weight[6] = { 0.5f, -1, 1.5f, 2, -2.5f, 3 }, half_bias[2] = { 4, -0.5f };
    fold_factor(&layer, 0.5);
    assert_memory_equal(weight, half_weight, sizeof weight);
    assert_memory_equal(bias, half_bias, sizeof bias);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_norm_behind_a_convolution),
        cmocka_unit_test(a_tiny_variance),
        cmocka_unit_test(groups),
        cmocka_unit_test(a_norm_before_a_layer),
        cmocka_unit_test(a_norm_before_padding_is_refused),
        cmocka_unit_test(impossible_statistics_are_refused),
        cmocka_unit_test(a_scale_multiplies_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

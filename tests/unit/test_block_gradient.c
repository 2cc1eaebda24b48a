/* SPDX-License-Identifier: Apache-2.0
 *
 * The gradients of a block against finite differences of its forward pass, for every array and for
 * the input; the straight-through rule of its quantisers; the forward pass against the float network's;
 * and Adam.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quantize/adam.h"
#include "quantize/block_gradient.h"

#define MOST_TOKENS 16
#define MOST_WIDTH  24
#define STEP        1e-3
#define TOLERANCE   6e-3 /* of the largest gradient of the array; values are floats */
#define BEND        0.012 /* likewise, between the slopes on both sides */

static double noise(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(*state >> 40) / (double)(1 << 23) - 1;
}

/* A block with random parameters, and the functional of its output that is differentiated. */
typedef struct subject {
    block_shape shape;
    block_layout layout;
    step_code codes[BLOCK_PLACES];
    float *parameters, *gradient; /* (layout) */
    float *x, *back_x;            /* (tokens, dim) */
    float *toward, *y;            /* (tokens, dim) the functional is toward . y */
    block_trace trace;
    arena memory;
} subject;

static void fill(float *x, size_t count, double scale, double centre, uint64_t *state)
{
    for (size_t i = 0; i < count; i++)
        x[i] = (float)(centre + scale * noise(state));
}

static void subject_start(subject *s, block_shape shape, uint64_t seed)
{
    const size_t values = shape.tokens * shape.dim;
    memset(s, 0, sizeof *s);
    arena_init(&s->memory);
    s->shape = shape;
    s->layout = block_layout_of(&shape);
    s->parameters = ARENA_TAKE(&s->memory, float, s->layout.offset[BLOCK_PARTS]);
    s->gradient = ARENA_TAKE(&s->memory, float, s->layout.offset[BLOCK_PARTS]);
    s->x = ARENA_TAKE(&s->memory, float, values);
    s->back_x = ARENA_TAKE(&s->memory, float, values);
    s->toward = ARENA_TAKE(&s->memory, float, values);
    s->y = ARENA_TAKE(&s->memory, float, values);
    assert_true(block_trace_take(&s->memory, &shape, &s->trace));
    for (int i = 0; i < BLOCK_PARTS; i++) {
        const bool gain = i == PART_GAIN1 || i == PART_GAIN2;
        const bool wide = i == PART_QKV_WEIGHT || i == PART_FC1_WEIGHT;
        fill(s->parameters + s->layout.offset[i], s->layout.offset[i + 1] - s->layout.offset[i],
             wide ? 0.8 : 0.4, gain ? 1 : 0, &seed);
    }
    fill(s->x, values, 1.5, 0.2, &seed);
    fill(s->toward, values, 1, 0, &seed);
}

static double functional(subject *s)
{
    double sum = 0;
    block_forward(&s->shape, s->codes, s->parameters, s->x, &s->trace, s->y);
    for (size_t i = 0; i < s->shape.tokens * s->shape.dim; i++)
        sum += (double)s->toward[i] * s->y[i];
    return sum;
}

/* Compares `gradient` of the values, entry by entry. Entries at whose place the functional has a bend
 * within the step are left out; there must be few. */
static void compare(subject *s, float *values, const float *gradient, size_t count, double at)
{
    double largest = 1e-3;
    size_t bends = 0;
    for (size_t i = 0; i < count; i++)
        largest = fmax(largest, fabs((double)gradient[i]));
    for (size_t i = 0; i < count; i++) {
        const float before = values[i];
        values[i] = (float)(before + STEP);
        const double right = (functional(s) - at) / ((double)values[i] - before);
        values[i] = (float)(before - STEP);
        const double left = (at - functional(s)) / (before - (double)values[i]);
        values[i] = before;
        if (fabs(right - left) > BEND * largest) {
            bends++;
            continue;
        }
        if (fabs((right + left) / 2 - gradient[i]) > TOLERANCE * largest)
            fail_msg("entry %zu: gradient %g, difference %g, largest %g", i, (double)gradient[i],
                     (right + left) / 2, largest);
    }
    assert_true(bends * 5 <= count);
}

static void check_gradients(subject *s)
{
    const double at = functional(s);
    memset(s->gradient, 0, s->layout.offset[BLOCK_PARTS] * sizeof *s->gradient);
    block_backward(&s->shape, s->codes, s->parameters, s->toward, &s->trace, s->gradient, s->back_x);
    for (int i = 0; i < BLOCK_PARTS; i++)
        compare(s, s->parameters + s->layout.offset[i], s->gradient + s->layout.offset[i],
                s->layout.offset[i + 1] - s->layout.offset[i], at);
    compare(s, s->x, s->back_x, s->shape.tokens * s->shape.dim, at);
}

/* Codes that clip a good part of what passes them, and round nothing. */
static void clip_everywhere(subject *s)
{
    static float scale[3 * MOST_WIDTH], offset[3 * MOST_WIDTH];
    uint64_t seed = 77;
    for (size_t i = 0; i < 3 * MOST_WIDTH; i++) {
        scale[i] = (float)(0.25 + 0.05 * noise(&seed));
        offset[i] = (float)(0.1 * noise(&seed));
    }
    for (int i = 0; i < BLOCK_PLACES; i++)
        s->codes[i] = (step_code){ scale, offset, -4, 5, true };
}

static const block_shape plain = { .tokens = 5, .dim = 12, .heads = 1, .hidden = 20, .epsilon = 1e-6,
                                   .window = 5 };
static const block_shape heads = { .tokens = 6, .dim = 12, .heads = 3, .hidden = 8, .epsilon = 1e-5,
                                   .window = 6 };

static void test_plain(void **state)
{
    (void)state;
    const block_shape shapes[] = { plain, heads };
    for (size_t i = 0; i < 2; i++)
        for (uint64_t seed = 1; seed < 4; seed++) {
            subject s;
            subject_start(&s, shapes[i], seed);
            check_gradients(&s);
            arena_free(&s.memory);
        }
}

static void test_clipping(void **state)
{
    (void)state;
    const block_shape shapes[] = { plain, heads };
    for (size_t i = 0; i < 2; i++)
        for (uint64_t seed = 1; seed < 4; seed++) {
            subject s;
            subject_start(&s, shapes[i], seed);
            clip_everywhere(&s);
            check_gradients(&s);
            arena_free(&s.memory);
        }
}

/* Two windows in another order than the rows, with position biases, and regions that do not meet. */
static void test_windows(void **state)
{
    (void)state;
    static const uint32_t map[8] = { 5, 0, 3, 6, 1, 7, 4, 2 };
    static const uint8_t region[8] = { 0, 0, 0, 0, 1, 0, 1, 0 };
    float bias[2 * 4 * 4];
    uint64_t seed = 9;
    fill(bias, sizeof bias / sizeof *bias, 1, 0, &seed);
    const block_shape shape = { .tokens = 8, .dim = 8, .heads = 2, .hidden = 16, .epsilon = 1e-5,
                                .window = 4, .map = map, .region = region, .bias = bias };
    for (int clip = 0; clip < 2; clip++) {
        subject s;
        subject_start(&s, shape, 3);
        if (clip)
            clip_everywhere(&s);
        check_gradients(&s);
        arena_free(&s.memory);
    }
}

/* Tokens of different windows or regions have no part in one another. */
static void test_windows_are_apart(void **state)
{
    (void)state;
    static const uint32_t map[8] = { 5, 0, 3, 6, 1, 7, 4, 2 };
    static const uint8_t region[8] = { 0, 0, 0, 0, 1, 0, 1, 0 };
    const block_shape shape = { .tokens = 8, .dim = 8, .heads = 2, .hidden = 16, .epsilon = 1e-5,
                                .window = 4, .map = map, .region = region };
    subject s;
    float before[8 * 8];
    subject_start(&s, shape, 4);
    functional(&s);
    memcpy(before, s.y, sizeof before);
    for (size_t i = 0; i < 8; i++) /* token 4 of the second window, whose only fellow is the 6th */
        s.x[1 * 8 + i] += 1.0f + (float)i;
    functional(&s);
    for (size_t row = 0; row < 8; row++) {
        const bool fellow = row == 1 || row == 4;
        if (fellow)
            assert_memory_not_equal(before + row * 8, s.y + row * 8, 8 * sizeof *before);
        else
            assert_memory_equal(before + row * 8, s.y + row * 8, 8 * sizeof *before);
    }
    arena_free(&s.memory);
}

/* Rounding: values are on the grid; gradients are those of clipping at what was rounded. */
static void test_straight_through(void **state)
{
    (void)state;
    subject s;
    subject_start(&s, plain, 5);
    clip_everywhere(&s);
    for (int i = 0; i < BLOCK_PLACES; i++)
        s.codes[i].clips_only = false;
    functional(&s);
    size_t all = 0;
    for (int place = 0; place < BLOCK_PLACES; place++) {
        const size_t width = place == PLACE_QKV ? 36 : place >= PLACE_FC1 ? 20 : 12;
        const step_code *c = &s.codes[place];
        size_t clipped = 0;
        for (size_t i = 0; i < 5 * width; i++) {
            const double exact = s.trace.exact[place][i], coded = s.trace.coded[place][i];
            const double q = (coded - c->offset[i % width]) / c->scale[i % width];
            assert_true(fabs(q - nearbyint(q)) < 1e-4);
            assert_true(q > -4.001 && q < 5.001);
            const double wanted = (exact - c->offset[i % width]) / c->scale[i % width];
            clipped += wanted < -4.5 || wanted > 5.5;
            if (wanted > -4.5 && wanted < 5.5)
                assert_true(fabs(wanted - q) < 0.5001);
        }
        all += clipped;
    }
    assert_true(all > 20);

    /* fc2 is linear in its bias and weights: their gradients are exact whatever was rounded before. */
    memset(s.gradient, 0, s.layout.offset[BLOCK_PARTS] * sizeof *s.gradient);
    block_backward(&s.shape, s.codes, s.parameters, s.toward, &s.trace, s.gradient, s.back_x);
    const double at = functional(&s);
    compare(&s, s.parameters + s.layout.offset[PART_FC2_WEIGHT],
            s.gradient + s.layout.offset[PART_FC2_WEIGHT], 12 * 20, at);

    /* The bias of fc1 has an effect only where neither of the quantisers behind it clips. */
    for (size_t h = 0; h < 20; h++) {
        double sum = 0;
        for (size_t row = 0; row < 5; row++) {
            double back = 0;
            const double x = s.trace.coded[PLACE_FC1][row * 20 + h];
            const double in = (s.trace.exact[PLACE_FC1][row * 20 + h] - s.codes[0].offset[h]) /
                              s.codes[0].scale[h];
            const double out = (s.trace.exact[PLACE_GELU][row * 20 + h] - s.codes[0].offset[h]) /
                               s.codes[0].scale[h];
            for (size_t o = 0; o < 12; o++)
                back += s.toward[row * 12 + o] *
                        (double)s.parameters[s.layout.offset[PART_FC2_WEIGHT] + o * 20 + h];
            if (in > -4.5 && in < 5.5 && out > -4.5 && out < 5.5)
                sum += back * (0.5 * (1 + erf(x / sqrt(2))) +
                               x * exp(-x * x / 2) / sqrt(2 * 3.14159265358979));
        }
        assert_true(fabs(sum - s.gradient[s.layout.offset[PART_FC1_BIAS] + h]) < 1e-4);
    }
    arena_free(&s.memory);
}

/* Gradients of several pictures add up. */
static void test_accumulation(void **state)
{
    (void)state;
    subject s;
    subject_start(&s, plain, 6);
    const size_t count = s.layout.offset[BLOCK_PARTS];
    functional(&s);
    memset(s.gradient, 0, count * sizeof *s.gradient);
    block_backward(&s.shape, s.codes, s.parameters, s.toward, &s.trace, s.gradient, NULL);
    float *once = malloc(count * sizeof *once);
    assert_non_null(once);
    memcpy(once, s.gradient, count * sizeof *once);
    block_backward(&s.shape, s.codes, s.parameters, s.toward, &s.trace, s.gradient, NULL);
    for (size_t i = 0; i < count; i++)
        assert_true(fabs(s.gradient[i] - 2.0 * once[i]) <= 1e-5 * (1 + fabs((double)once[i])));
    free(once);
    arena_free(&s.memory);
}

/* Adam against its definition in double precision. */
static void test_adam(void **state)
{
    (void)state;
    enum { COUNT = 3, STEPS = 20 };
    arena memory;
    adam a;
    float values[COUNT] = { 1, -2, 0.5f }, gradient[COUNT];
    const float unit[2] = { 3, 3 };
    double expected[COUNT] = { 1, -2, 0.5 }, mean[COUNT] = { 0 }, square[COUNT] = { 0 };
    uint64_t seed = 8;
    arena_init(&memory);
    assert_true(adam_init(&memory, COUNT, STEPS, &a));
    for (int step = 1; step <= STEPS; step++) {
        const double cosine = 0.5 * (1 + cos(3.14159265358979 * (step - 1) / STEPS));
        for (int i = 0; i < COUNT; i++)
            gradient[i] = (float)(noise(&seed) + 0.3 * i);
        adam_move(&a, 0, 1, 0.01, NULL, gradient, values); /* in two parts of their own rates */
        adam_move(&a, 1, 2, 0.01, unit, gradient, values);
        adam_next(&a);
        for (int i = 0; i < COUNT; i++) {
            mean[i] = 0.9 * mean[i] + 0.1 * gradient[i];
            square[i] = 0.999 * square[i] + 0.001 * gradient[i] * gradient[i];
            expected[i] -= (i ? 0.03 : 0.01) * cosine * mean[i] / (1 - pow(0.9, step)) /
                           (sqrt(square[i] / (1 - pow(0.999, step))) + 1e-8);
        }
    }
    for (int i = 0; i < COUNT; i++)
        assert_true(fabs(values[i] - expected[i]) < 1e-5);
    assert_true(adam_cosine(&a) < 1e-12);
    arena_free(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_clipping),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_windows_are_apart),
        cmocka_unit_test(test_straight_through),
        cmocka_unit_test(test_accumulation),
        cmocka_unit_test(test_adam),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

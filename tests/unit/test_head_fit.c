/* SPDX-License-Identifier: Apache-2.0
 *
 * The map before the classifier: it takes back what is linear in what quantised blocks do to features,
 * trusts noise less, and stays away where there is nothing to gain.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "quantize/head_fit.h"

enum { ROWS = 480, FEATURES = 10, CLASSES = 6, HELD = 8 };

typedef struct subject {
    float exact[ROWS * FEATURES], coded[ROWS * FEATURES];
    float weight[CLASSES * FEATURES], bias[CLASSES];
    float fitted_weight[CLASSES * FEATURES], fitted_bias[CLASSES];
    network_linear head, fitted;
    head_fit fit;
} subject;

static double noise(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(*state >> 40) / (double)(1 << 23) - 1;
}

static bool held(const void *user, size_t row)
{
    (void)user;
    return row % HELD == HELD - 1;
}

/* coded = turned exact + shift + noise */
static void subject_start(subject *s, uint64_t seed, double turn, double shift, double loud)
{
    double mixture[FEATURES][FEATURES];
    memset(s, 0, sizeof *s);
    for (size_t a = 0; a < FEATURES; a++)
        for (size_t b = 0; b < FEATURES; b++)
            mixture[a][b] = (a == b) + turn * noise(&seed);
    for (size_t i = 0; i < CLASSES * FEATURES; i++)
        s->weight[i] = (float)noise(&seed);
    for (size_t i = 0; i < CLASSES; i++)
        s->bias[i] = (float)noise(&seed);
    for (size_t i = 0; i < ROWS * FEATURES; i++)
        s->exact[i] = (float)(noise(&seed) + 0.2);
    for (size_t i = 0; i < ROWS; i++)
        for (size_t a = 0; a < FEATURES; a++) {
            double sum = shift + loud * noise(&seed);
            for (size_t b = 0; b < FEATURES; b++)
                sum += mixture[a][b] * s->exact[i * FEATURES + b];
            s->coded[i * FEATURES + a] = (float)sum;
        }
    s->head = (network_linear){ s->weight, s->bias };
    s->fitted = (network_linear){ s->fitted_weight, s->fitted_bias };
    s->fit = (head_fit){ s->exact, s->coded, ROWS, FEATURES, CLASSES, held, NULL };
}

/* Squared error of the logits of all rows. */
static double error_of(const subject *s, const network_linear *head)
{
    double error = 0;
    for (size_t i = 0; i < ROWS; i++)
        for (size_t o = 0; o < CLASSES; o++) {
            double exact = s->bias[o], other = head->bias[o];
            for (size_t k = 0; k < FEATURES; k++) {
                exact += (double)s->weight[o * FEATURES + k] * s->exact[i * FEATURES + k];
                other += (double)head->weight[o * FEATURES + k] * s->coded[i * FEATURES + k];
            }
            error += (exact - other) * (exact - other);
        }
    return error;
}

static void test_linear(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 5; seed++) {
        subject s;
        double gain;
        subject_start(&s, seed, 0.15, 0.3, 0);
        assert_true(head_fit_solve(&s.fit, &s.head, &s.fitted, &gain));
        assert_true(gain < 0.1);
        assert_true(error_of(&s, &s.fitted) < 0.1 * error_of(&s, &s.head));
    }
}

/* Noise alone: the best that can be done is to draw the features towards their mean. */
static void test_noise(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 5; seed++) {
        subject s;
        double gain;
        subject_start(&s, seed, 0, 0, 1);
        assert_true(head_fit_solve(&s.fit, &s.head, &s.fitted, &gain));
        const double share = error_of(&s, &s.fitted) / error_of(&s, &s.head);
        assert_true(share > 0.4 && share < 0.62); /* signal and noise are of equal power */
        assert_true(fabs(gain - share) < 0.15);
    }
}

/* Nothing to mend: the classifier is the same to the bit, or as good as. */
static void test_nothing(void **state)
{
    (void)state;
    subject s;
    double gain;
    subject_start(&s, 3, 0, 0, 0);
    assert_true(head_fit_solve(&s.fit, &s.head, &s.fitted, &gain));
    assert_true(gain == 1);
    assert_memory_equal(s.weight, s.fitted_weight, sizeof s.weight);
    assert_memory_equal(s.bias, s.fitted_bias, sizeof s.bias);
}

static bool none_held(const void *user, size_t row)
{
    (void)user;
    (void)row;
    return false;
}

/* Nothing to judge by: no map. */
static void test_none_held(void **state)
{
    (void)state;
    subject s;
    double gain;
    subject_start(&s, 3, 0.2, 1, 1);
    s.fit.held = none_held;
    assert_true(head_fit_solve(&s.fit, &s.head, &s.fitted, &gain));
    assert_true(gain == 1);
    assert_memory_equal(s.weight, s.fitted_weight, sizeof s.weight);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_linear), cmocka_unit_test(test_noise),
                                        cmocka_unit_test(test_nothing),
                                        cmocka_unit_test(test_none_held) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

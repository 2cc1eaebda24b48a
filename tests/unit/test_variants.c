/* SPDX-License-Identifier: Apache-2.0
 *
 * Networks with several sets of operators at a time against each made by itself; and the simulation with
 * floating point between the products beside the integer model and the float network.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/integer_model.h"
#include "iviti/iviti.h"
#include "model/schema.h"
#include "network/dialect.h"
#include "network_toy.h"
#include "quantize/emit.h"
#include "quantize/float_nonlinear.h"
#include "quantize/quantize.h"

#define PICTURES 6
#define COUNT(a) (sizeof(a) / sizeof *(a))

static const operators kinds[] = {
    { IVITI_NORM_EXACT, IVITI_SOFTMAX_TABLE, IVITI_GELU_TABLE },
    { IVITI_NORM_EXACT, IVITI_SOFTMAX_SHIFT16, IVITI_GELU_TABLE },
    { IVITI_NORM_EXACT, IVITI_SOFTMAX_SULQ, IVITI_GELU_TABLE },
    { IVITI_NORM_L1, IVITI_SOFTMAX_TABLE, IVITI_GELU_TABLE },
    { IVITI_NORM_EXACT, IVITI_SOFTMAX_TABLE, IVITI_GELU_I_GELU },
    { IVITI_NORM_NEWTON, IVITI_SOFTMAX_SHIFT16, IVITI_GELU_SHIFT },
    { IVITI_NORM_L1, IVITI_SOFTMAX_LIS, IVITI_GELU_I_GELU },
    { IVITI_NORM_NEWTON, IVITI_SOFTMAX_I_EXP, IVITI_GELU_SHIFT },
    { IVITI_NORM_EXACT, IVITI_SOFTMAX_Q15, IVITI_GELU_TABLE },
    { IVITI_NORM_EXACT, IVITI_SOFTMAX_SHIFT8, IVITI_GELU_TABLE },
};

static uint8_t *pictures_of(const network *n)
{
    const size_t bytes = (size_t)n->geometry.image_width * n->geometry.image_height * 3;
    uint8_t *pixels = malloc(PICTURES * bytes);
    assert_non_null(pixels);
    for (size_t i = 0; i < PICTURES * bytes; i++)
        pixels[i] = (uint8_t)(128 + 127 * toy_value("pixels", (uint32_t)(i / bytes), i % bytes));
    return pixels;
}

static const quantize_options options = {
    .method = RANGE_MSE, .weight_bits = 8, .activation_bits = 8, .threads = 2
};

static size_t elements_that_differ(const iviti_tensor_spec *s, const void *a, const void *b)
{
    const size_t size = (size_t)(s->bytes / s->count);
    size_t differ = 0;
    for (size_t i = 0; i < s->count; i++)
        differ += memcmp((const uint8_t *)a + i * size, (const uint8_t *)b + i * size, size) != 0;
    return differ;
}

/* Every tensor; Newton's factors are brought over from the exact ones and so rounded twice. */
static void same_network(const integer_network *a, const integer_network *b)
{
    iviti_tensor_spec s;
    assert_int_equal(iviti_schema_count(&a->geometry), iviti_schema_count(&b->geometry));
    for (size_t i = 0; iviti_schema_tensor(&a->geometry, i, &s); i++) {
        const void *x = integer_network_tensor(a, &s), *y = integer_network_tensor(b, &s);
        if (s.kind == IVITI_NORM && s.field == IVITI_FIELD_MULTIPLIER &&
            a->geometry.norm_kind == IVITI_NORM_NEWTON) {
            for (size_t k = 0; k < s.count; k++)
                assert_true(labs((long)((const int32_t *)x)[k] - ((const int32_t *)y)[k]) <= 2);
            continue;
        }
        if (elements_that_differ(&s, x, y) != 0)
            fail_msg("%s differs", s.name);
    }
    assert_int_equal(a->geometry.logits_multiplier, b->geometry.logits_multiplier);
    assert_int_equal(a->geometry.logits_shift, b->geometry.logits_shift);
}

static void variants_are_what_each_is_alone(void **state)
{
    (void)state;
    for (int family = 0; family < 2; family++) {
        network *n = toy_network(family);
        uint8_t *pixels = pictures_of(n);
        integer_network *made[COUNT(kinds)];
        quantize_table table;
        report r = { "" };

        if (!quantize_variants(n, pixels, PICTURES, &options, kinds, COUNT(kinds), made, &table, &r))
            fail_msg("%s", r.text);
        for (size_t i = 0; i < COUNT(kinds); i++) {
            integer_network *alone = NULL;
            quantize_table own;
            quantize_options o = options;
            o.operators = kinds[i];
            assert_true(quantize_network(n, pixels, PICTURES, &o, &alone, &own, &r));
            same_network(made[i], alone);
            assert_int_equal(own.count, table.count);
            integer_network_free(alone);
        }
        for (size_t i = COUNT(kinds); i-- > 0;)
            integer_network_free(made[i]);
        free(pixels);
        network_free(n);
    }
}

/* From another LayerNorm than the exact one there is no way back. */
static void only_exact_norms_become_others(void **state)
{
    (void)state;
    network *n = toy_network(0);
    uint8_t *pixels = pictures_of(n);
    const operators wrong[] = { kinds[5], kinds[0] };
    integer_network *made[2];
    quantize_table table;
    report r = { "" };
    assert_false(quantize_variants(n, pixels, PICTURES, &options, wrong, 2, made, &table, &r));
    assert_non_null(strstr(r.text, "newton"));
    free(pixels);
    network_free(n);
}

/* ---- floating point between the products ------------------------------------------------------- */

static double relative_mse(const float *a, const float *b, size_t count)
{
    double difference = 0, power = 0;
    for (size_t i = 0; i < count; i++) {
        difference += (double)(a[i] - b[i]) * (a[i] - b[i]);
        power += (double)b[i] * b[i];
    }
    return difference / power;
}

static void integer_logits(const integer_network *in, const uint8_t *pixels, float *logits)
{
    const iviti_geometry *g = &in->geometry;
    const size_t bytes = (size_t)g->image_width * g->image_height * 3;
    report r = { "" };
    iviti_session *session = NULL;
    iviti_model *m = integer_model_load(in, &r);
    if (!m)
        fail_msg("%s", r.text);
    assert_int_equal(iviti_session_create(m, NULL, &session), IVITI_OK);
    for (size_t i = 0; i < PICTURES; i++) {
        const iviti_image image = { pixels + i * bytes, g->image_width, g->image_height,
                                    (ptrdiff_t)g->image_width * 3 };
        assert_int_equal(iviti_session_run_pixels(session, &image), IVITI_OK);
        for (size_t c = 0; c < g->classes; c++)
            logits[i * g->classes + c] = (float)ldexp(
                iviti_session_logits(session)[c] * (double)g->logits_multiplier,
                -(int)g->logits_shift);
    }
    iviti_session_free(session);
    iviti_model_free(m);
}

/* The same operands give nearly the same logits, and both stay near the float network: what lies
 * between them is rounding. The threads do not matter. */
static void simulation_is_near_both(void **state)
{
    (void)state;
    for (int family = 0; family < 2; family++) {
        network *n = toy_network(family);
        const size_t values = PICTURES * n->geometry.classes;
        uint8_t *pixels = pictures_of(n);
        float *exact = malloc(values * sizeof *exact), *own = malloc(values * sizeof *own);
        float *simulated = malloc(values * sizeof *simulated), *again = malloc(values * sizeof *own);
        report r = { "" };
        assert_true(network_forward(n, pixels, PICTURES, 1, exact, &r));
        for (size_t i = 0; i < COUNT(kinds); i++) {
            integer_network *in = NULL;
            float_nonlinear *f = NULL;
            quantize_table table;
            quantize_options o = options;
            o.operators = kinds[i];
            assert_true(quantize_network(n, pixels, PICTURES, &o, &in, &table, &r));
            if (!float_nonlinear_open(in, &f, &r))
                fail_msg("%s", r.text);
            assert_true(float_nonlinear_run(f, pixels, PICTURES, 1, simulated, &r));
            assert_true(float_nonlinear_run(f, pixels, PICTURES, 3, again, &r));
            assert_memory_equal(simulated, again, values * sizeof *again);
            integer_logits(in, pixels, own);
            const double of_simulated = relative_mse(simulated, exact, values);
            assert_true(of_simulated < 2e-3);
            if (i == 0) {
                const double of_integer = relative_mse(own, exact, values);
                assert_true(of_integer < 2e-3);
                assert_true(relative_mse(simulated, own, values) < 1.5e-3);
                assert_memory_not_equal(simulated, own, values * sizeof *own);
            }
            float_nonlinear_free(f);
            integer_network_free(in);
        }
        free(exact);
        free(own);
        free(simulated);
        free(again);
        free(pixels);
        network_free(n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(variants_are_what_each_is_alone),
        cmocka_unit_test(only_exact_norms_become_others),
        cmocka_unit_test(simulation_is_near_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

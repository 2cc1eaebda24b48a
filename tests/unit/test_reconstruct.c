/* SPDX-License-Identifier: Apache-2.0
 *
 * Reconstruction: blocks come nearer to the float ones, the same bytes whatever the number of threads,
 * weights on their grids, folded scales that change nothing, and what cannot be reconstructed.
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
#include "model/schema.h"
#include "network/dialect.h"
#include "network_toy.h"
#include "quantize/agreement.h"
#include "quantize/emit.h"
#include "quantize/quantize.h"
#include "quantize/reconstruct.h"

#define PICTURES 24 /* of the networks */

static double noise(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(*state >> 40) / (double)(1 << 23) - 1;
}

/* ---- one block ------------------------------------------------------------------------------- */

enum { VIEWED = 32, TOKENS = 7, DIM = 12, HIDDEN = 20, VALUES = TOKENS * DIM };

typedef struct subject {
    block_shape shape;
    block_layout layout;
    step_code codes[BLOCK_PLACES];
    float scale[3 * DIM], offset[3 * DIM];
    float fold[HIDDEN], centre[HIDDEN], smallest[3 * DIM], coarsest[3 * DIM];
    float scales[BLOCK_LAYERS][3 * DIM];
    float *parameters, *in, *out, *coded;
    reconstruction job;
    arena memory;
} subject;

/* A float block with its inputs and outputs; codes and weights of 4 bits. */
static void subject_start(subject *s, unsigned threads, unsigned iterations, uint64_t order)
{
    uint64_t seed = 3;
    block_trace trace;
    step_code none[BLOCK_PLACES] = { { 0 } };
    memset(s, 0, sizeof *s);
    arena_init(&s->memory);
    s->shape = (block_shape){ .tokens = TOKENS, .dim = DIM, .heads = 3, .hidden = HIDDEN,
                              .epsilon = 1e-6, .window = TOKENS };
    s->layout = block_layout_of(&s->shape);
    s->parameters = ARENA_TAKE(&s->memory, float, s->layout.offset[BLOCK_PARTS]);
    s->in = ARENA_TAKE(&s->memory, float, VIEWED * VALUES);
    s->out = ARENA_TAKE(&s->memory, float, VIEWED * VALUES);
    s->coded = ARENA_TAKE(&s->memory, float, VIEWED * VALUES);
    assert_true(block_trace_take(&s->memory, &s->shape, &trace));
    for (size_t i = 0; i < s->layout.offset[BLOCK_PARTS]; i++)
        s->parameters[i] = (float)(0.5 * noise(&seed));
    for (size_t i = 0; i < DIM; i++) {
        s->parameters[s->layout.offset[PART_GAIN1] + i] = 1;
        s->parameters[s->layout.offset[PART_GAIN2] + i] = 1;
    }
    for (size_t i = 0; i < VIEWED * VALUES; i++)
        s->in[i] = (float)noise(&seed);
    for (size_t i = 0; i < VIEWED; i++)
        block_forward(&s->shape, none, s->parameters, s->in + i * VALUES, &trace, s->out + i * VALUES);
    memcpy(s->coded, s->in, VIEWED * VALUES * sizeof(float));
    for (size_t i = 0; i < 3 * DIM; i++) {
        s->scale[i] = 0.4f;
        s->offset[i] = 0.05f;
        s->smallest[i] = 1e-6f;
        s->coarsest[i] = 1;
    }
    for (size_t i = 0; i < HIDDEN; i++) {
        s->fold[i] = (float)(1 + 0.5 * noise(&seed));
        s->centre[i] = (float)(0.1 * noise(&seed));
    }
    for (int i = 0; i < BLOCK_PLACES; i++)
        s->codes[i] = (step_code){ s->scale, s->offset, -8, 7, false };
    s->job = (reconstruction){ .shape = &s->shape, .codes = s->codes, .pictures = VIEWED,
                               .sources = VIEWED, .float_in = s->in, .float_out = s->out,
                               .coded_in = s->coded, .coded_out = s->coded, .scored = TOKENS,
                               .weights = { TOKENS, 1, 2.0 }, .iterations = iterations,
                               .threads = threads, .seed = order, .parameters = s->parameters };
    for (int i = 0; i < BLOCK_LAYERS; i++)
        s->job.layer[i] = (layer_grid){ 7, s->fold, s->centre, s->smallest, s->coarsest, s->scales[i] };
}

/* Weights are multiples of their scales once they are folded, and what goes on is what the block, with them,
 * makes of what came in. */
static void test_block(void **state)
{
    (void)state;
    subject s;
    report r = { "" };
    block_trace trace;
    float y[VALUES];
    subject_start(&s, 2, 150, 1);
    assert_true(reconstruct_block(&s.job, &r));

    static const block_part parts[BLOCK_LAYERS] = { PART_QKV_WEIGHT, PART_PROJ_WEIGHT, PART_FC1_WEIGHT,
                                                    PART_FC2_WEIGHT };
    for (int layer = 0; layer < BLOCK_LAYERS; layer++) {
        const size_t in = layer == 3 ? HIDDEN : DIM;
        const float *w = s.parameters + s.layout.offset[parts[layer]];
        const size_t count = s.layout.offset[parts[layer] + 1] - s.layout.offset[parts[layer]];
        size_t used = 0;
        for (size_t i = 0; i < count; i++) {
            const double q = (double)w[i] * s.fold[i % in] / s.scales[layer][i / in];
            assert_true(fabs(q - nearbyint(q)) < 1e-3 && fabs(q) < 7.001);
            used += fabs(q) > 0.5;
        }
        assert_true(used * 2 > count);
    }
    assert_true(block_trace_take(&s.memory, &s.shape, &trace));
    for (size_t i = 0; i < VIEWED; i++) {
        block_forward(&s.shape, s.codes, s.parameters, s.in + i * VALUES, &trace, y);
        assert_memory_equal(y, s.coded + i * VALUES, sizeof y);
    }
    arena_free(&s.memory);
}

static void test_threads(void **state)
{
    (void)state;
    static const unsigned threads[] = { 1, 2, 3, 9 };
    subject first, other;
    report r = { "" };
    subject_start(&first, threads[0], 20, 5);
    assert_true(reconstruct_block(&first.job, &r));
    for (size_t i = 1; i < 4; i++) {
        subject_start(&other, threads[i], 20, 5);
        assert_true(reconstruct_block(&other.job, &r));
        assert_memory_equal(first.parameters, other.parameters,
                            first.layout.offset[BLOCK_PARTS] * sizeof(float));
        assert_memory_equal(first.coded, other.coded, VIEWED * VALUES * sizeof(float));
        arena_free(&other.memory);
    }
    arena_free(&first.memory);
}

/* So few pictures leave much to chance: the order in which they come. */
static void test_gain(void **state)
{
    (void)state;
    enum { ORDERS = 6 };
    double share = 0;
    for (uint64_t order = 1; order <= ORDERS; order++) {
        subject s;
        report r = { "" };
        subject_start(&s, 2, 150, order);
        assert_true(reconstruct_block(&s.job, &r));
        assert_true(s.job.after <= s.job.before);
        share += s.job.after / s.job.before / ORDERS;
        arena_free(&s.memory);
    }
    if (!(share < 0.92))
        fail_msg("%g of the error is left", share);
}

/* The error is that of the tokens that somebody reads, with their weights, on the pictures held out. */
static void test_scored(void **state)
{
    (void)state;
    for (size_t scored = 1; scored <= TOKENS; scored += TOKENS - 1) {
        subject s;
        report r = { "" };
        double error = 0, power = 0;
        subject_start(&s, 2, 60, 5);
        s.job.scored = scored;
        assert_true(reconstruct_block(&s.job, &r));
        for (size_t i = 0; i < VIEWED; i++)
            for (size_t k = 0; k < scored * DIM && reconstruct_holds_out(VIEWED, i); k++) {
                const double weight = k < DIM ? s.job.weights.weight : 1;
                error += weight * pow((double)s.coded[i * VALUES + k] - s.out[i * VALUES + k], 2);
                power += weight * pow(s.out[i * VALUES + k], 2);
            }
        assert_true(power > 0 && fabs(s.job.after - error / power) < 1e-5 * s.job.after);
        arena_free(&s.memory);
    }
}

/* Views are trained on like pictures, but not those of pictures held out, whatever is in them. */
static void test_views(void **state)
{
    (void)state;
    enum { SOURCES = VIEWED / 2 };
    subject s, other;
    report r = { "" };
    subject_start(&s, 2, 20, 5);
    subject_start(&other, 2, 20, 5);
    s.job.sources = other.job.sources = SOURCES;
    s.job.pictures = other.job.pictures = 2 * (size_t)SOURCES;
    for (size_t i = SOURCES; i < 2 * SOURCES; i++) /* views of what is held out: made unlike */
        for (size_t k = 0; k < VALUES && reconstruct_holds_out(SOURCES, i % SOURCES); k++)
            other.in[i * VALUES + k] = other.coded[i * VALUES + k] = 9;
    assert_true(reconstruct_block(&s.job, &r) && reconstruct_block(&other.job, &r));
    assert_memory_equal(s.parameters, other.parameters,
                        s.layout.offset[BLOCK_PARTS] * sizeof(float));
    arena_free(&s.memory);
    arena_free(&other.memory);
}

/* ---- stage 2 --------------------------------------------------------------------------------- */

/* I&S-ViT's reparameterisation: a LayerNorm whose outputs have a scale and a zero point for each channel,
 * and one with a single scale and zero point whose gains, biases and following weights are changed,
 * have the same codes and the same outputs. The quantiser stores the former; the folded weights of
 * reconstruction are those of the latter. */
static void test_reparameterisation(void **state)
{
    (void)state;
    enum { WIDTH = 9, OUT = 4, ROWS = 50 };
    double gain[WIDTH], bias[WIDTH], scale[WIDTH], zero[WIDTH], weight[OUT][WIDTH];
    double one_scale = 0, one_zero = 0;
    uint64_t seed = 11;
    for (size_t c = 0; c < WIDTH; c++) {
        gain[c] = 1 + 0.8 * noise(&seed);
        bias[c] = noise(&seed);
        scale[c] = 0.2 + 0.15 * noise(&seed);
        zero[c] = nearbyint(3 * noise(&seed));
        one_scale += scale[c] / WIDTH;
        one_zero += zero[c] / WIDTH;
        for (size_t o = 0; o < OUT; o++)
            weight[o][c] = noise(&seed);
    }
    one_zero = nearbyint(one_zero); /* the shifts absorb whatever it is */
    for (size_t row = 0; row < ROWS; row++) {
        double y[OUT] = { 0 }, folded[OUT] = { 0 };
        for (size_t c = 0; c < WIDTH; c++) {
            const double normal = 2 * noise(&seed);
            const double own = nearbyint((gain[c] * normal + bias[c]) / scale[c] + zero[c]);
            const double q = fmax(0, fmin(15, own));
            const double r = scale[c] / one_scale, shift = one_scale * (one_zero - zero[c]);
            const double moved = gain[c] / r * normal + bias[c] / r - shift;
            const double same = nearbyint(moved / one_scale + one_zero);
            assert_true(fabs(own - same) < 0.5);
            for (size_t o = 0; o < OUT; o++) {
                y[o] += weight[o][c] * scale[c] * (q - zero[c]);
                folded[o] += weight[o][c] * r * (one_scale * (q - one_zero) + shift);
            }
        }
        for (size_t o = 0; o < OUT; o++)
            assert_true(fabs(y[o] - folded[o]) < 1e-9);
    }
}

/* ---- networks -------------------------------------------------------------------------------- */

static uint8_t *pictures_of(const network *n)
{
    const size_t bytes = (size_t)n->geometry.image_width * n->geometry.image_height * 3;
    uint8_t *pixels = malloc(PICTURES * bytes);
    uint64_t seed = 1;
    assert_non_null(pixels);
    for (size_t i = 0; i < PICTURES * bytes; i++)
        pixels[i] = (uint8_t)(128 + 127 * noise(&seed));
    return pixels;
}

static quantize_options few_bits(unsigned threads, unsigned iterations)
{
    return (quantize_options){ .method = RANGE_MSE, .compensate = true, .weight_bits = 4,
                               .activation_bits = 4, .iterations = iterations, .threads = threads };
}

static double error_of(const network *n, const integer_network *q, const uint8_t *pixels)
{
    agreement a;
    report r = { "" };
    iviti_model *model = integer_model_load(q, &r);
    if (!model)
        fail_msg("%s", r.text);
    assert_true(agreement_measure(n, model, pixels, PICTURES, 2, &a, &r));
    iviti_model_free(model);
    return a.relative_mse;
}

static integer_network *quantized(const network *n, const uint8_t *pixels, quantize_options o)
{
    integer_network *q = NULL;
    quantize_table table;
    report r = { "" };
    if (!quantize_network(n, pixels, PICTURES, &o, &q, &table, &r))
        fail_msg("%s", r.text);
    return q;
}

static void test_networks(void **state)
{
    (void)state;
    for (int family = 0; family < 2; family++)
        for (int sulq = 0; sulq < 2; sulq++) {
            network *n = toy_network(family);
            uint8_t *pixels = pictures_of(n);
            quantize_options o = few_bits(2, 0);
            if (sulq)
                o.operators.softmax = IVITI_SOFTMAX_SULQ;
            integer_network *plain = quantized(n, pixels, o);
            o.iterations = 25;
            integer_network *trained = quantized(n, pixels, o);
            const double before = error_of(n, plain, pixels), after = error_of(n, trained, pixels);
            if (!(after < before))
                print_error("family %d, sulq %d: %g -> %g\n", family, sulq, before, after);
            assert_true(after < before);
            integer_network_free(plain);
            integer_network_free(trained);
            free(pixels);
            network_free(n);
        }
}

static void test_same_bytes(void **state)
{
    (void)state;
    network *n = toy_network(1);
    uint8_t *pixels = pictures_of(n);
    integer_network *a = quantized(n, pixels, few_bits(1, 8));
    integer_network *b = quantized(n, pixels, few_bits(3, 8));
    iviti_tensor_spec s;
    for (size_t i = 0; iviti_schema_tensor(&a->geometry, i, &s); i++)
        if (memcmp(integer_network_tensor(a, &s), integer_network_tensor(b, &s), (size_t)s.bytes) != 0)
            fail_msg("%s differs", s.name);
    integer_network_free(a);
    integer_network_free(b);
    free(pixels);
    network_free(n);
}

static void test_refusals(void **state)
{
    (void)state;
    network *n = toy_network(0);
    uint8_t *pixels = pictures_of(n);
    integer_network *q = NULL;
    quantize_table table;
    report r = { "" };
    quantize_options o = few_bits(1, 2);
    o.operators = OPERATORS_SHIFT;
    assert_false(quantize_network(n, pixels, PICTURES, &o, &q, &table, &r));
    assert_non_null(strstr(r.text, "reconstruction needs exact LayerNorm"));
    assert_null(q);
    free(pixels);
    network_free(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_block),     cmocka_unit_test(test_threads),
        cmocka_unit_test(test_gain),      cmocka_unit_test(test_views),
        cmocka_unit_test(test_scored),    cmocka_unit_test(test_reparameterisation),
        cmocka_unit_test(test_networks),  cmocka_unit_test(test_same_bytes),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

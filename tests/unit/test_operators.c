/* SPDX-License-Identifier: Apache-2.0
 *
 * SULQ and the comparison operators against what their papers say: check vectors, and their formulas
 * evaluated in double precision.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "iviti/kernels.h"
#include "quantize/sulq.h"
#include "unit/model_fixture.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* ---- i-exp ------------------------------------------------------------------------------------- */

static iviti_i_exp_constants i_exp_constants(double scale)
{
    return (iviti_i_exp_constants){ (int32_t)ceil(0.6931 / scale),
                                    (int32_t)floor(0.96963238 / 0.35815147 / scale),
                                    (int32_t)floor(1 / 0.35815147 / (scale * scale)) };
}

/* Rounding of the constants included, finer scales come near the published errors of the polynomial:
 * 0.39 % relative and 0.0019 absolute. */
static void i_exp_is_near_exp(void **state)
{
    (void)state;
    for (int one_over_scale = 250; one_over_scale <= 2000; one_over_scale += 125) {
        const double scale = 1.0 / one_over_scale;
        const iviti_i_exp_constants k = i_exp_constants(scale);
        const int n = iviti_i_exp_bits(k);
        assert_true((int64_t)k.c << n <= INT32_MAX);
        assert_true((int64_t)k.c << (n + 1) > INT32_MAX);
        const double unit = 0.35815147 * scale * scale * ldexp(1, -n);
        for (int x = 0; x < 5 * one_over_scale; x++) {
            const double exact = exp(-x * scale);
            const double error = fabs((double)iviti_i_exp(-x, k, n) * unit - exact);
            assert_true(error <= 0.0019 + 3 * scale);
            if (x < one_over_scale)
                assert_true(error / exact <= 0.0039 + 3 * scale);
        }
    }
}

/* The published form, in floating point: floor(x / x0), r = x - x0 q, floor(L 2^(n - q)). */
static void i_exp_is_the_published_one(void **state)
{
    (void)state;
    static const double scales[] = { 0.2, 0.05, 0.02, 0.0123, 1.0 / 64, 1.0 / 255 };
    for (size_t i = 0; i < COUNT(scales); i++)
        for (int n = 0; n <= 30; n += 5) {
            const iviti_i_exp_constants k = i_exp_constants(scales[i]);
            const double x0 = floor(-0.6931 / scales[i]);
            for (int v = 0; v >= -4000; v -= 7) {
                const double x = fmax(v, n * x0);
                const double q = floor(x / x0), r = x - x0 * q;
                const double e = floor(((r + k.b) * r + k.c) * exp2(n - q));
                assert_true((double)iviti_i_exp(v, k, n) == e);
            }
        }
    const iviti_i_exp_constants k = i_exp_constants(0.05);
    assert_true(iviti_i_exp(INT32_MIN, k, 30) == iviti_i_exp(-30 * k.ln2, k, 30));
}

/* Off by the polynomial's error, by the rounding of its constants, which is of the order of the
 * scale, by the factor's and by the result's. */
static void i_softmax_is_softmax(void **state)
{
    (void)state;
    uint64_t seed = 5;
    for (int round = 0; round < 200; round++) {
        int8_t x[197];
        int16_t p[197], narrow[197];
        double sum = 0, mass = 0, largest = 0;
        const double scale = 1.0 / fixture_uniform(&seed, 8, 60);
        for (size_t i = 0; i < COUNT(x); i++) {
            x[i] = (int8_t)fixture_uniform(&seed, round % 2 ? -128 : -20, round % 3 ? 127 : 30);
            sum += exp(x[i] * scale);
            largest = fmax(largest, exp(x[i] * scale));
        }
        iviti_i_softmax(x, COUNT(x), i_exp_constants(scale), 16, p);
        iviti_i_softmax(x, COUNT(x), i_exp_constants(scale), 8, narrow);
        for (size_t i = 0; i < COUNT(x); i++) {
            const double exact = exp(x[i] * scale) / sum;
            mass += p[i] / 32768.0;
            assert_true(fabs(p[i] / 32768.0 - exact) <=
                        1.0 / 32768 + exact * (0.012 + 2 * scale) +
                            (0.002 + 0.2 * scale) * largest / sum);
            assert_int_equal(narrow[i], p[i] >> 8);
        }
        assert_true(mass <= 1 && mass > 0.99);
    }
}

/* ---- Log-Int-Softmax --------------------------------------------------------------------------- */

/* The published steps: ratio, floor of its logarithm, one more from three quarters of the way on. */
static uint8_t published_lis(double sum, double e)
{
    if (e == 0)
        return 16;
    const double ratio = floor(sum / e + 0.5);
    double q = floor(log2(ratio));
    if (ratio >= 1.5 * exp2(q))
        q++;
    return q > 15 ? 16 : (uint8_t)q;
}

static void lis_is_the_published_one(void **state)
{
    (void)state;
    uint64_t seed = 6;
    bool seen[17] = { false };
    for (int round = 0; round < 400; round++) {
        int8_t x[130];
        uint8_t code[130];
        const size_t count = 1 + fixture_random(&seed) % 130;
        const iviti_i_exp_constants k = i_exp_constants(1.0 / fixture_uniform(&seed, 2, 60));
        const int n = iviti_i_exp_bits(k);
        int max = -128;
        double sum = 0;
        for (size_t i = 0; i < count; i++) {
            x[i] = (int8_t)fixture_uniform(&seed, -128, round % 3 ? 127 : -100);
            max = x[i] > max ? x[i] : max;
        }
        for (size_t i = 0; i < count; i++)
            sum += (double)iviti_i_exp(x[i] - max, k, n);
        iviti_log_int_softmax(x, count, k, code);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(code[i], published_lis(sum, (double)iviti_i_exp(x[i] - max, k, n)));
            seen[code[i]] = true;
        }
    }
    for (int i = 0; i <= 16; i++)
        assert_true(seen[i]);
}

/* ---- i-GELU ------------------------------------------------------------------------------------ */

static void i_gelu_vector(void **state)
{
    (void)state;
    static const int8_t x[] = { -100, -50, -20, -5, 0, 5, 20, 50, 100 };
    static const int32_t published[] = { 0,      50,     19220,   10580,  0,
                                         -17130, -91620, -277050, -554200 }; /* all negated */
    int32_t y[COUNT(x)];
    const double scale = 0.05;
    const int32_t b = (int32_t)ceil(1.769 * 1.4142 / scale);
    const int32_t c = (int32_t)ceil(2 / (0.2888 * scale * scale));
    assert_int_equal(b, 51);
    assert_int_equal(c, 2771);
    iviti_i_gelu(x, COUNT(x), b, c, y);
    for (size_t i = 0; i < COUNT(x); i++)
        assert_int_equal(y[i], -published[i]);
}

/* Published: at most 0.0182 from GELU; the constants' rounding comes on top. */
static void i_gelu_is_near_gelu(void **state)
{
    (void)state;
    for (int one_over_scale = 8; one_over_scale <= 60; one_over_scale++) {
        const double scale = 1.0 / one_over_scale, unit = 0.2888 * scale * scale * scale / 4;
        for (int v = -128; v <= 127; v++) {
            const int8_t x = (int8_t)v;
            int32_t y;
            iviti_i_gelu(&x, 1, (int32_t)ceil(1.769 * sqrt(2) / scale),
                         (int32_t)ceil(2 / (0.2888 * scale * scale)), &y);
            const double real = v * scale;
            const double exact = 0.5 * real * (1 + erf(real / sqrt(2)));
            assert_true(fabs(y * unit - exact) <= 0.0182 + 0.1 * scale * (1 + fabs(real)));
        }
    }
}

/* ---- L1 LayerNorm ------------------------------------------------------------------------------ */

static void l1_is_the_formula(void **state)
{
    (void)state;
    static const size_t widths[] = { 2, 8, 96, 192, 768, 1500 };
    static int16_t x[1500];
    static int32_t y[1500];
    uint64_t seed = 7;
    for (size_t w = 0; w < COUNT(widths); w++)
        for (int round = 0; round < 20; round++) {
            const size_t count = widths[w];
            const int reach = 1 << (3 + round % 13);
            double mean = 0, magnitude = 0;
            for (size_t i = 0; i < count; i++) {
                x[i] = (int16_t)(fixture_uniform(&seed, -reach / 2, reach / 2 - 1) + round);
                mean += (double)x[i] / (double)count;
            }
            for (size_t i = 0; i < count; i++)
                magnitude += fabs(x[i] - mean) / (double)count;
            const double deviation = sqrt(acos(-1) / 2) * magnitude;
            const uint32_t root = iviti_layernorm_l1(x, count, y);
            if (magnitude < 1)
                continue;
            assert_true(fabs(root - deviation * (double)count) <= 2.5);
            for (size_t i = 0; i < count; i++) {
                const double exact = (x[i] - mean) / deviation;
                assert_true(fabs(y[i] / 65536.0 - exact) <=
                            fabs(exact) * 2.5 / (deviation * (double)count) + 1e-4);
            }
        }
}

/* Nothing to normalise, and one value alone: 16383 others are as good as 0. */
static void l1_at_the_ends(void **state)
{
    (void)state;
    static int16_t x[16384];
    static int32_t y[16384];
    for (size_t i = 0; i < COUNT(x); i++)
        x[i] = -32768;
    assert_int_equal(iviti_layernorm_l1(x, COUNT(x), y), 1);
    for (size_t i = 0; i < COUNT(x); i++)
        assert_int_equal(y[i], 0);
    x[77] = 32767;
    iviti_layernorm_l1(x, COUNT(x), y);
    assert_in_range(y[77], (1 << 23) - 4, 1 << 23);
    assert_true(y[78] < 0 && y[78] > -65536);
    x[77] = -32767;
    assert_int_equal(iviti_layernorm_l1(x, COUNT(x), y), 16383 / 128 + 1);
    assert_in_range(y[77], 16383 * 65536 / 128 - 1, 1 << 23);
    x[0] = 5;
    assert_int_equal(iviti_layernorm_l1(x, 1, y), 1);
    assert_int_equal(y[0], 0);
}

/* On the vector of the exact form: numerators 8 x - 9 of sum |..| = 236, r = 1.2533 * 29. */
static void l1_vector(void **state)
{
    (void)state;
    static const int16_t x[] = { 3, -1, 4, 1, -5, 9, -2, 6 };
    static const int32_t numerator[] = { 9, -23, 17, -7, -55, 57, -31, 33 };
    int32_t y[8], distance = 0;
    for (size_t i = 0; i < 8; i++) {
        int32_t expected = 8 * x[i];
        for (size_t k = 0; k < 8; k++)
            expected -= x[k];
        assert_int_equal(expected, numerator[i]);
        distance += abs(numerator[i]);
    }
    assert_int_equal(distance / 8, 29);
    assert_int_equal(iviti_layernorm_l1(x, 8, y), 36);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(y[i], (int32_t)floor(numerator[i] * 65536.0 / 36 + 0.5));
}

/* ---- SULQ -------------------------------------------------------------------------------------- */

/* Thresholds over the whole range of probabilities, as printed to five places. */
static void sulq_thresholds_of_the_paper(void **state)
{
    (void)state;
    static const struct {
        int bits;
        double eta;
        int lowest;
        struct {
            double from;
            int exponent;
        } step[10];
    } cases[] = {
        { 3, 0.001, -10, { { .00064, -9 }, { .00339, -7 }, { .01079, -6 }, { .03064, -4 },
                           { .08389, -3 }, { .22676, -1 }, { .61011, 0 } } },
        { 3, 0.01, -7, { { .00390, -6 }, { .01688, -5 }, { .04198, -4 }, { .09050, -3 },
                         { .18431, -2 }, { .36569, -1 }, { .71637, 0 } } },
        { 3, 0.05, -4, { { .04601, -3 }, { .09832, -2 }, { .30397, -1 }, { .79478, 0 } } },
        { 4, 0.001, -10, { { .00026, -9 }, { .00216, -8 }, { .00401, -7 }, { .01159, -6 },
                           { .01896, -5 }, { .04915, -4 }, { .07848, -3 }, { .19868, -2 },
                           { .31549, -1 }, { .79410, 0 } } },
        { 4, 0.01, -7, { { .00166, -6 }, { .01158, -5 }, { .02993, -4 }, { .09050, -3 },
                         { .17595, -2 }, { .33407, -1 }, { .62663, 0 } } },
        { 4, 0.05, -4, { { .03305, -3 }, { .13704, -2 }, { .29386, -1 }, { .72440, 0 } } },
        { 4, 0.1, -3, { { .07498, -2 }, { .23166, -1 }, { .63761, 0 } } },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const sulq_code c = sulq_code_over(cases[i].eta, cases[i].bits, 0, 1);
        assert_int_equal(sulq_exponent(&c, 0), cases[i].lowest);
        int before = cases[i].lowest;
        for (size_t k = 0; k < 10 && cases[i].step[k].from > 0; k++) {
            const double from = cases[i].step[k].from;
            assert_int_equal(sulq_exponent(&c, from - 0.6e-5), before);
            before = cases[i].step[k].exponent;
            assert_int_equal(sulq_exponent(&c, from + 0.6e-5), before);
        }
        assert_int_equal(sulq_exponent(&c, 1), before);
    }
}

/* The integer codes are those of the formula, but where a numerator lies within a unit of 2^-24 of a
 * threshold; exponents for which there is no multiplier have the highest. */
static void sulq_codes_are_the_formula(void **state)
{
    (void)state;
    static const double etas[] = { 0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0 };
    uint64_t seed = 8;
    for (size_t i = 0; i < COUNT(etas); i++)
        for (int bits = 3; bits <= 8; bits++)
            for (int round = 0; round < 30; round++) {
                const size_t count = 1 + fixture_random(&seed) % 600;
                uint8_t e[600], code[600];
                uint32_t sum = 255;
                e[0] = 255;
                for (size_t t = 1; t < count; t++) {
                    e[t] = (uint8_t)(fixture_random(&seed) % 256 >> fixture_random(&seed) % 9);
                    sum += e[t];
                }
                const sulq_code c =
                    sulq_code_over(etas[i], bits, 0, round % 2 ? 1 : 0.3 + 0.02 * round);
                int32_t thresholds[IVITI_SULQ_THRESHOLDS];
                const int lowest = sulq_thresholds(&c, thresholds);
                iviti_sulq_codes(e, count, sum, (const uint32_t *)thresholds, code);
                for (size_t t = 0; t < count; t++) {
                    const double p = (double)e[t] / sum;
                    const int low = sulq_exponent(&c, fmax(p - 0x1p-24, 0)) - lowest;
                    const int high = sulq_exponent(&c, p + 0x1p-24) - lowest;
                    assert_true(code[t] == 1 << (low > 7 ? 7 : low) ||
                                code[t] == 1 << (high > 7 ? 7 : high));
                }
                iviti_sulq_codes(e, count, sum, (const uint32_t *)thresholds, e);
                assert_memory_equal(e, code, count);
            }
}

/* Flat rows get a fine code although it ends below one; rows with large probabilities do not. */
static void sulq_best_eta(void **state)
{
    (void)state;
    float flat[400], steep[400];
    for (int i = 0; i < 400; i++) {
        flat[i] = 0.0001f * (float)(i % 100);
        steep[i] = i % 100 == 0 ? 0.9f : 0.001f;
    }
    const sulq_code fine = sulq_best(flat, 400, 4), coarse = sulq_best(steep, 400, 4);
    assert_true(fine.eta < 0.01);
    assert_true(coarse.eta >= 0.01);
}

/* Attention with SULQ against its formula in double precision, sum of (2^E - eta) v at a scale, for every
 * instruction set that is here. Scores are such that codes of all kinds occur. */
static void sulq_attention_is_the_formula(void **state)
{
    enum { TOKENS = 61, WIDTH = 20, SHIFT = 6 };
    static _Alignas(64) int8_t keys[((TOKENS + 15) / 16 * 16) * WIDTH];
    static _Alignas(64) int8_t values[32 * ((TOKENS + 3) / 4 * 4)];
    static _Alignas(64) uint8_t scratch[16 * 64 * 6 + 4096];
    uint8_t table[256], q[TOKENS * WIDTH], y[TOKENS * WIDTH];
    uint64_t seed = 9;
    bool seen[8] = { false };
    (void)state;

    for (int i = 0; i < 256; i++)
        table[i] = (uint8_t)floor(255 * exp(-i * log(510) / 254.5) + 0.5);
    for (size_t i = 0; i < sizeof q; i++)
        q[i] = (uint8_t)fixture_uniform(&seed, 60, 196);
    for (size_t t = 0; t < TOKENS; t++)
        for (size_t d = 0; d < WIDTH; d++) {
            keys[iviti_panel_offset(t, d, WIDTH)] = (int8_t)fixture_uniform(&seed, -127, 127);
            values[iviti_panel_offset(d, t, TOKENS)] = (int8_t)fixture_uniform(&seed, -127, 127);
        }

    const sulq_code c = sulq_code_over(0.01, 4, 0, 1);
    iviti_sulq s = { .shift = SHIFT };
    int32_t thresholds[IVITI_SULQ_THRESHOLDS];
    const int lowest = sulq_thresholds(&c, thresholds);
    for (int k = 0; k < IVITI_SULQ_THRESHOLDS; k++)
        s.threshold[k] = (uint32_t)thresholds[k];
    s.eta = (int32_t)lround(ldexp(c.eta, SHIFT - lowest));
    const double output = 0.9; /* of one unit of the real sum */
    const iviti_attention a = { .kind = IVITI_SOFTMAX_SULQ,
                                .head_dim = WIDTH,
                                .tokens = TOKENS,
                                .score = fixture_dyadic(0.006, 1, 62),
                                .exp_table = table,
                                .sulq = &s,
                                .output = fixture_dyadic(ldexp(output, lowest - SHIFT), 32, 62) };
    for (int isa = IVITI_ISA_REF; isa <= IVITI_ISA_I8MM; isa++) {
        iviti_kernels k;
        if (!iviti_isa_available((iviti_isa)isa))
            continue;
        iviti_kernels_select(&k, (iviti_isa)isa);
        k.attention(&a, q, WIDTH, 0, TOKENS, keys, values, y, WIDTH, scratch);
        for (size_t r = 0; r < TOKENS; r++) {
            double score[TOKENS], e[TOKENS], sum = 0, most = -INFINITY;
            for (size_t t = 0; t < TOKENS; t++) {
                score[t] = 0;
                for (size_t d = 0; d < WIDTH; d++)
                    score[t] += (q[r * WIDTH + d] - 128.0) * keys[iviti_panel_offset(t, d, WIDTH)];
                most = fmax(most, score[t]);
            }
            for (size_t t = 0; t < TOKENS; t++) {
                e[t] = table[(int)fmin(255, floor((most - score[t]) * 0.006 + 0.5))];
                sum += e[t];
            }
            for (size_t d = 0; d < WIDTH; d++) {
                double real = 0;
                for (size_t t = 0; t < TOKENS; t++) {
                    const int exponent = sulq_exponent(&c, e[t] / sum);
                    seen[exponent - lowest] = true;
                    real += (ldexp(1, exponent) - c.eta) * values[iviti_panel_offset(d, t, TOKENS)];
                }
                const double clamped = fmax(-128, fmin(127, real * output));
                /* half a unit of rounding, and eta's */
                assert_true(fabs(y[r * WIDTH + d] - 128.0 - clamped) <= 0.5 + 0.1);
            }
        }
    }
    for (size_t i = 0; i < COUNT(seen); i++)
        assert_true(seen[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(i_exp_is_near_exp),
        cmocka_unit_test(i_exp_is_the_published_one),
        cmocka_unit_test(i_softmax_is_softmax),
        cmocka_unit_test(lis_is_the_published_one),
        cmocka_unit_test(i_gelu_vector),
        cmocka_unit_test(i_gelu_is_near_gelu),
        cmocka_unit_test(l1_is_the_formula),
        cmocka_unit_test(l1_at_the_ends),
        cmocka_unit_test(l1_vector),
        cmocka_unit_test(sulq_thresholds_of_the_paper),
        cmocka_unit_test(sulq_codes_are_the_formula),
        cmocka_unit_test(sulq_best_eta),
        cmocka_unit_test(sulq_attention_is_the_formula),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

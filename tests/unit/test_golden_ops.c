/* SPDX-License-Identifier: Apache-2.0
 *
 * The public operators against the vectors in tests/golden, which state their formulas in their
 * metadata. Scales are part of a vector's description, so the constants derived from them are named
 * here; every value compared is an exact integer, save where noted.
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

#include "checkpoint/checkpoint.h"
#include "iviti/kernels.h"

static checkpoint *vectors;

static void open_vectors(const char *name)
{
    char path[256];
    report r = { "" };
    snprintf(path, sizeof path, "golden/%s.safetensors", name);
    if (!checkpoint_open(path, &vectors, &r))
        fail_msg("%s", r.text);
}

/* Tensor "<name><number>", or "<name>" where number is negative; its data copied to be aligned. */
static void *tensor(const char *name, int number, checkpoint_type type, size_t *rows,
                    size_t *columns)
{
    static const size_t bytes[] = { 4, 2, 2, 8, 8, 4, 2, 1, 1, 1 };
    char full[64];
    if (number < 0)
        snprintf(full, sizeof full, "%s", name);
    else
        snprintf(full, sizeof full, "%s%d", name, number);

    const checkpoint_tensor *t = checkpoint_find(vectors, full);
    assert_non_null(t);
    assert_int_equal(t->type, type);
    assert_true(t->count > 0);
    if (columns)
        *columns = (size_t)t->shape[t->rank - 1];
    if (rows)
        *rows = (size_t)(t->count / t->shape[t->rank - 1]);
    void *copy = malloc((size_t)t->count * bytes[type]);
    assert_non_null(copy);
    memcpy(copy, t->data, (size_t)t->count * bytes[type]);
    return copy;
}

static iviti_dyadic *factors(size_t count)
{
    int32_t *m = tensor("multiplier", -1, CHECKPOINT_I32, NULL, NULL);
    int32_t *c = tensor("shift", -1, CHECKPOINT_I32, NULL, NULL);
    iviti_dyadic *f = malloc(count * sizeof *f);
    assert_non_null(f);
    for (size_t i = 0; i < count; i++)
        f[i] = (iviti_dyadic){ m[i], c[i] };
    free(m);
    free(c);
    return f;
}

static void requant_vectors(void **state)
{
    (void)state;
    size_t rows, columns;
    open_vectors("requant");
    int32_t *z = tensor("z", -1, CHECKPOINT_I32, &rows, &columns);
    int8_t *out8 = tensor("out8", -1, CHECKPOINT_I8, NULL, NULL);
    int16_t *out16 = tensor("out16", -1, CHECKPOINT_I16, NULL, NULL);
    iviti_dyadic *f = factors(columns);
    int8_t *y8 = malloc(rows * columns);
    int16_t *y16 = malloc(rows * columns * 2);

    iviti_requantize_rows_s8(z, f, rows, columns, y8);
    iviti_requantize_rows_s16(z, f, rows, columns, y16);
    assert_memory_equal(y8, out8, rows * columns);
    assert_memory_equal(y16, out16, rows * columns * 2);
    free(z), free(out8), free(out16), free(f), free(y8), free(y16);
    checkpoint_close(vectors);
}

static void dense_vectors(void **state)
{
    (void)state;
    static const char *const files[] = { "dense_a", "dense_b", "dense_c", "dense_d" };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        size_t rows, in, out;
        open_vectors(files[i]);
        int8_t *x = tensor("x", -1, CHECKPOINT_I8, &rows, &in);
        int8_t *w = tensor("w", -1, CHECKPOINT_I8, &out, NULL);
        int32_t *bias = tensor("bias", -1, CHECKPOINT_I32, NULL, NULL);
        int32_t *expected = tensor("acc", -1, CHECKPOINT_I32, NULL, NULL);
        int8_t *out8 = tensor("out8", -1, CHECKPOINT_I8, NULL, NULL);
        int16_t *out16 = tensor("out16", -1, CHECKPOINT_I16, NULL, NULL);
        iviti_dyadic *f = factors(out);
        int32_t *acc = malloc(rows * out * 4);
        int8_t *y8 = malloc(rows * out);
        int16_t *y16 = malloc(rows * out * 2);

        iviti_dense_s8s8(x, w, bias, rows, in, out, acc);
        assert_memory_equal(acc, expected, rows * out * 4);
        iviti_requantize_rows_s8(acc, f, rows, out, y8);
        assert_memory_equal(y8, out8, rows * out);
        iviti_requantize_rows_s16(acc, f, rows, out, y16);
        assert_memory_equal(y16, out16, rows * out * 2);

        /* The same through unsigned operands: 128 * (row sums) is taken off in the bias. */
        uint8_t *shifted = malloc(rows * in);
        int32_t *corrected = malloc(out * 4);
        for (size_t k = 0; k < rows * in; k++)
            shifted[k] = (uint8_t)(x[k] + 128);
        for (size_t o = 0; o < out; o++) {
            corrected[o] = bias[o];
            for (size_t k = 0; k < in; k++)
                corrected[o] -= 128 * w[o * in + k];
        }
        iviti_dense_u8s8(shifted, w, corrected, rows, in, out, acc);
        assert_memory_equal(acc, expected, rows * out * 4);
        free(x), free(w), free(bias), free(expected), free(out8), free(out16), free(f), free(acc);
        free(y8), free(y16), free(shifted), free(corrected);
        checkpoint_close(vectors);
    }
}

static void matmul_vectors(void **state)
{
    (void)state;
    size_t rows, inner, columns;
    open_vectors("matmul_u8s8");
    uint8_t *a = tensor("a", -1, CHECKPOINT_U8, &rows, &inner);
    int8_t *b = tensor("b", -1, CHECKPOINT_I8, NULL, &columns);
    int32_t *expected = tensor("acc", -1, CHECKPOINT_I32, NULL, NULL);
    int32_t *acc = malloc(rows * columns * 4);

    iviti_matmul_u8s8(a, b, rows, inner, columns, acc);
    assert_memory_equal(acc, expected, rows * columns * 4);

    int16_t *wide = malloc(rows * inner * 2);
    for (size_t i = 0; i < rows * inner; i++)
        wide[i] = a[i];
    memset(acc, 0x55, rows * columns * 4);
    iviti_matmul_s16s8(wide, b, rows, inner, columns, acc);
    assert_memory_equal(acc, expected, rows * columns * 4);
    free(a), free(b), free(expected), free(acc), free(wide);
    checkpoint_close(vectors);
}

static void shift_exp_vectors(void **state)
{
    (void)state;
    static const struct {
        int32_t one_over_scale;
        int n;
    } cases[] = { { 33, 15 }, { 10, 15 }, { 2, 15 }, { 2, 15 }, { 176, 15 }, { 33, 23 }, { 17, 23 } };
    open_vectors("shift_exp");
    for (int i = 0; i < (int)(sizeof cases / sizeof *cases); i++) {
        size_t count;
        int32_t *x = tensor("x", i, CHECKPOINT_I32, NULL, &count);
        int64_t *y = tensor("y", i, CHECKPOINT_I64, NULL, NULL);
        for (size_t k = 0; k < count; k++)
            assert_int_equal(iviti_shift_exp(x[k], cases[i].one_over_scale, cases[i].n), y[k]);
        free(x), free(y);
    }
    checkpoint_close(vectors);
}

static void shiftmax_vectors(const char *file, int bits)
{
    static const int32_t one_over_scale[] = { 33, 10, 176, 4, 20, 50 };
    open_vectors(file);
    for (int i = 0; i < 6; i++) {
        size_t rows, count;
        int8_t *x = tensor("x", i, CHECKPOINT_I8, &rows, &count);
        int16_t *y = tensor("y", i, CHECKPOINT_I16, NULL, NULL);
        int16_t *p = malloc(count * 2);
        for (size_t r = 0; r < rows; r++) {
            iviti_shiftmax(x + r * count, count, one_over_scale[i], bits, p);
            assert_memory_equal(p, y + r * count, count * 2);
        }
        free(x), free(y), free(p);
    }
    checkpoint_close(vectors);
}

static void shiftmax16_vectors(void **state)
{
    (void)state;
    shiftmax_vectors("shiftmax16", 16);
}

static void shiftmax8_vectors(void **state)
{
    (void)state;
    shiftmax_vectors("shiftmax8", 8);
}

static void shift_gelu_vectors(void **state)
{
    (void)state;
    static const int32_t one_over_scale[] = { 19, 10, 46, 3 };
    open_vectors("shiftgelu");
    for (int i = 0; i < 4; i++) {
        size_t rows, count;
        int8_t *x = tensor("x", i, CHECKPOINT_I8, &rows, &count);
        int32_t *y = tensor("y", i, CHECKPOINT_I32, NULL, NULL);
        int32_t *out = malloc(count * 4);
        for (size_t r = 0; r < rows; r++) {
            iviti_shift_gelu(x + r * count, count, one_over_scale[i], out);
            assert_memory_equal(out, y + r * count, count * 4);
        }
        free(x), free(y), free(out);
    }
    checkpoint_close(vectors);
}

static void layernorm_vectors(void **state)
{
    (void)state;
    int cases = 0;
    open_vectors("layernorm");
    for (;; cases++) {
        char name[] = { 'x', (char)('0' + cases), 0 };
        if (!checkpoint_find(vectors, name))
            break;
        size_t rows, count;
        int16_t *x = tensor("x", cases, CHECKPOINT_I16, &rows, &count);
        int64_t *newton_std = tensor("newton_std", cases, CHECKPOINT_I64, NULL, NULL);
        int64_t *newton_y = tensor("newton_y", cases, CHECKPOINT_I64, NULL, NULL);
        int64_t *variance = tensor("exact_V", cases, CHECKPOINT_I64, NULL, NULL);
        int64_t *root = tensor("exact_sd", cases, CHECKPOINT_I64, NULL, NULL);
        double *norm = tensor("exact_norm", cases, CHECKPOINT_F64, NULL, NULL);
        int32_t *y = malloc(count * 4);
        for (size_t r = 0; r < rows; r++) {
            assert_int_equal(iviti_layernorm_newton(x + r * count, count, y), newton_std[r]);
            for (size_t c = 0; c < count; c++)
                assert_int_equal(y[c], newton_y[r * count + c]);

            /* The vectors are without epsilon, ours is at least 1: the root is that of V + 1. */
            assert_int_equal(iviti_isqrt((uint64_t)variance[r]), root[r]);
            const uint32_t used = iviti_layernorm_exact(x + r * count, count, 1, y);
            assert_int_equal(used, iviti_isqrt((uint64_t)variance[r] + 1));
            if (used != root[r])
                continue;
            /* The vectors' quotient is real; ours is rounded to 16 fractional bits. */
            for (size_t c = 0; c < count; c++)
                assert_true(fabs(y[c] / 65536.0 - norm[r * count + c]) <= 0.51 / 65536.0);
        }
        free(x), free(newton_std), free(newton_y), free(variance), free(root), free(norm), free(y);
    }
    checkpoint_close(vectors);
    assert_int_equal(cases, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requant_vectors),    cmocka_unit_test(dense_vectors),
        cmocka_unit_test(matmul_vectors),     cmocka_unit_test(shift_exp_vectors),
        cmocka_unit_test(shiftmax16_vectors), cmocka_unit_test(shiftmax8_vectors),
        cmocka_unit_test(shift_gelu_vectors), cmocka_unit_test(layernorm_vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

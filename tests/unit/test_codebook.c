/* SPDX-License-Identifier: Apache-2.0
 *
 * Codebooks: the clustering against all partitions, the model against the one of 8 bits with the same
 * weights, and every way in which a file may be wrong.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "common/weight_packing.h"
#include "model/model.h"
#include "model/pack.h"
#include "model_edit.h"
#include "quantize/codebook.h"

static const char KEY[] = "iviti.weights.codebooks";

static uint32_t draw(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*state >> 33);
}

/* ---- clustering ---------------------------------------------------------------------------------- */

#define VALUES 8

/* Least squared distance of rising values to one integer of -127 to 127 each run, over all ways to cut
 * them into at most `runs` runs. */
static double exhaustive(const double *value, const double *weight, int runs)
{
    double least = INFINITY;
    for (unsigned cuts = 0; cuts < 1u << (VALUES - 1); cuts++) {
        double cost = 0;
        int used = 1, first = 0;
        for (int i = 0; i < VALUES; i++) {
            if (i + 1 < VALUES && !(cuts >> i & 1))
                continue;
            double best = INFINITY;
            for (int c = -127; c <= 127; c++) {
                double distance = 0;
                for (int k = first; k <= i; k++)
                    distance += weight[k] * (value[k] - c) * (value[k] - c);
                best = fmin(best, distance);
            }
            cost += best;
            first = i + 1;
            used += i + 1 < VALUES;
        }
        if (used <= runs)
            least = fmin(least, cost);
    }
    return least;
}

static int rising(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void test_cluster(void **state)
{
    (void)state;
    uint64_t numbers = 21;
    for (int round = 0; round < 40; round++) {
        double value[VALUES], weight[VALUES];
        value_bins *bins = calloc(1, sizeof *bins);
        assert_non_null(bins);
        for (int i = 0; i < VALUES; i++) /* far enough apart to have bins of their own; some beyond */
            value[i] = -140 + 40 * i + draw(&numbers) % 3000 / 100.0;
        qsort(value, VALUES, sizeof *value, rising);
        for (int i = 0; i < VALUES; i++) {
            weight[i] = 1 + draw(&numbers) % 1000 / 10.0;
            value_bins_add(bins, value[i], weight[i]);
        }
        for (int runs = 1; runs <= 5; runs++) {
            int8_t entry[5];
            const double cost = codebook_cluster(bins, (size_t)runs, entry);
            const double wanted = exhaustive(value, weight, runs);
            assert_true(fabs(cost - wanted) <= 1e-9 * (1 + wanted));
            double nearest = 0; /* the entries are worth what was said */
            for (int i = 0; i < VALUES; i++) {
                double d = INFINITY;
                for (int k = 0; k < runs; k++)
                    d = fmin(d, fabs(value[i] - entry[k]));
                nearest += weight[i] * d * d;
            }
            assert_true(nearest <= cost * (1 + 1e-9) + 1e-9);
            for (int k = 0; k < runs; k++) {
                assert_in_range(entry[k] + 127, 0, 254);
                assert_true(k == 0 || entry[k] >= entry[k - 1]);
            }
        }
        free(bins);
    }
}

/* Fewer values than entries, and none at all. */
static void test_few_values(void **state)
{
    (void)state;
    int8_t entry[IVITI_CODEBOOK];
    value_bins *bins = calloc(1, sizeof *bins);
    assert_non_null(bins);
    assert_true(codebook_cluster(bins, IVITI_CODEBOOK, entry) <= 0);
    for (int k = 1; k < IVITI_CODEBOOK; k++)
        assert_true(entry[k] >= entry[k - 1]);
    value_bins_add(bins, -50, 2);
    value_bins_add(bins, 0, 1);
    value_bins_add(bins, 77, 3);
    assert_true(codebook_cluster(bins, IVITI_CODEBOOK, entry) <= 0);
    int found = 0;
    for (int k = 0; k < IVITI_CODEBOOK; k++) {
        assert_true(k == 0 || entry[k] >= entry[k - 1]);
        found |= entry[k] == -50 ? 1 : entry[k] == 0 ? 2 : entry[k] == 77 ? 4 : 0;
    }
    assert_int_equal(found, 7);
    free(bins);
}

/* ---- the model file ------------------------------------------------------------------------------ */

/* Every layer has an entry that no other has. */
static iviti_geometry coded_geometry(fixture_kind kind)
{
    iviti_geometry g = edit_geometry(kind);
    g.codebooks = true;
    for (uint32_t i = 0; i < iviti_weight_layers(&g); i++) {
        g.weight_bits[i] = i % 3 == 2 ? 6 : 4;
        for (int k = 0; k < IVITI_CODEBOOK && i % 3 != 2; k++)
            g.codebook[i][k] = (int8_t)(-127 + k * 16 + (int)i % 15);
    }
    return g;
}

/* The file with indices, or with the weights of 8 bits that they stand for. */
static model_fixture build(const iviti_geometry *plain, const iviti_geometry *coded, bool expand)
{
    const model_metadata metadata = { .name = "coded" };
    model_writer *w = NULL;
    report r = { "" };
    iviti_tensor_spec spec, spec8;
    const uint8_t *image;
    model_fixture f = { NULL, 0 };
    uint64_t numbers = 5;
    assert_true(model_writer_open(expand ? plain : coded, &metadata, &w, &r));
    for (size_t i = 0; iviti_schema_tensor(coded, i, &spec); i++) {
        assert_true(iviti_schema_tensor(plain, i, &spec8));
        int8_t *values = fixture_tensor(plain, &spec8, 7);
        size_t bytes = (size_t)spec8.bytes;
        if (spec.bits != 0 && spec.bits < 8) {
            int8_t *const index = malloc((size_t)spec8.count);
            uint8_t *const packed = malloc((size_t)spec.bytes);
            assert_true(index && packed);
            for (size_t k = 0; k < spec8.count; k++) {
                index[k] = (int8_t)(spec.codebook ? (int)(draw(&numbers) % 16) : values[k] % 32);
                values[k] = spec.codebook ? spec.codebook[index[k]] : index[k];
            }
            weight_packing_pack(index, spec8.shape[0], spec8.inputs, spec.bits, packed);
            free(index);
            if (expand) {
                free(packed);
            } else {
                free(values);
                values = (int8_t *)packed;
                bytes = (size_t)spec.bytes;
            }
        }
        assert_true(model_writer_put(w, i, values, bytes, &r));
        free(values);
    }
    assert_true(model_writer_finish(w, &image, &f.size, &r));
    f.image = malloc(f.size);
    assert_non_null(f.image);
    memcpy(f.image, image, f.size);
    model_writer_close(w);
    return f;
}

static void expect_same_layer(const iviti_dense *a, const iviti_dense *b)
{
    assert_memory_equal(a->panels, b->panels, iviti_panel_bytes(a->out, a->in));
    assert_memory_equal(a->bias, b->bias, a->out * sizeof *a->bias);
}

static void test_same_model(void **state)
{
    (void)state;
    for (int kind = 0; kind < FIXTURE_KINDS; kind++) {
        const iviti_geometry plain = edit_geometry((fixture_kind)kind);
        const iviti_geometry coded = coded_geometry((fixture_kind)kind);
        model_fixture f8 = build(&plain, &coded, true), f = build(&plain, &coded, false);
        assert_true(f.size < f8.size);
        const load_result r8 = edit_load(f8.image, f8.size, NULL);
        const load_result r = edit_load(f.image, f.size, NULL);
        assert_string_equal(r.sentence, "");
        assert_int_equal(r8.status, IVITI_OK);
        assert_int_equal(r.status, IVITI_OK);
        for (uint32_t i = 0; i < plain.depth; i++) {
            const iviti_block *const a = &r.model->blocks[i], *const b = &r8.model->blocks[i];
            expect_same_layer(&a->query, &b->query);
            expect_same_layer(&a->key, &b->key);
            expect_same_layer(&a->value, &b->value);
            expect_same_layer(&a->proj, &b->proj);
            expect_same_layer(&a->fc1, &b->fc1);
            expect_same_layer(&a->fc2, &b->fc2);
        }
        for (uint32_t s = 0; s + 1 < plain.stages; s++)
            expect_same_layer(&r.model->merges[s].reduction, &r8.model->merges[s].reduction);
        iviti_model_free(r.model);
        iviti_model_free(r8.model);
        fixture_free(&f);
        fixture_free(&f8);
    }
}

static void test_damage(void **state)
{
    (void)state;
    const iviti_geometry plain = edit_geometry(FIXTURE_VIT_TABLE);
    const iviti_geometry coded = coded_geometry(FIXTURE_VIT_TABLE);
    model_fixture f = build(&plain, &coded, false);
    uint8_t *const entry = f.image + edit_value(&f, KEY);
    edit_expect(&f, IVITI_OK, "");

    const uint8_t before = entry[16];
    entry[16] = 0x80; /* -128 */
    edit_expect(&f, IVITI_ERROR_RANGE, "iviti.weights.codebooks[16] is -128");
    entry[16] = 127; /* above the next */
    edit_expect(&f, IVITI_ERROR_CORRUPT, "iviti.weights.codebooks[17] is");
    entry[16] = before;
    entry[2 * 16 + 5] = 1; /* the third layer has 6 bits */
    edit_expect(&f, IVITI_ERROR_CORRUPT, "iviti.weights.codebooks[37] is 1; it must be 0");
    entry[2 * 16 + 5] = 0;
    edit_expect(&f, IVITI_OK, "");
    for (size_t cut = 1; cut < f.size; cut += 97) {
        const load_result r = edit_load(f.image, f.size - cut, NULL);
        assert_int_equal(r.status, IVITI_ERROR_TRUNCATED);
    }
    fixture_free(&f);
}

/* The array must have 16 entries for every layer, and no more. */
static void test_array_length(void **state)
{
    (void)state;
    const iviti_geometry g = edit_geometry(FIXTURE_SWIN_TABLE);
    static const struct {
        uint32_t count;
        iviti_status status;
    } cases[] = { { 16 * 17 - 1, IVITI_ERROR_CORRUPT },
                  { 16 * 17, IVITI_OK },
                  { 16 * 17 + 1, IVITI_ERROR_CORRUPT },
                  { 16 * IVITI_MAX_WEIGHTS + 1, IVITI_ERROR_LIMIT } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        model_fixture f = fixture_build(&g, 2);
        edit_insert_array(&f, &g, KEY, 1, cases[i].count, 0);
        edit_expect(&f, cases[i].status, "iviti.weights.codebooks has");
        fixture_free(&f);
    }
}

/* The writer refuses what the reader would. */
static void test_writer(void **state)
{
    (void)state;
    iviti_geometry g = coded_geometry(FIXTURE_VIT_TABLE);
    const model_metadata metadata = { .name = "coded" };
    model_writer *w = NULL;
    report r = { "" };
    g.codebook[1][0] = -128;
    assert_false(model_writer_open(&g, &metadata, &w, &r));
    assert_non_null(strstr(r.text, "iviti.weights.codebooks[16] is -128"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cluster),    cmocka_unit_test(test_few_values),
        cmocka_unit_test(test_same_model), cmocka_unit_test(test_damage),
        cmocka_unit_test(test_array_length), cmocka_unit_test(test_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Weights of fewer than 8 bits: the same model as if a file of 8 bits had held them, and every way in
 * which they may be wrong.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/weight_packing.h"
#include "model/model.h"
#include "model/pack.h"
#include "model_edit.h"

static const uint32_t BITS[] = { 3, 4, 6, 8 };

/* A dense layer of the blocks or a merge gets its bits in turn. */
static iviti_geometry mixed_geometry(fixture_kind kind)
{
    iviti_geometry g = edit_geometry(kind);
    for (uint32_t i = 0; i < iviti_weight_layers(&g); i++)
        g.weight_bits[i] = (uint8_t)BITS[i % 4];
    return g;
}

/* A tensor of `spec`, whose weights fit the bits of `low`, as `spec` wants it in the file. */
static void *bounded_tensor(const iviti_geometry *plain, const iviti_tensor_spec *spec8,
                            const iviti_tensor_spec *low, bool pack)
{
    int8_t *const values = fixture_tensor(plain, spec8, 7);
    if (low->bits == 0 || low->bits == 8)
        return values;
    const int limit = (1 << (low->bits - 1)) - 1;
    for (size_t i = 0; i < spec8->count; i++)
        values[i] = (int8_t)(values[i] % (limit + 1));
    values[0] = (int8_t)limit;
    values[1] = (int8_t)-limit;
    if (!pack)
        return values;
    uint8_t *const packed = malloc((size_t)low->bytes);
    assert_non_null(packed);
    weight_packing_pack(values, spec8->shape[0], spec8->inputs, low->bits, packed);
    free(values);
    return packed;
}

/* The file with the weights of `mixed`, packed or as 8 bits. */
static model_fixture build(const iviti_geometry *plain, const iviti_geometry *mixed, bool pack)
{
    const iviti_geometry *const g = pack ? mixed : plain;
    const model_metadata metadata = { .name = "packed" };
    model_writer *w = NULL;
    report r = { "" };
    iviti_tensor_spec spec, spec8;
    const uint8_t *image;
    model_fixture f = { NULL, 0 };
    assert_true(model_writer_open(g, &metadata, &w, &r));
    for (size_t i = 0; iviti_schema_tensor(mixed, i, &spec); i++) {
        assert_true(iviti_schema_tensor(plain, i, &spec8));
        void *const values = bounded_tensor(plain, &spec8, &spec, pack);
        assert_true(model_writer_put(w, i, values, (size_t)(pack ? spec.bytes : spec8.bytes), &r));
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
    assert_int_equal(a->in, b->in);
    assert_int_equal(a->out, b->out);
    assert_memory_equal(a->panels, b->panels, iviti_panel_bytes(a->out, a->in));
    assert_memory_equal(a->bias, b->bias, a->out * sizeof *a->bias);
    assert_memory_equal(a->multiplier, b->multiplier, a->out * sizeof *a->multiplier);
}

static void test_same_model(void **state)
{
    (void)state;
    for (int kind = 0; kind < FIXTURE_KINDS; kind++) {
        const iviti_geometry plain = edit_geometry((fixture_kind)kind);
        const iviti_geometry mixed = mixed_geometry((fixture_kind)kind);
        model_fixture f8 = build(&plain, &mixed, false), f = build(&plain, &mixed, true);
        assert_true(f.size < f8.size);
        const load_result r8 = edit_load(f8.image, f8.size, NULL);
        const load_result r = edit_load(f.image, f.size, NULL);
        assert_int_equal(r8.status, IVITI_OK);
        assert_int_equal(r.status, IVITI_OK);
        assert_int_equal(r.model->memory, r8.model->memory);
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
        expect_same_layer(&r.model->head, &r8.model->head);

        iviti_model_info info, info8;
        iviti_model_describe(r.model, &info);
        iviti_model_describe(r8.model, &info8);
        assert_int_equal(info.parameters, info8.parameters);
        iviti_model_free(r.model);
        iviti_model_free(r8.model);
        fixture_free(&f);
        fixture_free(&f8);
    }
}

/* Every code of every width of a row, against the definition. */
static void test_panel(void **state)
{
    (void)state;
    enum { MOST = 140, ROWS = 3 };
    for (size_t b = 0; b < 4; b++)
        for (size_t in = 4; in <= MOST; in += 4) {
            const uint32_t bits = BITS[b];
            const int32_t limit = (1 << (bits - 1)) - 1;
            const size_t row = iviti_packed_row(in, bits);
            int8_t weights[ROWS * MOST], panel[16 * (MOST + 4)];
            uint8_t packed[ROWS * MOST];
            int32_t sums[16];
            assert_int_equal(row, (in * bits + 7) / 8);
            for (size_t i = 0; i < ROWS * in; i++)
                weights[i] = (int8_t)((int32_t)(i % (size_t)(2 * limit + 1)) - limit);
            weight_packing_pack(weights, ROWS, in, bits, packed);
            assert_true(iviti_pack_panel(packed, ROWS, in, bits, NULL, panel, sums));
            assert_true(iviti_packed_padding_zero(packed, ROWS, in, bits));
            for (size_t r = 0; r < ROWS; r++) {
                int32_t sum = 0;
                for (size_t k = 0; k < in; k++) {
                    assert_int_equal(panel[iviti_panel_offset(r, k, in)], weights[r * in + k]);
                    sum += weights[r * in + k];
                }
                assert_int_equal(sums[r], sum);
            }
            for (size_t k = 0; k < in; k++) { /* the least value, anywhere */
                const int8_t before = weights[in + k];
                weights[in + k] = (int8_t)(-limit - 1);
                weight_packing_pack(weights, ROWS, in, bits, packed);
                assert_false(iviti_pack_panel(packed, ROWS, in, bits, NULL, panel, sums));
                weights[in + k] = before;
            }
            weight_packing_pack(weights, ROWS, in, bits, packed);
            for (size_t bit = in * bits; bit < 8 * row; bit++) {
                packed[2 * row + bit / 8] = (uint8_t)(packed[2 * row + bit / 8] ^ 1u << bit % 8);
                assert_false(iviti_packed_padding_zero(packed, ROWS, in, bits));
                packed[2 * row + bit / 8] = (uint8_t)(packed[2 * row + bit / 8] ^ 1u << bit % 8);
            }
        }
}

/* The layout that models/FORMAT.md gives as an example. */
static void test_layout(void **state)
{
    (void)state;
    static const int8_t weights[4] = { 1, -1, 3, -3 };
    static const uint8_t three[2] = { 0xF9, 0x0A }, four[2] = { 0xF1, 0xD3 };
    uint8_t packed[2];
    weight_packing_pack(weights, 1, 4, 3, packed);
    assert_memory_equal(packed, three, 2);
    weight_packing_pack(weights, 1, 4, 4, packed);
    assert_memory_equal(packed, four, 2);
}

static void test_damage(void **state)
{
    (void)state;
    iviti_geometry g = fixture_geometry(FIXTURE_VIT_DISTILLED);
    g.stage[0].dim = 36; /* rows of 3 bits that end within a byte */
    char text[200];
    assert_null(iviti_geometry_complete(&g, text, sizeof text));
    const iviti_geometry plain = g;
    for (uint32_t i = 0; i < iviti_weight_layers(&g); i++)
        g.weight_bits[i] = 3;
    model_fixture f = build(&plain, &g, true);
    edit_expect(&f, IVITI_OK, "");

    uint8_t *const data = f.image + edit_tensor(&f, &g, "block.1.qkv.weight");
    uint8_t before = data[0];
    data[0] = (uint8_t)((before & 0xF8) | 4);
    edit_expect(&f, IVITI_ERROR_RANGE, "block.1.qkv.weight has a -4 in rows 0 to");
    data[0] = before;
    before = data[13]; /* 36 weights of 3 bits: 4 bits of the last of 14 bytes */
    data[13] = (uint8_t)(before | 0x80);
    edit_expect(&f, IVITI_ERROR_CORRUPT, "block.1.qkv.weight has bits behind the last weight");
    data[13] = before;

    for (size_t cut = 1; cut < f.size; cut += 97) {
        const load_result r = edit_load(f.image, f.size - cut, NULL);
        assert_int_equal(r.status, IVITI_ERROR_TRUNCATED);
    }

    const size_t array = edit_value(&f, "iviti.weights.bits");
    static const uint32_t wrong[] = { 0, 1, 2, 5, 7, 9, 16, 0x104, UINT32_MAX };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        iviti_put_u32(f.image + array + 4, wrong[i]);
        edit_expect(&f, IVITI_ERROR_UNSUPPORTED, "iviti.weights.bits[1] is");
    }
    iviti_put_u32(f.image + array + 4, 4); /* other rows than the directory says */
    edit_expect(&f, IVITI_ERROR_CORRUPT, "block.0.proj.weight");
    iviti_put_u32(f.image + array + 4, 3);
    edit_expect(&f, IVITI_OK, "");
    fixture_free(&f);
}

/* The array must name every layer, and no more. */
static void test_array_length(void **state)
{
    (void)state;
    const iviti_geometry g = edit_geometry(FIXTURE_SWIN_TABLE);
    const uint32_t layers = iviti_weight_layers(&g);
    assert_int_equal(layers, 17);
    static const struct {
        uint32_t count;
        iviti_status status;
    } cases[] = { { 16, IVITI_ERROR_CORRUPT },
                  { 17, IVITI_OK },
                  { 18, IVITI_ERROR_CORRUPT },
                  { IVITI_MAX_WEIGHTS, IVITI_ERROR_CORRUPT },
                  { IVITI_MAX_WEIGHTS + 1, IVITI_ERROR_LIMIT } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        model_fixture f = fixture_build(&g, 2);
        edit_insert_array(&f, &g, "iviti.weights.bits", 4, cases[i].count, 8);
        edit_expect(&f, cases[i].status, "iviti.weights.bits has");
        fixture_free(&f);
    }
}

/* The writer refuses what the reader would. */
static void test_writer(void **state)
{
    (void)state;
    iviti_geometry g = edit_geometry(FIXTURE_VIT_TABLE);
    const model_metadata metadata = { .name = "packed" };
    model_writer *w = NULL;
    report r = { "" };
    g.weight_bits[3] = 5;
    assert_false(model_writer_open(&g, &metadata, &w, &r));
    assert_non_null(strstr(r.text, "iviti.weights.bits[3] is 5"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_model), cmocka_unit_test(test_panel),
        cmocka_unit_test(test_layout),     cmocka_unit_test(test_damage),
        cmocka_unit_test(test_array_length), cmocka_unit_test(test_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

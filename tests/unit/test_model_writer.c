/* SPDX-License-Identifier: Apache-2.0
 *
 * The writer of model files: same input, same bytes; and no file unless it is whole and right.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "model_edit.h"

static void temporary_path(char *path, size_t bytes, const char *name)
{
    const char *const build = getenv("IVITI_BUILD");
    snprintf(path, bytes, "%s/%s", build != NULL ? build : ".", name);
}

static bool exists(const char *path)
{
    FILE *const file = fopen(path, "rb");
    if (file != NULL)
        fclose(file);
    return file != NULL;
}

static void test_same_bytes(void **state)
{
    (void)state;
    for (int kind = 0; kind < FIXTURE_KINDS; kind++) {
        const iviti_geometry g = fixture_geometry((fixture_kind)kind);
        model_fixture a = fixture_build(&g, 3);
        model_fixture b = fixture_build(&g, 3);
        model_fixture c = fixture_build(&g, 4);
        assert_int_equal(a.size, b.size);
        assert_memory_equal(a.image, b.image, a.size);
        assert_int_equal(a.size, c.size);
        assert_memory_not_equal(a.image, c.image, a.size);
        fixture_free(&a);
        fixture_free(&b);
        fixture_free(&c);
    }
}

static void test_any_order(void **state)
{
    (void)state;
    iviti_geometry g = fixture_geometry(FIXTURE_VIT_TABLE);
    g.pixel_table = true; /* no tensor depends on another */
    model_fixture expected = fixture_build(&g, 3);
    char text[200];
    assert_null(iviti_geometry_complete(&g, text, sizeof text));
    const size_t header = edit_data(&expected, &g);

    const model_metadata none = { .name = NULL };
    model_writer *w = NULL;
    report r = { "" };
    assert_true(model_writer_open(&g, &none, &w, &r));
    for (size_t i = iviti_schema_count(&g); i-- > 0;) {
        iviti_tensor_spec spec;
        assert_true(iviti_schema_tensor(&g, i, &spec));
        void *const values = fixture_tensor(&g, &spec, 3);
        assert_true(model_writer_put(w, i, values, (size_t)spec.bytes, &r));
        free(values);
    }
    const uint8_t *image;
    size_t size;
    assert_true(model_writer_finish(w, &image, &size, &r));
    const size_t data = expected.size - header;
    assert_true(size < expected.size); /* fewer pairs */
    assert_memory_equal(image + size - data, expected.image + header, data);
    load_result loaded = edit_load(image, size, NULL);
    assert_int_equal(loaded.status, IVITI_OK);
    iviti_model_free(loaded.model);
    model_writer_close(w);
    fixture_free(&expected);
}

static void test_refusals(void **state)
{
    (void)state;
    iviti_geometry g = fixture_geometry(FIXTURE_VIT_TABLE);
    const model_metadata none = { .name = NULL };
    model_writer *w = NULL;
    report r = { "" };
    iviti_geometry wrong = g;
    wrong.stage[0].heads = 3;
    assert_false(model_writer_open(&wrong, &none, &w, &r));
    assert_non_null(strstr(r.text, "heads"));
    wrong = g;
    wrong.logits_multiplier = 0;
    assert_false(model_writer_open(&wrong, &none, &w, &r));
    assert_non_null(strstr(r.text, "iviti.logits.multiplier"));
    char key[130];
    memset(key, 'k', sizeof key - 1);
    key[sizeof key - 1] = 0;
    const model_note note = { key, "value" };
    const model_metadata noted = { .notes = &note, .note_count = 1 };
    assert_false(model_writer_open(&g, &noted, &w, &r));
    assert_non_null(strstr(r.text, "127"));
    wrong = g;
    wrong.stage[0] = (iviti_stage){ .depth = 20, .dim = 4096, .heads = 64, .hidden = 16384 };
    assert_false(model_writer_open(&wrong, &none, &w, &r)); /* beyond 2 GiB */
    assert_null(w);

    char text[200];
    assert_null(iviti_geometry_complete(&g, text, sizeof text));
    assert_true(model_writer_open(&g, &none, &w, &r));
    iviti_tensor_spec spec;
    assert_true(iviti_schema_tensor(&g, 0, &spec));
    void *const values = fixture_tensor(&g, &spec, 3);
    assert_false(model_writer_put(w, 0, values, (size_t)spec.bytes - 1, &r));
    assert_non_null(strstr(r.text, "embed.weight"));
    assert_false(model_writer_put(w, iviti_schema_count(&g), values, 1, &r));
    assert_true(model_writer_put(w, 0, values, (size_t)spec.bytes, &r));
    assert_false(model_writer_put(w, 0, values, (size_t)spec.bytes, &r));
    assert_non_null(strstr(r.text, "twice"));
    const uint8_t *image;
    size_t size;
    assert_false(model_writer_finish(w, &image, &size, &r));
    assert_non_null(strstr(r.text, "embed.bias is missing"));
    char path[1000];
    temporary_path(path, sizeof path, "test_model_writer_missing.gguf");
    remove(path);
    assert_false(model_writer_save(w, path, &r));
    assert_false(exists(path));
    free(values);
    model_writer_close(w);
    model_writer_close(NULL);
}

/* A writer of which one tensor has a value out of range. */
static model_writer *writer_with_wrong_value(iviti_geometry *g)
{
    const model_metadata none = { .name = NULL };
    char text[200];
    model_writer *w = NULL;
    report r = { "" };
    assert_null(iviti_geometry_complete(g, text, sizeof text));
    assert_true(model_writer_open(g, &none, &w, &r));
    iviti_tensor_spec spec;
    for (size_t i = 0; iviti_schema_tensor(g, i, &spec); i++) {
        int8_t *const values = fixture_tensor(g, &spec, 3);
        if (spec.owner == IVITI_HEAD && spec.field == IVITI_FIELD_SHIFT)
            values[2] = 63;
        assert_true(model_writer_put(w, i, values, (size_t)spec.bytes, &r));
        free(values);
    }
    return w;
}

static void test_no_bad_file(void **state)
{
    (void)state;
    char path[1000], partial[1100];
    temporary_path(path, sizeof path, "test_model_writer.gguf");
    snprintf(partial, sizeof partial, "%s.partial", path);
    iviti_geometry g = fixture_geometry(FIXTURE_VIT_TABLE);
    g.pixel_table = true;
    assert_true(fixture_model(&g, 3, path)); /* an older file of that name */

    report r = { "" };
    model_writer *const w = writer_with_wrong_value(&g);
    assert_false(model_writer_save(w, path, &r));
    assert_non_null(strstr(r.text, "head.shift[2] is 63"));
    assert_false(exists(partial));
    iviti_model *m = NULL;
    assert_int_equal(iviti_model_load(path, NULL, &m), IVITI_OK); /* is still there */
    iviti_model_free(m);
    remove(path);
    assert_false(model_writer_save(w, path, &r));
    assert_false(exists(path));
    model_writer_close(w);
}

static void test_places_that_cannot_be(void **state)
{
    (void)state;
    iviti_geometry g = fixture_geometry(FIXTURE_VIT_TABLE);
    model_writer *const w = fixture_writer(&g, 3);
    report r = { "" };
    assert_false(model_writer_save(w, "/nowhere/at/all.gguf", &r));
    assert_non_null(strstr(r.text, "/nowhere/at/all.gguf"));
    char path[1000], partial[1100];
    temporary_path(path, sizeof path, "tests"); /* a folder of the build */
    snprintf(partial, sizeof partial, "%s.partial", path);
    assert_false(model_writer_save(w, path, &r));
    assert_false(exists(partial));
    model_writer_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bytes),
        cmocka_unit_test(test_any_order),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_no_bad_file),
        cmocka_unit_test(test_places_that_cannot_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * From a pickle's nodes to tensors: storages, their types and sizes, strided views and their
 * bounds.
 */
#include "checkpoint_pickles.h"

static void copies_views_out_by_their_strides(void **state)
{
    (void)state;
    static const struct {
        toy_tensor t;
        size_t count;
        float values[6];
    } cases[] = {
        { { .rank = 2, .size = { 3, 2 }, .stride = { 1, 3 } }, 6, { 0, 3, 1, 4, 2, 5 } },
        { { .rank = 1, .size = { 3 }, .stride = { 2 } }, 3, { 0, 2, 4 } },
        { { .rank = 1, .offset = 1, .size = { 3 }, .stride = { 2 } }, 3, { 1, 3, 5 } },
        { { .rank = 1, .offset = 4, .size = { 2 }, .stride = { 1 } }, 2, { 4, 5 } },
        { { .rank = 0, .offset = 5 }, 1, { 5 } },
        { { .rank = 1, .offset = 6, .size = { 0 }, .stride = { 1 } }, 0, { 0 } },
        { { .rank = 2, .size = { 0, 3 }, .stride = { 3, 1 } }, 0, { 0 } },
        { { .rank = 3, .size = { 1, 6, 1 }, .stride = { 99, 1, 99 } }, 6, { 0, 1, 2, 3, 4, 5 } },
        { { .rank = 2, .size = { 2, 2 }, .stride = { 2, 1 } }, 4, { 0, 1, 2, 3 } },
        { { .rank = 2, .size = { 2, 2 }, .stride = { 3, 1 } }, 4, { 0, 1, 3, 4 } },
        { { .rank = 3, .size = { 1, 2, 3 }, .stride = { 6, 1, 2 } }, 6, { 0, 2, 4, 1, 3, 5 } },
        { { .rank = 1, .size = { 6 }, .stride = { 0 } }, 6, { 0, 0, 0, 0, 0, 0 } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        toy_tensor t = cases[i].t;
        t.type = "FloatStorage";
        t.key = "0";
        t.elements = 6;
        bytes b = flat(&t);
        checkpoint *c = load(&b);
        must_hold(c, "a", cases[i].values, cases[i].count);
        assert_int_equal(checkpoint_find(c, "a")->rank, t.rank);
        checkpoint_close(c);
    }
}

static void shares_tied_storages_and_unwraps_parameters(void **state)
{
    (void)state;
    bytes b = { 0 };
    op_proto(&b);
    op_ordered_dict(&b);
    put_items(&b, &floats);
    op_string(&b, "tied");
    op_tensor(&b, &floats);
    op(&b, 's');
    op_string(&b, "parameter");
    op_global(&b, "torch._utils", "_rebuild_parameter");
    op(&b, '(');
    op_tensor(&b, &floats);
    put(&b, "\x88", 1);
    op_ordered_dict(&b);
    put_text(&b, "tRs");
    put_text(&b, "}"); /* the state dict's _metadata */
    op_string(&b, "_metadata");
    op_ordered_dict(&b);
    put_text(&b, "sb.");
    checkpoint *c = load(&b);
    assert_int_equal(c->count, 4);
    const checkpoint_tensor *a = checkpoint_find(c, "a");
    assert_ptr_equal(a->data, checkpoint_find(c, "tied")->data);
    assert_ptr_equal(a->data, checkpoint_find(c, "parameter")->data);
    checkpoint_close(c);
}

/* Every storage type, with the value that its bytes have. */
static void knows_the_ten_storage_types(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        checkpoint_type type;
        size_t width;
    } cases[] = {
        { "FloatStorage", CHECKPOINT_F32, 4 }, { "DoubleStorage", CHECKPOINT_F64, 8 },
        { "HalfStorage", CHECKPOINT_F16, 2 },  { "BFloat16Storage", CHECKPOINT_BF16, 2 },
        { "LongStorage", CHECKPOINT_I64, 8 },  { "IntStorage", CHECKPOINT_I32, 4 },
        { "ShortStorage", CHECKPOINT_I16, 2 }, { "CharStorage", CHECKPOINT_I8, 1 },
        { "ByteStorage", CHECKPOINT_U8, 1 },   { "BoolStorage", CHECKPOINT_BOOL, 1 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const int64_t elements = 24 / (int64_t)cases[i].width;
        const toy_tensor t = { .type = cases[i].name,
                               .key = "0",
                               .elements = elements,
                               .rank = 1,
                               .size = { elements },
                               .stride = { 1 } };
        bytes b = flat(&t);
        checkpoint *c = load(&b);
        assert_int_equal(checkpoint_find(c, "a")->type, cases[i].type);
        assert_int_equal(checkpoint_find(c, "a")->count, elements);
        touch(c);
        checkpoint_close(c);
    }
}

static void counts_and_sizes_have_limits(void **state)
{
    (void)state;
    for (size_t extra = 0; extra < 2; extra++) {
        bytes b = { 0 };
        op_proto(&b);
        op(&b, '}');
        put_items(&b, &floats);
        op_string(&b, "c");
        op_tensor(&b, &floats);
        put_text(&b, "q");
        put_number(&b, 0, 1);
        put_text(&b, "s(");
        for (size_t i = 3; i < CHECKPOINT_MAX_TENSORS + extra; i++) {
            char name[16];
            snprintf(name, sizeof name, "t%zu", i);
            op_string(&b, name);
            put_text(&b, "h");
            put_number(&b, 0, 1);
        }
        put_text(&b, "u.");
        if (extra == 0) {
            checkpoint *c = load(&b);
            assert_int_equal(c->count, CHECKPOINT_MAX_TENSORS);
            checkpoint_close(c);
        } else {
            refuse(&b, "more than 16384 tensors");
        }
    }
    bytes large = { 0 };
    large.size = large.capacity = (16U << 20) + 1;
    large.p = calloc(1, large.size);
    assert_non_null(large.p);
    refuse(&large, "data.pkl has 16777217 bytes, the limit is 16777216");
}

static void refuses_wrong_storages(void **state)
{
    (void)state;
    static const struct {
        const char *raw;
        size_t size;
        const char *expected;
    } cases[] = {
        { RAW("NQ."), "a persistent id is not ('storage', ...)" },
        { RAW(")Q."), "a persistent id is not ('storage', ...)" },
        { RAW("X\x01\0\0\0000Q."), "a persistent id is not ('storage', ...)" },
        { RAW("N\x85Q."), "a persistent id is not ('storage', ...)" },
        { RAW("X\x06\0\0\0module\x85Q."), "found a persistent id of kind 'module'" },
        { RAW("X\x07\0\0\0storage\x85Q."), "has 1 parts instead of 5" },
        { RAW("(X\x07\0\0\0storageNNNNNtQ."), "has 6 parts instead of 5" },
        { RAW("(X\x07\0\0\0storageNNNNtQ."), "names no storage type" },
        { RAW("(X\x07\0\0\0storageccollections\nOrderedDict\nNNNtQ."), "names no storage type" },
        { RAW("(X\x07\0\0\0storagectorch\nByteStorage\nK\x00NNtQ."), "not a string of digits" },
        { RAW("(X\x07\0\0\0storagectorch\nByteStorage\nU\x00NNtQ."), "not a string of digits" },
        { RAW("(X\x07\0\0\0storagectorch\nByteStorage\nU\x03../NNtQ."), "not a string of digits" },
        { RAW("(X\x07\0\0\0storagectorch\nByteStorage\nU\x02-1NNtQ."), "not a string of digits" },
        { RAW("(X\x07\0\0\0storagectorch\nByteStorage\nU\x01"
              "0NNtQ."),
          "the location of a storage" },
        { RAW("(X\x07\0\0\0storagectorch\nByteStorage\nU\x01"
              "0U\x01\nNtQ."),
          "the location of a storage" },
        { RAW("(X\x07\0\0\0storagectorch\nByteStorage\nU\x01"
              "0U\x03"
              "cpuNtQ."),
          "storage 0 is not in 0..2^40" },
        { RAW("(X\x07\0\0\0storagectorch\nByteStorage\nU\x01"
              "0U\x03"
              "cpuJ\xFF\xFF\xFF\xFFtQ."),
          "storage 0 is not in 0..2^40" },
        { RAW("(X\x07\0\0\0storagectorch\nByteStorage\nU\x01"
              "0U\x03"
              "cpu"
              "\x8A\x06\x01\x00\x00\x00\x00\x01tQ."),
          "storage 0 is not in 0..2^40" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        refuse_raw(cases[i].raw, cases[i].size, cases[i].expected);
    }
    static const struct {
        toy_tensor t;
        const char *expected;
    } tensors[] = {
        { { .type = "FloatStorage", .key = "0", .elements = 5 },
          "storage 0 has 24 bytes, data.pkl says 20" },
        { { .type = "FloatStorage", .key = "0", .elements = INT64_C(1) << 40 },
          "storage 0 has 24 bytes, data.pkl says 4398046511104" },
        { { .type = "FloatStorage", .key = "0" }, "storage 0 has 24 bytes, data.pkl says 0" },
        { { .type = "DoubleStorage", .key = "0", .elements = 6 },
          "storage 0 has 24 bytes, data.pkl says 48" },
        { { .type = "FloatStorage", .key = "2", .elements = 6 }, "storage 2 is mentioned" },
        { { .type = "FloatStorage", .key = "00", .elements = 6 }, "storage 00 is mentioned" },
        { { .type = "DoubleStorage", .key = "1", .elements = 1 }, "two types or sizes" },
        { { .type = "LongStorage", .key = "1", .elements = 2 }, "two types or sizes" },
        { { .type = "LongStorage", .key = "1", .elements = 1 },
          "2 storages are in the file, data.pkl mentions 1" },
    };
    for (size_t i = 0; i < sizeof tensors / sizeof tensors[0]; i++) {
        bytes b = flat(&tensors[i].t);
        refuse(&b, tensors[i].expected);
    }
}

static void refuses_views_outside_their_storage(void **state)
{
    (void)state;
    const int64_t big = INT64_C(1) << 32;
    const struct {
        toy_tensor t;
        const char *expected;
    } cases[] = {
        { { .rank = 1, .size = { 7 }, .stride = { 0 } }, "expands a storage of 6 elements to 7" },
        { { .rank = 2, .size = { big, 256 } }, "expands a storage of 6 elements to 1099511627776" },
        { { .rank = 1, .size = { 7 }, .stride = { 1 } }, "reaches past its storage of 6" },
        { { .rank = 1, .size = { 3 }, .stride = { 3 } }, "reaches past its storage of 6" },
        { { .rank = 1, .offset = 1, .size = { 6 }, .stride = { 1 } }, "reaches past its storage" },
        { { .rank = 1, .offset = 6, .size = { 1 }, .stride = { 1 } }, "reaches past its storage" },
        { { .rank = 0, .offset = 6 }, "reaches past its storage" },
        { { .rank = 1, .offset = 7, .size = { 0 }, .stride = { 1 } }, "begins at element 7" },
        { { .rank = 0, .offset = -1 }, "begins at element -1" },
        { { .rank = 0, .offset = INT64_MAX }, "begins at element 9223372036854775807" },
        { { .rank = 0, .offset = INT64_MIN }, "begins at element -9223372036854775808" },
        { { .rank = 1, .size = { -1 }, .stride = { 1 } }, "negative size or stride -1" },
        { { .rank = 1, .size = { 2 }, .stride = { -1 } }, "negative size or stride -1" },
        { { .rank = 1, .size = { INT64_MIN }, .stride = { 1 } }, "negative size or stride" },
        { { .rank = 1, .size = { 2 }, .stride = { INT64_MAX } }, "reaches past its storage" },
        { { .rank = 2, .size = { 3, 3 }, .stride = { INT64_MAX, INT64_MAX } }, "reaches past" },
        { { .rank = 2, .size = { 2, 2 }, .stride = { INT64_MAX, 2 } }, "reaches past" },
        { { .rank = 2, .size = { big, big }, .stride = { 0, 0 } }, "too large" },
        { { .rank = 2, .size = { big, big }, .stride = { big, 1 } }, "too large" },
        { { .rank = 3, .size = { big, big, 0 }, .stride = { 0, 0, 0 } }, NULL },
        { { .rank = 1, .size = { big + 1 }, .stride = { 0 } }, "too large" },
        { { .rank = 1, .size = { INT64_MAX }, .stride = { 1 } }, "too large" },
        { { .rank = 9,
            .size = { 1, 1, 1, 1, 1, 1, 1, 1, 1 },
            .stride = { 1, 1, 1, 1, 1, 1, 1, 1, 1 } },
          "has 9 sizes and 9 strides" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        toy_tensor t = cases[i].t;
        t.type = "FloatStorage";
        t.key = "0";
        t.elements = 6;
        bytes b = flat(&t);
        if (cases[i].expected == NULL) {
            checkpoint_close(load(&b));
            continue;
        }
        refuse(&b, cases[i].expected);
    }
}

/* Many transposed views of one storage must not take more memory than the file has. */
static void bounds_the_copies(void **state)
{
    (void)state;
    const toy_tensor turned = { .type = "FloatStorage",
                                .key = "0",
                                .elements = 65536,
                                .rank = 2,
                                .size = { 256, 256 },
                                .stride = { 1, 256 } };
    for (size_t count = 1; count <= 4; count += 3) {
        bytes b = { 0 }, data = { 0 };
        op_proto(&b);
        op(&b, '}');
        for (size_t i = 0; i < count; i++) {
            char name[8];
            snprintf(name, sizeof name, "t%zu", i);
            op_string(&b, name);
            op_tensor(&b, &turned);
            op(&b, 's');
        }
        op(&b, '.');
        put_ramp(&data, 65536);
        toy_zip z = { 0 };
        zip_add(&z, "toy/data.pkl", b.p, b.size, true);
        zip_add(&z, "toy/data/0", data.p, data.size, true);
        zip_close(&z, true);
        if (count == 1) {
            checkpoint *c = must_load(&z.file);
            const checkpoint_tensor *t = checkpoint_find(c, "t0");
            float *out = malloc(65536 * sizeof(float));
            assert_non_null(out);
            checkpoint_to_float(t, out);
            for (size_t i = 0; i < 65536; i++) {
                assert_true(out[i] == (float)(i % 256 * 256 + i / 256));
            }
            free(out);
            checkpoint_close(c);
        } else {
            must_fail(&z.file, "what its size allows");
        }
        drop(&z.file);
        drop(&b);
        drop(&data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_views_out_by_their_strides),
        cmocka_unit_test(shares_tied_storages_and_unwraps_parameters),
        cmocka_unit_test(knows_the_ten_storage_types),
        cmocka_unit_test(counts_and_sizes_have_limits),
        cmocka_unit_test(refuses_wrong_storages),
        cmocka_unit_test(refuses_views_outside_their_storage),
        cmocka_unit_test(bounds_the_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The stream that torch.save wrote before 1.6: five pickles and the raw storages.
 */
#include "checkpoint_files.h"

/* The parts of a right file; a test changes some and joins them. */
typedef struct stream {
    bytes head, machine, structure, keys, storages;
} stream;

static const toy_tensor floats = { .type = "FloatStorage",
                                   .key = "9400123",
                                   .elements = 6,
                                   .rank = 2,
                                   .size = { 3, 2 },
                                   .stride = { 1, 3 },
                                   .legacy = true };
static const toy_tensor shorts = { .type = "ShortStorage",
                                   .key = "17",
                                   .elements = 2,
                                   .rank = 1,
                                   .size = { 2 },
                                   .stride = { 1 },
                                   .legacy = true };

static void put_machine(bytes *b, const char *key, char endian)
{
    op_proto(b);
    put_text(b, "}(");
    op_string(b, "protocol_version");
    op_int(b, 1001);
    op_string(b, key);
    op(b, endian);
    put_text(b, "u.");
}

static void put_structure(bytes *b, const toy_tensor *first, const toy_tensor *second)
{
    op_proto(b);
    put_text(b, "}");
    op_string(b, "model");
    op_ordered_dict(b);
    op(b, '(');
    op_string(b, "module.a");
    op_tensor(b, first);
    op_string(b, "module.b");
    op_tensor(b, second);
    put_text(b, "us.");
}

static void put_keys(bytes *b, const char *first, const char *second)
{
    op_proto(b);
    put_text(b, "](");
    op_string(b, first);
    op_string(b, second);
    put_text(b, "e.");
}

static stream right_stream(void)
{
    stream s = { 0 };
    put(&s.head, LEGACY_MAGIC, LEGACY_MAGIC_BYTES);
    put(&s.head, "\x80\x02M\xE9\x03.", 6);
    put_machine(&s.machine, "little_endian", '\x88');
    put_structure(&s.structure, &floats, &shorts);
    put_keys(&s.keys, "17", "9400123");
    put_number(&s.storages, 2, 8);
    put_number(&s.storages, 0x8000, 2);
    put_number(&s.storages, 5, 2);
    put_number(&s.storages, 6, 8);
    put_ramp(&s.storages, 6);
    return s;
}

static bytes join(stream *s)
{
    bytes b = { 0 };
    bytes *const parts[5] = { &s->head, &s->machine, &s->structure, &s->keys, &s->storages };
    for (size_t i = 0; i < 5; i++) {
        put(&b, parts[i]->p, parts[i]->size);
        drop(parts[i]);
    }
    return b;
}

static void refuse(stream *s, const char *expected)
{
    bytes b = join(s);
    must_fail_and_drop(&b, expected);
}

static void reads_what_is_right(void **state)
{
    (void)state;
    stream s = right_stream();
    bytes b = join(&s);
    checkpoint *c = must_load(&b);
    assert_string_equal(c->container, "pytorch legacy");
    assert_int_equal(c->count, 2);
    must_hold(c, "a", (const float[]){ 0, 3, 1, 4, 2, 5 }, 6);
    must_hold(c, "b", (const float[]){ -32768, 5 }, 2);
    checkpoint_close(c);
    drop(&b);
}

/* A view of a storage: ('storage', type, key, location, count, (view key, offset, count)). */
static void put_viewed(bytes *b, int64_t first, int64_t count, int64_t offset, int64_t size)
{
    op_proto(b);
    op(b, '}');
    op_string(b, "a");
    op_global(b, "torch._utils", "_rebuild_tensor_v2");
    put_text(b, "((");
    op_string(b, "storage");
    op_global(b, "torch", "FloatStorage");
    op_string(b, "9400123");
    op_string(b, "cuda:0");
    op_int(b, 6);
    op_string(b, "9400127");
    op_int(b, first);
    op_int(b, count);
    put_text(b, "\x87tQ");
    op_view(b, offset, 1, &size, (const int64_t[]){ 1 });
    op(b, 's');
    op_string(b, "b");
    op_tensor(b, &shorts);
    put_text(b, "s.");
}

static void reads_views_of_storages(void **state)
{
    (void)state;
    stream s = right_stream();
    s.structure.size = 0;
    put_viewed(&s.structure, 2, 3, 1, 2);
    bytes b = join(&s);
    checkpoint *c = must_load(&b);
    must_hold(c, "a", (const float[]){ 3, 4 }, 2);
    checkpoint_close(c);
    drop(&b);
    static const struct {
        int64_t first, count, offset, size;
        const char *expected;
    } cases[] = {
        { 2, 5, 0, 1, "a view of 5 elements from 2 in a storage of 6" },
        { 7, 0, 0, 0, "a view of 0 elements from 7" },
        { -1, 2, 0, 1, "a view of 2 elements from -1" },
        { 2, -1, 0, 1, "a view of -1 elements from 2" },
        { INT64_MAX, INT64_MAX, 0, 1, "a view of" },
        { 2, 3, 1, 3, "reaches past its storage of 3" },
        { 2, 3, 4, 0, "begins at element 4 of a storage of 3" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        s = right_stream();
        s.structure.size = 0;
        put_viewed(&s.structure, cases[i].first, cases[i].count, cases[i].offset, cases[i].size);
        refuse(&s, cases[i].expected);
    }
    s = right_stream();
    s.structure.size = 0;
    op_proto(&s.structure);
    op(&s.structure, '(');
    op_string(&s.structure, "storage");
    op_global(&s.structure, "torch", "FloatStorage");
    op_string(&s.structure, "1");
    op_string(&s.structure, "cpu");
    op_int(&s.structure, 6);
    put_text(&s.structure, ")tQ.");
    refuse(&s, "the view of a storage is not (key, offset, count)");
}

/* Python 2 counts memo entries from 1. */
static void reads_memos_from_one(void **state)
{
    (void)state;
    stream s = right_stream();
    s.keys.size = 0;
    op_proto(&s.keys);
    put_text(&s.keys, "]q\x01(U\x02"
                      "17q\x02U\x07"
                      "9400123q\x03"
                      "e.");
    bytes b = join(&s);
    checkpoint_close(must_load(&b));
    drop(&b);
    s = right_stream();
    s.keys.size = 0;
    op_proto(&s.keys);
    put_text(&s.keys, "]q\x01h\x02.");
    refuse(&s, "memo entry 2 is read");
}

static void refuses_wrong_heads(void **state)
{
    (void)state;
    stream s = right_stream();
    set_number(&s.head, 18, 0x03EA, 2);
    refuse(&s, "not protocol version 1001");
    s = right_stream();
    s.head.p[3] ^= 1;
    refuse(&s, "a bare pickle");
    s = right_stream();
    s.machine.size = 0;
    put_machine(&s.machine, "little_endian", '\x89');
    refuse(&s, "little-endian machine");
    s = right_stream();
    s.machine.size = 0;
    put_machine(&s.machine, "endian", '\x88');
    refuse(&s, "little-endian machine");
    s = right_stream();
    s.machine.size = 0;
    op_proto(&s.machine);
    put_text(&s.machine, "N.");
    refuse(&s, "little-endian machine");
    s = right_stream();
    s.machine.size = 0;
    op_proto(&s.machine);
    op_ordered_dict(&s.machine);
    op(&s.machine, '.');
    refuse(&s, "found global collections.OrderedDict");
    s = right_stream();
    s.machine.size = 0;
    op_proto(&s.machine);
    op_global(&s.machine, "os", "system");
    op_string(&s.machine, "true");
    put(&s.machine, "\x85R.", 3);
    refuse(&s, "found global os.system");
    s = right_stream();
    s.machine.size = 0;
    op_proto(&s.machine);
    put_text(&s.machine, ")Q.");
    refuse(&s, "a persistent id where none belongs");
}

static void refuses_wrong_structures(void **state)
{
    (void)state;
    stream s = right_stream();
    s.structure.size = 0;
    op_proto(&s.structure);
    op_global(&s.structure, "os", "system");
    op_string(&s.structure, "touch iviti-was-here");
    put(&s.structure, "\x85R.", 3);
    refuse(&s, "the structure, byte");
    s = right_stream();
    s.structure.size = 0;
    op_proto(&s.structure);
    put_text(&s.structure, "\x93.");
    refuse(&s, "STACK_GLOBAL");
    s = right_stream();
    s.structure.size = 0;
    toy_tensor five = floats;
    five.legacy = false;
    put_structure(&s.structure, &five, &shorts);
    refuse(&s, "has 5 parts instead of 6");
    static const struct {
        toy_tensor t;
        const char *expected;
    } cases[] = {
        { { .type = "FloatStorage", .key = "9400123", .elements = 5, .legacy = true },
          "storage 9400123 has 6 elements, its tensors say 5" },
        { { .type = "FloatStorage", .key = "9400123", .elements = 7, .legacy = true },
          "storage 9400123 has 6 elements, its tensors say 7" },
        { { .type = "DoubleStorage", .key = "9400123", .elements = 6, .legacy = true },
          "cut short: storage 9400123 has 48 bytes, 24 are left" },
        { { .type = "HalfStorage", .key = "9400123", .elements = 6, .legacy = true },
          "12 bytes follow the last storage" },
        { { .type = "FloatStorage", .key = "9400124", .elements = 6, .legacy = true },
          "is none of the tensors'" },
        { { .type = "ShortStorage", .key = "17", .elements = 2, .legacy = true },
          "does not have the 1 storages" },
        { { .type = "FloatStorage", .key = "17", .elements = 2, .legacy = true },
          "storage 17 is mentioned with two types" },
        { { .type = "FloatStorage",
            .key = "9400123",
            .elements = 6,
            .rank = 1,
            .size = { 7 },
            .legacy = true },
          "expands a storage of 6 elements to 7" },
        { { .type = "FloatStorage",
            .key = "9400123",
            .elements = 6,
            .rank = 1,
            .size = { 7 },
            .stride = { 1 },
            .legacy = true },
          "reaches past its storage" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        s = right_stream();
        s.structure.size = 0;
        put_structure(&s.structure, &cases[i].t, &shorts);
        refuse(&s, cases[i].expected);
    }
    assert_null(fopen("iviti-was-here", "rb"));
}

static void refuses_wrong_keys_and_storages(void **state)
{
    (void)state;
    static const struct {
        const char *first, *second, *expected;
    } keys[] = {
        { "17", "17", "entry 1 of the list of storages" },
        { "18", "9400123", "entry 0 of the list of storages" },
        { "", "9400123", "entry 0 of the list of storages" },
        { "9400123", "17", "storage 9400123 has 2 elements" },
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        stream s = right_stream();
        s.keys.size = 0;
        put_keys(&s.keys, keys[i].first, keys[i].second);
        refuse(&s, keys[i].expected);
    }
    static const struct {
        const char *raw;
        size_t size;
        const char *expected;
    } lists[] = {
        { "\x80\x02}.", 4, "does not have the 2 storages" },
        { "\x80\x02].", 4, "does not have the 2 storages" },
        { "\x80\x02](K\x01K\x02"
          "e.",
          10, "entry 0 of the list" },
        { "\x80\x02](NNNe.", 9, "does not have the 2 storages" },
        { "\x80\x02N", 3, "the list of storages, byte" },
    };
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        stream s = right_stream();
        s.keys.size = 0;
        put(&s.keys, lists[i].raw, lists[i].size);
        refuse(&s, lists[i].expected);
    }
    static const uint64_t counts[] = { 0, 1, 3, UINT32_MAX, INT64_MAX, UINT64_MAX };
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        stream s = right_stream();
        set_number(&s.storages, 0, counts[i], 8);
        refuse(&s, "its tensors say 2");
    }
    stream s = right_stream();
    put_text(&s.storages, "x");
    refuse(&s, "1 bytes follow the last storage");
}

static void survives_cuts_and_flips(void **state)
{
    (void)state;
    stream s = right_stream();
    bytes b = join(&s);
    every_truncation_fails(&b);
    assert_true(flip_every_byte(&b) > 4 * b.size);
    drop(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_is_right),
        cmocka_unit_test(reads_views_of_storages),
        cmocka_unit_test(reads_memos_from_one),
        cmocka_unit_test(refuses_wrong_heads),
        cmocka_unit_test(refuses_wrong_structures),
        cmocka_unit_test(refuses_wrong_keys_and_storages),
        cmocka_unit_test(survives_cuts_and_flips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * NumPy .npz: the arrays' headers, both orders of elements, stored and deflated records, bombs.
 */
#include "checkpoint_files.h"

/* An .npy array: version, header text (padded to 64 bytes as NumPy does), data. */
static bytes npy(unsigned version, const char *header, const void *data, size_t size)
{
    bytes b = { 0 }, text = { 0 };
    const size_t width = version == 1 ? 2 : 4;
    put_text(&text, header);
    while ((8 + width + text.size + 1) % 64 != 0) {
        put_text(&text, " ");
    }
    put_text(&text, "\n");
    put(&b, "\x93NUMPY", 6);
    put_number(&b, version, 1);
    put_number(&b, 0, 1);
    put_number(&b, text.size, width);
    put(&b, text.p, text.size);
    put(&b, data, size);
    drop(&text);
    return b;
}

static bytes archive(const char *name, const bytes *array)
{
    toy_zip z = { 0 };
    zip_add(&z, name, array->p, array->size, false);
    zip_close(&z, false);
    return z.file;
}

/* A raw deflate stream of the array; `size` is what the directory will claim. */
static bytes deflated(const bytes *array, size_t size, size_t extra)
{
    bytes packed = { 0 };
    const size_t room = array->size + 1024;
    packed.p = malloc(room);
    packed.capacity = room;
    assert_non_null(packed.p);
    z_stream s = { .next_in = array->p,
                   .avail_in = (uInt)array->size,
                   .next_out = packed.p,
                   .avail_out = (uInt)room };
    assert_int_equal(deflateInit2(&s, 9, Z_DEFLATED, -MAX_WBITS, 9, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&s, Z_FINISH), Z_STREAM_END);
    packed.size = room - s.avail_out;
    deflateEnd(&s);
    for (size_t i = 0; i < extra; i++) {
        put_text(&packed, "x");
    }
    toy_zip z = { 0 };
    const toy_record r = { .name = "a.npy",
                           .data = packed.p,
                           .stored = packed.size,
                           .size = size,
                           .crc = (uint32_t)crc32(0, array->p, (uInt)array->size),
                           .method = 8 };
    zip_add_record(&z, &r);
    zip_close(&z, false);
    drop(&packed);
    return z.file;
}

#define HEADER(descr, order, shape)                                                                \
    "{'descr': '" descr "', 'fortran_order': " order ", 'shape': " shape ", }"

static bytes six_floats(unsigned version, const char *header)
{
    bytes data = { 0 };
    put_ramp(&data, 6);
    bytes array = npy(version, header, data.p, data.size);
    drop(&data);
    return array;
}

static void reads_what_is_right(void **state)
{
    (void)state;
    static const float rows[] = { 0, 1, 2, 3, 4, 5 }, columns[] = { 0, 2, 4, 1, 3, 5 };
    static const struct {
        const char *header;
        unsigned version;
        const float *values;
    } cases[] = {
        { HEADER("<f4", "False", "(2, 3)"), 1, rows },
        { HEADER("<f4", "False", "(2, 3)"), 2, rows },
        { HEADER("<f4", "False", "(2, 3)"), 3, rows },
        { HEADER("<f4", "False", "(6,)"), 1, rows },
        { HEADER("<f4", "True", "(6,)"), 1, rows },
        { HEADER("<f4", "True", "(2, 3)"), 1, columns },
        { HEADER("<f4", "True", "(1, 2, 3)"), 1, columns },
        { "{\"shape\":(2,3),\"fortran_order\":False,\"descr\":\"<f4\"}", 1, rows },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}", 1, rows },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bytes array = six_floats(cases[i].version, cases[i].header);
        bytes b = archive("Transformer/block_0/a.npy", &array);
        checkpoint *c = must_load(&b);
        assert_string_equal(c->container, "npz");
        must_hold(c, "Transformer/block_0/a", cases[i].values, 6);
        checkpoint_close(c);
        drop(&b);
        b = deflated(&array, array.size, 0);
        c = must_load(&b);
        must_hold(c, "a", cases[i].values, 6);
        checkpoint_close(c);
        drop(&b);
        drop(&array);
    }
}

static void knows_nine_types(void **state)
{
    (void)state;
    static const struct {
        const char *descr;
        checkpoint_type type;
        size_t width;
    } cases[] = {
        { "<f2", CHECKPOINT_F16, 2 }, { "<f4", CHECKPOINT_F32, 4 }, { "<f8", CHECKPOINT_F64, 8 },
        { "|i1", CHECKPOINT_I8, 1 },  { "<i2", CHECKPOINT_I16, 2 }, { "<i4", CHECKPOINT_I32, 4 },
        { "<i8", CHECKPOINT_I64, 8 }, { "|u1", CHECKPOINT_U8, 1 },  { "|b1", CHECKPOINT_BOOL, 1 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char header[128];
        snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (), }",
                 cases[i].descr);
        bytes array = npy(1, header, "\0\0\0\0\0\0\0\0", cases[i].width);
        bytes b = archive("a.npy", &array);
        checkpoint *c = must_load(&b);
        assert_int_equal(checkpoint_find(c, "a")->type, cases[i].type);
        assert_int_equal(checkpoint_find(c, "a")->rank, 0);
        must_hold(c, "a", (const float[]){ 0 }, 1);
        checkpoint_close(c);
        drop(&b);
        drop(&array);
    }
}

static void refuses_wrong_headers(void **state)
{
    (void)state;
    static const struct {
        const char *header, *expected;
    } cases[] = {
        { HEADER(">f4", "False", "(6,)"), "has elements of type '>f4'" },
        { HEADER("=f4", "False", "(6,)"), "has elements of type '=f4'" },
        { HEADER("|V2", "False", "(6,)"), "has elements of type '|V2'" },
        { HEADER("|O", "False", "(6,)"), "has elements of type '|O'" },
        { HEADER("<c8", "False", "(3,)"), "has elements of type '<c8'" },
        { HEADER("<u4", "False", "(6,)"), "has elements of type '<u4'" },
        { HEADER("", "False", "(6,)"), "has elements of type ''" },
        { HEADER("<f4<f4<f4<f4<f4<f4", "False", "(6,)"), "a short plain string" },
        { "{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (6,), }", "a string" },
        { HEADER("<f4", "0", "(6,)"), "True or False" },
        { HEADER("<f4", "false", "(6,)"), "True or False" },
        { HEADER("<f4", "__import__('os').system('true')", "(6,)"), "True or False" },
        { HEADER("<f4", "False", "(5,)"), "has 24 bytes, its shape needs 20" },
        { HEADER("<f4", "False", "(7,)"), "has 24 bytes, its shape needs 28" },
        { HEADER("<f8", "False", "(6,)"), "has 24 bytes, its shape needs 48" },
        { HEADER("<f4", "False", "()"), "has 24 bytes, its shape needs 4" },
        { HEADER("<f4", "False", "(0, 6)"), "has 24 bytes, its shape needs 0" },
        { HEADER("<f4", "False", "(6)"), "',' in a tuple of one" },
        { HEADER("<f4", "False", "6"), "'('" },
        { HEADER("<f4", "False", "[6]"), "'('" },
        { HEADER("<f4", "False", "(6,,)"), "an unsigned decimal integer" },
        { HEADER("<f4", "False", "(,)"), "an unsigned decimal integer" },
        { HEADER("<f4", "False", "(2 3)"), "',' or ')'" },
        { HEADER("<f4", "False", "(-6,)"), "an unsigned decimal integer" },
        { HEADER("<f4", "False", "(6.0,)"), "',' or ')'" },
        { HEADER("<f4", "False", "(6L,)"), "',' or ')'" },
        { HEADER("<f4", "False", "(06,)"), "an unsigned decimal integer" },
        { HEADER("<f4", "False", "(0x6,)"), "',' or ')'" },
        { HEADER("<f4", "False", "(6,"), "an unsigned decimal integer" },
        { HEADER("<f4", "False", "(18446744073709551616,)"), "a dimension below 2^64" },
        { HEADER("<f4", "False", "(4294967296, 1073741824)"), "too large" },
        { HEADER("<f4", "False", "(4294967296, 4294967296)"), "too large" },
        { HEADER("<f4", "False", "(4294967297, 0)"), "too large" },
        { HEADER("<f4", "False", "(1, 1, 1, 1, 1, 1, 1, 1, 6)"), "more than 8 dimensions" },
        { "{'descr': '<f4', 'fortran_order': False, }", "lacks descr, fortran_order or shape" },
        { "{}", "lacks descr" },
        { "{,}", "a string" },
        { "", "'{'" },
        { "x", "'{'" },
        { "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (6,), }",
          "field 'descr' in its header is unknown or comes twice" },
        { "{'descr': '<f4', 'x': 1, 'fortran_order': False, 'shape': (6,), }",
          "field 'x' in its header is unknown" },
        { "{'descr' '<f4'}", "':'" },
        { "{'descr': '<f4' 'shape': (6,)}", "',' or '}'" },
        { "{'descr: ", "a short plain string" },
        { "{'descr': '<f4', 'fortran_order': \x01True, 'shape': (6,), }", "True or False" },
        { "{'desc\\x72': 1}", "a short plain string" },
        { HEADER("<f4", "False", "(6,)") " x", "the end of the header" },
        { HEADER("<f4", "False", "(6,)") "\n", "the end of the header" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bytes array = six_floats(1, cases[i].header);
        bytes b = archive("a.npy", &array);
        drop(&array);
        must_fail_and_drop(&b, cases[i].expected);
    }
}

static void refuses_wrong_beginnings(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint64_t value;
        size_t width;
        const char *expected;
    } cases[] = {
        { 0, 0x94, 1, "is not an .npy array" },
        { 6, 0, 1, "is not an .npy array" },
        { 6, 4, 1, "is not an .npy array" },
        { 7, 1, 1, "is not an .npy array" },
        { 8, 0, 2, "cut short in its header" },
        { 8, 10001, 2, "a header of 10001 bytes, the limit is 10000" },
        { 8, 10000, 2, "cut short in its header" },
        { 8, 117, 2, "the end of the header" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bytes array = six_floats(1, HEADER("<f4", "False", "(6,)"));
        set_number(&array, cases[i].at, cases[i].value, cases[i].width);
        bytes b = archive("a.npy", &array);
        drop(&array);
        must_fail_and_drop(&b, cases[i].expected);
    }
    bytes array = six_floats(2, HEADER("<f4", "False", "(6,)"));
    set_number(&array, 8, UINT32_MAX, 4);
    bytes b = archive("a.npy", &array);
    must_fail_and_drop(&b, "a header of 4294967295 bytes");
    drop(&array);
}

static void refuses_wrong_archives(void **state)
{
    (void)state;
    bytes array = six_floats(1, HEADER("<f4", "False", "(6,)"));
    static const struct {
        const char *name, *expected;
    } names[] = {
        { "a.txt", "neither data.pkl (PyTorch) nor .npy" },
        { ".npy", "neither data.pkl (PyTorch) nor .npy" },
        { "../a.npy", "which no checkpoint has" },
        { "/a.npy", "which no checkpoint has" },
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        bytes b = archive(names[i].name, &array);
        must_fail_and_drop(&b, names[i].expected);
    }
    toy_zip z = { 0 };
    zip_add(&z, "a.npy", array.p, array.size, false);
    zip_add(&z, "a.npy", array.p, array.size, false);
    zip_close(&z, false);
    must_fail_and_drop(&z.file, "there are two of this name");
    z = (toy_zip){ 0 };
    zip_add(&z, "a.npy", array.p, array.size, false);
    zip_add(&z, "toy/data.pkl", "\x80\x02}.", 4, false);
    zip_close(&z, false);
    must_fail_and_drop(&z.file, "is not in a folder");
    bytes b = archive("a.npy", &array);
    b.p[30 + 5 + array.size - 1] ^= 1;
    must_fail_and_drop(&b, "is damaged: CRC");
    drop(&array);
}

/* numpy.savez notes 64-bit sizes in the local header of every record, needed or not. */
static void reads_local_zip64_sizes(void **state)
{
    (void)state;
    bytes array = six_floats(1, HEADER("<f4", "False", "(6,)"));
    for (int wrong = 0; wrong < 2; wrong++) {
        bytes b = archive("a.npy", &array), longer = { 0 };
        put(&longer, b.p, 35);
        put_number(&longer, 0x00100001, 4);
        put_number(&longer, array.size, 8);
        put_number(&longer, array.size + (wrong != 0 ? 1 : 0), 8);
        put(&longer, b.p + 35, b.size - 35);
        set_number(&longer, 28, 20, 2);
        set_number(&longer, 18, UINT64_MAX, 8);
        set_number(&longer, longer.size - 6, 35 + 20 + array.size, 4);
        if (wrong != 0) {
            must_fail(&longer, "its local header has other sizes than the directory");
        } else {
            checkpoint_close(must_load(&longer));
        }
        drop(&b);
        drop(&longer);
    }
    drop(&array);
}

static void refuses_bombs(void **state)
{
    (void)state;
    bytes zeros = { 0 };
    zeros.capacity = zeros.size = 8U << 20;
    zeros.p = calloc(1, zeros.size);
    assert_non_null(zeros.p);
    bytes array = npy(1, HEADER("|u1", "False", "(8388608,)"), zeros.p, zeros.size);
    bytes b = deflated(&array, array.size, 0);
    assert_true(b.size < 16384);
    must_fail_and_drop(&b, "what its size allows");
    drop(&array);
    array = npy(1, HEADER("|u1", "False", "(524288,)"), zeros.p, 524288);
    b = deflated(&array, array.size, 0);
    checkpoint_close(must_load(&b)); /* a small one is no bomb */
    drop(&b);
    b = deflated(&array, array.size - 1, 0);
    must_fail_and_drop(&b, "to exactly the size");
    b = deflated(&array, array.size + 1, 0);
    must_fail_and_drop(&b, "to exactly the size");
    b = deflated(&array, array.size, 1);
    must_fail_and_drop(&b, "to exactly the size");
    b = deflated(&array, UINT32_MAX - 1, 0);
    must_fail_and_drop(&b, "more than deflate can hold");
    b = deflated(&array, 0, 0);
    must_fail_and_drop(&b, "to exactly the size");
    drop(&array);
    drop(&zeros);
}

static void survives_cuts_and_flips(void **state)
{
    (void)state;
    bytes array = six_floats(1, HEADER("<f4", "True", "(2, 3)"));
    bytes b = archive("a.npy", &array);
    every_truncation_fails(&b);
    assert_true(flip_every_byte(&b) > 2 * b.size);
    drop(&b);
    b = deflated(&array, array.size, 0);
    every_truncation_fails(&b);
    assert_true(flip_every_byte(&b) > 2 * b.size);
    drop(&b);
    /* The header under a right CRC. */
    const size_t header = 10 + sizeof HEADER("<f4", "True", "(2, 3)") - 1;
    for (size_t at = 0; at < header; at++) {
        const uint8_t right = array.p[at];
        for (unsigned value = 0; value < 256; value++) {
            array.p[at] = (uint8_t)value;
            b = archive("a.npy", &array);
            checkpoint *c = NULL;
            report r = { "" };
            if (parse_prefix(&b, b.size, &c, &r)) {
                touch(c);
                checkpoint_close(c);
            } else {
                assert_int_equal(strncmp(r.text, "toy.pth: array 'a'", 18), 0);
            }
            drop(&b);
        }
        array.p[at] = right;
    }
    drop(&array);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_is_right),    cmocka_unit_test(knows_nine_types),
        cmocka_unit_test(refuses_wrong_headers),  cmocka_unit_test(refuses_wrong_beginnings),
        cmocka_unit_test(refuses_wrong_archives), cmocka_unit_test(reads_local_zip64_sizes),
        cmocka_unit_test(refuses_bombs),          cmocka_unit_test(survives_cuts_and_flips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

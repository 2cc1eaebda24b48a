/* SPDX-License-Identifier: Apache-2.0
 *
 * The safetensors reader: what it must read, and a corpus of what it must refuse.
 */
#include "checkpoint_files.h"

static bytes make(const char *header, size_t data)
{
    bytes b = { 0 };
    put_number(&b, strlen(header), 8);
    put_text(&b, header);
    for (size_t i = 0; i < data; i++) {
        put_number(&b, i, 1);
    }
    return b;
}

#define A "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}"
#define B "\"b\":{\"dtype\":\"U8\",\"shape\":[2,2],\"data_offsets\":[8,12]}"

static void reads_what_is_right(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t data, count;
    } cases[] = {
        { "{" A "}", 8, 1 },
        { "{" A "," B "}", 12, 2 },
        { "{" B "," A "}", 12, 2 },
        { "{\"__metadata__\":{\"format\":\"pt\",\"x\":\"\\u00e9\\n\"}," A "}   ", 8, 1 },
        { "{\"__metadata__\":{}," A "}", 8, 1 },
        { "{ \"a\" : { \"shape\" : [ 2 ] ,\n\t\"data_offsets\":[ 0 , 8 ],\"dtype\":\"F32\" } }", 8,
          1 },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, 1 },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[0,0]},"
          "\"b\":{\"dtype\":\"I8\",\"shape\":[3],\"data_offsets\":[0,3]}}",
          3, 2 },
        { "{\"\\ud83d\\ude00\\\"\\\\\":{\"dtype\":\"BOOL\",\"shape\":[1,1,1,1,1,1,1,1],"
          "\"data_offsets\":[0,1]}}",
          1, 1 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bytes b = make(cases[i].header, cases[i].data);
        checkpoint *c = must_load(&b);
        assert_string_equal(c->container, "safetensors");
        assert_int_equal(c->count, cases[i].count);
        touch(c);
        checkpoint_close(c);
        drop(&b);
    }
}

static void gives_values_shapes_and_names(void **state)
{
    (void)state;
    bytes b = { 0 };
    const char *header =
        "{\"z\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
        "\"\\ud83d\\ude00\":{\"dtype\":\"I16\",\"shape\":[2],\"data_offsets\":[24,28]}}";
    put_number(&b, strlen(header), 8);
    put_text(&b, header);
    put_ramp(&b, 6);
    put_number(&b, 0xFFFE, 2);
    put_number(&b, 300, 2);
    checkpoint *c = must_load(&b);
    must_hold(c, "z", (const float[]){ 0, 1, 2, 3, 4, 5 }, 6);
    must_hold(c, "\xF0\x9F\x98\x80", (const float[]){ -2, 300 }, 2);
    const checkpoint_tensor *z = checkpoint_find(c, "z");
    assert_int_equal(z->type, CHECKPOINT_F32);
    assert_int_equal(z->rank, 2);
    assert_int_equal(z->shape[0], 2);
    assert_int_equal(z->shape[1], 3);
    assert_null(checkpoint_find(c, "y"));
    assert_null(checkpoint_find(c, ""));
    checkpoint_close(c);
    drop(&b);
}

static void removes_module_only_where_all_have_it(void **state)
{
    (void)state;
    bytes all = make("{\"module.a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                     "\"module.b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
                     2);
    checkpoint *c = must_load(&all);
    assert_non_null(checkpoint_find(c, "a"));
    assert_non_null(checkpoint_find(c, "b"));
    checkpoint_close(c);
    drop(&all);
    bytes some = make("{\"module.a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                      "\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
                      2);
    c = must_load(&some);
    assert_non_null(checkpoint_find(c, "module.a"));
    checkpoint_close(c);
    drop(&some);
    bytes bare = make("{\"module.\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1);
    must_fail_and_drop(&bare, "nothing else");
}

#define TENSOR(dtype, shape, offsets)                                                              \
    "{\"a\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static const struct {
    const char *header;
    size_t data;
    const char *expected;
} wrong_headers[] = {
    /* layout */
    { "{" A "}", 9, "1 bytes follow the last tensor" },
    { "{" A "}", 7, "lies at 0..8, the file has 7" },
    { "{}", 0, "holds no tensor" },
    { "{}", 4, "4 bytes follow" },
    { TENSOR("F32", "[2]", "[4,12]"), 12, "begins at 4, the one before it ends at 0" },
    { "{" A ",\"b\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]}}", 8,
      "begins at 0, the one before it ends at 8" },
    { "{" A ",\"b\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[4,12]}}", 12,
      "begins at 4, the one before it ends at 8" },
    { "{" A ",\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[9,10]}}", 10,
      "begins at 9, the one before it ends at 8" },
    { TENSOR("F32", "[2]", "[8,0]"), 8, "lies at 8..0" },
    { TENSOR("F32", "[2]", "[0,4]"), 4, "has 4 bytes, its shape needs 8" },
    { TENSOR("F32", "[]", "[0,8]"), 8, "has 8 bytes, its shape needs 4" },
    { TENSOR("F32", "[0]", "[0,4]"), 4, "has 4 bytes, its shape needs 0" },
    { TENSOR("F32", "[2]", "[0,18446744073709551615]"), 8, "lies at 0..18446744073709551615" },
    { TENSOR("F32", "[2]", "[18446744073709551608,18446744073709551615]"), 8, "lies at" },
    /* products that wrap, to 0 as well */
    { TENSOR("F32", "[4294967296,4294967296]", "[0,0]"), 0, "too large" },
    { TENSOR("F32", "[4294967296,1073741824]", "[0,0]"), 0, "too large" },
    { TENSOR("F32", "[4294967296,1073741824]", "[0,8]"), 8, "too large" },
    { TENSOR("F64", "[2305843009213693952]", "[0,0]"), 0, "too large" },
    { TENSOR("U8", "[4294967297]", "[0,1]"), 1, "too large" },
    { TENSOR("U8", "[0,4294967297]", "[0,0]"), 0, "too large" },
    /* numbers */
    { TENSOR("F32", "[-2]", "[0,8]"), 8, "an unsigned decimal integer" },
    { TENSOR("F32", "[+2]", "[0,8]"), 8, "an unsigned decimal integer" },
    { TENSOR("F32", "[2.0]", "[0,8]"), 8, "after an unsigned decimal integer" },
    { TENSOR("F32", "[2e0]", "[0,8]"), 8, "after an unsigned decimal integer" },
    { TENSOR("F32", "[02]", "[0,8]"), 8, "leading zeros" },
    { TENSOR("F32", "[2]", "[00,8]"), 8, "leading zeros" },
    { TENSOR("F32", "[2]", "[-0,8]"), 8, "an unsigned decimal integer" },
    { TENSOR("F32", "[18446744073709551616]", "[0,8]"), 8, "below 2^64" },
    { TENSOR("F32", "[99999999999999999999999]", "[0,8]"), 8, "below 2^64" },
    { TENSOR("F32", "[\"2\"]", "[0,8]"), 8, "an unsigned decimal integer" },
    { TENSOR("F32", "[2", "[0,8]"), 8, "an unsigned decimal integer" },
    { TENSOR("F32", "[2,]", "[0,8]"), 8, "an unsigned decimal integer" },
    { TENSOR("F32", "[[2]]", "[0,8]"), 8, "an unsigned decimal integer" },
    { TENSOR("F32", "2", "[0,8]"), 8, "a list of integers" },
    { TENSOR("F32", "null", "[0,8]"), 8, "a list of integers" },
    { TENSOR("F32", "[2]", "[0,8,8]"), 8, "more than 2 integers" },
    { TENSOR("F32", "[2]", "[0]"), 8, "1 data_offsets instead of 2" },
    { TENSOR("F32", "[2]", "[]"), 8, "0 data_offsets instead of 2" },
    { TENSOR("F32", "[1,1,1,1,1,1,1,1,2]", "[0,8]"), 8, "more than 8 integers" },
    /* types and fields */
    { TENSOR("F8_E4M3", "[8]", "[0,8]"), 8, "has dtype F8_E4M3" },
    { TENSOR("U32", "[2]", "[0,8]"), 8, "has dtype U32" },
    { TENSOR("f32", "[2]", "[0,8]"), 8, "has dtype f32" },
    { TENSOR("", "[2]", "[0,8]"), 8, "has dtype ;" },
    { "{\"a\":{\"dtype\":1,\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "a string" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "lacks one of" },
    { "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, "lacks one of" },
    { "{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "lacks one of" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"shape\":[2],\"data_offsets\":[0,8]}}", 8,
      "has shape twice" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"x\":1}}", 8,
      "unknown field 'x'" },
    { "{\"a\":{}}", 0, "a string" },
    { "{\"a\":[]}", 0, "'{' after a tensor's name" },
    { "{\"a\":1}", 0, "'{' after a tensor's name" },
    /* nesting */
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[[[[[[[[2]]]]]]]],\"data_offsets\":[0,8]}}", 8,
      "an unsigned decimal integer" },
    { "{\"a\":{\"dtype\":{\"dtype\":{}},\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "a string" },
    { "{\"__metadata__\":{\"a\":{\"b\":\"c\"}}," A "}", 8, "a string" },
    { "{\"__metadata__\":{\"a\":1}," A "}", 8, "a string" },
    { "{\"__metadata__\":[]," A "}", 8, "after __metadata__" },
    /* names twice */
    { "{" A "," A "}", 8, "begins at 0, the one before it ends at 8" },
    { "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
      "\"\\u0061\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
      2, "two tensors are named 'a'" },
    { "{\"__metadata__\":{\"a\":\"1\",\"b\":\"2\",\"a\":\"1\"}," A "}", 8, "has 'a' twice" },
    { "{\"__metadata__\":{},\"__metadata__\":{}," A "}", 8, "__metadata__ twice" },
    /* text */
    { "{\"\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "an empty name" },
    { "{\"a\\u0000\":{}}", 0, "text without NUL" },
    { "{\"a\\ud800\":{}}", 0, "second half of a surrogate pair" },
    { "{\"a\\ud800\\u0041\":{}}", 0, "second half of a surrogate pair" },
    { "{\"a\\udc00\":{}}", 0, "first half of a surrogate pair" },
    { "{\"a\\u12\":{}}", 0, "four hexadecimal digits" },
    { "{\"a\\x\":{}}", 0, "an escape of JSON" },
    { "{\"a\n\":{}}", 0, "without control characters" },
    { "{\"\xFF\":{}}", 0, "UTF-8" },
    { "{\"\xC0\x80\":{}}", 0, "UTF-8" },
    { "{\"\xED\xA0\x80\":{}}", 0, "UTF-8" },
    { "{\"\xE2\x82\":{}}", 0, "UTF-8" },
    { "{'a':{}}", 0, "a string" },
    { "{\"a", 0, "the end of a string" },
    { "{\"a\\", 0, "an escape" },
    { "{\"a\"", 0, "':'" },
    /* around the header */
    { "{" A "} x", 8, "nothing but spaces" },
    { "{" A "}\n", 8, "nothing but spaces" },
    { "{" A "}{}", 8, "nothing but spaces" },
    { "{" A ",}", 8, "a string" },
    { "{" A, 8, "',' or '}'" },
    { "{", 8, "a string" },
};

static void refuses_wrong_headers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrong_headers / sizeof wrong_headers[0]; i++) {
        bytes b = make(wrong_headers[i].header, wrong_headers[i].data);
        must_fail_and_drop(&b, wrong_headers[i].expected);
    }
}

static void refuses_wrong_lengths(void **state)
{
    (void)state;
    static const uint64_t lengths[] = {
        0,         1, 67, 69, 76, 77, 100000000, 100000001, 1U << 31, UINT32_MAX, UINT64_C(1) << 32,
        UINT64_MAX
    };
    bytes b = make("{" A "}", 8);
    const uint64_t right = b.p[0];
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        if (lengths[i] == right) {
            continue;
        }
        set_number(&b, 0, lengths[i], 8);
        must_fail(&b, "");
    }
    set_number(&b, 0, 100000001, 8);
    must_fail(&b, "claims 100000001 bytes, the limit is 100000000");
    set_number(&b, 0, b.size - 7, 8);
    must_fail(&b, "cut short");
    set_number(&b, 0, right, 8);
    checkpoint *c = must_load(&b);
    checkpoint_close(c);
    drop(&b);
}

static void counts_and_names_have_limits(void **state)
{
    (void)state;
    for (size_t extra = 0; extra < 2; extra++) {
        char name[300];
        const size_t length = CHECKPOINT_MAX_NAME + extra;
        memset(name, 'n', length);
        name[length] = '\0';
        bytes header = { 0 };
        put_text(&header, "{\"");
        put_text(&header, name);
        put_text(&header, "\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}");
        put_number(&header, 0, 1);
        bytes b = make((const char *)header.p, 1);
        if (extra == 0) {
            checkpoint *c = must_load(&b);
            assert_non_null(checkpoint_find(c, name));
            checkpoint_close(c);
        } else {
            must_fail(&b, "longer than 255 bytes");
        }
        drop(&b);
        drop(&header);
    }
    for (size_t extra = 0; extra < 2; extra++) {
        const size_t count = CHECKPOINT_MAX_TENSORS + extra;
        bytes header = { 0 };
        for (size_t i = 0; i < count; i++) {
            char entry[128];
            snprintf(entry, sizeof entry,
                     "%c\"t%zu\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[%zu,%zu]}",
                     i == 0 ? '{' : ',', i, i, i + 1);
            put_text(&header, entry);
        }
        put_text(&header, "}");
        put_number(&header, 0, 1);
        bytes b = make((const char *)header.p, count);
        if (extra == 0) {
            checkpoint *c = must_load(&b);
            assert_int_equal(c->count, CHECKPOINT_MAX_TENSORS);
            checkpoint_close(c);
        } else {
            must_fail(&b, "more than 16384 tensors");
        }
        drop(&b);
        drop(&header);
    }
}

static void metadata_has_a_limit(void **state)
{
    (void)state;
    for (size_t extra = 0; extra < 2; extra++) {
        bytes header = { 0 };
        put_text(&header, "{\"__metadata__\":{");
        for (size_t i = 0; i < CHECKPOINT_MAX_TENSORS + extra; i++) {
            char pair[32];
            snprintf(pair, sizeof pair, "%s\"k%zu\":\"\"", i == 0 ? "" : ",", i);
            put_text(&header, pair);
        }
        put_text(&header, "}," A "}");
        put_number(&header, 0, 1);
        bytes b = make((const char *)header.p, 8);
        if (extra == 0) {
            checkpoint_close(must_load(&b));
        } else {
            must_fail(&b, "__metadata__ has more than 16384 keys");
        }
        drop(&b);
        drop(&header);
    }
}

static void survives_cuts_and_flips(void **state)
{
    (void)state;
    bytes b = make("{\"__metadata__\":{\"k\\n\":\"v\"}," A "," B "} ", 12);
    every_truncation_fails(&b);
    assert_true(flip_every_byte(&b) > 6 * 90);
    drop(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_is_right),
        cmocka_unit_test(gives_values_shapes_and_names),
        cmocka_unit_test(removes_module_only_where_all_have_it),
        cmocka_unit_test(refuses_wrong_headers),
        cmocka_unit_test(refuses_wrong_lengths),
        cmocka_unit_test(counts_and_names_have_limits),
        cmocka_unit_test(metadata_has_a_limit),
        cmocka_unit_test(survives_cuts_and_flips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Geometries and the lists of tensors that follow from them, against models/FORMAT.md.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "model_fixture.h"

static iviti_status check(iviti_geometry g, char *text)
{
    iviti_status status = IVITI_OK;
    text[0] = 0;
    if (iviti_geometry_check(&g, &status, text, 200) != NULL) {
        assert_int_not_equal(status, IVITI_OK);
        assert_true(strlen(text) > 10);
    } else {
        assert_int_equal(status, IVITI_OK);
    }
    return status;
}

static void expect(iviti_geometry g, iviti_status status)
{
    char text[200];
    const iviti_status got = check(g, text);
    if (got != status)
        print_error("%s: %s\n", iviti_status_name(got), text);
    assert_int_equal(got, status);
}

/* The field at the limit, one past it, and at zero. */
#define BOUNDS(geometry, field, limit, at_limit)                                                   \
    do {                                                                                           \
        iviti_geometry b_ = (geometry);                                                            \
        b_.field = (limit);                                                                        \
        expect(b_, at_limit);                                                                      \
        b_.field = (limit) + 1;                                                                    \
        expect(b_, IVITI_ERROR_LIMIT);                                                             \
        b_.field = UINT32_MAX;                                                                     \
        expect(b_, IVITI_ERROR_LIMIT);                                                             \
        b_.field = 0;                                                                              \
        expect(b_, IVITI_ERROR_CORRUPT);                                                           \
    } while (0)

static void test_vit_limits(void **state)
{
    (void)state;
    iviti_geometry g = fixture_geometry(FIXTURE_VIT_TABLE);
    expect(g, IVITI_OK);
    BOUNDS(g, classes, 65536, IVITI_OK);
    BOUNDS(g, stage[0].depth, 64, IVITI_OK);
    BOUNDS(g, stage[0].hidden, 16384, IVITI_OK);
    g.stage[0].dim = 256;
    BOUNDS(g, stage[0].heads, 64, IVITI_OK);
    g.stage[0].heads = 16;
    BOUNDS(g, stage[0].dim, 4096, IVITI_OK);
    g.stage[0].heads = 15; /* the head would be 256 wide, were it not for the 4096 */
    g.stage[0].dim = 3840;
    expect(g, IVITI_OK);
    g.stage[0].dim = 3900; /* 260 wide */
    expect(g, IVITI_ERROR_LIMIT);

    g = fixture_geometry(FIXTURE_VIT_TABLE);
    g.patch = 1;
    BOUNDS(g, image_width, 1024, IVITI_ERROR_LIMIT); /* the tokens are too many */
    g.image_width = 63;
    g.image_height = 65; /* 4095 and the class token */
    expect(g, IVITI_OK);
    g.prefix_tokens = 2;
    expect(g, IVITI_ERROR_LIMIT);
    g = fixture_geometry(FIXTURE_VIT_TABLE);
    g.patch = 32;
    BOUNDS(g, image_width, 1024, IVITI_ERROR_CORRUPT); /* 16 rows are no patch of 32 */
    g.image_width = g.image_height = 64;
    BOUNDS(g, patch, 64, IVITI_OK);
}

static void test_vit_contradictions(void **state)
{
    (void)state;
    const iviti_geometry good = fixture_geometry(FIXTURE_VIT_TABLE);
    iviti_geometry g = good;
    g.image_height = 17;
    expect(g, IVITI_ERROR_CORRUPT);
    for (uint32_t prefix = 0; prefix < 5; prefix++) {
        g = good;
        g.prefix_tokens = prefix;
        expect(g, prefix == 1 || prefix == 2 ? IVITI_OK : IVITI_ERROR_CORRUPT);
    }
    g = good;
    g.stages = 2;
    g.stage[1] = (iviti_stage){ .depth = 1, .dim = 64, .heads = 2, .hidden = 64 };
    expect(g, IVITI_ERROR_CORRUPT);
    g.stages = 0;
    expect(g, IVITI_ERROR_CORRUPT);
    g = good;
    g.stage[0].window = 7;
    expect(g, IVITI_ERROR_CORRUPT);
    g = good;
    g.stage[0].heads = 3; /* does not divide 32 */
    expect(g, IVITI_ERROR_CORRUPT);
    g.stage[0].heads = 16; /* heads two wide */
    expect(g, IVITI_ERROR_CORRUPT);
    g = good;
    g.stage[0].hidden = 126;
    expect(g, IVITI_ERROR_CORRUPT);
    g = good;
    g.family = (iviti_family)2;
    expect(g, IVITI_ERROR_UNSUPPORTED);
}

static void test_swin_limits(void **state)
{
    (void)state;
    const iviti_geometry good = fixture_geometry(FIXTURE_SWIN_TABLE);
    iviti_geometry g = good;
    expect(g, IVITI_OK);
    g.prefix_tokens = 1;
    expect(g, IVITI_ERROR_CORRUPT);
    g = good;
    BOUNDS(g, stage[0].window, 32, IVITI_OK); /* larger than the grid: the grid's */
    g.stages = 5;
    expect(g, IVITI_ERROR_LIMIT);
    g.stages = 0;
    expect(g, IVITI_ERROR_CORRUPT);
    g = good;
    g.stage[1].dim = 48;
    expect(g, IVITI_ERROR_CORRUPT);
    g = good;
    g.stage[0].window = 3; /* does not tile 8 x 8 */
    expect(g, IVITI_ERROR_UNSUPPORTED);
    g = good;
    g.image_width = 18; /* nine tokens cannot be halved */
    g.stage[0].window = 1;
    expect(g, IVITI_ERROR_CORRUPT);
    g = good;
    g.stage[0].depth = 62; /* and two more: 64 */
    expect(g, IVITI_OK);
    g.stage[0].depth = 63;
    expect(g, IVITI_ERROR_LIMIT);
    g = good;
    g.patch = 1;
    g.image_width = g.image_height = 64;
    expect(g, IVITI_OK);
    g.image_width = 68;
    expect(g, IVITI_ERROR_LIMIT);
}

static void test_completion(void **state)
{
    (void)state;
    char text[200];
    iviti_geometry g = fixture_geometry(FIXTURE_SWIN_SHIFT);
    assert_null(iviti_geometry_complete(&g, text, sizeof text));
    assert_int_equal(g.depth, 5);
    assert_int_equal(g.features, 64);
    assert_int_equal(g.stage[0].grid_width, 12);
    assert_int_equal(g.stage[2].grid_height, 3);
    assert_int_equal(g.stage[2].window, 3);
    const iviti_geometry once = g;
    assert_null(iviti_geometry_complete(&g, text, sizeof text));
    assert_memory_equal(&g, &once, sizeof g);

    g.stage[0].window = 32; /* each stage its whole grid */
    assert_null(iviti_geometry_complete(&g, text, sizeof text));
    assert_int_equal(g.stage[0].window, 12);
    assert_int_equal(g.stage[1].window, 6);
    assert_int_equal(g.stage[2].window, 3);

    g = fixture_geometry(FIXTURE_VIT_DISTILLED);
    assert_null(iviti_geometry_complete(&g, text, sizeof text));
    assert_int_equal(g.features, 48);
    assert_int_equal(iviti_stage_tokens(&g, 0), 14);
}

/* Heads that leave a rest of the width, a kind that is none. */
static void test_what_fits_no_rule(void **state)
{
    (void)state;
    const iviti_geometry good = fixture_geometry(FIXTURE_VIT_TABLE);
    iviti_geometry g = good;
    char text[200];
    g.stage[0].dim = 52;
    g.stage[0].heads = 6; /* of width 8, which would do */
    assert_int_equal(check(g, text), IVITI_ERROR_CORRUPT);
    assert_non_null(strstr(text, "6 heads do not divide it"));
    g = good;
    g.prune.kind = (iviti_prune_kind)77;
    assert_int_equal(check(g, text), IVITI_ERROR_UNSUPPORTED);
    assert_non_null(strstr(text, "iviti.prune.kind is 77"));
}

static void expect_file(iviti_geometry g, iviti_status status)
{
    char text[200];
    iviti_status got = IVITI_OK;
    const char *const wrong = iviti_geometry_check_file(&g, &got, text, sizeof text);
    assert_int_equal(got, status);
    assert_true((wrong == NULL) == (status == IVITI_OK));
}

static void test_file_limits(void **state)
{
    (void)state;
    const iviti_geometry good = fixture_geometry(FIXTURE_VIT_TABLE);
    expect_file(good, IVITI_OK);
    iviti_geometry g = good;
    static const struct {
        uint32_t resize;
        iviti_status status;
    } sizes[] = {
        { 0, IVITI_ERROR_CORRUPT }, { 15, IVITI_ERROR_CORRUPT }, { 16, IVITI_OK },
        { 2048, IVITI_OK },         { 2049, IVITI_ERROR_LIMIT }, { UINT32_MAX, IVITI_ERROR_LIMIT }
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        g.preprocess.resize = sizes[i].resize;
        expect_file(g, sizes[i].status);
    }
    static const struct {
        uint32_t multiplier, shift;
        iviti_status status;
    } scales[] = { { 1u << 30, 1, IVITI_OK },
                   { INT32_MAX, 62, IVITI_OK },
                   { (1u << 30) - 1, 30, IVITI_ERROR_RANGE },
                   { 1u << 31, 30, IVITI_ERROR_RANGE },
                   { 0, 30, IVITI_ERROR_RANGE },
                   { 1u << 30, 0, IVITI_ERROR_RANGE },
                   { 1u << 30, 63, IVITI_ERROR_RANGE } };
    for (size_t i = 0; i < sizeof scales / sizeof *scales; i++) {
        g = good;
        g.logits_multiplier = scales[i].multiplier;
        g.logits_shift = scales[i].shift;
        expect_file(g, scales[i].status);
    }
    g = good;
    g.narrow_entry = true; /* of a swin only */
    expect_file(g, IVITI_ERROR_CORRUPT);
    expect_file(fixture_geometry(FIXTURE_SWIN_SHIFT), IVITI_OK);
    g = good;
    g.norm_kind = IVITI_NORM_KINDS;
    expect_file(g, IVITI_ERROR_UNSUPPORTED);
    g = good;
    g.softmax_kind = IVITI_SOFTMAX_KINDS;
    expect_file(g, IVITI_ERROR_UNSUPPORTED);
    g = good;
    g.gelu_kind = IVITI_GELU_KINDS;
    expect_file(g, IVITI_ERROR_UNSUPPORTED);
    g = good;
    g.preprocess.fit = (iviti_fit)2;
    expect_file(g, IVITI_ERROR_UNSUPPORTED);
    g = good;
    g.preprocess.interpolation = (iviti_interpolation)2;
    expect_file(g, IVITI_ERROR_UNSUPPORTED);
}

/* ---- the tensors ------------------------------------------------------------------------------
 */

typedef struct expected_tensor {
    const char *name;
    int type;
    uint32_t rows, columns; /* columns 0: rank 1 */
    int32_t low, high;
} expected_tensor;

#define FACTOR (1 << 30), INT32_MAX
#define SIGNED -INT32_MAX, INT32_MAX
#define OFFSET -((1 << 30) - 256), (1 << 30) - 256
#define DENSE(name, out, in)                                                                       \
    { name ".weight", 24, out, in, -127, 127 }, { name ".bias", 26, out, 0, SIGNED },              \
        { name ".multiplier", 26, out, 0, FACTOR },                                                \
    {                                                                                              \
        name ".shift", 24, out, 0, 32, 62                                                          \
    }
#define NORM(name, width, least)                                                                   \
    { name ".multiplier", 26, width, 0, SIGNED }, { name ".shift", 24, width, 0, least, 62 },      \
        { name ".bias", 26, width, 0, OFFSET },                                                    \
    {                                                                                              \
        name ".epsilon", 26, 2, 0, 0, INT32_MAX                                                    \
    }
#define VECTOR(name, n, least, most)                                                               \
    { name ".multiplier", 26, n, 0, FACTOR },                                                      \
    {                                                                                              \
        name ".shift", 24, n, 0, least, most                                                       \
    }
#define S8 -128, 127

static void expect_list(const iviti_geometry *g, const expected_tensor *list, size_t count,
                        size_t skip)
{
    for (size_t i = 0; i < count; i++) {
        iviti_tensor_spec s;
        assert_true(iviti_schema_tensor(g, skip + i, &s));
        assert_string_equal(s.name, list[i].name);
        assert_int_equal(s.type, list[i].type);
        assert_int_equal(s.rank, list[i].columns == 0 ? 1 : 2);
        assert_int_equal(s.shape[0], list[i].rows);
        assert_int_equal(s.shape[1], list[i].columns == 0 ? 1 : list[i].columns);
        assert_int_equal(s.low, list[i].low);
        assert_int_equal(s.high, list[i].high);
        const size_t size = s.type == IVITI_TYPE_I8 ? 1 : s.type == IVITI_TYPE_I16 ? 2 : 4;
        assert_int_equal(s.count, (uint64_t)s.shape[0] * s.shape[1]);
        assert_int_equal(s.bytes, s.count * size);
    }
}

static void test_vit_table_list(void **state)
{
    (void)state;
    static const expected_tensor list[] = {
        DENSE("embed", 32, 48),
        { "embed.position", 25, 17, 32, -32768, 32767 },
        VECTOR("embed.join", 2, 20, 62),
        NORM("block.0.norm1", 32, 25),
        DENSE("block.0.qkv", 96, 32),
        VECTOR("block.0.attention.score", 2, 1, 62),
        { "block.0.attention.table", 24, 256, 0, S8 },
        VECTOR("block.0.attention.output", 2, 25, 40),
        DENSE("block.0.proj", 32, 32),
        VECTOR("block.0.join1", 2, 20, 62),
        NORM("block.0.norm2", 32, 25),
        DENSE("block.0.fc1", 128, 32),
        { "block.0.gelu.table", 24, 2, 256, S8 },
        DENSE("block.0.fc2", 32, 128),
        VECTOR("block.0.join2", 2, 20, 62),
        { "block.1.norm1.multiplier", 26, 32, 0, SIGNED },
    };
    static const expected_tensor end[] = { NORM("norm", 32, 25), DENSE("head", 10, 32) };
    iviti_geometry g = fixture_geometry(FIXTURE_VIT_TABLE);
    char text[200];
    assert_null(iviti_geometry_complete(&g, text, sizeof text));
    expect_list(&g, list, sizeof list / sizeof *list, 0);
    const size_t count = iviti_schema_count(&g);
    assert_int_equal(count, 7 + 2 * 34 + 8);
    expect_list(&g, end, 8, count - 8);
    iviti_tensor_spec s;
    assert_false(iviti_schema_tensor(&g, count, &s));
    assert_false(iviti_schema_tensor(&g, SIZE_MAX, &s));
}

static void test_vit_shift_list(void **state)
{
    (void)state;
    static const expected_tensor list[] = {
        { "embed.pixels", 24, 3, 256, S8 },
        DENSE("embed", 32, 48),
        { "embed.position", 25, 17, 32, -32768, 32767 },
        VECTOR("embed.join", 2, 20, 62),
        NORM("block.0.norm1", 32, 31),
        DENSE("block.0.qkv", 96, 32),
        VECTOR("block.0.attention.score", 2, 1, 62),
        { "block.0.attention.scale", 26, 1, 0, 1, 32768 },
        VECTOR("block.0.attention.output", 2, 32, 62),
        DENSE("block.0.proj", 32, 32),
        VECTOR("block.0.join1", 2, 20, 62),
        NORM("block.0.norm2", 32, 31),
        DENSE("block.0.fc1", 128, 32),
        { "block.0.gelu.scale", 26, 1, 0, 1, 255 },
        VECTOR("block.0.gelu.output", 1, 24, 62),
        DENSE("block.0.fc2", 32, 128),
        VECTOR("block.0.join2", 2, 20, 62),
    };
    iviti_geometry g = fixture_geometry(FIXTURE_VIT_SHIFT);
    char text[200];
    assert_null(iviti_geometry_complete(&g, text, sizeof text));
    expect_list(&g, list, sizeof list / sizeof *list, 0);
}

static void test_swin_shift_list(void **state)
{
    (void)state;
    static const expected_tensor start[] = {
        DENSE("embed", 16, 12),
        NORM("embed.norm", 16, 31),
        NORM("block.0.norm1", 16, 31),
        DENSE("block.0.qkv", 48, 16),
        VECTOR("block.0.attention.score", 2, 1, 62),
        { "block.0.attention.scale", 26, 1, 0, 1, 32768 },
        { "block.0.attention.bias", 26, 25, 2, -(1 << 24), 1 << 24 },
        VECTOR("block.0.attention.bias_score", 1, 24, 62),
        VECTOR("block.0.attention.output", 2, 32, 62),
        DENSE("block.0.proj", 16, 16),
    };
    static const expected_tensor merge[] = {
        VECTOR("block.1.join2", 2, 20, 62),
        NORM("merge.0.norm", 64, 31),
        DENSE("merge.0.reduction", 32, 64),
        { "block.2.norm1.multiplier", 26, 32, 0, SIGNED },
    };
    static const expected_tensor end[] = {
        VECTOR("block.4.join2", 2, 20, 62),
        NORM("norm", 64, 31),
        VECTOR("pool", 64, 1, 62),
        DENSE("head", 5, 64),
    };
    iviti_geometry g = fixture_geometry(FIXTURE_SWIN_SHIFT);
    char text[200];
    assert_null(iviti_geometry_complete(&g, text, sizeof text));
    expect_list(&g, start, sizeof start / sizeof *start, 0);
    const size_t block = 4 + 4 + 2 + 1 + 1 + 2 + 2 + 4 + 2 + 4 + 4 + 1 + 2 + 4 + 2;
    expect_list(&g, merge, sizeof merge / sizeof *merge, 8 + 2 * block - 2);
    const size_t count = iviti_schema_count(&g);
    assert_int_equal(count, 8 + 5 * block + 2 * 8 + 10);
    expect_list(&g, end, sizeof end / sizeof *end, count - 12);
}

static void test_names_are_unique(void **state)
{
    (void)state;
    for (int kind = 0; kind < FIXTURE_KINDS; kind++) {
        iviti_geometry g = fixture_geometry((fixture_kind)kind);
        char text[200];
        assert_null(iviti_geometry_complete(&g, text, sizeof text));
        iviti_tensor_spec a, b;
        for (size_t i = 0; iviti_schema_tensor(&g, i, &a); i++)
            for (size_t k = 0; k < i; k++) {
                assert_true(iviti_schema_tensor(&g, k, &b));
                assert_string_not_equal(a.name, b.name);
            }
    }
}

static void test_data_bytes(void **state)
{
    (void)state;
    iviti_geometry g = fixture_geometry(FIXTURE_VIT_TABLE);
    char text[200];
    uint64_t bytes = 0;
    g.stage[0] = (iviti_stage){ .depth = 11, .dim = 4096, .heads = 64, .hidden = 16384 };
    assert_null(iviti_geometry_complete(&g, text, sizeof text));
    assert_false(iviti_schema_data_bytes(&g, &bytes)); /* 11 * 192 MiB of weights */
    assert_true(bytes == 0);
    g.stage[0].depth = 10;
    assert_null(iviti_geometry_complete(&g, text, sizeof text));
    assert_true(iviti_schema_data_bytes(&g, &bytes));
    assert_true(bytes > (uint64_t)10 * (192 << 20));

    g.stage[0] = (iviti_stage){ .depth = 64, .dim = 4, .heads = 1, .hidden = 4 };
    assert_null(iviti_geometry_complete(&g, text, sizeof text));
    assert_true(iviti_schema_count(&g) <= IVITI_MAX_TENSORS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vit_limits),       cmocka_unit_test(test_vit_contradictions),
        cmocka_unit_test(test_swin_limits),      cmocka_unit_test(test_completion),
        cmocka_unit_test(test_what_fits_no_rule),
        cmocka_unit_test(test_file_limits),      cmocka_unit_test(test_vit_table_list),
        cmocka_unit_test(test_vit_shift_list),   cmocka_unit_test(test_swin_shift_list),
        cmocka_unit_test(test_names_are_unique), cmocka_unit_test(test_data_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

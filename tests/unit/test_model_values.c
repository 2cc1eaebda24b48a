/* SPDX-License-Identifier: Apache-2.0
 *
 * Model files with one wrong value in a tensor, and models at the limits of models/FORMAT.md and
 * one past them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "model_edit.h"

#define CORRUPT IVITI_ERROR_CORRUPT
#define LIMIT   IVITI_ERROR_LIMIT
#define RANGE   IVITI_ERROR_RANGE

/* ---- values of tensors --------------------------------------------------------------------------
 */

static void put_element(uint8_t *data, const iviti_tensor_spec *s, size_t i, int64_t value)
{
    const size_t size = (size_t)(s->bytes / s->count);
    for (size_t b = 0; b < size; b++)
        data[i * size + b] = (uint8_t)((uint64_t)value >> 8 * b);
}

static void try_value(model_fixture *f, uint8_t *data, const iviti_tensor_spec *s, size_t i,
                      int64_t value, iviti_status status)
{
    uint8_t before[4];
    const size_t size = (size_t)(s->bytes / s->count);
    memcpy(before, data + i * size, size);
    put_element(data, s, i, value);
    edit_expect(f, status, s->name);
    memcpy(data + i * size, before, size);
}

/* First and last element of every tensor just within and just outside its range. */
static void test_value_ranges(void **state)
{
    (void)state;
    for (int kind = 0; kind < FIXTURE_KINDS; kind++) {
        const iviti_geometry g = edit_geometry((fixture_kind)kind);
        model_fixture f = fixture_build(&g, 2);
        iviti_tensor_spec s;
        for (size_t t = 0; iviti_schema_tensor(&g, t, &s); t++) {
            uint8_t *const data = f.image + edit_tensor(&f, &g, s.name);
            const int64_t type_low = s.type == IVITI_TYPE_I8    ? INT8_MIN
                                     : s.type == IVITI_TYPE_I16 ? INT16_MIN
                                                                : INT32_MIN;
            const int64_t type_high = -(type_low + 1);
            const bool free_within = s.field != IVITI_FIELD_EPSILON &&
                                     s.owner != IVITI_BLOCK_EXP_TABLE &&
                                     s.owner != IVITI_BLOCK_EXPONENTIALS &&
                                     s.owner != IVITI_BLOCK_EXP_POLYNOMIAL &&
                                     s.owner != IVITI_BLOCK_THRESHOLDS &&
                                     s.owner != IVITI_BLOCK_ETA &&
                                     s.owner != IVITI_BLOCK_GELU_POLYNOMIAL &&
                                     !(s.kind == IVITI_DENSE && s.field == IVITI_FIELD_BIAS);
            for (size_t end = 0; end < 2; end++) {
                const size_t i = end == 0 ? 0 : (size_t)s.count - 1;
                if (s.low > type_low)
                    try_value(&f, data, &s, i, (int64_t)s.low - 1, RANGE);
                if (s.high < type_high)
                    try_value(&f, data, &s, i, (int64_t)s.high + 1, RANGE);
                if (free_within) {
                    try_value(&f, data, &s, i, s.low, IVITI_OK);
                    try_value(&f, data, &s, i, s.high, IVITI_OK);
                }
            }
            if (s.kind == IVITI_NORM && s.field == IVITI_FIELD_MULTIPLIER) {
                try_value(&f, data, &s, 0, (1 << 30) - 1, RANGE);
                try_value(&f, data, &s, 0, 0, RANGE);
                try_value(&f, data, &s, 0, -(1 << 30) + 1, RANGE);
                try_value(&f, data, &s, 0, -(1 << 30), IVITI_OK);
                try_value(&f, data, &s, 0, 1 << 30, IVITI_OK);
            }
        }
        fixture_free(&f);
    }
}

static void test_epsilon(void **state)
{
    (void)state;
    static const struct {
        int32_t value, shift;
        iviti_status exact, newton;
    } cases[] = {
        { 1, 0, IVITI_OK, IVITI_OK },   { 0, 0, RANGE, RANGE },
        { 2, 0, IVITI_OK, RANGE },      { INT32_MAX, 23, IVITI_OK, RANGE },
        { 1, 24, RANGE, RANGE },        { 1, 1, IVITI_OK, RANGE },
        { -1, 0, RANGE, RANGE },        { 1, -1, RANGE, RANGE },
        { 1, INT32_MAX, RANGE, RANGE }, { INT32_MIN, 0, RANGE, RANGE },
    };
    for (int newton = 0; newton < 2; newton++) {
        const iviti_geometry g = edit_geometry(newton ? FIXTURE_VIT_SHIFT : FIXTURE_VIT_TABLE);
        model_fixture f = fixture_build(&g, 2);
        uint8_t *const data = f.image + edit_tensor(&f, &g, "block.1.norm2.epsilon");
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            iviti_put_u32(data, (uint32_t)cases[i].value);
            iviti_put_u32(data + 4, (uint32_t)cases[i].shift);
            edit_expect(&f, newton ? cases[i].newton : cases[i].exact, "block.1.norm2.epsilon");
        }
        fixture_free(&f);
    }
}

static void test_exp_table(void **state)
{
    (void)state;
    const iviti_geometry g = edit_geometry(FIXTURE_VIT_TABLE);
    model_fixture f = fixture_build(&g, 2);
    uint8_t *const table = f.image + edit_tensor(&f, &g, "block.0.attention.table");
    static const char name[] = "block.0.attention.table";
    assert_int_equal(table[0], 255);
    table[0] = 254;
    edit_expect(&f, RANGE, name);
    table[0] = 255;
    for (size_t i = 1; i < 256; i++) /* the others as they like */
        table[i] = (uint8_t)(97 * i);
    edit_expect(&f, IVITI_OK, "");
    memset(table, 255, 256);
    edit_expect(&f, IVITI_OK, "");
    memset(table + 1, 0, 255);
    edit_expect(&f, IVITI_OK, "");
    fixture_free(&f);
}

static void put_s32(uint8_t *data, const int32_t *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        iviti_put_u32(data + 4 * i, (uint32_t)values[i]);
}

/* The constants of SULQ: thresholds in order, and sums that fit 32 bits with 17 tokens. */
static void test_sulq(void **state)
{
    (void)state;
    const iviti_geometry g = edit_geometry(FIXTURE_VIT_SULQ);
    model_fixture f = fixture_build(&g, 2);
    uint8_t *const thresholds = f.image + edit_tensor(&f, &g, "block.0.attention.thresholds");
    uint8_t *const eta = f.image + edit_tensor(&f, &g, "block.1.attention.eta");
    const int64_t most = (INT32_MAX / (17 * 128)) - (128 << 8);

    put_s32(thresholds, (int32_t[]){ 5, 4, 7, 8, 9, 10, 11 }, 7);
    edit_expect(&f, RANGE, "block.0.attention.thresholds[1] is 4");
    put_s32(thresholds, (int32_t[]){ 0, 4, 7, 8, 9, 10, 11 }, 7);
    edit_expect(&f, RANGE, "block.0.attention.thresholds[0] is 0");
    put_s32(thresholds, (int32_t[]){ 1, 1, 1, 8, 9, 1 << 25, (1 << 25) + 1 }, 7);
    edit_expect(&f, RANGE, "block.0.attention.thresholds[6]");
    put_s32(thresholds, (int32_t[]){ 1, 1, 1, 8, 9, 1 << 25, 1 << 25 }, 7);
    edit_expect(&f, IVITI_OK, "");

    put_s32(eta, (int32_t[]){ 9, 0 }, 2);
    edit_expect(&f, RANGE, "block.1.attention.eta");
    put_s32(eta, (int32_t[]){ 8, (int32_t)most }, 2);
    edit_expect(&f, IVITI_OK, "");
    put_s32(eta, (int32_t[]){ 8, (int32_t)most + 1 }, 2);
    edit_expect(&f, RANGE, "block.1.attention.eta");
    put_s32(eta, (int32_t[]){ -1, 0 }, 2);
    edit_expect(&f, RANGE, "block.1.attention.eta[0] is -1");
    fixture_free(&f);
}

/* i-exp's polynomial must stay between 0 and its value at 0. */
static void test_polynomials(void **state)
{
    (void)state;
    static const struct {
        int32_t value[3];
        iviti_status status;
    } cases[] = {
        { { 17, 64, 1608 }, IVITI_OK },       { { 64, 64, 1024 }, IVITI_OK },
        { { 64, 64, 1023 }, RANGE },          { { 65, 64, 1608 }, RANGE },
        { { 0, 64, 1608 }, RANGE },           { { 16384, 32768, 1 << 28 }, IVITI_OK },
        { { 16385, 32768, 1 << 28 }, RANGE }, { { 16384, 32769, 1 << 29 }, RANGE },
        { { 1, 1, 1 << 30 }, IVITI_OK },      { { 1, 1, (1 << 30) + 1 }, RANGE },
        { { 1, 1, 1 }, IVITI_OK },            { { 1, INT32_MAX, 1 << 30 }, RANGE },
    };
    const iviti_geometry g = edit_geometry(FIXTURE_VIT_LIS);
    model_fixture f = fixture_build(&g, 2);
    uint8_t *const exponential = f.image + edit_tensor(&f, &g, "block.0.attention.polynomial");
    uint8_t *const gelu = f.image + edit_tensor(&f, &g, "block.1.gelu.polynomial");

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put_s32(exponential, cases[i].value, 3);
        edit_expect(&f, cases[i].status, "block.0.attention.polynomial");
    }
    put_s32(exponential, cases[0].value, 3);
    put_s32(gelu, (int32_t[]){ 2048, 1 << 22 }, 2);
    edit_expect(&f, IVITI_OK, "");
    put_s32(gelu, (int32_t[]){ 2049, 1 << 22 }, 2);
    edit_expect(&f, RANGE, "block.1.gelu.polynomial[0] is 2049");
    put_s32(gelu, (int32_t[]){ 2048, (1 << 22) + 1 }, 2);
    edit_expect(&f, RANGE, "block.1.gelu.polynomial[1]");
    fixture_free(&f);
}

static void test_exponentials(void **state)
{
    (void)state;
    const iviti_geometry g = edit_geometry(FIXTURE_VIT_Q15);
    model_fixture f = fixture_build(&g, 2);
    static const char name[] = "block.0.attention.exponentials";
    uint8_t *const table = f.image + edit_tensor(&f, &g, name);
    uint8_t before[512];

    memcpy(before, table, sizeof before);
    table[0]--; /* 32766 */
    edit_expect(&f, RANGE, "block.0.attention.exponentials[0] is 32766");
    memcpy(table, before, sizeof before);
    memcpy(table + 2 * 100, table, 2); /* rises */
    edit_expect(&f, RANGE, "block.0.attention.exponentials[100]");
    memset(table + 2, 0, 510);
    edit_expect(&f, IVITI_OK, "");
    table[511] = 0xFF; /* negative */
    edit_expect(&f, RANGE, "block.0.attention.exponentials[255]");
    fixture_free(&f);
}

/* Shiftmax: tokens times scale up to 2^24, for that bounds its sums where their cap binds. */
static void test_shiftmax_scale(void **state)
{
    (void)state;
    static const struct {
        uint32_t width, height; /* of patches; one prefix token */
        int32_t most;
    } cases[] = { { 22, 23, 32768 }, { 32, 16, 32704 }, { 63, 65, 4096 }, { 32, 32, 16368 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            iviti_geometry g = edit_geometry(FIXTURE_VIT_SHIFT);
            char text[200];
            g.patch = 2;
            g.image_width = 2 * cases[i].width;
            g.image_height = 2 * cases[i].height;
            g.preprocess.resize = 1024;
            g.stage[0] = (iviti_stage){ .depth = 1, .dim = 8, .heads = 1, .hidden = 8 };
            assert_null(iviti_geometry_complete(&g, text, sizeof text));
            assert_true(cases[i].most == 32768 ||
                        (int64_t)iviti_stage_tokens(&g, 0) * (cases[i].most + 1) > 1 << 24);
            model_fixture f = fixture_build(&g, 2);
            uint8_t *const scale = f.image + edit_tensor(&f, &g, "block.0.attention.scale");
            put_s32(scale, &cases[i].most, 1);
            edit_expect(&f, IVITI_OK, "");
            put_s32(scale, (int32_t[]){ cases[i].most + 1 }, 1);
            edit_expect(&f, RANGE, "block.0.attention.scale");
            fixture_free(&f);
        }
}

/* The accumulator of one output may reach 2^31 - 2, and no more. */
static void test_accumulators(void **state)
{
    (void)state;
    static const struct {
        const char *layer;
        fixture_kind kind;
        uint32_t row, rows, in;
        bool raw;
    } layers[] = {
        { "embed", FIXTURE_VIT_TABLE, 31, 32, 48, true },
        { "embed", FIXTURE_VIT_SHIFT, 0, 32, 48, false },
        { "block.0.qkv", FIXTURE_VIT_TABLE, 0, 96, 32, false },
        { "block.1.qkv", FIXTURE_VIT_TABLE, 40, 96, 32, false },
        { "block.1.qkv", FIXTURE_VIT_DISTILLED, 71, 72, 24, false },
        { "block.2.fc2", FIXTURE_VIT_DISTILLED, 17, 24, 76, false },
        { "merge.0.reduction", FIXTURE_SWIN_TABLE, 1, 32, 64, false },
        { "head", FIXTURE_SWIN_SHIFT, 4, 5, 64, false },
    };
    for (size_t l = 0; l < sizeof layers / sizeof *layers; l++) {
        const iviti_geometry g = edit_geometry(layers[l].kind);
        model_fixture f = fixture_build(&g, 2);
        char name[64];
        snprintf(name, sizeof name, "%s.weight", layers[l].layer);
        uint8_t *const weight = f.image + edit_tensor(&f, &g, name) + layers[l].row * layers[l].in;
        snprintf(name, sizeof name, "%s.bias", layers[l].layer);
        uint8_t *const bias = f.image + edit_tensor(&f, &g, name) + 4 * layers[l].row;
        weight[0] = 0x81; /* -127 */
        weight[1] = 127;
        int64_t sum = 0, magnitude = 0;
        for (uint32_t k = 0; k < layers[l].in; k++) {
            const int w = iviti_get_s8(weight + k);
            sum += w;
            magnitude += w < 0 ? -w : w;
        }
        const int64_t offset = layers[l].raw ? 0 : 128 * sum;
        const int64_t most = (int64_t)INT32_MAX - 1 - 255 * magnitude;
        const struct {
            int64_t value; /* of the bias that the kernels start from */
            iviti_status status;
        } cases[] = {
            { most, IVITI_OK }, { most + 1, RANGE }, { -most, IVITI_OK }, { -most - 1, RANGE }
        };
        for (size_t i = 0; i < 4; i++) {
            const int64_t stored = cases[i].value + offset;
            if (stored > INT32_MAX || stored < -INT32_MAX)
                continue;
            iviti_put_u32(bias, (uint32_t)(int32_t)stored);
            edit_expect(&f, cases[i].status, name);
        }
        iviti_put_u32(bias, 0x80000000u);
        edit_expect(&f, RANGE, name);
        fixture_free(&f);
    }
}

/* ---- limits -------------------------------------------------------------------------------------
 */

/* Builds, loads and frees a model at a limit. */
static void expect_loads(const iviti_geometry *g)
{
    model_fixture f = fixture_build(g, 2);
    edit_expect(&f, IVITI_OK, "");
    fixture_free(&f);
}

static void test_models_at_limits(void **state)
{
    (void)state;
    iviti_geometry g = fixture_geometry(FIXTURE_VIT_TABLE);
    g.stage[0] = (iviti_stage){ .depth = 64, .dim = 4, .heads = 1, .hidden = 4 };
    expect_loads(&g);
    g.stage[0] = (iviti_stage){ .depth = 1, .dim = 256, .heads = 64, .hidden = 4 };
    expect_loads(&g);
    g.stage[0] = (iviti_stage){ .depth = 1, .dim = 256, .heads = 1, .hidden = 16384 };
    expect_loads(&g);
    g.stage[0] = (iviti_stage){ .depth = 1, .dim = 4, .heads = 1, .hidden = 4 };
    g.classes = 65536; /* with as many names: a header beyond the first buffer */
    expect_loads(&g);
    g.classes = 1;
    g.patch = 64;
    g.image_width = g.image_height = 64;
    g.preprocess.resize = 2048;
    expect_loads(&g);
    g.image_width = g.image_height = 1024;
    expect_loads(&g);
    g.patch = 1;
    g.image_width = 65;
    g.image_height = 63;
    expect_loads(&g);

    g = fixture_geometry(FIXTURE_SWIN_TABLE);
    g.patch = 1;
    g.image_width = g.image_height = 32;
    g.preprocess.resize = 32;
    g.stages = 4;
    g.stage[0] = (iviti_stage){ .depth = 1, .dim = 4, .heads = 1, .hidden = 4, .window = 32 };
    for (uint32_t i = 1; i < 4; i++)
        g.stage[i] = (iviti_stage){ .depth = 1, .dim = 4u << i, .heads = 1, .hidden = 4 };
    expect_loads(&g);
}

static void test_pairs_at_limit(void **state)
{
    (void)state;
    const iviti_geometry g = edit_geometry(FIXTURE_VIT_TABLE);
    model_fixture f = fixture_build(&g, 2);
    const size_t before = (size_t)iviti_get_u64(f.image + 16);
    enum { ROOM = 40 };
    uint8_t *const pairs = malloc((size_t)IVITI_MAX_PAIRS * ROOM);
    size_t used = 0;
    for (size_t i = before; i < IVITI_MAX_PAIRS; i++) { /* in no order */
        char key[24];
        snprintf(key, sizeof key, "note.%zu", i * 2654435761u % 1000003);
        used += edit_string_pair(pairs + used, key, "x", 1);
    }
    size_t bytes;
    edit_splice(&f, &g, edit_pair(&f, "iviti.family", &bytes), 0, pairs, used,
                (int)(IVITI_MAX_PAIRS - before));
    edit_expect(&f, IVITI_OK, "");
    /* The last of them once more in the place of the first. */
    char key[24];
    snprintf(key, sizeof key, "note.%zu", (size_t)(IVITI_MAX_PAIRS - 1) * 2654435761u % 1000003);
    uint8_t pair[ROOM];
    const size_t pair_bytes = edit_string_pair(pair, key, "x", 1);
    size_t first_bytes;
    char first_key[24];
    snprintf(first_key, sizeof first_key, "note.%zu", before * 2654435761u % 1000003);
    const size_t first = edit_pair(&f, first_key, &first_bytes);
    edit_splice(&f, &g, first, first_bytes, pair, pair_bytes, 0);
    edit_expect(&f, CORRUPT, "twice");
    free(pairs);
    fixture_free(&f);
}

/* A note that makes the header as long as it may be, and one byte longer. */
static void test_header_at_limit(void **state)
{
    (void)state;
    const iviti_geometry g = edit_geometry(FIXTURE_VIT_TABLE);
    for (size_t more = 0; more < 2; more++) {
        model_fixture f = fixture_build(&g, 2);
        const size_t header = edit_after(&f, "head.shift") + 4 + 8 + 4 + 8;
        const size_t text_bytes = (size_t)IVITI_MAX_HEADER + more - header - 20 - strlen("note");
        char *const text = malloc(text_bytes);
        memset(text, 't', text_bytes);
        uint8_t *const pair = malloc(text_bytes + 100);
        const size_t pair_bytes = edit_string_pair(pair, "note", text, text_bytes);
        size_t bytes;
        edit_splice(&f, &g, edit_pair(&f, "iviti.family", &bytes), 0, pair, pair_bytes, 1);
        edit_expect(&f, more == 0 ? IVITI_OK : LIMIT, "header");
        free(pair);
        free(text);
        fixture_free(&f);
    }
}

/* Headers of networks beyond the sizes of files and of memory: refused before anything is asked
 * for. */
static void test_networks_beyond_limits(void **state)
{
    (void)state;
    iviti_geometry g = edit_geometry(FIXTURE_VIT_TABLE);
    model_fixture f = fixture_build(&g, 2);
    iviti_put_u32(f.image + edit_value(&f, "iviti.stage.dim"), 4096);
    iviti_put_u32(f.image + edit_value(&f, "iviti.stage.heads"), 64);
    iviti_put_u32(f.image + edit_value(&f, "iviti.stage.hidden"), 16384);
    iviti_put_u32(f.image + edit_value(&f, "iviti.stage.depth"), 64);
    g.stage[0].depth = 64;
    g.depth = 64;
    iviti_put_u64(f.image + 8, iviti_schema_count(&g));
    edit_expect(&f, LIMIT, "largest file");
    fixture_free(&f);

    /* Biases of windows spread to a thousand times their size in the file. */
    g = fixture_geometry(FIXTURE_SWIN_TABLE);
    g.patch = 1;
    g.image_width = g.image_height = g.preprocess.resize = 32;
    g.stages = 1;
    g.stage[0] = (iviti_stage){ .depth = 9, .dim = 256, .heads = 64, .hidden = 4, .window = 32 };
    f = fixture_build(&g, 2);
    assert_true(f.size < (size_t)16 << 20);
    edit_expect(&f, LIMIT, "memory");
    fixture_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shiftmax_scale),
        cmocka_unit_test(test_value_ranges),     cmocka_unit_test(test_epsilon),
        cmocka_unit_test(test_exp_table),
        cmocka_unit_test(test_sulq),
        cmocka_unit_test(test_polynomials),
        cmocka_unit_test(test_exponentials),        cmocka_unit_test(test_accumulators),
        cmocka_unit_test(test_models_at_limits), cmocka_unit_test(test_pairs_at_limit),
        cmocka_unit_test(test_header_at_limit),  cmocka_unit_test(test_networks_beyond_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

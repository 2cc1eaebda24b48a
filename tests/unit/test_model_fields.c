/* SPDX-License-Identifier: Apache-2.0
 *
 * Model files with one thing wrong in the header, each with the status that it must give.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "model_edit.h"

/* ---- numbers of the header ----------------------------------------------------------------------
 */

typedef struct number_case {
    const char *key;
    uint32_t value;
    iviti_status status;
} number_case;

static void try_numbers(fixture_kind kind, const number_case *cases, size_t count)
{
    iviti_geometry g = fixture_geometry(kind);
    model_fixture f = fixture_build(&g, 2);
    for (size_t i = 0; i < count; i++) {
        const size_t at = edit_value(&f, cases[i].key);
        const uint32_t before = iviti_get_u32(f.image + at);
        iviti_put_u32(f.image + at, cases[i].value);
        const char *const short_name = strrchr(cases[i].key, '.') + 1;
        /* A wrong number either is named itself or contradicts a tensor. */
        fixture_seal(f.image, f.size);
        const load_result r = edit_load(f.image, f.size, NULL);
        if (r.status != cases[i].status)
            print_error("%s = %u: %s: %s\n", cases[i].key, cases[i].value,
                        iviti_status_name(r.status), r.sentence);
        assert_int_equal(r.status, cases[i].status);
        assert_true(r.status == IVITI_OK || strstr(r.sentence, short_name) != NULL ||
                    strstr(r.sentence, "tensor") != NULL || strstr(r.sentence, "token") != NULL ||
                    strstr(r.sentence, "head") != NULL || strstr(r.sentence, "image") != NULL);
        iviti_model_free(r.model);
        iviti_put_u32(f.image + at, before);
    }
    edit_expect(&f, IVITI_OK, "");
    fixture_free(&f);
}

#define CORRUPT     IVITI_ERROR_CORRUPT
#define LIMIT       IVITI_ERROR_LIMIT
#define RANGE       IVITI_ERROR_RANGE
#define UNSUPPORTED IVITI_ERROR_UNSUPPORTED
#define VERSION     IVITI_ERROR_VERSION

/* Values that are beyond every limit. */
#define HUGE(key, status)                                                                          \
    { key, 0x7FFFFFFFu, status }, { key, 0x80000000u, status },                                    \
    {                                                                                              \
        key, 0xFFFFFFFFu, status                                                                   \
    }

static void test_vit_numbers(void **state)
{
    (void)state;
    static const number_case cases[] = {
        { "general.alignment", 0, CORRUPT },
        { "general.alignment", 32, CORRUPT },
        HUGE("general.alignment", CORRUPT),
        { "iviti.format", 0, CORRUPT },
        { "iviti.format", 1, IVITI_OK },
        { "iviti.format", 2, VERSION },
        HUGE("iviti.format", VERSION),
        { "iviti.image.width", 0, CORRUPT },
        { "iviti.image.width", 4, CORRUPT },  /* fewer tokens than positions */
        { "iviti.image.width", 17, CORRUPT }, /* no multiple of the patch */
        { "iviti.image.width", 20, CORRUPT }, /* more than `resize` */
        { "iviti.image.width", 1025, LIMIT },
        HUGE("iviti.image.width", LIMIT),
        { "iviti.image.height", 0, CORRUPT },
        { "iviti.image.height", 1025, LIMIT },
        HUGE("iviti.image.height", LIMIT),
        { "iviti.image.resize", 0, CORRUPT },
        { "iviti.image.resize", 15, CORRUPT },
        { "iviti.image.resize", 16, IVITI_OK },
        { "iviti.image.resize", 2048, IVITI_OK },
        { "iviti.image.resize", 2049, LIMIT },
        HUGE("iviti.image.resize", LIMIT),
        { "iviti.patch", 0, CORRUPT },
        { "iviti.patch", 2, CORRUPT },
        { "iviti.patch", 64, CORRUPT },
        { "iviti.patch", 65, LIMIT },
        HUGE("iviti.patch", LIMIT),
        { "iviti.prefix_tokens", 0, CORRUPT },
        { "iviti.prefix_tokens", 2, CORRUPT },
        { "iviti.prefix_tokens", 3, CORRUPT },
        HUGE("iviti.prefix_tokens", CORRUPT),
        { "iviti.stage.depth", 0, CORRUPT },
        { "iviti.stage.depth", 1, CORRUPT },
        { "iviti.stage.depth", 64, CORRUPT },
        { "iviti.stage.depth", 65, LIMIT },
        HUGE("iviti.stage.depth", LIMIT),
        { "iviti.stage.dim", 0, CORRUPT },
        { "iviti.stage.dim", 33, CORRUPT },
        { "iviti.stage.dim", 40, CORRUPT },
        { "iviti.stage.dim", 4096, LIMIT }, /* heads of 2048 */
        { "iviti.stage.dim", 4097, LIMIT },
        HUGE("iviti.stage.dim", LIMIT),
        { "iviti.stage.heads", 0, CORRUPT },
        { "iviti.stage.heads", 1, CORRUPT },
        { "iviti.stage.heads", 3, CORRUPT },
        { "iviti.stage.heads", 65, LIMIT },
        HUGE("iviti.stage.heads", LIMIT),
        { "iviti.stage.hidden", 0, CORRUPT },
        { "iviti.stage.hidden", 127, CORRUPT },
        { "iviti.stage.hidden", 16384, CORRUPT },
        { "iviti.stage.hidden", 16385, LIMIT },
        HUGE("iviti.stage.hidden", LIMIT),
        { "iviti.classes", 0, CORRUPT },
        { "iviti.classes", 9, CORRUPT },
        { "iviti.classes", 65536, CORRUPT },
        { "iviti.classes", 65537, LIMIT },
        HUGE("iviti.classes", LIMIT),
        { "iviti.logits.multiplier", 0, RANGE },
        { "iviti.logits.multiplier", (1u << 30) - 1, RANGE },
        { "iviti.logits.multiplier", 0x7FFFFFFFu, IVITI_OK },
        { "iviti.logits.multiplier", 0x80000000u, RANGE },
        { "iviti.logits.shift", 0, RANGE },
        { "iviti.logits.shift", 1, IVITI_OK },
        { "iviti.logits.shift", 62, IVITI_OK },
        { "iviti.logits.shift", 63, RANGE },
        HUGE("iviti.logits.shift", RANGE),
    };
    try_numbers(FIXTURE_VIT_TABLE, cases, sizeof cases / sizeof *cases);
}

static void test_swin_numbers(void **state)
{
    (void)state;
    static const number_case cases[] = {
        { "iviti.window", 0, CORRUPT },
        { "iviti.window", 2, CORRUPT },     /* other tables of biases */
        { "iviti.window", 3, UNSUPPORTED }, /* does not tile the grid */
        { "iviti.window", 33, LIMIT },
        HUGE("iviti.window", LIMIT),
        { "iviti.prefix_tokens", 1, CORRUPT },
        { "iviti.stage.depth", 62, CORRUPT },
        { "iviti.stage.depth", 63, LIMIT },       /* and two of the other stage */
        { "iviti.stage.dim", 20, CORRUPT },       /* not half of the next */
        { "iviti.image.width", 18, UNSUPPORTED }, /* nine tokens a row */
    };
    try_numbers(FIXTURE_SWIN_TABLE, cases, sizeof cases / sizeof *cases);
}

/* ---- the fixed header ---------------------------------------------------------------------------
 */

static void test_fixed_header(void **state)
{
    (void)state;
    const iviti_geometry g = edit_geometry(FIXTURE_VIT_TABLE);
    model_fixture f = fixture_build(&g, 2);
    static const struct {
        uint64_t value;
        iviti_status tensors, pairs;
    } counts[] = {
        { 0, CORRUPT, CORRUPT },
        { 1, CORRUPT, CORRUPT },
        { 4096, CORRUPT, IVITI_ERROR_TRUNCATED }, /* the directory, taken for pairs */
        { 4097, CORRUPT, LIMIT },
        { 16384, CORRUPT, LIMIT },
        { 16385, LIMIT, LIMIT },
        { 0x7FFFFFFF, LIMIT, LIMIT },
        { 0xFFFFFFFF, LIMIT, LIMIT },
        { 0x100000000, LIMIT, LIMIT },
        { 0x8000000000000000u, LIMIT, LIMIT },
        { 0xFFFFFFFFFFFFFFFFu, LIMIT, LIMIT },
    };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        const uint64_t tensors = iviti_get_u64(f.image + 8), pairs = iviti_get_u64(f.image + 16);
        iviti_put_u64(f.image + 8, counts[i].value);
        edit_expect(&f, counts[i].tensors, "tensors");
        iviti_put_u64(f.image + 8, tensors);
        iviti_put_u64(f.image + 16, counts[i].value);
        edit_expect(&f, counts[i].pairs, "");
        iviti_put_u64(f.image + 16, pairs);
    }
    static const struct {
        uint32_t version;
        const char *word;
    } versions[] = { { 0, "is 0" },
                     { 1, "is 1" },
                     { 2, "is 2" },
                     { 4, "is 4" },
                     { 0x03000000, "big-endian" },
                     { 0xFFFFFFFF, "4294967295" } };
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        iviti_put_u32(f.image + 4, versions[i].version);
        edit_expect(&f, VERSION, versions[i].word);
    }
    iviti_put_u32(f.image + 4, 3);
    for (size_t i = 0; i < 4; i++) {
        f.image[i] ^= 0x20;
        edit_expect(&f, IVITI_ERROR_NOT_A_MODEL, "GGUF");
        f.image[i] ^= 0x20;
    }
    fixture_free(&f);
    assert_int_equal(edit_load((const uint8_t *)"", 0, NULL).status, IVITI_ERROR_TRUNCATED);
    assert_int_equal(edit_load((const uint8_t *)"GG", 2, NULL).status, IVITI_ERROR_TRUNCATED);
    assert_int_equal(edit_load((const uint8_t *)"PK", 2, NULL).status, IVITI_ERROR_NOT_A_MODEL);
    assert_int_equal(edit_load((const uint8_t *)"\x89PNG\r\n\x1A\n", 8, NULL).status,
                     IVITI_ERROR_NOT_A_MODEL);
}

/* ---- pairs --------------------------------------------------------------------------------------
 */

/* Another GGUF file altogether. */
static void test_other_architectures(void **state)
{
    (void)state;
    uint8_t file[200] = { 'G', 'G', 'U', 'F', 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1 };
    const size_t size = 24 + edit_string_pair(file + 24, "general.architecture", "llama", 5);
    load_result r = edit_load(file, size, NULL);
    assert_int_equal(r.status, IVITI_ERROR_ARCHITECTURE);
    assert_non_null(strstr(r.sentence, "'llama'"));

    uint8_t second[300] = { 'G', 'G', 'U', 'F', 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2 };
    size_t used = 24 + edit_string_pair(second + 24, "general.name", "x", 1);
    used += edit_string_pair(second + used, "general.architecture", "clip\x1B[0m", 8);
    r = edit_load(second, used, NULL);
    assert_int_equal(r.status, IVITI_ERROR_ARCHITECTURE);
    assert_non_null(strstr(r.sentence, "'clip\\x1b[0m'"));

    second[16] = 1; /* only the name is left */
    assert_int_equal(edit_load(second, used, NULL).status, CORRUPT);
}

static void test_missing_keys(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        fixture_kind kind;
        iviti_status status;
    } keys[] = {
        { "iviti.checksum", FIXTURE_VIT_TABLE, CORRUPT },
        { "general.architecture", FIXTURE_VIT_TABLE, CORRUPT },
        { "general.alignment", FIXTURE_VIT_TABLE, CORRUPT },
        { "iviti.format", FIXTURE_VIT_TABLE, CORRUPT },
        { "iviti.family", FIXTURE_VIT_TABLE, CORRUPT },
        { "iviti.image.width", FIXTURE_VIT_TABLE, CORRUPT },
        { "iviti.image.height", FIXTURE_VIT_TABLE, CORRUPT },
        { "iviti.image.fit", FIXTURE_VIT_TABLE, CORRUPT },
        { "iviti.image.resize", FIXTURE_VIT_TABLE, CORRUPT },
        { "iviti.image.interpolation", FIXTURE_VIT_TABLE, CORRUPT },
        { "iviti.patch", FIXTURE_VIT_TABLE, CORRUPT },
        { "iviti.prefix_tokens", FIXTURE_VIT_TABLE, CORRUPT },
        { "iviti.stage.depth", FIXTURE_VIT_TABLE, CORRUPT },
        { "iviti.stage.dim", FIXTURE_VIT_TABLE, CORRUPT },
        { "iviti.stage.heads", FIXTURE_VIT_TABLE, CORRUPT },
        { "iviti.stage.hidden", FIXTURE_VIT_TABLE, CORRUPT },
        { "iviti.window", FIXTURE_SWIN_TABLE, CORRUPT },
        { "iviti.operators.entry", FIXTURE_SWIN_TABLE, CORRUPT },
        { "iviti.classes", FIXTURE_VIT_TABLE, CORRUPT },
        { "iviti.operators.pixels", FIXTURE_VIT_TABLE, CORRUPT },
        { "iviti.operators.norm", FIXTURE_VIT_TABLE, CORRUPT },
        { "iviti.operators.softmax", FIXTURE_VIT_TABLE, CORRUPT },
        { "iviti.operators.gelu", FIXTURE_VIT_TABLE, CORRUPT },
        { "iviti.logits.multiplier", FIXTURE_VIT_TABLE, CORRUPT },
        { "iviti.logits.shift", FIXTURE_VIT_TABLE, CORRUPT },
        { "general.name", FIXTURE_VIT_TABLE, IVITI_OK },
        { "iviti.image.mean", FIXTURE_VIT_TABLE, IVITI_OK },
        { "iviti.image.std", FIXTURE_VIT_TABLE, IVITI_OK },
        { "iviti.labels", FIXTURE_VIT_TABLE, IVITI_OK },
        { "iviti.source.name", FIXTURE_VIT_TABLE, IVITI_OK },
        { "iviti.source.sha256", FIXTURE_VIT_TABLE, IVITI_OK },
        { "iviti.converter", FIXTURE_VIT_TABLE, IVITI_OK },
        { "iviti.recipe", FIXTURE_VIT_TABLE, IVITI_OK },
        { "iviti.note.purpose", FIXTURE_VIT_TABLE, IVITI_OK },
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const iviti_geometry g = edit_geometry(keys[i].kind);
        model_fixture f = fixture_build(&g, 2);
        size_t bytes;
        const size_t at = edit_pair(&f, keys[i].key, &bytes);
        if (i == 0) { /* where the checksum was, another pair begins: seal would damage it */
            edit_splice(&f, &g, at, bytes, NULL, 0, -1);
            const iviti_load_options skip = { .skip_checksum = 1 };
            assert_int_not_equal(edit_load(f.image, f.size, &skip).status, IVITI_OK);
        } else {
            edit_splice(&f, &g, at, bytes, NULL, 0, -1);
            edit_expect(&f, keys[i].status, keys[i].key);
        }
        fixture_free(&f);
    }
}

/* Every pair once more at the end of the pairs, and moved there. */
static void test_order_and_repetition(void **state)
{
    (void)state;
    static const char *const keys[] = {
        "general.architecture", "general.name",       "general.alignment", "iviti.format",
        "iviti.family",         "iviti.stage.depth",  "iviti.labels",      "iviti.image.mean",
        "iviti.operators.gelu", "iviti.logits.shift", "iviti.recipe",      "iviti.note.purpose",
        "iviti.checksum",
    };
    const iviti_geometry g = edit_geometry(FIXTURE_VIT_TABLE);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        model_fixture f = fixture_build(&g, 2);
        size_t bytes, end_bytes;
        const size_t at = edit_pair(&f, keys[i], &bytes);
        uint8_t *const pair = malloc(bytes);
        memcpy(pair, f.image + at, bytes);
        const size_t end = edit_pair(&f, "iviti.note.purpose", &end_bytes) + end_bytes;
        edit_splice(&f, &g, end, 0, pair, bytes, 1);
        edit_expect(&f, CORRUPT, keys[i]);
        if (i < 12) { /* the first one away: the pair has moved */
            edit_splice(&f, &g, at, bytes, NULL, 0, -1);
            edit_expect(&f, IVITI_OK, "");
        }
        free(pair);
        fixture_free(&f);
    }
}

/* Another number where the checksum is expected, and the checksum behind it. */
static void test_checksum_first(void **state)
{
    (void)state;
    const iviti_geometry g = edit_geometry(FIXTURE_VIT_TABLE);
    model_fixture f = fixture_build(&g, 2);
    uint8_t pair[30] = { 14 };
    memcpy(pair + 8, "general.number", 14);
    iviti_put_u32(pair + 22, 4);
    edit_splice(&f, &g, 24, 0, pair, sizeof pair, 1);
    edit_expect(&f, CORRUPT, "the first metadata pair");
    fixture_free(&f);
}

/* A pair inserted before iviti.family. */
static void try_pair(const uint8_t *pair, size_t bytes, iviti_status status, const char *word)
{
    const iviti_geometry g = edit_geometry(FIXTURE_VIT_TABLE);
    model_fixture f = fixture_build(&g, 2);
    size_t family_bytes;
    edit_splice(&f, &g, edit_pair(&f, "iviti.family", &family_bytes), 0, pair, bytes, 1);
    edit_expect(&f, status, word);
    fixture_free(&f);
}

static void test_foreign_pairs(void **state)
{
    (void)state;
    uint8_t pair[400];
    size_t bytes = edit_string_pair(pair, "iviti.notes", "x", 1);
    try_pair(pair, bytes, UNSUPPORTED, "iviti.notes");
    bytes = edit_string_pair(pair, "iviti.prune", "x", 1);
    try_pair(pair, bytes, UNSUPPORTED, "iviti.prune");
    bytes = edit_string_pair(pair, "iviti.note.more", "\xE2\x82\xAC", 3);
    try_pair(pair, bytes, IVITI_OK, "");
    bytes = edit_string_pair(pair, "tokenizer.chat", "", 0);
    try_pair(pair, bytes, IVITI_OK, "");
    bytes = edit_string_pair(pair, "x", "\xFF", 1);
    try_pair(pair, bytes, CORRUPT, "UTF-8");
    bytes = edit_string_pair(pair, "x", "a\0b", 3);
    try_pair(pair, bytes, CORRUPT, "UTF-8");
    static const char *const bad_keys[] = { "Upper", "sp ace", "slash/", "nul", "\xC3\xA9" };
    for (size_t i = 0; i < sizeof bad_keys / sizeof *bad_keys; i++) {
        bytes = edit_string_pair(pair, bad_keys[i], "x", 1);
        if (i == 3)
            pair[9] = 0;
        try_pair(pair, bytes, CORRUPT, "metadata key");
    }
    bytes = edit_string_pair(pair, "", "x", 1);
    try_pair(pair, bytes, CORRUPT, "empty");
    char key[130];
    memset(key, 'k', sizeof key);
    key[127] = 0;
    bytes = edit_string_pair(pair, key, "x", 1);
    try_pair(pair, bytes, IVITI_OK, "");
    key[127] = 'k';
    key[128] = 0;
    bytes = edit_string_pair(pair, key, "x", 1);
    try_pair(pair, bytes, LIMIT, "127");

    /* All scalar types, and arrays of them. */
    static const size_t sizes[] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };
    for (uint32_t type = 0; type < 16; type++) {
        if (type == 8)
            continue;
        const size_t size = type < 13 ? sizes[type] : 4;
        memset(pair, 0, sizeof pair);
        pair[0] = 1;
        pair[8] = 'x';
        iviti_put_u32(pair + 9, type);
        if (type != 9)
            try_pair(pair, 13 + size, type < 13 ? IVITI_OK : CORRUPT, "type");
        iviti_put_u32(pair + 9, 9);
        iviti_put_u32(pair + 13, type);
        iviti_put_u64(pair + 17, 3);
        try_pair(pair, 25 + 3 * size, type < 13 && type != 9 ? IVITI_OK : CORRUPT, "type");
    }
    memset(pair, 0, sizeof pair);
    pair[0] = 1;
    pair[8] = 'x';
    iviti_put_u32(pair + 9, 7); /* a truth value of 2 */
    pair[13] = 2;
    try_pair(pair, 14, CORRUPT, "0 or 1");

    /* Arrays that claim more than there is. */
    static const uint64_t counts[] = { 1u << 20, 0xFFFFFFFF, 0x2000000000000001u,
                                       0x8000000000000000u, 0xFFFFFFFFFFFFFFFFu };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        for (uint32_t type = 0; type < 13; type++) {
            iviti_put_u32(pair + 9, 9);
            iviti_put_u32(pair + 13, type);
            iviti_put_u64(pair + 17, counts[i]);
            try_pair(pair, 25, type == 9 ? CORRUPT : IVITI_ERROR_TRUNCATED, "x");
        }
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) { /* strings, keys */
        iviti_put_u32(pair + 9, 8);
        iviti_put_u64(pair + 13, counts[i]);
        try_pair(pair, 21, IVITI_ERROR_TRUNCATED, "x");
        uint8_t long_key[8];
        iviti_put_u64(long_key, counts[i]);
        try_pair(long_key, 8, IVITI_ERROR_TRUNCATED, "metadata key");
    }
}

/* Each known key with another type, and as an array where it is none. */
static void test_types(void **state)
{
    (void)state;
    static const char *const keys[] = {
        "iviti.checksum",         "general.architecture", "general.alignment",
        "iviti.format",           "iviti.family",         "iviti.image.width",
        "iviti.image.fit",        "iviti.image.resize",   "iviti.image.interpolation",
        "iviti.image.mean",       "iviti.patch",          "iviti.prefix_tokens",
        "iviti.stage.depth",      "iviti.stage.hidden",   "iviti.classes",
        "iviti.operators.pixels", "iviti.logits.shift",   "iviti.source.name",
        "iviti.source.sha256",    "iviti.converter",      "iviti.recipe",
    };
    const iviti_geometry g = edit_geometry(FIXTURE_VIT_TABLE);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        model_fixture f = fixture_build(&g, 2);
        const size_t at = edit_after(&f, keys[i]);
        size_t bytes;
        const size_t begin = edit_pair(&f, keys[i], &bytes);
        if (iviti_get_u32(f.image + at) == 4) { /* i32 of the same bits, then an array of one */
            iviti_put_u32(f.image + at, 5);
            edit_expect(&f, CORRUPT, keys[i]);
        }
        uint8_t other[200];
        const size_t key_bytes = at - begin;
        memcpy(other, f.image + begin, key_bytes);
        iviti_put_u32(other + key_bytes, 9);
        iviti_put_u32(other + key_bytes + 4, 11);
        iviti_put_u64(other + key_bytes + 8, 0);
        edit_splice(&f, &g, begin, bytes, other, key_bytes + 16, 0);
        edit_expect(&f, CORRUPT, i == 0 ? "" : keys[i]);
        fixture_free(&f);
    }
}

/* Replaces the text of a string pair. */
static void try_text(fixture_kind kind, const char *key, const char *text, iviti_status status,
                     const char *word)
{
    const iviti_geometry g = edit_geometry(kind);
    model_fixture f = fixture_build(&g, 2);
    uint8_t pair[400];
    size_t bytes;
    const size_t at = edit_pair(&f, key, &bytes);
    edit_splice(&f, &g, at, bytes, pair, edit_string_pair(pair, key, text, strlen(text)), 0);
    edit_expect(&f, status, word);
    fixture_free(&f);
}

static void test_texts(void **state)
{
    (void)state;
    const fixture_kind vit = FIXTURE_VIT_TABLE;
    try_text(vit, "iviti.family", "cnn", UNSUPPORTED, "iviti.family is 'cnn'");
    try_text(vit, "iviti.family", "", UNSUPPORTED, "iviti.family");
    try_text(vit, "iviti.family", "vitx", UNSUPPORTED, "iviti.family");
    try_text(vit, "iviti.family", "vi", UNSUPPORTED, "iviti.family");
    try_text(vit, "iviti.family", "swin", CORRUPT, "iviti.window");
    try_text(FIXTURE_SWIN_TABLE, "iviti.family", "vit", CORRUPT, "iviti.window");
    try_text(vit, "iviti.image.fit", "pad", UNSUPPORTED, "iviti.image.fit");
    try_text(vit, "iviti.image.fit", "squash", CORRUPT, "iviti.image.resize");
    try_text(FIXTURE_VIT_DISTILLED, "iviti.image.fit", "crop", CORRUPT, "iviti.image.resize");
    try_text(vit, "iviti.image.interpolation", "bilinear", IVITI_OK, "");
    try_text(vit, "iviti.image.interpolation", "lanczos", UNSUPPORTED, "lanczos");
    try_text(vit, "iviti.operators.pixels", "yuv", UNSUPPORTED, "yuv");
    try_text(vit, "iviti.operators.pixels", "table", CORRUPT, "tensors");
    try_text(FIXTURE_SWIN_TABLE, "iviti.operators.entry", "s8", IVITI_OK, "");
    try_text(FIXTURE_SWIN_TABLE, "iviti.operators.entry", "s4", UNSUPPORTED, "s4");
    try_text(vit, "iviti.operators.norm", "rms", UNSUPPORTED, "rms");
    try_text(vit, "iviti.operators.norm", "newton", RANGE, "epsilon");
    try_text(vit, "iviti.operators.softmax", "shiftmax-4", UNSUPPORTED, "shiftmax-4");
    try_text(vit, "iviti.operators.softmax", "shiftmax-8", CORRUPT, "attention.scale");
    try_text(vit, "iviti.operators.gelu", "erf", UNSUPPORTED, "erf");
    try_text(vit, "iviti.operators.gelu", "shiftgelu", CORRUPT, "tensors");
    try_text(vit, "iviti.source.name", "folder/file", CORRUPT, "iviti.source.name");
    try_text(vit, "iviti.source.name", "folder\\file", CORRUPT, "iviti.source.name");
    try_text(vit, "iviti.source.sha256", "0123", CORRUPT, "64");
    try_text(vit, "iviti.source.sha256",
             "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdeg", CORRUPT,
             "hexadecimal");
    try_text(vit, "iviti.converter", "", IVITI_OK, "");
    char text[200];
    memset(text, 'y', sizeof text);
    text[199] = 0; /* the sentence quotes a part */
    try_text(vit, "iviti.operators.gelu", text, UNSUPPORTED, "yyyy");
}

static void test_floats_and_stages(void **state)
{
    (void)state;
    const iviti_geometry g = edit_geometry(FIXTURE_VIT_TABLE);
    model_fixture f = fixture_build(&g, 2);
    static const uint32_t not_finite[] = { 0x7F800000, 0xFF800000, 0x7FC00000, 0x7F800001 };
    for (size_t i = 0; i < 4; i++) {
        const size_t at = edit_value(&f, "iviti.image.mean") + 4 * (i % 3);
        const uint32_t before = iviti_get_u32(f.image + at);
        iviti_put_u32(f.image + at, not_finite[i]);
        edit_expect(&f, CORRUPT, "iviti.image.mean");
        iviti_put_u32(f.image + at, before);
    }
    /* Two means, and two stages of one array only. */
    static const struct {
        const char *key;
        uint64_t count;
        iviti_status status;
    } counts[] = { { "iviti.image.mean", 2, CORRUPT },  { "iviti.image.std", 4, CORRUPT },
                   { "iviti.stage.depth", 0, CORRUPT }, { "iviti.stage.depth", 2, CORRUPT },
                   { "iviti.stage.heads", 2, CORRUPT }, { "iviti.stage.dim", 5, LIMIT } };
    fixture_free(&f);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        f = fixture_build(&g, 2);
        size_t bytes;
        const size_t begin = edit_pair(&f, counts[i].key, &bytes);
        const size_t head = strlen(counts[i].key) + 8 + 4 + 4;
        uint8_t pair[200] = { 0 };
        memcpy(pair, f.image + begin, head + 8 + 4); /* the first element stays */
        iviti_put_u64(pair + head, counts[i].count);
        edit_splice(&f, &g, begin, bytes, pair, head + 8 + 4 * (size_t)counts[i].count, 0);
        edit_expect(&f, counts[i].status, "iviti.");
        fixture_free(&f);
    }
}

/* ---- labels -------------------------------------------------------------------------------------
 */

static void try_labels(size_t count, const char *text, size_t bytes, iviti_status status,
                       const char *word)
{
    const iviti_geometry g = edit_geometry(FIXTURE_VIT_TABLE);
    model_fixture f = fixture_build(&g, 2);
    size_t old_bytes;
    const size_t begin = edit_pair(&f, "iviti.labels", &old_bytes);
    const size_t head = strlen("iviti.labels") + 8 + 4 + 4;
    uint8_t *const pair = malloc(head + 8 + count * (8 + bytes));
    memcpy(pair, f.image + begin, head);
    iviti_put_u64(pair + head, count);
    for (size_t i = 0; i < count; i++) {
        iviti_put_u64(pair + head + 8 + i * (8 + bytes), bytes);
        memcpy(pair + head + 8 + i * (8 + bytes) + 8, text, bytes);
    }
    edit_splice(&f, &g, begin, old_bytes, pair, head + 8 + count * (8 + bytes), 0);
    edit_expect(&f, status, word);
    free(pair);
    fixture_free(&f);
}

static void test_label_rules(void **state)
{
    (void)state;
    char text[1025];
    memset(text, 'n', sizeof text);
    try_labels(10, text, 1024, IVITI_OK, "");
    try_labels(10, text, 1025, LIMIT, "iviti.labels[0]");
    try_labels(10, "", 0, IVITI_OK, "");
    try_labels(9, "x", 1, CORRUPT, "iviti.labels");
    try_labels(11, "x", 1, CORRUPT, "iviti.labels");
    try_labels(0, "x", 1, CORRUPT, "iviti.labels");
    try_labels(10, "\xC3", 1, CORRUPT, "UTF-8");
    try_labels(10, "a\0", 2, CORRUPT, "UTF-8");
    try_labels(10, "\xE7\x8C\xAB", 3, IVITI_OK, "");
}

/* ---- the directory ------------------------------------------------------------------------------
 */

static void test_directory(void **state)
{
    (void)state;
    const iviti_geometry g = edit_geometry(FIXTURE_SWIN_SHIFT);
    model_fixture f = fixture_build(&g, 2);
    const size_t tensors = iviti_schema_count(&g);
    for (size_t i = 0; i < tensors; i += i < 20 ? 1 : 7) {
        iviti_tensor_spec spec;
        assert_true(iviti_schema_tensor(&g, i, &spec));
        const size_t rank = edit_after(&f, spec.name);
        const size_t type = rank + 4 + 8 * spec.rank;
        const size_t offset = type + 4;
        const struct {
            size_t at;
            int bytes;
            uint64_t value;
            const char *word;
        } edits[] = {
            { rank - 1, 1, 'x', spec.name }, /* another name */
            { rank, 4, 0, "rank" },
            { rank, 4, 5, "rank" },
            { rank, 4, 0xFFFFFFFF, "rank" },
            { rank + 4, 8, 0, "dimension 0" },
            { rank + 4, 8, spec.shape[spec.rank - 1] + 1, "dimension 0" },
            { rank + 4, 8, spec.shape[spec.rank - 1] + 0x100000000, "dimension 0" },
            { rank + 4, 8, 0xFFFFFFFFFFFFFFFFu, "dimension 0" },
            { type - 8, 8, 0x8000000000000000u, "dimension" },
            { type, 4, 0, "type" },
            { type, 4, spec.type == 24 ? 25 : 24, "type" },
            { type, 4, 27, "type" },
            { offset, 8, iviti_get_u64(f.image + offset) + 64, "begins at" },
            { offset, 8, iviti_get_u64(f.image + offset) + 1, "begins at" },
            { offset, 8, iviti_get_u64(f.image + offset) - 64, "begins at" },
            { offset, 8, 0xFFFFFFFFFFFFFFC0u, "begins at" },
        };
        for (size_t e = 0; e < sizeof edits / sizeof *edits; e++) {
            uint8_t before[8];
            memcpy(before, f.image + edits[e].at, 8);
            if (edits[e].bytes == 8)
                iviti_put_u64(f.image + edits[e].at, edits[e].value);
            else if (edits[e].bytes == 4)
                iviti_put_u32(f.image + edits[e].at, (uint32_t)edits[e].value);
            else
                f.image[edits[e].at] = (uint8_t)edits[e].value;
            edit_expect(&f, CORRUPT, edits[e].word);
            memcpy(f.image + edits[e].at, before, 8);
        }
    }
    edit_expect(&f, IVITI_OK, "");
    fixture_free(&f);
}

/* A further dimension of 1 changes no number of elements, and is refused all the same. */
static void test_ranks(void **state)
{
    (void)state;
    const iviti_geometry g = edit_geometry(FIXTURE_VIT_TABLE);
    static const char *const names[] = { "embed.bias", "embed.position", "block.0.join1.shift" };
    for (size_t i = 0; i < 3; i++) {
        model_fixture f = fixture_build(&g, 2);
        const size_t at = edit_after(&f, names[i]);
        const uint32_t rank = iviti_get_u32(f.image + at);
        uint8_t one[8];
        iviti_put_u64(one, 1);
        iviti_put_u32(f.image + at, rank + 1);
        edit_splice(&f, &g, at + 4 + 8 * rank, 0, one, sizeof one, 0);
        edit_expect(&f, CORRUPT, "rank");
        fixture_free(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vit_numbers),    cmocka_unit_test(test_swin_numbers),
        cmocka_unit_test(test_fixed_header),   cmocka_unit_test(test_other_architectures),
        cmocka_unit_test(test_missing_keys),   cmocka_unit_test(test_order_and_repetition),
        cmocka_unit_test(test_foreign_pairs),  cmocka_unit_test(test_types),
        cmocka_unit_test(test_texts),          cmocka_unit_test(test_floats_and_stages),
        cmocka_unit_test(test_label_rules),    cmocka_unit_test(test_directory),
        cmocka_unit_test(test_checksum_first), cmocka_unit_test(test_ranks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

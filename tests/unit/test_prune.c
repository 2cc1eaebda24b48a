/* SPDX-License-Identifier: Apache-2.0
 *
 * Fewer tokens: headers that contradict themselves, which patches are left, what the class token looks
 * at. That logits do not depend on instruction set, threads and batch is tested with those of all models
 * (test_session.c).
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "graph/prune.h"
#include "model_edit.h"

#define CORRUPT     IVITI_ERROR_CORRUPT
#define LIMIT       IVITI_ERROR_LIMIT
#define UNSUPPORTED IVITI_ERROR_UNSUPPORTED

/* ---- headers ------------------------------------------------------------------------------------- */

typedef struct number_case {
    fixture_kind kind;
    const char *key;
    size_t index;
    uint32_t value;
    iviti_status status;
    const char *word;
} number_case;

static void test_numbers(void **state)
{
    (void)state;
    static const char at[] = "iviti.prune.at", kept[] = "iviti.prune.kept";
    static const number_case cases[] = {
        /* 5 blocks at 1, 2, 4; 20 patches to 14, 9, 5 */
        { FIXTURE_VIT_PREDICTOR, at, 0, 0, IVITI_OK, "" },
        { FIXTURE_VIT_PREDICTOR, at, 0, 2, CORRUPT, "iviti.prune.at[1] is 2; it must be above 2" },
        { FIXTURE_VIT_PREDICTOR, at, 1, 0, CORRUPT, "iviti.prune.at[1] is 0" },
        { FIXTURE_VIT_PREDICTOR, at, 2, 5, CORRUPT, "iviti.prune.at[2] is 5" },
        { FIXTURE_VIT_PREDICTOR, at, 2, UINT32_MAX, CORRUPT, "iviti.prune.at[2]" },
        { FIXTURE_VIT_PREDICTOR, kept, 0, 0, CORRUPT, "iviti.prune.kept[0] is 0" },
        { FIXTURE_VIT_PREDICTOR, kept, 0, 20, IVITI_OK, "" },
        { FIXTURE_VIT_PREDICTOR, kept, 0, 21, CORRUPT, "of 20 patch tokens it must be 1 to 20" },
        { FIXTURE_VIT_PREDICTOR, kept, 1, 15, CORRUPT, "of 14 patch tokens it must be 1 to 14" },
        { FIXTURE_VIT_PREDICTOR, kept, 2, UINT32_MAX, CORRUPT, "iviti.prune.kept[2]" },
        /* 4 blocks at 0, 2; 16 patches to 9, 6, and a fused one */
        { FIXTURE_VIT_CLS, at, 1, 3, CORRUPT, "of 4 blocks the first 3 can be pruned" },
        { FIXTURE_VIT_CLS, kept, 0, 15, IVITI_OK, "" },
        { FIXTURE_VIT_CLS, kept, 0, 16, CORRUPT, "of 16 patch tokens it must be 1 to 15" },
        { FIXTURE_VIT_CLS, kept, 1, 9, IVITI_OK, "" },
        { FIXTURE_VIT_CLS, kept, 1, 10, CORRUPT, "of 10 patch tokens it must be 1 to 9" },
        /* 4 blocks at 0, 1, 2; 72 patches to 36, 30, 29 */
        { FIXTURE_VIT_MERGE, kept, 0, 35, CORRUPT, "of 72 patch tokens it must be 36 to 71" },
        { FIXTURE_VIT_MERGE, kept, 0, 72, CORRUPT, "iviti.prune.kept[0] is 72" },
        { FIXTURE_VIT_MERGE, kept, 2, 15, IVITI_OK, "" },
        { FIXTURE_VIT_MERGE, kept, 2, 14, CORRUPT, "iviti.prune.kept[2] is 14" },
        { FIXTURE_VIT_MERGE, at, 2, 3, CORRUPT, "iviti.prune.at[2] is 3" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const iviti_geometry g = fixture_geometry(cases[i].kind);
        model_fixture f = fixture_build(&g, 2);
        const size_t offset = edit_value(&f, cases[i].key) + 4 * cases[i].index;
        iviti_put_u32(f.image + offset, cases[i].value);
        edit_expect(&f, cases[i].status, cases[i].word);
        fixture_free(&f);
    }
}

static void without(fixture_kind kind, const char *key, iviti_status status, const char *word)
{
    const iviti_geometry g = edit_geometry(kind);
    model_fixture f = fixture_build(&g, 2);
    size_t bytes;
    const size_t at = edit_pair(&f, key, &bytes);
    edit_splice(&f, &g, at, bytes, NULL, 0, -1);
    edit_expect(&f, status, word);
    fixture_free(&f);
}

static void test_missing_keys(void **state)
{
    (void)state;
    without(FIXTURE_VIT_PREDICTOR, "iviti.prune.kind", CORRUPT, "has no meaning without");
    without(FIXTURE_VIT_PREDICTOR, "iviti.prune.at", CORRUPT, "iviti.prune.at is missing");
    without(FIXTURE_VIT_PREDICTOR, "iviti.prune.kept", CORRUPT, "iviti.prune.kept is missing");
    without(FIXTURE_VIT_CLS, "iviti.prune.fuse", IVITI_OK, ""); /* what is left out is dropped */
}

static void with_string(fixture_kind kind, const char *removed, const char *key, const char *text,
                        iviti_status status, const char *word)
{
    const iviti_geometry g = edit_geometry(kind);
    model_fixture f = fixture_build(&g, 2);
    uint8_t pair[256];
    size_t bytes, at = edit_pair(&f, removed ? removed : "iviti.classes", &bytes);
    const size_t inserted = edit_string_pair(pair, key, text, strlen(text));
    edit_splice(&f, &g, at, removed ? bytes : 0, pair, inserted, removed ? 0 : 1);
    edit_expect(&f, status, word);
    fixture_free(&f);
}

static void test_strings(void **state)
{
    (void)state;
    static const char kind[] = "iviti.prune.kind", fuse[] = "iviti.prune.fuse";
    with_string(FIXTURE_VIT_PREDICTOR, kind, kind, "lottery", UNSUPPORTED, "lottery");
    with_string(FIXTURE_VIT_PREDICTOR, kind, kind, "", UNSUPPORTED, "iviti.prune.kind");
    with_string(FIXTURE_VIT_PREDICTOR, kind, kind, "cls", CORRUPT, "iviti.prune.at[2] is 4");
    with_string(FIXTURE_VIT_PREDICTOR, NULL, fuse, "mean", CORRUPT, "iviti.prune.fuse has no meaning");
    with_string(FIXTURE_VIT_CLS, fuse, fuse, "median", UNSUPPORTED, "median");
    with_string(FIXTURE_VIT_CLS, fuse, fuse, "sum", IVITI_OK, "");
    with_string(FIXTURE_VIT_MERGE, "iviti.operators.softmax", "iviti.operators.softmax", "shiftmax-16",
                UNSUPPORTED, "which needs iviti.operators.softmax");
    with_string(FIXTURE_VIT_TABLE, NULL, fuse, "sum", CORRUPT, "without iviti.prune.kind");
    with_string(FIXTURE_VIT_TABLE, NULL, kind, "cls", CORRUPT, "iviti.prune.at is missing");
    with_string(FIXTURE_SWIN_TABLE, NULL, kind, "cls", CORRUPT, "iviti.prune.at is missing");
}

/* An array of another length. */
static void test_array_lengths(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        uint32_t count;
        iviti_status status;
        const char *word;
    } cases[] = {
        { "iviti.prune.at", 0, CORRUPT, "iviti.prune.at has 0 elements" },
        { "iviti.prune.at", 2, CORRUPT, "iviti.prune.kept has 3 elements but iviti.prune.at 2" },
        { "iviti.prune.kept", 4, CORRUPT, "iviti.prune.kept has 4 elements but iviti.prune.at 3" },
        { "iviti.prune.kept", 64, CORRUPT, "iviti.prune.kept has 64" },
        { "iviti.prune.kept", 65, LIMIT, "iviti.prune.kept has 65 elements" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const iviti_geometry g = edit_geometry(FIXTURE_VIT_PREDICTOR);
        model_fixture f = fixture_build(&g, 2);
        uint8_t array[12 + 4 * 65] = { 0 };
        const size_t type = edit_after(&f, cases[i].key);
        iviti_put_u32(array, 9);
        iviti_put_u32(array + 4, 4);
        iviti_put_u64(array + 8, cases[i].count);
        uint8_t whole[16 + 4 * 65];
        memcpy(whole, array, 16);
        for (uint32_t k = 0; k < cases[i].count; k++)
            iviti_put_u32(whole + 16 + 4 * (size_t)k, k + 1);
        edit_splice(&f, &g, type, 16 + 4 * 3, whole, 16 + 4 * (size_t)cases[i].count, 0);
        edit_expect(&f, cases[i].status, cases[i].word);
        fixture_free(&f);
    }
}

static void test_writer(void **state)
{
    (void)state;
    static const model_metadata metadata = { .name = "pruned" };
    model_writer *w = NULL;
    report r = { "" };
    iviti_geometry g = edit_geometry(FIXTURE_SWIN_TABLE);
    g.prune = (iviti_prune){ .kind = IVITI_PRUNE_CLS, .stages = 1, .at = { 0 }, .kept = { 5 } };
    assert_false(model_writer_open(&g, &metadata, &w, &r));
    assert_non_null(strstr(r.text, "has no meaning but with a vit"));
    g = edit_geometry(FIXTURE_VIT_MERGE);
    g.prune.kept[1] = 36;
    assert_false(model_writer_open(&g, &metadata, &w, &r));
    assert_non_null(strstr(r.text, "iviti.prune.kept[1] is 36"));
}

/* ---- what is left -------------------------------------------------------------------------------- */

static const fixture_kind pruned[] = { FIXTURE_VIT_PREDICTOR, FIXTURE_VIT_CLS, FIXTURE_VIT_MERGE };
#define PRUNED (sizeof pruned / sizeof *pruned)

static iviti_model *load(const iviti_geometry *g, uint64_t seed)
{
    model_fixture f = fixture_build(g, seed);
    iviti_model *model = NULL;
    assert_int_equal(iviti_model_load_memory(f.image, f.size, NULL, &model), IVITI_OK);
    fixture_free(&f);
    return model;
}

static iviti_image random_image(uint64_t seed)
{
    uint8_t *pixels = malloc(48 * 40 * 3);
    assert_non_null(pixels);
    for (size_t i = 0; i < 48 * 40 * 3; i++)
        pixels[i] = (uint8_t)fixture_random(&seed);
    return (iviti_image){ pixels, 48, 40, 48 * 3 };
}

static iviti_session *open_session(const iviti_model *model, const iviti_session_options *options)
{
    iviti_session *session = NULL;
    assert_int_equal(iviti_session_create(model, options, &session), IVITI_OK);
    return session;
}

static bool holds(const uint32_t *list, size_t count, uint32_t number)
{
    for (size_t i = 0; i < count; i++)
        if (list[i] == number)
            return true;
    return false;
}

/* As many as the file says, ascending, each of them left by the stage before. */
static void expect_kept(const iviti_session *session, const iviti_geometry *g, size_t picture)
{
    const uint32_t *before = NULL;
    size_t before_count = 0, count = 0;
    for (uint32_t k = 0; k < g->prune.stages; k++) {
        const uint32_t *kept = iviti_session_kept_of(session, picture, k, &count);
        assert_non_null(kept);
        assert_true(count == g->prune.kept[k] ||
                    (k > 0 && g->prune.fuse != IVITI_FUSE_NONE && count == g->prune.kept[k] - 1));
        for (size_t i = 0; i < count; i++) {
            assert_true(i == 0 || kept[i] > kept[i - 1]);
            assert_true(before ? holds(before, before_count, kept[i])
                               : kept[i] < g->stage[0].grid_width * g->stage[0].grid_height);
        }
        before = kept;
        before_count = count;
    }
    assert_null(iviti_session_kept_of(session, picture, g->prune.stages, &count));
}

static void test_kept(void **state)
{
    (void)state;
    for (size_t n = 0; n < PRUNED; n++) {
        const iviti_geometry g = edit_geometry(pruned[n]);
        iviti_model *model = load(&g, 3);
        iviti_model_info info;
        iviti_image images[3];
        size_t count = 77;
        iviti_model_describe(model, &info);
        assert_int_equal(info.prune_stages, g.prune.stages);
        assert_int_equal(info.grid_width, g.stage[0].grid_width);
        assert_int_equal(info.grid_height, g.stage[0].grid_height);
        for (uint64_t i = 0; i < 3; i++)
            images[i] = random_image(i + 1);

        iviti_session *single = open_session(model, NULL);
        assert_null(iviti_session_kept(single, 0, &count));
        assert_int_equal(count, 77);
        for (unsigned threads = 1; threads <= 5; threads += 2) {
            iviti_session *session = open_session(
                model, &(iviti_session_options){ .threads = threads, .batch = 3,
                                                 .isa = threads == 1 ? IVITI_ISA_REF
                                                                     : IVITI_ISA_BEST });
            assert_int_equal(iviti_session_run_batch(session, images, 3), IVITI_OK);
            for (size_t i = 0; i < 3; i++) {
                expect_kept(session, &g, i);
                assert_int_equal(iviti_session_run(single, &images[i]), IVITI_OK);
                for (uint32_t k = 0; k < g.prune.stages; k++) {
                    size_t own;
                    const uint32_t *kept = iviti_session_kept(single, k, &own);
                    assert_memory_equal(kept, iviti_session_kept_of(session, i, k, &count),
                                        own * sizeof *kept);
                    assert_int_equal(own, count);
                }
            }
            assert_null(iviti_session_kept_of(session, 3, 0, &count));
            iviti_session_free(session);
        }
        assert_null(iviti_session_kept(NULL, 0, &count));
        assert_null(iviti_session_kept(single, 0, NULL));
        iviti_session_free(single);
        for (size_t i = 0; i < 3; i++)
            free((void *)(uintptr_t)images[i].pixels);
        iviti_model_free(model);
    }
}

/* A stage that keeps all patches changes no bit. */
static void test_keeping_all(void **state)
{
    (void)state;
    iviti_geometry g = edit_geometry(FIXTURE_VIT_PREDICTOR);
    g.prune.kept[0] = g.prune.kept[1] = g.prune.kept[2] = 20;
    iviti_model *model = load(&g, 3);
    g.prune = (iviti_prune){ .kind = IVITI_PRUNE_NONE };
    iviti_model *plain = load(&g, 3);
    const iviti_image image = random_image(5);
    iviti_session *a = open_session(model, NULL), *b = open_session(plain, NULL);
    size_t count = 0;
    assert_int_equal(iviti_session_run(a, &image), IVITI_OK);
    assert_int_equal(iviti_session_run(b, &image), IVITI_OK);
    assert_memory_equal(iviti_session_logits(a), iviti_session_logits(b),
                        g.classes * sizeof(int32_t));
    const uint32_t *kept = iviti_session_kept(a, 2, &count);
    assert_int_equal(count, 20);
    for (uint32_t i = 0; i < 20; i++)
        assert_int_equal(kept[i], i);
    iviti_session_free(a);
    iviti_session_free(b);
    free((void *)(uintptr_t)image.pixels);
    iviti_model_free(model);
    iviti_model_free(plain);
}

/* ---- the class token's attention ------------------------------------------------------------------- */

static void test_attention(void **state)
{
    (void)state;
    for (int kind = 0; kind < FIXTURE_KINDS; kind++) {
        const iviti_geometry g = edit_geometry((fixture_kind)kind);
        const size_t patches = (size_t)g.stage[0].grid_width * g.stage[0].grid_height;
        iviti_model *model = load(&g, 6);
        const iviti_image images[2] = { random_image(8), random_image(9) };
        const iviti_session_options plain = { .batch = 2 }, one = { .attention = 1, .batch = 2 },
                                    many = { .attention = 1, .batch = 2, .threads = 5 };
        iviti_session *a = open_session(model, &one), *b = open_session(model, &many);
        iviti_session *c = open_session(model, &plain);
        assert_null(iviti_session_attention(a, 0, 0));
        assert_int_equal(iviti_session_run_batch(a, images, 2), IVITI_OK);
        assert_int_equal(iviti_session_run_batch(b, images, 2), IVITI_OK);
        assert_int_equal(iviti_session_run_batch(c, images, 2), IVITI_OK);
        assert_memory_equal(iviti_session_logits(a), iviti_session_logits(c),
                            2 * g.classes * sizeof(int32_t));
        assert_null(iviti_session_attention(c, 0, 0));
        assert_null(iviti_session_attention(a, 2, 0));
        assert_null(iviti_session_attention(a, 0, g.depth));
        if (g.family == IVITI_SWIN) {
            assert_null(iviti_session_attention(a, 0, 0));
        } else {
            assert_true(iviti_session_bytes(model, &one) > iviti_session_bytes(model, &plain));
        }
        for (size_t i = 0; i < 2 && g.family == IVITI_VIT; i++)
            for (uint32_t block = 0; block < g.depth; block++) {
                const uint16_t *seen = iviti_session_attention(a, i, block);
                uint64_t sum = 0;
                assert_memory_equal(seen, iviti_session_attention(b, i, block),
                                    patches * sizeof *seen);
                for (size_t p = 0; p < patches; p++)
                    sum += seen[p];
                assert_true(sum > 0 && sum < 2 * 65536);
            }
        iviti_session_free(a);
        iviti_session_free(b);
        iviti_session_free(c);
        for (int i = 0; i < 2; i++)
            free((void *)(uintptr_t)images[i].pixels);
        iviti_model_free(model);
    }
}

/* EViT: no patch that is left out was looked at more than one that is kept; later nobody looks at it. */
static void test_attention_chooses(void **state)
{
    (void)state;
    const iviti_geometry g = edit_geometry(FIXTURE_VIT_CLS);
    iviti_model *model = load(&g, 6);
    iviti_session *session = open_session(model, &(iviti_session_options){ .attention = 1 });
    for (uint64_t seed = 1; seed < 8; seed++) {
        const iviti_image image = random_image(seed);
        size_t count;
        assert_int_equal(iviti_session_run(session, &image), IVITI_OK);
        const uint32_t *kept = iviti_session_kept(session, 0, &count);
        const uint16_t *first = iviti_session_attention(session, 0, 0);
        const uint16_t *second = iviti_session_attention(session, 0, 1);
        for (uint32_t p = 0; p < 16; p++) {
            if (holds(kept, count, p))
                continue;
            assert_int_equal(second[p], 0);
            for (size_t i = 0; i < count; i++)
                assert_true(first[kept[i]] >= first[p]);
        }
        free((void *)(uintptr_t)image.pixels);
    }
    iviti_session_free(session);
    iviti_model_free(model);
}

static void test_log2(void **state)
{
    (void)state;
    for (uint32_t i = 1; i <= IVITI_MAX_TOKENS; i++) {
        const double exact = 65536 * log2(i);
        assert_true(iviti_log2(i) <= exact + 1e-6 && iviti_log2(i) >= exact - 1.01);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),     cmocka_unit_test(test_missing_keys),
        cmocka_unit_test(test_strings),     cmocka_unit_test(test_array_lengths),
        cmocka_unit_test(test_writer),      cmocka_unit_test(test_kept),
        cmocka_unit_test(test_keeping_all), cmocka_unit_test(test_attention),
        cmocka_unit_test(test_log2),        cmocka_unit_test(test_attention_chooses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Model files that are cut, flipped or badly delivered, and memory that is not there: always a
 * clean status, or a model that runs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "model_edit.h"
#include "model_toy.h"

#define SUMMED_KINDS 4

static const iviti_load_options skip_checksum = { .skip_checksum = 1 };

/* A failure says one sentence of its own status and leaves nothing. */
static void expect_clean(const load_result *r)
{
    if (r->status == IVITI_OK) {
        assert_int_equal(r->sentences, 0);
        return;
    }
    assert_null(r->model);
    assert_int_equal(r->sentences, 1);
    assert_int_equal(r->logged, r->status);
    assert_true(strlen(r->sentence) > 10);
}

static void run_once(const iviti_model *model)
{
    iviti_model_info info;
    iviti_model_describe(model, &info);
    const size_t row = 3 * (size_t)info.image_width;
    uint8_t *const pixels = malloc(row * info.image_height);
    for (size_t i = 0; i < row * info.image_height; i++)
        pixels[i] = (uint8_t)(i * 37);
    iviti_session *session = NULL;
    assert_int_equal(iviti_session_create(model, NULL, &session), IVITI_OK);
    const iviti_image image = { pixels, info.image_width, info.image_height, (ptrdiff_t)row };
    assert_int_equal(iviti_session_run_pixels(session, &image), IVITI_OK);
    iviti_session_free(session);
    free(pixels);
}

/* Files with wide tables, thousands of entries alike, are looked at here and there behind the header. */
static size_t step_of(int kind, size_t at, size_t header)
{
    return kind >= FIXTURE_VIT_WIDE && at >= header ? 37 : 1;
}

static void test_truncation(void **state)
{
    (void)state;
    for (int kind = 0; kind < FIXTURE_KINDS; kind += 2) {
        const iviti_geometry g = toy_geometry((fixture_kind)kind);
        model_fixture f = fixture_build(&g, 1);
        const size_t header = edit_data(&f, &g);
        for (size_t size = 0; size < f.size; size += step_of(kind, size, header)) {
            const load_result r = edit_load(f.image, size, size % 2 ? &skip_checksum : NULL);
            expect_clean(&r);
            assert_int_equal(r.status, IVITI_ERROR_TRUNCATED);
        }
        /* And one byte too many. */
        uint8_t *const longer = calloc(1, f.size + 1);
        memcpy(longer, f.image, f.size);
        fixture_seal(longer, f.size + 1);
        assert_int_equal(edit_load(longer, f.size + 1, NULL).status, IVITI_ERROR_CORRUPT);
        free(longer);
        fixture_free(&f);
    }
}

static void test_header_flips(void **state)
{
    (void)state;
    const fixture_kind kinds[] = { FIXTURE_VIT_TABLE, FIXTURE_SWIN_SHIFT };
    for (size_t k = 0; k < 2; k++) {
        const iviti_geometry g = toy_geometry(kinds[k]);
        model_fixture f = fixture_build(&g, 1);
        const size_t header = edit_data(&f, &g);
        size_t valid = 0;
        for (size_t i = 0; i < header; i++) {
            const uint8_t byte = f.image[i];
            const uint8_t others[] = {
                0x00, 0xFF, byte ^ 0x01, byte ^ 0x80, (uint8_t)(byte + 1), (uint8_t)(byte - 1)
            };
            for (size_t o = 0; o < sizeof others; o++) {
                if (others[o] == byte)
                    continue;
                f.image[i] = others[o];
                load_result r = edit_load(f.image, f.size, NULL);
                expect_clean(&r);
                assert_int_not_equal(r.status, IVITI_OK);
                r = edit_load(f.image, f.size, &skip_checksum);
                expect_clean(&r);
                if (r.status == IVITI_OK) {
                    valid++;
                    run_once(r.model);
                    iviti_model_free(r.model);
                }
            }
            f.image[i] = byte;
        }
        /* Names, notes and labels may be anything; that is a part of the header only. */
        assert_true(valid > 0 && valid < header * 6 / 4);
        fixture_free(&f);
    }
}

static void test_data_flips(void **state)
{
    (void)state;
    for (int kind = 0; kind < FIXTURE_KINDS; kind++) {
        const iviti_geometry g = toy_geometry((fixture_kind)kind);
        model_fixture f = fixture_build(&g, 1);
        const size_t header = edit_data(&f, &g);
        for (size_t i = header; i < f.size; i += step_of(kind, i, header)) {
            static const uint8_t flips[] = { 0x80, 0x01, 0xFF };
            const uint8_t flip = flips[i % 3];
            f.image[i] ^= flip;
            load_result r;
            if (kind < SUMMED_KINDS) { /* what the checksum covers is the same for all */
                r = edit_load(f.image, f.size, NULL);
                expect_clean(&r);
                assert_int_equal(r.status, IVITI_ERROR_CHECKSUM);
            }
            r = edit_load(f.image, f.size, &skip_checksum);
            expect_clean(&r);
            if (r.status == IVITI_OK) {
                if (i % 4 == 0)
                    run_once(r.model);
                iviti_model_free(r.model);
            } else {
                assert_true(r.status == IVITI_ERROR_RANGE || r.status == IVITI_ERROR_CORRUPT);
            }
            f.image[i] ^= flip;
        }
        fixture_free(&f);
    }
}

static void test_gaps_are_zero(void **state)
{
    (void)state;
    const iviti_geometry g = toy_geometry(FIXTURE_VIT_TABLE);
    model_fixture f = fixture_build(&g, 1);
    const size_t data = edit_data(&f, &g);
    size_t end = edit_after(&f, "head.shift") + 4 + 8 + 4 + 8; /* of the directory */
    size_t gaps = 0;
    iviti_tensor_spec spec;
    for (size_t i = 0; iviti_schema_tensor(&g, i, &spec); i++) {
        const size_t begin = i == 0 ? data : (end + 63 - data) / 64 * 64 + data;
        for (size_t at = end; at < begin; at++, gaps++) {
            f.image[at] = 1;
            fixture_seal(f.image, f.size);
            const load_result r = edit_load(f.image, f.size, NULL);
            expect_clean(&r);
            assert_int_equal(r.status, IVITI_ERROR_CORRUPT);
            assert_non_null(strstr(r.sentence, spec.name));
            f.image[at] = 0;
        }
        end = begin + (size_t)spec.bytes;
    }
    assert_int_equal(end, f.size);
    assert_true(gaps > 100);
    fixture_free(&f);
}

/* ---- sources ----------------------------------------------------------------------------------
 */

/* Delivers a file in pieces and misbehaves at one call. */
typedef struct bad_source {
    const model_fixture *f;
    size_t at;
    size_t piece;
    size_t calls;
    size_t fail_at; /* this call and all later ones deliver `deliver` */
    size_t deliver; /* 0, or more than asked for */
} bad_source;

static size_t read_badly(void *user, void *buffer, size_t bytes)
{
    bad_source *const s = user;
    if (++s->calls >= s->fail_at)
        return s->deliver == 0 ? 0 : bytes + s->deliver;
    size_t n = bytes < s->piece ? bytes : s->piece;
    memcpy(buffer, s->f->image + s->at, n);
    s->at += n;
    return n;
}

static load_result load_badly(bad_source *s, uint64_t size)
{
    load_result r = { .status = IVITI_OK };
    const iviti_load_options options = { .log = { edit_keep, &r } };
    const iviti_source source = { read_badly, s, size };
    r.status = iviti_model_load_source(&source, &options, &r.model);
    return r;
}

static void test_sources(void **state)
{
    (void)state;
    const iviti_geometry g = toy_geometry(FIXTURE_SWIN_TABLE);
    model_fixture f = fixture_build(&g, 1);
    const size_t pieces[] = { 1, 2, 7, 63, 1000, SIZE_MAX };
    for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++) {
        bad_source s = { &f, 0, pieces[p], 0, SIZE_MAX, 0 };
        load_result r = load_badly(&s, f.size);
        assert_int_equal(r.status, IVITI_OK);
        assert_int_equal(s.at, f.size);
        iviti_model_free(r.model);
        const size_t calls = s.calls;
        const size_t step = calls / 300 + 1;
        for (size_t fail_at = 1; fail_at <= calls; fail_at += step)
            for (size_t deliver = 0; deliver < 2; deliver++) {
                s = (bad_source){ &f, 0, pieces[p], 0, fail_at, deliver };
                r = load_badly(&s, f.size);
                expect_clean(&r);
                assert_int_equal(r.status, IVITI_ERROR_IO);
                assert_int_equal(s.calls, fail_at); /* and it is not asked again */
            }
    }
    fixture_free(&f);
}

/* Lengths that a source only claims. */
static void test_claimed_lengths(void **state)
{
    (void)state;
    const iviti_geometry g = toy_geometry(FIXTURE_VIT_TABLE);
    model_fixture f = fixture_build(&g, 1);
    const struct {
        uint64_t size;
        iviti_status status;
    } cases[] = {
        { f.size + 1, IVITI_ERROR_CORRUPT },       { IVITI_MAX_FILE, IVITI_ERROR_CORRUPT },
        { IVITI_MAX_FILE + 1, IVITI_ERROR_LIMIT }, { UINT64_MAX, IVITI_ERROR_LIMIT },
        { f.size - 1, IVITI_ERROR_TRUNCATED },     { 0, IVITI_ERROR_TRUNCATED },
    };
    /* What would be read ahead of the header is there: any bytes will do. */
    model_fixture longer = { calloc(1, (size_t)1 << 20), (size_t)1 << 20 };
    memcpy(longer.image, f.image, f.size);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bad_source s = { &longer, 0, SIZE_MAX, 0, SIZE_MAX, 0 };
        const load_result r = load_badly(&s, cases[i].size);
        expect_clean(&r);
        assert_int_equal(r.status, cases[i].status);
    }
    fixture_free(&longer);
    fixture_free(&f);
}

/* ---- memory -----------------------------------------------------------------------------------
 */

typedef struct counted {
    size_t calls, alive, fail_at;
    bool later_too;
    size_t largest, bytes;
} counted;

static void *allocate_counted(void *user, size_t bytes)
{
    counted *const c = user;
    c->calls++;
    if (c->calls == c->fail_at || (c->later_too && c->calls > c->fail_at))
        return NULL;
    c->alive++;
    c->bytes += bytes;
    if (bytes > c->largest)
        c->largest = bytes;
    return malloc(bytes);
}

static void release_counted(void *user, void *memory)
{
    counted *const c = user;
    c->alive--;
    free(memory);
}

static load_result load_counted(const model_fixture *f, counted *c, size_t max_memory)
{
    const iviti_load_options options = { .allocator = { allocate_counted, release_counted, c },
                                         .max_memory = max_memory };
    return edit_load(f->image, f->size, &options);
}

/* Every allocation fails in turn, alone and with all that follow. */
static void expect_allocations(const model_fixture *f, size_t allocations)
{
    for (int later_too = 0; later_too < 2; later_too++)
        for (size_t n = 1; n <= allocations; n++) {
            counted c = { .fail_at = n, .later_too = later_too != 0 };
            const load_result r = load_counted(f, &c, 0);
            expect_clean(&r);
            assert_int_equal(r.status, IVITI_ERROR_MEMORY);
            assert_int_equal(c.alive, 0);
        }
    counted c = { .fail_at = allocations + 1 };
    const load_result r = load_counted(f, &c, 0);
    assert_int_equal(r.status, IVITI_OK);
    assert_int_equal(c.calls, allocations);
    assert_int_equal(c.alive, 1);
    iviti_model_free(r.model);
    assert_int_equal(c.alive, 0);
}

static void test_allocations(void **state)
{
    (void)state;
    iviti_geometry g = toy_geometry(FIXTURE_VIT_TABLE);
    model_fixture f = fixture_build(&g, 1);
    expect_allocations(&f, 2); /* the temporary block and the model */
    fixture_free(&f);
    g.classes = 30000; /* names that the temporary block does not hold */
    f = fixture_build(&g, 1);
    expect_allocations(&f, 3);
    fixture_free(&f);

    const iviti_load_options half = { .allocator = { allocate_counted, NULL, NULL } };
    assert_int_equal(edit_load((const uint8_t *)"GGUF", 4, &half).status, IVITI_ERROR_ARGUMENT);
}

static void test_memory_limit(void **state)
{
    (void)state;
    const iviti_geometry g = fixture_geometry(FIXTURE_VIT_TABLE);
    model_fixture f = fixture_build(&g, 1);
    counted c = { .fail_at = 0 };
    load_result r = load_counted(&f, &c, 0);
    assert_int_equal(r.status, IVITI_OK);
    iviti_model_info info;
    iviti_model_describe(r.model, &info);
    iviti_model_free(r.model);

    c = (counted){ .fail_at = 0 };
    r = load_counted(&f, &c, info.memory);
    assert_int_equal(r.status, IVITI_OK);
    iviti_model_free(r.model);
    r = load_counted(&f, &c, info.memory - 1);
    expect_clean(&r);
    assert_int_equal(r.status, IVITI_ERROR_LIMIT);
    assert_non_null(strstr(r.sentence, "max_memory"));
    assert_int_equal(c.alive, 0);
    fixture_free(&f);
}

/* Nothing of the size that a header describes is asked for before the file has that length. */
static void test_cut_file_asks_for_nothing(void **state)
{
    (void)state;
    iviti_geometry g = fixture_geometry(FIXTURE_VIT_TABLE);
    model_fixture f = fixture_build(&g, 1);
    f.size--;
    counted c = { .fail_at = 0 };
    const load_result r = load_counted(&f, &c, 0);
    assert_int_equal(r.status, IVITI_ERROR_TRUNCATED);
    assert_int_equal(c.calls, 1);
    assert_int_equal(c.alive, 0);
    fixture_free(&f);
}

/* A wrong value is only called damage if the rest of the file can be read. */
static void test_failure_after_wrong_value(void **state)
{
    (void)state;
    iviti_geometry g = fixture_geometry(FIXTURE_VIT_TABLE);
    g.image_width = 252;
    g.image_height = 256; /* longer than the temporary block */
    g.preprocess.resize = 256;
    g.stage[0].dim = 64;
    char text[200];
    assert_null(iviti_geometry_complete(&g, text, sizeof text));
    model_fixture f = fixture_build(&g, 1);
    f.image[edit_tensor(&f, &g, "embed.shift")] = 63;
    bad_source s = { &f, 0, SIZE_MAX, 0, SIZE_MAX, 0 };
    load_result r = load_badly(&s, f.size);
    expect_clean(&r);
    assert_int_equal(r.status, IVITI_ERROR_CHECKSUM);
    assert_true(s.calls > 1);
    s = (bad_source){ &f, 0, SIZE_MAX, 0, s.calls, 0 };
    r = load_badly(&s, f.size);
    expect_clean(&r);
    assert_int_equal(r.status, IVITI_ERROR_IO);
    fixture_seal(f.image, f.size);
    s = (bad_source){ &f, 0, SIZE_MAX, 0, SIZE_MAX, 0 };
    r = load_badly(&s, f.size);
    expect_clean(&r);
    assert_int_equal(r.status, IVITI_ERROR_RANGE);
    fixture_free(&f);
}

/* A small file must not ask for much: damaged headers stay within the temporary block. */
static void test_no_amplification(void **state)
{
    (void)state;
    const iviti_geometry g = toy_geometry(FIXTURE_VIT_TABLE);
    model_fixture f = fixture_build(&g, 1);
    const size_t header = edit_data(&f, &g);
    for (size_t i = 24; i < header; i++) {
        const uint8_t byte = f.image[i];
        f.image[i] = 0xFF;
        counted c = { .fail_at = 0 };
        const iviti_load_options options = { .allocator = { allocate_counted, release_counted, &c },
                                             .skip_checksum = 1 };
        const load_result r = edit_load(f.image, f.size, &options);
        iviti_model_free(r.model);
        assert_int_equal(c.alive, 0);
        assert_true(c.bytes < (size_t)1 << 20);
        f.image[i] = byte;
    }
    fixture_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_header_flips),
        cmocka_unit_test(test_data_flips),
        cmocka_unit_test(test_gaps_are_zero),
        cmocka_unit_test(test_sources),
        cmocka_unit_test(test_claimed_lengths),
        cmocka_unit_test(test_allocations),
        cmocka_unit_test(test_memory_limit),
        cmocka_unit_test(test_no_amplification),
        cmocka_unit_test(test_cut_file_asks_for_nothing),
        cmocka_unit_test(test_failure_after_wrong_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The ground that the reader of files stands on: checked sizes, bytes, UTF-8, checksum, status,
 * log, memory, and the bounded reader itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/reader.h"
#include "base/utf8.h"
#include "kernels/ref/ref.h"

static void test_sums_and_products(void **state)
{
    (void)state;
    const uint64_t most = UINT64_MAX;
    uint64_t r = 7;
    assert_true(iviti_add_u64(most, 0, &r));
    assert_true(r == most);
    assert_true(iviti_add_u64(most - 1, 1, &r));
    assert_true(r == most);
    r = 7;
    assert_false(iviti_add_u64(most, 1, &r));
    assert_false(iviti_add_u64(1, most, &r));
    assert_false(iviti_add_u64(most, most, &r));
    assert_false(iviti_mul_u64(most, 2, &r));
    assert_false(iviti_mul_u64((uint64_t)1 << 32, (uint64_t)1 << 32, &r)); /* wraps to 0 */
    assert_true(r == 7);                                                   /* left alone */
    assert_true(iviti_mul_u64(most, 1, &r));
    assert_true(r == most);
    assert_true(iviti_mul_u64(most, 0, &r));
    assert_true(r == 0);
    assert_true(iviti_mul_u64(0, most, &r));
    assert_true(r == 0);
    assert_true(iviti_mul_u64(((uint64_t)1 << 32) - 1, ((uint64_t)1 << 32) + 1, &r));
    assert_true(r == most);

    size_t s = 7;
    assert_true(iviti_add_size(SIZE_MAX - 3, 3, &s));
    assert_true(s == SIZE_MAX);
    assert_false(iviti_add_size(SIZE_MAX - 3, 4, &s));
    assert_false(iviti_mul_size(SIZE_MAX / 2 + 1, 2, &s));
    assert_true(iviti_mul_size(SIZE_MAX / 2, 2, &s));
    assert_true(s == SIZE_MAX - 1);
}

static void test_alignment(void **state)
{
    (void)state;
    uint64_t r = 7;
    assert_true(iviti_align_u64(0, 64, &r));
    assert_true(r == 0);
    assert_true(iviti_align_u64(1, 64, &r));
    assert_true(r == 64);
    assert_true(iviti_align_u64(64, 64, &r));
    assert_true(r == 64);
    assert_true(iviti_align_u64(UINT64_MAX - 63, 64, &r));
    assert_true(r == UINT64_MAX - 63);
    r = 7;
    assert_false(iviti_align_u64(UINT64_MAX - 62, 64, &r));
    assert_false(iviti_align_u64(UINT64_MAX, 64, &r));
    assert_true(r == 7);
    size_t s = 7;
    assert_false(iviti_align_size(SIZE_MAX, 16, &s));
    assert_true(iviti_align_size(17, 16, &s));
    assert_true(s == 32);
    assert_true(iviti_u64_to_size(1000, &s));
    assert_true(s == 1000);
}

static void test_bytes(void **state)
{
    (void)state;
    const uint8_t bytes[9] = { 0xFF, 0x01, 0x80, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0x80 };
    assert_int_equal(iviti_get_u16(bytes), 0x01FF);
    assert_true(iviti_get_u32(bytes) == 0x7F8001FFu);
    assert_true(iviti_get_u64(bytes) == 0xFFFFFFFF7F8001FFu);
    assert_int_equal(iviti_get_s8(bytes), -1);
    assert_int_equal(iviti_get_s8(bytes + 8), -128);
    assert_int_equal(iviti_get_s16(bytes + 1), -32767);
    assert_int_equal(iviti_get_s16(bytes + 2), 0x7F80);
    assert_int_equal(iviti_get_s32(bytes), 0x7F8001FF);
    assert_int_equal(iviti_get_s32(bytes + 4), -1);
    const uint8_t lowest[4] = { 0, 0, 0, 0x80 };
    assert_true(iviti_get_s32(lowest) == INT32_MIN);
    uint8_t out[8];
    iviti_put_u64(out, 0x0123456789ABCDEFu);
    assert_true(iviti_get_u64(out) == 0x0123456789ABCDEFu);
    assert_int_equal(out[0], 0xEF);
}

static void test_utf8(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t bytes;
        bool good;
    } cases[] = {
        { "", 0, true },
        { "plain", 5, true },
        { "\xC3\xA9", 2, true },          /* e acute */
        { "\xE2\x82\xAC", 3, true },      /* euro */
        { "\xF0\x9F\x90\x88", 4, true },  /* beyond the basic plane */
        { "\xF4\x8F\xBF\xBF", 4, true },  /* U+10FFFF */
        { "\xEE\x80\x80", 3, true },      /* after the surrogates */
        { "a\0b", 3, false },             /* NUL */
        { "\x80", 1, false },             /* continuation alone */
        { "\xC3", 1, false },             /* cut */
        { "\xE2\x82", 2, false },         /* cut */
        { "\xF0\x9F\x90", 3, false },     /* cut */
        { "\xC0\xAF", 2, false },         /* overlong */
        { "\xC1\xBF", 2, false },         /* overlong */
        { "\xE0\x9F\xBF", 3, false },     /* overlong */
        { "\xF0\x8F\xBF\xBF", 4, false }, /* overlong */
        { "\xED\xA0\x80", 3, false },     /* surrogate */
        { "\xF4\x90\x80\x80", 4, false }, /* above U+10FFFF */
        { "\xF5\x80\x80\x80", 4, false }, /* no such lead */
        { "\xFF", 1, false },
        { "\xC3\x28", 2, false }, /* no continuation */
        { "\xE2\x28\xA1", 3, false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t *const copy = malloc(cases[i].bytes + 1); /* exactly as long, to see over-reads */
        memcpy(copy, cases[i].text, cases[i].bytes);
        uint8_t *const tight = realloc(copy, cases[i].bytes > 0 ? cases[i].bytes : 1);
        assert_int_equal(iviti_utf8_text(tight, cases[i].bytes), cases[i].good);
        free(tight);
    }
}

/* One bit at a time, as the polynomial is defined. */
static uint32_t crc_bitwise(uint32_t crc, const uint8_t *data, size_t bytes)
{
    crc = ~crc;
    for (size_t i = 0; i < bytes; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
    }
    return ~crc;
}

static void check_crc(uint32_t (*crc)(uint32_t, const void *, size_t))
{
    enum { MOST = 3 * 8192 * 2 + 100 };
    uint8_t *const data = malloc(MOST);
    uint32_t seed = 1;
    for (size_t i = 0; i < MOST; i++) {
        seed = seed * 1664525u + 1013904223u;
        data[i] = (uint8_t)(seed >> 24);
    }
    assert_true(crc(0, "123456789", 9) == 0xE3069283u); /* the published check value */
    assert_true(crc(0, data, 0) == 0);
    assert_true(crc(77, data, 0) == 77);
    for (size_t bytes = 0; bytes < 200; bytes++)
        for (size_t offset = 0; offset < 9; offset++)
            assert_true(crc(5, data + offset, bytes) == crc_bitwise(5, data + offset, bytes));
    const size_t lengths[] = { 3 * 8192 - 1, 3 * 8192, 3 * 8192 + 1, 6 * 8192, MOST };
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        assert_true(crc(0, data, lengths[i]) == crc_bitwise(0, data, lengths[i]));
    for (size_t cut = 0; cut < 40; cut++) /* in two parts */
        assert_true(crc(crc(0, data, cut), data + cut, 1000 - cut) == crc_bitwise(0, data, 1000));
    free(data);
}

static void test_crc32c(void **state)
{
    (void)state;
    iviti_kernels kernels;
    check_crc(iviti_crc32c_ref);
    iviti_kernels_select(&kernels, IVITI_ISA_BEST);
    check_crc(kernels.crc32c);
}

static void test_status_names(void **state)
{
    (void)state;
    static const struct {
        iviti_status status;
        int number;
        const char *name;
    } all[] = {
        { IVITI_OK, 0, "IVITI_OK" },
        { IVITI_ERROR_ARGUMENT, 10, "IVITI_ERROR_ARGUMENT" },
        { IVITI_ERROR_IMAGE_SIZE, 11, "IVITI_ERROR_IMAGE_SIZE" },
        { IVITI_ERROR_NOT_A_MODEL, 20, "IVITI_ERROR_NOT_A_MODEL" },
        { IVITI_ERROR_TRUNCATED, 21, "IVITI_ERROR_TRUNCATED" },
        { IVITI_ERROR_CORRUPT, 22, "IVITI_ERROR_CORRUPT" },
        { IVITI_ERROR_CHECKSUM, 23, "IVITI_ERROR_CHECKSUM" },
        { IVITI_ERROR_RANGE, 24, "IVITI_ERROR_RANGE" },
        { IVITI_ERROR_VERSION, 30, "IVITI_ERROR_VERSION" },
        { IVITI_ERROR_ARCHITECTURE, 31, "IVITI_ERROR_ARCHITECTURE" },
        { IVITI_ERROR_UNSUPPORTED, 32, "IVITI_ERROR_UNSUPPORTED" },
        { IVITI_ERROR_LIMIT, 40, "IVITI_ERROR_LIMIT" },
        { IVITI_ERROR_MEMORY, 50, "IVITI_ERROR_MEMORY" },
        { IVITI_ERROR_BUFFER, 51, "IVITI_ERROR_BUFFER" },
        { IVITI_ERROR_IO, 60, "IVITI_ERROR_IO" },
        { IVITI_ERROR_STATE, 70, "IVITI_ERROR_STATE" },
        { IVITI_ERROR_THREAD, 71, "IVITI_ERROR_THREAD" },
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        assert_int_equal(all[i].status, all[i].number);
        assert_string_equal(iviti_status_name(all[i].status), all[i].name);
        assert_true(strlen(iviti_status_text(all[i].status)) > 3);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(iviti_status_text(all[i].status),
                                    iviti_status_text(all[k].status));
    }
    assert_non_null(iviti_status_name((iviti_status)9999));
    assert_non_null(iviti_status_text((iviti_status)-1));
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", IVITI_VERSION_MAJOR, IVITI_VERSION_MINOR,
             IVITI_VERSION_PATCH);
    assert_string_equal(iviti_version(), version);
}

static void keep(void *user, iviti_status status, const char *message)
{
    (void)status;
    snprintf(user, IVITI_LOG_BYTES, "%s", message);
}

static void test_log_escapes(void **state)
{
    (void)state;
    char said[IVITI_LOG_BYTES] = "";
    const iviti_log log = { keep, said };
    assert_int_equal(iviti_log_fail(&log, IVITI_ERROR_LIMIT, "%s is %d", "it", 5),
                     IVITI_ERROR_LIMIT);
    assert_string_equal(said, "it is 5");
    iviti_log_fail(&log, IVITI_ERROR_LIMIT, "%s", "a\x1B[2J\n\x7F\xC2\x9B\xFFz\xC3\xA9");
    assert_string_equal(said, "a\\x1b[2J\\x0a\\x7f\\xc2\\x9b\\xffz\xC3\xA9");

    char endless[3 * IVITI_LOG_BYTES];
    memset(endless, '\n', sizeof endless - 1);
    endless[sizeof endless - 1] = 0;
    iviti_log_fail(&log, IVITI_ERROR_LIMIT, "%s", endless);
    assert_int_equal(strlen(said), (IVITI_LOG_BYTES - 1) / 4 * 4);
    assert_int_equal(iviti_log_fail(NULL, IVITI_ERROR_IO, "nobody hears"), IVITI_ERROR_IO);
    const iviti_log silent = { NULL, NULL };
    assert_int_equal(iviti_log_fail(&silent, IVITI_ERROR_IO, "nobody hears"), IVITI_ERROR_IO);
}

static size_t asked;

static void *allocate_odd(void *user, size_t bytes)
{
    asked = bytes;
    return (uint8_t *)user + 16;
}

static void release_nothing(void *user, void *memory)
{
    assert_ptr_equal(memory, (uint8_t *)user + 16);
}

static void test_memory(void **state)
{
    (void)state;
    static _Alignas(64) uint8_t space[512];
    const iviti_allocator odd = { allocate_odd, release_nothing, space };
    void *block = NULL;
    uint8_t *const memory = iviti_allocate(&odd, 100, &block);
    assert_ptr_equal(memory, space + 64);
    assert_ptr_equal(block, space + 16);
    assert_true(memory + 100 <= (uint8_t *)block + asked);
    iviti_release(&odd, block);
    iviti_release(&odd, NULL);
    assert_null(iviti_allocate(&odd, SIZE_MAX - 10, &block));

    iviti_allocator resolved;
    assert_true(iviti_allocator_resolve(&odd, &resolved));
    assert_ptr_equal(resolved.user, space);
    assert_false(
        iviti_allocator_resolve(&(iviti_allocator){ allocate_odd, NULL, NULL }, &resolved));
    assert_false(
        iviti_allocator_resolve(&(iviti_allocator){ NULL, release_nothing, NULL }, &resolved));
    assert_true(iviti_allocator_resolve(NULL, &resolved));
    const size_t sizes[] = { 0, 1, 100, 4 << 20, (4 << 20) + 12345 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint8_t *const m = iviti_allocate(&resolved, sizes[i], &block);
        assert_non_null(m);
        assert_int_equal((uintptr_t)m % 64, 0);
        memset(m, 1, sizes[i]);
        iviti_release(&resolved, block);
    }
}

/* ---- the reader -------------------------------------------------------------------------------
 */

/* 1000 bytes, in pieces of at most `piece`. */
typedef struct pieces {
    size_t piece;
    size_t at;
} pieces;

static size_t read_pieces(void *user, void *buffer, size_t bytes)
{
    pieces *const p = user;
    const size_t n = bytes < p->piece ? bytes : p->piece;
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)buffer)[i] = (uint8_t)((p->at + i) * 7);
    p->at += n;
    return n;
}

static void expect_bytes(const uint8_t *bytes, size_t from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_int_equal(bytes[i], (uint8_t)((from + i) * 7));
}

static void test_reader_streams(void **state)
{
    (void)state;
    iviti_allocator allocator;
    iviti_allocator_resolve(NULL, &allocator);
    for (size_t piece = 1; piece <= 100; piece += 9) {
        pieces p = { piece, 0 };
        const iviti_source source = { read_pieces, &p, 1000 };
        uint8_t *const buffer = malloc(64);
        iviti_reader r;
        iviti_reader_open(&r, &source, &allocator, NULL, buffer, 64);
        r.crc32c = iviti_crc32c_ref;
        r.hole = 10;
        iviti_reader_stream(&r);
        const uint8_t *bytes;
        size_t at = 0;
        for (size_t n = 0; at < 900; n = (n + 5) % 65) {
            assert_int_equal(iviti_reader_take(&r, n, "bytes", &bytes), IVITI_OK);
            expect_bytes(bytes, at, n);
            at += n;
            assert_true(iviti_reader_position(&r) == at);
            assert_true(iviti_reader_remaining(&r) == 1000 - at);
        }
        assert_int_equal(iviti_reader_take(&r, 1001 - at, "bytes", &bytes), IVITI_ERROR_TRUNCATED);
        assert_int_equal(iviti_reader_take(&r, UINT64_MAX, "bytes", &bytes), IVITI_ERROR_TRUNCATED);
        assert_int_equal(iviti_reader_drain(&r), IVITI_OK);
        assert_true(iviti_reader_remaining(&r) == 0);
        assert_int_equal(iviti_reader_take(&r, 0, "nothing", &bytes), IVITI_OK);
        assert_int_equal(iviti_reader_take(&r, 1, "more", &bytes), IVITI_ERROR_TRUNCATED);

        uint8_t all[1000];
        for (size_t i = 0; i < sizeof all; i++)
            all[i] = i >= 10 && i < 14 ? 0 : (uint8_t)(i * 7);
        assert_true(r.crc == crc_bitwise(0, all, sizeof all));
        iviti_reader_close(&r);
        free(buffer);
    }
}

static void test_reader_keeps(void **state)
{
    (void)state;
    iviti_allocator allocator;
    iviti_allocator_resolve(NULL, &allocator);
    pieces p = { 50, 0 };
    const iviti_source source = { read_pieces, &p, 1000 };
    uint8_t *const buffer = malloc(64);
    iviti_reader r;
    iviti_reader_open(&r, &source, &allocator, NULL, buffer, 64);
    r.keep_limit = 300;
    const uint8_t *bytes;
    for (size_t at = 0; at < 300; at += 30)
        assert_int_equal(iviti_reader_take(&r, 30, "header", &bytes), IVITI_OK);
    expect_bytes(r.data, 0, 300); /* all of it is still there */
    assert_int_equal(iviti_reader_take(&r, 1, "header", &bytes), IVITI_ERROR_LIMIT);
    iviti_reader_stream(&r);
    assert_int_equal(iviti_reader_take(&r, 200, "data", &bytes), IVITI_OK);
    expect_bytes(bytes, 300, 200);
    iviti_reader_close(&r);
    free(buffer);
}

static size_t read_too_much(void *user, void *buffer, size_t bytes)
{
    (void)user;
    memset(buffer, 0, bytes);
    return bytes + 1;
}

static size_t read_nothing(void *user, void *buffer, size_t bytes)
{
    (void)user;
    (void)buffer;
    (void)bytes;
    return 0;
}

static void test_reader_distrusts(void **state)
{
    (void)state;
    iviti_allocator allocator;
    iviti_allocator_resolve(NULL, &allocator);
    size_t (*const functions[])(void *, void *, size_t) = { read_too_much, read_nothing };
    for (size_t i = 0; i < 2; i++) {
        const iviti_source source = { functions[i], NULL, 1000 };
        uint8_t buffer[64];
        const uint8_t *bytes;
        iviti_reader r;
        iviti_reader_open(&r, &source, &allocator, NULL, buffer, sizeof buffer);
        assert_int_equal(iviti_reader_take(&r, 4, "bytes", &bytes), IVITI_ERROR_IO);
        assert_int_equal(iviti_reader_drain(&r), IVITI_ERROR_IO);
        iviti_reader_close(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums_and_products),
        cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_crc32c),
        cmocka_unit_test(test_status_names),
        cmocka_unit_test(test_log_escapes),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_reader_streams),
        cmocka_unit_test(test_reader_keeps),
        cmocka_unit_test(test_reader_distrusts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

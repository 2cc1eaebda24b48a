/* SPDX-License-Identifier: Apache-2.0
 *
 * Sentences without stdio: the same text as the C library's for every conversion that base/format.h
 * promises, and never a byte too many.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/format.h"

/* Both write into buffers of every size from 0 on; what lies behind stays as it is. */
#define SAME(...)                                                                                  \
    do {                                                                                           \
        char expected[200], actual[200];                                                           \
        for (size_t bytes = 0; bytes < 120; bytes++) {                                             \
            memset(expected, 'x', sizeof expected);                                                \
            memset(actual, 'x', sizeof actual);                                                    \
            assert_true(snprintf(expected, bytes, __VA_ARGS__) >= 0);                              \
            iviti_format(actual, bytes, __VA_ARGS__);                                              \
            assert_memory_equal(actual, expected, sizeof expected);                                \
        }                                                                                          \
    } while (0)

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wformat-truncation" /* that is what is tried */
#endif

static void numbers(void **state)
{
    (void)state;
    static const long long values[] = { 0,        1,        -1,        9,         10,
                                        -10,      127,      255,       -32768,    65535,
                                        INT_MAX,  INT_MIN,  LLONG_MAX, LLONG_MIN, 1000000007 };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        const long long v = values[i];
        SAME("%d, %i and %u, %x.", (int)v, (int)v, (unsigned)v, (unsigned)v);
        SAME("%ld %lu %lx", (long)v, (unsigned long)v, (unsigned long)v);
        SAME("%lld %llu %llx", v, (unsigned long long)v, (unsigned long long)v);
        SAME("%zu %" PRId32 " %" PRIu32 " %" PRIx32, (size_t)v, (int32_t)v, (uint32_t)v, (uint32_t)v);
        SAME("%" PRId64 " %" PRIu64 " %jd %td", (int64_t)v, (uint64_t)v, (intmax_t)v, (ptrdiff_t)v);
        SAME("[%3d|%08x|%02x|%020lld|%5u|%*d]", (int)v, (unsigned)v, (unsigned)v, v, (unsigned)v, 7,
             (int)v);
        SAME("%hd %hhd", (short)v, (signed char)v);
    }
}

static void texts(void **state)
{
    (void)state;
    static const char *const values[] = { "", "a", "block.3.qkv.weight", "\xC3\xA9" };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        SAME("%s", values[i]);
        SAME("<%10s> 100%% '%.*s' %.2s", values[i], 4, values[i], values[i]);
        SAME("%c%c", 'a' + (int)i, 0x7F);
    }
    const char unterminated[3] = { 'a', 'b', 'c' };
    SAME("%.*s", 3, unterminated);
    SAME("plain");
}

/* What is no conversion stays, and an end in the middle of one is an end. */
static void strange_formats(void **state)
{
    (void)state;
    static const char *const formats[][2] = {
        { "%q!", "%q!" }, { "50%", "50%" }, { "%0", "%0" }, { "%.", "%." }, { "%ll", "%ll" }
    };
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        char text[32];
        void (*const format)(char *, size_t, const char *, ...) = iviti_format;
        format(text, sizeof text, formats[i][0]);
        assert_string_equal(text, formats[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers),
        cmocka_unit_test(texts),
        cmocka_unit_test(strange_formats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

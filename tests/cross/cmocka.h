/* SPDX-License-Identifier: Apache-2.0
 *
 * The part of cmocka that the library's unit tests use, for processors that the distribution has a
 * compiler for but no cmocka. The first failure ends the program.
 */
#ifndef CROSS_CMOCKA_H
#define CROSS_CMOCKA_H

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct CMUnitTest {
    const char *name;
    void (*run)(void **state);
};

#define cmocka_unit_test(function)                                                                 \
    {                                                                                              \
        #function, function                                                                        \
    }

#define print_error(...) ((void)fprintf(stderr, __VA_ARGS__))

static inline _Noreturn void cross_fail(const char *file, int line, const char *format, ...)
{
    va_list arguments;
    fprintf(stderr, "%s:%d: ", file, line);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

#define fail_msg(...) cross_fail(__FILE__, __LINE__, __VA_ARGS__)

static inline void cross_true(int true_or_not, const char *text, const char *file, int line)
{
    if (!true_or_not)
        cross_fail(file, line, "not so: %s", text);
}

static inline void cross_equal(uintmax_t a, uintmax_t b, int equal, const char *text,
                               const char *file, int line)
{
    if ((a == b) != equal)
        cross_fail(file, line, "%s: 0x%jx and 0x%jx", text, a, b);
}

#define CROSS_EQUAL(a, b, equal)                                                                   \
    cross_equal((uintmax_t)(a), (uintmax_t)(b), (equal), #a ", " #b, __FILE__, __LINE__)

#define assert_true(c)                 cross_true((c) ? 1 : 0, #c, __FILE__, __LINE__)
#define assert_false(c)                cross_true((c) ? 0 : 1, "not " #c, __FILE__, __LINE__)
#define assert_null(p)                 assert_true((p) == NULL)
#define assert_non_null(p)             assert_true((p) != NULL)
#define assert_ptr_equal(a, b)         assert_true((a) == (b))
#define assert_int_equal(a, b)         CROSS_EQUAL(a, b, 1)
#define assert_int_not_equal(a, b)     CROSS_EQUAL(a, b, 0)
#define assert_string_equal(a, b)      assert_true(strcmp((a), (b)) == 0)
#define assert_string_not_equal(a, b)  assert_true(strcmp((a), (b)) != 0)
#define assert_memory_equal(a, b, n)   assert_true(memcmp((a), (b), (n)) == 0)
#define assert_memory_not_equal(a, b, n) assert_true(memcmp((a), (b), (n)) != 0)
#define assert_in_range(x, low, high)                                                              \
    assert_true((uintmax_t)(x) >= (uintmax_t)(low) && (uintmax_t)(x) <= (uintmax_t)(high))

static inline int cross_run(const struct CMUnitTest *tests, size_t count)
{
    void *state = NULL;
    for (size_t i = 0; i < count; i++)
        tests[i].run(&state);
    printf("%zu tests\n", count);
    return 0;
}

#define cmocka_run_group_tests(tests, setup, teardown)                                             \
    ((void)(setup), (void)(teardown), cross_run((tests), sizeof(tests) / sizeof *(tests)))

#endif

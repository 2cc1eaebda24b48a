/* SPDX-License-Identifier: Apache-2.0
 *
 * Running allocates nothing: this program is linked with every allocating function of the C library
 * wrapped (see CMakeLists.txt), so that each call from the library is counted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "iviti/iviti.h"
#include "unit/model_fixture.h"

static int calls;

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *memory, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
void __real_free(void *memory);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *memory, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
void __wrap_free(void *memory);

void *__wrap_malloc(size_t bytes)
{
    calls++;
    return __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    calls++;
    return __real_calloc(count, bytes);
}

void *__wrap_realloc(void *memory, size_t bytes)
{
    calls++;
    return __real_realloc(memory, bytes);
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    calls++;
    return __real_aligned_alloc(alignment, bytes);
}

void __wrap_free(void *memory)
{
    calls++;
    __real_free(memory);
}

static void running_allocates_nothing(void **state)
{
    (void)state;
    static uint8_t pixels[97 * 55 * 3];
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 37);

    for (int kind = 0; kind < FIXTURE_KINDS; kind++)
        for (unsigned threads = 1; threads <= 3; threads += 2) {
            const iviti_geometry g = fixture_geometry((fixture_kind)kind);
            model_fixture f = fixture_build(&g, 2);
            iviti_model *model = NULL;
            iviti_session *session = NULL;
            iviti_class top[3];

            calls = 0;
            assert_int_equal(iviti_model_load_memory(f.image, f.size, NULL, &model), IVITI_OK);
            assert_true(calls > 0); /* the wrapping works */
            calls = 0;
            assert_int_equal(iviti_session_create(model,
                                                  &(iviti_session_options){ .threads = threads },
                                                  &session),
                             IVITI_OK);
            assert_int_equal(calls, 1); /* one arena */

            calls = 0;
            for (int run = 0; run < 3; run++) {
                assert_int_equal(
                    iviti_session_run(session, &(iviti_image){ pixels, 97, 55, 97 * 3 }), IVITI_OK);
                assert_int_equal(iviti_session_top(session, 3, top, NULL), IVITI_OK);
            }
            assert_int_equal(calls, 0);
            iviti_session_free(session);
            iviti_model_free(model);
            fixture_free(&f);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(running_allocates_nothing) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

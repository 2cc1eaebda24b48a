/* SPDX-License-Identifier: Apache-2.0
 *
 * Model files that are right: what is written is what is read, in the layout of the kernels.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "model/model.h"
#include "model_fixture.h"

/* Loads, or fails the test with the library's sentence. */
static void print_sentence(void *user, iviti_status status, const char *message)
{
    (void)user;
    print_error("%s: %s\n", iviti_status_name(status), message);
}

static iviti_model *load(const model_fixture *f)
{
    const iviti_load_options options = { .log = { print_sentence, NULL } };
    iviti_model *model = NULL;
    assert_int_equal(iviti_model_load_memory(f->image, f->size, &options, &model), IVITI_OK);
    return model;
}

static void test_kinds_load(void **state)
{
    (void)state;
    for (int kind = 0; kind < FIXTURE_KINDS; kind++) {
        iviti_geometry g = fixture_geometry((fixture_kind)kind);
        model_fixture f = fixture_build(&g, 1);
        iviti_model *const m = load(&f);
        char text[200];
        assert_null(iviti_geometry_complete(&g, text, sizeof text));
        assert_memory_equal(&g, &m->geometry, sizeof g);
        iviti_model_free(m);
        fixture_free(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_kinds_load) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

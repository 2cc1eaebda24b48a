/* SPDX-License-Identifier: Apache-2.0
 *
 * iviti-bench: the contract's keys, and figures that fit together.
 */
#include "cli_run.h"

#include "cli_json.h"
#include "cli_model.h"

#include "iviti/iviti.h"

#define KEYS                                                                                       \
    "model", "isa", "threads", "runs", "median_ms", "min_ms", "gmac", "gmac_per_s", "rss_mb",      \
        "load_ms", "session_ms"

static void figures_fit_together(void **state)
{
    const char *const path = cli_write_model("model.gguf");
    iviti_model *model = NULL;
    iviti_model_info info;

    (void)state;
    assert_int_equal(iviti_model_load(path, NULL, &model), IVITI_OK);
    iviti_model_describe(model, &info);
    iviti_model_free(model);

    cli_result result = CLI("iviti-bench", "--json", "--runs", "7", "--threads=2", path);
    json_t *const object = cli_one_object(&result);
    assert_string_equal(result.err, "");
    CLI_KEYS(object, KEYS);
    assert_string_equal(cli_string(object, "model"), path);
    assert_true(iviti_isa_from_name(cli_string(object, "isa")) > 0);
    assert_int_equal(cli_integer(object, "threads"), 2);
    assert_int_equal(cli_integer(object, "runs"), 7);
    const double median = cli_number(object, "median_ms");
    const double gmac = cli_number(object, "gmac");
    const double rate = cli_number(object, "gmac_per_s");
    assert_true(cli_number(object, "min_ms") > 0);
    assert_true(cli_number(object, "min_ms") <= median);
    assert_int_equal((uint64_t)(gmac * 1e6 + 0.5), (info.macs + 500) / 1000);
    assert_true(rate * median / 1e3 > 0.5 * gmac && rate * median / 1e3 < 1.5 * gmac);
    assert_true(cli_number(object, "rss_mb") > 0.5);
    assert_true(cli_number(object, "load_ms") > 0);
    assert_true(cli_number(object, "session_ms") > 0);
    json_decref(object);
    cli_free(&result);
}

static void the_instruction_set_is_the_one_asked_for(void **state)
{
    const char *const path = cli_write_model("model.gguf");
    const char *const absent = iviti_isa_available(IVITI_ISA_NEON) ? "avx2" : "neon";

    (void)state;
    cli_result result = CLI("iviti-bench", "--json", "--runs=1", "--threads=1", "--isa=ref", path);
    json_t *const object = cli_one_object(&result);
    assert_string_equal(cli_string(object, "isa"), "ref");
    assert_int_equal(cli_integer(object, "runs"), 1);
    json_decref(object);
    cli_free(&result);
    CLI_FAILS(1, CLI("iviti-bench", "--isa", absent, path), absent, "not available");
}

static void people_get_a_table(void **state)
{
    const char *const path = cli_write_model("model.gguf");

    (void)state;
    cli_result result = CLI("iviti-bench", "--runs=3", "--threads=1", path);
    assert_int_equal(result.status, 0);
    assert_true(strncmp(result.out, path, strlen(path)) == 0);
    cli_assert_holds(result.out, "1 thread, 3 runs\n");
    cli_assert_holds(result.out, "\n  median ");
    cli_assert_holds(result.out, "GMAC/s\n");
    cli_free(&result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_fit_together),
        cmocka_unit_test(the_instruction_set_is_the_one_asked_for),
        cmocka_unit_test(people_get_a_table),
    };
    return cmocka_run_group_tests(tests, cli_setup, cli_teardown);
}

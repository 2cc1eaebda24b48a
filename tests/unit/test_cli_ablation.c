/* SPDX-License-Identifier: Apache-2.0
 *
 * iviti-eval --ablation: each of its rows has the figures that iviti-convert and iviti-eval give for those
 * operators one at a time.
 */
#include "cli_run.h"

#include <math.h>

#include "cli_json.h"

#define PICTURES 12

static const char *labels;

static int make_input(void **state)
{
    char text[PICTURES * 32] = "";
    if (cli_setup(state) != 0)
        return -1;
    for (unsigned i = 0; i < PICTURES; i++) {
        char line[32];
        snprintf(line, sizeof line, "picture-%u.png", i);
        cli_write_png(line, 40, 36, 7 * i);
        snprintf(line, sizeof line, "picture-%u.png\t%u\n", i, i % 10);
        strcat(text, line);
    }
    labels = strdup(cli_write_text("labels.tsv", text));
    return labels == NULL ? -1 : 0;
}

static void must_succeed(cli_result result)
{
    if (result.status != 0)
        fail_msg("%s", result.err);
    cli_free(&result);
}

static void same_figure(json_t *a, json_t *b, const char *key, double unit)
{
    const double x = cli_number(a, key), y = cli_number(b, key);
    if (!(fabs(x - y) <= unit))
        fail_msg("%s is %.9g in the table and %.9g alone", key, x, y);
}

static json_t *evaluated(const char *checkpoint, const char *softmax, const char *gelu,
                         const char *norm)
{
    const char *const model = cli_path("model.gguf");
    must_succeed(CLI("iviti-convert", checkpoint, "-o", model, "--calib", cli_folder, "--quiet",
                     "--softmax", softmax, "--gelu", gelu, "--layernorm", norm));
    cli_result result = CLI("iviti-eval", model, "--images", cli_folder, "--labels", labels,
                            "--reference", checkpoint, "--json", "--quiet");
    json_t *object = cli_one_object(&result);
    cli_free(&result);
    return object;
}

/* Newton's constants are rounded once more in the table, which may change a last bit here and there. */
static void rows_are_those_of_single_conversions(void **state)
{
    static const struct {
        size_t row;
        const char *softmax, *gelu, *norm;
    } some[] = {
        { 0, "table", "table", "exact" },      { 2, "shiftmax16", "table", "exact" },
        { 5, "lis", "table", "exact" },        { 6, "sulq", "table", "exact" },
        { 8, "table", "i-gelu", "exact" },     { 10, "table", "table", "l1" },
        { 15, "shiftmax16", "shiftgelu", "l1" },
    };
    const char *const checkpoint = cli_path("vit.safetensors");
    (void)state;
    must_succeed(CLI("tests/make-checkpoint", "--preset=deit-t", "--dim=128", "--depth=2",
                     "--heads=2", "--image=32", "--patch=8", "--classes=10", "-o", checkpoint));
    cli_result result = CLI("iviti-eval", "--ablation", checkpoint, "--calib", cli_folder, "--images",
                            cli_folder, "--labels", labels, "--json", "--quiet");
    json_t *const table = cli_one_object(&result);
    json_t *const rows = json_object_get(table, "rows");
    assert_string_equal(result.err, "");
    assert_int_equal(cli_integer(table, "images"), PICTURES);
    assert_int_equal(cli_integer(table, "calibration_pictures"), PICTURES);
    assert_int_equal(json_array_size(rows), 17);
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        json_t *const row = json_array_get(rows, some[i].row);
        json_t *const alone = evaluated(checkpoint, some[i].softmax, some[i].gelu, some[i].norm);
        same_figure(row, alone, "top1", 0);
        same_figure(row, alone, "top5", 0);
        same_figure(row, alone, "agreement", 0);
        same_figure(row, alone, "cosine", 1.5e-6);
        same_figure(row, alone, "relative_mse", 1e-5 * cli_number(alone, "relative_mse"));
        same_figure(table, alone, "reference_top1", 0);
        assert_true(cli_number(row, "ms_per_image") > 0);
        json_decref(alone);
    }

    json_t *const last = json_array_get(rows, 16);
    assert_string_equal(cli_string(last, "softmax"), "float");
    assert_null(json_object_get(last, "ms_per_image"));
    assert_true(cli_number(last, "relative_mse") < 0.05);
    json_decref(table);
    cli_free(&result);
}

/* What the baseline does not simulate is said, and the other rows are there. */
static void a_stem_has_no_baseline(void **state)
{
    const char *const checkpoint = cli_path("stem.safetensors");
    (void)state;
    must_succeed(CLI("tests/make-checkpoint", "--preset=lvvit-s", "--dim=64", "--depth=1", "--heads=1",
                     "--channels=16,16,16", "--classes=10", "-o", checkpoint));
    cli_result result = CLI("iviti-eval", "--ablation", checkpoint, "--heads=1", "--calib", cli_folder,
                            "--images", cli_folder, "--labels", labels, "--limit=3", "--quiet");
    if (result.status != 0)
        fail_msg("%s", result.err);
    cli_assert_holds(result.out, "3 pictures, 12 calibration pictures");
    cli_assert_holds(result.out, "  LayerNorm L1");
    cli_assert_holds(result.out, "note: float operators: networks with a stem");
    assert_null(strstr(result.out, "floating point between"));
    cli_free(&result);
}

static void wrong_uses_are_refused(void **state)
{
    const char *const absent = cli_path("absent.safetensors");
    (void)state;
    CLI_FAILS(2, CLI("iviti-eval", "--ablation", absent, "--images", cli_folder, "--labels", labels),
              "--ablation needs --calib");
    CLI_FAILS(2,
              CLI("iviti-eval", absent, "--calib", cli_folder, "--images", cli_folder, "--labels",
                  labels),
              "need --ablation");
    CLI_FAILS(2,
              CLI("iviti-eval", "--ablation", absent, "--reference", absent, "--calib", cli_folder,
                  "--images", cli_folder, "--labels", labels),
              "neither --reference");
    CLI_FAILS(1,
              CLI("iviti-eval", "--ablation", absent, "--calib", cli_folder, "--images", cli_folder,
                  "--labels", labels),
              "absent.safetensors");
    CLI_FAILS(2,
              CLI("iviti-convert", absent, "-o", cli_path("x.gguf"), "--attention", "sulq", "--softmax",
                  "lis"),
              "both choose the softmax");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_those_of_single_conversions),
        cmocka_unit_test(a_stem_has_no_baseline),
        cmocka_unit_test(wrong_uses_are_refused),
    };
    return cmocka_run_group_tests(tests, make_input, cli_teardown);
}

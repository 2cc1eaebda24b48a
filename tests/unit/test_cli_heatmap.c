/* SPDX-License-Identifier: Apache-2.0
 *
 * iviti-classify --heatmap: the files it writes, how it names them, and what it leaves behind when
 * something is wrong.
 */
#include "cli_run.h"

#include "cli_json.h"
#include "model_fixture.h"
#include "picture/heatmap.h"
#include "picture/picture.h"

/* A model of 16 x 16 pixels, whose panels are 448 x 448. */
#define SIDE 448

static const char *write_model(const char *name, iviti_geometry g)
{
    const char *const path = cli_path(name);
    assert_true(fixture_model(&g, 1, path));
    return path;
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static void expect_size(const char *path, uint32_t panels)
{
    picture p = { 0 };
    report r = { "" };
    if (!picture_load(path, &p, &r))
        fail_msg("%s", r.text);
    assert_int_equal(p.width, panels * SIDE + (panels - 1) * HEATMAP_GAP);
    assert_int_equal(p.height, SIDE);
    picture_free(&p);
}

static void must_succeed(cli_result result)
{
    if (result.status != 0)
        fail_msg("%s", result.err);
    cli_free(&result);
}

static void one_picture_gives_that_file(void **state)
{
    (void)state;
    const char *const model = write_model("vit.gguf", fixture_geometry(FIXTURE_VIT_TABLE));
    const char *const image = cli_write_png("a.png", 50, 30, 3);
    const char *const out = cli_path("out.PNG");
    must_succeed(CLI("iviti-classify", "--heatmap", out, model, image));
    expect_size(out, 2);
    must_succeed(CLI("iviti-classify", "--heatmap", out, "--threads=3", model, image));
    expect_size(out, 2);
    assert_false(exists(cli_path("out.PNG.partial")));
}

/* The answers are the same with a map and without. */
static void the_answer_stays(void **state)
{
    (void)state;
    const char *const model = write_model("vit.gguf", fixture_geometry(FIXTURE_VIT_SHIFT));
    const char *const image = cli_write_png("a.png", 50, 30, 3);
    cli_result with =
        CLI("iviti-classify", "--json", "--logits", "--heatmap", cli_path("out.png"), model, image);
    cli_result without = CLI("iviti-classify", "--json", "--logits", model, image);
    json_t *a = cli_one_object(&with), *b = cli_one_object(&without);
    assert_true(json_equal(json_object_get(a, "logits"), json_object_get(b, "logits")));
    json_decref(a);
    json_decref(b);
    cli_free(&with);
    cli_free(&without);
}

/* Numbers go with the pictures, those that cannot be read included. */
static void several_pictures_are_numbered(void **state)
{
    (void)state;
    const char *const model = write_model("vit.gguf", fixture_geometry(FIXTURE_VIT_DISTILLED));
    const char *const a = cli_write_png("a.png", 50, 30, 3), *const b = cli_path("none.png");
    cli_result result =
        CLI("iviti-classify", "--json", "--heatmap", cli_path("map.png"), model, a, b, a);
    assert_int_equal(result.status, 1);
    cli_free(&result);
    assert_true(exists(cli_path("map-0001.png")));
    assert_false(exists(cli_path("map-0002.png")));
    assert_true(exists(cli_path("map-0003.png")));
    assert_false(exists(cli_path("map.png")));

    char line[600];
    snprintf(line, sizeof line, "%s\n", a);
    result = CLI_INPUT(line, "iviti-classify", "--heatmap", cli_path("list.png"), model, "-");
    assert_int_equal(result.status, 0);
    cli_free(&result);
    assert_true(exists(cli_path("list-0001.png")));
}

static void pruned_models_show_their_stages(void **state)
{
    (void)state;
    iviti_geometry g = fixture_geometry(FIXTURE_VIT_TABLE);
    g.stage[0].depth = 7;
    g.prune =
        (iviti_prune){ .kind = IVITI_PRUNE_CLS, .stages = 2, .at = { 1, 2 }, .kept = { 10, 4 } };
    const char *const image = cli_write_png("a.png", 50, 30, 3), *const out = cli_path("out.png");
    must_succeed(CLI("iviti-classify", "--heatmap", out, write_model("two.gguf", g), image));
    expect_size(out, 4);
    g.prune = (iviti_prune){ .kind = IVITI_PRUNE_CLS,
                             .stages = 6,
                             .at = { 0, 1, 2, 3, 4, 5 },
                             .kept = { 14, 12, 10, 8, 6, 4 } };
    must_succeed(CLI("iviti-classify", "--heatmap", out, write_model("six.gguf", g), image));
    expect_size(out, 2 + HEATMAP_STAGES);
}

static void what_cannot_be_drawn_is_said(void **state)
{
    (void)state;
    const char *const vit = write_model("vit.gguf", fixture_geometry(FIXTURE_VIT_TABLE));
    const char *const swin = write_model("swin.gguf", fixture_geometry(FIXTURE_SWIN_TABLE));
    const char *const image = cli_write_png("a.png", 50, 30, 3), *const out = cli_path("no.png");
    CLI_FAILS(1, CLI("iviti-classify", "--heatmap", out, swin, image), "swin.gguf", "class token");
    assert_false(exists(out));
    CLI_FAILS(2, CLI("iviti-classify", "--heatmap", cli_path("no.jpg"), vit, image), "--heatmap",
              ".png");
    CLI_FAILS(2, CLI("iviti-classify", "--heatmap", ".png", vit, image), "--heatmap", ".png");
    CLI_FAILS(1, CLI("iviti-classify", "--heatmap", cli_path("none/no.png"), vit, image),
              "none/no.png", "No such file");
    const cli_result result = CLI("iviti-classify", "--heatmap", out, vit, cli_path("missing.png"));
    CLI_FAILS(1, result, "missing.png");
    assert_false(exists(out));
}

/* A file that cannot be completed does not replace the one that was there. */
static void nothing_half_written_is_left(void **state)
{
    (void)state;
    const char *const vit = write_model("vit.gguf", fixture_geometry(FIXTURE_VIT_TABLE));
    const char *const image = cli_write_png("a.png", 50, 30, 3);
    const char *const out = cli_write_text("kept.png", "as it was");
    cli_result result = cli_shell("ulimit -f 4; trap '' XFSZ; '%s' --heatmap '%s' '%s' '%s'",
                                  cli_program("iviti-classify"), out, vit, image);
    assert_int_equal(result.status, 1);
    cli_assert_holds(result.err, "kept.png");
    cli_free(&result);
    assert_false(exists(cli_path("kept.png.partial")));
    result = cli_shell("cat '%s'", out);
    assert_string_equal(result.out, "as it was");
    cli_free(&result);
    must_succeed(cli_shell("mkdir '%s'", cli_path("folder.png")));
    result = CLI("iviti-classify", "--heatmap", cli_path("folder.png"), vit, image);
    assert_int_equal(result.status, 1);
    cli_free(&result);
    assert_false(exists(cli_path("folder.png.partial")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_picture_gives_that_file),
        cmocka_unit_test(the_answer_stays),
        cmocka_unit_test(several_pictures_are_numbered),
        cmocka_unit_test(pruned_models_show_their_stages),
        cmocka_unit_test(what_cannot_be_drawn_is_said),
        cmocka_unit_test(nothing_half_written_is_left),
    };
    return cmocka_run_group_tests(tests, cli_setup, cli_teardown);
}

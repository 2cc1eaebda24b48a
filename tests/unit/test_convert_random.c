/* SPDX-License-Identifier: Apache-2.0
 *
 * Networks of the published shapes in small, with random weights: they convert with either family
 * of operators, follow their float network, and give the same bits on every instruction set.
 */
#include "cli_run.h"

#include "cli_json.h"

#define PICTURES 4

/* The folder holds pictures from here on. */
static int draw_pictures(void **state)
{
    if (cli_setup(state) != 0)
        return -1;
    for (uint32_t i = 0; i < PICTURES; i++) {
        char name[32];
        snprintf(name, sizeof name, "picture-%u.png", (unsigned)i);
        cli_write_png(name, 224, 224, 11 * i);
    }
    return 0;
}

static void must_succeed(cli_result result)
{
    if (result.status != 0)
        fail_msg("%s", result.err);
    cli_free(&result);
}

/* Runs a picture. */
static void same_bits_everywhere(const char *model)
{
    json_t *first = NULL;
    static const char *const variants[][2] = { { "--isa=best", "--threads=2" },
                                               { "--isa=ref", "--threads=1" } };
    for (size_t i = 0; i < 2; i++) {
        cli_result result = CLI("iviti-classify", "--json", "--logits", variants[i][0],
                                variants[i][1], model, cli_path("picture-1.png"));
        json_t *const object = cli_one_object(&result);
        json_t *const logits = json_object_get(object, "logits");
        assert_int_equal(json_array_size(logits), 10);
        if (first == NULL)
            first = json_incref(logits);
        assert_true(json_equal(first, logits));
        json_decref(object);
        cli_free(&result);
    }
    json_decref(first);
}

/* Converts, compares with the float network, and runs. */
static void convert_and_run(const char *checkpoint, const char *nonlinear)
{
    const char *const model = cli_path("model.gguf");
    cli_result result = CLI("iviti-convert", checkpoint, "-o", model, "--calib", cli_folder,
                            "--nonlinear", nonlinear, "--json", "--quiet");
    json_t *object = cli_one_object(&result);
    assert_true(cli_number(object, "agreement") >= 75);
    assert_true(cli_number(object, "cosine") >= 0.99);
    json_decref(object);
    cli_free(&result);
    same_bits_everywhere(model);
}

/* Each operator, in any mix; the float network is the farther away the coarser they are. */
static void convert_with_operators(const char *checkpoint)
{
    static const struct {
        const char *softmax, *gelu, *norm;
        double cosine;
    } mixes[] = {
        { "q15", "i-gelu", "newton", 0.99 },  { "sulq", "table", "exact", 0.95 },
        { "i-exp", "shiftgelu", "l1", 0.95 }, { "lis", "i-gelu", "exact", 0.95 },
        { "shiftmax8", "table", "l1", 0.8 },
    };
    const char *const model = cli_path("mixed.gguf");
    for (size_t i = 0; i < sizeof mixes / sizeof *mixes; i++) {
        cli_result result = CLI("iviti-convert", checkpoint, "-o", model, "--calib", cli_folder,
                                "--softmax", mixes[i].softmax, "--gelu", mixes[i].gelu,
                                "--layernorm", mixes[i].norm, "--json", "--quiet");
        json_t *object = cli_one_object(&result);
        if (!(cli_number(object, "cosine") >= mixes[i].cosine))
            fail_msg("%s, %s, %s: cosine %g", mixes[i].softmax, mixes[i].gelu, mixes[i].norm,
                     cli_number(object, "cosine"));
        json_decref(object);
        cli_free(&result);
        same_bits_everywhere(model);
    }
}

/* Four stages, windows of 7 with and without shift, and one window that is the whole last stage. */
static void swin_of_tinys_shape(void **state)
{
    const char *const checkpoint = cli_path("swin.safetensors");
    (void)state;
    must_succeed(CLI("tests/make-checkpoint", "--preset=swin-t", "--dim=16", "--depth=1,2,1,1",
                     "--heads=1,2,4,8", "--classes=10", "-o", checkpoint));
    convert_and_run(checkpoint, "table");
    convert_and_run(checkpoint, "shift");
    convert_with_operators(checkpoint);
}

static void vit_of_deits_shape(void **state)
{
    const char *const checkpoint = cli_path("vit.safetensors");
    (void)state;
    must_succeed(CLI("tests/make-checkpoint", "--preset=deit-t", "--dim=128", "--depth=2",
                     "--heads=2", "--classes=10", "-o", checkpoint));
    convert_and_run(checkpoint, "table");
    convert_and_run(checkpoint, "shift");
    convert_with_operators(checkpoint);
}

/* Its stem, its second head and its branches divided by two, in the width of 128. */
static void lvvits_shape(void **state)
{
    const char *const checkpoint = cli_path("lvvit.safetensors");
    (void)state;
    must_succeed(CLI("tests/make-checkpoint", "--preset=lvvit-s", "--dim=128", "--depth=2",
                     "--heads=2", "--channels=16,16,16", "--classes=10", "-o", checkpoint));
    convert_and_run(checkpoint, "table");
    convert_and_run(checkpoint, "shift");
}

/* Predictors before the second, third and fourth block of four, and a head that reads the patches which
 * are left. */
static void dynamicvit_of_lvvit(void **state)
{
    const char *const checkpoint = cli_path("dynamic.safetensors");
    (void)state;
    must_succeed(CLI("tests/make-checkpoint", "--preset=lvvit-s", "--dim=128", "--depth=4",
                     "--heads=2", "--channels=16,16,16", "--classes=10", "--predictors=3", "-o",
                     checkpoint));
    convert_and_run(checkpoint, "table");
}

static void torchvisions_stem(void **state)
{
    const char *const checkpoint = cli_path("stem.safetensors");
    (void)state;
    must_succeed(CLI("tests/make-checkpoint", "--preset=conv-stem", "--dim=128", "--depth=2",
                     "--heads=2", "--channels=8,16,24,24,32", "--classes=10", "-o", checkpoint));
    convert_and_run(checkpoint, "table");
}

/* What the checkpoint does not say, said wrongly. */
static void strides_must_fit(void **state)
{
    const char *const checkpoint = cli_path("stem.safetensors"), *const model = cli_path("no.gguf");
    (void)state;
    must_succeed(CLI("tests/make-checkpoint", "--preset=conv-stem", "--dim=64", "--depth=1",
                     "--heads=1", "--channels=8,8,16", "--patch=16", "--classes=10", "-o",
                     checkpoint));
    CLI_FAILS(1, CLI("iviti-convert", checkpoint, "-o", model, "--calib", cli_folder,
                     "--stem-strides=2,2"),
              "3 convolutions", "2 strides");
    CLI_FAILS(2, CLI("iviti-convert", checkpoint, "-o", model, "--calib", cli_folder,
                     "--stem-strides=1,1,1,1,1,1,1,1,1"),
              "--stem-strides", "limit is 8");
    CLI_FAILS(2, CLI("iviti-convert", checkpoint, "-o", model, "--calib", cli_folder,
                     "--stem-strides=0"),
              "--stem-strides", "0");
    CLI_FAILS(2, CLI("iviti-convert", checkpoint, "-o", model, "--calib", cli_folder, "--skip=0"),
              "--skip", "0");
    assert_int_not_equal(access(model, F_OK), 0);
    must_succeed(CLI("iviti-convert", checkpoint, "-o", model, "--calib", cli_folder, "--heads=1",
                     "--stem-strides=2,2,1", "--quiet"));
}

/* Which of its patches a network keeps that knows nothing is a matter of small differences. */
#define PRUNED_COSINE 0.9

static void convert_pruned(const char *checkpoint, const char *nonlinear, const char *option,
                           const char *other, const char *third)
{
    const char *const model = cli_path("model.gguf");
    cli_result result = CLI("iviti-convert", checkpoint, "-o", model, "--calib", cli_folder,
                            "--nonlinear", nonlinear, option, other, third, "--json", "--quiet");
    json_t *object = cli_one_object(&result);
    if (!(cli_number(object, "cosine") >= PRUNED_COSINE))
        fail_msg("%s %s %s: cosine %g", option, other, third, cli_number(object, "cosine"));
    json_decref(object);
    cli_free(&result);
    same_bits_everywhere(model);
}

static void dynamic_vits_shape(void **state)
{
    const char *const checkpoint = cli_path("dynamic.safetensors");
    (void)state;
    must_succeed(CLI("tests/make-checkpoint", "--image=112", "--dim=128", "--depth=4", "--heads=2",
                     "--predictors=3", "--classes=10", "-o", checkpoint));
    convert_pruned(checkpoint, "table", "--base-rate=0.7", "--prune-at=1,2,3", "--quiet");
    convert_pruned(checkpoint, "shift", "--base-rate=0.8", "--prune-at=0,1,3", "--quiet");
    const char *const path = cli_path("refused.gguf"), *const same = cli_path("same.gguf");
    must_succeed(CLI("iviti-convert", checkpoint, "-o", cli_path("model.gguf"), "--calib", cli_folder,
                     "--prune-at=1,2,3", "--quiet"));
    must_succeed(CLI("iviti-convert", checkpoint, "-o", same, "--calib", cli_folder, "--prune-at=1,2,3",
                     "--recipe=compensate", "--quiet"));
    must_succeed(cli_shell("cmp %s %s", cli_path("model.gguf"), same)); /* what predictors need */
    CLI_FAILS(1, CLI("iviti-convert", checkpoint, "-o", path, "--calib", cli_folder, "--keep=0.5"),
              "DynamicViT", "--base-rate");
    CLI_FAILS(1, CLI("iviti-convert", checkpoint, "-o", path, "--calib", cli_folder, "--prune-at=1,2"),
              "2 blocks", "3 predictors");
    CLI_FAILS(1, CLI("iviti-convert", checkpoint, "-o", path, "--calib", cli_folder,
                     "--prune-at=1,2,4"),
              "iviti.prune.at[2] is 4", "4 blocks");
    CLI_FAILS(1, CLI("iviti-convert", checkpoint, "-o", path, "--calib", cli_folder,
                     "--base-rate=0.1"),
              "iviti.prune.kept", "0");
}

static void fewer_tokens_of_any_vit(void **state)
{
    const char *const checkpoint = cli_path("few.safetensors");
    const char *const path = cli_path("refused.gguf");
    (void)state;
    must_succeed(CLI("tests/make-checkpoint", "--image=112", "--dim=128", "--depth=4", "--heads=2",
                     "--classes=10", "-o", checkpoint));
    convert_pruned(checkpoint, "table", "--keep=0.8,0.7", "--prune-at=1,2", "--quiet");
    convert_pruned(checkpoint, "shift", "--keep=0.8,0.7", "--prune-at=0,2",
                 "--fuse=none");
    convert_pruned(checkpoint, "table", "--merge=8", "--quiet", "--quiet");
    convert_pruned(checkpoint, "table", "--merge=12", "--prune-at=1,2", "--quiet");
    CLI_FAILS(1, CLI("iviti-convert", checkpoint, "-o", path, "--calib", cli_folder, "--merge=8",
                     "--nonlinear=shift", "--quiet"),
              "--merge", "tables");
    CLI_FAILS(1, CLI("iviti-convert", checkpoint, "-o", path, "--calib", cli_folder, "--merge=8",
                     "--keep=0.5"),
              "--merge", "exclude");
    CLI_FAILS(1, CLI("iviti-convert", checkpoint, "-o", path, "--calib", cli_folder,
                     "--base-rate=0.5"),
              "no DynamicViT", "--base-rate");
    CLI_FAILS(1, CLI("iviti-convert", checkpoint, "-o", path, "--calib", cli_folder, "--keep=0.5,0.5"),
              "not known", "--prune-at");
    CLI_FAILS(1, CLI("iviti-convert", checkpoint, "-o", path, "--calib", cli_folder, "--keep=1",
                     "--prune-at=1"),
              "--keep 1", "keeps them all");
    CLI_FAILS(1, CLI("iviti-convert", checkpoint, "-o", path, "--calib", cli_folder, "--fuse=sum"),
              "--fuse", "--keep");
    assert_int_not_equal(access(path, F_OK), 0);
}

static void checkpoints_follow_their_seed(void **state)
{
    const char *const a = cli_path("a.safetensors"), *const b = cli_path("b.safetensors");
    (void)state;
    must_succeed(CLI("tests/make-checkpoint", "--image=32", "--depth=1", "-o", a));
    must_succeed(CLI("tests/make-checkpoint", "--image=32", "--depth=1", "-o", b));
    must_succeed(cli_shell("cmp %s %s", a, b));
    must_succeed(CLI("tests/make-checkpoint", "--image=32", "--depth=1", "--seed=2", "-o", b));
    must_succeed(cli_shell("! cmp -s %s %s", a, b));
}

/* No file and one sentence, which holds both words. */
static void refuse(const char *option, const char *first, const char *second)
{
    const char *const path = cli_path("refused");
    const cli_result result = CLI("tests/make-checkpoint", option, "-o", path);
    CLI_FAILS(2, result, first, second);
    assert_int_not_equal(access(path, F_OK), 0);
}

static void impossible_shapes_are_refused(void **state)
{
    (void)state;
    refuse("--heads=5", "5 heads", "192");
    refuse("--image=225", "225", "16");
    refuse("--depth=1,2", "--depth has 2", "limit is 1");
    refuse("--seed=-1", "--seed", "0");
    const char *const path = cli_path("refused");
    CLI_FAILS(2, CLI("tests/make-checkpoint", "--stem=lvvit", "--family=swin", "-o", path), "stem",
              "ViT");
    CLI_FAILS(2, CLI("tests/make-checkpoint", "--stem=lvvit", "--patch=7", "-o", path), "stem",
              "multiple of 2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(swin_of_tinys_shape),
        cmocka_unit_test(vit_of_deits_shape),
        cmocka_unit_test(lvvits_shape),
        cmocka_unit_test(dynamicvit_of_lvvit),
        cmocka_unit_test(torchvisions_stem),
        cmocka_unit_test(strides_must_fit),
        cmocka_unit_test(dynamic_vits_shape),
        cmocka_unit_test(fewer_tokens_of_any_vit),
        cmocka_unit_test(checkpoints_follow_their_seed),
        cmocka_unit_test(impossible_shapes_are_refused),
    };
    return cmocka_run_group_tests(tests, draw_pictures, cli_teardown);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The whole road on real data, where the shared folder is at hand: a checkpoint is converted, the
 * model is described, and its accuracy stands beside that of the float network.
 */
#include "cli_run.h"

#include "cli_json.h"

static char checkpoint_path[PATH_MAX];
static char images_path[PATH_MAX];
static char labels_path[PATH_MAX];

/* Skips the test where the shared data are not at hand. */
static void need_shared_data(void)
{
    const char *const shared = getenv("IVITI_SHARED");
    const char *const source = getenv("IVITI_SOURCE");
    char folder[PATH_MAX / 2];

    if (shared != NULL) {
        snprintf(folder, sizeof(folder), "%s", shared);
    } else {
        snprintf(folder, sizeof(folder), "%s/../shared", source != NULL ? source : ".");
    }
    snprintf(checkpoint_path, PATH_MAX, "%s/models/digits_vit/timm_f32.safetensors", folder);
    snprintf(images_path, PATH_MAX, "%s/images/digits-600", folder);
    snprintf(labels_path, PATH_MAX, "%s/images/digits-600/labels.tsv", folder);
    if (access(checkpoint_path, R_OK) != 0 || access(labels_path, R_OK) != 0) {
        print_message("skipped: no shared data at %s\n", folder);
        skip();
    }
}

/* Mean and standard deviation of this network are 0.5, its head is 32 wide. */
#define OF_THE_NETWORK "--heads=2", "--mean=0.5,0.5,0.5", "--std=0.5,0.5,0.5", "--quiet"

static const char *convert(const char *name, const char *nonlinear)
{
    const char *const model = cli_path(name);
    cli_result result = CLI("iviti-convert", checkpoint_path, "-o", model, "--calib", images_path,
                            "--calib-count=64", "--nonlinear", nonlinear, OF_THE_NETWORK);

    if (result.status != 0) {
        print_error("%s\n", result.err);
    }
    assert_int_equal(result.status, 0);
    cli_free(&result);
    return model;
}

static void digits_keep_their_accuracy(void **state)
{
    static const struct {
        const char *name;
        double loss; /* of top-1, in points */
        double agreement;
    } families[] = { { "table", 0.5, 99 }, { "shift", 1.5, 97 } };

    (void)state;
    need_shared_data();
    for (size_t i = 0; i < 2; i++) {
        const char *const model = convert("digits.gguf", families[i].name);
        cli_result result =
            CLI("iviti-eval", model, "--images", images_path, "--labels", labels_path,
                "--reference", checkpoint_path, "--json", OF_THE_NETWORK);
        json_t *const object = cli_one_object(&result);
        assert_int_equal(cli_integer(object, "images"), 600);
        const double top1 = cli_number(object, "top1");
        assert_true(top1 > 97);
        assert_true(top1 >= cli_number(object, "reference_top1") - families[i].loss);
        assert_true(cli_number(object, "agreement") >= families[i].agreement);
        assert_true(cli_number(object, "cosine") >= 0.99);
        assert_true(cli_number(object, "relative_mse") <= 0.02);
        json_decref(object);
        cli_free(&result);
    }
}

static void the_model_tells_its_origin(void **state)
{
    (void)state;
    need_shared_data();
    const char *const model = convert("digits.gguf", "table");
    cli_result result = CLI("iviti-info", "--json", model);
    json_t *const object = cli_one_object(&result);
    json_t *const metadata = json_object_get(object, "metadata");
    assert_string_equal(cli_string(metadata, "iviti.source.name"), "timm_f32.safetensors");
    assert_int_equal(strlen(cli_string(metadata, "iviti.source.sha256")), 64);
    assert_string_equal(cli_string(json_object_get(object, "operators"), "softmax"), "table-u8");
    json_decref(object);
    cli_free(&result);
}

static void threads_and_instruction_sets_agree(void **state)
{
    static const char *const variants[][2] = { { "--threads=1", "--isa=best" },
                                               { "--threads=2", "--isa=best" },
                                               { "--threads=5", "--isa=best" },
                                               { "--threads=1", "--isa=ref" } };
    char picture_path[PATH_MAX + 16];
    json_t *first = NULL;

    (void)state;
    need_shared_data();
    const char *const model = convert("digits.gguf", "table");
    snprintf(picture_path, sizeof(picture_path), "%s/0000.png", images_path);
    for (size_t i = 0; i < sizeof(variants) / sizeof(variants[0]); i++) {
        cli_result result = CLI("iviti-classify", "--json", "--logits", variants[i][0],
                                variants[i][1], model, picture_path);
        json_t *const object = cli_one_object(&result);
        json_t *const logits = json_object_get(object, "logits");
        assert_int_equal(json_array_size(logits), 10);
        if (first == NULL) {
            first = json_incref(logits);
        }
        assert_true(json_equal(first, logits));
        json_decref(object);
        cli_free(&result);
    }
    json_decref(first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digits_keep_their_accuracy),
        cmocka_unit_test(the_model_tells_its_origin),
        cmocka_unit_test(threads_and_instruction_sets_agree),
    };
    return cmocka_run_group_tests(tests, cli_setup, cli_teardown);
}

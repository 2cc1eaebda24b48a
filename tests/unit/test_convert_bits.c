/* SPDX-License-Identifier: Apache-2.0
 *
 * Networks with random weights and fewer bits: mixed within a budget, chosen from codebooks, the same
 * bytes each time.
 */
#include "cli_run.h"

#include "cli_json.h"

#include <sys/stat.h>

#define PICTURES 12 /* of fewer, logits compare by chance */

/* The folder holds pictures and a checkpoint from here on. */
static int prepare(void **state)
{
    if (cli_setup(state) != 0)
        return -1;
    for (uint32_t i = 0; i < PICTURES; i++) {
        char name[32];
        snprintf(name, sizeof name, "picture-%u.png", (unsigned)i);
        cli_write_png(name, 64, 64, 11 * i);
    }
    cli_result result = CLI("tests/make-checkpoint", "--image=64", "--dim=128", "--heads=2",
                            "--depth=3", "--classes=10", "-o", cli_path("vit.safetensors"));
    const int status = result.status;
    cli_free(&result);
    result = CLI("tests/make-checkpoint", "--preset=swin-t", "--dim=16", "--depth=1,1,1,1",
                 "--heads=1,2,4,8", "--classes=10", "-o", cli_path("swin.safetensors"));
    const int swin = result.status;
    cli_free(&result);
    return status || swin ? -1 : 0;
}

static off_t bytes_of(const char *path)
{
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    return status.st_size;
}

/* The converter's object, to be released. */
static json_t *convert(const char *checkpoint, const char *model, const char *weights,
                       const char *second, const char *third)
{
    cli_result result = CLI("iviti-convert", cli_path(checkpoint), "-o", cli_path(model), "--calib",
                            cli_folder, "--json", "--quiet", weights, second, third);
    if (result.status != 0)
        fail_msg("%s", result.err);
    json_t *const object = cli_one_object(&result);
    cli_free(&result);
    return object;
}

static void expect_same_bytes(const char *a, const char *b)
{
    cli_result result = cli_shell("cmp %s %s", cli_path(a), cli_path(b));
    assert_int_equal(result.status, 0);
    cli_free(&result);
}

/* How many layers have each number of bits; those without a place in the budget are left out. */
static void count_bits(const json_t *object, int count[9])
{
    const json_t *const layers = json_object_get(object, "layers");
    memset(count, 0, 9 * sizeof *count);
    for (size_t i = 0; i < json_array_size(layers); i++) {
        const json_t *const layer = json_array_get(layers, i);
        if (json_object_get(layer, "logit_error"))
            count[json_integer_value(json_object_get(layer, "bits"))]++;
    }
}

static void mixed(const char *checkpoint)
{
    json_decref(convert(checkpoint, "3.gguf", "--weights=3", "--quiet", "--quiet"));
    json_decref(convert(checkpoint, "4.gguf", "--weights=4", "--quiet", "--quiet"));
    json_decref(convert(checkpoint, "6.gguf", "--weights=6", "--quiet", "--quiet"));
    const off_t low = bytes_of(cli_path("4.gguf")), high = bytes_of(cli_path("6.gguf"));
    static const char *const allocations[] = { "--allocation=sensitivity", "--allocation=prefix",
                                               "--allocation=random" };
    char budget[64];
    snprintf(budget, sizeof budget, "--budget-mb=%.6f", (double)(low + high) / 2e6);
    for (size_t i = 0; i < 3; i++) {
        int count[9];
        json_t *const object =
            convert(checkpoint, "mixed.gguf", "--weights=mixed", budget, allocations[i]);
        count_bits(object, count);
        assert_true(count[3] + count[4] + count[6] + count[8] >= 12);
        assert_true(i == 0 || (count[4] > 0 && count[6] > 0 && count[3] + count[8] == 0));
        assert_int_equal(cli_number(object, "bytes"), bytes_of(cli_path("mixed.gguf")));
        assert_in_range(bytes_of(cli_path("mixed.gguf")), low, (low + high) / 2);
        json_decref(object);
        json_decref(convert(checkpoint, "again.gguf", "--weights=mixed", budget, allocations[i]));
        expect_same_bytes("mixed.gguf", "again.gguf");
    }

    /* The smallest possible size is named, and possible. */
    const cli_result result =
        CLI("iviti-convert", cli_path(checkpoint), "-o", cli_path("none.gguf"), "--calib",
            cli_folder, "--quiet", "--weights=mixed", "--budget-mb=0.001");
    CLI_FAILS(1, result, "0.001 MB is too small", "the smallest possible file has");
    assert_int_not_equal(access(cli_path("none.gguf"), F_OK), 0);
}

static void vit_mixed(void **state)
{
    (void)state;
    mixed("vit.safetensors");
}

static void swin_mixed(void **state)
{
    (void)state;
    mixed("swin.safetensors");
}

/* As large as with 4 bits and a codebook for each layer, and nearer to the float network. */
static void codebooks(void **state)
{
    (void)state;
    static const char *const checkpoints[] = { "vit.safetensors", "swin.safetensors" };
    for (size_t i = 0; i < 2; i++) {
        json_t *const plain =
            convert(checkpoints[i], "plain.gguf", "--weights=4", "--recipe=mse", "--quiet");
        json_t *const coded = convert(checkpoints[i], "coded.gguf", "--weights=codebook16",
                                      "--recipe=mse", "--quiet");
        assert_true(cli_number(coded, "relative_mse") < cli_number(plain, "relative_mse"));
        assert_in_range(bytes_of(cli_path("coded.gguf")), bytes_of(cli_path("plain.gguf")),
                        bytes_of(cli_path("plain.gguf")) + 16 * 19 + 256);
        json_decref(coded);
        json_decref(plain);
        json_decref(convert(checkpoints[i], "again.gguf", "--weights=codebook16", "--recipe=mse",
                            "--quiet"));
        expect_same_bytes("coded.gguf", "again.gguf");
    }
}

/* Activations of 12 bits bring the network nearer to the float one, in each block. */
static void wide(void **state)
{
    (void)state;
    static const char *const checkpoints[] = { "vit.safetensors", "swin.safetensors" };
    for (size_t i = 0; i < 2; i++) {
        json_t *const plain =
            convert(checkpoints[i], "plain.gguf", "--recipe=compensate", "--quiet", "--quiet");
        json_t *const first =
            convert(checkpoints[i], "first.gguf", "--acts=12", "--wide-mlps=1", "--quiet");
        json_t *const all = convert(checkpoints[i], "wide.gguf", "--acts=12", "--quiet", "--quiet");
        assert_true(cli_number(all, "relative_mse") < cli_number(first, "relative_mse"));
        assert_true(cli_number(all, "relative_mse") < cli_number(plain, "relative_mse") / 1.2);
        assert_true(bytes_of(cli_path("first.gguf")) < bytes_of(cli_path("wide.gguf")));
        json_decref(plain);
        json_decref(first);
        json_decref(all);
        json_decref(convert(checkpoints[i], "again.gguf", "--acts=12", "--quiet", "--quiet"));
        expect_same_bytes("wide.gguf", "again.gguf");
    }
    json_decref(convert("vit.safetensors", "some.gguf", "--acts=12", "--wide-mlps=2", "--quiet"));
    cli_result result = CLI("iviti-info", cli_path("some.gguf"), "--json");
    json_t *const object = cli_one_object(&result);
    const json_t *const bits = json_object_get(object, "activation_bits");
    assert_int_equal(json_array_size(bits), 15);
    for (size_t i = 0; i < 15; i++)
        assert_int_equal(json_integer_value(json_array_get(bits, i)),
                         i % 5 == 2 || (i < 10 && i % 5 > 2) ? 12 : 8);
    json_decref(object);
    cli_free(&result);
    json_decref(convert("vit.safetensors", "mixed.gguf", "--acts=12", "--weights=mixed",
                        "--budget-mb=0.65"));
}

/* The price of integers alone is small beside that of 3 bits. */
static void simulated(void **state)
{
    (void)state;
    json_t *const object =
        convert("vit.safetensors", "simulated.gguf", "--weights=3", "--simulate", "--quiet");
    json_t *const simulation = json_object_get(object, "simulated");
    assert_non_null(simulation);
    const double integer = cli_number(object, "relative_mse");
    const double real = cli_number(simulation, "relative_mse");
    assert_true(integer > 0 && real > 0 && real < 2 * integer && integer < 2 * real);
    json_decref(object);
}

static void options_that_belong_together(void **state)
{
    (void)state;
    CLI_FAILS(2, CLI("iviti-convert", "x", "-o", "y", "--weights=mixed"), "--weights mixed",
              "--budget-mb");
    CLI_FAILS(2, CLI("iviti-convert", "x", "-o", "y", "--simulate"), "--simulate", "--calib");
    CLI_FAILS(2, CLI("iviti-convert", "x", "-o", "y", "--wide-mlps=2"), "--wide-mlps N",
              "--acts 12");
    CLI_FAILS(2, CLI("iviti-convert", "x", "-o", "y", "--acts=12", "--calib=d", "--simulate"),
              "--simulate", "12 bits");
    CLI_FAILS(1,
              CLI("iviti-convert", cli_path("vit.safetensors"), "-o", cli_path("y"), "--calib",
                  cli_folder, "--acts=12", "--nonlinear=shift", "--quiet"),
              "12 bits", "need softmax and GELU by tables");
    CLI_FAILS(1,
              CLI("iviti-convert", cli_path("vit.safetensors"), "-o", cli_path("y"), "--calib",
                  cli_folder, "--acts=12", "--recipe=reconstruct", "--quiet"),
              "12 bits", "reconstruction");
    assert_int_not_equal(access(cli_path("y"), F_OK), 0);
    CLI_FAILS(2, CLI("iviti-convert", "x", "-o", "y", "--weights=codebook16", "--recipe=reconstruct"),
              "reconstruct", "codebook16");
    CLI_FAILS(2, CLI("iviti-convert", "x", "-o", "y", "--budget-mb=3"), "--weights mixed",
              "--budget-mb");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vit_mixed), cmocka_unit_test(swin_mixed),
        cmocka_unit_test(codebooks), cmocka_unit_test(wide),
        cmocka_unit_test(simulated), cmocka_unit_test(options_that_belong_together),
    };
    return cmocka_run_group_tests(tests, prepare, cli_teardown);
}

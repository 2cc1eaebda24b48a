/* SPDX-License-Identifier: Apache-2.0
 *
 * iviti-eval: its figures are those that a plain loop over the library and the float network gives,
 * whatever the number of threads.
 */
#include "cli_run.h"

#include <math.h>

#include "cli_json.h"
#include "cli_model.h"

#include "iviti/iviti.h"
#include "network/dialect.h"
#include "network/forward.h"
#include "picture/picture.h"

#define CLASSES  CLI_MODEL_CLASSES
#define IMAGE    CLI_MODEL_IMAGE
#define PICTURES 23
#define DIM      16u
#define HIDDEN   32u
#define PATCH    (IMAGE / 2)

/* ---- a float checkpoint of random weights
 * ------------------------------------------------------------ */

typedef struct tensor {
    const char *name;
    uint32_t shape[4]; /* ends with 0 */
    float spread;
    float centre;
} tensor;

/* One block under timm's names; only the picture and the classes are those of the integer model. */
static const tensor TENSORS[] = {
    { "cls_token", { 1, 1, DIM }, 1, 0 },
    { "pos_embed", { 1, 5, DIM }, 1, 0 },
    { "patch_embed.proj.weight", { DIM, 3, PATCH, PATCH }, 0.2f, 0 },
    { "patch_embed.proj.bias", { DIM }, 0.1f, 0 },
    { "blocks.0.norm1.weight", { DIM }, 0.2f, 1 },
    { "blocks.0.norm1.bias", { DIM }, 0.1f, 0 },
    { "blocks.0.attn.qkv.weight", { 3 * DIM, DIM }, 0.5f, 0 },
    { "blocks.0.attn.qkv.bias", { 3 * DIM }, 0.1f, 0 },
    { "blocks.0.attn.proj.weight", { DIM, DIM }, 0.5f, 0 },
    { "blocks.0.attn.proj.bias", { DIM }, 0.1f, 0 },
    { "blocks.0.norm2.weight", { DIM }, 0.2f, 1 },
    { "blocks.0.norm2.bias", { DIM }, 0.1f, 0 },
    { "blocks.0.mlp.fc1.weight", { HIDDEN, DIM }, 0.5f, 0 },
    { "blocks.0.mlp.fc1.bias", { HIDDEN }, 0.1f, 0 },
    { "blocks.0.mlp.fc2.weight", { DIM, HIDDEN }, 0.5f, 0 },
    { "blocks.0.mlp.fc2.bias", { DIM }, 0.1f, 0 },
    { "norm.weight", { DIM }, 0.2f, 1 },
    { "norm.bias", { DIM }, 0.1f, 0 },
    { "head.weight", { CLASSES, DIM }, 1, 0 },
    { "head.bias", { CLASSES }, 0.1f, 0 },
};
#define TENSOR_COUNT (sizeof(TENSORS) / sizeof(TENSORS[0]))

static size_t elements(const tensor *t, uint32_t classes)
{
    size_t count = 1;

    for (size_t i = 0; i < 4 && t->shape[i] != 0; i++) {
        count *=
            t->shape[i] == CLASSES && strncmp(t->name, "head.", 5) == 0 ? classes : t->shape[i];
    }
    return count;
}

/* safetensors: length of the header, the header, the floats. */
static const char *write_checkpoint(const char *name, uint32_t classes)
{
    char header[8192];
    size_t used = 0;
    size_t offset = 0;
    uint8_t length[8] = { 0 };
    uint32_t state = 12345;
    const char *const path = cli_path(name);
    FILE *const file = fopen(path, "wb");

    assert_non_null(file);
    header[used++] = '{';
    for (size_t i = 0; i < TENSOR_COUNT; i++) {
        const tensor *const t = &TENSORS[i];
        const size_t bytes = 4 * elements(t, classes);
        used +=
            (size_t)snprintf(header + used, sizeof(header) - used,
                             "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[", i > 0 ? "," : "", t->name);
        for (size_t d = 0; d < 4 && t->shape[d] != 0; d++) {
            const bool is_classes = d == 0 && strncmp(t->name, "head.", 5) == 0;
            used += (size_t)snprintf(header + used, sizeof(header) - used, "%s%u", d > 0 ? "," : "",
                                     (unsigned)(is_classes ? classes : t->shape[d]));
        }
        used += (size_t)snprintf(header + used, sizeof(header) - used,
                                 "],\"data_offsets\":[%zu,%zu]}", offset, offset + bytes);
        offset += bytes;
    }
    header[used++] = '}';
    while (used % 8 != 0) {
        header[used++] = ' ';
    }
    for (size_t i = 0; i < 8; i++) {
        length[i] = (uint8_t)(used >> (8 * i));
    }
    fwrite(length, 1, 8, file);
    fwrite(header, 1, used, file);
    for (size_t i = 0; i < TENSOR_COUNT; i++) {
        for (size_t e = 0; e < elements(&TENSORS[i], classes); e++) {
            state = state * 1664525u + 1013904223u;
            const float unit = (float)(int32_t)state / 2147483648.0f;
            const float value = TENSORS[i].centre + TENSORS[i].spread * unit;
            fwrite(&value, sizeof(value), 1, file);
        }
    }
    assert_int_equal(fclose(file), 0);
    return path;
}

/* ---- pictures and the figures that a plain loop gives
 * -------------------------------------------------- */

static uint32_t label_of(unsigned number)
{
    return (number * 7 + 1) % CLASSES;
}

/* Writes the pictures and their labels; returns the path of the labels. */
static const char *write_pictures(void)
{
    char labels[PICTURES * 32] = "";
    char name[32];

    for (unsigned i = 0; i < PICTURES; i++) {
        snprintf(name, sizeof(name), "p%u.png", i);
        (void)cli_write_png(name, IMAGE + i % 5, IMAGE + 40 * (i % 3), 1000 * i);
        const size_t used = strlen(labels);
        snprintf(labels + used, sizeof(labels) - used, "%s\t%u\n", name, (unsigned)label_of(i));
    }
    return cli_write_text("labels.tsv", labels);
}

typedef struct figures {
    double top1, top5, reference_top1, agreement, cosine, relative_mse;
} figures;

static unsigned rank_in(const double *logits, uint32_t label)
{
    unsigned rank = 0;

    for (uint32_t i = 0; i < CLASSES; i++) {
        rank += logits[i] > logits[label] || (i < label && !(logits[i] < logits[label]));
    }
    return rank;
}

static void add_picture(figures *f, const double *own, const double *wanted, uint32_t label,
                        double sums[2])
{
    double dot = 0;
    double own2 = 0;
    double wanted2 = 0;

    for (uint32_t i = 0; i < CLASSES; i++) {
        dot += own[i] * wanted[i];
        own2 += own[i] * own[i];
        wanted2 += wanted[i] * wanted[i];
        sums[0] += (own[i] - wanted[i]) * (own[i] - wanted[i]);
        if (rank_in(own, i) == 0 && rank_in(wanted, i) == 0) {
            f->agreement += 1;
        }
    }
    sums[1] += wanted2;
    f->cosine += dot / sqrt(own2 * wanted2);
    f->top1 += rank_in(own, label) == 0;
    f->top5 += rank_in(own, label) < 5;
    f->reference_top1 += rank_in(wanted, label) == 0;
}

static void compute(const char *model_path, const char *checkpoint_path, unsigned count,
                    figures *out)
{
    const network_options options = { .heads = 2 };
    iviti_model *model = NULL;
    iviti_session *session = NULL;
    iviti_model_info info;
    checkpoint *file = NULL;
    network *n = NULL;
    picture image;
    char name[32];
    double sums[2] = { 0, 0 };

    *out = (figures){ 0 };
    assert_int_equal(iviti_model_load(model_path, NULL, &model), IVITI_OK);
    assert_int_equal(iviti_session_create(model, NULL, &session), IVITI_OK);
    iviti_model_describe(model, &info);
    assert_true(checkpoint_open(checkpoint_path, &file, NULL));
    assert_true(network_from_checkpoint(file, &options, &n, NULL));
    for (unsigned p = 0; p < count; p++) {
        double own[CLASSES];
        double wanted[CLASSES];
        float logits[CLASSES];
        snprintf(name, sizeof(name), "p%u.png", p);
        assert_true(picture_load(cli_path(name), &image, NULL));
        const iviti_image view = { image.pixels, image.width, image.height,
                                   (ptrdiff_t)image.width * 3 };
        assert_int_equal(iviti_session_run(session, &view), IVITI_OK);
        assert_true(network_forward(n, iviti_session_pixels(session), 1, 1, logits, NULL));
        for (uint32_t i = 0; i < CLASSES; i++) {
            own[i] = ldexp((double)iviti_session_logits(session)[i] * info.logits_multiplier,
                           -(int)info.logits_shift);
            wanted[i] = (double)logits[i];
        }
        add_picture(out, own, wanted, label_of(p), sums);
        picture_free(&image);
    }
    out->relative_mse = sums[0] / sums[1];
    out->cosine /= count;
    out->top1 *= 100.0 / count;
    out->top5 *= 100.0 / count;
    out->reference_top1 *= 100.0 / count;
    out->agreement *= 100.0 / count;
    network_free(n);
    checkpoint_close(file);
    iviti_session_free(session);
    iviti_model_free(model);
}

/* Printed with that many places. */
static void assert_near(double printed, double wanted, double unit)
{
    if (fabs(printed - wanted) > 0.5001 * unit) {
        print_error("%.9g printed, %.9g computed\n", printed, wanted);
    }
    assert_true(fabs(printed - wanted) <= 0.5001 * unit);
}

/* ---- tests
 * ---------------------------------------------------------------------------------------------- */

static void figures_are_those_of_a_plain_loop(void **state)
{
    const char *const model = cli_write_model("model.gguf");
    const char *const labels = write_pictures();
    const char *const reference = write_checkpoint("float.safetensors", CLASSES);
    static const char *const threads[] = { "--threads=1", "--threads=2", "--threads=64" };
    figures f;

    (void)state;
    compute(model, reference, PICTURES, &f);
    for (size_t t = 0; t < sizeof(threads) / sizeof(threads[0]); t++) {
        cli_result result =
            CLI("iviti-eval", model, "--images", cli_folder, "--labels", labels, "--reference",
                reference, "--heads", "2", "--json", "--quiet", threads[t]);
        json_t *const object = cli_one_object(&result);
        assert_string_equal(result.err, "");
        CLI_KEYS(object, "images", "top1", "top5", "reference_top1", "agreement", "cosine",
                 "relative_mse", "ms_per_image");
        assert_int_equal(cli_integer(object, "images"), PICTURES);
        assert_near(cli_number(object, "top1"), f.top1, 0.01);
        assert_near(cli_number(object, "top5"), f.top5, 0.01);
        assert_near(cli_number(object, "reference_top1"), f.reference_top1, 0.01);
        assert_near(cli_number(object, "agreement"), f.agreement, 0.01);
        assert_near(cli_number(object, "cosine"), f.cosine, 1e-6);
        assert_near(cli_number(object, "relative_mse"), f.relative_mse, 1e-5 * f.relative_mse);
        assert_true(cli_number(object, "ms_per_image") > 0);
        json_decref(object);
        cli_free(&result);
    }
}

static void without_reference_and_with_a_limit(void **state)
{
    const char *const model = cli_write_model("model.gguf");
    const char *const labels = write_pictures();
    const char *const reference = write_checkpoint("float.safetensors", CLASSES);
    figures f;

    (void)state;
    compute(model, reference, 11, &f);
    cli_result result = CLI("iviti-eval", "--json", "--limit=11", "--images", cli_folder,
                            "--labels", labels, model);
    json_t *const object = cli_one_object(&result);
    CLI_KEYS(object, "images", "top1", "top5", "ms_per_image");
    assert_int_equal(cli_integer(object, "images"), 11);
    assert_near(cli_number(object, "top1"), f.top1, 0.01);
    assert_near(cli_number(object, "top5"), f.top5, 0.01);
    json_decref(object);
    cli_free(&result);
}

static void people_get_a_table(void **state)
{
    const char *const model = cli_write_model("model.gguf");
    const char *const labels = write_pictures();
    const char *const reference = write_checkpoint("float.safetensors", CLASSES);

    (void)state;
    cli_result result = CLI("iviti-eval", model, "--images", cli_folder, "--labels", labels);
    assert_int_equal(result.status, 0);
    cli_assert_holds(result.out, "23 pictures\n");
    cli_assert_holds(result.out, "\n  top-1 ");
    assert_null(strstr(result.out, "agreement"));
    cli_free(&result);
    result = CLI("iviti-eval", model, "--images", cli_folder, "--labels", labels, "--reference",
                 reference, "--heads=2");
    assert_int_equal(result.status, 0);
    cli_assert_holds(result.out, "\n  agreement ");
    cli_free(&result);
}

static void what_cannot_be_read_is_told(void **state)
{
    const char *const model = cli_write_model("model.gguf");
    const char *const good = write_pictures();
    const char *const other = write_checkpoint("other.safetensors", CLASSES + 1);

    (void)state;
    const char *const labels = cli_write_text("some.tsv", "p1.png\t1\nabsent.png\t0\np2.png\t0\n");
    CLI_FAILS(1, CLI("iviti-eval", model, "--images", cli_folder, "--labels", labels),
              "absent.png");
    const char *const beyond = cli_write_text("beyond.tsv", "p1.png\t65536\n");
    CLI_FAILS(1, CLI("iviti-eval", "--json", model, "--images", cli_folder, "--labels", beyond),
              "line 1 has class 65536");
    CLI_FAILS(1, CLI("iviti-eval", model, "--images", "/absent", "--labels", good), "/absent/p0");
    CLI_FAILS(1, CLI("iviti-eval", model, "--images", cli_folder, "--labels", cli_folder),
              cli_folder);
    CLI_FAILS(1,
              CLI("iviti-eval", model, "--images", cli_folder, "--labels", good, "--reference",
                  cli_path("none.pth")),
              "none.pth");
    CLI_FAILS(
        1, CLI("iviti-eval", model, "--images", cli_folder, "--labels", good, "--reference", model),
        "model.gguf", "not a checkpoint");
    CLI_FAILS(1,
              CLI("iviti-eval", model, "--images", cli_folder, "--labels", good, "--reference",
                  other, "--heads=2"),
              "other.safetensors", "classes, but the model has");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_are_those_of_a_plain_loop),
        cmocka_unit_test(without_reference_and_with_a_limit),
        cmocka_unit_test(people_get_a_table),
        cmocka_unit_test(what_cannot_be_read_is_told),
    };
    return cmocka_run_group_tests(tests, cli_setup, cli_teardown);
}

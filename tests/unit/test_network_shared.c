/* SPDX-License-Identifier: Apache-2.0
 *
 * Trained checkpoints of every container and dialect, where the folder of shared data is at hand:
 * their float logits against those of the frameworks that the networks were trained with.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/image.h"
#include "network/dialect.h"
#include "network/forward.h"
#include "picture/folder.h"
#include "picture/picture.h"

#define PATH_BYTES 4096

static const char *shared_path(char text[PATH_BYTES], const char *file)
{
    const char *shared = getenv("IVITI_SHARED"), *source = getenv("IVITI_SOURCE");
    if (shared != NULL)
        snprintf(text, PATH_BYTES, "%s/%s", shared, file);
    else
        snprintf(text, PATH_BYTES, "%s/../shared/%s", source != NULL ? source : "..", file);
    return text;
}

static void skip_without(const char *file)
{
    char path[PATH_BYTES];
    FILE *const f = fopen(shared_path(path, file), "rb");
    if (f == NULL) {
        print_message("skipped: there is no %s\n", path);
        skip();
    }
    fclose(f);
}

static checkpoint *open_shared(const char *file)
{
    char path[PATH_BYTES];
    report r = { "" };
    checkpoint *c = NULL;
    if (!checkpoint_open(shared_path(path, file), &c, &r))
        fail_msg("%s", r.text);
    return c;
}

static network *map_shared(const char *file, const network_options *options)
{
    report r = { "" };
    network *n = NULL;
    checkpoint *const c = open_shared(file);
    if (!network_from_checkpoint(c, options, &n, &r))
        fail_msg("%s", r.text);
    checkpoint_close(c);
    return n;
}

/* Logits (pictures, classes) of one network. */
typedef struct logits {
    size_t pictures, classes;
    float *value;
} logits;

static logits expected_logits(const char *file)
{
    checkpoint *const c = open_shared(file);
    const checkpoint_tensor *t = checkpoint_find(c, "logits");
    assert_non_null(t);
    logits l = { (size_t)t->shape[0], (size_t)t->shape[1], malloc(t->count * sizeof(float)) };
    assert_non_null(l.value);
    checkpoint_to_float(t, l.value);
    checkpoint_close(c);
    return l;
}

static logits compute(const network *n, const uint8_t *pixels, size_t count)
{
    report r = { "" };
    const size_t classes = n->geometry.classes;
    logits l = { count, classes, malloc(count * classes * sizeof(float)) };
    assert_non_null(l.value);
    if (!network_forward(n, pixels, count, 2, l.value, &r))
        fail_msg("%s", r.text);
    return l;
}

/* `every` picture-th of a folder, as the network sees them: (*count, height, width, 3). */
static uint8_t *load_pictures(const char *directory, const network *n, size_t every, size_t *count)
{
    char path[PATH_BYTES];
    report r = { "" };
    folder f;
    const iviti_geometry *g = &n->geometry;
    const size_t bytes = (size_t)g->image_width * g->image_height * 3;
    const size_t scratch_bytes = iviti_fit_scratch(&g->preprocess, g->image_width, g->image_height);
    if (!folder_open(shared_path(path, directory), &f, &r))
        fail_msg("%s", r.text);
    *count = (f.count + every - 1) / every;
    uint8_t *const pixels = malloc(*count * bytes), *const scratch = malloc(scratch_bytes + 1);
    assert_non_null(pixels);
    assert_non_null(scratch);
    for (size_t i = 0; i < *count; i++) {
        picture p;
        if (!picture_load(f.paths[i * every], &p, &r))
            fail_msg("%s", r.text);
        const iviti_image image = { p.pixels, p.width, p.height, 3 * (ptrdiff_t)p.width };
        assert_int_equal(iviti_fit_image(&g->preprocess, g->image_width, g->image_height, &image,
                                         pixels + i * bytes, scratch, scratch_bytes),
                         IVITI_OK);
        picture_free(&p);
    }
    free(scratch);
    folder_free(&f);
    return pixels;
}

static size_t best(const float *row, size_t classes)
{
    size_t index = 0;
    for (size_t i = 1; i < classes; i++)
        if (row[i] > row[index])
            index = i;
    return index;
}

/* How many pictures have the same first class; `every` expected row belongs to a computed one. */
static size_t same_class(logits expected, logits got, size_t every)
{
    size_t same = 0;
    for (size_t i = 0; i < got.pictures; i++)
        same += best(expected.value + i * every * got.classes, got.classes) ==
                best(got.value + i * got.classes, got.classes);
    return same;
}

static void within(const char *file, logits expected, logits got, double tolerance)
{
    double most = 0, worst = 0;
    assert_int_equal(expected.classes, got.classes);
    for (size_t i = 0; i < got.pictures * got.classes; i++) {
        most = fmax(most, fabs((double)expected.value[i]));
        worst = fmax(worst, fabs((double)expected.value[i] - (double)got.value[i]));
    }
    assert_true(most > 1);
    if (worst > tolerance * most)
        fail_msg("%s: logits differ by %g of %g", file, worst, most);
    print_message("%s: logits differ by %.1e of %.1f\n", file, worst, most);
}

/* All files of one network: F32 ones give the very same bits. */
static void check_files(const char *const *files, size_t count, const char *expected_file,
                        const char *pictures, const network_options *options)
{
    logits expected = expected_logits(expected_file), first = { 0, 0, NULL };
    uint8_t *pixels = NULL;
    for (size_t i = 0; i < count; i++) {
        network *const n = map_shared(files[i], options);
        if (pixels == NULL) {
            size_t loaded = 0;
            pixels = load_pictures(pictures, n, 1, &loaded);
            assert_int_equal(loaded, expected.pictures);
        }
        const logits got = compute(n, pixels, expected.pictures);
        if (strstr(files[i], "16.") != NULL) {
            assert_true(same_class(expected, got, 1) * 100 >= got.pictures * 99);
        } else {
            within(files[i], expected, got, 1e-5);
            if (first.value == NULL)
                first = got;
            assert_memory_equal(first.value, got.value, got.pictures * got.classes * sizeof(float));
        }
        if (got.value != first.value)
            free(got.value);
        network_free(n);
    }
    free(pixels);
    free(first.value);
    free(expected.value);
}

#define COUNT(files) (sizeof(files) / sizeof *(files))

static void digits_in_every_container_and_dialect(void **state)
{
    (void)state;
    static const char *const files[] = {
        "models/digits_vit/timm_f32.safetensors",
        "models/digits_vit/huggingface_f32.safetensors",
        "models/digits_vit/torchvision_state_dict.pth",
        "models/digits_vit/google_augreg.npz",
        "models/digits_vit/timm_state_dict.pth",
        "models/digits_vit/timm_model_dict.pth",
        "models/digits_vit/timm_module_prefix.pth",
        "models/digits_vit/timm_legacy_format.pth",
        "models/digits_vit/ivit_checkpoint.pth.tar",
        "models/digits_vit/timm_f16.safetensors",
        "models/digits_vit/timm_bf16.safetensors",
    };
    skip_without("golden/models/digits_vit_fp32_logits.safetensors");
    const network_options options = { .heads = 2, .preset = "digits", .epsilon = 1e-6 };
    check_files(files, COUNT(files), "golden/models/digits_vit_fp32_logits.safetensors",
                "images/digits-600", &options);
}

static void distilled_digits(void **state)
{
    (void)state;
    static const char *const files[] = { "models/digits_vit/deit_distilled_f32.safetensors" };
    skip_without("golden/models/digits_vit_distilled_fp32_logits.safetensors");
    check_files(files, 1, "golden/models/digits_vit_distilled_fp32_logits.safetensors",
                "images/digits-600", &(network_options){ .preset = "digits" });
}

static void swin_in_every_dialect(void **state)
{
    (void)state;
    static const char *const files[] = {
        "models/cifar10_swin/microsoft_f32.safetensors",
        "models/cifar10_swin/microsoft_model_dict.pth",
        "models/cifar10_swin/timm_new_f32.safetensors",
        "models/cifar10_swin/huggingface_f32.safetensors",
        "models/cifar10_swin/torchvision_state_dict.pth",
        "models/cifar10_swin/ivit_checkpoint.pth.tar",
    };
    skip_without("golden/models/cifar10_swin_fp32_logits.safetensors");
    check_files(files, COUNT(files), "golden/models/cifar10_swin_fp32_logits.safetensors",
                "images/cifar10-1000", &(network_options){ .image = 32 });
}

#define DEIT        "models/deit_tiny/deit_tiny_patch16_224.safetensors"
#define DEIT_LOGITS "golden/models/deit_tiny_fp32_logits.safetensors"

static void deit_on_given_pixels(void **state)
{
    (void)state;
    skip_without(DEIT_LOGITS);
    logits expected = expected_logits(DEIT_LOGITS);
    network *const n = map_shared(DEIT, NULL);
    checkpoint *const c = open_shared("golden/models/pillow_resize_crop_8.safetensors");
    const checkpoint_tensor *pixels = checkpoint_find(c, "pixels");
    assert_non_null(pixels);
    assert_string_equal(n->preset, "deit");
    assert_int_equal(pixels->count, 8 * 224 * 224 * 3);
    logits got = compute(n, pixels->data, 8);
    within(DEIT, expected, got, 1e-5);
    assert_true(network_is_ivit(c) == false);
    checkpoint_close(c);
    network_free(n);
    free(got.value);
    free(expected.value);
}

/* JPEG decoders differ by a level or two, so classes are compared and not logits. */
static void deit_on_photographs(void **state)
{
    (void)state;
    skip_without(DEIT_LOGITS);
    enum { EVERY = 10 };
    size_t count = 0;
    logits expected = expected_logits(DEIT_LOGITS);
    network *const n = map_shared("models/deit_tiny/ivit_checkpoint.pth.tar", NULL);
    uint8_t *const pixels = load_pictures("images/imagenet-500", n, EVERY, &count);
    logits got = compute(n, pixels, count);
    assert_int_equal(count, 50);
    assert_true(same_class(expected, got, EVERY) + 1 >= count);
    network_free(n);
    free(pixels);
    free(got.value);
    free(expected.value);
}

#define DYNAMIC_LOGITS "golden/models/digits_dynamicvit_fp32_logits.safetensors"

/* Kept sets as places among the tokens that enter each stage; ours are numbers of patches. */
static void same_kept(const network *n, const uint32_t *kept, size_t pictures)
{
    const iviti_prune *p = &n->geometry.prune;
    checkpoint *const c = open_shared(DYNAMIC_LOGITS);
    for (size_t i = 0; i < pictures; i++) {
        const uint32_t *entering = NULL;
        for (uint32_t k = 0; k < p->stages; k++) {
            char name[16];
            snprintf(name, sizeof name, "kept%u", k + 1);
            const checkpoint_tensor *t = checkpoint_find(c, name);
            assert_non_null(t);
            assert_int_equal(t->type, CHECKPOINT_I32);
            assert_int_equal(t->shape[1], p->kept[k]);
            for (size_t j = 0; j < p->kept[k]; j++) {
                int32_t place;
                memcpy(&place, (const char *)t->data + 4 * (i * p->kept[k] + j), sizeof place);
                assert_int_equal(kept[j], entering ? entering[place] : (uint32_t)place);
            }
            entering = kept;
            kept += p->kept[k];
        }
    }
    checkpoint_close(c);
}

static void dynamic_digits(void **state)
{
    (void)state;
    static const char file[] = "models/digits_dynamicvit/digits_dynamicvit.pth";
    skip_without(DYNAMIC_LOGITS);
    network_options options = { .heads = 2, .preset = "digits", .epsilon = 1e-6, .base_rate = 0.7,
                                .prune_at = { 1, 2, 3 }, .prune_at_count = 3 };
    logits expected = expected_logits(DYNAMIC_LOGITS);
    network *const n = map_shared(file, &options);
    report r = { "" };
    size_t count = 0;
    assert_int_equal(n->geometry.prune.kept[0], 11);
    assert_int_equal(n->geometry.prune.kept[1], 7);
    assert_int_equal(n->geometry.prune.kept[2], 5);
    uint8_t *const pixels = load_pictures("images/digits-600", n, 1, &count);
    assert_int_equal(count, expected.pictures);
    logits got = { count, n->geometry.classes, malloc(count * n->geometry.classes * sizeof(float)) };
    uint32_t *const kept = malloc(count * network_kept_numbers(n) * sizeof *kept);
    assert_non_null(got.value);
    assert_non_null(kept);
    if (!network_forward_kept(n, pixels, count, 2, got.value, kept, &r))
        fail_msg("%s", r.text);
    within(file, expected, got, 1e-5);
    same_kept(n, kept, count);
    network_free(n);

    options = (network_options){ .heads = 2, .preset = "digits", .epsilon = 1e-6 };
    network *const inferred = map_shared(file, &options); /* published: 0.7, after each quarter */
    logits again = compute(inferred, pixels, count);
    assert_memory_equal(again.value, got.value, count * got.classes * sizeof(float));
    network_free(inferred);
    free(again.value);
    free(kept);
    free(pixels);
    free(got.value);
    free(expected.value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digits_in_every_container_and_dialect),
        cmocka_unit_test(distilled_digits),
        cmocka_unit_test(swin_in_every_dialect),
        cmocka_unit_test(dynamic_digits),
        cmocka_unit_test(deit_on_given_pixels),
        cmocka_unit_test(deit_on_photographs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

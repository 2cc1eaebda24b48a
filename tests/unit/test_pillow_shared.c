/* SPDX-License-Identifier: Apache-2.0
 *
 * Photographs, where the shared data are at hand: what the model gets is what Pillow gives, but for
 * the JPEG decoder, whose pixels differ by a level here and there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "checkpoint/checkpoint.h"
#include "image/image.h"
#include "picture/folder.h"
#include "picture/picture.h"
#include "pillow_oracle.h"

enum { PHOTOGRAPHS = 8, SIDE = 224, PIXELS = SIDE * SIDE * 3 };

static const iviti_preprocess usual = { IVITI_FIT_CROP, 256, IVITI_BICUBIC };

/* The path of a shared file; skips the test where the folder is absent. */
static const char *shared_path(const char *name)
{
    static char path[4096];
    const char *const shared = getenv("IVITI_SHARED"), *const source = getenv("IVITI_SOURCE");
    if (shared)
        snprintf(path, sizeof path, "%s/%s", shared, name);
    else
        snprintf(path, sizeof path, "%s/../shared/%s", source ? source : "..", name);
    FILE *const file = fopen(path, "rb");
    if (!file) {
        print_message("skipped: no %s\n", path);
        skip();
    }
    fclose(file);
    return path;
}

static void fit(const picture *p, uint8_t *out)
{
    const iviti_image in = { p->pixels, p->width, p->height, (ptrdiff_t)3 * p->width };
    const size_t size = iviti_fit_scratch(&usual, SIDE, SIDE);
    void *const scratch = malloc(size);
    assert_non_null(scratch);
    assert_int_equal(iviti_fit_image(&usual, SIDE, SIDE, &in, out, scratch, size), IVITI_OK);
    free(scratch);
}

/* Bit for bit the crop of the oracle's resize of the same pixels. */
static void assert_oracle_agrees(const picture *p, const uint8_t *pixels)
{
    iviti_resample job;
    iviti_fit_place(&usual, SIDE, SIDE, p->width, p->height, &job);
    uint8_t *const whole =
        oracle_resized(p->pixels, p->width, p->height, job.x.out, job.y.out, job.interpolation);
    for (size_t y = 0; y < SIDE; y++)
        assert_memory_equal(pixels + y * SIDE * 3,
                            whole + ((job.y.first + y) * job.x.out + job.x.first) * 3, SIDE * 3);
    free(whole);
}

static void photographs_become_what_pillow_makes_of_them(void **state)
{
    checkpoint *golden;
    folder f;
    report r = { "" };
    (void)state;
    if (!checkpoint_open(shared_path("golden/models/pillow_resize_crop_8.safetensors"), &golden,
                         &r))
        fail_msg("%s", r.text);
    const checkpoint_tensor *const want = checkpoint_find(golden, "pixels");
    assert_non_null(want);
    assert_int_equal(want->type, CHECKPOINT_U8);
    assert_int_equal(want->count, PHOTOGRAPHS * PIXELS);

    shared_path("images/imagenet-500/labels.tsv");
    if (!folder_open(shared_path("images/imagenet-500"), &f, &r))
        fail_msg("%s", r.text);
    assert_true(f.count >= PHOTOGRAPHS);
    uint8_t *const pixels = malloc(PIXELS);
    assert_non_null(pixels);
    for (size_t i = 0; i < PHOTOGRAPHS; i++) {
        const uint8_t *const pillow = (const uint8_t *)want->data + i * PIXELS;
        uint64_t difference = 0, differing = 0;
        picture p;
        if (!picture_load(f.paths[i], &p, &r))
            fail_msg("%s", r.text);
        fit(&p, pixels);
        assert_oracle_agrees(&p, pixels);
        for (size_t k = 0; k < PIXELS; k++) {
            const int d = pixels[k] - pillow[k];
            assert_in_range(d + 4, 0, 8);
            difference += (uint64_t)(d < 0 ? -d : d);
            differing += d != 0;
        }
        print_message("%s: mean difference %llu / %d, %llu values differ\n", f.names[i],
                      (unsigned long long)difference, PIXELS, (unsigned long long)differing);
        assert_true(difference < PIXELS / 8);
        picture_free(&p);
    }
    free(pixels);
    folder_free(&f);
    checkpoint_close(golden);
}

/* All at once: nothing in the folder is refused, and every size gets the oracle's bits. */
static void every_tenth_photograph_agrees_with_the_oracle(void **state)
{
    folder f;
    report r = { "" };
    (void)state;
    shared_path("images/imagenet-500/labels.tsv");
    if (!folder_open(shared_path("images/imagenet-500"), &f, &r))
        fail_msg("%s", r.text);
    uint8_t *const pixels = malloc(PIXELS);
    assert_non_null(pixels);
    for (size_t i = 0; i < f.count; i += 10) {
        picture p;
        if (!picture_load(f.paths[i], &p, &r))
            fail_msg("%s", r.text);
        fit(&p, pixels);
        assert_oracle_agrees(&p, pixels);
        picture_free(&p);
    }
    free(pixels);
    folder_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(photographs_become_what_pillow_makes_of_them),
        cmocka_unit_test(every_tenth_photograph_agrees_with_the_oracle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

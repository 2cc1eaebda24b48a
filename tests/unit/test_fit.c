/* SPDX-License-Identifier: Apache-2.0
 *
 * From a picture to the network's pixels: where the crop lies, that cropping while resizing gives
 * the bits of cropping afterwards, and that the scratch planned ahead is enough for every picture.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "image/image.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static uint64_t random_state;

static uint32_t random_in(uint32_t least, uint32_t most)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return least + (uint32_t)(((random_state >> 32) * ((uint64_t)most - least + 1)) >> 32);
}

static uint8_t *make_pixels(uint32_t width, uint32_t height)
{
    uint8_t *const pixels = malloc((size_t)3 * width * height);
    assert_non_null(pixels);
    for (size_t i = 0; i < (size_t)3 * width * height; i++)
        pixels[i] = (uint8_t)random_in(0, 255);
    return pixels;
}

static void crops_lie_where_the_pipelines_put_them(void **state)
{
    static const struct {
        uint32_t width, height, resize, image; /* given */
        uint32_t out_width, out_height, left, top;
    } cases[] = {
        { 500, 375, 256, 224, 341, 256, 58, 16 }, /* 58.5: half to even */
        { 376, 263, 256, 224, 365, 256, 70, 16 }, /* 70.5 */
        { 500, 333, 256, 224, 384, 256, 80, 16 },
        { 333, 500, 256, 224, 256, 384, 16, 80 },
        { 375, 500, 256, 224, 256, 341, 16, 58 },
        { 600, 399, 256, 224, 384, 256, 80, 16 }, /* 384.96 is cut off */
        { 100, 100, 248, 224, 248, 248, 12, 12 },
        { 100, 101, 248, 224, 248, 250, 12, 13 },
        { 227, 224, 224, 224, 227, 224, 2, 0 }, /* 1.5: half to even */
        { 225, 224, 224, 224, 225, 224, 0, 0 }, /* 0.5 */
        { 28, 28, 28, 28, 28, 28, 0, 0 },
        { 1, 3, 28, 28, 28, 84, 0, 28 },
        { 65535, 1, 2048, 1024, 134215680, 2048, 67107328, 512 },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const iviti_preprocess crop = { IVITI_FIT_CROP, cases[i].resize, IVITI_BICUBIC };
        const uint32_t image = cases[i].image;
        iviti_resample job;
        iviti_fit_place(&crop, image, image, cases[i].width, cases[i].height, &job);
        assert_int_equal(job.x.in, cases[i].width);
        assert_int_equal(job.x.out, cases[i].out_width);
        assert_int_equal(job.x.first, cases[i].left);
        assert_int_equal(job.x.count, image);
        assert_int_equal(job.y.in, cases[i].height);
        assert_int_equal(job.y.out, cases[i].out_height);
        assert_int_equal(job.y.first, cases[i].top);
        assert_int_equal(job.y.count, image);
        assert_int_equal(job.interpolation, IVITI_BICUBIC);
    }
    const iviti_preprocess squash = { IVITI_FIT_SQUASH, 0, IVITI_BILINEAR };
    iviti_resample job;
    iviti_fit_place(&squash, 40, 30, 500, 7, &job);
    assert_memory_equal(&job.x, (&(iviti_axis){ 500, 40, 0, 40 }), sizeof job.x);
    assert_memory_equal(&job.y, (&(iviti_axis){ 7, 30, 0, 30 }), sizeof job.y);
    assert_int_equal(job.interpolation, IVITI_BILINEAR);
}

/* The same by the public resize of the whole picture, then a copy of the rectangle. */
static uint8_t *resized_then_cropped(const iviti_resample *job, const iviti_image *in)
{
    const size_t bytes =
        iviti_resize_scratch(job->x.in, job->y.in, job->x.out, job->y.out, job->interpolation);
    const size_t row = (size_t)3 * job->x.count;
    uint8_t *const scratch = malloc(bytes);
    uint8_t *const whole = malloc((size_t)3 * job->x.out * job->y.out);
    uint8_t *const crop = malloc(row * job->y.count);
    assert_non_null(scratch);
    assert_non_null(whole);
    assert_non_null(crop);
    assert_int_equal(
        iviti_resize(in, job->interpolation, job->x.out, job->y.out, whole, scratch, bytes),
        IVITI_OK);
    for (size_t y = 0; y < job->y.count; y++)
        memcpy(crop + y * row, whole + ((job->y.first + y) * job->x.out + job->x.first) * 3, row);
    free(scratch);
    free(whole);
    return crop;
}

static void check_fit(const iviti_preprocess *p, uint32_t image_width, uint32_t image_height,
                      uint32_t width, uint32_t height)
{
    const size_t bytes = iviti_fit_scratch(p, image_width, image_height);
    uint8_t *const pixels = make_pixels(width, height);
    uint8_t *const out = malloc((size_t)3 * image_width * image_height);
    uint8_t *const scratch = malloc(bytes);
    const iviti_image in = { pixels, width, height, 3 * (ptrdiff_t)width };
    iviti_resample job;
    assert_non_null(out);
    assert_non_null(scratch);
    assert_int_equal(iviti_fit_image(p, image_width, image_height, &in, out, scratch, bytes),
                     IVITI_OK);
    iviti_fit_place(p, image_width, image_height, width, height, &job);
    uint8_t *const want = resized_then_cropped(&job, &in);
    if (memcmp(out, want, (size_t)3 * image_width * image_height) != 0)
        fail_msg("%u x %u, fit %d to %u, image %u x %u: not the crop of the resized picture", width,
                 height, (int)p->fit, p->resize, image_width, image_height);
    free(pixels);
    free(out);
    free(scratch);
    free(want);
}

static void cropping_while_resizing_is_cropping_afterwards(void **state)
{
    (void)state;
    random_state = 1;
    for (int i = 0; i < 400; i++) {
        const uint32_t image_width = random_in(1, 60), image_height = random_in(1, 60);
        const uint32_t side = image_width > image_height ? image_width : image_height;
        const iviti_preprocess p = { i % 3 ? IVITI_FIT_CROP : IVITI_FIT_SQUASH,
                                     side + random_in(0, i % 2 ? 0 : 20),
                                     i % 4 < 2 ? IVITI_BICUBIC : IVITI_BILINEAR };
        const uint32_t most = i % 5 == 0 ? 10 : i % 5 == 1 ? 400 : 120;
        check_fit(&p, image_width, image_height, random_in(1, most), random_in(1, most));
    }
}

static void usual_models_fit_usual_pictures(void **state)
{
    static const uint32_t sizes[][2] = { { 500, 375 }, { 375, 500 }, { 640, 480 }, { 224, 224 },
                                         { 256, 256 }, { 100, 600 }, { 1, 1 },     { 3, 700 } };
    (void)state;
    random_state = 2;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        const iviti_preprocess deit = { IVITI_FIT_CROP, 256, IVITI_BICUBIC };
        const iviti_preprocess whole = { IVITI_FIT_CROP, 224, IVITI_BILINEAR };
        const iviti_preprocess squash = { IVITI_FIT_SQUASH, 0, IVITI_BILINEAR };
        check_fit(&deit, 224, 224, sizes[i][0], sizes[i][1]);
        check_fit(&whole, 224, 224, sizes[i][0], sizes[i][1]);
        check_fit(&squash, 224, 224, sizes[i][0], sizes[i][1]);
    }
}

/* Too long for the public resize, and for memory: only the crop is ever computed. */
static void the_longest_pictures_fit(void **state)
{
    static const uint32_t sizes[][2] = { { 65535, 1 }, { 1, 65535 }, { 65535, 2 }, { 65535, 30 } };
    static const iviti_preprocess fits[] = { { IVITI_FIT_CROP, 2048, IVITI_BICUBIC },
                                             { IVITI_FIT_CROP, 1024, IVITI_BILINEAR },
                                             { IVITI_FIT_SQUASH, 0, IVITI_BICUBIC } };
    (void)state;
    for (size_t i = 0; i < COUNT(sizes) * COUNT(fits); i++) {
        const iviti_preprocess *const p = &fits[i % COUNT(fits)];
        const uint32_t *const size = sizes[i / COUNT(fits)];
        const size_t bytes = iviti_fit_scratch(p, 64, 32);
        uint8_t *const pixels = malloc((size_t)3 * size[0] * size[1]);
        uint8_t *const scratch = malloc(bytes);
        uint8_t out[3 * 64 * 32];
        assert_non_null(pixels);
        assert_non_null(scratch);
        memset(pixels, 77, (size_t)3 * size[0] * size[1]);
        const iviti_image in = { pixels, size[0], size[1], 3 * (ptrdiff_t)size[0] };
        assert_int_equal(iviti_fit_image(p, 64, 32, &in, out, scratch, bytes), IVITI_OK);
        for (size_t k = 0; k < sizeof out; k++)
            assert_int_equal(out[k], 77);
        free(pixels);
        free(scratch);
    }
}

static void check_bound(const iviti_preprocess *p, uint32_t image_width, uint32_t image_height,
                        uint32_t width, uint32_t height)
{
    iviti_resample job;
    iviti_fit_place(p, image_width, image_height, width, height, &job);
    if (iviti_resample_scratch(&job) > iviti_fit_scratch(p, image_width, image_height))
        fail_msg("%u x %u, fit %d to %u, image %u x %u: needs %zu bytes of scratch, not %zu", width,
                 height, (int)p->fit, p->resize, image_width, image_height,
                 iviti_resample_scratch(&job), iviti_fit_scratch(p, image_width, image_height));
}

static void scratch_is_enough_for_every_picture(void **state)
{
    static const uint32_t corners[][2] = { { 65535, 4096 },  { 4096, 65535 }, { 16384, 16384 },
                                           { 65535, 1 },     { 1, 65535 },    { 1, 1 },
                                           { 16383, 16385 }, { 16385, 16383 } };
    (void)state;
    random_state = 3;
    for (int i = 0; i < 20000; i++) {
        const uint32_t most = i % 3 == 0 ? 4 : 1024;
        const uint32_t image_width = random_in(1, most), image_height = random_in(1, most);
        const uint32_t side = image_width > image_height ? image_width : image_height;
        const iviti_preprocess p = { i & 1 ? IVITI_FIT_CROP : IVITI_FIT_SQUASH,
                                     side + random_in(0, i & 2 ? 0 : side), IVITI_BICUBIC };
        const uint32_t width = random_in(1, 65535);
        const uint32_t tallest = (1u << 28) / width;
        check_bound(&p, image_width, image_height, width,
                    random_in(1, tallest < 65535 ? tallest : 65535));
        for (size_t k = 0; k < COUNT(corners); k++)
            check_bound(&p, image_width, image_height, corners[k][0], corners[k][1]);
    }
    const iviti_preprocess deit = { IVITI_FIT_CROP, 256, IVITI_BICUBIC };
    const iviti_preprocess squash = { IVITI_FIT_SQUASH, 0, IVITI_BICUBIC };
    assert_true(iviti_fit_scratch(&deit, 224, 224) < (512u << 10));
    assert_true(iviti_fit_scratch(&squash, 1024, 1024) < (1536u << 10));
}

static void wrong_arguments_are_refused(void **state)
{
    static const uint8_t pixels[12] = { 9 };
    const iviti_preprocess crop = { IVITI_FIT_CROP, 8, IVITI_BICUBIC };
    const iviti_image good = { pixels, 2, 2, 6 }, empty = { pixels, 2, 0, 6 };
    uint8_t out[3 * 9 * 9] = { 0 };
    iviti_resample job;
    (void)state;
    iviti_fit_place(&crop, 8, 8, 2, 2, &job);
    const size_t enough = iviti_resample_scratch(&job);
    uint8_t *const scratch = malloc(enough);
    assert_non_null(scratch);
    assert_int_equal(iviti_fit_image(&crop, 8, 8, NULL, out, scratch, enough),
                     IVITI_ERROR_ARGUMENT);
    assert_int_equal(iviti_fit_image(&crop, 8, 8, &empty, out, scratch, enough),
                     IVITI_ERROR_IMAGE_SIZE);
    assert_int_equal(iviti_fit_image(&crop, 9, 8, &good, out, scratch, enough),
                     IVITI_ERROR_ARGUMENT);
    assert_int_equal(iviti_fit_image(&crop, 8, 9, &good, out, scratch, enough),
                     IVITI_ERROR_ARGUMENT);
    assert_int_equal(iviti_fit_image(&crop, 8, 8, &good, out, scratch, enough - 1),
                     IVITI_ERROR_BUFFER);
    for (size_t i = 0; i < sizeof out; i++)
        assert_int_equal(out[i], 0);
    assert_int_equal(iviti_fit_image(&crop, 8, 8, &good, out, scratch, enough), IVITI_OK);
    free(scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crops_lie_where_the_pipelines_put_them),
        cmocka_unit_test(cropping_while_resizing_is_cropping_afterwards),
        cmocka_unit_test(usual_models_fit_usual_pictures),
        cmocka_unit_test(the_longest_pictures_fit),
        cmocka_unit_test(scratch_is_enough_for_every_picture),
        cmocka_unit_test(wrong_arguments_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

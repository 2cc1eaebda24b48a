/* SPDX-License-Identifier: Apache-2.0
 *
 * The integer resize against two oracles written on their own: filter coefficients as exact
 * fractions of 128 bits, and Pillow's algorithm in double precision, whole picture after whole
 * picture.
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
#include "pillow_oracle.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* ---- test data --------------------------------------------------------------------------- */

static uint64_t random_state;

static uint32_t random_u32(void)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(random_state >> 32);
}

static uint32_t random_in(uint32_t least, uint32_t most)
{
    return least + (uint32_t)(((uint64_t)random_u32() * (most - least + 1)) >> 32);
}

/* Noise; or black and white alone, which drives the bicubic filter beyond both ends of u8. */
static uint8_t *make_pixels(uint32_t width, uint32_t height, bool extremes)
{
    const size_t bytes = (size_t)3 * width * height;
    uint8_t *const pixels = malloc(bytes);
    assert_non_null(pixels);
    for (size_t i = 0; i < bytes; i++)
        pixels[i] = extremes ? (random_u32() & 1 ? 255 : 0) : (uint8_t)random_u32();
    return pixels;
}

static iviti_image image_of(const uint8_t *pixels, uint32_t width, uint32_t height)
{
    return (iviti_image){ pixels, width, height, 3 * (ptrdiff_t)width };
}

static uint8_t *resized(const iviti_image *in, iviti_interpolation interpolation, uint32_t width,
                        uint32_t height)
{
    const size_t bytes = iviti_resize_scratch(in->width, in->height, width, height, interpolation);
    uint8_t *const out = malloc((size_t)3 * width * height);
    uint8_t *const scratch = malloc(bytes);
    assert_non_null(out);
    assert_non_null(scratch);
    memset(scratch, 0xa5, bytes);
    assert_int_equal(iviti_resize(in, interpolation, width, height, out, scratch, bytes), IVITI_OK);
    free(scratch);
    return out;
}

static void check_resize(uint32_t width, uint32_t height, uint32_t out_width, uint32_t out_height,
                         iviti_interpolation interpolation, bool extremes)
{
    uint8_t *const pixels = make_pixels(width, height, extremes);
    const iviti_image in = image_of(pixels, width, height);
    uint8_t *const out = resized(&in, interpolation, out_width, out_height);
    uint8_t *const want =
        oracle_resized(pixels, width, height, out_width, out_height, interpolation);
    if (memcmp(out, want, (size_t)3 * out_width * out_height) != 0)
        fail_msg("%u x %u to %u x %u, interpolation %d, differs from the oracle", width, height,
                 out_width, out_height, (int)interpolation);
    free(pixels);
    free(out);
    free(want);
}

static void resize_has_the_bits_of_the_double_oracle(void **state)
{
    (void)state;
    random_state = 1;
    for (int i = 0; i < 300; i++) {
        const uint32_t most = i % 3 == 0 ? 20 : i % 3 == 1 ? 90 : 200;
        const uint32_t width = random_in(1, most), height = random_in(1, most);
        const uint32_t out_width = random_in(1, most), out_height = random_in(1, most);
        check_resize(width, height, out_width, out_height, IVITI_BILINEAR, i & 1);
        check_resize(width, height, out_width, out_height, IVITI_BICUBIC, i & 1);
    }
}

static void extreme_sizes_have_the_bits_of_the_double_oracle(void **state)
{
    static const uint32_t sizes[][4] = {
        { 1, 1, 1, 1 },       { 1, 1, 224, 224 },    { 500, 375, 341, 256 }, { 375, 500, 256, 341 },
        { 28, 28, 28, 28 },   { 28, 28, 28, 56 },    { 28, 28, 56, 28 },     { 65535, 1, 1, 1 },
        { 1, 65535, 1, 1 },   { 65535, 2, 224, 3 },  { 3, 65535, 2, 224 },   { 1, 1, 65535, 1 },
        { 1, 1, 1, 65535 },   { 2, 3, 65535, 2 },    { 65535, 3, 7, 2 },     { 32768, 2, 4, 2 },
        { 40000, 1, 3, 1 },   { 1, 50000, 2, 2 },    { 4, 2, 3, 65535 },     { 640, 480, 232, 232 },
        { 1000, 10, 999, 9 }, { 10, 1000, 11, 1001 }
    };
    (void)state;
    random_state = 2;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        const uint32_t *const s = sizes[i];
        check_resize(s[0], s[1], s[2], s[3], IVITI_BILINEAR, false);
        check_resize(s[0], s[1], s[2], s[3], IVITI_BICUBIC, true);
    }
}

/* ---- oracle in exact fractions ----------------------------------------------------------- */

#if defined(__SIZEOF_INT128__)
__extension__ typedef __int128 wide_int;

/* weight * 2 * D^3 (bicubic) or weight * D (bilinear) at distance n / D. */
static wide_int exact_weight(wide_int n, wide_int d, iviti_interpolation interpolation)
{
    if (interpolation == IVITI_BILINEAR)
        return n < d ? d - n : 0;
    if (n < d)
        return 3 * n * n * n - 5 * n * n * d + 2 * d * d * d;
    return n < 2 * d ? -n * n * n + 5 * n * n * d - 8 * n * d * d + 4 * d * d * d : 0;
}

static void check_coefficients(uint32_t in, uint32_t out, uint32_t first, uint32_t count,
                               iviti_interpolation interpolation)
{
    const iviti_axis axis = { in, out, first, count };
    const uint32_t taps = iviti_axis_taps(&axis, interpolation);
    iviti_window *const windows = malloc(count * sizeof *windows);
    int32_t *const coefficients = malloc((size_t)count * taps * sizeof *coefficients);
    assert_non_null(windows);
    assert_non_null(coefficients);
    iviti_axis_coefficients(&axis, interpolation, windows, coefficients);

    const wide_int d = (wide_int)2 * (in > out ? in : out);
    for (uint32_t k = 0; k < count; k++) {
        const wide_int centre = (wide_int)(2 * (uint64_t)(first + k) + 1) * in;
        const iviti_window w = windows[k];
        assert_in_range(w.taps, 1, taps);
        assert_true((uint64_t)w.first + w.taps <= in);
        wide_int sum = 0;
        uint64_t magnitudes = 0;
        for (uint32_t x = 0; x < in; x++) {
            const wide_int n = (wide_int)(2 * (uint64_t)x + 1) * out - centre;
            const wide_int weight = exact_weight(n < 0 ? -n : n, d, interpolation);
            if (weight != 0 && (x < w.first || x - w.first >= w.taps))
                fail_msg("%u to %u: sample %u is missing from output %u", in, out, x, first + k);
            sum += weight;
        }
        for (uint32_t t = 0; t < w.taps; t++) {
            const wide_int n = (wide_int)(2 * (uint64_t)(w.first + t) + 1) * out - centre;
            const wide_int weight = exact_weight(n < 0 ? -n : n, d, interpolation);
            const wide_int doubled = ((weight < 0 ? -weight : weight) << 23) / sum;
            const int64_t want = (int64_t)((doubled + 1) / 2) * (weight < 0 ? -1 : 1);
            assert_int_equal(coefficients[(size_t)k * taps + t], want);
            magnitudes += (uint64_t)(want < 0 ? -want : want);
        }
        assert_true(magnitudes * 255 + (1 << 21) <= INT32_MAX); /* the sums stay in int32 */
    }
    free(windows);
    free(coefficients);
}

static void coefficients_are_the_exact_fractions(void **state)
{
    (void)state;
    random_state = 3;
    for (int i = 0; i < 300; i++) {
        const uint32_t most = i % 2 ? 60 : 400;
        const uint32_t in = random_in(1, most), out = random_in(1, most);
        check_coefficients(in, out, 0, out, IVITI_BILINEAR);
        check_coefficients(in, out, 0, out, IVITI_BICUBIC);
    }
    for (int i = 0; i < 30; i++) { /* parts of large axes, on both sides of 64 bits */
        const uint32_t in = random_in(1, 65535);
        const uint32_t out = random_in(1, i % 3 ? 65535 : 16);
        const uint32_t count = out < 8 ? out : 8;
        const uint32_t first = random_in(0, out - count);
        check_coefficients(in, out, first, count, IVITI_BILINEAR);
        check_coefficients(in, out, first, count, IVITI_BICUBIC);
    }
}

static void coefficients_beyond_64_bits_are_exact(void **state)
{
    static const uint32_t axes[][4] = {
        { 65535, 1, 0, 1 },         { 65535, 2, 0, 2 },
        { 65535, 3, 0, 3 },         { 65534, 5, 0, 5 },
        { 65535, 65534, 40000, 3 }, { 65534, 65535, 40000, 3 },
        { 1, 65535, 32767, 2 },     { 2, 134217728, 67108860, 8 },
        { 65535, 134217728, 0, 8 }, { 3, 134215680, 134215670, 8 }
    };
    (void)state;
    for (size_t i = 0; i < COUNT(axes); i++) {
        check_coefficients(axes[i][0], axes[i][1], axes[i][2], axes[i][3], IVITI_BILINEAR);
        check_coefficients(axes[i][0], axes[i][1], axes[i][2], axes[i][3], IVITI_BICUBIC);
    }
}
#endif

/* What the streaming of rows relies on. */
static void windows_never_move_backwards_and_overlap_little(void **state)
{
    (void)state;
    random_state = 4;
    for (int i = 0; i < 400; i++) {
        const iviti_interpolation interpolation = i & 1 ? IVITI_BICUBIC : IVITI_BILINEAR;
        const uint32_t support = i & 1 ? 2 : 1;
        const uint32_t in = random_in(1, 900), out = random_in(1, 900);
        const iviti_axis axis = { in, out, 0, out };
        iviti_window *const w = malloc(out * sizeof *w);
        int32_t *const c = malloc((size_t)out * iviti_axis_taps(&axis, interpolation) * sizeof *c);
        assert_non_null(w);
        assert_non_null(c);
        iviti_axis_coefficients(&axis, interpolation, w, c);
        for (uint32_t k = 0; k + 1 < out; k++) {
            assert_true(w[k].first <= w[k + 1].first);
            assert_true(w[k].first + w[k].taps <= w[k + 1].first + w[k + 1].taps);
        }
        for (uint32_t k = 0; in > out && k + 2 * support < out; k++)
            assert_true(w[k].first + w[k].taps <= w[k + 2 * support].first);
        for (uint32_t k = 0; in < out && k < out; k++)
            assert_true(w[k].taps <= 2 * support);
        free(w);
        free(c);
    }
}

/* ---- properties and contract ------------------------------------------------------------- */

static void one_colour_stays_that_colour(void **state)
{
    (void)state;
    random_state = 5;
    for (int i = 0; i < 60; i++) {
        const uint32_t width = random_in(1, 200), height = random_in(1, 200);
        const uint32_t out_width = random_in(1, 200), out_height = random_in(1, 200);
        uint8_t *const pixels = make_pixels(width, height, false);
        for (size_t p = 3; p < (size_t)3 * width * height; p++)
            pixels[p] = pixels[p % 3];
        const iviti_image in = image_of(pixels, width, height);
        uint8_t *const out =
            resized(&in, i & 1 ? IVITI_BICUBIC : IVITI_BILINEAR, out_width, out_height);
        for (size_t p = 0; p < (size_t)3 * out_width * out_height; p++)
            assert_int_equal(out[p], pixels[p % 3]);
        free(pixels);
        free(out);
    }
}

static void rows_may_be_padded_or_bottom_up(void **state)
{
    enum { WIDTH = 37, HEIGHT = 29, STRIDE = 3 * WIDTH + 5, OUT = 23 };
    (void)state;
    random_state = 6;
    uint8_t *const pixels = make_pixels(WIDTH, HEIGHT, false);
    uint8_t *const padded = malloc((size_t)STRIDE * HEIGHT);
    uint8_t *const flipped = malloc((size_t)STRIDE * HEIGHT);
    assert_non_null(padded);
    assert_non_null(flipped);
    memset(padded, 0xee, (size_t)STRIDE * HEIGHT);
    memset(flipped, 0x11, (size_t)STRIDE * HEIGHT);
    for (size_t y = 0; y < HEIGHT; y++) {
        memcpy(padded + y * STRIDE, pixels + y * 3 * WIDTH, 3 * WIDTH);
        memcpy(flipped + (HEIGHT - 1 - y) * STRIDE, pixels + y * 3 * WIDTH, 3 * WIDTH);
    }
    const iviti_image images[] = {
        image_of(pixels, WIDTH, HEIGHT),
        { padded, WIDTH, HEIGHT, STRIDE },
        { flipped + (size_t)(HEIGHT - 1) * STRIDE, WIDTH, HEIGHT, -STRIDE },
    };
    uint8_t *const want = resized(&images[0], IVITI_BICUBIC, OUT, OUT);
    for (size_t i = 1; i < COUNT(images); i++) {
        uint8_t *const out = resized(&images[i], IVITI_BICUBIC, OUT, OUT);
        assert_memory_equal(out, want, (size_t)3 * OUT * OUT);
        free(out);
    }
    free(want);
    free(pixels);
    free(padded);
    free(flipped);
}

static void scratch_needs_no_alignment(void **state)
{
    (void)state;
    random_state = 7;
    uint8_t *const pixels = make_pixels(50, 40, false);
    const iviti_image in = image_of(pixels, 50, 40);
    uint8_t *const want = resized(&in, IVITI_BICUBIC, 30, 60);
    const size_t bytes = iviti_resize_scratch(50, 40, 30, 60, IVITI_BICUBIC);
    for (size_t offset = 1; offset < 64; offset += 9) {
        uint8_t out[3 * 30 * 60];
        uint8_t *const scratch = malloc(bytes + offset);
        assert_non_null(scratch);
        assert_int_equal(iviti_resize(&in, IVITI_BICUBIC, 30, 60, out, scratch + offset, bytes),
                         IVITI_OK);
        assert_memory_equal(out, want, sizeof out);
        free(scratch);
    }
    free(pixels);
    free(want);
}

static void wrong_arguments_are_refused(void **state)
{
    static const uint8_t pixel[12] = { 0 };
    uint8_t out[3] = { 1, 2, 3 };
    uint8_t scratch[2048];
    const iviti_image good = { pixel, 2, 2, 6 };
    const struct {
        iviti_image image;
        iviti_status status;
    } images[] = {
        { { NULL, 2, 2, 6 }, IVITI_ERROR_ARGUMENT },
        { { pixel, 2, 2, 5 }, IVITI_ERROR_ARGUMENT },
        { { pixel, 2, 2, -5 }, IVITI_ERROR_ARGUMENT },
        { { pixel, 2, 2, 0 }, IVITI_ERROR_ARGUMENT },
        { { pixel, 0, 2, 6 }, IVITI_ERROR_IMAGE_SIZE },
        { { pixel, 2, 0, 6 }, IVITI_ERROR_IMAGE_SIZE },
        { { pixel, 65536, 1, 3 * 65536 }, IVITI_ERROR_IMAGE_SIZE },
        { { pixel, 1, 65536, 3 }, IVITI_ERROR_IMAGE_SIZE },
        { { pixel, UINT32_MAX, 1, 3 }, IVITI_ERROR_IMAGE_SIZE },
        { { pixel, 65535, 4097, 3 * 65535 }, IVITI_ERROR_IMAGE_SIZE },
        { { pixel, 16384, 16385, 3 * 16384 }, IVITI_ERROR_IMAGE_SIZE },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(images); i++)
        assert_int_equal(
            iviti_resize(&images[i].image, IVITI_BICUBIC, 1, 1, out, scratch, sizeof scratch),
            images[i].status);
    assert_int_equal(iviti_resize(NULL, IVITI_BICUBIC, 1, 1, out, scratch, sizeof scratch),
                     IVITI_ERROR_ARGUMENT);
    assert_int_equal(iviti_resize(&good, IVITI_BICUBIC, 1, 1, NULL, scratch, sizeof scratch),
                     IVITI_ERROR_ARGUMENT);
    assert_int_equal(
        iviti_resize(&good, (iviti_interpolation)2, 1, 1, out, scratch, sizeof scratch),
        IVITI_ERROR_ARGUMENT);
    assert_int_equal(iviti_resize(&good, IVITI_BICUBIC, 0, 1, out, scratch, sizeof scratch),
                     IVITI_ERROR_IMAGE_SIZE);
    assert_int_equal(iviti_resize(&good, IVITI_BICUBIC, 1, 65536, out, scratch, sizeof scratch),
                     IVITI_ERROR_IMAGE_SIZE);
    const size_t enough = iviti_resize_scratch(2, 2, 1, 1, IVITI_BICUBIC);
    assert_in_range(enough, 1, sizeof scratch);
    assert_int_equal(iviti_resize(&good, IVITI_BICUBIC, 1, 1, out, scratch, enough - 1),
                     IVITI_ERROR_BUFFER);
    assert_int_equal(iviti_resize(&good, IVITI_BICUBIC, 1, 1, out, NULL, enough),
                     IVITI_ERROR_BUFFER);
    assert_memory_equal(out, "\1\2\3", 3);
    assert_int_equal(iviti_resize(&good, IVITI_BICUBIC, 1, 1, out, scratch, enough), IVITI_OK);
    assert_int_equal(iviti_resize_scratch(0, 1, 1, 1, IVITI_BICUBIC), 0);
    assert_int_equal(iviti_resize_scratch(1, 65536, 1, 1, IVITI_BICUBIC), 0);
    assert_int_equal(iviti_resize_scratch(1, 1, 65536, 1, IVITI_BICUBIC), 0);
    assert_int_equal(iviti_resize_scratch(1, 1, 1, 1, (iviti_interpolation)2), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resize_has_the_bits_of_the_double_oracle),
        cmocka_unit_test(extreme_sizes_have_the_bits_of_the_double_oracle),
#if defined(__SIZEOF_INT128__)
        cmocka_unit_test(coefficients_are_the_exact_fractions),
        cmocka_unit_test(coefficients_beyond_64_bits_are_exact),
#endif
        cmocka_unit_test(windows_never_move_backwards_and_overlap_little),
        cmocka_unit_test(one_colour_stays_that_colour),
        cmocka_unit_test(rows_may_be_padded_or_bottom_up),
        cmocka_unit_test(scratch_needs_no_alignment),
        cmocka_unit_test(wrong_arguments_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

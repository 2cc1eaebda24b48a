/* SPDX-License-Identifier: Apache-2.0
 *
 * Heat maps as drawings: their size, where they are hot, and what becomes of patches that were left
 * out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "picture/heatmap.h"

#define WIDTH   60
#define HEIGHT  40
#define COLUMNS 6
#define ROWS    4

typedef struct drawing {
    uint8_t *pixels;
    uint32_t width, height;
} drawing;

static drawing draw(const heatmap *h)
{
    drawing d = { NULL, 0, 0 };
    d.pixels = heatmap_draw(h, &d.width, &d.height);
    assert_non_null(d.pixels);
    assert_int_equal(d.width, (2 + h->stages) * h->width + (1 + h->stages) * HEATMAP_GAP);
    assert_int_equal(d.height, h->height);
    return d;
}

/* Pixel (x, y) of panel `panel`. */
static const uint8_t *at(const drawing *d, size_t panel, size_t x, size_t y)
{
    return d->pixels + 3 * (y * d->width + panel * (WIDTH + HEATMAP_GAP) + x);
}

static void paint(uint8_t pixels[WIDTH * HEIGHT * 3])
{
    for (size_t i = 0; i < WIDTH * HEIGHT * 3; i++)
        pixels[i] = (uint8_t)(i * 7 + i / 180 * 13);
}

/* How red rather than green: from cyan to dark red it grows. */
static int warmth(const uint8_t *pixel)
{
    return pixel[0] - pixel[1];
}

static void the_first_panel_is_the_picture(void **state)
{
    (void)state;
    uint8_t pixels[WIDTH * HEIGHT * 3];
    double heat[COLUMNS * ROWS] = { 0 };
    paint(pixels);
    const heatmap h = { pixels, WIDTH, HEIGHT, COLUMNS, ROWS, heat, 0, NULL };
    drawing d = draw(&h);
    for (size_t y = 0; y < HEIGHT; y++) {
        assert_memory_equal(at(&d, 0, 0, y), pixels + y * WIDTH * 3, WIDTH * 3);
        for (size_t x = 0; x < HEATMAP_GAP * 3; x++)
            assert_int_equal(at(&d, 0, WIDTH, y)[x], 255);
    }
    free(d.pixels);
}

/* One hot patch on a gray picture: warmest in its middle, colder with the distance, cold far away.
 */
static void hot_is_where_the_heat_is(void **state)
{
    (void)state;
    uint8_t pixels[WIDTH * HEIGHT * 3];
    memset(pixels, 120, sizeof pixels);
    for (size_t patch = 0; patch < COLUMNS * ROWS; patch++) {
        double heat[COLUMNS * ROWS];
        for (size_t i = 0; i < COLUMNS * ROWS; i++)
            heat[i] = i == patch ? 3e-4 : 1e-4;
        const heatmap h = { pixels, WIDTH, HEIGHT, COLUMNS, ROWS, heat, 0, NULL };
        drawing d = draw(&h);
        const size_t x = patch % COLUMNS * 10 + 5, y = patch / COLUMNS * 10 + 5;
        size_t warmest_x = 0, warmest_y = 0;
        for (size_t i = 0; i < WIDTH * HEIGHT; i++)
            if (warmth(at(&d, 1, i % WIDTH, i / WIDTH)) > warmth(at(&d, 1, warmest_x, warmest_y))) {
                warmest_x = i % WIDTH;
                warmest_y = i / WIDTH;
            }
        assert_int_equal(warmest_x / 10, x / 10);
        assert_int_equal(warmest_y / 10, y / 10);
        assert_true(warmth(at(&d, 1, x, y)) > 80);
        const size_t far_x = x < WIDTH / 2 ? WIDTH - 1 : 0, far_y = y < HEIGHT / 2 ? HEIGHT - 1 : 0;
        assert_true(warmth(at(&d, 1, far_x, far_y)) <= 0);
        free(d.pixels);
    }
}

/* No difference, or next to none, is not blown up to one. */
static void even_heat_stays_even(void **state)
{
    (void)state;
    uint8_t pixels[WIDTH * HEIGHT * 3];
    double heat[COLUMNS * ROWS];
    memset(pixels, 120, sizeof pixels);
    for (size_t i = 0; i < COLUMNS * ROWS; i++)
        heat[i] = 0.0042 + 1e-6 * (double)(i % 3);
    const heatmap h = { pixels, WIDTH, HEIGHT, COLUMNS, ROWS, heat, 0, NULL };
    drawing d = draw(&h);
    for (size_t i = 1; i < WIDTH * HEIGHT; i++)
        for (int c = 0; c < 3; c++)
            assert_true(abs(at(&d, 1, i % WIDTH, i / WIDTH)[c] - at(&d, 1, 0, 0)[c]) <= 8);
    free(d.pixels);
    memset(heat, 0, sizeof heat);
    d = draw(&h);
    assert_memory_equal(at(&d, 1, 0, 0), at(&d, 1, WIDTH - 1, HEIGHT - 1), 3);
    free(d.pixels);
}

/* Scale does not matter. */
static void heat_has_no_unit(void **state)
{
    (void)state;
    uint8_t pixels[WIDTH * HEIGHT * 3];
    double heat[COLUMNS * ROWS];
    paint(pixels);
    for (size_t i = 0; i < COLUMNS * ROWS; i++)
        heat[i] = (double)(i * i % 11);
    const heatmap h = { pixels, WIDTH, HEIGHT, COLUMNS, ROWS, heat, 0, NULL };
    drawing a = draw(&h);
    for (size_t i = 0; i < COLUMNS * ROWS; i++)
        heat[i] *= 1024;
    drawing b = draw(&h);
    assert_memory_equal(a.pixels, b.pixels, (size_t)a.width * a.height * 3);
    free(a.pixels);
    free(b.pixels);
}

static void patches_that_are_left_out_fade(void **state)
{
    (void)state;
    uint8_t pixels[WIDTH * HEIGHT * 3], kept[2 * COLUMNS * ROWS];
    double heat[COLUMNS * ROWS] = { 1 };
    paint(pixels);
    for (size_t i = 0; i < 2 * COLUMNS * ROWS; i++)
        kept[i] = i % 3 != 0 && (i < COLUMNS * ROWS || i % 2);
    const heatmap h = { pixels, WIDTH, HEIGHT, COLUMNS, ROWS, heat, 2, kept };
    drawing d = draw(&h);
    for (size_t stage = 0; stage < 2; stage++)
        for (size_t i = 0; i < WIDTH * HEIGHT; i++) {
            const size_t x = i % WIDTH, y = i / WIDTH;
            const uint8_t *pixel = at(&d, 2 + stage, x, y);
            if (kept[(stage * ROWS + y / 10) * COLUMNS + x / 10]) {
                assert_memory_equal(pixel, pixels + 3 * i, 3);
            } else {
                assert_true(pixel[0] == pixel[1] && pixel[1] == pixel[2]);
                assert_true(pixel[0] >= 180 && pixel[0] <= 235);
            }
        }
    free(d.pixels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_panel_is_the_picture),
        cmocka_unit_test(hot_is_where_the_heat_is),
        cmocka_unit_test(even_heat_stays_even),
        cmocka_unit_test(heat_has_no_unit),
        cmocka_unit_test(patches_that_are_left_out_fade),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

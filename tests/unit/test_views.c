/* SPDX-License-Identifier: Apache-2.0
 *
 * Views of calibration pictures: the mirrored picture, parts that hold nothing but what is in the
 * picture, and the same for the same seed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "quantize/views.h"

enum { COUNT = 3, WIDTH = 20, HEIGHT = 14, VIEWS = 40, BYTES = WIDTH * HEIGHT * 3 };

static uint8_t pixels[COUNT * BYTES], views[VIEWS * COUNT * BYTES], again[VIEWS * COUNT * BYTES];

/* Rising to the right in the first channel, downwards in the second; a constant of the picture. */
static void fill(void)
{
    for (size_t i = 0; i < COUNT; i++)
        for (size_t y = 0; y < HEIGHT; y++)
            for (size_t x = 0; x < WIDTH; x++) {
                uint8_t *const p = pixels + i * BYTES + (y * WIDTH + x) * 3;
                p[0] = (uint8_t)(10 * x);
                p[1] = (uint8_t)(15 * y);
                p[2] = (uint8_t)(100 + i);
            }
}

static void test_mirror(void **state)
{
    (void)state;
    fill();
    views_make(pixels, COUNT, WIDTH, HEIGHT, 1, 7, views);
    for (size_t i = 0; i < COUNT * HEIGHT; i++)
        for (size_t x = 0; x < WIDTH; x++)
            assert_memory_equal(views + (i * WIDTH + x) * 3, pixels + (i * WIDTH + WIDTH - 1 - x) * 3, 3);
}

/* Rows and columns stay in order, or are mirrored; each view is of its own picture; sizes vary. */
static void test_parts(void **state)
{
    (void)state;
    size_t mirrored = 0, narrow = 0;
    fill();
    views_make(pixels, COUNT, WIDTH, HEIGHT, VIEWS, 7, views);
    for (size_t v = 1; v < VIEWS; v++)
        for (size_t i = 0; i < COUNT; i++) {
            const uint8_t *const p = views + (v * COUNT + i) * BYTES;
            const int rise = p[(WIDTH - 1) * 3] - p[0];
            mirrored += rise < 0;
            narrow += abs(rise) < 10 * (WIDTH - 1) * 8 / 10;
            assert_true(abs(rise) >= 10 * (WIDTH - 1) * 4 / 10);
            for (size_t k = 0; k < WIDTH * HEIGHT; k++) {
                assert_true(p[k * 3] <= 10 * (WIDTH - 1) && p[k * 3 + 1] <= 15 * (HEIGHT - 1));
                assert_int_equal(p[k * 3 + 2], 100 + i);
                if (k % WIDTH > 0)
                    assert_true((p[k * 3] - p[k * 3 - 3]) * rise >= 0);
                if (k >= WIDTH)
                    assert_true(p[k * 3 + 1] >= p[(k - WIDTH) * 3 + 1]);
            }
        }
    const size_t all = (VIEWS - 1) * COUNT;
    assert_true(mirrored * 4 > all && mirrored * 4 < 3 * all);
    assert_true(narrow * 4 > all);
}

static void test_seeds(void **state)
{
    (void)state;
    fill();
    views_make(pixels, COUNT, WIDTH, HEIGHT, VIEWS, 7, views);
    views_make(pixels, COUNT, WIDTH, HEIGHT, VIEWS, 7, again);
    assert_memory_equal(views, again, sizeof views);
    views_make(pixels, COUNT, WIDTH, HEIGHT, VIEWS, 8, again);
    assert_memory_not_equal(views, again, sizeof views);
    views_make(pixels, 1, 1, 1, 2, 7, views); /* a single pixel is all there is to see of it */
    assert_memory_equal(views, pixels, 3);
    assert_memory_equal(views + 3, pixels, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_mirror), cmocka_unit_test(test_parts),
                                        cmocka_unit_test(test_seeds) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

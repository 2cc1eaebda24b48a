/* SPDX-License-Identifier: Apache-2.0
 *
 * Drawn digits: the committed pictures are what the program draws, and every hand's digit has the
 * format of the collection that models of digits are trained on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "picture/digit.h"
#include "picture/picture.h"

enum { SIDE = 28 };

static void assert_is_drawn(const char *path, unsigned digit, uint32_t seed, uint32_t width,
                            uint32_t height)
{
    uint8_t *const drawn = malloc((size_t)3 * width * height);
    picture p;
    report r = { "" };
    assert_non_null(drawn);
    if (!picture_load(path, &p, &r))
        fail_msg("%s", r.text);
    assert_int_equal(p.width, width);
    assert_int_equal(p.height, height);
    digit_draw(digit, seed, width, height, drawn);
    assert_memory_equal(p.pixels, drawn, (size_t)3 * width * height);
    picture_free(&p);
    free(drawn);
}

static void committed_pictures_are_drawn(void **state)
{
    (void)state;
    for (unsigned digit = 0; digit < 10; digit++) {
        char path[64];
        snprintf(path, sizeof path, "pictures/digit-%u.png", digit);
        assert_is_drawn(path, digit, 0, SIDE, SIDE);
    }
    assert_is_drawn("pictures/large-7.png", 7, 3, 200, 160);
}

/* Gray strokes inside a frame of black, their centre of mass near the middle. */
static void digits_have_the_usual_format(void **state)
{
    uint8_t pixels[SIDE * SIDE * 3];
    (void)state;
    for (uint32_t seed = 0; seed < 200; seed++)
        for (unsigned digit = 0; digit < 10; digit++) {
            uint32_t mass = 0, x_mass = 0, y_mass = 0, bright = 0;
            digit_draw(digit, seed, SIDE, SIDE, pixels);
            for (uint32_t i = 0; i < SIDE * SIDE; i++) {
                const uint8_t v = pixels[3 * i];
                assert_int_equal(pixels[3 * i + 1], v);
                assert_int_equal(pixels[3 * i + 2], v);
                mass += v;
                x_mass += v * (i % SIDE);
                y_mass += v * (i / SIDE);
                bright += v > 200;
            }
            assert_in_range(bright, 20, 200);
            assert_in_range(x_mass * 10 / mass, 110, 160); /* 13.5 is the middle */
            assert_in_range(y_mass * 10 / mass, 110, 160);
            for (uint32_t i = 0; i < SIDE; i++) {
                assert_int_equal(pixels[3 * i], 0);
                assert_int_equal(pixels[3 * (SIDE * (SIDE - 1) + i)], 0);
            }
        }
}

static void hands_differ(void **state)
{
    uint8_t a[SIDE * SIDE * 3], b[SIDE * SIDE * 3];
    (void)state;
    for (unsigned digit = 0; digit < 10; digit++)
        for (uint32_t seed = 0; seed < 20; seed++) {
            digit_draw(digit, seed, SIDE, SIDE, a);
            digit_draw(digit, seed + 1, SIDE, SIDE, b);
            assert_memory_not_equal(a, b, sizeof a);
            digit_draw(digit, seed, SIDE, SIDE, b);
            assert_memory_equal(a, b, sizeof a);
        }
}

static void any_size_can_be_drawn(void **state)
{
    static const uint32_t sizes[][2] = { { 1, 1 }, { 1, 9 }, { 9, 1 }, { 3, 2 }, { 1024, 5 } };
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint8_t *const pixels = malloc((size_t)3 * sizes[i][0] * sizes[i][1]);
        assert_non_null(pixels);
        for (unsigned digit = 0; digit < 10; digit++)
            digit_draw(digit, digit, sizes[i][0], sizes[i][1], pixels);
        free(pixels);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(committed_pictures_are_drawn),
        cmocka_unit_test(digits_have_the_usual_format),
        cmocka_unit_test(hands_differ),
        cmocka_unit_test(any_size_can_be_drawn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

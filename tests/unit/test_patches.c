/* SPDX-License-Identifier: Apache-2.0
 *
 * Patches as rows, against their definition pixel by pixel.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "iviti/kernels.h"

static uint8_t pixel_value(uint32_t x, uint32_t y, uint32_t c)
{
    return (uint8_t)(x * 7 + y * 31 + c * 101 + x * y);
}

/* A picture of (height, |stride|) bytes; `bottom_up` stores the last row first. */
static void check(uint32_t width, uint32_t height, uint32_t patch, size_t stride, bool bottom_up,
                  size_t out_stride)
{
    const size_t count = (size_t)(width / patch) * (height / patch);
    uint8_t *const stored = malloc(stride * height);
    uint8_t *const out = malloc(count * out_stride);
    assert_non_null(stored);
    assert_non_null(out);
    memset(stored, 0xcc, stride * height);
    memset(out, 0xdd, count * out_stride);
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t i = 0; i < 3 * width; i++)
            stored[(bottom_up ? height - 1 - y : y) * stride + i] = pixel_value(i / 3, y, i % 3);

    iviti_extract_patches(bottom_up ? stored + stride * (height - 1) : stored,
                          bottom_up ? -(ptrdiff_t)stride : (ptrdiff_t)stride, width, height, patch,
                          out, out_stride);

    const uint32_t across = width / patch;
    for (size_t r = 0; r < count; r++) {
        const uint8_t *const row = out + r * out_stride;
        const uint32_t left = (uint32_t)(r % across) * patch, top = (uint32_t)(r / across) * patch;
        for (uint32_t i = 0; i < patch * patch * 3; i++) {
            const uint32_t x = left + i / 3 % patch, y = top + i / 3 / patch;
            assert_int_equal(row[i], pixel_value(x, y, i % 3));
        }
        for (size_t i = (size_t)patch * patch * 3; i < out_stride; i++)
            assert_int_equal(row[i], 0);
    }
    free(stored);
    free(out);
}

static void patches_are_rows_of_the_picture(void **state)
{
    (void)state;
    check(28, 28, 7, 84, false, 147);
    check(224, 224, 16, 672, false, 768);
    check(12, 8, 4, 36, false, 48);
    check(8, 12, 4, 24, false, 48);
    check(5, 3, 1, 15, false, 3);
    check(6, 6, 6, 18, false, 108);
}

static void tails_of_rows_are_zero(void **state)
{
    (void)state;
    check(28, 28, 7, 84, false, 148);
    check(28, 28, 7, 84, false, 192);
    check(5, 3, 1, 15, false, 64);
}

static void rows_of_the_picture_may_be_padded_or_bottom_up(void **state)
{
    (void)state;
    check(28, 14, 7, 97, false, 148);
    check(28, 14, 7, 84, true, 147);
    check(14, 28, 7, 61, true, 160);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patches_are_rows_of_the_picture),
        cmocka_unit_test(tails_of_rows_are_zero),
        cmocka_unit_test(rows_of_the_picture_may_be_padded_or_bottom_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

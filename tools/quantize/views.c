/* SPDX-License-Identifier: Apache-2.0 */
#include "quantize/views.h"

#include <math.h>
#include <stdbool.h>

#include "quantize/random_bits.h"

#define LEAST_AREA 0.3 /* of the picture */
#define LONGEST    (4.0 / 3) /* side beside the other, if the picture is square */
#define ONE        65536 /* of a place between two pixels */

/* A part of a picture, in pixels of it. */
typedef struct part {
    double left, top, width, height;
    bool mirrored;
} part;

static double between(uint64_t *state, double low, double high)
{
    return low + (high - low) * (double)(random_bits(state) >> 11) * 0x1p-53;
}

static part draw_part(uint64_t *state, uint32_t width, uint32_t height)
{
    const double side = sqrt(between(state, LEAST_AREA, 1));
    const double stretch = exp(between(state, -0.5, 0.5) * log(LONGEST));
    part p = { .width = fmin(1, side * stretch) * width, .height = fmin(1, side / stretch) * height };
    p.left = between(state, 0, width - p.width);
    p.top = between(state, 0, height - p.height);
    p.mirrored = random_bits(state) & 1;
    return p;
}

/* Where a row or column of `count` lies in `length` pixels of the original: the pixel before it, and the way
 * to the next. */
static uint32_t place(uint32_t at, uint32_t count, double start, double length, uint32_t last,
                      uint32_t *share)
{
    const double x = fmax(0, fmin(last, start + (at + 0.5) * length / count - 0.5));
    const uint32_t pixel = (uint32_t)x;
    *share = (uint32_t)((x - pixel) * ONE);
    return pixel;
}

static void cut(const uint8_t *from, uint32_t width, uint32_t height, const part *p, uint8_t *out)
{
    for (uint32_t y = 0; y < height; y++) {
        uint32_t below, beside;
        const uint32_t row = place(y, height, p->top, p->height, height - 1, &below);
        const uint8_t *const upper = from + (size_t)row * width * 3;
        const uint8_t *const lower = row + 1 < height ? upper + (size_t)width * 3 : upper;
        for (uint32_t x = 0; x < width; x++, out += 3) {
            const uint32_t at = p->mirrored ? width - 1 - x : x;
            const uint32_t column = place(at, width, p->left, p->width, width - 1, &beside);
            const size_t left = (size_t)column * 3;
            const size_t right = column + 1 < width ? left + 3 : left;
            for (size_t c = 0; c < 3; c++) {
                const uint64_t top = (uint64_t)upper[left + c] * (ONE - beside) +
                                     (uint64_t)upper[right + c] * beside;
                const uint64_t bottom = (uint64_t)lower[left + c] * (ONE - beside) +
                                        (uint64_t)lower[right + c] * beside;
                out[c] = (uint8_t)((top * (ONE - below) + bottom * below + (UINT64_C(1) << 31)) >> 32);
            }
        }
    }
}

void views_make(const uint8_t *pixels, size_t count, uint32_t width, uint32_t height, unsigned views,
                uint64_t seed, uint8_t *out)
{
    const size_t bytes = (size_t)width * height * 3;
    for (size_t v = 0; v < views; v++)
        for (size_t i = 0; i < count; i++) {
            const part whole = { 0, 0, width, height, true };
            const part p = v == 0 ? whole : draw_part(&seed, width, height);
            cut(pixels + i * bytes, width, height, &p, out + (v * count + i) * bytes);
        }
}

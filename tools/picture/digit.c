/* SPDX-License-Identifier: Apache-2.0
 *
 * A digit is one to three strokes, a stroke a smooth curve through a few points. The points are
 * moved a little by chance, slanted, and brought to MNIST's format: the larger side of the digit is
 * 20/28 of the picture, its centre of mass in the middle. A pixel's brightness follows from its
 * distance to the nearest stroke. All in whole numbers.
 */
#include "picture/digit.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "iviti/kernels.h"

#define MAX_POINTS  13 /* of a stroke */
#define MAX_STROKES 3
#define STEPS       8 /* straight pieces between two points */
#define MAX_PIECES  ((size_t)MAX_STROKES * MAX_POINTS * STEPS)
#define SCALE       256 /* of glyph units while a digit takes shape, and of pixels afterwards */

typedef struct point {
    int32_t x, y;
} point;

typedef struct piece {
    point from, to;
} piece;

typedef struct stroke {
    uint8_t count;
    uint8_t at[MAX_POINTS][2]; /* x to the right, y down, 0 to 100 */
} stroke;

static const stroke digits[10][MAX_STROKES] = {
    { { 10,
        { { 54, 0 },
          { 34, 6 },
          { 17, 32 },
          { 15, 62 },
          { 26, 92 },
          { 50, 100 },
          { 74, 88 },
          { 85, 56 },
          { 77, 18 },
          { 52, 0 } } } },
    { { 3, { { 56, 0 }, { 50, 50 }, { 44, 100 } } } },
    { { 7, { { 16, 22 }, { 34, 4 }, { 60, 2 }, { 76, 20 }, { 68, 46 }, { 42, 76 }, { 12, 97 } } },
      { 3, { { 12, 97 }, { 46, 92 }, { 88, 96 } } } },
    { { 5, { { 18, 11 }, { 45, 0 }, { 71, 11 }, { 68, 34 }, { 40, 46 } } },
      { 5, { { 40, 46 }, { 72, 56 }, { 78, 80 }, { 52, 99 }, { 14, 91 } } } },
    { { 3, { { 31, 2 }, { 23, 30 }, { 13, 57 } } },
      { 3, { { 13, 57 }, { 46, 57 }, { 86, 53 } } },
      { 3, { { 71, 4 }, { 65, 50 }, { 61, 100 } } } },
    { { 3, { { 80, 4 }, { 54, 4 }, { 29, 6 } } },
      { 3, { { 29, 6 }, { 25, 24 }, { 22, 44 } } },
      { 6, { { 22, 44 }, { 49, 37 }, { 75, 51 }, { 76, 79 }, { 48, 98 }, { 14, 91 } } } },
    { { 10,
        { { 64, 2 },
          { 38, 22 },
          { 21, 54 },
          { 24, 86 },
          { 49, 99 },
          { 74, 86 },
          { 74, 63 },
          { 52, 53 },
          { 30, 63 },
          { 23, 82 } } } },
    { { 3, { { 12, 9 }, { 48, 6 }, { 85, 6 } } }, { 3, { { 85, 6 }, { 64, 48 }, { 48, 100 } } } },
    { { 13,
        { { 72, 16 },
          { 50, 2 },
          { 27, 13 },
          { 32, 35 },
          { 54, 50 },
          { 75, 71 },
          { 63, 95 },
          { 37, 97 },
          { 23, 77 },
          { 42, 52 },
          { 66, 35 },
          { 75, 18 },
          { 66, 5 } } } },
    { { 7, { { 77, 18 }, { 54, 2 }, { 28, 13 }, { 24, 38 }, { 46, 50 }, { 69, 38 }, { 77, 18 } } },
      { 3, { { 77, 18 }, { 73, 58 }, { 62, 100 } } } },
};

/* ---- chance ------------------------------------------------------------------------------ */

static int32_t chance(uint64_t *state, int32_t least, int32_t most)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return least + (int32_t)(((*state >> 32) * (uint64_t)(most - least + 1)) >> 32);
}

/* ---- strokes in glyph units -------------------------------------------------------------- */

/* The curve through b and c (Catmull and Rom), at k / STEPS of the way; a and d are their other
 * neighbours. */
static int32_t curve(int32_t a, int32_t b, int32_t c, int32_t d, int32_t k)
{
    const int64_t n = STEPS;
    const int64_t sum = 2 * n * n * n * b + n * n * k * ((int64_t)c - a) +
                        n * k * k * (2 * (int64_t)a - 5 * (int64_t)b + 4 * (int64_t)c - d) +
                        (int64_t)k * k * k * (3 * ((int64_t)b - c) + d - a);
    return (int32_t)(sum / (2 * n * n * n));
}

static size_t add_stroke(const stroke *s, const point *points, piece *pieces, size_t count)
{
    for (size_t i = 0; i + 1 < s->count; i++) {
        const point a = points[i > 0 ? i - 1 : 0], b = points[i], c = points[i + 1];
        const point d = points[i + 2 < s->count ? i + 2 : i + 1];
        point from = b;
        for (int32_t k = 1; k <= STEPS; k++) {
            const point to = { curve(a.x, b.x, c.x, d.x, k), curve(a.y, b.y, c.y, d.y, k) };
            pieces[count++] = (piece){ from, to };
            from = to;
        }
    }
    return count;
}

/* A hand's digit: points that are the same in the table stay together. */
static size_t write_by_hand(unsigned digit, uint64_t *state, piece *pieces)
{
    const int32_t slant = chance(state, -8, 38);  /* hundredths, to the right */
    const int32_t width = chance(state, 78, 112); /* hundredths */
    const int32_t sway = chance(state, 2, 5);
    size_t count = 0;
    point last = { 0, 0 };
    const uint8_t *last_at = NULL;
    for (size_t s = 0; s < MAX_STROKES && digits[digit][s].count > 0; s++) {
        const stroke *const drawn = &digits[digit][s];
        point points[MAX_POINTS];
        for (size_t i = 0; i < drawn->count; i++) {
            const int32_t x = drawn->at[i][0] + chance(state, -sway, sway);
            const int32_t y = drawn->at[i][1] + chance(state, -sway, sway);
            points[i].x = (x * width + (50 - y) * slant) * SCALE / 100;
            points[i].y = y * SCALE;
        }
        if (last_at && memcmp(last_at, drawn->at[0], 2) == 0)
            points[0] = last;
        last = points[drawn->count - 1];
        last_at = drawn->at[drawn->count - 1];
        count = add_stroke(drawn, points, pieces, count);
    }
    return count;
}

/* ---- strokes in pixels ------------------------------------------------------------------- */

static uint64_t squared_distance(point a, point b)
{
    const int64_t x = (int64_t)a.x - b.x, y = (int64_t)a.y - b.y;
    return (uint64_t)(x * x + y * y);
}

static int32_t limited(int64_t v, int32_t least, int32_t most)
{
    return v < least ? least : v > most ? most : (int32_t)v;
}

/* The larger side of the strokes' rectangle; and their centre of mass, but not so far off the
 * middle of the rectangle that a stroke would leave the picture. */
static int32_t measure(const piece *pieces, size_t count, point *centre)
{
    int32_t left = INT32_MAX, right = INT32_MIN, top = INT32_MAX, bottom = INT32_MIN;
    int64_t mass = 0, x = 0, y = 0;
    for (size_t i = 0; i < count; i++) {
        const point p = pieces[i].to;
        const int64_t length = (int64_t)iviti_isqrt(squared_distance(pieces[i].from, p)) + 1;
        left = p.x < left ? p.x : left;
        right = p.x > right ? p.x : right;
        top = p.y < top ? p.y : top;
        bottom = p.y > bottom ? p.y : bottom;
        mass += length;
        x += length * p.x;
        y += length * p.y;
    }
    const int32_t larger = right - left > bottom - top ? right - left : bottom - top;
    const int32_t reach = larger * 3 / 5;
    *centre = (point){ limited(x / mass, right - reach, left + reach),
                       limited(y / mass, bottom - reach, top + reach) };
    return larger;
}

static point placed(point p, point centre, int32_t larger, int32_t length, point middle)
{
    return (point){ middle.x + (int32_t)((int64_t)(p.x - centre.x) * length / larger),
                    middle.y + (int32_t)((int64_t)(p.y - centre.y) * length / larger) };
}

/* To the nearest point of a straight piece, found in 1024ths of its length. */
static uint64_t squared_distance_to_piece(point p, const piece *line)
{
    const int64_t x = (int64_t)line->to.x - line->from.x, y = (int64_t)line->to.y - line->from.y;
    const int64_t squared = x * x + y * y;
    if (squared == 0)
        return squared_distance(p, line->from);
    const int64_t along = ((int64_t)p.x - line->from.x) * x + ((int64_t)p.y - line->from.y) * y;
    const int64_t part = along <= 0 ? 0 : along >= squared ? 1024 : along * 1024 / squared;
    return squared_distance(p, (point){ line->from.x + (int32_t)(x * part / 1024),
                                        line->from.y + (int32_t)(y * part / 1024) });
}

static uint8_t brightness(point p, const piece *pieces, size_t count, int32_t radius, int32_t edge)
{
    uint64_t nearest = UINT64_MAX;
    for (size_t i = 0; i < count; i++) {
        const uint64_t d = squared_distance_to_piece(p, &pieces[i]);
        nearest = d < nearest ? d : nearest;
    }
    const int64_t inside = (int64_t)radius + edge / 2 - iviti_isqrt(nearest);
    return (uint8_t)(inside <= 0 ? 0 : inside >= edge ? 255 : inside * 255 / edge);
}

void digit_draw(unsigned digit, uint32_t seed, uint32_t width, uint32_t height, uint8_t *pixels)
{
    piece pieces[MAX_PIECES];
    uint64_t state = (uint64_t)seed << 8 | digit;
    chance(&state, 0, 1); /* neighbouring seeds begin alike */
    const size_t count = write_by_hand(digit, &state, pieces);

    const int32_t side = (int32_t)(width < height ? width : height) * SCALE;
    const int32_t radius = side * chance(&state, 34, 50) / 1000;
    const int32_t length = side * 20 / 28 - 2 * radius; /* of the strokes' middles */
    const int32_t edge = SCALE * 5 / 4;
    const point middle = { (int32_t)width * SCALE / 2, (int32_t)height * SCALE / 2 };
    point centre;
    const int32_t larger = measure(pieces, count, &centre);
    for (size_t i = 0; i < count; i++) {
        pieces[i].from = placed(pieces[i].from, centre, larger, length, middle);
        pieces[i].to = placed(pieces[i].to, centre, larger, length, middle);
    }
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++, pixels += 3) {
            const point p = { (int32_t)x * SCALE + SCALE / 2, (int32_t)y * SCALE + SCALE / 2 };
            memset(pixels, brightness(p, pieces, count, radius, edge), 3);
        }
}

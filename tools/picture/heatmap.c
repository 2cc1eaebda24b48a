/* SPDX-License-Identifier: Apache-2.0
 *
 * The overlay's colour is how much a place is looked at, from blue over green and yellow to red;
 * its strength grows with it, so that what is not looked at stays a dim, gray picture. Between the
 * centres of patches the heat is a cubic B-spline, which is smooth and never goes beyond its
 * neighbours.
 */
#include "picture/heatmap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COLD      0.05  /* share of the patches below the scale of colours */
#define HOT       0.985 /* and up to its end: a few patches may be far hotter than all others */
#define FLAT      0.25 /* of the mean, the least difference between them: an even heat stays even */
#define WEAKEST   0.30 /* strength of the overlay where nothing is looked at */
#define STRONGEST 0.70
#define FADED     0.82 /* of the way to FADED_TO for a patch that was left out */
#define FADED_TO  225.0

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* A sample between patch centres: the first of four neighbours, which may lie outside, and their
 * weights. */
typedef struct spline {
    long first;
    double weight[4];
} spline;

static spline spline_at(uint32_t at, uint32_t size, uint32_t patches)
{
    const double place = (at + 0.5) * patches / size - 0.5;
    const double t = place - floor(place), u = 1 - t;
    return (spline){ (long)floor(place) - 1,
                     { u * u * u / 6, (3 * t * t * t - 6 * t * t + 4) / 6,
                       (3 * u * u * u - 6 * u * u + 4) / 6, t * t * t / 6 } };
}

static size_t inside(long at, uint32_t count)
{
    return at < 0 ? 0 : at >= (long)count ? count - 1 : (size_t)at;
}

static double heat_at(const heatmap *h, const double *scaled, const spline *x, const spline *y)
{
    double sum = 0;
    for (int j = 0; j < 4; j++)
        for (int i = 0; i < 4; i++)
            sum += y->weight[j] * x->weight[i] *
                   scaled[inside(y->first + j, h->rows) * h->columns +
                          inside(x->first + i, h->columns)];
    return sum;
}

/* The heat in units of the scale of colours: 0 is its begin and 1 its end for what is drawn at the
 * centres of patches, where the spline has taken something off a patch that is hot alone. */
static void scale_heat(const heatmap *h, double *sorted, double *out)
{
    const size_t count = (size_t)h->columns * h->rows;
    const spline centre = { -1, { 1.0 / 6, 4.0 / 6, 1.0 / 6, 0 } };
    double mean = 0;
    for (size_t i = 0; i < count; i++) {
        spline x = centre, y = centre;
        x.first += (long)(i % h->columns);
        y.first += (long)(i / h->columns);
        sorted[i] = heat_at(h, h->heat, &x, &y);
        mean += sorted[i] / (double)count;
    }
    qsort(sorted, count, sizeof *sorted, compare);
    const double low = sorted[(size_t)(COLD * (double)(count - 1))];
    const double high = sorted[(size_t)ceil(HOT * (double)(count - 1))];
    const double width = fmax(fmax(high - low, FLAT * mean), 1e-300);
    for (size_t i = 0; i < count; i++)
        out[i] = (h->heat[i] - low) / width;
}

/* 0: dark blue, over blue, cyan, yellow and red to 1: dark red. */
static void colour_of(double heat, double rgb[3])
{
    static const double stops[6][3] = { { 20, 24, 82 },   { 38, 84, 190 }, { 42, 178, 190 },
                                        { 250, 222, 74 }, { 240, 96, 32 }, { 176, 16, 24 } };
    const double place = heat * 5;
    const int first = place >= 5 ? 4 : (int)place;
    for (int c = 0; c < 3; c++)
        rgb[c] = stops[first][c] + (place - first) * (stops[first + 1][c] - stops[first][c]);
}

static double gray_of(const uint8_t *pixel)
{
    return 0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2];
}

static uint8_t to_byte(double value)
{
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value + 0.5);
}

/* Where it is cold a dim gray picture, where it is hot its own colours below the overlay's. */
static void overlay_pixel(const uint8_t *pixel, double heat, uint8_t *out)
{
    const double strength = WEAKEST + (STRONGEST - WEAKEST) * sqrt(heat);
    const double gray = gray_of(pixel);
    double rgb[3];
    colour_of(heat, rgb);
    for (int c = 0; c < 3; c++) {
        const double base = gray + heat * (pixel[c] - gray);
        out[c] = to_byte(base + strength * (rgb[c] - base));
    }
}

static void draw_overlay(const heatmap *h, const double *scaled, uint8_t *out, size_t stride)
{
    for (uint32_t y = 0; y < h->height; y++) {
        const spline down = spline_at(y, h->height, h->rows);
        for (uint32_t x = 0; x < h->width; x++) {
            const spline right = spline_at(x, h->width, h->columns);
            overlay_pixel(h->pixels + ((size_t)y * h->width + x) * 3,
                          fmin(fmax(heat_at(h, scaled, &right, &down), 0), 1),
                          out + y * stride + x * 3);
        }
    }
}

static void draw_stage(const heatmap *h, const uint8_t *kept, uint8_t *out, size_t stride)
{
    for (uint32_t y = 0; y < h->height; y++)
        for (uint32_t x = 0; x < h->width; x++) {
            const size_t row = (uint64_t)y * h->rows / h->height;
            const size_t column = (uint64_t)x * h->columns / h->width;
            const uint8_t *pixel = h->pixels + ((size_t)y * h->width + x) * 3;
            uint8_t *const to = out + y * stride + x * 3;
            const double gray = gray_of(pixel);
            for (int c = 0; c < 3; c++)
                to[c] = kept[row * h->columns + column] ? pixel[c]
                                                        : to_byte(gray + FADED * (FADED_TO - gray));
        }
}

uint8_t *heatmap_draw(const heatmap *h, uint32_t *width, uint32_t *height)
{
    const size_t panels = 2 + h->stages, patches = (size_t)h->columns * h->rows;
    const size_t stride = 3 * (panels * h->width + (panels - 1) * HEATMAP_GAP);
    const size_t step = 3 * ((size_t)h->width + HEATMAP_GAP);
    uint8_t *const out = malloc(stride * h->height);
    double *const scaled = malloc(2 * patches * sizeof *scaled);
    if (out != NULL && scaled != NULL) {
        memset(out, 255, stride * h->height);
        for (size_t y = 0; y < h->height; y++)
            memcpy(out + y * stride, h->pixels + y * h->width * 3, (size_t)h->width * 3);
        scale_heat(h, scaled + patches, scaled);
        draw_overlay(h, scaled, out + step, stride);
        for (size_t i = 0; i < h->stages; i++)
            draw_stage(h, h->kept + i * patches, out + (2 + i) * step, stride);
        *width = (uint32_t)(stride / 3);
        *height = h->height;
        free(scaled);
        return out;
    }
    free(out);
    free(scaled);
    return NULL;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * draw-digits FOLDER [COUNT [WIDTH [HEIGHT]]]: writes COUNT pictures of each digit (default 1) of
 * WIDTH x HEIGHT pixels (default 28, and WIDTH) as FOLDER/digit-D.png, or FOLDER/digit-D-N.png
 * where there are more, and labels.tsv. Enough to calibrate and try a model of digits without any
 * other picture.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "picture/digit.h"
#include "picture/write_png.h"

/* A whole number in [least, most], or 0. */
static uint32_t parse(const char *text, uint32_t least, uint32_t most)
{
    char *end;
    const unsigned long value = strtoul(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == '\0' && value >= least && value <= most
               ? (uint32_t)value
               : 0;
}

static bool draw_all(const char *folder, uint32_t count, uint32_t width, uint32_t height,
                     FILE *labels, uint8_t *pixels, report *r)
{
    for (uint32_t n = 0; n < count; n++)
        for (unsigned digit = 0; digit < 10; digit++) {
            char name[64], path[4096];
            if (count == 1)
                snprintf(name, sizeof name, "digit-%u.png", digit);
            else
                snprintf(name, sizeof name, "digit-%u-%03u.png", digit, n);
            snprintf(path, sizeof path, "%s/%s", folder, name);
            digit_draw(digit, n, width, height, pixels);
            if (!write_png(path, pixels, width, height, 3, r))
                return false;
            fprintf(labels, "%s\t%u\n", name, digit);
        }
    return true;
}

int main(int argc, char **argv)
{
    const uint32_t count = argc > 2 ? parse(argv[2], 1, 1000) : 1;
    const uint32_t width = argc > 3 ? parse(argv[3], 1, DIGIT_MAX_SIDE) : 28;
    const uint32_t height = argc > 4 ? parse(argv[4], 1, DIGIT_MAX_SIDE) : width;
    report r = { "" };
    char path[4096];
    if (argc < 2 || argc > 5 || count == 0 || width == 0 || height == 0) {
        fprintf(
            stderr,
            "usage: draw-digits FOLDER [COUNT [WIDTH [HEIGHT]]], COUNT 1 to 1000, sides 1 to %u\n",
            DIGIT_MAX_SIDE);
        return 2;
    }
    snprintf(path, sizeof path, "%s/labels.tsv", argv[1]);
    uint8_t *const pixels = malloc((size_t)3 * width * height);
    FILE *const labels = fopen(path, "w");
    bool done = pixels && labels;
    if (!pixels)
        report_fail(&r, "not enough memory");
    else if (!labels)
        report_fail(&r, "%s: cannot be created: %s", path, strerror(errno));
    done = done && draw_all(argv[1], count, width, height, labels, pixels, &r);
    if (labels && fclose(labels) != 0 && done)
        done = report_fail(&r, "%s: cannot be written: %s", path, strerror(errno));
    free(pixels);
    if (!done)
        fprintf(stderr, "draw-digits: %s\n", r.text);
    return done ? 0 : 1;
}

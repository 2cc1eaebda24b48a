/* SPDX-License-Identifier: Apache-2.0
 *
 * From a picture of any size to the network's pixels: where the crop lies, and a resize that
 * computes nothing but the crop.
 *
 * The picture's rows are read once, from top to bottom. Each is resized horizontally into a row of
 * the crop's width and then given to the vertical pass, which holds at most four rows at a time:
 *
 *  - shrinking (more input rows than output rows): an input row takes part in at most four output
 *    rows, whose int32 sums are kept while they last;
 *  - growing: an output row takes part of at most four input rows, the last of which are kept.
 *
 * Both hold because a filter reaches `support` (1 or 2) units to either side of a centre and
 * centres lie one unit apart, in a half-open interval of 2 * support units. So scratch is a few
 * rows of the crop, and the filter coefficients of the crop's columns and rows.
 */
#ifndef IVITI_IMAGE_H
#define IVITI_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "iviti/kernels.h"
#include "kernels/kernel.h"
#include "model/geometry.h"

#define IVITI_MAX_SIDE    65535u     /* of a picture */
#define IVITI_MAX_PIXELS  (1u << 28) /* width times height of a picture */
#define IVITI_MAX_RESIZED (1u << 28) /* side of a resized picture, never stored whole */

/* ---- filter coefficients ----------------------------------------------------------------- */

/* One direction of a resize: of `out` samples made from `in`, [first, first + count) are wanted. */
typedef struct iviti_axis {
    uint32_t in;  /* 1 to IVITI_MAX_SIDE */
    uint32_t out; /* 1 to IVITI_MAX_RESIZED */
    uint32_t first;
    uint32_t count;
} iviti_axis;

/* No window of this axis has more taps. Even, so that taps come in pairs. */
uint32_t iviti_axis_taps(const iviti_axis *axis, iviti_interpolation interpolation);

/* windows (count), coefficients (count, iviti_axis_taps) in units of 2^-22; the tails of the rows
 * of coefficients are not written. Neither end of a window ever moves backwards. */
void iviti_axis_coefficients(const iviti_axis *axis, iviti_interpolation interpolation,
                             iviti_window *windows, int32_t *coefficients);

/* ---- resize ------------------------------------------------------------------------------ */

/* A rectangle of the resized picture. */
typedef struct iviti_resample {
    iviti_axis x;
    iviti_axis y;
    iviti_interpolation interpolation;
} iviti_resample;

size_t iviti_resample_scratch(const iviti_resample *job);

/* in: a picture that iviti_image_check accepts, of the sizes in `job`; out (y.count, x.count, 3);
 * scratch of iviti_resample_scratch() bytes, of any alignment. */
void iviti_resample_run(const iviti_resample *job, const iviti_kernels *kernels,
                        const iviti_image *in, uint8_t *out, void *scratch);

/* The reference's resample_row and resample_add, and no other operator. */
extern const iviti_kernels iviti_resample_reference;

/* IVITI_OK, ARGUMENT or IMAGE_SIZE. */
iviti_status iviti_image_check(const iviti_image *image);

/* ---- windows ----------------------------------------------------------------------------- */

/* Square windows over a padded map, as the rows of a convolution's product. */
typedef struct iviti_window_grid {
    uint32_t width, height; /* of the map */
    uint32_t channels;
    uint32_t kernel, stride, padding;
    uint32_t columns, rows; /* of windows */
} iviti_window_grid;

/* Windows [first, first + count) in row-major order, of map (height, width, channels), to out (count,
 * out_stride): row by row, channels interleaved. around (channels): what stands outside the map; NULL: 0. */
void iviti_extract_windows(const iviti_window_grid *grid, const uint8_t *map, const uint8_t *around,
                           size_t first, size_t count, uint8_t *out, size_t out_stride);

/* ---- fit --------------------------------------------------------------------------------- */

/* Where the network's pixels lie: the resize, and the part of it that enters the network.
 * picture: accepted by iviti_image_check; preprocess.resize at least either side of the network's
 * image where it crops. */
void iviti_fit_place(const iviti_preprocess *preprocess, uint32_t image_width,
                     uint32_t image_height, uint32_t picture_width, uint32_t picture_height,
                     iviti_resample *job);

/* Enough scratch for iviti_fit_image with every picture that iviti_image_check accepts. */
size_t iviti_fit_scratch(const iviti_preprocess *preprocess, uint32_t image_width,
                         uint32_t image_height);

/* Resizes and crops `picture` to out (image_height, image_width, 3) with the reference kernels.
 * Returns IVITI_OK, ARGUMENT, IMAGE_SIZE or BUFFER. */
iviti_status iviti_fit_image(const iviti_preprocess *preprocess, uint32_t image_width,
                             uint32_t image_height, const iviti_image *picture, uint8_t *out,
                             void *scratch, size_t scratch_bytes);

/* Rows [first, first + count) of that, into the same out, which several threads may fill side by
 * side, each with a scratch of iviti_fit_scratch() bytes. picture: accepted by iviti_image_check. */
void iviti_fit_rows(const iviti_preprocess *preprocess, const iviti_kernels *kernels,
                    uint32_t image_width, uint32_t image_height, const iviti_image *picture,
                    uint32_t first, uint32_t count, uint8_t *out, void *scratch);

/* ---- patches ----------------------------------------------------------------------------- */

/* Patches [first, first + count) of those of iviti_extract_patches (kernels.h), the first to `out`. */
void iviti_extract_some_patches(const uint8_t *pixels, ptrdiff_t stride, uint32_t width,
                                uint32_t patch, size_t first, size_t count, uint8_t *out,
                                size_t out_stride);

#endif

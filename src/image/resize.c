/* SPDX-License-Identifier: Apache-2.0
 *
 * Antialiased resize of RGB8 pictures with the bits of Pillow's Image.resize. image.h tells the
 * scheme.
 *
 * The horizontal pass comes first, always, as in the Pillow that today's models were trained and
 * measured with. Pillow 13 begins vertically where the height shrinks by more than twice the pixels
 * that the width shrinks by (12.3: where the height is more than a hundred times the width); as the
 * passes round to 8 bits in between, its tall pictures then differ a little from its older ones.
 *
 * Both passes are sums of u8 * coefficient in int32, begun at 1/2, shifted down by the 22 bits of
 * the coefficients and clamped to u8. The magnitudes of a window's coefficients sum to less than
 * 1.3 * 2^22, times 255 is below 2^31.
 */
#include "image/image.h"

#include <string.h>

#include "kernels/ref/ref.h"

#define CHANNELS  3u
#define ROWS      4u /* that the vertical pass holds: 2 * support of the widest filter */
#define ALIGNMENT 64u

/* Scratch, laid out. */
typedef struct buffers {
    iviti_window *x_windows; /* (x.count) */
    iviti_window *y_windows; /* (y.count) */
    int32_t *x_coefficients; /* (x.count, x_taps), then the same in pairs */
    int32_t *y_coefficients; /* (y.count, y_taps) */
    int32_t *sums;           /* (ROWS, 3 * x.count) */
    uint8_t *rows;           /* (ROWS, 3 * x.count) resized horizontally */
    uint32_t x_taps;
    uint32_t y_taps;
    size_t row; /* 3 * x.count */
    iviti_row_filter filter;
    const iviti_kernels *kernels;
} buffers;

const iviti_kernels iviti_resample_reference = { .resample_row = iviti_resample_row_ref,
                                                 .resample_add = iviti_resample_add_ref };

static size_t aligned(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* Takes `bytes` from the front of what is left; with `base` NULL only counts. */
static void *take(uint8_t *base, size_t *used, size_t bytes)
{
    void *const at = base ? base + *used : NULL;
    *used += aligned(bytes);
    return at;
}

static size_t lay_out(const iviti_resample *job, uint8_t *base, buffers *b)
{
    size_t used = 0;
    b->x_taps = iviti_axis_taps(&job->x, job->interpolation);
    b->y_taps = iviti_axis_taps(&job->y, job->interpolation);
    b->row = (size_t)CHANNELS * job->x.count;
    b->x_windows = take(base, &used, job->x.count * sizeof *b->x_windows);
    b->y_windows = take(base, &used, job->y.count * sizeof *b->y_windows);
    b->x_coefficients = take(base, &used, (size_t)job->x.count * b->x_taps * sizeof(int32_t));
    b->y_coefficients = take(base, &used, (size_t)job->y.count * b->y_taps * sizeof(int32_t));
    b->sums = take(base, &used, ROWS * b->row * sizeof(int32_t));
    b->rows = take(base, &used, ROWS * b->row);
    return used;
}

size_t iviti_resample_scratch(const iviti_resample *job)
{
    buffers b;
    return lay_out(job, NULL, &b) + ALIGNMENT - 1;
}

/* The coefficients of the columns, pair by pair in the place where they lie, as the kernel wants
 * them. Two of s32 and a pair take the same eight bytes. */
static iviti_row_filter pair_up(const iviti_resample *job, const buffers *b)
{
    const size_t stride = b->x_taps / 2;
    iviti_tap_pair *pairs = (iviti_tap_pair *)b->x_coefficients;

    for (uint32_t x = 0; x < job->x.count; x++) {
        const uint32_t taps = b->x_windows[x].taps;
        for (uint32_t t = 0; t < b->x_taps; t += 2) {
            int32_t c[2];
            memcpy(c, b->x_coefficients + (size_t)x * b->x_taps + t, sizeof c);
            for (uint32_t i = 0; i < 2; i++)
                c[i] = t + i < taps ? c[i] : 0;
            const iviti_tap_pair pair = {
                { (int16_t)(c[0] & (IVITI_TAP_UNIT - 1)), (int16_t)(c[1] & (IVITI_TAP_UNIT - 1)) },
                { (int16_t)(c[0] >> IVITI_TAP_BITS), (int16_t)(c[1] >> IVITI_TAP_BITS) },
            };
            memcpy(pairs + x * stride + t / 2, &pair, sizeof pair);
        }
    }
    return (iviti_row_filter){ job->x.in, job->x.count, b->x_windows, pairs, stride };
}

static void resize_row(const iviti_resample *job, const buffers *b, const uint8_t *in, uint8_t *out)
{
    if (job->x.in == job->x.out)
        memcpy(out, in + (size_t)CHANNELS * job->x.first, b->row);
    else
        b->kernels->resample_row(&b->filter, in, out);
}

static void begin_sums(int32_t *restrict sums, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sums[i] = IVITI_COEFFICIENT_HALF;
}

static void finish_row(const int32_t *restrict sums, uint8_t *restrict out, size_t count)
{
    for (size_t i = 0; i < count; i++)
        out[i] = iviti_resampled(sums[i]);
}

static const uint8_t *row_of(const iviti_image *in, uint32_t y)
{
    return in->pixels + (ptrdiff_t)y * in->stride;
}

/* More input rows than output rows: every input row is added to the outputs it takes part in. */
static void shrink(const iviti_resample *job, const buffers *b, const iviti_image *in, uint8_t *out)
{
    uint32_t begun = 0, finished = 0; /* output rows */
    for (uint32_t y = b->y_windows[0].first; finished < job->y.count; y++) {
        resize_row(job, b, row_of(in, y), b->rows);
        for (; begun < job->y.count && b->y_windows[begun].first <= y; begun++)
            begin_sums(b->sums + begun % ROWS * b->row, b->row);
        for (uint32_t i = finished; i < begun; i++) {
            const uint32_t tap = y - b->y_windows[i].first;
            if (tap < b->y_windows[i].taps)
                b->kernels->resample_add(b->sums + i % ROWS * b->row, b->rows,
                                         b->y_coefficients[(size_t)i * b->y_taps + tap], b->row);
        }
        for (; finished < begun &&
               b->y_windows[finished].first + b->y_windows[finished].taps == y + 1;
             finished++)
            finish_row(b->sums + finished % ROWS * b->row, out + finished * b->row, b->row);
    }
}

/* More output rows than input rows: every output row is made of the last input rows. */
static void grow(const iviti_resample *job, const buffers *b, const iviti_image *in, uint8_t *out)
{
    uint32_t next = b->y_windows[0].first; /* input row */
    for (uint32_t i = 0; i < job->y.count; i++) {
        const iviti_window window = b->y_windows[i];
        const int32_t *coefficient = b->y_coefficients + (size_t)i * b->y_taps;
        for (; next < window.first + window.taps; next++)
            resize_row(job, b, row_of(in, next), b->rows + next % ROWS * b->row);
        begin_sums(b->sums, b->row);
        for (uint32_t t = 0; t < window.taps; t++)
            b->kernels->resample_add(b->sums, b->rows + (window.first + t) % ROWS * b->row,
                                     coefficient[t], b->row);
        finish_row(b->sums, out + i * b->row, b->row);
    }
}

void iviti_resample_run(const iviti_resample *job, const iviti_kernels *kernels,
                        const iviti_image *in, uint8_t *out, void *scratch)
{
    buffers b;
    uint8_t *const base = scratch;
    const size_t offset = (ALIGNMENT - (uintptr_t)base % ALIGNMENT) % ALIGNMENT;
    lay_out(job, base + offset, &b);

    iviti_axis_coefficients(&job->x, job->interpolation, b.x_windows, b.x_coefficients);
    iviti_axis_coefficients(&job->y, job->interpolation, b.y_windows, b.y_coefficients);
    b.filter = pair_up(job, &b);
    b.kernels = kernels;
    if (job->y.in == job->y.out)
        for (uint32_t i = 0; i < job->y.count; i++)
            resize_row(job, &b, row_of(in, job->y.first + i), out + i * b.row);
    else if (job->y.in > job->y.out)
        shrink(job, &b, in, out);
    else
        grow(job, &b, in, out);
}

iviti_status iviti_image_check(const iviti_image *image)
{
    if (!image || !image->pixels)
        return IVITI_ERROR_ARGUMENT;
    if (image->width == 0 || image->height == 0 || image->width > IVITI_MAX_SIDE ||
        image->height > IVITI_MAX_SIDE || (uint64_t)image->width * image->height > IVITI_MAX_PIXELS)
        return IVITI_ERROR_IMAGE_SIZE;
    const ptrdiff_t row = (ptrdiff_t)(CHANNELS * image->width);
    if (image->height > 1 && image->stride < row && image->stride > -row)
        return IVITI_ERROR_ARGUMENT;
    return IVITI_OK;
}

static iviti_resample whole(uint32_t in_width, uint32_t in_height, uint32_t out_width,
                            uint32_t out_height, iviti_interpolation interpolation)
{
    return (iviti_resample){ .x = { in_width, out_width, 0, out_width },
                             .y = { in_height, out_height, 0, out_height },
                             .interpolation = interpolation };
}

static bool is_side(uint32_t side)
{
    return side >= 1 && side <= IVITI_MAX_SIDE;
}

size_t iviti_resize_scratch(uint32_t in_width, uint32_t in_height, uint32_t out_width,
                            uint32_t out_height, iviti_interpolation interpolation)
{
    if (!is_side(in_width) || !is_side(in_height) || !is_side(out_width) || !is_side(out_height) ||
        (interpolation != IVITI_BILINEAR && interpolation != IVITI_BICUBIC))
        return 0;
    const iviti_resample job = whole(in_width, in_height, out_width, out_height, interpolation);
    return iviti_resample_scratch(&job);
}

iviti_status iviti_resize(const iviti_image *in, iviti_interpolation interpolation,
                          uint32_t out_width, uint32_t out_height, uint8_t *out, void *scratch,
                          size_t scratch_bytes)
{
    const iviti_status status = iviti_image_check(in);
    if (status != IVITI_OK)
        return status;
    if (!is_side(out_width) || !is_side(out_height))
        return IVITI_ERROR_IMAGE_SIZE;
    if (!out || (interpolation != IVITI_BILINEAR && interpolation != IVITI_BICUBIC))
        return IVITI_ERROR_ARGUMENT;
    const iviti_resample job = whole(in->width, in->height, out_width, out_height, interpolation);
    if (!scratch || scratch_bytes < iviti_resample_scratch(&job))
        return IVITI_ERROR_BUFFER;
    iviti_resample_run(&job, &iviti_resample_reference, in, out, scratch);
    return IVITI_OK;
}

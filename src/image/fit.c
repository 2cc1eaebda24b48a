/* SPDX-License-Identifier: Apache-2.0
 *
 * How a picture of any size becomes the network's pixels, as the training pipelines of this field
 * do it: shorter side to a given length, then the centre; or both sides to the network's.
 */
#include "image/image.h"

/* Half the surplus, rounded half to even as the pipelines' round() does. */
static uint32_t centre_offset(uint32_t side, uint32_t crop)
{
    const uint32_t surplus = side - crop;
    const uint32_t half = surplus / 2;
    return surplus % 2 ? half + half % 2 : half;
}

void iviti_fit_place(const iviti_preprocess *preprocess, uint32_t image_width,
                     uint32_t image_height, uint32_t picture_width, uint32_t picture_height,
                     iviti_resample *job)
{
    uint32_t width = image_width;
    uint32_t height = image_height;
    if (preprocess->fit == IVITI_FIT_CROP) {
        const uint64_t target = preprocess->resize;
        width = height = preprocess->resize;
        if (picture_width < picture_height)
            height = (uint32_t)(target * picture_height / picture_width);
        else
            width = (uint32_t)(target * picture_width / picture_height);
    }
    job->x = (iviti_axis){ picture_width, width, centre_offset(width, image_width), image_width };
    job->y =
        (iviti_axis){ picture_height, height, centre_offset(height, image_height), image_height };
    job->interpolation = preprocess->interpolation;
}

/* Bound of one axis' coefficients with the picture's side at most `side`: `count` windows of at
 * most ceil(4 * max(in, out) / out) taps, or one more where that is odd.
 *
 * Where the picture is squashed, out = count. Where it is cropped, the shorter side S becomes
 * exactly T and the longer L becomes floor(T * L / S) >= T * L / S * T / (T + 1), so that in / out
 * is at most (S / T) * (T + 1) / T on either axis, with S at most the root of the limit of pixels.
 */
static uint64_t axis_bound(uint64_t side, uint64_t out, uint64_t count, bool cropped)
{
    const uint64_t larger = side > out ? side : out;
    const uint64_t numerator = cropped ? 4 * larger * (out + 1) : 4 * larger;
    const uint64_t denominator = cropped ? out * out : out;
    return count * (numerator / denominator + 2);
}

size_t iviti_fit_scratch(const iviti_preprocess *preprocess, uint32_t image_width,
                         uint32_t image_height)
{
    const uint64_t root = 16384; /* the shorter side's limit: root^2 = IVITI_MAX_PIXELS */
    const uint64_t other = IVITI_MAX_PIXELS / IVITI_MAX_SIDE + 1; /* beside a side of full length */
    uint64_t coefficients;
    if (preprocess->fit == IVITI_FIT_CROP) {
        coefficients = axis_bound(root, preprocess->resize, image_width, true) +
                       axis_bound(root, preprocess->resize, image_height, true);
    } else {
        /* Width plus height is largest where one of them is. */
        const uint64_t wide = axis_bound(IVITI_MAX_SIDE, image_width, image_width, false) +
                              axis_bound(other, image_height, image_height, false);
        const uint64_t tall = axis_bound(other, image_width, image_width, false) +
                              axis_bound(IVITI_MAX_SIDE, image_height, image_height, false);
        coefficients = wide > tall ? wide : tall;
    }
    /* Without coefficients, and with the alignment of their two arrays. */
    const iviti_resample rows = { .x = { image_width, image_width, 0, image_width },
                                  .y = { image_height, image_height, 0, image_height },
                                  .interpolation = preprocess->interpolation };
    return iviti_resample_scratch(&rows) + (size_t)coefficients * sizeof(int32_t) + 128;
}

iviti_status iviti_fit_image(const iviti_preprocess *preprocess, uint32_t image_width,
                             uint32_t image_height, const iviti_image *picture, uint8_t *out,
                             void *scratch, size_t scratch_bytes)
{
    const iviti_status status = iviti_image_check(picture);
    if (status != IVITI_OK)
        return status;
    if (preprocess->fit == IVITI_FIT_CROP &&
        (preprocess->resize < image_width || preprocess->resize < image_height))
        return IVITI_ERROR_ARGUMENT;
    iviti_resample job;
    iviti_fit_place(preprocess, image_width, image_height, picture->width, picture->height, &job);
    if (scratch_bytes < iviti_resample_scratch(&job))
        return IVITI_ERROR_BUFFER;
    iviti_resample_run(&job, &iviti_resample_reference, picture, out, scratch);
    return IVITI_OK;
}

void iviti_fit_rows(const iviti_preprocess *preprocess, const iviti_kernels *kernels,
                    uint32_t image_width, uint32_t image_height, const iviti_image *picture,
                    uint32_t first, uint32_t count, uint8_t *out, void *scratch)
{
    iviti_resample job;
    if (!count)
        return;
    iviti_fit_place(preprocess, image_width, image_height, picture->width, picture->height, &job);
    job.y.first += first;
    job.y.count = count;
    iviti_resample_run(&job, kernels, picture, out + (size_t)first * image_width * 3, scratch);
}

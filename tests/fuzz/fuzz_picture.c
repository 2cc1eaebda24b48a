/* SPDX-License-Identifier: Apache-2.0
 *
 * Pictures: inspect, decode, and resize what was decoded to what a network takes. A PNG is also tried with
 * the checksums of its chunks made right.
 */
#include "fuzz.h"

#include <zlib.h>

#include "image/image.h"
#include "iviti/kernels.h"
#include "picture/picture.h"

#define SIDE 24

static void fit(const picture *p, iviti_fit how, iviti_interpolation interpolation)
{
    static uint8_t out[SIDE * SIDE * 3];
    const iviti_preprocess preprocess = { how, SIDE, interpolation };
    const iviti_image image = { p->pixels, p->width, p->height, 3 * (ptrdiff_t)p->width };
    const size_t bytes = iviti_fit_scratch(&preprocess, SIDE, SIDE);
    void *const scratch = malloc(bytes);
    FUZZ_PROMISE(scratch != NULL);
    FUZZ_PROMISE(iviti_fit_image(&preprocess, SIDE, SIDE, &image, out, scratch, bytes) == IVITI_OK);
    free(scratch);
}

static void decode(const uint8_t *data, size_t size)
{
    picture p = { NULL, 0, 0 };
    report r = { "" };
    if (!picture_decode(data, size, "input", &p, &r)) {
        FUZZ_PROMISE(p.pixels == NULL && strncmp(r.text, "input: ", 7) == 0);
        return;
    }
    FUZZ_PROMISE(p.width >= 1 && p.width <= PICTURE_MAX_SIDE && p.height >= 1 &&
                 p.height <= PICTURE_MAX_SIDE);
    fit(&p, IVITI_FIT_CROP, IVITI_BICUBIC);
    fit(&p, IVITI_FIT_SQUASH, IVITI_BILINEAR);
    picture_free(&p);
}

static uint32_t big_endian(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void seal_png(uint8_t *png, size_t size)
{
    for (size_t at = 8; size - at >= 12;) {
        const uint32_t length = big_endian(png + at);
        if (length > size - at - 12)
            return;
        const uint32_t crc = (uint32_t)crc32(0, png + at + 4, (uInt)length + 4);
        for (int i = 0; i < 4; i++)
            png[at + 8 + length + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
        at += 12 + (size_t)length;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    decode(data, size);
    if (size < 8 || data[0] != 0x89)
        return 0;
    uint8_t *const sealed = fuzz_copy(data, size);
    seal_png(sealed, size);
    decode(sealed, size);
    free(sealed);
    return 0;
}

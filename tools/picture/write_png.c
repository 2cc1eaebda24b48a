/* SPDX-License-Identifier: Apache-2.0
 *
 * PNG files by way of stb_image_write, compiled here and nowhere else.
 */
#define _POSIX_C_SOURCE 200809L

#include "picture/write_png.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "picture/picture.h"

#define STBI_WRITE_NO_STDIO
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb_image_write.h>

typedef struct sink {
    FILE *file;
    int error; /* errno of the first failure, or 0 */
} sink;

static void put(void *context, void *data, int size)
{
    sink *const s = context;
    if (!s->error && fwrite(data, 1, (size_t)size, s->file) != (size_t)size)
        s->error = errno ? errno : EIO;
}

bool encode_png(void (*take)(void *context, void *data, int size), void *context,
                const uint8_t *pixels, uint32_t width, uint32_t height, uint32_t channels)
{
    return stbi_write_png_to_func(take, context, (int)width, (int)height, (int)channels, pixels,
                                  (int)(width * channels)) != 0;
}

bool write_png(const char *path, const uint8_t *pixels, uint32_t width, uint32_t height,
               uint32_t channels, report *r)
{
    if (width == 0 || height == 0 || width > PICTURE_MAX_SIDE || height > PICTURE_MAX_SIDE ||
        (uint64_t)width * height > PICTURE_MAX_PIXELS || (channels != 1 && channels != 3))
        return report_fail(r, "%s: picture of %u x %u pixels and %u channels cannot be written",
                           path, width, height, channels);
    sink s = { fopen(path, "wb"), 0 };
    if (!s.file)
        return report_fail(r, "%s: cannot be created: %s", path, strerror(errno));
    const bool done = encode_png(put, &s, pixels, width, height, channels);
    if (fclose(s.file) != 0 && !s.error)
        s.error = errno;
    if (done && !s.error)
        return true;
    struct stat status;
    if (stat(path, &status) == 0 && S_ISREG(status.st_mode)) /* never a device */
        remove(path);
    return report_fail(r, "%s: cannot be written: %s", path,
                       s.error ? strerror(s.error) : "not enough memory");
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * From file to pixels: read, inspect, decode.
 */
#include "picture/picture.h"

#include <stdlib.h>

#include "picture/file_bytes.h"
#include "picture/inspect.h"
#include "picture/png_reduce.h"
#include "picture/stb_decode.h"

bool picture_decode(const uint8_t *data, size_t size, const char *name, picture *out, report *r)
{
    inspection found;
    if (size > PICTURE_MAX_FILE)
        return report_fail(r, "%s: file of %zu bytes; the limit is %llu", name, size,
                           (unsigned long long)PICTURE_MAX_FILE);
    if (!inspect_picture(data, size, name, &found, r))
        return false;
    uint8_t *reduced = NULL;
    if (found.format == PICTURE_PNG) {
        reduced = png_reduce(data, &size);
        if (!reduced)
            return report_fail(r, "%s: no memory for a picture of %zu bytes", name, size);
        data = reduced;
    }
    const char *reason = NULL;
    uint8_t *const pixels = stb_decode(data, size, found.width, found.height, &reason);
    free(reduced);
    if (!pixels)
        return report_fail(r, "%s: picture of %u x %u pixels cannot be decoded, %s", name,
                           found.width, found.height, reason);
    *out = (picture){ pixels, found.width, found.height };
    return true;
}

bool picture_load(const char *path, picture *out, report *r)
{
    uint8_t *data;
    size_t size;
    if (!file_bytes_read(path, PICTURE_MAX_FILE, &data, &size, r))
        return false;
    const bool done = picture_decode(data, size, path, out, r);
    free(data);
    return done;
}

void picture_free(picture *p)
{
    if (!p)
        return;
    free(p->pixels);
    *p = (picture){ NULL, 0, 0 };
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "quantize/calibration.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/progress.h"
#include "image/image.h"
#include "picture/folder.h"
#include "picture/picture.h"

static bool load_one(const iviti_geometry *g, const char *path, uint8_t *pixels, void *scratch,
                     size_t scratch_bytes, report *r)
{
    picture p = { 0 };
    if (!picture_load(path, &p, r))
        return false;
    const iviti_image image = { p.pixels, p.width, p.height, (ptrdiff_t)p.width * 3 };
    const iviti_status status = iviti_fit_image(&g->preprocess, g->image_width, g->image_height,
                                              &image, pixels, scratch, scratch_bytes);
    picture_free(&p);
    return status == IVITI_OK || report_fail(r, "%s: %s", path, iviti_status_text(status));
}

static void load_all(const iviti_geometry *g, const folder *f, size_t limit, bool quiet,
                     void *scratch, size_t scratch_bytes, calibration *c)
{
    const size_t bytes = (size_t)g->image_width * g->image_height * 3;
    progress p;

    progress_start(&p, "reading pictures", limit, quiet);
    for (size_t i = 0; i < limit; i++) {
        report why = { "" };
        const char *path = f->paths[i * f->count / limit];
        if (load_one(g, path, c->pixels + c->count * bytes, scratch, scratch_bytes, &why))
            c->count++;
        else if (c->skipped++ == 0)
            snprintf(c->first_skipped, sizeof c->first_skipped, "%s", why.text);
        progress_set(&p, i + 1);
    }
    progress_end(&p);
}

bool calibration_load(const iviti_geometry *g, const char *path, size_t limit, bool quiet,
                      calibration *out, report *r)
{
    const size_t bytes = (size_t)g->image_width * g->image_height * 3;
    const size_t scratch_bytes =
        iviti_fit_scratch(&g->preprocess, g->image_width, g->image_height);
    folder f = { 0 };

    if (!folder_open(path, &f, r))
        return false;
    if (limit > f.count)
        limit = f.count;

    calibration c = { .pixels = malloc(limit * bytes) };
    void *scratch = malloc(scratch_bytes);
    const bool room = c.pixels && scratch;
    if (room)
        load_all(g, &f, limit, quiet, scratch, scratch_bytes, &c);
    free(scratch);
    folder_free(&f);
    if (!room || c.count == 0) {
        free(c.pixels);
        return room ? report_fail(r, "%s: none of its pictures can be read; the first says: %s",
                                  path, c.first_skipped)
                    : report_fail(r, "%s: out of memory for %zu pictures", path, limit);
    }
    *out = c;
    return true;
}

void calibration_free(calibration *c)
{
    free(c->pixels);
    c->pixels = NULL;
}

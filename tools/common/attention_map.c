/* SPDX-License-Identifier: Apache-2.0
 *
 * The heat is the class token's attention, the mean over all heads, averaged over the last two
 * thirds of the blocks: the first ones look at everything. In trained networks a few patches of the
 * background draw very much attention in the last blocks, as places to keep things in rather than
 * to look at, so that the last block alone shows little else; four times the mean of a block is the
 * most that counts. The panels show the picture as the network saw it, cut out in the same way but
 * larger, from the original's pixels.
 */
#include "common/attention_map.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/image.h"
#include "model/model.h"
#include "picture/heatmap.h"
#include "picture/write_png.h"

#define PANEL 448 /* pixels that a panel's longer side should have */
#define MOST  4.0 /* times the mean: the most that a patch counts in one block */

bool attention_map_possible(const iviti_model *model, const char *path, report *r)
{
    iviti_model_info info;
    iviti_model_describe(model, &info);
    return info.prefix_tokens > 0 ||
           report_fail(r,
                       "%s: has no class token, whose attention a heat map shows: a Swin averages "
                       "all of its tokens",
                       path);
}

uint32_t attention_map_zoom(const iviti_model_info *info)
{
    const uint32_t longer =
        info->image_width > info->image_height ? info->image_width : info->image_height;
    return longer < PANEL ? PANEL / longer : 1;
}

bool attention_map_named(const char *path)
{
    static const char ending[] = ".png";
    const size_t length = strlen(path), bytes = sizeof ending - 1;
    if (length <= bytes)
        return false;
    for (size_t i = 0; i < bytes; i++)
        if (tolower((unsigned char)path[length - bytes + i]) != ending[i])
            return false;
    return true;
}

bool attention_map_path(const char *out, uint64_t number, char path[ATTENTION_MAP_PATH], report *r)
{
    const size_t stem = strlen(out) - strlen(".png");
    const int length = number > 0 ? snprintf(path, ATTENTION_MAP_PATH, "%.*s-%04llu%s", (int)stem,
                                             out, (unsigned long long)number, out + stem)
                                  : snprintf(path, ATTENTION_MAP_PATH, "%s", out);
    return (length > 0 && length < ATTENTION_MAP_PATH) ||
           report_fail(r, "--heatmap: the path is longer than %d bytes", ATTENTION_MAP_PATH - 1);
}

/* ---- parts ------------------------------------------------------------------------------------
 */

/* The picture as the network sees it, `zoom` times as large. */
static uint8_t *fit_panel(const iviti_geometry *g, const picture *image, uint32_t zoom)
{
    const uint32_t width = g->image_width * zoom, height = g->image_height * zoom;
    iviti_preprocess larger = g->preprocess;
    larger.resize *= zoom;
    const size_t scratch_bytes = iviti_fit_scratch(&larger, width, height);
    const iviti_image view = { image->pixels, image->width, image->height,
                               (ptrdiff_t)image->width * 3 };
    uint8_t *pixels = malloc((size_t)width * height * 3);
    void *const scratch = malloc(scratch_bytes);
    if (pixels == NULL || scratch == NULL ||
        iviti_fit_image(&larger, width, height, &view, pixels, scratch, scratch_bytes) !=
            IVITI_OK) {
        free(pixels);
        pixels = NULL;
    }
    free(scratch);
    return pixels;
}

/* Adds a block's attention in units of its mean over the patches that are left. */
static void add_block(const uint16_t *attention, size_t patches, double *heat)
{
    double sum = 0, left = 0;
    for (size_t p = 0; p < patches; p++) {
        sum += attention[p];
        left += attention[p] > 0;
    }
    for (size_t p = 0; p < patches && sum > 0; p++)
        heat[p] += fmin(attention[p] * left / sum, MOST);
}

static double *measure_heat(const iviti_session *session, const iviti_model_info *info)
{
    const size_t patches = (size_t)info->grid_width * info->grid_height;
    double *const heat = calloc(patches, sizeof *heat);
    for (uint32_t block = info->depth / 3; block < info->depth && heat != NULL; block++) {
        const uint16_t *attention = iviti_session_attention(session, 0, block);
        if (attention != NULL)
            add_block(attention, patches, heat);
    }
    return heat;
}

/* Stages that get a panel, evenly spread, the last one among them. */
static size_t shown_stages(const iviti_model_info *info)
{
    return info->prune_stages < HEATMAP_STAGES ? info->prune_stages : HEATMAP_STAGES;
}

static uint8_t *mark_kept(const iviti_session *session, const iviti_model_info *info)
{
    const size_t patches = (size_t)info->grid_width * info->grid_height, shown = shown_stages(info);
    uint8_t *const marks = calloc(shown * patches + 1, 1);
    for (size_t i = 0; i < shown && marks != NULL; i++) {
        const uint32_t stage = (uint32_t)((i + 1) * info->prune_stages / shown) - 1;
        size_t count = 0;
        const uint32_t *kept = iviti_session_kept(session, stage, &count);
        for (size_t k = 0; k < count && kept != NULL; k++)
            if (kept[k] < patches) /* the token of all that were left out has no place */
                marks[i * patches + kept[k]] = 1;
    }
    return marks;
}

/* ---- the file ---------------------------------------------------------------------------------
 */

/* Under another name until it is complete. */
static bool write_whole(const char *path, const uint8_t *pixels, uint32_t width, uint32_t height,
                        report *r)
{
    static const char suffix[] = ".partial";
    const size_t length = strlen(path);
    char *const partial = malloc(length + sizeof suffix);
    if (partial == NULL)
        return report_fail(r, "%s: not enough memory", path);
    memcpy(partial, path, length);
    memcpy(partial + length, suffix, sizeof suffix);
    bool good = write_png(partial, pixels, width, height, 3, r);
    if (good && rename(partial, path) != 0) {
        good = report_fail(r, "%s: cannot be written: %s", path, strerror(errno));
        remove(partial);
    }
    free(partial);
    return good;
}

bool attention_map_write(const iviti_model *model, const iviti_session *session,
                         const picture *image, const char *path, report *r)
{
    iviti_model_info info;
    iviti_model_describe(model, &info);
    const uint32_t zoom = attention_map_zoom(&info);
    uint8_t *const panel = fit_panel(&model->geometry, image, zoom);
    double *const heat = measure_heat(session, &info);
    uint8_t *const kept = mark_kept(session, &info);
    const heatmap map = { panel,
                          info.image_width * zoom,
                          info.image_height * zoom,
                          info.grid_width,
                          info.grid_height,
                          heat,
                          shown_stages(&info),
                          kept };
    uint32_t width = 0, height = 0;
    uint8_t *const pixels =
        panel != NULL && heat != NULL && kept != NULL ? heatmap_draw(&map, &width, &height) : NULL;
    const bool good = pixels != NULL ? write_whole(path, pixels, width, height, r)
                                     : report_fail(r, "%s: not enough memory", path);
    free(panel);
    free(heat);
    free(kept);
    free(pixels);
    return good;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The geometry of a checkpoint from its shapes, and from the options what shapes cannot tell.
 */
#include "network/source.h"
#include "network/source_shape.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "network/preset.h"

/* The side of a square of `count`, or 0 if it is none. */
static uint32_t square_side(uint64_t count)
{
    uint32_t side = 0;
    while ((uint64_t)side * side < count && side <= IVITI_MAX_TOKENS)
        side++;
    return (uint64_t)side * side == count ? side : 0;
}

/* One dimension of a tensor within a limit; index counts from the end if negative. */
static bool dimension(const source *s, const checkpoint_tensor *t, int index, uint32_t limit,
                      uint32_t *value, report *r)
{
    const int at = index < 0 ? (int)t->rank + index : index;
    char text[SHAPE_TEXT];
    shape_text(t, text);
    if (at < 0 || at >= (int)t->rank)
        return report_fail(r, "%s: tensor %s has the shape %s, too few dimensions", s->c->file,
                           t->name, text);
    if (t->shape[at] == 0 || t->shape[at] > limit)
        return report_fail(r, "%s: tensor %s has the shape %s; dimension %d must be 1 to %u",
                           s->c->file, t->name, text, at, (unsigned)limit);
    *value = (uint32_t)t->shape[at];
    return true;
}

/* Widths, patch, stem and classes. */
static bool measure_widths(source *s, const network_options *options, report *r)
{
    iviti_geometry *g = &s->geometry;
    const bool flax = s->map->flax;
    const checkpoint_tensor *embed = s->once[MODULE_EMBED].weight;
    if (!dimension(s, embed, flax ? -1 : 0, IVITI_MAX_DIM, &g->stage[0].dim, r) ||
        !dimension(s, embed, flax ? 0 : -1, IVITI_MAX_PATCH, &g->patch, r) ||
        !dimension(s, s->once[MODULE_HEAD].weight, flax ? -1 : 0, IVITI_MAX_CLASSES, &g->classes,
                   r) ||
        !source_measure_stem(s, options, r))
        return false;
    uint32_t block = 0;
    for (uint32_t i = 0; i < g->stages; i++) {
        const source_layer *fc1 = &s->block[block][MODULE_FC1];
        g->stage[i].dim = g->stage[0].dim << i;
        if (!dimension(s, fc1->weight, flax ? -1 : 0, IVITI_MAX_HIDDEN, &g->stage[i].hidden, r))
            return false;
        block += g->stage[i].depth;
    }
    return true;
}

/* ViT: rows of the position embedding, with or without rows for the prefix tokens. */
static bool measure_position(source *s, report *r)
{
    iviti_geometry *g = &s->geometry;
    const checkpoint_tensor *position = s->once[MODULE_POSITION].weight;
    uint32_t rows = 0;
    g->prefix_tokens = s->once[MODULE_DISTILL_TOKEN].weight != NULL ? 2 : 1;
    if (!dimension(s, position, -2, IVITI_MAX_TOKENS, &rows, r))
        return false;
    if (rows > g->prefix_tokens) {
        s->position_grid = square_side(rows - g->prefix_tokens);
        s->position_has_prefix = s->position_grid != 0;
    }
    if (s->position_grid == 0)
        s->position_grid = square_side(rows);
    if (s->position_grid == 0)
        return report_fail(r,
                           "%s: tensor %s has %u rows, which is no square grid of patches with or "
                           "without %u prefix tokens",
                           s->c->file, position->name, (unsigned)rows, (unsigned)g->prefix_tokens);
    return true;
}

/* ViT: the option, the shape of Google's kernels, the preset, or 64 channels a head. */
static bool measure_vit_heads(source *s, const network_options *options, const preset *p, report *r)
{
    iviti_stage *stage = &s->geometry.stage[0];
    const checkpoint_tensor *query = s->block[0][MODULE_QUERY].weight;
    const bool told = s->map->flax && query->rank == 3;
    if (told && (query->shape[1] == 0 || query->shape[1] > IVITI_MAX_HEADS))
        return report_fail(r, "%s: tensor %s has %llu heads; the limit is %d", s->c->file,
                           query->name, (unsigned long long)query->shape[1], IVITI_MAX_HEADS);
    if (told && options->heads != 0 && options->heads != query->shape[1])
        return report_fail(r, "%s: tensor %s has %llu heads, not %u", s->c->file, query->name,
                           (unsigned long long)query->shape[1], (unsigned)options->heads);
    stage->heads =
        told ? (uint32_t)query->shape[1] : (options->heads != 0 ? options->heads : p->heads);
    if (stage->heads == 0 && s->lvvit && stage->dim == 240)
        stage->heads = 4; /* LV-ViT-T */
    if (stage->heads == 0) {
        if (stage->dim % 64 != 0 || stage->dim == 64)
            return report_fail(r,
                               "%s: the checkpoint does not say how many heads its width of %u is "
                               "divided into, and 64 channels a head would be a bad guess: use "
                               "--heads",
                               s->c->file, (unsigned)stage->dim);
        stage->heads = stage->dim / 64;
        source_note(s, "The number of heads, %u, was inferred from the width of %u.",
                    (unsigned)stage->heads, (unsigned)stage->dim);
    }
    if (stage->heads > IVITI_MAX_HEADS || stage->dim % stage->heads != 0)
        return report_fail(r, "%s: %u heads do not divide the width of %u (limit: %d heads)",
                           s->c->file, (unsigned)stage->heads, (unsigned)stage->dim,
                           IVITI_MAX_HEADS);
    return true;
}

/* Swin: heads and window from the first bias table of each stage. */
static bool measure_tables(source *s, const network_options *options, report *r)
{
    iviti_geometry *g = &s->geometry;
    const uint32_t most = (2 * IVITI_MAX_WINDOW - 1) * (2 * IVITI_MAX_WINDOW - 1);
    uint32_t block = 0;
    for (uint32_t i = 0; i < g->stages; i++) {
        const checkpoint_tensor *table = s->block[block][MODULE_BIAS_TABLE].weight;
        uint32_t rows = 0;
        if (!dimension(s, table, 0, most, &rows, r) ||
            !dimension(s, table, 1, IVITI_MAX_HEADS, &g->stage[i].heads, r))
            return false;
        const uint32_t side = square_side(rows);
        if (side % 2 == 0)
            return report_fail(r, "%s: tensor %s has %u rows, which is (2w-1)^2 for no window w",
                               s->c->file, table->name, (unsigned)rows);
        s->table_window[i] = (side + 1) / 2;
        if (g->stage[i].dim % g->stage[i].heads != 0)
            return report_fail(r, "%s: tensor %s: %u heads do not divide the width of %u",
                               s->c->file, table->name, (unsigned)g->stage[i].heads,
                               (unsigned)g->stage[i].dim);
        block += g->stage[i].depth;
    }
    if (options->heads != 0 && options->heads != g->stage[0].heads)
        return report_fail(r, "%s: the first stage has %u heads, not %u", s->c->file,
                           (unsigned)g->stage[0].heads, (unsigned)options->heads);
    if (options->window != 0 && options->window != s->table_window[0])
        return report_fail(r, "%s: the bias tables are of a window of %u, not %u", s->c->file,
                           (unsigned)s->table_window[0], (unsigned)options->window);
    return true;
}

/* Swin: the image side that an attention mask of the first stage belongs to, or 0. A mask is
 * (windows, w*w, w*w) of a grid of w * sqrt(windows) tokens. */
static uint32_t image_from_mask(const source *s)
{
    static const char end[] = "layers.0.blocks.1.attn_mask";
    for (size_t i = 0; i < s->c->count; i++) {
        const checkpoint_tensor *mask = &s->c->tensors[i];
        const size_t bytes = strlen(mask->name);
        if (bytes < sizeof end - 1 || strcmp(mask->name + bytes - (sizeof end - 1), end) != 0 ||
            mask->rank != 3)
            continue;
        const uint64_t side = square_side(mask->shape[0]);
        const uint64_t image = side * s->table_window[0] * s->geometry.patch;
        if (image <= IVITI_MAX_IMAGE)
            return (uint32_t)image;
    }
    return 0;
}

static bool choose_image(source *s, const network_options *options, const preset *p, report *r)
{
    iviti_geometry *g = &s->geometry;
    uint32_t image = options->image != 0 ? options->image : options->crop;
    if (options->image != 0 && options->crop != 0 && options->image != options->crop)
        return report_fail(r, "an image of %u and a crop of %u contradict each other",
                           (unsigned)options->image, (unsigned)options->crop);
    if (image == 0 && g->family == IVITI_VIT)
        image = s->position_grid * g->patch;
    if (image == 0)
        image = image_from_mask(s);
    if (image == 0)
        image = p->image;
    if (image == 0 && g->patch == 4 && (s->table_window[0] == 7 || s->table_window[0] == 12)) {
        image = g->patch * 8 * s->table_window[0];
        source_note(s, "The image size, %u, was inferred from the window of %u.", (unsigned)image,
                    (unsigned)s->table_window[0]);
    }
    if (image == 0)
        return report_fail(r,
                           "%s: the checkpoint does not say for which image size its windows of "
                           "%u and patches of %u are meant: use --img",
                           s->c->file, (unsigned)s->table_window[0], (unsigned)g->patch);
    if (image > IVITI_MAX_IMAGE || image % g->patch != 0)
        return report_fail(r, "an image of %u is not a multiple of the patch of %u up to %d",
                           (unsigned)image, (unsigned)g->patch, IVITI_MAX_IMAGE);
    g->image_width = image;
    g->image_height = image;
    return true;
}

/* Grids, windows in use and token counts. Where a grid is not larger than the window, the grid is
 * the window; bias tables that are larger than needed are cut, those that are smaller do not fit.
 */
static bool complete(source *s, report *r)
{
    iviti_geometry *g = &s->geometry;
    char text[256];
    if (g->family == IVITI_SWIN)
        g->stage[0].window = s->table_window[0];
    if (iviti_geometry_complete(g, text, sizeof text) != NULL)
        return report_fail(r, "%s with an image of %u: %s", s->c->file, (unsigned)g->image_width,
                           text);
    const uint32_t side = g->stage[0].grid_width;
    if (g->family == IVITI_VIT && side != s->position_grid)
        source_note(s, "The position embedding was resampled from %u x %u to %u x %u patches.",
                    (unsigned)s->position_grid, (unsigned)s->position_grid, (unsigned)side,
                    (unsigned)side);
    for (uint32_t i = 0; i < g->stages && g->family == IVITI_SWIN; i++) {
        const uint32_t used = g->stage[i].window, trained = s->table_window[i];
        if (used > trained)
            return report_fail(r,
                               "%s: the bias tables of stage %u are of a window of %u where %u is "
                               "needed",
                               s->c->file, (unsigned)i, (unsigned)trained, (unsigned)used);
        if (used < trained)
            source_note(s, "The bias tables of stage %u were cut from a window of %u to %u.",
                        (unsigned)i, (unsigned)trained, (unsigned)used);
    }
    return true;
}

/* Whether the text has the word, in any case. */
static bool mentions(const char *text, const char *word)
{
    const size_t bytes = strlen(word);
    for (; *text != '\0'; text++) {
        size_t i = 0;
        while (i < bytes && tolower((unsigned char)text[i]) == word[i])
            i++;
        if (i == bytes)
            return true;
    }
    return false;
}

/* The dialect's own preset, and in *other the one of different statistics that the same names and
 * shapes may stand for, or NULL. Where one naming serves two kinds of training the file's name
 * decides, or what is published in that shape, or the commoner kind. */
static const char *default_preset(const source *s, const char **other)
{
    const char *name = s->map->preset;
    const uint32_t dim = s->geometry.stage[0].dim;
    const bool deit = mentions(s->c->file, "deit");
    *other = NULL;
    if (s->lvvit) /* DynamicViT evaluates as DeiT does */
        return s->predictors > 0 ? "deit" : "deit-timm";
    if (strcmp(name, "deit") == 0 && !s->ivit) {
        if (s->block[0][MODULE_SCALE1].weight != NULL)
            return "deit3";
        if (deit || s->once[MODULE_DISTILL_TOKEN].weight != NULL)
            return name;
        const bool vit = mentions(s->c->file, "augreg") || mentions(s->c->file, "vit_");
        *other = vit ? name : "vit-augreg";
        return vit ? "vit-augreg" : name;
    }
    if (strcmp(name, "hf-vit") == 0) {
        if (deit || strcmp(s->prefix, "deit.") == 0)
            return "hf-deit";
        const bool small = dim == 192 || dim == 384; /* published as DeiT-T and DeiT-S alone */
        *other = small ? name : "hf-deit";
        return small ? "hf-deit" : name;
    }
    return name;
}

static bool choose_preset(source *s, const network_options *options, preset *p, report *r)
{
    const char *other = NULL;
    const char *name = options->preset != NULL ? options->preset : default_preset(s, &other);
    const preset *found = preset_find(name);
    if (found == NULL)
        return report_fail(r, "there is no preset %s; there are %s", name, network_preset_names());
    *p = *found;
    snprintf(s->preset, sizeof s->preset, "%s", p->name);
    if (options->preset != NULL || (options->has_mean && options->has_std))
        return true;
    if (other != NULL)
        source_note(s,
                    "Mean and deviation of the pixels are those of the preset %s; networks of the "
                    "preset %s have the same tensors.",
                    p->name, other);
    else
        source_note(s, "Mean and deviation of the pixels are those of the preset %s.", p->name);
    return true;
}

static bool choose_preprocess(source *s, const network_options *options, preset *p, report *r)
{
    iviti_geometry *g = &s->geometry;
    if (strcmp(p->name, "torchvision") == 0)
        preset_adapt_torchvision(p, g);
    g->preprocess = preset_preprocess(p, g->image_width);
    if (options->resize != 0) {
        if (options->resize < g->image_width || options->resize > 2048)
            return report_fail(r, "resize is %u; it must be %u to 2048", (unsigned)options->resize,
                               (unsigned)g->image_width);
        g->preprocess.fit = IVITI_FIT_CROP;
        g->preprocess.resize = options->resize;
    }
    if (options->has_interpolation)
        g->preprocess.interpolation = options->interpolation;
    for (int i = 0; i < 3; i++) {
        s->mean[i] = options->has_mean ? options->mean[i] : p->mean[i];
        s->std[i] = options->has_std ? options->std[i] : p->std[i];
        if (!(s->mean[i] >= -16.0f && s->mean[i] <= 16.0f) ||
            !(s->std[i] >= 1.0f / 1024 && s->std[i] <= 1024.0f))
            return report_fail(r,
                               "mean %g and std %g of channel %d are out of range (-16 to 16, "
                               "1/1024 to 1024)",
                               (double)s->mean[i], (double)s->std[i], i);
    }
    for (int i = 0; i < 3 && g->convolutions > 0; i++)
        g->pixel_padding[i] = (uint32_t)fminf(fmaxf(255 * s->mean[i] + 0.5f, 0), 255);
    s->epsilon = options->epsilon != 0 ? options->epsilon : s->lvvit ? 1e-5 : s->map->epsilon;
    if (!(s->epsilon >= 1e-30 && s->epsilon <= 1))
        return report_fail(r, "the epsilon of LayerNorm is %g; it must be 1e-30 to 1", s->epsilon);
    return true;
}

bool source_measure(source *s, const network_options *options, report *r)
{
    preset p;
    if (!measure_widths(s, options, r) || !choose_preset(s, options, &p, r))
        return false;
    if (s->geometry.family == IVITI_VIT) {
        if (options->window != 0)
            return report_fail(r, "%s: a ViT has no windows", s->c->file);
        if (!measure_position(s, r) || !measure_vit_heads(s, options, &p, r))
            return false;
    } else if (!measure_tables(s, options, r)) {
        return false;
    }
    return source_check_shapes(s, r) && choose_image(s, options, &p, r) && complete(s, r) &&
           source_measure_pruning(s, options, r) && choose_preprocess(s, options, &p, r);
}

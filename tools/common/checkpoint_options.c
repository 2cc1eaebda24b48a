/* SPDX-License-Identifier: Apache-2.0
 *
 * The option table of checkpoint_options.h and its way into network_options.
 */
#include "common/checkpoint_options.h"

#include <string.h>

#include "network/preset.h"

#define INTERPOLATIONS "bicubic|bilinear"
#define FUSES          "none|mean|sum" /* in the order of iviti_fuse */

static const option_spec OPTIONS[] = {
    { .name = "preset",
      .kind = OPTION_TEXT,
      .offset = offsetof(checkpoint_options, preset),
      .value = "NAME",
      .help = "How pictures were prepared where the network was trained: deit, vit-augreg, swin, "
              "torchvision, hf-vit, cifar10 and others (default: what is usual for the naming of "
              "the checkpoint)." },
    { .name = "heads",
      .kind = OPTION_NUMBER,
      .offset = offsetof(checkpoint_options, heads),
      .value = "N",
      .minimum = 1,
      .maximum = IVITI_MAX_HEADS,
      .help = "Attention heads, of the first stage (default: dim / 64, or dim / 32 for Swin)." },
    { .name = "window",
      .kind = OPTION_NUMBER,
      .offset = offsetof(checkpoint_options, window),
      .value = "N",
      .minimum = 1,
      .maximum = IVITI_MAX_WINDOW,
      .help = "Side of a Swin window (default: told by the bias tables)." },
    { .name = "img",
      .kind = OPTION_NUMBER,
      .offset = offsetof(checkpoint_options, image),
      .value = "N",
      .minimum = 1,
      .maximum = IVITI_MAX_IMAGE,
      .help = "Side of the picture that enters the network (default: told by the checkpoint)." },
    { .name = "resize",
      .kind = OPTION_NUMBER,
      .offset = offsetof(checkpoint_options, resize),
      .value = "N",
      .minimum = 1,
      .maximum = 2048,
      .help = "Shorter side of a picture before its centre is cut out." },
    { .name = "crop",
      .kind = OPTION_NUMBER,
      .offset = offsetof(checkpoint_options, crop),
      .value = "N",
      .minimum = 1,
      .maximum = IVITI_MAX_IMAGE,
      .help = "Side of the centre that is cut out; the same as --img." },
    { .name = "interpolation",
      .kind = OPTION_CHOICE,
      .offset = offsetof(checkpoint_options, interpolation),
      .choices = INTERPOLATIONS,
      .help = "Filter of the resize." },
    { .name = "mean",
      .kind = OPTION_REALS,
      .offset = offsetof(checkpoint_options, mean),
      .value = "R,G,B",
      .minimum = 0,
      .maximum = 1,
      .items = 3,
      .help = "Mean of the pixels, where white is 1." },
    { .name = "std",
      .kind = OPTION_REALS,
      .offset = offsetof(checkpoint_options, std),
      .value = "R,G,B",
      .minimum = 0.001,
      .maximum = 1,
      .items = 3,
      .help = "Standard deviation of the pixels, where white is 1." },
    { .name = "stem-strides",
      .kind = OPTION_NUMBERS,
      .offset = offsetof(checkpoint_options, strides),
      .value = "N[,N...]",
      .minimum = 1,
      .maximum = IVITI_MAX_KERNEL,
      .help = "Strides of the convolutions before the patches (default: 2 where the channels change, "
              "else 1)." },
    { .name = "skip",
      .kind = OPTION_REAL,
      .offset = offsetof(checkpoint_options, skip),
      .value = "X",
      .minimum = 0.01,
      .maximum = 100,
      .help = "LV-ViT: what residual branches are divided by (default: that of the published network "
              "of this width)." },
    { .name = "eps",
      .kind = OPTION_REAL,
      .offset = offsetof(checkpoint_options, epsilon),
      .value = "X",
      .minimum = 1e-14,
      .maximum = 0.1,
      .help = "Epsilon of every LayerNorm (default: what is usual for the naming of the "
              "checkpoint)." },
    { .name = "base-rate",
      .kind = OPTION_REAL,
      .offset = offsetof(checkpoint_options, base_rate),
      .value = "R",
      .minimum = 0.01,
      .maximum = 1,
      .help = "DynamicViT: the share of the patches that its first predictor keeps; the second keeps "
              "R * R of them, and so on (default: 0.7)." },
    { .name = "prune-at",
      .kind = OPTION_NUMBERS,
      .offset = offsetof(checkpoint_options, prune_at),
      .value = "B,B...",
      .minimum = 0,
      .maximum = IVITI_MAX_BLOCKS - 1,
      .help = "Blocks, counted from 0, before which (DynamicViT) or in which (--keep, --merge) tokens "
              "get fewer (default: three after each quarter of the blocks; --merge: all but the last)." },
    { .name = "keep",
      .kind = OPTION_REALS,
      .offset = offsetof(checkpoint_options, keep),
      .value = "R,R...",
      .minimum = 0.01,
      .maximum = 1,
      .help = "EViT, for any ViT: keep that share of the patch tokens that enter, those that the class "
              "token attends to most, at each of the blocks of --prune-at." },
    { .name = "fuse",
      .kind = OPTION_CHOICE,
      .offset = offsetof(checkpoint_options, fuse),
      .choices = FUSES,
      .help = "What becomes of the tokens that --keep leaves out: nothing, one token of their weighted "
              "mean, or of their weighted sum as published (default: mean)." },
    { .name = "merge",
      .kind = OPTION_NUMBER,
      .offset = offsetof(checkpoint_options, merge),
      .value = "N",
      .minimum = 1,
      .maximum = IVITI_MAX_TOKENS / 2,
      .help = "Token merging, for any ViT: the N pairs of tokens that are most alike become one in "
              "each block." },
};

checkpoint_options checkpoint_options_none(void)
{
    return (checkpoint_options){ .interpolation = -1, .fuse = -1 };
}

option_group checkpoint_options_group(checkpoint_options *c, const char *title)
{
    return (option_group){ title, OPTIONS, OPTION_COUNT(OPTIONS), c };
}

bool checkpoint_options_given(const checkpoint_options *c)
{
    return c->heads != 0 || c->window != 0 || c->image != 0 || c->resize != 0 || c->crop != 0 ||
           c->epsilon > 0 || c->skip > 0 || c->strides.count != 0 || c->preset != NULL ||
           c->interpolation >= 0 || c->mean.count != 0 || c->std.count != 0 || c->base_rate > 0 ||
           c->keep.count != 0 || c->prune_at.count != 0 || c->merge != 0 || c->fuse >= 0;
}

bool checkpoint_options_network(const checkpoint_options *c, const option_program *program,
                                network_options *out, int *status)
{
    if (c->preset != NULL && preset_find(c->preset) == NULL) {
        *status = options_wrong(program, "--preset takes one of %s, not \"%.200s\"",
                                network_preset_names(), c->preset);
        return false;
    }
    if (c->image != 0 && c->crop != 0 && c->image != c->crop) {
        *status = options_wrong(program, "--img %u and --crop %u are two names for one size",
                                (unsigned)c->image, (unsigned)c->crop);
        return false;
    }
    if (c->strides.count > IVITI_MAX_CONVOLUTIONS) {
        *status = options_wrong(program, "--stem-strides has %zu numbers; the limit is %d",
                                c->strides.count, IVITI_MAX_CONVOLUTIONS);
        return false;
    }
    *out = (network_options){
        .heads = c->heads,
        .window = c->window,
        .image = c->image,
        .resize = c->resize,
        .crop = c->crop,
        .epsilon = c->epsilon,
        .skip = c->skip,
        .strides = (uint32_t)c->strides.count,
        .preset = c->preset,
        .has_interpolation = c->interpolation >= 0,
        .has_mean = c->mean.count == 3,
        .has_std = c->std.count == 3,
        .interpolation = c->interpolation == 1 ? IVITI_BILINEAR : IVITI_BICUBIC,
        .base_rate = c->base_rate,
        .merge = c->merge,
        .fuse = c->fuse >= 0          ? (iviti_fuse)c->fuse
                : c->keep.count != 0 ? IVITI_FUSE_MEAN
                                      : IVITI_FUSE_NONE,
        .keep_count = (uint32_t)c->keep.count,
        .prune_at_count = (uint32_t)c->prune_at.count,
    };
    for (size_t i = 0; i < c->strides.count; i++)
        out->stride[i] = c->strides.item[i];
    memcpy(out->keep, c->keep.item, c->keep.count * sizeof *out->keep);
    memcpy(out->prune_at, c->prune_at.item, c->prune_at.count * sizeof *out->prune_at);
    for (size_t i = 0; i < 3; i++) {
        out->mean[i] = (float)c->mean.item[i];
        out->std[i] = (float)c->std.item[i];
    }
    return true;
}

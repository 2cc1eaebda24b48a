/* SPDX-License-Identifier: Apache-2.0
 *
 * The presets, one row each. The traps they hold: HuggingFace's files for DeiT say mean = std = 0.5
 * though the weights were trained with ImageNet's statistics; HuggingFace's ViT and Swin squash the
 * picture instead of cutting out its centre; torchvision's ViT is bilinear.
 */
#include "network/preset.h"

#include <string.h>

#include "network/dialect.h"

static const float imagenet_mean[3] = { 0.485f, 0.456f, 0.406f };
static const float imagenet_std[3] = { 0.229f, 0.224f, 0.225f };
static const float half[3] = { 0.5f, 0.5f, 0.5f };

/* Pictures of at most this side are not cut out of larger ones: both sides become the network's. */
#define SMALL_IMAGE 64

static const preset presets[] = {
    { "deit", IVITI_FIT_CROP, 256, 0, IVITI_BICUBIC, imagenet_mean, imagenet_std, 0, 0 },
    { "deit-timm", IVITI_FIT_CROP, 248, 384, IVITI_BICUBIC, imagenet_mean, imagenet_std, 0, 0 },
    { "deit3", IVITI_FIT_CROP, 248, 384, IVITI_BICUBIC, imagenet_mean, imagenet_std, 0, 0 },
    { "vit-augreg", IVITI_FIT_CROP, 248, 384, IVITI_BICUBIC, half, half, 0, 0 },
    { "swin", IVITI_FIT_CROP, 256, 384, IVITI_BICUBIC, imagenet_mean, imagenet_std, 0, 0 },
    { "swin-timm", IVITI_FIT_CROP, 248, 384, IVITI_BICUBIC, imagenet_mean, imagenet_std, 0, 0 },
    { "torchvision", IVITI_FIT_CROP, 256, 384, IVITI_BILINEAR, imagenet_mean, imagenet_std, 0, 0 },
    { "torchvision-swag", IVITI_FIT_CROP, 224, 0, IVITI_BICUBIC, imagenet_mean, imagenet_std, 0,
      0 },
    { "hf-vit", IVITI_FIT_SQUASH, 0, 0, IVITI_BILINEAR, half, half, 0, 0 },
    { "hf-deit", IVITI_FIT_CROP, 256, 0, IVITI_BICUBIC, imagenet_mean, imagenet_std, 0, 0 },
    { "hf-swin", IVITI_FIT_SQUASH, 0, 0, IVITI_BICUBIC, imagenet_mean, imagenet_std, 0, 0 },
    { "cifar10", IVITI_FIT_SQUASH, 0, 0, IVITI_BICUBIC, imagenet_mean, imagenet_std, 32, 0 },
    { "digits", IVITI_FIT_SQUASH, 0, 0, IVITI_BILINEAR, half, half, 28, 2 },
};

const preset *preset_find(const char *name)
{
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++)
        if (strcmp(presets[i].name, name) == 0)
            return &presets[i];
    return NULL;
}

const char *network_preset_names(void)
{
    return "deit, deit-timm, deit3, vit-augreg, swin, swin-timm, torchvision, torchvision-swag, "
           "hf-vit, hf-deit, hf-swin, cifar10, digits";
}

void preset_adapt_torchvision(preset *p, const iviti_geometry *g)
{
    const iviti_stage *first = &g->stage[0];
    if (g->family == IVITI_VIT) {
        if (g->image_width >= 384 || g->patch == 14)
            *p = *preset_find("torchvision-swag"); /* there are no others of these shapes */
        else if (first->dim == 1024 && g->patch == 16)
            p->resize = 242;
        return;
    }
    p->interpolation = IVITI_BICUBIC;
    if (first->dim >= 128)
        p->resize = 238;
    else
        p->resize = g->stages > 2 && g->stage[2].depth > 6 ? 246 : 232;
}

iviti_preprocess preset_preprocess(const preset *p, uint32_t image)
{
    iviti_preprocess out = { p->fit, 0, p->interpolation };
    if (image <= SMALL_IMAGE)
        out.fit = IVITI_FIT_SQUASH;
    if (out.fit == IVITI_FIT_SQUASH)
        return out;
    out.resize = p->whole_from != 0 && image >= p->whole_from ? image : p->resize * image / 224;
    return out;
}

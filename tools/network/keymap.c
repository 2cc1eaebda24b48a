/* SPDX-License-Identifier: Apache-2.0
 *
 * The dialects' tables, and the few lines that turn a pattern into a key.
 */
#include "network/keymap.h"

#include <stdio.h>
#include <string.h>

#define SWIN_EPSILON 1e-5

/* The order matters only where one checkpoint would fit two tables: the stricter comes first. */
static const keymap keymaps[] = {
    { .name = "timm",
      .family = IVITI_VIT,
      .epsilon = 1e-6,
      .preset = "deit",
      .prefix = { "", "model.", "timm_model." },
      .key = { [MODULE_EMBED] = "patch_embed.proj.*",
               [MODULE_CLASS_TOKEN] = "cls_token",
               [MODULE_DISTILL_TOKEN] = "dist_token",
               [MODULE_POSITION] = "pos_embed",
               [MODULE_NORM] = "norm.*",
               [MODULE_HEAD] = "head.*",
               [MODULE_HEAD_DISTILL] = "head_dist.*",
               [MODULE_HEAD_PATCHES] = "aux_head.*",
               [MODULE_STEM] = "patch_embed.conv{block+1}.*",
               [MODULE_STEM_NORM] = "patch_embed.bn{block+1}.*",
               [MODULE_STEM_MEAN] = "patch_embed.bn{block+1}.running_mean",
               [MODULE_STEM_VARIANCE] = "patch_embed.bn{block+1}.running_var",
               [MODULE_NORM1] = "blocks.{block}.norm1.*",
               [MODULE_QKV] = "blocks.{block}.attn.qkv.*",
               [MODULE_PROJ] = "blocks.{block}.attn.proj.*",
               [MODULE_SCALE1] = "blocks.{block}.ls1.gamma|blocks.{block}.gamma_1",
               [MODULE_NORM2] = "blocks.{block}.norm2.*",
               [MODULE_FC1] = "blocks.{block}.mlp.fc1.*",
               [MODULE_FC2] = "blocks.{block}.mlp.fc2.*",
               [MODULE_SCALE2] = "blocks.{block}.ls2.gamma|blocks.{block}.gamma_2",
               [MODULE_PREDICTOR_NORM] = "score_predictor.{stage}.in_conv.0.*",
               [MODULE_PREDICTOR_IN] = "score_predictor.{stage}.in_conv.1.*",
               [MODULE_PREDICTOR_OUT] = "score_predictor.{stage}.out_conv.0.*",
               [MODULE_PREDICTOR_OUT2] = "score_predictor.{stage}.out_conv.2.*",
               [MODULE_PREDICTOR_OUT3] = "score_predictor.{stage}.out_conv.4.*" } },
    { .name = "huggingface",
      .family = IVITI_VIT,
      .epsilon = 1e-12,
      .preset = "hf-vit",
      .prefix = { "vit.", "deit.", "" },
      .key = { [MODULE_EMBED] = "embeddings.patch_embeddings.projection.*",
               [MODULE_CLASS_TOKEN] = "embeddings.cls_token",
               [MODULE_DISTILL_TOKEN] = "embeddings.distillation_token",
               [MODULE_POSITION] = "embeddings.position_embeddings",
               [MODULE_NORM] = "layernorm.*",
               [MODULE_HEAD] = "^cls_classifier.*|^classifier.*",
               [MODULE_HEAD_DISTILL] = "^distillation_classifier.*",
               [MODULE_NORM1] = "encoder.layer.{block}.layernorm_before.*",
               [MODULE_QUERY] = "encoder.layer.{block}.attention.attention.query.*",
               [MODULE_KEY] = "encoder.layer.{block}.attention.attention.key.*",
               [MODULE_VALUE] = "encoder.layer.{block}.attention.attention.value.*",
               [MODULE_PROJ] = "encoder.layer.{block}.attention.output.dense.*",
               [MODULE_NORM2] = "encoder.layer.{block}.layernorm_after.*",
               [MODULE_FC1] = "encoder.layer.{block}.intermediate.dense.*",
               [MODULE_FC2] = "encoder.layer.{block}.output.dense.*" } },
    { .name = "torchvision",
      .family = IVITI_VIT,
      .epsilon = 1e-6,
      .preset = "torchvision",
      .prefix = { "", "model.", "timm_model." },
      .key = { [MODULE_EMBED] = "conv_proj.*|conv_proj.conv_last.*",
               [MODULE_STEM] = "conv_proj.conv_bn_relu_{block}.0.*",
               [MODULE_STEM_NORM] = "conv_proj.conv_bn_relu_{block}.1.*",
               [MODULE_STEM_MEAN] = "conv_proj.conv_bn_relu_{block}.1.running_mean",
               [MODULE_STEM_VARIANCE] = "conv_proj.conv_bn_relu_{block}.1.running_var",
               [MODULE_CLASS_TOKEN] = "class_token",
               [MODULE_POSITION] = "encoder.pos_embedding",
               [MODULE_NORM] = "encoder.ln.*",
               [MODULE_HEAD] = "heads.head.*",
               [MODULE_NORM1] = "encoder.layers.encoder_layer_{block}.ln_1.*",
               [MODULE_QKV] = "encoder.layers.encoder_layer_{block}.self_attention.in_proj_*",
               [MODULE_PROJ] = "encoder.layers.encoder_layer_{block}.self_attention.out_proj.*",
               [MODULE_NORM2] = "encoder.layers.encoder_layer_{block}.ln_2.*",
               [MODULE_FC1] = "encoder.layers.encoder_layer_{block}.mlp.0.*|"
                              "encoder.layers.encoder_layer_{block}.mlp.linear_1.*",
               [MODULE_FC2] = "encoder.layers.encoder_layer_{block}.mlp.3.*|"
                              "encoder.layers.encoder_layer_{block}.mlp.linear_2.*" } },
    { .name = "google",
      .family = IVITI_VIT,
      .flax = true,
      .epsilon = 1e-6,
      .preset = "vit-augreg",
      .prefix = { "", "opt/target/", "params/" },
      .key = { [MODULE_EMBED] = "embedding/*",
               [MODULE_CLASS_TOKEN] = "cls",
               [MODULE_POSITION] = "Transformer/posembed_input/pos_embedding",
               [MODULE_NORM] = "Transformer/encoder_norm/*",
               [MODULE_HEAD] = "head/*",
               [MODULE_NORM1] = "Transformer/encoderblock_{block}/LayerNorm_0/*",
               [MODULE_QUERY] = "Transformer/encoderblock_{block}/"
                                "MultiHeadDotProductAttention_1/query/*",
               [MODULE_KEY] = "Transformer/encoderblock_{block}/"
                              "MultiHeadDotProductAttention_1/key/*",
               [MODULE_VALUE] = "Transformer/encoderblock_{block}/"
                                "MultiHeadDotProductAttention_1/value/*",
               [MODULE_PROJ] = "Transformer/encoderblock_{block}/"
                               "MultiHeadDotProductAttention_1/out/*",
               [MODULE_NORM2] = "Transformer/encoderblock_{block}/LayerNorm_2/*",
               [MODULE_FC1] = "Transformer/encoderblock_{block}/MlpBlock_3/Dense_0/*",
               [MODULE_FC2] = "Transformer/encoderblock_{block}/MlpBlock_3/Dense_1/*" } },
    { .name = "microsoft",
      .family = IVITI_SWIN,
      .epsilon = SWIN_EPSILON,
      .preset = "swin",
      .prefix = { "", "model.", "timm_model." },
      .key = { [MODULE_EMBED] = "patch_embed.proj.*",
               [MODULE_EMBED_NORM] = "patch_embed.norm.*",
               [MODULE_NORM] = "norm.*",
               [MODULE_HEAD] = "head.*",
               [MODULE_NORM1] = "layers.{stage}.blocks.{block}.norm1.*",
               [MODULE_QKV] = "layers.{stage}.blocks.{block}.attn.qkv.*",
               [MODULE_BIAS_TABLE] =
                   "layers.{stage}.blocks.{block}.attn.relative_position_bias_table",
               [MODULE_PROJ] = "layers.{stage}.blocks.{block}.attn.proj.*",
               [MODULE_NORM2] = "layers.{stage}.blocks.{block}.norm2.*",
               [MODULE_FC1] = "layers.{stage}.blocks.{block}.mlp.fc1.*",
               [MODULE_FC2] = "layers.{stage}.blocks.{block}.mlp.fc2.*",
               [MODULE_MERGE_NORM] = "layers.{stage}.downsample.norm.*",
               [MODULE_MERGE_REDUCTION] = "layers.{stage}.downsample.reduction.*" } },
    { .name = "timm",
      .family = IVITI_SWIN,
      .epsilon = SWIN_EPSILON,
      .preset = "swin-timm",
      .prefix = { "", "model.", "timm_model." },
      .key = { [MODULE_EMBED] = "patch_embed.proj.*",
               [MODULE_EMBED_NORM] = "patch_embed.norm.*",
               [MODULE_NORM] = "norm.*",
               [MODULE_HEAD] = "head.fc.*|head.*",
               [MODULE_NORM1] = "layers.{stage}.blocks.{block}.norm1.*",
               [MODULE_QKV] = "layers.{stage}.blocks.{block}.attn.qkv.*",
               [MODULE_BIAS_TABLE] =
                   "layers.{stage}.blocks.{block}.attn.relative_position_bias_table",
               [MODULE_PROJ] = "layers.{stage}.blocks.{block}.attn.proj.*",
               [MODULE_NORM2] = "layers.{stage}.blocks.{block}.norm2.*",
               [MODULE_FC1] = "layers.{stage}.blocks.{block}.mlp.fc1.*",
               [MODULE_FC2] = "layers.{stage}.blocks.{block}.mlp.fc2.*",
               [MODULE_MERGE_NORM] = "layers.{stage+1}.downsample.norm.*",
               [MODULE_MERGE_REDUCTION] = "layers.{stage+1}.downsample.reduction.*" } },
    { .name = "huggingface",
      .family = IVITI_SWIN,
      .epsilon = SWIN_EPSILON,
      .preset = "hf-swin",
      .prefix = { "swin.", "" },
      .key = { [MODULE_EMBED] = "embeddings.patch_embeddings.projection.*",
               [MODULE_EMBED_NORM] = "embeddings.norm.*",
               [MODULE_NORM] = "layernorm.*",
               [MODULE_HEAD] = "^classifier.*",
               [MODULE_NORM1] = "encoder.layers.{stage}.blocks.{block}.layernorm_before.*",
               [MODULE_QUERY] = "encoder.layers.{stage}.blocks.{block}.attention.self.query.*",
               [MODULE_KEY] = "encoder.layers.{stage}.blocks.{block}.attention.self.key.*",
               [MODULE_VALUE] = "encoder.layers.{stage}.blocks.{block}.attention.self.value.*",
               [MODULE_BIAS_TABLE] = "encoder.layers.{stage}.blocks.{block}.attention.self."
                                     "relative_position_bias_table",
               [MODULE_PROJ] = "encoder.layers.{stage}.blocks.{block}.attention.output.dense.*",
               [MODULE_NORM2] = "encoder.layers.{stage}.blocks.{block}.layernorm_after.*",
               [MODULE_FC1] = "encoder.layers.{stage}.blocks.{block}.intermediate.dense.*",
               [MODULE_FC2] = "encoder.layers.{stage}.blocks.{block}.output.dense.*",
               [MODULE_MERGE_NORM] = "encoder.layers.{stage}.downsample.norm.*",
               [MODULE_MERGE_REDUCTION] = "encoder.layers.{stage}.downsample.reduction.*" } },
    { .name = "torchvision",
      .family = IVITI_SWIN,
      .epsilon = SWIN_EPSILON,
      .preset = "torchvision",
      .prefix = { "", "model.", "timm_model." },
      .key = { [MODULE_EMBED] = "features.0.0.*",
               [MODULE_EMBED_NORM] = "features.0.2.*",
               [MODULE_NORM] = "norm.*",
               [MODULE_HEAD] = "head.*",
               [MODULE_NORM1] = "features.{2stage+1}.{block}.norm1.*",
               [MODULE_QKV] = "features.{2stage+1}.{block}.attn.qkv.*",
               [MODULE_BIAS_TABLE] =
                   "features.{2stage+1}.{block}.attn.relative_position_bias_table",
               [MODULE_PROJ] = "features.{2stage+1}.{block}.attn.proj.*",
               [MODULE_NORM2] = "features.{2stage+1}.{block}.norm2.*",
               [MODULE_FC1] = "features.{2stage+1}.{block}.mlp.0.*",
               [MODULE_FC2] = "features.{2stage+1}.{block}.mlp.3.*",
               [MODULE_MERGE_NORM] = "features.{2stage+2}.norm.*",
               [MODULE_MERGE_REDUCTION] = "features.{2stage+2}.reduction.*" } },
};

module_kind module_kind_of(module m)
{
    switch (m) {
    case MODULE_EMBED_NORM:
    case MODULE_NORM:
    case MODULE_STEM_NORM:
    case MODULE_NORM1:
    case MODULE_NORM2:
    case MODULE_MERGE_NORM:
    case MODULE_PREDICTOR_NORM:
        return MODULE_PLAIN;
    case MODULE_CLASS_TOKEN:
    case MODULE_DISTILL_TOKEN:
    case MODULE_POSITION:
    case MODULE_STEM_MEAN:
    case MODULE_STEM_VARIANCE:
    case MODULE_BIAS_TABLE:
    case MODULE_SCALE1:
    case MODULE_SCALE2:
        return MODULE_VECTOR;
    default:
        return MODULE_LINEAR;
    }
}

/* What a placeholder stands for: stage_factor * stage + block_factor * block + plus. */
static const struct placeholder {
    const char *text;
    uint32_t stage_factor, block_factor, plus;
} placeholders[] = {
    { "{block}", 0, 1, 0 },    { "{block+1}", 0, 1, 1 },  { "{stage}", 1, 0, 0 },    { "{stage+1}", 1, 0, 1 },
    { "{2stage+1}", 2, 0, 1 }, { "{2stage+2}", 2, 0, 2 },
};

static const char *part_word(const keymap *k, module m, bool bias)
{
    if (bias)
        return "bias";
    if (!k->flax)
        return "weight";
    return module_kind_of(m) == MODULE_PLAIN ? "scale" : "kernel";
}

/* The placeholder that `pattern` begins with, or NULL. */
static const struct placeholder *placeholder_at(const char *pattern)
{
    for (size_t i = 0; i < sizeof placeholders / sizeof *placeholders; i++)
        if (strncmp(pattern, placeholders[i].text, strlen(placeholders[i].text)) == 0)
            return &placeholders[i];
    return NULL;
}

/* Writes the key of one spelling; returns where the next spelling begins, or NULL after the last.
 */
static const char *expand(const char *pattern, const char *prefix, const char *word, place at,
                          char name[KEY_BYTES])
{
    const bool bare = *pattern == '^';
    size_t used = bare ? 0 : strlen(prefix);
    memcpy(name, prefix, used);
    name[used] = '\0';
    pattern += bare;
    while (*pattern != '\0' && *pattern != '|') {
        char text[16] = { *pattern, '\0' };
        const char *piece = text;
        const struct placeholder *p = placeholder_at(pattern);
        size_t step = 1;
        if (*pattern == '*') {
            piece = word;
        } else if (p != NULL) {
            const uint32_t value =
                p->stage_factor * at.stage + p->block_factor * at.block + p->plus;
            snprintf(text, sizeof text, "%u", (unsigned)value);
            step = strlen(p->text);
        }
        pattern += step;
        const size_t bytes = strlen(piece);
        if (used + bytes >= KEY_BYTES)
            break;
        memcpy(name + used, piece, bytes + 1);
        used += bytes;
    }
    return *pattern == '|' ? pattern + 1 : NULL;
}

const checkpoint_tensor *keymap_find(const keymap *k, const char *prefix, const checkpoint *c,
                                     module m, bool bias, place at, char name[KEY_BYTES])
{
    name[0] = '\0';
    const char *spelling = k->key[m];
    if (spelling == NULL)
        return NULL;
    while (spelling != NULL) {
        char key[KEY_BYTES];
        spelling = expand(spelling, prefix, part_word(k, m, bias), at, key);
        if (name[0] == '\0')
            memcpy(name, key, sizeof key);
        const checkpoint_tensor *t = checkpoint_find(c, key);
        if (t != NULL) {
            memcpy(name, key, sizeof key);
            return t;
        }
    }
    return NULL;
}

static bool has(const keymap *k, const char *prefix, const checkpoint *c, module m, uint32_t stage)
{
    char name[KEY_BYTES];
    return keymap_find(k, prefix, c, m, false, (place){ stage, 0 }, name) != NULL;
}

static bool fits(const keymap *k, const char *prefix, const checkpoint *c)
{
    if (!has(k, prefix, c, MODULE_EMBED, 0))
        return false;
    if (!has(k, prefix, c, MODULE_QKV, 0) && !has(k, prefix, c, MODULE_QUERY, 0))
        return false;
    /* the two conventions for Swin's merging layers differ in nothing but the stage's number */
    return k->family == IVITI_VIT || !has(k, prefix, c, MODULE_NORM1, 1) ||
           has(k, prefix, c, MODULE_MERGE_REDUCTION, 0);
}

const keymap *keymap_detect(const checkpoint *c, const char **prefix)
{
    for (size_t i = 0; i < sizeof keymaps / sizeof *keymaps; i++) {
        for (size_t j = 0; keymaps[i].prefix[j] != NULL; j++) {
            if (fits(&keymaps[i], keymaps[i].prefix[j], c)) {
                *prefix = keymaps[i].prefix[j];
                return &keymaps[i];
            }
        }
    }
    return NULL;
}

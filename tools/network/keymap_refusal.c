/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys that betray a network which libiviti does not compute, and keys that do not matter.
 */
#include "network/keymap.h"

#include <string.h>

/* `key` occurs in a tensor's name as a run of whole components (between '.' and '/'), where a
 * trailing '*' allows the last component to go on. The first row that applies speaks. */
static const struct refusal {
    const char *key;
    const char *why;
} refusals[] = {
    { "fastmlp", "is a hierarchical DynamicViT (fast and slow paths), which is not supported" },
    { "logit_scale", "is a Swin V2 (cosine attention), which is not supported" },
    { "cpb_mlp", "is a Swin V2 (continuous position bias), which is not supported" },
    { "continuous_position_bias_mlp", "is a Swin V2 (continuous position bias), which is not "
                                      "supported" },
    { "q_norm", "normalises queries and keys, which is not supported" },
    { "k_norm", "normalises queries and keys, which is not supported" },
    { "norm_pre", "has a LayerNorm before the first block, which is not supported" },
    { "pre_layrnorm", "has a LayerNorm before the first block, which is not supported" },
    { "ln_pre", "has a LayerNorm before the first block, which is not supported" },
    { "fc_norm", "averages its patch tokens (fc_norm), which is not supported for ViT" },
    { "attn_pool", "pools its tokens by attention, which is not supported" },
    { "pre_logits", "has a tanh layer before the classifier (pre_logits), which is not supported" },
    { "reg_token", "has register tokens, which are not supported" },
    { "register_tokens", "has register tokens, which are not supported" },
    { "patch_embed.proj.0", "has a convolutional stem of a kind that is not supported" },
    { "patch_embed.backbone", "has a convolutional backbone, which is not supported" },
    { "q_bias", "is a BEiT or EVA (separate query and value biases), which is not supported" },
    { "rel_pos_bias", "is a BEiT (relative position bias), which is not supported" },
    { "rel_pos_h", "has decomposed relative positions, which are not supported" },
    { "rope", "has rotary position embedding, which is not supported" },
    { "absolute_pos_embed", "is a Swin with absolute position embedding, which is not supported" },
    { "w12", "has a gated MLP (SwiGLU), which is not supported" },
    { "fc1_g", "has a gated MLP (SwiGLU), which is not supported" },
    { "attention_biases", "is a LeViT, which is not supported" },
    { "blocks_token_only", "is a CaiT, which is not supported" },
    { "proj_l", "has talking heads, which are not supported" },
    { "layer_scale1", "is a DINOv2 in HuggingFace naming, which is not supported" },
    { "dino_head", "is a DINO training checkpoint, which is not supported" },
    { "decoder_blocks", "is a masked autoencoder with its decoder, which is not supported" },
    { "text_model", "is an image-text model, which is not supported" },
};

/* Whole components of names that may be left over. */
static const char *const ignorable[] = {
    "relative_position_index", /* recomputed */
    "relative_coords_table",
    "attn_mask", /* recomputed */
    "num_batches_tracked",
    "mask_token", /* of masked pre-training */
    "pooler",     /* not on the way to the classifier */
    "position_ids",
};

/* What I-ViT's code stores beside the weights. */
static const char *const ivit_buffers[] = {
    "act_scaling_factor",
    "fc_scaling_factor",
    "conv_scaling_factor",
    "norm_scaling_factor",
    "weight_integer",
    "bias_integer",
    "min_val",
    "max_val",
};

static bool is_border(char c)
{
    return c == '\0' || c == '.' || c == '/';
}

static bool has_component(const char *name, const char *key)
{
    size_t bytes = strlen(key);
    const bool open = key[bytes - 1] == '*';
    bytes -= open;
    for (const char *at = name; *at != '\0'; at++) {
        const bool begins = at == name || is_border(at[-1]);
        if (begins && strncmp(at, key, bytes) == 0 && (open || is_border(at[bytes])))
            return true;
    }
    return false;
}

const char *keymap_refusal(const checkpoint *c, const char **key)
{
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        for (size_t t = 0; t < c->count; t++) {
            if (has_component(c->tensors[t].name, refusals[i].key)) {
                *key = c->tensors[t].name;
                return refusals[i].why;
            }
        }
    }
    return NULL;
}

bool keymap_may_ignore(const char *key, bool ivit)
{
    for (size_t i = 0; i < sizeof ignorable / sizeof *ignorable; i++)
        if (has_component(key, ignorable[i]))
            return true;
    for (size_t i = 0; ivit && i < sizeof ivit_buffers / sizeof *ivit_buffers; i++)
        if (has_component(key, ivit_buffers[i]))
            return true;
    return false;
}

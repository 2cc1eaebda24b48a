/* SPDX-License-Identifier: Apache-2.0
 *
 * The limits of a network's shape, models/FORMAT.md sections 2 and 4. Everything that is later
 * computed from these numbers fits its type because they hold.
 */
#include "model/geometry.h"

#include <stdarg.h>

#include "base/format.h"

/* Where the sentence goes, and the status that it means. */
typedef struct verdict {
    iviti_status status;
    char *text;
    size_t bytes;
} verdict;

#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
static bool
fail(verdict *v, iviti_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    iviti_vformat(v->text, v->bytes, format, arguments);
    va_end(arguments);
    v->status = status;
    return false;
}

/* 1 <= value <= limit. Zero contradicts the format, too much is a limit. */
static bool in_limit(verdict *v, const char *field, uint32_t value, uint32_t limit)
{
    if (value == 0)
        return fail(v, IVITI_ERROR_CORRUPT, "%s is 0; it must be 1 to %u", field, limit);
    if (value > limit)
        return fail(v, IVITI_ERROR_LIMIT, "%s is %u; the limit is %u", field, value, limit);
    return true;
}

static bool multiple_of(verdict *v, const char *field, uint32_t value, uint32_t unit)
{
    if (value % unit != 0)
        return fail(v, IVITI_ERROR_CORRUPT, "%s is %u; it must be a multiple of %u", field, value,
                    unit);
    return true;
}

static bool check_image(verdict *v, const iviti_geometry *g)
{
    return in_limit(v, "iviti.patch", g->patch, IVITI_MAX_PATCH) &&
           in_limit(v, "iviti.image.width", g->image_width, IVITI_MAX_IMAGE) &&
           in_limit(v, "iviti.image.height", g->image_height, IVITI_MAX_IMAGE) &&
           multiple_of(v, "iviti.image.width", g->image_width, g->patch) &&
           multiple_of(v, "iviti.image.height", g->image_height, g->patch);
}

/* The output of convolution `index`, whose predecessors are complete. */
static bool complete_convolution(verdict *v, iviti_geometry *g, uint32_t index)
{
    iviti_convolution *const c = &g->convolution[index];
    const uint32_t width = index ? (c - 1)->width : g->image_width;
    const uint32_t height = index ? (c - 1)->height : g->image_height;
    if (!in_limit(v, "iviti.stem.kernel", c->kernel, IVITI_MAX_KERNEL) ||
        !in_limit(v, "iviti.stem.stride", c->stride, IVITI_MAX_KERNEL) ||
        !in_limit(v, "iviti.stem.channels", c->channels, IVITI_MAX_DIM) ||
        !multiple_of(v, "iviti.stem.channels", c->channels, IVITI_GROUP))
        return false;
    if (c->padding >= c->kernel)
        return fail(v, IVITI_ERROR_CORRUPT,
                    "iviti.stem.padding is %u; it must be less than the kernel of %u", c->padding,
                    c->kernel);
    if (width + 2 * c->padding < c->kernel || height + 2 * c->padding < c->kernel)
        return fail(v, IVITI_ERROR_CORRUPT,
                    "iviti.stem.kernel is %u; the padded map that convolution %u reads is %u x %u",
                    c->kernel, index, width + 2 * c->padding, height + 2 * c->padding);
    c->width = (width + 2 * c->padding - c->kernel) / c->stride + 1;
    c->height = (height + 2 * c->padding - c->kernel) / c->stride + 1;
    return in_limit(v, "the width of a map of the stem", c->width, IVITI_MAX_IMAGE) &&
           in_limit(v, "the height of a map of the stem", c->height, IVITI_MAX_IMAGE) &&
           in_limit(v, "the number of inputs of a convolution", iviti_convolution_inputs(g, index),
                    IVITI_MAX_INPUTS);
}

/* The stem's maps, and the window of the patch embedding: the patches must tile what it reads. */
static bool complete_stem(verdict *v, iviti_geometry *g)
{
    g->embed_side = g->patch;
    if (g->convolutions == 0)
        return true;
    if (g->family != IVITI_VIT)
        return fail(v, IVITI_ERROR_UNSUPPORTED, "iviti.stem.kernel has no meaning but with a vit");
    if (!in_limit(v, "the number of convolutions", g->convolutions, IVITI_MAX_CONVOLUTIONS))
        return false;
    for (uint32_t i = 0; i < g->convolutions; i++)
        if (!complete_convolution(v, g, i))
            return false;

    const iviti_convolution *const last = &g->convolution[g->convolutions - 1];
    const uint32_t columns = g->image_width / g->patch, rows = g->image_height / g->patch;
    g->embed_side = last->width / columns;
    if (g->embed_side == 0 || g->embed_side * columns != last->width ||
        g->embed_side * rows != last->height)
        return fail(v, IVITI_ERROR_CORRUPT,
                    "the last map of the stem is %u x %u; %u x %u patches do not tile it",
                    last->width, last->height, columns, rows);
    for (int i = 0; i < 3; i++)
        if (g->pixel_padding[i] > 255)
            return fail(v, IVITI_ERROR_RANGE, "iviti.stem.pixel[%d] is %u; it must be 0 to 255", i,
                        g->pixel_padding[i]);
    return in_limit(v, "the number of inputs of the patch embedding", iviti_embed_inputs(g),
                    IVITI_MAX_INPUTS);
}

static bool check_family(verdict *v, const iviti_geometry *g)
{
    if (g->family != IVITI_VIT && g->family != IVITI_SWIN)
        return fail(v, IVITI_ERROR_UNSUPPORTED, "iviti.family is %d, which is no known family",
                    (int)g->family);
    if (g->family == IVITI_VIT && g->stages != 1)
        return fail(v, IVITI_ERROR_CORRUPT, "iviti.stage.depth has %u stages; a vit has 1",
                    g->stages);
    if (g->family == IVITI_VIT && g->prefix_tokens != 1 && g->prefix_tokens != 2)
        return fail(v, IVITI_ERROR_CORRUPT, "iviti.prefix_tokens is %u; a vit has 1 or 2",
                    g->prefix_tokens);
    if (g->family == IVITI_SWIN && g->prefix_tokens != 0)
        return fail(v, IVITI_ERROR_CORRUPT, "iviti.prefix_tokens is %u; a swin has 0",
                    g->prefix_tokens);
    if (g->family == IVITI_VIT && g->stage[0].window != 0)
        return fail(v, IVITI_ERROR_CORRUPT, "iviti.window is %u; a vit has none",
                    g->stage[0].window);
    if (g->family == IVITI_SWIN &&
        !in_limit(v, "iviti.window", g->stage[0].window, IVITI_MAX_WINDOW))
        return false;
    return in_limit(v, "the number of stages", g->stages, IVITI_MAX_STAGES) &&
           in_limit(v, "iviti.classes", g->classes, IVITI_MAX_CLASSES);
}

static bool check_widths(verdict *v, const iviti_stage *s)
{
    if (!in_limit(v, "iviti.stage.depth", s->depth, IVITI_MAX_BLOCKS) ||
        !in_limit(v, "iviti.stage.dim", s->dim, IVITI_MAX_DIM) ||
        !in_limit(v, "iviti.stage.heads", s->heads, IVITI_MAX_HEADS) ||
        !in_limit(v, "iviti.stage.hidden", s->hidden, IVITI_MAX_HIDDEN) ||
        !multiple_of(v, "iviti.stage.hidden", s->hidden, IVITI_GROUP))
        return false;
    if (s->dim % s->heads != 0)
        return fail(v, IVITI_ERROR_CORRUPT, "iviti.stage.dim is %u; %u heads do not divide it",
                    s->dim, s->heads);
    return multiple_of(v, "the width of a head", s->dim / s->heads, IVITI_GROUP) &&
           in_limit(v, "the width of a head", s->dim / s->heads, IVITI_MAX_HEAD_DIM);
}

/* The grid and the window of stage `index`, whose predecessors are complete. */
static bool complete_grid(verdict *v, iviti_geometry *g, uint32_t index, uint32_t window)
{
    iviti_stage *const s = &g->stage[index];
    if (index == 0) {
        s->grid_width = g->image_width / g->patch;
        s->grid_height = g->image_height / g->patch;
    } else {
        const iviti_stage *const before = s - 1;
        if (before->grid_width % 2 != 0 || before->grid_height % 2 != 0)
            return fail(v, IVITI_ERROR_CORRUPT,
                        "stage %u has %u x %u tokens; merging them needs even sides", index - 1,
                        before->grid_width, before->grid_height);
        if (s->dim != 2 * before->dim)
            return fail(v, IVITI_ERROR_CORRUPT,
                        "iviti.stage.dim is %u in stage %u; it must be twice the %u before", s->dim,
                        index, before->dim);
        s->grid_width = before->grid_width / 2;
        s->grid_height = before->grid_height / 2;
    }
    const uint32_t tokens = iviti_stage_tokens(g, index);
    if (tokens > IVITI_MAX_TOKENS)
        return fail(v, IVITI_ERROR_LIMIT, "stage %u has %u tokens; the limit is %d", index, tokens,
                    IVITI_MAX_TOKENS);
    if (g->family == IVITI_VIT)
        return true;

    const uint32_t side = s->grid_width < s->grid_height ? s->grid_width : s->grid_height;
    s->window = side < window ? side : window;
    if (s->grid_width % s->window != 0 || s->grid_height % s->window != 0)
        return fail(v, IVITI_ERROR_UNSUPPORTED,
                    "stage %u has %u x %u tokens; windows of %u x %u do not tile them", index,
                    s->grid_width, s->grid_height, s->window, s->window);
    return true;
}

int iviti_prune_stage(const iviti_geometry *g, uint32_t block)
{
    for (uint32_t k = 0; k < g->prune.stages; k++)
        if (g->prune.at[k] == block)
            return (int)k;
    return -1;
}

/* Tokens after the first `stages` stages of pruning. */
static uint32_t tokens_after(const iviti_geometry *g, uint32_t stages)
{
    if (stages == 0)
        return iviti_stage_tokens(g, 0);
    return g->prefix_tokens + g->prune.kept[stages - 1] + (g->prune.fuse != IVITI_FUSE_NONE);
}

uint32_t iviti_entering_tokens(const iviti_geometry *g, uint32_t block)
{
    const bool before = g->prune.kind == IVITI_PRUNE_PREDICTOR;
    uint32_t stages = 0;
    while (stages < g->prune.stages && g->prune.at[stages] < block + before)
        stages++;
    return tokens_after(g, stages);
}

uint32_t iviti_leaving_tokens(const iviti_geometry *g, uint32_t block)
{
    uint32_t stages = 0;
    while (stages < g->prune.stages && g->prune.at[stages] <= block)
        stages++;
    return tokens_after(g, stages);
}

/* One stage: its block, and the tokens it leaves of those that enter. */
static bool check_prune_stage(verdict *v, const iviti_geometry *g, uint32_t k)
{
    const iviti_prune *const p = &g->prune;
    const uint32_t entering = tokens_after(g, k) - g->prefix_tokens;
    /* what the last block leaves out after its attention is not read by anybody */
    const uint32_t blocks = g->depth - (p->kind != IVITI_PRUNE_PREDICTOR);
    if (p->at[k] >= blocks)
        return fail(v, IVITI_ERROR_CORRUPT,
                    "iviti.prune.at[%u] is %u; of %u blocks the first %u can be pruned", k, p->at[k],
                    g->depth, blocks);
    if (k > 0 && p->at[k] <= p->at[k - 1])
        return fail(v, IVITI_ERROR_CORRUPT, "iviti.prune.at[%u] is %u; it must be above %u", k,
                    p->at[k], p->at[k - 1]);
    const uint32_t least = p->kind == IVITI_PRUNE_MERGE ? entering - entering / 2 : 1;
    const uint32_t most = p->kind == IVITI_PRUNE_PREDICTOR ? entering : entering - 1;
    if (p->kept[k] < least || p->kept[k] > most)
        return fail(v, IVITI_ERROR_CORRUPT,
                    "iviti.prune.kept[%u] is %u; of %u patch tokens it must be %u to %u", k,
                    p->kept[k], entering, least, most);
    return true;
}

static bool check_prune(verdict *v, const iviti_geometry *g)
{
    const iviti_prune *const p = &g->prune;
    if (p->kind == IVITI_PRUNE_NONE)
        return (p->stages == 0 && p->fuse == IVITI_FUSE_NONE) ||
               fail(v, IVITI_ERROR_CORRUPT, "iviti.prune.%s has no meaning without iviti.prune.kind",
                    p->stages == 0 ? "fuse" : "at");
    if (p->kind != IVITI_PRUNE_PREDICTOR && p->kind != IVITI_PRUNE_CLS &&
        p->kind != IVITI_PRUNE_MERGE)
        return fail(v, IVITI_ERROR_UNSUPPORTED, "iviti.prune.kind is %d, which is not known",
                    (int)p->kind);
    if (g->family != IVITI_VIT)
        return fail(v, IVITI_ERROR_CORRUPT, "iviti.prune.kind has no meaning but with a vit");
    if (p->fuse != IVITI_FUSE_NONE && p->kind != IVITI_PRUNE_CLS)
        return fail(v, IVITI_ERROR_CORRUPT,
                    "iviti.prune.fuse has no meaning but with iviti.prune.kind 'cls'");
    if (!in_limit(v, "the number of elements of iviti.prune.at", p->stages, g->depth))
        return false;
    for (uint32_t k = 0; k < p->stages; k++)
        if (!check_prune_stage(v, g, k))
            return false;
    return true;
}

static bool complete(verdict *v, iviti_geometry *g)
{
    if (!check_family(v, g) || !check_image(v, g) || !complete_stem(v, g))
        return false;
    const uint32_t window = g->stage[0].window;
    g->depth = 0;
    for (uint32_t i = 0; i < g->stages; i++) {
        if (!check_widths(v, &g->stage[i]) || !complete_grid(v, g, i, window))
            return false;
        g->depth += g->stage[i].depth;
    }
    if (g->depth > IVITI_MAX_BLOCKS)
        return fail(v, IVITI_ERROR_LIMIT, "iviti.stage.depth sums to %u blocks; the limit is %d",
                    g->depth, IVITI_MAX_BLOCKS);
    const uint32_t dim = g->stage[g->stages - 1].dim;
    g->features = g->family == IVITI_VIT ? g->prefix_tokens * dim : dim;
    return check_prune(v, g);
}

const char *iviti_geometry_check(iviti_geometry *g, iviti_status *status, char *text,
                                 size_t text_bytes)
{
    verdict v = { IVITI_OK, text, text_bytes };
    const bool good = complete(&v, g);
    *status = v.status;
    return good ? NULL : text;
}

const char *iviti_geometry_complete(iviti_geometry *g, char *text, size_t text_bytes)
{
    iviti_status status;
    return iviti_geometry_check(g, &status, text, text_bytes);
}

static bool check_weight_bits(verdict *v, const iviti_geometry *g)
{
    for (uint32_t i = 0; i < iviti_weight_layers(g); i++) {
        const unsigned bits = g->weight_bits[i];
        if (bits != 0 && bits != 3 && bits != 4 && bits != 6 && bits != 8)
            return fail(v, IVITI_ERROR_UNSUPPORTED,
                        "iviti.weights.bits[%u] is %u; it must be 3, 4, 6 or 8", i, bits);
    }
    return true;
}

static bool check_codebook(verdict *v, uint32_t layer, unsigned bits, const int8_t *entry)
{
    for (uint32_t i = 0; i < IVITI_CODEBOOK; i++) {
        const uint32_t at = IVITI_CODEBOOK * layer + i;
        if (bits != 4 && entry[i] != 0)
            return fail(v, IVITI_ERROR_CORRUPT,
                        "iviti.weights.codebooks[%u] is %d; it must be 0, for the layer has not 4 bits",
                        at, entry[i]);
        if (entry[i] < -127)
            return fail(v, IVITI_ERROR_RANGE,
                        "iviti.weights.codebooks[%u] is %d; it must be -127 to 127", at, entry[i]);
        if (i > 0 && entry[i] < entry[i - 1])
            return fail(v, IVITI_ERROR_CORRUPT,
                        "iviti.weights.codebooks[%u] is %d; it must not be below %d, the entry before",
                        at, entry[i], entry[i - 1]);
    }
    return true;
}

static bool check_codebooks(verdict *v, const iviti_geometry *g)
{
    for (uint32_t i = 0; i < iviti_weight_layers(g) && g->codebooks; i++)
        if (!check_codebook(v, i, g->weight_bits[i], g->codebook[i]))
            return false;
    return true;
}

static uint32_t stage_of(const iviti_geometry *g, uint32_t block)
{
    uint32_t stage = 0, end = g->stage[0].depth;
    while (block >= end)
        end += g->stage[++stage].depth;
    return stage;
}

/* The inputs of proj may be wide, those of fc1 and fc2 together, and nothing else. */
static bool check_wide(verdict *v, const iviti_geometry *g)
{
    bool attention = false, mlp = false;
    uint32_t wide = 0;
    for (uint32_t i = 0; i < iviti_activations(g); i++)
        wide += g->activation_bits[i] == IVITI_WIDE_BITS;
    for (uint32_t block = 0; block < g->depth; block++) {
        const uint32_t stage = stage_of(g, block);
        const uint32_t fc1 = iviti_block_activation(block, stage, IVITI_ACTIVATION_FC1);
        const uint32_t fc2 = iviti_block_activation(block, stage, IVITI_ACTIVATION_FC2);
        const bool proj_wide = iviti_wide_attention(g, block, stage);
        const bool fc1_wide = iviti_wide_mlp(g, block, stage);
        if (fc1_wide != (g->activation_bits[fc2] == IVITI_WIDE_BITS))
            return fail(
                v, IVITI_ERROR_UNSUPPORTED,
                "iviti.activations.bits[%u] and [%u] are %u and %u: the inputs of fc1 and fc2 of "
                "block %u must both be %d or none",
                fc1, fc2, g->activation_bits[fc1], g->activation_bits[fc2], block, IVITI_WIDE_BITS);
        wide -= proj_wide + 2u * fc1_wide;
        attention |= proj_wide;
        mlp |= fc1_wide;
    }
    if (wide != 0)
        return fail(v, IVITI_ERROR_UNSUPPORTED,
                    "iviti.activations.bits has %d for others than the inputs of proj, fc1 and fc2",
                    IVITI_WIDE_BITS);
    if (attention && g->softmax_kind != IVITI_SOFTMAX_TABLE)
        return fail(v, IVITI_ERROR_UNSUPPORTED,
                    "iviti.activations.bits has %d for an input of proj, which needs the softmax "
                    "'table-u8'",
                    IVITI_WIDE_BITS);
    if (mlp && g->gelu_kind != IVITI_GELU_TABLE)
        return fail(
            v, IVITI_ERROR_UNSUPPORTED,
            "iviti.activations.bits has %d for an input of fc2, which needs the GELU 'table'",
            IVITI_WIDE_BITS);
    return true;
}

static bool check_activation_bits(verdict *v, const iviti_geometry *g)
{
    for (uint32_t i = 0; i < iviti_activations(g); i++) {
        const unsigned bits = g->activation_bits[i];
        if (bits != 0 && !iviti_activation_known(bits))
            return fail(v, IVITI_ERROR_UNSUPPORTED,
                        "iviti.activations.bits[%u] is %u; it must be 2 to 8, or %d", i, bits,
                        IVITI_WIDE_BITS);
    }
    return check_wide(v, g);
}

const char *iviti_norm_name(iviti_norm_kind kind)
{
    static const char *const names[] = { [IVITI_NORM_EXACT] = "exact",
                                         [IVITI_NORM_NEWTON] = "newton",
                                         [IVITI_NORM_L1] = "l1" };
    return (unsigned)kind < IVITI_NORM_KINDS ? names[kind] : NULL;
}

const char *iviti_softmax_name(iviti_softmax_kind kind)
{
    static const char *const names[] = { [IVITI_SOFTMAX_TABLE] = "table-u8",
                                         [IVITI_SOFTMAX_SHIFT16] = "shiftmax-16",
                                         [IVITI_SOFTMAX_SHIFT8] = "shiftmax-8",
                                         [IVITI_SOFTMAX_SULQ] = "sulq",
                                         [IVITI_SOFTMAX_LIS] = "lis",
                                         [IVITI_SOFTMAX_I_EXP] = "i-exp",
                                         [IVITI_SOFTMAX_Q15] = "table-q15" };
    return (unsigned)kind < IVITI_SOFTMAX_KINDS ? names[kind] : NULL;
}

const char *iviti_gelu_name(iviti_gelu_kind kind)
{
    static const char *const names[] = { [IVITI_GELU_TABLE] = "table",
                                         [IVITI_GELU_SHIFT] = "shiftgelu",
                                         [IVITI_GELU_I_GELU] = "i-gelu" };
    return (unsigned)kind < IVITI_GELU_KINDS ? names[kind] : NULL;
}

static bool check_file(verdict *v, const iviti_geometry *g)
{
    if (!iviti_norm_name(g->norm_kind))
        return fail(v, IVITI_ERROR_UNSUPPORTED, "iviti.operators.norm is %d, which is not known",
                    (int)g->norm_kind);
    if (!iviti_softmax_name(g->softmax_kind))
        return fail(v, IVITI_ERROR_UNSUPPORTED, "iviti.operators.softmax is %d, which is not known",
                    (int)g->softmax_kind);
    if (!iviti_gelu_name(g->gelu_kind))
        return fail(v, IVITI_ERROR_UNSUPPORTED, "iviti.operators.gelu is %d, which is not known",
                    (int)g->gelu_kind);

    if (g->prune.kind == IVITI_PRUNE_MERGE && g->softmax_kind != IVITI_SOFTMAX_TABLE)
        return fail(v, IVITI_ERROR_UNSUPPORTED,
                    "iviti.prune.kind is 'merge', which needs iviti.operators.softmax 'table-u8'");
    if (g->narrow_entry && g->family != IVITI_SWIN)
        return fail(v, IVITI_ERROR_CORRUPT, "iviti.operators.entry has no meaning but with a swin");

    if (g->convolutions != 0 && g->pixel_table)
        return fail(v, IVITI_ERROR_UNSUPPORTED,
                    "iviti.operators.pixels is 'table'; a stem reads 'raw' pixels");
    if (g->token_head && g->family != IVITI_VIT)
        return fail(v, IVITI_ERROR_UNSUPPORTED,
                    "iviti.operators.head is 'class+patches', which has no meaning but with a vit");

    const iviti_preprocess *const p = &g->preprocess;
    const uint32_t side = g->image_width > g->image_height ? g->image_width : g->image_height;
    if (p->interpolation != IVITI_BILINEAR && p->interpolation != IVITI_BICUBIC)
        return fail(v, IVITI_ERROR_UNSUPPORTED, "iviti.image.interpolation is %d, not known",
                    (int)p->interpolation);
    if (p->fit != IVITI_FIT_CROP && p->fit != IVITI_FIT_SQUASH)
        return fail(v, IVITI_ERROR_UNSUPPORTED, "iviti.image.fit is %d, which is not known",
                    (int)p->fit);
    if (p->fit == IVITI_FIT_CROP && p->resize < side)
        return fail(v, IVITI_ERROR_CORRUPT,
                    "iviti.image.resize is %u; it must be at least the image's side %u", p->resize,
                    side);
    if (p->fit == IVITI_FIT_CROP && p->resize > IVITI_MAX_RESIZE)
        return fail(v, IVITI_ERROR_LIMIT, "iviti.image.resize is %u; the limit is %d", p->resize,
                    IVITI_MAX_RESIZE);
    if (g->logits_multiplier < 1u << 30 || g->logits_multiplier >= 1u << 31)
        return fail(v, IVITI_ERROR_RANGE,
                    "iviti.logits.multiplier is %u; it must be 1073741824 to 2147483647",
                    g->logits_multiplier);
    if (g->logits_shift < 1 || g->logits_shift > 62)
        return fail(v, IVITI_ERROR_RANGE, "iviti.logits.shift is %u; it must be 1 to 62",
                    g->logits_shift);
    return check_weight_bits(v, g) && check_codebooks(v, g) && check_activation_bits(v, g);
}

const char *iviti_geometry_check_file(const iviti_geometry *g, iviti_status *status, char *text,
                                      size_t text_bytes)
{
    verdict v = { IVITI_OK, text, text_bytes };
    const bool good = check_file(&v, g);
    *status = v.status;
    return good ? NULL : text;
}

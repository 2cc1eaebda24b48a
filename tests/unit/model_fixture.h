/* SPDX-License-Identifier: Apache-2.0
 *
 * Small random models for tests: every tensor is drawn from a seeded generator, and the constants
 * are chosen such that a run neither saturates nor dies out. The same seed gives the same bytes
 * everywhere.
 *
 *     iviti_geometry g = fixture_geometry(FIXTURE_VIT_TABLE);
 *     g.classes = 7;                       (change what the test is about)
 *     model_fixture f = fixture_build(&g, 1);
 *     ... f.image, f.size, or fixture_model(&g, 1, path) for a file ...
 *     fixture_free(&f);
 */
#ifndef MODEL_FIXTURE_H
#define MODEL_FIXTURE_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "common/model_writer.h"
#include "kernels/ref/ref.h"

typedef enum fixture_kind {
    FIXTURE_VIT_TABLE,     /* table softmax and GELU, exact LayerNorm, raw pixels */
    FIXTURE_VIT_SHIFT,     /* Shiftmax of 16 bits, ShiftGELU, Newton's LayerNorm, pixel table */
    FIXTURE_VIT_DISTILLED, /* two prefix tokens, no width a multiple of 16 */
    FIXTURE_SWIN_TABLE,    /* two stages, shifted windows, table operators */
    FIXTURE_SWIN_SHIFT,    /* Shiftmax of 8 bits, a window of the grid's size in the last stage */
    FIXTURE_VIT_STEM,      /* three convolutions before the patches, and a head of the patches */
    FIXTURE_VIT_SULQ,      /* SULQ, i-GELU, L1 LayerNorm */
    FIXTURE_VIT_LIS,       /* Log-Int-Softmax, i-GELU, exact LayerNorm */
    FIXTURE_SWIN_SULQ,     /* the first Swin with SULQ and i-GELU */
    FIXTURE_SWIN_I_EXP,    /* the first Swin with i-exp and L1 LayerNorm */
    FIXTURE_SWIN_LIS,      /* the first Swin with Log-Int-Softmax */
    FIXTURE_VIT_Q15,       /* tables of 16 bits */
    FIXTURE_VIT_PREDICTOR, /* predictors before three blocks, one of them the last */
    FIXTURE_VIT_CLS,   /* pruned by the class token's attention, with a fused token; shift operators
                        */
    FIXTURE_VIT_MERGE, /* tokens merged in three blocks */
    FIXTURE_VIT_WIDE,  /* wide but for the attention of the second of three blocks, no width a
                          multiple  of 16, pruned by the class token's attention of the first */
    FIXTURE_SWIN_WIDE, /* the first Swin, the attention of a block wide, and another block */
    FIXTURE_KINDS
} fixture_kind;

typedef struct model_fixture {
    uint8_t *image; /* (size) the file */
    size_t size;
} model_fixture;

/* ---- numbers -------------------------------------------------------------------------------- */

static inline uint32_t fixture_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

/* Uniform in [low, high]. */
static inline int32_t fixture_uniform(uint64_t *state, int32_t low, int32_t high)
{
    const uint32_t range = (uint32_t)high - (uint32_t)low + 1;
    return (int32_t)((uint32_t)low + fixture_random(state) % range);
}

/* The dyadic factor next to a positive real, its shift within [low, high]. Exact arithmetic but for
 * one rounding, so the same everywhere. */
static inline iviti_dyadic fixture_dyadic(double factor, int low, int high)
{
    int exponent;
    const double mantissa = frexp(factor, &exponent); /* [0.5, 1) */
    int64_t multiplier = (int64_t)(mantissa * 2147483648.0 + 0.5);
    int shift = 31 - exponent;
    if (multiplier > INT32_MAX)
        multiplier = INT32_MAX;
    if (shift < low)
        shift = low;
    if (shift > high)
        shift = high;
    return (iviti_dyadic){ (int32_t)multiplier, shift };
}

/* ---- geometries -------------------------------------------------------------------------------
 */

/* Lets a block have wide inputs of proj, or of fc1 and fc2. */
static inline void fixture_widen(iviti_geometry *g, uint32_t block, uint32_t stage, bool attention,
                                 bool mlp)
{
    uint8_t *const bits = g->activation_bits + iviti_block_activation(block, stage, 0);
    if (attention)
        bits[IVITI_ACTIVATION_PROJ] = IVITI_WIDE_BITS;
    if (mlp)
        bits[IVITI_ACTIVATION_FC1] = bits[IVITI_ACTIVATION_FC2] = IVITI_WIDE_BITS;
}

static inline iviti_geometry fixture_geometry(fixture_kind kind)
{
    iviti_geometry g = { .family = IVITI_VIT,
                         .image_width = 16,
                         .image_height = 16,
                         .patch = 4,
                         .prefix_tokens = 1,
                         .stages = 1,
                         .classes = 10,
                         .preprocess = { IVITI_FIT_CROP, 18, IVITI_BICUBIC },
                         .logits_multiplier = 1u << 30,
                         .logits_shift = 45 };
    g.stage[0] = (iviti_stage){ .depth = 2, .dim = 32, .heads = 2, .hidden = 128 };
    switch (kind) {
    case FIXTURE_VIT_SULQ:
        g.norm_kind = IVITI_NORM_L1;
        g.softmax_kind = IVITI_SOFTMAX_SULQ;
        g.gelu_kind = IVITI_GELU_I_GELU;
        break;
    case FIXTURE_VIT_LIS:
        g.softmax_kind = IVITI_SOFTMAX_LIS;
        g.gelu_kind = IVITI_GELU_I_GELU;
        break;
    case FIXTURE_VIT_Q15:
        g.softmax_kind = IVITI_SOFTMAX_Q15;
        break;
    case FIXTURE_VIT_SHIFT:
        g.pixel_table = true;
        g.norm_kind = IVITI_NORM_NEWTON;
        g.softmax_kind = IVITI_SOFTMAX_SHIFT16;
        g.gelu_kind = IVITI_GELU_SHIFT;
        break;
    case FIXTURE_VIT_DISTILLED:
        g.image_width = 20;
        g.image_height = 15;
        g.patch = 5;
        g.prefix_tokens = 2;
        g.classes = 7;
        g.stage[0] = (iviti_stage){ .depth = 3, .dim = 24, .heads = 3, .hidden = 76 };
        g.preprocess = (iviti_preprocess){ IVITI_FIT_SQUASH, 0, IVITI_BILINEAR };
        break;
    case FIXTURE_VIT_STEM: /* 24 x 16 pixels; maps of 11 x 7, 12 x 8 and 12 x 8; patches of 2 x 2 of them */
        g.image_width = 24;
        g.preprocess.resize = 24;
        g.convolutions = 3;
        g.convolution[0] = (iviti_convolution){ .kernel = 4, .stride = 2, .channels = 8 };
        g.convolution[1] =
            (iviti_convolution){ .kernel = 4, .stride = 1, .padding = 2, .channels = 20 };
        g.convolution[2] =
            (iviti_convolution){ .kernel = 3, .stride = 1, .padding = 1, .channels = 12 };
        g.pixel_padding[0] = 124;
        g.pixel_padding[1] = 116;
        g.pixel_padding[2] = 104;
        g.token_head = true;
        break;
    case FIXTURE_VIT_PREDICTOR: /* 5 x 4 patches */
        g.image_width = 20;
        g.preprocess.resize = 20;
        g.stage[0].depth = 5;
        g.prune = (iviti_prune){ .kind = IVITI_PRUNE_PREDICTOR,
                                 .stages = 3,
                                 .at = { 1, 2, 4 },
                                 .kept = { 14, 9, 5 } };
        break;
    case FIXTURE_VIT_CLS:
        g.prefix_tokens = 2;
        g.stage[0].depth = 4;
        g.softmax_kind = IVITI_SOFTMAX_SHIFT16;
        g.gelu_kind = IVITI_GELU_SHIFT;
        g.prune = (iviti_prune){ .kind = IVITI_PRUNE_CLS,
                                 .fuse = IVITI_FUSE_MEAN,
                                 .stages = 2,
                                 .at = { 0, 2 },
                                 .kept = { 9, 6 } };
        break;
    case FIXTURE_VIT_MERGE: /* 9 x 8 patches: B has more than two panels */
        g.image_width = 36;
        g.image_height = 32;
        g.preprocess.resize = 40;
        g.stage[0].depth = 4;
        g.prune = (iviti_prune){ .kind = IVITI_PRUNE_MERGE,
                                 .stages = 3,
                                 .at = { 0, 1, 2 },
                                 .kept = { 36, 30, 29 } };
        break;
    case FIXTURE_VIT_WIDE:
        g.classes = 7;
        g.stage[0] = (iviti_stage){ .depth = 3, .dim = 24, .heads = 3, .hidden = 76 };
        g.prune = (iviti_prune){ .kind = IVITI_PRUNE_CLS,
                                 .fuse = IVITI_FUSE_NONE,
                                 .stages = 1,
                                 .at = { 0 },
                                 .kept = { 11 } };
        fixture_widen(&g, 0, 0, true, true);
        fixture_widen(&g, 1, 0, false, true);
        fixture_widen(&g, 2, 0, true, true);
        break;
    case FIXTURE_SWIN_WIDE:
    case FIXTURE_SWIN_TABLE:
    case FIXTURE_SWIN_SHIFT:
    case FIXTURE_SWIN_SULQ:
    case FIXTURE_SWIN_I_EXP:
    case FIXTURE_SWIN_LIS:
        g.family = IVITI_SWIN;
        g.patch = 2;
        g.prefix_tokens = 0;
        g.stages = 2;
        g.classes = 5;
        g.stage[0] = (iviti_stage){ .depth = 2, .dim = 16, .heads = 2, .hidden = 64, .window = 4 };
        g.stage[1] = (iviti_stage){ .depth = 2, .dim = 32, .heads = 4, .hidden = 128 };
        if (kind == FIXTURE_SWIN_SHIFT) {
            g.stages = 3;
            g.stage[0].window = 3;
            g.image_width = g.image_height = 24;
            g.preprocess.resize = 24;
            g.stage[2] = (iviti_stage){ .depth = 1, .dim = 64, .heads = 4, .hidden = 72 };
            g.narrow_entry = true;
            g.norm_kind = IVITI_NORM_NEWTON;
            g.softmax_kind = IVITI_SOFTMAX_SHIFT8;
            g.gelu_kind = IVITI_GELU_SHIFT;
        } else if (kind == FIXTURE_SWIN_SULQ) {
            g.softmax_kind = IVITI_SOFTMAX_SULQ;
            g.gelu_kind = IVITI_GELU_I_GELU;
        } else if (kind == FIXTURE_SWIN_I_EXP) {
            g.softmax_kind = IVITI_SOFTMAX_I_EXP;
            g.norm_kind = IVITI_NORM_L1;
        } else if (kind == FIXTURE_SWIN_LIS) {
            g.softmax_kind = IVITI_SOFTMAX_LIS;
        } else if (kind == FIXTURE_SWIN_WIDE) {
            fixture_widen(&g, 1, 0, true, false);
            fixture_widen(&g, 2, 1, true, true);
        }
        break;
    default:
        break;
    }
    return g;
}

/* ---- tensors ----------------------------------------------------------------------------------
 */

/* Standard deviations that the constants aim at: of s8 activations, of the s16 stream, of uniform
 * weights and of uniform pixels. */
#define FIXTURE_S8     36.0
#define FIXTURE_STREAM 3000.0
#define FIXTURE_WEIGHT 46.0 /* uniform in -80..80 */
#define FIXTURE_PIXEL  74.0
#define FIXTURE_SULQ_BITS  7    /* probabilities of 1 are 2^7 */
#define FIXTURE_SULQ_SHIFT 6
#define FIXTURE_I_GELU     3989 /* a GELU's input of 1 at the scale of 1 / 24 */
#define FIXTURE_EXP    0.96 /* each entry of a softmax table to the one before */

/* The factor of a layer's accumulators, joins and vectors. */
static inline double fixture_factor(const iviti_geometry *g, const iviti_tensor_spec *s)
{
    const iviti_stage *const stage = &g->stage[s->stage];
    const double head_dim = stage->dim / stage->heads;
    const double score = sqrt(head_dim) * FIXTURE_S8 * FIXTURE_S8;
    const bool table = iviti_softmax_has_table(g->softmax_kind);
    const double tokens = stage->grid_width * stage->grid_height;
    const double entry = g->narrow_entry ? FIXTURE_S8 : FIXTURE_STREAM;
    const bool of_attention = s->owner == IVITI_BLOCK_OUTPUT || s->owner == IVITI_BLOCK_PROJ;
    const bool any = of_attention
                         ? iviti_wide_attention(g, s->index, s->stage)
                         : s->owner == IVITI_BLOCK_FC2 && iviti_wide_mlp(g, s->index, s->stage);
    const double wide = any ? 1 << IVITI_DIGIT_BITS : 1;
    double in = stage->dim;
    switch (s->owner) {
    case IVITI_STEM:
        in = iviti_convolution_inputs(g, s->index);
        return 1.5 * FIXTURE_S8 / (sqrt(in) * FIXTURE_WEIGHT * FIXTURE_PIXEL);
    case IVITI_EMBED:
        in = iviti_embed_inputs(g);
        return entry / (sqrt(in) * FIXTURE_WEIGHT * (g->pixel_table ? FIXTURE_S8 : FIXTURE_PIXEL));
    case IVITI_BLOCK_QKV:
    case IVITI_BLOCK_FC1:
        return FIXTURE_S8 / (sqrt(in) * FIXTURE_WEIGHT * FIXTURE_S8);
    case IVITI_PREDICTOR_IN:
        return FIXTURE_S8 / (sqrt(in) * FIXTURE_WEIGHT * FIXTURE_S8);
    case IVITI_PREDICTOR_LOCAL:
    case IVITI_PREDICTOR_OUT:
        in = stage->dim / 2;
        return FIXTURE_S8 / (sqrt(in) * FIXTURE_WEIGHT * FIXTURE_S8);
    case IVITI_PREDICTOR_MEAN:
        return 1.5 / tokens;
    case IVITI_MERGING_KEY:
        return FIXTURE_S8 / (sqrt(in) * FIXTURE_WEIGHT * FIXTURE_S8);
    case IVITI_MERGING_SIZE: /* ln 2 in units of q.k, for 2^16 */
        return 0.69 / 1.5 * score / 65536;
    case IVITI_BLOCK_FC2:
        in = stage->hidden;
        return 4 * FIXTURE_STREAM / (sqrt(in) * FIXTURE_WEIGHT * FIXTURE_S8 * wide);
    case IVITI_MERGE_REDUCTION:
        in = 4 * stage->dim;
        return entry / (sqrt(in) * FIXTURE_WEIGHT * FIXTURE_S8);
    case IVITI_HEAD:
    case IVITI_PATCHES_HEAD:
        return 0.25;
    case IVITI_BLOCK_SCORE: /* a standard deviation of 1.5 in natural units */
        return (table ? 1.5 * 24.5 : FIXTURE_S8) / score;
    case IVITI_BLOCK_BIAS_SCORE:
        return 0.875;
    case IVITI_BLOCK_OUTPUT:
        if (g->softmax_kind == IVITI_SOFTMAX_SULQ)
            return 1.75 / (1 << (FIXTURE_SULQ_BITS + FIXTURE_SULQ_SHIFT));
        return table ? 1.75 * wide : 1.75 / (g->softmax_kind == IVITI_SOFTMAX_SHIFT8 ? 128 : 32768);
    case IVITI_BLOCK_GELU_OUTPUT:
        return g->gelu_kind == IVITI_GELU_I_GELU ? 1.5 / (2 * FIXTURE_I_GELU) : 1.5 / 128;
    case IVITI_POOL:
        return 1.5 / tokens;
    default: /* proj */
        return 4 * FIXTURE_STREAM / (sqrt(in) * FIXTURE_WEIGHT * FIXTURE_S8 * wide);
    }
}

/* A norm's factor from the normalised value to 1/256 of the output. */
static inline double fixture_norm_factor(const iviti_geometry *g, const iviti_tensor_spec *s)
{
    const bool wide = s->owner == IVITI_BLOCK_NORM2 && iviti_wide_mlp(g, s->index, s->stage);
    const double out = s->owner == IVITI_EMBED_NORM ? FIXTURE_STREAM
                       : wide                       ? FIXTURE_S8 * (1 << IVITI_DIGIT_BITS)
                                                    : FIXTURE_S8;
    if (g->norm_kind != IVITI_NORM_NEWTON)
        return out * 256 / 65536;
    return out * 256 * sqrt((double)s->shape[0]) / 1073741824.0;
}

/* Multipliers and shifts of the same element must go together: both are drawn from the same
 * numbers, with a spread of one half to one and a half from channel to channel. */
static inline iviti_dyadic fixture_element(const iviti_geometry *g, const iviti_tensor_spec *s,
                                           uint64_t seed, uint64_t i)
{
    uint64_t state = seed ^ (0x9E3779B97F4A7C15u * (1000u * s->owner + s->index + 1)) ^ i << 40;
    fixture_random(&state);
    const double spread = fixture_uniform(&state, 512, 1536) / 1024.0;
    int low = 32, high = 62;
    if (s->kind == IVITI_NORM)
        low = g->norm_kind == IVITI_NORM_NEWTON ? 31 : 25;
    else if (s->kind == IVITI_JOIN)
        low = 24;
    else if (s->owner == IVITI_BLOCK_SCORE || s->owner == IVITI_POOL ||
             s->owner == IVITI_PREDICTOR_MEAN)
        low = 1;
    else if (s->owner == IVITI_MERGING_SIZE)
        low = 27;
    else if (s->owner == IVITI_BLOCK_OUTPUT && iviti_wide_attention(g, s->index, s->stage))
        low = 22, high = 38;
    else if (s->owner == IVITI_BLOCK_OUTPUT && g->softmax_kind == IVITI_SOFTMAX_TABLE)
        low = 25, high = 40;
    else if (iviti_tensor_wide(g, s))
        low = 36;
    else if (s->owner == IVITI_BLOCK_BIAS_SCORE || s->owner == IVITI_BLOCK_GELU_OUTPUT)
        low = 24;

    if (s->kind == IVITI_NORM) {
        iviti_dyadic d = fixture_dyadic(fixture_norm_factor(g, s) * spread, low, high);
        if (fixture_random(&state) % 4 == 0)
            d.multiplier = -d.multiplier;
        return d;
    }
    if (s->kind ==
        IVITI_JOIN) /* the stream keeps its scale, the branch comes at a quarter of its */
        return i == 0
                   ? (iviti_dyadic){ 1 << 30, 30 + (int)(s->owner == IVITI_BLOCK_JOIN2) }
                   : fixture_dyadic(s->owner == IVITI_EMBED_JOIN ? 0.75 : 0.2 * spread, low, high);
    const bool logits = s->owner == IVITI_HEAD || s->owner == IVITI_PATCHES_HEAD;
    const double jitter = logits ? 1.0 : spread;
    return fixture_dyadic(fixture_factor(g, s) * jitter, low, high);
}

static inline int32_t fixture_gelu(int32_t x, int32_t group)
{
    const int32_t y = x >= 0 ? x - x / 16 : x > -32 ? x / 4 : -8 - x / 32;
    return y - group % 3;
}

static inline int32_t fixture_wide_gelu(int32_t x, int32_t group)
{
    const int32_t y = x >= 0 ? x - x / 16 : x > -512 ? x / 4 : -128 - x / 32;
    return y - group % 3;
}

/* Element i of a tensor, of which `before` is element i - 1. */
static inline int32_t fixture_value(const iviti_geometry *g, const iviti_tensor_spec *s,
                                    uint64_t seed, uint64_t i, int32_t before, uint64_t *state)
{
    switch (s->field) {
    case IVITI_FIELD_WEIGHT:
        return fixture_uniform(state, -80, 80);
    case IVITI_FIELD_MULTIPLIER:
        return fixture_element(g, s, seed, i).multiplier;
    case IVITI_FIELD_SHIFT:
        return fixture_element(g, s, seed, i).shift;
    case IVITI_FIELD_EPSILON:
        if (g->norm_kind != IVITI_NORM_EXACT)
            return i == 0;
        return i == 0 ? 12345 : 3;
    case IVITI_FIELD_BIAS:
        return s->kind == IVITI_NORM ? fixture_uniform(state, -2560, 2560)
                                     : fixture_uniform(state, -30000, 30000);
    default:
        break;
    }
    switch (s->owner) {
    case IVITI_EMBED_PIXELS:
        return (int32_t)(i % 256) * 63 / 128 - 60 - (int32_t)(i / 256);
    case IVITI_EMBED_POSITION:
        return fixture_uniform(state, -3000, 3000);
    case IVITI_BLOCK_EXP_TABLE: { /* the entries are u8 */
        if (s->type == IVITI_TYPE_I16)
            return i == 0 ? IVITI_WIDE_ENTRIES - 1 : i == 255 ? 0 : (before * 245 + 128) / 256;
        const int32_t last = before < 0 ? before + 256 : before;
        const int32_t entry = i == 0 ? 255 : (last * 245 + 128) / 256;
        return entry > 127 ? entry - 256 : entry;
    }
    case IVITI_BLOCK_POSITION_BIAS:
        return iviti_softmax_has_table(g->softmax_kind) ? fixture_uniform(state, -3000, 3000)
                                                        : fixture_uniform(state, -20, 20);
    case IVITI_BLOCK_EXPONENTIALS:
        return i == 0 ? 32767 : before - before / 24;
    case IVITI_BLOCK_EXP_POLYNOMIAL: /* of logits at 1 / 24 */
        return i == 0 ? 17 : i == 1 ? 64 : 1608;
    case IVITI_BLOCK_THRESHOLDS: /* those of eta = 0.01 and 4 bits, but for the spread of tokens */
        return i == 0 ? 27850 : before * 2 + 12345;
    case IVITI_BLOCK_ETA: /* 0.01 */
        return i == 0 ? FIXTURE_SULQ_SHIFT : (1 << (FIXTURE_SULQ_BITS + FIXTURE_SULQ_SHIFT)) / 100;
    case IVITI_BLOCK_GELU_POLYNOMIAL: /* of inputs at 1 / 24 */
        return i == 0 ? 61 : FIXTURE_I_GELU;
    case IVITI_PREDICTOR_GLOBAL:
    case IVITI_PREDICTOR_SCORE:
        return fixture_uniform(state, -80, 80);
    case IVITI_PREDICTOR_IN_TABLE:
    case IVITI_PREDICTOR_LOCAL_TABLE:
    case IVITI_PREDICTOR_OUT_TABLE:
    case IVITI_BLOCK_GELU_TABLE:
        if (s->type == IVITI_TYPE_I16)
            return fixture_wide_gelu((int32_t)(i % IVITI_WIDE_ENTRIES) - IVITI_WIDE_ENTRIES / 2,
                                     (int32_t)(i / IVITI_WIDE_ENTRIES));
        return fixture_gelu((int32_t)(i % 256) - 128, (int32_t)(i / 256));
    case IVITI_BLOCK_EXP_SCALE: /* the scale of logits is 1 / 24 */
        return 24;
    default: /* the scale of the GELU's input is 1 / 24, too */
        return 14;
    }
}

/* The values of a tensor, to be freed. */
static inline void *fixture_tensor(const iviti_geometry *g, const iviti_tensor_spec *s,
                                   uint64_t seed)
{
    int8_t *const s8 = malloc((size_t)s->bytes);
    int16_t *const s16 = (int16_t *)(void *)s8;
    int32_t *const s32 = (int32_t *)(void *)s8;
    uint64_t state = seed * 1000003u + 100u * s->owner + 10u * s->field + 7919u * s->index;
    fixture_random(&state);
    int32_t value = 0;
    for (size_t i = 0; i < s->count; i++) {
        value = fixture_value(g, s, seed, i, value, &state);
        if (s->type == IVITI_TYPE_I8)
            s8[i] = (int8_t)value;
        else if (s->type == IVITI_TYPE_I16)
            s16[i] = (int16_t)value;
        else
            s32[i] = value;
    }
    return s8;
}

/* Raw pixels and the stem's maps are 128 in the mean: the bias of what reads them takes that off, as a
 * converter does that folds the mean of the pictures into it. weight and bias of a layer. */
static inline void fixture_centre(const iviti_tensor_spec *weight, const int8_t *values,
                                  int32_t *bias)
{
    for (size_t o = 0; o < weight->shape[0]; o++)
        for (size_t k = 0; k < weight->shape[1]; k++)
            bias[o] -= 128 * values[o * weight->shape[1] + k];
}

/* ---- models -----------------------------------------------------------------------------------
 */

/* A writer with all tensors of the completed geometry in it; exits the test program with a sentence
 * if the geometry is not valid. */
static inline model_writer *fixture_writer(iviti_geometry *g, uint64_t seed)
{
    static const float mean[3] = { 0.5f, 0.25f, 0.125f };
    report r = { "" };
    char text[200];
    char(*const names)[24] = malloc(g->classes * sizeof *names);
    const char **const labels = malloc(g->classes * sizeof *labels);
    for (uint32_t i = 0; i < g->classes; i++) {
        snprintf(names[i], sizeof names[i], "class %u", i);
        labels[i] = names[i];
    }
    const model_note note = { "purpose", "test" };
    const model_metadata metadata = { .name = "fixture",
                                      .labels = labels,
                                      .source_name = "fixture.bin",
                                      .source_sha256 = "0123456789abcdef0123456789abcdef"
                                                       "0123456789abcdef0123456789abcdef",
                                      .converter = "0.0.0",
                                      .recipe = "seeded",
                                      .mean = mean,
                                      .std = mean,
                                      .notes = &note,
                                      .note_count = 1 };
    model_writer *w = NULL;
    const char *const wrong = iviti_geometry_complete(g, text, sizeof text);
    bool good = wrong == NULL && model_writer_open(g, &metadata, &w, &r);
    iviti_tensor_spec spec, weight = { .bytes = 0 };
    int8_t *kept = NULL; /* a weight that reads u8, until its bias comes */
    for (size_t i = 0; good && iviti_schema_tensor(g, i, &spec); i++) {
        void *const values = fixture_tensor(g, &spec, seed);
        const bool raw =
            spec.owner == IVITI_STEM || (spec.owner == IVITI_EMBED && !g->pixel_table);
        if (raw && spec.field == IVITI_FIELD_BIAS)
            fixture_centre(&weight, kept, values);
        good = model_writer_put(w, i, values, (size_t)spec.bytes, &r);
        if (raw && spec.field == IVITI_FIELD_WEIGHT) {
            free(kept);
            weight = spec;
            kept = values;
        } else {
            free(values);
        }
    }
    free(kept);
    free(names);
    free(labels);
    if (!good) {
        fprintf(stderr, "fixture: %s\n", wrong != NULL ? wrong : r.text);
        exit(1);
    }
    return w;
}

/* The bytes of a file. */
static inline model_fixture fixture_build(const iviti_geometry *geometry, uint64_t seed)
{
    iviti_geometry g = *geometry;
    model_writer *const w = fixture_writer(&g, seed);
    const uint8_t *image;
    model_fixture f = { NULL, 0 };
    report r = { "" };
    if (!model_writer_finish(w, &image, &f.size, &r)) {
        fprintf(stderr, "fixture: %s\n", r.text);
        exit(1);
    }
    f.image = malloc(f.size);
    memcpy(f.image, image, f.size);
    model_writer_close(w);
    return f;
}

static inline void fixture_free(model_fixture *f)
{
    free(f->image);
    f->image = NULL;
}

/* A file of that name; false and a sentence on stderr on failure. */
static inline bool fixture_model(const iviti_geometry *geometry, uint64_t seed, const char *path)
{
    iviti_geometry g = *geometry;
    model_writer *const w = fixture_writer(&g, seed);
    report r = { "" };
    const bool good = model_writer_save(w, path, &r);
    if (!good)
        fprintf(stderr, "fixture: %s\n", r.text);
    model_writer_close(w);
    return good;
}

/* Makes the checksum right again after bytes have been changed. */
static inline void fixture_seal(uint8_t *image, size_t size)
{
    iviti_put_u32(image + IVITI_CHECKSUM_OFFSET, 0);
    iviti_put_u32(image + IVITI_CHECKSUM_OFFSET, iviti_crc32c_ref(0, image, size));
}

#endif

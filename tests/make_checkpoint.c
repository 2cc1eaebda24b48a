/* SPDX-License-Identifier: Apache-2.0
 *
 * make-checkpoint: a safetensors checkpoint of any geometry with random weights, under timm's
 * names, or with a stem of convolutions under LV-ViT's or torchvision's. Such a network knows
 * nothing, but it converts, runs and takes the time that a trained one takes.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/checkpoint.h"
#include "common/options.h"
#include "predictor_fit.h"

#define MAX_STAGES  4
#define NAME_BYTES  160
#define CHUNK       4096
#define FIT_PICTURES 64
#define HEADER_UNIT 8 /* safetensors: the header is padded to a multiple */

enum { FAMILY_VIT, FAMILY_SWIN };
enum { STEM_NONE, STEM_LVVIT, STEM_TORCHVISION };

typedef struct settings {
    common_options common;
    const char *output;
    const char *from, *fit;
    uint32_t predictors;
    int preset;
    int family, stem;
    uint32_t image, patch, dim, window, mlp_ratio, classes, seed;
    option_numbers depth, heads; /* one per stage */
    option_numbers channels;     /* one per convolution of the stem */
} settings;

typedef struct shape_preset {
    int family;
    uint32_t image, patch, dim, window;
    option_numbers depth, heads;
    int stem;
    uint32_t mlp_ratio;
    option_numbers channels;
} shape_preset;

#define PRESET_CHOICES "deit-t|deit-s|deit-b|swin-t|swin-s|swin-b|lvvit-s|conv-stem"
static const shape_preset presets[] = {
    { FAMILY_VIT, 224, 16, 192, 0, { 1, { 12 } }, { 1, { 3 } }, STEM_NONE, 4, { 0 } },
    { FAMILY_VIT, 224, 16, 384, 0, { 1, { 12 } }, { 1, { 6 } }, STEM_NONE, 4, { 0 } },
    { FAMILY_VIT, 224, 16, 768, 0, { 1, { 12 } }, { 1, { 12 } }, STEM_NONE, 4, { 0 } },
    { FAMILY_SWIN,
      224,
      4,
      96,
      7,
      { 4, { 2, 2, 6, 2 } },
      { 4, { 3, 6, 12, 24 } },
      STEM_NONE,
      4,
      { 0 } },
    { FAMILY_SWIN,
      224,
      4,
      96,
      7,
      { 4, { 2, 2, 18, 2 } },
      { 4, { 3, 6, 12, 24 } },
      STEM_NONE,
      4,
      { 0 } },
    { FAMILY_SWIN,
      224,
      4,
      128,
      7,
      { 4, { 2, 2, 18, 2 } },
      { 4, { 4, 8, 16, 32 } },
      STEM_NONE,
      4,
      { 0 } },
    { FAMILY_VIT,
      224,
      16,
      384,
      0,
      { 1, { 16 } },
      { 1, { 6 } },
      STEM_LVVIT,
      3,
      { 3, { 64, 64, 64 } } },
    { FAMILY_VIT,
      224,
      16,
      384,
      0,
      { 1, { 11 } },
      { 1, { 6 } },
      STEM_TORCHVISION,
      4,
      { 4, { 48, 96, 192, 384 } } },
};

#define FIELD(f) .offset = offsetof(settings, f)
static const option_spec OPTIONS[] = {
    { .name = "output",
      .letter = 'o',
      .kind = OPTION_TEXT,
      FIELD(output),
      .value = "FILE",
      .help = "Where the checkpoint is written." },
    { .name = "preset",
      .kind = OPTION_CHOICE,
      FIELD(preset),
      .choices = PRESET_CHOICES,
      .help = "A published geometry; the options below change parts of it." },
    { .name = "family",
      .kind = OPTION_CHOICE,
      FIELD(family),
      .choices = "vit|swin",
      .help = "Without a preset (default: vit)." },
    { .name = "stem",
      .kind = OPTION_CHOICE,
      FIELD(stem),
      .choices = "none|lvvit|torchvision",
      .help = "Convolutions with batch norms before the patches of a ViT: one of 7 x 7 with stride "
              "2 and "
              "two of 3 x 3, with LV-ViT's other rules, or those of torchvision's names, of 3 x 3 "
              "with stride 2 where the channels change (default: none)." },
    { .name = "channels",
      .kind = OPTION_NUMBERS,
      FIELD(channels),
      .value = "N[,N...]",
      .minimum = 4,
      .maximum = 1024,
      .help = "Of each convolution of the stem (default: 64,64,64, torchvision 48,96,192,384)." },
    { .name = "image",
      .kind = OPTION_NUMBER,
      FIELD(image),
      .value = "N",
      .minimum = 8,
      .maximum = 1024,
      .help = "Side of the picture (default: 224)." },
    { .name = "patch",
      .kind = OPTION_NUMBER,
      FIELD(patch),
      .value = "N",
      .minimum = 1,
      .maximum = 64,
      .help = "Side of a patch (default: 16, Swin 4)." },
    { .name = "dim",
      .kind = OPTION_NUMBER,
      FIELD(dim),
      .value = "N",
      .minimum = 8,
      .maximum = 4096,
      .help = "Width of the first stage (default: 192, Swin 96)." },
    { .name = "depth",
      .kind = OPTION_NUMBERS,
      FIELD(depth),
      .value = "N[,N...]",
      .minimum = 1,
      .maximum = 64,
      .help = "Blocks of each stage (default: 12, Swin 2,2,6,2)." },
    { .name = "heads",
      .kind = OPTION_NUMBERS,
      FIELD(heads),
      .value = "N[,N...]",
      .minimum = 1,
      .maximum = 64,
      .help = "Heads of each stage (default: 3, Swin 3,6,12,24)." },
    { .name = "window",
      .kind = OPTION_NUMBER,
      FIELD(window),
      .value = "N",
      .minimum = 2,
      .maximum = 64,
      .help = "Swin: side of a window (default: 7)." },
    { .name = "mlp-ratio",
      .kind = OPTION_NUMBER,
      FIELD(mlp_ratio),
      .value = "N",
      .minimum = 1,
      .maximum = 8,
      .help = "Hidden width over width (default: 4, LV-ViT 3)." },
    { .name = "classes",
      .kind = OPTION_NUMBER,
      FIELD(classes),
      .value = "N",
      .minimum = 2,
      .maximum = 65536,
      .help = "Classes (default: 1000)." },
    { .name = "predictors",
      .kind = OPTION_NUMBER,
      FIELD(predictors),
      .value = "N",
      .minimum = 1,
      .maximum = 64,
      .help = "ViT: DynamicViT's predictors of so many stages besides (default: none)." },
    { .name = "from",
      .kind = OPTION_TEXT,
      FIELD(from),
      .value = "FILE",
      .help =
          "A checkpoint of the same naming and shape: the tensors that it has are taken over." },
    { .name = "fit",
      .kind = OPTION_TEXT,
      FIELD(fit),
      .value = "DIR",
      .help =
          "With --predictors and --from: let the predictors rate patches by what the class token "
          "attends "
          "to later on, fitted on at most 64 pictures of a folder, instead of random weights." },
    { .name = "seed",
      .kind = OPTION_NUMBER,
      FIELD(seed),
      .value = "N",
      .minimum = 0,
      .maximum = 4294967295.0,
      .help = "The same seed gives the same file (default: 1)." },
};

/* ---- values
 * --------------------------------------------------------------------------------------- */

static uint64_t next(uint64_t *state) /* SplitMix64 */
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Mean 0, deviation 1, nearly normal: the sum of four numbers of 16 bits. */
static double noise(uint64_t *state)
{
    const uint64_t bits = next(state);
    const double sum =
        (double)((bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48));
    return (sum - 2 * 65535.0) / (65536 / sqrt(3));
}

/* ---- the file
 * ------------------------------------------------------------------------------------- */

/* The network is walked twice: for the header, then for the values. */
typedef struct writer {
    FILE *file;
    bool values;
    uint64_t state;      /* of the random numbers */
    uint64_t offset;     /* of the tensor in the data section */
    uint64_t characters; /* of the header */
    const checkpoint *from; /* whose tensors come before random ones; may be NULL */
    const char *odd;        /* one of them that has another shape, or no memory */
    const predictor_fit *fit; /* the same of predictors; may be NULL */
    uint32_t seed;
} writer;

/* The values of a tensor that is taken over, to be freed; NULL where they are to be random. */
static float *take_over(writer *w, const char *name, uint64_t count)
{
    float *const fitted = w->fit ? predictor_fit_tensor(w->fit, name, w->seed) : NULL;
    if (fitted)
        return fitted;
    const checkpoint_tensor *given = w->from ? checkpoint_find(w->from, name) : NULL;
    float *values = given && given->count == count ? malloc((size_t)count * sizeof *values) : NULL;
    if (values)
        checkpoint_to_float(given, values);
    else if (given)
        w->odd = given->name;
    return values;
}

static void header_text(writer *w, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const int written = vfprintf(w->file, format, arguments);
    va_end(arguments);
    w->characters += written > 0 ? (uint64_t)written : 0;
}

/* A tensor (up to four dimensions, 0 ends them early) of mean + spread * noise. */
static void tensor(writer *w, const char *name, const uint32_t shape[4], double mean, double spread)
{
    uint64_t count = 1;
    for (int i = 0; i < 4 && shape[i]; i++)
        count *= shape[i];

    if (!w->values) {
        header_text(w, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[", w->offset ? "," : "", name);
        for (int i = 0; i < 4 && shape[i]; i++)
            header_text(w, "%s%" PRIu32, i ? "," : "", shape[i]);
        header_text(w, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", w->offset,
                    w->offset + 4 * count);
    }
    float *const taken = w->values ? take_over(w, name, count) : NULL;
    const float *at = taken;
    while (w->values && count > 0) {
        uint8_t bytes[4 * CHUNK];
        const size_t chunk = count < CHUNK ? (size_t)count : CHUNK;
        for (size_t i = 0; i < chunk; i++) {
            const float value = taken ? *at++ : (float)(mean + spread * noise(&w->state));
            uint32_t bits;
            memcpy(&bits, &value, sizeof bits);
            for (unsigned b = 0; b < 4; b++)
                bytes[4 * i + b] = (uint8_t)(bits >> (8 * b));
        }
        fwrite(bytes, 4, chunk, w->file);
        count -= chunk;
        w->offset += 4 * chunk;
    }
    w->offset += 4 * count;
}

/* "PLACE.part" */
static void join_name(char name[NAME_BYTES], const char *place, const char *part)
{
    snprintf(name, NAME_BYTES, "%.*s.%.*s", NAME_BYTES / 2, place, NAME_BYTES / 2 - 2, part);
}

#define SHAPE(...) ((const uint32_t[4]){ __VA_ARGS__ })

/* gain: deviation of an output whose inputs have deviation 1. */
static void linear(writer *w, const char *place, uint32_t in, uint32_t out, double gain, bool bias)
{
    char name[NAME_BYTES];
    join_name(name, place, "weight");
    tensor(w, name, SHAPE(out, in), 0, gain / sqrt(in));
    join_name(name, place, "bias");
    if (bias)
        tensor(w, name, SHAPE(out), 0, 0.05 * gain);
}

static void norm(writer *w, const char *place, uint32_t width)
{
    char name[NAME_BYTES];
    join_name(name, place, "weight");
    tensor(w, name, SHAPE(width), 1, 0.1);
    join_name(name, place, "bias");
    tensor(w, name, SHAPE(width), 0, 0.1);
}

/* ---- the network
 * ---------------------------------------------------------------------------------- */

/* Gains of both signs and variances over a decade, as training leaves them. */
static void batch_norm(writer *w, const char *place, uint32_t width)
{
    char name[NAME_BYTES];
    join_name(name, place, "weight");
    tensor(w, name, SHAPE(width), 0.5, 0.6);
    join_name(name, place, "bias");
    tensor(w, name, SHAPE(width), 0.2, 0.4);
    join_name(name, place, "running_mean");
    tensor(w, name, SHAPE(width), 0, 0.4);
    join_name(name, place, "running_var");
    tensor(w, name, SHAPE(width), 1, 0.26);
}

/* Convolutions and batch norms, then the patches of the last map. */
static void stem(writer *w, const settings *s)
{
    const bool lvvit = s->stem == STEM_LVVIT;
    const char *const proj = lvvit ? "patch_embed.proj" : "conv_proj.conv_last";
    char name[NAME_BYTES], weight[NAME_BYTES];
    uint32_t before = 3, side = s->patch;
    for (uint32_t i = 0; i < s->channels.count; i++) {
        const uint32_t channels = s->channels.item[i], kernel = lvvit && i == 0 ? 7 : 3;
        snprintf(name, sizeof name,
                 lvvit ? "patch_embed.conv%" PRIu32 : "conv_proj.conv_bn_relu_%" PRIu32 ".0",
                 i + lvvit);
        join_name(weight, name, "weight");
        tensor(w, weight, SHAPE(channels, before, kernel, kernel), 0,
               1 / sqrt((double)before * kernel * kernel));
        snprintf(name, sizeof name,
                 lvvit ? "patch_embed.bn%" PRIu32 : "conv_proj.conv_bn_relu_%" PRIu32 ".1",
                 i + lvvit);
        batch_norm(w, name, channels);
        side /= i == 0 || channels != before ? 2 : 1;
        before = channels;
    }
    join_name(weight, proj, "weight");
    tensor(w, weight, SHAPE(s->dim, before, side, side), 0,
           1.5 / sqrt((double)before * side * side));
    join_name(weight, proj, "bias");
    tensor(w, weight, SHAPE(s->dim), 0, 0.05);
}

/* timm's names, which Microsoft's Swin and LV-ViT share, and torchvision's. */
enum { NAME_NORM1, NAME_QKV, NAME_PROJ, NAME_NORM2, NAME_FC1, NAME_FC2 };
static const char *const part_names[2][6] = {
    { "norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2" },
    { "ln_1", "self_attention.in_proj", "self_attention.out_proj", "ln_2", "mlp.0", "mlp.3" },
};

/* torchvision spells the parts of qkv with an underscore. */
static void qkv(writer *w, const settings *s, const char *place, uint32_t dim)
{
    char name[NAME_BYTES];
    if (s->stem != STEM_TORCHVISION) {
        linear(w, place, dim, 3 * dim, 1.2, s->stem != STEM_LVVIT);
        return;
    }
    snprintf(name, sizeof name, "%.80s_weight", place);
    tensor(w, name, SHAPE(3 * dim, dim), 0, 1.2 / sqrt(dim));
    snprintf(name, sizeof name, "%.80s_bias", place);
    tensor(w, name, SHAPE(3 * dim), 0, 0.06);
}

/* The branches are small beside the stream, as in trained networks, so that it stays of one size;
 * LV-ViT divides them by two itself. */
static void block(writer *w, const settings *s, const char *place, uint32_t dim, uint32_t heads)
{
    const uint32_t side = 2 * s->window - 1;
    const char *const *part = part_names[s->stem == STEM_TORCHVISION];
    const double branch = s->stem == STEM_LVVIT ? 1 : 0.5;
    char name[NAME_BYTES];
    join_name(name, place, part[NAME_NORM1]);
    norm(w, name, dim);
    if (s->family == FAMILY_SWIN) {
        join_name(name, place, "attn.relative_position_bias_table");
        tensor(w, name, SHAPE(side * side, heads), 0, 0.5);
    }
    join_name(name, place, part[NAME_QKV]);
    qkv(w, s, name, dim);
    join_name(name, place, part[NAME_PROJ]);
    linear(w, name, dim, dim, branch, true);
    join_name(name, place, part[NAME_NORM2]);
    norm(w, name, dim);
    join_name(name, place, part[NAME_FC1]);
    linear(w, name, dim, s->mlp_ratio * dim, 1, true);
    join_name(name, place, part[NAME_FC2]);
    linear(w, name, s->mlp_ratio * dim, dim, branch, true);
}

static void embedding(writer *w, const settings *s)
{
    const uint32_t grid = s->image / s->patch, dim = s->dim;
    const bool torchvision = s->stem == STEM_TORCHVISION;

    if (s->family == FAMILY_VIT) {
        tensor(w, torchvision ? "class_token" : "cls_token", SHAPE(1, 1, dim), 0, 0.5);
        tensor(w, torchvision ? "encoder.pos_embedding" : "pos_embed",
               SHAPE(1, grid * grid + 1, dim), 0, 0.5);
    }
    if (s->stem != STEM_NONE) {
        stem(w, s);
        return;
    }
    tensor(w, "patch_embed.proj.weight", SHAPE(dim, 3, s->patch, s->patch), 0,
           1 / sqrt(3.0 * s->patch * s->patch));
    tensor(w, "patch_embed.proj.bias", SHAPE(dim), 0, 0.05);
    if (s->family == FAMILY_SWIN)
        norm(w, "patch_embed.norm", dim);
}

static void block_name(const settings *s, uint32_t stage, uint32_t i, char name[NAME_BYTES])
{
    if (s->family == FAMILY_SWIN)
        snprintf(name, NAME_BYTES, "layers.%" PRIu32 ".blocks.%" PRIu32, stage, i);
    else if (s->stem == STEM_TORCHVISION)
        snprintf(name, NAME_BYTES, "encoder.layers.encoder_layer_%" PRIu32, i);
    else
        snprintf(name, NAME_BYTES, "blocks.%" PRIu32, i);
}

/* Of a size that tells tokens apart. */
static void predictor(writer *w, uint32_t stage, uint32_t dim)
{
    char name[NAME_BYTES];
    snprintf(name, sizeof name, "score_predictor.%" PRIu32 ".in_conv.0", stage);
    norm(w, name, dim);
    snprintf(name, sizeof name, "score_predictor.%" PRIu32 ".in_conv.1", stage);
    linear(w, name, dim, dim, 1.5, true);
    snprintf(name, sizeof name, "score_predictor.%" PRIu32 ".out_conv.0", stage);
    linear(w, name, dim, dim / 2, 2, true);
    snprintf(name, sizeof name, "score_predictor.%" PRIu32 ".out_conv.2", stage);
    linear(w, name, dim / 2, dim / 4, 2, true);
    snprintf(name, sizeof name, "score_predictor.%" PRIu32 ".out_conv.4", stage);
    linear(w, name, dim / 4, 2, 2, true);
}

static void network(writer *w, const settings *s)
{
    const bool torchvision = s->stem == STEM_TORCHVISION;
    uint32_t dim = s->dim;
    char name[NAME_BYTES];

    embedding(w, s);
    for (uint32_t stage = 0; stage < s->depth.count; stage++) {
        if (stage > 0) {
            snprintf(name, sizeof name, "layers.%" PRIu32 ".downsample.norm", stage);
            norm(w, name, 4 * dim);
            snprintf(name, sizeof name, "layers.%" PRIu32 ".downsample.reduction", stage);
            linear(w, name, 4 * dim, 2 * dim, 1, false);
            dim *= 2;
        }
        for (uint32_t i = 0; i < s->depth.item[stage]; i++) {
            block_name(s, stage, i, name);
            block(w, s, name, dim, s->heads.item[stage]);
        }
    }
    for (uint32_t k = 0; k < s->predictors; k++)
        predictor(w, k, dim);
    norm(w, torchvision ? "encoder.ln" : "norm", dim);
    linear(w,
           s->family == FAMILY_SWIN ? "head.fc"
           : torchvision            ? "heads.head"
                                    : "head",
           dim, s->classes, 1, true);
    if (s->stem == STEM_LVVIT)
        linear(w, "aux_head", dim, s->classes, 1, true);
}

static bool write_checkpoint(const settings *s, report *r)
{
    checkpoint *from = NULL;
    predictor_fit fit = { 0 };
    if (s->from && !checkpoint_open(s->from, &from, r))
        return false;
    if (s->fit && !predictor_fit_make(from, s->fit, FIT_PICTURES, s->predictors, &fit, r)) {
        predictor_fit_free(&fit);
        checkpoint_close(from);
        return false;
    }
    for (uint32_t k = 0; k < fit.stages && !s->common.quiet; k++)
        printf("stage %" PRIu32 ": ratings and attention correlate by %.2f\n", k,
               fit.correlation[k]);
    writer w = { .file = fopen(s->output, "wb"),
                 .state = s->seed,
                 .from = from,
                 .fit = s->fit ? &fit : NULL,
                 .seed = s->seed };
    if (!w.file) {
        predictor_fit_free(&fit);
        checkpoint_close(from);
        return report_fail(r, "%s: cannot be created: %s", s->output, strerror(errno));
    }

    uint8_t length[8] = { 0 }; /* of the header, known when it is written */
    fwrite(length, 1, sizeof length, w.file);
    header_text(&w, "{");
    network(&w, s);
    header_text(&w, "}");
    while (w.characters % HEADER_UNIT)
        header_text(&w, " ");
    for (unsigned i = 0; i < sizeof length; i++)
        length[i] = (uint8_t)(w.characters >> (8 * i));
    w.values = true;
    network(&w, s);

    bool written = fseek(w.file, 0, SEEK_SET) == 0;
    written = fwrite(length, 1, sizeof length, w.file) == sizeof length && written;
    written = !ferror(w.file) && written;
    written = fclose(w.file) == 0 && written;
    predictor_fit_free(&fit);
    if (w.odd) {
        report_fail(r, "%s: tensor %s has another size here", s->from, w.odd);
        checkpoint_close(from);
        return false;
    }
    checkpoint_close(from);
    return written || report_fail(r, "%s: cannot be written: %s", s->output, strerror(errno));
}

/* ---- the command line
 * ------------------------------------------------------------------------------ */

/* Takes what was not given from the preset, or from DeiT-T or Swin-T. */
static void complete(settings *s)
{
    const shape_preset *p = &presets[s->preset >= 0 ? s->preset : s->family == FAMILY_SWIN ? 3 : 0];
    s->family = p->family;
    s->image = s->image ? s->image : p->image;
    s->patch = s->patch ? s->patch : p->patch;
    s->dim = s->dim ? s->dim : p->dim;
    s->window = s->window ? s->window : p->window;
    if (s->preset >= 0)
        s->stem = p->stem;
    if (s->mlp_ratio == 0)
        s->mlp_ratio = s->stem == STEM_LVVIT ? 3 : 4;
    if (s->stem != STEM_NONE && s->channels.count == 0)
        s->channels = presets[s->stem == STEM_LVVIT ? 6 : 7].channels;
    if (s->depth.count == 0)
        s->depth = p->depth;
    if (s->heads.count == 0)
        s->heads = p->heads;
}

/* Whether the parts fit one another; the exit status if not. */
static int check(const option_program *program, const settings *s)
{
    const size_t stages = s->depth.count;
    if (!s->output)
        return options_wrong(program, "--output is missing");
    if (stages != s->heads.count || stages > (s->family == FAMILY_SWIN ? MAX_STAGES : 1))
        return options_wrong(program, "--depth has %zu stages and --heads %zu; the limit is %d",
                             stages, s->heads.count, s->family == FAMILY_SWIN ? MAX_STAGES : 1);
    for (size_t i = 0; i < stages; i++)
        if ((s->dim << i) % s->heads.item[i] != 0)
            return options_wrong(program, "%u heads do not divide the width of %u",
                                 (unsigned)s->heads.item[i], (unsigned)(s->dim << i));
    uint32_t stride = 1;
    for (size_t i = 0; i < s->channels.count; i++)
        stride *= i == 0 || s->channels.item[i] != s->channels.item[i - 1] ? 2 : 1;
    if (s->stem != STEM_NONE && (s->family != FAMILY_VIT || s->patch % stride != 0))
        return options_wrong(program, "a stem needs a ViT with patches of a multiple of %u",
                             (unsigned)stride);
    if (s->predictors > 0 && (s->family != FAMILY_VIT || s->stem == STEM_TORCHVISION ||
                              s->predictors > s->depth.item[0] || s->dim % 4 != 0))
        return options_wrong(program, "%u predictors need a ViT of as many blocks, of a width that is a "
                                      "multiple of 4, in timm's naming",
                             (unsigned)s->predictors);
    if (s->fit && (!s->predictors || !s->from))
        return options_wrong(program, "--fit DIR needs --predictors N and --from FILE");
    const uint32_t unit =
        s->family == FAMILY_SWIN ? (s->patch * s->window) << (stages - 1) : s->patch;
    if (s->image % unit != 0)
        return options_wrong(program, "a picture of %u is no multiple of %u", (unsigned)s->image,
                             (unsigned)unit);
    return EXIT_DONE;
}

int main(int argc, char **argv)
{
    settings s = { .preset = -1, .classes = 1000, .seed = 1 };
    const option_group groups[] = { { "Options", OPTIONS, OPTION_COUNT(OPTIONS), &s },
                                    common_options_group(&s.common) };
    static const char *const usage[] = { "[options] -o FILE", NULL };
    static const char *const operands[] = { NULL };
    static const option_example examples[] = {
        { "make-checkpoint --preset swin-b -o swin_b.safetensors", "Swin-B, 352 MB." },
        { "make-checkpoint --family swin --image 56 --dim 24 --depth 1,2 --heads 1,2 --classes 10 "
          "-o small.safetensors",
          "Two stages, quick to run." },
    };
    const option_program program = {
        .name = "make-checkpoint",
        .summary = "a checkpoint with random weights",
        .usage = usage,
        .description =
            "Writes a safetensors checkpoint of a ViT or Swin of any geometry. Its weights "
            "are random, of sizes that keep the activations like a trained network's.",
        .operands = operands,
        .groups = groups,
        .group_count = OPTION_COUNT(groups),
        .examples = examples,
        .example_count = OPTION_COUNT(examples),
    };
    option_operands none;
    int status = EXIT_DONE;
    report r = { "" };

    if (!options_parse(&program, argc, argv, &none, &status))
        return status;
    complete(&s);
    status = check(&program, &s);
    if (status != EXIT_DONE)
        return status;
    return write_checkpoint(&s, &r) ? EXIT_DONE : options_failed(&program, &r);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Checkpoints with convolutions before their patches, LV-ViT's and torchvision's: the float network
 * with everything folded into it, against plain loops in double precision that follow the
 * checkpoint's own tensors one by one: convolution, batch norm, ReLU, branches divided by a
 * constant, and the largest of the second head's logits.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "network/dialect.h"
#include "network/forward.h"
#include "network_toy.h"

#define TOLERANCE 1e-5 /* of the largest value */

/* ---- checkpoints ----------------------------------------------------------------------------- */

typedef struct shape {
    bool torchvision;
    uint64_t dim, hidden, depth, heads, classes, image, side; /* side: of the embedding's window */
    uint64_t convolutions, channels[4], kernel[4];
    uint32_t stride[4];
    double skip;
    bool patches_head;
} shape;

static const shape lvvit_small = { .dim = 24,
                                   .hidden = 72,
                                   .depth = 3,
                                   .heads = 2,
                                   .classes = 7,
                                   .image = 32,
                                   .side = 4,
                                   .convolutions = 3,
                                   .channels = { 12, 12, 12 },
                                   .kernel = { 7, 3, 3 },
                                   .stride = { 2, 1, 1 },
                                   .skip = 2,
                                   .patches_head = true };
static const shape lvvit_s = { .dim = 384,
                               .hidden = 1152,
                               .depth = 16,
                               .heads = 6,
                               .classes = 1000,
                               .image = 224,
                               .side = 8,
                               .convolutions = 3,
                               .channels = { 64, 64, 64 },
                               .kernel = { 7, 3, 3 },
                               .stride = { 2, 1, 1 },
                               .skip = 2,
                               .patches_head = true };
static const shape conv_stem = { .torchvision = true,
                                 .dim = 32,
                                 .hidden = 48,
                                 .depth = 2,
                                 .heads = 4,
                                 .classes = 5,
                                 .image = 40,
                                 .side = 1,
                                 .convolutions = 4,
                                 .channels = { 8, 16, 16, 24 },
                                 .kernel = { 3, 3, 3, 3 },
                                 .stride = { 2, 2, 1, 2 },
                                 .skip = 1 };

/* Uniform of that deviation about a centre. */
static void add(toy *t, const char *name, uint32_t rank, const uint64_t *size, double centre,
                double deviation)
{
    float *const data = toy_add(t, name, rank, size);
    const size_t count = t->tensor[t->c.count - 1].count;
    for (size_t i = 0; i < count; i++)
        data[i] = (float)(centre + sqrt(3) * deviation * (double)toy_value(name, 0, i));
}

static void add_vector(toy *t, const char *name, uint64_t width, double centre, double deviation)
{
    add(t, name, 1, &width, centre, deviation);
}

static void add_linear(toy *t, const char *prefix, uint64_t out, uint64_t in, bool bias)
{
    char name[TOY_NAME];
    add(t, toy_key(name, "%s%s", prefix, strstr(prefix, "in_proj") ? "_weight" : ".weight"), 2,
        (const uint64_t[]){ out, in }, 0, 1 / sqrt((double)in));
    if (bias)
        add_vector(t, toy_key(name, "%s%s", prefix, strstr(prefix, "in_proj") ? "_bias" : ".bias"),
                   out, 0, 0.1);
}

static void add_norm(toy *t, const char *prefix, uint64_t width)
{
    char name[TOY_NAME];
    add_vector(t, toy_key(name, "%s.weight", prefix), width, 1, 0.2);
    add_vector(t, toy_key(name, "%s.bias", prefix), width, 0, 0.2);
}

static const char *conv_name(const shape *s, char text[TOY_NAME], uint64_t i)
{
    return s->torchvision ? toy_key(text, "conv_proj.conv_bn_relu_%u.0", (unsigned)i)
                          : toy_key(text, "patch_embed.conv%u", (unsigned)i + 1);
}

static const char *batch_norm_name(const shape *s, char text[TOY_NAME], uint64_t i)
{
    return s->torchvision ? toy_key(text, "conv_proj.conv_bn_relu_%u.1", (unsigned)i)
                          : toy_key(text, "patch_embed.bn%u", (unsigned)i + 1);
}

/* Gains of both signs; variances over two decades. */
static void add_stem(toy *t, const shape *s)
{
    uint64_t before = 3;
    char name[TOY_NAME], place[TOY_NAME];
    for (uint64_t i = 0; i < s->convolutions; i++) {
        const uint64_t k = s->kernel[i], channels = s->channels[i];
        add(t, toy_key(name, "%.120s.weight", conv_name(s, place, i)), 4,
            (const uint64_t[]){ channels, before, k, k }, 0, 1 / sqrt((double)(before * k * k)));
        batch_norm_name(s, place, i);
        add_vector(t, toy_key(name, "%.120s.weight", place), channels, 0.3, 1);
        add_vector(t, toy_key(name, "%.120s.bias", place), channels, 0.2, 0.5);
        add_vector(t, toy_key(name, "%.120s.running_mean", place), channels, 0, 0.3);
        add_vector(t, toy_key(name, "%.120s.running_var", place), channels, 1, 0.56);
        add(t, toy_key(name, "%.120s.num_batches_tracked", place), 0, NULL, 1000, 0);
        before = channels;
    }
    const char *embed = s->torchvision ? "conv_proj.conv_last" : "patch_embed.proj";
    add(t, toy_key(name, "%s.weight", embed), 4,
        (const uint64_t[]){ s->dim, before, s->side, s->side }, 0,
        1 / sqrt((double)(before * s->side * s->side)));
    add_vector(t, toy_key(name, "%s.bias", embed), s->dim, 0, 0.1);
}

static uint64_t grid_of(const shape *s)
{
    uint64_t patch = s->side;
    for (uint64_t i = 0; i < s->convolutions; i++)
        patch *= s->stride[i];
    return s->image / patch;
}

static toy *make(const shape *s)
{
    toy *const t = toy_new();
    const uint64_t c = s->dim, grid = grid_of(s);
    const bool tv = s->torchvision;
    char name[TOY_NAME], block[64];
    add_stem(t, s);
    add(t, tv ? "class_token" : "cls_token", 3, (const uint64_t[]){ 1, 1, c }, 0, 0.5);
    add(t, tv ? "encoder.pos_embedding" : "pos_embed", 3,
        (const uint64_t[]){ 1, grid * grid + 1, c }, 0, 0.5);
    for (unsigned i = 0; i < s->depth; i++) {
        snprintf(block, sizeof block, tv ? "encoder.layers.encoder_layer_%u" : "blocks.%u", i);
        add_norm(t, toy_key(name, "%s.%s", block, tv ? "ln_1" : "norm1"), c);
        add_linear(t, toy_key(name, "%s.%s", block, tv ? "self_attention.in_proj" : "attn.qkv"),
                   3 * c, c, tv);
        add_linear(t, toy_key(name, "%s.%s", block, tv ? "self_attention.out_proj" : "attn.proj"),
                   c, c, true);
        add_norm(t, toy_key(name, "%s.%s", block, tv ? "ln_2" : "norm2"), c);
        add_linear(t, toy_key(name, "%s.%s", block, tv ? "mlp.0" : "mlp.fc1"), s->hidden, c, true);
        add_linear(t, toy_key(name, "%s.%s", block, tv ? "mlp.3" : "mlp.fc2"), c, s->hidden, true);
    }
    add_norm(t, tv ? "encoder.ln" : "norm", c);
    add_linear(t, tv ? "heads.head" : "head", s->classes, c, true);
    if (s->patches_head)
        add_linear(t, "aux_head", s->classes, c, true);
    toy_finish(t);
    return t;
}

/* ---- the independent computation --------------------------------------------------------------
 */

static double *reals(size_t count)
{
    double *const memory = calloc(count + 1, sizeof *memory);
    if (memory == NULL)
        abort();
    return memory;
}

static const float *values(const toy *t, const char *prefix, const char *word)
{
    char name[TOY_NAME];
    const checkpoint_tensor *found = checkpoint_find(&t->c, toy_key(name, "%s%s", prefix, word));
    return found ? found->data : NULL;
}

/* x (in, side, side) to (out, after, after), zeros around. */
static double *slow_convolution(const float *weight, const double *x, size_t in, size_t out,
                                size_t kernel, size_t stride, size_t padding, size_t side,
                                size_t after)
{
    double *const y = reals(out * after * after);
    for (size_t o = 0; o < out; o++)
        for (size_t c = 0; c < in; c++)
            for (size_t tap = 0; tap < kernel * kernel; tap++) {
                const double w = (double)weight[(o * in + c) * kernel * kernel + tap];
                for (size_t row = 0; row < after; row++) {
                    const size_t from = row * stride + tap / kernel - padding;
                    double *const to = y + (o * after + row) * after;
                    for (size_t i = 0; i < after && from < side; i++) {
                        const size_t column = i * stride + tap % kernel - padding;
                        if (column < side) /* size_t: below zero is far above */
                            to[i] += w * x[(c * side + from) * side + column];
                    }
                }
            }
    return y;
}

/* Batch norm and ReLU in place, x (channels, size). */
static void slow_batch_norm(const toy *t, const char *prefix, double *x, size_t channels,
                            size_t size)
{
    const float *gain = values(t, prefix, ".weight"), *bias = values(t, prefix, ".bias");
    const float *mean = values(t, prefix, ".running_mean"),
                *var = values(t, prefix, ".running_var");
    for (size_t i = 0; i < channels * size; i++) {
        const size_t c = i / size;
        const double y = (x[i] - (double)mean[c]) / sqrt((double)var[c] + 1e-5) * (double)gain[c] +
                         (double)bias[c];
        x[i] = y > 0 ? y : 0;
    }
}

/* Pixels to embedded patches (grid * grid, dim), positions not yet added. */
static double *slow_embed(const toy *t, const shape *s, const network *n, const uint8_t *pixels)
{
    size_t side = s->image, before = 3;
    double *x = reals(3 * side * side);
    char place[TOY_NAME];
    for (size_t i = 0; i < side * side * 3; i++)
        x[i % 3 * side * side + i / 3] =
            (pixels[i] / 255.0 - (double)n->mean[i % 3]) / (double)n->std[i % 3];
    for (size_t i = 0; i < s->convolutions; i++) {
        const size_t padding = s->kernel[i] / 2;
        const size_t after = (side + 2 * padding - s->kernel[i]) / s->stride[i] + 1;
        const float *weight = values(t, conv_name(s, place, i), ".weight");
        double *const y = slow_convolution(weight, x, before, s->channels[i], s->kernel[i],
                                           s->stride[i], padding, side, after);
        slow_batch_norm(t, batch_norm_name(s, place, i), y, s->channels[i], after * after);
        free(x);
        x = y;
        side = after;
        before = s->channels[i];
    }
    const char *embed = s->torchvision ? "conv_proj.conv_last" : "patch_embed.proj";
    const size_t grid = grid_of(s), dim = s->dim;
    double *const y = slow_convolution(values(t, embed, ".weight"), x, before, dim, s->side,
                                       s->side, 0, side, grid);
    double *const out = reals(grid * grid * dim);
    for (size_t i = 0; i < grid * grid * dim; i++)
        out[i] = y[i % dim * grid * grid + i / dim] + (double)values(t, embed, ".bias")[i % dim];
    free(x);
    free(y);
    return out;
}

static double *slow_linear(const float *weight, const float *bias, const double *x, size_t rows,
                           size_t in, size_t out)
{
    double *const y = reals(rows * out), *const turned = reals(in * out);
    for (size_t i = 0; i < in * out; i++)
        turned[i % in * out + i / in] = (double)weight[i];
    for (size_t r = 0; r < rows; r++) {
        double *const to = y + r * out;
        for (size_t o = 0; o < out; o++)
            to[o] = bias ? (double)bias[o] : 0;
        for (size_t k = 0; k < in; k++) {
            const double v = x[r * in + k];
            for (size_t o = 0; o < out; o++)
                to[o] += v * turned[k * out + o];
        }
    }
    free(turned);
    return y;
}

static double *slow_norm(const toy *t, const char *prefix, double epsilon, const double *x,
                         size_t rows, size_t width)
{
    const float *gain = values(t, prefix, ".weight"), *bias = values(t, prefix, ".bias");
    double *const y = reals(rows * width);
    for (size_t r = 0; r < rows; r++) {
        double mean = 0, variance = 0;
        for (size_t i = 0; i < width; i++)
            mean += x[r * width + i] / (double)width;
        for (size_t i = 0; i < width; i++)
            variance += pow(x[r * width + i] - mean, 2) / (double)width;
        for (size_t i = 0; i < width; i++)
            y[r * width + i] =
                (x[r * width + i] - mean) / sqrt(variance + epsilon) * (double)gain[i] +
                (double)bias[i];
    }
    return y;
}

static double *slow_attention(const double *qkv, size_t tokens, size_t c, size_t heads)
{
    const size_t width = c / heads;
    double *const out = reals(tokens * c), *const p = reals(tokens);
    for (size_t h = 0; h < heads; h++)
        for (size_t a = 0; a < tokens; a++) {
            double sum = 0;
            for (size_t b = 0; b < tokens; b++) {
                double score = 0;
                for (size_t i = h * width; i < (h + 1) * width; i++)
                    score += qkv[a * 3 * c + i] / sqrt((double)width) * qkv[b * 3 * c + c + i];
                sum += p[b] = exp(score);
            }
            for (size_t b = 0; b < tokens; b++)
                for (size_t i = h * width; i < (h + 1) * width; i++)
                    out[a * c + i] += p[b] / sum * qkv[b * 3 * c + 2 * c + i];
        }
    free(p);
    return out;
}

/* x += branch / skip, and the branch is done with. */
static void join(double *x, double *branch, double skip, size_t count)
{
    for (size_t i = 0; i < count; i++)
        x[i] += branch[i] / skip;
    free(branch);
}

static void slow_block(const toy *t, const shape *s, unsigned index, double epsilon, double *x,
                       size_t tokens)
{
    const bool tv = s->torchvision;
    const size_t c = s->dim;
    char name[TOY_NAME], block[64];
    snprintf(block, sizeof block, tv ? "encoder.layers.encoder_layer_%u" : "blocks.%u", index);
    double *const a =
        slow_norm(t, toy_key(name, "%s.%s", block, tv ? "ln_1" : "norm1"), epsilon, x, tokens, c);
    toy_key(name, "%s.%s", block, tv ? "self_attention.in_proj" : "attn.qkv");
    double *const qkv = slow_linear(values(t, name, tv ? "_weight" : ".weight"),
                                    values(t, name, tv ? "_bias" : ".bias"), a, tokens, c, 3 * c);
    double *const attended = slow_attention(qkv, tokens, c, s->heads);
    toy_key(name, "%s.%s", block, tv ? "self_attention.out_proj" : "attn.proj");
    join(x,
         slow_linear(values(t, name, ".weight"), values(t, name, ".bias"), attended, tokens, c, c),
         s->skip, tokens * c);
    double *const b =
        slow_norm(t, toy_key(name, "%s.%s", block, tv ? "ln_2" : "norm2"), epsilon, x, tokens, c);
    toy_key(name, "%s.%s", block, tv ? "mlp.0" : "mlp.fc1");
    double *const hidden =
        slow_linear(values(t, name, ".weight"), values(t, name, ".bias"), b, tokens, c, s->hidden);
    for (size_t i = 0; i < tokens * s->hidden; i++)
        hidden[i] *= 0.5 * erfc(-hidden[i] / sqrt(2));
    toy_key(name, "%s.%s", block, tv ? "mlp.3" : "mlp.fc2");
    join(x,
         slow_linear(values(t, name, ".weight"), values(t, name, ".bias"), hidden, tokens,
                     s->hidden, c),
         s->skip, tokens * c);
    free(a);
    free(qkv);
    free(attended);
    free(b);
    free(hidden);
}

static double *slow_forward(const toy *t, const shape *s, const network *n, const uint8_t *pixels)
{
    const bool tv = s->torchvision;
    const double epsilon = tv ? 1e-6 : 1e-5;
    const size_t c = s->dim, grid = grid_of(s) * grid_of(s), tokens = grid + 1;
    const float *class_token = values(t, tv ? "class_token" : "cls_token", "");
    const float *position = values(t, tv ? "encoder.pos_embedding" : "pos_embed", "");
    double *const patches = slow_embed(t, s, n, pixels), *const x = reals(tokens * c);
    for (size_t i = 0; i < tokens * c; i++)
        x[i] = (i < c ? (double)class_token[i] : patches[i - c]) + (double)position[i];
    for (unsigned i = 0; i < s->depth; i++)
        slow_block(t, s, i, epsilon, x, tokens);
    double *const y = slow_norm(t, tv ? "encoder.ln" : "norm", epsilon, x, tokens, c);
    const char *head = tv ? "heads.head" : "head";
    double *const logits =
        slow_linear(values(t, head, ".weight"), values(t, head, ".bias"), y, 1, c, s->classes);
    if (s->patches_head) {
        double *const all = slow_linear(values(t, "aux_head", ".weight"),
                                        values(t, "aux_head", ".bias"), y + c, grid, c, s->classes);
        for (size_t o = 0; o < s->classes; o++) {
            double most = -INFINITY;
            for (size_t i = 0; i < grid; i++)
                most = fmax(most, all[i * s->classes + o]);
            logits[o] += 0.5 * most;
        }
        free(all);
    }
    free(patches);
    free(x);
    free(y);
    return logits;
}

/* ---- comparisons ------------------------------------------------------------------------------
 */

static network *network_of(const toy *t, const network_options *options)
{
    network *n = NULL;
    report r = { "" };
    if (!network_from_checkpoint(&t->c, options, &n, &r))
        fail_msg("%s", r.text);
    return n;
}

static double relative(const double *expected, const float *y, size_t count)
{
    double largest = 0, difference = 0;
    for (size_t i = 0; i < count; i++) {
        largest = fmax(largest, fabs(expected[i]));
        difference = fmax(difference, fabs(expected[i] - (double)y[i]));
    }
    return difference / largest;
}

static void compare(const shape *s)
{
    toy *const t = make(s);
    const network_options options = { .heads = (uint32_t)s->heads };
    network *const n = network_of(t, &options);
    const size_t bytes = s->image * s->image * 3, tokens = grid_of(s) * grid_of(s) + 1;
    uint8_t *const pixels = malloc(bytes);
    float *const logits = malloc(s->classes * sizeof *logits);
    float *const patches = malloc(tokens * s->dim * sizeof *patches);
    float *const x = malloc(tokens * s->dim * sizeof *x);
    report r = { "" };
    if (!pixels || !logits || !patches || !x)
        abort();
    for (size_t i = 0; i < bytes; i++) /* light and dark borders, so that padding matters */
        pixels[i] = (uint8_t)(127.5f + 127.5f * toy_value("pixel", (uint32_t)(i % 5), i / 7));
    assert_true(network_embed(n, pixels, 1, 1, x, patches, &r));
    double *const embedded = slow_embed(t, s, n, pixels);
    const double stem = relative(embedded, patches, (tokens - 1) * s->dim);
    assert_true(network_forward(n, pixels, 1, 1, logits, &r));
    double *const expected = slow_forward(t, s, n, pixels);
    const double whole = relative(expected, logits, s->classes);
    print_message("width %u: stem folded against unfolded %.2g, logits %.2g\n", (unsigned)s->dim,
                  stem, whole);
    assert_true(stem <= TOLERANCE);
    assert_true(whole <= TOLERANCE);
    free(embedded);
    free(expected);
    free(pixels);
    free(logits);
    free(patches);
    free(x);
    network_free(n);
    toy_free(t);
}

static void lvvit_in_small(void **state)
{
    (void)state;
    compare(&lvvit_small);
    shape s = lvvit_small;
    s.patches_head = false;
    compare(&s);
    s.channels[0] = s.channels[1] = s.channels[2] = 128; /* as in LV-ViT-L, which divides by 3 */
    s.skip = 3;
    compare(&s);
}

static void lvvit_s_whole(void **state)
{
    (void)state;
    compare(&lvvit_s);
}

static void torchvisions_stem(void **state)
{
    (void)state;
    compare(&conv_stem);
}

/* ---- what is read off a checkpoint -------------------------------------------------------------
 */

static void geometry_is_inferred(void **state)
{
    (void)state;
    toy *const t = make(&lvvit_small);
    network *const n = network_of(t, &(network_options){ .heads = 2 });
    const iviti_geometry *g = &n->geometry;
    assert_string_equal(n->dialect, "LV-ViT");
    assert_string_equal(n->preset, "deit-timm");
    assert_true(n->epsilon == 1e-5);
    assert_int_equal(g->patch, 8);
    assert_int_equal(g->embed_side, 4);
    assert_int_equal(g->image_width, 32);
    assert_int_equal(g->convolutions, 3);
    assert_int_equal(g->convolution[0].stride, 2);
    assert_int_equal(g->convolution[0].padding, 3);
    assert_int_equal(g->convolution[1].stride, 1);
    assert_int_equal(g->convolution[2].width, 16);
    assert_true(g->token_head);
    assert_int_equal(g->pixel_padding[0], 124); /* 255 * 0.485 = 123.7 */
    assert_int_equal(g->pixel_padding[1], 116);
    assert_int_equal(g->pixel_padding[2], 104);
    assert_non_null(strstr(n->note, "divided by 2"));
    assert_non_null(strstr(n->note, "Strides"));
    network_free(n);
    toy_free(t);
}

static void options_overrule(void **state)
{
    (void)state;
    toy *const t = make(&conv_stem);
    const network_options options = { .heads = 4, .strides = 4, .stride = { 1, 2, 2, 2 } };
    network *n = network_of(t, &options);
    assert_int_equal(n->geometry.convolution[0].stride, 1);
    assert_int_equal(n->geometry.convolution[0].width, 40);
    assert_int_equal(n->geometry.convolution[2].stride, 2);
    network_free(n);
    toy_free(t);

    toy *const l = make(&lvvit_small);
    n = network_of(l, &(network_options){ .heads = 2 });
    network *const whole = network_of(l, &(network_options){ .heads = 2, .skip = 1 });
    for (size_t i = 0; i < 24 * 24; i++)
        assert_true(n->blocks[1].proj.weight[i] == whole->blocks[1].proj.weight[i] / 2);
    for (size_t i = 0; i < 24; i++)
        assert_true(n->blocks[2].fc2.bias[i] == whole->blocks[2].fc2.bias[i] / 2);
    network_free(n);
    network_free(whole);
    toy_free(l);
}

static void refuse(toy *t, const network_options *options, const char *word, const char *other)
{
    network *n = NULL;
    report r = { "" };
    assert_false(network_from_checkpoint(&t->c, options, &n, &r));
    if (!strstr(r.text, word) || !strstr(r.text, other))
        fail_msg("%s", r.text);
    toy_free(t);
}

static void wrong_stems_are_refused(void **state)
{
    (void)state;
    const network_options heads = { .heads = 2 };
    toy *t = make(&lvvit_small);
    toy_find(t, "patch_embed.conv2.weight")->shape[2] = 1;
    refuse(t, &heads, "patch_embed.conv2.weight", "(12, 12, 1, 3)");
    t = make(&lvvit_small);
    toy_find(t, "patch_embed.conv2.weight")->shape[1] = 3;
    refuse(t, &heads, "patch_embed.conv2.weight", "12 channels");
    t = make(&lvvit_small);
    toy_find(t, "patch_embed.bn1.running_var")->shape[0] = 5;
    refuse(t, &heads, "patch_embed.bn1.running_var", "12 values");
    t = make(&lvvit_small);
    ((float *)(uintptr_t)toy_find(t, "patch_embed.bn3.running_var")->data)[4] = -2;
    refuse(t, &heads, "patch_embed.conv3", "channel 4");
    t = make(&lvvit_small);
    ((float *)(uintptr_t)toy_find(t, "patch_embed.bn3.bias")->data)[4] = NAN;
    refuse(t, &heads, "patch_embed.bn3.bias", "finite");
    t = make(&lvvit_small);
    toy_find(t, "aux_head.weight")->shape[0] = 6;
    refuse(t, &heads, "aux_head.weight", "7");
    t = make(&lvvit_small);
    toy_find(t, "patch_embed.proj.weight")->shape[1] = 3;
    refuse(t, &heads, "patch_embed.proj.weight", "inputs");
    t = make(&lvvit_small);
    refuse(t, &(network_options){ .heads = 2, .strides = 2, .stride = { 2, 2 } }, "3 convolutions",
           "2 strides");
    t = make(&lvvit_small);
    refuse(t, &(network_options){ .heads = 2, .image = 36 }, "36", "multiple");
    t = make(&lvvit_small);
    refuse(t, &(network_options){ .heads = 2, .strides = 3, .stride = { 16, 16, 16 } },
           "patches of", "64");
    t = toy_timm_vit(&toy_small_vit, "", "", "");
    toy_finish(t);
    refuse(t, &(network_options){ .heads = 2, .skip = 2 }, "--skip", "no convolutions");
}

/* A tensor that is not there is named. */
static void missing_tensors_are_named(void **state)
{
    (void)state;
    static const char *const names[] = { "patch_embed.bn1.running_mean", "patch_embed.bn2.weight",
                                         "patch_embed.bn3.bias" };
    for (size_t i = 0; i < 3; i++) {
        toy *const t = make(&lvvit_small);
        checkpoint_tensor *const gone = toy_find(t, names[i]);
        gone->name = "zzz";
        toy_finish(t);
        network *n = NULL;
        report r = { "" };
        assert_false(network_from_checkpoint(&t->c, &(network_options){ .heads = 2 }, &n, &r));
        if (!strstr(r.text, names[i]))
            fail_msg("%s", r.text);
        toy_free(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lvvit_in_small),
        cmocka_unit_test(lvvit_s_whole),
        cmocka_unit_test(torchvisions_stem),
        cmocka_unit_test(geometry_is_inferred),
        cmocka_unit_test(options_overrule),
        cmocka_unit_test(wrong_stems_are_refused),
        cmocka_unit_test(missing_tensors_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Checkpoints made by program: one toy network of every family, spelled in any naming, with values
 * that depend on what a tensor is and not on how it is called.
 */
#ifndef NETWORK_TOY_H
#define NETWORK_TOY_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/checkpoint.h"

#define TOY_TENSORS 512
#define TOY_NAME    160

typedef struct toy {
    checkpoint c;
    checkpoint_tensor tensor[TOY_TENSORS];
    char name[TOY_TENSORS][TOY_NAME];
} toy;

/* A value in [-1, 1) that depends on its arguments alone. */
static inline float toy_value(const char *what, uint32_t block, size_t index)
{
    uint64_t h = 0xcbf29ce484222325u ^ (block * 0x9e3779b97f4a7c15u);
    for (; *what != '\0'; what++)
        h = (h ^ (unsigned char)*what) * 0x100000001b3u;
    h ^= (uint64_t)index * 0xbf58476d1ce4e5b9u;
    h = (h ^ (h >> 31)) * 0x94d049bb133111ebu;
    h = (h ^ (h >> 29)) * 0xbf58476d1ce4e5b9u;
    return (float)((double)(h >> 40) / (double)(1 << 23) - 1.0);
}

/* Adds a tensor of zeros and returns its floats. */
static inline float *toy_add(toy *t, const char *name, uint32_t rank, const uint64_t *shape)
{
    checkpoint_tensor *const tensor = &t->tensor[t->c.count];
    uint64_t count = 1;
    if (t->c.count == TOY_TENSORS)
        abort();
    snprintf(t->name[t->c.count], TOY_NAME, "%s", name);
    for (uint32_t i = 0; i < rank; i++)
        count *= tensor->shape[i] = shape[i];
    float *const data = calloc(count + 1, sizeof *data);
    if (data == NULL)
        abort();
    tensor->name = t->name[t->c.count++];
    tensor->type = CHECKPOINT_F32;
    tensor->rank = rank;
    tensor->count = count;
    tensor->data = data;
    return data;
}

static inline int toy_compare(const void *a, const void *b)
{
    return strcmp(((const checkpoint_tensor *)a)->name, ((const checkpoint_tensor *)b)->name);
}

/* Call when everything is added. */
static inline const checkpoint *toy_finish(toy *t)
{
    qsort(t->tensor, t->c.count, sizeof *t->tensor, toy_compare);
    t->c.tensors = t->tensor;
    t->c.container = "toy";
    snprintf(t->c.file, sizeof t->c.file, "%s", "toy.bin");
    return &t->c;
}

static inline void toy_free(toy *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; i < t->c.count; i++)
        free((void *)(uintptr_t)t->tensor[i].data);
    free(t);
}

static inline toy *toy_new(void)
{
    toy *t = calloc(1, sizeof *t);
    if (t == NULL)
        abort();
    return t;
}

/* The tensor of that name, for tests that spoil it; call after toy_finish. */
static inline checkpoint_tensor *toy_find(toy *t, const char *name)
{
    for (size_t i = 0; i < t->c.count; i++)
        if (strcmp(t->tensor[i].name, name) == 0)
            return &t->tensor[i];
    return NULL;
}

/* ---- layers, in PyTorch's layouts ----------------------------------------------------------- */

static inline void toy_vector(toy *t, const char *name, const char *what, uint32_t block,
                              uint64_t count, float centre, float spread)
{
    float *const data = toy_add(t, name, 1, &count);
    for (size_t i = 0; i < count; i++)
        data[i] = centre + spread * toy_value(what, block, i);
}

/* Rows `first` and on of the canonical matrix (.., in). */
static inline void toy_matrix(toy *t, const char *name, const char *what, uint32_t block,
                              size_t first, uint64_t out, uint64_t in)
{
    float *const data = toy_add(t, name, 2, (const uint64_t[]){ out, in });
    for (size_t i = 0; i < out * in; i++)
        data[i] = 0.3f * toy_value(what, block, first * in + i);
}

/* PREFIX.weight and PREFIX.bias. */
static inline void toy_linear(toy *t, const char *prefix, const char *what, uint32_t block,
                              size_t first, uint64_t out, uint64_t in)
{
    char name[TOY_NAME], bias[64];
    snprintf(name, sizeof name, "%.140s.weight", prefix);
    toy_matrix(t, name, what, block, first, out, in);
    snprintf(name, sizeof name, "%.140s.bias", prefix);
    snprintf(bias, sizeof bias, "%.50s bias", what);
    float *const data = toy_add(t, name, 1, &out);
    for (size_t i = 0; i < out; i++)
        data[i] = 0.1f * toy_value(bias, block, first + i);
}

static inline void toy_norm(toy *t, const char *prefix, const char *what, uint32_t block,
                            uint64_t width)
{
    char name[TOY_NAME], bias[64];
    snprintf(name, sizeof name, "%.140s.weight", prefix);
    toy_vector(t, name, what, block, width, 1.0f, 0.4f);
    snprintf(name, sizeof name, "%.140s.bias", prefix);
    snprintf(bias, sizeof bias, "%.50s bias", what);
    toy_vector(t, name, bias, block, width, 0.0f, 0.2f);
}

/* The patch embedding as a convolution (out, 3, patch, patch); canonical order is (out, row,
 * column, channel). */
static inline void toy_embed(toy *t, const char *prefix, uint64_t out, uint64_t patch)
{
    char name[TOY_NAME];
    snprintf(name, sizeof name, "%.140s.weight", prefix);
    float *const data = toy_add(t, name, 4, (const uint64_t[]){ out, 3, patch, patch });
    for (size_t o = 0; o < out; o++)
        for (size_t c = 0; c < 3; c++)
            for (size_t i = 0; i < patch * patch; i++)
                data[(o * 3 + c) * patch * patch + i] =
                    0.3f * toy_value("embed", 0, (o * patch * patch + i) * 3 + c);
    snprintf(name, sizeof name, "%.140s.bias", prefix);
    toy_vector(t, name, "embed bias", 0, out, 0.0f, 0.1f);
}

/* (1, rows, width) */
static inline void toy_tokens(toy *t, const char *name, const char *what, uint64_t rows,
                              uint64_t width, size_t first_row)
{
    float *const data = toy_add(t, name, 3, (const uint64_t[]){ 1, rows, width });
    for (size_t i = 0; i < rows * width; i++)
        data[i] = 0.5f * toy_value(what, 0, first_row * width + i);
}

/* ---- whole networks ------------------------------------------------------------------------- */

typedef struct toy_vit {
    uint64_t dim, hidden, depth, patch, grid, classes;
    bool distilled, scaled, no_class_position;
} toy_vit;

static const toy_vit toy_small_vit = { 32, 48, 3, 4, 3, 7, false, false, false };

/* A name with the block's number put in. */
static inline const char *toy_key(char text[TOY_NAME], const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static inline const char *toy_key(char text[TOY_NAME], const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, TOY_NAME, format, arguments);
    va_end(arguments);
    return text;
}

/* timm's and DeiT's naming; `prefix` before every key. */
static inline toy *toy_timm_vit(const toy_vit *v, const char *prefix, const char *scale1,
                                const char *scale2)
{
    toy *const t = toy_new();
    char key[TOY_NAME];
    const uint64_t c = v->dim, tokens = v->distilled ? 2 : 1;
    toy_embed(t, toy_key(key, "%spatch_embed.proj", prefix), c, v->patch);
    toy_tokens(t, toy_key(key, "%scls_token", prefix), "class", 1, c, 0);
    if (v->distilled)
        toy_tokens(t, toy_key(key, "%sdist_token", prefix), "distill", 1, c, 0);
    const size_t skipped = v->no_class_position ? tokens : 0;
    toy_tokens(t, toy_key(key, "%spos_embed", prefix), "position",
               tokens - skipped + v->grid * v->grid, c, skipped);
    for (uint32_t i = 0; i < v->depth; i++) {
        toy_norm(t, toy_key(key, "%sblocks.%u.norm1", prefix, i), "norm1", i, c);
        toy_linear(t, toy_key(key, "%sblocks.%u.attn.qkv", prefix, i), "qkv", i, 0, 3 * c, c);
        toy_linear(t, toy_key(key, "%sblocks.%u.attn.proj", prefix, i), "proj", i, 0, c, c);
        toy_norm(t, toy_key(key, "%sblocks.%u.norm2", prefix, i), "norm2", i, c);
        toy_linear(t, toy_key(key, "%sblocks.%u.mlp.fc1", prefix, i), "fc1", i, 0, v->hidden, c);
        toy_linear(t, toy_key(key, "%sblocks.%u.mlp.fc2", prefix, i), "fc2", i, 0, c, v->hidden);
        if (v->scaled) {
            toy_vector(t, toy_key(key, "%sblocks.%u.%s", prefix, i, scale1), "scale1", i, c, 0, 1);
            toy_vector(t, toy_key(key, "%sblocks.%u.%s", prefix, i, scale2), "scale2", i, c, 0, 1);
        }
    }
    toy_norm(t, toy_key(key, "%snorm", prefix), "norm", 0, c);
    toy_linear(t, toy_key(key, "%shead", prefix), "head", 0, 0, v->classes, c);
    if (v->distilled)
        toy_linear(t, toy_key(key, "%shead_dist", prefix), "head 2", 0, 0, v->classes, c);
    return t;
}

typedef struct toy_swin {
    uint64_t dim, stages, depth[4], heads[4], hidden_ratio, patch, window, classes;
} toy_swin;

static const toy_swin toy_small_swin = { 16, 3, { 2, 2, 2 }, { 1, 2, 4 }, 2, 2, 4, 6 };

static inline void toy_table(toy *t, const char *name, uint32_t block, uint64_t window,
                             uint64_t heads)
{
    const uint64_t rows = (2 * window - 1) * (2 * window - 1);
    float *const data = toy_add(t, name, 2, (const uint64_t[]){ rows, heads });
    for (size_t i = 0; i < rows * heads; i++)
        data[i] = toy_value("table", block, i);
}

/* Microsoft's naming (merge_offset 0, head "head") and timm's (1, "head.fc"). */
static inline toy *toy_microsoft_swin(const toy_swin *v, uint32_t merge_offset, const char *head)
{
    toy *const t = toy_new();
    char key[TOY_NAME];
    uint64_t c = v->dim;
    uint32_t block = 0;
    toy_embed(t, "patch_embed.proj", c, v->patch);
    toy_norm(t, "patch_embed.norm", "embed norm", 0, c);
    for (uint32_t s = 0; s < v->stages; s++, c *= 2) {
        for (uint32_t j = 0; j < v->depth[s]; j++, block++) {
            char p[64];
            snprintf(p, sizeof p, "layers.%u.blocks.%u", s, j);
            toy_norm(t, toy_key(key, "%s.norm1", p), "norm1", block, c);
            toy_linear(t, toy_key(key, "%s.attn.qkv", p), "qkv", block, 0, 3 * c, c);
            toy_table(t, toy_key(key, "%s.attn.relative_position_bias_table", p), block, v->window,
                      v->heads[s]);
            toy_linear(t, toy_key(key, "%s.attn.proj", p), "proj", block, 0, c, c);
            toy_norm(t, toy_key(key, "%s.norm2", p), "norm2", block, c);
            toy_linear(t, toy_key(key, "%s.mlp.fc1", p), "fc1", block, 0, v->hidden_ratio * c, c);
            toy_linear(t, toy_key(key, "%s.mlp.fc2", p), "fc2", block, 0, c, v->hidden_ratio * c);
        }
        if (s + 1 < v->stages) {
            toy_norm(t, toy_key(key, "layers.%u.downsample.norm", s + merge_offset), "merge norm",
                     s, 4 * c);
            toy_matrix(t, toy_key(key, "layers.%u.downsample.reduction.weight", s + merge_offset),
                       "merge", s, 0, 2 * c, 4 * c);
        }
    }
    toy_norm(t, "norm", "norm", 0, c / 2);
    toy_linear(t, head, "head", 0, 0, v->classes, c / 2);
    return t;
}

/* The network of a checkpoint, which is freed; fails where it is refused. */
static inline network *toy_map(toy *t, const network_options *options)
{
    network *n = NULL;
    report r = { "" };
    if (!network_from_checkpoint(toy_finish(t), options, &n, &r))
        fail_msg("%s", r.text);
    toy_free(t);
    return n;
}

/* A small ViT (family 0) or Swin. */
static inline network *toy_network(int family)
{
    return family == 0 ? toy_map(toy_timm_vit(&toy_small_vit, "", "", ""),
                                 &(network_options){ .heads = 4 })
                       : toy_map(toy_microsoft_swin(&toy_small_swin, 0, "head"),
                                 &(network_options){ .image = 32 });
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The float forward pass of the canonical network: what calibration observes and what the integer
 * model is measured against.
 *
 * Every picture is computed by itself, by one thread with single-threaded BLAS: the floats of a
 * picture depend neither on the number of threads nor on the pictures beside it. Functions return
 * false, with a sentence, only where memory runs out. Rows of Swin are in plain spatial order
 * throughout, whatever windows a block computes in.
 */
#ifndef FORWARD_H
#define FORWARD_H

#include "network/network.h"

/* The stage that block i belongs to, and the tokens that it computes, prefix tokens included: those of
 * the stage, or as many as DynamicViT's predictors have left. */
uint32_t network_stage_of(const network *n, uint32_t block);
uint32_t network_tokens_of(const network *n, uint32_t block);

/* What a block computes on its way, for those who want to see it: each NULL, or room for
 * (count * tokens, width) floats. C is the stage's dim, H its hidden width. */
typedef struct network_capture {
    float *norm1;     /* (.., C) normalised input of qkv */
    float *qkv;       /* (.., 3C) */
    float *attention; /* (.., C) heads side by side, input of proj */
    float *proj;      /* (.., C) the branch */
    float *middle;    /* (.., C) the stream with that branch added */
    float *norm2;     /* (.., C) normalised input of fc1 */
    float *fc1;       /* (.., H) before GELU */
    float *gelu;      /* (.., H) input of fc2 */
    float *fc2;       /* (.., C) the branch */
} network_capture;

/* Pixels (count, image_height, image_width, 3) to the stream x (count * tokens, dim).
 * patches (count * grid, dim), may be NULL: the patch embedding's output by itself, before the
 * position (ViT) or the LayerNorm (Swin). */
bool network_embed(const network *n, const uint8_t *pixels, size_t count, unsigned threads,
                   float *x, float *patches, report *r);

/* What is seen of one convolution of a stem, with ReLU, over several pictures. */
typedef struct network_map_sample {
    size_t rows;    /* of values, for each picture: positions spread over the map */
    float *values;  /* (count * rows, channels) */
    float *largest; /* (count, channels) of all positions of each picture */
} network_map_sample;

/* Pixels as for network_embed through the stem as far as convolution `index`. rows at most those of the
 * map. */
bool network_sample_stem(const network *n, uint32_t index, const uint8_t *pixels, size_t count,
                         unsigned threads, const network_map_sample *sample, report *r);

/* Block `block` of all stages, in place: x (count * tokens, C). capture may be NULL. EViT and token
 * merging, which change the tokens inside a block, are left out. */
bool network_run_block(const network *n, uint32_t block, size_t count, unsigned threads, float *x,
                       const network_capture *capture, report *r);

/* Swin, from the end of a stage to the next: x (count * tokens, C) to out (count * tokens / 4, 2C).
 * norm (count * tokens / 4, 4C), may be NULL: the normalised neighbours. */
bool network_run_merge(const network *n, uint32_t stage, size_t count, unsigned threads,
                       const float *x, float *out, float *norm, report *r);

/* x (count * tokens of the last stage, C) to logits (count, classes).
 * norm, may be NULL: the normalised tokens, ViT (count * prefix_tokens, C), Swin and a ViT with a head
 * of the patches all.
 * features (count, features), may be NULL: what enters the classifier (Swin: the mean of norm). */
bool network_run_head(const network *n, size_t count, unsigned threads, const float *x,
                      float *logits, float *features, float *norm, report *r);

/* What a predictor computes on its way, each (count * patches, width) of the patches before it. */
typedef struct network_predictor_capture {
    float *norm;  /* (.., C) */
    float *in;    /* (.., C) before GELU */
    float *mixed; /* (.., C) half of it after GELU, and the mean of the other half */
    float *out0;  /* (.., C/2) before GELU */
    float *gelu0; /* (.., C/2) */
    float *out1;  /* (.., C/4) before GELU */
    float *gelu1; /* (.., C/4) */
} network_predictor_capture;

/* DynamicViT's stage `stage`: x (count * tokens before, C) to the tokens that are kept, which lie one
 * picture after the other again. capture NULL, or all of its members set. */
bool network_run_predictor(const network *n, uint32_t stage, size_t count, unsigned threads,
                           float *x, const network_predictor_capture *capture, report *r);

/* Numbers that network_forward_kept() gives for each picture: the patches kept at all stages. */
size_t network_kept_numbers(const network *n);

/* All of it, and which patches are left after each stage of pruning: kept (count,
 * network_kept_numbers()), for each picture one stage after the other, each ascending, UINT32_MAX for a
 * fused token that is kept. */
bool network_forward_kept(const network *n, const uint8_t *pixels, size_t count, unsigned threads,
                          float *logits, uint32_t *kept, report *r);

/* The same for DynamicViT, but each stage goes on with the patches `follow` (as `kept`), those of
 * stage k + 1 among those of stage k, while kept tells which the predictors would have chosen of
 * them. */
bool network_forward_following(const network *n, const uint8_t *pixels, size_t count,
                               unsigned threads, const uint32_t *follow, float *logits,
                               uint32_t *kept, report *r);

/* All of it: pixels to logits (count, classes), with no more memory than the threads need. */
bool network_forward(const network *n, const uint8_t *pixels, size_t count, unsigned threads,
                     float *logits, report *r);

#endif

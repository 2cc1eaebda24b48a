/* SPDX-License-Identifier: Apache-2.0
 *
 * The forward pass of one picture, step by step, in memory that the caller gives. Private to the
 * float forward pass.
 */
#ifndef FORWARD_ONE_H
#define FORWARD_ONE_H

#include "network/forward.h"

/* Memory of one thread. */
typedef struct workspace {
    float *patches;   /* (grid, inputs of the embedding) normalised pixels, or of the stem's map */
    float *map[2];    /* stem: (height, width, channels): the picture, and every other convolution */
    float *windows;   /* stem: (width, inputs of a convolution): those of a line */
    float *norm;      /* (tokens, C), also (tokens / 4, 4C) */
    float *qkv;       /* (tokens, 3C) */
    float *attention; /* (tokens, C) */
    float *branch;    /* (tokens, C) */
    float *hidden;    /* (tokens, H) */
    float *scores;    /* (attended tokens)^2 */
    float *window;    /* Swin: (window^2, 4C): q, k, v and the output of one window */
    float *x[2];      /* (tokens, C): the stream, for whole passes */
    float *arena;

    /* Fewer tokens, for whole passes. */
    size_t tokens;    /* that are left, prefix tokens included */
    uint32_t *origin; /* (tokens) the patch that each is; UINT32_MAX: none */
    float *size;      /* (tokens) patches that each stands for */
    float *rating;    /* (tokens) the higher, the sooner it is kept, or merged */
    uint32_t *list;   /* (tokens) */
    float *class_row; /* (tokens) the class token's attention, mean over the heads */
    const uint32_t *follow; /* predictors: the patches that the next stage goes on with, ascending,
                               whatever its own choice; NULL: with that */
} workspace;

bool workspace_create(const network *n, workspace *w);
void workspace_free(workspace *w);

void one_embed(const network *n, workspace *w, const uint8_t *pixels, float *x, float *patches);

/* The halves of a block, in place: x (tokens, C). size (tokens): as for attend_globally. Afterwards w->qkv
 * and w->class_row hold those of the picture unless they are captured. */
void one_attend(const network *n, workspace *w, uint32_t block, size_t tokens, const float *size,
                float *x, const network_capture *capture);
void one_mlp(const network *n, workspace *w, uint32_t block, size_t tokens, float *x,
             const network_capture *capture);


/* All tokens of a picture are there again: w->tokens, w->origin and w->size. */
void one_unpruned(const network *n, workspace *w);

/* The stage of pruning before a block, or between its halves, if there is one: changes x and w->tokens, and
 * notes at *kept, unless that is NULL, the patches that are left, and moves it behind them. */
void one_prune_before(const network *n, workspace *w, uint32_t block, float *x, uint32_t **kept);
void one_prune_within(const network *n, workspace *w, uint32_t block, float *x, uint32_t **kept);

/* DynamicViT: w->rating of the patches of x (tokens, C). capture may be NULL. */
void one_predict(const network *n, workspace *w, uint32_t stage, size_t tokens, const float *x,
                 const network_predictor_capture *capture);

/* Moves the prefix tokens and the `kept` patches of the highest w->rating to the front of x and of
 * w->origin, in their order, ties to the lower one; returns how many that are. */
size_t one_keep(const network *n, workspace *w, size_t tokens, size_t kept, float *x);
void one_merge(const network *n, workspace *w, uint32_t stage, const float *x, float *out,
               float *norm);
void one_head(const network *n, workspace *w, size_t tokens, const float *x, float *logits,
              float *features, float *norm);

/* The first `count` convolutions of the stem; the last map (height, width, channels), which lies in w. */
const float *one_convolutions(const network *n, workspace *w, const uint8_t *pixels, uint32_t count);

/* All of them, and the windows of the embedding in the last map: (grid, inputs). */
void one_stem(const network *n, workspace *w, const uint8_t *pixels, float *patches);

/* Where a stem's scratch begins from `base`, NULL to learn the size; returns it in floats. */
size_t stem_lay_out(const network *n, workspace *w, float *base);

/* The value of each normalised pixel. */
void pixel_values(const network *n, float value[3][256]);

/* y = x W^T + b for `rows` rows. */
void dense(const network_linear *linear, const float *x, size_t rows, size_t in, size_t out,
           float *y);

/* LayerNorm of each row. */
void normalise(const network_norm *norm, double epsilon, const float *x, size_t rows, size_t width,
               float *y);

/* x * Phi(x) with the exact error function; y may be x. */
void gelu(const float *x, size_t count, float *y);

/* Multi-head attention of one picture: qkv (tokens, 3C) to out (tokens, C). size (tokens): patches that
 * each token stands for, or NULL; class_row (tokens): the first row of attention, mean over the heads. */
void attend_globally(const iviti_stage *stage, size_t tokens, const float *qkv, const float *size,
                     float *scores, float *class_row, float *out);
void attend_in_windows(const iviti_stage *stage, bool shifted, const float *position_bias,
                       const float *qkv, float *scores, float *window, float *out);

#endif

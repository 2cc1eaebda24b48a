/* SPDX-License-Identifier: Apache-2.0
 *
 * A session: one run's memory, planned once, and what the forward passes share.
 *
 * All threads of a session walk through the same forward pass. Each owns a share of the token rows
 * from the pixels to the last block, so that they meet only where a token looks at others: once a
 * block. Activations are u8 rows in offset binary (s8 + 128); the residual stream is s16.
 */
#ifndef IVITI_SESSION_H
#define IVITI_SESSION_H

#include "base/threads.h"
#include "kernels/kernel.h"
#include "model/model.h"

/* Rows [first, first + count) of a buffer. */
typedef struct iviti_rows {
    size_t first;
    size_t count;
} iviti_rows;

/* Swin: which stream row each window row is, for one stage, all pictures of a batch after another. */
typedef struct iviti_windows {
    uint32_t count;           /* windows of a picture */
    uint32_t tokens;          /* of a window */
    const uint32_t *map[2];   /* (batch * count * tokens) of plain and shifted windows */
    const uint8_t *region;    /* (batch * count * tokens) of shifted windows; NULL where none shift */
} iviti_windows;

#define IVITI_NO_PATCH UINT16_MAX

/* Merging: the mean keys of all tokens. Tokens of even number (A) look for the most alike one of odd
 * number (B). */
typedef struct iviti_alike {
    uint8_t *mean;       /* (batch * tokens, stride) offset binary */
    uint32_t *inverse;   /* (batch * tokens) 2^20 / their lengths */
    int8_t *b;           /* (batch, panel_bytes) panels of the tokens of B */
    int32_t *b_bias;     /* (batch, b_tokens) -128 * the sums of these */
    int32_t *multiplier; /* (b_tokens) what the products are scaled with: nearly one half */
    int32_t *shift;      /* (b_tokens) */
    uint16_t *partner;   /* (batch, a_tokens) in B, of each of A */
    size_t stride, a_tokens, b_tokens, panel_bytes;
} iviti_alike;

/* Buffers in the arena, each for a whole batch: rows of the second picture follow those of the first.
 * Strides in elements. */
typedef struct iviti_buffers {
    uint8_t *pixels;      /* (batch, image_height, image_width, 3) */
    uint8_t *patches;     /* (batch * grid, patch_stride) */
    size_t patch_stride;
    uint8_t *map[2];      /* stem: (batch, height, width, channels) of every other convolution */
    uint8_t *windows;     /* stem: (threads, IVITI_STEM_ROWS, window_stride) */
    size_t window_stride;
    int32_t *patch_logits; /* token head: (threads, IVITI_PANEL + 1, classes) */
    int16_t *stream;      /* (tokens, dim) residual stream */
    int16_t *next_stream; /* after a stage of Swin, or of pruning; the two change places */
    int16_t *merged;      /* Swin: (tokens / 4, 4 * dim) */
    uint8_t *normed;      /* (tokens, dim): what enters q, k, v, then fc1 */
    uint8_t *query;       /* (tokens, dim) */
    int8_t *keys[2];      /* panels per window and head; block parity, so that a thread may begin the
                             next block while another still reads this one's */
    int8_t *values[2];
    uint8_t *attended;    /* (tokens, dim): what enters proj */
    uint8_t *hidden;      /* (tokens, hidden): what enters fc2 */

    /* Where blocks are wide: low digits, the high ones being in the rows above. */
    uint8_t *low;        /* (tokens, dim) of attended, then of norm2 */
    uint8_t *hidden_low; /* (tokens, hidden) */
    int16_t *middle;     /* (tokens, wider of both) norm2 and fc1 before they are split */

    uint8_t *features;    /* (batch, features) what enters the head */
    int8_t *features_s8;  /* the same for the caller */
    int32_t *logits;      /* (batch, classes) */
    uint8_t *fit;         /* (threads, fit_bytes) scratch of resize and crop */
    size_t fit_bytes;
    uint8_t *scratch;     /* (threads, scratch_bytes) */
    size_t scratch_bytes;

    /* Where tokens are pruned; what changes from stage to stage is there twice. */
    uint32_t *rating;     /* (batch, tokens) the higher, the sooner a token is kept, or merged */
    uint16_t *origin[2];  /* (batch * tokens) which patch each row is, IVITI_NO_PATCH: none */
    uint16_t *size[2];    /* (batch * tokens) merging: patches that each row stands for */
    uint32_t *kept;       /* (stages of pruning, batch, patches) for the caller */
    int32_t *sums;        /* (threads, batch, dim / 2) predictors: a thread's part of the means */
    iviti_alike alike;    /* merging */
    uint32_t *log2;       /* (patches + 1) merging: of each size, in units of 2^-16 */
    uint8_t *choice;      /* (threads, choice_bytes) */
    size_t choice_bytes;

    /* Where the class token's attention is recorded. */
    uint16_t *attention;  /* (depth, batch, patches) */
    uint16_t *group;      /* (batch, patches) merging: the patch whose token has taken each in */
} iviti_buffers;

struct iviti_session {
    const iviti_model *model;
    iviti_kernels kernels;
    iviti_buffers buffers;
    iviti_windows windows[IVITI_MAX_STAGES];
    iviti_allocator allocator;
    iviti_log log;
    void *memory;  /* what to release; NULL where the caller owns it */
    unsigned threads;
    size_t batch;    /* pictures there is room for */
    size_t pictures; /* of the run at hand, or the last; 0 before the first */
    const iviti_image *images; /* of the run at hand, while it resizes them */
    bool record;     /* the class token's attention */
    iviti_pool pool;
};

/* Lays out the arena after the session struct. With `session` NULL only counts. Returns the bytes
 * in all, or 0 if they do not fit size_t. */
size_t iviti_plan(const iviti_model *model, unsigned threads, size_t batch, bool record,
                  iviti_session *session);

/* Row strides of u8 activations and of the stream: whole cache lines. */
static inline size_t iviti_row_stride(size_t width)
{
    return (width + 63) / 64 * 64;
}

/* This thread's share of `count` rows, cut where threads may meet: at the boundaries of windows of
 * `window` tokens, and inside one at multiples of `unit` tokens. */
iviti_rows iviti_share(const iviti_session *s, size_t count, size_t window, size_t unit,
                       unsigned thread);

/* Patches [first, first + count) of a picture of the run, as u8 rows or, where the model has a table
 * of pixels, as its s8 inputs + 128; buffers.patch_stride apart. */
uint8_t *iviti_session_patches(iviti_session *s, size_t picture, size_t first, size_t count);

/* Clips rows of activations to codes of `bits` bits; nothing for 8 and more. */
void iviti_clip_rows(const iviti_session *s, int bits, uint8_t *x, size_t stride, size_t rows,
                     size_t width);

/* The tokens that a block works on, and where they are. */
typedef struct iviti_tokens {
    uint32_t stage;
    uint32_t window;       /* those that attend to each other: of a Swin window, or of a picture */
    unsigned parity;       /* which of the keys and values */
    int16_t *stream;
    const uint32_t *map;   /* Swin: which stream row each row is; NULL: the same */
    const uint8_t *region; /* Swin: of each row of shifted windows; else NULL */
    const uint16_t *origin; /* ViT: which patch each row is, once some are gone; else NULL */
    const uint16_t *size;   /* ViT: how many patches each row stands for, once some were merged; else
                               NULL */
} iviti_tokens;

/* The parts of a block over rows of its tokens. Between the first and the second all threads must have
 * met if their windows are shared. */

/* norm1, keys and values. */
void iviti_block_project(iviti_session *s, const iviti_block *b, const iviti_tokens *t,
                         iviti_rows rows);

/* Queries, attention, and proj into the stream. */
void iviti_block_attend(iviti_session *s, const iviti_block *b, const iviti_tokens *t,
                        iviti_rows rows, unsigned thread);

/* norm2, fc1, GELU, and fc2 into the stream. */
void iviti_block_mlp(iviti_session *s, const iviti_block *b, const iviti_tokens *t,
                     iviti_rows rows);

/* Some outputs of a layer, from a multiple of 16 on, as a layer of its own. */
iviti_dense iviti_dense_columns(const iviti_dense *w, iviti_rows columns);

/* Attention and MLP of the few rows that the head reads, which one thread has projected: the threads
 * share the columns of each layer, and meet after each. ViT only. */
void iviti_block_finish(iviti_session *s, const iviti_block *b, const iviti_tokens *t,
                        iviti_rows prefix, unsigned thread);

/* How much the class token of a picture attends to each token, once its query and all keys are there:
 * sums (t->window) over the heads, each head's in units of 2^-16. */
void iviti_class_attention(iviti_session *s, const iviti_block *b, const iviti_tokens *t,
                           size_t picture, uint32_t *sums, unsigned thread);

/* Rows of picture `picture` among `rows`, counted within the picture. */
iviti_rows iviti_rows_of_picture(iviti_rows rows, size_t picture, size_t tokens);

/* Windows that a thread takes at a time through a convolution. */
#define IVITI_STEM_ROWS 64

/* All convolutions of the stem, ends with all threads met. */
void iviti_stem_forward(iviti_session *s, unsigned thread);

/* Patches of the stem's last map, of one picture, to rows of buffers.patches. */
void iviti_stem_patches(const iviti_session *s, size_t picture, iviti_rows rows, uint8_t *patches);

/* Forward passes: pixels in buffers.pixels, logits in buffers.logits. */
void iviti_vit_forward(void *session, unsigned thread);
void iviti_swin_forward(void *session, unsigned thread);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * What the linear layers and attention of all instruction sets share: matrix products in tiles
 * of up to 6 rows and 4 panels, and what is done with a tile. dense_tiles.c and attention_tiles.c
 * are plain C and know the order of things; an engine brings the instructions.
 */
#ifndef IVITI_ENGINE_H
#define IVITI_ENGINE_H

#include <stdbool.h>

#include "kernels/kernel.h"

#define TILE_ROWS    6
#define TILE_PANELS  4
#define TILE_COLUMNS (TILE_PANELS * IVITI_PANEL)

/* ---- linear layers --------------------------------------------------------------------------- */

/* Biases and factors of the columns of a tile, c in [32, 62]: acc * m / 2^c, rounded, is
 * ((acc * m >> 32) + 2^(c-33)) >> (c-32), but for c = 32, whose rounding term 2^31 is in the low
 * half of the product. */
typedef struct iviti_scales {
    _Alignas(64) int32_t bias[TILE_COLUMNS];
    _Alignas(64) int32_t multiplier[TILE_COLUMNS];
    _Alignas(64) int32_t odd_multiplier[TILE_COLUMNS]; /* that of column n | 1 */
    _Alignas(64) int32_t round[TILE_COLUMNS];          /* 2^(c-33); 0 if c = 32 */
    _Alignas(64) int32_t shift[TILE_COLUMNS];          /* c - 32 */
} iviti_scales;

/* A multiplied tile on its way to its destination. Each value is scaled, saturated to `element`
 * bytes and then: looked up in the table, if there is one; or changed in the bits of `flip`, if it
 * is s8; or added with saturation to what is there, if it is s16 and `add` is set. */
typedef struct iviti_finish {
    uint8_t element; /* 1, 2 or 4 */
    uint8_t flip;    /* 0x80 for offset binary, or 0 */
    bool add;
    bool halves; /* some c is 32 */
    size_t rows;
    size_t columns; /* 1 to 64 */
    uint64_t mask;  /* a bit for each of them */
    const iviti_scales *scales;
    const uint8_t *table;    /* (256), of the value + 128 */
    uint8_t *row[TILE_ROWS]; /* where the tile's first column goes */
    _Alignas(64) int32_t acc[TILE_ROWS * TILE_COLUMNS];
} iviti_finish;

/* acc[r][n] = sum over k < 4 * groups of x[r][k] * panels[n][k]
 * acc (rows, 64), aligned to 64 bytes, with 16 columns written for each panel; panels lie
 * panel_bytes apart. Meanwhile `other`, a tile of as many panels without halves, may be finished.
 */
typedef void iviti_product(const uint8_t *x, size_t x_stride, const int8_t *panels,
                           size_t panel_bytes, size_t groups, int32_t *acc,
                           const iviti_finish *other);

/* y[n] = clamp16(y[n] * join.stream + branch[n] * join.branch) for `columns` columns; branch (64)
 * is aligned. */
typedef void iviti_join_row(const iviti_join *join, const int16_t *branch, int16_t *y,
                            size_t columns);

#define RING_ROWS 32 /* rows of a group that wait: more than two tiles, or a tile and 16 tokens */

/* s8 rows of keys or values in a ring, to be spread over the panels when 16 tokens are complete. */
typedef struct iviti_spread {
    const iviti_head_panels *to;
    size_t next;                              /* row in the ring of the next token */
    int8_t *window;                           /* its window's panels */
    size_t token;                             /* its number in the window, a multiple of 16 */
    size_t pieces;                            /* of 4 channels: never of two heads */
    size_t piece[TILE_COLUMNS / IVITI_GROUP]; /* where each piece of token 0 lies in a window */
    _Alignas(64) int8_t ring[RING_ROWS * TILE_COLUMNS];
} iviti_spread;

/* The n-th row that is not yet spread. */
static inline const int8_t *iviti_next_row(const iviti_spread *s, size_t n)
{
    return s->ring + (s->next + n) % RING_ROWS * TILE_COLUMNS;
}

/* Spreads the next `tokens` tokens, at most 16. */
typedef void iviti_spread_tokens(const iviti_spread *s, size_t tokens);

/* ---- attention ------------------------------------------------------------------------------- */

#define BLOCK_TOKENS TILE_COLUMNS /* tokens that a product takes at once */

/* |q.k| and biases are far below it, so a corrected score of no token is never a maximum. */
#define NO_TOKEN (1 << 30)

/* What the rows of one call share. */
typedef struct iviti_call {
    const iviti_attention *a;
    size_t blocks;       /* of tokens */
    int32_t *correction; /* (blocks, 64) 128 * sum of each key; NO_TOKEN where there is none */
    int32_t *scores;     /* (blocks, 6, 64) */
    uint8_t *low;        /* (6, stride) numerators or their low bytes, zero beyond the tokens */
    uint8_t *high;       /* (6, stride) the high bytes of numerators of 12 or 16 bits */
    const int32_t *all;  /* SULQ: (round_up(head_dim, 64)) sums of the values */
    size_t stride;
    const uint8_t *exp_bytes; /* (4, 256) Shiftmax: exp_shift byte by byte, the lowest first */
} iviti_call;

/* Turns the scores of a tile, whose rows are the tokens from `query` on, into numerators. Gives
 * each row's factor for the sums of numerator * value. Rows are independent of each other: an
 * engine takes them together, because each row alone is one long chain of dependent instructions.
 */
typedef void iviti_softmax(const iviti_call *c, size_t rows, size_t query,
                           iviti_dyadic output[TILE_ROWS]);

/* Log-Int-Softmax, for all engines. */
iviti_softmax iviti_softmax_lis;

/* SULQ, for all engines: the table softmax's numerators to codes, in place; and sums (rows, 64) of
 * code * value to what is requantised, all (columns) being the sums of the values. The other columns
 * may hold what another tile has left there. */
void iviti_make_sulq_codes(const iviti_call *c, size_t rows, iviti_dyadic output[TILE_ROWS]);
void iviti_lessen_sulq(const iviti_sulq *s, const int32_t *all, size_t rows, size_t columns,
                       int32_t *sums);

/* Wide attention, for all engines: the table softmax has been given iviti_index_table(), so that it
 * left the indices of all tokens; these become numerators, low bytes and high ones, and outputs
 * have two digits: y[n], y_low[n] = those of clamp12((low[n] + 256 * high[n]) * output). */
void iviti_index_table(uint8_t table[256]);
void iviti_make_wide_numerators(const iviti_call *c, size_t rows, iviti_dyadic output[TILE_ROWS]);
void iviti_finish_wide(const int32_t *low, const int32_t *high, iviti_dyadic output, uint8_t *y,
                       uint8_t *y_low, size_t columns);

/* y[n] = clamp8((low[n] + 256 * high[n]) * output) + 128 for `columns` columns; high may be NULL;
 * both (64) are aligned. */
typedef void iviti_finish_output(const int32_t *low, const int32_t *high, iviti_dyadic output,
                                 uint8_t *y, size_t columns);

/* ---- engines --------------------------------------------------------------------------------- */

typedef struct iviti_engine {
    iviti_product *products[TILE_ROWS][TILE_PANELS]; /* [rows - 1][panels - 1] */
    bool overlaps;                                   /* products finish the other tile */
    void (*finish)(const iviti_finish *f);
    iviti_join_row *join_row;
    iviti_spread_tokens *spread_keys;
    iviti_spread_tokens *spread_values;
    iviti_softmax *softmax_table;
    iviti_softmax *softmax_shift;
    iviti_finish_output *finish_output;
} iviti_engine;

void iviti_tiles_s8(const iviti_engine *e, const iviti_dense *w, const uint8_t *x, size_t x_stride,
                    size_t rows, uint8_t *y, size_t y_stride);
void iviti_tiles_table(const iviti_engine *e, const iviti_dense *w, const uint8_t *tables,
                       const uint8_t *x, size_t x_stride, size_t rows, uint8_t *y, size_t y_stride);
void iviti_tiles_s16(const iviti_engine *e, const iviti_dense *w, const uint8_t *x, size_t x_stride,
                     size_t rows, int16_t *y, size_t y_stride);
void iviti_tiles_s32(const iviti_engine *e, const iviti_dense *w, const uint8_t *x, size_t x_stride,
                     size_t rows, int32_t *y, size_t y_stride);
void iviti_tiles_join(const iviti_engine *e, const iviti_dense *w, const iviti_join *join,
                      const uint8_t *x, size_t x_stride, size_t rows, int16_t *stream,
                      size_t stream_stride, const uint32_t *map);
void iviti_tiles_keys(const iviti_engine *e, const iviti_dense *w, const uint8_t *x,
                      size_t x_stride, size_t first, size_t rows, const iviti_head_panels *keys);
void iviti_tiles_values(const iviti_engine *e, const iviti_dense *w, const uint8_t *x,
                        size_t x_stride, size_t first, size_t rows,
                        const iviti_head_panels *values);
void iviti_tiles_attention(const iviti_engine *e, const iviti_attention *a, const uint8_t *q,
                           size_t q_stride, size_t first, size_t rows, const int8_t *keys,
                           const int8_t *values, uint8_t *y, size_t y_stride, void *scratch);

/* Defines the kernels of an engine. */
#define IVITI_ENGINE_KERNELS(engine, set)                                                          \
    IVITI_DECLARE_dense_s8(iviti_dense_s8_##set)                                                   \
    {                                                                                              \
        iviti_tiles_s8(engine, w, x, x_stride, rows, y, y_stride);                                 \
    }                                                                                              \
    IVITI_DECLARE_dense_table(iviti_dense_table_##set)                                             \
    {                                                                                              \
        iviti_tiles_table(engine, w, tables, x, x_stride, rows, y, y_stride);                      \
    }                                                                                              \
    IVITI_DECLARE_dense_s16(iviti_dense_s16_##set)                                                 \
    {                                                                                              \
        iviti_tiles_s16(engine, w, x, x_stride, rows, y, y_stride);                                \
    }                                                                                              \
    IVITI_DECLARE_dense_s32(iviti_dense_s32_##set)                                                 \
    {                                                                                              \
        iviti_tiles_s32(engine, w, x, x_stride, rows, y, y_stride);                                \
    }                                                                                              \
    IVITI_DECLARE_dense_join(iviti_dense_join_##set)                                               \
    {                                                                                              \
        iviti_tiles_join(engine, w, join, x, x_stride, rows, stream, stream_stride, map);          \
    }                                                                                              \
    IVITI_DECLARE_dense_keys(iviti_dense_keys_##set)                                               \
    {                                                                                              \
        iviti_tiles_keys(engine, w, x, x_stride, first, rows, keys);                               \
    }                                                                                              \
    IVITI_DECLARE_dense_values(iviti_dense_values_##set)                                           \
    {                                                                                              \
        iviti_tiles_values(engine, w, x, x_stride, first, rows, values);                           \
    }                                                                                              \
    IVITI_DECLARE_attention(iviti_attention_##set)                                                 \
    {                                                                                              \
        iviti_tiles_attention(engine, a, q, q_stride, first, rows, keys, values, y, y_stride,      \
                              scratch);                                                            \
    }

#endif

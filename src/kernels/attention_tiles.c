/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention of one head, the order of things: tiles of 6 queries go through scores, softmax and
 * values one after the other, and whatever lies between these stays in the first-level cache.
 */
#include <string.h>

#include "kernels/engine.h"

#define MOST_HEAD_DIM 256

static size_t block_panels(const iviti_call *c, size_t b)
{
    const size_t left = c->a->tokens - b * BLOCK_TOKENS;
    return left < BLOCK_TOKENS ? (left + IVITI_PANEL - 1) / IVITI_PANEL : TILE_PANELS;
}

/* Queries come with an offset of 128, keys without: each score is too large by 128 * the key's sum,
 * which is the product of the key with a row of 128s. */
static void make_corrections(const iviti_engine *e, const iviti_call *c, const int8_t *keys)
{
    const size_t groups = c->a->head_dim / IVITI_GROUP;
    const size_t panel_bytes = groups * 64;
    uint8_t offsets[MOST_HEAD_DIM];

    memset(offsets, 128, sizeof offsets);
    for (size_t b = 0; b < c->blocks; b++) {
        int32_t *correction = c->correction + b * BLOCK_TOKENS;
        e->products[0][block_panels(c, b) - 1](offsets, 0, keys + b * TILE_PANELS * panel_bytes,
                                               panel_bytes, groups, correction, NULL);
        for (size_t t = c->a->tokens - b * BLOCK_TOKENS; t < BLOCK_TOKENS; t++)
            correction[t] = NO_TOKEN;
    }
}

static void make_scores(const iviti_engine *e, const iviti_call *c, const uint8_t *q,
                        size_t q_stride, size_t rows, const int8_t *keys)
{
    const size_t groups = c->a->head_dim / IVITI_GROUP;
    const size_t panel_bytes = groups * 64;

    for (size_t b = 0; b < c->blocks; b++)
        e->products[rows - 1][block_panels(c, b) - 1](
            q, q_stride, keys + b * TILE_PANELS * panel_bytes, panel_bytes, groups,
            c->scores + b * TILE_ROWS * TILE_COLUMNS, NULL);
}

/* y_low: wide only. */
static void make_outputs(const iviti_engine *e, const iviti_call *c, const int8_t *values,
                         size_t rows, const iviti_dyadic *output, uint8_t *y, uint8_t *y_low,
                         size_t y_stride)
{
    const size_t groups = (c->a->tokens + IVITI_GROUP - 1) / IVITI_GROUP;
    const size_t panel_bytes = groups * 64;
    const bool halves =
        y_low || c->a->kind == IVITI_SOFTMAX_SHIFT16 || c->a->kind == IVITI_SOFTMAX_LIS;
    _Alignas(64) int32_t low[TILE_ROWS * TILE_COLUMNS] = { 0 };
    _Alignas(64) int32_t high[TILE_ROWS * TILE_COLUMNS] = { 0 };

    for (size_t column = 0; column < c->a->head_dim; column += TILE_COLUMNS) {
        const int8_t *right = values + column / IVITI_PANEL * panel_bytes;
        const size_t left = c->a->head_dim - column;
        const size_t columns = left < TILE_COLUMNS ? left : TILE_COLUMNS;
        iviti_product *product =
            e->products[rows - 1][(columns + IVITI_PANEL - 1) / IVITI_PANEL - 1];

        product(c->low, c->stride, right, panel_bytes, groups, low, NULL);
        if (halves)
            product(c->high, c->stride, right, panel_bytes, groups, high, NULL);
        if (c->all)
            iviti_lessen_sulq(c->a->sulq, c->all + column, rows, columns, low);
        for (size_t r = 0; r < rows; r++) {
            const size_t at = r * y_stride + column;
            if (y_low)
                iviti_finish_wide(low + r * TILE_COLUMNS, high + r * TILE_COLUMNS, output[r],
                                  y + at, y_low + at, columns);
            else
                e->finish_output(low + r * TILE_COLUMNS, halves ? high + r * TILE_COLUMNS : NULL,
                                 output[r], y + at, columns);
        }
    }
}

/* Sums of the values of each channel: their product with a row of ones. */
static void sum_values(const iviti_engine *e, const iviti_call *c, const int8_t *values,
                       int32_t all[MOST_HEAD_DIM])
{
    const size_t groups = (c->a->tokens + IVITI_GROUP - 1) / IVITI_GROUP;
    const size_t panel_bytes = groups * 64;

    memset(c->high, 0, c->stride); /* not in use otherwise */
    memset(c->high, 1, c->a->tokens);
    for (size_t column = 0; column < c->a->head_dim; column += TILE_COLUMNS) {
        const size_t left = c->a->head_dim - column;
        const size_t columns = left < TILE_COLUMNS ? left : TILE_COLUMNS;
        e->products[0][(columns + IVITI_PANEL - 1) / IVITI_PANEL - 1](
            c->high, 0, values + column / IVITI_PANEL * panel_bytes, panel_bytes, groups,
            all + column, NULL);
    }
}

/* Lays out the scratch: of 96 bytes for each token, rounded up to 64, it takes 40. */
static iviti_call make_call(const iviti_attention *a, void *scratch)
{
    iviti_call c = { .a = a, .blocks = (a->tokens + BLOCK_TOKENS - 1) / BLOCK_TOKENS };
    uint8_t *at = scratch;

    c.stride = c.blocks * BLOCK_TOKENS;
    c.correction = (int32_t *)(void *)at;
    at += c.blocks * BLOCK_TOKENS * sizeof *c.correction;
    c.scores = (int32_t *)(void *)at;
    at += c.blocks * TILE_ROWS * BLOCK_TOKENS * sizeof *c.scores;
    c.low = at;
    at += TILE_ROWS * c.stride;
    c.high = at;
    return c;
}

/* Byte b of each of 256 values, for b from 0 to 3. */
static void split_exponentials(const int32_t *exp_shift, uint8_t *bytes)
{
    for (size_t b = 0; b < 4; b++)
        for (size_t i = 0; i < 256; i++)
            bytes[b * 256 + i] = (uint8_t)((uint32_t)exp_shift[i] >> 8 * b);
}

void iviti_tiles_attention(const iviti_engine *e, const iviti_attention *a, const uint8_t *q,
                           size_t q_stride, size_t first, size_t rows, const int8_t *keys,
                           const int8_t *values, uint8_t *y, size_t y_stride, void *scratch)
{
    const size_t tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
    const bool sulq = a->kind == IVITI_SOFTMAX_SULQ, wide = a->wide_table != NULL;
    iviti_softmax *softmax = iviti_softmax_has_table(a->kind)   ? e->softmax_table
                             : a->kind == IVITI_SOFTMAX_LIS ? iviti_softmax_lis
                                                            : e->softmax_shift;
    iviti_attention indexed = *a;
    iviti_call c = make_call(wide ? &indexed : a, scratch);
    _Alignas(64) uint8_t exp_bytes[4 * 256];
    _Alignas(64) uint8_t indices[256];
    _Alignas(64) int32_t all[MOST_HEAD_DIM];

    if (wide) {
        iviti_index_table(indices);
        indexed.exp_table = indices;
    }

    if (softmax == e->softmax_shift) {
        split_exponentials(a->exp_shift, exp_bytes);
        c.exp_bytes = exp_bytes;
    }
    if (sulq) {
        memset(all, 0, sizeof all); /* a tile's last columns, where no panel is */
        sum_values(e, &c, values, all);
        c.all = all;
    }
    make_corrections(e, &c, keys);
    for (size_t i = 0, row = 0, count; i < tiles; i++, row += count) {
        iviti_dyadic output[TILE_ROWS];
        count = rows / tiles + (i < rows % tiles);
        make_scores(e, &c, q + row * q_stride, q_stride, count, keys);
        softmax(&c, count, first + row, output);
        if (sulq)
            iviti_make_sulq_codes(&c, count, output);
        if (wide)
            iviti_make_wide_numerators(&c, count, output);
        make_outputs(e, &c, values, count, output, y + row * y_stride,
                     wide ? a->low + row * y_stride : NULL, y_stride);
    }
}

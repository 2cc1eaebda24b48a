/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention of one head: tiles of 6 queries go through scores, softmax and values one after the
 * other, and whatever lies between these stays in the first-level cache.
 */
#include <string.h>

#include "kernels/prototypes.h"
#include "kernels/x86/product_avx512vnni.h"
#include "kernels/x86/requantize_avx512vnni.h"
#include "kernels/x86/softmax_avx512vnni.h"

#define MOST_HEAD_DIM 256 /* so |q.k| <= 2^22 */

typedef iviti_dyadic softmax(const iviti_call_512 *h, size_t row, size_t query);

static size_t block_panels(const iviti_call_512 *h, size_t b)
{
    const size_t left = h->a->tokens - b * BLOCK_TOKENS;
    return left < BLOCK_TOKENS ? (left + IVITI_PANEL - 1) / IVITI_PANEL : TILE_PANELS;
}

/* Queries come with an offset of 128, keys without: each score is too large by 128 * the key's sum,
 * which is the product of the key with a row of 128s. */
static void make_corrections(const iviti_call_512 *h, const int8_t *keys)
{
    const size_t groups = h->a->head_dim / IVITI_GROUP;
    const size_t panel_bytes = groups * 64;
    uint8_t offsets[MOST_HEAD_DIM];

    memset(offsets, 128, sizeof offsets);
    for (size_t b = 0; b < h->blocks; b++) {
        int32_t *correction = h->correction + b * BLOCK_TOKENS;
        const size_t panels = block_panels(h, b);
        iviti_products_avx512vnni[0][panels - 1](offsets, 0, keys + b * TILE_PANELS * panel_bytes,
                                                 panel_bytes, groups, correction, NULL);
        for (size_t t = h->a->tokens - b * BLOCK_TOKENS; t < BLOCK_TOKENS; t++)
            correction[t] = IVITI_NO_TOKEN;
    }
}

static void make_scores(const iviti_call_512 *h, const uint8_t *q, size_t q_stride, size_t rows,
                        const int8_t *keys)
{
    const size_t groups = h->a->head_dim / IVITI_GROUP;
    const size_t panel_bytes = groups * 64;

    for (size_t b = 0; b < h->blocks; b++)
        iviti_products_avx512vnni[rows - 1][block_panels(h, b) - 1](
            q, q_stride, keys + b * TILE_PANELS * panel_bytes, panel_bytes, groups,
            h->scores + b * TILE_ROWS * TILE_COLUMNS, NULL);
}

/* Sums of numerator * value to s8. */
static void finish_row(const int32_t *low, const int32_t *high, iviti_dyadic output, uint8_t *y,
                       size_t columns)
{
    const factor_512 f = make_factor(output, 0);
    const __mmask64 mask = columns < 64 ? ((uint64_t)1 << columns) - 1 : ~(uint64_t)0;
    __m512i v[TILE_PANELS];

#pragma GCC unroll 4
    for (size_t p = 0; p < TILE_PANELS; p++) {
        __m512i sum = _mm512_load_si512(low + p * IVITI_PANEL);
        if (high)
            sum = _mm512_add_epi32(sum,
                                   _mm512_slli_epi32(_mm512_load_si512(high + p * IVITI_PANEL), 8));
        v[p] = scale_by_factor(sum, &f);
    }
    _mm512_mask_storeu_epi8(y, mask, _mm512_xor_si512(pack_s8(v), _mm512_set1_epi8(-128)));
}

static void make_outputs(const iviti_call_512 *h, const int8_t *values, size_t rows,
                         const iviti_dyadic *output, uint8_t *y, size_t y_stride)
{
    const size_t groups = (h->a->tokens + IVITI_GROUP - 1) / IVITI_GROUP;
    const size_t panel_bytes = groups * 64;
    const bool halves = h->a->kind == IVITI_SOFTMAX_SHIFT16;
    _Alignas(64) int32_t low[TILE_ROWS * TILE_COLUMNS] = { 0 };
    _Alignas(64) int32_t high[TILE_ROWS * TILE_COLUMNS] = { 0 };

    for (size_t column = 0; column < h->a->head_dim; column += TILE_COLUMNS) {
        const int8_t *right = values + column * panel_bytes / IVITI_PANEL;
        const size_t left = h->a->head_dim - column;
        const size_t columns = left < TILE_COLUMNS ? left : TILE_COLUMNS;
        const iviti_product_512 product =
            iviti_products_avx512vnni[rows - 1][(columns + IVITI_PANEL - 1) / IVITI_PANEL - 1];

        product(h->low, h->stride, right, panel_bytes, groups, low, NULL);
        if (halves)
            product(h->high, h->stride, right, panel_bytes, groups, high, NULL);
        for (size_t r = 0; r < rows; r++)
            finish_row(low + r * TILE_COLUMNS, halves ? high + r * TILE_COLUMNS : NULL, output[r],
                       y + r * y_stride + column, columns);
    }
}

/* Lays out the scratch: of 96 bytes for each token, rounded up to 64, it takes 44. */
static iviti_call_512 make_call(const iviti_attention *a, void *scratch)
{
    iviti_call_512 h = { .a = a, .blocks = (a->tokens + BLOCK_TOKENS - 1) / BLOCK_TOKENS };
    uint8_t *at = scratch;

    h.stride = h.blocks * BLOCK_TOKENS;
    h.correction = (int32_t *)(void *)at;
    at += h.blocks * BLOCK_TOKENS * sizeof *h.correction;
    h.scores = (int32_t *)(void *)at;
    at += h.blocks * TILE_ROWS * BLOCK_TOKENS * sizeof *h.scores;
    h.low = at;
    at += TILE_ROWS * h.stride;
    h.high = at;
    return h;
}

void iviti_attention_avx512vnni(const iviti_attention *a, const uint8_t *q, size_t q_stride,
                                size_t first, size_t rows, const int8_t *keys, const int8_t *values,
                                uint8_t *y, size_t y_stride, void *scratch)
{
    const size_t tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
    const bool table = a->kind == IVITI_SOFTMAX_TABLE;
    softmax *softmax_row = table ? iviti_softmax_table_avx512vnni : iviti_softmax_shift_avx512vnni;
    iviti_call_512 h = make_call(a, scratch);
    uint8_t exp_bytes[4 * 256];

    if (!table) {
        iviti_split_exp_avx512vnni(a->exp_shift, exp_bytes);
        h.exp_bytes = exp_bytes;
    }
    make_corrections(&h, keys);
    for (size_t i = 0, row = 0, count; i < tiles; i++, row += count) {
        iviti_dyadic output[TILE_ROWS];
        count = rows / tiles + (i < rows % tiles);
        make_scores(&h, q + row * q_stride, q_stride, count, keys);
        for (size_t r = 0; r < count; r++)
            output[r] = softmax_row(&h, r, first + row + r);
        make_outputs(&h, values, count, output, y + row * y_stride, y_stride);
    }
}

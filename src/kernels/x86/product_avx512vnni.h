/* SPDX-License-Identifier: Apache-2.0
 *
 * Matrix products of up to 6 rows and 4 panels, the one inner loop of all AVX512-VNNI kernels.
 */
#ifndef IVITI_PRODUCT_AVX512VNNI_H
#define IVITI_PRODUCT_AVX512VNNI_H

#include <stdbool.h>

#include "kernels/kernel.h"

#define TILE_ROWS    6
#define TILE_PANELS  4
#define TILE_COLUMNS (TILE_PANELS * IVITI_PANEL)

/* Biases and factors of the columns of a tile, c in [32, 62]; see requantize_avx512vnni.h. */
typedef struct iviti_scales_512 {
    _Alignas(64) int32_t bias[TILE_COLUMNS];
    _Alignas(64) int32_t even[TILE_COLUMNS];  /* multipliers */
    _Alignas(64) int32_t odd[TILE_COLUMNS];   /* those of odd columns, one to the left */
    _Alignas(64) int32_t round[TILE_COLUMNS]; /* 2^(c-33); 0 if c = 32 */
    _Alignas(64) int32_t shift[TILE_COLUMNS]; /* c - 32 */
} iviti_scales_512;

/* A multiplied tile on its way to its destination. Each value is scaled, saturated to `element`
 * bytes and then: looked up in the table, if there is one; or changed in the bits of `flip`, if it
 * is s8; or added with saturation to what is there, if it is s16 and `add` is set. */
typedef struct iviti_finish_512 {
    uint8_t element; /* 1, 2 or 4 */
    uint8_t flip;    /* 0x80 for offset binary, or 0 */
    bool add;
    size_t rows;
    uint64_t columns; /* a bit for each one that exists */
    const iviti_scales_512 *scales;
    const uint8_t *table;    /* (256), of the value + 128 */
    uint8_t *row[TILE_ROWS]; /* where the tile's first column goes */
    _Alignas(64) int32_t acc[TILE_ROWS * TILE_COLUMNS];
} iviti_finish_512;

/* acc[r][n] = sum over k < 4 * groups of x[r][k] * panels[n][k]
 * acc (rows, 64), aligned to 64 bytes, with 16 columns written for each panel; panels lie
 * panel_bytes apart. Meanwhile `other`, a tile of as many panels with every c >= 33, is finished
 * row by row: its instructions take cycles of ports that the product leaves free. `other` may be
 * NULL. */
typedef void (*iviti_product_512)(const uint8_t *x, size_t x_stride, const int8_t *panels,
                                  size_t panel_bytes, size_t groups, int32_t *acc,
                                  const iviti_finish_512 *other);

/* [rows - 1][panels - 1] */
extern const iviti_product_512 iviti_products_avx512vnni[TILE_ROWS][TILE_PANELS];

/* Finishes a tile for which there is no next one. */
void iviti_finish_avx512vnni(const iviti_finish_512 *f);

#endif

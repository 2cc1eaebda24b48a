/* SPDX-License-Identifier: Apache-2.0
 *
 * Matrix products of up to 6 rows and 4 panels, the one inner loop of all AVX512-VNNI kernels.
 */
#ifndef IVITI_PRODUCT_AVX512VNNI_H
#define IVITI_PRODUCT_AVX512VNNI_H

#include "kernels/kernel.h"

#define TILE_ROWS    6
#define TILE_PANELS  4
#define TILE_COLUMNS (TILE_PANELS * IVITI_PANEL)

/* acc[r][n] = start[n] + sum over k < 4 * groups of x[r][k] * panels[n][k]
 * acc (rows, 64) with 16 columns written for each panel; panels lie panel_bytes apart; start
 * (16 * panels). acc is aligned to 64 bytes, start need not be. */
typedef void (*iviti_product_avx512vnni)(const uint8_t *x, size_t x_stride, const int8_t *panels,
                                         size_t panel_bytes, size_t groups, const int32_t *start,
                                         int32_t *acc);

/* [rows - 1][panels - 1] */
extern const iviti_product_avx512vnni iviti_products_avx512vnni[TILE_ROWS][TILE_PANELS];

#endif

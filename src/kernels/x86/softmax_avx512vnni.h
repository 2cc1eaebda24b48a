/* SPDX-License-Identifier: Apache-2.0
 *
 * Softmax of one query row over the scores that a tile of products has left, as numerators for the
 * product with the values.
 */
#ifndef IVITI_SOFTMAX_AVX512VNNI_H
#define IVITI_SOFTMAX_AVX512VNNI_H

#include "kernels/kernel.h"
#include "kernels/x86/product_avx512vnni.h"

#define BLOCK_TOKENS TILE_COLUMNS /* tokens that a product takes at once */

/* What the rows of a call share. */
typedef struct iviti_call_512 {
    const iviti_attention *a;
    size_t blocks; /* of tokens */
    int32_t
        *correction; /* (blocks, 64) 128 * sum of each key; IVITI_NO_TOKEN where there is none */
    int32_t *scores; /* (blocks, 6, 64) */
    uint8_t *low;    /* (6, stride) numerators or their low bytes, zero beyond the tokens */
    uint8_t *high;   /* (6, stride) the high bytes of numerators of 16 bits */
    size_t stride;
    const uint8_t *exp_bytes; /* (4, 256) Shiftmax: exp_shift byte by byte, the lowest first */
} iviti_call_512;

/* |q.k| and biases are far below it, so a corrected score of no token is never a maximum. */
#define IVITI_NO_TOKEN (1 << 30)

/* Turns the scores of row `row` of the tile, which is token `query`, into numerators. Returns the
 * factor for the sums of numerator * value. */
iviti_dyadic iviti_softmax_table_avx512vnni(const iviti_call_512 *h, size_t row, size_t query);
iviti_dyadic iviti_softmax_shift_avx512vnni(const iviti_call_512 *h, size_t row, size_t query);

void iviti_split_exp_avx512vnni(const int32_t *exp_shift, uint8_t *bytes);

#endif

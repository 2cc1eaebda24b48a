/* SPDX-License-Identifier: Apache-2.0
 *
 * What the engines of 256 bits share: all but the products.
 */
#ifndef IVITI_ENGINE_AVX2_H
#define IVITI_ENGINE_AVX2_H

#include "kernels/engine.h"

void iviti_finish_avx2(const iviti_finish *f);
iviti_join_row iviti_join_row_avx2;
iviti_spread_tokens iviti_spread_keys_avx2, iviti_spread_values_avx2;
iviti_softmax iviti_softmax_table_avx2, iviti_softmax_shift_avx2;
iviti_finish_output iviti_finish_output_avx2;

#define IVITI_ENGINE_AVX2_PARTS                                                                    \
    .overlaps = false, .finish = iviti_finish_avx2, .join_row = iviti_join_row_avx2,               \
    .spread_keys = iviti_spread_keys_avx2, .spread_values = iviti_spread_values_avx2,              \
    .softmax_table = iviti_softmax_table_avx2, .softmax_shift = iviti_softmax_shift_avx2,          \
    .finish_output = iviti_finish_output_avx2

#endif

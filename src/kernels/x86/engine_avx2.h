/* SPDX-License-Identifier: Apache-2.0
 *
 * What the engines of 256 bits share: all but the products.
 */
#ifndef IVITI_ENGINE_AVX2_H
#define IVITI_ENGINE_AVX2_H

#include "kernels/engine.h"

void iviti_finish_avx2(const iviti_finish *f);

/* Rows [first, end) of a tile without halves. */
void iviti_finish_rows_avx2(const iviti_finish *f, size_t first, size_t end);

iviti_join_row iviti_join_row_avx2;
iviti_spread_tokens iviti_spread_keys_avx2, iviti_spread_values_avx2;
iviti_softmax iviti_softmax_table_avx2, iviti_softmax_shift_avx2;
iviti_finish_output iviti_finish_output_avx2;

/* Between two of the `parts` of a product, some rows of the other tile are finished: few enough
 * instructions for the processor to execute them beside those of the parts. */
static inline void iviti_finish_share(const iviti_finish *other, size_t part, size_t parts)
{
    if (other)
        iviti_finish_rows_avx2(other, part * other->rows / parts, (part + 1) * other->rows / parts);
}

#define IVITI_ENGINE_AVX2_PARTS                                                                    \
    .overlaps = true, .finish = iviti_finish_avx2, .join_row = iviti_join_row_avx2,                \
    .spread_keys = iviti_spread_keys_avx2, .spread_values = iviti_spread_values_avx2,              \
    .softmax_table = iviti_softmax_table_avx2, .softmax_shift = iviti_softmax_shift_avx2,          \
    .finish_output = iviti_finish_output_avx2

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Wide activations: 12 bits as two digits (kernel.h).
 */
#include "kernels/ref/ref.h"
#include "kernels/requantize.h"

void iviti_split_digits(const int16_t *x, size_t x_stride, size_t rows, size_t width, uint8_t *high,
                        uint8_t *low, size_t stride)
{
    for (size_t r = 0; r < rows; r++, x += x_stride, high += stride, low += stride)
        for (size_t c = 0; c < width; c++) {
            const int16_t value = iviti_saturate_wide(x[c]);
            high[c] = iviti_high_digit(value);
            low[c] = iviti_low_digit(value);
        }
}

/* Up to 64 columns that share a table. Clamping by itself is done in vectors. */
static void split_group(const uint16_t *table, const int16_t *x, size_t columns, uint8_t *high,
                        uint8_t *low)
{
    int16_t index[IVITI_GELU_GROUP];
    for (size_t c = 0; c < columns; c++)
        index[c] = (int16_t)(iviti_saturate_wide(x[c]) + IVITI_WIDE_ENTRIES / 2);
    for (size_t c = 0; c < columns; c++) {
        const uint16_t entry = table[index[c]];
        high[c] = (uint8_t)(entry & 0xFF);
        low[c] = (uint8_t)(entry >> 8);
    }
}

void iviti_split_table(const uint16_t *tables, const int16_t *x, size_t x_stride, size_t rows,
                       size_t width, uint8_t *high, uint8_t *low, size_t stride)
{
    for (size_t c = 0; c < width; c += IVITI_GELU_GROUP, tables += IVITI_WIDE_ENTRIES) {
        const size_t columns = width - c < IVITI_GELU_GROUP ? width - c : IVITI_GELU_GROUP;
        for (size_t r = 0; r < rows; r++)
            split_group(tables, x + r * x_stride + c, columns, high + r * stride + c,
                        low + r * stride + c);
    }
}

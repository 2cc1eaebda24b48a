/* SPDX-License-Identifier: Apache-2.0
 *
 * Matrix products on plain row-major matrices (include/iviti/kernels.h).
 */
#include "iviti/kernels.h"

void iviti_dense_u8s8(const uint8_t *x, const int8_t *w, const int32_t *bias, size_t rows,
                      size_t in, size_t out, int32_t *acc)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t o = 0; o < out; o++) {
            int32_t sum = bias ? bias[o] : 0;
            for (size_t k = 0; k < in; k++)
                sum += x[r * in + k] * w[o * in + k];
            acc[r * out + o] = sum;
        }
}

void iviti_dense_s8s8(const int8_t *x, const int8_t *w, const int32_t *bias, size_t rows, size_t in,
                      size_t out, int32_t *acc)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t o = 0; o < out; o++) {
            int32_t sum = bias ? bias[o] : 0;
            for (size_t k = 0; k < in; k++)
                sum += x[r * in + k] * w[o * in + k];
            acc[r * out + o] = sum;
        }
}

void iviti_matmul_u8s8(const uint8_t *a, const int8_t *b, size_t rows, size_t inner, size_t columns,
                       int32_t *acc)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++) {
            int32_t sum = 0;
            for (size_t k = 0; k < inner; k++)
                sum += a[r * inner + k] * b[k * columns + c];
            acc[r * columns + c] = sum;
        }
}

void iviti_matmul_s8s8(const int8_t *a, const int8_t *b, size_t rows, size_t inner, size_t columns,
                       int32_t *acc)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++) {
            int32_t sum = 0;
            for (size_t k = 0; k < inner; k++)
                sum += a[r * inner + k] * b[k * columns + c];
            acc[r * columns + c] = sum;
        }
}

void iviti_matmul_s16s8(const int16_t *a, const int8_t *b, size_t rows, size_t inner,
                        size_t columns, int32_t *acc)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++) {
            int32_t sum = 0;
            for (size_t k = 0; k < inner; k++)
                sum += a[r * inner + k] * b[k * columns + c];
            acc[r * columns + c] = sum;
        }
}

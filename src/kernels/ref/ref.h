/* SPDX-License-Identifier: Apache-2.0
 *
 * The reference kernels: the contract of kernels/kernel.h in plain C. What every other instruction
 * set is compared with, and what runs where there is none.
 */
#ifndef IVITI_REF_H
#define IVITI_REF_H

#include "kernels/kernel.h"

void iviti_dense_s8_ref(const iviti_dense *w, const uint8_t *x, size_t x_stride, size_t rows,
                        uint8_t *y, size_t y_stride);
void iviti_dense_table_ref(const iviti_dense *w, const uint8_t *tables, const uint8_t *x,
                           size_t x_stride, size_t rows, uint8_t *y, size_t y_stride);
void iviti_dense_s16_ref(const iviti_dense *w, const uint8_t *x, size_t x_stride, size_t rows,
                         int16_t *y, size_t y_stride);
void iviti_dense_s32_ref(const iviti_dense *w, const uint8_t *x, size_t x_stride, size_t rows,
                         int32_t *y, size_t y_stride);
void iviti_dense_join_ref(const iviti_dense *w, const iviti_join *join, const uint8_t *x,
                          size_t x_stride, size_t rows, int16_t *stream, size_t stream_stride,
                          const uint32_t *map);
void iviti_dense_keys_ref(const iviti_dense *w, const uint8_t *x, size_t x_stride, size_t first,
                          size_t rows, const iviti_head_panels *keys);
void iviti_dense_values_ref(const iviti_dense *w, const uint8_t *x, size_t x_stride, size_t first,
                            size_t rows, const iviti_head_panels *values);
void iviti_attention_ref(const iviti_attention *a, const uint8_t *q, size_t q_stride, size_t first,
                         size_t rows, const int8_t *keys, const int8_t *values, uint8_t *y,
                         size_t y_stride, void *scratch);
/* Adds the attention of one query to each key, in units of 2^-16, to p (tokens). Not a kernel: a run
 * wants it of one query at most. Arguments as those of the kernel. */
void iviti_attention_row_ref(const iviti_attention *a, const uint8_t *q, size_t query,
                             const int8_t *keys, uint32_t *p, void *scratch);
/* Wide activations to their digits, clamped. Not kernels: plain C serves all instruction sets. x
 * (rows, width) s16; high and low (rows, width), both `stride` apart. */
void iviti_split_digits(const int16_t *x, size_t x_stride, size_t rows, size_t width, uint8_t *high,
                        uint8_t *low, size_t stride);
/* The same through tables (ceil(width / 64), 4096), where entry x + 2048 is that of x: high digit +
 * 256 * low digit, as they are stored. */
void iviti_split_table(const uint16_t *tables, const int16_t *x, size_t x_stride, size_t rows,
                       size_t width, uint8_t *high, uint8_t *low, size_t stride);
void iviti_norm_s8_ref(const iviti_norm *n, const int16_t *x, size_t x_stride, const uint32_t *map,
                       size_t rows, uint8_t *y, size_t y_stride);
void iviti_norm_s16_ref(const iviti_norm *n, const int16_t *x, size_t x_stride, const uint32_t *map,
                        size_t rows, int16_t *y, size_t y_stride);
void iviti_shift_gelu_ref(uint8_t *x, size_t stride, size_t rows, size_t width,
                          int32_t one_over_scale, iviti_dyadic output);
void iviti_clip_s8_ref(uint8_t *x, size_t stride, size_t rows, size_t width, uint8_t flip,
                       int8_t low, int8_t high);
void iviti_resample_row_ref(const iviti_row_filter *f, const uint8_t *in, uint8_t *out);
void iviti_resample_add_ref(int32_t *sums, const uint8_t *row, int32_t coefficient, size_t count);
uint32_t iviti_crc32c_ref(uint32_t crc, const void *data, size_t bytes);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * One macro per operator of struct iviti_kernels that declares a kernel of that operator, so that
 * kernel_list.inc declares every kernel of every instruction set and none can have another type.
 */
#ifndef IVITI_PROTOTYPES_H
#define IVITI_PROTOTYPES_H

#include "kernels/kernel.h"

#define IVITI_DECLARE_dense_s8(name)                                                               \
    void name(const iviti_dense *w, const uint8_t *x, size_t x_stride, size_t rows, uint8_t *y,    \
              size_t y_stride)
#define IVITI_DECLARE_dense_table(name)                                                            \
    void name(const iviti_dense *w, const uint8_t *tables, const uint8_t *x, size_t x_stride,      \
              size_t rows, uint8_t *y, size_t y_stride)
#define IVITI_DECLARE_dense_s16(name)                                                              \
    void name(const iviti_dense *w, const uint8_t *x, size_t x_stride, size_t rows, int16_t *y,    \
              size_t y_stride)
#define IVITI_DECLARE_dense_s32(name)                                                              \
    void name(const iviti_dense *w, const uint8_t *x, size_t x_stride, size_t rows, int32_t *y,    \
              size_t y_stride)
#define IVITI_DECLARE_dense_join(name)                                                             \
    void name(const iviti_dense *w, const iviti_join *join, const uint8_t *x, size_t x_stride,     \
              size_t rows, int16_t *stream, size_t stream_stride, const uint32_t *map)
#define IVITI_DECLARE_dense_keys(name)                                                             \
    void name(const iviti_dense *w, const uint8_t *x, size_t x_stride, size_t first, size_t rows,  \
              const iviti_head_panels *keys)
#define IVITI_DECLARE_dense_values(name)                                                           \
    void name(const iviti_dense *w, const uint8_t *x, size_t x_stride, size_t first, size_t rows,  \
              const iviti_head_panels *values)
#define IVITI_DECLARE_attention(name)                                                              \
    void name(const iviti_attention *a, const uint8_t *q, size_t q_stride, size_t first,           \
              size_t rows, const int8_t *keys, const int8_t *values, uint8_t *y, size_t y_stride,  \
              void *scratch)
#define IVITI_DECLARE_norm_s8(name)                                                                \
    void name(const iviti_norm *n, const int16_t *x, size_t x_stride, const uint32_t *map,         \
              size_t rows, uint8_t *y, size_t y_stride)
#define IVITI_DECLARE_norm_s16(name)                                                               \
    void name(const iviti_norm *n, const int16_t *x, size_t x_stride, const uint32_t *map,         \
              size_t rows, int16_t *y, size_t y_stride)
#define IVITI_DECLARE_shift_gelu(name)                                                             \
    void name(uint8_t *x, size_t stride, size_t rows, size_t width, int32_t one_over_scale,        \
              iviti_dyadic output)
#define IVITI_DECLARE_clip_s8(name)                                                                \
    void name(uint8_t *x, size_t stride, size_t rows, size_t width, uint8_t flip, int8_t low,      \
              int8_t high)
#define IVITI_DECLARE_resample_row(name)                                                           \
    void name(const iviti_row_filter *f, const uint8_t *in, uint8_t *out)
#define IVITI_DECLARE_resample_add(name)                                                           \
    void name(int32_t *sums, const uint8_t *row, int32_t coefficient, size_t count)
#define IVITI_DECLARE_crc32c(name) uint32_t name(uint32_t crc, const void *data, size_t bytes)

#define IVITI_KERNEL(op, isa, function) IVITI_DECLARE_##op(function);
#include "kernels/kernel_list.inc"
#undef IVITI_KERNEL

#endif

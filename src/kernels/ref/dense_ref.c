/* SPDX-License-Identifier: Apache-2.0
 *
 * Linear layers over panels: one loop over rows and panels, and what each kind of layer does with the
 * scaled accumulators.
 */
#include <stdbool.h>

#include "kernels/ref/ref.h"
#include "kernels/requantize.h"

/* Takes outputs [first, first + count) of a row: acc * f, before saturation. */
typedef void finish(void *to, size_t row, size_t first, size_t count, const int64_t *scaled);

/* Accumulators of one row for the 16 outputs of a panel. */
static void accumulate(const iviti_dense *w, size_t panel, const uint8_t *x,
                       int32_t acc[IVITI_PANEL])
{
    const size_t groups = (w->in + IVITI_GROUP - 1) / IVITI_GROUP;
    const int8_t *p = w->panels + panel * groups * IVITI_PANEL * IVITI_GROUP;

    for (size_t n = 0; n < IVITI_PANEL; n++)
        acc[n] = w->bias[panel * IVITI_PANEL + n];
    for (size_t g = 0; g < groups; g++, p += IVITI_PANEL * IVITI_GROUP, x += IVITI_GROUP)
        for (size_t n = 0; n < IVITI_PANEL; n++)
            for (size_t j = 0; j < IVITI_GROUP; j++)
                acc[n] += x[j] * p[n * IVITI_GROUP + j];
}

static void multiply(const iviti_dense *w, const uint8_t *x, size_t x_stride, size_t rows,
                     finish *done, void *to)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t first = 0; first < w->out; first += IVITI_PANEL) {
            const size_t left = w->out - first;
            const size_t count = left < IVITI_PANEL ? left : IVITI_PANEL;
            int32_t acc[IVITI_PANEL];
            int64_t scaled[IVITI_PANEL];

            accumulate(w, first / IVITI_PANEL, x + r * x_stride, acc);
            for (size_t n = 0; n < count; n++)
                scaled[n] = iviti_scale(acc[n], w->multiplier[first + n], w->shift[first + n]);
            done(to, r, first, count, scaled);
        }
}

/* ---- rows of s8, table entries, s16 and s32 ---------------------------------------------------- */

typedef struct to_rows {
    void *y;
    size_t stride;
    const uint8_t *tables;
} to_rows;

static void finish_s8(void *to, size_t row, size_t first, size_t count, const int64_t *scaled)
{
    const to_rows *t = to;
    uint8_t *y = (uint8_t *)t->y + row * t->stride + first;
    for (size_t n = 0; n < count; n++)
        y[n] = (uint8_t)(iviti_saturate_s8(scaled[n]) + 128);
}

static void finish_table(void *to, size_t row, size_t first, size_t count, const int64_t *scaled)
{
    const to_rows *t = to;
    uint8_t *y = (uint8_t *)t->y + row * t->stride + first;
    const uint8_t *table = t->tables + first / IVITI_GELU_GROUP * 256;
    for (size_t n = 0; n < count; n++)
        y[n] = table[iviti_saturate_s8(scaled[n]) + 128];
}

static void finish_s16(void *to, size_t row, size_t first, size_t count, const int64_t *scaled)
{
    const to_rows *t = to;
    int16_t *y = (int16_t *)t->y + row * t->stride + first;
    for (size_t n = 0; n < count; n++)
        y[n] = iviti_saturate_s16(scaled[n]);
}

static void finish_s32(void *to, size_t row, size_t first, size_t count, const int64_t *scaled)
{
    const to_rows *t = to;
    int32_t *y = (int32_t *)t->y + row * t->stride + first;
    for (size_t n = 0; n < count; n++)
        y[n] = iviti_saturate_s32(scaled[n]);
}

void iviti_dense_s8_ref(const iviti_dense *w, const uint8_t *x, size_t x_stride, size_t rows,
                        uint8_t *y, size_t y_stride)
{
    multiply(w, x, x_stride, rows, finish_s8, &(to_rows){ y, y_stride, NULL });
}

void iviti_dense_table_ref(const iviti_dense *w, const uint8_t *tables, const uint8_t *x,
                           size_t x_stride, size_t rows, uint8_t *y, size_t y_stride)
{
    multiply(w, x, x_stride, rows, finish_table, &(to_rows){ y, y_stride, tables });
}

void iviti_dense_s16_ref(const iviti_dense *w, const uint8_t *x, size_t x_stride, size_t rows,
                         int16_t *y, size_t y_stride)
{
    multiply(w, x, x_stride, rows, finish_s16, &(to_rows){ y, y_stride, NULL });
}

void iviti_dense_s32_ref(const iviti_dense *w, const uint8_t *x, size_t x_stride, size_t rows,
                         int32_t *y, size_t y_stride)
{
    multiply(w, x, x_stride, rows, finish_s32, &(to_rows){ y, y_stride, NULL });
}

/* ---- residual stream ---------------------------------------------------------------------------- */

typedef struct to_stream {
    const iviti_join *join;
    int16_t *stream;
    size_t stride;
    const uint32_t *map;
} to_stream;

static void finish_join(void *to, size_t row, size_t first, size_t count, const int64_t *scaled)
{
    const to_stream *t = to;
    int16_t *out = t->stream + (t->map ? t->map[row] : row) * t->stride + first;
    int16_t branch[IVITI_PANEL];
    for (size_t n = 0; n < count; n++)
        branch[n] = iviti_saturate_s16(scaled[n]);
    iviti_residual_add(out, t->join->stream, branch, t->join->branch, count, out);
}

void iviti_dense_join_ref(const iviti_dense *w, const iviti_join *join, const uint8_t *x,
                          size_t x_stride, size_t rows, int16_t *stream, size_t stream_stride,
                          const uint32_t *map)
{
    multiply(w, x, x_stride, rows, finish_join, &(to_stream){ join, stream, stream_stride, map });
}

/* ---- keys and values as panels ------------------------------------------------------------------- */

typedef struct to_heads {
    const iviti_head_panels *panels;
    size_t first; /* row of the buffer that row 0 is */
    bool values;  /* token by token along k, else along n */
} to_heads;

static void finish_heads(void *to, size_t row, size_t first, size_t count, const int64_t *scaled)
{
    const to_heads *t = to;
    const iviti_head_panels *p = t->panels;
    const size_t window = (t->first + row) / p->tokens, token = (t->first + row) % p->tokens;
    for (size_t n = 0; n < count; n++) {
        const size_t head = (first + n) / p->head_dim, d = (first + n) % p->head_dim;
        const size_t at = t->values ? iviti_panel_offset(d, token, p->tokens)
                                    : iviti_panel_offset(token, d, p->head_dim);
        p->panels[(window * p->heads + head) * p->block + at] = iviti_saturate_s8(scaled[n]);
    }
}

void iviti_dense_keys_ref(const iviti_dense *w, const uint8_t *x, size_t x_stride, size_t first,
                          size_t rows, const iviti_head_panels *keys)
{
    multiply(w, x, x_stride, rows, finish_heads, &(to_heads){ keys, first, false });
}

void iviti_dense_values_ref(const iviti_dense *w, const uint8_t *x, size_t x_stride, size_t first,
                            size_t rows, const iviti_head_panels *values)
{
    multiply(w, x, x_stride, rows, finish_heads, &(to_heads){ values, first, true });
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Linear layers over panels, each with the epilogue that its consumer wants.
 */
#include "kernels/ref/ref.h"
#include "kernels/requantize.h"

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

/* acc * f of output o, before saturation. */
static int64_t scaled(const iviti_dense *w, size_t o, int32_t acc)
{
    return iviti_scale(acc, w->multiplier[o], w->shift[o]);
}

/* How many outputs of this panel there are. */
static size_t panel_width(const iviti_dense *w, size_t panel)
{
    const size_t rest = w->out - panel * IVITI_PANEL;
    return rest < IVITI_PANEL ? rest : IVITI_PANEL;
}

void iviti_dense_s8_ref(const iviti_dense *w, const uint8_t *x, size_t x_stride, size_t rows,
                        uint8_t *y, size_t y_stride)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t p = 0; p * IVITI_PANEL < w->out; p++) {
            int32_t acc[IVITI_PANEL];
            accumulate(w, p, x + r * x_stride, acc);
            for (size_t n = 0; n < panel_width(w, p); n++) {
                const size_t o = p * IVITI_PANEL + n;
                y[r * y_stride + o] = (uint8_t)(iviti_saturate_s8(scaled(w, o, acc[n])) + 128);
            }
        }
}

void iviti_dense_table_ref(const iviti_dense *w, const uint8_t *tables, const uint8_t *x,
                           size_t x_stride, size_t rows, uint8_t *y, size_t y_stride)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t p = 0; p * IVITI_PANEL < w->out; p++) {
            int32_t acc[IVITI_PANEL];
            accumulate(w, p, x + r * x_stride, acc);
            for (size_t n = 0; n < panel_width(w, p); n++) {
                const size_t o = p * IVITI_PANEL + n;
                const int index = iviti_saturate_s8(scaled(w, o, acc[n])) + 128;
                y[r * y_stride + o] = tables[o / IVITI_GELU_GROUP * 256 + (size_t)index];
            }
        }
}

void iviti_dense_s16_ref(const iviti_dense *w, const uint8_t *x, size_t x_stride, size_t rows,
                         int16_t *y, size_t y_stride)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t p = 0; p * IVITI_PANEL < w->out; p++) {
            int32_t acc[IVITI_PANEL];
            accumulate(w, p, x + r * x_stride, acc);
            for (size_t n = 0; n < panel_width(w, p); n++) {
                const size_t o = p * IVITI_PANEL + n;
                y[r * y_stride + o] = iviti_saturate_s16(scaled(w, o, acc[n]));
            }
        }
}

void iviti_dense_s32_ref(const iviti_dense *w, const uint8_t *x, size_t x_stride, size_t rows,
                         int32_t *y, size_t y_stride)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t p = 0; p * IVITI_PANEL < w->out; p++) {
            int32_t acc[IVITI_PANEL];
            accumulate(w, p, x + r * x_stride, acc);
            for (size_t n = 0; n < panel_width(w, p); n++) {
                const size_t o = p * IVITI_PANEL + n;
                y[r * y_stride + o] = iviti_saturate_s32(scaled(w, o, acc[n]));
            }
        }
}

void iviti_dense_join_ref(const iviti_dense *w, const iviti_join *join, const uint8_t *x,
                          size_t x_stride, size_t rows, int16_t *stream, size_t stream_stride,
                          const uint32_t *map)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t p = 0; p * IVITI_PANEL < w->out; p++) {
            int16_t *out = stream + (map ? map[r] : r) * stream_stride + p * IVITI_PANEL;
            int32_t acc[IVITI_PANEL];
            int16_t branch[IVITI_PANEL];
            accumulate(w, p, x + r * x_stride, acc);
            for (size_t n = 0; n < panel_width(w, p); n++)
                branch[n] = iviti_saturate_s16(scaled(w, p * IVITI_PANEL + n, acc[n]));
            iviti_residual_add(out, join->stream, branch, join->branch, panel_width(w, p), out);
        }
}

/* Where the row's token begins in its window's panels of one head. */
typedef struct place {
    int8_t *window;
    size_t token;
} place;

static place place_of(const iviti_head_panels *panels, size_t row)
{
    return (place){ panels->panels + row / panels->tokens * panels->heads * panels->block,
                    row % panels->tokens };
}

void iviti_dense_keys_ref(const iviti_dense *w, const uint8_t *x, size_t x_stride, size_t first,
                          size_t rows, const iviti_head_panels *keys)
{
    for (size_t r = 0; r < rows; r++) {
        const place at = place_of(keys, first + r);
        for (size_t p = 0; p * IVITI_PANEL < w->out; p++) {
            int32_t acc[IVITI_PANEL];
            accumulate(w, p, x + r * x_stride, acc);
            for (size_t n = 0; n < panel_width(w, p); n++) {
                const size_t o = p * IVITI_PANEL + n;
                int8_t *head = at.window + o / keys->head_dim * keys->block;
                head[iviti_panel_offset(at.token, o % keys->head_dim, keys->head_dim)] =
                    iviti_saturate_s8(scaled(w, o, acc[n]));
            }
        }
    }
}

void iviti_dense_values_ref(const iviti_dense *w, const uint8_t *x, size_t x_stride, size_t first,
                            size_t rows, const iviti_head_panels *values)
{
    for (size_t r = 0; r < rows; r++) {
        const place at = place_of(values, first + r);
        for (size_t p = 0; p * IVITI_PANEL < w->out; p++) {
            int32_t acc[IVITI_PANEL];
            accumulate(w, p, x + r * x_stride, acc);
            for (size_t n = 0; n < panel_width(w, p); n++) {
                const size_t o = p * IVITI_PANEL + n;
                int8_t *head = at.window + o / values->head_dim * values->block;
                head[iviti_panel_offset(o % values->head_dim, at.token, values->tokens)] =
                    iviti_saturate_s8(scaled(w, o, acc[n]));
            }
        }
    }
}

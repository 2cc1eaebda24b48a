/* SPDX-License-Identifier: Apache-2.0
 *
 * ShiftGELU and i-GELU: one symmetric code for the inputs of all hidden channels and one for their
 * outputs, as published; the scale of the inputs is the one that serves the operator best.
 */
#include <math.h>

#include "quantize/dyadic.h"
#include "quantize/quantizer.h"

#define SAMPLED_ROWS 512
#define FINEST       255 /* 1 / scale, times 1.702 for ShiftGELU */

/* An operator at one of its input scales. */
typedef struct row_gelu {
    iviti_gelu_kind kind;
    int n;        /* 1 / scale of the inputs, or of 1.702 times them */
    double scale; /* of the inputs */
    double unit;  /* of the results */
    int32_t b, c; /* i-GELU */
} row_gelu;

static row_gelu row_gelu_at(iviti_gelu_kind kind, int n)
{
    row_gelu g = { .kind = kind, .n = n };
    if (kind == IVITI_GELU_SHIFT) {
        g.scale = 1 / (1.702 * n);
        g.unit = g.scale / 128;
        return g;
    }
    g.scale = 1.0 / n;
    g.unit = 0.2888 * g.scale * g.scale * g.scale / 4;
    g.b = (int32_t)ceil(1.769 * sqrt(2) / g.scale);
    g.c = (int32_t)ceil(2 / (0.2888 * g.scale * g.scale));
    return g;
}

/* Squared error of the operator and its requantised output. */
static double gelu_error(const row_gelu *g, const float *x, size_t rows, const code *out,
                         double out_scale, int8_t *coded, int32_t *y)
{
    const size_t width = out->width;
    double error = 0;
    for (size_t i = 0; i < SAMPLED_ROWS && i < rows; i++) {
        const float *row = x + (rows > SAMPLED_ROWS ? i * rows / SAMPLED_ROWS : i) * width;
        for (size_t c = 0; c < width; c++) {
            const double v = floor(row[c] / g->scale + 0.5);
            coded[c] = (int8_t)(v < -128 ? -128 : v > 127 ? 127 : v);
        }
        if (g->kind == IVITI_GELU_SHIFT)
            iviti_shift_gelu(coded, width, g->n, y);
        else
            iviti_i_gelu(coded, width, g->b, g->c, y);
        for (size_t c = 0; c < width; c++) {
            const double v = floor(y[c] * g->unit / out_scale + 0.5);
            const double kept = fmax(code_low(out->bits), fmin(code_high(out->bits), v));
            const double d = kept * out_scale - quantize_exact_gelu(row[c]);
            error += d * d;
        }
    }
    return error;
}

bool quantize_row_gelu(quantizer *q, uint32_t block, const network_capture *seen, size_t rows,
                       code *in, code *out)
{
    const size_t hidden = out->width;
    const iviti_gelu_kind kind = q->out->geometry.gelu_kind;
    histogram *h = ARENA_TAKE(&q->scratch, histogram, hidden);
    histogram *all = ARENA_TAKE(&q->scratch, histogram, 1);
    int8_t *coded = ARENA_TAKE(&q->scratch, int8_t, hidden);
    int32_t *y = ARENA_TAKE(&q->scratch, int32_t, hidden);
    integer_block *b = &q->out->blocks[block];
    iviti_dyadic factor;
    if (q->scratch.failed)
        return report_fail(q->r, "block %u: out of memory", block);

    histogram_columns(seen->gelu, rows, hidden, hidden, h);
    for (size_t c = 0; c < hidden; c++)
        histogram_merge(all, &h[c], 1);
    const double out_scale =
        range_symmetric(all, 0, code_symmetric_steps(out->bits), q->options->method) /
        code_high(out->bits);

    row_gelu best = row_gelu_at(kind, 2);
    double least = INFINITY;
    for (int n = 2; n <= FINEST; n += 1 + n / 8) {
        const row_gelu g = row_gelu_at(kind, n);
        const double error = gelu_error(&g, seen->fc1, rows, out, out_scale, coded, y);
        if (error < least) {
            least = error;
            best = g;
        }
    }
    if (!dyadic_from_real(best.unit / out_scale, 24, 62, &factor, q->r))
        return false;
    b->gelu_scale = best.n;
    b->gelu_polynomial[0] = best.b;
    b->gelu_polynomial[1] = best.c;
    b->gelu_multiplier = factor.multiplier;
    b->gelu_shift = (int8_t)factor.shift;
    for (size_t c = 0; c < hidden; c++) {
        in->scale[c] = best.scale;
        out->scale[c] = out_scale;
    }
    return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "quantize/code.h"

#include <math.h>
#include <stdlib.h>

/* Below so many samples the extremes of what is to come lie outside what was seen. */
#define FEW_SAMPLES 2048
#define FEW_MARGIN  0.1
#define LEAST_RANGE 4.0 /* of the gain: two deviations to either side */
#define WIDE_MARGIN  0.15 /* beyond what was seen, to either side; 12 bits can spare it */
#define LEAST_NARROW 2.0 /* with fewer than 8 bits, whose best range is narrower */

code code_new(arena *memory, size_t width)
{
    double *all = ARENA_TAKE(memory, double, 4 * width);
    if (!all)
        return (code){ .bits = 8 };
    code c = { width, 8, all, all + width, all + 2 * width, all + 3 * width };
    for (size_t i = 0; i < width; i++)
        c.scale[i] = 1;
    return c;
}

void code_set_asymmetric(code *c, size_t channel, range r)
{
    c->scale[channel] = (r.high - r.low) / code_steps(c->bits);
    c->offset[channel] = r.low - code_low(c->bits) * c->scale[channel];
    c->mean[channel] = c->offset[channel];
}

void code_set_symmetric(code *c, size_t channel, double centre, double reach)
{
    c->scale[channel] = reach / code_high(c->bits);
    c->offset[channel] = centre;
    c->mean[channel] = centre;
}

static double integer_of(const code *c, size_t channel, double x)
{
    const double q = floor((x - c->offset[channel]) / c->scale[channel] + 0.5);
    const double low = code_low(c->bits), high = code_high(c->bits);
    return q < low ? low : q > high ? high : q;
}

void code_observe(code *c, const float *x, size_t rows)
{
    code_observe_weighted(c, x, rows, NULL);
}

void code_observe_weighted(code *c, const float *x, size_t rows, const row_weights *w)
{
    double total = 0;
    for (size_t i = 0; i < c->width; i++)
        c->mean[i] = c->mean_code[i] = 0;
    for (size_t r = 0; r < rows; r++) {
        const double weight = row_weight(w, r);
        total += weight;
        for (size_t i = 0; i < c->width; i++) {
            c->mean[i] += weight * x[r * c->width + i];
            c->mean_code[i] += weight * integer_of(c, i, x[r * c->width + i]);
        }
    }
    for (size_t i = 0; i < c->width; i++) {
        c->mean[i] /= total;
        c->mean_code[i] /= total;
    }
}

void code_integers(const code *c, const float *x, size_t rows, float *out)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < c->width; i++)
            out[r * c->width + i] = (float)integer_of(c, i, x[r * c->width + i]);
}

code code_per_channel(arena *memory, const float *x, size_t rows, size_t width, const float *gain,
                      int bits, range_method method)
{
    code c = code_new(memory, width);
    c.bits = bits;
    histogram *h = malloc(width * sizeof *h);
    if (!h || memory->failed) {
        memory->failed = true;
        free(h);
        return c;
    }
    histogram_columns(x, rows, width, width, h);
    for (size_t i = 0; i < width; i++) {
        range r = range_asymmetric(&h[i], code_steps(bits), rows < FEW_SAMPLES ? RANGE_MINMAX : method);
        if (rows < FEW_SAMPLES || bits > 8) {
            const double margin = (bits > 8 ? WIDE_MARGIN : FEW_MARGIN) * (r.high - r.low);
            r = (range){ r.low - margin, r.high + margin };
        }
        const double missing = (bits < 8 ? LEAST_NARROW : LEAST_RANGE) * fabs((double)gain[i]) - (r.high - r.low);
        if (missing > 0)
            r = (range){ r.low - missing / 2, r.high + missing / 2 };
        code_set_asymmetric(&c, i, r);
    }
    code_observe(&c, x, rows);
    free(h);
    return c;
}

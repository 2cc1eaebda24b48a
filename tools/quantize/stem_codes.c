/* SPDX-License-Identifier: Apache-2.0
 *
 * The convolutions before the patches: 8-bit weights, and maps of u8 in which 0 is zero, so that
 * ReLU is the end of the range and padding is exact. Only the upper end of a channel's range is to
 * be chosen, and every channel has its own.
 */
#include <math.h>
#include <stdio.h>

#include "quantize/quantizer.h"

#define SAMPLES    32768 /* positions of a map that are looked at, of all pictures together */
#define CANDIDATES 48    /* tried for the end of a range */
#define NARROWEST  0.25  /* of what was seen */
#define BIAS_SHARE                                                                                 \
    0x1p-27 /* of the bias, the least step of a channel: the accumulator holds both */
#define LEAST_STEP 1e-9

/* A map's code as s8, and what the next layer reads: the same code as u8, one for each value of its
 * window. */
static code as_inputs(quantizer *q, const code *map, size_t inputs)
{
    code c = code_new(&q->scratch, inputs);
    for (size_t k = 0; k < c.width; k++) {
        const size_t channel = k % map->width;
        c.scale[k] = map->scale[channel];
        c.offset[k] = map->offset[channel] + code_low(8) * map->scale[channel];
        c.mean[k] = map->mean[channel];
        c.mean_code[k] = map->mean_code[channel] - code_low(8);
    }
    return c;
}

/* The upper end of a channel's range. */
static double choose_end(const histogram *h, double largest, range_method method)
{
    double best = largest, least = INFINITY;
    for (int k = 0; k <= CANDIDATES && method == RANGE_MSE; k++) {
        const double end = largest * (1 - (1 - NARROWEST) * k / CANDIDATES);
        const double error =
            end > 0 ? histogram_error(h, (range){ 0, end }, code_steps(8)) : INFINITY;
        if (error < least) {
            least = error;
            best = end;
        }
    }
    return best;
}

/* The least step that channel o of a layer can be written with. */
static double finest_step(const network_linear *layer, const code *in, size_t o)
{
    const double weights = dense_finest_scale(layer->weight + o * in->width, 1, in, 8);
    const double bias = fabs((double)layer->bias[o]) * BIAS_SHARE;
    return fmax(fmax(weights, bias), LEAST_STEP);
}

/* The code of convolution i's output, of which `sample` was seen. */
static bool choose_code(quantizer *q, uint32_t i, const network_map_sample *sample, const code *in,
                        code *out)
{
    const size_t channels = q->source->geometry.convolution[i].channels;
    const size_t rows = q->pictures * sample->rows;
    histogram *h = ARENA_TAKE(&q->scratch, histogram, channels);
    *out = code_new(&q->scratch, channels);
    if (q->scratch.failed)
        return report_fail(q->r, "stem.%u: out of memory", i);
    histogram_columns(sample->values, rows, channels, channels, h);
    for (size_t c = 0; c < channels; c++) {
        double largest = 0;
        for (size_t p = 0; p < q->pictures; p++)
            largest = fmax(largest, (double)sample->largest[p * channels + c]);
        const double end = choose_end(&h[c], largest, q->options->method);
        const double step = fmax(end / code_steps(8), finest_step(&q->source->stem[i], in, c));
        code_set_asymmetric(out, c, (range){ 0, step * code_steps(8) });
    }
    code_observe(out, sample->values, rows);
    return true;
}

static bool quantize_convolution(quantizer *q, uint32_t i, const uint8_t *pixels, code *map)
{
    const network *n = q->source;
    const iviti_convolution *c = &n->geometry.convolution[i];
    const size_t positions = (size_t)c->width * c->height;
    const size_t share = (SAMPLES + q->pictures - 1) / q->pictures;
    const size_t rows = share < positions ? share : positions;
    const network_map_sample sample = {
        rows,
        ARENA_TAKE(&q->scratch, float, q->pictures *rows * c->channels),
        ARENA_TAKE(&q->scratch, float, q->pictures * c->channels),
    };
    const size_t inputs = iviti_convolution_inputs(&n->geometry, i);
    const code in = i ? as_inputs(q, map, inputs) : quantizer_pixel_code(q, inputs);
    const dense_fit fit = { .method = q->options->method, .bits = 8 };
    code out;
    char name[48];

    snprintf(name, sizeof name, "stem.%u", i);
    if (q->scratch.failed)
        return report_fail(q->r, "%s: out of memory", name);
    if (!network_sample_stem(n, i, pixels, q->pictures, q->options->threads, &sample, q->r) ||
        !choose_code(q, i, &sample, &in, &out) ||
        !quantize_dense(q->memory, name, n->stem[i].weight, n->stem[i].bias, c->channels, &in, &out,
                        true, &fit, &q->out->stem[i], q->r))
        return false;
    quantizer_note(q, name, &q->out->stem[i], &n->stem[i], &in, &out, NULL, 0);
    *map = out;
    return true;
}

bool quantize_stem(quantizer *q, const uint8_t *pixels, code *embed)
{
    const iviti_geometry *g = &q->source->geometry;
    code map = { 0 };
    if (g->convolutions == 0) {
        *embed = quantizer_pixel_code(q, iviti_embed_inputs(g));
        return true;
    }
    for (uint32_t i = 0; i < g->convolutions; i++)
        if (!quantize_convolution(q, i, pixels, &map))
            return false;
    *embed = as_inputs(q, &map, iviti_embed_inputs(g));
    return true;
}

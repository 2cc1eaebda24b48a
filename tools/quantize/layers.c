/* SPDX-License-Identifier: Apache-2.0 */
#include "quantize/layers.h"

#include <math.h>
#include <stdlib.h>

#include <cblas.h>

#include "quantize/dyadic.h"

#define WEIGHT_LIMIT 127          /* of an s8 weight; -128 is not used */
#define BIAS_LIMIT   (1 << 29)    /* leaves the products their share of 31 bits */
#define WEIGHT_CANDIDATES 24
#define SNR_ROWS     4096
#define FINEST_MARGIN 2.01

/* Squared error of a row of weights at a scale. */
static double row_error(const double *row, size_t in, double scale)
{
    double error = 0;
    for (size_t k = 0; k < in; k++) {
        double q = nearbyint(row[k] / scale);
        q = q > WEIGHT_LIMIT ? WEIGHT_LIMIT : q < -WEIGHT_LIMIT ? -WEIGHT_LIMIT : q;
        error += (row[k] - q * scale) * (row[k] - q * scale);
    }
    return error;
}

static double row_scale(const double *row, size_t in, range_method method)
{
    double largest = 0;
    for (size_t k = 0; k < in; k++)
        largest = fmax(largest, fabs(row[k]));

    double best = largest / WEIGHT_LIMIT;
    if (method == RANGE_MSE && best > 0) {
        double least = row_error(row, in, best);
        for (int i = 1; i < WEIGHT_CANDIDATES; i++) {
            const double scale = largest / WEIGHT_LIMIT * (1 - 0.5 * i / WEIGHT_CANDIDATES);
            const double error = row_error(row, in, scale);
            if (error < least) {
                least = error;
                best = scale;
            }
        }
    }
    return best;
}

/* The scale of a row's accumulator: that of its weights, unless the row is empty or its bias would
 * not fit beside the products. */
static double accumulator_scale(double weights, double bias, double out_scale)
{
    const double smallest = fmax(fabs(bias) / BIAS_LIMIT, out_scale * 0x1p-24);
    return weights > smallest ? weights : smallest;
}

static bool take_dense(arena *memory, size_t in, size_t out, integer_dense *d)
{
    *d = (integer_dense){
        .in = (uint32_t)in,
        .out = (uint32_t)out,
        .weight = ARENA_TAKE(memory, int8_t, in * out),
        .bias = ARENA_TAKE(memory, int32_t, out),
        .factor = { ARENA_TAKE(memory, int32_t, out), ARENA_TAKE(memory, int8_t, out) },
    };
    return !memory->failed;
}

bool quantize_dense(arena *memory, const char *name, const float *weight, const float *bias,
                    size_t outputs, const code *in, const code *out, bool pixels,
                    range_method method, integer_dense *result, report *r)
{
    const size_t inputs = in->width;
    double *row = malloc(inputs * sizeof *row);
    if (!row || !take_dense(memory, inputs, outputs, result)) {
        free(row);
        return report_fail(r, "%s: out of memory", name);
    }

    bool fits = true;
    for (size_t o = 0; o < outputs && fits; o++) {
        double constant = bias[o] - out->offset[o];
        for (size_t k = 0; k < inputs; k++) {
            row[k] = weight[o * inputs + k] * in->scale[k];
            constant += weight[o * inputs + k] * in->mean[k];
        }
        const double scale =
            accumulator_scale(row_scale(row, inputs, method), constant, out->scale[o]);

        int64_t reach = 0;
        for (size_t k = 0; k < inputs; k++) {
            double q = nearbyint(row[k] / scale);
            q = q > WEIGHT_LIMIT ? WEIGHT_LIMIT : q < -WEIGHT_LIMIT ? -WEIGHT_LIMIT : q;
            result->weight[o * inputs + k] = (int8_t)q;
            constant -= q * scale * in->mean_code[k];
            reach += 255 * (int64_t)fabs(q);
        }
        result->bias[o] = (int32_t)llround(constant / scale);
        reach += llabs((int64_t)result->bias[o]) + (pixels ? 0 : reach / 2 + 128);
        iviti_dyadic factor;
        fits = reach < INT32_MAX || report_fail(r, "%s: output %zu could overflow its accumulator",
                                                name, o);
        fits = fits && (dyadic_from_real(scale / out->scale[o], 32, 62, &factor, NULL) ||
                        report_fail(r, "%s: output %zu has a factor of %g; the limit is one half",
                                    name, o, scale / out->scale[o]));
        if (fits) {
            result->factor.multiplier[o] = factor.multiplier;
            result->factor.shift[o] = (int8_t)factor.shift;
        }
    }
    free(row);
    return fits;
}

double dense_finest_scale(const float *weight, size_t outputs, const code *in)
{
    double coarsest = 1e-9;
    for (size_t o = 0; o < outputs; o++)
        for (size_t k = 0; k < in->width; k++)
            coarsest = fmax(coarsest, fabs((double)weight[o * in->width + k]) * in->scale[k]);
    return coarsest / WEIGHT_LIMIT * FINEST_MARGIN;
}

bool quantize_logits(arena *scratch, arena *memory, const network_linear *head, const code *in,
                     range_method method, integer_network *result, report *r)
{
    const size_t classes = result->geometry.classes;
    const double finest = dense_finest_scale(head->weight, classes, in);
    code out = code_new(scratch, classes);
    iviti_dyadic scale;

    if (scratch->failed)
        return report_fail(r, "head: out of memory");
    if (!dyadic_from_real(finest, 1, 62, &scale, r))
        return false;
    result->geometry.logits_multiplier = (uint32_t)scale.multiplier;
    result->geometry.logits_shift = (uint32_t)scale.shift;
    for (size_t o = 0; o < classes; o++)
        out.scale[o] = dyadic_to_real(scale);
    return quantize_dense(memory, "head", head->weight, head->bias, classes, in, &out, false,
                          method, &result->head, r);
}

bool quantize_norm(arena *memory, const char *name, const network_norm *norm, double epsilon,
                   double stream_scale, iviti_norm_kind kind, const code *out,
                   integer_norm *result, report *r)
{
    const size_t width = out->width;
    /* One unit of the normalised value: 2^-16, or sqrt(C) / 2^30 (NUMERICS.md, LayerNorm). */
    const double unit = kind == IVITI_NORM_EXACT ? 0x1p-16 : sqrt((double)width) * 0x1p-30;
    const int low = kind == IVITI_NORM_EXACT ? 25 : 31;

    *result = (integer_norm){
        .width = (uint32_t)width,
        .factor = { ARENA_TAKE(memory, int32_t, width), ARENA_TAKE(memory, int8_t, width) },
        .bias = ARENA_TAKE(memory, int32_t, width),
        .epsilon = { 1, 0 },
    };
    if (memory->failed)
        return report_fail(r, "%s: out of memory", name);

    for (size_t c = 0; c < width; c++) {
        const double gain = norm->gain[c];
        const double slope = 256 * fabs(gain) * unit / out->scale[c];
        const double constant = 256 * (norm->bias[c] - out->offset[c]) / out->scale[c];
        iviti_dyadic factor = { 1 << 30, 62 }; /* a gain of zero: the channel is its constant */

        if (slope > 0 && !dyadic_from_real(slope, low, 62, &factor, r))
            return report_fail(r, "%s: channel %zu has gain %g for a range of %g", name, c, gain,
                               255 * out->scale[c]);
        if (!(fabs(constant) < (1 << 30) - 256))
            return report_fail(r, "%s: channel %zu has bias %g for a range of %g", name, c,
                               (double)norm->bias[c], 255 * out->scale[c]);
        result->factor.multiplier[c] = gain < 0 ? -factor.multiplier : factor.multiplier;
        result->factor.shift[c] = (int8_t)factor.shift;
        result->bias[c] = (int32_t)llround(constant);
    }

    if (kind == IVITI_NORM_EXACT) {
        double value = fmax(1, nearbyint(epsilon * (double)(width * width) /
                                         (stream_scale * stream_scale)));
        while (value >= 0x1p31) {
            value = nearbyint(value / 2);
            result->epsilon[1]++;
        }
        result->epsilon[0] = (int32_t)value;
        if (result->epsilon[1] > 23)
            return report_fail(r, "%s: epsilon %g is too large beside a stream of %g", name,
                               epsilon, 32767 * stream_scale);
    }
    return true;
}

double dense_snr(const integer_dense *dense, const float *weight, const float *bias, const code *in,
                 const code *out, const float *x, size_t rows)
{
    const size_t inputs = dense->in, outputs = dense->out;
    const size_t used = rows < SNR_ROWS ? rows : SNR_ROWS;
    float *codes = malloc(used * inputs * sizeof *codes);
    float *sample = calloc(used * inputs + 1, sizeof *sample);
    float *integers = malloc(outputs * inputs * sizeof *integers);
    float *exact = malloc(used * outputs * sizeof *exact);
    float *coded = malloc(used * outputs * sizeof *coded);
    double signal = 0, noise = 0;

    if (codes && sample && integers && exact && coded) {
        for (size_t i = 0; i < used; i++) /* spread over all pictures */
            for (size_t k = 0; k < inputs; k++)
                sample[i * inputs + k] = x[i * rows / used * inputs + k];
        for (size_t i = 0; i < outputs * inputs; i++)
            integers[i] = dense->weight[i];
        code_integers(in, sample, used, codes);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)used, (int)outputs, (int)inputs,
                    1, sample, (int)inputs, weight, (int)inputs, 0, exact, (int)outputs);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)used, (int)outputs, (int)inputs,
                    1, codes, (int)inputs, integers, (int)inputs, 0, coded, (int)outputs);
        for (size_t i = 0; i < used; i++)
            for (size_t o = 0; o < outputs; o++) {
                const iviti_dyadic f = { dense->factor.multiplier[o], dense->factor.shift[o] };
                const double scale = dyadic_to_real(f) * out->scale[o];
                const double y = exact[i * outputs + o] + bias[o];
                const double acc = (double)coded[i * outputs + o] + dense->bias[o];
                const double z = acc * scale + out->offset[o];
                signal += y * y;
                noise += (y - z) * (y - z);
            }
    }
    free(codes);
    free(sample);
    free(integers);
    free(exact);
    free(coded);
    return noise > 0 ? 10 * log10(signal / noise) : NAN;
}

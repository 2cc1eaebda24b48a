/* SPDX-License-Identifier: Apache-2.0 */
#include "quantize/layers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cblas.h>

#include "common/weight_packing.h"
#include "model/pack.h"
#include "quantize/codebook.h"
#include "quantize/dyadic.h"

#define BIAS_LIMIT   (1 << 29)    /* leaves the products their share of 31 bits */
#define WEIGHT_CANDIDATES 24
#define NARROWEST    0.5          /* of the full range is clipped at most */
#define AROUND       5            /* compensated: so many scales to either side */
#define AROUND_STEP  0.06
#define SPREAD      4.5          /* deviations of a row that a codebook spans */
#define SNR_ROWS     4096
#define FINEST_MARGIN 2.01

/* A row of weights on its way to integers. */
typedef struct row_fit {
    const dense_fit *fit;
    size_t in;
    weight_grid grid;
    double coarsest;        /* scale that the output's factor allows */
    const double *target;   /* (in) */
    double *scratch;        /* (in) */
    int8_t *integers;       /* (in) the best so far */
    int8_t *tried;          /* (in) */
    double least, scale;    /* of the best so far */
} row_fit;

/* Squared error of the row at a scale, and its integers, each weight by itself. Inputs count by how
 * much they move, where that is known. */
static double round_row(const row_fit *f, double scale, int8_t *integers)
{
    const compensation *c = f->fit->compensation;
    double error = 0;
    for (size_t k = 0; k < f->in; k++) {
        const double q = weight_nearest(&f->grid, f->target[k] / scale);
        const double d = f->target[k] - q * scale;
        integers[k] = (int8_t)q;
        error += c ? c->square[k * f->in + k] * d * d : d * d;
    }
    return error;
}

/* The scale at which a row's weights are spread over 8 bits as those of all rows are: by their mean square,
 * which one large weight does not move. Inputs count by how much they move, where that is known. */
static double spread_of(const double *row, size_t in, const compensation *c)
{
    double square = 0, total = 0;
    for (size_t k = 0; k < in; k++) {
        const double weight = c ? c->square[k * in + k] : 1;
        square += weight * row[k] * row[k];
        total += weight;
    }
    return sqrt(square / total) * SPREAD / 127;
}

static double largest_of(const double *row, size_t in)
{
    double largest = 0;
    for (size_t k = 0; k < in; k++)
        largest = fmax(largest, fabs(row[k]));
    return largest;
}

/* Rounds at a scale; the result is kept if it is the best so far. */
static void try_scale(row_fit *f, double scale, bool compensated)
{
    const double error = compensated ? compensation_round(f->fit->compensation, f->target, scale,
                                                          &f->grid, f->scratch, f->tried)
                                     : round_row(f, scale, f->tried);
    if (error < f->least) {
        f->least = error;
        f->scale = scale;
        memcpy(f->integers, f->tried, f->in);
    }
}

/* Scale and integers of the row. Compensation, which takes longer, looks around the scale that is best
 * without it. */
static void fit_row(row_fit *f, double smallest)
{
    const double widest =
        fmin(f->grid.entry ? 1.3 * spread_of(f->target, f->in, f->fit->compensation)
                           : largest_of(f->target, f->in) / f->grid.limit,
             f->coarsest);
    const int candidates = f->fit->method == RANGE_MSE ? WEIGHT_CANDIDATES : 1;

    f->least = INFINITY;
    for (int i = 0; i < candidates; i++)
        try_scale(f, fmax(widest * (1 - NARROWEST * i / WEIGHT_CANDIDATES), smallest), false);
    if (!f->fit->compensation)
        return;
    const double around = f->scale;
    f->least = INFINITY;
    for (int i = -AROUND; i <= AROUND; i++)
        try_scale(f, fmax(fmin(around * (1 + AROUND_STEP * i), f->coarsest), smallest), true);
    compensation_refine(f->fit->compensation, f->target, f->scale, &f->grid, f->scratch,
                        f->integers);
}

static void take_scale(row_fit *f, double scale)
{
    f->scale = scale;
    f->least = round_row(f, scale, f->integers);
}

/* Units of the accumulator in one of the product that has the largest factor: that of the high
 * digits. */
static double digit_of(const code *in)
{
    return in->bits == IVITI_WIDE_BITS ? 1 << IVITI_DIGIT_BITS : 1;
}

double dense_smallest_scale(double bias, double out_scale)
{
    return fmax(fabs(bias) / BIAS_LIMIT, out_scale * 0x1p-24);
}

static bool take_dense(arena *memory, size_t in, size_t out, int bits, bool codebook,
                       integer_dense *d)
{
    *d = (integer_dense){
        .in = (uint32_t)in,
        .out = (uint32_t)out,
        .bits = bits,
        .weight = ARENA_TAKE(memory, int8_t, in * out),
        .packed = bits == 8 ? NULL
                            : ARENA_TAKE(memory, uint8_t,
                                         out * iviti_packed_row(in, (uint32_t)bits)),
        .codebook = codebook ? ARENA_TAKE(memory, int8_t, IVITI_CODEBOOK) : NULL,
        .bias = ARENA_TAKE(memory, int32_t, out),
        .factor = { ARENA_TAKE(memory, int32_t, out), ARENA_TAKE(memory, int8_t, out) },
    };
    return !memory->failed;
}

/* What the integers of a layer are to come near to, (outputs, in), in the compensation's order. */
static bool fill_targets(const float *weight, size_t outputs, const code *in,
                         const compensation *c, double *target)
{
    if (c)
        return compensation_target(c, in, weight, outputs, target);
    for (size_t o = 0; o < outputs; o++)
        for (size_t k = 0; k < in->width; k++)
            target[o * in->width + k] = weight[o * in->width + k] * in->scale[k];
    return true;
}

/* Bias and factor of output o, whose weights are there. constant: what the output is at the mean of the
 * inputs. */
static bool finish_row(const char *name, size_t o, double scale, double constant, const code *in,
                       const code *out, bool pixels, integer_dense *result, report *r)
{
    const int8_t *weight = result->weight + o * in->width;
    int64_t reach = 0;
    for (size_t k = 0; k < in->width; k++) {
        constant -= weight[k] * scale * in->mean_code[k];
        reach += 255 * (int64_t)abs(weight[k]);
    }
    result->bias[o] = (int32_t)llround(constant / scale);
    reach += llabs((int64_t)result->bias[o]) + (pixels ? 0 : reach / 2 + 128);
    if (reach >= INT32_MAX)
        return report_fail(r, "%s: output %zu could overflow its accumulator", name, o);
    iviti_dyadic factor;
    const int least = in->bits == IVITI_WIDE_BITS ? 32 + IVITI_DIGIT_BITS : 32;
    if (!dyadic_from_real(scale / out->scale[o], least, 62, &factor, NULL))
        return report_fail(r, "%s: output %zu has a factor of %g; the limit is one half", name, o,
                           scale / out->scale[o] * digit_of(in));
    result->factor.multiplier[o] = factor.multiplier;
    result->factor.shift[o] = (int8_t)factor.shift;
    return true;
}

/* The entries that are nearest to the weights of all rows, in terms of the layer's output. */
static bool choose_codebook(const double *target, size_t outputs, size_t in, const compensation *c,
                            int8_t *entry)
{
    value_bins *bins = calloc(1, sizeof *bins);
    for (size_t o = 0; o < outputs && bins; o++) {
        const double *const row = target + o * in;
        const double scale = spread_of(row, in, c);
        for (size_t k = 0; k < in && scale > 0; k++)
            value_bins_add(bins, row[k] / scale,
                           scale * scale * (c ? c->square[k * in + k] : 1));
    }
    if (bins)
        codebook_cluster(bins, IVITI_CODEBOOK, entry);
    free(bins);
    return bins != NULL;
}

/* The weights as the file has them. */
static bool pack(const integer_dense *d)
{
    const size_t count = (size_t)d->out * d->in;
    if (!d->codebook) {
        weight_packing_pack(d->weight, d->out, d->in, (unsigned)d->bits, d->packed);
        return true;
    }
    int8_t *index = malloc(count);
    if (index) {
        codebook_indices(d->codebook, d->weight, count, index);
        weight_packing_pack(index, d->out, d->in, (unsigned)d->bits, d->packed);
    }
    free(index);
    return index != NULL;
}

bool quantize_dense(arena *memory, const char *name, const float *weight, const float *bias,
                    size_t outputs, const code *in, const code *out, bool pixels,
                    const dense_fit *fit, integer_dense *result, report *r)
{
    const size_t inputs = in->width;
    const compensation *c = fit->compensation;
    double *target = malloc(outputs * inputs * sizeof *target);
    double *scratch = malloc(inputs * sizeof *scratch);
    int8_t *integers = malloc(2 * inputs);
    const bool room = target && scratch && integers && fill_targets(weight, outputs, in, c, target) &&
                      take_dense(memory, inputs, outputs, fit->bits, fit->codebook, result);

    bool fits = room || report_fail(r, "%s: out of memory", name);
    if (fits && fit->codebook)
        fits = choose_codebook(target, outputs, inputs, c, result->codebook) ||
               report_fail(r, "%s: out of memory", name);
    const weight_grid grid = { weight_limit(fit->codebook ? 8 : fit->bits), result->codebook };
    for (size_t o = 0; o < outputs && fits; o++) {
        double constant = bias[o] - out->offset[o];
        for (size_t k = 0; k < inputs; k++)
            constant += weight[o * inputs + k] * in->mean[k];
        row_fit f = { fit,
                      inputs,
                      grid,
                      DENSE_COARSEST * out->scale[o] / digit_of(in),
                      target + o * inputs,
                      scratch,
                      integers,
                      integers + inputs,
                      0,
                      0 };
        if (fit->scales)
            take_scale(&f, fit->scales[o]);
        else
            fit_row(&f, dense_smallest_scale(constant, out->scale[o]));
        for (size_t k = 0; k < inputs; k++)
            result->weight[o * inputs + (c ? c->order[k] : k)] = integers[k];
        fits = finish_row(name, o, f.scale, constant, in, out, pixels, result, r);
    }
    if (fits && result->packed && !pack(result))
        fits = report_fail(r, "%s: out of memory", name);
    free(target);
    free(scratch);
    free(integers);
    return fits;
}

double dense_finest_scale(const float *weight, size_t outputs, const code *in, int bits)
{
    double coarsest = 1e-9;
    for (size_t o = 0; o < outputs; o++)
        for (size_t k = 0; k < in->width; k++)
            coarsest = fmax(coarsest, fabs((double)weight[o * in->width + k]) * in->scale[k]);
    return coarsest / weight_limit(bits) * FINEST_MARGIN * digit_of(in);
}

bool quantize_logits(arena *scratch, arena *memory, const network_linear *head,
                     double least_scale, const code *in, range_method method,
                     integer_network *result, report *r)
{
    const size_t classes = result->geometry.classes;
    const double finest = fmax(dense_finest_scale(head->weight, classes, in, 8), least_scale);
    const dense_fit fit = { .method = method, .bits = 8 };
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
                          &fit, &result->head, r);
}

bool quantize_norm(arena *memory, const char *name, const network_norm *norm, double epsilon,
                   double stream_scale, iviti_norm_kind kind, const code *out,
                   integer_norm *result, report *r)
{
    const size_t width = out->width;
    /* One unit of the normalised value: 2^-16, or sqrt(C) / 2^30 (NUMERICS.md, LayerNorm). */
    const double unit = kind == IVITI_NORM_NEWTON ? sqrt((double)width) * 0x1p-30 : 0x1p-16;
    const int low = kind == IVITI_NORM_NEWTON ? 31 : 25;

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

void dense_real(const integer_dense *dense, const code *in, const code *out,
                const network_linear *real)
{
    for (size_t o = 0; o < dense->out; o++) {
        const iviti_dyadic f = { dense->factor.multiplier[o], dense->factor.shift[o] };
        const double scale = dyadic_to_real(f) * out->scale[o];
        double bias = dense->bias[o] * scale + out->offset[o];
        for (size_t k = 0; k < dense->in; k++) {
            const double weight = dense->weight[o * dense->in + k] * scale / in->scale[k];
            real->weight[o * dense->in + k] = (float)weight;
            bias -= weight * in->offset[k];
        }
        real->bias[o] = (float)bias;
    }
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

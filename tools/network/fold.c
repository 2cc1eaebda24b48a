/* SPDX-License-Identifier: Apache-2.0 */
#include "network/fold.h"

#include <math.h>

/* The norm of one channel as y = slope * x + shift. */
typedef struct affine {
    double slope, shift;
} affine;

static affine affine_of(const batch_norm *norm, size_t channel)
{
    const double gain = norm->gain ? (double)norm->gain[channel] : 1;
    const double bias = norm->bias ? (double)norm->bias[channel] : 0;
    const double slope = gain / sqrt((double)norm->variance[channel] + norm->epsilon);
    return (affine){ slope, bias - (double)norm->mean[channel] * slope };
}

static bool check_norm(const batch_norm *norm, size_t channels, const char *name, report *r)
{
    for (size_t c = 0; c < channels; c++) {
        const affine a = affine_of(norm, c);
        if (!((double)norm->variance[c] + norm->epsilon > 0))
            return report_fail(
                r, "%s: the batch norm's variance of channel %zu is %g; it must not be negative",
                name, c, (double)norm->variance[c]);
        if (!isfinite(a.slope) || !isfinite(a.shift) || fabs(a.slope) > 1e30 ||
            fabs(a.shift) > 1e30)
            return report_fail(r,
                               "%s: the batch norm of channel %zu has a factor of %g and an offset "
                               "of %g; the limit is 1e30",
                               name, c, a.slope, a.shift);
    }
    return true;
}

bool fold_norm_behind(const batch_norm *norm, const fold_layer *layer, report *r)
{
    const size_t row = layer->in / layer->groups * layer->taps;
    if (!check_norm(norm, layer->out, layer->name, r))
        return false;
    for (size_t o = 0; o < layer->out; o++) {
        const affine a = affine_of(norm, o);
        for (size_t k = 0; k < row; k++)
            layer->weight[o * row + k] = (float)((double)layer->weight[o * row + k] * a.slope);
        layer->bias[o] = (float)((double)layer->bias[o] * a.slope + a.shift);
    }
    return true;
}

bool fold_norm_before(const batch_norm *norm, const fold_layer *layer, report *r)
{
    const size_t inputs = layer->in / layer->groups, outputs = layer->out / layer->groups;
    if (layer->padded && layer->taps > 1)
        return report_fail(
            r,
            "%s: a batch norm before a convolution with padding does not fold into it: "
            "at the border the padding would have to be another value in each channel",
            layer->name);
    if (!check_norm(norm, layer->in, layer->name, r))
        return false;
    for (size_t o = 0; o < layer->out; o++) {
        double bias = (double)layer->bias[o];
        for (size_t i = 0; i < inputs; i++) {
            const affine a = affine_of(norm, o / outputs * inputs + i);
            float *const taps = layer->weight + (o * inputs + i) * layer->taps;
            for (size_t k = 0; k < layer->taps; k++) {
                bias += (double)taps[k] * a.shift;
                taps[k] = (float)((double)taps[k] * a.slope);
            }
        }
        layer->bias[o] = (float)bias;
    }
    return true;
}

void fold_factor(const fold_layer *layer, double factor)
{
    const size_t count = layer->out * (layer->in / layer->groups) * layer->taps;
    for (size_t i = 0; i < count; i++)
        layer->weight[i] = (float)((double)layer->weight[i] * factor);
    for (size_t o = 0; o < layer->out; o++)
        layer->bias[o] = (float)((double)layer->bias[o] * factor);
}

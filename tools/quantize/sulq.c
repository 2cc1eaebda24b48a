/* SPDX-License-Identifier: Apache-2.0 */
#include "quantize/sulq.h"

#include <math.h>

#include "iviti/kernels.h"

#define UNITS        0x1p24 /* of a threshold */
#define NOT_REACHED  (1 << 25)

sulq_code sulq_code_over(double eta, int bits, double least, double most)
{
    return (sulq_code){ eta, bits, log2(least + eta), log2(most + eta) };
}

static double step_of(const sulq_code *c)
{
    return (c->high - c->low) / ((1 << c->bits) - 1);
}

/* Halves upwards, as everywhere here; none of the published values is one. */
static int exponent_of_step(const sulq_code *c, int step)
{
    return (int)floor(c->low + step * step_of(c) + 0.5);
}

int sulq_exponent(const sulq_code *c, double p)
{
    const int last = (1 << c->bits) - 1;
    if (!(step_of(c) > 0))
        return exponent_of_step(c, 0);
    const double step = floor((log2(p + c->eta) - c->low) / step_of(c) + 0.5);
    return exponent_of_step(c, step < 0 ? 0 : step > last ? last : (int)step);
}

int sulq_thresholds(const sulq_code *c, int32_t *threshold)
{
    const int lowest = exponent_of_step(c, 0), last = (1 << c->bits) - 1;

    for (int k = 0; k < IVITI_SULQ_THRESHOLDS; k++) {
        int step = 1;
        while (step <= last && exponent_of_step(c, step) < lowest + k + 1)
            step++;
        threshold[k] = NOT_REACHED;
        if (step > last)
            continue;
        const double p = exp2(c->low + (step - 0.5) * step_of(c)) - c->eta;
        const double units = nearbyint(p * UNITS);
        threshold[k] = units < 1 ? 1 : units > NOT_REACHED ? NOT_REACHED : (int32_t)units;
    }
    return lowest;
}

static double squared_error(const sulq_code *c, const float *p, size_t count)
{
    int32_t threshold[IVITI_SULQ_THRESHOLDS];
    double from[IVITI_SULQ_THRESHOLDS], value[IVITI_SULQ_THRESHOLDS + 1], error = 0;
    const int lowest = sulq_thresholds(c, threshold);

    for (int k = 0; k <= IVITI_SULQ_THRESHOLDS; k++)
        value[k] = exp2(lowest + k) - c->eta;
    for (int k = 0; k < IVITI_SULQ_THRESHOLDS; k++)
        from[k] = threshold[k] / UNITS;
    for (size_t i = 0; i < count; i++) {
        int reached = 0;
        for (int k = 0; k < IVITI_SULQ_THRESHOLDS; k++)
            reached += p[i] >= from[k];
        error += (p[i] - value[reached]) * (p[i] - value[reached]);
    }
    return error;
}

sulq_code sulq_best(const float *p, size_t count, int bits)
{
    static const double etas[] = { 0.001, 0.0025, 0.005, 0.01, 0.02, 0.03,
                                   0.04,  0.05,   0.1,   0.2,  0.5,  1.0 };
    double least = 1, most = 0, smallest = INFINITY;
    sulq_code best = { 0 };

    for (size_t i = 0; i < count; i++) {
        least = fmin(least, p[i]);
        most = fmax(most, p[i]);
    }
    for (size_t i = 0; i < sizeof etas / sizeof *etas; i++) {
        const sulq_code c = sulq_code_over(etas[i], bits, least, most);
        const double error = squared_error(&c, p, count);
        if (error < smallest) {
            smallest = error;
            best = c;
        }
    }
    return best;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "quantize/range.h"

#include <math.h>
#include <string.h>

#define CANDIDATES 48   /* tried for an end of the range */
#define NARROWEST  0.25 /* of the full range */
#define NARROW_STEPS 100 /* codes with fewer steps clip more */
#define NARROWEST_FEW 0.05
#define ROUNDS     3    /* of improving one end after the other */

/* A constant still needs a range that its code can divide. */
static double at_least_something(double width, double magnitude)
{
    const double smallest = 1e-6 * magnitude + 1e-9;
    return width > smallest ? width : smallest;
}

static double bin_width(const histogram *h)
{
    return (h->high - h->low) / HISTOGRAM_BINS;
}

static double bin_centre(const histogram *h, size_t bin)
{
    return h->low + ((double)bin + 0.5) * bin_width(h);
}

static size_t bin_of(const histogram *h, double value)
{
    const double width = bin_width(h);
    if (!(width > 0))
        return 0;
    const double at = (value - h->low) / width;
    return at < 0 ? 0 : at >= HISTOGRAM_BINS ? HISTOGRAM_BINS - 1 : (size_t)at;
}

void histogram_columns(const float *x, size_t rows, size_t width, size_t stride, histogram *out)
{
    for (size_t c = 0; c < width; c++) {
        memset(&out[c], 0, sizeof out[c]);
        out[c].low = INFINITY;
        out[c].high = -INFINITY;
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < width; c++) {
            const double value = x[r * stride + c];
            out[c].low = value < out[c].low ? value : out[c].low;
            out[c].high = value > out[c].high ? value : out[c].high;
            out[c].mean += value;
        }
    for (size_t c = 0; c < width; c++)
        out[c].mean /= (double)rows;
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < width; c++)
            out[c].weight[bin_of(&out[c], x[r * stride + c])] += 1;
    for (size_t c = 0; c < width; c++)
        out[c].total = (double)rows;
}

/* Spreads h over the bins of a wider histogram. */
static void pour(histogram *into, const histogram *h, double weight)
{
    for (size_t bin = 0; bin < HISTOGRAM_BINS; bin++)
        if (h->weight[bin] > 0)
            into->weight[bin_of(into, bin_centre(h, bin))] += weight * h->weight[bin];
    into->total += weight * h->total;
}

void histogram_merge(histogram *a, const histogram *b, double weight)
{
    histogram both = { 0 };
    both.low = a->total > 0 && a->low < b->low ? a->low : b->low;
    both.high = a->total > 0 && a->high > b->high ? a->high : b->high;
    if (a->total > 0)
        pour(&both, a, 1);
    pour(&both, b, weight);
    both.mean = (a->mean * a->total + b->mean * weight * b->total) / both.total;
    *a = both;
}

double histogram_power(const histogram *h, double centre)
{
    double sum = 0;
    for (size_t bin = 0; bin < HISTOGRAM_BINS; bin++) {
        const double d = bin_centre(h, bin) - centre;
        sum += h->weight[bin] * d * d;
    }
    return h->total > 0 ? sum / h->total : 0;
}

/* Sums of 1, value and value^2 over all bins below each bin, so that a candidate costs nothing. */
typedef struct sums {
    double count[HISTOGRAM_BINS + 1];
    double value[HISTOGRAM_BINS + 1];
    double square[HISTOGRAM_BINS + 1];
} sums;

static void sums_of(const histogram *h, sums *s)
{
    s->count[0] = s->value[0] = s->square[0] = 0;
    for (size_t bin = 0; bin < HISTOGRAM_BINS; bin++) {
        const double v = bin_centre(h, bin);
        s->count[bin + 1] = s->count[bin] + h->weight[bin];
        s->value[bin + 1] = s->value[bin] + h->weight[bin] * v;
        s->square[bin + 1] = s->square[bin] + h->weight[bin] * v * v;
    }
}

/* Squared distance to `end` of all bins in [first, last). */
static double distance(const sums *s, size_t first, size_t last, double end)
{
    return (s->square[last] - s->square[first]) - 2 * end * (s->value[last] - s->value[first]) +
           end * end * (s->count[last] - s->count[first]);
}

static double code_error(const histogram *h, const sums *s, range r, int steps)
{
    const double step = (r.high - r.low) / steps;
    const size_t first = bin_of(h, r.low), last = bin_of(h, r.high) + 1;
    const double inside = s->count[last] - s->count[first];

    return (distance(s, 0, first, r.low) + distance(s, last, HISTOGRAM_BINS, r.high) +
            inside * step * step / 12) /
           h->total;
}

double histogram_error(const histogram *h, range r, int steps)
{
    sums s;
    sums_of(h, &s);
    return code_error(h, &s, r, steps);
}

/* The k-th candidate for an end at `full`, moving towards `other`. */
static double candidate(double full, double other, int k, int steps)
{
    const double narrowest = steps < NARROW_STEPS ? NARROWEST_FEW : NARROWEST;
    return full + (other - full) * (1 - narrowest) * k / CANDIDATES;
}

range range_asymmetric(const histogram *h, int steps, range_method method)
{
    const range full = { h->low, h->high };
    range best = full;

    if (method == RANGE_MSE) {
        sums s;
        sums_of(h, &s);
        double least = code_error(h, &s, best, steps);
        for (int round = 0; round < ROUNDS; round++)
            for (int k = 0; k <= CANDIDATES; k++) {
                const range tries[2] = { { candidate(full.low, h->mean, k, steps), best.high },
                                         { best.low, candidate(full.high, h->mean, k, steps) } };
                for (int end = 0; end < 2; end++) {
                    const double error = code_error(h, &s, tries[end], steps);
                    if (error < least) {
                        least = error;
                        best = tries[end];
                    }
                }
            }
    }
    const double magnitude = fmax(fabs(best.low), fabs(best.high));
    best.high = best.low + at_least_something(best.high - best.low, magnitude);
    return best;
}

double range_symmetric(const histogram *h, double centre, int steps, range_method method)
{
    const double full = fmax(h->high - centre, centre - h->low);
    double best = full;

    if (method == RANGE_MSE) {
        sums s;
        sums_of(h, &s);
        double least = INFINITY;
        for (int k = 0; k <= CANDIDATES; k++) {
            const double reach = candidate(full, 0, k, steps);
            const double error =
                code_error(h, &s, (range){ centre - reach, centre + reach }, steps);
            if (error < least) {
                least = error;
                best = reach;
            }
        }
    }
    return at_least_something(best, fabs(centre));
}

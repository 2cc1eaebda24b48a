/* SPDX-License-Identifier: Apache-2.0
 *
 * Position embeddings of one grid for another. Enlarging is the plain bicubic interpolation of
 * PyTorch, which fine-tuning at larger sizes was done with (a = -0.75, edges repeated). Shrinking
 * is antialiased (a = -0.5, a kernel as wide as outputs are apart, weights that sum to 1). Both
 * align the grids' outer edges, not their corner centres.
 */
#include "network/source.h"

#include <math.h>

#define MAX_GRID 64 /* 64 * 64 = IVITI_MAX_TOKENS */

/* The weights of inputs first..last for one output along one side. */
typedef struct taps {
    uint32_t first, last;
    double weight[MAX_GRID];
} taps;

static double cubic(double distance, double a)
{
    const double x = fabs(distance);
    if (x <= 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

static void enlarge(double centre, uint32_t from, taps *t)
{
    const double base = floor(centre - 0.5), last = from - 1.0;
    t->first = (uint32_t)fmin(fmax(base - 1, 0), last);
    t->last = (uint32_t)fmin(fmax(base + 2, 0), last);
    for (uint32_t i = t->first; i <= t->last; i++)
        t->weight[i] = 0;
    for (int i = -1; i <= 2; i++) {
        const uint32_t at = (uint32_t)fmin(fmax(base + i, 0), last);
        t->weight[at] += cubic(centre - 0.5 - base - i, -0.75);
    }
}

static void shrink(double centre, double scale, uint32_t from, taps *t)
{
    const double begin = floor(centre - 2 * scale + 0.5), end = floor(centre + 2 * scale + 0.5);
    double sum = 0;
    t->first = (uint32_t)fmax(begin, 0);
    t->last = (uint32_t)fmin(end, from) - 1;
    for (uint32_t i = t->first; i <= t->last; i++) {
        t->weight[i] = cubic((i + 0.5 - centre) / scale, -0.5);
        sum += t->weight[i];
    }
    for (uint32_t i = t->first; i <= t->last; i++)
        t->weight[i] /= sum;
}

static void place_taps(uint32_t index, uint32_t from, uint32_t to, taps *t)
{
    const double scale = (double)from / to, centre = (index + 0.5) * scale;
    if (to >= from)
        enlarge(centre, from, t);
    else
        shrink(centre, scale, from, t);
}

void position_resample(const float *in, uint32_t from, float *out, uint32_t to, uint32_t dim)
{
    for (uint32_t row = 0; row < to; row++) {
        taps y;
        place_taps(row, from, to, &y);
        for (uint32_t column = 0; column < to; column++) {
            taps x;
            place_taps(column, from, to, &x);
            for (uint32_t c = 0; c < dim; c++) {
                double sum = 0;
                for (uint32_t i = y.first; i <= y.last; i++)
                    for (uint32_t j = x.first; j <= x.last; j++)
                        sum += y.weight[i] * x.weight[j] *
                               (double)in[((size_t)i * from + j) * dim + c];
                *out++ = (float)sum;
            }
        }
    }
}

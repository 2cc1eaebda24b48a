/* SPDX-License-Identifier: Apache-2.0
 *
 * Position embeddings of one grid for another: the bicubic interpolation of PyTorch and of those
 * who fine-tuned at other sizes with it (a = -0.75, pixel centres aligned, no antialiasing).
 */
#include "network/source.h"

#include <math.h>

static double cubic(double distance)
{
    const double a = -0.75;
    const double x = fabs(distance);
    if (x <= 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

/* The four inputs of output i along one side, edges repeated, and their weights. */
static void taps(uint32_t i, uint32_t from, uint32_t to, uint32_t index[4], double weight[4])
{
    const double centre = (i + 0.5) * from / to - 0.5;
    const double base = floor(centre);
    for (int t = 0; t < 4; t++) {
        const double at = base + t - 1;
        weight[t] = cubic(centre - at);
        index[t] = at < 0 ? 0 : at > from - 1.0 ? from - 1 : (uint32_t)at;
    }
}

void position_resample(const float *in, uint32_t from, float *out, uint32_t to, uint32_t dim)
{
    for (uint32_t row = 0; row < to; row++) {
        uint32_t y[4];
        double wy[4];
        taps(row, from, to, y, wy);
        for (uint32_t column = 0; column < to; column++) {
            uint32_t x[4];
            double wx[4];
            taps(column, from, to, x, wx);
            for (uint32_t c = 0; c < dim; c++) {
                double sum = 0;
                for (int i = 0; i < 4; i++)
                    for (int j = 0; j < 4; j++)
                        sum += wy[i] * wx[j] * in[((size_t)y[i] * from + x[j]) * dim + c];
                *out++ = (float)sum;
            }
        }
    }
}

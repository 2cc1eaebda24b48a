/* SPDX-License-Identifier: Apache-2.0 */
#include "quantize/codebook.h"

#include <math.h>

#define END 127

void value_bins_add(value_bins *b, double value, double weight)
{
    const double nearest = nearbyint(fmax(-END, fmin(END, value)));
    const int bin = (int)nearest + END;
    b->weight[bin] += weight;
    b->sum[bin] += weight * value;
    b->square[bin] += weight * value * value;
}

/* Sums over all bins below each bin. */
typedef struct sums {
    double weight[CODEBOOK_BINS + 1], sum[CODEBOOK_BINS + 1], square[CODEBOOK_BINS + 1];
} sums;

/* The integer nearest to the mean of bins [first, last) is the best for them: the squared distance is a
 * parabola about the mean. */
static double run_cost(const sums *s, int first, int last, int8_t *entry)
{
    const double weight = s->weight[last] - s->weight[first];
    const double sum = s->sum[last] - s->sum[first];
    const double middle = weight > 0 ? sum / weight : (first + last - 1) / 2.0 - END;
    const double c = nearbyint(fmax(-END, fmin(END, middle)));
    *entry = (int8_t)c;
    return fmax(0, s->square[last] - s->square[first] - 2 * c * sum + c * c * weight);
}

double codebook_cluster(const value_bins *b, size_t count, int8_t *entry)
{
    double best[CODEBOOK_BINS + 1], next[CODEBOOK_BINS + 1];
    uint8_t from[IVITI_CODEBOOK][CODEBOOK_BINS + 1];
    sums s = { { 0 }, { 0 }, { 0 } };
    int8_t unused;

    for (int i = 0; i < CODEBOOK_BINS; i++) {
        s.weight[i + 1] = s.weight[i] + b->weight[i];
        s.sum[i + 1] = s.sum[i] + b->sum[i];
        s.square[i + 1] = s.square[i] + b->square[i];
    }
    for (int last = 0; last <= CODEBOOK_BINS; last++) {
        best[last] = last ? run_cost(&s, 0, last, &unused) : 0;
        from[0][last] = 0;
    }
    for (size_t k = 1; k < count; k++) {
        for (int last = 0; last <= CODEBOOK_BINS; last++) {
            next[last] = best[last]; /* one run fewer */
            from[k][last] = (uint8_t)last;
            for (int first = 0; first < last; first++) {
                const double cost = best[first] + run_cost(&s, first, last, &unused);
                if (cost < next[last]) {
                    next[last] = cost;
                    from[k][last] = (uint8_t)first;
                }
            }
        }
        for (int last = 0; last <= CODEBOOK_BINS; last++)
            best[last] = next[last];
    }
    int8_t above = END;
    int last = CODEBOOK_BINS;
    for (size_t k = count; k-- > 0;) {
        const int first = from[k][last];
        if (first < last)
            run_cost(&s, first, last, &above);
        entry[k] = above;
        last = first;
    }
    return best[CODEBOOK_BINS];
}

void codebook_indices(const int8_t entry[IVITI_CODEBOOK], const int8_t *integers, size_t count,
                      int8_t *index)
{
    for (size_t i = 0; i < count; i++) {
        int8_t at = 0;
        while (at < IVITI_CODEBOOK - 1 && entry[at] != integers[i])
            at++;
        index[i] = at;
    }
}

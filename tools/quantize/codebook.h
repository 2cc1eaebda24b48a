/* SPDX-License-Identifier: Apache-2.0
 *
 * Sixteen integers that stand for all weights of a layer: exact clustering in one dimension, by dynamic
 * programming over a histogram.
 */
#ifndef CODEBOOK_H
#define CODEBOOK_H

#include <stddef.h>
#include <stdint.h>

#include "model/geometry.h"

#define CODEBOOK_BINS 255 /* the integers -127 to 127 */

/* Of the values that are nearest to each integer: their weights, weighted sums and sums of squares. */
typedef struct value_bins {
    double weight[CODEBOOK_BINS];
    double sum[CODEBOOK_BINS];
    double square[CODEBOOK_BINS];
} value_bins;

/* Values beyond the ends count as the ends, at their own distance. */
void value_bins_add(value_bins *b, double value, double weight);

/* The integers entry (count), rising, of the partition of the bins into at most `count` runs whose weighted
 * squared distance to one integer each is least, and that distance. Where fewer runs are as good the last
 * integer repeats. count: 1 to 16. */
double codebook_cluster(const value_bins *b, size_t count, int8_t *entry);

/* The entries that the integers are: index (count), 4 bits each in the end. */
void codebook_indices(const int8_t entry[IVITI_CODEBOOK], const int8_t *integers, size_t count,
                      int8_t *index);

#endif

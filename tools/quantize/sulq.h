/* SPDX-License-Identifier: Apache-2.0
 *
 * Shift-uniform-log2 codes of attention probabilities (I&S-ViT, arXiv 2311.10126): the real-valued
 * definition, its best eta for what calibration saw, and the thresholds that the engine compares with.
 */
#ifndef SULQ_H
#define SULQ_H

#include <stddef.h>
#include <stdint.h>

#define SULQ_BITS 4 /* where nothing else is asked for */

/* u = log2(p + eta), rounded to one of 2^bits - 1 steps from `low` to `high`, then to a whole
 * exponent E; p is taken for 2^E - eta. */
typedef struct sulq_code {
    double eta;
    int bits;
    double low, high;
} sulq_code;

/* The code for probabilities from `least` to `most`. */
sulq_code sulq_code_over(double eta, int bits, double least, double most);

/* E of a probability. */
int sulq_exponent(const sulq_code *c, double p);

/* The code of least squared error over `count` probabilities p, among the published etas and one between the two
 * smallest. Below 0.01 there are more exponents than multipliers of 8 bits: the highest that is left
 * stands for those above it, which is part of the error. */
sulq_code sulq_best(const float *p, size_t count, int bits);

/* For each exponent above the lowest, in units of 2^-24, the least probability that has it or a higher
 * one; 2^25 where none has. threshold (7). Returns the lowest exponent. */
int sulq_thresholds(const sulq_code *c, int32_t *threshold);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Parts of the comparison operators that the forward pass uses by themselves.
 */
#ifndef IVITI_COMPARISON_H
#define IVITI_COMPARISON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "iviti/kernels.h"

#define IVITI_SULQ_BITS 24 /* of a threshold's fraction */
#define IVITI_LIS_CODES 16

/* i-exp of 0, -1, ..., -255 with as many bits as fit 31, or requantised to [0, 32767]. */
void iviti_i_exp_fill(iviti_i_exp_constants k, bool requantised, int32_t *table);

/* What L1 LayerNorm divides a row x (count) by, at the place of the root: more than each
 * |C x - sum| / 2^7. */
uint32_t iviti_l1_root(const int16_t *x, size_t count, int64_t sum);

/* The least exponential whose code is at most 0, 1, ..., 15, given the row's sum. Exponentials are
 * below 2^31 - 1; sum >= 1. */
void iviti_lis_thresholds(uint64_t sum, int32_t least[IVITI_LIS_CODES]);

/* 2^(15 - code), or 0, of each of e (count). */
void iviti_lis_numerators(const int32_t *e, size_t count, const int32_t least[IVITI_LIS_CODES],
                          uint16_t *p);

#endif

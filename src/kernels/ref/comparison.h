/* SPDX-License-Identifier: Apache-2.0
 *
 * Parts of the comparison operators that the forward pass uses by themselves.
 */
#ifndef IVITI_COMPARISON_H
#define IVITI_COMPARISON_H

#include <stdbool.h>

#include "iviti/kernels.h"

#define IVITI_SULQ_BITS 24 /* of a threshold's fraction */
#define IVITI_LIS_CODES 16

/* i-exp of 0, -1, ..., -255 with as many bits as fit 31, or requantised to [0, 32767]. */
void iviti_i_exp_fill(iviti_i_exp_constants k, bool requantised, int32_t *table);

/* The least exponential whose code is at most 0, 1, ..., 15, given the row's sum. Exponentials are
 * below 2^31 - 1; sum >= 1. */
void iviti_lis_thresholds(uint64_t sum, int32_t least[IVITI_LIS_CODES]);

/* 2^(15 - code), or 0. */
uint16_t iviti_lis_numerator(int32_t e, const int32_t least[IVITI_LIS_CODES]);

#endif

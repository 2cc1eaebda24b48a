/* SPDX-License-Identifier: Apache-2.0
 *
 * Real factors to dyadic ones.
 */
#ifndef DYADIC_H
#define DYADIC_H

#include "common/report.h"
#include "iviti/kernels.h"

/* The nearest m / 2^c with m in [2^30, 2^31) and c in [low, high]. A factor too small for `high`
 * becomes the smallest there is; one too large for `low` is refused. value > 0 and finite. */
bool dyadic_from_real(double value, int low, int high, iviti_dyadic *out, report *r);

double dyadic_to_real(iviti_dyadic factor);

/* The smallest factor not below `value` whose multiplier has only 10 significant bits, with which
 * fast kernels can multiply in 32 bits. */
double dyadic_coarse(double value);

#endif

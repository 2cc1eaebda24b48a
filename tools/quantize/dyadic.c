/* SPDX-License-Identifier: Apache-2.0 */
#include "quantize/dyadic.h"

#include <math.h>

#define COARSE_BITS 10

bool dyadic_from_real(double value, int low, int high, iviti_dyadic *out, report *r)
{
    if (!(value > 0) || !isfinite(value))
        return report_fail(r, "a factor of %g cannot be represented: it must be positive", value);

    int exponent;
    const double mantissa = frexp(value, &exponent); /* [0.5, 1) */
    int64_t multiplier = llround(ldexp(mantissa, 31));
    int shift = 31 - exponent;
    if (multiplier == (int64_t)1 << 31) {
        multiplier >>= 1;
        shift--;
    }
    if (shift > high) {
        multiplier = (int64_t)1 << 30;
        shift = high;
    }
    if (shift < low)
        return report_fail(r, "a factor of %g cannot be represented: the limit is %g", value,
                           ldexp(1, 31 - low));
    *out = (iviti_dyadic){ (int32_t)multiplier, shift };
    return true;
}

double dyadic_to_real(iviti_dyadic factor)
{
    return ldexp(factor.multiplier, -factor.shift);
}

double dyadic_coarse(double value)
{
    int exponent;
    const double mantissa = frexp(value, &exponent);
    return ldexp(ceil(ldexp(mantissa, COARSE_BITS)), exponent - COARSE_BITS);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The table family: any function of 8 bits is a table (NUMERICS.md, Table family).
 */
#include "iviti/kernels.h"
#include "kernels/requantize.h"

uint32_t iviti_exp_table(const int32_t *score, size_t count, iviti_dyadic factor,
                         const uint8_t *table, uint8_t *e)
{
    int32_t max = score[0];
    for (size_t i = 1; i < count; i++)
        if (score[i] > max)
            max = score[i];

    uint32_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        const int64_t index = iviti_requantize(max - score[i], factor);
        e[i] = table[index < 255 ? index : 255];
        sum += e[i];
    }
    return sum;
}

/* With L the length of `sum` in bits, (2^(30+L) - 1) / sum lies in [2^30, 2^31): 1 / sum as a
 * normalised multiplier with shift 30 + L. The product with the factor's multiplier lies in
 * [2^60, 2^62) and is brought back by 30 or 31 places. */
iviti_dyadic iviti_reciprocal(uint32_t sum, iviti_dyadic factor)
{
    int length = 0;
    for (uint32_t rest = sum; rest; rest >>= 1)
        length++;

    const uint64_t inverse = (((uint64_t)1 << (30 + length)) - 1) / sum;
    const uint64_t product = inverse * (uint64_t)factor.multiplier;
    if (product < (uint64_t)1 << 61)
        return (iviti_dyadic){ (int32_t)(product >> 30), factor.shift + length };
    return (iviti_dyadic){ (int32_t)(product >> 31), factor.shift + length - 1 };
}

void iviti_table_s8(const int8_t *x, size_t count, const int8_t *table, int8_t *y)
{
    for (size_t i = 0; i < count; i++)
        y[i] = table[x[i] + 128];
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The operators that I-ViT's ablation compares its own with (NUMERICS.md, Comparison operators):
 * i-exp, softmax with it, Log-Int-Softmax, i-GELU. And SULQ, a code for probabilities.
 */
#include <string.h>

#include "iviti/kernels.h"
#include "kernels/ref/comparison.h"
#include "kernels/requantize.h"

#define I_EXP_MAX   32767 /* exponentials of 16 bits */
#define LIS_NOTHING 16    /* the code of no probability */
#define STRIP       256   /* elements at a time, so that no memory is needed */

int64_t iviti_i_exp(int32_t x, iviti_i_exp_constants k, int n)
{
    const int64_t least = -(int64_t)n * k.ln2;
    const int64_t distance = x < least ? -least : -(int64_t)x;
    const int64_t q = distance / k.ln2;
    const int64_t r = -(distance % k.ln2);
    const int64_t polynomial = (r + k.b) * r + k.c;

    return q <= n ? polynomial << (n - q) : polynomial >> (q - n);
}

int iviti_i_exp_bits(iviti_i_exp_constants k)
{
    int n = 0;
    while (n < 30 && (int64_t)k.c << (n + 1) <= INT32_MAX)
        n++;
    return n;
}

void iviti_i_exp_fill(iviti_i_exp_constants k, bool requantised, int32_t *table)
{
    const int n = iviti_i_exp_bits(k);
    const int64_t one = (int64_t)k.c << n;

    for (int i = 0; i < 256; i++) {
        const int64_t e = iviti_i_exp(-i, k, n);
        table[i] = (int32_t)(requantised ? (e * I_EXP_MAX + one / 2) / one : e);
    }
}

static int32_t max_of(const int8_t *x, size_t count)
{
    int32_t max = x[0];
    for (size_t i = 1; i < count; i++)
        max = x[i] > max ? x[i] : max;
    return max;
}

void iviti_i_softmax(const int8_t *x, size_t count, iviti_i_exp_constants k, int bits, int16_t *p)
{
    const int32_t max = max_of(x, count);
    int32_t table[256], sum = 0;

    iviti_i_exp_fill(k, true, table);
    for (size_t i = 0; i < count; i++)
        sum += table[max - x[i]];

    const int32_t factor = INT32_MAX / sum;
    for (size_t i = 0; i < count; i++)
        p[i] = (int16_t)((table[max - x[i]] * factor) >> (32 - bits));
}

/* ---- Log-Int-Softmax ------------------------------------------------------------------------- */

void iviti_lis_thresholds(uint64_t sum, int32_t least[IVITI_LIS_CODES])
{
    for (int code = 0; code < IVITI_LIS_CODES; code++) {
        const uint64_t ratio = code == 0 ? 1 : ((uint64_t)3 << (code - 1)) - 1;
        const uint64_t e = 2 * sum / (2 * ratio + 1) + 1;
        least[code] = e < INT32_MAX ? (int32_t)e : INT32_MAX;
    }
}

/* Each code that is reached adds what lies between its power and the one below. */
void iviti_lis_numerators(const int32_t *e, size_t count, const int32_t least[IVITI_LIS_CODES],
                          uint16_t *p)
{
    int32_t strip[STRIP];

    for (size_t first = 0; first < count; first += STRIP) {
        const size_t left = count - first < STRIP ? count - first : STRIP;
        memset(strip, 0, left * sizeof *strip);
        for (int c = 0; c < IVITI_LIS_CODES; c++) {
            const int32_t step = c == 15 ? 1 : 1 << (14 - c);
            for (size_t i = 0; i < left; i++)
                strip[i] += e[first + i] >= least[c] ? step : 0;
        }
        for (size_t i = 0; i < left; i++)
            p[first + i] = (uint16_t)strip[i];
    }
}

void iviti_log_int_softmax(const int8_t *x, size_t count, iviti_i_exp_constants k, uint8_t *code)
{
    const int32_t max = max_of(x, count);
    int32_t table[256], least[IVITI_LIS_CODES];
    uint64_t sum = 0;

    iviti_i_exp_fill(k, false, table);
    for (size_t i = 0; i < count; i++)
        sum += (uint64_t)table[max - x[i]];

    iviti_lis_thresholds(sum, least);
    for (size_t i = 0; i < count; i++) {
        uint8_t found = LIS_NOTHING;
        for (int c = 0; c < IVITI_LIS_CODES; c++)
            found = (uint8_t)(found - (table[max - x[i]] >= least[c]));
        code[i] = found;
    }
}

/* ---- i-GELU ---------------------------------------------------------------------------------- */

void iviti_i_gelu(const int8_t *x, size_t count, int32_t b, int32_t c, int32_t *y)
{
    for (size_t i = 0; i < count; i++) {
        const int32_t magnitude = x[i] < 0 ? -x[i] : x[i];
        const int32_t rest = magnitude < b ? b - magnitude : 0;
        const int32_t erf = c - rest * rest;
        y[i] = x[i] * (x[i] < 0 ? c - erf : c + erf);
    }
}

/* ---- SULQ ------------------------------------------------------------------------------------ */

void iviti_sulq_codes(const uint8_t *e, size_t count, uint32_t sum, const uint32_t *threshold,
                      uint8_t *code)
{
    uint8_t least[IVITI_SULQ_THRESHOLDS], strip[STRIP];
    int reachable = 0;

    for (; reachable < IVITI_SULQ_THRESHOLDS; reachable++) {
        const uint64_t limit =
            ((uint64_t)threshold[reachable] * sum + (1 << IVITI_SULQ_BITS) - 1) >> IVITI_SULQ_BITS;
        if (limit > UINT8_MAX)
            break; /* and so are those above */
        least[reachable] = (uint8_t)limit;
    }
    for (size_t first = 0; first < count; first += STRIP) {
        const size_t left = count - first < STRIP ? count - first : STRIP;
        memset(strip, 1, left);
        for (int k = 0; k < reachable; k++)
            for (size_t i = 0; i < left; i++)
                strip[i] = (uint8_t)(strip[i] + (e[first + i] >= least[k] ? 1 << k : 0));
        memcpy(code + first, strip, left);
    }
}

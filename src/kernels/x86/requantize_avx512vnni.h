/* SPDX-License-Identifier: Apache-2.0
 *
 * The one rounding rule on 16 lanes: R = (z * m + 2^(c-1)) >> c with a product of 64 bits.
 *
 * For c >= 33 the rounding term is a multiple of 2^32, so only the high halves of the products are
 * needed: R = ((z * m >> 32) + 2^(c-33)) >> (c-32), which is one addition and one shift on 32 bits
 * after the two multiplications of even and odd lanes. |z * m| <= 2^62 and 2^(c-33) <= 2^29 keep the
 * sum inside 32 bits.
 */
#ifndef IVITI_REQUANTIZE_AVX512VNNI_H
#define IVITI_REQUANTIZE_AVX512VNNI_H

#include <immintrin.h>

#include "iviti/kernels.h"

#define EVEN_LANES       0x5555
#define ODD_TO_EVEN      ((_MM_PERM_ENUM)0xF5) /* lanes 1, 1, 3, 3 of each four */

/* z * m of even and of odd lanes: `even` and `odd` hold m in the even lanes. */
static inline __m512i even_products(__m512i z, __m512i even)
{
    return _mm512_mul_epi32(z, even);
}

static inline __m512i odd_products(__m512i z, __m512i odd)
{
    return _mm512_mul_epi32(_mm512_shuffle_epi32(z, ODD_TO_EVEN), odd);
}

/* The high halves of both, in the lanes of z. */
static inline __m512i high_halves(__m512i even, __m512i odd)
{
    return _mm512_mask_shuffle_epi32(odd, EVEN_LANES, even, ODD_TO_EVEN);
}

/* One factor for all lanes, c in [33, 63]. */
typedef struct factor_512 {
    __m512i multiplier;
    __m512i round;
    __m128i shift;
} factor_512;

static inline factor_512 make_factor(int32_t multiplier, int32_t shift)
{
    return (factor_512){ _mm512_set1_epi32(multiplier),
                         _mm512_set1_epi32((int32_t)((uint32_t)1 << (shift - 33))),
                         _mm_cvtsi32_si128(shift - 32) };
}

static inline __m512i scale_by_factor(__m512i z, const factor_512 *f)
{
    const __m512i high =
        high_halves(even_products(z, f->multiplier), odd_products(z, f->multiplier));
    return _mm512_sra_epi32(_mm512_add_epi32(high, f->round), f->shift);
}

/* A factor with any c >= 33 - left for values of at most 31 - left bits and a sign: both sides of
 * the product are multiplied with 2^left, which changes nothing. From c = 63 on the result is zero,
 * as it is for any larger c. */
static inline factor_512 make_shifted_factor(iviti_dyadic f, int left)
{
    const int32_t shift = f.shift + left;
    return make_factor(f.multiplier, shift < 63 ? shift : 63);
}

#endif

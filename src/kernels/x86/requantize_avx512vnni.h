/* SPDX-License-Identifier: Apache-2.0
 *
 * The one rounding rule on 16 lanes: R = (z * m + 2^(c-1)) >> c with a product of 64 bits.
 *
 * For c >= 33 the rounding term is a multiple of 2^32, so only the high halves of the products are
 * needed: R = ((z * m >> 32) + 2^(c-33)) >> (c-32), which is one addition and one shift on 32 bits
 * after the two multiplications of even and odd lanes. |z * m| <= 2^62 and 2^(c-33) <= 2^29 keep
 * the sum inside 32 bits.
 */
#ifndef IVITI_REQUANTIZE_AVX512VNNI_H
#define IVITI_REQUANTIZE_AVX512VNNI_H

#include <immintrin.h>

#include "iviti/kernels.h"
#include "kernels/engine.h"

#define INLINE static inline __attribute__((always_inline))

#define EVEN_LANES  0x5555
#define ODD_TO_EVEN ((_MM_PERM_ENUM)0xF5) /* lanes 1, 1, 3, 3 of each four */

/* z * m of even and of odd lanes: `even` and `odd` hold m in the even lanes. */
INLINE __m512i even_products(__m512i z, __m512i even)
{
    return _mm512_mul_epi32(z, even);
}

INLINE __m512i odd_products(__m512i z, __m512i odd)
{
    return _mm512_mul_epi32(_mm512_shuffle_epi32(z, ODD_TO_EVEN), odd);
}

/* The high halves of both, in the lanes of z. */
INLINE __m512i high_halves(__m512i even, __m512i odd)
{
    return _mm512_mask_shuffle_epi32(odd, EVEN_LANES, even, ODD_TO_EVEN);
}

/* 16 accumulators of a row of a tile, from column n on. Where c may be 32, the rounding term may
 * lie in the low half of the product, and is added there. `any_shift` is a constant. */
INLINE __m512i scale(const iviti_finish *f, size_t row, size_t n, const bool any_shift)
{
    const iviti_scales *s = f->scales;
    const __m512i shift = _mm512_load_si512(s->shift + n);
    const __m512i z = _mm512_add_epi32(_mm512_load_si512(f->acc + row * TILE_COLUMNS + n),
                                       _mm512_load_si512(s->bias + n));
    __m512i even = even_products(z, _mm512_load_si512(s->multiplier + n));
    __m512i odd = odd_products(z, _mm512_load_si512(s->odd_multiplier + n));

    if (any_shift) {
        const __mmask16 zero = _mm512_testn_epi32_mask(shift, shift);
        const __m512i half = _mm512_maskz_set1_epi32(zero, INT32_MIN);
        even = _mm512_add_epi64(even, _mm512_maskz_mov_epi32(EVEN_LANES, half));
        odd = _mm512_add_epi64(odd, _mm512_srli_epi64(half, 32));
    }
    const __m512i sum = _mm512_add_epi32(high_halves(even, odd), _mm512_load_si512(s->round + n));
    return _mm512_srav_epi32(sum, shift);
}

/* One factor for all lanes, and values with `spare` bits that they do not use: |z| <= 2^(31 -
 * spare). Both sides of the product are multiplied with 2^spare, which changes nothing but brings c
 * up to 33, as a rule. From c = 63 on the result is zero, as it is for any larger c. */
typedef struct factor_512 {
    bool narrow; /* the high halves of the products are enough */
    unsigned spare;
    __m512i multiplier;
    __m512i round;
    __m128i shift;
} factor_512;

INLINE factor_512 make_factor(iviti_dyadic f, int spare)
{
    const int shift = f.shift + spare < 63 ? f.shift + spare : 63;
    const __m512i multiplier = _mm512_set1_epi32(f.multiplier);

    if (shift >= 33)
        return (factor_512){ true, (unsigned)spare, multiplier,
                             _mm512_set1_epi32((int32_t)((uint32_t)1 << (shift - 33))),
                             _mm_cvtsi32_si128(shift - 32) };
    return (factor_512){ false, 0, multiplier, _mm512_set1_epi64(1LL << (f.shift - 1)),
                         _mm_cvtsi32_si128(f.shift) };
}

INLINE __m512i scale_wide(__m512i product, const factor_512 *f)
{
    const __m512i scaled = _mm512_sra_epi64(_mm512_add_epi64(product, f->round), f->shift);
    return _mm512_max_epi64(_mm512_min_epi64(scaled, _mm512_set1_epi64(INT32_MAX)),
                            _mm512_set1_epi64(INT32_MIN));
}

/* With a factor that is narrow, and whose spare bits are already made use of. */
INLINE __m512i scale_narrow(__m512i z, const factor_512 *f)
{
    const __m512i high =
        high_halves(even_products(z, f->multiplier), odd_products(z, f->multiplier));
    return _mm512_sra_epi32(_mm512_add_epi32(high, f->round), f->shift);
}

/* With any factor, saturated to s32. */
INLINE __m512i scale_by_factor(__m512i z, const factor_512 *f)
{
    if (f->narrow)
        return scale_narrow(_mm512_slli_epi32(z, f->spare), f);
    const __m512i even = even_products(z, f->multiplier);
    const __m512i odd = odd_products(z, f->multiplier);
    return _mm512_mask_mov_epi32(_mm512_slli_epi64(scale_wide(odd, f), 32), EVEN_LANES,
                                 scale_wide(even, f));
}

/* factor / sum, as iviti_reciprocal does it. */
INLINE iviti_dyadic divide_factor(iviti_dyadic factor, uint32_t sum)
{
    const int length = 32 - __builtin_clz(sum);
    const uint64_t inverse = (((uint64_t)1 << (30 + length)) - 1) / sum;
    const uint64_t product = inverse * (uint64_t)factor.multiplier;
    const int back = product < (uint64_t)1 << 61 ? 30 : 31;
    return (iviti_dyadic){ (int32_t)(product >> back), factor.shift + length + 30 - back };
}

/* ---- lanes ----------------------------------------------------------------------------------- */

/* A bit for each of the first `count` lanes, all 64 from 64 on. */
INLINE uint64_t first_lanes(size_t count)
{
    return count < 64 ? ((uint64_t)1 << count) - 1 : ~(uint64_t)0;
}

/* ---- saturation ------------------------------------------------------------------------------ */

/* Saturating packs work in quarters of a register; these indices put the columns in order again. */
INLINE __m512i order_after_pack_8(void)
{
    return _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
}

INLINE __m512i order_after_pack_16(void)
{
    return _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
}

INLINE __m512i pack_s16(__m512i a, __m512i b)
{
    return _mm512_permutexvar_epi64(order_after_pack_16(), _mm512_packs_epi32(a, b));
}

INLINE __m512i pack_s8(const __m512i v[4])
{
    const __m512i packed =
        _mm512_packs_epi16(_mm512_packs_epi32(v[0], v[1]), _mm512_packs_epi32(v[2], v[3]));
    return _mm512_permutexvar_epi32(order_after_pack_8(), packed);
}

/* The same to u8. */
INLINE __m512i pack_u8(const __m512i v[4])
{
    const __m512i packed =
        _mm512_packus_epi16(_mm512_packs_epi32(v[0], v[1]), _mm512_packs_epi32(v[2], v[3]));
    return _mm512_permutexvar_epi32(order_after_pack_8(), packed);
}

/* ---- tables of 256 bytes --------------------------------------------------------------------- */

/* Entries for u8 indices. A lookup covers two of the table's four registers, by bits 0 to 6; bit 7
 * tells which two. */
INLINE __m512i look_up_u8(const __m512i table[4], __m512i index)
{
    const __m512i low = _mm512_permutex2var_epi8(table[0], index, table[1]);
    const __m512i high = _mm512_permutex2var_epi8(table[2], index, table[3]);
    return _mm512_mask_mov_epi8(low, _mm512_movepi8_mask(index), high);
}

INLINE __m512i look_up_memory_u8(const uint8_t *table, __m512i index)
{
    const __m512i t[4] = { _mm512_loadu_si512(table), _mm512_loadu_si512(table + 64),
                           _mm512_loadu_si512(table + 128), _mm512_loadu_si512(table + 192) };
    return look_up_u8(t, index);
}

#endif

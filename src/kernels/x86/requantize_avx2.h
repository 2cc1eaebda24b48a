/* SPDX-License-Identifier: Apache-2.0
 *
 * The one rounding rule on 8 lanes, saturation and tables; see requantize_avx512vnni.h.
 */
#ifndef IVITI_REQUANTIZE_AVX2_H
#define IVITI_REQUANTIZE_AVX2_H

#include <immintrin.h>
#include <string.h>

#include "kernels/engine.h"
#include "kernels/requantize.h"

#define INLINE static inline __attribute__((always_inline))

INLINE __m256i load_256(const void *p)
{
    return _mm256_loadu_si256(p);
}

INLINE void store_256(void *p, __m256i v)
{
    _mm256_storeu_si256(p, v);
}

/* ---- requantisation -------------------------------------------------------------------------- */

/* z * m of even and of odd lanes: `even` and `odd` hold m in the even lanes. */
INLINE __m256i even_products(__m256i z, __m256i even)
{
    return _mm256_mul_epi32(z, even);
}

INLINE __m256i odd_products(__m256i z, __m256i odd)
{
    return _mm256_mul_epi32(_mm256_srli_epi64(z, 32), odd);
}

/* The high halves of both, in the lanes of z. */
INLINE __m256i high_halves(__m256i even, __m256i odd)
{
    return _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
}

/* One factor for all lanes, and values with `spare` bits that they do not use. */
typedef struct factor_256 {
    bool narrow; /* the high halves of the products are enough */
    iviti_dyadic whole;
    __m128i spare;
    __m256i multiplier;
    __m256i round;
    __m128i shift;
} factor_256;

INLINE factor_256 make_factor(iviti_dyadic f, int spare)
{
    const int shift = f.shift + spare < 63 ? f.shift + spare : 63;
    factor_256 out = { .narrow = shift >= 33, .whole = f };

    out.spare = _mm_cvtsi32_si128(spare);
    out.multiplier = _mm256_set1_epi32(f.multiplier);
    out.round = _mm256_set1_epi32(out.narrow ? 1 << (shift - 33) : 0);
    out.shift = _mm_cvtsi32_si128(shift - 32);
    return out;
}

/* With a factor that is narrow, and whose spare bits are already made use of. */
INLINE __m256i scale_narrow(__m256i z, const factor_256 *f)
{
    const __m256i high =
        high_halves(even_products(z, f->multiplier), odd_products(z, f->multiplier));
    return _mm256_sra_epi32(_mm256_add_epi32(high, f->round), f->shift);
}

/* With any factor, saturated to s32. Factors that are not narrow are rare. */
INLINE __m256i scale_by_factor(__m256i z, const factor_256 *f)
{
    int32_t lanes[8];

    if (f->narrow)
        return scale_narrow(_mm256_sll_epi32(z, f->spare), f);
    store_256(lanes, z);
    for (size_t i = 0; i < 8; i++)
        lanes[i] = iviti_saturate_s32(iviti_scale(lanes[i], f->whole.multiplier, f->whole.shift));
    return load_256(lanes);
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

/* ---- saturation ------------------------------------------------------------------------------ */

/* Packs work in halves of a register; the permutations put the values in order again. */
INLINE __m256i pack_s16(__m256i a, __m256i b)
{
    return _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xD8);
}

INLINE __m256i order_bytes(__m256i v)
{
    return _mm256_permutevar8x32_epi32(v, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

INLINE __m256i pack_s8(const __m256i v[4])
{
    return order_bytes(
        _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3])));
}

INLINE __m256i pack_u8(const __m256i v[4])
{
    return order_bytes(
        _mm256_packus_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3])));
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* The first `bytes` bytes of a vector, at most 32; none beyond them is read. */
INLINE __m256i load_part(const void *p, size_t bytes)
{
    uint8_t lanes[32] = { 0 };
    if (bytes >= 32)
        return load_256(p);
    memcpy(lanes, p, bytes);
    return load_256(lanes);
}

INLINE void store_part(void *p, __m256i v, size_t bytes)
{
    uint8_t lanes[32];
    if (bytes >= 32) {
        store_256(p, v);
        return;
    }
    if (bytes == 16) {
        _mm_storeu_si128(p, _mm256_castsi256_si128(v));
        return;
    }
    store_256(lanes, v);
    memcpy(p, lanes, bytes);
}

/* ---- tables of 256 bytes --------------------------------------------------------------------- */

INLINE __m256i sixteen(const uint8_t *table, size_t i, __m256i index)
{
    const __m128i part = _mm_loadu_si128((const __m128i *)(table + i * 16));
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(part), index);
}

/* Entries of a quarter of a table, 64 of them: bits 4 and 5 choose among four vectors. */
INLINE __m256i quarter(const uint8_t *table, __m256i index, __m256i bit4, __m256i bit5)
{
    return _mm256_blendv_epi8(
        _mm256_blendv_epi8(sixteen(table, 0, index), sixteen(table, 1, index), bit4),
        _mm256_blendv_epi8(sixteen(table, 2, index), sixteen(table, 3, index), bit4), bit5);
}

/* For u8 indices. Blends look at the uppermost bit of each byte, so bits are shifted up there. */
INLINE __m256i look_up_u8(const uint8_t *table, __m256i index)
{
    const __m256i low = _mm256_and_si256(index, _mm256_set1_epi8(15));
    const __m256i bit4 = _mm256_slli_epi16(index, 3);
    const __m256i bit5 = _mm256_slli_epi16(index, 2);
    const __m256i bit6 = _mm256_slli_epi16(index, 1);
    const __m256i lower = _mm256_blendv_epi8(quarter(table, low, bit4, bit5),
                                             quarter(table + 64, low, bit4, bit5), bit6);
    const __m256i upper = _mm256_blendv_epi8(quarter(table + 128, low, bit4, bit5),
                                             quarter(table + 192, low, bit4, bit5), bit6);
    return _mm256_blendv_epi8(lower, upper, index);
}

#endif

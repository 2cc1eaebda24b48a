/* SPDX-License-Identifier: Apache-2.0
 *
 * The one rounding rule on NEON's lanes, tables, and vectors of which a part is in memory.
 *
 * SQDMULH gives floor(z * m / 2^31), exactly; SRSHL by -(c - 31) adds 2^(c-32) and shifts, with as
 * many bits as that takes. Since 2^(c-32) is an integer where c is at least 32, the two together
 * are (z * m + 2^(c-1)) >> c. A smaller c takes the same instruction on 64 bits.
 */
#ifndef IVITI_LANES_NEON_H
#define IVITI_LANES_NEON_H

#include <arm_neon.h>
#include <string.h>

#include "kernels/engine.h"
#include "kernels/requantize.h"

#define INLINE static inline __attribute__((always_inline))

/* ---- requantisation -------------------------------------------------------------------------- */

/* What SRSHL shifts by for c, where values are shifted up by `spare` bits beforehand. */
INLINE int32x4_t rounding_shift(int32x4_t c, int spare)
{
    return vsubq_s32(vdupq_n_s32(31 - spare), c);
}

/* z * m / 2^c, every c at least 32. |m| < 2^31. */
INLINE int32x4_t scale_lanes(int32x4_t z, int32x4_t multiplier, int32x4_t shift)
{
    return vrshlq_s32(vqdmulhq_s32(z, multiplier), shift);
}

/* One factor for all lanes, and values with `spare` bits that they do not use. */
typedef struct lane_factor {
    bool narrow; /* c and the spare bits make 32 */
    int32x4_t spare;
    int32x4_t multiplier;
    int32x4_t shift;
    int64x2_t whole_shift;
} lane_factor;

INLINE lane_factor make_factor(iviti_dyadic f, int spare)
{
    return (lane_factor){ .narrow = f.shift + spare >= 32,
                          .spare = vdupq_n_s32(spare),
                          .multiplier = vdupq_n_s32(f.multiplier),
                          .shift = rounding_shift(vdupq_n_s32(f.shift), spare),
                          .whole_shift = vdupq_n_s64(-f.shift) };
}

/* With any factor, saturated to s32. */
INLINE int32x4_t scale_by_factor(int32x4_t z, const lane_factor *f)
{
    if (f->narrow)
        return scale_lanes(vshlq_s32(z, f->spare), f->multiplier, f->shift);
    const int64x2_t low = vmull_s32(vget_low_s32(z), vget_low_s32(f->multiplier));
    const int64x2_t high = vmull_high_s32(z, f->multiplier);
    return vqmovn_high_s64(vqmovn_s64(vrshlq_s64(low, f->whole_shift)),
                           vrshlq_s64(high, f->whole_shift));
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

INLINE int16x8_t pack_s16(int32x4_t a, int32x4_t b)
{
    return vqmovn_high_s32(vqmovn_s32(a), b);
}

INLINE int8x16_t pack_s8(const int32x4_t v[4])
{
    return vqmovn_high_s16(vqmovn_s16(pack_s16(v[0], v[1])), pack_s16(v[2], v[3]));
}

/* s8 to u8 in offset binary. */
INLINE uint8x16_t flip_sign(int8x16_t v)
{
    return veorq_u8(vreinterpretq_u8_s8(v), vdupq_n_u8(128));
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* The first `bytes` bytes of a vector, zeros after them; none beyond them is read. */
INLINE uint8x16_t load_part(const void *p, size_t bytes)
{
    uint8_t lanes[16] = { 0 };
    if (bytes >= 16)
        return vld1q_u8(p);
    memcpy(lanes, p, bytes);
    return vld1q_u8(lanes);
}

INLINE void store_part(void *p, uint8x16_t v, size_t bytes)
{
    uint8_t lanes[16];
    if (bytes >= 16) {
        vst1q_u8(p, v);
        return;
    }
    vst1q_u8(lanes, v);
    memcpy(p, lanes, bytes);
}

/* `count` values from p + at on, of `end` that there are. */
INLINE int32x4_t load_s32(const int32_t *p, size_t at, size_t end)
{
    return at < end ? vreinterpretq_s32_u8(load_part(p + at, (end - at) * sizeof *p))
                    : vdupq_n_s32(0);
}

/* ---- tables of 256 bytes --------------------------------------------------------------------- */

typedef struct lane_table {
    uint8x16x4_t quarter[4];
} lane_table;

INLINE lane_table load_table(const uint8_t *table)
{
    lane_table t;
    for (size_t i = 0; i < 16; i++)
        t.quarter[i / 4].val[i % 4] = vld1q_u8(table + i * 16);
    return t;
}

/* Indices beyond a quarter leave their lanes alone. */
INLINE uint8x16_t look_up(const lane_table *t, uint8x16_t index)
{
    uint8x16_t found = vqtbl4q_u8(t->quarter[0], index);
    for (uint8_t i = 1; i < 4; i++)
        found = vqtbx4q_u8(found, t->quarter[i], vsubq_u8(index, vdupq_n_u8((uint8_t)(i * 64))));
    return found;
}

#endif

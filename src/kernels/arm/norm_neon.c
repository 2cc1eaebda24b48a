/* SPDX-License-Identifier: Apache-2.0
 *
 * LayerNorm of the AArch64 engines. Statistics come first, of up to 8 rows, because roots are taken
 * in pairs; then each row goes through both factors in registers.
 *
 * Normalised values have bits to spare, which lets the narrow rounding serve every factor of a
 * channel. Newton's form: they are below 2^30, c is at least 31, and one bit more makes 32. Exact
 * form: |C * x - sum| <= sqrt((C - 1) * V), and sqrt(V) < 1.7321 * floor(sqrt(V)), so with C at
 * most 2^14 they are below 2^16 * 2^7 * 1.7321 < 2^24; c is at least 25, and 7 bits more make 32.
 */
#include "kernels/arm/lanes_neon.h"
#include "kernels/prototypes.h"
#include "kernels/ref/comparison.h"

#define ROWS         8
#define EXACT_SPARE  7
#define NEWTON_SPARE 1

/* ---- statistics ------------------------------------------------------------------------------ */

typedef struct statistics {
    int64_t sum;
    int64_t squares;
} statistics;

INLINE int16x8_t load_values(const int16_t *x, size_t count)
{
    return vreinterpretq_s16_u8(load_part(x, count * sizeof *x));
}

static statistics measure(const int16_t *x, size_t width)
{
    int32x4_t sum = vdupq_n_s32(0);
    int64x2_t squares = vdupq_n_s64(0);

    for (size_t c = 0; c < width; c += 8) {
        const int16x8_t v = load_values(x + c, width - c);
        sum = vpadalq_s16(sum, v);
        squares = vpadalq_s32(squares, vmull_s16(vget_low_s16(v), vget_low_s16(v)));
        squares = vpadalq_s32(squares, vmull_high_s16(v, v));
    }
    return (statistics){ vaddlvq_s32(sum), vaddvq_s64(squares) };
}

/* Four floor(sqrt(v)), v < 2^62: two bits of each operand give one bit of its root. */
static void square_roots(uint64_t v[4])
{
    const uint64_t any = v[0] | v[1] | v[2] | v[3];
    const int place = any ? (63 - __builtin_clzll(any)) & ~1 : 0;
    uint64x2_t rest[2] = { vld1q_u64(v), vld1q_u64(v + 2) };
    uint64x2_t root[2] = { vdupq_n_u64(0), vdupq_n_u64(0) };

    for (int i = place; i >= 0; i -= 2) {
        const uint64x2_t bit = vdupq_n_u64((uint64_t)1 << i);
        for (size_t j = 0; j < 2; j++) {
            const uint64x2_t trial = vorrq_u64(root[j], bit);
            const uint64x2_t fits = vcgeq_u64(rest[j], trial);
            rest[j] = vsubq_u64(rest[j], vandq_u64(fits, trial));
            root[j] = vorrq_u64(vshrq_n_u64(root[j], 1), vandq_u64(fits, bit));
        }
    }
    vst1q_u64(v, root[0]);
    vst1q_u64(v + 2, root[1]);
}

/* ---- what a row does to its values ----------------------------------------------------------- */

typedef struct row {
    const int16_t *x;
    uint32_t slope; /* modulo 2^32, like all that leads to n */
    uint32_t offset;
    iviti_dyadic factor; /* exact form, c at least 32 */
} row;

/* Also L1's, whose root is another: n = R(C * x - sum; 2^16 / root): what c is short of 32, the value has to spare. */
static void make_exact_rows(const iviti_norm *n, row *rows, size_t count)
{
    uint64_t variance[ROWS] = { 0 };
    statistics s[ROWS];

    for (size_t r = 0; r < count; r++) {
        s[r] = measure(rows[r].x, n->width);
        variance[r] = (uint64_t)(n->width * s[r].squares - s[r].sum * s[r].sum + n->epsilon);
    }
    for (size_t r = 0; r < count; r += 4)
        square_roots(variance + r);
    for (size_t r = 0; r < count; r++) {
        const uint32_t root = n->kind == IVITI_NORM_L1
                                  ? iviti_l1_root(rows[r].x, n->width, s[r].sum)
                                  : (uint32_t)variance[r];
        const iviti_dyadic inverse = divide_factor((iviti_dyadic){ 1 << 30, 14 }, root);
        const int spare = inverse.shift < 32 ? 32 - inverse.shift : 0;
        rows[r].slope = n->width << spare;
        rows[r].offset = (uint32_t)s[r].sum << spare;
        rows[r].factor = (iviti_dyadic){ inverse.multiplier, inverse.shift + spare };
    }
}

/* sum / count, halves to the even neighbour. */
static int64_t mean_half_even(int64_t sum, int64_t count)
{
    int64_t quotient = sum / count;
    int64_t rest = sum % count;
    if (rest < 0) {
        rest += count;
        quotient -= 1;
    }
    return quotient + (2 * rest > count || (2 * rest == count && (quotient & 1)));
}

/* n = ((x - mean) * ((2^31 - 1) / root)) >> 1. A step that changes nothing is the last one that
 * matters. */
static void make_newton_rows(const iviti_norm *n, row *rows, size_t count)
{
    for (size_t r = 0; r < count; r++) {
        const statistics s = measure(rows[r].x, n->width);
        const int64_t mean = mean_half_even(s.sum, n->width);
        const uint64_t variance =
            (uint64_t)(s.squares - 2 * mean * s.sum + (int64_t)n->width * mean * mean);
        uint64_t root = 1 << 16;
        for (int step = 0; step < 10; step++) {
            const uint64_t next = (root + variance / root) >> 1;
            if (next == root)
                break;
            root = next;
        }
        rows[r].slope = (uint32_t)(INT32_MAX / root);
        rows[r].offset = (uint32_t)mean * rows[r].slope;
    }
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* Four channels' part of the norm. */
typedef struct channels {
    int32x4_t multiplier;
    int32x4_t shift;
    int32x4_t bias;
} channels;

INLINE channels load_channels(const iviti_norm *n, size_t at, int spare)
{
    return (channels){ load_s32(n->multiplier, at, n->width),
                       rounding_shift(load_s32(n->shift, at, n->width), spare),
                       load_s32(n->bias, at, n->width) };
}

/* Four values, in 1/256 of the output. */
INLINE int32x4_t normalise(const row *r, int32x4_t x, const channels *k, bool newton)
{
    const uint32x4_t product = vmulq_n_u32(vreinterpretq_u32_s32(x), r->slope);
    int32x4_t v = vreinterpretq_s32_u32(vsubq_u32(product, vdupq_n_u32(r->offset)));
    if (newton)
        v = vbicq_s32(v, vdupq_n_s32(1)); /* >> 1, then up by the spare bit */
    else
        v = vshlq_n_s32(scale_lanes(v, vdupq_n_s32(r->factor.multiplier),
                                    rounding_shift(vdupq_n_s32(r->factor.shift), 0)),
                        EXACT_SPARE);
    return vaddq_s32(scale_lanes(v, k->multiplier, k->shift), k->bias);
}

/* Eight values of the output, from channel `at` on. */
INLINE int16x8_t normalise_8(const iviti_norm *n, const row *r, size_t at, bool newton)
{
    const int spare = newton ? NEWTON_SPARE : EXACT_SPARE;
    const channels low = load_channels(n, at, spare);
    const channels high = load_channels(n, at + 4, spare);
    const int16x8_t x = load_values(r->x + at, n->width - at);
    const int32x4_t a = normalise(r, vmovl_s16(vget_low_s16(x)), &low, newton);
    const int32x4_t b = normalise(r, vmovl_high_s16(x), &high, newton);
    return vqrshrn_high_n_s32(vqrshrn_n_s32(a, 8), b, 8);
}

INLINE void write_s8(const iviti_norm *n, const row *r, uint8_t *y, bool newton)
{
    for (size_t at = 0; at < n->width; at += 16) {
        const int8x8_t low = vqmovn_s16(normalise_8(n, r, at, newton));
        const int8x16_t v = at + 8 < n->width
                                ? vqmovn_high_s16(low, normalise_8(n, r, at + 8, newton))
                                : vcombine_s8(low, low);
        store_part(y + at, flip_sign(v), n->width - at);
    }
}

INLINE void write_s16(const iviti_norm *n, const row *r, int16_t *y, bool newton)
{
    for (size_t at = 0; at < n->width; at += 8)
        store_part(y + at, vreinterpretq_u8_s16(normalise_8(n, r, at, newton)),
                   (n->width - at) * sizeof *y);
}

/* Statistics of up to 8 rows. */
static void prepare_rows(const iviti_norm *n, const int16_t *x, size_t x_stride,
                         const uint32_t *map, size_t first, size_t count, row *rows)
{
    for (size_t i = 0; i < count; i++)
        rows[i].x = x + (map ? map[first + i] : first + i) * x_stride;
    if (n->kind == IVITI_NORM_NEWTON)
        make_newton_rows(n, rows, count);
    else
        make_exact_rows(n, rows, count);
}

void iviti_norm_s8_neon(const iviti_norm *n, const int16_t *x, size_t x_stride, const uint32_t *map,
                        size_t rows, uint8_t *y, size_t y_stride)
{
    row batch[ROWS];

    for (size_t r = 0, count; r < rows; r += count) {
        count = rows - r < ROWS ? rows - r : ROWS;
        prepare_rows(n, x, x_stride, map, r, count, batch);
        for (size_t i = 0; i < count; i++)
            if (n->kind == IVITI_NORM_NEWTON)
                write_s8(n, &batch[i], y + (r + i) * y_stride, true);
            else
                write_s8(n, &batch[i], y + (r + i) * y_stride, false);
    }
}

void iviti_norm_s16_neon(const iviti_norm *n, const int16_t *x, size_t x_stride,
                         const uint32_t *map, size_t rows, int16_t *y, size_t y_stride)
{
    row batch[ROWS];

    for (size_t r = 0, count; r < rows; r += count) {
        count = rows - r < ROWS ? rows - r : ROWS;
        prepare_rows(n, x, x_stride, map, r, count, batch);
        for (size_t i = 0; i < count; i++)
            if (n->kind == IVITI_NORM_NEWTON)
                write_s16(n, &batch[i], y + (r + i) * y_stride, true);
            else
                write_s16(n, &batch[i], y + (r + i) * y_stride, false);
    }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * LayerNorm. Rows are taken 16 at a time: their statistics, then 16 square roots in one go,
 * then their values. What a row does to a value is one multiplication and one shift, so both forms
 * end in the same loop: x * slope - offset, scaled (exact form) or halved (Newton's), then the
 * affine part.
 */
#include "kernels/prototypes.h"
#include "kernels/ref/comparison.h"
#include "kernels/x86/requantize_avx512vnni.h"

#define ROWS  16  /* of a batch: two vectors of 64 bits */
#define CHUNK 256 /* channels whose constants are prepared for a batch */

/* Bits that normalised values have to spare: they are at most 2^24, or 2^30 - 1. */
#define EXACT_SPARE  6
#define NEWTON_SPARE 1

/* ---- statistics ------------------------------------------------------------------------------ */

typedef struct statistics {
    int64_t sum;
    int64_t squares;
} statistics;

/* Lanes hold sums of at most 2^29; the sum of two squares fills 32 bits as an unsigned number. */
INLINE void add_values(__m512i v, __m512i *sum, __m512i *squares)
{
    const __m512i pairs = _mm512_madd_epi16(v, v);
    const __m512i even = _mm512_and_si512(pairs, _mm512_set1_epi64(0xFFFFFFFF));
    const __m512i odd = _mm512_srli_epi64(pairs, 32);

    *sum = _mm512_add_epi32(*sum, _mm512_madd_epi16(v, _mm512_set1_epi16(1)));
    *squares = _mm512_add_epi64(*squares, _mm512_add_epi64(even, odd));
}

static statistics measure(const int16_t *x, size_t width)
{
    __m512i sum = _mm512_setzero_si512();
    __m512i squares = _mm512_setzero_si512();
    size_t c = 0;

    for (; c + 32 <= width; c += 32)
        add_values(_mm512_loadu_si512(x + c), &sum, &squares);
    if (c < width)
        add_values(_mm512_maskz_loadu_epi16((__mmask32)first_lanes(width - c), x + c), &sum,
                   &squares);
    return (statistics){ _mm512_reduce_add_epi32(sum), _mm512_reduce_add_epi64(squares) };
}

/* Sixteen floor(sqrt(v)), v < 2^62: two bits of each operand give one bit of its root. Each step
 * waits for the one before; two vectors side by side take no longer than one. */
static void square_roots(uint64_t v[ROWS])
{
    __m512i rest[2] = { _mm512_loadu_si512(v), _mm512_loadu_si512(v + 8) };
    __m512i root[2] = { _mm512_setzero_si512(), _mm512_setzero_si512() };
    const uint64_t most = (uint64_t)_mm512_reduce_or_epi64(_mm512_or_si512(rest[0], rest[1]));
    const int place = most ? (63 - __builtin_clzll(most)) & ~1 : 0;

    for (int p = place; p >= 0; p -= 2) {
        const __m512i bit = _mm512_set1_epi64(1LL << p);
#pragma GCC unroll 2
        for (int i = 0; i < 2; i++) {
            const __m512i trial = _mm512_or_si512(root[i], bit);
            const __mmask8 fits = _mm512_cmpge_epu64_mask(rest[i], trial);
            rest[i] = _mm512_mask_sub_epi64(rest[i], fits, rest[i], trial);
            root[i] = _mm512_srli_epi64(root[i], 1);
            root[i] = _mm512_mask_or_epi64(root[i], fits, root[i], bit);
        }
    }
    _mm512_storeu_si512(v, root[0]);
    _mm512_storeu_si512(v + 8, root[1]);
}

/* ---- what a row does to its values ----------------------------------------------------------- */

typedef struct row {
    const int16_t *x;
    int32_t slope;
    int32_t offset;
    factor_512 factor; /* exact form */
} row;

/* Also L1's, whose root is another: n = R(C * x - sum; 2^16 / root). The value before scaling has at most 8 bits more than the root,
 * and c is 14 + the root's length: what c is short of 33 is so many bits that the value has to
 * spare. */
static void make_exact_rows(const iviti_norm *n, row *rows, size_t count)
{
    uint64_t variance[ROWS] = { 0 };
    statistics s[ROWS];

    for (size_t r = 0; r < count; r++) {
        s[r] = measure(rows[r].x, n->width);
        variance[r] = (uint64_t)(n->width * s[r].squares - s[r].sum * s[r].sum + n->epsilon);
    }
    square_roots(variance);
    for (size_t r = 0; r < count; r++) {
        const uint32_t root = n->kind == IVITI_NORM_L1
                                  ? iviti_l1_root(rows[r].x, n->width, s[r].sum)
                                  : (uint32_t)variance[r];
        const iviti_dyadic inverse = divide_factor((iviti_dyadic){ 1 << 30, 14 }, root);
        const int spare = inverse.shift < 33 ? 33 - inverse.shift : 0;
        rows[r].slope = (int32_t)((uint32_t)n->width << spare);
        rows[r].offset = (int32_t)((uint32_t)s[r].sum << spare);
        rows[r].factor =
            make_factor((iviti_dyadic){ inverse.multiplier, inverse.shift + spare }, 0);
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

/* n = ((x - mean) * ((2^31 - 1) / root)) >> 1. Ten steps lead to the root; a step that changes
 * nothing is the last one that matters. */
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
        const int32_t factor = (int32_t)(INT32_MAX / root);
        rows[r].slope = factor;
        rows[r].offset = (int32_t)((uint32_t)mean * (uint32_t)factor);
    }
}

/* ---- what a channel does to its values ------------------------------------------------------- */

/* Constants of up to 256 channels; `spare` as for a factor_512. */
typedef struct channels {
    _Alignas(64) int32_t even[CHUNK];
    _Alignas(64) int32_t odd[CHUNK];
    _Alignas(64) int32_t round[CHUNK];
    _Alignas(64) int32_t shift[CHUNK]; /* c - 32, or c where the products are needed whole */
    _Alignas(64) int32_t bias[CHUNK];  /* with the half of the last rounding */
} channels;

static __mmask16 channels_left(size_t width, size_t c)
{
    return (__mmask16)first_lanes(width - c);
}

static void prepare_channels(const iviti_norm *n, size_t first, size_t end, bool narrow,
                             int32_t spare, channels *k)
{
    const __m512i most = _mm512_set1_epi32(31);
    const __m512i one = _mm512_set1_epi32(1);

    for (size_t c = first; c < end; c += 16) {
        const __mmask16 mask = channels_left(end, c);
        const size_t at = c - first;
        const __m512i multiplier = _mm512_maskz_loadu_epi32(mask, n->multiplier + c);
        const __m512i bias = _mm512_maskz_loadu_epi32(mask, n->bias + c);
        __m512i shift = _mm512_maskz_loadu_epi32(mask, n->shift + c);
        if (narrow)
            shift = _mm512_min_epi32(_mm512_add_epi32(shift, _mm512_set1_epi32(spare - 32)), most);
        _mm512_store_si512(k->even + at, multiplier);
        _mm512_store_si512(k->odd + at, _mm512_shuffle_epi32(multiplier, ODD_TO_EVEN));
        _mm512_store_si512(k->round + at, _mm512_sllv_epi32(one, _mm512_sub_epi32(shift, one)));
        _mm512_store_si512(k->shift + at, shift);
        _mm512_store_si512(k->bias + at, _mm512_add_epi32(bias, _mm512_set1_epi32(128)));
    }
}

/* The affine part with the products whole: c may be too small for the narrow form. |R| < 2^31. */
INLINE __m512i affine_wide(__m512i product, __m512i shift)
{
    const __m512i half =
        _mm512_sllv_epi64(_mm512_set1_epi64(1), _mm512_sub_epi64(shift, _mm512_set1_epi64(1)));
    return _mm512_srav_epi64(_mm512_add_epi64(product, half), shift);
}

INLINE __m512i affine(__m512i z, const channels *k, size_t at, bool narrow, unsigned spare)
{
    const __m512i shift = _mm512_load_si512(k->shift + at);
    const __m512i even_multiplier = _mm512_load_si512(k->even + at);
    const __m512i odd_multiplier = _mm512_load_si512(k->odd + at);
    __m512i scaled;

    if (narrow) {
        z = _mm512_slli_epi32(z, spare);
        const __m512i high =
            high_halves(even_products(z, even_multiplier), odd_products(z, odd_multiplier));
        scaled = _mm512_srav_epi32(_mm512_add_epi32(high, _mm512_load_si512(k->round + at)), shift);
    } else {
        const __m512i low = _mm512_set1_epi64(0xFFFFFFFF);
        const __m512i even =
            affine_wide(even_products(z, even_multiplier), _mm512_and_si512(shift, low));
        const __m512i odd =
            affine_wide(odd_products(z, odd_multiplier), _mm512_srli_epi64(shift, 32));
        scaled = _mm512_mask_mov_epi32(_mm512_slli_epi64(odd, 32), EVEN_LANES, even);
    }
    return _mm512_srai_epi32(_mm512_add_epi32(scaled, _mm512_load_si512(k->bias + at)), 8);
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* Channels [first, end) of one row. */
typedef struct strip {
    const row *r;
    const channels *k;
    size_t first;
    size_t end;
} strip;

/* 16 values of the output before saturation, from channel first + at on; `whole`: all are there. */
INLINE __m512i normalise(const strip *s, size_t at, bool whole, bool newton, bool narrow)
{
    const int16_t *x16 = s->r->x + s->first + at;
    __m256i loaded;

    if (whole)
        loaded = _mm256_loadu_si256((const __m256i *)(const void *)x16);
    else if (s->first + at < s->end)
        loaded = _mm256_maskz_loadu_epi16(channels_left(s->end, s->first + at), x16);
    else
        return _mm512_setzero_si512();
    const __m512i x = _mm512_cvtepi16_epi32(loaded);
    const __m512i z = _mm512_sub_epi32(_mm512_mullo_epi32(x, _mm512_set1_epi32(s->r->slope)),
                                       _mm512_set1_epi32(s->r->offset));
    if (newton)
        return affine(_mm512_srai_epi32(z, 1), s->k, at, narrow, NEWTON_SPARE);
    return affine(scale_narrow(z, &s->r->factor), s->k, at, narrow, EXACT_SPARE);
}

INLINE __m512i normalise_s8(const strip *s, size_t at, bool whole, bool newton, bool narrow)
{
    const __m512i v[4] = { normalise(s, at, whole, newton, narrow),
                           normalise(s, at + 16, whole, newton, narrow),
                           normalise(s, at + 32, whole, newton, narrow),
                           normalise(s, at + 48, whole, newton, narrow) };
    return _mm512_xor_si512(pack_s8(v), _mm512_set1_epi8(-128));
}

INLINE __m512i normalise_s16(const strip *s, size_t at, bool whole, bool newton, bool narrow)
{
    return pack_s16(normalise(s, at, whole, newton, narrow),
                    normalise(s, at + 16, whole, newton, narrow));
}

INLINE void strip_s8(const strip *s, uint8_t *y, bool newton, bool narrow)
{
    const size_t count = s->end - s->first;
    size_t at = 0;

    for (; at + 64 <= count; at += 64)
        _mm512_storeu_si512(y + s->first + at, normalise_s8(s, at, true, newton, narrow));
    if (at < count)
        _mm512_mask_storeu_epi8(y + s->first + at, first_lanes(count - at),
                                normalise_s8(s, at, false, newton, narrow));
}

INLINE void strip_s16(const strip *s, int16_t *y, bool newton, bool narrow)
{
    const size_t count = s->end - s->first;
    size_t at = 0;

    for (; at + 32 <= count; at += 32)
        _mm512_storeu_si512(y + s->first + at, normalise_s16(s, at, true, newton, narrow));
    if (at < count)
        _mm512_mask_storeu_epi16(y + s->first + at, (__mmask32)first_lanes(count - at),
                                 normalise_s16(s, at, false, newton, narrow));
}

/* One of these two. */
typedef struct output {
    uint8_t *s8;
    int16_t *s16;
} output;

INLINE void strip_output(const strip *s, output y, bool newton, bool narrow)
{
    if (y.s8)
        strip_s8(s, y.s8, newton, narrow);
    else
        strip_s16(s, y.s16, newton, narrow);
}

static void write_strip(const strip *s, output y, bool newton, bool narrow)
{
    if (!narrow)
        strip_output(s, y, newton, false);
    else if (newton)
        strip_output(s, y, true, true);
    else
        strip_output(s, y, false, true);
}

/* Whether every c becomes at least 33 by what values have to spare. */
static bool all_narrow(const iviti_norm *n, int32_t spare)
{
    __m512i least = _mm512_set1_epi32(63);
    for (size_t c = 0; c < n->width; c += 16)
        least = _mm512_mask_min_epi32(
            least, channels_left(n->width, c), least,
            _mm512_maskz_loadu_epi32(channels_left(n->width, c), n->shift + c));
    return _mm512_reduce_min_epi32(least) + spare >= 33;
}

static void normalise_rows(const iviti_norm *n, const int16_t *x, size_t x_stride,
                           const uint32_t *map, size_t rows, output y, size_t y_stride)
{
    const bool newton = n->kind == IVITI_NORM_NEWTON;
    const int32_t spare = newton ? NEWTON_SPARE : EXACT_SPARE;
    const bool narrow = all_narrow(n, spare);
    row block[ROWS];

    for (size_t r = 0, count; r < rows; r += count) {
        count = rows - r < ROWS ? rows - r : ROWS;
        for (size_t i = 0; i < count; i++)
            block[i].x = x + (map ? map[r + i] : r + i) * x_stride;
        if (newton)
            make_newton_rows(n, block, count);
        else
            make_exact_rows(n, block, count);

        for (size_t c = 0; c < n->width; c += CHUNK) {
            const size_t end = n->width - c < CHUNK ? n->width : c + CHUNK;
            channels k;
            prepare_channels(n, c, end, narrow, spare, &k);
            for (size_t i = 0; i < count; i++)
                write_strip(&(strip){ &block[i], &k, c, end },
                            y.s8 ? (output){ .s8 = y.s8 + (r + i) * y_stride }
                                 : (output){ .s16 = y.s16 + (r + i) * y_stride },
                            newton, narrow);
        }
    }
}

void iviti_norm_s8_avx512vnni(const iviti_norm *n, const int16_t *x, size_t x_stride,
                              const uint32_t *map, size_t rows, uint8_t *y, size_t y_stride)
{
    normalise_rows(n, x, x_stride, map, rows, (output){ .s8 = y }, y_stride);
}

void iviti_norm_s16_avx512vnni(const iviti_norm *n, const int16_t *x, size_t x_stride,
                               const uint32_t *map, size_t rows, int16_t *y, size_t y_stride)
{
    normalise_rows(n, x, x_stride, map, rows, (output){ .s16 = y }, y_stride);
}

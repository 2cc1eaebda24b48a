/* SPDX-License-Identifier: Apache-2.0
 *
 * LayerNorm of the 256-bit engines; see norm_avx512vnni.c.
 */
#include "kernels/prototypes.h"
#include "kernels/ref/comparison.h"
#include "kernels/x86/requantize_avx2.h"

#define CHUNK 256 /* channels whose constants are prepared for all rows of a batch */
#define ROWS  32  /* of a batch */

/* Bits that normalised values have to spare: they are at most 2^24, or 2^30 - 1. */
#define EXACT_SPARE  6
#define NEWTON_SPARE 1

/* ---- statistics ------------------------------------------------------------------------------ */

typedef struct statistics {
    int64_t sum;
    int64_t squares;
} statistics;

/* Lanes hold sums of at most 2^29; the sum of two squares fills 32 bits as an unsigned number. */
static statistics measure(const int16_t *x, size_t width)
{
    const __m256i one = _mm256_set1_epi16(1);
    __m256i sum = _mm256_setzero_si256();
    __m256i squares = _mm256_setzero_si256();
    int32_t sums[8];
    int64_t quads[4];

    for (size_t c = 0; c < width; c += 16) {
        const __m256i v = load_part(x + c, (width - c) * sizeof *x);
        const __m256i pairs = _mm256_madd_epi16(v, v);
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(v, one));
        squares =
            _mm256_add_epi64(squares, _mm256_blend_epi32(pairs, _mm256_setzero_si256(), 0xAA));
        squares = _mm256_add_epi64(squares, _mm256_srli_epi64(pairs, 32));
    }
    store_256(sums, sum);
    store_256(quads, squares);
    statistics s = { 0, quads[0] + quads[1] + quads[2] + quads[3] };
    for (size_t i = 0; i < 8; i++)
        s.sum += sums[i];
    return s;
}

/* Four floor(sqrt(v)), v < 2^62: two bits of each operand give one bit of its root. */
static void square_roots(uint64_t v[4])
{
    const uint64_t any = v[0] | v[1] | v[2] | v[3];
    const int place = any ? (63 - __builtin_clzll(any)) & ~1 : 0;
    __m256i rest = load_256(v);
    __m256i root = _mm256_setzero_si256();

    for (int i = place; i >= 0; i -= 2) {
        const __m256i bit = _mm256_set1_epi64x(1LL << i);
        const __m256i trial = _mm256_or_si256(root, bit);
        const __m256i too_large = _mm256_cmpgt_epi64(trial, rest);
        rest = _mm256_sub_epi64(rest, _mm256_andnot_si256(too_large, trial));
        root = _mm256_srli_epi64(root, 1);
        root = _mm256_or_si256(root, _mm256_andnot_si256(too_large, bit));
    }
    store_256(v, root);
}

/* ---- what a row does to its values ----------------------------------------------------------- */

typedef struct row {
    const int16_t *x;
    int32_t slope;
    int32_t offset;
    factor_256 factor; /* exact form */
} row;

/* Also L1's, whose root is another: n = R(C * x - sum; 2^16 / root): what c is short of 33, the value has to spare. */
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
        rows[r].slope = (int32_t)(INT32_MAX / root);
        rows[r].offset = (int32_t)((uint32_t)mean * (uint32_t)rows[r].slope);
    }
}

/* ---- what a channel does to its values ------------------------------------------------------- */

/* Constants of up to 256 channels, zero beyond them. */
typedef struct channels {
    _Alignas(32) int32_t multiplier[CHUNK];
    _Alignas(32) int32_t odd_multiplier[CHUNK]; /* that of channel c | 1 */
    _Alignas(32) int32_t round[CHUNK];
    _Alignas(32) int32_t shift[CHUNK]; /* c - 32, what there is to spare added; c where that is not narrow */
    _Alignas(32) int32_t bias[CHUNK];  /* with the half of the last rounding */
    size_t first;
    size_t count;
    int32_t spare;
    bool narrow; /* every c becomes at least 33 */
} channels;

static void prepare_channels(const iviti_norm *n, size_t first, int32_t spare, channels *k)
{
    const size_t left = n->width - first;

    memset(k, 0, sizeof *k);
    k->first = first;
    k->count = left < CHUNK ? left : CHUNK;
    k->spare = spare;
    k->narrow = true;
    for (size_t c = 0; c < k->count; c++) {
        const int32_t shift = n->shift[first + c] + spare - 32;
        k->narrow &= shift > 0;
        k->multiplier[c] = n->multiplier[first + c];
        k->shift[c] = shift < 31 ? shift : 31;
        k->round[c] = shift > 0 ? 1 << (k->shift[c] - 1) : 0;
        k->bias[c] = n->bias[first + c] + 128;
    }
    if (!k->narrow)
        memcpy(k->shift, n->shift + first, k->count * sizeof *k->shift);
    for (size_t c = 0; c < CHUNK; c++)
        k->odd_multiplier[c] = k->multiplier[c | 1];
}

INLINE __m256i affine_narrow(__m256i z, const channels *k, size_t at)
{
    z = _mm256_sll_epi32(z, _mm_cvtsi32_si128(k->spare));
    const __m256i high = high_halves(even_products(z, load_256(k->multiplier + at)),
                                     odd_products(z, load_256(k->odd_multiplier + at)));
    return _mm256_srav_epi32(_mm256_add_epi32(high, load_256(k->round + at)),
                             load_256(k->shift + at));
}

/* (product + 2^(c-1)) >> c of 64 bits, for which there is no arithmetic shift: the sign becomes an offset. The
 * low 32 bits are the result. */
INLINE __m256i shift_products(__m256i product, __m256i c)
{
    const __m256i sign = _mm256_set1_epi64x(INT64_MIN);
    const __m256i half = _mm256_sllv_epi64(_mm256_set1_epi64x(1),
                                           _mm256_sub_epi64(c, _mm256_set1_epi64x(1)));
    const __m256i sum = _mm256_xor_si256(_mm256_add_epi64(product, half), sign);
    return _mm256_sub_epi64(_mm256_srlv_epi64(sum, c), _mm256_srlv_epi64(sign, c));
}

/* The affine part with the products whole: c may be too small for the narrow form. |R| < 2^31. */
INLINE __m256i affine_wide(__m256i z, const channels *k, size_t at)
{
    const __m256i c = load_256(k->shift + at);
    const __m256i even =
        shift_products(even_products(z, load_256(k->multiplier + at)),
                       _mm256_blend_epi32(c, _mm256_setzero_si256(), 0xAA));
    const __m256i odd = shift_products(odd_products(z, load_256(k->odd_multiplier + at)),
                                       _mm256_srli_epi64(c, 32));
    return _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* 8 values of the output before saturation, of channel `at` of the chunk on. */
INLINE __m256i normalise(const row *r, const channels *k, __m128i x16, size_t at, bool newton,
                         bool narrow)
{
    const __m256i x = _mm256_cvtepi16_epi32(x16);
    const __m256i z = _mm256_sub_epi32(_mm256_mullo_epi32(x, _mm256_set1_epi32(r->slope)),
                                       _mm256_set1_epi32(r->offset));
    const __m256i n = newton ? _mm256_srai_epi32(z, 1) : scale_narrow(z, &r->factor);
    const __m256i scaled = narrow ? affine_narrow(n, k, at) : affine_wide(n, k, at);
    return _mm256_srai_epi32(_mm256_add_epi32(scaled, load_256(k->bias + at)), 8);
}

/* 16 values. */
INLINE void normalise_16(const row *r, const channels *k, size_t at, bool newton, bool narrow,
                         __m256i out[2])
{
    if (at >= k->count) {
        out[0] = out[1] = _mm256_setzero_si256();
        return;
    }
    const __m256i x = load_part(r->x + k->first + at, (k->count - at) * sizeof *r->x);
    out[0] = normalise(r, k, _mm256_castsi256_si128(x), at, newton, narrow);
    out[1] = normalise(r, k, _mm256_extracti128_si256(x, 1), at + 8, newton, narrow);
}

/* Where a row's channels of a chunk go: one of these two. */
typedef struct output {
    uint8_t *s8;
    int16_t *s16;
} output;

INLINE void write_chunk(const row *r, const channels *k, output y, bool newton, bool narrow)
{
    if (y.s8)
        for (size_t at = 0; at < k->count; at += 32) {
            __m256i v[4];
            normalise_16(r, k, at, newton, narrow, v);
            normalise_16(r, k, at + 16, newton, narrow, v + 2);
            store_part(y.s8 + at, _mm256_xor_si256(pack_s8(v), _mm256_set1_epi8(-128)),
                       k->count - at);
        }
    else
        for (size_t at = 0; at < k->count; at += 16) {
            __m256i v[2];
            normalise_16(r, k, at, newton, narrow, v);
            store_part(y.s16 + at, pack_s16(v[0], v[1]), (k->count - at) * sizeof *y.s16);
        }
}

static void normalise_rows(const iviti_norm *n, const int16_t *x, size_t x_stride,
                           const uint32_t *map, size_t rows, output y, size_t y_stride)
{
    const bool newton = n->kind == IVITI_NORM_NEWTON;
    row batch[ROWS];
    channels k;

    for (size_t r = 0, count; r < rows; r += count) {
        count = rows - r < ROWS ? rows - r : ROWS;
        for (size_t i = 0; i < count; i++)
            batch[i].x = x + (map ? map[r + i] : r + i) * x_stride;
        if (newton)
            make_newton_rows(n, batch, count);
        else
            make_exact_rows(n, batch, count);

        for (size_t c = 0; c < n->width; c += CHUNK) {
            prepare_channels(n, c, newton ? NEWTON_SPARE : EXACT_SPARE, &k);
            for (size_t i = 0; i < count; i++) {
                const size_t at = (r + i) * y_stride + c;
                const output to =
                    y.s8 ? (output){ .s8 = y.s8 + at } : (output){ .s16 = y.s16 + at };
                if (!k.narrow && newton)
                    write_chunk(&batch[i], &k, to, true, false);
                else if (!k.narrow)
                    write_chunk(&batch[i], &k, to, false, false);
                else if (newton)
                    write_chunk(&batch[i], &k, to, true, true);
                else
                    write_chunk(&batch[i], &k, to, false, true);
            }
        }
    }
}

void iviti_norm_s8_avx2(const iviti_norm *n, const int16_t *x, size_t x_stride, const uint32_t *map,
                        size_t rows, uint8_t *y, size_t y_stride)
{
    normalise_rows(n, x, x_stride, map, rows, (output){ .s8 = y }, y_stride);
}

void iviti_norm_s16_avx2(const iviti_norm *n, const int16_t *x, size_t x_stride,
                         const uint32_t *map, size_t rows, int16_t *y, size_t y_stride)
{
    normalise_rows(n, x, x_stride, map, rows, (output){ .s16 = y }, y_stride);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The inner loop: every step multiplies four k of 6 rows with four k of 64 columns. Register plan:
 * 24 accumulators, 4 vectors of the right operand, 1 or 2 broadcasts of the left one. A step is 24
 * vpdpbusd on two ports (12 cycles) beside 10 loads, so the loads never limit it, and the panels
 * may come from the second-level cache.
 */
#include "kernels/x86/engine_avx512vnni.h"

#include <string.h>

#include "kernels/prototypes.h"
#include "kernels/x86/requantize_avx512vnni.h"

/* `rows` and `count` are constants where the loops below are inlined, so that acc is a set of
 * registers. The loops have the same bounds everywhere: then both compilers unroll them early
 * enough to see that. */
#define EACH_ROW   _Pragma("GCC unroll 6") for (size_t r = 0; r < TILE_ROWS; r++) if (r < rows)
#define EACH_PANEL _Pragma("GCC unroll 4") for (size_t p = 0; p < TILE_PANELS; p++) if (p < count)

/* ---- from accumulators to a row of the output ------------------------------------------------ */

/* Entries of a table of 256 for s8 indices + 128. Its four registers are indexed by bits 0 to 6;
 * the sign tells which two of them. */
INLINE __m512i look_up(const uint8_t *table, __m512i index)
{
    const __m512i below =
        _mm512_permutex2var_epi8(_mm512_loadu_si512(table), index, _mm512_loadu_si512(table + 64));
    const __m512i above = _mm512_permutex2var_epi8(_mm512_loadu_si512(table + 128), index,
                                                   _mm512_loadu_si512(table + 192));
    return _mm512_mask_mov_epi8(above, _mm512_movepi8_mask(index), below);
}

INLINE void put_s16(const iviti_finish *f, uint8_t *y, __mmask32 mask, __m512i v)
{
    if (f->add)
        v = _mm512_adds_epi16(_mm512_maskz_loadu_epi16(mask, y), v);
    _mm512_mask_storeu_epi16(y, mask, v);
}

/* `any_shift` is a constant: whether c may be 32. */
INLINE void finish_row(const iviti_finish *f, size_t row, const size_t count, const bool any_shift)
{
    uint8_t *y = f->row[row];
    __m512i v[TILE_PANELS];

#pragma GCC unroll 4
    for (size_t p = 0; p < TILE_PANELS; p++)
        v[p] = p < count ? scale(f, row, p * IVITI_PANEL, any_shift) : _mm512_setzero_si512();

    if (f->element == 1) {
        const __m512i value = pack_s8(v);
        const __m512i out = f->table ? look_up(f->table, value)
                                     : _mm512_xor_si512(value, _mm512_set1_epi8((char)f->flip));
        _mm512_mask_storeu_epi8(y, f->mask, out);
    } else if (f->element == 2) {
        put_s16(f, y, (__mmask32)f->mask, pack_s16(v[0], v[1]));
        put_s16(f, y + 64, (__mmask32)(f->mask >> 32), pack_s16(v[2], v[3]));
    } else {
#pragma GCC unroll 4
        for (size_t p = 0; p < TILE_PANELS; p++)
            _mm512_mask_storeu_epi32(y + p * 64, (__mmask16)(f->mask >> p * IVITI_PANEL), v[p]);
    }
}

/* ---- products -------------------------------------------------------------------------------- */

/* The rows' addresses are written with two bases and one stride: five offsets would take registers
 * that compilers then find among the vectors'. */
typedef struct operands {
    const uint8_t *x;
    const uint8_t *x3; /* row 3 */
    size_t x_stride;
    const int8_t *panels;
    size_t panel_bytes;
} operands;

INLINE __m512i broadcast_group(const uint8_t *x)
{
    int32_t group;
    memcpy(&group, x, sizeof group);
    return _mm512_set1_epi32(group);
}

/* A register of its own for every zero: where one is copied to 24 accumulators instead, as
 * compilers do, a tile takes some 20 cycles longer. */
INLINE __m512i fresh_zero(void)
{
    __m512i zero;
    __asm__ volatile("vpxord %0, %0, %0" : "=v"(zero));
    return zero;
}

INLINE void step(const size_t rows, const size_t count, const operands *o, size_t g,
                 __m512i acc[TILE_ROWS][TILE_PANELS])
{
    __m512i right[TILE_PANELS];
    EACH_PANEL right[p] = _mm512_load_si512(o->panels + p * o->panel_bytes + g * 64);
    EACH_ROW
    {
        const uint8_t *left_row = r < 3 ? o->x + r * o->x_stride : o->x3 + (r - 3) * o->x_stride;
        const __m512i left = broadcast_group(left_row + g * IVITI_GROUP);
        EACH_PANEL acc[r][p] = _mm512_dpbusd_epi32(acc[r][p], left, right[p]);
    }
}

INLINE void product(const size_t rows, const size_t count, const operands *o, size_t groups,
                    int32_t *out, const iviti_finish *other)
{
    __m512i acc[TILE_ROWS][TILE_PANELS];
    size_t g = 0;

    EACH_ROW EACH_PANEL acc[r][p] = fresh_zero();
    if (other)
        for (size_t row = 0; row < other->rows; row++) {
            for (const size_t end = g + groups / TILE_ROWS; g < end; g++)
                step(rows, count, o, g, acc);
            finish_row(other, row, count, false);
        }
    for (; g < groups; g++)
        step(rows, count, o, g, acc);
    EACH_ROW EACH_PANEL _mm512_store_si512(out + r * TILE_COLUMNS + p * IVITI_PANEL, acc[r][p]);
}

#define PRODUCT(rows, count)                                                                       \
    static void product_##rows##x##count(const uint8_t *x, size_t x_stride, const int8_t *panels,  \
                                         size_t panel_bytes, size_t groups, int32_t *acc,          \
                                         const iviti_finish *other)                                \
    {                                                                                              \
        const operands o = { x, x + 3 * x_stride, x_stride, panels, panel_bytes };                 \
        product(rows, count, &o, groups, acc, other);                                              \
    }
#define PRODUCTS(rows) PRODUCT(rows, 1) PRODUCT(rows, 2) PRODUCT(rows, 3) PRODUCT(rows, 4)
PRODUCTS(1)
PRODUCTS(2)
PRODUCTS(3)
PRODUCTS(4)
PRODUCTS(5)
PRODUCTS(6)

/* ---- the engine ------------------------------------------------------------------------------ */

static void finish_tile(const iviti_finish *f)
{
    for (size_t row = 0; row < f->rows; row++)
        finish_row(f, row, TILE_PANELS, true);
}

#define ROW(rows)                                                                                  \
    {                                                                                              \
        product_##rows##x1, product_##rows##x2, product_##rows##x3, product_##rows##x4             \
    }

static const iviti_engine engine = {
    .products = { ROW(1), ROW(2), ROW(3), ROW(4), ROW(5), ROW(6) },
    .overlaps = true,
    .finish = finish_tile,
    .join_row = iviti_join_row_avx512vnni,
    .spread_keys = iviti_spread_keys_avx512vnni,
    .spread_values = iviti_spread_values_avx512vnni,
    .softmax_table = iviti_softmax_table_avx512vnni,
    .softmax_shift = iviti_softmax_shift_avx512vnni,
    .finish_output = iviti_finish_output_avx512vnni,
};

IVITI_ENGINE_KERNELS(&engine, avx512vnni)

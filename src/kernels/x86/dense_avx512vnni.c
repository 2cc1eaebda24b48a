/* SPDX-License-Identifier: Apache-2.0
 *
 * Linear layers. For each group of 64 outputs all rows are multiplied in tiles of up to 6, and each
 * tile is finished (requantised, looked up, joined, stored) while it is still in the first-level
 * cache. The next group's weights are prefetched meanwhile, so that weights from memory cost nothing.
 */
#include "kernels/prototypes.h"

#include <stdbool.h>

#include "kernels/x86/product_avx512vnni.h"
#include "kernels/x86/requantize_avx512vnni.h"

/* Up to 64 outputs of a layer. */
typedef struct group {
    size_t column;  /* the first */
    size_t columns; /* 1 to 64 */
    size_t panels;  /* 1 to 4 */
    size_t depth;   /* groups of 4 inputs */
    const int8_t *weights;
    const int32_t *bias;
    const char *ahead;       /* weights of the next group that are not yet prefetched */
    size_t ahead_lines;      /* how many lines these are */
    size_t ahead_per_tile;
    bool halves;             /* some shift is 32: its rounding term lies in the low half */
    _Alignas(64) int32_t even[TILE_COLUMNS];
    _Alignas(64) int32_t odd[TILE_COLUMNS];
    _Alignas(64) int32_t round[TILE_COLUMNS];
    _Alignas(64) int32_t shift[TILE_COLUMNS];
    _Alignas(64) int32_t half[TILE_COLUMNS];
} group;

/* Accumulators of a tile, on the way to rows [row, row + rows) of the output. */
typedef struct tile {
    const group *g;
    size_t row;
    size_t rows;
    _Alignas(64) int32_t acc[TILE_ROWS * TILE_COLUMNS];
} tile;

typedef void finish(const tile *t, void *destination);

static void prepare_scales(const iviti_dense *w, group *g)
{
    const __m512i high = _mm512_set1_epi32(32);
    const __m512i one = _mm512_set1_epi32(1);

    g->halves = false;
    for (size_t p = 0; p < g->panels; p++) {
        const size_t n = p * IVITI_PANEL;
        const __m512i multiplier = _mm512_loadu_si512(w->multiplier + g->column + n);
        const __m512i c = _mm512_loadu_si512(w->shift + g->column + n);
        const __m512i shift = _mm512_sub_epi32(c, high);
        const __mmask16 half = _mm512_cmpeq_epi32_mask(c, high);

        g->halves |= half != 0;
        _mm512_store_si512(g->even + n, multiplier);
        _mm512_store_si512(g->odd + n, _mm512_shuffle_epi32(multiplier, ODD_TO_EVEN));
        _mm512_store_si512(g->round + n, _mm512_sllv_epi32(one, _mm512_sub_epi32(shift, one)));
        _mm512_store_si512(g->shift + n, shift);
        _mm512_store_si512(g->half + n, _mm512_maskz_set1_epi32(half, INT32_MIN));
    }
}

/* The group of outputs that begins at `column`; `rows` will be multiplied with it. */
static void begin_group(const iviti_dense *w, size_t column, size_t rows, group *g)
{
    const size_t left = w->out - column;

    g->column = column;
    g->columns = left < TILE_COLUMNS ? left : TILE_COLUMNS;
    g->panels = (g->columns + IVITI_PANEL - 1) / IVITI_PANEL;
    g->depth = (w->in + IVITI_GROUP - 1) / IVITI_GROUP;
    g->weights = w->panels + column * g->depth * IVITI_GROUP;
    g->bias = w->bias + column;

    const size_t next = (left - g->columns + IVITI_PANEL - 1) / IVITI_PANEL;
    const size_t tiles = rows ? (rows + TILE_ROWS - 1) / TILE_ROWS : 1;
    g->ahead = (const char *)g->weights + g->panels * g->depth * 64;
    g->ahead_lines = (next < TILE_PANELS ? next : TILE_PANELS) * g->depth;
    g->ahead_per_tile = (g->ahead_lines + tiles - 1) / tiles;
    prepare_scales(w, g);
}

static void prefetch_ahead(group *g)
{
    const size_t lines = g->ahead_lines < g->ahead_per_tile ? g->ahead_lines : g->ahead_per_tile;
    for (size_t i = 0; i < lines; i++)
        _mm_prefetch(g->ahead + i * 64, _MM_HINT_T1);
    g->ahead += lines * 64;
    g->ahead_lines -= lines;
}

/* Tiles of nearly equal height, 5 or 6 rows: a tile of few rows cannot fill the multipliers. */
static void multiply_rows(group *g, const uint8_t *x, size_t x_stride, size_t rows, finish *done,
                          void *destination)
{
    const size_t tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
    tile t = { .g = g, .row = 0 };

    for (size_t i = 0; i < tiles; i++) {
        t.rows = rows / tiles + (i < rows % tiles);
        prefetch_ahead(g);
        iviti_products_avx512vnni[t.rows - 1][g->panels - 1](
            x + t.row * x_stride, x_stride, g->weights, g->depth * 64, g->depth, g->bias, t.acc);
        done(&t, destination);
        t.row += t.rows;
    }
}

static void multiply(const iviti_dense *w, const uint8_t *x, size_t x_stride, size_t rows,
                     finish *done, void *destination)
{
    for (size_t column = 0; column < w->out; column += TILE_COLUMNS) {
        group g;
        begin_group(w, column, rows, &g);
        multiply_rows(&g, x, x_stride, rows, done, destination);
    }
}

/* ---- from accumulators to values ------------------------------------------------------------- */

/* acc * f of 16 outputs of a tile's row, before saturation: below 2^31, as factors are below 1/2. */
static inline __m512i scaled(const tile *t, size_t row, size_t n)
{
    const group *g = t->g;
    const __m512i z = _mm512_load_si512(t->acc + row * TILE_COLUMNS + n);
    __m512i even = even_products(z, _mm512_load_si512(g->even + n));
    __m512i odd = odd_products(z, _mm512_load_si512(g->odd + n));
    if (g->halves) {
        const __m512i half = _mm512_load_si512(g->half + n);
        even = _mm512_add_epi64(even, _mm512_and_si512(half, _mm512_set1_epi64(0xFFFFFFFF)));
        odd = _mm512_add_epi64(odd, _mm512_srli_epi64(half, 32));
    }
    return _mm512_srav_epi32(_mm512_add_epi32(high_halves(even, odd), _mm512_load_si512(g->round + n)),
                             _mm512_load_si512(g->shift + n));
}

/* Saturating packs work in quarters of a register; these indices put the columns in order again. */
static inline __m512i order_after_pack_s8(void)
{
    return _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
}

static inline __m512i order_after_pack_s16(void)
{
    return _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
}

static inline __m512i row_s8(const tile *t, size_t row)
{
    const __m512i low = _mm512_packs_epi32(scaled(t, row, 0), scaled(t, row, 16));
    const __m512i high = _mm512_packs_epi32(scaled(t, row, 32), scaled(t, row, 48));
    return _mm512_permutexvar_epi32(order_after_pack_s8(), _mm512_packs_epi16(low, high));
}

/* Outputs [n, n + 32) of a tile's row. */
static inline __m512i half_row_s16(const tile *t, size_t row, size_t n)
{
    const __m512i packed = _mm512_packs_epi32(scaled(t, row, n), scaled(t, row, n + 16));
    return _mm512_permutexvar_epi64(order_after_pack_s16(), packed);
}

/* The lowest `lanes` bits, all 64 from 64 on. */
static inline uint64_t lane_mask(size_t lanes)
{
    return lanes < 64 ? ((uint64_t)1 << lanes) - 1 : ~(uint64_t)0;
}

/* Lanes of the vector of `width` outputs that begins n outputs into the group. */
static inline uint64_t mask_from(const group *g, size_t n)
{
    return n < g->columns ? lane_mask(g->columns - n) : 0;
}

/* ---- s8 and tables --------------------------------------------------------------------------- */

typedef struct to_u8 {
    uint8_t *y;
    size_t stride;
    const uint8_t *tables;
} to_u8;

static void finish_s8(const tile *t, void *destination)
{
    const to_u8 *to = destination;
    const __mmask64 mask = mask_from(t->g, 0);
    const __m512i offset = _mm512_set1_epi8(-128);

    for (size_t r = 0; r < t->rows; r++)
        _mm512_mask_storeu_epi8(to->y + (t->row + r) * to->stride + t->g->column, mask,
                                _mm512_xor_si512(row_s8(t, r), offset));
}

void iviti_dense_s8_avx512vnni(const iviti_dense *w, const uint8_t *x, size_t x_stride, size_t rows,
                               uint8_t *y, size_t y_stride)
{
    multiply(w, x, x_stride, rows, finish_s8, &(to_u8){ .y = y, .stride = y_stride });
}

/* A group of 64 outputs shares a table, which fills four registers. Bits 0 to 6 of the s8 value index
 * either half of it; the sign tells which. */
static void finish_table(const tile *t, void *destination)
{
    const to_u8 *to = destination;
    const uint8_t *table = to->tables + t->g->column / IVITI_GELU_GROUP * 256;
    const __m512i below0 = _mm512_loadu_si512(table);
    const __m512i below1 = _mm512_loadu_si512(table + 64);
    const __m512i above0 = _mm512_loadu_si512(table + 128);
    const __m512i above1 = _mm512_loadu_si512(table + 192);
    const __mmask64 mask = mask_from(t->g, 0);

    for (size_t r = 0; r < t->rows; r++) {
        const __m512i value = row_s8(t, r);
        const __m512i below = _mm512_permutex2var_epi8(below0, value, below1);
        const __m512i above = _mm512_permutex2var_epi8(above0, value, above1);
        const __m512i out = _mm512_mask_mov_epi8(above, _mm512_movepi8_mask(value), below);
        _mm512_mask_storeu_epi8(to->y + (t->row + r) * to->stride + t->g->column, mask, out);
    }
}

void iviti_dense_table_avx512vnni(const iviti_dense *w, const uint8_t *tables, const uint8_t *x,
                                  size_t x_stride, size_t rows, uint8_t *y, size_t y_stride)
{
    multiply(w, x, x_stride, rows, finish_table, &(to_u8){ y, y_stride, tables });
}

/* ---- s16 and s32 ----------------------------------------------------------------------------- */

typedef struct to_s16 {
    int16_t *y;
    size_t stride;
} to_s16;

static void finish_s16(const tile *t, void *destination)
{
    const to_s16 *to = destination;

    for (size_t r = 0; r < t->rows; r++) {
        int16_t *y = to->y + (t->row + r) * to->stride + t->g->column;
        for (size_t n = 0; n < t->g->columns; n += 32)
            _mm512_mask_storeu_epi16(y + n, (__mmask32)mask_from(t->g, n), half_row_s16(t, r, n));
    }
}

void iviti_dense_s16_avx512vnni(const iviti_dense *w, const uint8_t *x, size_t x_stride,
                                size_t rows, int16_t *y, size_t y_stride)
{
    multiply(w, x, x_stride, rows, finish_s16, &(to_s16){ y, y_stride });
}

typedef struct to_s32 {
    int32_t *y;
    size_t stride;
} to_s32;

static void finish_s32(const tile *t, void *destination)
{
    const to_s32 *to = destination;

    for (size_t r = 0; r < t->rows; r++) {
        int32_t *y = to->y + (t->row + r) * to->stride + t->g->column;
        for (size_t n = 0; n < t->g->columns; n += 16)
            _mm512_mask_storeu_epi32(y + n, (__mmask16)mask_from(t->g, n), scaled(t, r, n));
    }
}

void iviti_dense_s32_avx512vnni(const iviti_dense *w, const uint8_t *x, size_t x_stride,
                                size_t rows, int32_t *y, size_t y_stride)
{
    multiply(w, x, x_stride, rows, finish_s32, &(to_s32){ y, y_stride });
}

/* ---- residual stream ------------------------------------------------------------------------- */

typedef struct to_stream {
    int16_t *stream;
    size_t stride;
    const uint32_t *map;
    const iviti_join *join;
} to_stream;

static int16_t *stream_row(const to_stream *to, const tile *t, size_t r)
{
    const size_t row = t->row + r;
    return to->stream + (to->map ? to->map[row] : row) * to->stride + t->g->column;
}

/* Both factors are one: a saturating addition. */
static void finish_sum(const tile *t, void *destination)
{
    const to_stream *to = destination;

    for (size_t r = 0; r < t->rows; r++) {
        int16_t *y = stream_row(to, t, r);
        for (size_t n = 0; n < t->g->columns; n += 32) {
            const __mmask32 mask = (__mmask32)mask_from(t->g, n);
            const __m512i stream = _mm512_maskz_loadu_epi16(mask, y + n);
            _mm512_mask_storeu_epi16(y + n, mask,
                                     _mm512_adds_epi16(stream, half_row_s16(t, r, n)));
        }
    }
}

/* s16 values have 16 bits to spare above them, so any c from 17 on becomes one of the fast ones. */
static void finish_join(const tile *t, void *destination)
{
    const to_stream *to = destination;
    const factor_512 stream_factor = make_shifted_factor(to->join->stream, 16);
    const factor_512 branch_factor = make_shifted_factor(to->join->branch, 16);
    const __m512i low = _mm512_set1_epi32(INT16_MIN);
    const __m512i high = _mm512_set1_epi32(INT16_MAX);

    for (size_t r = 0; r < t->rows; r++) {
        int16_t *y = stream_row(to, t, r);
        for (size_t n = 0; n < t->g->columns; n += 16) {
            const __mmask16 mask = (__mmask16)mask_from(t->g, n);
            const __m512i stream = _mm512_cvtepi16_epi32(_mm256_maskz_loadu_epi16(mask, y + n));
            const __m512i branch =
                _mm512_max_epi32(_mm512_min_epi32(scaled(t, r, n), high), low);
            const __m512i a = scale_by_factor(_mm512_slli_epi32(stream, 16), &stream_factor);
            const __m512i b = scale_by_factor(_mm512_slli_epi32(branch, 16), &branch_factor);
            _mm512_mask_cvtsepi32_storeu_epi16(y + n, mask, _mm512_add_epi32(a, b));
        }
    }
}

static bool is_one(iviti_dyadic f)
{
    return f.multiplier == 1 << 30 && f.shift == 30;
}

void iviti_dense_join_avx512vnni(const iviti_dense *w, const iviti_join *join, const uint8_t *x,
                                 size_t x_stride, size_t rows, int16_t *stream,
                                 size_t stream_stride, const uint32_t *map)
{
    const bool sum = is_one(join->stream) && is_one(join->branch);
    multiply(w, x, x_stride, rows, sum ? finish_sum : finish_join,
             &(to_stream){ stream, stream_stride, map, join });
}

/* ---- keys and values ------------------------------------------------------------------------- */

#define RUN_TOKENS 64                          /* rows multiplied before they are spread out */
#define PIECES     (TILE_COLUMNS / IVITI_GROUP) /* four channels each: never of two heads */

/* Consecutive tokens of one window: their s8 outputs of one group as rows of 64. */
typedef struct run {
    size_t token; /* the first; a multiple of 16 */
    size_t tokens;
    size_t pieces;
    int8_t *piece[PIECES]; /* where each piece of the window's token 0 lies */
    _Alignas(64) int8_t rows[RUN_TOKENS * TILE_COLUMNS];
} run;

static void finish_run(const tile *t, void *destination)
{
    run *to = destination;
    for (size_t r = 0; r < t->rows; r++)
        _mm512_store_si512(to->rows + (t->row + r) * TILE_COLUMNS, row_s8(t, r));
}

typedef void spread(const run *from, const iviti_head_panels *to);

/* Where channel `o`, a multiple of 4, of token 0 lies in a window. */
typedef size_t channel_offset(const iviti_head_panels *to, size_t o);

static size_t key_offset(const iviti_head_panels *to, size_t o)
{
    return o / to->head_dim * to->block + iviti_panel_offset(0, o % to->head_dim, to->head_dim);
}

static size_t value_offset(const iviti_head_panels *to, size_t o)
{
    return o / to->head_dim * to->block + iviti_panel_offset(o % to->head_dim, 0, to->tokens);
}

static void multiply_heads(const iviti_dense *w, const uint8_t *x, size_t x_stride, size_t first,
                           size_t rows, const iviti_head_panels *to, channel_offset *offset,
                           spread *spread_run)
{
    for (size_t column = 0; column < w->out; column += TILE_COLUMNS) {
        group g;
        run r;
        begin_group(w, column, rows, &g);
        r.pieces = g.columns / IVITI_GROUP;

        for (size_t row = first; row < first + rows; row += r.tokens) {
            int8_t *window = to->panels + row / to->tokens * to->heads * to->block;
            for (size_t i = 0; i < r.pieces; i++)
                r.piece[i] = window + offset(to, column + i * IVITI_GROUP);

            const size_t left = first + rows - row;
            r.token = row % to->tokens;
            r.tokens = to->tokens - r.token;
            r.tokens = r.tokens < left ? r.tokens : left;
            r.tokens = r.tokens < RUN_TOKENS ? r.tokens : RUN_TOKENS;
            multiply_rows(&g, x + (row - first) * x_stride, x_stride, r.tokens, finish_run, &r);
            spread_run(&r, to);
        }
    }
}

/* Sixteen rows of sixteen dwords become sixteen columns. */
static inline void transpose_dwords(__m512i v[16])
{
    __m512i t[16];
    for (size_t i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
    }
    for (size_t i = 0; i < 16; i += 4)
        for (size_t j = 0; j < 2; j++) {
            v[i + 2 * j] = _mm512_unpacklo_epi64(t[i + j], t[i + j + 2]);
            v[i + 2 * j + 1] = _mm512_unpackhi_epi64(t[i + j], t[i + j + 2]);
        }
    for (size_t i = 0; i < 16; i += 8)
        for (size_t j = 0; j < 4; j++) {
            t[i + j] = _mm512_shuffle_i32x4(v[i + j], v[i + j + 4], 0x88);
            t[i + j + 4] = _mm512_shuffle_i32x4(v[i + j], v[i + j + 4], 0xDD);
        }
    for (size_t j = 0; j < 8; j++) {
        v[j] = _mm512_shuffle_i32x4(t[j], t[j + 8], 0x88);
        v[j + 8] = _mm512_shuffle_i32x4(t[j], t[j + 8], 0xDD);
    }
}

/* Sixteen tokens fill a line of the key panels with four of their channels. */
static void spread_keys(const run *from, const iviti_head_panels *to)
{
    for (size_t token = 0; token < from->tokens; token += IVITI_PANEL) {
        const size_t at = iviti_panel_offset(from->token + token, 0, to->head_dim);
        const __mmask16 mask = (__mmask16)lane_mask(from->tokens - token);
        __m512i v[16];
        for (size_t i = 0; i < 16; i++)
            v[i] = _mm512_load_si512(from->rows + (token + i) * TILE_COLUMNS);
        transpose_dwords(v);
        for (size_t i = 0; i < from->pieces; i++)
            _mm512_mask_storeu_epi32(from->piece[i] + at, mask, v[i]);
    }
}

/* Four rows of 64 bytes become, for each run of 16 columns, 16 groups of 4 bytes. */
static inline void interleave_rows(const int8_t *rows, __m512i lines[4])
{
    const __m512i r0 = _mm512_load_si512(rows);
    const __m512i r1 = _mm512_load_si512(rows + TILE_COLUMNS);
    const __m512i r2 = _mm512_load_si512(rows + 2 * TILE_COLUMNS);
    const __m512i r3 = _mm512_load_si512(rows + 3 * TILE_COLUMNS);
    const __m512i low01 = _mm512_unpacklo_epi8(r0, r1);
    const __m512i high01 = _mm512_unpackhi_epi8(r0, r1);
    const __m512i low23 = _mm512_unpacklo_epi8(r2, r3);
    const __m512i high23 = _mm512_unpackhi_epi8(r2, r3);
    /* Quarter p of the j-th of these holds columns 16 * p + 4 * j and the three after it. */
    const __m512i q0 = _mm512_unpacklo_epi16(low01, low23);
    const __m512i q1 = _mm512_unpackhi_epi16(low01, low23);
    const __m512i q2 = _mm512_unpacklo_epi16(high01, high23);
    const __m512i q3 = _mm512_unpackhi_epi16(high01, high23);
    const __m512i even01 = _mm512_shuffle_i32x4(q0, q1, 0x88);
    const __m512i even23 = _mm512_shuffle_i32x4(q2, q3, 0x88);
    const __m512i odd01 = _mm512_shuffle_i32x4(q0, q1, 0xDD);
    const __m512i odd23 = _mm512_shuffle_i32x4(q2, q3, 0xDD);
    lines[0] = _mm512_shuffle_i32x4(even01, even23, 0x88);
    lines[1] = _mm512_shuffle_i32x4(odd01, odd23, 0x88);
    lines[2] = _mm512_shuffle_i32x4(even01, even23, 0xDD);
    lines[3] = _mm512_shuffle_i32x4(odd01, odd23, 0xDD);
}

/* Four tokens fill a line of the value panels with sixteen of their channels; head widths that are
 * no multiple of 16 take it in pieces. */
static void spread_values(const run *from, const iviti_head_panels *to)
{
    const bool whole = to->head_dim % IVITI_PANEL == 0;

    for (size_t token = 0; token < from->tokens; token += IVITI_GROUP) {
        const size_t at = iviti_panel_offset(0, from->token + token, to->tokens);
        const size_t left = from->tokens - token;
        const uint64_t mask = 0x1111111111111111 * lane_mask(left < 4 ? left : 4);
        _Alignas(64) int8_t bytes[4 * 64];
        __m512i lines[4];
        interleave_rows(from->rows + token * TILE_COLUMNS, lines);

        if (whole) {
            for (size_t p = 0; p * 4 < from->pieces; p++)
                _mm512_mask_storeu_epi8(from->piece[p * 4] + at, mask, lines[p]);
            continue;
        }
        for (size_t p = 0; p < 4; p++)
            _mm512_store_si512(bytes + p * 64, lines[p]);
        for (size_t i = 0; i < from->pieces; i++)
            _mm_mask_storeu_epi8(from->piece[i] + at, (__mmask16)mask,
                                 _mm_load_si128((const __m128i *)(bytes + i * 16)));
    }
}

void iviti_dense_keys_avx512vnni(const iviti_dense *w, const uint8_t *x, size_t x_stride,
                                 size_t first, size_t rows, const iviti_head_panels *keys)
{
    multiply_heads(w, x, x_stride, first, rows, keys, key_offset, spread_keys);
}

void iviti_dense_values_avx512vnni(const iviti_dense *w, const uint8_t *x, size_t x_stride,
                                   size_t first, size_t rows, const iviti_head_panels *values)
{
    multiply_heads(w, x, x_stride, first, rows, values, value_offset, spread_values);
}

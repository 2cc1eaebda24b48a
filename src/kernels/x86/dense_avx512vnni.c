/* SPDX-License-Identifier: Apache-2.0
 *
 * Linear layers. For each group of 64 outputs all rows are multiplied in tiles of up to 6. While
 * one tile is multiplied, the one before it is requantised and stored; and the next group's weights
 * are prefetched, so that weights from memory cost nothing.
 */
#include "kernels/prototypes.h"

#include <stdbool.h>

#include "kernels/x86/product_avx512vnni.h"
#include "kernels/x86/requantize_avx512vnni.h"

/* Up to 64 outputs of a layer. */
typedef struct group {
    size_t column; /* the first */
    size_t columns;
    size_t panels;
    size_t depth; /* groups of 4 inputs */
    const int8_t *weights;
    const char *ahead;  /* weights of the next group that are not yet prefetched */
    size_t ahead_lines; /* how many lines these are */
    size_t ahead_per_tile;
    bool halves; /* some c is 32 */
    iviti_scales_512 scales;
} group;

/* Where the rows of an output go, and what is done with them. */
typedef struct destination {
    uint8_t element; /* these three as in iviti_finish_512 */
    uint8_t flip;
    bool add;
    uint8_t *base;
    size_t row_bytes;
    size_t column_bytes; /* 0 where every group begins at the same place */
    const uint32_t *map; /* where row r goes, or NULL: to row r */
    size_t wrap;         /* of a ring of a power of 2 of rows: one less; otherwise SIZE_MAX */
    const uint8_t *tables;
    /* Called when rows [first, end) of a group are in the buffer; or NULL. */
    void (*after)(void *context, const group *g, size_t first, size_t end);
    void *context;
} destination;

static void prepare_scales(const iviti_dense *w, group *g)
{
    const __m512i high = _mm512_set1_epi32(32);
    const __m512i one = _mm512_set1_epi32(1);
    iviti_scales_512 *s = &g->scales;

    for (size_t p = 0; p < g->panels; p++) {
        const size_t n = p * IVITI_PANEL;
        const __m512i multiplier = _mm512_loadu_si512(w->multiplier + g->column + n);
        const __m512i c = _mm512_loadu_si512(w->shift + g->column + n);
        const __m512i shift = _mm512_sub_epi32(c, high);

        g->halves |= _mm512_cmpeq_epi32_mask(c, high) != 0;
        _mm512_store_si512(s->bias + n, _mm512_loadu_si512(w->bias + g->column + n));
        _mm512_store_si512(s->even + n, multiplier);
        _mm512_store_si512(s->odd + n, _mm512_shuffle_epi32(multiplier, ODD_TO_EVEN));
        _mm512_store_si512(s->round + n, _mm512_sllv_epi32(one, _mm512_sub_epi32(shift, one)));
        _mm512_store_si512(s->shift + n, shift);
    }
}

/* The group that begins at `column`; `rows` will be multiplied with it. Groups are of equal size as
 * far as possible, except that a table belongs to 64 outputs. */
static group make_group(const iviti_dense *w, size_t column, size_t rows, bool whole)
{
    const size_t panels = (w->out - column + IVITI_PANEL - 1) / IVITI_PANEL;
    const size_t groups = (panels + TILE_PANELS - 1) / TILE_PANELS;
    const size_t even = (panels + groups - 1) / groups;
    const size_t tiles = rows ? (rows + TILE_ROWS - 1) / TILE_ROWS : 1;
    group g = { .column = column, .depth = (w->in + IVITI_GROUP - 1) / IVITI_GROUP };

    g.panels = !whole ? even : panels < TILE_PANELS ? panels : TILE_PANELS;
    g.columns = g.panels * IVITI_PANEL;
    if (g.columns > w->out - column)
        g.columns = w->out - column;
    g.weights = w->panels + column * g.depth * IVITI_GROUP;

    const size_t next = panels - g.panels < TILE_PANELS ? panels - g.panels : TILE_PANELS;
    g.ahead = (const char *)g.weights + g.panels * g.depth * 64;
    g.ahead_lines = next * g.depth;
    g.ahead_per_tile = (g.ahead_lines + tiles - 1) / tiles;
    prepare_scales(w, &g);
    return g;
}

static void prefetch_ahead(group *g)
{
    const size_t lines = g->ahead_lines < g->ahead_per_tile ? g->ahead_lines : g->ahead_per_tile;
    for (size_t i = 0; i < lines; i++)
        _mm_prefetch(g->ahead + i * 64, _MM_HINT_T1);
    g->ahead += lines * 64;
    g->ahead_lines -= lines;
}

/* Tells a tile where its rows [row, row + rows) go. */
static void address(iviti_finish_512 *f, const destination *d, const group *g, size_t row)
{
    for (size_t r = 0; r < f->rows; r++) {
        const size_t at = d->map ? d->map[row + r] : (row + r) & d->wrap;
        f->row[r] = d->base + at * d->row_bytes + g->column * d->column_bytes;
    }
}

/* Tiles of nearly equal height, 5 or 6 rows: a tile of few rows cannot fill the multipliers. */
static void multiply_group(group *g, const uint8_t *x, size_t x_stride, size_t rows,
                           const destination *d)
{
    const size_t tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
    iviti_finish_512 pair[2] = { 0 };
    size_t row = 0, finished = 0;

    for (size_t i = 0; i < 2; i++) {
        pair[i].element = d->element;
        pair[i].flip = d->flip;
        pair[i].add = d->add;
        pair[i].columns = g->columns < 64 ? ((uint64_t)1 << g->columns) - 1 : ~(uint64_t)0;
        pair[i].scales = &g->scales;
        pair[i].table = d->tables ? d->tables + g->column / IVITI_GELU_GROUP * 256 : NULL;
    }
    for (size_t i = 0; i < tiles; i++) {
        iviti_finish_512 *f = &pair[i % 2];
        const iviti_finish_512 *before = i > 0 && !g->halves ? &pair[(i + 1) % 2] : NULL;

        f->rows = rows / tiles + (i < rows % tiles);
        address(f, d, g, row);
        prefetch_ahead(g);
        iviti_products_avx512vnni[f->rows - 1][g->panels - 1](
            x + row * x_stride, x_stride, g->weights, g->depth * 64, g->depth, f->acc, before);
        if (d->after && row > finished)
            d->after(d->context, g, finished, row);
        finished = row;
        row += f->rows;
        if (i + 1 == tiles || g->halves)
            iviti_finish_avx512vnni(f);
    }
    if (d->after)
        d->after(d->context, g, finished, rows);
}

static void multiply(const iviti_dense *w, const uint8_t *x, size_t x_stride, size_t rows,
                     const destination *d)
{
    size_t columns;
    for (size_t column = 0; column < w->out; column += columns) {
        group g = make_group(w, column, rows, d->tables != NULL);
        columns = g.columns;
        multiply_group(&g, x, x_stride, rows, d);
    }
}

/* ---- s8, s16 and s32 ------------------------------------------------------------------------- */

void iviti_dense_s8_avx512vnni(const iviti_dense *w, const uint8_t *x, size_t x_stride, size_t rows,
                               uint8_t *y, size_t y_stride)
{
    multiply(w, x, x_stride, rows,
             &(destination){ .element = 1,
                             .flip = 0x80,
                             .base = y,
                             .wrap = SIZE_MAX,
                             .row_bytes = y_stride,
                             .column_bytes = 1 });
}

void iviti_dense_table_avx512vnni(const iviti_dense *w, const uint8_t *tables, const uint8_t *x,
                                  size_t x_stride, size_t rows, uint8_t *y, size_t y_stride)
{
    multiply(w, x, x_stride, rows,
             &(destination){ .element = 1,
                             .base = y,
                             .wrap = SIZE_MAX,
                             .row_bytes = y_stride,
                             .column_bytes = 1,
                             .tables = tables });
}

void iviti_dense_s16_avx512vnni(const iviti_dense *w, const uint8_t *x, size_t x_stride,
                                size_t rows, int16_t *y, size_t y_stride)
{
    multiply(w, x, x_stride, rows,
             &(destination){ .element = 2,
                             .base = (uint8_t *)y,
                             .wrap = SIZE_MAX,
                             .row_bytes = y_stride * sizeof *y,
                             .column_bytes = sizeof *y });
}

/* Factors are below 1/2, so 32 bits never saturate. */
void iviti_dense_s32_avx512vnni(const iviti_dense *w, const uint8_t *x, size_t x_stride,
                                size_t rows, int32_t *y, size_t y_stride)
{
    multiply(w, x, x_stride, rows,
             &(destination){ .element = 4,
                             .base = (uint8_t *)y,
                             .wrap = SIZE_MAX,
                             .row_bytes = y_stride * sizeof *y,
                             .column_bytes = sizeof *y });
}

/* ---- residual stream ------------------------------------------------------------------------- */

#define RING 32 /* rows: more than two tiles, and more than a tile and 16 tokens */

/* The branch's rows wait in a ring until they are joined to the stream. */
typedef struct joining {
    const iviti_join *join;
    int16_t *stream;
    size_t stride;
    const uint32_t *map;
    _Alignas(64) int16_t branch[RING * TILE_COLUMNS];
} joining;

/* With c from 24 on each scaled value has at most 23 bits. */
static void join_rows(void *context, const group *g, size_t first, size_t end)
{
    const joining *j = context;
    const factor_512 of_stream = make_factor(j->join->stream, 16);
    const factor_512 of_branch = make_factor(j->join->branch, 16);

    for (size_t row = first; row < end; row++) {
        const int16_t *branch = j->branch + row % RING * TILE_COLUMNS;
        int16_t *y = j->stream + (j->map ? j->map[row] : row) * j->stride + g->column;
        for (size_t n = 0; n < g->columns; n += 16) {
            const size_t left = g->columns - n;
            const __mmask16 mask = (__mmask16)(left < 16 ? (1u << left) - 1 : 0xFFFF);
            const __m512i a = _mm512_cvtepi16_epi32(_mm256_maskz_loadu_epi16(mask, y + n));
            const __m512i b =
                _mm512_cvtepi16_epi32(_mm256_load_si256((const __m256i *)(branch + n)));
            const __m512i sum =
                _mm512_add_epi32(scale_by_factor(a, &of_stream), scale_by_factor(b, &of_branch));
            _mm512_mask_cvtsepi32_storeu_epi16(y + n, mask, sum);
        }
    }
}

static bool is_one(iviti_dyadic f)
{
    return f.multiplier == 1 << 30 && f.shift == 30;
}

/* Where both factors are one, joining is a saturating addition. */
void iviti_dense_join_avx512vnni(const iviti_dense *w, const iviti_join *join, const uint8_t *x,
                                 size_t x_stride, size_t rows, int16_t *stream,
                                 size_t stream_stride, const uint32_t *map)
{
    if (is_one(join->stream) && is_one(join->branch)) {
        multiply(w, x, x_stride, rows,
                 &(destination){ .element = 2,
                                 .add = true,
                                 .base = (uint8_t *)stream,
                                 .wrap = SIZE_MAX,
                                 .row_bytes = stream_stride * sizeof *stream,
                                 .column_bytes = sizeof *stream,
                                 .map = map });
        return;
    }
    joining j = { .join = join, .stream = stream, .stride = stream_stride, .map = map };
    multiply(w, x, x_stride, rows,
             &(destination){ .element = 2,
                             .base = (uint8_t *)j.branch,
                             .row_bytes = TILE_COLUMNS * sizeof *j.branch,
                             .wrap = RING - 1,
                             .after = join_rows,
                             .context = &j });
}

/* ---- keys and values ------------------------------------------------------------------------- */

#define PIECES (TILE_COLUMNS / IVITI_GROUP) /* of four channels: never of two heads */

typedef struct heads heads;

/* Spreads the next tokens over the panels of their window, at most 16. */
typedef void spread(const heads *h, size_t tokens);

/* s8 rows wait in a ring until those of 16 tokens are complete. */
struct heads {
    const iviti_head_panels *to;
    spread *spread;
    size_t first;   /* row of the run that is row 0 of the call */
    size_t rows;    /* of the call */
    size_t done;    /* of them, that have been spread */
    int8_t *window; /* of the next one */
    size_t token;   /* that it is in the window */
    size_t pieces;
    size_t piece[PIECES]; /* where each piece of token 0 lies in a window */
    _Alignas(64) int8_t ring[RING * TILE_COLUMNS];
};

/* The n-th row that is not yet spread. */
static const int8_t *next_row(const heads *h, size_t n)
{
    return h->ring + (h->done + n) % RING * TILE_COLUMNS;
}

/* Spreads what is complete: 16 tokens, or what is left of a window or of the call. */
static void spread_complete(void *context, const group *g, size_t first, size_t end)
{
    heads *h = context;

    (void)g;
    (void)first;
    while (h->done < end) {
        size_t tokens = IVITI_PANEL;
        if (tokens > h->to->tokens - h->token)
            tokens = h->to->tokens - h->token;
        if (tokens > h->rows - h->done)
            tokens = h->rows - h->done;
        if (tokens > end - h->done)
            return;
        h->spread(h, tokens);
        h->done += tokens;
        h->token += tokens;
        if (h->token == h->to->tokens) {
            h->token = 0;
            h->window += h->to->heads * h->to->block;
        }
    }
}

/* Where channel `o` of token 0 lies in a window. */
typedef size_t channel_offset(const iviti_head_panels *to, size_t o);

static void multiply_heads(const iviti_dense *w, const uint8_t *x, size_t x_stride, heads *h,
                           channel_offset *offset)
{
    const destination d = { .element = 1,
                            .base = (uint8_t *)h->ring,
                            .row_bytes = TILE_COLUMNS,
                            .wrap = RING - 1,
                            .after = spread_complete,
                            .context = h };
    size_t columns;

    for (size_t column = 0; column < w->out; column += columns) {
        group g = make_group(w, column, h->rows, false);
        columns = g.columns;
        h->done = 0;
        h->token = h->first % h->to->tokens;
        h->window = h->to->panels + h->first / h->to->tokens * h->to->heads * h->to->block;
        h->pieces = columns / IVITI_GROUP;
        for (size_t i = 0; i < h->pieces; i++)
            h->piece[i] = offset(h->to, column + i * IVITI_GROUP);
        multiply_group(&g, x, x_stride, h->rows, &d);
    }
}

/* Sixteen rows of sixteen dwords become sixteen columns. */
INLINE void transpose_dwords(__m512i v[16])
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
static void spread_keys(const heads *h, size_t tokens)
{
    int8_t *line = h->window + iviti_panel_offset(h->token, 0, h->to->head_dim);
    const __mmask16 mask = (__mmask16)((1u << tokens) - 1);
    __m512i v[16];

    for (size_t i = 0; i < 16; i++)
        v[i] = _mm512_load_si512(next_row(h, i));
    transpose_dwords(v);
    for (size_t i = 0; i < h->pieces; i++)
        _mm512_mask_storeu_epi32(line + h->piece[i], mask, v[i]);
}

static size_t key_offset(const iviti_head_panels *to, size_t o)
{
    return o / to->head_dim * to->block + iviti_panel_offset(0, o % to->head_dim, to->head_dim);
}

void iviti_dense_keys_avx512vnni(const iviti_dense *w, const uint8_t *x, size_t x_stride,
                                 size_t first, size_t rows, const iviti_head_panels *keys)
{
    heads h = { .to = keys, .spread = spread_keys, .first = first, .rows = rows };
    multiply_heads(w, x, x_stride, &h, key_offset);
}

/* Four rows of 64 bytes become, for each run of 16 columns, 16 groups of 4 bytes. */
INLINE void interleave_rows(const heads *h, size_t row, __m512i lines[4])
{
    const __m512i r0 = _mm512_load_si512(next_row(h, row));
    const __m512i r1 = _mm512_load_si512(next_row(h, row + 1));
    const __m512i r2 = _mm512_load_si512(next_row(h, row + 2));
    const __m512i r3 = _mm512_load_si512(next_row(h, row + 3));
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

/* The same to head widths that are no multiple of 16, piece by piece. */
static void store_pieces(const heads *h, int8_t *line, __mmask16 mask, const __m512i lines[4])
{
    _Alignas(64) int8_t bytes[4 * 64];

    for (size_t p = 0; p < 4; p++)
        _mm512_store_si512(bytes + p * 64, lines[p]);
    for (size_t i = 0; i < h->pieces; i++)
        _mm_mask_storeu_epi8(line + h->piece[i], mask,
                             _mm_load_si128((const __m128i *)(bytes + i * 16)));
}

/* Four tokens fill a line of the value panels with sixteen of their channels. */
static void spread_values(const heads *h, size_t tokens)
{
    for (size_t t = 0; t < tokens; t += IVITI_GROUP) {
        int8_t *line = h->window + iviti_panel_offset(0, h->token + t, h->to->tokens);
        const size_t left = tokens - t < IVITI_GROUP ? tokens - t : IVITI_GROUP;
        const uint64_t mask = 0x1111111111111111 * (((uint64_t)1 << left) - 1);
        __m512i lines[4];

        interleave_rows(h, t, lines);
        if (h->to->head_dim % IVITI_PANEL == 0)
            for (size_t p = 0; p * 4 < h->pieces; p++)
                _mm512_mask_storeu_epi8(line + h->piece[p * 4], mask, lines[p]);
        else
            store_pieces(h, line, (__mmask16)mask, lines);
    }
}

static size_t value_offset(const iviti_head_panels *to, size_t o)
{
    return o / to->head_dim * to->block + iviti_panel_offset(o % to->head_dim, 0, to->tokens);
}

void iviti_dense_values_avx512vnni(const iviti_dense *w, const uint8_t *x, size_t x_stride,
                                   size_t first, size_t rows, const iviti_head_panels *values)
{
    heads h = { .to = values, .spread = spread_values, .first = first, .rows = rows };
    multiply_heads(w, x, x_stride, &h, value_offset);
}

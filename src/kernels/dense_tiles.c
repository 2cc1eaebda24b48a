/* SPDX-License-Identifier: Apache-2.0
 *
 * Linear layers, the order of things. For each group of 64 outputs all rows are multiplied in tiles
 * of up to 6. While one tile is multiplied, the one before it may be finished; and the next group's
 * weights are prefetched, so that weights from memory cost nothing.
 */
#include "kernels/engine.h"

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
    iviti_scales scales;
} group;

/* Where the rows of an output go, and what is done with them. */
typedef struct destination {
    uint8_t element; /* these three as in iviti_finish */
    uint8_t flip;
    bool add;
    uint8_t *base;
    size_t row_bytes;
    size_t column_bytes; /* 0 where every group begins at the same place */
    const uint32_t *map; /* where row r goes, or NULL: to row r */
    size_t wrap;         /* of a ring: its rows, less one; otherwise SIZE_MAX */
    const uint8_t *tables;
    /* Called when rows [first, end) of a group have gone there; or NULL. */
    void (*after)(void *context, const group *g, size_t first, size_t end);
    void *context;
} destination;

static void prepare_scales(const iviti_dense *w, group *g)
{
    iviti_scales *s = &g->scales;

    for (size_t n = 0; n < g->panels * IVITI_PANEL; n++) {
        const size_t o = g->column + n;
        const int32_t shift = w->shift[o] - 32;
        g->halves |= shift == 0;
        s->bias[n] = w->bias[o];
        s->multiplier[n] = w->multiplier[o];
        s->odd_multiplier[n] = w->multiplier[o | 1];
        s->round[n] = shift > 0 && shift < 32 ? 1 << (shift - 1) : 0;
        s->shift[n] = shift;
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
        __builtin_prefetch(g->ahead + i * 64, 0, 2);
    g->ahead += lines * 64;
    g->ahead_lines -= lines;
}

/* Tells a tile where its rows [row, row + rows) go. */
static void address(iviti_finish *f, const destination *d, const group *g, size_t row)
{
    for (size_t r = 0; r < f->rows; r++) {
        const size_t at = d->map ? d->map[row + r] : (row + r) & d->wrap;
        f->row[r] = d->base + at * d->row_bytes + g->column * d->column_bytes;
    }
}

/* Tiles of nearly equal height, 5 or 6 rows: a tile of few rows cannot fill the multipliers. */
static void multiply_group(const iviti_engine *e, group *g, const uint8_t *x, size_t x_stride,
                           size_t rows, const destination *d)
{
    const size_t tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
    const bool overlaps = e->overlaps && !g->halves;
    iviti_finish pair[2] = { 0 };
    size_t row = 0, finished = 0;

    for (size_t i = 0; i < 2; i++) {
        pair[i].element = d->element;
        pair[i].flip = d->flip;
        pair[i].add = d->add;
        pair[i].halves = g->halves;
        pair[i].columns = g->columns;
        pair[i].mask = ~(uint64_t)0 >> (TILE_COLUMNS - g->columns);
        pair[i].scales = &g->scales;
        pair[i].table = d->tables ? d->tables + g->column / IVITI_GELU_GROUP * 256 : NULL;
    }
    for (size_t i = 0; i < tiles; i++) {
        iviti_finish *f = &pair[i % 2];
        const iviti_finish *before = i > 0 && overlaps ? &pair[(i + 1) % 2] : NULL;

        f->rows = rows / tiles + (i < rows % tiles);
        address(f, d, g, row);
        prefetch_ahead(g);
        e->products[f->rows - 1][g->panels - 1](x + row * x_stride, x_stride, g->weights,
                                                g->depth * 64, g->depth, f->acc, before);
        if (d->after && row > finished)
            d->after(d->context, g, finished, row);
        finished = row;
        row += f->rows;
        if (i + 1 == tiles || !overlaps)
            e->finish(f);
    }
    if (d->after)
        d->after(d->context, g, finished, rows);
}

static void multiply(const iviti_engine *e, const iviti_dense *w, const uint8_t *x, size_t x_stride,
                     size_t rows, const destination *d)
{
    size_t columns;
    for (size_t column = 0; column < w->out; column += columns) {
        group g = make_group(w, column, rows, d->tables != NULL);
        columns = g.columns;
        multiply_group(e, &g, x, x_stride, rows, d);
    }
}

/* ---- s8, s16 and s32 ------------------------------------------------------------------------- */

void iviti_tiles_s8(const iviti_engine *e, const iviti_dense *w, const uint8_t *x, size_t x_stride,
                    size_t rows, uint8_t *y, size_t y_stride)
{
    const destination d = { .element = 1,
                            .flip = 0x80,
                            .base = y,
                            .row_bytes = y_stride,
                            .column_bytes = 1,
                            .wrap = SIZE_MAX };
    multiply(e, w, x, x_stride, rows, &d);
}

void iviti_tiles_table(const iviti_engine *e, const iviti_dense *w, const uint8_t *tables,
                       const uint8_t *x, size_t x_stride, size_t rows, uint8_t *y, size_t y_stride)
{
    const destination d = { .element = 1,
                            .base = y,
                            .row_bytes = y_stride,
                            .column_bytes = 1,
                            .wrap = SIZE_MAX,
                            .tables = tables };
    multiply(e, w, x, x_stride, rows, &d);
}

void iviti_tiles_s16(const iviti_engine *e, const iviti_dense *w, const uint8_t *x, size_t x_stride,
                     size_t rows, int16_t *y, size_t y_stride)
{
    const destination d = { .element = sizeof *y,
                            .base = (uint8_t *)y,
                            .row_bytes = y_stride * sizeof *y,
                            .column_bytes = sizeof *y,
                            .wrap = SIZE_MAX };
    multiply(e, w, x, x_stride, rows, &d);
}

/* Factors are below 1/2, so 32 bits never saturate. */
void iviti_tiles_s32(const iviti_engine *e, const iviti_dense *w, const uint8_t *x, size_t x_stride,
                     size_t rows, int32_t *y, size_t y_stride)
{
    const destination d = { .element = sizeof *y,
                            .base = (uint8_t *)y,
                            .row_bytes = y_stride * sizeof *y,
                            .column_bytes = sizeof *y,
                            .wrap = SIZE_MAX };
    multiply(e, w, x, x_stride, rows, &d);
}

/* ---- residual stream ------------------------------------------------------------------------- */

/* The branch's rows wait in a ring until they are joined to the stream. */
typedef struct joining {
    iviti_join_row *join_row;
    const iviti_join *join;
    int16_t *stream;
    size_t stride;
    const uint32_t *map;
    _Alignas(64) int16_t branch[RING_ROWS * TILE_COLUMNS];
} joining;

static void join_rows(void *context, const group *g, size_t first, size_t end)
{
    const joining *j = context;

    for (size_t row = first; row < end; row++)
        j->join_row(j->join, j->branch + row % RING_ROWS * TILE_COLUMNS,
                    j->stream + (j->map ? j->map[row] : row) * j->stride + g->column, g->columns);
}

static bool is_one(iviti_dyadic f)
{
    return f.multiplier == 1 << 30 && f.shift == 30;
}

/* Where both factors are one, joining is a saturating addition. */
void iviti_tiles_join(const iviti_engine *e, const iviti_dense *w, const iviti_join *join,
                      const uint8_t *x, size_t x_stride, size_t rows, int16_t *stream,
                      size_t stream_stride, const uint32_t *map)
{
    joining j;
    destination d = { .element = sizeof *stream };

    if (is_one(join->stream) && is_one(join->branch)) {
        d.add = true;
        d.base = (uint8_t *)stream;
        d.row_bytes = stream_stride * sizeof *stream;
        d.column_bytes = sizeof *stream;
        d.map = map;
        d.wrap = SIZE_MAX;
    } else {
        j.join_row = e->join_row;
        j.join = join;
        j.stream = stream;
        j.stride = stream_stride;
        j.map = map;
        d.base = (uint8_t *)j.branch;
        d.row_bytes = TILE_COLUMNS * sizeof *stream;
        d.wrap = RING_ROWS - 1;
        d.after = join_rows;
        d.context = &j;
    }
    multiply(e, w, x, x_stride, rows, &d);
}

/* ---- keys and values ------------------------------------------------------------------------- */

typedef struct spreading {
    iviti_spread_tokens *spread_tokens;
    size_t rows; /* of the call */
    size_t done; /* of them, that have been spread */
    iviti_spread s;
} spreading;

/* Spreads what is complete: 16 tokens, or what is left of a window or of the call. */
static void spread_complete(void *context, const group *g, size_t first, size_t end)
{
    spreading *p = context;
    iviti_spread *s = &p->s;

    (void)g;
    (void)first;
    while (p->done < end) {
        size_t tokens = IVITI_PANEL;
        if (tokens > s->to->tokens - s->token)
            tokens = s->to->tokens - s->token;
        if (tokens > p->rows - p->done)
            tokens = p->rows - p->done;
        if (tokens > end - p->done)
            return;
        p->spread_tokens(s, tokens);
        p->done += tokens;
        s->next += tokens;
        s->token += tokens;
        if (s->token == s->to->tokens) {
            s->token = 0;
            s->window += s->to->heads * s->to->block;
        }
    }
}

/* Where channel `o` of token 0 lies in a window. */
typedef size_t channel_offset(const iviti_head_panels *to, size_t o);

static void multiply_heads(const iviti_engine *e, const iviti_dense *w, const uint8_t *x,
                           size_t x_stride, size_t first, spreading *p, channel_offset *offset)
{
    iviti_spread *s = &p->s;
    const destination d = { .element = 1,
                            .base = (uint8_t *)s->ring,
                            .row_bytes = TILE_COLUMNS,
                            .wrap = RING_ROWS - 1,
                            .after = spread_complete,
                            .context = p };
    size_t columns;

    for (size_t column = 0; column < w->out; column += columns) {
        group g = make_group(w, column, p->rows, false);
        columns = g.columns;
        p->done = 0;
        s->next = 0;
        s->token = first % s->to->tokens;
        s->window = s->to->panels + first / s->to->tokens * s->to->heads * s->to->block;
        s->pieces = columns / IVITI_GROUP;
        for (size_t i = 0; i < s->pieces; i++)
            s->piece[i] = offset(s->to, column + i * IVITI_GROUP);
        multiply_group(e, &g, x, x_stride, p->rows, &d);
    }
}

static size_t key_offset(const iviti_head_panels *to, size_t o)
{
    return o / to->head_dim * to->block + iviti_panel_offset(0, o % to->head_dim, to->head_dim);
}

void iviti_tiles_keys(const iviti_engine *e, const iviti_dense *w, const uint8_t *x,
                      size_t x_stride, size_t first, size_t rows, const iviti_head_panels *keys)
{
    spreading p = { .spread_tokens = e->spread_keys, .rows = rows, .s = { .to = keys } };
    multiply_heads(e, w, x, x_stride, first, &p, key_offset);
}

static size_t value_offset(const iviti_head_panels *to, size_t o)
{
    return o / to->head_dim * to->block + iviti_panel_offset(o % to->head_dim, 0, to->tokens);
}

void iviti_tiles_values(const iviti_engine *e, const iviti_dense *w, const uint8_t *x,
                        size_t x_stride, size_t first, size_t rows, const iviti_head_panels *values)
{
    spreading p = { .spread_tokens = e->spread_values, .rows = rows, .s = { .to = values } };
    multiply_heads(e, w, x, x_stride, first, &p, value_offset);
}

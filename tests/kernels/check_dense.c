/* SPDX-License-Identifier: Apache-2.0
 *
 * The linear layers.
 */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/prototypes.h"

#define TEXT 160

static size_t round_up(size_t n, size_t multiple)
{
    return (n + multiple - 1) / multiple * multiple;
}

typedef struct shape {
    uint32_t rows, in, out;
    uint32_t x_gap, y_gap;   /* elements between rows */
    uint32_t heads, windows; /* keys and values: out is heads * head_dim, rows are whole windows */
} shape;

/* Tails of every kind, then the layers of a small network. */
static const shape shapes[] = {
    { 0, 8, 64, 0, 0, 2, 1 },    { 1, 1, 1, 0, 0, 1, 1 },      { 1, 4, 16, 0, 0, 4, 1 },
    { 2, 3, 5, 1, 3, 1, 1 },     { 3, 5, 15, 7, 1, 1, 1 },     { 4, 8, 17, 0, 2, 1, 2 },
    { 5, 13, 31, 0, 0, 1, 1 },   { 6, 16, 32, 3, 0, 8, 1 },    { 7, 33, 33, 1, 1, 1, 1 },
    { 8, 64, 48, 0, 5, 2, 2 },   { 9, 31, 63, 2, 0, 1, 3 },    { 10, 12, 64, 1, 0, 4, 1 },
    { 11, 48, 65, 0, 7, 1, 1 },  { 12, 20, 80, 0, 1, 4, 4 },   { 13, 192, 100, 0, 0, 5, 1 },
    { 16, 27, 128, 5, 0, 2, 1 }, { 17, 64, 192, 0, 0, 3, 1 },  { 1, 192, 1000, 0, 0, 25, 1 },
    { 23, 100, 96, 0, 0, 3, 1 }, { 49, 96, 96, 0, 0, 3, 1 },   { 98, 24, 36, 1, 1, 3, 2 },
    { 65, 64, 64, 0, 0, 16, 1 }, { 33, 768, 64, 0, 64, 1, 1 }, { 5, 3072, 70, 0, 0, 1, 1 },
    { 197, 64, 72, 0, 0, 2, 1 }, { 19, 192, 256, 0, 0, 4, 1 },
};

/* The layers of DeiT-T, DeiT-S and DeiT-B. */
static const shape bench_shapes[] = {
    { 197, 192, 192, 0, 0, 3, 1 },   { 197, 192, 768, 0, 0, 12, 1 },
    { 197, 768, 192, 0, 0, 3, 1 },   { 197, 384, 384, 0, 0, 6, 1 },
    { 197, 384, 1536, 0, 0, 24, 1 }, { 197, 1536, 384, 0, 0, 6, 1 },
    { 197, 768, 768, 0, 0, 12, 1 },  { 197, 768, 3072, 0, 0, 48, 1 },
    { 197, 3072, 768, 0, 0, 12, 1 }, { 3136, 96, 96, 0, 0, 3, 64 },
    { 1, 192, 1000, 0, 0, 25, 1 },
};

/* Everything that a layer of one shape needs. */
typedef struct layer {
    shape s;
    char text[TEXT];
    iviti_dense w;
    const uint8_t *x;
    size_t x_stride, y_stride;
    const uint8_t *tables;   /* dense_table */
    iviti_join join;         /* dense_join */
    const uint32_t *map;     /* dense_join */
    iviti_head_panels heads; /* dense_keys, dense_values; panels are the output */
    size_t first;            /* dense_keys, dense_values: rows [first, end) are a thread's share */
    size_t end;
} layer;

static int bits_of(int64_t magnitude)
{
    int bits = 0;
    while (magnitude >> bits)
        bits++;
    return bits;
}

/* Weights, biases and factors of one output; results use about `to` bits. */
static void fill_output(test *t, layer *l, uint32_t o, int to, int8_t *panels, int32_t *bias,
                        int32_t *multiplier, int32_t *shift)
{
    chance *c = &t->chance;
    int64_t sum = 0;

    for (uint32_t k = 0; k < l->s.in; k++) {
        const int32_t value = chance_value(c, -127, 127);
        panels[iviti_panel_offset(o, k, l->s.in)] = (int8_t)value;
        sum += abs(value);
    }
    const int32_t room = (int32_t)(INT32_MAX - 1 - 255 * sum);
    const int32_t usual = (int32_t)(8 * sum);
    bias[o] = chance_one_in(c, 4) ? chance_value(c, -room, room) : chance_between(c, -usual, usual);

    const iviti_dyadic f = chance_factor(c, bits_of(sum * 32), to, 32, 62);
    multiplier[o] = f.multiplier;
    shift[o] = f.shift;
}

static void make_layer(test *t, layer *l, const shape *s, int to)
{
    memory *m = &t->memory;
    const size_t padded = round_up(s->out, 16);
    const size_t depth = round_up(s->in, 4);

    memset(l, 0, sizeof *l);
    l->s = *s;
    l->x_stride = depth + s->x_gap;
    l->y_stride = s->out + s->y_gap;
    snprintf(l->text, sizeof l->text, "rows %u in %u out %u gaps %u %u heads %u windows %u",
             s->rows, s->in, s->out, s->x_gap, s->y_gap, s->heads, s->windows);

    int8_t *panels = memory_take(m, iviti_panel_bytes(s->out, s->in), 64);
    int32_t *bias = memory_take(m, padded * sizeof *bias, sizeof *bias);
    int32_t *multiplier = memory_take(m, padded * sizeof *multiplier, sizeof *multiplier);
    int32_t *shift = memory_take(m, padded * sizeof *shift, sizeof *shift);
    memset(panels, 0, iviti_panel_bytes(s->out, s->in));
    for (uint32_t o = 0; o < s->out; o++)
        fill_output(t, l, o, to, panels, bias, multiplier, shift);
    memory_protect(m, panels);
    memory_protect(m, bias);
    memory_protect(m, multiplier);
    memory_protect(m, shift);
    l->w = (iviti_dense){ s->in, s->out, panels, bias, multiplier, shift };

    const size_t x_bytes = s->rows ? (s->rows - 1) * l->x_stride + depth : 0;
    uint8_t *x = memory_take(m, x_bytes, 1);
    for (size_t i = 0; i < x_bytes; i++)
        x[i] = (uint8_t)chance_value(&t->chance, 0, 255);
    memory_protect(m, x);
    l->x = x;
}

typedef void run_layer(test *t, layer *l);

static void run_shape(test *t, const shape *s, int to, run_layer *run)
{
    layer l;
    make_layer(t, &l, s, to);
    run(t, &l);
    memory_release(&t->memory);
}

/* A small shape of `out` outputs: whole groups are divided into heads, and rows into windows. */
static shape draw_shape(chance *c, uint32_t out)
{
    shape s = { .rows = chance_u32(c) % 40,
                .in = 1 + chance_u32(c) % 70,
                .out = out,
                .x_gap = chance_u32(c) % 3,
                .y_gap = chance_u32(c) % 3,
                .heads = 1 + chance_u32(c) % 4,
                .windows = 1 + chance_u32(c) % 3 };
    if (s.out % (IVITI_GROUP * s.heads) != 0)
        s.heads = 1;
    if (s.rows < s.windows)
        s.windows = 1;
    s.rows = s.rows / s.windows * s.windows;
    return s;
}

static void for_shapes(test *t, int to, run_layer *run)
{
    const shape *list = t->bench ? bench_shapes : shapes;
    const size_t count =
        t->bench ? sizeof bench_shapes / sizeof *bench_shapes : sizeof shapes / sizeof *shapes;

    if (t->drawn) {
        const shape s = draw_shape(&t->chance, 1 + chance_u32(&t->chance) % 70);
        run_shape(t, &s, to, run);
        return;
    }
    for (size_t i = 0; i < count && !t->failed; i++)
        run_shape(t, &list[i], to, run);
    for (uint32_t out = TAIL_FIRST; out <= TAIL_LAST && !t->failed && !t->bench; out++) {
        const shape s = draw_shape(&t->chance, out);
        run_shape(t, &s, to, run);
    }
}

static double work_of(const layer *l)
{
    return (double)l->s.rows * l->s.in * l->s.out;
}

static size_t output_elements(const layer *l, uint32_t last_row)
{
    return l->s.rows ? last_row * l->y_stride + l->s.out : 0;
}

/* ---- s8, s16 and s32 ------------------------------------------------------------------------- */

static void run_plain(test *t, layer *l, size_t element, call_function *call)
{
    const twins o = twins_take(t, output_elements(l, l->s.rows - 1) * element, element);
    run_case(t, l->text, work_of(l), &o, call, l);
}

static void call_dense_s8(const void *context, function *f, uint8_t *y)
{
    const layer *l = context;
    ((IVITI_DECLARE_dense_s8((*)))f)(&l->w, l->x, l->x_stride, l->s.rows, y, l->y_stride);
}

static void run_dense_s8(test *t, layer *l)
{
    run_plain(t, l, 1, call_dense_s8);
}

void check_dense_s8(test *t)
{
    for_shapes(t, 8, run_dense_s8);
}

static void call_dense_s16(const void *context, function *f, uint8_t *y)
{
    const layer *l = context;
    ((IVITI_DECLARE_dense_s16((*)))f)(&l->w, l->x, l->x_stride, l->s.rows, (void *)y, l->y_stride);
}

static void run_dense_s16(test *t, layer *l)
{
    run_plain(t, l, 2, call_dense_s16);
}

void check_dense_s16(test *t)
{
    for_shapes(t, 16, run_dense_s16);
}

static void call_dense_s32(const void *context, function *f, uint8_t *y)
{
    const layer *l = context;
    ((IVITI_DECLARE_dense_s32((*)))f)(&l->w, l->x, l->x_stride, l->s.rows, (void *)y, l->y_stride);
}

static void run_dense_s32(test *t, layer *l)
{
    run_plain(t, l, 4, call_dense_s32);
}

void check_dense_s32(test *t)
{
    for_shapes(t, 24, run_dense_s32);
}

/* ---- tables ---------------------------------------------------------------------------------- */

static void call_dense_table(const void *context, function *f, uint8_t *y)
{
    const layer *l = context;
    ((IVITI_DECLARE_dense_table((*)))f)(&l->w, l->tables, l->x, l->x_stride, l->s.rows, y,
                                        l->y_stride);
}

static void run_dense_table(test *t, layer *l)
{
    const size_t bytes = round_up(l->s.out, IVITI_GELU_GROUP) / IVITI_GELU_GROUP * 256;
    uint8_t *tables = memory_take(&t->memory, bytes, 1);
    for (size_t i = 0; i < bytes; i++)
        tables[i] = (uint8_t)chance_u32(&t->chance);
    memory_protect(&t->memory, tables);
    l->tables = tables;
    run_plain(t, l, 1, call_dense_table);
}

void check_dense_table(test *t)
{
    for_shapes(t, 8, run_dense_table);
}

/* ---- residual stream ------------------------------------------------------------------------- */

static iviti_dyadic join_factor(chance *c)
{
    return chance_one_in(c, 3) ? IVITI_DYADIC_ONE : chance_factor(c, 16, 16, 24, 62);
}

static void call_dense_join(const void *context, function *f, uint8_t *y)
{
    const layer *l = context;
    ((IVITI_DECLARE_dense_join((*)))f)(&l->w, &l->join, l->x, l->x_stride, l->s.rows, (void *)y,
                                       l->y_stride, l->map);
}

/* Half of the cases go to rows of the stream in another order, with rows between them. */
static void run_dense_join(test *t, layer *l)
{
    chance *c = &t->chance;
    uint32_t last = l->s.rows - 1;

    if (l->s.rows && chance_one_in(c, 2)) {
        uint32_t *map = memory_take(&t->memory, l->s.rows * sizeof *map, sizeof *map);
        for (uint32_t r = 0; r < l->s.rows; r++)
            map[r] = 2 * (last - r);
        memory_protect(&t->memory, map);
        l->map = map;
        last *= 2;
    }
    l->join = (iviti_join){ join_factor(c), join_factor(c) };
    if (t->bench || chance_one_in(c, 3))
        l->join = (iviti_join){ IVITI_DYADIC_ONE, IVITI_DYADIC_ONE };

    const size_t elements = output_elements(l, last);
    const twins o = twins_take(t, elements * 2, 2);
    int16_t *stream = (int16_t *)(void *)o.expected;
    for (size_t i = 0; i < elements; i++)
        stream[i] = (int16_t)chance_value(c, INT16_MIN, INT16_MAX);
    twins_copy(&o, elements * 2);
    run_case(t, l->text, work_of(l), &o, call_dense_join, l);
}

void check_dense_join(test *t)
{
    for_shapes(t, 16, run_dense_join);
}

/* ---- keys and values ------------------------------------------------------------------------- */

static void call_heads(const void *context, function *f, uint8_t *y)
{
    const layer *l = context;
    iviti_head_panels to = l->heads;
    to.panels = (int8_t *)y;
    ((IVITI_DECLARE_dense_keys((*)))f)(&l->w, l->x + l->first * l->x_stride, l->x_stride, l->first,
                                       l->end - l->first, &to);
}

/* Some cases are a thread's share: it begins at a multiple of 16 tokens of a window, or at a
 * window, and ends anywhere. */
static void make_share(chance *c, layer *l, uint32_t tokens)
{
    if (tokens > 16 && chance_one_in(c, 2))
        l->first = 16;
    else if (l->s.windows > 1 && chance_one_in(c, 2))
        l->first = tokens;
    if (chance_one_in(c, 2) && l->end > l->first)
        l->end = (size_t)chance_between(c, (int32_t)l->first, (int32_t)l->end);
}

static void run_heads(test *t, layer *l, bool keys)
{
    const uint32_t tokens = l->s.rows ? l->s.rows / l->s.windows : 1;
    const uint32_t head_dim = l->s.out / l->s.heads;
    const size_t block =
        keys ? iviti_panel_bytes(tokens, head_dim) : iviti_panel_bytes(head_dim, tokens);

    if (l->s.out % l->s.heads || head_dim % IVITI_GROUP || l->s.rows % l->s.windows)
        return;
    l->heads = (iviti_head_panels){ NULL, block, l->s.heads, head_dim, tokens };
    l->end = l->s.rows;
    if (!t->bench)
        make_share(&t->chance, l, tokens);

    const twins o = twins_take(t, block * l->s.heads * l->s.windows, 64);
    run_case(t, l->text, work_of(l), &o, call_heads, l);
}

static void run_dense_keys(test *t, layer *l)
{
    run_heads(t, l, true);
}

void check_dense_keys(test *t)
{
    for_shapes(t, 8, run_dense_keys);
}

static void run_dense_values(test *t, layer *l)
{
    run_heads(t, l, false);
}

void check_dense_values(test *t)
{
    for_shapes(t, 8, run_dense_values);
}

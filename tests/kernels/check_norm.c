/* SPDX-License-Identifier: Apache-2.0
 *
 * LayerNorm and ShiftGELU.
 */
#include "check.h"

#include <stdio.h>

#include "kernels/prototypes.h"
#include "model/geometry.h"

typedef struct shape {
    uint32_t rows, width, x_gap, y_gap;
} shape;

static const shape shapes[] = {
    { 1, 1, 0, 0 },    { 2, 2, 1, 0 },    { 3, 5, 0, 3 },     { 7, 16, 0, 0 },    { 8, 31, 2, 1 },
    { 9, 64, 0, 0 },   { 17, 65, 1, 7 },  { 5, 96, 0, 0 },    { 33, 100, 0, 0 },  { 4, 192, 4, 4 },
    { 10, 257, 0, 0 }, { 3, 384, 0, 64 }, { 16, 768, 0, 0 },  { 2, 1000, 3, 5 },  { 1, 4096, 0, 0 },
    { 2, 6144, 0, 0 }, { 0, 192, 0, 0 },  { 1, 16384, 0, 0 }, { 2, 16383, 0, 0 },
};

static const shape bench_shapes[] = {
    { 197, 192, 0, 0 },
    { 197, 384, 0, 0 },
    { 197, 768, 0, 0 },
    { 3136, 96, 0, 0 },
};

typedef struct layer {
    shape s;
    iviti_norm n;
    const int16_t *x;
    size_t x_stride, y_stride;
    const uint32_t *map;
    int32_t one_over_scale; /* ShiftGELU */
    iviti_dyadic output;    /* ShiftGELU */
} layer;

/* Rows as networks have them and rows at the ends: constant, of two values, with one value alone
 * that is not zero. */
static void fill_row(chance *c, int16_t *x, size_t width)
{
    const int32_t spread = 1 << chance_between(c, 0, 15);
    const int32_t centre = chance_between(c, -(32768 - spread), 32767 - spread);
    const int32_t value =
        chance_one_in(c, 2) ? chance_between(c, -2, 2) : chance_between(c, INT16_MIN, INT16_MAX);
    const uint32_t kind = chance_u32(c) % 6;

    for (size_t i = 0; i < width; i++)
        x[i] = (int16_t)(kind == 0   ? value
                         : kind == 1 ? (i ? 0 : value)
                                     : chance_value(c, centre - spread, centre + spread));
}

static void make_norm(test *t, layer *l)
{
    chance *c = &t->chance;
    const size_t width = l->s.width;
    const iviti_norm_kind kind = (iviti_norm_kind)(chance_u32(c) % IVITI_NORM_KINDS);
    const bool newton = kind == IVITI_NORM_NEWTON;
    const bool usual = t->bench || chance_one_in(c, 2);
    int32_t *multiplier = memory_take(&t->memory, width * sizeof *multiplier, sizeof *multiplier);
    int32_t *shift = memory_take(&t->memory, width * sizeof *shift, sizeof *shift);
    int32_t *bias = memory_take(&t->memory, width * sizeof *bias, sizeof *bias);

    for (size_t i = 0; i < width; i++) {
        const iviti_dyadic f = newton ? chance_factor(c, 30, 15, usual ? 33 : 31, 62)
                                      : chance_factor(c, 18, 15, usual ? 30 : 25, 62);
        const int32_t most = (1 << 30) - 256;
        multiplier[i] = chance_one_in(c, 3) ? -f.multiplier : f.multiplier;
        shift[i] = f.shift;
        bias[i] =
            chance_one_in(c, 4) ? chance_value(c, -most, most) : chance_between(c, -20000, 20000);
    }
    memory_protect(&t->memory, multiplier);
    memory_protect(&t->memory, shift);
    memory_protect(&t->memory, bias);
    l->n = (iviti_norm){ .width = l->s.width,
                         .kind = kind,
                         .epsilon = chance_one_in(c, 2) ? 1 : (int64_t)chance_u32(c) << 20 | 1,
                         .multiplier = multiplier,
                         .shift = shift,
                         .bias = bias };
}

static void make_map(test *t, layer *l)
{
    uint32_t *map = memory_take(&t->memory, l->s.rows * sizeof *map, sizeof *map);
    for (uint32_t r = 0; r < l->s.rows; r++)
        map[r] = chance_u32(&t->chance) % l->s.rows;
    memory_protect(&t->memory, map);
    l->map = map;
}

static void describe(const layer *l, char *text, size_t bytes)
{
    snprintf(text, bytes, "%s rows %u width %u gaps %u %u map %d",
             iviti_norm_name(l->n.kind), l->s.rows, l->s.width, l->s.x_gap,
             l->s.y_gap, l->map != NULL);
}

static size_t elements(const layer *l, size_t stride)
{
    return l->s.rows ? (l->s.rows - 1) * stride + l->s.width : 0;
}

static void fill_rows(test *t, const layer *l, int16_t *x)
{
    for (size_t r = 0; r < l->s.rows; r++)
        fill_row(&t->chance, x + r * l->x_stride, l->s.width);
}

static void call_norm_s8(const void *context, function *f, uint8_t *y)
{
    const layer *l = context;
    ((IVITI_DECLARE_norm_s8((*)))f)(&l->n, l->x, l->x_stride, l->map, l->s.rows, y, l->y_stride);
}

static void call_norm_s16(const void *context, function *f, uint8_t *y)
{
    const layer *l = context;
    ((IVITI_DECLARE_norm_s16((*)))f)(&l->n, l->x, l->x_stride, l->map, l->s.rows, (void *)y,
                                     l->y_stride);
}

static void call_norm_in_place(const void *context, function *f, uint8_t *y)
{
    const layer *l = context;
    ((IVITI_DECLARE_norm_s16((*)))f)(&l->n, (void *)y, l->x_stride, NULL, l->s.rows, (void *)y,
                                     l->x_stride);
}

static void run_norm(test *t, const shape *s, size_t element, call_function *call)
{
    layer l = { .s = *s, .x_stride = s->width + s->x_gap, .y_stride = s->width + s->y_gap };
    char text[120];

    make_norm(t, &l);
    const size_t x_bytes = elements(&l, l.x_stride) * sizeof *l.x;
    int16_t *x = memory_take(&t->memory, x_bytes, sizeof *x);
    fill_rows(t, &l, x);
    memory_protect(&t->memory, x);
    l.x = x;
    if (s->rows && !t->bench && chance_one_in(&t->chance, 2))
        make_map(t, &l);
    describe(&l, text, sizeof text);
    const twins o = twins_take(t, elements(&l, l.y_stride) * element, element);
    run_case(t, text, (double)s->rows * s->width, &o, call, &l);
    memory_release(&t->memory);
}

static void run_in_place(test *t, const shape *s)
{
    layer l = { .s = *s, .x_stride = s->width + s->x_gap };
    const size_t bytes = elements(&l, l.x_stride) * sizeof(int16_t);
    char text[120];

    make_norm(t, &l);
    describe(&l, text, sizeof text);
    const twins o = twins_take(t, bytes, sizeof(int16_t));
    fill_rows(t, &l, (int16_t *)(void *)o.expected);
    twins_copy(&o, bytes);
    run_case(t, text, (double)s->rows * s->width, &o, call_norm_in_place, &l);
    memory_release(&t->memory);
}

static void for_shapes(test *t, void (*run)(test *t, const shape *s))
{
    const shape *list = t->bench ? bench_shapes : shapes;
    const size_t count =
        t->bench ? sizeof bench_shapes / sizeof *bench_shapes : sizeof shapes / sizeof *shapes;
    chance *c = &t->chance;

    if (t->drawn) {
        const uint32_t rows = chance_u32(c) % 20, width = 1 + chance_u32(c) % 130;
        run(t, &(shape){ rows, width, chance_u32(c) % 3, chance_u32(c) % 3 });
        return;
    }
    for (size_t i = 0; i < count && !t->failed; i++)
        run(t, &list[i]);
    for (uint32_t width = TAIL_FIRST; width <= TAIL_LAST && !t->failed && !t->bench; width++)
        run(t, &(shape){ 1 + chance_u32(c) % 20, width, chance_u32(c) % 3, chance_u32(c) % 3 });
}

static void run_norm_s8(test *t, const shape *s)
{
    run_norm(t, s, 1, call_norm_s8);
}

void check_norm_s8(test *t)
{
    for_shapes(t, run_norm_s8);
}

static void run_norm_s16(test *t, const shape *s)
{
    run_norm(t, s, 2, call_norm_s16);
    if (!t->failed)
        run_in_place(t, s);
}

void check_norm_s16(test *t)
{
    for_shapes(t, run_norm_s16);
}

/* ---- ShiftGELU ------------------------------------------------------------------------------- */

static void call_shift_gelu(const void *context, function *f, uint8_t *y)
{
    const layer *l = context;
    ((IVITI_DECLARE_shift_gelu((*)))f)(y, l->x_stride, l->s.rows, l->s.width, l->one_over_scale,
                                       l->output);
}

/* Rows whose largest value lies anywhere, also below zero. */
static void run_gelu(test *t, const shape *s)
{
    chance *c = &t->chance;
    layer l = { .s = *s, .x_stride = s->width + s->x_gap };
    const size_t bytes = elements(&l, l.x_stride);
    char text[120];

    l.one_over_scale =
        chance_one_in(c, 4) ? (chance_one_in(c, 2) ? 1 : 255) : chance_between(c, 1, 255);
    l.output = chance_factor(c, 13, 8, 24, 62);
    snprintf(text, sizeof text, "rows %u width %u gap %u 1/scale %d output %d/2^%d", s->rows,
             s->width, s->x_gap, l.one_over_scale, l.output.multiplier, l.output.shift);
    const twins o = twins_take(t, bytes, 1);
    for (size_t r = 0; r < s->rows; r++) {
        const int32_t most = chance_one_in(c, 3) ? chance_between(c, 0, 255) : 255;
        for (size_t i = 0; i < s->width; i++)
            o.expected[r * l.x_stride + i] = (uint8_t)chance_value(c, 0, most);
    }
    twins_copy(&o, bytes);
    run_case(t, text, (double)s->rows * s->width, &o, call_shift_gelu, &l);
    memory_release(&t->memory);
}

void check_shift_gelu(test *t)
{
    for_shapes(t, run_gelu);
}

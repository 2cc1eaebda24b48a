/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention of one head.
 */
#include "check.h"

#include <stdio.h>
#include <string.h>

#include "kernels/prototypes.h"
#include "model/geometry.h"

typedef struct shape {
    uint32_t tokens, head_dim, first, rows, gap;
} shape;

static const shape shapes[] = {
    { 1, 4, 0, 1, 0 },      { 2, 8, 0, 2, 1 },      { 5, 64, 1, 3, 0 },    { 16, 32, 0, 16, 0 },
    { 17, 20, 3, 9, 4 },    { 49, 32, 0, 49, 0 },   { 64, 64, 60, 4, 0 },  { 65, 16, 32, 33, 1 },
    { 79, 68, 0, 7, 0 },    { 113, 48, 96, 17, 2 }, { 130, 96, 0, 6, 0 },  { 197, 64, 187, 10, 0 },
    { 198, 128, 5, 13, 0 }, { 257, 80, 200, 5, 3 }, { 600, 256, 0, 7, 0 }, { 64, 12, 0, 0, 0 },
};

/* DeiT's heads, a Swin window, a ViT at 384 pixels. */
static const shape bench_shapes[] = {
    { 197, 64, 0, 197, 128 },
    { 49, 32, 0, 49, 64 },
    { 577, 64, 0, 577, 0 },
};

typedef struct head {
    iviti_attention a;
    shape s;
    const uint8_t *q;
    size_t stride;
    const int8_t *keys, *values;
    void *scratch;
    size_t plane; /* of y: bytes of the high digits, or of all */
} head;

static void call_attention(const void *context, function *f, uint8_t *y)
{
    const head *h = context;
    iviti_attention a = h->a;
    if (a.wide_table)
        a.low = y + h->plane;
    ((IVITI_DECLARE_attention((*)))f)(&a, h->q, h->stride, h->s.first, h->s.rows, h->keys,
                                      h->values, y, h->stride, h->scratch);
}

static const int8_t *random_bytes(test *t, size_t bytes, size_t align)
{
    int8_t *data = memory_take(&t->memory, bytes, align);
    for (size_t i = 0; i < bytes; i++)
        data[i] = (int8_t)chance_value(&t->chance, INT8_MIN, INT8_MAX);
    memory_protect(&t->memory, data);
    return data;
}

/* Queries and keys whose products are the largest and the smallest there are. */
static void make_widest(test *t, head *h, size_t q_bytes)
{
    const iviti_attention *a = &h->a;
    uint8_t *q = memory_take(&t->memory, q_bytes, 1);
    int8_t *keys = memory_take(&t->memory, iviti_panel_bytes(a->tokens, a->head_dim), 64);

    memset(q, chance_one_in(&t->chance, 2) ? 255 : 0, q_bytes);
    for (size_t n = 0; n < a->tokens; n++) {
        const int8_t value = chance_one_in(&t->chance, 2) ? INT8_MIN : INT8_MAX;
        for (size_t k = 0; k < a->head_dim; k++)
            keys[iviti_panel_offset(n, k, a->head_dim)] = value;
    }
    memory_protect(&t->memory, q);
    memory_protect(&t->memory, keys);
    h->q = q;
    h->keys = keys;
}

static const uint8_t *exp_table(test *t)
{
    uint8_t *table = memory_take(&t->memory, 256, 1);
    const bool falls = chance_one_in(&t->chance, 2);
    table[0] = 255;
    for (size_t i = 1; i < 256; i++)
        table[i] = falls ? (uint8_t)chance_between(&t->chance, table[i - 1] * 7 / 8, table[i - 1])
                         : (uint8_t)chance_between(&t->chance, 0, 255);
    memory_protect(&t->memory, table);
    return table;
}

/* Numerators of 12 bits. */
static const uint16_t *wide_table(test *t)
{
    uint16_t *table = memory_take(&t->memory, 256 * sizeof *table, sizeof *table);
    table[0] = 4095;
    for (size_t i = 1; i < 255; i++)
        table[i] = (uint16_t)chance_value(&t->chance, 0, 4095);
    table[255] = 0;
    memory_protect(&t->memory, table);
    return table;
}

/* Real exponentials, or any numbers that do not rise; small enough for the sums of probability
 * times value to stay within 32 bits. */
static const int32_t *exp_shift(test *t, uint32_t tokens)
{
    const int32_t most = tokens <= 512 ? INT32_MAX : INT32_MAX / 8;
    int32_t *table = memory_take(&t->memory, 256 * sizeof *table, sizeof *table);
    const int32_t one_over_scale = 1 << chance_between(&t->chance, 0, 12);
    const bool real = chance_one_in(&t->chance, 2);

    for (int32_t i = 0; i < 256; i++)
        table[i] =
            real ? (int32_t)iviti_shift_exp(-i, one_over_scale, 15)
                 : chance_between(&t->chance, i ? table[i - 1] / 2 : 1, i ? table[i - 1] : most);
    memory_protect(&t->memory, table);
    return table;
}

/* Thresholds anywhere, some of them the same or never reached. */
static const iviti_sulq *sulq(test *t, uint32_t tokens)
{
    chance *c = &t->chance;
    iviti_sulq *s = memory_take(&t->memory, sizeof *s, _Alignof(iviti_sulq));
    int32_t before = 1;

    for (size_t i = 0; i < IVITI_SULQ_THRESHOLDS; i++) {
        if (!chance_one_in(c, 4)) {
            const int32_t next = before + before / 2 + chance_between(c, 0, 1 << 18);
            before = next < 1 << 25 ? next : 1 << 25;
        }
        s->threshold[i] = (uint32_t)before;
    }
    s->shift = 8;
    while (s->shift > 0 && (int64_t)tokens * 128 * (256 << s->shift) > INT32_MAX)
        s->shift--;
    s->eta = chance_between(c, 0, 128 << s->shift);
    memory_protect(&t->memory, s);
    return s;
}

static void make_bias(test *t, iviti_attention *a)
{
    chance *c = &t->chance;
    a->bias_stride = a->tokens + chance_u32(c) % 5;
    const size_t count = (a->tokens - 1) * a->bias_stride + a->tokens;
    int32_t *bias = memory_take(&t->memory, count * sizeof *bias, sizeof *bias);
    const int32_t most = chance_one_in(c, 2) ? 1 << 24 : 100;

    for (size_t i = 0; i < count; i++)
        bias[i] = chance_value(c, -most, most);
    memory_protect(&t->memory, bias);
    a->bias = bias;
    a->bias_score = chance_factor(c, 8, 8, 24, 62);
}

static void make_region(test *t, iviti_attention *a)
{
    uint8_t *region = memory_take(&t->memory, a->tokens, 1);
    for (uint32_t i = 0; i < a->tokens; i++)
        region[i] = (uint8_t)(chance_u32(&t->chance) % 4);
    memory_protect(&t->memory, region);
    a->region = region;
}

static int bits_of(uint32_t magnitude)
{
    int bits = 0;
    while (magnitude >> bits)
        bits++;
    return bits;
}

/* Converters choose score multipliers whose lower bits are zero; kernels may gain from that. */
static iviti_dyadic score_factor(chance *c, uint32_t head_dim, bool table)
{
    iviti_dyadic f = chance_factor(c, bits_of(head_dim * 2048), table ? 8 : 7, 1, 62);
    if (!chance_one_in(c, 3))
        f.multiplier &= ~((1 << 20) - 1);
    return f;
}

#define WIDE                                                                                       \
    IVITI_SOFTMAX_KERNELS /* beside the kinds: the table softmax between wide activations */
#define KINDS (WIDE + 1)

static void run_shape(test *t, const shape *s, int which)
{
    const bool wide = which == WIDE;
    const iviti_softmax_kind kind = wide ? IVITI_SOFTMAX_TABLE : (iviti_softmax_kind)which;
    chance *c = &t->chance;
    head h = { .s = *s, .stride = s->head_dim + s->gap };
    iviti_attention *a = &h.a;
    const bool table = iviti_softmax_has_table(kind);

    *a = (iviti_attention){ .kind = kind, .head_dim = s->head_dim, .tokens = s->tokens };
    a->score = score_factor(c, s->head_dim, table);
    if (wide) {
        a->wide_table = wide_table(t);
        a->output = chance_factor(c, 7, 12, 22, 38);
    } else if (table) {
        a->exp_table = exp_table(t);
        a->sulq = sulq(t, s->tokens);
        a->output = kind == IVITI_SOFTMAX_SULQ ? chance_factor(c, 24, 8, 32, 62)
                                               : chance_factor(c, 7, 8, 25, 40);
    } else {
        a->exp_shift = exp_shift(t, s->tokens);
        a->output = chance_factor(c, 22, 8, 32, 62);
    }
    if (t->bench) {
        a->score = (iviti_dyadic){ 1300 << 20, 40 };
    } else {
        if (chance_one_in(c, 2))
            make_bias(t, a);
        if (chance_one_in(c, 2))
            make_region(t, a);
    }

    const size_t bytes = s->rows ? (s->rows - 1) * h.stride + s->head_dim : 0;
    if (c->filling == EXTREME && chance_one_in(c, 2)) {
        make_widest(t, &h, bytes);
        a->score = chance_factor(c, bits_of(s->head_dim * 32640), 8, 1, 62);
        a->score.multiplier &= ~((1 << 20) - 1);
    } else {
        h.q = (const uint8_t *)random_bytes(t, bytes, 1);
        h.keys = random_bytes(t, iviti_panel_bytes(s->tokens, s->head_dim), 64);
    }
    h.values = random_bytes(t, iviti_panel_bytes(s->head_dim, s->tokens), 64);
    h.scratch = memory_take(&t->memory, iviti_attention_scratch(s->tokens), 64);

    char text[160];
    snprintf(text, sizeof text,
             "%s%s tokens %u head_dim %u first %u rows %u bias %d region %d score %d/2^%d",
             wide ? "wide " : "", iviti_softmax_name(kind), s->tokens, s->head_dim, s->first,
             s->rows, a->bias != NULL, a->region != NULL, a->score.multiplier, a->score.shift);
    h.plane = bytes;
    const twins o = twins_take(t, wide ? 2 * bytes : bytes, 1);
    run_case(t, text, 2.0 * s->rows * s->tokens * s->head_dim, &o, call_attention, &h);
    memory_release(&t->memory);
}

static shape draw_shape(chance *c, uint32_t tokens)
{
    const uint32_t first = chance_u32(c) % tokens;
    return (shape){ tokens, IVITI_GROUP * (1 + chance_u32(c) % 20), first,
                    chance_u32(c) % (tokens - first + 1), chance_u32(c) % 5 };
}

void check_attention(test *t)
{
    const shape *list = t->bench ? bench_shapes : shapes;
    const size_t count =
        t->bench ? sizeof bench_shapes / sizeof *bench_shapes : sizeof shapes / sizeof *shapes;
    chance *c = &t->chance;

    if (t->drawn) {
        const int kind = (int)(chance_u32(c) % KINDS);
        const shape s = draw_shape(c, 1 + chance_u32(c) % 80);
        run_shape(t, &s, kind);
        return;
    }
    for (size_t i = 0; i < count; i++)
        for (int kind = 0; kind < KINDS && !t->failed; kind++)
            run_shape(t, &list[i], kind);
    for (uint32_t tokens = TAIL_FIRST; tokens <= TAIL_LAST && !t->bench; tokens++)
        for (int kind = 0; kind < KINDS && !t->failed; kind++) {
            const shape s = draw_shape(c, tokens);
            run_shape(t, &s, kind);
        }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The inner loops of a resize.
 */
#include "check.h"

#include <stdio.h>
#include <string.h>

#include "kernels/prototypes.h"

typedef struct row_case {
    iviti_row_filter filter;
    const uint8_t *in;
} row_case;

static void call_resample_row(const void *context, function *f, uint8_t *y)
{
    const row_case *c = context;
    ((IVITI_DECLARE_resample_row((*)))f)(&c->filter, c->in, y);
}

/* Coefficients whose magnitudes sum to less than 1.3 * 2^22. */
static void fill_pairs(test *t, iviti_tap_pair *pairs, uint32_t taps)
{
    const int32_t most = (int32_t)(1.3 * (1 << IVITI_COEFFICIENT_BITS)) / (int32_t)taps - 1;
    for (uint32_t i = 0; i < taps; i++) {
        const int32_t c = chance_value(&t->chance, -most, most);
        pairs[i / 2].low[i % 2] = (int16_t)(c & (IVITI_TAP_UNIT - 1));
        pairs[i / 2].high[i % 2] = (int16_t)(c >> IVITI_TAP_BITS);
    }
}

/* Anywhere, and often where the row ends. */
static iviti_window window_within(test *t, uint32_t in, uint32_t most_taps)
{
    const uint32_t taps = (uint32_t)chance_between(&t->chance, 1, (int32_t)most_taps);
    const uint32_t last = in - taps;
    const bool at_end = chance_one_in(&t->chance, 3);
    return (iviti_window){ at_end ? last : (uint32_t)chance_between(&t->chance, 0, (int32_t)last),
                           taps };
}

static void check_row(test *t, uint32_t in, uint32_t out, uint32_t most_taps)
{
    const size_t stride = (most_taps + 1) / 2, pair_bytes = sizeof(iviti_tap_pair);
    uint8_t *row = memory_take(&t->memory, (size_t)3 * in, 1);
    iviti_window *windows = memory_take(&t->memory, out * sizeof *windows, 4);
    iviti_tap_pair *pairs = memory_take(&t->memory, out * stride * pair_bytes, 4);

    for (size_t i = 0; i < (size_t)3 * in; i++)
        row[i] = (uint8_t)chance_value(&t->chance, 0, 255);
    memset(pairs, 0, out * stride * pair_bytes);
    for (uint32_t x = 0; x < out; x++) {
        windows[x] = t->bench ? (iviti_window){ x * (in - most_taps) / out, most_taps - x % 2 }
                              : window_within(t, in, most_taps < in ? most_taps : in);
        fill_pairs(t, pairs + x * stride, windows[x].taps);
    }
    memory_protect(&t->memory, row);
    memory_protect(&t->memory, windows);
    memory_protect(&t->memory, pairs);

    char text[64];
    snprintf(text, sizeof text, "%u pixels to %u, at most %u taps", in, out, most_taps);
    const row_case c = { { in, out, windows, pairs, stride }, row };
    const twins o = twins_take(t, (size_t)3 * out, 1);
    run_case(t, text, 1.5 * out * most_taps, &o, call_resample_row, &c);
    memory_release(&t->memory);
}

void check_resample_row(test *t)
{
    if (t->bench) {
        check_row(t, 500, 224, 8);
        return;
    }
    if (t->drawn) {
        const uint32_t in = 1 + chance_u32(&t->chance) % 60, out = 1 + chance_u32(&t->chance) % 40;
        check_row(t, in, out, 1 + chance_u32(&t->chance) % 9);
        return;
    }
    for (uint32_t in = 1; in < 12 && !t->failed; in++)
        check_row(t, in, (uint32_t)chance_between(&t->chance, 1, 20),
                  (uint32_t)chance_between(&t->chance, 1, 9));
    check_row(t, 500, 224, 8);
    check_row(t, 77, 301, 4);
    check_row(t, 1000, 9, 300);
}

typedef struct add_case {
    const uint8_t *row;
    int32_t coefficient;
    size_t count;
} add_case;

static void call_resample_add(const void *context, function *f, uint8_t *y)
{
    const add_case *c = context;
    ((IVITI_DECLARE_resample_add((*)))f)((int32_t *)(void *)y, c->row, c->coefficient, c->count);
}

static void check_add(test *t, size_t count)
{
    uint8_t *row = memory_take(&t->memory, count, 1);
    for (size_t i = 0; i < count; i++)
        row[i] = (uint8_t)chance_value(&t->chance, 0, 255);
    memory_protect(&t->memory, row);

    const twins o = twins_take(t, count * sizeof(int32_t), 4);
    for (size_t i = 0; i < count; i++)
        ((int32_t *)(void *)o.expected)[i] = chance_value(&t->chance, -1000000000, 1000000000);
    twins_copy(&o, count * sizeof(int32_t));

    char text[64];
    snprintf(text, sizeof text, "%zu sums", count);
    const int32_t most = 1 << IVITI_COEFFICIENT_BITS;
    const add_case c = { row, t->bench ? 12345 : chance_value(&t->chance, -most, most), count };
    run_case(t, text, (double)count, &o, call_resample_add, &c);
    memory_release(&t->memory);
}

void check_resample_add(test *t)
{
    if (t->bench) {
        check_add(t, 672);
        return;
    }
    if (t->drawn) {
        check_add(t, 1 + chance_u32(&t->chance) % 200);
        return;
    }
    for (size_t count = 1; count < 50 && !t->failed; count++)
        check_add(t, count);
    check_add(t, 672);
}

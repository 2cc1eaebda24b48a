/* SPDX-License-Identifier: Apache-2.0
 *
 * Clipping of activations.
 */
#include "check.h"

#include <stdio.h>

#include "kernels/prototypes.h"

typedef struct clip {
    size_t rows, width, stride;
    uint8_t flip;
    int8_t low, high;
} clip;

static void call_clip_s8(const void *context, function *f, uint8_t *x)
{
    const clip *c = context;
    ((IVITI_DECLARE_clip_s8((*)))f)(x, c->stride, c->rows, c->width, c->flip, c->low, c->high);
}

static void check_shape(test *t, size_t rows, size_t width, size_t gap)
{
    chance *chances = &t->chance;
    const int bits = chance_between(chances, 2, 8);
    clip c = { rows, width, width + gap, chance_one_in(chances, 2) ? 0x80 : 0,
               (int8_t)-(1 << (bits - 1)), (int8_t)((1 << (bits - 1)) - 1) };
    if (chance_one_in(chances, 3)) { /* any other limits */
        c.low = (int8_t)chance_value(chances, -128, 127);
        c.high = (int8_t)chance_between(chances, c.low, 127);
    }
    const size_t bytes = rows ? (rows - 1) * c.stride + width : 0;
    const twins o = twins_take(t, bytes, 1);
    for (size_t i = 0; i < bytes; i++)
        o.expected[i] = (uint8_t)chance_value(chances, 0, 255);
    twins_copy(&o, bytes);

    char text[64];
    snprintf(text, sizeof text, "%zu x %zu, stride %zu", rows, width, c.stride);
    run_case(t, text, (double)(rows * width), &o, call_clip_s8, &c);
    memory_release(&t->memory);
}

void check_clip_s8(test *t)
{
    if (t->bench) {
        check_shape(t, 197, 192, 0);
        check_shape(t, 197, 768, 0);
        return;
    }
    if (t->drawn) {
        const size_t width = 1 + chance_u32(&t->chance) % 300;
        check_shape(t, chance_u32(&t->chance) % 5, width, chance_u32(&t->chance) % 70);
        return;
    }
    for (size_t width = 1; width <= 200 && !t->failed; width++)
        check_shape(t, (size_t)chance_between(&t->chance, 0, 4), width,
                    (size_t)chance_between(&t->chance, 0, 70));
    check_shape(t, 3, 4096, 0);
}

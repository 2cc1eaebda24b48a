/* SPDX-License-Identifier: Apache-2.0
 *
 * The model file's checksum.
 */
#include "check.h"

#include <stdio.h>

#include "kernels/prototypes.h"

typedef struct span {
    const uint8_t *data;
    size_t bytes;
    uint32_t crc;
} span;

static void call_crc32c(const void *context, function *f, uint8_t *y)
{
    const span *s = context;
    const uint32_t crc = ((IVITI_DECLARE_crc32c((*)))f)(s->crc, s->data, s->bytes);
    for (int i = 0; i < 4; i++)
        y[i] = (uint8_t)(crc >> 8 * i);
}

static void check_bytes(test *t, size_t bytes)
{
    uint8_t *data = memory_take(&t->memory, bytes, 1);
    for (size_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)chance_value(&t->chance, 0, 255);
    memory_protect(&t->memory, data);

    char text[64];
    snprintf(text, sizeof text, "%zu bytes", bytes);
    const span s = { data, bytes, chance_one_in(&t->chance, 2) ? 0 : chance_u32(&t->chance) };
    const twins o = twins_take(t, 4, 1);
    run_case(t, text, (double)bytes, &o, call_crc32c, &s);
    memory_release(&t->memory);
}

void check_crc32c(test *t)
{
    if (t->bench) {
        check_bytes(t, 1 << 20);
        return;
    }
    if (t->drawn) {
        check_bytes(t, (size_t)chance_between(&t->chance, 0, 1000));
        return;
    }
    for (size_t bytes = 0; bytes < 40 && !t->failed; bytes++)
        check_bytes(t, bytes);
    for (size_t i = 0; i < 8 && !t->failed; i++)
        check_bytes(t, (size_t)chance_between(&t->chance, 0, 100000));
}

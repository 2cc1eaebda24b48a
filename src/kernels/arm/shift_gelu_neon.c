/* SPDX-License-Identifier: Apache-2.0
 *
 * ShiftGELU of the AArch64 engines. A row's outputs depend on its values and its maximum alone, so
 * rows are sorted by maximum, and each maximum that occurs makes one table of 256 bytes.
 */
#include "kernels/arm/lanes_neon.h"
#include "kernels/prototypes.h"

#define SHIFT_GELU_N 23
#define BATCH        1024 /* rows that are sorted by their maximum at once */
#define NO_ROW       UINT16_MAX

/* Outputs for differences 0 to 255 to the maximum `max`. Differences that lead below -128 do not
 * occur. e: the exponentials of all differences. */
static void make_table(const int32_t *e, int32_t max, int32_t one_over_scale, iviti_dyadic output,
                       uint8_t *table)
{
    const int64_t e_zero = iviti_shift_exp(-max, one_over_scale, SHIFT_GELU_N);
    const uint32_t zero = (uint32_t)(e_zero < INT32_MAX ? e_zero : INT32_MAX);

    for (int32_t d = 0; d < 256; d++) {
        const uint32_t value = (uint32_t)e[d];
        const uint32_t sum = value + zero < INT32_MAX ? value + zero : INT32_MAX;
        const uint32_t sigmoid = sum ? value * (INT32_MAX / sum) >> 24 : 0;
        const int64_t y =
            iviti_scale((max - d) * (int32_t)sigmoid, output.multiplier, output.shift);
        table[d] = (uint8_t)(iviti_saturate_s8(y) + 128);
    }
}

static uint8_t max_of_row(const uint8_t *x, size_t width)
{
    uint8x16_t max = vdupq_n_u8(0);
    for (size_t c = 0; c < width; c += 16)
        max = vmaxq_u8(max, load_part(x + c, width - c));
    return vmaxvq_u8(max);
}

static void look_up_row(uint8_t *x, size_t width, uint8_t max, const uint8_t *bytes)
{
    const lane_table table = load_table(bytes);
    const uint8x16_t top = vdupq_n_u8(max);
    for (size_t c = 0; c < width; c += 16) {
        const uint8x16_t difference = vsubq_u8(top, load_part(x + c, width - c));
        store_part(x + c, look_up(&table, difference), width - c);
    }
}

/* Rows of each maximum, as lists. */
typedef struct lists {
    uint16_t first[256];
    uint16_t next[BATCH];
} lists;

static void sort_rows(const uint8_t *x, size_t stride, size_t rows, size_t width, lists *l)
{
    for (size_t i = 0; i < 256; i++)
        l->first[i] = NO_ROW;
    for (size_t r = 0; r < rows; r++) {
        uint16_t *first = &l->first[max_of_row(x + r * stride, width)];
        l->next[r] = *first;
        *first = (uint16_t)r;
    }
}

void iviti_shift_gelu_neon(uint8_t *x, size_t stride, size_t rows, size_t width,
                           int32_t one_over_scale, iviti_dyadic output)
{
    int32_t e[256];
    uint8_t table[256];
    lists l;

    for (int32_t d = 0; d < 256; d++)
        e[d] = (int32_t)iviti_shift_exp(-d, one_over_scale, SHIFT_GELU_N);
    for (size_t r = 0; r < rows; r += BATCH) {
        uint8_t *batch = x + r * stride;
        sort_rows(batch, stride, rows - r < BATCH ? rows - r : BATCH, width, &l);
        for (int32_t max = 0; max < 256; max++) {
            if (l.first[max] == NO_ROW)
                continue;
            make_table(e, max - 128, one_over_scale, output, table);
            for (uint16_t i = l.first[max]; i != NO_ROW; i = l.next[i])
                look_up_row(batch + i * stride, width, (uint8_t)max, table);
        }
    }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Linear layers of the AArch64 engines: what becomes of a multiplied tile.
 */
#include "kernels/arm/engine_neon.h"

#define STEP 16 /* columns that are finished together */

/* ---- from accumulators to a row of the output ------------------------------------------------ */

/* Biases and factors of 16 columns. */
typedef struct column_scales {
    int32x4_t bias[4];
    int32x4_t multiplier[4];
    int32x4_t shift[4];
} column_scales;

INLINE column_scales load_scales(const iviti_scales *s, size_t n)
{
    column_scales c;
    for (size_t i = 0; i < 4; i++) {
        c.bias[i] = vld1q_s32(s->bias + n + i * 4);
        c.multiplier[i] = vld1q_s32(s->multiplier + n + i * 4);
        c.shift[i] = vmvnq_s32(vld1q_s32(s->shift + n + i * 4)); /* -(c - 32) - 1 */
    }
    return c;
}

INLINE void scale_columns(const column_scales *c, const int32_t *acc, int32x4_t v[4])
{
    for (size_t i = 0; i < 4; i++)
        v[i] = scale_lanes(vaddq_s32(vld1q_s32(acc + i * 4), c->bias[i]), c->multiplier[i],
                           c->shift[i]);
}

/* 16 columns of all rows from column n on, of which `columns` are there. */
static void finish_s8(const iviti_finish *f, size_t n, size_t columns)
{
    const column_scales c = load_scales(f->scales, n);
    const uint8x16_t flip = vdupq_n_u8(f->flip);

    for (size_t r = 0; r < f->rows; r++) {
        int32x4_t v[4];
        scale_columns(&c, f->acc + r * TILE_COLUMNS + n, v);
        store_part(f->row[r] + n, veorq_u8(vreinterpretq_u8_s8(pack_s8(v)), flip), columns);
    }
}

static void finish_table(const iviti_finish *f, size_t n, size_t columns)
{
    const column_scales c = load_scales(f->scales, n);
    const lane_table table = load_table(f->table);

    for (size_t r = 0; r < f->rows; r++) {
        int32x4_t v[4];
        scale_columns(&c, f->acc + r * TILE_COLUMNS + n, v);
        store_part(f->row[r] + n, look_up(&table, flip_sign(pack_s8(v))), columns);
    }
}

/* The first `bytes` bytes of 8 values to y, or added to what is there. */
INLINE void put_s16(uint8_t *y, int16x8_t v, size_t bytes, bool add)
{
    if (add)
        v = vqaddq_s16(vreinterpretq_s16_u8(load_part(y, bytes)), v);
    store_part(y, vreinterpretq_u8_s16(v), bytes);
}

static void finish_s16(const iviti_finish *f, size_t n, size_t columns)
{
    const column_scales c = load_scales(f->scales, n);

    for (size_t r = 0; r < f->rows; r++) {
        uint8_t *y = f->row[r] + n * sizeof(int16_t);
        int32x4_t v[4];
        scale_columns(&c, f->acc + r * TILE_COLUMNS + n, v);
        put_s16(y, pack_s16(v[0], v[1]), columns * sizeof(int16_t), f->add);
        if (columns > 8)
            put_s16(y + 16, pack_s16(v[2], v[3]), (columns - 8) * sizeof(int16_t), f->add);
    }
}

static void finish_s32(const iviti_finish *f, size_t n, size_t columns)
{
    const column_scales c = load_scales(f->scales, n);

    for (size_t r = 0; r < f->rows; r++) {
        uint8_t *y = f->row[r] + n * sizeof(int32_t);
        int32x4_t v[4];
        scale_columns(&c, f->acc + r * TILE_COLUMNS + n, v);
        for (size_t i = 0; i < 4 && i * 4 < columns; i++)
            store_part(y + i * 16, vreinterpretq_u8_s32(v[i]), (columns - i * 4) * sizeof(int32_t));
    }
}

void iviti_finish_neon(const iviti_finish *f)
{
    for (size_t n = 0; n < f->columns; n += STEP) {
        const size_t columns = f->columns - n;
        if (f->table)
            finish_table(f, n, columns);
        else if (f->element == 1)
            finish_s8(f, n, columns);
        else if (f->element == 2)
            finish_s16(f, n, columns);
        else
            finish_s32(f, n, columns);
    }
}

/* ---- what becomes of rows that are finished -------------------------------------------------- */

/* s16 values have 16 bits to spare. With c from 24 on each scaled value has at most 23 bits. */
void iviti_join_row_neon(const iviti_join *join, const int16_t *branch, int16_t *y, size_t columns)
{
    const lane_factor of_stream = make_factor(join->stream, 16);
    const lane_factor of_branch = make_factor(join->branch, 16);

    for (size_t n = 0; n < columns; n += 8) {
        const size_t bytes = (columns - n) * sizeof *y;
        const int16x8_t a = vreinterpretq_s16_u8(load_part(y + n, bytes));
        const int16x8_t b = vld1q_s16(branch + n);
        const int32x4_t low = vaddq_s32(scale_by_factor(vmovl_s16(vget_low_s16(a)), &of_stream),
                                        scale_by_factor(vmovl_s16(vget_low_s16(b)), &of_branch));
        const int32x4_t high = vaddq_s32(scale_by_factor(vmovl_high_s16(a), &of_stream),
                                         scale_by_factor(vmovl_high_s16(b), &of_branch));
        store_part(y + n, vreinterpretq_u8_s16(pack_s16(low, high)), bytes);
    }
}

INLINE void load_tokens(const iviti_spread *s, size_t token, size_t piece, uint8x16_t v[4])
{
    for (size_t i = 0; i < 4; i++)
        v[i] = vreinterpretq_u8_s8(vld1q_s8(iviti_next_row(s, token + i) + piece * IVITI_GROUP));
}

/* Four tokens by 16 channels: each quarter of a row becomes a quarter of one piece. */
INLINE void transpose_quarters(uint8x16_t v[4])
{
    uint64x2_t pair[4];
    for (size_t i = 0; i < 2; i++) {
        const uint32x4_t a = vreinterpretq_u32_u8(v[2 * i]);
        const uint32x4_t b = vreinterpretq_u32_u8(v[2 * i + 1]);
        pair[i] = vreinterpretq_u64_u32(vzip1q_u32(a, b));
        pair[i + 2] = vreinterpretq_u64_u32(vzip2q_u32(a, b));
    }
    for (size_t i = 0; i < 2; i++) {
        v[2 * i] = vreinterpretq_u8_u64(vzip1q_u64(pair[2 * i], pair[2 * i + 1]));
        v[2 * i + 1] = vreinterpretq_u8_u64(vzip2q_u64(pair[2 * i], pair[2 * i + 1]));
    }
}

/* Four channels of four tokens are 16 bytes of the key panels. */
void iviti_spread_keys_neon(const iviti_spread *s, size_t tokens)
{
    int8_t *line = s->window + iviti_panel_offset(s->token, 0, s->to->head_dim);

    for (size_t t = 0; t < tokens; t += 4)
        for (size_t p = 0; p < s->pieces; p += 4) {
            uint8x16_t v[4];
            load_tokens(s, t, p, v);
            transpose_quarters(v);
            for (size_t i = 0; i < 4 && p + i < s->pieces; i++)
                store_part(line + s->piece[p + i] + t * IVITI_GROUP, v[i],
                           (tokens - t) * IVITI_GROUP);
        }
}

/* Four rows of 16 bytes become 16 groups of 4. */
INLINE void interleave_rows(uint8x16_t v[4])
{
    const uint8x16x2_t even = vzipq_u8(v[0], v[2]);
    const uint8x16x2_t odd = vzipq_u8(v[1], v[3]);
    for (size_t i = 0; i < 2; i++) {
        const uint8x16x2_t groups = vzipq_u8(even.val[i], odd.val[i]);
        v[2 * i] = groups.val[0];
        v[2 * i + 1] = groups.val[1];
    }
}

/* The first `tokens` bytes of each group of four. */
INLINE void store_tokens(int8_t *to, uint8x16_t v, size_t tokens)
{
    uint8_t bytes[16];
    vst1q_u8(tokens < IVITI_GROUP ? bytes : (uint8_t *)to, v);
    if (tokens < IVITI_GROUP)
        for (size_t i = 0; i < 16; i += IVITI_GROUP)
            memcpy(to + i, bytes + i, tokens);
}

/* Four tokens of four channels are 16 bytes of the value panels. */
void iviti_spread_values_neon(const iviti_spread *s, size_t tokens)
{
    for (size_t t = 0; t < tokens; t += IVITI_GROUP) {
        int8_t *line = s->window + iviti_panel_offset(0, s->token + t, s->to->tokens);
        for (size_t p = 0; p < s->pieces; p += 4) {
            uint8x16_t v[4];
            load_tokens(s, t, p, v);
            interleave_rows(v);
            for (size_t i = 0; i < 4 && p + i < s->pieces; i++)
                store_tokens(line + s->piece[p + i], v[i], tokens - t);
        }
    }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernel contract: what the forward pass calls, and what every instruction set must provide.
 *
 * Rules for all kernels, of which each gives the bits of its _ref twin on every input in range:
 *
 *  - Left operands are u8 and right operands s8, because that is what the hardware multiplies. An s8
 *    activation v is stored as u8 v + 128 ("offset binary"); the 128 * (row sums of the weights) that
 *    this adds is taken off in iviti_dense.bias when the model is loaded.
 *  - Right operands, be they weights, keys or values, lie in PANELS of 16 columns:
 *
 *        panels (ceil(n / 16), ceil(k / 4), 16, 4)    element (n, k) at
 *        ((n / 16) * ceil(k / 4) + k / 4) * 64 + (n % 16) * 4 + k % 4
 *
 *    that is, 64 bytes hold four consecutive k of sixteen n:
 *
 *        n0k0 n0k1 n0k2 n0k3  n1k0 n1k1 n1k2 n1k3  ...  n15k0 n15k1 n15k2 n15k3
 *
 *    Padding (n beyond the last column, k beyond the last row) is zero in weights. Panels are aligned
 *    to 64 bytes. One layout serves every instruction set, so a model is packed once.
 *  - Rows of a left operand may be read up to the next multiple of 4 columns, and no further: such
 *    rows are at least that long, and what the padding holds does not matter.
 *  - A call may be for no rows; it then does nothing.
 *  - Nothing else outside the given extents is read, and only what is named as output is written.
 *  - Strides count elements. Rows of left operands and outputs need no alignment.
 *  - Kernels allocate nothing. Scratch is the caller's, 64-byte aligned.
 */
#ifndef IVITI_KERNEL_H
#define IVITI_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "iviti/kernels.h"

#define IVITI_PANEL 16 /* columns in a panel */
#define IVITI_GROUP 4  /* consecutive k of one column */
#define IVITI_GELU_GROUP 64 /* consecutive hidden channels that share a GELU table */

/* A wide activation, v in [-2048, 2047], is two digits, v = 16 * high + low: the high one an s8
 * like any other, so that it is stored + 128, the low one 0 to 15 as it is. Each lies in rows of
 * its own, and each is the left operand of a product of its own with the same weights. */
#define IVITI_WIDE_BITS    12
#define IVITI_DIGIT_BITS   4
#define IVITI_WIDE_ENTRIES (1 << IVITI_WIDE_BITS) /* of a table of all wide values */

/* One Linear layer as the kernels want it. */
typedef struct iviti_dense {
    uint32_t in;
    uint32_t out;
    const int8_t *panels;      /* (ceil(out/16), ceil(in/4), 16, 4) */
    const int32_t *bias;       /* (round_up(out, 16)) at accumulator scale, 128 * row sums taken off */
    const int32_t *multiplier; /* (round_up(out, 16)) in [2^30, 2^31) */
    const int32_t *shift;      /* (round_up(out, 16)) in [32, 62]: factors are below 1/2 */
} iviti_dense;

/* How a branch joins the residual stream: stream' = saturate(stream * fs + branch * fb). */
typedef struct iviti_join {
    iviti_dyadic stream;
    iviti_dyadic branch;
} iviti_join;

#define IVITI_DYADIC_ONE ((iviti_dyadic){ 1 << 30, 30 })

/* LayerNorm: statistics, then an affine map per channel (NUMERICS.md, LayerNorm). */
typedef enum iviti_norm_kind {
    IVITI_NORM_EXACT,
    IVITI_NORM_NEWTON,
    IVITI_NORM_L1,
    IVITI_NORM_KINDS
} iviti_norm_kind;

typedef struct iviti_norm {
    uint32_t width;
    iviti_norm_kind kind;
    int64_t epsilon;           /* exact form only */
    const int32_t *multiplier; /* (width) signed, magnitude in [2^30, 2^31) */
    const int32_t *shift;      /* (width) */
    const int32_t *bias;       /* (width) in 1/256 of the output */
} iviti_norm;

/* Attention of one head over one window. */
typedef enum iviti_softmax_kind {
    IVITI_SOFTMAX_TABLE,      /* u8 numerators from a table, one division a row */
    IVITI_SOFTMAX_SHIFT16,    /* Shiftmax, probabilities of 16 bits */
    IVITI_SOFTMAX_SHIFT8,     /* Shiftmax, probabilities of 8 bits */
    IVITI_SOFTMAX_SULQ,       /* the table's probabilities as powers of two, by thresholds */
    IVITI_SOFTMAX_LIS,        /* Log-Int-Softmax: powers of two from i-exp */
    IVITI_SOFTMAX_KERNELS,    /* that many a kernel knows; to it the others are SHIFT16 */
    IVITI_SOFTMAX_I_EXP = IVITI_SOFTMAX_KERNELS, /* i-exp, probabilities of 16 bits */
    IVITI_SOFTMAX_Q15,        /* exact exponentials, probabilities of 16 bits */
    IVITI_SOFTMAX_KINDS
} iviti_softmax_kind;

/* Whether scores become indices of a table of numerators, or s8 logits. */
static inline bool iviti_softmax_has_table(iviti_softmax_kind kind)
{
    return kind == IVITI_SOFTMAX_TABLE || kind == IVITI_SOFTMAX_SULQ;
}

/* SULQ (NUMERICS.md, section 5): how many thresholds a probability reaches is the exponent of its
 * code; sums of code * value are multiplied by 2^shift and lessened by eta * (sum of all values). */
typedef struct iviti_sulq {
    uint32_t threshold[IVITI_SULQ_THRESHOLDS];
    int32_t shift;
    int32_t eta;
} iviti_sulq;

typedef struct iviti_attention {
    iviti_softmax_kind kind;
    uint32_t head_dim;         /* multiple of 4 */
    uint32_t tokens;           /* keys and values in the window */
    iviti_dyadic score;        /* table, SULQ: q.k to table index; else: q.k to s8 logit */
    const uint8_t *exp_table;  /* table, SULQ: (256) u8; NULL where wide_table is set */
    const uint16_t *wide_table; /* table only, or NULL: (256) numerators of 12 bits, the last one 0;
                                   the output then is wide */
    uint8_t *low; /* with wide_table: where the low digits of y go, rows like those of y */
    const int32_t *exp_shift;  /* else: (256) exponentials of 0, -1, ..., -255, each in [0, 2^31) */
    const iviti_sulq *sulq;    /* SULQ only */
    iviti_dyadic output;       /* table: before the division by the row's sum; else: as it is */
    const int32_t *bias;       /* (tokens, bias_stride) or NULL. table, SULQ: added to q.k; else: added
                                  to the s8 logit after it is requantised by bias_score */
    size_t bias_stride;
    iviti_dyadic bias_score;   /* logits with bias only */
    const uint8_t *region;     /* (tokens) or NULL: tokens of different regions do not see each other */
} iviti_attention;

/* Scratch of one attention call: scores of 16 rows in s32, then numerators in s16. */
#define IVITI_ATTENTION_ROWS 16
static inline size_t iviti_attention_scratch(size_t tokens)
{
    size_t padded = (tokens + 63) / 64 * 64;
    return IVITI_ATTENTION_ROWS * padded * (sizeof(int32_t) + sizeof(int16_t)) + 4096;
}

/* Where keys and values of a head lie: keys are columns (n = token, k = channel), values are rows
 * (n = channel, k = token). */
static inline size_t iviti_panel_bytes(size_t columns, size_t k)
{
    return (columns + 15) / 16 * ((k + 3) / 4) * 64;
}
static inline size_t iviti_panel_offset(size_t n, size_t k, size_t depth)
{
    return ((n / 16) * ((depth + 3) / 4) + k / 4) * 64 + n % 16 * 4 + k % 4;
}

/* Keys or values of a run: block (window, head) begins at (window * heads + head) * block. */
typedef struct iviti_head_panels {
    int8_t *panels;
    size_t block;        /* bytes from one head to the next, multiple of 64 */
    uint32_t heads;
    uint32_t head_dim;
    uint32_t tokens;     /* of a window: row r is token r % tokens of window r / tokens */
} iviti_head_panels;

/* ---- resize ---- */

#define IVITI_COEFFICIENT_BITS 22 /* below the point of a filter's coefficient */
#define IVITI_COEFFICIENT_HALF (1 << (IVITI_COEFFICIENT_BITS - 1))
#define IVITI_TAP_BITS         11 /* a coefficient is high * 2^11 + low, low in [0, 2^11) */
#define IVITI_TAP_UNIT         (1 << IVITI_TAP_BITS)

/* The samples that make one output of a resize: [first, first + taps), taps at least 1. */
typedef struct iviti_window {
    uint32_t first;
    uint32_t taps;
} iviti_window;

/* Two neighbouring coefficients, in halves that products of s16 can take. */
typedef struct iviti_tap_pair {
    int16_t low[2];
    int16_t high[2]; /* magnitude below 2^12 */
} iviti_tap_pair;

/* How a row of RGB8 pixels is resized. The magnitudes of a window's coefficients sum to less than
 * 1.3 * 2^22, so that all sums fit s32. */
typedef struct iviti_row_filter {
    uint32_t in;  /* pixels of the whole input row */
    uint32_t out; /* pixels made */
    const iviti_window *windows; /* (out), within the input row */
    const iviti_tap_pair *pairs; /* (out, stride); behind a window's last tap zero */
    size_t stride;
} iviti_row_filter;

/* A sum begun at 1/2, rounded down and clamped. */
static inline uint8_t iviti_resampled(int32_t sum)
{
    const int32_t v = sum >> IVITI_COEFFICIENT_BITS;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* rows, everywhere, is at least 1.
 * x (rows, w->in) u8; all results are those of the formulas on exact integers, with
 * acc[r][o] = bias[o] + sum_k x[r][k] * w[o][k] and f[o] = multiplier[o] / 2^shift[o]. */
typedef struct iviti_kernels {
    iviti_isa isa;

    /* y[r][o] = clamp(acc * f, -128, 127) + 128 */
    void (*dense_s8)(const iviti_dense *w, const uint8_t *x, size_t x_stride, size_t rows,
                     uint8_t *y, size_t y_stride);

    /* y[r][o] = table[o / 64][clamp(acc * f, -128, 127) + 128]; tables (ceil(out/64), 256) u8 */
    void (*dense_table)(const iviti_dense *w, const uint8_t *tables, const uint8_t *x,
                        size_t x_stride, size_t rows, uint8_t *y, size_t y_stride);

    /* y[r][o] = clamp16(acc * f) */
    void (*dense_s16)(const iviti_dense *w, const uint8_t *x, size_t x_stride, size_t rows,
                      int16_t *y, size_t y_stride);

    /* y[r][o] = clamp32(acc * f) */
    void (*dense_s32)(const iviti_dense *w, const uint8_t *x, size_t x_stride, size_t rows,
                      int32_t *y, size_t y_stride);

    /* Row m = map ? map[r] : r of the stream: stream[m][o] =
     * clamp16(stream[m][o] * join.stream + clamp16(acc * f) * join.branch). Rows are distinct. */
    void (*dense_join)(const iviti_dense *w, const iviti_join *join, const uint8_t *x,
                       size_t x_stride, size_t rows, int16_t *stream, size_t stream_stride,
                       const uint32_t *map);

    /* Keys: s8 clamp(acc * f) of row first + r, channel h * head_dim + d goes to element
     * (n = token, k = d) of head h. x is row `first`. Rows are split between threads at multiples
     * of 16 tokens of a window, or at windows. */
    void (*dense_keys)(const iviti_dense *w, const uint8_t *x, size_t x_stride, size_t first,
                       size_t rows, const iviti_head_panels *keys);

    /* Values: the same, to element (n = d, k = token). */
    void (*dense_values)(const iviti_dense *w, const uint8_t *x, size_t x_stride, size_t first,
                         size_t rows, const iviti_head_panels *values);

    /* y[r] = attention of query row r over the window's keys and values, s8 + 128.
     * q (rows, head_dim) u8 + 128 offset binary; query row r is token first + r of the window (for
     * bias and region). keys: panels of (tokens, head_dim); values: panels of (head_dim, tokens),
     * whose padding must be finite, not zero: the kernel multiplies it by zero. */
    void (*attention)(const iviti_attention *a, const uint8_t *q, size_t q_stride, size_t first,
                      size_t rows, const int8_t *keys, const int8_t *values, uint8_t *y,
                      size_t y_stride, void *scratch);

    /* y[r] = clamp(normalised, -128, 127) + 128 of stream row map ? map[r] : r */
    void (*norm_s8)(const iviti_norm *n, const int16_t *x, size_t x_stride, const uint32_t *map,
                    size_t rows, uint8_t *y, size_t y_stride);

    /* y[r] = clamp16(normalised); y may be x itself when map is NULL */
    void (*norm_s16)(const iviti_norm *n, const int16_t *x, size_t x_stride, const uint32_t *map,
                     size_t rows, int16_t *y, size_t y_stride);

    /* ShiftGELU of whole rows in place: x (rows, width) u8 + 128 -> requantised s8 + 128. */
    void (*shift_gelu)(uint8_t *x, size_t stride, size_t rows, size_t width,
                       int32_t one_over_scale, iviti_dyadic output);

    /* Activations of fewer than 8 bits, in place: x[r][c] = clamp(x[r][c], low, high) as s8; the bits of
     * `flip` are changed before and after: 0x80 where x is offset binary, 0 where it is s8.
     * low <= high. */
    void (*clip_s8)(uint8_t *x, size_t stride, size_t rows, size_t width, uint8_t flip, int8_t low,
                    int8_t high);

    /* out[x][c] = resampled(1/2 + sum_t coefficient[x][t] * in[first[x] + t][c]); in (f->in, 3),
     * out (f->out, 3) */
    void (*resample_row)(const iviti_row_filter *f, const uint8_t *in, uint8_t *out);

    /* sums[i] += row[i] * coefficient, which fits s32; count of any size */
    void (*resample_add)(int32_t *sums, const uint8_t *row, int32_t coefficient, size_t count);

    /* CRC-32C (Castagnoli) of `bytes` bytes, continuing from `crc` (0 to begin). */
    uint32_t (*crc32c)(uint32_t crc, const void *data, size_t bytes);
} iviti_kernels;

/* Fills the table with the reference, then overrides upwards to `isa`. Every pointer is valid. */
void iviti_kernels_select(iviti_kernels *kernels, iviti_isa isa);

#endif

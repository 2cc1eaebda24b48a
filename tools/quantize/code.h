/* SPDX-License-Identifier: Apache-2.0
 *
 * The code of an activation, of at most 8 bits or wide (kernels/kernel.h): real value of channel c
 * = scale[c] * code + offset[c]. Scales and offsets of a layer's input fold into its weights and
 * bias exactly, so that every channel may have its own wherever the producer has constants per
 * channel.
 */
#ifndef CODE_H
#define CODE_H

#include "common/arena.h"
#include "quantize/range.h"

typedef struct code {
    size_t width;
    int bits;          /* 2 to 8, or 12: codes are -2^(bits-1) to 2^(bits-1) - 1 */
    double *scale;     /* (width) positive */
    double *offset;    /* (width) */
    double *mean;      /* (width) of the real values, as far as observed; at first the offset */
    double *mean_code; /* (width) of their codes; at first 0 */
} code;

/* 8 bits, all scales 1 and offsets 0. Of no channel, and memory->failed, where memory runs out. */
code code_new(arena *memory, size_t width);

/* The ends of a code of so many bits, and its steps from end to end, with the
 * lowest code or, where a range is symmetric, without it. */
static inline int code_low(int bits)
{
    return -(1 << (bits - 1));
}
static inline int code_high(int bits)
{
    return (1 << (bits - 1)) - 1;
}
static inline int code_steps(int bits)
{
    return code_high(bits) - code_low(bits);
}
static inline int code_symmetric_steps(int bits)
{
    return 2 * code_high(bits);
}

/* All codes over [low, high] of a channel. */
void code_set_asymmetric(code *c, size_t channel, range r);

/* All codes but the lowest over centre +- reach. */
void code_set_symmetric(code *c, size_t channel, double centre, double reach);

/* How much a row of what calibration saw counts: of every `tokens` rows the first `prefix` count `weight`
 * times. */
typedef struct row_weights {
    size_t tokens, prefix;
    double weight;
} row_weights;

/* w NULL: all rows alike. */
static inline double row_weight(const row_weights *w, size_t row)
{
    return w && row % w->tokens < w->prefix ? w->weight : 1;
}

/* Notes the means of x (rows, width) and of its codes, so that the next layer's bias can take back
 * what rounding the weights and the activation shifts on average. */
void code_observe(code *c, const float *x, size_t rows);
void code_observe_weighted(code *c, const float *x, size_t rows, const row_weights *w);

/* The codes of x (rows, width) as floats, for the BLAS; out may be x. */
void code_integers(const code *c, const float *x, size_t rows, float *out);

/* The best code per channel for what the columns of x (rows, width) hold: the output of a LayerNorm
 * with these gains, which is one unit of spread per unit of gain over all channels. However little of
 * a channel was seen, its range is at least a fraction of that. */
code code_per_channel(arena *memory, const float *x, size_t rows, size_t width, const float *gain,
                      int bits, range_method method);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Float layers to integer ones, given the codes on both of their sides.
 */
#ifndef LAYERS_H
#define LAYERS_H

#include "network/network.h"
#include "quantize/code.h"
#include "quantize/compensate.h"
#include "quantize/integer_network.h"

/* What a layer's name and its fit are, for the table at the end of a conversion. */
typedef struct layer_row {
    char name[48];
    int bits;
    double snr; /* of the layer's output, in dB; NAN where not measured */
    int slot;   /* in weight_bits, or -1 */
    size_t bytes;
} layer_row;

/* How the weights of a layer become integers. */
typedef struct dense_fit {
    range_method method;
    int bits;                         /* 3, 4, 6 or 8 */
    bool codebook;                    /* with 4: indices into 16 entries of 8 bits */
    const compensation *compensation; /* of this layer's inputs; NULL: each weight by itself */
    const double *scales;             /* (outputs) of the integers, where the weights are multiples of
                                         them already; NULL: to be found */
} dense_fit;

/* The largest scale of a row's accumulator beside that of its output (models/FORMAT.md, dense). */
#define DENSE_COARSEST 0.499

/* The least scale of a row's accumulator: with it the bias fits beside the products. */
double dense_smallest_scale(double bias, double out_scale);

/* The largest weight of so many bits. */
static inline int weight_limit(int bits)
{
    return (1 << (bits - 1)) - 1;
}

/* Weights get one scale per output row. weight (out, in) and bias (out) are real; `in` describes the
 * inputs, `out` the outputs (scale alone for the s16 stream). pixels: inputs are u8, else s8. The bias
 * makes the mean output over what was observed of `in` that of the float layer. */
bool quantize_dense(arena *memory, const char *name, const float *weight, const float *bias,
                    size_t outputs, const code *in, const code *out, bool pixels,
                    const dense_fit *fit, integer_dense *result, report *r);

/* The finest output scale that a layer with these inputs can write: its factors must stay below one
 * half (models/FORMAT.md, dense). A finer one would hold no more than the accumulator does. */
double dense_finest_scale(const float *weight, size_t outputs, const code *in, int bits);

/* The classifier, to s32 logits at one scale of at least that, which is set in the geometry. */
bool quantize_logits(arena *scratch, arena *memory, const network_linear *head,
                     double least_scale, const code *in, range_method method,
                     integer_network *result, report *r);

/* LayerNorm whose input is the s16 stream at `stream_scale`. */
bool quantize_norm(arena *memory, const char *name, const network_norm *norm, double epsilon,
                   double stream_scale, iviti_norm_kind kind, const code *out,
                   integer_norm *result, report *r);

/* The layer that the integers compute, as real numbers. real: weight (out, in) and bias (out). */
void dense_real(const integer_dense *dense, const code *in, const code *out,
                const network_linear *real);

/* Signal-to-noise ratio, in dB, of the layer computed with its quantised inputs and weights, on x
 * (rows, in), s8 codes. Rows beyond a few thousand are left out. */
double dense_snr(const integer_dense *dense, const float *weight, const float *bias, const code *in,
                 const code *out, const float *x, size_t rows);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the quantiser share while a network passes through it.
 */
#ifndef QUANTIZER_H
#define QUANTIZER_H

#include "quantize/balance.h"
#include "quantize/quantize.h"

typedef struct quantizer {
    const network *source;
    const quantize_options *options;
    size_t pictures;
    size_t views;                          /* reconstruction: of these, behind them in the streams */
    const uint8_t *view_pixels;
    integer_network *out;
    arena *memory;                         /* out->memory: what the file will hold */
    arena scratch;                         /* of the layer at hand */
    double stream_scale[IVITI_MAX_STAGES]; /* of the s16 residual stream */
    float *coded;                          /* reconstruction: the stream as the blocks so far leave it
                                              when they are quantised; else NULL */
    struct sensitivity *sensitivity;       /* asked for, or NULL */
    row_weights weights;                   /* of the rows of the layer at hand */
    layer_row *rows;
    size_t row_count;
    report *r;
    const struct variant_set *variants;    /* NULL: none */
} quantizer;

/* Networks beside q->out that differ from it in operators alone (variants.c). */
typedef struct variant_set {
    const operators *kinds; /* (count) the first is q->out's */
    integer_network **made; /* (count) the first is q->out */
    size_t count;
} variant_set;

/* The rest of a variant, once all blocks of the first network and of its own are there. */
bool integer_network_vary(integer_network *first, integer_network *variant, report *r);

/* The parts of a block of each variant that differ from q->out's, which is done. */
bool quantize_block_variants(quantizer *q, uint32_t block, const network_capture *seen, size_t rows,
                             const code *norm1, const code *norm2);

/* Bits of an activation of a block. */
int quantizer_bits(const quantizer *q, uint32_t block, iviti_activation which);

/* Steps of progress that a block takes. */
size_t quantizer_steps(const quantizer *q);

/* A constant scale without offset: the s16 stream. */
code quantizer_stream_code(quantizer *q, uint32_t stage);

/* The s16 output of a layer that joins the stream, as fine as both allow, and the join that brings it
 * to the stream's scale. */
bool quantizer_branch(quantizer *q, uint32_t stage, const network_linear *layer, const code *in,
                      int bits, code *branch, integer_join *join);

/* A row for the table, with the layer's fit measured on x (rows, in); x NULL: not measured. */
void quantizer_note(quantizer *q, const char *name, const integer_dense *dense,
                    const network_linear *layer, const code *in, const code *out, const float *x,
                    size_t rows);

/* The four dense layers of a block, their places in weight_bits, and the bits there. */
typedef enum block_layer { LAYER_QKV, LAYER_PROJ, LAYER_FC1, LAYER_FC2 } block_layer;
uint32_t quantizer_slot(const quantizer *q, uint32_t block, block_layer layer);
int quantizer_weight_bits(const quantizer *q, uint32_t block, block_layer layer);

/* Factors for the scales of `c`, the input x (rows, width) of a layer with weights of so many bits: in the
 * scratch memory. NULL, with a sentence, where it runs out. */
const double *quantizer_balance(quantizer *q, const code *c, const float *x, size_t rows,
                                const network_linear *layer, size_t outputs, int bits);

/* The code of a LayerNorm's output x (rows, width), balanced for the layer that reads it, with weights of
 * so many bits. */
bool quantizer_code_norm(quantizer *q, const network_norm *norm, const float *x, size_t rows,
                         const network_linear *layer, size_t outputs, size_t width, int code_bits,
                         int bits, code *c);

#define QUANTIZER_NO_SLOT UINT32_MAX /* 8 bits, whatever the options say */

/* A dense layer as the options want it, and its row of the table. slot: its place in weight_bits, of a layer
 * of a block or a merge; others have none. x (rows, in) is what it is given. */
bool quantizer_dense(quantizer *q, const char *name, const network_linear *layer, size_t outputs,
                     const code *in, const code *out, uint32_t slot, const float *x, size_t rows,
                     integer_dense *result);

/* Whether the stream is to be as fine as 8 bits allow, at the cost of a longer conversion: predictors rank
 * tokens by differences that are small beside it. */
bool quantizer_ranks(const quantizer *q);

/* Compensation of what reads raw pixels by the code `in`, which gets their means; all in `memory`. False
 * where that runs out. */
bool quantizer_compensate_pixels(quantizer *q, const uint8_t *pixels, code *in, arena *memory,
                                 compensation *c);

/* Raw u8 pixels as the code of windows of so many values: normalisation folds into the weights. */
code quantizer_pixel_code(quantizer *q, size_t inputs);

/* The stem's convolutions, if there are any. embed: the code of what the patch embedding reads. */
bool quantize_stem(quantizer *q, const uint8_t *pixels, code *embed);

/* The prefix rows of x (pictures * tokens, dim), put together; NULL where memory runs out. */
float *quantizer_prefix_rows(quantizer *q, const float *x, size_t tokens);

/* What the head of the patches reads: x (rows, dim), and the code of it. */
typedef struct patches_inputs {
    float *x;
    size_t rows;
    code code;
} patches_inputs;

/* From normed (pictures * tokens, dim). */
bool quantizer_patches_inputs(quantizer *q, const float *normed, size_t tokens,
                              patches_inputs *out);

/* The head of the patches, after the other one, whose scale it takes over. */
bool quantize_patches_head(quantizer *q, const patches_inputs *in);

/* How much an error in each of a layer's inputs costs at its outputs: (in), in the scratch memory. */
double *quantizer_column_weights(quantizer *q, const network_linear *layer, size_t in, size_t out);

/* Tables of GELU for 64 channels at a time of x (rows, hidden), taken in that order, and the codes
 * on both of their sides. weight (hidden): what an error of each channel costs. first: in the first
 * block. NULL where memory runs out. */
int8_t *quantizer_gelu_tables(quantizer *q, const float *x, size_t rows, size_t hidden,
                              const size_t *order, const double *weight, bool first, code *in,
                              code *out);

/* DynamicViT's predictor of a stage: x (tokens of all pictures, C) goes on with those that it keeps. */
bool quantize_predictor(quantizer *q, uint32_t stage, float *x);

/* Token merging: the mean keys of a stage of pruning. in: the code of what keys are made from. */
bool quantize_mean_key(quantizer *q, uint32_t stage, const code *in, const network_capture *seen,
                       size_t rows);

/* The codes of a block's attention: of q, k and v, as one code of width 3C, and of its output. */
bool quantize_attention(quantizer *q, uint32_t block, const network_capture *seen, size_t rows,
                        code *qkv, code *attention);

/* The constants that the kind of softmax has of its own. unit: what one unit of its numerators is
 * worth, 1 where they are divided by their sum. False where memory runs out. */
bool quantize_softmax(quantizer *q, uint32_t block, const network_capture *seen, double *unit);

/* ShiftGELU and i-GELU, the constants and the codes of their inputs and outputs. */
bool quantize_row_gelu(quantizer *q, uint32_t block, const network_capture *seen, size_t rows,
                       code *in, code *out);

/* GELU with the exact error function. */
double quantize_exact_gelu(double x);

/* The codes around a block's GELU, with its tables. */
typedef struct mlp_codes {
    network_linear fc1, fc2; /* hidden channels in the order of the tables */
    code in, out;            /* of GELU */
    const float *gelu;       /* (rows, H) what it gave, in that order */
} mlp_codes;

bool quantize_mlp_codes(quantizer *q, uint32_t block, const network_capture *seen, size_t rows,
                        mlp_codes *m);

/* fc1, GELU and fc2. norm2: the code of fc1's input. */
bool quantize_mlp(quantizer *q, uint32_t block, const network_capture *seen, size_t rows,
                  const code *norm2);

/* Room for what a block computes. */
bool quantizer_capture(quantizer *q, size_t rows, size_t dim, size_t hidden, network_capture *c);

/* Whether reconstruction can be done for these operators; a sentence where not. */
bool quantize_reconstructible(const iviti_geometry *g, report *r);

/* One block by reconstruction: x, the float stream, and q->coded pass through it. */
bool quantize_reconstructed(quantizer *q, uint32_t block, float *x);

#endif

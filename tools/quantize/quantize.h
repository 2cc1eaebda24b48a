/* SPDX-License-Identifier: Apache-2.0
 *
 * Post-training quantisation: a float network and a few pictures to an integer network.
 *
 * All pictures pass through one block at a time, so that every layer's inputs and outputs over the
 * whole calibration set are at hand when its constants are chosen.
 */
#ifndef QUANTIZE_H
#define QUANTIZE_H

#include "network/forward.h"
#include "quantize/integer_network.h"
#include "quantize/layers.h"

/* The kinds of non-linear operators, in any mix. */
typedef struct operators {
    iviti_norm_kind norm;
    iviti_softmax_kind softmax;
    iviti_gelu_kind gelu;
} operators;

#define OPERATORS_TABLE ((operators){ IVITI_NORM_EXACT, IVITI_SOFTMAX_TABLE, IVITI_GELU_TABLE })
#define OPERATORS_SHIFT ((operators){ IVITI_NORM_NEWTON, IVITI_SOFTMAX_SHIFT16, IVITI_GELU_SHIFT })

typedef struct quantize_options {
    range_method method;
    bool compensate;   /* weights make up for one another's rounding */
    int weight_bits;   /* of the blocks and merges: 3, 4, 6 or 8 */
    bool codebook;     /* weights of 4 bits are indices into 16 entries of their layer */
    struct sensitivity *sensitivity; /* measured on the way (sensitivity.h), or NULL */
    const uint8_t *layer_bits; /* (iviti_weight_layers) of each by itself; NULL: all as above */
    int activation_bits; /* of the blocks' and merges' activations: 2 to 8, or 12: the inputs of
                            proj, and those of fc1 and fc2 in the first wide_mlps blocks; all others
                            8 */
    uint32_t wide_mlps;
    operators operators;
    unsigned iterations; /* of reconstruction, for each block and stage; 0: none */
    unsigned threads;
    void (*progress)(void *user, size_t done, size_t of); /* may be NULL */
    void *user;
} quantize_options;

typedef struct quantize_table {
    layer_row *rows;
    size_t count;
} quantize_table;

/* The bits of all activations, as the options say. */
void quantize_activation_bits(const quantize_options *options, iviti_geometry *g);

/* pixels (count, image_height, image_width, 3), count >= 1. [out] out: the caller's, with all that
 * hangs on it, until integer_network_free; untouched on failure. [out] table: lives in out->memory. */
bool quantize_network(const network *source, const uint8_t *pixels, size_t count,
                      const quantize_options *options, integer_network **out,
                      quantize_table *table, report *r);

/* Networks with several sets of operators at a time, all else being the same: the pictures pass once, and
 * what does not depend on the operators is made once. The first set is that of `options` and must have
 * exact LayerNorms if another has not. out (count): valid until the first is freed, after the others. */
bool quantize_variants(const network *source, const uint8_t *pixels, size_t pictures,
                       const quantize_options *options, const operators *kinds, size_t count,
                       integer_network **out, quantize_table *table, report *r);

void integer_network_free(integer_network *n); /* NULL is allowed */

#endif

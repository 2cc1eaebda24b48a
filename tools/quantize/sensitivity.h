/* SPDX-License-Identifier: Apache-2.0
 *
 * What few bits of a layer's weights cost at the logits.
 *
 * The error at a layer's own output, D H D^T over its rows, is known in closed form for every number of
 * bits from the covariance H of its inputs and what compensation leaves of the weights, D. What the
 * logits make of it is measured once per layer: a float network in which this layer alone has 4-bit
 * weights. The logit error of other numbers of bits follows in proportion.
 */
#ifndef SENSITIVITY_H
#define SENSITIVITY_H

#include "quantize/quantizer.h"

#define SENSITIVITY_WIDTHS 4
extern const int sensitivity_bits[SENSITIVITY_WIDTHS]; /* rising */

typedef struct sensitivity {
    uint32_t layers;                            /* iviti_weight_layers() */
    double (*error)[SENSITIVITY_WIDTHS];        /* relative squared error of the logits */
    iviti_geometry geometry;                    /* as for a model file */
    size_t pictures;                            /* on which logits are compared */
    network shadow;                             /* of the source: blocks and merges of its own */
    float *before;                              /* their streams in front of the part at hand */
    float *scratch[2];                          /* the same size */
    float *exact, *logits;                      /* (pictures, classes) */
    double energy;                              /* of exact */
    arena memory;
} sensitivity;

/* Walks through the network once. On success to be freed with sensitivity_free. */
bool sensitivity_measure(const network *source, const uint8_t *pixels, size_t count,
                         const quantize_options *options, sensitivity *s, report *r);

/* The same without a measurement: no error is known (NAN). */
bool sensitivity_unknown(const network *source, const quantize_options *options, sensitivity *s,
                         report *r);
void sensitivity_free(sensitivity *s);

/* ---- for the walk -------------------------------------------------------------------------------- */

/* The streams x (count pictures) in front of a block or merge of `stage`. */
void sensitivity_enter(sensitivity *s, uint32_t stage, const float *x, size_t count);

/* Fits the layer in all widths. layer: what it is in float, also in the shadow, where `place` is. */
bool sensitivity_layer(quantizer *q, uint32_t slot, const network_linear *layer, size_t outputs,
                       const code *in, const code *out, const compensation *c);

#endif

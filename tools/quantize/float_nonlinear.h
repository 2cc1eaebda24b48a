/* SPDX-License-Identifier: Apache-2.0
 *
 * A quantised network with floating point between its products: the baseline that integer softmax, GELU
 * and LayerNorm are measured against, as FasterTransformer computes 8-bit networks.
 *
 * Operands of all products are the integers of the network, weights and activations alike; the sums are
 * exact. Everything else is floating point: the residual stream, LayerNorm, GELU on unrounded sums, softmax
 * with the exact exponential. Probabilities, an operand, become u8 numerators of their row's largest, as in
 * the table family. What differs from the integer model is its arithmetic between the products alone.
 */
#ifndef FLOAT_NONLINEAR_H
#define FLOAT_NONLINEAR_H

#include "common/report.h"
#include "quantize/integer_network.h"

typedef struct float_nonlinear float_nonlinear;

/* `n`, which must come from the quantiser and outlive it, has neither stem nor head of the patches and
 * prunes no tokens; others are refused with a sentence. */
bool float_nonlinear_open(const integer_network *n, float_nonlinear **out, report *r);

/* pixels (count, image_height, image_width, 3) to logits (count, classes). A picture is computed by one
 * thread, and several callers may run at a time. */
bool float_nonlinear_run(const float_nonlinear *f, const uint8_t *pixels, size_t count,
                         unsigned threads, float *logits, report *r);

void float_nonlinear_free(float_nonlinear *f); /* NULL is allowed */

#endif

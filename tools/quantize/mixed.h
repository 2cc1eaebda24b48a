/* SPDX-License-Identifier: Apache-2.0
 *
 * Bits for each layer under a budget of bytes of the model file.
 */
#ifndef MIXED_H
#define MIXED_H

#include "quantize/sensitivity.h"

typedef enum mixed_allocation {
    MIXED_SENSITIVITY, /* least sum of what the layers cost at the logits */
    MIXED_PREFIX,      /* for comparison: one width for all, the first layers the next wider one */
    MIXED_RANDOM       /* for comparison: the same with layers drawn at random */
} mixed_allocation;

typedef struct mixed_plan {
    uint8_t bits[IVITI_MAX_WEIGHTS];
    double error[IVITI_MAX_WEIGHTS]; /* relative squared error of the logits that each causes */
    uint64_t bytes;                  /* of the file; a little less if all layers have 8 bits */
} mixed_plan;

/* lowest_bytes: of a file whose layers all have sensitivity_bits[0]. The same seed draws the same layers. */
bool mixed_plan_make(const sensitivity *s, uint64_t lowest_bytes, uint64_t budget,
                     mixed_allocation allocation, uint64_t seed, mixed_plan *plan, report *r);

#endif

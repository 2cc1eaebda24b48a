/* SPDX-License-Identifier: Apache-2.0
 *
 * How a model file's bytes divide among the parts of the network.
 */
#ifndef MODEL_PARTS_H
#define MODEL_PARTS_H

#include "model/schema.h"

typedef enum model_part {
    PART_EMBEDDING,
    PART_POSITION,
    PART_ATTENTION,
    PART_MLP,
    PART_MERGE,
    PART_HEAD,
    PART_COUNT
} model_part;

typedef struct model_part_size {
    const char *name;
    uint64_t tensors;
    uint64_t weights; /* elements of weight matrices and of the position table */
    double bits;      /* of such an element, on average; 0 where the part has none */
    uint64_t bytes;   /* of all its tensors, constants and tables included */
} model_part_size;

/* Fills all PART_COUNT sizes and returns the bytes of all tensors. */
uint64_t model_parts(const iviti_geometry *g, model_part_size sizes[PART_COUNT]);

/* "I8", "I16", "I32". */
const char *model_type_name(iviti_tensor_type type);

#endif

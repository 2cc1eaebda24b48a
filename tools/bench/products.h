/* SPDX-License-Identifier: Apache-2.0
 *
 * The matrix products of a model, in the order in which its definition has them: what an engine
 * would do that had nothing to do but those.
 */
#ifndef PRODUCTS_H
#define PRODUCTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/geometry.h"

/* `batch` times (rows, inner) by (inner, columns). */
typedef struct product {
    uint32_t batch;
    uint32_t rows;
    uint32_t inner;
    uint32_t columns;
    bool weights; /* the right operand is the model's, not an activation; then batch is 1 */
} product;

/* Six in a block, and five more where tokens are pruned; the patch embedding, the head, and the merges
 * of a swin besides. */
#define PRODUCTS_MAX (11 * IVITI_MAX_BLOCKS + IVITI_MAX_STAGES + IVITI_MAX_CONVOLUTIONS + 2)

typedef struct product_list {
    size_t count;
    product item[PRODUCTS_MAX];
} product_list;

void products_of(const iviti_geometry *g, product_list *list);

uint64_t product_macs(const product *p);
uint64_t products_macs(const product_list *list);

#endif

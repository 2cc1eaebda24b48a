/* SPDX-License-Identifier: Apache-2.0
 *
 * From the tensors of a file to the layers of a model: each is read once, in order, checked, and
 * stored where and how the kernels want it.
 */
#ifndef IVITI_TENSORS_H
#define IVITI_TENSORS_H

#include "base/reader.h"
#include "model/model.h"
#include "model/schema.h"

/* The block of memory that a model lies in. */
typedef struct iviti_arena {
    uint8_t *base; /* aligned to IVITI_ALIGNMENT */
    size_t size;
    size_t used; /* a multiple of IVITI_ALIGNMENT */
} iviti_arena;

/* A dense layer while it is being read. */
typedef struct iviti_dense_part {
    int8_t *panels;
    int32_t *bias; /* the row sums, until the bias is known */
    int32_t *multiplier;
    int32_t *shift;
    uint32_t out;
} iviti_dense_part;

typedef struct iviti_tensor_loader {
    iviti_reader *reader; /* streaming, its buffer at least 16 rows of the widest layer */
    iviti_model *model;
    iviti_arena arena;
    /* The layer whose tensors are being read. */
    iviti_dense_part part[3]; /* where `wide`: of the high digits, then of the low ones */
    uint32_t parts;           /* that the rows are divided into */
    bool wide;
    uint32_t in; /* of the dense layer */
    int32_t *multiplier, *shift, *bias;
    iviti_dyadic *factors;
    iviti_dyadic pair[2];
    int32_t i_gelu[2];
    uint8_t *i_gelu_table;
} iviti_tensor_loader;

/* `bytes` bytes of the arena, or NULL beyond its end. */
void *iviti_arena_take(iviti_arena *arena, uint64_t bytes);

/* Bytes of the arena that all tensors of the geometry take. False beyond IVITI_MAX_MODEL. */
bool iviti_tensors_memory(const iviti_geometry *g, uint64_t *bytes);

/* Reads one tensor. The tensors must come in the order of the schema. Returns IVITI_OK, RANGE or
 * what the reader returns. */
iviti_status iviti_tensor_load(iviti_tensor_loader *l, const iviti_tensor_spec *spec);

#endif

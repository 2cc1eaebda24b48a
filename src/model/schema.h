/* SPDX-License-Identifier: Apache-2.0
 *
 * The ordered list of tensors of a model file, models/FORMAT.md section 3, derived from the
 * geometry alone: the reader demands exactly it, the writer writes exactly it.
 */
#ifndef IVITI_SCHEMA_H
#define IVITI_SCHEMA_H

#include "model/geometry.h"

#define IVITI_FILE_ALIGNMENT  64
#define IVITI_FILE_VERSION    3 /* of GGUF */
#define IVITI_FILE_FORMAT     1 /* iviti.format */
#define IVITI_MAX_FILE        ((uint64_t)1 << 31)
#define IVITI_MAX_HEADER      ((uint64_t)8 << 20)
#define IVITI_MAX_PAIRS       4096
#define IVITI_MAX_TENSORS     16384
#define IVITI_MAX_TENSOR_NAME 63
#define IVITI_MAX_KEY         127
#define IVITI_MAX_LABEL       1024
#define IVITI_MAX_MODEL       ((uint64_t)1 << 31) /* bytes of a model in memory */

/* First pair of the file: 24 bytes of header, length and text of the key, type, value. */
#define IVITI_CHECKSUM_KEY    "iviti.checksum"
#define IVITI_CHECKSUM_OFFSET 50

typedef enum iviti_tensor_type {
    IVITI_TYPE_I8 = 24,
    IVITI_TYPE_I16 = 25,
    IVITI_TYPE_I32 = 26
} iviti_tensor_type;

/* Whose tensor it is, in the order of the file. */
typedef enum iviti_owner {
    IVITI_STEM, /* stem.i. */
    IVITI_EMBED_PIXELS,
    IVITI_EMBED,
    IVITI_EMBED_POSITION,
    IVITI_EMBED_JOIN,
    IVITI_EMBED_NORM,
    IVITI_BLOCK_NORM1, /* block.i. from here */
    IVITI_BLOCK_QKV,
    IVITI_BLOCK_SCORE,
    IVITI_BLOCK_EXP_TABLE,
    IVITI_BLOCK_EXP_SCALE,
    IVITI_BLOCK_EXPONENTIALS,
    IVITI_BLOCK_EXP_POLYNOMIAL,
    IVITI_BLOCK_THRESHOLDS,
    IVITI_BLOCK_ETA,
    IVITI_BLOCK_POSITION_BIAS,
    IVITI_BLOCK_BIAS_SCORE,
    IVITI_BLOCK_OUTPUT,
    IVITI_BLOCK_PROJ,
    IVITI_BLOCK_JOIN1,
    IVITI_BLOCK_NORM2,
    IVITI_BLOCK_FC1,
    IVITI_BLOCK_GELU_TABLE,
    IVITI_BLOCK_GELU_SCALE,
    IVITI_BLOCK_GELU_POLYNOMIAL,
    IVITI_BLOCK_GELU_OUTPUT,
    IVITI_BLOCK_FC2,
    IVITI_BLOCK_JOIN2, /* to here */
    IVITI_MERGE_NORM,  /* merge.s. */
    IVITI_MERGE_REDUCTION,
    IVITI_FINAL_NORM,
    IVITI_POOL,
    IVITI_HEAD,
    IVITI_PATCHES_NORM,
    IVITI_PATCHES_HEAD,
    IVITI_PREDICTOR_NORM, /* predictor.k. from here */
    IVITI_PREDICTOR_IN,
    IVITI_PREDICTOR_IN_TABLE,
    IVITI_PREDICTOR_MEAN,
    IVITI_PREDICTOR_GLOBAL,
    IVITI_PREDICTOR_LOCAL,
    IVITI_PREDICTOR_LOCAL_TABLE,
    IVITI_PREDICTOR_OUT,
    IVITI_PREDICTOR_OUT_TABLE,
    IVITI_PREDICTOR_SCORE, /* to here */
    IVITI_MERGING_KEY,     /* merging.k. */
    IVITI_MERGING_SIZE,
    IVITI_OWNERS
} iviti_owner;

/* What the owner is, and so which tensors it has. */
typedef enum iviti_layer_kind {
    IVITI_DENSE,  /* weight, bias, multiplier, shift */
    IVITI_NORM,   /* multiplier, shift, bias, epsilon */
    IVITI_JOIN,   /* multiplier, shift of two factors */
    IVITI_DYADIC, /* multiplier, shift of n factors */
    IVITI_ARRAY   /* one tensor, named as its owner */
} iviti_layer_kind;

typedef enum iviti_field {
    IVITI_FIELD_WEIGHT,
    IVITI_FIELD_BIAS,
    IVITI_FIELD_MULTIPLIER,
    IVITI_FIELD_SHIFT,
    IVITI_FIELD_EPSILON,
    IVITI_FIELD_VALUES
} iviti_field;

typedef struct iviti_tensor_spec {
    char name[IVITI_MAX_TENSOR_NAME + 1];
    iviti_tensor_type type;
    uint32_t rank;     /* 1 or 2 */
    uint32_t shape[2]; /* slowest first; shape[1] is 1 where rank is 1 */
    uint64_t count;    /* elements, at least 1 */
    uint64_t bytes;
    iviti_owner owner;
    iviti_layer_kind kind;
    iviti_field field;
    uint32_t bits;   /* of an element of a weight; else 0 */
    const int8_t *codebook; /* in the geometry: of what a weight's elements are indices; or NULL */
    uint32_t inputs; /* of a weight: elements of a row once it is unpacked, shape[1] where bits is 8 */
    uint32_t index; /* block through all stages, convolution, or stage of a merge or of pruning, or 0 */
    uint32_t stage;
    int32_t low, high; /* every element lies in [low, high], every byte where it holds packed
                          weights. Besides: the multipliers of a norm are
                          at least 2^30 in magnitude, and what FORMAT.md says of tables, of epsilon
                          and of the accumulators of a dense layer */
} iviti_tensor_spec;

/* Tensors of a complete geometry; at most IVITI_MAX_TENSORS. */
size_t iviti_schema_count(const iviti_geometry *g);

/* Fills the spec of tensor `index`; false beyond the last. */
bool iviti_schema_tensor(const iviti_geometry *g, size_t index, iviti_tensor_spec *spec);

/* Whether the tensor is of a dense layer whose inputs are wide. */
bool iviti_tensor_wide(const iviti_geometry *g, const iviti_tensor_spec *spec);

/* Length of the tensor data of a file with this geometry, without the header. False if it is beyond
 * the limit of a file. */
bool iviti_schema_data_bytes(const iviti_geometry *g, uint64_t *bytes);

#endif

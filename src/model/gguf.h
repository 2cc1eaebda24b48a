/* SPDX-License-Identifier: Apache-2.0
 *
 * The syntax of a GGUF header: metadata pairs and the tensor directory, one after the other. What
 * they mean is not decided here.
 */
#ifndef IVITI_GGUF_H
#define IVITI_GGUF_H

#include <stdbool.h>

#include "base/reader.h"

#define IVITI_GGUF_MAX_RANK 4

typedef enum iviti_gguf_type {
    IVITI_GGUF_U8 = 0,
    IVITI_GGUF_I8 = 1,
    IVITI_GGUF_U16 = 2,
    IVITI_GGUF_I16 = 3,
    IVITI_GGUF_U32 = 4,
    IVITI_GGUF_I32 = 5,
    IVITI_GGUF_F32 = 6,
    IVITI_GGUF_BOOL = 7,
    IVITI_GGUF_STRING = 8,
    IVITI_GGUF_ARRAY = 9,
    IVITI_GGUF_U64 = 10,
    IVITI_GGUF_I64 = 11,
    IVITI_GGUF_F64 = 12
} iviti_gguf_type;

/* All pointers lead into the reader's buffer and are valid until the next call. */
typedef struct iviti_gguf_pair {
    const char *key; /* (key_bytes), [a-z0-9_.-], not terminated */
    size_t key_bytes;
    uint64_t key_offset; /* in the file */
    uint32_t type;       /* of the elements */
    bool array;
    uint64_t count;      /* 1 where it is no array */
    const uint8_t *data; /* (bytes) as in the file; of a single string, its text alone */
    size_t bytes;
    uint64_t data_offset; /* in the file */
} iviti_gguf_pair;

typedef struct iviti_gguf_tensor {
    const char *name; /* (name_bytes), not terminated */
    size_t name_bytes;
    uint32_t rank;
    uint64_t dimension[IVITI_GGUF_MAX_RANK]; /* fastest first */
    uint32_t type;
    uint64_t offset; /* from the start of the tensor data */
} iviti_gguf_tensor;

typedef struct iviti_gguf_counts {
    uint64_t tensors; /* at most IVITI_MAX_TENSORS */
    uint64_t pairs;   /* at most IVITI_MAX_PAIRS */
} iviti_gguf_counts;

/* The fixed header of 24 bytes. */
iviti_status iviti_gguf_begin(iviti_reader *r, iviti_gguf_counts *counts);

/* The next metadata pair. */
iviti_status iviti_gguf_next_pair(iviti_reader *r, iviti_gguf_pair *pair);

/* The next entry of the tensor directory. */
iviti_status iviti_gguf_next_tensor(iviti_reader *r, iviti_gguf_tensor *tensor);

/* Whether the key is exactly `name`. */
bool iviti_gguf_key_is(const iviti_gguf_pair *pair, const char *name);

/* Walks the elements of an array of strings: *at moves to the next one. The pair has been checked.
 */
const char *iviti_gguf_next_string(const uint8_t **at, size_t *bytes);

#endif

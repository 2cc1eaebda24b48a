/* SPDX-License-Identifier: Apache-2.0
 *
 * A checkpoint file as named tensors, whatever its container: safetensors, PyTorch zip, the older
 * PyTorch stream, NumPy .npz. The container is told by its bytes, never by its name; nothing in the
 * file is executed; a failure is final, no other reader is tried.
 */
#ifndef CHECKPOINT_H
#define CHECKPOINT_H

#include <stdint.h>

#include "common/report.h"

#define CHECKPOINT_MAX_RANK    8
#define CHECKPOINT_MAX_NAME    255
#define CHECKPOINT_MAX_TENSORS 16384

typedef enum checkpoint_type {
    CHECKPOINT_F32,
    CHECKPOINT_F16,
    CHECKPOINT_BF16,
    CHECKPOINT_F64,
    CHECKPOINT_I64,
    CHECKPOINT_I32,
    CHECKPOINT_I16,
    CHECKPOINT_I8,
    CHECKPOINT_U8,
    CHECKPOINT_BOOL
} checkpoint_type;

typedef struct checkpoint_tensor {
    const char *name; /* NUL-terminated; nesting and `module.` already removed */
    checkpoint_type type;
    uint32_t rank;
    uint64_t shape[CHECKPOINT_MAX_RANK];
    uint64_t count;   /* elements: product of the shape, 1 for rank 0 */
    const void *data; /* contiguous, row-major, little-endian as in the file; not aligned */
} checkpoint_tensor;

typedef struct checkpoint {
    const char *container; /* "safetensors", "pytorch zip", "pytorch legacy", "npz" */
    char sha256[65];       /* of the file */
    char file[256];        /* its name without folders */
    uint64_t bytes;        /* its length */
    size_t count;
    checkpoint_tensor *tensors; /* sorted by name */
    void *source;               /* the file's bytes, where most tensors lie */
    void *arena;                /* names, and tensors that had to be copied */
} checkpoint;

/* Reads the whole file. Untouched output and a sentence on failure. */
bool checkpoint_open(const char *path, checkpoint **out, report *r);
void checkpoint_close(checkpoint *c); /* NULL is allowed */

/* NULL where there is none of that name. */
const checkpoint_tensor *checkpoint_find(const checkpoint *c, const char *name);

/* Every element widened exactly to float (f64 and integers rounded to nearest). out (count). */
void checkpoint_to_float(const checkpoint_tensor *t, float *out);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * What the four container readers share: the file in memory, the sentences, memory that lives as
 * long as the checkpoint, and the list of tensors under construction.
 */
#ifndef CHECKPOINT_CONTAINER_H
#define CHECKPOINT_CONTAINER_H

#include "checkpoint/checkpoint.h"

#define CHECKPOINT_MAX_BYTES UINT64_C(0xFFFFFFFF)
#define CHECKPOINT_MAX_DIM   (UINT64_C(1) << 32)

typedef struct container {
    checkpoint *result;
    const uint8_t *bytes; /* the file, owned by the result */
    size_t size;
    size_t capacity; /* of result->tensors */
    uint64_t budget; /* bytes that tensors may still take outside the file: see container_buffer */
    report *report;
} container;

/* Leaves "FILE: sentence" and returns false. */
bool container_refuse(container *c, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;

/* Memory that the checkpoint owns; NULL and a sentence where there is none. */
void *container_alloc(container *c, size_t bytes);

/* The same for tensor data that cannot be used where it lies in the file. All such buffers together
 * stay within the budget, so that a small file cannot ask for much memory. */
void *container_buffer(container *c, uint64_t bytes, const char *what);

/* Product of the dimensions, checked; false (and no sentence) where it wraps or a dimension is
 * above CHECKPOINT_MAX_DIM. */
bool checkpoint_count(const uint64_t *shape, uint32_t rank, uint64_t *count);

size_t checkpoint_type_bytes(checkpoint_type type);

/* Appends a tensor whose type, rank, shape, count and data are set; copies the name. */
bool container_add(container *c, const uint8_t *name, size_t length, const checkpoint_tensor *t);

/* Copies a strided view, strides in elements, to a new row-major buffer and lets t->data point to
 * it. The caller has proved that every element lies inside `base`. */
bool container_gather(container *c, checkpoint_tensor *t, const uint8_t *base,
                      const uint64_t *stride, const char *name);

/* The readers. Each gets a file whose first bytes are those of its container. */
bool safetensors_read(container *c);
bool zip_read(container *c); /* PyTorch or NumPy: told by the names inside */
bool legacy_read(container *c);

/* What torch.save wrote first before 1.6: a pickle of one integer. */
#define LEGACY_MAGIC       "\x80\x02\x8A\x0A\x6C\xFC\x9C\x46\xF9\x20\x6A\xA8\x50\x19."
#define LEGACY_MAGIC_BYTES 15

/* checkpoint_open without the file: takes over `bytes` (from malloc) whatever the outcome. */
bool checkpoint_parse(uint8_t *bytes, size_t size, const char *file, checkpoint **out, report *r);

#endif

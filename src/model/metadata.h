/* SPDX-License-Identifier: Apache-2.0
 *
 * The header of a model file: metadata pairs and tensor directory, models/FORMAT.md section 2.
 */
#ifndef IVITI_METADATA_H
#define IVITI_METADATA_H

#include "base/reader.h"
#include "model/geometry.h"
#include "model/gguf.h"
#include "model/schema.h"

typedef struct iviti_metadata {
    iviti_geometry geometry;
    uint32_t checksum;
    uint64_t tensors;       /* in the directory */
    uint64_t labels_offset; /* in the file, of the array of strings; 0: no labels */
    size_t labels_bytes;    /* texts, each with a NUL */
    uint64_t data_offset;   /* in the file, of the first tensor */
} iviti_metadata;

/* Reads, checks and completes everything before the tensor data, whose directory must be that of
 * the geometry. The reader is fresh and keeps what it reads; keys (IVITI_MAX_PAIRS) is scratch. */
iviti_status iviti_metadata_read(iviti_reader *r, uint32_t *keys, iviti_metadata *m);

/* Receives what a header says, as far as it can be read. Any member may be NULL. */
typedef struct iviti_metadata_visitor {
    void (*pair)(void *user, const iviti_gguf_pair *pair);
    void (*tensor)(void *user, const iviti_gguf_tensor *tensor);
    void *user;
} iviti_metadata_visitor;

/* Walks through the header of any GGUF file within the limits, whatever its pairs and tensors mean:
 * for programs that list a file. Of the options, allocator and log count. */
iviti_status iviti_metadata_visit(const iviti_source *source, const iviti_load_options *options,
                                  const iviti_metadata_visitor *visitor);

/* The same of a file. */
iviti_status iviti_metadata_visit_file(const char *path, const iviti_load_options *options,
                                       const iviti_metadata_visitor *visitor);

#endif

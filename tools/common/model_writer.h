/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing of model files, models/FORMAT.md: the geometry decides the list of tensors, the caller
 * fills them, and a file appears under its name only when it is complete and the library can read
 * it. The same input gives the same bytes.
 *
 *     model_writer_open(&geometry, &metadata, &writer, r)
 *     for (size_t i = 0; iviti_schema_tensor(&geometry, i, &spec); i++)
 *         model_writer_put(writer, i, values, spec.bytes, r)
 *     model_writer_save(writer, "model.gguf", r)
 *     model_writer_close(writer)
 */
#ifndef MODEL_WRITER_H
#define MODEL_WRITER_H

#include "common/report.h"
#include "model/schema.h"

/* A remark for people: stored as iviti.note.KEY. */
typedef struct model_note {
    const char *key;   /* [a-z0-9_.-] */
    const char *value; /* UTF-8 */
} model_note;

/* What goes into the header besides the geometry. NULL leaves a key out. */
typedef struct model_metadata {
    const char *name;          /* general.name */
    const char *const *labels; /* (classes) */
    const char *source_name;   /* without folders */
    const char *source_sha256; /* 64 hexadecimal digits */
    const char *converter;
    const char *recipe;
    const float *mean;       /* (3) */
    const float *std;        /* (3) */
    const model_note *notes; /* (note_count) */
    size_t note_count;
} model_metadata;

typedef struct model_writer model_writer;

/* The geometry must be complete, with operators, preprocessing and logits. Both arguments are
 * copied.
 */
bool model_writer_open(const iviti_geometry *g, const model_metadata *m, model_writer **out,
                       report *r);

/* Of the file to be. */
size_t model_writer_size(const model_writer *w);

/* Copies tensor `index` of iviti_schema_tensor(): values in the host's byte order, slowest
 * dimension first, `bytes` exactly those of its spec. Any order, each once. */
bool model_writer_put(model_writer *w, size_t index, const void *values, size_t bytes, report *r);

/* Completes the image of the file: (*size) bytes that are the writer's. All tensors must be there.
 */
bool model_writer_finish(model_writer *w, const uint8_t **image, size_t *size, report *r);

/* Finishes, has the library check the image, and writes it beside `path` before it gets that name.
 */
bool model_writer_save(model_writer *w, const char *path, report *r);

/* NULL is allowed. */
void model_writer_close(model_writer *w);

#endif

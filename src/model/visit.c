/* SPDX-License-Identifier: Apache-2.0
 *
 * Listing of a header, by the same parser that loads it.
 */
#include "base/log.h"
#include "base/memory.h"
#include "model/metadata.h"
#include "model/source.h"

#define BUFFER_BYTES ((size_t)64 << 10)

static iviti_status visit(iviti_reader *r, const iviti_metadata_visitor *visitor)
{
    iviti_gguf_counts counts;
    iviti_status status = iviti_gguf_begin(r, &counts);
    for (uint64_t i = 0; status == IVITI_OK && i < counts.pairs; i++) {
        iviti_gguf_pair pair;
        status = iviti_gguf_next_pair(r, &pair);
        if (status == IVITI_OK && visitor->pair != NULL)
            visitor->pair(visitor->user, &pair);
    }
    for (uint64_t i = 0; status == IVITI_OK && i < counts.tensors; i++) {
        iviti_gguf_tensor tensor;
        status = iviti_gguf_next_tensor(r, &tensor);
        if (status == IVITI_OK && visitor->tensor != NULL)
            visitor->tensor(visitor->user, &tensor);
    }
    return status;
}

iviti_status iviti_metadata_visit(const iviti_source *source, const iviti_load_options *options,
                                  const iviti_metadata_visitor *visitor)
{
    static const iviti_load_options defaults;
    if (options == NULL)
        options = &defaults;
    iviti_allocator allocator;
    if (source == NULL || source->read == NULL || visitor == NULL ||
        !iviti_allocator_resolve(&options->allocator, &allocator))
        return iviti_log_fail(&options->log, IVITI_ERROR_ARGUMENT,
                              "source, visitor or allocator is not complete");
    void *block;
    uint8_t *const buffer = iviti_allocate(&allocator, BUFFER_BYTES, &block);
    if (buffer == NULL)
        return iviti_log_fail(&options->log, IVITI_ERROR_MEMORY, "no memory for reading: %zu bytes",
                              BUFFER_BYTES);
    iviti_reader reader;
    iviti_reader_open(&reader, source, &allocator, &options->log, buffer, BUFFER_BYTES);
    reader.keep_limit = IVITI_MAX_HEADER;
    const iviti_status status = visit(&reader, visitor);
    iviti_reader_close(&reader);
    iviti_release(&allocator, block);
    return status;
}

iviti_status iviti_metadata_visit_file(const char *path, const iviti_load_options *options,
                                       const iviti_metadata_visitor *visitor)
{
    static const iviti_load_options defaults;
    if (options == NULL)
        options = &defaults;
    if (path == NULL)
        return iviti_log_fail(&options->log, IVITI_ERROR_ARGUMENT, "path is NULL");
    iviti_file_source file;
    iviti_status status = iviti_file_source_open(&file, path, &options->log);
    if (status != IVITI_OK)
        return status;
    status = iviti_metadata_visit(&file.source, options, visitor);
    iviti_file_source_close(&file);
    return status;
}

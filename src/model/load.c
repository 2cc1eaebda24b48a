/* SPDX-License-Identifier: Apache-2.0
 *
 * Loading of a model: header, one block of memory, tensors in order, checksum. Besides the model
 * there is one temporary block, so that the peak is the model and a few hundred KiB.
 */
#include <inttypes.h>
#include <string.h>

#include "base/checked.h"
#include "base/log.h"
#include "base/memory.h"
#include "kernels/kernel.h"
#include "model/metadata.h"
#include "model/source.h"
#include "model/tensors.h"

/* Holds 16 rows of the widest layer, and is small enough to stay in a cache. */
#define STAGING_BYTES ((size_t)IVITI_PANEL * IVITI_MAX_HIDDEN)

/* The temporary block. */
typedef struct workspace {
    uint8_t staging[STAGING_BYTES];
    uint32_t keys[IVITI_MAX_PAIRS];
    iviti_reader reader;
    iviti_metadata metadata;
    iviti_tensor_loader loader;
    /* The sentence of a failure is kept back until it is known whether damage explains it. */
    iviti_log log;
    char sentence[IVITI_LOG_BYTES];
} workspace;

static void keep_sentence(void *user, iviti_status status, const char *message)
{
    workspace *const w = user;
    (void)status;
    size_t length = strlen(message);
    if (length >= sizeof w->sentence)
        length = sizeof w->sentence - 1;
    memcpy(w->sentence, message, length);
    w->sentence[length] = 0;
}

/* ---- memory --------------------------------------------------------------------------------- */

/* The parts of a model besides its tensors, in the order in which they lie. */
typedef struct model_parts {
    uint64_t model, blocks, merges, predictors, mean_keys, label_offsets, labels;
    uint64_t total; /* with the tensors */
} model_parts;

static bool measure(const iviti_metadata *m, model_parts *p)
{
    const iviti_geometry *const g = &m->geometry;
    const bool labels = m->labels_offset != 0;
    p->model = sizeof(iviti_model);
    p->blocks = g->depth * sizeof(iviti_block);
    p->merges = (g->stages - 1) * sizeof(iviti_merge);
    p->predictors =
        g->prune.kind == IVITI_PRUNE_PREDICTOR ? g->prune.stages * sizeof(iviti_predictor) : 0;
    p->mean_keys = g->prune.kind == IVITI_PRUNE_MERGE ? g->prune.stages * sizeof(iviti_dense) : 0;
    p->label_offsets = labels ? g->classes * sizeof(uint32_t) : 0;
    p->labels = m->labels_bytes;

    const uint64_t parts[] = { p->model,     p->blocks,        p->merges, p->predictors,
                               p->mean_keys, p->label_offsets, p->labels };
    if (!iviti_tensors_memory(g, &p->total))
        return false;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        uint64_t aligned;
        if (!iviti_align_u64(parts[i], IVITI_ALIGNMENT, &aligned) ||
            !iviti_add_u64(p->total, aligned, &p->total))
            return false;
    }
    return p->total + IVITI_ALIGNMENT <= IVITI_MAX_MODEL;
}

/* Copies the names of the classes, which the reader still keeps. */
static void store_labels(workspace *w, uint32_t *offsets, char *labels)
{
    const uint8_t *at = w->reader.data + w->metadata.labels_offset;
    uint32_t used = 0;
    for (uint32_t i = 0; i < w->metadata.geometry.classes; i++) {
        size_t bytes;
        const char *const text = iviti_gguf_next_string(&at, &bytes);
        offsets[i] = used;
        memcpy(labels + used, text, bytes);
        labels[used + bytes] = 0;
        used += (uint32_t)bytes + 1;
    }
    w->loader.model->labels = labels;
    w->loader.model->label_offset = offsets;
}

/* One block for all of the model, with everything but the tensors in its place. */
static iviti_status allocate_model(workspace *w, const iviti_load_options *options)
{
    const iviti_geometry *const g = &w->metadata.geometry;
    const iviti_log *const log = &w->log;
    model_parts p;
    size_t bytes;
    if (!measure(&w->metadata, &p) || !iviti_u64_to_size(p.total, &bytes))
        return iviti_log_fail(log, IVITI_ERROR_LIMIT,
                              "the model needs more than the limit of %" PRIu64 " bytes of memory",
                              IVITI_MAX_MODEL);
    if (options->max_memory != 0 && bytes + IVITI_ALIGNMENT > options->max_memory)
        return iviti_log_fail(log, IVITI_ERROR_LIMIT,
                              "the model needs %zu bytes of memory; max_memory is %zu",
                              bytes + IVITI_ALIGNMENT, options->max_memory);
    void *block;
    uint8_t *const memory = iviti_allocate(w->reader.allocator, bytes, &block);
    if (memory == NULL)
        return iviti_log_fail(log, IVITI_ERROR_MEMORY,
                              "no memory for the model: it needs %zu bytes",
                              bytes + IVITI_ALIGNMENT);

    iviti_arena arena = { memory, bytes, 0 };
    iviti_model *const m = iviti_arena_take(&arena, p.model);
    *m = (iviti_model){ .geometry = *g,
                        .allocator = *w->reader.allocator,
                        .memory_block = block,
                        .memory = bytes + IVITI_ALIGNMENT };
    m->blocks = iviti_arena_take(&arena, p.blocks);
    m->merges = iviti_arena_take(&arena, p.merges);
    m->predictors = p.predictors ? iviti_arena_take(&arena, p.predictors) : NULL;
    m->mean_keys = p.mean_keys ? iviti_arena_take(&arena, p.mean_keys) : NULL;
    memset(m->blocks, 0, (size_t)p.blocks);
    if (p.merges > 0)
        memset(m->merges, 0, (size_t)p.merges);
    w->loader = (iviti_tensor_loader){ .reader = &w->reader, .model = m };
    if (w->metadata.labels_offset != 0) {
        uint32_t *const offsets = iviti_arena_take(&arena, p.label_offsets);
        store_labels(w, offsets, iviti_arena_take(&arena, p.labels));
    }
    w->loader.arena = arena;
    return IVITI_OK;
}

/* ---- reading -------------------------------------------------------------------------------- */

/* Skips to the next multiple of 64; what is skipped must be zero. */
static iviti_status skip_gap(workspace *w, const char *before)
{
    const uint64_t position = iviti_reader_position(&w->reader);
    const uint64_t gap =
        (IVITI_FILE_ALIGNMENT - position % IVITI_FILE_ALIGNMENT) % IVITI_FILE_ALIGNMENT;
    const uint8_t *bytes;
    const iviti_status status = iviti_reader_take(&w->reader, gap, "padding", &bytes);
    if (status != IVITI_OK)
        return status;
    for (uint64_t i = 0; i < gap; i++)
        if (bytes[i] != 0)
            return iviti_log_fail(&w->log, IVITI_ERROR_CORRUPT,
                                  "the padding before %s has a byte %d at byte %" PRIu64
                                  "; it must be 0",
                                  before, bytes[i], position + i);
    return IVITI_OK;
}

static iviti_status load_tensors(workspace *w)
{
    iviti_tensor_spec spec;
    for (size_t i = 0; iviti_schema_tensor(&w->metadata.geometry, i, &spec); i++) {
        iviti_status status = skip_gap(w, spec.name);
        if (status != IVITI_OK || (status = iviti_tensor_load(&w->loader, &spec)) != IVITI_OK)
            return status;
    }
    return IVITI_OK;
}

/* The status of the tensors, unless the checksum says that they are damaged: a wrong value of a
 * file that is not the one written is a consequence. */
static iviti_status check_checksum(workspace *w, iviti_status status)
{
    if (w->reader.crc32c == NULL ||
        (status != IVITI_OK && status != IVITI_ERROR_CORRUPT && status != IVITI_ERROR_RANGE))
        return status;
    const iviti_status read = iviti_reader_drain(&w->reader);
    if (read != IVITI_OK)
        return read;
    if (w->reader.crc == w->metadata.checksum)
        return status;
    return iviti_log_fail(&w->log, IVITI_ERROR_CHECKSUM,
                          "the CRC-32C of the file is 0x%08" PRIx32 ", but " IVITI_CHECKSUM_KEY
                          " is 0x%08" PRIx32,
                          w->reader.crc, w->metadata.checksum);
}

static iviti_status load(workspace *w, const iviti_source *source, const iviti_allocator *allocator,
                         const iviti_load_options *options)
{
    iviti_reader *const r = &w->reader;
    w->log = (iviti_log){ keep_sentence, w };
    w->sentence[0] = 0;
    w->loader.model = NULL;
    iviti_reader_open(r, source, allocator, &w->log, w->staging, sizeof w->staging);
    r->keep_limit = IVITI_MAX_HEADER;
    r->hole = IVITI_CHECKSUM_OFFSET;
    if (!options->skip_checksum) {
        iviti_kernels kernels;
        iviti_kernels_select(&kernels, IVITI_ISA_BEST);
        r->crc32c = kernels.crc32c;
    }

    iviti_status status = iviti_metadata_read(r, w->keys, &w->metadata);
    if (status == IVITI_OK)
        status = allocate_model(w, options);
    if (status != IVITI_OK)
        return status;
    iviti_reader_stream(r);
    return check_checksum(w, load_tensors(w));
}

/* ---- the public functions ------------------------------------------------------------------- */

static const iviti_load_options defaults;

iviti_status iviti_model_load_source(const iviti_source *source, const iviti_load_options *options,
                                     iviti_model **model)
{
    if (options == NULL)
        options = &defaults;
    if (source == NULL || source->read == NULL || model == NULL)
        return iviti_log_fail(&options->log, IVITI_ERROR_ARGUMENT,
                              "source, its read function or model is NULL");
    iviti_allocator allocator;
    if (!iviti_allocator_resolve(&options->allocator, &allocator))
        return iviti_log_fail(&options->log, IVITI_ERROR_ARGUMENT,
                              "allocator has one of its two functions only");

    void *block;
    workspace *const w = iviti_allocate(&allocator, sizeof *w, &block);
    if (w == NULL)
        return iviti_log_fail(&options->log, IVITI_ERROR_MEMORY, "no memory for reading: %zu bytes",
                              sizeof *w);
    const iviti_status status = load(w, source, &allocator, options);
    if (status == IVITI_OK) {
        *model = w->loader.model;
    } else {
        iviti_model_free(w->loader.model);
        iviti_log_fail(&options->log, status, "%s", w->sentence);
    }
    iviti_reader_close(&w->reader);
    iviti_release(&allocator, block);
    return status;
}

iviti_status iviti_model_load_memory(const void *data, size_t size,
                                     const iviti_load_options *options, iviti_model **model)
{
    if (options == NULL)
        options = &defaults;
    if (data == NULL)
        return iviti_log_fail(&options->log, IVITI_ERROR_ARGUMENT, "data is NULL");
    iviti_memory_source memory;
    iviti_memory_source_open(&memory, data, size);
    return iviti_model_load_source(&memory.source, options, model);
}

iviti_status iviti_model_load(const char *path, const iviti_load_options *options,
                              iviti_model **model)
{
    if (options == NULL)
        options = &defaults;
    if (path == NULL || model == NULL)
        return iviti_log_fail(&options->log, IVITI_ERROR_ARGUMENT, "path or model is NULL");
    iviti_file_source file;
    iviti_status status = iviti_file_source_open(&file, path, &options->log);
    if (status != IVITI_OK)
        return status;
    status = iviti_model_load_source(&file.source, options, model);
    iviti_file_source_close(&file);
    return status;
}

void iviti_model_free(iviti_model *model)
{
    if (model == NULL)
        return;
    const iviti_allocator allocator = model->allocator;
    iviti_release(&allocator, model->memory_block);
}

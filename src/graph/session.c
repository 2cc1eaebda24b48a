/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions: creation, and a run from a picture to logits.
 */
#include "graph/session.h"

#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "image/image.h"

static const iviti_session_options defaults;

#define MAX_BATCH 64

static unsigned thread_count(const iviti_session_options *options)
{
    return options->threads ? options->threads : 1;
}

static unsigned batch_size(const iviti_session_options *options)
{
    return options->batch ? options->batch : 1;
}

/* Swin has no class token. */
static bool records(const iviti_model *model, const iviti_session_options *options)
{
    return options->attention && model->geometry.family == IVITI_VIT;
}

size_t iviti_session_bytes(const iviti_model *model, const iviti_session_options *options)
{
    if (!options)
        options = &defaults;
    if (!model || thread_count(options) > IVITI_MAX_THREADS || batch_size(options) > MAX_BATCH)
        return 0;
    return iviti_plan(model, thread_count(options), batch_size(options), records(model, options),
                      NULL);
}

static iviti_status check_options(const iviti_session_options *options)
{
    if (thread_count(options) > IVITI_MAX_THREADS)
        return iviti_log_fail(&options->log, IVITI_ERROR_ARGUMENT,
                              "threads: %u is more than the limit of %d", options->threads,
                              IVITI_MAX_THREADS);
    if (batch_size(options) > MAX_BATCH)
        return iviti_log_fail(&options->log, IVITI_ERROR_ARGUMENT,
                              "batch: %u is more than the limit of %d", options->batch, MAX_BATCH);
    if (!iviti_isa_available(options->isa))
        return iviti_log_fail(&options->log, IVITI_ERROR_UNSUPPORTED,
                              "isa: this processor or build has no instruction set %s",
                              iviti_isa_name(options->isa));
    return IVITI_OK;
}

iviti_status iviti_session_create_in(void *memory, size_t bytes, const iviti_model *model,
                                     const iviti_session_options *options, iviti_session **session)
{
    if (!options)
        options = &defaults;
    if (!memory || !model || !session)
        return IVITI_ERROR_ARGUMENT;

    iviti_status status = check_options(options);
    if (status)
        return status;
    if ((uintptr_t)memory % IVITI_ALIGNMENT)
        return iviti_log_fail(&options->log, IVITI_ERROR_ARGUMENT,
                              "memory: not aligned to %d bytes", IVITI_ALIGNMENT);

    const size_t needed = iviti_session_bytes(model, options);
    if (!needed || bytes < needed)
        return iviti_log_fail(&options->log, IVITI_ERROR_BUFFER,
                              "memory: %zu bytes are fewer than the %zu that the session needs",
                              bytes, needed);

    iviti_session *s = memory;
    memset(memory, 0, needed); /* the padding of keys and values must be finite */
    s->model = model;
    s->threads = thread_count(options);
    s->batch = batch_size(options);
    s->log = options->log;
    iviti_kernels_select(&s->kernels, options->isa);
    s->record = records(model, options);
    iviti_plan(model, s->threads, s->batch, s->record, s);

    status = iviti_pool_start(&s->pool, s->threads);
    if (status)
        return iviti_log_fail(&options->log, status, "threads: %u cannot be started", s->threads);
    *session = s;
    return IVITI_OK;
}

iviti_status iviti_session_create(const iviti_model *model, const iviti_session_options *options,
                                  iviti_session **session)
{
    if (!options)
        options = &defaults;
    if (!model || !session)
        return IVITI_ERROR_ARGUMENT;

    iviti_status status = check_options(options);
    if (status)
        return status;
    const size_t bytes = iviti_session_bytes(model, options);
    if (!bytes || (options->max_memory && bytes > options->max_memory))
        return iviti_log_fail(&options->log, IVITI_ERROR_LIMIT,
                              "memory: the session needs %zu bytes, the caller allows %zu", bytes,
                              options->max_memory);

    iviti_allocator allocator;
    if (!iviti_allocator_resolve(&options->allocator, &allocator))
        return iviti_log_fail(&options->log, IVITI_ERROR_ARGUMENT,
                              "allocator: only one of its two functions is given");
    void *block;
    void *memory = iviti_allocate(&allocator, bytes, &block);
    if (!memory)
        return iviti_log_fail(&options->log, IVITI_ERROR_MEMORY,
                              "memory: the allocator has no %zu bytes", bytes);

    status = iviti_session_create_in(memory, bytes, model, options, session);
    if (status) {
        iviti_release(&allocator, block);
        return status;
    }
    (*session)->allocator = allocator;
    (*session)->memory = block;
    return IVITI_OK;
}

void iviti_session_free(iviti_session *session)
{
    if (!session)
        return;
    iviti_pool_stop(&session->pool);
    if (session->memory)
        iviti_release(&session->allocator, session->memory);
}

iviti_isa iviti_session_isa(const iviti_session *session)
{
    return session->kernels.isa;
}

static size_t pixel_bytes(const iviti_geometry *g)
{
    return (size_t)g->image_width * g->image_height * 3;
}

/* From buffers.pixels to logits. */
static void forward(iviti_session *s, size_t pictures)
{
    const iviti_geometry *g = &s->model->geometry;
    const iviti_buffers *b = &s->buffers;

    s->pictures = pictures;
    iviti_pool_run(&s->pool, g->family == IVITI_VIT ? iviti_vit_forward : iviti_swin_forward, s);
    for (size_t i = 0; i < pictures * g->features; i++)
        b->features_s8[i] = (int8_t)(b->features[i] - 128);
}

uint8_t *iviti_session_patches(iviti_session *s, size_t picture, size_t first, size_t count)
{
    const iviti_geometry *g = &s->model->geometry;
    const iviti_buffers *b = &s->buffers;
    const size_t grid = (size_t)g->stage[0].grid_width * g->stage[0].grid_height;
    const uint8_t *table = s->model->pixel_table;
    uint8_t *patches = b->patches + (picture * grid + first) * b->patch_stride;

    if (g->convolutions) {
        iviti_stem_patches(s, picture, (iviti_rows){ first, count }, patches);
        return patches;
    }
    iviti_extract_some_patches(b->pixels + picture * pixel_bytes(g),
                               (ptrdiff_t)g->image_width * 3, g->image_width, g->patch, first,
                               count, patches, b->patch_stride);
    for (size_t r = 0; table && r < count; r++) {
        uint8_t *row = patches + r * b->patch_stride;
        for (size_t k = 0; k < s->model->embed.in; k++)
            row[k] = table[k % 3 * 256 + row[k]];
    }
    return patches;
}

/* From images to buffers.pixels: the threads share the rows. */
static void fit(void *context, unsigned thread)
{
    iviti_session *s = context;
    const iviti_geometry *g = &s->model->geometry;
    const iviti_buffers *b = &s->buffers;
    const iviti_rows rows = iviti_share(s, g->image_height, g->image_height, 1, thread);

    for (size_t i = 0; i < s->pictures; i++)
        iviti_fit_rows(&g->preprocess, &s->kernels, g->image_width, g->image_height, &s->images[i],
                       (uint32_t)rows.first, (uint32_t)rows.count, b->pixels + i * pixel_bytes(g),
                       b->fit + thread * b->fit_bytes);
}

iviti_status iviti_session_run_batch(iviti_session *session, const iviti_image *images,
                                     size_t count)
{
    if (!session || !images || !count)
        return IVITI_ERROR_ARGUMENT;
    if (count > session->batch)
        return iviti_log_fail(&session->log, IVITI_ERROR_ARGUMENT,
                              "count: %zu pictures are more than the session's batch of %zu", count,
                              session->batch);

    for (size_t i = 0; i < count; i++) { /* before the pixels of the last run give way */
        const iviti_status status = iviti_image_check(&images[i]);
        if (status)
            return status;
    }
    session->images = images;
    session->pictures = count;
    iviti_pool_run(&session->pool, fit, session);
    session->images = NULL;
    forward(session, count);
    return IVITI_OK;
}

iviti_status iviti_session_run(iviti_session *session, const iviti_image *image)
{
    return iviti_session_run_batch(session, image, 1);
}

iviti_status iviti_session_run_pixels(iviti_session *session, const iviti_image *pixels)
{
    if (!session)
        return IVITI_ERROR_ARGUMENT;
    const iviti_status status = iviti_image_check(pixels);
    if (status)
        return status;

    const iviti_geometry *g = &session->model->geometry;
    if (pixels->width != g->image_width || pixels->height != g->image_height)
        return iviti_log_fail(&session->log, IVITI_ERROR_IMAGE_SIZE,
                              "pixels: %u x %u is not the model's %u x %u", pixels->width,
                              pixels->height, g->image_width, g->image_height);
    const size_t row = (size_t)g->image_width * 3;
    for (uint32_t y = 0; y < g->image_height; y++)
        memcpy(session->buffers.pixels + y * row, pixels->pixels + (ptrdiff_t)y * pixels->stride,
               row);
    forward(session, 1);
    return IVITI_OK;
}

size_t iviti_session_count(const iviti_session *session)
{
    return session ? session->pictures : 0;
}

const int32_t *iviti_session_logits(const iviti_session *session)
{
    return iviti_session_count(session) ? session->buffers.logits : NULL;
}

const int8_t *iviti_session_features(const iviti_session *session)
{
    return iviti_session_count(session) ? session->buffers.features_s8 : NULL;
}

const uint8_t *iviti_session_pixels(const iviti_session *session)
{
    return iviti_session_count(session) ? session->buffers.pixels : NULL;
}

/* The place next to `row` where threads may meet. */
static size_t meeting_place(size_t row, size_t window, size_t unit)
{
    const size_t token = (row % window + unit / 2) / unit * unit;
    return row - row % window + (token < window ? token : window);
}

iviti_rows iviti_share(const iviti_session *s, size_t count, size_t window, size_t unit,
                       unsigned thread)
{
    const size_t first = meeting_place(count * thread / s->threads, window, unit);
    const size_t end = thread + 1 == s->threads
                           ? count
                           : meeting_place(count * (thread + 1) / s->threads, window, unit);
    return (iviti_rows){ first, end - first };
}

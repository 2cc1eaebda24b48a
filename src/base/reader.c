/* SPDX-License-Identifier: Apache-2.0
 *
 * Bounded sequential reading over a source of bytes.
 */
#include "base/reader.h"

#include <inttypes.h>
#include <string.h>

#include "base/checked.h"
#include "base/log.h"
#include "base/memory.h"

#define HOLE_BYTES 4

void iviti_reader_open(iviti_reader *r, const iviti_source *source,
                       const iviti_allocator *allocator, const iviti_log *log, uint8_t *buffer,
                       size_t capacity)
{
    *r = (iviti_reader){ .source = source,
                         .allocator = allocator,
                         .log = log,
                         .hole = UINT64_MAX - HOLE_BYTES,
                         .keep_limit = UINT64_MAX,
                         .keeping = 1,
                         .data = buffer,
                         .capacity = capacity,
                         .unread = source->size };
}

void iviti_reader_close(iviti_reader *r)
{
    iviti_release(r->allocator, r->grown);
    r->grown = NULL;
}

void iviti_reader_stream(iviti_reader *r)
{
    r->keeping = 0;
}

/* Bytes of the file from `offset` on, with those in the hole as zeros. */
static void add_to_checksum(iviti_reader *r, uint64_t offset, const uint8_t *data, size_t bytes)
{
    static const uint8_t zeros[HOLE_BYTES] = { 0 };
    while (bytes > 0) {
        const uint64_t hole_end = r->hole + HOLE_BYTES;
        const int inside = offset >= r->hole && offset < hole_end;
        uint64_t until = inside ? hole_end : offset < r->hole ? r->hole : UINT64_MAX;
        const size_t part = until - offset < bytes ? (size_t)(until - offset) : bytes;
        r->crc = r->crc32c(r->crc, inside ? zeros : data, part);
        offset += part;
        data += part;
        bytes -= part;
    }
}

/* Reads until at least `bytes` bytes lie at data + begin. There is room for them in the buffer and
 * they are left in the source. */
static iviti_status fill(iviti_reader *r, size_t bytes)
{
    while (r->end - r->begin < bytes) {
        size_t wanted = r->capacity - r->end;
        if (wanted > r->unread)
            wanted = (size_t)r->unread;
        const size_t got = r->source->read(r->source->user, r->data + r->end, wanted);
        const uint64_t offset = r->base + r->end;
        if (got == 0 || got > wanted)
            return iviti_log_fail(r->log, IVITI_ERROR_IO,
                                  "reading failed at byte %" PRIu64 " of %" PRIu64, offset,
                                  r->source->size);
        if (r->crc32c != NULL)
            add_to_checksum(r, offset, r->data + r->end, got);
        r->end += got;
        r->unread -= got;
    }
    return IVITI_OK;
}

/* A buffer for all that may be kept. Headers beyond the first buffer are rare, so it grows once. */
static iviti_status grow(iviti_reader *r)
{
    const uint64_t most = r->source->size < r->keep_limit ? r->source->size : r->keep_limit;
    size_t capacity;
    void *block;
    uint8_t *const data =
        iviti_u64_to_size(most, &capacity) ? iviti_allocate(r->allocator, capacity, &block) : NULL;
    if (data == NULL)
        return iviti_log_fail(r->log, IVITI_ERROR_MEMORY,
                              "no memory for a header of up to %" PRIu64 " bytes", most);
    memcpy(data, r->data, r->end);
    r->grown = block;
    r->data = data;
    r->capacity = capacity;
    return IVITI_OK;
}

iviti_status iviti_reader_take(iviti_reader *r, uint64_t bytes, const char *what,
                               const uint8_t **out)
{
    const uint64_t position = iviti_reader_position(r);
    if (bytes > iviti_reader_remaining(r))
        return iviti_log_fail(r->log, IVITI_ERROR_TRUNCATED,
                              "%s takes %" PRIu64 " bytes at byte %" PRIu64
                              ", but the file ends at byte %" PRIu64,
                              what, bytes, position, r->source->size);
    if (r->keeping && bytes > r->keep_limit - position)
        return iviti_log_fail(r->log, IVITI_ERROR_LIMIT,
                              "the header goes on to byte %" PRIu64
                              " with %s; the limit is %" PRIu64,
                              position + bytes, what, r->keep_limit);
    if (bytes > r->capacity - r->begin) {
        if (r->keeping) {
            const iviti_status status = grow(r);
            if (status != IVITI_OK)
                return status;
        } else {
            memmove(r->data, r->data + r->begin, r->end - r->begin);
            r->base += r->begin;
            r->end -= r->begin;
            r->begin = 0;
        }
    }
    const iviti_status status = fill(r, (size_t)bytes);
    if (status != IVITI_OK)
        return status;
    *out = r->data + r->begin;
    r->begin += (size_t)bytes;
    return IVITI_OK;
}

iviti_status iviti_reader_drain(iviti_reader *r)
{
    r->keeping = 0;
    r->begin = r->end;
    while (r->unread > 0) {
        r->base += r->end;
        r->begin = r->end = 0;
        const size_t part = r->unread < r->capacity ? (size_t)r->unread : r->capacity;
        const iviti_status status = fill(r, part);
        if (status != IVITI_OK)
            return status;
        r->begin = r->end;
    }
    return IVITI_OK;
}

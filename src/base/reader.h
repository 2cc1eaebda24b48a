/* SPDX-License-Identifier: Apache-2.0
 *
 * Bounded sequential reading. iviti_reader_take() is the single place that advances in a file: it
 * never goes beyond the source's length, and it feeds the running checksum.
 *
 * A reader starts by KEEPING all that it has read, so that offsets into its buffer stay valid while
 * a header is parsed; iviti_reader_stream() then lets go of what has been taken.
 */
#ifndef IVITI_READER_H
#define IVITI_READER_H

#include "iviti/iviti.h"

typedef uint32_t (*iviti_crc32c_function)(uint32_t crc, const void *data, size_t bytes);

typedef struct iviti_reader {
    const iviti_source *source;
    const iviti_allocator *allocator;
    const iviti_log *log;
    iviti_crc32c_function crc32c; /* NULL: no checksum */
    uint64_t hole;                /* four bytes at this offset count as zero in the checksum */
    uint64_t keep_limit;          /* most bytes that may be kept */
    uint32_t crc;                 /* of all bytes read so far */
    int keeping;
    uint8_t *data; /* (capacity) the file's bytes from offset `base` on */
    size_t capacity;
    size_t begin, end; /* bytes of data read and not yet taken */
    uint64_t base;
    uint64_t unread; /* bytes that the source has not delivered yet */
    void *grown;     /* a larger buffer than the one given, to be released */
} iviti_reader;

/* buffer (capacity) is the reader's to use. */
void iviti_reader_open(iviti_reader *r, const iviti_source *source,
                       const iviti_allocator *allocator, const iviti_log *log, uint8_t *buffer,
                       size_t capacity);

/* Releases what the reader itself has allocated. */
void iviti_reader_close(iviti_reader *r);

/* The next `bytes` bytes, which lie together in *out until the next call; `what` names them in the
 * log. When streaming, bytes <= capacity. Returns IVITI_OK, TRUNCATED (beyond the source's length),
 * LIMIT (beyond keep_limit), MEMORY or IO (the source broke its promise). */
iviti_status iviti_reader_take(iviti_reader *r, uint64_t bytes, const char *what,
                               const uint8_t **out);

void iviti_reader_stream(iviti_reader *r);

/* Reads to the end, for the checksum's sake. */
iviti_status iviti_reader_drain(iviti_reader *r);

static inline uint64_t iviti_reader_position(const iviti_reader *r)
{
    return r->base + r->begin;
}

static inline uint64_t iviti_reader_remaining(const iviti_reader *r)
{
    return r->end - r->begin + r->unread;
}

#endif

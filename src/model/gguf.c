/* SPDX-License-Identifier: Apache-2.0
 *
 * The syntax of a GGUF header. Every length is compared with the bytes that are left before it is
 * believed, and every string is checked before anybody sees it.
 */
#include "model/gguf.h"

#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/log.h"
#include "base/utf8.h"
#include "model/schema.h"

#define SHOWN 60 /* characters of a name that are quoted */

static iviti_status take_u32(iviti_reader *r, const char *what, uint32_t *value)
{
    const uint8_t *bytes;
    const iviti_status status = iviti_reader_take(r, 4, what, &bytes);
    if (status == IVITI_OK)
        *value = iviti_get_u32(bytes);
    return status;
}

static iviti_status take_u64(iviti_reader *r, const char *what, uint64_t *value)
{
    const uint8_t *bytes;
    const iviti_status status = iviti_reader_take(r, 8, what, &bytes);
    if (status == IVITI_OK)
        *value = iviti_get_u64(bytes);
    return status;
}

iviti_status iviti_gguf_begin(iviti_reader *r, iviti_gguf_counts *counts)
{
    static const char magic[4] = { 'G', 'G', 'U', 'F' };
    const uint64_t size = r->source->size;
    if (size == 0)
        return iviti_log_fail(r->log, IVITI_ERROR_TRUNCATED, "the file is empty");

    const size_t there = size < sizeof magic ? (size_t)size : sizeof magic;
    const uint8_t *bytes;
    iviti_status status = iviti_reader_take(r, there, "the magic number", &bytes);
    if (status != IVITI_OK)
        return status;
    if (memcmp(bytes, magic, there) != 0)
        return iviti_log_fail(r->log, IVITI_ERROR_NOT_A_MODEL,
                              "the file does not begin with GGUF: it is not a model");
    uint32_t version;
    if ((status = take_u32(r, "the GGUF version", &version)) != IVITI_OK)
        return status;
    if (version == (uint32_t)IVITI_FILE_VERSION << 24)
        return iviti_log_fail(r->log, IVITI_ERROR_VERSION,
                              "the GGUF file is big-endian; only little-endian files are read");
    if (version != IVITI_FILE_VERSION)
        return iviti_log_fail(r->log, IVITI_ERROR_VERSION,
                              "the GGUF version is %" PRIu32 "; this library reads version %d",
                              version, IVITI_FILE_VERSION);
    if ((status = take_u64(r, "the number of tensors", &counts->tensors)) != IVITI_OK ||
        (status = take_u64(r, "the number of metadata pairs", &counts->pairs)) != IVITI_OK)
        return status;
    if (counts->tensors > IVITI_MAX_TENSORS)
        return iviti_log_fail(r->log, IVITI_ERROR_LIMIT,
                              "the number of tensors is %" PRIu64 "; the limit is %d",
                              counts->tensors, IVITI_MAX_TENSORS);
    if (counts->pairs > IVITI_MAX_PAIRS)
        return iviti_log_fail(r->log, IVITI_ERROR_LIMIT,
                              "the number of metadata pairs is %" PRIu64 "; the limit is %d",
                              counts->pairs, IVITI_MAX_PAIRS);
    return IVITI_OK;
}

/* Bytes of one element; 0 for strings, arrays and unknown types. */
static size_t type_bytes(uint32_t type)
{
    switch (type) {
    case IVITI_GGUF_U8:
    case IVITI_GGUF_I8:
    case IVITI_GGUF_BOOL:
        return 1;
    case IVITI_GGUF_U16:
    case IVITI_GGUF_I16:
        return 2;
    case IVITI_GGUF_U32:
    case IVITI_GGUF_I32:
    case IVITI_GGUF_F32:
        return 4;
    case IVITI_GGUF_U64:
    case IVITI_GGUF_I64:
    case IVITI_GGUF_F64:
        return 8;
    default:
        return 0;
    }
}

/* A name of [a-z0-9_.-], 1 to `limit` bytes. The text begins at *offset of the file. */
static iviti_status take_name(iviti_reader *r, const char *what, size_t limit, uint64_t *offset,
                              size_t *bytes)
{
    const uint64_t at = iviti_reader_position(r);
    uint64_t length;
    iviti_status status = take_u64(r, what, &length);
    if (status != IVITI_OK)
        return status;
    if (length == 0)
        return iviti_log_fail(r->log, IVITI_ERROR_CORRUPT, "%s at byte %" PRIu64 " is empty", what,
                              at);
    const uint8_t *text;
    *offset = iviti_reader_position(r);
    if (length > iviti_reader_remaining(r) || length <= limit) {
        if ((status = iviti_reader_take(r, length, what, &text)) != IVITI_OK)
            return status;
    } else {
        return iviti_log_fail(r->log, IVITI_ERROR_LIMIT,
                              "%s at byte %" PRIu64 " has %" PRIu64 " bytes; the limit is %zu",
                              what, at, length, limit);
    }
    *bytes = (size_t)length;
    for (size_t i = 0; i < *bytes; i++) {
        const uint8_t c = text[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-'))
            return iviti_log_fail(r->log, IVITI_ERROR_CORRUPT,
                                  "%s '%.*s' at byte %" PRIu64 " has a byte 0x%02x; only a-z, 0-9, "
                                  "'_', '.' and '-' are allowed",
                                  what, (int)(*bytes < SHOWN ? *bytes : SHOWN), (const char *)text,
                                  at, c);
    }
    return IVITI_OK;
}

/* The text of one string, checked. */
static iviti_status take_text(iviti_reader *r, const char *key)
{
    const uint64_t at = iviti_reader_position(r);
    uint64_t length;
    const uint8_t *text;
    iviti_status status;
    if ((status = take_u64(r, key, &length)) != IVITI_OK ||
        (status = iviti_reader_take(r, length, key, &text)) != IVITI_OK)
        return status;
    if (!iviti_utf8_text(text, (size_t)length))
        return iviti_log_fail(r->log, IVITI_ERROR_CORRUPT,
                              "the string of %s at byte %" PRIu64 " is not UTF-8 without NUL", key,
                              at);
    return IVITI_OK;
}

static iviti_status take_elements(iviti_reader *r, const char *key, uint32_t type, uint64_t count)
{
    const size_t size = type_bytes(type);
    const size_t least = size > 0 ? size : 8;
    iviti_status status;
    if (size == 0 && type != IVITI_GGUF_STRING)
        return iviti_log_fail(r->log, IVITI_ERROR_CORRUPT,
                              "the type of %s is %" PRIu32 ", which is none", key, type);
    if (count > iviti_reader_remaining(r) / least)
        return iviti_log_fail(r->log, IVITI_ERROR_TRUNCATED,
                              "%s has %" PRIu64 " elements of %zu bytes at least, but %" PRIu64
                              " bytes are left in the file",
                              key, count, least, iviti_reader_remaining(r));
    if (type == IVITI_GGUF_STRING) {
        for (uint64_t i = 0; i < count; i++)
            if ((status = take_text(r, key)) != IVITI_OK)
                return status;
        return IVITI_OK;
    }
    const uint8_t *bytes;
    if ((status = iviti_reader_take(r, count * size, key, &bytes)) != IVITI_OK)
        return status;
    if (type == IVITI_GGUF_BOOL)
        for (uint64_t i = 0; i < count; i++)
            if (bytes[i] > 1)
                return iviti_log_fail(r->log, IVITI_ERROR_CORRUPT,
                                      "a truth value of %s is %d; it must be 0 or 1", key,
                                      bytes[i]);
    return IVITI_OK;
}

iviti_status iviti_gguf_next_pair(iviti_reader *r, iviti_gguf_pair *pair)
{
    uint64_t key_offset;
    iviti_status status =
        take_name(r, "a metadata key", IVITI_MAX_KEY, &key_offset, &pair->key_bytes);
    if (status != IVITI_OK)
        return status;

    /* The buffer may move while the value is read: the key is kept for the sentences. */
    char key[IVITI_MAX_KEY + 1];
    memcpy(key, r->data + (key_offset - r->base), pair->key_bytes);
    key[pair->key_bytes] = 0;

    pair->count = 1;
    if ((status = take_u32(r, key, &pair->type)) != IVITI_OK)
        return status;
    pair->array = pair->type == IVITI_GGUF_ARRAY;
    if (pair->array && ((status = take_u32(r, key, &pair->type)) != IVITI_OK ||
                        (status = take_u64(r, key, &pair->count)) != IVITI_OK))
        return status;

    uint64_t begin = iviti_reader_position(r);
    if ((status = take_elements(r, key, pair->type, pair->count)) != IVITI_OK)
        return status;
    if (!pair->array && pair->type == IVITI_GGUF_STRING)
        begin += 8;
    pair->key_offset = key_offset;
    pair->data_offset = begin;
    pair->key = (const char *)r->data + (key_offset - r->base);
    pair->data = r->data + (begin - r->base);
    pair->bytes = (size_t)(iviti_reader_position(r) - begin);
    return IVITI_OK;
}

iviti_status iviti_gguf_next_tensor(iviti_reader *r, iviti_gguf_tensor *tensor)
{
    uint64_t name_offset;
    iviti_status status = take_name(r, "the name of a tensor", IVITI_MAX_TENSOR_NAME, &name_offset,
                                    &tensor->name_bytes);
    if (status != IVITI_OK)
        return status;
    char name[IVITI_MAX_TENSOR_NAME + 1];
    memcpy(name, r->data + (name_offset - r->base), tensor->name_bytes);
    name[tensor->name_bytes] = 0;

    if ((status = take_u32(r, name, &tensor->rank)) != IVITI_OK)
        return status;
    if (tensor->rank == 0 || tensor->rank > IVITI_GGUF_MAX_RANK)
        return iviti_log_fail(r->log, IVITI_ERROR_CORRUPT,
                              "the rank of tensor %s is %" PRIu32 "; it must be 1 to %d", name,
                              tensor->rank, IVITI_GGUF_MAX_RANK);
    for (uint32_t i = 0; i < tensor->rank; i++)
        if ((status = take_u64(r, name, &tensor->dimension[i])) != IVITI_OK)
            return status;
    if ((status = take_u32(r, name, &tensor->type)) != IVITI_OK ||
        (status = take_u64(r, name, &tensor->offset)) != IVITI_OK)
        return status;
    tensor->name = (const char *)r->data + (name_offset - r->base);
    return IVITI_OK;
}

bool iviti_gguf_key_is(const iviti_gguf_pair *pair, const char *name)
{
    return strlen(name) == pair->key_bytes && memcmp(name, pair->key, pair->key_bytes) == 0;
}

const char *iviti_gguf_next_string(const uint8_t **at, size_t *bytes)
{
    const char *const text = (const char *)*at + 8;
    *bytes = (size_t)iviti_get_u64(*at);
    *at += 8 + *bytes;
    return text;
}

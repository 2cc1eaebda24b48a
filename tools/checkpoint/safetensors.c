/* SPDX-License-Identifier: Apache-2.0
 *
 * safetensors: u64 header length, a JSON header, then the tensors back to back. The header's
 * grammar is small and fixed (two levels of objects, strings, lists of unsigned integers), so it is
 * read by a parser of exactly that grammar: nothing can nest, no number passes through a double,
 * and what a general JSON reader would silently repair is refused.
 */
#include <stdlib.h>
#include <string.h>

#include "checkpoint/bytes.h"
#include "checkpoint/container.h"
#include "common/utf8.h"

#define HEADER_MAX (UINT64_C(100) * 1000 * 1000)

typedef struct text {
    uint8_t bytes[CHECKPOINT_MAX_NAME + 1];
    size_t length;
} text;

typedef struct entry {
    text name;
    checkpoint_type type;
    uint32_t rank;
    uint64_t shape[CHECKPOINT_MAX_RANK];
    uint64_t begin, end;
} entry;

typedef struct parser {
    container *c;
    const uint8_t *p; /* the header */
    size_t size;
    size_t at;
    entry *entries;
    size_t count, capacity;
    text *keys; /* of __metadata__ */
    size_t key_count, key_capacity;
    bool metadata;
} parser;

static bool bad(parser *s, const char *expected)
{
    return container_refuse(s->c,
                            "the header is not what safetensors writes: expected %s at byte %zu",
                            expected, s->at + 8);
}

/* The next character that is not white space, 0 at the end. */
static uint8_t peek(parser *s)
{
    while (s->at < s->size) {
        const uint8_t byte = s->p[s->at];
        if (byte != ' ' && byte != '\t' && byte != '\n' && byte != '\r') {
            return byte;
        }
        s->at++;
    }
    return 0;
}

static bool accept(parser *s, uint8_t byte)
{
    if (peek(s) != byte) {
        return false;
    }
    s->at++;
    return true;
}

static bool read_hex4(parser *s, uint32_t *code)
{
    *code = 0;
    for (int i = 0; i < 4; i++) {
        const uint8_t byte = s->at < s->size ? s->p[s->at] : 0;
        const uint8_t lower = (uint8_t)(byte | 0x20);
        if (byte >= '0' && byte <= '9') {
            *code = *code << 4 | (uint32_t)(byte - '0');
        } else if (lower >= 'a' && lower <= 'f') {
            *code = *code << 4 | (uint32_t)(lower - 'a' + 10);
        } else {
            return bad(s, "four hexadecimal digits");
        }
        s->at++;
    }
    return true;
}

/* After the backslash. Yields 1..4 bytes. */
static bool read_escape(parser *s, uint8_t out[4], size_t *length)
{
    static const char letters[] = "\"\\/bfnrt", meaning[] = "\"\\/\b\f\n\r\t";
    const uint8_t byte = s->at < s->size ? s->p[s->at] : 0;
    const char *letter = byte == 0 ? NULL : strchr(letters, byte);
    if (letter != NULL) {
        s->at++;
        out[0] = (uint8_t)meaning[letter - letters];
        *length = 1;
        return true;
    }
    if (byte != 'u') {
        return bad(s, "an escape of JSON");
    }
    s->at++;
    uint32_t code = 0;
    if (!read_hex4(s, &code)) {
        return false;
    }
    if (code >= 0xD800 && code < 0xDC00) {
        uint32_t low = 0;
        if (s->size - s->at < 6 || s->p[s->at] != '\\' || s->p[s->at + 1] != 'u') {
            return bad(s, "the second half of a surrogate pair");
        }
        s->at += 2;
        if (!read_hex4(s, &low)) {
            return false;
        }
        if (low < 0xDC00 || low > 0xDFFF) {
            return bad(s, "the second half of a surrogate pair");
        }
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    } else if (code >= 0xDC00 && code < 0xE000) {
        return bad(s, "the first half of a surrogate pair");
    }
    if (code == 0) {
        return bad(s, "text without NUL");
    }
    *length = utf8_encode(code, out);
    return true;
}

/* A string of any length; kept in `out` unless that is NULL, and then at most 255 bytes. */
static bool read_string(parser *s, text *out)
{
    if (!accept(s, '"')) {
        return bad(s, "a string");
    }
    size_t used = 0;
    while (s->at < s->size && s->p[s->at] != '"') {
        uint8_t decoded[4];
        size_t length = 0;
        if (s->p[s->at] == '\\') {
            s->at++;
            if (!read_escape(s, decoded, &length)) {
                return false;
            }
        } else {
            length = utf8_sequence(s->p + s->at, s->size - s->at);
            if (length == 0 || s->p[s->at] < 0x20) {
                return bad(s, "UTF-8 text without control characters");
            }
            memcpy(decoded, s->p + s->at, length);
            s->at += length;
        }
        if (out == NULL) {
            continue;
        }
        if (used + length > CHECKPOINT_MAX_NAME) {
            return container_refuse(s->c, "a name in the header is longer than %d bytes",
                                    CHECKPOINT_MAX_NAME);
        }
        memcpy(out->bytes + used, decoded, length);
        used += length;
    }
    if (!accept(s, '"')) {
        return bad(s, "the end of a string");
    }
    if (out != NULL) {
        out->length = used;
        out->bytes[used] = 0;
    }
    return true;
}

/* Digits only: no sign, fraction, exponent or leading zero, and no value above 2^64 - 1. */
static bool read_unsigned(parser *s, uint64_t *value)
{
    const uint8_t first = peek(s);
    if (first < '0' || first > '9') {
        return bad(s, "an unsigned decimal integer");
    }
    const size_t start = s->at;
    *value = 0;
    while (s->at < s->size && s->p[s->at] >= '0' && s->p[s->at] <= '9') {
        if (!multiply_checked(*value, 10, value) ||
            !add_checked(*value, (uint64_t)(s->p[s->at] - '0'), value)) {
            return bad(s, "an integer below 2^64");
        }
        s->at++;
    }
    if (first == '0' && s->at - start > 1) {
        s->at = start;
        return bad(s, "an integer without leading zeros");
    }
    const uint8_t next = peek(s);
    if (next != ',' && next != ']') {
        return bad(s, "',' or ']' after an unsigned decimal integer");
    }
    return true;
}

static bool read_integers(parser *s, uint64_t *values, uint32_t limit, uint32_t *count)
{
    *count = 0;
    if (!accept(s, '[')) {
        return bad(s, "a list of integers");
    }
    if (accept(s, ']')) {
        return true;
    }
    do {
        if (*count == limit) {
            return container_refuse(s->c,
                                    "a list at byte %zu of the header has more than %u integers",
                                    s->at + 8, (unsigned)limit);
        }
        if (!read_unsigned(s, &values[(*count)++])) {
            return false;
        }
    } while (accept(s, ','));
    return accept(s, ']') || bad(s, "',' or ']'");
}

static bool find_type(const text *name, checkpoint_type *type)
{
    static const struct {
        const char *name;
        checkpoint_type type;
    } types[] = {
        { "F32", CHECKPOINT_F32 },   { "F16", CHECKPOINT_F16 }, { "BF16", CHECKPOINT_BF16 },
        { "F64", CHECKPOINT_F64 },   { "I64", CHECKPOINT_I64 }, { "I32", CHECKPOINT_I32 },
        { "I16", CHECKPOINT_I16 },   { "I8", CHECKPOINT_I8 },   { "U8", CHECKPOINT_U8 },
        { "BOOL", CHECKPOINT_BOOL },
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(types[i].name, (const char *)name->bytes) == 0) {
            *type = types[i].type;
            return true;
        }
    }
    return false;
}

static bool read_field(parser *s, entry *e, const text *key, unsigned *seen)
{
    static const char *const fields[] = { "dtype", "shape", "data_offsets" };
    const char *name = (const char *)e->name.bytes;
    unsigned field = 0;
    while (field < 3 && strcmp((const char *)key->bytes, fields[field]) != 0) {
        field++;
    }
    if (field == 3) {
        return container_refuse(s->c, "tensor '%s' has an unknown field '%s'", name,
                                (const char *)key->bytes);
    }
    if ((*seen & 1U << field) != 0) {
        return container_refuse(s->c, "tensor '%s' has %s twice", name, fields[field]);
    }
    *seen |= 1U << field;
    if (field == 0) {
        text type;
        if (!read_string(s, &type)) {
            return false;
        }
        return find_type(&type, &e->type) ||
               container_refuse(
                   s->c,
                   "tensor '%s' has dtype %s; read are F64 F32 F16 BF16 I64 I32 I16 I8 "
                   "U8 BOOL",
                   name, (const char *)type.bytes);
    }
    if (field == 1) {
        return read_integers(s, e->shape, CHECKPOINT_MAX_RANK, &e->rank);
    }
    uint64_t offsets[2];
    uint32_t count = 0;
    if (!read_integers(s, offsets, 2, &count)) {
        return false;
    }
    if (count != 2) {
        return container_refuse(s->c, "tensor '%s' has %u data_offsets instead of 2", name,
                                (unsigned)count);
    }
    e->begin = offsets[0];
    e->end = offsets[1];
    return true;
}

static bool read_tensor(parser *s, const text *name)
{
    if (s->count == CHECKPOINT_MAX_TENSORS) {
        return container_refuse(s->c, "more than %d tensors", CHECKPOINT_MAX_TENSORS);
    }
    if (s->count == s->capacity) {
        s->capacity = s->capacity == 0 ? 64 : 2 * s->capacity;
        entry *grown = realloc(s->entries, s->capacity * sizeof(entry));
        if (grown == NULL) {
            return container_refuse(s->c, "no memory for %zu tensors", s->capacity);
        }
        s->entries = grown;
    }
    entry *e = &s->entries[s->count++];
    memset(e, 0, sizeof *e);
    e->name = *name;
    if (!accept(s, '{')) {
        return bad(s, "'{' after a tensor's name");
    }
    unsigned seen = 0;
    do {
        text key;
        if (!read_string(s, &key)) {
            return false;
        }
        if (!accept(s, ':')) {
            return bad(s, "':'");
        }
        if (!read_field(s, e, &key, &seen)) {
            return false;
        }
    } while (accept(s, ','));
    if (!accept(s, '}')) {
        return bad(s, "',' or '}'");
    }
    return seen == 7 ||
           container_refuse(s->c, "tensor '%s' lacks one of dtype, shape, data_offsets",
                            (const char *)name->bytes);
}

static int by_text(const void *a, const void *b)
{
    return strcmp((const char *)((const text *)a)->bytes, (const char *)((const text *)b)->bytes);
}

/* A map of strings that is of no use here; only its form is checked. */
static bool read_metadata(parser *s)
{
    if (s->metadata) {
        return container_refuse(s->c, "the header has __metadata__ twice");
    }
    s->metadata = true;
    if (!accept(s, '{')) {
        return bad(s, "'{' after __metadata__");
    }
    if (accept(s, '}')) {
        return true;
    }
    do {
        if (s->key_count == CHECKPOINT_MAX_TENSORS) {
            return container_refuse(s->c, "__metadata__ has more than %d keys",
                                    CHECKPOINT_MAX_TENSORS);
        }
        if (s->key_count == s->key_capacity) {
            s->key_capacity = s->key_capacity == 0 ? 16 : 2 * s->key_capacity;
            text *grown = realloc(s->keys, s->key_capacity * sizeof(text));
            if (grown == NULL) {
                return container_refuse(s->c, "no memory for %zu keys", s->key_capacity);
            }
            s->keys = grown;
        }
        if (!read_string(s, &s->keys[s->key_count++])) {
            return false;
        }
        if (!accept(s, ':')) {
            return bad(s, "':'");
        }
        if (!read_string(s, NULL)) {
            return false;
        }
    } while (accept(s, ','));
    if (!accept(s, '}')) {
        return bad(s, "',' or '}'");
    }
    qsort(s->keys, s->key_count, sizeof(text), by_text);
    for (size_t i = 1; i < s->key_count; i++) {
        if (by_text(&s->keys[i - 1], &s->keys[i]) == 0) {
            return container_refuse(s->c, "__metadata__ has '%s' twice",
                                    (const char *)s->keys[i].bytes);
        }
    }
    return true;
}

static bool read_header(parser *s)
{
    if (s->size == 0 || s->p[0] != '{' || !accept(s, '{')) {
        return bad(s, "'{'");
    }
    if (peek(s) != '}') {
        do {
            text name;
            if (!read_string(s, &name)) {
                return false;
            }
            if (!accept(s, ':')) {
                return bad(s, "':'");
            }
            const bool metadata = strcmp((const char *)name.bytes, "__metadata__") == 0;
            if (!(metadata ? read_metadata(s) : read_tensor(s, &name))) {
                return false;
            }
        } while (accept(s, ','));
    }
    if (!accept(s, '}')) {
        return bad(s, "',' or '}'");
    }
    while (s->at < s->size && s->p[s->at] == ' ') {
        s->at++;
    }
    return s->at == s->size || bad(s, "nothing but spaces after the header");
}

static int by_offset(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->begin != y->begin) {
        return x->begin < y->begin ? -1 : 1;
    }
    return x->end < y->end ? -1 : x->end > y->end;
}

/* No holes, no overlap, nothing after the last tensor: every byte belongs to exactly one tensor. */
static bool place(parser *s, const uint8_t *data, size_t bytes)
{
    container *c = s->c;
    if (s->count > 0) {
        qsort(s->entries, s->count, sizeof(entry), by_offset);
    }
    uint64_t position = 0;
    for (size_t i = 0; i < s->count; i++) {
        const entry *e = &s->entries[i];
        const char *name = (const char *)e->name.bytes;
        checkpoint_tensor t = { .type = e->type, .rank = e->rank };
        memcpy(t.shape, e->shape, sizeof t.shape);
        uint64_t need = 0;
        if (!checkpoint_count(t.shape, t.rank, &t.count) ||
            !multiply_checked(t.count, checkpoint_type_bytes(t.type), &need)) {
            return container_refuse(c, "the shape of tensor '%s' is too large", name);
        }
        if (e->end < e->begin || e->end > bytes) {
            return container_refuse(
                c, "tensor '%s' lies at %llu..%llu, the file has %zu bytes of data", name,
                (unsigned long long)e->begin, (unsigned long long)e->end, bytes);
        }
        if (e->begin != position) {
            return container_refuse(c, "tensor '%s' begins at %llu, the one before it ends at %llu",
                                    name, (unsigned long long)e->begin,
                                    (unsigned long long)position);
        }
        if (e->end - e->begin != need) {
            return container_refuse(c, "tensor '%s' has %llu bytes, its shape needs %llu", name,
                                    (unsigned long long)(e->end - e->begin),
                                    (unsigned long long)need);
        }
        t.data = data + e->begin;
        position = e->end;
        if (!container_add(c, e->name.bytes, e->name.length, &t)) {
            return false;
        }
    }
    return position == bytes || container_refuse(c, "%llu bytes follow the last tensor",
                                                 (unsigned long long)(bytes - position));
}

bool safetensors_read(container *c)
{
    cursor at = { .bytes = c->bytes, .size = c->size };
    const uint8_t *length = cursor_take(&at, 8);
    if (length == NULL) {
        return container_refuse(c, "cut short: %zu bytes", c->size);
    }
    const uint64_t header_bytes = load_u64(length);
    if (header_bytes > HEADER_MAX) {
        return container_refuse(c, "the safetensors header claims %llu bytes, the limit is %llu",
                                (unsigned long long)header_bytes, (unsigned long long)HEADER_MAX);
    }
    const uint8_t *header = cursor_take(&at, header_bytes);
    if (header == NULL) {
        return container_refuse(c, "cut short: the safetensors header claims %llu bytes of %zu",
                                (unsigned long long)header_bytes, c->size);
    }
    parser s = { .c = c, .p = header, .size = (size_t)header_bytes };
    const bool ok = read_header(&s) && place(&s, header + header_bytes, cursor_left(&at));
    free(s.entries);
    free(s.keys);
    return ok;
}

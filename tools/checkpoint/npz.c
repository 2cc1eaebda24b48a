/* SPDX-License-Identifier: Apache-2.0
 *
 * NumPy .npz: a zip of .npy arrays, each a short header in Python's literal syntax and the
 * elements. The header is read by its own small grammar; nothing is evaluated.
 */
#include <string.h>

#include "checkpoint/bytes.h"
#include "checkpoint/zip.h"

#define MAX_HEADER 10000 /* NumPy's own limit */

typedef struct header {
    checkpoint_tensor tensor;
    bool fortran;
} header;

typedef struct literal {
    container *c;
    const char *name; /* of the array, for sentences */
    const uint8_t *p;
    size_t size;
    size_t at;
} literal;

static bool bad(literal *l, const char *expected)
{
    return container_refuse(l->c, "array '%s': expected %s at byte %zu of its header", l->name,
                            expected, l->at);
}

static void skip_spaces(literal *l)
{
    while (l->at < l->size && l->p[l->at] == ' ') {
        l->at++;
    }
}

static bool accept(literal *l, uint8_t byte)
{
    skip_spaces(l);
    if (l->at == l->size || l->p[l->at] != byte) {
        return false;
    }
    l->at++;
    return true;
}

/* A quoted string without escapes. */
static bool read_quoted(literal *l, char *out, size_t capacity)
{
    const uint8_t quote = accept(l, '\'') ? '\'' : accept(l, '"') ? '"' : 0;
    if (quote == 0) {
        return bad(l, "a string");
    }
    size_t used = 0;
    while (l->at < l->size && l->p[l->at] != quote) {
        const uint8_t byte = l->p[l->at];
        if (byte < 0x20 || byte > 0x7E || byte == '\\' || used + 1 == capacity) {
            return bad(l, "a short plain string");
        }
        out[used++] = (char)byte;
        l->at++;
    }
    out[used] = '\0';
    return accept(l, quote) || bad(l, "the end of a string");
}

static bool read_word(literal *l, const char *word)
{
    const size_t length = strlen(word);
    skip_spaces(l);
    if (l->size - l->at < length || memcmp(l->p + l->at, word, length) != 0) {
        return false;
    }
    l->at += length;
    return true;
}

static bool read_type(literal *l, checkpoint_type *type)
{
    static const struct {
        const char *descr;
        checkpoint_type type;
    } types[] = {
        { "<f4", CHECKPOINT_F32 }, { "<f2", CHECKPOINT_F16 }, { "<f8", CHECKPOINT_F64 },
        { "<i8", CHECKPOINT_I64 }, { "<i4", CHECKPOINT_I32 }, { "<i2", CHECKPOINT_I16 },
        { "|i1", CHECKPOINT_I8 },  { "|u1", CHECKPOINT_U8 },  { "|b1", CHECKPOINT_BOOL },
    };
    char descr[16];
    if (!read_quoted(l, descr, sizeof descr)) {
        return false;
    }
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(descr, types[i].descr) == 0) {
            *type = types[i].type;
            return true;
        }
    }
    return container_refuse(
        l->c,
        "array '%s' has elements of type '%s'; read are <f2 <f4 <f8 |i1 <i2 <i4 "
        "<i8 |u1 |b1: convert it with astype('<f4')",
        l->name, descr);
}

static bool read_dimension(literal *l, uint64_t *value)
{
    const size_t start = l->at;
    *value = 0;
    while (l->at < l->size && l->p[l->at] >= '0' && l->p[l->at] <= '9') {
        if (!multiply_checked(*value, 10, value) ||
            !add_checked(*value, (uint64_t)(l->p[l->at] - '0'), value)) {
            return bad(l, "a dimension below 2^64");
        }
        l->at++;
    }
    if (l->at == start || (l->p[start] == '0' && l->at - start > 1)) {
        return bad(l, "an unsigned decimal integer");
    }
    return true;
}

/* (), (3,), (3, 4) */
static bool read_shape(literal *l, checkpoint_tensor *t)
{
    if (!accept(l, '(')) {
        return bad(l, "'('");
    }
    bool comma = true;
    while (!accept(l, ')')) {
        if (!comma) {
            return bad(l, "',' or ')'");
        }
        if (t->rank == CHECKPOINT_MAX_RANK) {
            return container_refuse(l->c, "array '%s' has more than %d dimensions", l->name,
                                    CHECKPOINT_MAX_RANK);
        }
        if (!read_dimension(l, &t->shape[t->rank++])) {
            return false;
        }
        comma = accept(l, ',');
    }
    return t->rank != 1 || comma || bad(l, "',' in a tuple of one");
}

static bool read_field(literal *l, header *h, unsigned *seen)
{
    static const char *const fields[] = { "descr", "fortran_order", "shape" };
    char key[16];
    unsigned field = 0;
    if (!read_quoted(l, key, sizeof key)) {
        return false;
    }
    while (field < 3 && strcmp(key, fields[field]) != 0) {
        field++;
    }
    if (field == 3 || (*seen & 1U << field) != 0) {
        return container_refuse(
            l->c, "array '%s': field '%s' in its header is unknown or comes twice", l->name, key);
    }
    *seen |= 1U << field;
    if (!accept(l, ':')) {
        return bad(l, "':'");
    }
    if (field == 0) {
        return read_type(l, &h->tensor.type);
    }
    if (field == 2) {
        return read_shape(l, &h->tensor);
    }
    h->fortran = read_word(l, "True");
    return h->fortran || read_word(l, "False") || bad(l, "True or False");
}

static bool read_literal(literal *l, header *h)
{
    unsigned seen = 0;
    if (!accept(l, '{')) {
        return bad(l, "'{'");
    }
    bool comma = true;
    while (!accept(l, '}')) {
        if (!comma) {
            return bad(l, "',' or '}'");
        }
        if (!read_field(l, h, &seen)) {
            return false;
        }
        comma = accept(l, ',');
    }
    if (seen != 7) {
        return container_refuse(l->c, "array '%s': its header lacks descr, fortran_order or shape",
                                l->name);
    }
    return (accept(l, '\n') && l->at == l->size) || bad(l, "the end of the header");
}

/* Magic, version, length, literal; afterwards `at` stands at the elements. */
static bool read_header(container *c, cursor *at, const char *name, header *h)
{
    const uint8_t *magic = cursor_take(at, 8);
    if (magic == NULL || memcmp(magic, "\x93NUMPY", 6) != 0 || magic[6] < 1 || magic[6] > 3 ||
        magic[7] != 0) {
        return container_refuse(c, "array '%s' is not an .npy array of version 1, 2 or 3", name);
    }
    const size_t width = magic[6] == 1 ? 2 : 4;
    const uint8_t *length = cursor_take(at, width);
    const uint32_t bytes = length == NULL ? 0 : width == 2 ? load_u16(length) : load_u32(length);
    if (bytes > MAX_HEADER) {
        return container_refuse(c, "array '%s' has a header of %u bytes, the limit is %d", name,
                                (unsigned)bytes, MAX_HEADER);
    }
    const uint8_t *text = cursor_take(at, bytes);
    if (text == NULL || bytes == 0) {
        return container_refuse(c, "array '%s' is cut short in its header", name);
    }
    literal l = { .c = c, .name = name, .p = text, .size = bytes };
    return read_literal(&l, h);
}

static bool read_array(container *c, const zip_record *r)
{
    char name[CHECKPOINT_MAX_NAME + 1];
    const size_t length = r->name_length - 4; /* without .npy */
    memcpy(name, r->name, length);
    name[length] = '\0';
    const uint8_t *contents = zip_contents(c, r);
    if (contents == NULL) {
        return false;
    }
    cursor at = { .bytes = contents, .size = (size_t)r->size };
    header h = { 0 };
    if (!read_header(c, &at, name, &h)) {
        return false;
    }
    checkpoint_tensor *t = &h.tensor;
    uint64_t bytes = 0;
    if (!checkpoint_count(t->shape, t->rank, &t->count) ||
        !multiply_checked(t->count, checkpoint_type_bytes(t->type), &bytes)) {
        return container_refuse(c, "the shape of array '%s' is too large", name);
    }
    if (bytes != cursor_left(&at)) {
        return container_refuse(c, "array '%s' has %zu bytes, its shape needs %llu", name,
                                cursor_left(&at), (unsigned long long)bytes);
    }
    t->data = contents + at.position;
    if (h.fortran && t->rank > 1 && t->count > 0) {
        uint64_t stride[CHECKPOINT_MAX_RANK] = { 1 };
        for (uint32_t i = 1; i < t->rank; i++) {
            stride[i] = stride[i - 1] * t->shape[i - 1];
        }
        if (!container_gather(c, t, t->data, stride, name)) {
            return false;
        }
    }
    return container_add(c, (const uint8_t *)r->name, length, t);
}

bool npz_read(container *c, const zip *z)
{
    c->result->container = "npz";
    /* Weights hardly compress; sixteen-fold leaves room for arrays of zeros. */
    c->budget = 16 * (uint64_t)c->size + (UINT64_C(1) << 20);
    for (size_t i = 0; i < z->count; i++) {
        if (!read_array(c, &z->records[i])) {
            return false;
        }
    }
    return true;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Makes small checkpoint files byte by byte, right ones and wrong ones, and asks the readers about
 * them. Every file lies in a heap block of exactly its size, so that a sanitizer sees any read
 * beyond it.
 */
#ifndef CHECKPOINT_FILES_H
#define CHECKPOINT_FILES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <zlib.h>

#include "checkpoint/container.h"

/* ---- bytes ----------------------------------------------------------------------------------- */

typedef struct bytes {
    uint8_t *p;
    size_t size, capacity;
} bytes;

static inline void put(bytes *b, const void *data, size_t size)
{
    if (b->size + size > b->capacity) {
        b->capacity = 2 * (b->size + size);
        b->p = realloc(b->p, b->capacity);
        assert_non_null(b->p);
    }
    if (size > 0) {
        memcpy(b->p + b->size, data, size);
    }
    b->size += size;
}

static inline void put_text(bytes *b, const char *text)
{
    put(b, text, strlen(text));
}

static inline void put_number(bytes *b, uint64_t value, size_t width)
{
    for (size_t i = 0; i < width; i++) {
        const uint8_t byte = (uint8_t)(value >> (8 * i));
        put(b, &byte, 1);
    }
}

static inline void put_float(bytes *b, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_number(b, bits, 4);
}

/* 0, 1, 2, ... as floats */
static inline void put_ramp(bytes *b, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        put_float(b, (float)i);
    }
}

static inline void set_number(bytes *b, size_t at, uint64_t value, size_t width)
{
    assert_true(at + width <= b->size);
    for (size_t i = 0; i < width; i++) {
        b->p[at + i] = (uint8_t)(value >> (8 * i));
    }
}

static inline void drop(bytes *b)
{
    free(b->p);
    *b = (bytes){ 0 };
}

/* ---- asking ---------------------------------------------------------------------------------- */

static inline bool parse_prefix(const bytes *b, size_t size, checkpoint **out, report *r)
{
    uint8_t *copy = malloc(size == 0 ? 1 : size);
    assert_non_null(copy);
    memcpy(copy, b->p, size);
    return checkpoint_parse(copy, size, "folder/toy.pth", out, r);
}

/* Loads it or fails the test with the reader's sentence. */
static inline checkpoint *must_load(const bytes *b)
{
    checkpoint *c = NULL;
    report r = { "" };
    if (!parse_prefix(b, b->size, &c, &r)) {
        fail_msg("refused: %s", r.text);
    }
    assert_non_null(c);
    assert_string_equal(c->file, "toy.pth");
    assert_int_equal(c->bytes, b->size);
    return c;
}

/* Refused, with a sentence that names the file and holds `expected`. */
static inline void must_fail(const bytes *b, const char *expected)
{
    checkpoint *c = NULL;
    report r = { "" };
    if (parse_prefix(b, b->size, &c, &r)) {
        checkpoint_close(c);
        fail_msg("loaded, expected: %s", expected);
    }
    assert_null(c);
    if (strncmp(r.text, "toy.pth: ", 9) != 0 || strstr(r.text, expected) == NULL) {
        fail_msg("expected: %s\n     got: %s", expected, r.text);
    }
}

static inline void must_fail_and_drop(bytes *b, const char *expected)
{
    must_fail(b, expected);
    drop(b);
}

static inline void must_hold(const checkpoint *c, const char *name, const float *values,
                             size_t count)
{
    const checkpoint_tensor *t = checkpoint_find(c, name);
    if (t == NULL) {
        fail_msg("no tensor '%s'", name);
        return;
    }
    assert_int_equal(t->count, count);
    float out[64];
    assert_true(count <= 64);
    checkpoint_to_float(t, out);
    assert_memory_equal(out, values, count * sizeof(float));
}

/* Reads every element, as a user of the checkpoint would. */
static inline void touch(const checkpoint *c)
{
    for (size_t i = 0; i < c->count; i++) {
        const checkpoint_tensor *t = &c->tensors[i];
        assert_true(t->count <= c->bytes * 16);
        float *out = malloc(t->count * sizeof(float) + 1);
        assert_non_null(out);
        checkpoint_to_float(t, out);
        assert_ptr_equal(checkpoint_find(c, t->name), t);
        free(out);
    }
}

static inline void every_truncation_fails(const bytes *b)
{
    for (size_t size = 0; size < b->size; size++) {
        checkpoint *c = NULL;
        report r = { "" };
        if (parse_prefix(b, size, &c, &r)) {
            checkpoint_close(c);
            fail_msg("loaded when cut to %zu of %zu bytes", size, b->size);
        }
        assert_int_equal(strncmp(r.text, "toy.pth: ", 9), 0);
    }
}

/* One byte at a time takes six wrong values: refused with a sentence, or loaded and readable.
 * Returns how often it was refused. */
static inline size_t flip_every_byte(const bytes *b)
{
    size_t refused = 0;
    for (size_t at = 0; at < b->size; at++) {
        const uint8_t right = b->p[at];
        const uint8_t wrong[6] = { 0x00,
                                   0xFF,
                                   (uint8_t)(right ^ 0x01),
                                   (uint8_t)(right ^ 0x80),
                                   (uint8_t)(right + 1),
                                   (uint8_t)(right - 1) };
        for (size_t i = 0; i < 6; i++) {
            checkpoint *c = NULL;
            report r = { "" };
            b->p[at] = wrong[i];
            if (parse_prefix(b, b->size, &c, &r)) {
                touch(c);
                checkpoint_close(c);
            } else {
                assert_null(c);
                assert_true(strlen(r.text) > 9);
                refused++;
            }
        }
        b->p[at] = right;
    }
    return refused;
}

/* ---- zip ------------------------------------------------------------------------------------- */

#define TOY_RECORDS 16

/* A zip under construction and where its parts lie, so that a test can spoil any of them. */
typedef struct toy_zip {
    bytes file;
    bytes central;
    size_t local[TOY_RECORDS]; /* offset of each local header */
    size_t data[TOY_RECORDS];  /* and of its data */
    size_t after[TOY_RECORDS]; /* and of what follows */
    size_t entry[TOY_RECORDS]; /* of each directory entry: in the file once it is closed */
    size_t count;
    size_t end64, locator, end;
} toy_zip;

typedef struct toy_record {
    const char *name;
    const void *data;
    size_t stored;
    size_t size;
    uint32_t crc;
    uint16_t method;
    bool torch; /* sizes in a descriptor and padding to 64 bytes, as torch.save has it */
} toy_record;

static inline void zip_add_record(toy_zip *z, const toy_record *r)
{
    bytes *f = &z->file;
    const size_t name = strlen(r->name);
    const uint16_t flags = r->torch ? 0x0808 : 0;
    const uint32_t crc = r->torch ? 0 : r->crc;
    assert_true(z->count < TOY_RECORDS);
    z->local[z->count] = f->size;
    put_number(f, 0x04034B50, 4);
    put_number(f, r->torch ? 0 : 20, 2);
    put_number(f, flags, 2);
    put_number(f, r->method, 2);
    put_number(f, 0, 4);
    put_number(f, crc, 4);
    put_number(f, r->torch ? 0 : r->stored, 4);
    put_number(f, r->torch ? 0 : r->size, 4);
    put_number(f, name, 2);
    const size_t start = f->size + 2 + name + 4;
    const size_t padding = r->torch ? (64 - start % 64) % 64 : 0;
    put_number(f, r->torch ? 4 + padding : 0, 2);
    put_text(f, r->name);
    if (r->torch) {
        put_text(f, "FB");
        put_number(f, padding, 2);
        for (size_t i = 0; i < padding; i++) {
            put_text(f, "Z");
        }
    }
    z->data[z->count] = f->size;
    put(f, r->data, r->stored);
    z->after[z->count] = f->size;
    if (r->torch) {
        put_number(f, 0x08074B50, 4);
        put_number(f, r->crc, 4);
        put_number(f, r->stored, 4);
        put_number(f, r->size, 4);
    }
    bytes *d = &z->central;
    z->entry[z->count] = d->size;
    put_number(d, 0x02014B50, 4);
    put_number(d, 0, 4);
    put_number(d, flags, 2);
    put_number(d, r->method, 2);
    put_number(d, 0, 4);
    put_number(d, r->crc, 4);
    put_number(d, r->stored, 4);
    put_number(d, r->size, 4);
    put_number(d, name, 2);
    put_number(d, 0, 8); /* extra, comment, disk, attributes */
    put_number(d, 0, 4);
    put_number(d, z->local[z->count], 4);
    put_text(d, r->name);
    z->count++;
}

static inline void zip_add(toy_zip *z, const char *name, const void *data, size_t size, bool torch)
{
    const toy_record r = { .name = name,
                           .data = data,
                           .stored = size,
                           .size = size,
                           .crc = (uint32_t)crc32(0, data, (uInt)size),
                           .torch = torch };
    zip_add_record(z, &r);
}

/* Writes the directory and the end records; torch.save always writes those of zip64 too. */
static inline void zip_close(toy_zip *z, bool zip64)
{
    bytes *f = &z->file;
    const size_t offset = f->size, size = z->central.size;
    for (size_t i = 0; i < z->count; i++) {
        z->entry[i] += offset;
    }
    put(f, z->central.p, size);
    drop(&z->central);
    if (zip64) {
        z->end64 = f->size;
        put_number(f, 0x06064B50, 4);
        put_number(f, 44, 8);
        put_number(f, 0, 4); /* versions */
        put_number(f, 0, 8); /* disks */
        put_number(f, z->count, 8);
        put_number(f, z->count, 8);
        put_number(f, size, 8);
        put_number(f, offset, 8);
        z->locator = f->size;
        put_number(f, 0x07064B50, 4);
        put_number(f, 0, 4);
        put_number(f, z->end64, 8);
        put_number(f, 1, 4);
    }
    z->end = f->size;
    put_number(f, 0x06054B50, 4);
    put_number(f, 0, 4);
    put_number(f, z->count, 2);
    put_number(f, z->count, 2);
    put_number(f, size, 4);
    put_number(f, offset, 4);
    put_number(f, 0, 2);
}

/* ---- pickle ---------------------------------------------------------------------------------- */

static inline void op(bytes *b, char opcode)
{
    put(b, &opcode, 1);
}

static inline void op_proto(bytes *b)
{
    put(b, "\x80\x02", 2);
}

static inline void op_string(bytes *b, const char *text)
{
    op(b, 'X');
    put_number(b, strlen(text), 4);
    put_text(b, text);
}

static inline void op_int(bytes *b, int64_t value)
{
    if (value >= INT32_MIN && value <= INT32_MAX) {
        op(b, 'J');
        put_number(b, (uint64_t)value, 4);
        return;
    }
    put(b, "\x8A\x08", 2);
    put_number(b, (uint64_t)value, 8);
}

static inline void op_global(bytes *b, const char *module, const char *name)
{
    op(b, 'c');
    put_text(b, module);
    op(b, '\n');
    put_text(b, name);
    op(b, '\n');
}

static inline void op_ordered_dict(bytes *b)
{
    op_global(b, "collections", "OrderedDict");
    put_text(b, ")R");
}

/* The persistent id of a storage; legacy ones have a sixth part. */
static inline void op_storage(bytes *b, const char *type, const char *key, int64_t count,
                              bool legacy)
{
    op(b, '(');
    op_string(b, "storage");
    op_global(b, "torch", type);
    op_string(b, key);
    op_string(b, "cpu");
    op_int(b, count);
    put_text(b, legacy ? "NtQ" : "tQ");
}

static inline void op_dimensions(bytes *b, const int64_t *values, size_t count)
{
    op(b, '(');
    for (size_t i = 0; i < count; i++) {
        op_int(b, values[i]);
    }
    op(b, 't');
}

/* What follows the storage in a call of _rebuild_tensor_v2, with the call. */
static inline void op_view(bytes *b, int64_t offset, size_t rank, const int64_t *size,
                           const int64_t *stride)
{
    op_int(b, offset);
    op_dimensions(b, size, rank);
    op_dimensions(b, stride, rank);
    op(b, '\x89');
    op_ordered_dict(b);
    put_text(b, "tR");
}

typedef struct toy_tensor {
    const char *type, *key;
    int64_t elements; /* of the storage */
    int64_t offset;
    size_t rank;
    int64_t size[9], stride[9];
    bool legacy;
} toy_tensor;

static inline void op_tensor(bytes *b, const toy_tensor *t)
{
    op_global(b, "torch._utils", "_rebuild_tensor_v2");
    op(b, '(');
    op_storage(b, t->type, t->key, t->elements, t->legacy);
    op_view(b, t->offset, t->rank, t->size, t->stride);
}

#endif

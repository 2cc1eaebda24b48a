/* SPDX-License-Identifier: Apache-2.0
 *
 * The zip directory, read strictly. Sizes come from the directory at the end only, since torch.save
 * leaves them out of the local headers.
 */
#include "checkpoint/zip.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "checkpoint/bytes.h"

#define LOCAL_BYTES     30
#define CENTRAL_BYTES   46
#define END_BYTES       22
#define LOCATOR_BYTES   20
#define END64_BYTES     56
#define MAX_RECORDS     16384
#define FLAG_DESCRIPTOR 0x0008
#define FLAG_LEVEL      0x0006 /* of deflate: says nothing about the format */
#define FLAG_UTF8       0x0800
#define ALL_ONES        0xFFFFFFFFU
/* Deflate cannot expand more than this, so a larger claim is a lie. */
#define DEFLATE_RATIO 1032

typedef struct directory {
    uint64_t count, bytes, offset;
} directory;

static bool broken(container *c, const char *what)
{
    return container_refuse(c,
                            "the zip file is cut short or not written by torch.save or "
                            "numpy.savez: %s",
                            what);
}

static bool spoiled(container *c, const zip_record *record, const char *what)
{
    return container_refuse(c, "zip record '%.*s': %s", (int)record->name_length, record->name,
                            what);
}

/* A 32-bit field beside its 64-bit twin: equal, or all ones, which means "see there". */
static bool agrees(uint64_t narrow, uint64_t ones, uint64_t wide)
{
    return narrow == wide || narrow == ones;
}

static bool read_end64(container *c, const uint8_t *end, directory *d)
{
    const uint8_t *locator = end - LOCATOR_BYTES;
    /* read_end has seen to it that there is room for one record, and that is as much. */
    _Static_assert(LOCATOR_BYTES + END64_BYTES <= CENTRAL_BYTES + LOCAL_BYTES, "room for zip64");
    const size_t position = c->size - END_BYTES - LOCATOR_BYTES - END64_BYTES;
    if (load_u32(locator + 4) != 0 || load_u64(locator + 8) != position ||
        load_u32(locator + 16) != 1) {
        return broken(c, "the zip64 locator does not point to the record before it");
    }
    const uint8_t *end64 = c->bytes + position;
    if (load_u32(end64) != 0x06064B50 || load_u64(end64 + 4) != END64_BYTES - 12 ||
        load_u32(end64 + 16) != 0 || load_u32(end64 + 20) != 0 ||
        load_u64(end64 + 24) != load_u64(end64 + 32)) {
        return broken(c, "the zip64 end record is damaged");
    }
    const directory wide = { load_u64(end64 + 32), load_u64(end64 + 40), load_u64(end64 + 48) };
    if (!agrees(d->count, 0xFFFF, wide.count) || !agrees(d->bytes, ALL_ONES, wide.bytes) ||
        !agrees(d->offset, ALL_ONES, wide.offset)) {
        return broken(c, "the two end records differ");
    }
    *d = wide;
    return true;
}

static bool read_end(container *c, directory *d)
{
    if (c->size < END_BYTES + CENTRAL_BYTES + LOCAL_BYTES) {
        return broken(c, "too small");
    }
    size_t position = c->size - END_BYTES;
    const uint8_t *end = c->bytes + position;
    if (load_u32(end) != 0x06054B50 || load_u16(end + 20) != 0) {
        return broken(c, "the end record is not at the end of the file");
    }
    if (load_u16(end + 4) != 0 || load_u16(end + 6) != 0 ||
        load_u16(end + 8) != load_u16(end + 10)) {
        return broken(c, "it is a part of a split archive");
    }
    *d = (directory){ load_u16(end + 10), load_u32(end + 12), load_u32(end + 16) };
    if (load_u32(end - LOCATOR_BYTES) == 0x07064B50) {
        if (!read_end64(c, end, d)) {
            return false;
        }
        position -= LOCATOR_BYTES + END64_BYTES;
    }
    uint64_t directory_end = 0;
    if (!add_checked(d->offset, d->bytes, &directory_end) || directory_end != position) {
        return broken(c, "the directory does not end where the end record begins");
    }
    if (d->count > MAX_RECORDS) {
        return container_refuse(c, "the zip file has %llu records, the limit is %d",
                                (unsigned long long)d->count, MAX_RECORDS);
    }
    if (d->count == 0 || d->count * CENTRAL_BYTES > d->bytes) {
        return broken(c, "the number of records does not fit the directory");
    }
    return true;
}

static bool good_name(const char *name, size_t length)
{
    if (length == 0 || length > CHECKPOINT_MAX_NAME || name[0] == '/') {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if (name[i] < 0x20 || name[i] > 0x7E || name[i] == '\\' ||
            (name[i] == '.' && i > 0 && name[i - 1] == '.')) {
            return false;
        }
    }
    return true;
}

/* Walks the (id, length, bytes) list of an extra field; *zip64 is the field of id 1, or NULL. */
static bool read_extra(const uint8_t *bytes, size_t size, const uint8_t **zip64, size_t *length)
{
    cursor at = { .bytes = bytes, .size = size };
    *zip64 = NULL;
    *length = 0;
    while (cursor_left(&at) > 0) {
        const uint8_t *head = cursor_take(&at, 4);
        const uint8_t *body = head == NULL ? NULL : cursor_take(&at, load_u16(head + 2));
        if (body == NULL) {
            return false;
        }
        if (load_u16(head) == 1) {
            if (*zip64 != NULL) {
                return false;
            }
            *zip64 = body;
            *length = load_u16(head + 2);
        }
    }
    return true;
}

static bool check_method(container *c, const zip_record *r)
{
    const unsigned known =
        FLAG_UTF8 | FLAG_DESCRIPTOR | (r->method == ZIP_DEFLATED ? (unsigned)FLAG_LEVEL : 0U);
    if ((r->flags & 1) != 0) {
        return spoiled(c, r, "encrypted");
    }
    if ((r->flags & ~known) != 0) {
        return container_refuse(c, "zip record '%.*s': flags 0x%04x are not supported",
                                (int)r->name_length, r->name, (unsigned)r->flags);
    }
    if (r->method != ZIP_STORED && r->method != ZIP_DEFLATED) {
        return container_refuse(c, "zip record '%.*s': compression method %u is not supported",
                                (int)r->name_length, r->name, (unsigned)r->method);
    }
    if (r->method == ZIP_STORED && r->stored != r->size) {
        return spoiled(c, r, "stored, but its two sizes differ");
    }
    return true;
}

/* One entry of the directory; 64-bit values exactly where the 32-bit field is all ones. */
static bool read_central(container *c, cursor *at, zip_record *r)
{
    const uint8_t *head = cursor_take(at, CENTRAL_BYTES);
    if (head == NULL || load_u32(head) != 0x02014B50) {
        return broken(c, "the directory is damaged");
    }
    r->name_length = load_u16(head + 28);
    const size_t extra_length = load_u16(head + 30);
    const uint8_t *name = cursor_take(at, r->name_length);
    const uint8_t *extra = cursor_take(at, extra_length);
    const uint8_t *comment = cursor_take(at, load_u16(head + 32));
    if (name == NULL || extra == NULL || comment == NULL) {
        return broken(c, "a record reaches past the directory");
    }
    r->name = (const char *)name;
    if (!good_name(r->name, r->name_length)) {
        return container_refuse(c, "a zip record has the name '%.*s', which no checkpoint has",
                                (int)r->name_length, r->name);
    }
    r->flags = load_u16(head + 8);
    r->method = load_u16(head + 10);
    r->crc = load_u32(head + 16);
    r->stored = load_u32(head + 20);
    r->size = load_u32(head + 24);
    r->offset = load_u32(head + 42);
    if (load_u16(head + 34) != 0) {
        return spoiled(c, r, "said to be on another disk");
    }
    const uint8_t *zip64 = NULL;
    size_t zip64_length = 0;
    if (!read_extra(extra, extra_length, &zip64, &zip64_length)) {
        return spoiled(c, r, "a damaged extra field");
    }
    cursor wide = { .bytes = zip64, .size = zip64_length };
    uint64_t *const fields[3] = { &r->size, &r->stored, &r->offset };
    for (size_t i = 0; i < 3; i++) {
        if (*fields[i] == ALL_ONES) {
            const uint8_t *value = cursor_take(&wide, 8);
            if (value == NULL) {
                return spoiled(c, r, "a size is missing");
            }
            *fields[i] = load_u64(value);
        }
    }
    if (cursor_left(&wide) != 0) {
        return spoiled(c, r, "a zip64 field that no size needs");
    }
    return check_method(c, r);
}

/* A size in a local header: the directory's, or left open where a descriptor follows. */
static bool local_agrees(uint64_t local, uint64_t central, bool open)
{
    return local == central || (open && local == 0);
}

static bool read_local(container *c, zip_record *r, uint64_t limit, uint64_t *end)
{
    cursor at = { .bytes = c->bytes, .size = (size_t)limit };
    const uint8_t *skipped = cursor_take(&at, r->offset);
    const uint8_t *head = skipped == NULL ? NULL : cursor_take(&at, LOCAL_BYTES);
    if (head == NULL || load_u32(head) != 0x04034B50) {
        return spoiled(c, r, "no local header where the directory says");
    }
    const size_t name_length = load_u16(head + 26), extra_length = load_u16(head + 28);
    const uint8_t *name = cursor_take(&at, name_length);
    const uint8_t *extra = cursor_take(&at, extra_length);
    if (name == NULL || extra == NULL) {
        return spoiled(c, r, "its local header reaches into the directory");
    }
    if (load_u16(head + 6) != r->flags || load_u16(head + 8) != r->method ||
        name_length != r->name_length || memcmp(name, r->name, name_length) != 0) {
        return spoiled(c, r, "its local header says something else than the directory");
    }
    const uint8_t *zip64 = NULL;
    size_t zip64_length = 0;
    if (!read_extra(extra, extra_length, &zip64, &zip64_length) ||
        (zip64 != NULL && zip64_length != 16)) {
        return spoiled(c, r, "a damaged extra field in its local header");
    }
    const bool open = (r->flags & FLAG_DESCRIPTOR) != 0;
    uint64_t stored = load_u32(head + 18), size = load_u32(head + 22);
    bool same = local_agrees(load_u32(head + 14), r->crc, open);
    if (zip64 != NULL) {
        same = same && local_agrees(load_u64(zip64), r->size, open) &&
               local_agrees(load_u64(zip64 + 8), r->stored, open);
        size = size == ALL_ONES ? load_u64(zip64) : size;
        stored = stored == ALL_ONES ? load_u64(zip64 + 8) : stored;
    }
    if (!same || !local_agrees(stored, r->stored, open) || !local_agrees(size, r->size, open)) {
        return spoiled(c, r, "its local header has other sizes than the directory");
    }
    r->data = cursor_take(&at, r->stored);
    if (r->data == NULL) {
        return spoiled(c, r, "its data reaches into the directory");
    }
    *end = at.position;
    return true;
}

/* What lies between a record's data and the next record: nothing, or its sizes once more. */
static bool check_gap(container *c, const zip_record *r, uint64_t end, uint64_t next)
{
    const uint64_t gap = next - end;
    const uint8_t *p = c->bytes + end;
    const bool expected = (r->flags & FLAG_DESCRIPTOR) != 0;
    if (next < end) {
        return spoiled(c, r, "overlaps the next record");
    }
    if (!expected) {
        return gap == 0 || spoiled(c, r, "followed by bytes that belong to no record");
    }
    if ((gap != 16 && gap != 24) || load_u32(p) != 0x08074B50 || load_u32(p + 4) != r->crc) {
        return spoiled(c, r, "followed by bytes that are not its data descriptor");
    }
    const bool same = gap == 16 ? load_u32(p + 8) == r->stored && load_u32(p + 12) == r->size
                                : load_u64(p + 8) == r->stored && load_u64(p + 16) == r->size;
    return same || spoiled(c, r, "its data descriptor has other sizes than the directory");
}

static int by_offset(const void *a, const void *b)
{
    const zip_record *x = a, *y = b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static int by_name(const void *a, const void *b)
{
    const zip_record *x = a, *y = b;
    const size_t shorter = x->name_length < y->name_length ? x->name_length : y->name_length;
    const int order = memcmp(x->name, y->name, shorter);
    if (order != 0) {
        return order;
    }
    return x->name_length < y->name_length ? -1 : x->name_length > y->name_length;
}

static bool check_layout(container *c, zip *z, uint64_t central)
{
    qsort(z->records, z->count, sizeof(zip_record), by_offset);
    if (z->records[0].offset != 0) {
        return broken(c, "bytes before the first record");
    }
    for (size_t i = 0; i < z->count; i++) {
        const uint64_t next = i + 1 < z->count ? z->records[i + 1].offset : central;
        uint64_t end = 0;
        if (!read_local(c, &z->records[i], central, &end) ||
            !check_gap(c, &z->records[i], end, next)) {
            return false;
        }
    }
    qsort(z->records, z->count, sizeof(zip_record), by_name);
    for (size_t i = 1; i < z->count; i++) {
        if (by_name(&z->records[i - 1], &z->records[i]) == 0) {
            return spoiled(c, &z->records[i], "there are two of this name");
        }
    }
    return true;
}

bool zip_open(container *c, zip *z)
{
    directory d = { 0 };
    if (!read_end(c, &d)) {
        return false;
    }
    z->count = (size_t)d.count;
    z->records = container_alloc(c, z->count * sizeof(zip_record));
    if (z->records == NULL) {
        return false;
    }
    cursor at = { .bytes = c->bytes + d.offset, .size = (size_t)d.bytes };
    for (size_t i = 0; i < z->count; i++) {
        if (!read_central(c, &at, &z->records[i])) {
            return false;
        }
    }
    if (cursor_left(&at) != 0) {
        return broken(c, "bytes after the last entry of the directory");
    }
    return check_layout(c, z, d.offset);
}

const zip_record *zip_find(const zip *z, const char *name, size_t length)
{
    const zip_record key = { .name = name, .name_length = length };
    return bsearch(&key, z->records, z->count, sizeof(zip_record), by_name);
}

bool zip_name_is(const zip_record *record, const char *name)
{
    return record->name_length == strlen(name) &&
           memcmp(record->name, name, record->name_length) == 0;
}

bool zip_name_ends(const zip_record *record, const char *ending)
{
    const size_t length = strlen(ending);
    return record->name_length > length &&
           memcmp(record->name + record->name_length - length, ending, length) == 0;
}

static bool check_crc(container *c, const zip_record *record, const uint8_t *data)
{
    const uint32_t crc = (uint32_t)crc32(0, data, (uInt)record->size);
    return crc == record->crc ||
           container_refuse(c, "zip record '%.*s' is damaged: CRC %08x instead of %08x",
                            (int)record->name_length, record->name, (unsigned)crc,
                            (unsigned)record->crc);
}

bool zip_verify(container *c, const zip_record *record)
{
    return check_crc(c, record, record->data);
}

const uint8_t *zip_contents(container *c, const zip_record *record)
{
    if (record->method == ZIP_STORED) {
        return zip_verify(c, record) ? record->data : NULL;
    }
    if (record->size > CHECKPOINT_MAX_BYTES || record->size / DEFLATE_RATIO > record->stored) {
        spoiled(c, record, "claims to unpack to more than deflate can hold");
        return NULL;
    }
    uint8_t *out = container_buffer(c, record->size, "unpacking a zip record");
    if (out == NULL) {
        return NULL;
    }
    z_stream stream = { .next_in = (z_const Bytef *)(uintptr_t)record->data,
                        .avail_in = (uInt)record->stored };
    if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) {
        spoiled(c, record, "no memory to unpack it");
        return NULL;
    }
    stream.next_out = out;
    stream.avail_out = (uInt)record->size;
    const int status = inflate(&stream, Z_FINISH);
    const bool exact = status == Z_STREAM_END && stream.avail_in == 0 && stream.avail_out == 0;
    inflateEnd(&stream);
    if (!exact) {
        spoiled(c, record, "cannot be unpacked to exactly the size that the directory says");
        return NULL;
    }
    return check_crc(c, record, out) ? out : NULL;
}

bool zip_read(container *c)
{
    zip z;
    if (!zip_open(c, &z)) {
        return false;
    }
    bool arrays = true;
    for (size_t i = 0; i < z.count; i++) {
        if (zip_name_ends(&z.records[i], "/data.pkl") ||
            zip_name_ends(&z.records[i], "/constants.pkl")) {
            return torch_zip_read(c, &z);
        }
        arrays = arrays && zip_name_ends(&z.records[i], ".npy");
    }
    if (!arrays) {
        return container_refuse(c, "a zip file that holds neither data.pkl (PyTorch) nor .npy "
                                   "arrays alone (NumPy)");
    }
    return npz_read(c, &z);
}

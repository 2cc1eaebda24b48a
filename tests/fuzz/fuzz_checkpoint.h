/* SPDX-License-Identifier: Apache-2.0
 *
 * What the harnesses of the checkpoint readers share: read, use every element, and close; and zip archives
 * whose checksums are made right again.
 */
#ifndef FUZZ_CHECKPOINT_H
#define FUZZ_CHECKPOINT_H

#include "fuzz.h"

#include <zlib.h>

#include "checkpoint/bytes.h"
#include "checkpoint/container.h"

/* The checkpoint, or NULL. */
static inline checkpoint *fuzz_parse(const uint8_t *data, size_t size)
{
    checkpoint *c = NULL;
    report r = { "" };
    if (!checkpoint_parse(fuzz_copy(data, size), size, "input.bin", &c, &r)) {
        FUZZ_PROMISE(c == NULL && strncmp(r.text, "input.bin: ", 11) == 0);
        return NULL;
    }
    FUZZ_PROMISE(c != NULL && c->bytes == size && c->count <= CHECKPOINT_MAX_TENSORS);
    return c;
}

/* As a user of the checkpoint would, with what checkpoint.h promises of every tensor. */
static inline void fuzz_use(const checkpoint *c)
{
    uint64_t left = UINT64_C(1) << 22; /* elements: many tensors may share one storage */
    for (size_t i = 0; i < c->count; i++) {
        const checkpoint_tensor *const t = &c->tensors[i];
        uint64_t count = 1;
        FUZZ_PROMISE(t->rank <= CHECKPOINT_MAX_RANK);
        for (uint32_t d = 0; d < t->rank; d++)
            count *= t->shape[d];
        FUZZ_PROMISE(t->count == count && count <= 16 * c->bytes);
        FUZZ_PROMISE(strlen(t->name) <= CHECKPOINT_MAX_NAME);
        FUZZ_PROMISE(i == 0 || strcmp(c->tensors[i - 1].name, t->name) < 0);
        FUZZ_PROMISE(checkpoint_find(c, t->name) == t);
        if (count > left)
            continue;
        left -= count;
        float *const values = malloc(count * sizeof(float) + 1);
        FUZZ_PROMISE(values != NULL);
        checkpoint_to_float(t, values);
        free(values);
    }
}

static inline void fuzz_read(const uint8_t *data, size_t size)
{
    checkpoint *const c = fuzz_parse(data, size);
    if (c == NULL)
        return;
    fuzz_use(c);
    checkpoint_close(c);
}

/* ---- zip --------------------------------------------------------------------------------------- */

static inline void fuzz_put_u32(uint8_t *p, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(value >> 8 * i);
}

/* CRC-32 of the record's contents. */
static inline uint32_t fuzz_record_crc(const uint8_t *data, size_t stored, unsigned method)
{
    static uint8_t out[1 << 16];
    uint32_t crc = (uint32_t)crc32(0, NULL, 0);
    if (method == 0)
        return (uint32_t)crc32(crc, data, (uInt)stored);
    z_stream s = { .next_in = (uint8_t *)(uintptr_t)data, .avail_in = (uInt)stored };
    if (inflateInit2(&s, -MAX_WBITS) != Z_OK)
        return 0;
    int status = Z_OK;
    for (int round = 0; status == Z_OK && round < 64; round++) {
        s.next_out = out;
        s.avail_out = sizeof out;
        status = inflate(&s, Z_NO_FLUSH);
        crc = (uint32_t)crc32(crc, out, (uInt)(sizeof out - s.avail_out));
    }
    inflateEnd(&s);
    return crc;
}

/* Walks the directory that the last 22 bytes name, as far as it makes sense, and writes the right
 * checksum wherever the archive has one. */
static inline void fuzz_seal_zip(uint8_t *z, size_t size)
{
    if (size < 22 || load_u32(z + size - 22) != 0x06054B50)
        return;
    size_t at = load_u32(z + size - 6);
    for (int i = 0; i < 64 && at <= size && size - at >= 46 && load_u32(z + at) == 0x02014B50; i++) {
        const size_t local = load_u32(z + at + 42), stored = load_u32(z + at + 20);
        const unsigned flags = load_u16(z + at + 8), method = load_u16(z + at + 10);
        if (local <= size && size - local >= 30) {
            const size_t data = local + 30 + load_u16(z + local + 26) + load_u16(z + local + 28);
            if (data <= size && stored <= size - data) {
                const uint32_t crc = fuzz_record_crc(z + data, stored, method);
                const size_t after = data + stored;
                fuzz_put_u32(z + at + 16, crc);
                if ((flags & 8) == 0)
                    fuzz_put_u32(z + local + 14, crc);
                else if (size - after >= 8 && load_u32(z + after) == 0x08074B50)
                    fuzz_put_u32(z + after + 4, crc);
            }
        }
        at += 46 + (size_t)load_u16(z + at + 28) + load_u16(z + at + 30) + load_u16(z + at + 32);
    }
}

/* As it is, and with right checksums. */
static inline void fuzz_read_zip(const uint8_t *data, size_t size)
{
    fuzz_read(data, size);
    uint8_t *const sealed = fuzz_copy(data, size);
    fuzz_seal_zip(sealed, size);
    fuzz_read(sealed, size);
    free(sealed);
}

#endif

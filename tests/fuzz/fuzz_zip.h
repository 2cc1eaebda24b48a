/* SPDX-License-Identifier: Apache-2.0
 *
 * Right zip archives of stored records, so that a harness can put its input inside one.
 */
#ifndef FUZZ_ZIP_H
#define FUZZ_ZIP_H

#include <stdbool.h>

#include "fuzz.h"

#include <zlib.h>

typedef struct fuzz_archive {
    uint8_t *bytes;
    size_t size;
    struct fuzz_member {
        const char *name;
        size_t size, at;
        uint32_t crc;
        bool torch;
    } member[8];
    size_t members;
} fuzz_archive;

static inline void fuzz_archive_put(fuzz_archive *a, const void *data, size_t size)
{
    a->bytes = realloc(a->bytes, a->size + size + 1);
    FUZZ_PROMISE(a->bytes != NULL);
    if (size > 0)
        memcpy(a->bytes + a->size, data, size);
    a->size += size;
}

static inline void fuzz_archive_number(fuzz_archive *a, uint64_t value, size_t width)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < width; i++)
        bytes[i] = (uint8_t)(value >> 8 * i);
    fuzz_archive_put(a, bytes, width);
}

/* Version, flags, method and time, as both headers have them. */
static inline void fuzz_archive_common(fuzz_archive *a, const struct fuzz_member *m, bool sizes)
{
    fuzz_archive_number(a, m->torch ? 0 : 20, 2);
    fuzz_archive_number(a, m->torch ? 0x0808 : 0, 2);
    fuzz_archive_number(a, 0, 6);
    fuzz_archive_number(a, sizes ? m->crc : 0, 4);
    fuzz_archive_number(a, sizes ? m->size : 0, 4);
    fuzz_archive_number(a, sizes ? m->size : 0, 4);
    fuzz_archive_number(a, strlen(m->name), 2);
}

/* `torch`: sizes in a descriptor and data at a multiple of 64, as torch.save has it. */
static inline void fuzz_archive_add(fuzz_archive *a, const char *name, const uint8_t *data,
                                    size_t size, bool torch)
{
    struct fuzz_member *const m = &a->member[a->members++];
    *m = (struct fuzz_member){ name, size, a->size, (uint32_t)crc32(0, data, (uInt)size), torch };
    fuzz_archive_number(a, 0x04034B50, 4);
    fuzz_archive_common(a, m, !torch);
    const size_t start = a->size + 2 + strlen(name) + 4;
    const size_t padding = torch ? (64 - start % 64) % 64 : 0;
    fuzz_archive_number(a, torch ? 4 + padding : 0, 2);
    fuzz_archive_put(a, name, strlen(name));
    if (torch) {
        fuzz_archive_put(a, "FB", 2);
        fuzz_archive_number(a, padding, 2);
        for (size_t i = 0; i < padding; i++)
            fuzz_archive_put(a, "Z", 1);
    }
    fuzz_archive_put(a, data, size);
    if (torch) {
        fuzz_archive_number(a, 0x08074B50, 4);
        fuzz_archive_number(a, m->crc, 4);
        fuzz_archive_number(a, size, 4);
        fuzz_archive_number(a, size, 4);
    }
}

static inline void fuzz_archive_close(fuzz_archive *a)
{
    const size_t directory = a->size;
    for (size_t i = 0; i < a->members; i++) {
        const struct fuzz_member *const m = &a->member[i];
        fuzz_archive_number(a, 0x02014B50, 4);
        fuzz_archive_number(a, 0, 2);
        fuzz_archive_common(a, m, true);
        fuzz_archive_number(a, 0, 8); /* extra, comment, disk, attributes */
        fuzz_archive_number(a, 0, 4);
        fuzz_archive_number(a, m->at, 4);
        fuzz_archive_put(a, m->name, strlen(m->name));
    }
    const size_t bytes = a->size - directory;
    fuzz_archive_number(a, 0x06054B50, 4);
    fuzz_archive_number(a, 0, 4);
    fuzz_archive_number(a, a->members, 2);
    fuzz_archive_number(a, a->members, 2);
    fuzz_archive_number(a, bytes, 4);
    fuzz_archive_number(a, directory, 4);
    fuzz_archive_number(a, 0, 2);
}

static inline void fuzz_archive_free(fuzz_archive *a)
{
    free(a->bytes);
}

#endif

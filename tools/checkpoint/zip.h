/* SPDX-License-Identifier: Apache-2.0
 *
 * Zip archives as torch.save and numpy.savez write them, and nothing looser: the directory is at
 * the very end, every byte before it belongs to exactly one record, and each local header tells the
 * same as the directory. Two readers of the same file can therefore not see different contents.
 */
#ifndef CHECKPOINT_ZIP_H
#define CHECKPOINT_ZIP_H

#include "checkpoint/container.h"

#define ZIP_STORED   0
#define ZIP_DEFLATED 8

typedef struct zip_record {
    const char *name; /* in the file, not NUL-terminated; printable ASCII */
    size_t name_length;
    const uint8_t *data; /* as stored */
    uint64_t stored;
    uint64_t size;
    uint64_t offset; /* of the local header */
    uint32_t crc;
    uint16_t flags;
    uint16_t method;
} zip_record;

typedef struct zip {
    zip_record *records; /* sorted by name; owned by the checkpoint */
    size_t count;
} zip;

bool zip_open(container *c, zip *z);

/* NULL where there is none. */
const zip_record *zip_find(const zip *z, const char *name, size_t length);

bool zip_name_is(const zip_record *record, const char *name);
bool zip_name_ends(const zip_record *record, const char *ending);

/* CRC-32 of a stored record. */
bool zip_verify(container *c, const zip_record *record);

/* The record's contents: in the file where it is stored, in a buffer where it is deflated; CRC
 * verified. NULL and a sentence on failure. */
const uint8_t *zip_contents(container *c, const zip_record *record);

/* The two kinds of archive. */
bool torch_zip_read(container *c, const zip *z);
bool npz_read(container *c, const zip *z);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Puts a pickle into a right zip with two storages, so that only the pickle can be at fault.
 */
#ifndef CHECKPOINT_PICKLES_H
#define CHECKPOINT_PICKLES_H

#include "checkpoint_files.h"

/* Storage 0: floats 0..5. Storage 1: int64 -7. */
static inline bytes wrap(const bytes *pickle)
{
    toy_zip z = { 0 };
    bytes ramp = { 0 }, number = { 0 };
    put_ramp(&ramp, 6);
    put_number(&number, (uint64_t)-7, 8);
    zip_add(&z, "toy/data.pkl", pickle->p, pickle->size, true);
    zip_add(&z, "toy/data/0", ramp.p, ramp.size, true);
    zip_add(&z, "toy/data/1", number.p, number.size, true);
    zip_add(&z, "toy/version", "3\n", 2, true);
    zip_close(&z, true);
    drop(&ramp);
    drop(&number);
    return z.file;
}

static const toy_tensor floats = { .type = "FloatStorage",
                                   .key = "0",
                                   .elements = 6,
                                   .rank = 2,
                                   .size = { 2, 3 },
                                   .stride = { 3, 1 } };
static const toy_tensor integer = { .type = "LongStorage", .key = "1", .elements = 1 };

static inline checkpoint *load(bytes *pickle)
{
    bytes file = wrap(pickle);
    checkpoint *c = must_load(&file);
    drop(&file);
    drop(pickle);
    return c;
}

static inline void refuse(bytes *pickle, const char *expected)
{
    bytes file = wrap(pickle);
    must_fail_and_drop(&file, expected);
    drop(pickle);
}

/* `a` and `b`, the second of storage 1, so that both are mentioned. */
static inline void put_items(bytes *b, const toy_tensor *a)
{
    op(b, '(');
    op_string(b, "a");
    op_tensor(b, a);
    op_string(b, "b");
    op_tensor(b, &integer);
    op(b, 'u');
}

static inline bytes flat(const toy_tensor *a)
{
    bytes b = { 0 };
    op_proto(&b);
    op_ordered_dict(&b);
    put_items(&b, a);
    op(&b, '.');
    return b;
}

/* A pickle of raw bytes after PROTO 2. */
static inline void refuse_raw(const char *raw, size_t size, const char *expected)
{
    bytes b = { 0 };
    op_proto(&b);
    put(&b, raw, size);
    refuse(&b, expected);
}

#define RAW(text) (text), sizeof(text) - 1

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * What the fuzz harnesses share. Each fuzz_NAME.c is one harness for libFuzzer; with replay.c instead of
 * libFuzzer it is a plain program that walks through files, under any compiler. The input lies in a heap
 * block of exactly its size, so that a sanitizer sees a byte read beyond it.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A promise that the code under test makes: breaking it is a finding, with or without sanitizers. */
#define FUZZ_PROMISE(condition)                                                                    \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: broken promise: %s\n", __FILE__, __LINE__, #condition);        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* A changeable copy of exactly that size; never NULL. */
static inline uint8_t *fuzz_copy(const uint8_t *data, size_t size)
{
    uint8_t *const copy = malloc(size > 0 ? size : 1);
    FUZZ_PROMISE(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    return copy;
}

/* FNV-1a: choices that depend on the input but are no part of it. */
static inline uint64_t fuzz_hash(const uint8_t *data, size_t size)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ data[i]) * 0x100000001b3u;
    return hash ^ hash >> 32;
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The part of reading a checkpoint that does not depend on the container.
 */
#include "checkpoint/container.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/bytes.h"
#include "common/utf8.h"

/* Blocks are chained so that checkpoint_close needs to know nothing else. */
typedef union block {
    union block *next;
    max_align_t alignment;
} block;

bool container_refuse(container *c, const char *format, ...)
{
    char sentence[768];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    return report_fail(c->report, "%s: %s", c->result->file, sentence);
}

void *container_alloc(container *c, size_t bytes)
{
    block *fresh = bytes > SIZE_MAX - sizeof(block) ? NULL : malloc(sizeof(block) + bytes);
    if (fresh == NULL) {
        container_refuse(c, "no memory for %zu bytes", bytes);
        return NULL;
    }
    fresh->next = c->result->arena;
    c->result->arena = fresh;
    return fresh + 1;
}

void *container_buffer(container *c, uint64_t bytes, const char *what)
{
    if (bytes > c->budget) {
        container_refuse(c,
                         "%s needs %llu bytes of memory, the file of %zu bytes has %llu left of "
                         "what its size allows",
                         what, (unsigned long long)bytes, c->size, (unsigned long long)c->budget);
        return NULL;
    }
    c->budget -= bytes;
    return container_alloc(c, (size_t)bytes);
}

void checkpoint_close(checkpoint *c)
{
    if (c == NULL) {
        return;
    }
    for (block *b = c->arena; b != NULL;) {
        block *next = b->next;
        free(b);
        b = next;
    }
    free(c->tensors);
    free(c->source);
    free(c);
}

bool checkpoint_count(const uint64_t *shape, uint32_t rank, uint64_t *count)
{
    *count = 1;
    bool empty = false;
    for (uint32_t i = 0; i < rank; i++) {
        if (shape[i] > CHECKPOINT_MAX_DIM) {
            return false;
        }
        empty = empty || shape[i] == 0;
    }
    if (empty) {
        *count = 0;
        return true;
    }
    for (uint32_t i = 0; i < rank; i++) {
        if (!multiply_checked(*count, shape[i], count)) {
            return false;
        }
    }
    return true;
}

size_t checkpoint_type_bytes(checkpoint_type type)
{
    switch (type) {
    case CHECKPOINT_F64:
    case CHECKPOINT_I64:
        return 8;
    case CHECKPOINT_F32:
    case CHECKPOINT_I32:
        return 4;
    case CHECKPOINT_F16:
    case CHECKPOINT_BF16:
    case CHECKPOINT_I16:
        return 2;
    case CHECKPOINT_I8:
    case CHECKPOINT_U8:
    case CHECKPOINT_BOOL:
        return 1;
    }
    return 0;
}

bool container_add(container *c, const uint8_t *name, size_t length, const checkpoint_tensor *t)
{
    checkpoint *result = c->result;
    if (length == 0) {
        return container_refuse(c, "a tensor has an empty name");
    }
    if (length > CHECKPOINT_MAX_NAME) {
        return container_refuse(c, "a tensor's name has %zu bytes, the limit is %d", length,
                                CHECKPOINT_MAX_NAME);
    }
    if (!utf8_valid(name, length)) {
        return container_refuse(c, "the name of tensor '%.*s' is not UTF-8", (int)length,
                                (const char *)name);
    }
    if (result->count == CHECKPOINT_MAX_TENSORS) {
        return container_refuse(c, "more than %d tensors", CHECKPOINT_MAX_TENSORS);
    }
    if (result->count == c->capacity) {
        const size_t capacity = c->capacity == 0 ? 256 : 2 * c->capacity;
        checkpoint_tensor *grown = realloc(result->tensors, capacity * sizeof(checkpoint_tensor));
        if (grown == NULL) {
            return container_refuse(c, "no memory for %zu tensors", capacity);
        }
        result->tensors = grown;
        c->capacity = capacity;
    }
    char *copy = container_alloc(c, length + 1);
    if (copy == NULL) {
        return false;
    }
    memcpy(copy, name, length);
    copy[length] = '\0';
    checkpoint_tensor *slot = &result->tensors[result->count++];
    *slot = *t;
    slot->name = copy;
    return true;
}

bool container_gather(container *c, checkpoint_tensor *t, const uint8_t *base,
                      const uint64_t *stride, const char *name)
{
    const size_t element = checkpoint_type_bytes(t->type);
    uint64_t bytes = 0;
    if (!multiply_checked(t->count, element, &bytes)) {
        return container_refuse(c, "the size of tensor '%s' wraps", name);
    }
    uint8_t *out = container_buffer(c, bytes, name);
    if (out == NULL) {
        return false;
    }
    t->data = out;
    uint64_t index[CHECKPOINT_MAX_RANK] = { 0 };
    uint64_t offset = 0;
    for (uint64_t i = 0; i < t->count; i++) {
        memcpy(out, base + (size_t)(offset * element), element);
        out += element;
        for (uint32_t d = t->rank; d-- > 0;) {
            offset += stride[d];
            if (++index[d] < t->shape[d]) {
                break;
            }
            offset -= stride[d] * t->shape[d];
            index[d] = 0;
        }
    }
    return true;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * A pickle read as data. The machine knows the opcodes that torch.save writes for a dict of tensors
 * and thirteen globals, compared byte by byte with a table; it calls nothing, creates no object and
 * has no way to: a "call" of _rebuild_tensor_v2 is a node that keeps its arguments. Everything else
 * is refused by its name.
 */
#ifndef CHECKPOINT_PICKLE_H
#define CHECKPOINT_PICKLE_H

#include "checkpoint/bytes.h"
#include "checkpoint/container.h"

#define PICKLE_MAX_BYTES (UINT64_C(16) << 20)

typedef enum pickle_kind {
    PICKLE_NONE,
    PICKLE_BOOL,
    PICKLE_INT,
    PICKLE_FLOAT,
    PICKLE_STRING,
    PICKLE_GLOBAL,
    PICKLE_TUPLE,
    PICKLE_LIST,
    PICKLE_DICT,
    PICKLE_STORAGE,
    PICKLE_TENSOR
} pickle_kind;

typedef struct pickle_node {
    uint8_t kind;
    uint8_t detail; /* BOOL: the value; GLOBAL: which; DICT: 1 where it is ordered */
    uint32_t count; /* bytes of a STRING, items of a TUPLE, entries of a LIST or DICT */
    uint32_t first; /* TUPLE, TENSOR (its arguments): in items; LIST, DICT: in entries; STORAGE: in
                       storages */
    union {
        int64_t number;
        const uint8_t *text;
    } value;
} pickle_node;

/* An item of a list (keys 0, 1, ...) or dict. */
typedef struct pickle_entry {
    uint32_t owner;      /* node of the list or dict */
    uint32_t value;      /* node */
    uint32_t length;     /* of the key where it is a string */
    const uint8_t *text; /* NULL where the key is a number */
    int64_t number;
} pickle_entry;

/* One mention of a storage; the same storage is often mentioned many times. */
typedef struct pickle_storage {
    const uint8_t *key;
    uint32_t key_length;
    checkpoint_type type;
    uint64_t count;      /* elements of the whole storage */
    uint64_t view_first; /* the part that is meant: all of it, except in files of PyTorch < 0.4 */
    uint64_t view_count;
} pickle_storage;

typedef struct pickle {
    pickle_node *nodes;
    uint32_t *items;
    pickle_entry *entries; /* sorted by owner and key once the pickle has been read */
    pickle_storage *storages;
    size_t node_count, item_count, entry_count, storage_count;
    size_t node_capacity, item_capacity, entry_capacity, storage_capacity;
    uint32_t root;
} pickle;

typedef enum pickle_mode {
    PICKLE_PLAIN,  /* no globals, no storages: the small pickles of the legacy stream */
    PICKLE_ZIP,    /* ('storage', type, key, location, count) */
    PICKLE_LEGACY, /* the same and view metadata */
} pickle_mode;

/* Reads one pickle from `at` up to and with its STOP. `what` names it in sentences. On failure as
 * on success, pickle_free releases everything. */
bool pickle_read(container *c, cursor *at, pickle_mode mode, const char *what, pickle *p);
void pickle_free(pickle *p);

/* The value under a string key of a dict node; NULL where there is none. */
const pickle_node *pickle_lookup(const pickle *p, const pickle_node *dict, const char *key);

/* One of the `count` nodes of a tuple. */
const pickle_node *pickle_item(const pickle *p, const pickle_node *tuple, uint32_t index);

/* Of a TENSOR node. */
enum { TENSOR_STORAGE, TENSOR_OFFSET, TENSOR_SIZE, TENSOR_STRIDE };

#endif

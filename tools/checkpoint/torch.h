/* SPDX-License-Identifier: Apache-2.0
 *
 * From the nodes of a pickle to tensors: the part that torch's two containers share. They differ in
 * where the bytes of a storage lie.
 */
#ifndef CHECKPOINT_TORCH_H
#define CHECKPOINT_TORCH_H

#include "checkpoint/pickle.h"

typedef struct torch_storage {
    const uint8_t *key; /* digits, not NUL-terminated */
    uint32_t key_length;
    checkpoint_type type;
    uint64_t count;
    uint64_t bytes;
    const uint8_t *data; /* set by the container's reader */
} torch_storage;

typedef struct torch_storages {
    torch_storage *list; /* sorted by key, each once; owned by the checkpoint */
    size_t count;
} torch_storages;

/* The storages that a pickle of a dict mentions. All mentions of one key must agree. */
bool torch_list_storages(container *c, const pickle *p, torch_storages *s);

torch_storage *torch_find_storage(const torch_storages *s, const uint8_t *key, size_t length);

/* Adds the tensors of the state dict: the pickle's dict, or the one under `model`, `state_dict` or
 * `model_state_dict` in it. Every storage has its data. */
bool torch_add_tensors(container *c, const pickle *p, const torch_storages *s);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Storages and strided views of them. A view must lie inside its storage and have no more elements
 * than it: a stride of 0 could otherwise turn four bytes into a terabyte.
 */
#include "checkpoint/torch.h"

#include <stdlib.h>
#include <string.h>

static int compare_keys(const void *a, const void *b)
{
    const torch_storage *x = a, *y = b;
    if (x->key_length != y->key_length) {
        return x->key_length < y->key_length ? -1 : 1;
    }
    return memcmp(x->key, y->key, x->key_length);
}

bool torch_list_storages(container *c, const pickle *p, torch_storages *s)
{
    if (p->nodes[p->root].kind != PICKLE_DICT) {
        return container_refuse(c, "holds no dict; re-save with "
                                   "torch.save(model.state_dict(), path)");
    }
    s->count = 0;
    s->list = container_alloc(c, p->storage_count * sizeof(torch_storage));
    if (s->list == NULL) {
        return false;
    }
    for (size_t i = 0; i < p->storage_count; i++) {
        const pickle_storage *mention = &p->storages[i];
        s->list[i] = (torch_storage){ .key = mention->key,
                                      .key_length = mention->key_length,
                                      .type = mention->type,
                                      .count = mention->count };
    }
    if (p->storage_count > 0) {
        qsort(s->list, p->storage_count, sizeof(torch_storage), compare_keys);
    }
    for (size_t i = 0; i < p->storage_count; i++) {
        torch_storage *next = &s->list[i];
        torch_storage *last = s->count == 0 ? NULL : &s->list[s->count - 1];
        if (last != NULL && compare_keys(last, next) == 0) {
            if (last->type != next->type || last->count != next->count) {
                return container_refuse(c, "storage %.*s is mentioned with two types or sizes",
                                        (int)next->key_length, (const char *)next->key);
            }
            continue;
        }
        if (!multiply_checked(next->count, checkpoint_type_bytes(next->type), &next->bytes)) {
            return container_refuse(c, "the size of storage %.*s wraps", (int)next->key_length,
                                    (const char *)next->key);
        }
        s->list[s->count++] = *next;
    }
    return true;
}

torch_storage *torch_find_storage(const torch_storages *s, const uint8_t *key, size_t length)
{
    if (s->count == 0 || length > UINT32_MAX) {
        return NULL;
    }
    const torch_storage wanted = { .key = key, .key_length = (uint32_t)length };
    return bsearch(&wanted, s->list, s->count, sizeof(torch_storage), compare_keys);
}

/* A tuple of integers that are not negative. */
static bool read_dimensions(container *c, const pickle *p, const pickle_node *tuple,
                            uint64_t out[CHECKPOINT_MAX_RANK], const char *name)
{
    for (uint32_t i = 0; i < tuple->count; i++) {
        const int64_t value = pickle_item(p, tuple, i)->value.number;
        if (value < 0) {
            return container_refuse(c, "tensor '%s' has the negative size or stride %lld", name,
                                    (long long)value);
        }
        out[i] = (uint64_t)value;
    }
    return true;
}

/* Index of the last element that the view touches, seen from its first; false where it wraps. */
static bool view_extent(const checkpoint_tensor *t, const uint64_t *stride, uint64_t *last)
{
    *last = 0;
    for (uint32_t i = 0; i < t->rank; i++) {
        uint64_t step = 0;
        if (!multiply_checked(t->shape[i] - 1, stride[i], &step) ||
            !add_checked(*last, step, last)) {
            return false;
        }
    }
    return true;
}

static bool is_row_major(const checkpoint_tensor *t, const uint64_t *stride)
{
    uint64_t expected = 1;
    for (uint32_t i = t->rank; i-- > 0;) {
        if (t->shape[i] != 1 && stride[i] != expected) {
            return false;
        }
        expected *= t->shape[i];
    }
    return true;
}

static bool read_shape(container *c, const pickle *p, const pickle_node *node, const char *name,
                       checkpoint_tensor *t, uint64_t stride[CHECKPOINT_MAX_RANK])
{
    const pickle_node *size = pickle_item(p, node, TENSOR_SIZE);
    const pickle_node *strides = pickle_item(p, node, TENSOR_STRIDE);
    if (size->count > CHECKPOINT_MAX_RANK || size->count != strides->count) {
        return container_refuse(c,
                                "tensor '%s' has %u sizes and %u strides; they must be as many and "
                                "at most %d",
                                name, (unsigned)size->count, (unsigned)strides->count,
                                CHECKPOINT_MAX_RANK);
    }
    t->rank = size->count;
    if (!read_dimensions(c, p, size, t->shape, name) ||
        !read_dimensions(c, p, strides, stride, name)) {
        return false;
    }
    return checkpoint_count(t->shape, t->rank, &t->count) ||
           container_refuse(c, "the shape of tensor '%s' is too large", name);
}

static bool read_tensor(container *c, const pickle *p, const torch_storages *s,
                        const pickle_node *node, const char *name, checkpoint_tensor *t)
{
    uint64_t stride[CHECKPOINT_MAX_RANK] = { 0 };
    const int64_t offset = pickle_item(p, node, TENSOR_OFFSET)->value.number;
    const pickle_storage *mention = &p->storages[pickle_item(p, node, TENSOR_STORAGE)->first];
    const torch_storage *storage = torch_find_storage(s, mention->key, mention->key_length);
    t->type = mention->type;
    if (!read_shape(c, p, node, name, t, stride)) {
        return false;
    }
    if (offset < 0 || (uint64_t)offset > mention->view_count) {
        return container_refuse(c, "tensor '%s' begins at element %lld of a storage of %llu", name,
                                (long long)offset, (unsigned long long)mention->view_count);
    }
    const uint64_t start = mention->view_first + (uint64_t)offset;
    const uint8_t *base = storage->data + start * checkpoint_type_bytes(t->type);
    t->data = base;
    if (t->count == 0) {
        return true;
    }
    uint64_t last = 0;
    if (!view_extent(t, stride, &last) || last >= mention->view_count - (uint64_t)offset) {
        return container_refuse(c, "tensor '%s' reaches past its storage of %llu elements", name,
                                (unsigned long long)mention->view_count);
    }
    if (t->count > mention->view_count) {
        return container_refuse(c,
                                "tensor '%s' expands a storage of %llu elements to %llu; save a "
                                "contiguous copy",
                                name, (unsigned long long)mention->view_count,
                                (unsigned long long)t->count);
    }
    return is_row_major(t, stride) || container_gather(c, t, base, stride, name);
}

static const pickle_node *find_state_dict(const pickle *p)
{
    static const char *const names[] = { "model", "state_dict", "model_state_dict" };
    const pickle_node *root = &p->nodes[p->root];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const pickle_node *inner = pickle_lookup(p, root, names[i]);
        if (inner != NULL && inner->kind == PICKLE_DICT) {
            return inner;
        }
    }
    return root;
}

bool torch_add_tensors(container *c, const pickle *p, const torch_storages *s)
{
    const pickle_node *dict = find_state_dict(p);
    for (uint32_t i = 0; i < dict->count; i++) {
        const pickle_entry *entry = &p->entries[dict->first + i];
        const pickle_node *value = &p->nodes[entry->value];
        if (value->kind != PICKLE_TENSOR) {
            continue; /* an epoch, a learning rate, the optimizer's state */
        }
        if (entry->text == NULL) {
            return container_refuse(c, "a tensor has the key %lld instead of a name",
                                    (long long)entry->number);
        }
        char name[CHECKPOINT_MAX_NAME + 1];
        memcpy(name, entry->text, entry->length);
        name[entry->length] = '\0';
        checkpoint_tensor t = { 0 };
        if (!read_tensor(c, p, s, value, name, &t) ||
            !container_add(c, entry->text, entry->length, &t)) {
            return false;
        }
    }
    if (c->result->count == 0) {
        return container_refuse(c, "holds no dict of tensors, neither at the top nor under model, "
                                   "state_dict or model_state_dict; re-save with "
                                   "torch.save(model.state_dict(), path)");
    }
    return true;
}

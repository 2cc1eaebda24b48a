/* SPDX-License-Identifier: Apache-2.0
 *
 * GLOBAL, BINPERSID, REDUCE and BUILD: the opcodes by which a pickle could run code in Python. Here
 * each of them recognises one of a few written forms and notes it.
 */
#include <string.h>

#include "checkpoint/pickle_machine.h"

#define MAX_LINE        64
#define MAX_STORAGES    65536
#define MAX_KEY         64
#define MAX_LOCATION    32
#define MAX_ELEMENTS    (INT64_C(1) << 40)
#define SAVE_STATE_DICT "save model.state_dict() only"

enum { ORDERED_DICT, REBUILD_TENSOR, REBUILD_PARAMETER, FIRST_STORAGE };

static const struct {
    const char *module;
    const char *name;
    checkpoint_type type; /* of a storage */
} globals[] = {
    { "collections", "OrderedDict", 0 },          { "torch._utils", "_rebuild_tensor_v2", 0 },
    { "torch._utils", "_rebuild_parameter", 0 },  { "torch", "FloatStorage", CHECKPOINT_F32 },
    { "torch", "HalfStorage", CHECKPOINT_F16 },   { "torch", "BFloat16Storage", CHECKPOINT_BF16 },
    { "torch", "DoubleStorage", CHECKPOINT_F64 }, { "torch", "LongStorage", CHECKPOINT_I64 },
    { "torch", "IntStorage", CHECKPOINT_I32 },    { "torch", "ShortStorage", CHECKPOINT_I16 },
    { "torch", "CharStorage", CHECKPOINT_I8 },    { "torch", "ByteStorage", CHECKPOINT_U8 },
    { "torch", "BoolStorage", CHECKPOINT_BOOL },
};

static bool line_is(const uint8_t *line, size_t length, const char *text)
{
    return length == strlen(text) && memcmp(line, text, length) == 0;
}

static const uint8_t *take_line(machine *m, size_t *length)
{
    cursor *at = m->at;
    const size_t window = cursor_left(at) < MAX_LINE + 1 ? cursor_left(at) : MAX_LINE + 1;
    const uint8_t *start = at->bytes + at->position;
    const uint8_t *end = window == 0 ? NULL : memchr(start, '\n', window);
    if (end == NULL) {
        machine_refuse(m, "the name of a global does not end within %d bytes", MAX_LINE);
        return NULL;
    }
    *length = (size_t)(end - start);
    cursor_take(at, *length + 1);
    return start;
}

bool machine_global(machine *m)
{
    size_t module_length = 0, name_length = 0;
    const uint8_t *module = take_line(m, &module_length);
    const uint8_t *name = module == NULL ? NULL : take_line(m, &name_length);
    if (name == NULL) {
        return false;
    }
    for (uint8_t i = 0; m->mode != PICKLE_PLAIN && i < sizeof globals / sizeof globals[0]; i++) {
        if (line_is(module, module_length, globals[i].module) &&
            line_is(name, name_length, globals[i].name)) {
            pickle_node *node = machine_new(m, PICKLE_GLOBAL);
            if (node == NULL) {
                return false;
            }
            node->detail = i;
            return true;
        }
    }
    return machine_refuse(m, SAVE_STATE_DICT ": found global %.*s.%.*s", (int)module_length,
                          (const char *)module, (int)name_length, (const char *)name);
}

static bool read_view(machine *m, const pickle_node *node, pickle_storage *s)
{
    if (node->kind == PICKLE_NONE) {
        return true;
    }
    const pickle *p = m->p;
    if (node->kind != PICKLE_TUPLE || node->count != 3 ||
        pickle_item(p, node, 0)->kind != PICKLE_STRING ||
        pickle_item(p, node, 1)->kind != PICKLE_INT ||
        pickle_item(p, node, 2)->kind != PICKLE_INT) {
        return machine_refuse(m, "the view of a storage is not (key, offset, count)");
    }
    const int64_t first = pickle_item(p, node, 1)->value.number;
    const int64_t count = pickle_item(p, node, 2)->value.number;
    if (first < 0 || count < 0 || (uint64_t)first > s->count ||
        (uint64_t)count > s->count - (uint64_t)first) {
        return machine_refuse(m, "a view of %lld elements from %lld in a storage of %llu",
                              (long long)count, (long long)first, (unsigned long long)s->count);
    }
    s->view_first = (uint64_t)first;
    s->view_count = (uint64_t)count;
    return true;
}

static bool digits(const pickle_node *key)
{
    for (uint32_t i = 0; i < key->count; i++) {
        if (key->value.text[i] < '0' || key->value.text[i] > '9') {
            return false;
        }
    }
    return key->count > 0 && key->count <= MAX_KEY;
}

static bool printable(const pickle_node *text)
{
    for (uint32_t i = 0; i < text->count; i++) {
        if (text->value.text[i] < 0x20 || text->value.text[i] > 0x7E) {
            return false;
        }
    }
    return text->count <= MAX_LOCATION;
}

static bool read_storage(machine *m, const pickle_node *id, pickle_storage *s)
{
    const pickle *p = m->p;
    const uint32_t expected = m->mode == PICKLE_LEGACY ? 6 : 5;
    const pickle_node *tag =
        id->kind == PICKLE_TUPLE && id->count > 0 ? pickle_item(p, id, 0) : NULL;
    if (tag == NULL || tag->kind != PICKLE_STRING) {
        return machine_refuse(m, "a persistent id is not ('storage', ...)");
    }
    if (!line_is(tag->value.text, tag->count, "storage")) {
        return machine_refuse(m, SAVE_STATE_DICT ": found a persistent id of kind '%.*s'",
                              (int)tag->count, (const char *)tag->value.text);
    }
    if (id->count != expected) {
        return machine_refuse(m, "the persistent id of a storage has %u parts instead of %u",
                              (unsigned)id->count, (unsigned)expected);
    }
    const pickle_node *type = pickle_item(p, id, 1), *key = pickle_item(p, id, 2);
    const pickle_node *location = pickle_item(p, id, 3), *count = pickle_item(p, id, 4);
    if (type->kind != PICKLE_GLOBAL || type->detail < FIRST_STORAGE) {
        return machine_refuse(m, "a persistent id names no storage type");
    }
    if (key->kind != PICKLE_STRING || !digits(key)) {
        return machine_refuse(m, "the key of a storage is not a string of digits");
    }
    if (location->kind != PICKLE_STRING || !printable(location)) {
        return machine_refuse(m,
                              "the location of a storage is not a printable string of at most "
                              "%d bytes",
                              MAX_LOCATION);
    }
    if (count->kind != PICKLE_INT || count->value.number < 0 ||
        count->value.number > MAX_ELEMENTS) {
        return machine_refuse(m, "the number of elements of storage %.*s is not in 0..2^40",
                              (int)key->count, (const char *)key->value.text);
    }
    *s = (pickle_storage){ .key = key->value.text,
                           .key_length = key->count,
                           .type = globals[type->detail].type,
                           .count = (uint64_t)count->value.number,
                           .view_count = (uint64_t)count->value.number };
    return m->mode != PICKLE_LEGACY || read_view(m, pickle_item(p, id, 5), s);
}

bool machine_persistent_id(machine *m)
{
    pickle *p = m->p;
    uint32_t id = 0;
    pickle_storage s;
    if (m->mode == PICKLE_PLAIN) {
        return machine_refuse(m, "a persistent id where none belongs");
    }
    if (!machine_pop(m, &id) || !read_storage(m, &p->nodes[id], &s)) {
        return false;
    }
    pickle_storage *storages = machine_grow(m, p->storages, &p->storage_capacity, p->storage_count,
                                            sizeof s, MAX_STORAGES, "mentions of storages");
    if (storages == NULL) {
        return false;
    }
    p->storages = storages;
    pickle_node *node = machine_new(m, PICKLE_STORAGE);
    if (node == NULL) {
        return false;
    }
    node->first = (uint32_t)p->storage_count;
    p->storages[p->storage_count++] = s;
    return true;
}

static bool integers(const pickle *p, const pickle_node *tuple)
{
    if (tuple->kind != PICKLE_TUPLE) {
        return false;
    }
    for (uint32_t i = 0; i < tuple->count; i++) {
        if (pickle_item(p, tuple, i)->kind != PICKLE_INT) {
            return false;
        }
    }
    return true;
}

static bool no_hooks(const pickle_node *hooks)
{
    return hooks->kind == PICKLE_DICT && hooks->detail == 1 && hooks->count == 0;
}

/* (storage, offset, size, stride, requires_grad, hooks[, metadata]) becomes a TENSOR node. */
static bool rebuild_tensor(machine *m, const pickle_node *arguments)
{
    const pickle *p = m->p;
    const uint32_t first = arguments->first, count = arguments->count;
    if (count != 6 && count != 7) {
        return machine_refuse(m, "_rebuild_tensor_v2 with %u arguments instead of 6 or 7",
                              (unsigned)count);
    }
    if (pickle_item(p, arguments, TENSOR_STORAGE)->kind != PICKLE_STORAGE ||
        pickle_item(p, arguments, TENSOR_OFFSET)->kind != PICKLE_INT ||
        !integers(p, pickle_item(p, arguments, TENSOR_SIZE)) ||
        !integers(p, pickle_item(p, arguments, TENSOR_STRIDE)) ||
        pickle_item(p, arguments, 4)->kind != PICKLE_BOOL) {
        return machine_refuse(m, "the arguments of _rebuild_tensor_v2 are not (storage, offset, "
                                 "size, stride, requires_grad, hooks)");
    }
    if (!no_hooks(pickle_item(p, arguments, 5))) {
        return machine_refuse(m, SAVE_STATE_DICT ": a tensor has hooks");
    }
    if (count == 7 && pickle_item(p, arguments, 6)->kind != PICKLE_NONE) {
        return machine_refuse(m, SAVE_STATE_DICT ": a tensor has metadata");
    }
    pickle_node *node = machine_new(m, PICKLE_TENSOR);
    if (node == NULL) {
        return false;
    }
    node->first = first;
    return true;
}

/* (tensor, requires_grad, hooks) is the tensor. */
static bool rebuild_parameter(machine *m, const pickle_node *arguments)
{
    const pickle *p = m->p;
    if (arguments->count != 3 || pickle_item(p, arguments, 0)->kind != PICKLE_TENSOR ||
        pickle_item(p, arguments, 1)->kind != PICKLE_BOOL ||
        !no_hooks(pickle_item(p, arguments, 2))) {
        return machine_refuse(m, "the arguments of _rebuild_parameter are not (tensor, "
                                 "requires_grad, no hooks)");
    }
    return machine_push(m, p->items[arguments->first]);
}

bool machine_reduce(machine *m)
{
    const pickle *p = m->p;
    uint32_t arguments_node = 0, callable_node = 0;
    if (!machine_pop(m, &arguments_node) || !machine_pop(m, &callable_node)) {
        return false;
    }
    const pickle_node *arguments = &p->nodes[arguments_node];
    const pickle_node *callable = &p->nodes[callable_node];
    if (callable->kind != PICKLE_GLOBAL || arguments->kind != PICKLE_TUPLE) {
        return machine_refuse(m, "REDUCE of something that is not a known global and a tuple");
    }
    switch (callable->detail) {
    case REBUILD_TENSOR:
        return rebuild_tensor(m, arguments);
    case REBUILD_PARAMETER:
        return rebuild_parameter(m, arguments);
    case ORDERED_DICT: {
        if (arguments->count != 0) {
            return machine_refuse(m, "OrderedDict with arguments");
        }
        pickle_node *node = machine_new(m, PICKLE_DICT);
        if (node == NULL) {
            return false;
        }
        node->detail = 1;
        return true;
    }
    default:
        return machine_refuse(m, "REDUCE of %s.%s, which is not a function",
                              globals[callable->detail].module, globals[callable->detail].name);
    }
}

/* The attributes of a state dict (`_metadata`): checked in form and forgotten. */
bool machine_build(machine *m)
{
    uint32_t state = 0, target = 0;
    if (!machine_pop(m, &state) || !machine_pop(m, &target)) {
        return false;
    }
    const pickle_node *object = &m->p->nodes[target];
    if (object->kind != PICKLE_DICT || object->detail != 1 ||
        m->p->nodes[state].kind != PICKLE_DICT) {
        return machine_refuse(m, "BUILD of something that is not an OrderedDict and a dict");
    }
    return machine_push(m, target);
}

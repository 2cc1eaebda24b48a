/* SPDX-License-Identifier: Apache-2.0
 *
 * The pickle machine: a stack of nodes, a memo, and one step per opcode. Nodes refer to each other
 * by index and nothing here walks them, so references that go round or fan out cost nothing.
 */
#include "checkpoint/pickle.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/pickle_machine.h"
#include "common/utf8.h"

#define MAX_NODES  (1U << 20)
#define MAX_STACK  65536
#define MAX_STRING 4096

enum { NODE_NONE, NODE_FALSE, NODE_TRUE, FIXED_NODES };

enum {
    OP_MARK = '(',
    OP_EMPTY_TUPLE = ')',
    OP_STOP = '.',
    OP_BINFLOAT = 'G',
    OP_BININT = 'J',
    OP_BININT1 = 'K',
    OP_BININT2 = 'M',
    OP_NONE = 'N',
    OP_BINPERSID = 'Q',
    OP_REDUCE = 'R',
    OP_SHORT_BINSTRING = 'U',
    OP_BINUNICODE = 'X',
    OP_EMPTY_LIST = ']',
    OP_APPEND = 'a',
    OP_BUILD = 'b',
    OP_GLOBAL = 'c',
    OP_APPENDS = 'e',
    OP_BINGET = 'h',
    OP_LONG_BINGET = 'j',
    OP_BINPUT = 'q',
    OP_LONG_BINPUT = 'r',
    OP_SETITEM = 's',
    OP_TUPLE = 't',
    OP_SETITEMS = 'u',
    OP_EMPTY_DICT = '}',
    OP_PROTO = 0x80,
    OP_TUPLE1 = 0x85,
    OP_TUPLE2 = 0x86,
    OP_TUPLE3 = 0x87,
    OP_NEWTRUE = 0x88,
    OP_NEWFALSE = 0x89,
    OP_LONG1 = 0x8A
};

bool machine_refuse(machine *m, const char *format, ...)
{
    char sentence[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    return container_refuse(m->c, "%s, byte %zu: %s", m->what, m->opcode_at, sentence);
}

void *machine_grow(machine *m, void *array, size_t *capacity, size_t count, size_t element,
                   size_t limit, const char *what)
{
    if (count < *capacity) {
        return array;
    }
    if (count >= limit) {
        machine_refuse(m, "more than %zu %s", limit, what);
        return NULL;
    }
    const size_t larger = *capacity == 0 ? 64 : 2 * *capacity;
    void *grown = realloc(array, larger * element);
    if (grown == NULL) {
        machine_refuse(m, "no memory for %zu %s", larger, what);
        return NULL;
    }
    *capacity = larger;
    return grown;
}

/* Nothing below the last mark can be taken. */
static size_t floor_of(const machine *m)
{
    return m->mark_count == 0 ? 0 : m->marks[m->mark_count - 1];
}

bool machine_push(machine *m, uint32_t node)
{
    uint32_t *stack = machine_grow(m, m->stack, &m->stack_capacity, m->depth, sizeof node,
                                   MAX_STACK, "values on the stack");
    if (stack == NULL) {
        return false;
    }
    m->stack = stack;
    m->stack[m->depth++] = node;
    return true;
}

bool machine_pop(machine *m, uint32_t *node)
{
    if (m->depth == floor_of(m)) {
        return machine_refuse(m, "a value is taken from an empty stack");
    }
    *node = m->stack[--m->depth];
    return true;
}

static bool top(machine *m, uint32_t *node)
{
    return machine_pop(m, node) && machine_push(m, *node);
}

pickle_node *machine_new(machine *m, pickle_kind kind)
{
    pickle *p = m->p;
    pickle_node *nodes = machine_grow(m, p->nodes, &p->node_capacity, p->node_count,
                                      sizeof(pickle_node), MAX_NODES, "values");
    if (nodes == NULL) {
        return NULL;
    }
    p->nodes = nodes;
    if (!machine_push(m, (uint32_t)p->node_count)) {
        return NULL;
    }
    pickle_node *node = &p->nodes[p->node_count++];
    *node = (pickle_node){ .kind = (uint8_t)kind };
    return node;
}

static const uint8_t *take(machine *m, uint64_t bytes)
{
    const uint8_t *taken = cursor_take(m->at, bytes);
    if (taken == NULL) {
        machine_refuse(m, "cut short: %llu bytes needed, %zu left", (unsigned long long)bytes,
                       cursor_left(m->at));
    }
    return taken;
}

static bool push_integer(machine *m, int64_t number)
{
    pickle_node *node = machine_new(m, PICKLE_INT);
    if (node == NULL) {
        return false;
    }
    node->value.number = number;
    return true;
}

/* `count` little-endian bytes, at most 8, as two's complement. */
static bool read_signed(machine *m, uint64_t count)
{
    const uint8_t *bytes = take(m, count);
    if (bytes == NULL) {
        return false;
    }
    uint64_t bits = count > 0 && bytes[count - 1] >= 0x80 ? UINT64_MAX : 0;
    for (uint64_t i = count; i-- > 0;) {
        bits = bits << 8 | bytes[i];
    }
    const bool negative = bits >> 63 != 0;
    return push_integer(m, negative ? -(int64_t)~bits - 1 : (int64_t)bits);
}

static bool read_long(machine *m)
{
    const uint8_t *count = take(m, 1);
    if (count == NULL) {
        return false;
    }
    return *count > 8 ? machine_refuse(m, "an integer of %u bytes, the limit is 8", *count)
                      : read_signed(m, *count);
}

static bool read_small(machine *m, size_t count)
{
    const uint8_t *bytes = take(m, count);
    return bytes != NULL && push_integer(m, count == 1 ? bytes[0] : load_u16(bytes));
}

static bool read_string(machine *m, size_t width)
{
    const uint8_t *head = take(m, width);
    if (head == NULL) {
        return false;
    }
    const uint32_t length = width == 1 ? head[0] : load_u32(head);
    if (length > MAX_STRING) {
        return machine_refuse(m, "a string of %u bytes, the limit is %d", (unsigned)length,
                              MAX_STRING);
    }
    const uint8_t *text = take(m, length);
    if (text == NULL) {
        return false;
    }
    if (!utf8_valid(text, length)) {
        return machine_refuse(m, "a string is not UTF-8 or holds a NUL");
    }
    pickle_node *node = machine_new(m, PICKLE_STRING);
    if (node == NULL) {
        return false;
    }
    node->count = length;
    node->value.text = text;
    return true;
}

static bool put(machine *m, size_t width)
{
    const uint8_t *bytes = take(m, width);
    if (bytes == NULL) {
        return false;
    }
    const uint32_t index = width == 1 ? bytes[0] : load_u32(bytes);
    uint32_t node = 0;
    if (!top(m, &node)) {
        return false;
    }
    /* Python 2 counts from 1. */
    if (m->memo_count == 0 && index == 1 && m->mode != PICKLE_ZIP) {
        m->memo_first = 1;
    }
    if (index != m->memo_first + m->memo_count) {
        return machine_refuse(m, "memo entry %u is written out of order", (unsigned)index);
    }
    uint32_t *memo = machine_grow(m, m->memo, &m->memo_capacity, m->memo_count, sizeof node,
                                  MAX_NODES, "memo entries");
    if (memo == NULL) {
        return false;
    }
    m->memo = memo;
    m->memo[m->memo_count++] = node;
    return true;
}

static bool get(machine *m, size_t width)
{
    const uint8_t *bytes = take(m, width);
    if (bytes == NULL) {
        return false;
    }
    const uint32_t index = width == 1 ? bytes[0] : load_u32(bytes);
    if (index < m->memo_first || index - m->memo_first >= m->memo_count) {
        return machine_refuse(m, "memo entry %u is read, %zu exist", (unsigned)index,
                              m->memo_count);
    }
    return machine_push(m, m->memo[index - m->memo_first]);
}

static bool push_mark(machine *m)
{
    if (m->mark_count == PICKLE_MAX_MARKS) {
        return machine_refuse(m, "more than %d open marks", PICKLE_MAX_MARKS);
    }
    m->marks[m->mark_count++] = m->depth;
    return true;
}

/* Closes the last mark; the values above it are stack[*first .. depth). */
static bool pop_mark(machine *m, size_t *first)
{
    if (m->mark_count == 0) {
        return machine_refuse(m, "no open mark");
    }
    *first = m->marks[--m->mark_count];
    return true;
}

/* The top `count` values become a tuple. */
static bool make_tuple(machine *m, size_t count)
{
    pickle *p = m->p;
    if (m->depth - floor_of(m) < count) {
        return machine_refuse(m, "a tuple of %zu from an empty stack", count);
    }
    const size_t first = p->item_count;
    m->depth -= count;
    for (size_t i = 0; i < count; i++) {
        uint32_t *items = machine_grow(m, p->items, &p->item_capacity, p->item_count,
                                       sizeof(uint32_t), MAX_NODES, "items of tuples");
        if (items == NULL) {
            return false;
        }
        p->items = items;
        p->items[p->item_count++] = m->stack[m->depth + i];
    }
    pickle_node *node = machine_new(m, PICKLE_TUPLE);
    if (node == NULL) {
        return false;
    }
    node->first = (uint32_t)first;
    node->count = (uint32_t)count;
    return true;
}

static bool make_marked_tuple(machine *m)
{
    size_t first = 0;
    return pop_mark(m, &first) && make_tuple(m, m->depth - first);
}

static bool add_entry(machine *m, uint32_t owner, const pickle_node *key, uint32_t value)
{
    pickle *p = m->p;
    pickle_entry entry = { .owner = owner, .value = value };
    if (key == NULL) {
        entry.number = p->nodes[owner].count;
    } else if (key->kind == PICKLE_INT) {
        entry.number = key->value.number;
    } else if (key->kind != PICKLE_STRING) {
        return machine_refuse(m, "a key of a dict is neither a string nor an integer");
    } else if (key->count > CHECKPOINT_MAX_NAME) {
        return machine_refuse(m, "a key of a dict has %u bytes, the limit is %d",
                              (unsigned)key->count, CHECKPOINT_MAX_NAME);
    } else {
        entry.text = key->value.text;
        entry.length = key->count;
    }
    pickle_entry *entries = machine_grow(m, p->entries, &p->entry_capacity, p->entry_count,
                                         sizeof entry, MAX_NODES, "entries of lists and dicts");
    if (entries == NULL) {
        return false;
    }
    p->entries = entries;
    p->entries[p->entry_count++] = entry;
    p->nodes[owner].count++;
    return true;
}

/* Moves stack[first ..) into the list or dict below. */
static bool set_items(machine *m, size_t first, pickle_kind kind)
{
    pickle *p = m->p;
    const size_t count = m->depth - first;
    if (first == floor_of(m)) {
        return machine_refuse(m, "values for a %s that is missing",
                              kind == PICKLE_DICT ? "dict" : "list");
    }
    const uint32_t owner = m->stack[first - 1];
    if (p->nodes[owner].kind != kind) {
        return machine_refuse(m, "values are added to something that is not a %s",
                              kind == PICKLE_DICT ? "dict" : "list");
    }
    if (kind == PICKLE_DICT && count % 2 != 0) {
        return machine_refuse(m, "a key without a value");
    }
    for (size_t i = first; i < m->depth; i += kind == PICKLE_DICT ? 2 : 1) {
        const bool ok = kind == PICKLE_DICT
                            ? add_entry(m, owner, &p->nodes[m->stack[i]], m->stack[i + 1])
                            : add_entry(m, owner, NULL, m->stack[i]);
        if (!ok) {
            return false;
        }
    }
    m->depth = first;
    return true;
}

static bool set_one(machine *m, size_t values, pickle_kind kind)
{
    if (m->depth - floor_of(m) < values) {
        return machine_refuse(m, "a value is taken from an empty stack");
    }
    return set_items(m, m->depth - values, kind);
}

static bool set_marked(machine *m, pickle_kind kind)
{
    size_t first = 0;
    return pop_mark(m, &first) && set_items(m, first, kind);
}

static bool refuse_opcode(machine *m, uint8_t opcode)
{
    static const struct {
        uint8_t opcode;
        const char *name;
    } names[] = {
        { 0x93, "STACK_GLOBAL" }, { 'i', "INST" },         { 'o', "OBJ" },
        { 0x81, "NEWOBJ" },       { 0x92, "NEWOBJ_EX" },   { 0x82, "EXT1" },
        { 0x83, "EXT2" },         { 0x84, "EXT4" },        { 'P', "PERSID" },
        { 0x94, "MEMOIZE" },      { 0x95, "FRAME" },       { 0x8C, "SHORT_BINUNICODE" },
        { 0x8D, "BINUNICODE8" },  { 'B', "BINBYTES" },     { 'C', "SHORT_BINBYTES" },
        { 0x8E, "BINBYTES8" },    { 0x96, "BYTEARRAY8" },  { 0x8B, "LONG4" },
        { '0', "POP" },           { '1', "POP_MARK" },     { '2', "DUP" },
        { 'l', "LIST" },          { 'd', "DICT" },         { 0x8F, "EMPTY_SET" },
        { 0x90, "ADDITEMS" },     { 0x91, "FROZENSET" },   { 'I', "INT" },
        { 'L', "LONG" },          { 'F', "FLOAT" },        { 'S', "STRING" },
        { 'T', "BINSTRING" },     { 'V', "UNICODE" },      { 'g', "GET" },
        { 'p', "PUT" },           { 0x97, "NEXT_BUFFER" }, { 0x98, "READONLY_BUFFER" },
    };
    const char *name = "unknown";
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i].opcode == opcode) {
            name = names[i].name;
        }
    }
    return machine_refuse(m,
                          "opcode 0x%02x (%s) is not allowed; re-save with "
                          "torch.save(model.state_dict(), path)",
                          (unsigned)opcode, name);
}

/* Opcodes that build containers and calls. */
static bool step_structure(machine *m, uint8_t opcode)
{
    switch (opcode) {
    case OP_MARK:
        return push_mark(m);
    case OP_TUPLE:
        return make_marked_tuple(m);
    case OP_EMPTY_TUPLE:
        return make_tuple(m, 0);
    case OP_TUPLE1:
        return make_tuple(m, 1);
    case OP_TUPLE2:
        return make_tuple(m, 2);
    case OP_TUPLE3:
        return make_tuple(m, 3);
    case OP_EMPTY_DICT:
        return machine_new(m, PICKLE_DICT) != NULL;
    case OP_SETITEM:
        return set_one(m, 2, PICKLE_DICT);
    case OP_SETITEMS:
        return set_marked(m, PICKLE_DICT);
    case OP_EMPTY_LIST:
        return machine_new(m, PICKLE_LIST) != NULL;
    case OP_APPEND:
        return set_one(m, 1, PICKLE_LIST);
    case OP_APPENDS:
        return set_marked(m, PICKLE_LIST);
    case OP_GLOBAL:
        return machine_global(m);
    case OP_BINPERSID:
        return machine_persistent_id(m);
    case OP_REDUCE:
        return machine_reduce(m);
    case OP_BUILD:
        return machine_build(m);
    default:
        return refuse_opcode(m, opcode);
    }
}

/* Opcodes that push one value, and the memo. */
static bool step(machine *m, uint8_t opcode)
{
    switch (opcode) {
    case OP_BINPUT:
        return put(m, 1);
    case OP_LONG_BINPUT:
        return put(m, 4);
    case OP_BINGET:
        return get(m, 1);
    case OP_LONG_BINGET:
        return get(m, 4);
    case OP_BINUNICODE:
        return read_string(m, 4);
    case OP_SHORT_BINSTRING:
        return read_string(m, 1);
    case OP_BININT:
        return read_signed(m, 4);
    case OP_BININT1:
        return read_small(m, 1);
    case OP_BININT2:
        return read_small(m, 2);
    case OP_LONG1:
        return read_long(m);
    case OP_BINFLOAT:
        return take(m, 8) != NULL && machine_new(m, PICKLE_FLOAT) != NULL;
    case OP_NONE:
        return machine_push(m, NODE_NONE);
    case OP_NEWFALSE:
        return machine_push(m, NODE_FALSE);
    case OP_NEWTRUE:
        return machine_push(m, NODE_TRUE);
    default:
        return step_structure(m, opcode);
    }
}

static int by_key(const void *a, const void *b)
{
    const pickle_entry *x = a, *y = b;
    if (x->owner != y->owner) {
        return x->owner < y->owner ? -1 : 1;
    }
    if (x->text == NULL || y->text == NULL) {
        if (x->text == y->text) {
            return x->number < y->number ? -1 : x->number > y->number;
        }
        return x->text == NULL ? -1 : 1;
    }
    const int order = memcmp(x->text, y->text, x->length < y->length ? x->length : y->length);
    if (order != 0) {
        return order;
    }
    return x->length < y->length ? -1 : x->length > y->length;
}

/* Brings the entries of each list and dict together; no dict may have a key twice. */
static bool sort_entries(machine *m)
{
    pickle *p = m->p;
    if (p->entry_count > 0) {
        qsort(p->entries, p->entry_count, sizeof(pickle_entry), by_key);
    }
    for (size_t i = 0; i < p->entry_count; i++) {
        const pickle_entry *entry = &p->entries[i];
        if (i > 0 && by_key(entry - 1, entry) == 0) {
            return entry->text == NULL
                       ? machine_refuse(m, "a dict has the key %lld twice",
                                        (long long)entry->number)
                       : machine_refuse(m, "a dict has the key '%.*s' twice", (int)entry->length,
                                        (const char *)entry->text);
        }
        if (i == 0 || entry->owner != entry[-1].owner) {
            p->nodes[entry->owner].first = (uint32_t)i;
        }
    }
    return true;
}

static bool run(machine *m)
{
    const uint8_t *proto = take(m, 2);
    if (proto == NULL) {
        return false;
    }
    if (proto[0] != OP_PROTO || proto[1] != 2) {
        return machine_refuse(m, "not a pickle of protocol 2; re-save with "
                                 "torch.save(model.state_dict(), path)");
    }
    for (uint8_t i = 0; i < FIXED_NODES; i++) {
        pickle_node *node = machine_new(m, i == NODE_NONE ? PICKLE_NONE : PICKLE_BOOL);
        if (node == NULL) {
            return false;
        }
        node->detail = i == NODE_TRUE;
    }
    m->depth = 0;
    for (;;) {
        m->opcode_at = m->at->position;
        const uint8_t *opcode = take(m, 1);
        if (opcode == NULL) {
            return false;
        }
        if (*opcode == OP_STOP) {
            break;
        }
        if (!step(m, *opcode)) {
            return false;
        }
    }
    if (m->depth != 1 || m->mark_count != 0) {
        return machine_refuse(m, "STOP with %zu values and %zu marks left", m->depth,
                              m->mark_count);
    }
    m->p->root = m->stack[0];
    return sort_entries(m);
}

bool pickle_read(container *c, cursor *at, pickle_mode mode, const char *what, pickle *p)
{
    memset(p, 0, sizeof *p);
    machine m = { .c = c, .at = at, .p = p, .mode = mode, .what = what };
    m.opcode_at = at->position;
    const bool ok = run(&m);
    free(m.stack);
    free(m.memo);
    return ok;
}

void pickle_free(pickle *p)
{
    free(p->nodes);
    free(p->items);
    free(p->entries);
    free(p->storages);
    memset(p, 0, sizeof *p);
}

const pickle_node *pickle_lookup(const pickle *p, const pickle_node *dict, const char *key)
{
    if (dict->kind != PICKLE_DICT || dict->count == 0) {
        return NULL;
    }
    const pickle_entry wanted = { .owner = (uint32_t)(dict - p->nodes),
                                  .text = (const uint8_t *)key,
                                  .length = (uint32_t)strlen(key) };
    const pickle_entry *found =
        bsearch(&wanted, p->entries + dict->first, dict->count, sizeof(pickle_entry), by_key);
    return found == NULL ? NULL : &p->nodes[found->value];
}

const pickle_node *pickle_item(const pickle *p, const pickle_node *tuple, uint32_t index)
{
    return &p->nodes[p->items[tuple->first + index]];
}

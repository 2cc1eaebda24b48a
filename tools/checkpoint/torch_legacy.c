/* SPDX-License-Identifier: Apache-2.0
 *
 * What torch.save wrote before 1.6: five pickles (magic number, protocol version, facts of the
 * machine, the structure, the keys of the storages), then each storage as an i64 element count and
 * its bytes, in the order of the keys, up to the end of the file.
 */
#include <string.h>

#include "checkpoint/torch.h"

/* A pickle of the integer 1001, the only protocol version there ever was. */
#define PROTOCOL       "\x80\x02M\xE9\x03."
#define PROTOCOL_BYTES 6

/* A cursor that ends where a pickle at most may. */
static bool read_pickle(container *c, cursor *at, pickle_mode mode, const char *what, pickle *p)
{
    cursor bounded = *at;
    if (cursor_left(at) > PICKLE_MAX_BYTES) {
        bounded.size = at->position + (size_t)PICKLE_MAX_BYTES;
    }
    const bool ok = pickle_read(c, &bounded, mode, what, p);
    at->position = bounded.position;
    return ok;
}

static bool check_machine(container *c, cursor *at)
{
    pickle p;
    bool ok = read_pickle(c, at, PICKLE_PLAIN, "the machine's description", &p);
    if (ok) {
        const pickle_node *little = pickle_lookup(&p, &p.nodes[p.root], "little_endian");
        ok = (little != NULL && little->kind == PICKLE_BOOL && little->detail == 1) ||
             container_refuse(c, "not written on a little-endian machine; re-save on one");
    }
    pickle_free(&p);
    return ok;
}

static bool place_storage(container *c, cursor *at, torch_storage *s)
{
    const uint8_t *head = cursor_take(at, 8);
    if (head == NULL) {
        return container_refuse(c, "cut short before storage %.*s", (int)s->key_length,
                                (const char *)s->key);
    }
    if (load_u64(head) != s->count) {
        return container_refuse(c, "storage %.*s has %llu elements, its tensors say %llu",
                                (int)s->key_length, (const char *)s->key,
                                (unsigned long long)load_u64(head), (unsigned long long)s->count);
    }
    s->data = cursor_take(at, s->bytes);
    return s->data != NULL ||
           container_refuse(c, "cut short: storage %.*s has %llu bytes, %zu are left",
                            (int)s->key_length, (const char *)s->key, (unsigned long long)s->bytes,
                            cursor_left(at));
}

static bool place_storages(container *c, cursor *at, torch_storages *s)
{
    pickle keys;
    bool ok = read_pickle(c, at, PICKLE_PLAIN, "the list of storages", &keys);
    const pickle_node *list = ok ? &keys.nodes[keys.root] : NULL;
    if (ok && (list->kind != PICKLE_LIST || list->count != s->count)) {
        ok = container_refuse(
            c, "the list of storages does not have the %zu storages of the tensors", s->count);
    }
    for (uint32_t i = 0; ok && i < list->count; i++) {
        const pickle_node *key = &keys.nodes[keys.entries[list->first + i].value];
        torch_storage *storage =
            key->kind != PICKLE_STRING ? NULL : torch_find_storage(s, key->value.text, key->count);
        if (storage == NULL || storage->data != NULL) {
            ok = container_refuse(c,
                                  "entry %u of the list of storages is none of the tensors', or "
                                  "comes twice",
                                  (unsigned)i);
        } else {
            ok = place_storage(c, at, storage);
        }
    }
    pickle_free(&keys);
    return ok;
}

bool legacy_read(container *c)
{
    cursor at = { .bytes = c->bytes, .size = c->size };
    cursor_take(&at, LEGACY_MAGIC_BYTES);
    const uint8_t *protocol = cursor_take(&at, PROTOCOL_BYTES);
    if (protocol == NULL || memcmp(protocol, PROTOCOL, PROTOCOL_BYTES) != 0) {
        return container_refuse(c, "cut short, or not protocol version 1001 of torch.save");
    }
    if (!check_machine(c, &at)) {
        return false;
    }
    pickle p;
    torch_storages s;
    bool ok = read_pickle(c, &at, PICKLE_LEGACY, "the structure", &p) &&
              torch_list_storages(c, &p, &s) && place_storages(c, &at, &s);
    if (ok && cursor_left(&at) != 0) {
        ok = container_refuse(c, "%zu bytes follow the last storage", cursor_left(&at));
    }
    ok = ok && torch_add_tensors(c, &p, &s);
    pickle_free(&p);
    return ok;
}

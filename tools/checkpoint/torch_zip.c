/* SPDX-License-Identifier: Apache-2.0
 *
 * What torch.save writes since 1.6: a zip of stored records under one folder, data.pkl for the
 * structure and data/N for the bytes of storage N.
 */
#include <string.h>

#include "checkpoint/torch.h"
#include "checkpoint/zip.h"

#define RESAVE "re-save with torch.save(model.state_dict(), path)"

/* data/<1..10 digits without a leading zero> */
static bool is_storage_name(const char *name, size_t length)
{
    if (length < 6 || length > 15 || memcmp(name, "data/", 5) != 0 ||
        (name[5] == '0' && length > 6)) {
        return false;
    }
    for (size_t i = 5; i < length; i++) {
        if (name[i] < '0' || name[i] > '9') {
            return false;
        }
    }
    return true;
}

static bool is_known_name(const char *name, size_t length)
{
    static const char *const known[] = { "data.pkl",        "version",
                                         "byteorder",       ".data/serialization_id",
                                         ".format_version", ".storage_alignment" };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (length == strlen(known[i]) && memcmp(name, known[i], length) == 0) {
            return true;
        }
    }
    return is_storage_name(name, length);
}

static bool is_script_name(const char *name, size_t length)
{
    return (length == 13 && memcmp(name, "constants.pkl", 13) == 0) ||
           (length > 5 && memcmp(name, "code/", 5) == 0);
}

static bool check_record(container *c, const zip_record *r, const char *root, size_t root_length)
{
    if (r->name_length <= root_length || memcmp(r->name, root, root_length) != 0) {
        return container_refuse(c, "zip record '%.*s' is not in the folder '%.*s'",
                                (int)r->name_length, r->name, (int)root_length, root);
    }
    const char *name = r->name + root_length;
    const size_t length = r->name_length - root_length;
    if (is_script_name(name, length)) {
        return container_refuse(
            c, "a TorchScript archive, which holds code: load it in PyTorch and " RESAVE);
    }
    if (!is_known_name(name, length)) {
        return container_refuse(c, "zip record '%.*s' is none of torch.save's; " RESAVE,
                                (int)r->name_length, r->name);
    }
    if (r->method != ZIP_STORED) {
        return container_refuse(c,
                                "zip record '%.*s' is compressed, torch.save only stores; " RESAVE,
                                (int)r->name_length, r->name);
    }
    if ((r->flags | 0x0008) != 0x0808) {
        return container_refuse(
            c, "zip record '%.*s' has flags 0x%04x, torch.save writes 0x0808; " RESAVE,
            (int)r->name_length, r->name, (unsigned)r->flags);
    }
    return true;
}

static const zip_record *find(const zip *z, const char *root, size_t root_length, const char *name,
                              size_t length)
{
    char path[CHECKPOINT_MAX_NAME + 1];
    if (root_length + length > sizeof path) {
        return NULL;
    }
    memcpy(path, root, root_length);
    memcpy(path + root_length, name, length);
    return zip_find(z, path, root_length + length);
}

static bool is_little(const zip_record *r)
{
    return r->size == 6 && memcmp(r->data, "little", 6) == 0;
}

/* A decimal number from 1 to 10 and perhaps a line feed. */
static bool is_version(const zip_record *r)
{
    size_t length = (size_t)r->size;
    if (length > 0 && r->data[length - 1] == '\n') {
        length--;
    }
    return (length == 1 && r->data[0] >= '1' && r->data[0] <= '9') ||
           (length == 2 && memcmp(r->data, "10", 2) == 0);
}

static bool check_small_records(container *c, const zip *z, const char *root, size_t root_length)
{
    const zip_record *order = find(z, root, root_length, "byteorder", 9);
    if (order != NULL && !zip_verify(c, order)) {
        return false;
    }
    if (order != NULL && !is_little(order)) {
        return container_refuse(c, "byteorder is not 'little'; re-save on a little-endian machine");
    }
    const zip_record *version = find(z, root, root_length, "version", 7);
    if (version != NULL && !zip_verify(c, version)) {
        return false;
    }
    return version == NULL || is_version(version) ||
           container_refuse(c, "the version record is not a number from 1 to 10");
}

static bool place_storages(container *c, const zip *z, const char *root, size_t root_length,
                           torch_storages *s)
{
    for (size_t i = 0; i < s->count; i++) {
        torch_storage *storage = &s->list[i];
        char name[5 + 64] = "data/";
        const size_t length = 5 + storage->key_length;
        memcpy(name + 5, storage->key, storage->key_length);
        const zip_record *r =
            is_storage_name(name, length) ? find(z, root, root_length, name, length) : NULL;
        if (r == NULL) {
            return container_refuse(c, "storage %.*s is mentioned in data.pkl and not in the file",
                                    (int)storage->key_length, (const char *)storage->key);
        }
        if (r->size != storage->bytes) {
            return container_refuse(c, "storage %.*s has %llu bytes, data.pkl says %llu",
                                    (int)storage->key_length, (const char *)storage->key,
                                    (unsigned long long)r->size,
                                    (unsigned long long)storage->bytes);
        }
        if (!zip_verify(c, r)) {
            return false;
        }
        storage->data = r->data;
    }
    size_t stored = 0;
    for (size_t i = 0; i < z->count; i++) {
        stored += is_storage_name(z->records[i].name + root_length,
                                  z->records[i].name_length - root_length);
    }
    return stored == s->count ||
           container_refuse(c, "%zu storages are in the file, data.pkl mentions %zu", stored,
                            s->count);
}

static bool read_structure(container *c, const zip *z, const char *root, size_t root_length)
{
    const zip_record *r = find(z, root, root_length, "data.pkl", 8);
    if (r == NULL) {
        return container_refuse(c, "the folder '%.*s' has no data.pkl", (int)root_length, root);
    }
    if (r->size > PICKLE_MAX_BYTES) {
        return container_refuse(c, "data.pkl has %llu bytes, the limit is %llu",
                                (unsigned long long)r->size, (unsigned long long)PICKLE_MAX_BYTES);
    }
    if (!zip_verify(c, r)) {
        return false;
    }
    cursor at = { .bytes = r->data, .size = (size_t)r->size };
    pickle p;
    torch_storages s;
    bool ok = pickle_read(c, &at, PICKLE_ZIP, "data.pkl", &p);
    if (ok && cursor_left(&at) != 0) {
        ok = container_refuse(c, "data.pkl has %zu bytes after its end", cursor_left(&at));
    }
    ok = ok && torch_list_storages(c, &p, &s) && place_storages(c, z, root, root_length, &s) &&
         torch_add_tensors(c, &p, &s);
    pickle_free(&p);
    return ok;
}

bool torch_zip_read(container *c, const zip *z)
{
    c->result->container = "pytorch zip";
    const zip_record *first = &z->records[0];
    const char *slash = memchr(first->name, '/', first->name_length);
    const size_t root_length = slash == NULL ? 0 : (size_t)(slash - first->name) + 1;
    if (root_length < 2) {
        return container_refuse(c, "zip record '%.*s' is not in a folder", (int)first->name_length,
                                first->name);
    }
    for (size_t i = 0; i < z->count; i++) {
        if (!check_record(c, &z->records[i], first->name, root_length)) {
            return false;
        }
    }
    return check_small_records(c, z, first->name, root_length) &&
           read_structure(c, z, first->name, root_length);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Changing model files byte by byte, for the tests of what the reader refuses. It finds its way by
 * searching for names, not with the reader that is being tested.
 */
#ifndef MODEL_EDIT_H
#define MODEL_EDIT_H

#include "model_fixture.h"

/* A load and what was said about it. */
typedef struct load_result {
    iviti_status status;
    iviti_status logged; /* of the last sentence; IVITI_OK if there was none */
    char sentence[512];  /* the last */
    int sentences;
    iviti_model *model;
} load_result;

static inline void edit_keep(void *user, iviti_status status, const char *message)
{
    load_result *const r = user;
    r->logged = status;
    r->sentences++;
    snprintf(r->sentence, sizeof r->sentence, "%s", message);
}

/* Loads a copy that ends where its heap block ends, so that a byte read beyond it is seen. */
static inline load_result edit_load(const uint8_t *image, size_t size,
                                    const iviti_load_options *given)
{
    load_result r = { .status = IVITI_OK };
    iviti_load_options options = given != NULL ? *given : (iviti_load_options){ .max_memory = 0 };
    options.log = (iviti_log){ edit_keep, &r };
    uint8_t *const copy = malloc(size > 0 ? size : 1);
    if (size > 0)
        memcpy(copy, image, size);
    r.status = iviti_model_load_memory(copy, size, &options, &r.model);
    free(copy);
    return r;
}

/* Where the bytes (count) are first found, or the size. */
static inline size_t edit_find(const model_fixture *f, const void *bytes, size_t count)
{
    for (size_t i = 0; i + count <= f->size; i++)
        if (memcmp(f->image + i, bytes, count) == 0)
            return i;
    return f->size;
}

/* Offset of the first byte after a string of the header: of a key's type, or of a tensor's rank. */
static inline size_t edit_after(const model_fixture *f, const char *name)
{
    uint8_t text[8 + 128];
    const size_t length = strlen(name);
    iviti_put_u64(text, length);
    memcpy(text + 8, name, length);
    const size_t at = edit_find(f, text, 8 + length);
    if (at == f->size) {
        fprintf(stderr, "edit: there is no %s\n", name);
        exit(1);
    }
    return at + 8 + length;
}

/* Offset of a number's or an array's first value. */
static inline size_t edit_value(const model_fixture *f, const char *key)
{
    const size_t at = edit_after(f, key);
    return iviti_get_u32(f->image + at) == 9 ? at + 16 : at + 4;
}

/* Offset of the tensor data. */
static inline size_t edit_data(const model_fixture *f, const iviti_geometry *complete)
{
    uint64_t bytes = 0;
    iviti_schema_data_bytes(complete, &bytes);
    return f->size - (size_t)bytes;
}

/* Offset of a tensor's first element. */
static inline size_t edit_tensor(const model_fixture *f, const iviti_geometry *complete,
                                 const char *name)
{
    const size_t at = edit_after(f, name);
    const uint32_t rank = iviti_get_u32(f->image + at);
    return edit_data(f, complete) + (size_t)iviti_get_u64(f->image + at + 4 + 8 * rank + 4);
}

/* Replaces `removed` bytes of the header at `at` by others; the tensor data moves along to its
 * boundary, and the number of pairs changes by `pairs`. Seals the file. */
static inline void edit_splice(model_fixture *f, const iviti_geometry *complete, size_t at,
                               size_t removed, const void *bytes, size_t inserted, int pairs)
{
    iviti_tensor_spec last;
    iviti_schema_tensor(complete, iviti_schema_count(complete) - 1, &last);
    const size_t data = edit_data(f, complete);
    const size_t header = edit_after(f, last.name) + 4 + 8 * last.rank + 4 + 8;
    const size_t new_header = header - removed + inserted;
    const size_t new_data = (new_header + 63) / 64 * 64;
    uint8_t *const image = calloc(1, new_data + (f->size - data));
    memcpy(image, f->image, at);
    if (inserted > 0)
        memcpy(image + at, bytes, inserted);
    memcpy(image + at + inserted, f->image + at + removed, header - at - removed);
    memcpy(image + new_data, f->image + data, f->size - data);
    f->size = new_data + (f->size - data);
    free(f->image);
    f->image = image;
    iviti_put_u64(image + 16, iviti_get_u64(image + 16) + (uint64_t)(int64_t)pairs);
    fixture_seal(f->image, f->size);
}

/* Length of the pair whose key is `key`, and its offset. */
static inline size_t edit_pair(const model_fixture *f, const char *key, size_t *bytes)
{
    const size_t type_at = edit_after(f, key);
    const uint32_t type = iviti_get_u32(f->image + type_at);
    size_t end = type_at + 4;
    if (type == 8) {
        end += 8 + (size_t)iviti_get_u64(f->image + end);
    } else if (type == 9) {
        const uint32_t element = iviti_get_u32(f->image + end);
        const uint64_t count = iviti_get_u64(f->image + end + 4);
        end += 12;
        for (uint64_t i = 0; i < count; i++)
            end += element == 8 ? 8 + (size_t)iviti_get_u64(f->image + end) : 4;
    } else {
        end += type == 10 ? 8 : 4;
    }
    const size_t begin = type_at - strlen(key) - 8;
    *bytes = end - begin;
    return begin;
}

/* A pair with a string. */
static inline size_t edit_string_pair(uint8_t *out, const char *key, const char *text, size_t bytes)
{
    const size_t key_bytes = strlen(key);
    iviti_put_u64(out, key_bytes);
    memcpy(out + 8, key, key_bytes);
    iviti_put_u32(out + 8 + key_bytes, 8);
    iviti_put_u64(out + 12 + key_bytes, bytes);
    memcpy(out + 20 + key_bytes, text, bytes);
    return 20 + key_bytes + bytes;
}

/* Puts an array of `count` equal elements before iviti.classes; `type` is GGUF's: 1 (i8) or 4 (u32). */
static inline void edit_insert_array(model_fixture *f, const iviti_geometry *complete, const char *key,
                                     uint32_t type, size_t count, uint32_t value)
{
    const size_t key_bytes = strlen(key), size = type == 4 ? 4 : 1;
    const size_t bytes = 24 + key_bytes + size * count;
    uint8_t *const pair = malloc(bytes);
    size_t next_bytes;

    assert_non_null(pair);
    iviti_put_u64(pair, key_bytes);
    memcpy(pair + 8, key, key_bytes);
    iviti_put_u32(pair + 8 + key_bytes, 9);
    iviti_put_u32(pair + 12 + key_bytes, type);
    iviti_put_u64(pair + 16 + key_bytes, count);
    for (size_t k = 0; k < count; k++) {
        if (type == 4)
            iviti_put_u32(pair + 24 + key_bytes + 4 * k, value);
        else
            pair[24 + key_bytes + k] = (uint8_t)value;
    }
    edit_splice(f, complete, edit_pair(f, "iviti.classes", &next_bytes), 0, pair, bytes, 1);
    free(pair);
}

static inline iviti_geometry edit_geometry(fixture_kind kind)
{
    iviti_geometry g = fixture_geometry(kind);
    char text[200];
    if (iviti_geometry_complete(&g, text, sizeof text) != NULL)
        fail_msg("%s", text);
    return g;
}

/* Seals the file, loads it, and compares; the sentence must contain `word`. */
static inline void edit_expect(model_fixture *f, iviti_status status, const char *word)
{
    fixture_seal(f->image, f->size);
    const load_result r = edit_load(f->image, f->size, NULL);
    if (r.status != status || (status != IVITI_OK && strstr(r.sentence, word) == NULL))
        print_error("%s: %s (wanted %s: ...%s...)\n", iviti_status_name(r.status), r.sentence,
                    iviti_status_name(status), word);
    assert_int_equal(r.status, status);
    assert_int_equal(r.sentences, status == IVITI_OK ? 0 : 1);
    if (status != IVITI_OK)
        assert_non_null(strstr(r.sentence, word));
    iviti_model_free(r.model);
}

#endif

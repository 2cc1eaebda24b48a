/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening a checkpoint: the file into memory, the container by its first bytes, one reader and no
 * second try, then the order of the names.
 */
#if !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L
#endif
#if !defined(_FILE_OFFSET_BITS)
#define _FILE_OFFSET_BITS 64
#endif

#include "checkpoint/checkpoint.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "checkpoint/bytes.h"
#include "checkpoint/container.h"
#include "common/sha256.h"

typedef struct kind {
    const char *container;
    size_t offset;
    size_t length;
    const char *magic;
    bool (*read)(container *c);
    const char *refusal; /* instead of a reader */
} kind;

static bool starts_like_safetensors(const uint8_t *bytes, size_t size)
{
    return size >= 9 && bytes[8] == '{' && load_u64(bytes) <= CHECKPOINT_MAX_BYTES;
}

static const kind *find_kind(const uint8_t *bytes, size_t size)
{
    static const kind kinds[] = {
        { "zip", 0, 4, "PK\3\4", zip_read, NULL },
        { "zip", 0, 4, "PK\5\6", NULL, "an empty zip file" },
        { "pytorch legacy", 0, LEGACY_MAGIC_BYTES, LEGACY_MAGIC, legacy_read, NULL },
        { "pickle", 0, 1, "\x80", NULL,
          "a bare pickle, not written by torch.save: re-save with "
          "torch.save(model.state_dict(), path)" },
        { "tar", 257, 5, "ustar", NULL,
          "a tar archive: unpack it, or, where torch.save wrote it, re-save with "
          "torch.save(model.state_dict(), path)" },
        { "gzip", 0, 2, "\x1F\x8B", NULL, "compressed with gzip: unpack it first" },
        { "hdf5", 0, 8, "\x89HDF\r\n\x1A\n", NULL,
          "an HDF5 file, which is not read: export the weights as .npz or safetensors" },
        { "npy", 0, 6, "\x93NUMPY", NULL,
          "a single NumPy array; a checkpoint holds many: save it with numpy.savez" },
        { "lfs", 0, 27, "version https://git-lfs.git", NULL,
          "a Git LFS pointer, not the file itself: fetch it with git lfs pull" },
        { "gguf", 0, 4, "GGUF", NULL, "a GGUF model file, not a checkpoint" },
    };
    /* Asked first: its length may begin with any of the other magics' bytes. */
    static const kind safetensors = { "safetensors", 0, 0, "", safetensors_read, NULL };
    if (starts_like_safetensors(bytes, size)) {
        return &safetensors;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const kind *k = &kinds[i];
        if (size >= k->offset + k->length && memcmp(bytes + k->offset, k->magic, k->length) == 0) {
            return k;
        }
    }
    return NULL;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const checkpoint_tensor *)a)->name, ((const checkpoint_tensor *)b)->name);
}

/* DataParallel puts `module.` before every key; a network that has it before some only means it. */
static bool strip_module(container *c)
{
    static const char prefix[] = "module.";
    const size_t length = sizeof prefix - 1;
    checkpoint *result = c->result;
    for (size_t i = 0; i < result->count; i++) {
        if (strncmp(result->tensors[i].name, prefix, length) != 0) {
            return true;
        }
    }
    for (size_t i = 0; i < result->count; i++) {
        result->tensors[i].name += length;
        if (result->tensors[i].name[0] == '\0') {
            return container_refuse(c, "a tensor is named 'module.' and nothing else");
        }
    }
    return true;
}

static bool finish(container *c)
{
    checkpoint *result = c->result;
    if (result->count == 0) {
        return container_refuse(c, "holds no tensor");
    }
    if (!strip_module(c)) {
        return false;
    }
    qsort(result->tensors, result->count, sizeof(checkpoint_tensor), by_name);
    for (size_t i = 1; i < result->count; i++) {
        if (by_name(&result->tensors[i - 1], &result->tensors[i]) == 0) {
            return container_refuse(c, "two tensors are named '%s'", result->tensors[i].name);
        }
    }
    return true;
}

static void set_file_name(checkpoint *c, const char *path)
{
    const char *slash = strrchr(path, '/');
    snprintf(c->file, sizeof c->file, "%s", slash == NULL ? path : slash + 1);
}

static bool read_container(container *c)
{
    const kind *k = find_kind(c->bytes, c->size);
    if (k == NULL) {
        return container_refuse(c,
                                "not a checkpoint: neither safetensors, nor a PyTorch file, nor "
                                "NumPy .npz (%zu bytes)",
                                c->size);
    }
    if (k->refusal != NULL) {
        return container_refuse(c, "%s", k->refusal);
    }
    c->result->container = k->container;
    return k->read(c) && finish(c);
}

bool checkpoint_parse(uint8_t *bytes, size_t size, const char *file, checkpoint **out, report *r)
{
    checkpoint *result = calloc(1, sizeof *result);
    if (result == NULL) {
        free(bytes);
        return report_fail(r, "%s: no memory", file);
    }
    set_file_name(result, file);
    result->source = bytes;
    result->bytes = size;
    /* Views that have to be copied out cost at most as much as the file once more. */
    container c = { .result = result, .bytes = bytes, .size = size, .budget = size, .report = r };
    if (!read_container(&c)) {
        checkpoint_close(result);
        return false;
    }
    sha256_hex(bytes, size, result->sha256);
    *out = result;
    return true;
}

static bool read_all(FILE *stream, const char *path, uint8_t **bytes, size_t *size, report *r)
{
    struct stat status;
    if (fstat(fileno(stream), &status) != 0 || !S_ISREG(status.st_mode)) {
        return report_fail(r, "%s: not a regular file", path);
    }
    const uint64_t length = (uint64_t)status.st_size;
    if (length > CHECKPOINT_MAX_BYTES || length > SIZE_MAX) {
        return report_fail(r, "%s: the file has %llu bytes, the limit is %llu", path,
                           (unsigned long long)length, (unsigned long long)CHECKPOINT_MAX_BYTES);
    }
    *size = (size_t)length;
    *bytes = malloc(*size == 0 ? 1 : *size);
    if (*bytes == NULL) {
        return report_fail(r, "%s: no memory for its %zu bytes", path, *size);
    }
    if (fread(*bytes, 1, *size, stream) != *size || fgetc(stream) != EOF || ferror(stream)) {
        free(*bytes);
        return report_fail(r, "%s: cannot be read, or it changed while being read", path);
    }
    return true;
}

bool checkpoint_open(const char *path, checkpoint **out, report *r)
{
    FILE *stream = fopen(path, "rb");
    if (stream == NULL) {
        return report_fail(r, "%s: %s", path, strerror(errno));
    }
    uint8_t *bytes = NULL;
    size_t size = 0;
    const bool ok = read_all(stream, path, &bytes, &size, r);
    fclose(stream);
    return ok && checkpoint_parse(bytes, size, path, out, r);
}

const checkpoint_tensor *checkpoint_find(const checkpoint *c, const char *name)
{
    if (c->count == 0) {
        return NULL;
    }
    const checkpoint_tensor key = { .name = name };
    return bsearch(&key, c->tensors, c->count, sizeof(checkpoint_tensor), by_name);
}

static float float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float from_half(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    const uint32_t exponent = (half >> 10) & 31;
    const uint32_t fraction = half & 0x3FF;
    if (exponent == 31) {
        return float_of_bits(sign | 0x7F800000 | fraction << 13);
    }
    if (exponent == 0) { /* zero and subnormals: a multiple of 2^-24 */
        const float value = (float)fraction * 0x1p-24f;
        return sign != 0 ? -value : value;
    }
    return float_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

/* C leaves a double above float's range undefined; here it becomes an infinity of its sign. */
static float from_double(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    if (isfinite(value) && fabs(value) >= 0x1.ffffffp127) {
        return value < 0 ? -INFINITY : INFINITY;
    }
    return (float)value;
}

static int64_t from_twos_complement(uint64_t bits, unsigned width)
{
    const uint64_t sign = UINT64_C(1) << (width - 1);
    return (bits & sign) != 0 ? -(int64_t)(~bits & (sign - 1)) - 1 : (int64_t)bits;
}

void checkpoint_to_float(const checkpoint_tensor *t, float *out)
{
    const uint8_t *p = t->data;
    const size_t element = checkpoint_type_bytes(t->type);
    for (uint64_t i = 0; i < t->count; i++, p += element) {
        switch (t->type) {
        case CHECKPOINT_F32:
            out[i] = float_of_bits(load_u32(p));
            break;
        case CHECKPOINT_F16:
            out[i] = from_half(load_u16(p));
            break;
        case CHECKPOINT_BF16:
            out[i] = float_of_bits((uint32_t)load_u16(p) << 16);
            break;
        case CHECKPOINT_F64:
            out[i] = from_double(load_u64(p));
            break;
        case CHECKPOINT_I64:
            out[i] = (float)from_twos_complement(load_u64(p), 64);
            break;
        case CHECKPOINT_I32:
            out[i] = (float)from_twos_complement(load_u32(p), 32);
            break;
        case CHECKPOINT_I16:
            out[i] = (float)from_twos_complement(load_u16(p), 16);
            break;
        case CHECKPOINT_I8:
            out[i] = (float)from_twos_complement(*p, 8);
            break;
        case CHECKPOINT_U8:
            out[i] = (float)*p;
            break;
        case CHECKPOINT_BOOL:
            out[i] = *p != 0 ? 1.0F : 0.0F;
            break;
        }
    }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing of model files. The image of the file is put together in memory, where the tensors may
 * come in any order and the gaps are zero by themselves.
 */
#include "common/model_writer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "kernels/ref/ref.h"
#include "model/gguf.h"

struct model_writer {
    iviti_geometry geometry;
    size_t tensors;
    uint64_t *offset; /* (tensors) in the image */
    bool *present;    /* (tensors) */
    uint8_t *image;   /* (size) */
    size_t size;
    size_t used; /* of the header, while it is written */
    uint64_t pairs;
};

/* ---- the header ----------------------------------------------------------------------------- */

/* Bytes to the image; while there is none, they are only counted. */
static void put_bytes(model_writer *w, const void *data, size_t bytes)
{
    if (w->image != NULL && bytes > 0)
        memcpy(w->image + w->used, data, bytes);
    w->used += bytes;
}

static void put_u32(model_writer *w, uint32_t value)
{
    uint8_t bytes[4];
    iviti_put_u32(bytes, value);
    put_bytes(w, bytes, sizeof bytes);
}

static void put_u64(model_writer *w, uint64_t value)
{
    uint8_t bytes[8];
    iviti_put_u64(bytes, value);
    put_bytes(w, bytes, sizeof bytes);
}

static void put_text(model_writer *w, const char *text)
{
    put_u64(w, strlen(text));
    put_bytes(w, text, strlen(text));
}

static void put_key(model_writer *w, const char *key, uint32_t type)
{
    put_text(w, key);
    put_u32(w, type);
    w->pairs++;
}

static void put_number_pair(model_writer *w, const char *key, uint32_t value)
{
    put_key(w, key, IVITI_GGUF_U32);
    put_u32(w, value);
}

static void put_text_pair(model_writer *w, const char *key, const char *text)
{
    if (text == NULL)
        return;
    put_key(w, key, IVITI_GGUF_STRING);
    put_text(w, text);
}

static void put_array_pair(model_writer *w, const char *key, uint32_t type, uint64_t count)
{
    put_key(w, key, IVITI_GGUF_ARRAY);
    put_u32(w, type);
    put_u64(w, count);
}

static void put_float_pair(model_writer *w, const char *key, const float *values)
{
    if (values == NULL)
        return;
    put_array_pair(w, key, IVITI_GGUF_F32, 3);
    for (int i = 0; i < 3; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        put_u32(w, bits);
    }
}

/* Only where a layer has fewer than 8. */
static void put_weight_bits(model_writer *w)
{
    const uint32_t layers = iviti_weight_layers(&w->geometry);
    bool packed = false;
    for (uint32_t i = 0; i < layers; i++)
        packed |= w->geometry.weight_bits[i] != 0 && w->geometry.weight_bits[i] != 8;
    if (!packed)
        return;
    put_array_pair(w, "iviti.weights.bits", IVITI_GGUF_U32, layers);
    for (uint32_t i = 0; i < layers; i++)
        put_u32(w, w->geometry.weight_bits[i] == 0 ? 8 : w->geometry.weight_bits[i]);
}

static void put_codebooks(model_writer *w)
{
    const uint32_t layers = iviti_weight_layers(&w->geometry);
    if (!w->geometry.codebooks)
        return;
    put_array_pair(w, "iviti.weights.codebooks", IVITI_GGUF_I8, (uint64_t)IVITI_CODEBOOK * layers);
    put_bytes(w, w->geometry.codebook, (size_t)IVITI_CODEBOOK * layers);
}

static void put_activation_bits(model_writer *w)
{
    const uint32_t count = iviti_activations(&w->geometry);
    bool fewer = false;
    for (uint32_t i = 0; i < count; i++)
        fewer |= iviti_activation_bits(&w->geometry, i) != 8;
    if (!fewer)
        return;
    put_array_pair(w, "iviti.activations.bits", IVITI_GGUF_U32, count);
    for (uint32_t i = 0; i < count; i++)
        put_u32(w, (uint32_t)iviti_activation_bits(&w->geometry, i));
}

/* One member of all convolutions. */
static void put_convolutions(model_writer *w, const char *key, size_t member)
{
    const iviti_geometry *const g = &w->geometry;
    put_array_pair(w, key, IVITI_GGUF_U32, g->convolutions);
    for (uint32_t i = 0; i < g->convolutions; i++) {
        uint32_t value;
        memcpy(&value, (const uint8_t *)&g->convolution[i] + member, sizeof value);
        put_u32(w, value);
    }
}

static void put_stem(model_writer *w)
{
    if (w->geometry.convolutions == 0)
        return;
    put_convolutions(w, "iviti.stem.kernel", offsetof(iviti_convolution, kernel));
    put_convolutions(w, "iviti.stem.stride", offsetof(iviti_convolution, stride));
    put_convolutions(w, "iviti.stem.padding", offsetof(iviti_convolution, padding));
    put_convolutions(w, "iviti.stem.channels", offsetof(iviti_convolution, channels));
    put_array_pair(w, "iviti.stem.pixel", IVITI_GGUF_U32, 3);
    for (int i = 0; i < 3; i++)
        put_u32(w, w->geometry.pixel_padding[i]);
}

static void put_numbers_pair(model_writer *w, const char *key, const uint32_t *values, uint64_t count)
{
    put_array_pair(w, key, IVITI_GGUF_U32, count);
    for (uint64_t i = 0; i < count; i++)
        put_u32(w, values[i]);
}

/* Only where tokens are pruned. */
static void put_pruning(model_writer *w)
{
    static const char *const kinds[] = { [IVITI_PRUNE_PREDICTOR] = "predictor",
                                         [IVITI_PRUNE_CLS] = "cls",
                                         [IVITI_PRUNE_MERGE] = "merge" };
    const iviti_prune *const p = &w->geometry.prune;
    if (p->kind == IVITI_PRUNE_NONE)
        return;
    put_text_pair(w, "iviti.prune.kind", kinds[p->kind]);
    put_numbers_pair(w, "iviti.prune.at", p->at, p->stages);
    put_numbers_pair(w, "iviti.prune.kept", p->kept, p->stages);
    if (p->fuse != IVITI_FUSE_NONE)
        put_text_pair(w, "iviti.prune.fuse", p->fuse == IVITI_FUSE_MEAN ? "mean" : "sum");
}

static void put_geometry(model_writer *w, const model_metadata *m)
{
    const iviti_geometry *const g = &w->geometry;
    const bool crop = g->preprocess.fit == IVITI_FIT_CROP;
    put_text_pair(w, "iviti.family", g->family == IVITI_VIT ? "vit" : "swin");
    put_number_pair(w, "iviti.image.width", g->image_width);
    put_number_pair(w, "iviti.image.height", g->image_height);
    put_text_pair(w, "iviti.image.fit", crop ? "crop" : "squash");
    if (crop)
        put_number_pair(w, "iviti.image.resize", g->preprocess.resize);
    put_text_pair(w, "iviti.image.interpolation",
                  g->preprocess.interpolation == IVITI_BICUBIC ? "bicubic" : "bilinear");
    put_float_pair(w, "iviti.image.mean", m->mean);
    put_float_pair(w, "iviti.image.std", m->std);
    put_number_pair(w, "iviti.patch", g->patch);
    put_number_pair(w, "iviti.prefix_tokens", g->prefix_tokens);
    put_stem(w);

    put_array_pair(w, "iviti.stage.depth", IVITI_GGUF_U32, g->stages);
    for (uint32_t i = 0; i < g->stages; i++)
        put_u32(w, g->stage[i].depth);
    put_array_pair(w, "iviti.stage.dim", IVITI_GGUF_U32, g->stages);
    for (uint32_t i = 0; i < g->stages; i++)
        put_u32(w, g->stage[i].dim);
    put_array_pair(w, "iviti.stage.heads", IVITI_GGUF_U32, g->stages);
    for (uint32_t i = 0; i < g->stages; i++)
        put_u32(w, g->stage[i].heads);
    put_array_pair(w, "iviti.stage.hidden", IVITI_GGUF_U32, g->stages);
    for (uint32_t i = 0; i < g->stages; i++)
        put_u32(w, g->stage[i].hidden);

    if (g->family == IVITI_SWIN)
        put_number_pair(w, "iviti.window", g->stage[0].window);
    if (g->family == IVITI_SWIN)
        put_text_pair(w, "iviti.operators.entry", g->narrow_entry ? "s8" : "s16");
    put_number_pair(w, "iviti.classes", g->classes);
    put_text_pair(w, "iviti.operators.pixels", g->pixel_table ? "table" : "raw");
    put_text_pair(w, "iviti.operators.norm", iviti_norm_name(g->norm_kind));
    put_text_pair(w, "iviti.operators.softmax", iviti_softmax_name(g->softmax_kind));
    put_text_pair(w, "iviti.operators.gelu", iviti_gelu_name(g->gelu_kind));
    if (g->token_head)
        put_text_pair(w, "iviti.operators.head", "class+patches");
    put_weight_bits(w);
    put_codebooks(w);
    put_activation_bits(w);
    put_pruning(w);
    put_number_pair(w, "iviti.logits.multiplier", g->logits_multiplier);
    put_number_pair(w, "iviti.logits.shift", g->logits_shift);
}

static void put_pairs(model_writer *w, const model_metadata *m)
{
    w->pairs = 0;
    put_number_pair(w, IVITI_CHECKSUM_KEY, 0);
    put_text_pair(w, "general.architecture", "iviti");
    put_text_pair(w, "general.name", m->name);
    put_number_pair(w, "general.alignment", IVITI_FILE_ALIGNMENT);
    put_number_pair(w, "iviti.format", IVITI_FILE_FORMAT);
    put_geometry(w, m);
    if (m->labels != NULL) {
        put_array_pair(w, "iviti.labels", IVITI_GGUF_STRING, w->geometry.classes);
        for (uint32_t i = 0; i < w->geometry.classes; i++)
            put_text(w, m->labels[i]);
    }
    put_text_pair(w, "iviti.source.name", m->source_name);
    put_text_pair(w, "iviti.source.sha256", m->source_sha256);
    put_text_pair(w, "iviti.converter", m->converter);
    put_text_pair(w, "iviti.recipe", m->recipe);
    for (size_t i = 0; i < m->note_count; i++) {
        char key[IVITI_MAX_KEY + 1];
        snprintf(key, sizeof key, "iviti.note.%s", m->notes[i].key);
        put_text_pair(w, key, m->notes[i].value);
    }
}

static void put_directory(model_writer *w)
{
    iviti_tensor_spec spec;
    uint64_t end = 0;
    for (size_t i = 0; iviti_schema_tensor(&w->geometry, i, &spec); i++) {
        const uint64_t begin =
            (end + IVITI_FILE_ALIGNMENT - 1) / IVITI_FILE_ALIGNMENT * IVITI_FILE_ALIGNMENT;
        put_text(w, spec.name);
        put_u32(w, spec.rank);
        for (uint32_t d = spec.rank; d > 0; d--)
            put_u64(w, spec.shape[d - 1]);
        put_u32(w, spec.type);
        put_u64(w, begin);
        w->offset[i] = begin;
        end = begin + spec.bytes;
    }
}

/* Everything before the tensor data, into the image or, before there is one, into nothing. */
static void put_header(model_writer *w, const model_metadata *m, uint64_t pairs)
{
    w->used = 0;
    put_bytes(w, "GGUF", 4);
    put_u32(w, IVITI_FILE_VERSION);
    put_u64(w, w->tensors);
    put_u64(w, pairs);
    put_pairs(w, m);
    put_directory(w);
}

/* ---- the writer ----------------------------------------------------------------------------- */

static bool check_notes(const model_metadata *m, report *r)
{
    for (size_t i = 0; i < m->note_count; i++)
        if (strlen(m->notes[i].key) + strlen("iviti.note.") > IVITI_MAX_KEY)
            return report_fail(r, "model: the key of note '%s' is longer than %d bytes",
                               m->notes[i].key, IVITI_MAX_KEY);
    return true;
}

static bool allocate(model_writer *w, const model_metadata *m, report *r)
{
    uint64_t data_bytes;
    w->tensors = iviti_schema_count(&w->geometry);
    w->offset = calloc(w->tensors, sizeof *w->offset);
    w->present = calloc(w->tensors, sizeof *w->present);
    if (w->offset == NULL || w->present == NULL)
        return report_fail(r, "model: no memory for %zu tensors", w->tensors);
    put_header(w, m, 0);
    if (w->used > IVITI_MAX_HEADER || !iviti_schema_data_bytes(&w->geometry, &data_bytes))
        return report_fail(r, "model: header or tensors are larger than the format allows");
    const uint64_t header =
        (w->used + IVITI_FILE_ALIGNMENT - 1) / IVITI_FILE_ALIGNMENT * IVITI_FILE_ALIGNMENT;
    if (header + data_bytes > IVITI_MAX_FILE)
        return report_fail(r, "model: the file would take %llu bytes; the limit is %llu",
                           (unsigned long long)(header + data_bytes),
                           (unsigned long long)IVITI_MAX_FILE);
    w->size = (size_t)(header + data_bytes);
    w->image = calloc(1, w->size);
    if (w->image == NULL)
        return report_fail(r, "model: no memory for %zu bytes", w->size);
    put_header(w, m, w->pairs);
    for (size_t i = 0; i < w->tensors; i++)
        w->offset[i] += header;
    return true;
}

bool model_writer_open(const iviti_geometry *g, const model_metadata *m, model_writer **out,
                       report *r)
{
    model_writer *const w = calloc(1, sizeof *w);
    if (w == NULL)
        return report_fail(r, "model: no memory");
    w->geometry = *g;
    char text[200];
    iviti_status status;
    bool good = true;
    if (iviti_geometry_check(&w->geometry, &status, text, sizeof text) != NULL ||
        iviti_geometry_check_file(&w->geometry, &status, text, sizeof text) != NULL)
        good = report_fail(r, "model: %s", text);
    if (!good || !check_notes(m, r) || !allocate(w, m, r)) {
        model_writer_close(w);
        return false;
    }
    *out = w;
    return true;
}

size_t model_writer_size(const model_writer *w)
{
    return w->size;
}

bool model_writer_put(model_writer *w, size_t index, const void *values, size_t bytes, report *r)
{
    iviti_tensor_spec spec;
    if (!iviti_schema_tensor(&w->geometry, index, &spec))
        return report_fail(r, "model: there is no tensor %zu; there are %zu", index, w->tensors);
    if (bytes != spec.bytes)
        return report_fail(r, "model: %s has %zu bytes; it must have %llu", spec.name, bytes,
                           (unsigned long long)spec.bytes);
    if (w->present[index])
        return report_fail(r, "model: %s is given twice", spec.name);
    w->present[index] = true;

    uint8_t *const to = w->image + w->offset[index];
    if (spec.type == IVITI_TYPE_I8) {
        memcpy(to, values, bytes);
    } else if (spec.type == IVITI_TYPE_I16) {
        const int16_t *const from = values;
        for (size_t i = 0; i < spec.count; i++) {
            to[2 * i] = (uint8_t)((uint16_t)from[i] & 0xFF);
            to[2 * i + 1] = (uint8_t)((uint16_t)from[i] >> 8);
        }
    } else {
        const int32_t *const from = values;
        for (size_t i = 0; i < spec.count; i++)
            iviti_put_u32(to + 4 * i, (uint32_t)from[i]);
    }
    return true;
}

bool model_writer_finish(model_writer *w, const uint8_t **image, size_t *size, report *r)
{
    for (size_t i = 0; i < w->tensors; i++)
        if (!w->present[i]) {
            iviti_tensor_spec spec;
            iviti_schema_tensor(&w->geometry, i, &spec);
            return report_fail(r, "model: %s is missing", spec.name);
        }
    iviti_put_u32(w->image + IVITI_CHECKSUM_OFFSET, 0);
    iviti_put_u32(w->image + IVITI_CHECKSUM_OFFSET, iviti_crc32c_ref(0, w->image, w->size));
    *image = w->image;
    *size = w->size;
    return true;
}

/* ---- the file ------------------------------------------------------------------------------- */

static void keep_sentence(void *user, iviti_status status, const char *message)
{
    (void)status;
    report_fail(user, "model: %s", message);
}

/* What the library would refuse must not become a file. */
static bool check_image(const uint8_t *image, size_t size, report *r)
{
    report sentence = { "" };
    const iviti_load_options options = { .log = { keep_sentence, &sentence } };
    iviti_model *model;
    if (iviti_model_load_memory(image, size, &options, &model) != IVITI_OK)
        return report_fail(r, "%s", sentence.text);
    iviti_model_free(model);
    return true;
}

static bool write_file(const char *path, const uint8_t *image, size_t size, report *r)
{
    FILE *const file = fopen(path, "wb");
    if (file == NULL)
        return report_fail(r, "%s: cannot be created: %s", path, strerror(errno));
    errno = 0;
    const bool written = fwrite(image, 1, size, file) == size;
    if ((fclose(file) != 0) | !written) {
        const int error = errno;
        remove(path);
        return report_fail(r, "%s: cannot be written: %s", path, strerror(error));
    }
    return true;
}

bool model_writer_save(model_writer *w, const char *path, report *r)
{
    static const char suffix[] = ".partial";
    const uint8_t *image;
    size_t size;
    if (!model_writer_finish(w, &image, &size, r) || !check_image(image, size, r))
        return false;

    const size_t length = strlen(path);
    char *const partial = malloc(length + sizeof suffix);
    if (partial == NULL)
        return report_fail(r, "%s: no memory", path);
    memcpy(partial, path, length);
    memcpy(partial + length, suffix, sizeof suffix);
    bool good = write_file(partial, image, size, r);
    if (good && rename(partial, path) != 0) {
        good = report_fail(r, "%s: cannot be renamed from %s: %s", path, partial, strerror(errno));
        remove(partial);
    }
    free(partial);
    return good;
}

void model_writer_close(model_writer *w)
{
    if (w == NULL)
        return;
    free(w->offset);
    free(w->present);
    free(w->image);
    free(w);
}

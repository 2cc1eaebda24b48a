/* SPDX-License-Identifier: Apache-2.0
 *
 * What the metadata pairs mean, and the tensor directory that must follow from them.
 */
#include "model/metadata.h"

#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/log.h"

#define SHOWN      60                  /* characters of a string that are quoted */
#define MOST_KINDS IVITI_SOFTMAX_KINDS /* of an operator */

typedef enum key {
    KEY_CHECKSUM,
    KEY_ARCHITECTURE,
    KEY_ALIGNMENT,
    KEY_FORMAT,
    KEY_FAMILY,
    KEY_IMAGE_WIDTH,
    KEY_IMAGE_HEIGHT,
    KEY_IMAGE_FIT,
    KEY_IMAGE_RESIZE,
    KEY_IMAGE_INTERPOLATION,
    KEY_IMAGE_MEAN,
    KEY_IMAGE_STD,
    KEY_PATCH,
    KEY_PREFIX_TOKENS,
    KEY_STEM_KERNEL,
    KEY_STEM_STRIDE,
    KEY_STEM_PADDING,
    KEY_STEM_CHANNELS,
    KEY_STEM_PIXEL,
    KEY_STAGE_DEPTH,
    KEY_STAGE_DIM,
    KEY_STAGE_HEADS,
    KEY_STAGE_HIDDEN,
    KEY_WINDOW,
    KEY_CLASSES,
    KEY_PIXELS,
    KEY_ENTRY,
    KEY_NORM,
    KEY_SOFTMAX,
    KEY_GELU,
    KEY_HEAD,
    KEY_WEIGHT_BITS,
    KEY_CODEBOOKS,
    KEY_ACTIVATION_BITS,
    KEY_PRUNE_KIND,
    KEY_PRUNE_AT,
    KEY_PRUNE_KEPT,
    KEY_PRUNE_FUSE,
    KEY_LOGITS_MULTIPLIER,
    KEY_LOGITS_SHIFT,
    KEY_LABELS,
    KEY_SOURCE_NAME,
    KEY_SOURCE_SHA256,
    KEY_CONVERTER,
    KEY_RECIPE,
    KEYS
} key;

enum { OPTIONAL, REQUIRED, WITH_CROP, WITH_SWIN, WITH_PRUNING };

static const struct {
    const char *name;
    uint32_t type;
    bool array;
    int need;
} keys_known[KEYS] = {
    [KEY_CHECKSUM] = { IVITI_CHECKSUM_KEY, IVITI_GGUF_U32, false, REQUIRED },
    [KEY_ARCHITECTURE] = { "general.architecture", IVITI_GGUF_STRING, false, REQUIRED },
    [KEY_ALIGNMENT] = { "general.alignment", IVITI_GGUF_U32, false, REQUIRED },
    [KEY_FORMAT] = { "iviti.format", IVITI_GGUF_U32, false, REQUIRED },
    [KEY_FAMILY] = { "iviti.family", IVITI_GGUF_STRING, false, REQUIRED },
    [KEY_IMAGE_WIDTH] = { "iviti.image.width", IVITI_GGUF_U32, false, REQUIRED },
    [KEY_IMAGE_HEIGHT] = { "iviti.image.height", IVITI_GGUF_U32, false, REQUIRED },
    [KEY_IMAGE_FIT] = { "iviti.image.fit", IVITI_GGUF_STRING, false, REQUIRED },
    [KEY_IMAGE_RESIZE] = { "iviti.image.resize", IVITI_GGUF_U32, false, WITH_CROP },
    [KEY_IMAGE_INTERPOLATION] = { "iviti.image.interpolation", IVITI_GGUF_STRING, false, REQUIRED },
    [KEY_IMAGE_MEAN] = { "iviti.image.mean", IVITI_GGUF_F32, true, OPTIONAL },
    [KEY_IMAGE_STD] = { "iviti.image.std", IVITI_GGUF_F32, true, OPTIONAL },
    [KEY_PATCH] = { "iviti.patch", IVITI_GGUF_U32, false, REQUIRED },
    [KEY_PREFIX_TOKENS] = { "iviti.prefix_tokens", IVITI_GGUF_U32, false, REQUIRED },
    [KEY_STEM_KERNEL] = { "iviti.stem.kernel", IVITI_GGUF_U32, true, OPTIONAL },
    [KEY_STEM_STRIDE] = { "iviti.stem.stride", IVITI_GGUF_U32, true, OPTIONAL },
    [KEY_STEM_PADDING] = { "iviti.stem.padding", IVITI_GGUF_U32, true, OPTIONAL },
    [KEY_STEM_CHANNELS] = { "iviti.stem.channels", IVITI_GGUF_U32, true, OPTIONAL },
    [KEY_STEM_PIXEL] = { "iviti.stem.pixel", IVITI_GGUF_U32, true, OPTIONAL },
    [KEY_STAGE_DEPTH] = { "iviti.stage.depth", IVITI_GGUF_U32, true, REQUIRED },
    [KEY_STAGE_DIM] = { "iviti.stage.dim", IVITI_GGUF_U32, true, REQUIRED },
    [KEY_STAGE_HEADS] = { "iviti.stage.heads", IVITI_GGUF_U32, true, REQUIRED },
    [KEY_STAGE_HIDDEN] = { "iviti.stage.hidden", IVITI_GGUF_U32, true, REQUIRED },
    [KEY_WINDOW] = { "iviti.window", IVITI_GGUF_U32, false, WITH_SWIN },
    [KEY_CLASSES] = { "iviti.classes", IVITI_GGUF_U32, false, REQUIRED },
    [KEY_PIXELS] = { "iviti.operators.pixels", IVITI_GGUF_STRING, false, REQUIRED },
    [KEY_ENTRY] = { "iviti.operators.entry", IVITI_GGUF_STRING, false, WITH_SWIN },
    [KEY_NORM] = { "iviti.operators.norm", IVITI_GGUF_STRING, false, REQUIRED },
    [KEY_SOFTMAX] = { "iviti.operators.softmax", IVITI_GGUF_STRING, false, REQUIRED },
    [KEY_GELU] = { "iviti.operators.gelu", IVITI_GGUF_STRING, false, REQUIRED },
    [KEY_HEAD] = { "iviti.operators.head", IVITI_GGUF_STRING, false, OPTIONAL },
    [KEY_WEIGHT_BITS] = { "iviti.weights.bits", IVITI_GGUF_U32, true, OPTIONAL },
    [KEY_CODEBOOKS] = { "iviti.weights.codebooks", IVITI_GGUF_I8, true, OPTIONAL },
    [KEY_ACTIVATION_BITS] = { "iviti.activations.bits", IVITI_GGUF_U32, true, OPTIONAL },
    [KEY_PRUNE_KIND] = { "iviti.prune.kind", IVITI_GGUF_STRING, false, OPTIONAL },
    [KEY_PRUNE_AT] = { "iviti.prune.at", IVITI_GGUF_U32, true, WITH_PRUNING },
    [KEY_PRUNE_KEPT] = { "iviti.prune.kept", IVITI_GGUF_U32, true, WITH_PRUNING },
    [KEY_PRUNE_FUSE] = { "iviti.prune.fuse", IVITI_GGUF_STRING, false, OPTIONAL },
    [KEY_LOGITS_MULTIPLIER] = { "iviti.logits.multiplier", IVITI_GGUF_U32, false, REQUIRED },
    [KEY_LOGITS_SHIFT] = { "iviti.logits.shift", IVITI_GGUF_U32, false, REQUIRED },
    [KEY_LABELS] = { "iviti.labels", IVITI_GGUF_STRING, true, OPTIONAL },
    [KEY_SOURCE_NAME] = { "iviti.source.name", IVITI_GGUF_STRING, false, OPTIONAL },
    [KEY_SOURCE_SHA256] = { "iviti.source.sha256", IVITI_GGUF_STRING, false, OPTIONAL },
    [KEY_CONVERTER] = { "iviti.converter", IVITI_GGUF_STRING, false, OPTIONAL },
    [KEY_RECIPE] = { "iviti.recipe", IVITI_GGUF_STRING, false, OPTIONAL },
};

/* What has been read so far. */
typedef struct collector {
    iviti_reader *reader;
    iviti_metadata *result;
    bool seen[KEYS];
    uint64_t labels;
    uint64_t weights; /* elements of iviti.weights.bits */
    uint64_t codebooks; /* elements of iviti.weights.codebooks */
    uint64_t activations; /* elements of iviti.activations.bits */
    uint64_t stages[KEYS]; /* elements of the stage arrays, of the stem's and of pruning's */
    uint64_t unknown;      /* offset of the first iviti. key that is none; 0: no such key */
    size_t unknown_bytes;
} collector;

#define FAIL(c, status, ...) iviti_log_fail((c)->reader->log, status, __VA_ARGS__)

static iviti_status choose(const collector *c, const iviti_gguf_pair *pair,
                           const char *const *names, int count, int *chosen)
{
    for (int i = 0; i < count; i++)
        if (strlen(names[i]) == pair->bytes && memcmp(names[i], pair->data, pair->bytes) == 0) {
            *chosen = i;
            return IVITI_OK;
        }
    return FAIL(c, IVITI_ERROR_UNSUPPORTED, "%.*s is '%.*s', which this library does not know",
                (int)pair->key_bytes, pair->key, (int)(pair->bytes < SHOWN ? pair->bytes : SHOWN),
                (const char *)pair->data);
}

/* One of the kinds of an operator, which the geometry names. */
static iviti_status choose_kind(const collector *c, key id, const iviti_gguf_pair *pair,
                                int *chosen)
{
    const char *names[MOST_KINDS];
    int count = 0;
    for (const char *name;; names[count++] = name) {
        name = id == KEY_NORM      ? iviti_norm_name((iviti_norm_kind)count)
               : id == KEY_SOFTMAX ? iviti_softmax_name((iviti_softmax_kind)count)
                                   : iviti_gelu_name((iviti_gelu_kind)count);
        if (name == NULL)
            return choose(c, pair, names, count, chosen);
    }
}

static iviti_status store_choice(collector *c, key id, const iviti_gguf_pair *pair)
{
    static const char *const families[] = { [IVITI_VIT] = "vit", [IVITI_SWIN] = "swin" };
    static const char *const fits[] = { [IVITI_FIT_CROP] = "crop", [IVITI_FIT_SQUASH] = "squash" };
    static const char *const filters[] = {
        [IVITI_BILINEAR] = "bilinear", [IVITI_BICUBIC] = "bicubic"
    };
    static const char *const pixels[] = { "raw", "table" };
    static const char *const entries[] = { "s16", "s8" };
    static const char *const heads[] = { "class", "class+patches" };
    static const char *const prunes[] = { "predictor", "cls", "merge" };
    static const char *const fuses[] = { "mean", "sum" };
    iviti_geometry *const g = &c->result->geometry;
    int chosen = 0;
    iviti_status status;
    switch (id) {
    case KEY_PRUNE_KIND:
        status = choose(c, pair, prunes, 3, &chosen);
        g->prune.kind = (iviti_prune_kind)(chosen + 1);
        return status;
    case KEY_PRUNE_FUSE:
        status = choose(c, pair, fuses, 2, &chosen);
        g->prune.fuse = (iviti_fuse)(chosen + 1);
        return status;
    case KEY_FAMILY:
        status = choose(c, pair, families, 2, &chosen);
        g->family = (iviti_family)chosen;
        return status;
    case KEY_IMAGE_FIT:
        status = choose(c, pair, fits, 2, &chosen);
        g->preprocess.fit = (iviti_fit)chosen;
        return status;
    case KEY_IMAGE_INTERPOLATION:
        status = choose(c, pair, filters, 2, &chosen);
        g->preprocess.interpolation = (iviti_interpolation)chosen;
        return status;
    case KEY_PIXELS:
        status = choose(c, pair, pixels, 2, &chosen);
        g->pixel_table = chosen == 1;
        return status;
    case KEY_ENTRY:
        status = choose(c, pair, entries, 2, &chosen);
        g->narrow_entry = chosen == 1;
        return status;
    case KEY_NORM:
        status = choose_kind(c, id, pair, &chosen);
        g->norm_kind = (iviti_norm_kind)chosen;
        return status;
    case KEY_SOFTMAX:
        status = choose_kind(c, id, pair, &chosen);
        g->softmax_kind = (iviti_softmax_kind)chosen;
        return status;
    case KEY_HEAD:
        status = choose(c, pair, heads, 2, &chosen);
        g->token_head = chosen == 1;
        return status;
    default:
        status = choose_kind(c, id, pair, &chosen);
        g->gelu_kind = (iviti_gelu_kind)chosen;
        return status;
    }
}

static iviti_status store_stages(collector *c, key id, const iviti_gguf_pair *pair)
{
    if (pair->count == 0 || pair->count > IVITI_MAX_STAGES)
        return FAIL(c, pair->count == 0 ? IVITI_ERROR_CORRUPT : IVITI_ERROR_LIMIT,
                    "%s has %" PRIu64 " elements; it must have 1 to %d", keys_known[id].name,
                    pair->count, IVITI_MAX_STAGES);
    c->stages[id] = pair->count;
    for (uint32_t i = 0; i < pair->count; i++) {
        iviti_stage *const stage = &c->result->geometry.stage[i];
        const uint32_t value = iviti_get_u32(pair->data + 4 * (size_t)i);
        if (id == KEY_STAGE_DEPTH)
            stage->depth = value;
        else if (id == KEY_STAGE_DIM)
            stage->dim = value;
        else if (id == KEY_STAGE_HEADS)
            stage->heads = value;
        else
            stage->hidden = value;
    }
    return IVITI_OK;
}

static iviti_status store_stem(collector *c, key id, const iviti_gguf_pair *pair)
{
    iviti_geometry *const g = &c->result->geometry;
    const uint64_t most = id == KEY_STEM_PIXEL ? 3 : IVITI_MAX_CONVOLUTIONS;
    if (pair->count == 0 || (id == KEY_STEM_PIXEL && pair->count < most))
        return FAIL(c, IVITI_ERROR_CORRUPT, "%s has %" PRIu64 " elements; it must have %s%" PRIu64,
                    keys_known[id].name, pair->count, id == KEY_STEM_PIXEL ? "" : "1 to ", most);
    if (pair->count > most)
        return FAIL(c, IVITI_ERROR_LIMIT, "%s has %" PRIu64 " elements; the limit is %" PRIu64,
                    keys_known[id].name, pair->count, most);
    c->stages[id] = pair->count;
    for (uint32_t i = 0; i < pair->count; i++) {
        iviti_convolution *const convolution = &g->convolution[i];
        const uint32_t value = iviti_get_u32(pair->data + 4 * (size_t)i);
        if (id == KEY_STEM_KERNEL)
            convolution->kernel = value;
        else if (id == KEY_STEM_STRIDE)
            convolution->stride = value;
        else if (id == KEY_STEM_PADDING)
            convolution->padding = value;
        else if (id == KEY_STEM_CHANNELS)
            convolution->channels = value;
        else
            g->pixel_padding[i] = value;
    }
    return IVITI_OK;
}

static iviti_status store_weight_bits(collector *c, const iviti_gguf_pair *pair)
{
    if (pair->count > IVITI_MAX_WEIGHTS)
        return FAIL(c, IVITI_ERROR_LIMIT,
                    "iviti.weights.bits has %" PRIu64 " elements; the limit is %d", pair->count,
                    IVITI_MAX_WEIGHTS);
    c->weights = pair->count;
    for (size_t i = 0; i < pair->count; i++) {
        const uint32_t bits = iviti_get_u32(pair->data + 4 * i);
        if (bits != 3 && bits != 4 && bits != 6 && bits != 8)
            return FAIL(c, IVITI_ERROR_UNSUPPORTED,
                        "iviti.weights.bits[%zu] is %" PRIu32 "; it must be 3, 4, 6 or 8", i, bits);
        c->result->geometry.weight_bits[i] = (uint8_t)bits;
    }
    return IVITI_OK;
}

static iviti_status store_codebooks(collector *c, const iviti_gguf_pair *pair)
{
    iviti_geometry *const g = &c->result->geometry;
    if (pair->count > IVITI_CODEBOOK * IVITI_MAX_WEIGHTS)
        return FAIL(c, IVITI_ERROR_LIMIT,
                    "iviti.weights.codebooks has %" PRIu64 " elements; the limit is %d", pair->count,
                    IVITI_CODEBOOK * IVITI_MAX_WEIGHTS);
    c->codebooks = pair->count;
    g->codebooks = true;
    memcpy(g->codebook, pair->data, (size_t)pair->count);
    return IVITI_OK;
}

static iviti_status store_activation_bits(collector *c, const iviti_gguf_pair *pair)
{
    if (pair->count > IVITI_MAX_ACTIVATIONS)
        return FAIL(c, IVITI_ERROR_LIMIT,
                    "iviti.activations.bits has %" PRIu64 " elements; the limit is %d", pair->count,
                    IVITI_MAX_ACTIVATIONS);
    c->activations = pair->count;
    for (size_t i = 0; i < pair->count; i++) {
        const uint32_t bits = iviti_get_u32(pair->data + 4 * i);
        if (!iviti_activation_known(bits))
            return FAIL(c, IVITI_ERROR_UNSUPPORTED,
                        "iviti.activations.bits[%zu] is %" PRIu32 "; it must be 2 to 8, or %d", i,
                        bits, IVITI_WIDE_BITS);
        c->result->geometry.activation_bits[i] = (uint8_t)bits;
    }
    return IVITI_OK;
}

static iviti_status store_pruning(collector *c, key id, const iviti_gguf_pair *pair)
{
    iviti_prune *const p = &c->result->geometry.prune;
    uint32_t *const to = id == KEY_PRUNE_AT ? p->at : p->kept;
    if (pair->count == 0 || pair->count > IVITI_MAX_BLOCKS)
        return FAIL(c, pair->count == 0 ? IVITI_ERROR_CORRUPT : IVITI_ERROR_LIMIT,
                    "%s has %" PRIu64 " elements; it must have 1 to %d", keys_known[id].name,
                    pair->count, IVITI_MAX_BLOCKS);
    c->stages[id] = pair->count;
    for (size_t i = 0; i < pair->count; i++)
        to[i] = iviti_get_u32(pair->data + 4 * i);
    return IVITI_OK;
}

static iviti_status store_labels(collector *c, const iviti_gguf_pair *pair)
{
    const uint8_t *at = pair->data;
    c->labels = pair->count;
    c->result->labels_offset = pair->data_offset;
    c->result->labels_bytes = 0;
    for (uint64_t i = 0; i < pair->count; i++) {
        size_t bytes;
        iviti_gguf_next_string(&at, &bytes);
        if (bytes > IVITI_MAX_LABEL)
            return FAIL(c, IVITI_ERROR_LIMIT,
                        "iviti.labels[%" PRIu64 "] has %zu bytes; the limit is %d", i, bytes,
                        IVITI_MAX_LABEL);
        c->result->labels_bytes += bytes + 1;
    }
    return IVITI_OK;
}

static iviti_status check_architecture(const collector *c, const iviti_gguf_pair *pair)
{
    if (pair->bytes == 5 && memcmp(pair->data, "iviti", 5) == 0)
        return IVITI_OK;
    return FAIL(c, IVITI_ERROR_ARCHITECTURE,
                "general.architecture is '%.*s'; this library reads models of 'iviti'",
                (int)(pair->bytes < SHOWN ? pair->bytes : SHOWN), (const char *)pair->data);
}

/* Three finite floats, told by their bits. They are notes for people. */
static iviti_status check_floats(const collector *c, key id, const iviti_gguf_pair *pair)
{
    if (pair->count != 3)
        return FAIL(c, IVITI_ERROR_CORRUPT, "%s has %" PRIu64 " elements; it must have 3",
                    keys_known[id].name, pair->count);
    for (size_t i = 0; i < 3; i++)
        if ((iviti_get_u32(pair->data + 4 * i) >> 23 & 0xFF) == 0xFF)
            return FAIL(c, IVITI_ERROR_CORRUPT, "%s[%zu] is not a finite number",
                        keys_known[id].name, i);
    return IVITI_OK;
}

static iviti_status check_provenance(const collector *c, key id, const iviti_gguf_pair *pair)
{
    for (size_t i = 0; i < pair->bytes; i++) {
        const uint8_t b = pair->data[i];
        if (id == KEY_SOURCE_NAME && (b == '/' || b == '\\'))
            return FAIL(c, IVITI_ERROR_CORRUPT,
                        "iviti.source.name contains a folder; it must be a file name alone");
        if (id == KEY_SOURCE_SHA256 &&
            !((b >= '0' && b <= '9') || (b >= 'a' && b <= 'f') || (b >= 'A' && b <= 'F')))
            return FAIL(c, IVITI_ERROR_CORRUPT,
                        "iviti.source.sha256 has a byte 0x%02x; it must be hexadecimal", b);
    }
    if (id == KEY_SOURCE_SHA256 && pair->bytes != 64)
        return FAIL(c, IVITI_ERROR_CORRUPT, "iviti.source.sha256 has %zu digits; it must have 64",
                    pair->bytes);
    return IVITI_OK;
}

static iviti_status store_number(collector *c, key id, uint32_t value)
{
    iviti_geometry *const g = &c->result->geometry;
    switch (id) {
    case KEY_CHECKSUM:
        c->result->checksum = value;
        break;
    case KEY_ALIGNMENT:
        if (value != IVITI_FILE_ALIGNMENT)
            return FAIL(c, IVITI_ERROR_CORRUPT, "general.alignment is %" PRIu32 "; it must be %d",
                        value, IVITI_FILE_ALIGNMENT);
        break;
    case KEY_FORMAT:
        if (value > IVITI_FILE_FORMAT)
            return FAIL(c, IVITI_ERROR_VERSION,
                        "iviti.format is %" PRIu32 "; this library reads up to %d", value,
                        IVITI_FILE_FORMAT);
        if (value == 0)
            return FAIL(c, IVITI_ERROR_CORRUPT, "iviti.format is 0; the first format is 1");
        break;
    case KEY_IMAGE_WIDTH:
        g->image_width = value;
        break;
    case KEY_IMAGE_HEIGHT:
        g->image_height = value;
        break;
    case KEY_IMAGE_RESIZE:
        g->preprocess.resize = value;
        break;
    case KEY_PATCH:
        g->patch = value;
        break;
    case KEY_PREFIX_TOKENS:
        g->prefix_tokens = value;
        break;
    case KEY_WINDOW:
        g->stage[0].window = value;
        break;
    case KEY_CLASSES:
        g->classes = value;
        break;
    case KEY_LOGITS_MULTIPLIER:
        g->logits_multiplier = value;
        break;
    default:
        g->logits_shift = value;
        break;
    }
    return IVITI_OK;
}

static iviti_status store(collector *c, key id, const iviti_gguf_pair *pair)
{
    if (pair->type != keys_known[id].type || pair->array != keys_known[id].array)
        return FAIL(c, IVITI_ERROR_CORRUPT, "%s has type %s%" PRIu32 "; it must have %s%" PRIu32,
                    keys_known[id].name, pair->array ? "array of " : "", pair->type,
                    keys_known[id].array ? "array of " : "", keys_known[id].type);
    c->seen[id] = true;
    switch (id) {
    case KEY_ARCHITECTURE:
        return check_architecture(c, pair);
    case KEY_STAGE_DEPTH:
    case KEY_STAGE_DIM:
    case KEY_STAGE_HEADS:
    case KEY_STAGE_HIDDEN:
        return store_stages(c, id, pair);
    case KEY_STEM_KERNEL:
    case KEY_STEM_STRIDE:
    case KEY_STEM_PADDING:
    case KEY_STEM_CHANNELS:
    case KEY_STEM_PIXEL:
        return store_stem(c, id, pair);
    case KEY_LABELS:
        return store_labels(c, pair);
    case KEY_WEIGHT_BITS:
        return store_weight_bits(c, pair);
    case KEY_CODEBOOKS:
        return store_codebooks(c, pair);
    case KEY_ACTIVATION_BITS:
        return store_activation_bits(c, pair);
    case KEY_PRUNE_AT:
    case KEY_PRUNE_KEPT:
        return store_pruning(c, id, pair);
    case KEY_IMAGE_MEAN:
    case KEY_IMAGE_STD:
        return check_floats(c, id, pair);
    case KEY_SOURCE_NAME:
    case KEY_SOURCE_SHA256:
    case KEY_CONVERTER:
    case KEY_RECIPE:
        return check_provenance(c, id, pair);
    default:
        if (pair->type == IVITI_GGUF_STRING)
            return store_choice(c, id, pair);
        return store_number(c, id, iviti_get_u32(pair->data));
    }
}

static bool key_begins(const iviti_gguf_pair *pair, const char *prefix)
{
    const size_t bytes = strlen(prefix);
    return pair->key_bytes >= bytes && memcmp(pair->key, prefix, bytes) == 0;
}

/* Puts the key at its place among the sorted ones; CORRUPT if it is there already. A key at an
 * offset is preceded by its length. */
static iviti_status insert_key(const collector *c, uint32_t *keys, size_t count,
                               const iviti_gguf_pair *pair)
{
    size_t low = 0, high = count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const uint8_t *const other = c->reader->data + keys[middle];
        const size_t bytes = (size_t)iviti_get_u64(other - 8);
        const int order =
            memcmp(pair->key, other, bytes < pair->key_bytes ? bytes : pair->key_bytes);
        if (order == 0 && bytes == pair->key_bytes)
            return FAIL(c, IVITI_ERROR_CORRUPT, "%.*s occurs twice", (int)pair->key_bytes,
                        pair->key);
        if (order < 0 || (order == 0 && pair->key_bytes < bytes))
            high = middle;
        else
            low = middle + 1;
    }
    memmove(keys + low + 1, keys + low, (count - low) * sizeof *keys);
    keys[low] = (uint32_t)pair->key_offset;
    return IVITI_OK;
}

static iviti_status collect(collector *c, uint32_t *keys, uint64_t pairs)
{
    bool checksum_first = false;
    for (uint64_t i = 0; i < pairs; i++) {
        iviti_gguf_pair pair;
        iviti_status status = iviti_gguf_next_pair(c->reader, &pair);
        if (status != IVITI_OK || (status = insert_key(c, keys, (size_t)i, &pair)) != IVITI_OK)
            return status;
        int id = 0;
        while (id < KEYS && !iviti_gguf_key_is(&pair, keys_known[id].name))
            id++;
        if (i == 0)
            checksum_first = id == KEY_CHECKSUM;
        if (id < KEYS) {
            if ((status = store(c, (key)id, &pair)) != IVITI_OK)
                return status;
        } else if (c->unknown == 0 && key_begins(&pair, "iviti.") &&
                   !key_begins(&pair, "iviti.note.")) {
            c->unknown = pair.key_offset;
            c->unknown_bytes = pair.key_bytes;
        }
    }
    if (!checksum_first)
        return FAIL(c, IVITI_ERROR_CORRUPT, "the first metadata pair is not " IVITI_CHECKSUM_KEY);
    if (c->unknown != 0)
        return FAIL(c, IVITI_ERROR_UNSUPPORTED, "%.*s is a key that this library does not know",
                    (int)c->unknown_bytes, (const char *)c->reader->data + c->unknown);
    return IVITI_OK;
}

/* All of the stem's keys or none, and as many elements in each. */
static iviti_status check_stem(const collector *c)
{
    const int first = KEY_STEM_KERNEL, last = KEY_STEM_PIXEL;
    int seen = 0;
    for (int id = first; id <= last; id++)
        seen += c->seen[id];
    for (int id = first; id <= last && seen > 0; id++) {
        if (!c->seen[id])
            return FAIL(c, IVITI_ERROR_CORRUPT, "%s is missing beside other keys of a stem",
                        keys_known[id].name);
        if (id != KEY_STEM_PIXEL && c->stages[id] != c->stages[KEY_STEM_KERNEL])
            return FAIL(c, IVITI_ERROR_CORRUPT,
                        "%s has %" PRIu64 " elements but iviti.stem.kernel %" PRIu64,
                        keys_known[id].name, c->stages[id], c->stages[KEY_STEM_KERNEL]);
    }
    return IVITI_OK;
}

static iviti_status check_presence(const collector *c)
{
    const iviti_geometry *const g = &c->result->geometry;
    const bool crop = g->preprocess.fit == IVITI_FIT_CROP;
    const bool swin = g->family == IVITI_SWIN;
    const bool prunes = c->seen[KEY_PRUNE_KIND];
    for (int id = 0; id < KEYS; id++) {
        const int need = keys_known[id].need;
        const bool wanted = need == REQUIRED || (need == WITH_CROP && crop) ||
                            (need == WITH_SWIN && swin) || (need == WITH_PRUNING && prunes);
        if (wanted && !c->seen[id])
            return FAIL(c, IVITI_ERROR_CORRUPT, "%s is missing", keys_known[id].name);
        if (!wanted && need != OPTIONAL && c->seen[id])
            return FAIL(c, IVITI_ERROR_CORRUPT, "%s has no meaning %s", keys_known[id].name,
                        need == WITH_CROP   ? "with iviti.image.fit 'squash'"
                        : need == WITH_SWIN ? "with iviti.family 'vit'"
                                            : "without iviti.prune.kind");
    }
    if (c->stages[KEY_PRUNE_AT] != c->stages[KEY_PRUNE_KEPT])
        return FAIL(c, IVITI_ERROR_CORRUPT,
                    "iviti.prune.kept has %" PRIu64 " elements but iviti.prune.at %" PRIu64,
                    c->stages[KEY_PRUNE_KEPT], c->stages[KEY_PRUNE_AT]);
    for (int id = KEY_STAGE_DIM; id <= KEY_STAGE_HIDDEN; id++)
        if (c->stages[id] != c->stages[KEY_STAGE_DEPTH])
            return FAIL(c, IVITI_ERROR_CORRUPT,
                        "%s has %" PRIu64 " elements but iviti.stage.depth %" PRIu64,
                        keys_known[id].name, c->stages[id], c->stages[KEY_STAGE_DEPTH]);
    return check_stem(c);
}

static iviti_status read_pairs(iviti_reader *r, uint32_t *keys, iviti_metadata *m)
{
    iviti_gguf_counts counts;
    iviti_status status = iviti_gguf_begin(r, &counts);
    if (status != IVITI_OK)
        return status;
    collector c = { .reader = r, .result = m };
    if ((status = collect(&c, keys, counts.pairs)) != IVITI_OK ||
        (status = check_presence(&c)) != IVITI_OK)
        return status;
    m->tensors = counts.tensors;

    iviti_geometry *const g = &m->geometry;
    g->stages = (uint32_t)c.stages[KEY_STAGE_DEPTH];
    g->convolutions = (uint32_t)c.stages[KEY_STEM_KERNEL];
    g->prune.stages = (uint32_t)c.stages[KEY_PRUNE_AT];
    char text[200];
    if (iviti_geometry_check(g, &status, text, sizeof text) != NULL ||
        iviti_geometry_check_file(g, &status, text, sizeof text) != NULL)
        return iviti_log_fail(r->log, status, "%s", text);
    if (c.seen[KEY_LABELS] && c.labels != g->classes)
        return iviti_log_fail(r->log, IVITI_ERROR_CORRUPT,
                              "iviti.labels has %" PRIu64 " names; iviti.classes is %" PRIu32,
                              c.labels, g->classes);
    if (c.seen[KEY_WEIGHT_BITS] && c.weights != iviti_weight_layers(g))
        return iviti_log_fail(r->log, IVITI_ERROR_CORRUPT,
                              "iviti.weights.bits has %" PRIu64
                              " elements; the network has %" PRIu32 " layers in blocks and merges",
                              c.weights, iviti_weight_layers(g));
    if (c.seen[KEY_CODEBOOKS] && c.codebooks != IVITI_CODEBOOK * (uint64_t)iviti_weight_layers(g))
        return iviti_log_fail(r->log, IVITI_ERROR_CORRUPT,
                              "iviti.weights.codebooks has %" PRIu64
                              " elements; it must have %d for each of %" PRIu32 " layers",
                              c.codebooks, IVITI_CODEBOOK, iviti_weight_layers(g));
    if (c.seen[KEY_ACTIVATION_BITS] && c.activations != iviti_activations(g))
        return iviti_log_fail(r->log, IVITI_ERROR_CORRUPT,
                              "iviti.activations.bits has %" PRIu64
                              " elements; the network has %" PRIu32
                              " activations in blocks and merges",
                              c.activations, iviti_activations(g));
    return IVITI_OK;
}

/* The entry must be that of the spec, its offset the one that follows from those before. */
static iviti_status check_entry(const iviti_reader *r, const iviti_gguf_tensor *t,
                                const iviti_tensor_spec *spec, uint64_t offset)
{
    if (strlen(spec->name) != t->name_bytes || memcmp(spec->name, t->name, t->name_bytes) != 0)
        return iviti_log_fail(r->log, IVITI_ERROR_CORRUPT,
                              "there is a tensor %.*s in the place of %s", (int)t->name_bytes,
                              t->name, spec->name);
    if (t->type != (uint32_t)spec->type)
        return iviti_log_fail(r->log, IVITI_ERROR_CORRUPT,
                              "tensor %s has type %" PRIu32 "; it must be %d", spec->name, t->type,
                              (int)spec->type);
    if (t->rank != spec->rank)
        return iviti_log_fail(r->log, IVITI_ERROR_CORRUPT,
                              "tensor %s has rank %" PRIu32 "; it must be %" PRIu32, spec->name,
                              t->rank, spec->rank);
    for (uint32_t i = 0; i < spec->rank; i++)
        if (t->dimension[i] != spec->shape[spec->rank - 1 - i])
            return iviti_log_fail(r->log, IVITI_ERROR_CORRUPT,
                                  "dimension %" PRIu32 " of tensor %s is %" PRIu64
                                  "; it must be %" PRIu32,
                                  i, spec->name, t->dimension[i], spec->shape[spec->rank - 1 - i]);
    if (t->offset != offset)
        return iviti_log_fail(r->log, IVITI_ERROR_CORRUPT,
                              "tensor %s begins at %" PRIu64 "; it must begin at %" PRIu64,
                              spec->name, t->offset, offset);
    return IVITI_OK;
}

static iviti_status read_directory(iviti_reader *r, iviti_metadata *m)
{
    const size_t count = iviti_schema_count(&m->geometry);
    uint64_t data_bytes;
    if (r->source->size > IVITI_MAX_FILE)
        return iviti_log_fail(r->log, IVITI_ERROR_LIMIT,
                              "the file has %" PRIu64 " bytes; the limit is %" PRIu64,
                              r->source->size, IVITI_MAX_FILE);
    if (m->tensors != count)
        return iviti_log_fail(r->log, IVITI_ERROR_CORRUPT,
                              "the file has %" PRIu64 " tensors; this network has %zu", m->tensors,
                              count);
    if (!iviti_schema_data_bytes(&m->geometry, &data_bytes))
        return iviti_log_fail(r->log, IVITI_ERROR_LIMIT,
                              "a network of this size does not fit the largest file, %" PRIu64
                              " bytes",
                              IVITI_MAX_FILE);
    uint64_t end = 0;
    for (size_t i = 0; i < count; i++) {
        iviti_tensor_spec spec;
        iviti_gguf_tensor tensor;
        const uint64_t begin =
            (end + IVITI_FILE_ALIGNMENT - 1) / IVITI_FILE_ALIGNMENT * IVITI_FILE_ALIGNMENT;
        iviti_schema_tensor(&m->geometry, i, &spec);
        iviti_status status = iviti_gguf_next_tensor(r, &tensor);
        if (status != IVITI_OK || (status = check_entry(r, &tensor, &spec, begin)) != IVITI_OK)
            return status;
        end = begin + spec.bytes;
    }
    const uint64_t header = iviti_reader_position(r);
    m->data_offset =
        (header + IVITI_FILE_ALIGNMENT - 1) / IVITI_FILE_ALIGNMENT * IVITI_FILE_ALIGNMENT;
    const uint64_t expected = m->data_offset + data_bytes;
    if (r->source->size < expected)
        return iviti_log_fail(r->log, IVITI_ERROR_TRUNCATED,
                              "the file has %" PRIu64 " bytes; its tensors go on to byte %" PRIu64,
                              r->source->size, expected);
    if (r->source->size > expected)
        return iviti_log_fail(r->log, IVITI_ERROR_CORRUPT,
                              "the file has %" PRIu64
                              " bytes; its last tensor ends at byte %" PRIu64,
                              r->source->size, expected);
    return IVITI_OK;
}

iviti_status iviti_metadata_read(iviti_reader *r, uint32_t *keys, iviti_metadata *m)
{
    *m = (iviti_metadata){ 0 };
    const iviti_status status = read_pairs(r, keys, m);
    return status != IVITI_OK ? status : read_directory(r, m);
}

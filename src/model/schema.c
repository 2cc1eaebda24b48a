/* SPDX-License-Identifier: Apache-2.0
 *
 * The ordered list of tensors of a model file. A file is a run of sections: the embedding, the
 * blocks of a stage, a merge, and so on to the head. A section is a run of owners, of which some
 * exist only in some networks; an owner is a run of tensors, given by its kind.
 */
#include "model/schema.h"

#include "base/checked.h"
#include "base/format.h"
#include "model/pack.h"

#define MULTIPLIER_LOW    (1 << 30)
#define MULTIPLIER_HIGH   INT32_MAX
#define NORM_BIAS         ((1 << 30) - 256)
#define POSITION_BIAS     (1 << 24)
#define MAX_ONE_OVER      32768 /* of Shiftmax */
#define MAX_ONE_OVER_GELU 255
#define MAX_I_EXP         (1 << 30) /* constants of i-exp */
#define MAX_I_GELU        (1 << 22) /* constants of i-GELU */
#define MAX_THRESHOLD     (1 << 25) /* of SULQ */
#define MAX_ETA           (1 << 20)

typedef struct owner_entry {
    const char *name; /* after the section's prefix */
    iviti_layer_kind kind;
    int32_t shift_low, shift_high;
} owner_entry;

static const owner_entry owners[IVITI_OWNERS] = {
    [IVITI_STEM] = { "stem", IVITI_DENSE, 32, 62 },
    [IVITI_EMBED_PIXELS] = { "embed.pixels", IVITI_ARRAY, 0, 0 },
    [IVITI_EMBED] = { "embed", IVITI_DENSE, 32, 62 },
    [IVITI_EMBED_POSITION] = { "embed.position", IVITI_ARRAY, 0, 0 },
    [IVITI_EMBED_JOIN] = { "embed.join", IVITI_JOIN, 20, 62 },
    [IVITI_EMBED_NORM] = { "embed.norm", IVITI_NORM, 25, 62 },
    [IVITI_BLOCK_NORM1] = { "norm1", IVITI_NORM, 25, 62 },
    [IVITI_BLOCK_QKV] = { "qkv", IVITI_DENSE, 32, 62 },
    [IVITI_BLOCK_SCORE] = { "attention.score", IVITI_DYADIC, 1, 62 },
    [IVITI_BLOCK_EXP_TABLE] = { "attention.table", IVITI_ARRAY, 0, 0 },
    [IVITI_BLOCK_EXP_SCALE] = { "attention.scale", IVITI_ARRAY, 0, 0 },
    [IVITI_BLOCK_EXPONENTIALS] = { "attention.exponentials", IVITI_ARRAY, 0, 0 },
    [IVITI_BLOCK_EXP_POLYNOMIAL] = { "attention.polynomial", IVITI_ARRAY, 0, 0 },
    [IVITI_BLOCK_THRESHOLDS] = { "attention.thresholds", IVITI_ARRAY, 0, 0 },
    [IVITI_BLOCK_ETA] = { "attention.eta", IVITI_ARRAY, 0, 0 },
    [IVITI_BLOCK_POSITION_BIAS] = { "attention.bias", IVITI_ARRAY, 0, 0 },
    [IVITI_BLOCK_BIAS_SCORE] = { "attention.bias_score", IVITI_DYADIC, 24, 62 },
    [IVITI_BLOCK_OUTPUT] = { "attention.output", IVITI_DYADIC, 25, 62 },
    [IVITI_BLOCK_PROJ] = { "proj", IVITI_DENSE, 32, 62 },
    [IVITI_BLOCK_JOIN1] = { "join1", IVITI_JOIN, 20, 62 },
    [IVITI_BLOCK_NORM2] = { "norm2", IVITI_NORM, 25, 62 },
    [IVITI_BLOCK_FC1] = { "fc1", IVITI_DENSE, 32, 62 },
    [IVITI_BLOCK_GELU_TABLE] = { "gelu.table", IVITI_ARRAY, 0, 0 },
    [IVITI_BLOCK_GELU_SCALE] = { "gelu.scale", IVITI_ARRAY, 0, 0 },
    [IVITI_BLOCK_GELU_POLYNOMIAL] = { "gelu.polynomial", IVITI_ARRAY, 0, 0 },
    [IVITI_BLOCK_GELU_OUTPUT] = { "gelu.output", IVITI_DYADIC, 24, 62 },
    [IVITI_BLOCK_FC2] = { "fc2", IVITI_DENSE, 32, 62 },
    [IVITI_BLOCK_JOIN2] = { "join2", IVITI_JOIN, 20, 62 },
    [IVITI_MERGE_NORM] = { "norm", IVITI_NORM, 25, 62 },
    [IVITI_MERGE_REDUCTION] = { "reduction", IVITI_DENSE, 32, 62 },
    [IVITI_FINAL_NORM] = { "norm", IVITI_NORM, 25, 62 },
    [IVITI_POOL] = { "pool", IVITI_DYADIC, 1, 62 },
    [IVITI_HEAD] = { "head", IVITI_DENSE, 32, 62 },
    [IVITI_PATCHES_NORM] = { "patches.norm", IVITI_NORM, 25, 62 },
    [IVITI_PATCHES_HEAD] = { "patches.head", IVITI_DENSE, 32, 62 },
    [IVITI_PREDICTOR_NORM] = { "norm", IVITI_NORM, 25, 62 },
    [IVITI_PREDICTOR_IN] = { "in", IVITI_DENSE, 32, 62 },
    [IVITI_PREDICTOR_IN_TABLE] = { "in.table", IVITI_ARRAY, 0, 0 },
    [IVITI_PREDICTOR_MEAN] = { "mean", IVITI_DYADIC, 1, 62 },
    [IVITI_PREDICTOR_GLOBAL] = { "global", IVITI_ARRAY, 0, 0 },
    [IVITI_PREDICTOR_LOCAL] = { "local", IVITI_DENSE, 32, 62 },
    [IVITI_PREDICTOR_LOCAL_TABLE] = { "local.table", IVITI_ARRAY, 0, 0 },
    [IVITI_PREDICTOR_OUT] = { "out", IVITI_DENSE, 32, 62 },
    [IVITI_PREDICTOR_OUT_TABLE] = { "out.table", IVITI_ARRAY, 0, 0 },
    [IVITI_PREDICTOR_SCORE] = { "score", IVITI_ARRAY, 0, 0 },
    [IVITI_MERGING_KEY] = { "key", IVITI_DENSE, 32, 62 },
    [IVITI_MERGING_SIZE] = { "merging.size", IVITI_DYADIC, 27, 62 },
};

static const char *const field_names[] = {
    [IVITI_FIELD_WEIGHT] = ".weight",         [IVITI_FIELD_BIAS] = ".bias",
    [IVITI_FIELD_MULTIPLIER] = ".multiplier", [IVITI_FIELD_SHIFT] = ".shift",
    [IVITI_FIELD_EPSILON] = ".epsilon",       [IVITI_FIELD_VALUES] = "",
};

/* Tensors of each kind, in order. */
static const struct {
    uint32_t count;
    iviti_field field[4];
} kinds[] = {
    [IVITI_DENSE] = { 4,
                      { IVITI_FIELD_WEIGHT, IVITI_FIELD_BIAS, IVITI_FIELD_MULTIPLIER,
                        IVITI_FIELD_SHIFT } },
    [IVITI_NORM] = { 4,
                     { IVITI_FIELD_MULTIPLIER, IVITI_FIELD_SHIFT, IVITI_FIELD_BIAS,
                       IVITI_FIELD_EPSILON } },
    [IVITI_JOIN] = { 2, { IVITI_FIELD_MULTIPLIER, IVITI_FIELD_SHIFT } },
    [IVITI_DYADIC] = { 2, { IVITI_FIELD_MULTIPLIER, IVITI_FIELD_SHIFT } },
    [IVITI_ARRAY] = { 1, { IVITI_FIELD_VALUES } },
};

static bool exists(const iviti_geometry *g, iviti_owner owner)
{
    const bool swin = g->family == IVITI_SWIN;
    const iviti_softmax_kind softmax = g->softmax_kind;
    const bool table_softmax = iviti_softmax_has_table(softmax);
    switch (owner) {
    case IVITI_EMBED_PIXELS:
        return g->pixel_table;
    case IVITI_EMBED_POSITION:
    case IVITI_EMBED_JOIN:
        return !swin;
    case IVITI_EMBED_NORM:
    case IVITI_BLOCK_POSITION_BIAS:
    case IVITI_POOL:
        return swin;
    case IVITI_BLOCK_EXP_TABLE:
        return table_softmax;
    case IVITI_BLOCK_EXP_SCALE:
        return softmax == IVITI_SOFTMAX_SHIFT16 || softmax == IVITI_SOFTMAX_SHIFT8;
    case IVITI_BLOCK_EXPONENTIALS:
        return softmax == IVITI_SOFTMAX_Q15;
    case IVITI_BLOCK_EXP_POLYNOMIAL:
        return softmax == IVITI_SOFTMAX_I_EXP || softmax == IVITI_SOFTMAX_LIS;
    case IVITI_BLOCK_THRESHOLDS:
    case IVITI_BLOCK_ETA:
        return softmax == IVITI_SOFTMAX_SULQ;
    case IVITI_BLOCK_BIAS_SCORE:
        return swin && !table_softmax;
    case IVITI_BLOCK_GELU_TABLE:
        return g->gelu_kind == IVITI_GELU_TABLE;
    case IVITI_BLOCK_GELU_SCALE:
        return g->gelu_kind == IVITI_GELU_SHIFT;
    case IVITI_BLOCK_GELU_POLYNOMIAL:
        return g->gelu_kind == IVITI_GELU_I_GELU;
    case IVITI_BLOCK_GELU_OUTPUT:
        return g->gelu_kind != IVITI_GELU_TABLE;
    case IVITI_PATCHES_NORM:
    case IVITI_PATCHES_HEAD:
        return g->token_head;
    case IVITI_MERGING_KEY:
    case IVITI_MERGING_SIZE:
        return g->prune.kind == IVITI_PRUNE_MERGE;
    default:
        return owner < IVITI_PREDICTOR_NORM || g->prune.kind == IVITI_PRUNE_PREDICTOR;
    }
}

/* Tensors of the owners first to last. */
static size_t count_section(const iviti_geometry *g, iviti_owner first, iviti_owner last)
{
    size_t count = 0;
    for (uint32_t owner = (uint32_t)first; owner <= (uint32_t)last; owner++)
        if (exists(g, (iviti_owner)owner))
            count += kinds[owners[owner].kind].count;
    return count;
}

/* rank, shape and type of a dense layer's, norm's, join's or vector's tensor: width elements, and
 * rows of `in` for a weight. */
static void set_shape(iviti_tensor_spec *s, iviti_tensor_type type, uint32_t rows, uint32_t columns)
{
    s->type = type;
    s->rank = columns == 0 ? 1 : 2;
    s->shape[0] = rows;
    s->shape[1] = columns == 0 ? 1 : columns;
}

static void set_range(iviti_tensor_spec *s, int32_t low, int32_t high)
{
    s->low = low;
    s->high = high;
}

/* out and in of dense layers, width of norms and factors of dyadic vectors (out alone). */
static void layer_size(const iviti_geometry *g, const iviti_tensor_spec *s, uint32_t *out,
                       uint32_t *in)
{
    const iviti_stage *const stage = &g->stage[s->stage];
    *in = stage->dim;
    switch (s->owner) {
    case IVITI_STEM:
        *out = g->convolution[s->index].channels;
        *in = iviti_convolution_inputs(g, s->index);
        break;
    case IVITI_EMBED:
        *out = stage->dim;
        *in = iviti_embed_inputs(g);
        break;
    case IVITI_BLOCK_QKV:
        *out = 3 * stage->dim;
        break;
    case IVITI_BLOCK_SCORE:
    case IVITI_BLOCK_OUTPUT:
        *out = stage->heads;
        break;
    case IVITI_BLOCK_BIAS_SCORE:
    case IVITI_BLOCK_GELU_OUTPUT:
        *out = 1;
        break;
    case IVITI_BLOCK_FC1:
        *out = stage->hidden;
        break;
    case IVITI_BLOCK_FC2:
        *out = stage->dim;
        *in = stage->hidden;
        break;
    case IVITI_MERGE_NORM:
        *out = 4 * stage->dim;
        break;
    case IVITI_MERGE_REDUCTION:
        *out = 2 * stage->dim;
        *in = 4 * stage->dim;
        break;
    case IVITI_HEAD:
        *out = g->classes;
        *in = g->features;
        break;
    case IVITI_PATCHES_HEAD:
        *out = g->classes;
        break;
    case IVITI_PREDICTOR_MEAN:
    case IVITI_PREDICTOR_LOCAL:
        *out = *in = stage->dim / 2;
        break;
    case IVITI_PREDICTOR_OUT:
        *out = stage->dim / 4;
        *in = stage->dim / 2;
        break;
    case IVITI_MERGING_KEY:
        *out = stage->dim / stage->heads;
        break;
    case IVITI_MERGING_SIZE:
        *out = g->depth * stage->heads;
        break;
    default:
        *out = stage->dim;
        break;
    }
}

bool iviti_tensor_wide(const iviti_geometry *g, const iviti_tensor_spec *s)
{
    return (s->owner == IVITI_BLOCK_PROJ && iviti_wide_attention(g, s->index, s->stage)) ||
           ((s->owner == IVITI_BLOCK_FC1 || s->owner == IVITI_BLOCK_FC2) &&
            iviti_wide_mlp(g, s->index, s->stage));
}

static void set_shift_range(const iviti_geometry *g, iviti_tensor_spec *s)
{
    set_range(s, owners[s->owner].shift_low, owners[s->owner].shift_high);
    if (s->kind == IVITI_NORM && g->norm_kind == IVITI_NORM_NEWTON)
        s->low = 31;
    if (s->owner == IVITI_BLOCK_OUTPUT && g->softmax_kind == IVITI_SOFTMAX_TABLE)
        s->high = 40;
    if (s->owner == IVITI_BLOCK_OUTPUT && iviti_wide_attention(g, s->index, s->stage))
        set_range(s, 22, 38);
    if (iviti_tensor_wide(g, s))
        s->low += IVITI_DIGIT_BITS;
    if (s->owner == IVITI_BLOCK_OUTPUT && g->softmax_kind != IVITI_SOFTMAX_TABLE)
        s->low = 32;
}

/* The layer's place in weight_bits, or -1 where its weights have 8 bits in every file. */
static int weight_slot(const iviti_geometry *g, const iviti_tensor_spec *s)
{
    const uint32_t block = iviti_block_weights(s->index, s->stage);
    switch (s->owner) {
    case IVITI_BLOCK_QKV:
        return (int)block;
    case IVITI_BLOCK_PROJ:
        return (int)block + 1;
    case IVITI_BLOCK_FC1:
        return (int)block + 2;
    case IVITI_BLOCK_FC2:
        return (int)block + 3;
    case IVITI_MERGE_REDUCTION:
        return (int)iviti_merge_weights(g, s->stage);
    default:
        return -1;
    }
}

static void set_weight(const iviti_geometry *g, iviti_tensor_spec *s, uint32_t out, uint32_t in)
{
    const int slot = weight_slot(g, s);
    s->bits = slot < 0 || g->weight_bits[slot] == 0 ? 8 : g->weight_bits[slot];
    if (g->codebooks && s->bits == 4)
        s->codebook = g->codebook[slot];
    s->inputs = in;
    set_shape(s, IVITI_TYPE_I8, out, (uint32_t)iviti_packed_row(in, s->bits));
    if (s->bits == 8)
        set_range(s, -127, 127);
    else
        set_range(s, -128, 127);
}

static void fill_layer_tensor(const iviti_geometry *g, iviti_tensor_spec *s)
{
    uint32_t out, in;
    layer_size(g, s, &out, &in);
    if (s->kind == IVITI_JOIN)
        out = 2;
    switch (s->field) {
    case IVITI_FIELD_WEIGHT:
        set_weight(g, s, out, in);
        break;
    case IVITI_FIELD_BIAS:
        set_shape(s, IVITI_TYPE_I32, out, 0);
        if (s->kind == IVITI_NORM)
            set_range(s, -NORM_BIAS, NORM_BIAS);
        else
            set_range(s, -INT32_MAX, INT32_MAX);
        break;
    case IVITI_FIELD_MULTIPLIER:
        set_shape(s, IVITI_TYPE_I32, out, 0);
        set_range(s, s->kind == IVITI_NORM ? -MULTIPLIER_HIGH : MULTIPLIER_LOW, MULTIPLIER_HIGH);
        break;
    case IVITI_FIELD_SHIFT:
        set_shape(s, IVITI_TYPE_I8, out, 0);
        set_shift_range(g, s);
        break;
    default: /* epsilon: value and shift */
        set_shape(s, IVITI_TYPE_I32, 2, 0);
        set_range(s, 0, INT32_MAX);
        break;
    }
}

/* The codes that the inputs of fc2 may have. */
static void set_code_range(const iviti_geometry *g, iviti_tensor_spec *s)
{
    const int bits = iviti_activation_bits(
        g, iviti_block_activation(s->index, s->stage, IVITI_ACTIVATION_FC2));
    set_range(s, -(1 << (bits - 1)), (1 << (bits - 1)) - 1);
}

static uint32_t gelu_groups(uint32_t channels)
{
    return (channels + IVITI_GELU_GROUP - 1) / IVITI_GELU_GROUP;
}

static void fill_predictor_array(const iviti_geometry *g, iviti_tensor_spec *s)
{
    const uint32_t dim = g->stage[0].dim;
    set_range(s, -128, 127);
    switch (s->owner) {
    case IVITI_PREDICTOR_IN_TABLE:
        set_shape(s, IVITI_TYPE_I8, gelu_groups(dim), 256);
        return;
    case IVITI_PREDICTOR_LOCAL_TABLE:
        set_shape(s, IVITI_TYPE_I8, gelu_groups(dim / 2), 256);
        return;
    case IVITI_PREDICTOR_OUT_TABLE:
        set_shape(s, IVITI_TYPE_I8, gelu_groups(dim / 4), 256);
        return;
    case IVITI_PREDICTOR_GLOBAL:
        set_shape(s, IVITI_TYPE_I8, dim / 2, dim / 2);
        break;
    default: /* score */
        set_shape(s, IVITI_TYPE_I8, dim / 4, 0);
        break;
    }
    set_range(s, -127, 127);
}

static void fill_array(const iviti_geometry *g, iviti_tensor_spec *s)
{
    const iviti_stage *const stage = &g->stage[s->stage];
    const uint32_t reach = 2 * stage->window - 1;
    switch (s->owner) {
    case IVITI_EMBED_PIXELS:
        set_shape(s, IVITI_TYPE_I8, 3, 256);
        set_range(s, -128, 127);
        break;
    case IVITI_EMBED_POSITION:
        set_shape(s, IVITI_TYPE_I16, iviti_stage_tokens(g, 0), stage->dim);
        set_range(s, -32768, 32767);
        break;
    case IVITI_BLOCK_EXP_TABLE:
        set_shape(s, IVITI_TYPE_I8, 256, 0);
        set_range(s, -128, 127);
        if (iviti_wide_attention(g, s->index, s->stage)) {
            set_shape(s, IVITI_TYPE_I16, 256, 0);
            set_range(s, 0, IVITI_WIDE_ENTRIES - 1);
        }
        break;
    case IVITI_BLOCK_EXPONENTIALS:
        set_shape(s, IVITI_TYPE_I16, 256, 0);
        set_range(s, 0, INT16_MAX);
        break;
    case IVITI_BLOCK_EXP_POLYNOMIAL:
        set_shape(s, IVITI_TYPE_I32, 3, 0);
        set_range(s, 1, MAX_I_EXP);
        break;
    case IVITI_BLOCK_THRESHOLDS:
        set_shape(s, IVITI_TYPE_I32, IVITI_SULQ_THRESHOLDS, 0);
        set_range(s, 1, MAX_THRESHOLD);
        break;
    case IVITI_BLOCK_ETA:
        set_shape(s, IVITI_TYPE_I32, 2, 0);
        set_range(s, 0, MAX_ETA);
        break;
    case IVITI_BLOCK_GELU_POLYNOMIAL:
        set_shape(s, IVITI_TYPE_I32, 2, 0);
        set_range(s, 1, MAX_I_GELU);
        break;
    case IVITI_BLOCK_POSITION_BIAS:
        set_shape(s, IVITI_TYPE_I32, reach * reach, stage->heads);
        set_range(s, -POSITION_BIAS, POSITION_BIAS);
        break;
    case IVITI_BLOCK_GELU_TABLE:
        set_shape(s, IVITI_TYPE_I8, gelu_groups(stage->hidden), 256);
        if (iviti_wide_mlp(g, s->index, s->stage))
            set_shape(s, IVITI_TYPE_I16, gelu_groups(stage->hidden), IVITI_WIDE_ENTRIES);
        set_code_range(g, s);
        break;
    default: /* attention.scale and gelu.scale */
        set_shape(s, IVITI_TYPE_I32, 1, 0);
        set_range(s, 1, s->owner == IVITI_BLOCK_EXP_SCALE ? MAX_ONE_OVER : MAX_ONE_OVER_GELU);
        break;
    }
}

/* Tensor `position` of the owners from `first` on. */
static bool fill(const iviti_geometry *g, iviti_owner first, size_t position, iviti_tensor_spec *s)
{
    uint32_t owner = (uint32_t)first;
    for (; owner < IVITI_OWNERS; owner++) {
        const size_t tensors = exists(g, (iviti_owner)owner) ? kinds[owners[owner].kind].count : 0;
        if (position < tensors)
            break;
        position -= tensors;
    }
    if (owner == IVITI_OWNERS)
        return false;
    s->owner = (iviti_owner)owner;
    s->kind = owners[owner].kind;
    s->field = kinds[s->kind].field[position];
    s->bits = 0;
    s->codebook = NULL;
    s->inputs = 0;
    if (s->kind == IVITI_ARRAY && s->owner > IVITI_PATCHES_HEAD)
        fill_predictor_array(g, s);
    else if (s->kind == IVITI_ARRAY)
        fill_array(g, s);
    else
        fill_layer_tensor(g, s);

    const uint32_t size = s->type == IVITI_TYPE_I8 ? 1 : s->type == IVITI_TYPE_I16 ? 2 : 4;
    s->count = (uint64_t)s->shape[0] * s->shape[1];
    s->bytes = s->count * size;

    const char *const name = owners[owner].name;
    const char *const field = field_names[s->field];
    if (owner >= IVITI_BLOCK_NORM1 && owner <= IVITI_BLOCK_JOIN2)
        iviti_format(s->name, sizeof s->name, "block.%u.%s%s", s->index, name, field);
    else if (owner == IVITI_MERGE_NORM || owner == IVITI_MERGE_REDUCTION)
        iviti_format(s->name, sizeof s->name, "merge.%u.%s%s", s->index, name, field);
    else if (owner == IVITI_STEM)
        iviti_format(s->name, sizeof s->name, "stem.%u%s", s->index, field);
    else if (owner >= IVITI_PREDICTOR_NORM && owner <= IVITI_PREDICTOR_SCORE)
        iviti_format(s->name, sizeof s->name, "predictor.%u.%s%s", s->index, name, field);
    else if (owner == IVITI_MERGING_KEY)
        iviti_format(s->name, sizeof s->name, "merging.%u.%s%s", s->index, name, field);
    else
        iviti_format(s->name, sizeof s->name, "%s%s", name, field);
    return true;
}

size_t iviti_schema_count(const iviti_geometry *g)
{
    return g->convolutions * count_section(g, IVITI_STEM, IVITI_STEM) +
           count_section(g, IVITI_EMBED_PIXELS, IVITI_EMBED_NORM) +
           g->depth * count_section(g, IVITI_BLOCK_NORM1, IVITI_BLOCK_JOIN2) +
           (g->stages - 1) * count_section(g, IVITI_MERGE_NORM, IVITI_MERGE_REDUCTION) +
           count_section(g, IVITI_FINAL_NORM, IVITI_PATCHES_HEAD) +
           g->prune.stages * count_section(g, IVITI_PREDICTOR_NORM, IVITI_MERGING_KEY) +
           count_section(g, IVITI_MERGING_SIZE, IVITI_MERGING_SIZE);
}

bool iviti_schema_tensor(const iviti_geometry *g, size_t index, iviti_tensor_spec *spec)
{
    const size_t convolution = count_section(g, IVITI_STEM, IVITI_STEM);
    const size_t embed = count_section(g, IVITI_EMBED_PIXELS, IVITI_EMBED_NORM);
    const size_t block = count_section(g, IVITI_BLOCK_NORM1, IVITI_BLOCK_JOIN2);
    const size_t merge = count_section(g, IVITI_MERGE_NORM, IVITI_MERGE_REDUCTION);

    spec->index = 0;
    spec->stage = 0;
    if (index < g->convolutions * convolution) {
        spec->index = (uint32_t)(index / convolution);
        return fill(g, IVITI_STEM, index % convolution, spec);
    }
    index -= g->convolutions * convolution;
    if (index < embed)
        return fill(g, IVITI_EMBED_PIXELS, index, spec);
    index -= embed;

    uint32_t first_block = 0;
    for (uint32_t stage = 0; stage < g->stages; stage++) {
        const uint32_t depth = g->stage[stage].depth;
        spec->stage = stage;
        if (index < depth * block) {
            spec->index = first_block + (uint32_t)(index / block);
            return fill(g, IVITI_BLOCK_NORM1, index % block, spec);
        }
        index -= depth * block;
        first_block += depth;
        if (stage + 1 < g->stages) {
            spec->index = stage;
            if (index < merge)
                return fill(g, IVITI_MERGE_NORM, index, spec);
            index -= merge;
        }
    }
    spec->index = 0;
    const size_t last = count_section(g, IVITI_FINAL_NORM, IVITI_PATCHES_HEAD);
    if (index < last)
        return fill(g, IVITI_FINAL_NORM, index, spec);
    index -= last;

    const size_t pruning = count_section(g, IVITI_PREDICTOR_NORM, IVITI_MERGING_KEY);
    if (index < g->prune.stages * pruning) {
        spec->index = (uint32_t)(index / pruning);
        return fill(g, IVITI_PREDICTOR_NORM, index % pruning, spec);
    }
    return fill(g, IVITI_MERGING_SIZE, index - g->prune.stages * pruning, spec);
}

bool iviti_schema_data_bytes(const iviti_geometry *g, uint64_t *bytes)
{
    iviti_tensor_spec spec;
    uint64_t end = 0;
    for (size_t i = 0; iviti_schema_tensor(g, i, &spec); i++) {
        uint64_t begin;
        if (!iviti_align_u64(end, IVITI_FILE_ALIGNMENT, &begin) ||
            !iviti_add_u64(begin, spec.bytes, &end) || end > IVITI_MAX_FILE)
            return false;
    }
    *bytes = end;
    return true;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading of tensors into layers. Every value is checked against models/FORMAT.md here, once, so
 * that the kernels never have to.
 */
#include "model/tensors.h"

#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/log.h"
#include "base/memory.h"
#include "kernels/ref/comparison.h"
#include "kernels/requantize.h"
#include "model/pack.h"

#define CHUNK          512 /* elements converted at a time */
#define MAX_ACTIVATION 255
#define EXP_ENTRIES    256
#define EXP_SHIFT_BITS 15 /* n of Shiftmax */

static size_t round_up(size_t value, size_t unit)
{
    return (value + unit - 1) / unit * unit;
}

/* ---- memory --------------------------------------------------------------------------------- */

void *iviti_arena_take(iviti_arena *arena, uint64_t bytes)
{
    uint64_t aligned;
    if (!iviti_align_u64(bytes, IVITI_ALIGNMENT, &aligned) || aligned > arena->size - arena->used)
        return NULL;
    void *const memory = arena->base + arena->used;
    arena->used += (size_t)aligned;
    return memory;
}

/* Layers that a dense tensor is divided into, and the rows of each. */
static uint32_t dense_parts(const iviti_tensor_spec *spec)
{
    return spec->owner == IVITI_BLOCK_QKV ? 3 : 1;
}

/* A wide layer has biases and shifts for both digits. */
static uint64_t dense_memory(uint32_t out, uint32_t in, bool wide)
{
    const uint64_t vectors = wide ? 5 : 3;
    return iviti_panel_bytes(out, in) + vectors * sizeof(int32_t) * round_up(out, IVITI_PANEL);
}

static size_t bias_stride(const iviti_stage *stage)
{
    return round_up((size_t)stage->window * stage->window, IVITI_PANEL);
}

static uint64_t position_bias_memory(const iviti_stage *stage)
{
    return (uint64_t)stage->heads * stage->window * stage->window * bias_stride(stage) *
           sizeof(int32_t);
}

static uint64_t gelu_groups(const iviti_stage *stage)
{
    return (stage->hidden + IVITI_GELU_GROUP - 1) / IVITI_GELU_GROUP;
}

/* Bytes that the tensor asks the arena for: those of its whole layer at the layer's first tensor.
 */
static uint64_t tensor_memory(const iviti_geometry *g, const iviti_tensor_spec *spec)
{
    const uint32_t n = spec->shape[0];
    switch (spec->kind) {
    case IVITI_DENSE:
        if (spec->field != IVITI_FIELD_WEIGHT)
            return 0;
        return dense_parts(spec) *
               dense_memory(n / dense_parts(spec), spec->inputs, iviti_tensor_wide(g, spec));
    case IVITI_NORM:
        return spec->field == IVITI_FIELD_MULTIPLIER
                   ? 3 * round_up(n * sizeof(int32_t), IVITI_ALIGNMENT)
                   : 0;
    case IVITI_DYADIC:
        if (spec->field != IVITI_FIELD_MULTIPLIER || spec->owner == IVITI_BLOCK_BIAS_SCORE ||
            spec->owner == IVITI_BLOCK_GELU_OUTPUT)
            return 0;
        return round_up(n * sizeof(iviti_dyadic), IVITI_ALIGNMENT);
    case IVITI_ARRAY:
        if (spec->owner == IVITI_BLOCK_POSITION_BIAS)
            return position_bias_memory(&g->stage[spec->stage]);
        if (spec->owner == IVITI_BLOCK_EXP_SCALE || spec->owner == IVITI_BLOCK_EXPONENTIALS ||
            spec->owner == IVITI_BLOCK_EXP_POLYNOMIAL)
            return EXP_ENTRIES * sizeof(int32_t);
        if (spec->owner == IVITI_BLOCK_GELU_POLYNOMIAL)
            return gelu_groups(&g->stage[spec->stage]) * 256;
        if (spec->owner == IVITI_BLOCK_GELU_SCALE || spec->owner == IVITI_BLOCK_THRESHOLDS ||
            spec->owner == IVITI_BLOCK_ETA)
            return 0;
        return round_up((size_t)spec->bytes, IVITI_ALIGNMENT);
    default:
        return 0;
    }
}

bool iviti_tensors_memory(const iviti_geometry *g, uint64_t *bytes)
{
    iviti_tensor_spec spec;
    uint64_t total = 0;
    for (size_t i = 0; iviti_schema_tensor(g, i, &spec); i++)
        if (!iviti_add_u64(total, tensor_memory(g, &spec), &total) || total > IVITI_MAX_MODEL)
            return false;
    *bytes = total;
    return true;
}

/* ---- values --------------------------------------------------------------------------------- */

static iviti_status out_of_range(const iviti_tensor_loader *l, const iviti_tensor_spec *spec,
                                 uint64_t index, int32_t value)
{
    return iviti_log_fail(l->reader->log, IVITI_ERROR_RANGE,
                          "%s[%" PRIu64 "] is %" PRId32 "; it must be %" PRId32 " to %" PRId32,
                          spec->name, index, value, spec->low, spec->high);
}

/* Up to CHUNK elements from `done` on, converted and within the spec's range. */
static iviti_status next_values(iviti_tensor_loader *l, const iviti_tensor_spec *spec,
                                uint64_t done, int32_t *values, size_t *count)
{
    const size_t n = spec->count - done < CHUNK ? (size_t)(spec->count - done) : CHUNK;
    const size_t size = (size_t)(spec->bytes / spec->count);
    const uint8_t *bytes;
    const iviti_status status = iviti_reader_take(l->reader, n * size, spec->name, &bytes);
    if (status != IVITI_OK)
        return status;
    for (size_t i = 0; i < n; i++) {
        values[i] = spec->type == IVITI_TYPE_I8    ? iviti_get_s8(bytes + i)
                    : spec->type == IVITI_TYPE_I16 ? iviti_get_s16(bytes + 2 * i)
                                                   : iviti_get_s32(bytes + 4 * i);
        if (values[i] < spec->low || values[i] > spec->high)
            return out_of_range(l, spec, done + i, values[i]);
    }
    *count = n;
    return IVITI_OK;
}

/* All elements of a tensor to out (count). */
static iviti_status read_s32(iviti_tensor_loader *l, const iviti_tensor_spec *spec, int32_t *out)
{
    size_t n = 0;
    for (uint64_t done = 0; done < spec->count; done += n) {
        const iviti_status status = next_values(l, spec, done, out + done, &n);
        if (status != IVITI_OK)
            return status;
    }
    return IVITI_OK;
}

/* All elements of an I8 tensor to out (count), `offset` added. */
static iviti_status read_u8(iviti_tensor_loader *l, const iviti_tensor_spec *spec, int offset,
                            uint8_t *out)
{
    int32_t values[CHUNK];
    size_t n = 0;
    for (uint64_t done = 0; done < spec->count; done += n) {
        const iviti_status status = next_values(l, spec, done, values, &n);
        if (status != IVITI_OK)
            return status;
        for (size_t i = 0; i < n; i++)
            out[done + i] = (uint8_t)(values[i] + offset);
    }
    return IVITI_OK;
}

/* ---- dense layers --------------------------------------------------------------------------- */

static void set_dense(iviti_tensor_loader *l, const iviti_tensor_spec *spec)
{
    iviti_model *const m = l->model;
    iviti_block *const block = m->blocks + spec->index;
    iviti_dense *target[3] = { NULL, NULL, NULL };
    switch (spec->owner) {
    case IVITI_STEM:
        target[0] = &m->stem[spec->index];
        break;
    case IVITI_EMBED:
        target[0] = &m->embed;
        break;
    case IVITI_BLOCK_QKV:
        target[0] = &block->query;
        target[1] = &block->key;
        target[2] = &block->value;
        break;
    case IVITI_BLOCK_PROJ:
        target[0] = &block->proj;
        target[1] = &block->proj_low;
        break;
    case IVITI_BLOCK_FC1:
        target[0] = &block->fc1;
        target[1] = &block->fc1_low;
        break;
    case IVITI_BLOCK_FC2:
        target[0] = &block->fc2;
        target[1] = &block->fc2_low;
        break;
    case IVITI_MERGE_REDUCTION:
        target[0] = &m->merges[spec->index].reduction;
        break;
    case IVITI_PATCHES_HEAD:
        target[0] = &m->patches_head;
        break;
    case IVITI_PREDICTOR_IN:
        target[0] = &m->predictors[spec->index].in;
        break;
    case IVITI_PREDICTOR_LOCAL:
        target[0] = &m->predictors[spec->index].local;
        break;
    case IVITI_PREDICTOR_OUT:
        target[0] = &m->predictors[spec->index].out;
        break;
    case IVITI_MERGING_KEY:
        target[0] = &m->mean_keys[spec->index];
        break;
    default:
        target[0] = &m->head;
        break;
    }
    for (uint32_t i = 0; i < l->parts + l->wide; i++) {
        const iviti_dense_part *const p = &l->part[i];
        *target[i] = (iviti_dense){
            spec->inputs, p->out, p->panels, p->bias, p->multiplier, p->shift,
        };
    }
}

/* Rows `first` to `first` + rows - 1 of the weight to a panel. */
static iviti_status load_panel(iviti_tensor_loader *l, const iviti_tensor_spec *spec, uint32_t first,
                               size_t rows, int8_t *panel, int32_t *sums)
{
    const uint8_t *bytes;
    const iviti_status status =
        iviti_reader_take(l->reader, (uint64_t)rows * spec->shape[1], spec->name, &bytes);
    if (status != IVITI_OK)
        return status;
    const int32_t most = (1 << (spec->bits - 1)) - 1;
    if (!iviti_pack_panel(bytes, rows, spec->inputs, spec->bits, spec->codebook, panel, sums))
        return iviti_log_fail(l->reader->log, IVITI_ERROR_RANGE,
                              "%s has a %" PRId32 " in rows %" PRIu32 " to %zu; it must be %" PRId32
                              " to %" PRId32,
                              spec->name, -most - 1, first, first + rows - 1, -most, most);
    if (!iviti_packed_padding_zero(bytes, rows, spec->inputs, spec->bits))
        return iviti_log_fail(l->reader->log, IVITI_ERROR_CORRUPT,
                              "%s has bits behind the last weight of a row in rows %" PRIu32
                              " to %zu; they must be 0",
                              spec->name, first, first + rows - 1);
    return IVITI_OK;
}

/* Bias and shift of the low digits of a wide layer, whose weights and multipliers are those of the
 * high ones. */
static void take_low_part(iviti_tensor_loader *l)
{
    const size_t padded = round_up(l->part[0].out, IVITI_PANEL);
    l->part[1] = l->part[0];
    l->part[1].bias = iviti_arena_take(&l->arena, padded * sizeof(int32_t));
    l->part[1].shift = iviti_arena_take(&l->arena, padded * sizeof(int32_t));
    for (size_t row = l->part[0].out; row < padded; row++) {
        l->part[1].bias[row] = 0;
        l->part[1].shift[row] = 62;
    }
}

static iviti_status load_weight(iviti_tensor_loader *l, const iviti_tensor_spec *spec)
{
    const uint32_t in = spec->inputs;
    const size_t panel_bytes = iviti_panel_bytes(IVITI_PANEL, in);
    l->parts = dense_parts(spec);
    l->wide = iviti_tensor_wide(&l->model->geometry, spec);
    l->in = in;
    for (uint32_t i = 0; i < l->parts; i++) {
        iviti_dense_part *const p = &l->part[i];
        const size_t padded = round_up(spec->shape[0] / l->parts, IVITI_PANEL);
        p->out = spec->shape[0] / l->parts;
        p->panels = iviti_arena_take(&l->arena, iviti_panel_bytes(p->out, in));
        p->bias = iviti_arena_take(&l->arena, padded * sizeof(int32_t));
        p->multiplier = iviti_arena_take(&l->arena, padded * sizeof(int32_t));
        p->shift = iviti_arena_take(&l->arena, padded * sizeof(int32_t));
        for (uint32_t row = 0; row < p->out; row += IVITI_PANEL) {
            const size_t rows = p->out - row < IVITI_PANEL ? p->out - row : IVITI_PANEL;
            const iviti_status status =
                load_panel(l, spec, i * p->out + row, rows,
                           p->panels + row / IVITI_PANEL * panel_bytes, p->bias + row);
            if (status != IVITI_OK)
                return status;
        }
        for (size_t row = p->out; row < padded; row++) {
            p->multiplier[row] = 1 << 30;
            p->shift[row] = 62;
        }
    }
    if (l->wide)
        take_low_part(l);
    set_dense(l, spec);
    return IVITI_OK;
}

/* The most that is added to the bias of an output at run time: predictors' means, each at most 128. */
static int64_t added_bias(const iviti_tensor_loader *l, const iviti_tensor_spec *spec, uint32_t row)
{
    int64_t sum = 0;
    if (spec->owner != IVITI_PREDICTOR_LOCAL)
        return 0;
    const int8_t *const weight = l->model->predictors[spec->index].global + (size_t)row * l->in;
    for (uint32_t k = 0; k < l->in; k++)
        sum += weight[k] < 0 ? -weight[k] : weight[k];
    return 128 * sum;
}

/* Whether every partial sum of the output fits 32 bits, src/NUMERICS.md section 2; `bias` is the
 * one that the kernels start from, `added` what may join it. The sum of magnitudes is only worked out
 * where the width alone does not tell. */
static bool accumulator_fits(const iviti_dense_part *p, uint32_t row, uint32_t in, int64_t bias,
                             int64_t added)
{
    const int64_t limit = INT32_MAX;
    const int64_t magnitude = (bias < 0 ? -bias : bias) + added;
    if ((int64_t)in * INT8_MAX * MAX_ACTIVATION + magnitude < limit)
        return true;
    return (int64_t)iviti_panel_magnitude(p->panels, row, in) * MAX_ACTIVATION + magnitude < limit;
}

/* The low digits' share of a wide layer's bias or shift; returns that of the high ones. */
static int32_t split_value(const iviti_tensor_loader *l, iviti_field field, uint32_t row,
                           int32_t value)
{
    if (field == IVITI_FIELD_SHIFT) {
        l->part[1].shift[row] = value;
        return value - IVITI_DIGIT_BITS;
    }
    const int32_t high = (int32_t)iviti_shift_right(value, IVITI_DIGIT_BITS);
    l->part[1].bias[row] = value - high * (1 << IVITI_DIGIT_BITS);
    return high;
}

/* The tensor's elements, to the field of each part. */
static iviti_status load_dense_values(iviti_tensor_loader *l, const iviti_tensor_spec *spec)
{
    const bool raw = spec->owner == IVITI_STEM ||
                     (spec->owner == IVITI_EMBED && !l->model->geometry.pixel_table);
    int32_t values[CHUNK];
    size_t n = 0;
    for (uint64_t done = 0; done < spec->count; done += n) {
        const iviti_status status = next_values(l, spec, done, values, &n);
        if (status != IVITI_OK)
            return status;
        for (size_t i = 0; i < n; i++) {
            const uint32_t index = (uint32_t)(done + i);
            iviti_dense_part *const p = &l->part[index / l->part[0].out];
            const uint32_t row = index % l->part[0].out;
            if (spec->field == IVITI_FIELD_MULTIPLIER) {
                p->multiplier[row] = values[i];
            } else if (spec->field == IVITI_FIELD_SHIFT) {
                p->shift[row] = l->wide ? split_value(l, spec->field, row, values[i]) : values[i];
            } else {
                const int32_t own =
                    l->wide ? split_value(l, spec->field, row, values[i]) : values[i];
                const int64_t bias = own - (raw ? 0 : INT64_C(128) * p->bias[row]);
                if (!accumulator_fits(p, row, l->in, bias, added_bias(l, spec, row)))
                    return iviti_log_fail(l->reader->log, IVITI_ERROR_RANGE,
                                          "%s[%" PRIu32 "] is %" PRId32 "; with its weights the "
                                          "accumulator could reach the limit of 2147483647",
                                          spec->name, index, values[i]);
                p->bias[row] = (int32_t)bias;
            }
        }
    }
    return IVITI_OK;
}

static iviti_status load_dense(iviti_tensor_loader *l, const iviti_tensor_spec *spec)
{
    return spec->field == IVITI_FIELD_WEIGHT ? load_weight(l, spec) : load_dense_values(l, spec);
}

/* ---- norms ---------------------------------------------------------------------------------- */

static iviti_norm *norm_of(iviti_model *m, const iviti_tensor_spec *spec)
{
    switch (spec->owner) {
    case IVITI_EMBED_NORM:
        return &m->embed_norm;
    case IVITI_BLOCK_NORM1:
        return &m->blocks[spec->index].norm1;
    case IVITI_BLOCK_NORM2:
        return &m->blocks[spec->index].norm2;
    case IVITI_MERGE_NORM:
        return &m->merges[spec->index].norm;
    case IVITI_PATCHES_NORM:
        return &m->patches_norm;
    case IVITI_PREDICTOR_NORM:
        return &m->predictors[spec->index].norm;
    default:
        return &m->norm;
    }
}

static iviti_status load_norm_multiplier(iviti_tensor_loader *l, const iviti_tensor_spec *spec)
{
    const uint32_t width = spec->shape[0];
    l->multiplier = iviti_arena_take(&l->arena, width * sizeof(int32_t));
    l->shift = iviti_arena_take(&l->arena, width * sizeof(int32_t));
    l->bias = iviti_arena_take(&l->arena, width * sizeof(int32_t));
    *norm_of(l->model, spec) =
        (iviti_norm){ width, l->model->geometry.norm_kind, 0, l->multiplier, l->shift, l->bias };
    const iviti_status status = read_s32(l, spec, l->multiplier);
    if (status != IVITI_OK)
        return status;
    for (uint32_t i = 0; i < width; i++)
        if (l->multiplier[i] > -(1 << 30) && l->multiplier[i] < 1 << 30)
            return iviti_log_fail(l->reader->log, IVITI_ERROR_RANGE,
                                  "%s[%" PRIu32 "] is %" PRId32
                                  "; its magnitude must be 1073741824 to 2147483647",
                                  spec->name, i, l->multiplier[i]);
    return IVITI_OK;
}

static iviti_status load_epsilon(iviti_tensor_loader *l, const iviti_tensor_spec *spec)
{
    int32_t epsilon[2];
    const iviti_status status = read_s32(l, spec, epsilon);
    if (status != IVITI_OK)
        return status;
    const bool exact = l->model->geometry.norm_kind == IVITI_NORM_EXACT;
    const int32_t most = exact ? INT32_MAX : 1;
    if (epsilon[0] < 1 || epsilon[0] > most)
        return iviti_log_fail(l->reader->log, IVITI_ERROR_RANGE,
                              "%s[0] is %" PRId32 "; it must be 1 to %" PRId32, spec->name,
                              epsilon[0], most);
    if (epsilon[1] > (exact ? 23 : 0))
        return iviti_log_fail(l->reader->log, IVITI_ERROR_RANGE,
                              "%s[1] is %" PRId32 "; it must be 0 to %d", spec->name, epsilon[1],
                              exact ? 23 : 0);
    norm_of(l->model, spec)->epsilon = (int64_t)epsilon[0] << epsilon[1];
    return IVITI_OK;
}

static iviti_status load_norm(iviti_tensor_loader *l, const iviti_tensor_spec *spec)
{
    switch (spec->field) {
    case IVITI_FIELD_MULTIPLIER:
        return load_norm_multiplier(l, spec);
    case IVITI_FIELD_SHIFT:
        return read_s32(l, spec, l->shift);
    case IVITI_FIELD_BIAS:
        return read_s32(l, spec, l->bias);
    default:
        return load_epsilon(l, spec);
    }
}

/* ---- joins and dyadic vectors -----------------------------------------------------------------
 */

/* Where the factors are collected: in the model's memory, or beside for those that lie in a struct.
 */
static iviti_dyadic *place_factors(iviti_tensor_loader *l, const iviti_tensor_spec *spec)
{
    iviti_block *const block = l->model->blocks + spec->index;
    const bool vector = spec->owner == IVITI_BLOCK_SCORE || spec->owner == IVITI_BLOCK_OUTPUT ||
                        spec->owner == IVITI_POOL || spec->owner == IVITI_PREDICTOR_MEAN ||
                        spec->owner == IVITI_MERGING_SIZE;
    if (!vector)
        return l->pair;
    iviti_dyadic *const factors =
        iviti_arena_take(&l->arena, spec->shape[0] * sizeof(iviti_dyadic));
    if (spec->owner == IVITI_BLOCK_SCORE)
        block->score = factors;
    else if (spec->owner == IVITI_BLOCK_OUTPUT)
        block->output = factors;
    else if (spec->owner == IVITI_PREDICTOR_MEAN)
        l->model->predictors[spec->index].mean = factors;
    else if (spec->owner == IVITI_MERGING_SIZE)
        for (uint32_t i = 0; i < l->model->geometry.depth; i++)
            l->model->blocks[i].size = factors + (size_t)i * l->model->geometry.stage[0].heads;
    else
        l->model->pool = factors;
    return factors;
}

/* i-GELU sees 256 different arguments: it becomes a table, the same for all groups of channels. */
static void fill_i_gelu(const iviti_tensor_loader *l, const iviti_tensor_spec *spec)
{
    const iviti_geometry *const g = &l->model->geometry;
    const uint64_t groups = gelu_groups(&g->stage[spec->stage]);
    const int bits = iviti_activation_bits(
        g, iviti_block_activation(spec->index, spec->stage, IVITI_ACTIVATION_FC2));
    const int64_t most = (1 << (bits - 1)) - 1;
    for (int i = 0; i < 256; i++) {
        const int8_t x = (int8_t)(i - 128);
        int32_t y;
        iviti_i_gelu(&x, 1, l->i_gelu[0], l->i_gelu[1], &y);
        const int64_t code = iviti_clamp(iviti_requantize(y, l->pair[0]), -most - 1, most);
        for (uint64_t group = 0; group < groups; group++)
            l->i_gelu_table[group * 256 + (uint64_t)i] = (uint8_t)(code + 128);
    }
}

static void store_pair(iviti_tensor_loader *l, const iviti_tensor_spec *spec)
{
    iviti_block *const block = l->model->blocks + spec->index;
    const iviti_join join = { l->pair[0], l->pair[1] };
    switch (spec->owner) {
    case IVITI_EMBED_JOIN:
        l->model->embed_join = join;
        break;
    case IVITI_BLOCK_JOIN1:
        block->join1 = join;
        break;
    case IVITI_BLOCK_JOIN2:
        block->join2 = join;
        break;
    case IVITI_BLOCK_BIAS_SCORE:
        block->bias_score = l->pair[0];
        break;
    case IVITI_BLOCK_GELU_OUTPUT:
        block->gelu_output = l->pair[0];
        if (l->model->geometry.gelu_kind == IVITI_GELU_I_GELU)
            fill_i_gelu(l, spec);
        break;
    default:
        break;
    }
}

static iviti_status load_dyadic(iviti_tensor_loader *l, const iviti_tensor_spec *spec)
{
    if (spec->field == IVITI_FIELD_MULTIPLIER)
        l->factors = place_factors(l, spec);
    int32_t values[CHUNK];
    size_t n = 0;
    for (uint64_t done = 0; done < spec->count; done += n) {
        const iviti_status status = next_values(l, spec, done, values, &n);
        if (status != IVITI_OK)
            return status;
        for (size_t i = 0; i < n; i++) {
            if (spec->field == IVITI_FIELD_MULTIPLIER)
                l->factors[done + i].multiplier = values[i];
            else
                l->factors[done + i].shift = values[i];
        }
    }
    if (spec->field == IVITI_FIELD_SHIFT)
        store_pair(l, spec);
    return IVITI_OK;
}

/* ---- single tensors ---------------------------------------------------------------------------
 */

static iviti_status load_position(iviti_tensor_loader *l, const iviti_tensor_spec *spec)
{
    int16_t *const position = iviti_arena_take(&l->arena, spec->bytes);
    int32_t values[CHUNK];
    size_t n = 0;
    for (uint64_t done = 0; done < spec->count; done += n) {
        const iviti_status status = next_values(l, spec, done, values, &n);
        if (status != IVITI_OK)
            return status;
        for (size_t i = 0; i < n; i++)
            position[done + i] = (int16_t)values[i];
    }
    l->model->position = position;
    return IVITI_OK;
}

/* Numerators of 12 bits. A token that a query does not see takes the last one. */
static iviti_status load_wide_exp(iviti_tensor_loader *l, const iviti_tensor_spec *spec)
{
    uint16_t *const table = iviti_arena_take(&l->arena, spec->bytes);
    int32_t value[EXP_ENTRIES];
    const iviti_status status = read_s32(l, spec, value);
    if (status != IVITI_OK)
        return status;
    for (int i = 0; i < EXP_ENTRIES; i++)
        table[i] = (uint16_t)value[i];
    if (value[0] != IVITI_WIDE_ENTRIES - 1 || value[EXP_ENTRIES - 1] != 0)
        return iviti_log_fail(l->reader->log, IVITI_ERROR_RANGE,
                              "%s begins with %" PRId32 " and ends with %" PRId32
                              "; these must be %d and 0",
                              spec->name, value[0], value[EXP_ENTRIES - 1], IVITI_WIDE_ENTRIES - 1);
    l->model->blocks[spec->index].wide_exp = table;
    l->model->blocks[spec->index].wide_attention = true;
    return IVITI_OK;
}

static iviti_status load_exp_table(iviti_tensor_loader *l, const iviti_tensor_spec *spec)
{
    if (spec->type == IVITI_TYPE_I16)
        return load_wide_exp(l, spec);
    uint8_t *const table = iviti_arena_take(&l->arena, EXP_ENTRIES);
    const iviti_status status = read_u8(l, spec, 0, table);
    if (status != IVITI_OK)
        return status;
    if (table[0] != 255)
        return iviti_log_fail(l->reader->log, IVITI_ERROR_RANGE, "%s[0] is %d; it must be 255",
                              spec->name, table[0]);
    l->model->blocks[spec->index].exp_table = table;
    return IVITI_OK;
}

static int64_t tokens_attended(const iviti_tensor_loader *l, const iviti_tensor_spec *spec)
{
    const iviti_stage *const stage = &l->model->geometry.stage[spec->stage];
    return stage->window ? (int64_t)stage->window * stage->window
                         : iviti_stage_tokens(&l->model->geometry, spec->stage);
}

/* Shiftmax sees 256 different arguments, so its exponentials are worked out once. */
static iviti_status load_exp_scale(iviti_tensor_loader *l, const iviti_tensor_spec *spec)
{
    int32_t one_over_scale;
    int32_t *const table = iviti_arena_take(&l->arena, EXP_ENTRIES * sizeof(int32_t));
    const iviti_status status = read_s32(l, spec, &one_over_scale);
    if (status != IVITI_OK)
        return status;
    /* Shiftmax whose sum is capped: tokens * scale / 2 bounds the probabilities' sum (NUMERICS.md). */
    const int64_t tokens = tokens_attended(l, spec);
    if (tokens * one_over_scale > 1 << 24)
        return iviti_log_fail(l->reader->log, IVITI_ERROR_RANGE,
                              "%s is %ld for %ld tokens; their product must be at most %d",
                              spec->name, (long)one_over_scale, (long)tokens, 1 << 24);
    for (int i = 0; i < EXP_ENTRIES; i++)
        table[i] = (int32_t)iviti_shift_exp(-i, one_over_scale, EXP_SHIFT_BITS);
    l->model->blocks[spec->index].exp_shift = table;
    return IVITI_OK;
}

/* Exponentials as they are: the sums of Shiftmax stay below its cap, 4096 * 32767. */
static iviti_status load_exponentials(iviti_tensor_loader *l, const iviti_tensor_spec *spec)
{
    int32_t *const table = iviti_arena_take(&l->arena, EXP_ENTRIES * sizeof(int32_t));
    const iviti_status status = read_s32(l, spec, table);
    if (status != IVITI_OK)
        return status;
    if (table[0] != INT16_MAX)
        return iviti_log_fail(l->reader->log, IVITI_ERROR_RANGE, "%s[0] is %" PRId32
                              "; it must be 32767", spec->name, table[0]);
    for (int i = 1; i < EXP_ENTRIES; i++)
        if (table[i] > table[i - 1])
            return iviti_log_fail(l->reader->log, IVITI_ERROR_RANGE,
                                  "%s[%d] is %" PRId32 "; it must be at most the %" PRId32
                                  " before",
                                  spec->name, i, table[i], table[i - 1]);
    l->model->blocks[spec->index].exp_shift = table;
    return IVITI_OK;
}

/* i-exp's constants; see iviti_i_exp_constants for what they keep within its range. */
static iviti_status load_polynomial(iviti_tensor_loader *l, const iviti_tensor_spec *spec)
{
    int32_t *const table = iviti_arena_take(&l->arena, EXP_ENTRIES * sizeof(int32_t));
    int32_t value[3];
    const iviti_status status = read_s32(l, spec, value);
    if (status != IVITI_OK)
        return status;
    const iviti_i_exp_constants k = { value[0], value[1], value[2] };
    if (k.ln2 > 1 << 14 || k.b > 1 << 15)
        return iviti_log_fail(l->reader->log, IVITI_ERROR_RANGE,
                              "%s begins with %" PRId32 ", %" PRId32
                              "; the limits are 16384 and 32768",
                              spec->name, k.ln2, k.b);
    if (k.b < k.ln2 || (int64_t)k.b * k.b > INT64_C(4) * k.c)
        return iviti_log_fail(l->reader->log, IVITI_ERROR_RANGE,
                              "%s is %" PRId32 ", %" PRId32 ", %" PRId32
                              "; the second must be at least the first, and its square at most "
                              "four times the third",
                              spec->name, k.ln2, k.b, k.c);
    iviti_i_exp_fill(k, l->model->geometry.softmax_kind == IVITI_SOFTMAX_I_EXP, table);
    l->model->blocks[spec->index].exp_shift = table;
    return IVITI_OK;
}

static iviti_status load_thresholds(iviti_tensor_loader *l, const iviti_tensor_spec *spec)
{
    int32_t value[IVITI_SULQ_THRESHOLDS];
    const iviti_status status = read_s32(l, spec, value);
    if (status != IVITI_OK)
        return status;
    for (int i = 0; i < IVITI_SULQ_THRESHOLDS; i++) {
        if (i > 0 && value[i] < value[i - 1])
            return iviti_log_fail(l->reader->log, IVITI_ERROR_RANGE,
                                  "%s[%d] is %" PRId32 "; it must be at least the %" PRId32
                                  " before",
                                  spec->name, i, value[i], value[i - 1]);
        l->model->blocks[spec->index].sulq.threshold[i] = (uint32_t)value[i];
    }
    return IVITI_OK;
}

/* Sums of code * value, shifted and lessened, must fit 32 bits: codes are at most 128. */
static iviti_status load_eta(iviti_tensor_loader *l, const iviti_tensor_spec *spec)
{
    int32_t value[2];
    const iviti_status status = read_s32(l, spec, value);
    if (status != IVITI_OK)
        return status;
    const int64_t tokens = tokens_attended(l, spec);
    if (value[0] > 8 ||
        tokens * 128 * ((INT64_C(128) << value[0]) + value[1]) > INT32_MAX)
        return iviti_log_fail(l->reader->log, IVITI_ERROR_RANGE,
                              "%s is %" PRId32 ", %" PRId32 " for %" PRId64
                              " tokens; the shift must be at most 8, and the sums could reach the "
                              "limit of 2147483647",
                              spec->name, value[0], value[1], tokens);
    l->model->blocks[spec->index].sulq.shift = value[0];
    l->model->blocks[spec->index].sulq.eta = value[1];
    return IVITI_OK;
}

static iviti_status load_i_gelu(iviti_tensor_loader *l, const iviti_tensor_spec *spec)
{
    const iviti_status status = read_s32(l, spec, l->i_gelu);
    if (status != IVITI_OK)
        return status;
    if (l->i_gelu[0] > 1 << 11)
        return iviti_log_fail(l->reader->log, IVITI_ERROR_RANGE,
                              "%s[0] is %" PRId32 "; it must be 1 to 2048", spec->name,
                              l->i_gelu[0]);
    l->i_gelu_table =
        iviti_arena_take(&l->arena, gelu_groups(&l->model->geometry.stage[spec->stage]) * 256);
    l->model->blocks[spec->index].gelu_table = l->i_gelu_table;
    return IVITI_OK;
}

/* Bias `value` of one head for every pair of tokens of a window that lie (dy, dx) apart, query
 * minus key. out (window^2, stride). */
static void spread_bias(int32_t value, int dy, int dx, int window, size_t stride, int32_t *out)
{
    for (int qy = dy > 0 ? dy : 0; qy < window && qy - dy < window; qy++)
        for (int qx = dx > 0 ? dx : 0; qx < window && qx - dx < window; qx++) {
            const int query = qy * window + qx;
            const int key = (qy - dy) * window + qx - dx;
            out[(size_t)query * stride + (size_t)key] = value;
        }
}

static iviti_status load_position_bias(iviti_tensor_loader *l, const iviti_tensor_spec *spec)
{
    const iviti_stage *const stage = &l->model->geometry.stage[spec->stage];
    const int window = (int)stage->window;
    const uint32_t reach = 2 * stage->window - 1;
    const size_t stride = bias_stride(stage);
    const size_t head_size = (size_t)stage->window * stage->window * stride;
    int32_t *const out = iviti_arena_take(&l->arena, position_bias_memory(stage));
    memset(out, 0, (size_t)position_bias_memory(stage));

    int32_t values[CHUNK];
    size_t n = 0;
    for (uint64_t done = 0; done < spec->count; done += n) {
        const iviti_status status = next_values(l, spec, done, values, &n);
        if (status != IVITI_OK)
            return status;
        for (size_t i = 0; i < n; i++) {
            const uint32_t entry = (uint32_t)((done + i) / stage->heads);
            const size_t head = (size_t)((done + i) % stage->heads);
            spread_bias(values[i], (int)(entry / reach) - (window - 1),
                        (int)(entry % reach) - (window - 1), window, stride,
                        out + head * head_size);
        }
    }
    l->model->blocks[spec->index].position_bias = out;
    return IVITI_OK;
}

static iviti_status load_offset_table(iviti_tensor_loader *l, const iviti_tensor_spec *spec)
{
    uint8_t *const table = iviti_arena_take(&l->arena, spec->bytes);
    if (spec->owner == IVITI_EMBED_PIXELS)
        l->model->pixel_table = table;
    else
        l->model->blocks[spec->index].gelu_table = table;
    return read_u8(l, spec, 128, table);
}

static iviti_status load_wide_gelu(iviti_tensor_loader *l, const iviti_tensor_spec *spec)
{
    uint16_t *const tables = iviti_arena_take(&l->arena, spec->bytes);
    int32_t values[CHUNK];
    size_t n = 0;
    for (uint64_t done = 0; done < spec->count; done += n) {
        const iviti_status status = next_values(l, spec, done, values, &n);
        if (status != IVITI_OK)
            return status;
        for (size_t i = 0; i < n; i++)
            tables[done + i] = (uint16_t)(iviti_high_digit((int16_t)values[i]) +
                                          256 * iviti_low_digit((int16_t)values[i]));
    }
    l->model->blocks[spec->index].wide_gelu = tables;
    l->model->blocks[spec->index].wide_mlp = true;
    return IVITI_OK;
}

/* Tables of s8 as offset binary, weights as they are. */
static iviti_status load_predictor_array(iviti_tensor_loader *l, const iviti_tensor_spec *spec)
{
    iviti_predictor *const p = &l->model->predictors[spec->index];
    uint8_t *const bytes = iviti_arena_take(&l->arena, spec->bytes);
    switch (spec->owner) {
    case IVITI_PREDICTOR_IN_TABLE:
        p->in_table = bytes;
        return read_u8(l, spec, 128, bytes);
    case IVITI_PREDICTOR_LOCAL_TABLE:
        p->local_table = bytes;
        return read_u8(l, spec, 128, bytes);
    case IVITI_PREDICTOR_OUT_TABLE:
        p->out_table = bytes;
        return read_u8(l, spec, 128, bytes);
    case IVITI_PREDICTOR_GLOBAL:
        p->global = (const int8_t *)bytes;
        return read_u8(l, spec, 0, bytes);
    default:
        p->score = (const int8_t *)bytes;
        return read_u8(l, spec, 0, bytes);
    }
}

static iviti_status load_array(iviti_tensor_loader *l, const iviti_tensor_spec *spec)
{
    if (spec->owner > IVITI_PATCHES_HEAD)
        return load_predictor_array(l, spec);
    switch (spec->owner) {
    case IVITI_EMBED_POSITION:
        return load_position(l, spec);
    case IVITI_BLOCK_EXP_TABLE:
        return load_exp_table(l, spec);
    case IVITI_BLOCK_EXP_SCALE:
        return load_exp_scale(l, spec);
    case IVITI_BLOCK_EXPONENTIALS:
        return load_exponentials(l, spec);
    case IVITI_BLOCK_EXP_POLYNOMIAL:
        return load_polynomial(l, spec);
    case IVITI_BLOCK_THRESHOLDS:
        return load_thresholds(l, spec);
    case IVITI_BLOCK_ETA:
        return load_eta(l, spec);
    case IVITI_BLOCK_GELU_POLYNOMIAL:
        return load_i_gelu(l, spec);
    case IVITI_BLOCK_POSITION_BIAS:
        return load_position_bias(l, spec);
    case IVITI_BLOCK_GELU_SCALE:
        return read_s32(l, spec, &l->model->blocks[spec->index].gelu_one_over_scale);
    default: /* embed.pixels and gelu.table */
        return spec->type == IVITI_TYPE_I16 ? load_wide_gelu(l, spec) : load_offset_table(l, spec);
    }
}

iviti_status iviti_tensor_load(iviti_tensor_loader *l, const iviti_tensor_spec *spec)
{
    switch (spec->kind) {
    case IVITI_DENSE:
        return load_dense(l, spec);
    case IVITI_NORM:
        return load_norm(l, spec);
    case IVITI_JOIN:
    case IVITI_DYADIC:
        return load_dyadic(l, spec);
    default:
        return load_array(l, spec);
    }
}

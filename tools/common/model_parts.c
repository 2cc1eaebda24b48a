/* SPDX-License-Identifier: Apache-2.0
 *
 * Sums over the schema: the same list that the reader demands.
 */
#include "common/model_parts.h"

static model_part part_of(iviti_owner owner)
{
    if (owner < IVITI_EMBED_POSITION || owner == IVITI_EMBED_NORM) {
        return PART_EMBEDDING;
    }
    if (owner <= IVITI_EMBED_JOIN) {
        return PART_POSITION;
    }
    if (owner <= IVITI_BLOCK_JOIN1) {
        return PART_ATTENTION;
    }
    if (owner <= IVITI_BLOCK_JOIN2) {
        return PART_MLP;
    }
    return owner <= IVITI_MERGE_REDUCTION ? PART_MERGE : PART_HEAD;
}

static uint32_t bits_of(iviti_tensor_type type)
{
    return type == IVITI_TYPE_I8 ? 8 : type == IVITI_TYPE_I16 ? 16 : 32;
}

uint64_t model_parts(const iviti_geometry *g, model_part_size sizes[PART_COUNT])
{
    static const char *const names[PART_COUNT] = {
        [PART_EMBEDDING] = "patch embedding", [PART_POSITION] = "positions",
        [PART_ATTENTION] = "attention",       [PART_MLP] = "MLP",
        [PART_MERGE] = "patch merging",       [PART_HEAD] = "norm and classifier"
    };
    iviti_tensor_spec spec;
    uint64_t bytes = 0;

    for (size_t i = 0; i < PART_COUNT; i++) {
        sizes[i] = (model_part_size){ .name = names[i] };
    }
    for (size_t i = 0; iviti_schema_tensor(g, i, &spec); i++) {
        model_part_size *const part = &sizes[part_of(spec.owner)];
        part->tensors++;
        part->bytes += spec.bytes;
        bytes += spec.bytes;
        if ((spec.kind == IVITI_DENSE && spec.field == IVITI_FIELD_WEIGHT) ||
            spec.owner == IVITI_EMBED_POSITION) {
            const uint64_t count = spec.bits != 0 ? (uint64_t)spec.shape[0] * spec.inputs : spec.count;
            const uint32_t bits = spec.bits != 0 ? spec.bits : bits_of(spec.type);
            part->weights += count;
            part->bits += (double)bits * (double)count;
        }
    }
    for (size_t i = 0; i < PART_COUNT; i++)
        if (sizes[i].weights > 0)
            sizes[i].bits /= (double)sizes[i].weights;
    return bytes;
}

const char *model_type_name(iviti_tensor_type type)
{
    return type == IVITI_TYPE_I8 ? "I8" : type == IVITI_TYPE_I16 ? "I16" : "I32";
}

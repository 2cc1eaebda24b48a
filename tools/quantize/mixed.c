/* SPDX-License-Identifier: Apache-2.0 */
#include "quantize/mixed.h"

#include <stdlib.h>

#include "model/schema.h"
#include "quantize/allocation.h"

static bool is_layer(const iviti_tensor_spec *spec)
{
    switch (spec->owner) {
    case IVITI_BLOCK_QKV:
    case IVITI_BLOCK_PROJ:
    case IVITI_BLOCK_FC1:
    case IVITI_BLOCK_FC2:
    case IVITI_MERGE_REDUCTION:
        return spec->field == IVITI_FIELD_WEIGHT;
    default:
        return false;
    }
}

/* Bytes of each layer's weights in a file, padding included, in all widths. */
static void fill_choices(const sensitivity *s, allocation_choice *choices)
{
    iviti_geometry g = s->geometry;
    for (size_t w = 0; w < SENSITIVITY_WIDTHS; w++) {
        iviti_tensor_spec spec;
        size_t slot = 0;
        for (uint32_t i = 0; i < s->layers; i++)
            g.weight_bits[i] = (uint8_t)sensitivity_bits[w];
        for (size_t i = 0; iviti_schema_tensor(&g, i, &spec) && slot < s->layers; i++)
            if (is_layer(&spec)) {
                choices[slot * SENSITIVITY_WIDTHS + w] = (allocation_choice){
                    s->error[slot][w],
                    (spec.bytes + IVITI_FILE_ALIGNMENT - 1) / IVITI_FILE_ALIGNMENT * IVITI_FILE_ALIGNMENT
                };
                slot++;
            }
    }
}

/* Layers in the order of the network, or in one drawn at random (Fisher and Yates). */
static void fill_order(size_t layers, bool random, uint64_t seed, size_t *order)
{
    uint64_t state = seed;
    for (size_t i = 0; i < layers; i++)
        order[i] = i;
    for (size_t i = layers; i > 1 && random; i--) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        const size_t other = (size_t)((state >> 33) % i), moved = order[i - 1];
        order[i - 1] = order[other];
        order[other] = moved;
    }
}

bool mixed_plan_make(const sensitivity *s, uint64_t lowest_bytes, uint64_t budget,
                     mixed_allocation allocation, uint64_t seed, mixed_plan *plan, report *r)
{
    const size_t layers = s->layers, widths = SENSITIVITY_WIDTHS;
    allocation_choice *choices = calloc(layers * widths, sizeof *choices);
    size_t *order = calloc(layers, sizeof *order);
    uint8_t picked[IVITI_MAX_WEIGHTS];
    bool done = (choices && order) || report_fail(r, "mixed bits: out of memory");

    if (done && budget < lowest_bytes)
        done = report_fail(r, "a budget of %.3f MB is too small; the smallest possible file has %.3f MB",
                           (double)budget / 1e6, (double)lowest_bytes / 1e6);
    if (done) {
        fill_choices(s, choices);
        fill_order(layers, allocation == MIXED_RANDOM, seed, order);
        const uint64_t least = allocation_least(choices, layers, widths);
        const uint64_t of_weights = budget - lowest_bytes + least;
        done = (allocation == MIXED_SENSITIVITY
                    ? allocation_best(choices, layers, widths, of_weights, picked)
                    : allocation_in_order(choices, layers, widths, of_weights, order, picked)) ||
               report_fail(r, "mixed bits: out of memory");
        plan->bytes = lowest_bytes - least;
    }
    for (size_t i = 0; i < layers && done; i++) {
        plan->bits[i] = (uint8_t)sensitivity_bits[picked[i]];
        plan->error[i] = s->error[i][picked[i]];
        plan->bytes += choices[i * widths + picked[i]].bytes;
    }
    free(choices);
    free(order);
    return done;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "quantize/sensitivity.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cblas.h>

#include "quantize/dyadic.h"

#define PICTURES  24  /* at most, on which logits are compared */
#define MEASURED  1   /* the width whose logits are compared */
#define FREE_RANGE 16 /* finer steps of the output than any width asks for */

const int sensitivity_bits[SENSITIVITY_WIDTHS] = { 3, 4, 6, 8 };

/* ---- the float network behind the layer ---------------------------------------------------------- */

static uint32_t first_block(const iviti_geometry *g, uint32_t stage)
{
    uint32_t block = 0;
    for (uint32_t i = 0; i < stage; i++)
        block += g->stage[i].depth;
    return block;
}

static bool merge(sensitivity *s, uint32_t stage, unsigned threads, report *r)
{
    if (!network_run_merge(&s->shadow, stage, s->pictures, threads, s->scratch[0], s->scratch[1], NULL,
                           r))
        return false;
    float *const done = s->scratch[1];
    s->scratch[1] = s->scratch[0];
    s->scratch[0] = done;
    return true;
}

/* The relative squared error of the shadow's logits; its part from `slot` on is what is run. */
static bool logit_error(sensitivity *s, uint32_t slot, unsigned threads, double *error, report *r)
{
    const iviti_geometry *g = &s->shadow.geometry;
    uint32_t stage = 0, block;
    while (stage + 1 < g->stages && slot > iviti_merge_weights(g, stage))
        stage++;
    const bool of_merge = stage + 1 < g->stages && slot == iviti_merge_weights(g, stage);
    const size_t values =
        s->pictures * iviti_stage_tokens(g, stage) * g->stage[stage].dim;
    block = of_merge ? first_block(g, stage + 1) : (slot - stage) / IVITI_BLOCK_WEIGHTS;

    memcpy(s->scratch[0], s->before, values * sizeof *s->before);
    if (of_merge && !merge(s, stage++, threads, r))
        return false;
    for (; block < g->depth; block++) {
        if (block == first_block(g, stage) + g->stage[stage].depth && !merge(s, stage++, threads, r))
            return false;
        if (!network_run_block(&s->shadow, block, s->pictures, threads, s->scratch[0], NULL, r))
            return false;
    }
    if (!network_run_head(&s->shadow, s->pictures, threads, s->scratch[0], s->logits, NULL, NULL, r))
        return false;
    double difference = 0;
    for (size_t i = 0; i < s->pictures * g->classes; i++) {
        const double d = (double)s->logits[i] - s->exact[i];
        difference += d * d;
    }
    *error = s->energy > 0 ? difference / s->energy : 0;
    return true;
}

void sensitivity_enter(sensitivity *s, uint32_t stage, const float *x, size_t count)
{
    const iviti_geometry *g = &s->shadow.geometry;
    const size_t values = (size_t)iviti_stage_tokens(g, stage) * g->stage[stage].dim;
    for (size_t i = 0; i < s->pictures; i++)
        memcpy(s->before + i * values, x + i * count / s->pictures * values, values * sizeof *x);
}

/* ---- one layer ------------------------------------------------------------------------------------ */

static network_linear *place_of(network *n, uint32_t slot)
{
    const iviti_geometry *g = &n->geometry;
    for (uint32_t stage = 0; stage + 1 < g->stages; stage++) {
        if (slot == iviti_merge_weights(g, stage))
            return &n->merges[stage].reduction;
        if (slot < iviti_merge_weights(g, stage)) {
            slot -= stage;
            break;
        }
        if (stage + 2 == g->stages)
            slot -= stage + 1;
    }
    network_block *const b = &n->blocks[slot / IVITI_BLOCK_WEIGHTS];
    network_linear *const layer[] = { &b->qkv, &b->proj, &b->fc1, &b->fc2 };
    return layer[slot % IVITI_BLOCK_WEIGHTS];
}

/* D H D^T over all rows, D what the integers leave of the target (outputs, width). Both in the order of
 * the compensation; product the same size. */
static double own_error(const integer_dense *d, const code *out, const compensation *c,
                        const double *target, double *rest, double *product)
{
    const int rows = (int)d->out, width = (int)c->width;
    const size_t size = (size_t)d->out * c->width;
    double sum = 0;
    for (size_t o = 0; o < d->out; o++) {
        const iviti_dyadic f = { d->factor.multiplier[o], d->factor.shift[o] };
        const double scale = dyadic_to_real(f) * out->scale[o];
        for (size_t k = 0; k < c->width; k++)
            rest[o * c->width + k] =
                target[o * c->width + k] - scale * d->weight[o * c->width + c->order[k]];
    }
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, width, width, 1, rest, width,
                c->square, width, 0, product, width);
    for (size_t i = 0; i < size; i++)
        sum += rest[i] * product[i];
    return sum;
}

/* The errors of all widths at the layer's output, and at the logits of the one that is measured. */
static bool measure(quantizer *q, arena *memory, uint32_t slot, const network_linear *layer,
                    size_t outputs, const code *in, const code *out, const compensation *c,
                    double own[SENSITIVITY_WIDTHS], double *at_logits)
{
    sensitivity *s = q->sensitivity;
    network_linear *const place = place_of(&s->shadow, slot);
    const network_linear saved = *place;
    const network_linear real = { ARENA_TAKE(memory, float, outputs * in->width),
                                  ARENA_TAKE(memory, float, outputs) };
    double *target = ARENA_TAKE(memory, double, outputs * in->width);
    double *rest = ARENA_TAKE(memory, double, outputs * in->width);
    double *product = ARENA_TAKE(memory, double, outputs * in->width);
    if (memory->failed || !compensation_target(c, in, layer->weight, outputs, target))
        return report_fail(q->r, "sensitivity: out of memory");

    for (int w = 0; w < SENSITIVITY_WIDTHS; w++) {
        const dense_fit fit = { .method = q->options->method,
                                .bits = sensitivity_bits[w],
                                .compensation = q->options->compensate ? c : NULL };
        integer_dense d;
        if (!quantize_dense(memory, "sensitivity", layer->weight, layer->bias, outputs, in, out, false,
                            &fit, &d, q->r))
            return false;
        own[w] = own_error(&d, out, c, target, rest, product);
        if (w != MEASURED)
            continue;
        dense_real(&d, in, out, &real);
        *place = real;
        const bool done = logit_error(s, slot, q->options->threads, at_logits, q->r);
        *place = saved;
        if (!done)
            return false;
    }
    return true;
}

bool sensitivity_layer(quantizer *q, uint32_t slot, const network_linear *layer, size_t outputs,
                       const code *in, const code *out, const compensation *c)
{
    arena memory;
    double own[SENSITIVITY_WIDTHS], at_logits = 0;
    arena_init(&memory);
    code wide = code_new(&memory, outputs);
    for (size_t o = 0; o < outputs && !memory.failed; o++) {
        wide.scale[o] = out->scale[o] * FREE_RANGE;
        wide.offset[o] = out->offset[o];
    }
    const bool done = memory.failed ? report_fail(q->r, "sensitivity: out of memory")
                                    : measure(q, &memory, slot, layer, outputs, in, &wide, c, own,
                                              &at_logits);
    for (int w = 0; w < SENSITIVITY_WIDTHS && done; w++)
        q->sensitivity->error[slot][w] = own[MEASURED] > 0 ? at_logits * own[w] / own[MEASURED] : 0;
    arena_free(&memory);
    return done;
}

/* ---- all of it ------------------------------------------------------------------------------------ */

static bool set_up(sensitivity *s, const network *source, const uint8_t *pixels, size_t count,
                   unsigned threads, report *r)
{
    const iviti_geometry *g = &source->geometry;
    const size_t bytes = (size_t)g->image_width * g->image_height * 3;
    size_t values = 0;
    for (uint32_t stage = 0; stage < g->stages; stage++) {
        const size_t of_stage = (size_t)iviti_stage_tokens(g, stage) * g->stage[stage].dim;
        values = of_stage > values ? of_stage : values;
    }
    s->pictures = count < PICTURES ? count : PICTURES;
    s->layers = iviti_weight_layers(g);
    s->shadow = *source;
    s->error = arena_take(&s->memory, s->layers, sizeof *s->error);
    s->shadow.blocks = ARENA_TAKE(&s->memory, network_block, g->depth);
    s->shadow.merges = ARENA_TAKE(&s->memory, network_merge, g->stages);
    s->before = ARENA_TAKE(&s->memory, float, s->pictures *values);
    s->scratch[0] = ARENA_TAKE(&s->memory, float, s->pictures *values);
    s->scratch[1] = ARENA_TAKE(&s->memory, float, s->pictures *values);
    s->exact = ARENA_TAKE(&s->memory, float, s->pictures *g->classes);
    s->logits = ARENA_TAKE(&s->memory, float, s->pictures *g->classes);
    if (s->memory.failed)
        return report_fail(r, "sensitivity: out of memory");
    memcpy(s->shadow.blocks, source->blocks, g->depth * sizeof *source->blocks);
    if (g->stages > 1)
        memcpy(s->shadow.merges, source->merges, (g->stages - 1) * sizeof *source->merges);
    for (size_t i = 0; i < s->pictures; i++)
        if (!network_forward(source, pixels + i * count / s->pictures * bytes, 1, threads,
                             s->exact + i * g->classes, r))
            return false;
    for (size_t i = 0; i < s->pictures * g->classes; i++)
        s->energy += (double)s->exact[i] * s->exact[i];
    return true;
}

bool sensitivity_measure(const network *source, const uint8_t *pixels, size_t count,
                         const quantize_options *options, sensitivity *s, report *r)
{
    quantize_options walk = *options;
    integer_network *unused = NULL;
    quantize_table table;
    *s = (sensitivity){ 0 };
    arena_init(&s->memory);
    walk.weight_bits = sensitivity_bits[MEASURED];
    walk.layer_bits = NULL;
    walk.iterations = 0; /* the layers' codes are the same with and without training */
    walk.sensitivity = s;
    const bool done = set_up(s, source, pixels, count, options->threads, r) &&
                      quantize_network(source, pixels, count, &walk, &unused, &table, r);
    if (done)
        s->geometry = unused->geometry;
    integer_network_free(unused);
    if (!done)
        sensitivity_free(s);
    return done;
}

bool sensitivity_unknown(const network *source, const quantize_options *options, sensitivity *s,
                         report *r)
{
    *s = (sensitivity){ .layers = iviti_weight_layers(&source->geometry) };
    arena_init(&s->memory);
    s->geometry = source->geometry;
    s->geometry.norm_kind = options->operators.norm;
    s->geometry.softmax_kind = options->operators.softmax;
    s->geometry.gelu_kind = options->operators.gelu;
    s->geometry.logits_multiplier = 1u << 30; /* of no matter for the size */
    s->geometry.logits_shift = 30;
    quantize_activation_bits(options, &s->geometry);
    s->error = arena_take(&s->memory, s->layers, sizeof *s->error);
    for (uint32_t i = 0; i < s->layers && s->error; i++)
        for (int w = 0; w < SENSITIVITY_WIDTHS; w++)
            s->error[i][w] = NAN;
    return s->error || report_fail(r, "mixed bits: out of memory");
}

void sensitivity_free(sensitivity *s)
{
    arena_free(&s->memory);
}

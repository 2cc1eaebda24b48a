/* SPDX-License-Identifier: Apache-2.0
 *
 * Where each constant of an I-ViT network comes from: QuantAct buffers `<place>.act_scaling_factor`
 * (I-ViT, official code: models/vit_quant.py and swin_quant.py name the places).
 *
 * Scales and codes are reckoned in single precision, in the order of that code, so that they are
 * its own to the last bit: a code that lies between two integers is rounded as it was in training.
 */
#include "quantize/ivit.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "network/dialect.h"
#include "quantize/dyadic.h"

#define WEIGHT_LIMIT 127
#define COARSER      2.01 /* a factor must be below one half (models/FORMAT.md, dense) */

typedef struct importer {
    const checkpoint *checkpoint;
    const network *source;
    integer_network *out;
    arena *memory;
    arena scratch;
    layer_row *rows;
    size_t row_count;
    report *r;
    bool failed; /* the first sentence is in r */
} importer;

/* The scale of the QuantAct at that place; 1 after a failure, so that callers may go on. */
static double scale_at(importer *m, const char *format, ...)
{
    char place[128], name[160];
    double value = 1;
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(place, sizeof place, format, arguments);
    va_end(arguments);
    snprintf(name, sizeof name, "%s.act_scaling_factor", place);
    if (m->failed)
        return 1;
    if (!network_scalar(m->checkpoint, name, &value)) {
        m->failed = !report_fail(m->r,
                                 "%s: %s is missing: was this I-ViT checkpoint saved after "
                                 "training or evaluation?",
                                 m->checkpoint->file, name);
        return 1;
    }
    if (!(value > 0) || !isfinite(value)) {
        m->failed = !report_fail(m->r, "%s: %s is %g; a scale must be positive",
                                 m->checkpoint->file, name, value);
        return 1;
    }
    return value;
}

/* Whether all went well so far, and there was memory for it. */
static bool room(importer *m, const char *what)
{
    if (!m->failed && (m->memory->failed || m->scratch.failed))
        m->failed = !report_fail(m->r, "%s: out of memory", what);
    return !m->failed;
}

static code uniform(importer *m, size_t width, double scale)
{
    code c = code_new(&m->scratch, width);
    for (size_t i = 0; i < c.width; i++)
        c.scale[i] = scale;
    return c;
}

/* ceil(1 / scale) in single precision, as that code computes its I0. */
static int32_t one_over(importer *m, double scale, int32_t limit, const char *what)
{
    const float value = -floorf(-1.0f / (float)scale);
    if (!(value >= 1 && value <= (float)limit)) {
        m->failed = !report_fail(m->r, "%s: %s has scale %g, whose inverse is beyond 1..%d",
                                 m->checkpoint->file, what, scale, limit);
        return 1;
    }
    return (int32_t)value;
}

static iviti_dyadic factor_of(importer *m, double value, int low, int high)
{
    iviti_dyadic f = { 1 << 30, 30 };
    if (!m->failed && !dyadic_from_real(value, low, high, &f, m->r))
        m->failed = true;
    return f;
}

static void same_factors(importer *m, integer_dyadics *d, size_t count, iviti_dyadic f)
{
    *d = (integer_dyadics){ ARENA_TAKE(m->memory, int32_t, count),
                            ARENA_TAKE(m->memory, int8_t, count) };
    for (size_t i = 0; i < count && !m->memory->failed; i++) {
        d->multiplier[i] = f.multiplier;
        d->shift[i] = (int8_t)f.shift;
    }
}

static integer_join join_of(importer *m, double stream, double branch, double out)
{
    const iviti_dyadic fs = factor_of(m, stream / out, 20, 62);
    const iviti_dyadic fb = factor_of(m, branch / out, 20, 62);
    return (integer_join){ { fs.multiplier, fb.multiplier },
                           { (int8_t)fs.shift, (int8_t)fb.shift } };
}

/* The integer of so many bits that stands for `value`, as that code rounds it. */
static double coded(float value, float scale, int bits)
{
    const double limit = ldexp(1, bits - 1), q = (double)nearbyintf(1.0f / scale * value);
    return q > -limit ? fmin(q, limit - 1) : -limit; /* NaN: a scale of nothing */
}

/* The scale of a row of weights. */
static float weight_scale(const float *row, size_t in)
{
    float largest = 0;
    for (size_t k = 0; k < in; k++)
        largest = fmaxf(largest, fabsf(row[k]));
    return fmaxf(largest / WEIGHT_LIMIT, FLT_EPSILON);
}

/* One output of a dense layer: its weights, bias and factor. */
static bool dense_row(importer *m, const char *name, const network_linear *layer, size_t o,
                      float in_scale, double out_scale, integer_dense *d)
{
    const float *row = layer->weight + o * d->in;
    const float own = weight_scale(row, d->in), scale = own * in_scale;
    int64_t reach = 0;
    iviti_dyadic factor;

    for (size_t k = 0; k < d->in; k++) {
        const double q = coded(row[k], own, 8);
        d->weight[o * d->in + k] = (int8_t)q;
        reach += 255 * (int64_t)fabs(q);
    }
    const double bias = coded(layer->bias[o], scale, 32);
    reach += reach / 2 + 128 + (int64_t)fabs(bias);
    if (reach >= INT32_MAX)
        return report_fail(m->r,
                           "%s: output %zu could overflow its accumulator: its bias is %g "
                           "times the step of its weights",
                           name, o, bias);
    if (!dyadic_from_real((double)scale / out_scale, 32, 62, &factor, NULL))
        return report_fail(m->r, "%s: output %zu has a factor of %g; the limit is one half", name,
                           o, (double)scale / out_scale);
    d->bias[o] = (int32_t)bias;
    d->factor.multiplier[o] = factor.multiplier;
    d->factor.shift[o] = (int8_t)factor.shift;
    return true;
}

static void dense(importer *m, const char *name, const network_linear *layer, size_t in,
                  double in_scale, size_t out, double out_scale, integer_dense *result)
{
    if (m->failed)
        return;
    *result = (integer_dense){
        .in = (uint32_t)in,
        .out = (uint32_t)out,
        .bits = 8,
        .weight = ARENA_TAKE(m->memory, int8_t, in * out),
        .bias = ARENA_TAKE(m->memory, int32_t, out),
        .factor = { ARENA_TAKE(m->memory, int32_t, out), ARENA_TAKE(m->memory, int8_t, out) },
    };
    for (size_t o = 0; o < out && room(m, name); o++)
        m->failed = !dense_row(m, name, layer, o, (float)in_scale, out_scale, result);
    layer_row *row = &m->rows[m->row_count++];
    snprintf(row->name, sizeof row->name, "%s", name);
    row->slot = -1;
    row->bits = 8;
    row->bytes = in * out + 9 * out;
    row->snr = NAN;
}

static void norm(importer *m, const char *name, const network_norm *layer, size_t width,
                 double out_scale, integer_norm *result)
{
    if (m->failed)
        return;
    const code to = uniform(m, width, out_scale);
    m->failed = !room(m, name) ||
                !quantize_norm(m->memory, name, layer, 0, 1, IVITI_NORM_NEWTON, &to, result, m->r);
}

/* Where the s16 output has a finer step than the layer can write, that much of its resolution is
 * empty, and a coarser scale takes its place; only the end of its range moves out. */
static double wide_scale(const network_linear *layer, size_t in, double in_scale, size_t out,
                         double out_scale)
{
    float coarsest = 0;
    for (size_t o = 0; o < out; o++)
        coarsest = fmaxf(coarsest, weight_scale(layer->weight + o * in, in) * (float)in_scale);
    return fmax(out_scale, COARSER * (double)coarsest);
}

/* ---- attention and MLP -------------------------------------------------------------------------- */

/* The s8 bias table at its own scale, brought to that of the logits it is added to. */
static void position_bias(importer *m, const network_block *from, const iviti_stage *s,
                          double table_scale, double logit_scale, integer_block *to)
{
    const size_t count = (size_t)(2 * s->window - 1) * (2 * s->window - 1) * s->heads;
    const iviti_dyadic f = factor_of(m, table_scale / logit_scale, 1, 62);
    to->position_bias = ARENA_TAKE(m->memory, int32_t, count);
    for (size_t i = 0; i < count && room(m, "position bias"); i++) {
        const double q = coded(from->position_bias[i], (float)table_scale, 8);
        to->position_bias[i] = (int32_t)iviti_requantize((int32_t)q, f);
    }
}

/* Everything between norm1 and proj; returns the scale of attention's output. */
static double attention(importer *m, uint32_t block, const char *place, const iviti_stage *s,
                        double qkv_scale)
{
    const bool swin = m->source->geometry.family == IVITI_SWIN;
    const double first = scale_at(m, "%s.attn.qact_attn1", place);
    const double logit = swin ? scale_at(m, "%s.attn.qact2", place) : first;
    const double out = scale_at(m, swin ? "%s.attn.qact3" : "%s.attn.qact2", place);
    const double probability = swin ? 0x1p-7 : 0x1p-15;
    integer_block *b = &m->out->blocks[block];

    const float root = (float)(1 / sqrt((double)s->dim / s->heads));
    const float score = (float)qkv_scale * (float)qkv_scale * root;

    same_factors(m, &b->score, s->heads, factor_of(m, (double)score / first, 1, 62));
    same_factors(m, &b->output, s->heads, factor_of(m, probability * qkv_scale / out, 32, 62));
    b->logit_scale = one_over(m, logit, 1 << 15, place);
    if (swin) {
        const iviti_dyadic f = factor_of(m, first / logit, 24, 62);
        b->bias_multiplier = f.multiplier;
        b->bias_shift = (int8_t)f.shift;
        position_bias(m, &m->source->blocks[block], s, scale_at(m, "%s.attn.qact_table", place),
                      logit, b);
    }
    return out;
}

/* One block; takes the scale of the stream before it and returns that after it. */
static double block(importer *m, uint32_t i, const char *place, const iviti_stage *s, double stream)
{
    const bool swin = m->source->geometry.family == IVITI_SWIN;
    const network_block *from = &m->source->blocks[i];
    integer_block *to = &m->out->blocks[i];
    const size_t dim = s->dim, hidden = s->hidden;
    char name[160];

    const double norm1 = scale_at(m, "%s.qact1", place);
    const double qkv = scale_at(m, "%s.attn.qact1", place);
    double proj = scale_at(m, swin ? "%s.attn.qact4" : "%s.attn.qact3", place);
    const double middle = scale_at(m, "%s.qact2", place);
    const double norm2 = scale_at(m, "%s.qact3", place);
    const double gelu_in = scale_at(m, "%s.mlp.qact_gelu", place);
    const double gelu_out = scale_at(m, "%s.mlp.qact1", place);
    double fc2 = scale_at(m, "%s.mlp.qact2", place);
    const double after = scale_at(m, "%s.qact4", place);

    snprintf(name, sizeof name, "block.%u.norm1", i);
    norm(m, name, &from->norm1, dim, norm1, &to->norm1);
    snprintf(name, sizeof name, "block.%u.qkv", i);
    dense(m, name, &from->qkv, dim, norm1, 3 * dim, qkv, &to->qkv);
    const double attended = attention(m, i, place, s, qkv);
    proj = wide_scale(&from->proj, dim, attended, dim, proj);
    snprintf(name, sizeof name, "block.%u.proj", i);
    dense(m, name, &from->proj, dim, attended, dim, proj, &to->proj);
    to->join1 = join_of(m, stream, proj, middle);

    snprintf(name, sizeof name, "block.%u.norm2", i);
    norm(m, name, &from->norm2, dim, norm2, &to->norm2);
    snprintf(name, sizeof name, "block.%u.fc1", i);
    dense(m, name, &from->fc1, dim, norm2, hidden, gelu_in, &to->fc1);
    to->gelu_scale = one_over(m, (double)((float)gelu_in * 1.702f), 255, place);
    const iviti_dyadic f = factor_of(m, gelu_in / 128 / gelu_out, 24, 62);
    to->gelu_multiplier = f.multiplier;
    to->gelu_shift = (int8_t)f.shift;
    fc2 = wide_scale(&from->fc2, hidden, gelu_out, dim, fc2);
    snprintf(name, sizeof name, "block.%u.fc2", i);
    dense(m, name, &from->fc2, hidden, gelu_out, dim, fc2, &to->fc2);
    to->join2 = join_of(m, middle, fc2, after);
    return after;
}

/* ---- the ends of the network -------------------------------------------------------------------- */

/* The image as s8 of the normalised pixel. */
static void pixel_table(importer *m, double scale)
{
    m->out->pixel_table = ARENA_TAKE(m->memory, int8_t, 3 * 256);
    for (int c = 0; c < 3 && m->out->pixel_table; c++)
        for (int u = 0; u < 256; u++) {
            const float x = ((float)u / 255.0f - m->source->mean[c]) / m->source->std[c];
            m->out->pixel_table[c * 256 + u] = (int8_t)coded(x, (float)scale, 8);
        }
}

/* ViT: patches at their s16 scale join the positions at theirs; the class token is a patch there.
 */
static double vit_embed(importer *m)
{
    const network *n = m->source;
    const iviti_geometry *g = &n->geometry;
    const size_t dim = g->stage[0].dim, tokens = iviti_stage_tokens(g, 0);
    const size_t prefix = g->prefix_tokens * dim;
    const checkpoint_tensor *cls = checkpoint_find(m->checkpoint, "cls_token");
    const checkpoint_tensor *position = checkpoint_find(m->checkpoint, "pos_embed");
    const double image = scale_at(m, "qact_input");
    const size_t inputs = (size_t)g->patch * g->patch * 3;
    const double patch = wide_scale(&n->embed, inputs, image, dim, scale_at(m, "patch_embed.qact"));
    const double pos = scale_at(m, "qact_pos");
    const double stream = scale_at(m, "qact1");

    pixel_table(m, image);
    dense(m, "embed", &n->embed, inputs, image, dim, patch, &m->out->embed);
    m->out->embed_join = join_of(m, pos, patch, stream);

    float *token = ARENA_TAKE(&m->scratch, float, prefix);
    float *positions = ARENA_TAKE(&m->scratch, float, tokens *dim);
    int16_t *table = ARENA_TAKE(m->memory, int16_t, tokens * dim);
    if (room(m, "embed") &&
        (!cls || cls->count != prefix || !position || position->count != tokens * dim))
        m->failed = !report_fail(m->r, "%s: cls_token or pos_embed does not fit %zu tokens of %zu",
                                 m->checkpoint->file, tokens, dim);
    if (m->failed)
        return stream;
    checkpoint_to_float(cls, token);
    checkpoint_to_float(position, positions);
    const iviti_dyadic fs = factor_of(m, pos / stream, 20, 62);
    const iviti_dyadic fb = factor_of(m, patch / stream, 20, 62);
    for (size_t i = 0; i < tokens * dim; i++) {
        table[i] = (int16_t)coded(positions[i], (float)pos, 16);
        if (i < prefix) {
            const int16_t own = (int16_t)coded(token[i], (float)patch, 16);
            iviti_residual_add(&table[i], fs, &own, fb, 1, &table[i]);
        }
    }
    m->out->position = table;
    return stream;
}

static double swin_embed(importer *m)
{
    const network *n = m->source;
    const iviti_geometry *g = &n->geometry;
    const size_t dim = g->stage[0].dim;
    const double image = scale_at(m, "qact_input");
    const double before = scale_at(m, "patch_embed.qact_before_norm");
    const double stream = scale_at(m, "qact1");

    pixel_table(m, image);
    dense(m, "embed", &n->embed, (size_t)g->patch * g->patch * 3, image, dim, before,
          &m->out->embed);
    norm(m, "embed.norm", &n->embed_norm, dim, stream, &m->out->embed_norm);
    return stream;
}

static double merge(importer *m, uint32_t stage)
{
    const size_t dim = m->source->geometry.stage[stage].dim;
    const double normed = scale_at(m, "layers.%u.downsample.qact1", stage);
    const double out = scale_at(m, "layers.%u.downsample.qact2", stage);
    char name[48];

    snprintf(name, sizeof name, "merge.%u.norm", stage);
    norm(m, name, &m->source->merges[stage].norm, 4 * dim, normed, &m->out->merges[stage].norm);
    snprintf(name, sizeof name, "merge.%u.reduction", stage);
    dense(m, name, &m->source->merges[stage].reduction, 4 * dim, normed, 2 * dim, out,
          &m->out->merges[stage].reduction);
    return out;
}

static void head(importer *m)
{
    const network *n = m->source;
    const iviti_geometry *g = &n->geometry;
    const iviti_stage *last = &g->stage[g->stages - 1];
    const double normed = scale_at(m, "qact2");
    double features = normed;

    norm(m, "norm", &n->norm, last->dim, normed, &m->out->norm);
    if (g->family == IVITI_SWIN) {
        const double tokens = (double)last->grid_width * last->grid_height;
        features = scale_at(m, "qact3");
        same_factors(m, &m->out->pool, last->dim, factor_of(m, normed / tokens / features, 1, 62));
    }
    const code in = uniform(m, g->features, features);
    m->failed = !room(m, "head") || !quantize_logits(&m->scratch, m->memory, &n->head, 0, &in,
                                                     RANGE_MINMAX, m->out, m->r);
}

static void walk(importer *m)
{
    const iviti_geometry *g = &m->source->geometry;
    const bool swin = g->family == IVITI_SWIN;
    double stream = swin ? swin_embed(m) : vit_embed(m);
    uint32_t i = 0;

    for (uint32_t stage = 0; stage < g->stages && !m->failed; stage++) {
        for (uint32_t j = 0; j < g->stage[stage].depth; j++, i++) {
            char place[64];
            if (swin)
                snprintf(place, sizeof place, "layers.%u.blocks.%u", stage, j);
            else
                snprintf(place, sizeof place, "blocks.%u", i);
            stream = block(m, i, place, &g->stage[stage], stream);
        }
        if (stage + 1 < g->stages)
            stream = merge(m, stage);
    }
    head(m);
}

bool ivit_import(const checkpoint *c, const network *n, integer_network **out,
                 quantize_table *table, report *r)
{
    const iviti_geometry *g = &n->geometry;
    integer_network *made = calloc(1, sizeof *made);
    importer m = { .checkpoint = c, .source = n, .out = made, .r = r };

    if (!made)
        return report_fail(r, "out of memory");
    arena_init(&made->memory);
    arena_init(&m.scratch);
    m.memory = &made->memory;
    made->geometry = *g;
    made->geometry.pixel_table = true;
    made->geometry.narrow_entry = g->family == IVITI_SWIN;
    made->geometry.norm_kind = IVITI_NORM_NEWTON;
    made->geometry.softmax_kind =
        g->family == IVITI_SWIN ? IVITI_SOFTMAX_SHIFT8 : IVITI_SOFTMAX_SHIFT16;
    made->geometry.gelu_kind = IVITI_GELU_SHIFT;
    made->blocks = ARENA_TAKE(m.memory, integer_block, g->depth);
    made->merges = ARENA_TAKE(m.memory, integer_merge, g->stages);
    m.rows = ARENA_TAKE(m.memory, layer_row, 4 * g->depth + g->stages + 2);
    if (room(&m, "network"))
        walk(&m);
    room(&m, "network");
    arena_free(&m.scratch);
    if (m.failed) {
        integer_network_free(made);
        return false;
    }
    *table = (quantize_table){ m.rows, m.row_count };
    *out = made;
    return true;
}

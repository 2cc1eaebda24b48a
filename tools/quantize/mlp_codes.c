/* SPDX-License-Identifier: Apache-2.0
 *
 * fc1, GELU and fc2.
 *
 * Table GELU: 64 consecutive hidden channels share a table, and the order of hidden channels is
 * free: fc1's rows and fc2's columns may be permuted together. So the channels are sorted by how
 * far they reach, and each group gets a table with input and output codes of its own, fitted
 * together.
 *
 * Hidden channels answer to what is in a picture: one that was silent on all calibration pictures
 * may be loud on the next. So a group is fitted to what its channels did and, no less, to what all
 * channels did. Fitted to its own alone it clips pictures of classes that calibration did not see:
 * on DeiT-T the relative mse of such pictures was 0.042 instead of 0.010, while the calibration
 * pictures showed 0.006. The first block is another matter: it sees edges and colours, which all
 * pictures have, and all blocks after it carry its errors on. Its groups are fitted to their own
 * more than to the others.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quantize/dyadic.h"
#include "quantize/quantizer.h"
#include "quantize/sensitivity.h"

#define FLAT       (-5.0) /* below, GELU is zero to six digits */
#define FINE_BINS  4096
#define LOW_TRIES  12
#define HIGH_TRIES 24
#define NARROWEST  0.15   /* of the full range, for its upper end */

/* What all channels did, beside what the group did. */
#define SHARE_ALL       1.5
#define SHARE_ALL_FIRST 0.1 /* in the first block */
#define SHARE_ALL_FEW   0.6 /* fewer than 8 bits: too coarse to spare any for what was not seen */

#define WIDE_REACH  2.0  /* of what the group reached, */
#define WIDE_MARGIN 1.25 /* and of what all channels did: what a wide table covers */

double quantize_exact_gelu(double x)
{
    return 0.5 * x * (1 + erf(x / sqrt(2)));
}

/* What a group of channels feeds its table, weighted by what an error costs behind fc2. */
typedef struct inputs {
    double low, high;
    double weight[FINE_BINS];
} inputs;

static double bin_value(const inputs *in, int bin)
{
    return in->low + (bin + 0.5) * (in->high - in->low) / FINE_BINS;
}

/* Widens the range to what these channels hold. */
static void cover(inputs *in, const float *x, size_t rows, size_t width, const size_t *channel,
                  size_t channels)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < channels; i++) {
            const double v = x[r * width + channel[i]];
            in->low = fmin(in->low, v);
            in->high = fmax(in->high, v);
        }
}

static void collect(inputs *in, const float *x, size_t rows, size_t width, const size_t *channel,
                    size_t channels, const double *weight, double share)
{
    const double unit = share / (double)(rows * channels);
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < channels; i++) {
            const double v = fmax(x[r * width + channel[i]], in->low);
            const int bin = (int)((v - in->low) / (in->high - in->low) * FINE_BINS);
            in->weight[bin < FINE_BINS ? bin : FINE_BINS - 1] += unit * weight[channel[i]];
        }
}

/* A table with its codes: index i stands for in_offset + in_scale * (i - 128). */
typedef struct gelu_table {
    double in_scale, in_offset, out_scale, out_offset;
    int8_t entry[256];
} gelu_table;

static void build(gelu_table *t, double low, double high, int bits)
{
    double least = 0, most = 0;
    t->in_scale = (high - low) / 255;
    t->in_offset = low + 128 * t->in_scale;
    for (int i = 0; i < 256; i++) {
        const double y = quantize_exact_gelu(low + i * t->in_scale);
        least = fmin(least, y);
        most = fmax(most, y);
    }
    t->out_scale = (most - least) / code_steps(bits);
    t->out_offset = least - code_low(bits) * t->out_scale;
    for (int i = 0; i < 256; i++)
        t->entry[i] =
            (int8_t)floor((quantize_exact_gelu(low + i * t->in_scale) - t->out_offset) / t->out_scale + 0.5);
}

static double table_error(const gelu_table *t, const inputs *in, const double *exact)
{
    double error = 0;
    for (int bin = 0; bin < FINE_BINS; bin++) {
        if (!(in->weight[bin] > 0))
            continue;
        double index = floor((bin_value(in, bin) - t->in_offset) / t->in_scale + 0.5);
        index = index < -128 ? -128 : index > 127 ? 127 : index;
        const double y = t->entry[(int)index + 128] * t->out_scale + t->out_offset;
        error += in->weight[bin] * (y - exact[bin]) * (y - exact[bin]);
    }
    return error;
}

static gelu_table best_table(const inputs *in, int bits, range_method method)
{
    gelu_table best;
    build(&best, in->low, in->high, bits);
    if (method == RANGE_MINMAX)
        return best;

    double exact[FINE_BINS];
    for (int bin = 0; bin < FINE_BINS; bin++)
        exact[bin] = quantize_exact_gelu(bin_value(in, bin));
    double least = table_error(&best, in, exact);
    for (int i = 0; i < HIGH_TRIES; i++)
        for (int k = 0; k < LOW_TRIES; k++) {
            gelu_table t;
            build(&t, in->low * (1 - 0.8 * k / LOW_TRIES),
                  in->high * (1 - (1 - NARROWEST) * i / HIGH_TRIES), bits);
            const double error = table_error(&t, in, exact);
            if (error < least) {
                least = error;
                best = t;
            }
        }
    return best;
}

/* ---- order of the hidden channels -------------------------------------------------------------- */

typedef struct reach {
    size_t channel;
    double high;
} reach;

static int by_reach(const void *a, const void *b)
{
    const reach *x = a, *y = b;
    if (x->high != y->high)
        return x->high < y->high ? -1 : 1;
    return x->channel < y->channel ? -1 : x->channel > y->channel;
}

static size_t *sorted_channels(quantizer *q, const float *x, size_t rows, size_t hidden)
{
    reach *reaches = ARENA_TAKE(&q->scratch, reach, hidden);
    size_t *order = ARENA_TAKE(&q->scratch, size_t, hidden);
    histogram *h = ARENA_TAKE(&q->scratch, histogram, hidden);
    if (q->scratch.failed)
        return NULL;
    histogram_columns(x, rows, hidden, hidden, h);
    for (size_t c = 0; c < hidden; c++)
        reaches[c] = (reach){ c, range_asymmetric(&h[c], 255, q->options->method).high };
    qsort(reaches, hidden, sizeof *reaches, by_reach);
    for (size_t c = 0; c < hidden; c++)
        order[c] = reaches[c].channel;
    return order;
}

/* fc1's rows and fc2's columns in the new order. */
static bool permute(quantizer *q, const network_block *from, const size_t *order, size_t dim,
                    size_t hidden, network_linear *fc1, network_linear *fc2)
{
    *fc1 = (network_linear){ ARENA_TAKE(&q->scratch, float, hidden *dim),
                             ARENA_TAKE(&q->scratch, float, hidden) };
    *fc2 = (network_linear){ ARENA_TAKE(&q->scratch, float, hidden *dim), from->fc2.bias };
    if (q->scratch.failed)
        return false;
    for (size_t c = 0; c < hidden; c++) {
        memcpy(fc1->weight + c * dim, from->fc1.weight + order[c] * dim, dim * sizeof(float));
        fc1->bias[c] = from->fc1.bias[order[c]];
        for (size_t o = 0; o < dim; o++)
            fc2->weight[o * hidden + c] = from->fc2.weight[o * hidden + order[c]];
    }
    return true;
}

/* gelu in the new order, for the fit of fc2. */
static float *permute_columns(quantizer *q, const float *x, size_t rows, size_t width,
                              const size_t *order)
{
    float *y = ARENA_TAKE(&q->scratch, float, rows *width);
    for (size_t r = 0; r < rows && y; r++)
        for (size_t c = 0; c < width; c++)
            y[r * width + c] = x[r * width + order[c]];
    return y;
}

int8_t *quantizer_gelu_tables(quantizer *q, const float *x, size_t rows, size_t hidden,
                              const size_t *order, const double *weight, bool first, code *in,
                              code *out)
{
    const double share = out->bits < 8 ? SHARE_ALL_FEW : first ? SHARE_ALL_FIRST : SHARE_ALL;
    const size_t groups = (hidden + IVITI_GELU_GROUP - 1) / IVITI_GELU_GROUP;
    int8_t *tables = ARENA_TAKE(q->memory, int8_t, groups * 256);
    inputs *seen_inputs = ARENA_TAKE(&q->scratch, inputs, 1);
    inputs *all = ARENA_TAKE(&q->scratch, inputs, 1);
    if (q->scratch.failed || q->memory->failed)
        return NULL;

    all->high = 0.25; /* a layer that is never positive still gets a range */
    cover(all, x, rows, hidden, order, hidden);
    all->low = fmax(all->low, FLAT);
    collect(all, x, rows, hidden, order, hidden, weight, share);
    for (size_t g = 0; g < groups; g++) {
        const size_t begin = g * IVITI_GELU_GROUP;
        const size_t count = hidden - begin < IVITI_GELU_GROUP ? hidden - begin : IVITI_GELU_GROUP;
        *seen_inputs = *all;
        collect(seen_inputs, x, rows, hidden, order + begin, count, weight, 1);
        const gelu_table t = best_table(seen_inputs, out->bits, q->options->method);
        memcpy(tables + g * 256, t.entry, 256);
        for (size_t c = begin; c < begin + count; c++) {
            in->scale[c] = t.in_scale;
            in->offset[c] = t.in_offset;
            out->scale[c] = t.out_scale;
            out->offset[c] = t.out_offset;
        }
    }
    return tables;
}

/* The code that a table gives for index code i of channel c. */
static double entry_of(const code *in, const code *out, size_t c, int i)
{
    return floor((quantize_exact_gelu(in->offset[c] + in->scale[c] * i) - out->offset[c]) /
                     out->scale[c] +
                 0.5);
}

static void fill_wide_tables(const code *in, const code *out, int16_t *tables)
{
    for (size_t c = 0; c < in->width; c += IVITI_GELU_GROUP, tables += IVITI_WIDE_ENTRIES)
        for (int i = code_low(in->bits); i <= code_high(in->bits); i++)
            tables[i - code_low(in->bits)] = (int16_t)fmax(
                code_low(out->bits), fmin(code_high(out->bits), entry_of(in, out, c, i)));
}

/* Codes of 12 bits before and after GELU can spare a range for what was not seen: twice as far as
 * the group reached, or a little beyond what all channels did. */
static void wide_gelu_codes(const network_capture *seen, size_t rows, size_t hidden,
                            const size_t *order, code *in, code *out)
{
    inputs all = { .high = 0.25 };
    cover(&all, seen->fc1, rows, hidden, order, hidden);
    for (size_t begin = 0; begin < hidden; begin += IVITI_GELU_GROUP) {
        const size_t count = hidden - begin < IVITI_GELU_GROUP ? hidden - begin : IVITI_GELU_GROUP;
        inputs group = { .high = 0.25 };
        gelu_table t;
        cover(&group, seen->fc1, rows, hidden, order + begin, count);
        const double low = fmax(FLAT, fmax(WIDE_REACH * group.low, WIDE_MARGIN * all.low));
        const double high = fmin(WIDE_REACH * group.high, WIDE_MARGIN * all.high);
        build(&t, low, high, 8);
        for (size_t c = begin; c < begin + count; c++) {
            in->scale[c] = (high - low) / code_steps(in->bits);
            in->offset[c] = low - code_low(in->bits) * in->scale[c];
            out->scale[c] = t.out_scale * code_steps(8) / code_steps(out->bits);
            out->offset[c] =
                t.out_offset + code_low(8) * t.out_scale - code_low(out->bits) * out->scale[c];
        }
    }
}

static bool table_gelu(quantizer *q, uint32_t block, const network_capture *seen, size_t rows,
                       const size_t *order, size_t dim, size_t hidden, code *in, code *out)
{
    if (out->bits == IVITI_WIDE_BITS) {
        in->bits = IVITI_WIDE_BITS;
        wide_gelu_codes(seen, rows, hidden, order, in, out);
        q->out->blocks[block].wide_gelu =
            ARENA_TAKE(q->memory, int16_t,
                       (hidden + IVITI_GELU_GROUP - 1) / IVITI_GELU_GROUP * IVITI_WIDE_ENTRIES);
        return !q->memory->failed;
    }
    const double *weight =
        quantizer_column_weights(q, &q->source->blocks[block].fc2, hidden, dim);
    int8_t *tables = weight ? quantizer_gelu_tables(q, seen->fc1, rows, hidden, order, weight,
                                                    block == 0, in, out)
                            : NULL;
    q->out->blocks[block].gelu_table = tables;
    return tables != NULL;
}

/* Scales of the tables' outputs that suit fc2, x (rows, width) being what it is given. */
static bool balance_tables(quantizer *q, uint32_t block, const network_linear *fc2, size_t dim,
                           const float *x, size_t rows, const code *in, code *out)
{
    code_observe_weighted(out, x, rows, &q->weights);
    const double *factor = quantizer_balance(q, out, x, rows, fc2, dim,
                                             quantizer_weight_bits(q, block, LAYER_FC2));
    if (!factor)
        return false;
    balance_scales(out, factor);
    if (in->bits == IVITI_WIDE_BITS) {
        fill_wide_tables(in, out, q->out->blocks[block].wide_gelu);
        return true;
    }
    for (size_t c = 0; c < out->width; c += IVITI_GELU_GROUP) {
        int8_t *const table = q->out->blocks[block].gelu_table + c / IVITI_GELU_GROUP * 256;
        for (int i = 0; i < 256; i++)
            table[i] = (int8_t)entry_of(in, out, c, i - 128);
    }
    return true;
}

/* ------------------------------------------------------------------------------------------------- */

/* What the codes around GELU stand for. */
static bool note_reals(quantizer *q, uint32_t block, const code *in, const code *out)
{
    const size_t hidden = in->width;
    double *reals = ARENA_TAKE(q->memory, double, 4 * hidden);
    if (!reals)
        return false;
    memcpy(reals, in->scale, hidden * sizeof *reals);
    memcpy(reals + hidden, in->offset, hidden * sizeof *reals);
    memcpy(reals + 2 * hidden, out->scale, hidden * sizeof *reals);
    memcpy(reals + 3 * hidden, out->offset, hidden * sizeof *reals);
    q->out->blocks[block].reals.gelu = reals;
    return true;
}

bool quantize_mlp_codes(quantizer *q, uint32_t block, const network_capture *seen, size_t rows,
                        mlp_codes *m)
{
    const uint32_t stage = network_stage_of(q->source, block);
    const size_t dim = q->source->geometry.stage[stage].dim;
    const size_t hidden = q->source->geometry.stage[stage].hidden;

    *m = (mlp_codes){ .fc1 = q->source->blocks[block].fc1,
                      .fc2 = q->source->blocks[block].fc2,
                      .in = code_new(&q->scratch, hidden),
                      .out = code_new(&q->scratch, hidden),
                      .gelu = seen->gelu };
    m->out.bits = quantizer_bits(q, block, IVITI_ACTIVATION_FC2);
    if (q->out->geometry.gelu_kind != IVITI_GELU_TABLE)
        return (quantize_row_gelu(q, block, seen, rows, &m->in, &m->out) &&
                note_reals(q, block, &m->in, &m->out)) ||
               report_fail(q->r, "block %u: out of memory", block);
    const size_t *order = sorted_channels(q, seen->fc1, rows, hidden);
    if (!order || !permute(q, &q->source->blocks[block], order, dim, hidden, &m->fc1, &m->fc2) ||
        !table_gelu(q, block, seen, rows, order, dim, hidden, &m->in, &m->out) ||
        !(m->gelu = permute_columns(q, seen->gelu, rows, hidden, order)) ||
        !balance_tables(q, block, &m->fc2, dim, m->gelu, rows, &m->in, &m->out) ||
        !note_reals(q, block, &m->in, &m->out))
        return report_fail(q->r, "block %u: out of memory", block);
    return true;
}

bool quantize_mlp(quantizer *q, uint32_t block, const network_capture *seen, size_t rows,
                  const code *norm2)
{
    const uint32_t stage = network_stage_of(q->source, block);
    const size_t dim = q->source->geometry.stage[stage].dim;
    const size_t hidden = q->source->geometry.stage[stage].hidden;
    integer_block *b = &q->out->blocks[block];
    const int fc2_bits = quantizer_weight_bits(q, block, LAYER_FC2);
    mlp_codes m;
    code branch;
    char name[48];

    if (!quantize_mlp_codes(q, block, seen, rows, &m))
        return false;
    code_observe_weighted(&m.out, m.gelu, rows, &q->weights);
    if (q->sensitivity) { /* the channels of both are in the new order */
        q->sensitivity->shadow.blocks[block].fc1 = m.fc1;
        q->sensitivity->shadow.blocks[block].fc2 = m.fc2;
    }
    snprintf(name, sizeof name, "block.%u.fc1", block);
    if (!quantizer_dense(q, name, &m.fc1, hidden, norm2, &m.in,
                         quantizer_slot(q, block, LAYER_FC1), seen->norm2, rows, &b->fc1) ||
        !quantizer_branch(q, stage, &m.fc2, &m.out, fc2_bits, &branch, &b->join2))
        return false;
    snprintf(name, sizeof name, "block.%u.fc2", block);
    return quantizer_dense(q, name, &m.fc2, dim, &m.out, &branch, quantizer_slot(q, block, LAYER_FC2),
                           m.gelu, rows, &b->fc2);
}

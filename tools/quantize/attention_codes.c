/* SPDX-License-Identifier: Apache-2.0
 *
 * Codes and constants of attention.
 *
 * Three freedoms cost nothing at run time and are used here:
 *  - adding a constant vector to all keys adds a constant to every row of scores, which softmax
 *    ignores: keys are coded about their means;
 *  - a constant vector in the values comes out of attention unchanged, because a row of
 *    probabilities sums to one, and folds into proj's bias: values are coded about their means;
 *  - q.k keeps its value when a channel of q is divided and the same channel of k multiplied: within
 *    a head the channels' scales need only have a common product.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quantize/dyadic.h"
#include "quantize/quantizer.h"

#define TABLE_REACH      9.0 /* units of the logits that exponential tables cover */
#define SCALE_CANDIDATES 24
#define NARROWEST        0.4 /* of the full range, for the scores' common scale */
#define SHRINK_CANDIDATES 24 /* for the output's scale beside that of the values */
#define LARGEST_SHRINK   60.0
#define COUPLE_CANDIDATES 24  /* for the output's scale of a channel with few bits */
#define COUPLE_WIDEST     1.5 /* of the output's full range */
#define COUPLE_NARROWEST  0.08

/* How the exponential table of a block is made: a step of its index in units of the logits, and
 * whether each entry is rounded by itself.
 *
 * In a row with one large probability most tokens have numerators below one half, and they are
 * many: what they weigh together decides how much of all values joins the large one's. So the table
 * reaches far, and what rounding an entry leaves over goes to the next (error diffusion):
 * numerators of tokens of about the same probability are then right on average. Where they are
 * looked at one by one, as by SULQ and by EViT's choice of tokens, they are rounded one by one, as
 * far as 255 e^-x reaches one half. */
typedef struct exp_form {
    double step;
    bool alone;
} exp_form;

static exp_form exp_form_of(const quantizer *q, uint32_t block)
{
    const iviti_geometry *g = &q->out->geometry;
    const bool alone = g->softmax_kind == IVITI_SOFTMAX_SULQ ||
                       (g->prune.kind == IVITI_PRUNE_CLS && iviti_prune_stage(g, block) >= 0);
    return (exp_form){ (alone ? log(2 * 255) : TABLE_REACH) / 254.5, alone };
}

/* Numerators, the first of which is `one`. */
static void fill_exp_table(exp_form form, int one, int table[256])
{
    double over = 0;
    for (int i = 0; i < 255; i++) {
        const double exact = one * exp(-i * form.step) + over;
        const double entry = floor(exact + 0.5);
        over = form.alone ? 0 : exact - entry;
        table[i] = (int)entry;
    }
    table[255] = 0; /* and whatever lies further below */
}

/* Sum over the channels of one head of the error that coding q and k with these scales causes in
 * q.k, taking the errors as independent of the values. */
static double score_error(const histogram *hq, const histogram *hk, size_t width, int bits,
                          double product, const double *balance, const double *power_q,
                          const double *power_k)
{
    double error = 0;
    for (size_t d = 0; d < width; d++) {
        const int steps = code_symmetric_steps(bits);
        const double reach_q = code_high(bits) * sqrt(product) * balance[d];
        const double reach_k = code_high(bits) * sqrt(product) / balance[d];
        error += histogram_error(&hq[d], (range){ -reach_q, reach_q }, steps) * power_k[d];
        error += histogram_error(&hk[d], (range){ hk[d].mean - reach_k, hk[d].mean + reach_k },
                                 steps) *
                 power_q[d];
    }
    return error;
}

/* Scales of one head's q and k channels; returns their common product. */
static double code_scores(quantizer *q, const histogram *hq, const histogram *hk, size_t width,
                          code *qkv, size_t at_q, size_t at_k)
{
    double *balance = ARENA_TAKE(&q->scratch, double, width);
    double *power_q = ARENA_TAKE(&q->scratch, double, width);
    double *power_k = ARENA_TAKE(&q->scratch, double, width);
    if (q->scratch.failed)
        return 1;

    const int steps = code_symmetric_steps(qkv->bits);
    const double codes = code_high(qkv->bits);
    const bool few = qkv->bits < 8; /* clip so much that what is clipped matters for the balance */
    const range_method reaches = few ? q->options->method : RANGE_MINMAX;
    double full = 0;
    for (size_t d = 0; d < width; d++) {
        const double reach_q = range_symmetric(&hq[d], 0, steps, reaches);
        const double reach_k = range_symmetric(&hk[d], hk[d].mean, steps, reaches);
        balance[d] = sqrt(reach_q / reach_k);
        power_q[d] = histogram_power(&hq[d], 0);
        power_k[d] = histogram_power(&hk[d], hk[d].mean);
        full = fmax(full, reach_q * reach_k / (codes * codes));
    }

    double best = full;
    if (q->options->method == RANGE_MSE) {
        double least = INFINITY;
        for (int i = 0; i < SCALE_CANDIDATES; i++) {
            const double shrink = 1 - (1 - NARROWEST) * i / SCALE_CANDIDATES;
            const double error = score_error(hq, hk, width, qkv->bits, full * shrink * shrink,
                                             balance, power_q, power_k);
            if (error < least) {
                least = error;
                best = full * shrink * shrink;
            }
        }
    }
    for (size_t d = 0; d < width; d++) {
        qkv->scale[at_q + d] = sqrt(best) * balance[d];
        qkv->offset[at_q + d] = 0;
        qkv->scale[at_k + d] = sqrt(best) / balance[d];
        qkv->offset[at_k + d] = hk[d].mean;
    }
    return best;
}

/* Values about their means, and the output of the head at a common fraction of their scales: the
 * average of many values has a smaller range than they. Returns that fraction's inverse. */
static double code_values(quantizer *q, const histogram *hv, const histogram *ho, size_t width,
                          const double *weight, code *qkv, size_t at_v, code *out, size_t at_out)
{
    const int steps = code_symmetric_steps(qkv->bits), out_steps = code_symmetric_steps(out->bits);
    const double codes = (double)code_high(out->bits) / code_high(qkv->bits);
    double low = LARGEST_SHRINK * fmax(codes, 1), high = 1;
    for (size_t d = 0; d < width; d++) {
        const double reach = range_symmetric(&hv[d], hv[d].mean, steps, q->options->method);
        const double reach_out = range_symmetric(&ho[d], hv[d].mean, out_steps, RANGE_MINMAX);
        code_set_symmetric(qkv, at_v + d, hv[d].mean, reach);
        low = fmin(low, codes * reach / reach_out);
        high = fmax(high, codes * reach / reach_out);
    }
    low = fmax(low, 0.5);
    high = fmin(fmax(high, low), LARGEST_SHRINK * fmax(codes, 1));

    double best = low, least = INFINITY;
    for (int i = 0; i < SHRINK_CANDIDATES && q->options->method == RANGE_MSE; i++) {
        const double shrink = low * pow(high / low, (double)i / SHRINK_CANDIDATES);
        double error = 0;
        for (size_t d = 0; d < width; d++) {
            const double reach = code_high(out->bits) * qkv->scale[at_v + d] / shrink;
            error += weight[d] * histogram_error(&ho[d], (range){ hv[d].mean - reach,
                                                                  hv[d].mean + reach }, out_steps);
        }
        if (error < least) {
            least = error;
            best = shrink;
        }
    }
    for (size_t d = 0; d < width; d++) {
        out->scale[at_out + d] = qkv->scale[at_v + d] / best;
        out->offset[at_out + d] = hv[d].mean;
    }
    return best;
}

/* Least error of a channel's values and of its output together, where the value's scale is `shrink` times
 * the output's: sets the output's scale. Attention averages values: the share of their variance that
 * is left is the share of their errors that is left. */
static double couple_channel(const histogram *hv, const histogram *ho, double shrink, int value_bits,
                             int out_bits, double *out_scale)
{
    const double centre = ho->mean;
    const double left =
        fmin(1, histogram_power(ho, centre) / fmax(histogram_power(hv, hv->mean), 1e-30));
    const double full = fmax(ho->high - centre, centre - ho->low) / code_high(out_bits);
    double least = INFINITY;
    for (int i = 0; i < COUPLE_CANDIDATES; i++) {
        const double scale = full * COUPLE_WIDEST * pow(COUPLE_NARROWEST, (double)i / COUPLE_CANDIDATES);
        const double out = code_high(out_bits) * scale, in = code_high(value_bits) * scale * shrink;
        const double error =
            histogram_error(ho, (range){ centre - out, centre + out }, code_symmetric_steps(out_bits)) +
            left * histogram_error(hv, (range){ centre - in, centre + in },
                                   code_symmetric_steps(value_bits));
        if (error < least) {
            least = error;
            *out_scale = scale;
        }
    }
    return least;
}

/* The same as code_values for codes of few bits, which cannot waste any: both codes lie about the mean of
 * the output, and the scales are fitted to both. */
static double code_few_values(const histogram *hv, const histogram *ho, size_t width,
                              const double *weight, code *qkv, size_t at_v, code *out, size_t at_out)
{
    double best = 1, least = INFINITY, scale = 1;
    for (int i = 0; i < SHRINK_CANDIDATES; i++) {
        const double shrink = pow(LARGEST_SHRINK, (double)i / SHRINK_CANDIDATES);
        double error = 0;
        for (size_t d = 0; d < width; d++)
            error += weight[d] * couple_channel(&hv[d], &ho[d], shrink, qkv->bits, out->bits, &scale);
        if (error < least) {
            least = error;
            best = shrink;
        }
    }
    for (size_t d = 0; d < width; d++) {
        couple_channel(&hv[d], &ho[d], best, qkv->bits, out->bits, &scale);
        scale = fmax(scale, 1e-9);
        qkv->scale[at_v + d] = best * scale;
        out->scale[at_out + d] = scale;
        qkv->offset[at_v + d] = out->offset[at_out + d] = ho[d].mean;
    }
    return best;
}

/* How much an error in each channel of a layer's input costs at its output. */
double *quantizer_column_weights(quantizer *q, const network_linear *layer, size_t in, size_t out)
{
    double *weight = ARENA_TAKE(&q->scratch, double, in);
    for (size_t o = 0; o < out && weight; o++)
        for (size_t k = 0; k < in; k++)
            weight[k] += (double)layer->weight[o * in + k] * layer->weight[o * in + k];
    return weight;
}

static bool set_factor(quantizer *q, integer_dyadics *factors, size_t head, double value, int low,
                       int high)
{
    iviti_dyadic f;
    if (!dyadic_from_real(value, low, high, &f, q->r))
        return false;
    factors->multiplier[head] = f.multiplier;
    factors->shift[head] = (int8_t)f.shift;
    return true;
}

/* ---- the constants of one block ---------------------------------------------------------------- */

static bool take_block_constants(quantizer *q, integer_block *b, const iviti_stage *s, bool wide)
{
    b->score = (integer_dyadics){ ARENA_TAKE(q->memory, int32_t, s->heads),
                                  ARENA_TAKE(q->memory, int8_t, s->heads) };
    b->output = (integer_dyadics){ ARENA_TAKE(q->memory, int32_t, s->heads),
                                   ARENA_TAKE(q->memory, int8_t, s->heads) };
    b->exp_table = ARENA_TAKE(q->memory, int8_t, 256);
    b->wide_exp = wide ? ARENA_TAKE(q->memory, int16_t, 256) : NULL;
    if (s->window)
        b->position_bias = ARENA_TAKE(q->memory, int32_t,
                                      (2 * s->window - 1) * (2 * s->window - 1) * s->heads);
    b->bias_multiplier = 1 << 30; /* the identity */
    b->bias_shift = 30;
    return !q->memory->failed;
}

/* One real logit is this many units of what the position bias is added to. */
static void code_position_bias(const quantizer *q, uint32_t block, const iviti_stage *s,
                               size_t head, double units)
{
    const float *table = q->source->blocks[block].position_bias;
    const size_t side = 2 * s->window - 1;
    for (size_t i = 0; table && i < side * side; i++)
        q->out->blocks[block].position_bias[i * s->heads + head] =
            (int32_t)fmax(-0x1p24, fmin(0x1p24, nearbyint(table[i * s->heads + head] * units)));
}

/* Scores to table indices. The common product of the scales is enlarged a little so that the
 * factor's multiplier is short, which lets kernels multiply in 32 bits. */
static bool table_head(quantizer *q, uint32_t block, const iviti_stage *s, size_t head,
                       double product, code *qkv)
{
    const size_t hd = s->dim / s->heads;
    const double step = q->out->blocks[block].reals.logit;
    const double factor = product / sqrt((double)hd) / step;
    const double coarse = dyadic_coarse(factor);
    for (size_t d = 0; d < hd; d++)
        qkv->scale[head * hd + d] *= coarse / factor;
    code_position_bias(q, block, s, head, 1 / (coarse * step));
    if (q->out->geometry.prune.kind == IVITI_PRUNE_MERGE &&
        !set_factor(q, &q->out->size, block * s->heads + head, log(2) / 65536 / (coarse * step), 27,
                    62))
        return false;
    return set_factor(q, &q->out->blocks[block].score, head, coarse, 1, 62);
}

static bool logit_head(quantizer *q, uint32_t block, const iviti_stage *s, size_t head,
                       double product)
{
    const double logit_scale = 1.0 / q->out->blocks[block].logit_scale;
    const double factor = product / sqrt((double)(s->dim / s->heads)) / logit_scale;
    code_position_bias(q, block, s, head, 1 / logit_scale);
    return set_factor(q, &q->out->blocks[block].score, head, factor, 1, 62);
}

/* Values and the output share their scales per channel, so both follow what suits proj. */
static bool balance_values(quantizer *q, uint32_t block, const float *x, size_t rows, code *qkv,
                           code *attention)
{
    const size_t dim = attention->width;
    code_observe_weighted(attention, x, rows, &q->weights);
    const double *factor = quantizer_balance(q, attention, x, rows, &q->source->blocks[block].proj,
                                             dim, quantizer_weight_bits(q, block, LAYER_PROJ));
    for (size_t d = 0; d < dim && factor; d++) {
        qkv->scale[2 * dim + d] *= factor[d];
        attention->scale[d] *= factor[d];
    }
    code_observe_weighted(attention, x, rows, &q->weights);
    return factor != NULL;
}

bool quantize_attention(quantizer *q, uint32_t block, const network_capture *seen, size_t rows,
                        code *qkv, code *attention)
{
    const uint32_t stage = network_stage_of(q->source, block);
    const iviti_stage *s = &q->source->geometry.stage[stage];
    const size_t dim = s->dim, hd = dim / s->heads;
    const iviti_softmax_kind kind = q->out->geometry.softmax_kind;
    const bool divided = kind == IVITI_SOFTMAX_TABLE; /* by the row's sum, with the output's factor */
    const exp_form exponentials = exp_form_of(q, block);
    double unit = 1;
    int numerators[256];
    integer_block *b = &q->out->blocks[block];
    histogram *h = ARENA_TAKE(&q->scratch, histogram, 3 * dim);
    histogram *ho = ARENA_TAKE(&q->scratch, histogram, dim);
    const double *weight = quantizer_column_weights(q, &q->source->blocks[block].proj, dim, dim);

    *qkv = code_new(&q->scratch, 3 * dim);
    *attention = code_new(&q->scratch, dim);
    qkv->bits = quantizer_bits(q, block, IVITI_ACTIVATION_ATTENTION);
    attention->bits = quantizer_bits(q, block, IVITI_ACTIVATION_PROJ);
    const bool wide = attention->bits == IVITI_WIDE_BITS;
    if (q->scratch.failed || !take_block_constants(q, b, s, wide))
        return report_fail(q->r, "block %u: out of memory", block);
    histogram_columns(seen->qkv, rows, 3 * dim, 3 * dim, h);
    histogram_columns(seen->attention, rows, dim, dim, ho);
    fill_exp_table(exponentials, wide ? IVITI_WIDE_ENTRIES - 1 : 255, numerators);
    for (int i = 0; i < 256; i++)
        if (wide)
            b->wide_exp[i] = (int16_t)numerators[i];
        else
            b->exp_table[i] = (int8_t)(uint8_t)numerators[i];
    if (!quantize_softmax(q, block, seen, &unit))
        return report_fail(q->r, "block %u: out of memory", block);
    b->reals.probability = unit;
    b->reals.logit = iviti_softmax_has_table(kind) ? exponentials.step : 1.0 / b->logit_scale;

    for (size_t head = 0; head < s->heads; head++) {
        const size_t at = head * hd;
        const double product = code_scores(q, h + at, h + dim + at, hd, qkv, at, dim + at);
        const bool few = qkv->bits < 8 || attention->bits < 8;
        const double shrink =
            few && q->options->method == RANGE_MSE
                ? code_few_values(h + 2 * dim + at, ho + at, hd, weight + at, qkv, 2 * dim + at,
                                  attention, at)
                : code_values(q, h + 2 * dim + at, ho + at, hd, weight + at, qkv, 2 * dim + at,
                              attention, at);
        const bool done = iviti_softmax_has_table(kind)
                              ? table_head(q, block, s, head, product, qkv)
                              : logit_head(q, block, s, head, product);
        const int least = wide ? 22 : divided ? 25 : 32, most = wide ? 38 : divided ? 40 : 62;
        if (!done || !set_factor(q, &b->output, head, shrink * unit, least, most))
            return false;
    }
    return balance_values(q, block, seen->attention, rows, qkv, attention);
}

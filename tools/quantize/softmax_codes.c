/* SPDX-License-Identifier: Apache-2.0
 *
 * The constants that each kind of softmax has of its own, chosen on rows of attention that calibration
 * saw: the scale of s8 logits, and the codes of SULQ.
 */
#include <math.h>

#include "quantize/quantizer.h"
#include "quantize/sulq.h"

#define SAMPLED_ROWS 384 /* query rows, spread over all pictures: what is rare is in few of them */
#define FIRST_ROWS   8   /* one in so many is the first row */
#define EXP_16       32767

/* ---- rows of attention ------------------------------------------------------------------------- */

typedef struct sampler {
    const network *source;
    uint32_t block, stage;
    size_t pictures;
    const float *qkv;
    double *key;   /* (dim) mean of the keys, about which they are coded */
    size_t *list;  /* (tokens) those that a query sees */
    double *logit; /* (tokens) the row at hand */
} sampler;

static bool sampler_open(quantizer *q, uint32_t block, const network_capture *seen, sampler *s)
{
    const uint32_t stage = network_stage_of(q->source, block);
    const size_t tokens = network_tokens_of(q->source, block);
    const size_t dim = q->source->geometry.stage[stage].dim, rows = q->pictures * tokens;
    *s = (sampler){ q->source, block, stage, q->pictures, seen->qkv,
                    ARENA_TAKE(&q->scratch, double, dim), ARENA_TAKE(&q->scratch, size_t, tokens),
                    ARENA_TAKE(&q->scratch, double, tokens) };
    if (q->scratch.failed)
        return false;
    for (size_t i = 0; i < rows; i++)
        for (size_t d = 0; d < dim; d++)
            s->key[d] += seen->qkv[i * 3 * dim + dim + d] / (double)rows;
    return true;
}

/* The tokens that query `row` of a picture sees, as rows of the stage: its (unshifted) window. */
static size_t visible(const iviti_geometry *g, uint32_t stage, size_t all, size_t row,
                      size_t *tokens)
{
    const iviti_stage *s = &g->stage[stage];
    size_t count = 0;
    if (!s->window) {
        for (size_t t = 0; t < all; t++)
            tokens[count++] = t;
        return count;
    }
    const size_t top = row / s->grid_width / s->window * s->window;
    const size_t left = row % s->grid_width / s->window * s->window;
    for (size_t y = top; y < top + s->window; y++)
        for (size_t x = left; x < left + s->window; x++)
            tokens[count++] = y * s->grid_width + x;
    return count;
}

/* Bias of the pair (a, b) of grid cells, facts of the Swin paper, equation 4. */
static double pair_bias(const iviti_stage *s, const float *table, size_t a, size_t b, size_t head)
{
    const long w = (long)s->window;
    const long dy = (long)(a / s->grid_width) - (long)(b / s->grid_width);
    const long dx = (long)(a % s->grid_width) - (long)(b % s->grid_width);
    return table[(size_t)((dy + w - 1) * (2 * w - 1) + dx + w - 1) * s->heads + head];
}

/* The logits of one row of one head, as coded keys give them, to s->logit; returns how many there
 * are. Row 0, a ViT's class token, has a share of its own. */
static size_t sample_row(const sampler *s, size_t sample, size_t head)
{
    const iviti_geometry *g = &s->source->geometry;
    const iviti_stage *stage = &g->stage[s->stage];
    const size_t tokens = network_tokens_of(s->source, s->block);
    const size_t dim = stage->dim, hd = dim / stage->heads;
    const float *table = s->source->blocks[s->block].position_bias;
    const bool first = (sample + sample / s->pictures) % FIRST_ROWS == 0;
    const size_t row = first ? 0 : sample * (tokens * 5 / 8 + 1) % tokens;
    const size_t number = s->pictures > SAMPLED_ROWS ? sample * s->pictures / SAMPLED_ROWS
                                                     : sample % s->pictures;
    const float *picture = s->qkv + number * tokens * 3 * dim;
    const size_t count = visible(g, s->stage, tokens, row, s->list);

    for (size_t i = 0; i < count; i++) {
        s->logit[i] = table ? pair_bias(stage, table, row, s->list[i], head) : 0;
        for (size_t d = 0; d < hd; d++)
            s->logit[i] += picture[row * 3 * dim + head * hd + d] / sqrt((double)hd) *
                           (picture[s->list[i] * 3 * dim + dim + head * hd + d] -
                            s->key[head * hd + d]);
    }
    return count;
}

/* ---- s8 logits --------------------------------------------------------------------------------- */

static iviti_i_exp_constants i_exp_constants(double n)
{
    return (iviti_i_exp_constants){ (int32_t)ceil(0.6931 * n),
                                    (int32_t)floor(0.96963238 / 0.35815147 * n),
                                    (int32_t)floor(n * n / 0.35815147) };
}

static void fill_exponentials(int n, int16_t *table)
{
    for (int i = 0; i < 256; i++)
        table[i] = (int16_t)floor(EXP_16 * exp((double)-i / n) + 0.5);
}

/* Probabilities of one row of s8 logits at scale 1 / n, as the kind of softmax gives them. */
static void integer_row(iviti_softmax_kind kind, const int8_t *coded, size_t count, int n,
                        int16_t *p, double *real)
{
    const int bits = kind == IVITI_SOFTMAX_SHIFT8 ? 8 : 16;
    int16_t table[256];
    int32_t sum = 0;
    int max = coded[0];

    if (kind == IVITI_SOFTMAX_LIS) {
        uint8_t *exponent = (uint8_t *)p;
        iviti_log_int_softmax(coded, count, i_exp_constants(n), exponent);
        for (size_t i = 0; i < count; i++)
            real[i] = exponent[i] < 16 ? ldexp(1, -exponent[i]) : 0;
        return;
    }
    if (kind == IVITI_SOFTMAX_I_EXP) {
        iviti_i_softmax(coded, count, i_exp_constants(n), bits, p);
    } else if (kind == IVITI_SOFTMAX_Q15) {
        fill_exponentials(n, table);
        for (size_t i = 0; i < count; i++)
            max = coded[i] > max ? coded[i] : max;
        for (size_t i = 0; i < count; i++)
            sum += table[max - coded[i]];
        for (size_t i = 0; i < count; i++)
            p[i] = (int16_t)((table[max - coded[i]] * (INT32_MAX / sum)) >> 16);
    } else {
        iviti_shiftmax(coded, count, n, bits, p);
    }
    for (size_t i = 0; i < count; i++)
        real[i] = ldexp(p[i], 1 - bits);
}

/* Room for one row. */
typedef struct row_memory {
    int8_t *coded;
    int16_t *p;
    double *real;
} row_memory;

/* Squared error of the kind at logit scale 1 / n against softmax, over one row of real logits. */
static double row_error(iviti_softmax_kind kind, const double *logit, size_t count, int n,
                        const row_memory *m)
{
    double max = -INFINITY, sum = 0, error = 0;
    for (size_t i = 0; i < count; i++) {
        const double l = floor(logit[i] * n + 0.5);
        m->coded[i] = (int8_t)(l < -128 ? -128 : l > 127 ? 127 : l);
        max = fmax(max, logit[i]);
    }
    for (size_t i = 0; i < count; i++)
        sum += exp(logit[i] - max);
    integer_row(kind, m->coded, count, n, m->p, m->real);
    for (size_t i = 0; i < count; i++) {
        const double d = exp(logit[i] - max) / sum - m->real[i];
        error += d * d;
    }
    return error;
}

/* 1 / scale, or 0 where memory runs out. */
static int best_logit_scale(quantizer *q, uint32_t block, const network_capture *seen)
{
    static const int tries[] = { 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20, 24, 28, 32, 40, 48, 64 };
    const iviti_softmax_kind kind = q->out->geometry.softmax_kind;
    const size_t tokens = network_tokens_of(q->source, block);
    const row_memory m = { ARENA_TAKE(&q->scratch, int8_t, tokens),
                           ARENA_TAKE(&q->scratch, int16_t, tokens),
                           ARENA_TAKE(&q->scratch, double, tokens) };
    double error[sizeof tries / sizeof *tries] = { 0 };
    size_t best = 0;
    sampler s;
    if (!sampler_open(q, block, seen, &s))
        return 0;

    for (size_t sample = 0; sample < SAMPLED_ROWS; sample++)
        for (size_t head = 0; head < q->source->geometry.stage[s.stage].heads; head++) {
            const size_t count = sample_row(&s, sample, head);
            for (size_t i = 0; i < sizeof tries / sizeof *tries; i++)
                error[i] += row_error(kind, s.logit, count, tries[i], &m);
        }
    for (size_t i = 1; i < sizeof tries / sizeof *tries; i++)
        if (error[i] < error[best])
            best = i;
    return tries[best];
}

/* ---- SULQ -------------------------------------------------------------------------------------- */

/* Probabilities that calibration saw; in Swin also 0, which pairs of other regions have. */
static float *sample_probabilities(quantizer *q, uint32_t block, const network_capture *seen,
                                   size_t *count)
{
    const iviti_stage *stage = &q->source->geometry.stage[network_stage_of(q->source, block)];
    const size_t tokens = network_tokens_of(q->source, block);
    float *p = ARENA_TAKE(&q->scratch, float,
                          SAMPLED_ROWS *stage->heads *tokens + 1);
    sampler s;
    *count = 0;
    if (!sampler_open(q, block, seen, &s))
        return NULL;

    for (size_t sample = 0; sample < SAMPLED_ROWS; sample++)
        for (size_t head = 0; head < stage->heads; head++) {
            const size_t row = sample_row(&s, sample, head);
            double max = -INFINITY, sum = 0;
            for (size_t i = 0; i < row; i++)
                max = fmax(max, s.logit[i]);
            for (size_t i = 0; i < row; i++)
                sum += exp(s.logit[i] - max);
            for (size_t i = 0; i < row; i++)
                p[(*count)++] = (float)(exp(s.logit[i] - max) / sum);
        }
    if (stage->window)
        p[(*count)++] = 0;
    return p;
}

static bool choose_sulq(quantizer *q, uint32_t block, const network_capture *seen, double *unit)
{
    const int bits = q->options->activation_bits < 8 ? q->options->activation_bits : SULQ_BITS;
    const iviti_geometry *g = &q->source->geometry;
    const uint32_t number = network_stage_of(q->source, block);
    const iviti_stage *stage = &g->stage[number];
    const double tokens = stage->window ? (double)stage->window * stage->window
                                        : iviti_stage_tokens(g, number);
    integer_block *b = &q->out->blocks[block];
    size_t count;
    const float *p = sample_probabilities(q, block, seen, &count);
    if (!p)
        return false;

    const sulq_code c = sulq_best(p, count, bits);
    const int lowest = sulq_thresholds(&c, b->sulq_thresholds);
    int shift = 8; /* as much of eta as sums of 32 bits leave room for */
    while (shift > 0 && tokens * 128 * (ldexp(128, shift) + ldexp(c.eta, shift - lowest) + 1) >=
                            INT32_MAX)
        shift--;
    b->sulq_eta[0] = shift;
    b->sulq_eta[1] = (int32_t)llround(ldexp(c.eta, shift - lowest));
    *unit = ldexp(1, lowest - shift);
    return true;
}

/* ------------------------------------------------------------------------------------------------ */

bool quantize_softmax(quantizer *q, uint32_t block, const network_capture *seen, double *unit)
{
    const iviti_softmax_kind kind = q->out->geometry.softmax_kind;
    integer_block *b = &q->out->blocks[block];

    *unit = 1;
    if (kind == IVITI_SOFTMAX_TABLE)
        return true;
    if (kind == IVITI_SOFTMAX_SULQ)
        return choose_sulq(q, block, seen, unit);
    *unit = ldexp(1, kind == IVITI_SOFTMAX_SHIFT8 ? -7 : -15);
    b->logit_scale = best_logit_scale(q, block, seen);
    b->exponentials = ARENA_TAKE(q->memory, int16_t, 256);
    if (b->logit_scale == 0 || q->memory->failed)
        return false;
    const iviti_i_exp_constants k = i_exp_constants(b->logit_scale);
    b->exp_polynomial[0] = k.ln2;
    b->exp_polynomial[1] = k.b;
    b->exp_polynomial[2] = k.c;
    fill_exponentials(b->logit_scale, b->exponentials);
    return true;
}

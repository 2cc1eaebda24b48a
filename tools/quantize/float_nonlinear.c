/* SPDX-License-Identifier: Apache-2.0 */
#include "quantize/float_nonlinear.h"

#include <cblas.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "quantize/code.h"
#include "quantize/dyadic.h"

#define MOST_THREADS 64
#define NUMERATOR    255 /* of the largest probability of a row */

/* A layer with weights and factors as floats; the BLAS adds their products exactly below 2^24. */
typedef struct float_dense {
    size_t in, out;
    float *weight; /* (out, in) */
    float *bias;   /* (out) */
    float *factor; /* (out) */
} float_dense;

typedef struct float_block {
    float_dense qkv, proj, fc1, fc2;
} float_block;

struct float_nonlinear {
    const integer_network *n;
    float_dense embed, head;
    float_block *blocks;
    float_dense *reductions; /* (stages - 1) */
    size_t floats;           /* of a workspace */
    arena memory;
};

/* ---- memory ------------------------------------------------------------------------------------ */

static bool prepare(arena *a, const integer_dense *from, float_dense *to)
{
    const size_t in = from->in, out = from->out;
    *to = (float_dense){ in, out, ARENA_TAKE(a, float, in *out), ARENA_TAKE(a, float, out),
                         ARENA_TAKE(a, float, out) };
    if (a->failed)
        return false;
    for (size_t i = 0; i < in * out; i++)
        to->weight[i] = from->weight[i];
    for (size_t o = 0; o < out; o++) {
        to->bias[o] = (float)from->bias[o];
        to->factor[o] = (float)dyadic_to_real(
            (iviti_dyadic){ from->factor.multiplier[o], from->factor.shift[o] });
    }
    return true;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Room of one thread, and what lies where. */
typedef struct room {
    float *stream, *next, *normed, *wide, *attended, *hidden, *scores, *head;
    size_t floats; /* of all of them */
} room;

static room lay_out(const iviti_geometry *g, float *base)
{
    size_t stream = 0, hidden = 0, scores = 0, head = 0;
    for (uint32_t s = 0; s < g->stages; s++) {
        const iviti_stage *stage = &g->stage[s];
        const size_t tokens = iviti_stage_tokens(g, s);
        const size_t seen = stage->window ? (size_t)stage->window * stage->window : tokens;
        stream = larger(stream, tokens * stage->dim);
        hidden = larger(hidden, tokens * stage->hidden);
        scores = larger(scores, seen * seen);
        head = larger(head, seen * (stage->dim / stage->heads));
    }
    const size_t patches =
        (size_t)g->stage[0].grid_width * g->stage[0].grid_height * g->patch * g->patch * 3;
    const size_t sizes[] = { stream,     stream,                  larger(stream, g->features),
                             3 * stream, stream,                  larger(hidden, patches),
                             scores,     4 * head };
    room w = { .floats = 0 };
    float **const parts[] = { &w.stream,   &w.next,   &w.normed, &w.wide,
                              &w.attended, &w.hidden, &w.scores, &w.head };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        *parts[i] = base ? base + w.floats : NULL;
        w.floats += sizes[i];
    }
    return w;
}

bool float_nonlinear_open(const integer_network *n, float_nonlinear **out, report *r)
{
    const iviti_geometry *g = &n->geometry;
    if (!n->blocks[0].reals.gelu || n->pixel_table)
        return report_fail(r, "float operators: this integer network does not come from the quantiser");
    for (uint32_t i = 0; i < iviti_activations(g); i++)
        if (g->activation_bits[i] == IVITI_WIDE_BITS)
            return report_fail(r, "float operators: activations of 12 bits are not simulated");
    if (g->convolutions || g->token_head || g->prune.kind != IVITI_PRUNE_NONE)
        return report_fail(r, "float operators: networks with a stem, a head of the patches or fewer "
                              "tokens in later blocks are not simulated");

    float_nonlinear *f = calloc(1, sizeof *f);
    if (!f)
        return report_fail(r, "float operators: out of memory");
    arena_init(&f->memory);
    f->n = n;
    f->floats = lay_out(g, NULL).floats;
    f->blocks = ARENA_TAKE(&f->memory, float_block, g->depth);
    f->reductions = ARENA_TAKE(&f->memory, float_dense, g->stages);
    bool room_enough = !f->memory.failed && prepare(&f->memory, &n->embed, &f->embed) &&
                       prepare(&f->memory, &n->head, &f->head);
    for (uint32_t i = 0; i < g->depth && room_enough; i++)
        room_enough = prepare(&f->memory, &n->blocks[i].qkv, &f->blocks[i].qkv) &&
                      prepare(&f->memory, &n->blocks[i].proj, &f->blocks[i].proj) &&
                      prepare(&f->memory, &n->blocks[i].fc1, &f->blocks[i].fc1) &&
                      prepare(&f->memory, &n->blocks[i].fc2, &f->blocks[i].fc2);
    for (uint32_t i = 0; i + 1 < g->stages && room_enough; i++)
        room_enough = prepare(&f->memory, &n->merges[i].reduction, &f->reductions[i]);
    if (!room_enough) {
        float_nonlinear_free(f);
        return report_fail(r, "float operators: out of memory");
    }
    *out = f;
    return true;
}

void float_nonlinear_free(float_nonlinear *f)
{
    if (!f)
        return;
    arena_free(&f->memory);
    free(f);
}

/* ---- layers ------------------------------------------------------------------------------------ */

static float round_to(double value, double low, double high)
{
    return (float)fmax(low, fmin(high, floor(value + 0.5)));
}

/* y = (x W^T + bias) * factor, not rounded. */
static void dense(const float_dense *d, const float *x, size_t rows, float *y)
{
    for (size_t i = 0; i < rows; i++)
        memcpy(y + i * d->out, d->bias, d->out * sizeof *y);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)d->out, (int)d->in, 1, x,
                (int)d->in, d->weight, (int)d->in, 1, y, (int)d->out);
    for (size_t i = 0; i < rows; i++)
        for (size_t o = 0; o < d->out; o++)
            y[i * d->out + o] *= d->factor[o];
}

static double factor_of(const integer_dyadics *d, size_t i)
{
    return dyadic_to_real((iviti_dyadic){ d->multiplier[i], d->shift[i] });
}

/* stream = stream * fs + branch * fb */
static void join(const integer_join *j, const float *branch, size_t count, float *stream)
{
    const double fs = dyadic_to_real((iviti_dyadic){ j->multiplier[0], j->shift[0] });
    const double fb = dyadic_to_real((iviti_dyadic){ j->multiplier[1], j->shift[1] });
    for (size_t i = 0; i < count; i++)
        stream[i] = (float)(stream[i] * fs + branch[i] * fb);
}

/* LayerNorm with the constants of the integer one. bits 0: the result is not an operand, and not rounded. */
static void normalise(const integer_norm *n, iviti_norm_kind kind, const float *x, size_t rows,
                      int bits, float *y)
{
    const size_t width = n->width;
    const double unit = kind == IVITI_NORM_NEWTON ? 0x1p30 / sqrt((double)width) : 0x1p16;
    const double epsilon = kind == IVITI_NORM_EXACT ? ldexp(n->epsilon[0], n->epsilon[1]) : 1;

    for (size_t i = 0; i < rows; i++, x += width, y += width) {
        double mean = 0, variance = 0;
        for (size_t c = 0; c < width; c++)
            mean += x[c] / (double)width;
        for (size_t c = 0; c < width; c++)
            variance += (x[c] - mean) * (x[c] - mean) / (double)width;
        const double inverse =
            unit / sqrt(variance + epsilon / ((double)width * (double)width)) / 256;
        for (size_t c = 0; c < width; c++) {
            const double v =
                (x[c] - mean) * inverse * factor_of(&n->factor, c) + n->bias[c] / 256.0;
            y[c] = bits ? round_to(v, code_low(bits), code_high(bits)) : (float)v;
        }
    }
}

static void gelu(const integer_reals *reals, int bits, size_t rows, size_t hidden, float *x)
{
    const double *in = reals->gelu, *out = reals->gelu + 2 * hidden;
    for (size_t i = 0; i < rows; i++, x += hidden)
        for (size_t c = 0; c < hidden; c++) {
            const double v = x[c] * in[c] + in[hidden + c];
            const double y = 0.5 * v * (1 + erf(v * 0.70710678118654752440));
            x[c] = round_to((y - out[hidden + c]) / out[c], code_low(bits), code_high(bits));
        }
}

/* ---- attention --------------------------------------------------------------------------------- */

/* Tokens that see each other: all, or a window's, of which those of other regions do not. */
typedef struct group {
    size_t count;
    uint32_t window; /* 0: all */
    size_t token[IVITI_MAX_TOKENS];
    uint8_t region[IVITI_MAX_TOKENS];
} group;

static double bias_of(const integer_block *b, const iviti_stage *s, size_t head, size_t query,
                      size_t key)
{
    const long w = (long)s->window;
    const long dy = (long)query / w - (long)key / w, dx = (long)query % w - (long)key % w;
    const size_t entry = (size_t)((dy + w - 1) * (2 * w - 1) + dx + w - 1);
    return b->position_bias[entry * s->heads + head];
}

/* Sums of q.k to numerators, the largest of a row being 255; returns their sum. */
static double softmax(const integer_block *b, iviti_softmax_kind kind, const iviti_stage *s,
                      size_t head, const group *t, size_t query, float *row)
{
    const bool table = iviti_softmax_has_table(kind);
    const double score = factor_of(&b->score, head);
    const double second =
        dyadic_to_real((iviti_dyadic){ b->bias_multiplier, b->bias_shift });
    double most = -INFINITY, sum = 0;

    for (size_t k = 0; k < t->count; k++) {
        const double bias = t->window ? bias_of(b, s, head, query, k) : 0;
        const double index =
            table ? (row[k] + bias) * score : row[k] * score * (t->window ? second : 1) + bias;
        row[k] = t->region[k] == t->region[query] ? (float)(index * b->reals.logit) : -INFINITY;
        most = fmax(most, row[k]);
    }
    for (size_t k = 0; k < t->count; k++) {
        row[k] = (float)floor(NUMERATOR * exp(row[k] - most) + 0.5);
        sum += row[k];
    }
    return sum;
}

static void attend(const integer_block *b, iviti_softmax_kind kind, const iviti_stage *s,
                   const group *t, int bits, const float *qkv, const room *w, float *out)
{
    const size_t dim = s->dim, hd = dim / s->heads, n = t->count;
    float *q = w->head, *k = q + n * hd, *v = k + n * hd, *o = v + n * hd;

    for (size_t head = 0; head < s->heads; head++) {
        for (size_t i = 0; i < n; i++) {
            const float *from = qkv + t->token[i] * 3 * dim + head * hd;
            memcpy(q + i * hd, from, hd * sizeof *q);
            memcpy(k + i * hd, from + dim, hd * sizeof *k);
            memcpy(v + i * hd, from + 2 * dim, hd * sizeof *v);
        }
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n, (int)n, (int)hd, 1, q, (int)hd,
                    k, (int)hd, 0, w->scores, (int)n);
        for (size_t i = 0; i < n; i++)
            q[i] = (float)softmax(b, kind, s, head, t, i, w->scores + i * n); /* q is not needed now */
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)n, (int)hd, (int)n, 1,
                    w->scores, (int)n, v, (int)hd, 0, o, (int)hd);
        const double factor = factor_of(&b->output, head) / b->reals.probability;
        for (size_t i = 0; i < n; i++)
            for (size_t d = 0; d < hd; d++)
                out[t->token[i] * dim + head * hd + d] = round_to(
                    o[i * hd + d] * factor / q[i], code_low(bits), code_high(bits));
    }
}

/* The window at (top, left) of the grid rolled by `shift`, as the library's sessions have it. */
static void fill_window(const iviti_stage *s, uint32_t shift, uint32_t top, uint32_t left, group *t)
{
    const uint32_t w = s->window;
    t->window = w;
    t->count = (size_t)w * w;
    for (uint32_t i = 0; i < w * w; i++) {
        const uint32_t y = top + i / w, x = left + i % w;
        const int down = shift == 0 ? 0 : y >= s->grid_height - shift ? 2 : y >= s->grid_height - w;
        const int right = shift == 0 ? 0 : x >= s->grid_width - shift ? 2 : x >= s->grid_width - w;
        t->token[i] = (size_t)((y + shift) % s->grid_height) * s->grid_width +
                      (x + shift) % s->grid_width;
        t->region[i] = (uint8_t)(3 * down + right);
    }
}

static void attend_all(const integer_network *n, uint32_t block, uint32_t stage, uint32_t in_stage,
                       int bits, const room *w)
{
    const iviti_stage *s = &n->geometry.stage[stage];
    const integer_block *b = &n->blocks[block];
    const iviti_softmax_kind kind = n->geometry.softmax_kind;
    group t = { .count = iviti_stage_tokens(&n->geometry, stage) };

    if (!s->window) {
        for (size_t i = 0; i < t.count; i++)
            t.token[i] = i;
        attend(b, kind, s, &t, bits, w->wide, w, w->attended);
        return;
    }
    const bool shifts = s->window < s->grid_width && s->window < s->grid_height && in_stage % 2;
    for (uint32_t top = 0; top < s->grid_height; top += s->window)
        for (uint32_t left = 0; left < s->grid_width; left += s->window) {
            fill_window(s, shifts ? s->window / 2 : 0, top, left, &t);
            attend(b, kind, s, &t, bits, w->wide, w, w->attended);
        }
}

/* ---- the network ------------------------------------------------------------------------------- */

static void embed(const float_nonlinear *f, const uint8_t *pixels, const room *w)
{
    const integer_network *n = f->n;
    const iviti_geometry *g = &n->geometry;
    const size_t dim = g->stage[0].dim, row = (size_t)g->image_width * 3;
    const size_t grid = (size_t)g->stage[0].grid_width * g->stage[0].grid_height;
    const size_t prefix = g->prefix_tokens * dim;
    float *patch = w->hidden;

    for (size_t top = 0; top < g->image_height; top += g->patch)
        for (size_t left = 0; left < g->image_width; left += g->patch)
            for (size_t y = top; y < top + g->patch; y++)
                for (size_t i = 0; i < 3 * g->patch; i++)
                    *patch++ = pixels[y * row + left * 3 + i];
    dense(&f->embed, w->hidden, grid, w->wide);
    if (g->family == IVITI_SWIN) {
        normalise(&n->embed_norm, g->norm_kind, w->wide, grid, 0, w->stream);
        return;
    }
    for (size_t i = 0; i < prefix + grid * dim; i++)
        w->stream[i] = n->position[i];
    join(&n->embed_join, w->wide, grid * dim, w->stream + prefix);
}

static void run_block(const float_nonlinear *f, uint32_t block, uint32_t stage, uint32_t in_stage,
                      const room *w)
{
    const integer_network *n = f->n;
    const iviti_geometry *g = &n->geometry;
    const integer_block *b = &n->blocks[block];
    const float_block *layers = &f->blocks[block];
    const size_t tokens = iviti_stage_tokens(g, stage), dim = g->stage[stage].dim;
    int bits[IVITI_BLOCK_ACTIVATIONS];
    for (int i = 0; i < IVITI_BLOCK_ACTIVATIONS; i++)
        bits[i] = iviti_activation_bits(g, iviti_block_activation(block, stage, (iviti_activation)i));

    normalise(&b->norm1, g->norm_kind, w->stream, tokens, bits[IVITI_ACTIVATION_QKV], w->normed);
    dense(&layers->qkv, w->normed, tokens, w->wide);
    for (size_t i = 0; i < tokens * 3 * dim; i++)
        w->wide[i] = round_to(w->wide[i], code_low(bits[IVITI_ACTIVATION_ATTENTION]),
                              code_high(bits[IVITI_ACTIVATION_ATTENTION]));
    attend_all(n, block, stage, in_stage, bits[IVITI_ACTIVATION_PROJ], w);
    dense(&layers->proj, w->attended, tokens, w->wide);
    join(&b->join1, w->wide, tokens * dim, w->stream);

    normalise(&b->norm2, g->norm_kind, w->stream, tokens, bits[IVITI_ACTIVATION_FC1], w->normed);
    dense(&layers->fc1, w->normed, tokens, w->hidden);
    gelu(&b->reals, bits[IVITI_ACTIVATION_FC2], tokens, g->stage[stage].hidden, w->hidden);
    dense(&layers->fc2, w->hidden, tokens, w->wide);
    join(&b->join2, w->wide, tokens * dim, w->stream);
}

/* Four neighbours side by side, down before right. */
static void run_merge(const float_nonlinear *f, uint32_t stage, room *w)
{
    const iviti_geometry *g = &f->n->geometry;
    const iviti_stage *s = &g->stage[stage];
    const size_t tokens = (size_t)s->grid_width * s->grid_height / 4;
    const int bits = iviti_activation_bits(g, iviti_merge_activation(g, stage));
    float *to = w->wide;

    for (size_t y = 0; y < s->grid_height; y += 2)
        for (size_t x = 0; x < s->grid_width; x += 2)
            for (size_t i = 0; i < 4; i++, to += s->dim)
                memcpy(to, w->stream + ((y + i % 2) * s->grid_width + x + i / 2) * s->dim,
                       s->dim * sizeof *to);
    normalise(&f->n->merges[stage].norm, g->norm_kind, w->wide, tokens, bits, w->normed);
    dense(&f->reductions[stage], w->normed, tokens, w->next);
    float *const old = w->stream;
    w->stream = w->next;
    w->next = old;
}

static void run_head(const float_nonlinear *f, const room *w, float *logits)
{
    const integer_network *n = f->n;
    const iviti_geometry *g = &n->geometry;
    const uint32_t last = g->stages - 1;
    const size_t dim = g->stage[last].dim;
    const double scale = ldexp(g->logits_multiplier, -(int)g->logits_shift);
    const size_t tokens = g->prefix_tokens ? g->prefix_tokens : iviti_stage_tokens(g, last);

    normalise(&n->norm, g->norm_kind, w->stream, tokens, 8, w->normed);
    for (size_t c = 0; c < dim && !g->prefix_tokens; c++) {
        double sum = 0;
        for (size_t i = 0; i < tokens; i++)
            sum += w->normed[i * dim + c];
        w->normed[c] = round_to(sum * factor_of(&n->pool, c), -128, 127);
    }
    dense(&f->head, w->normed, 1, logits);
    for (size_t c = 0; c < g->classes; c++)
        logits[c] = (float)(logits[c] * scale);
}

static void run_picture(const float_nonlinear *f, const uint8_t *pixels, float *memory,
                        float *logits)
{
    const iviti_geometry *g = &f->n->geometry;
    room w = lay_out(g, memory);
    uint32_t block = 0;

    embed(f, pixels, &w);
    for (uint32_t stage = 0; stage < g->stages; stage++) {
        for (uint32_t i = 0; i < g->stage[stage].depth; i++)
            run_block(f, block++, stage, i, &w);
        if (stage + 1 < g->stages)
            run_merge(f, stage, &w);
    }
    run_head(f, &w, logits);
}

/* ---- threads ----------------------------------------------------------------------------------- */

typedef struct job {
    const float_nonlinear *f;
    const uint8_t *pixels;
    float *logits;
    size_t count;
    atomic_size_t next;
} job;

static void *work(void *argument)
{
    job *j = argument;
    const iviti_geometry *g = &j->f->n->geometry;
    const size_t bytes = (size_t)g->image_width * g->image_height * 3;
    float *memory = malloc(j->f->floats * sizeof *memory);
    if (!memory)
        return NULL;
    for (size_t i = atomic_fetch_add(&j->next, 1); i < j->count; i = atomic_fetch_add(&j->next, 1))
        run_picture(j->f, j->pixels + i * bytes, memory, j->logits + i * g->classes);
    free(memory);
    return NULL;
}

static void use_one_blas_thread(void)
{
    openblas_set_num_threads(1);
}

bool float_nonlinear_run(const float_nonlinear *f, const uint8_t *pixels, size_t count,
                         unsigned threads, float *logits, report *r)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_t thread[MOST_THREADS];
    unsigned started = 0;
    job j = { .f = f, .pixels = pixels, .logits = logits, .count = count };
    atomic_init(&j.next, 0);
    pthread_once(&once, use_one_blas_thread);
    while (started + 1 < threads && started + 1 < count && started < MOST_THREADS &&
           pthread_create(&thread[started], NULL, work, &j) == 0)
        started++;
    work(&j);
    for (unsigned i = 0; i < started; i++)
        pthread_join(thread[i], NULL);
    /* pictures are only left over where not one thread had memory */
    return atomic_load(&j.next) >= count || report_fail(r, "float operators: out of memory");
}

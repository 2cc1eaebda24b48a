/* SPDX-License-Identifier: Apache-2.0
 *
 * From ratings to the tokens that are left: choosing, copying, fusing and merging, and what a caller may
 * ask about it afterwards.
 */
#include "graph/prune.h"

#include <string.h>

#include "kernels/requantize.h"

#define FUSED UINT32_MAX /* in a list of tokens: none of them, but the others' mean */

/* A thread's notes on one picture: which tokens are left, by their old numbers. */
typedef struct choice {
    uint8_t *chosen;  /* (tokens) 1: of those rated highest, to be kept or to be merged */
    uint32_t *list;   /* (tokens) of those that go on */
    uint32_t *merged; /* (merges) merging: those that do not */
    size_t merges;
    int64_t *sum;     /* (dim) */
} choice;

static size_t round_up(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

size_t iviti_choice_bytes(const iviti_geometry *g)
{
    const size_t tokens = iviti_stage_tokens(g, 0) + 1, dim = g->stage[0].dim;
    return 3 * round_up(tokens * sizeof(uint32_t)) + round_up(dim * sizeof(int64_t));
}

static choice choice_of(const iviti_session *s, unsigned thread)
{
    const size_t tokens = iviti_stage_tokens(&s->model->geometry, 0) + 1;
    uint8_t *at = s->buffers.choice + thread * s->buffers.choice_bytes;
    const size_t bytes = round_up(tokens * sizeof(uint32_t));
    return (choice){ .chosen = at,
                     .list = (uint32_t *)(void *)(at + bytes),
                     .merged = (uint32_t *)(void *)(at + 2 * bytes),
                     .sum = (int64_t *)(void *)(at + 3 * bytes) };
}

/* The n-th largest rating of tokens first, first + step, ..., bit by bit: always the same time. n is at
 * least 1 and at most their number. */
static uint32_t nth_largest(const uint32_t *rating, size_t first, size_t step, size_t tokens, size_t n)
{
    uint32_t largest = 0;
    for (uint32_t bit = UINT32_C(1) << 31; bit; bit >>= 1) {
        const uint32_t least = largest | bit;
        size_t reach = 0;
        for (size_t i = first; i < tokens; i += step)
            reach += rating[i] >= least;
        largest = reach >= n ? least : largest;
    }
    return largest;
}

/* Chooses the n of these tokens that are rated highest, of equal ones the lower. */
static void choose(const uint32_t *rating, size_t first, size_t step, size_t tokens, size_t n,
                   uint8_t *chosen)
{
    const uint32_t least = nth_largest(rating, first, step, tokens, n);
    memset(chosen, 0, tokens);
    for (size_t i = first; i < tokens; i += step) {
        chosen[i] = rating[i] > least;
        n -= chosen[i];
    }
    for (size_t i = first; i < tokens && n; i += step)
        if (rating[i] == least) {
            chosen[i] = 1;
            n--;
        }
}

/* Patches of the highest rating, and in the end the fused token. */
static void choose_kept(const iviti_session *s, uint32_t stage, const iviti_tokens *t,
                        size_t picture, choice *c)
{
    const iviti_prune *p = &s->model->geometry.prune;
    const size_t prefix = s->model->geometry.prefix_tokens;
    size_t n = 0;

    choose(s->buffers.rating + picture * t->window, prefix, 1, t->window, p->kept[stage], c->chosen);
    for (size_t i = 0; i < t->window; i++)
        if (i < prefix || c->chosen[i])
            c->list[n++] = (uint32_t)i;
    if (p->fuse != IVITI_FUSE_NONE)
        c->list[n] = FUSED;
}

/* All but those tokens of A that are most like their partners. */
static void choose_merged(const iviti_session *s, uint32_t stage, const iviti_tokens *t,
                          size_t picture, choice *c)
{
    const iviti_geometry *g = &s->model->geometry;
    const size_t merges = t->window - g->prefix_tokens - g->prune.kept[stage];
    size_t n = 0;

    choose(s->buffers.rating + picture * t->window, 2, 2, t->window, merges, c->chosen);
    c->merges = 0;
    for (size_t i = 0; i < t->window; i++)
        if (c->chosen[i])
            c->merged[c->merges++] = (uint32_t)i;
        else
            c->list[n++] = (uint32_t)i;
}

static size_t origin_of(const iviti_session *s, const iviti_tokens *t, size_t row)
{
    return t->origin ? t->origin[row]
                     : row % t->window - s->model->geometry.prefix_tokens;
}

static uint32_t size_of(const iviti_tokens *t, size_t row)
{
    return t->size ? t->size[row] : 1;
}

/* EViT: one token of all that are not kept, weighted by the class token's attention; `y` is its row. */
static void fuse(const iviti_session *s, const iviti_tokens *t, size_t picture, const choice *c,
                 int16_t *y)
{
    const iviti_geometry *g = &s->model->geometry;
    const size_t dim = g->stage[0].dim, stride = iviti_row_stride(dim);
    const bool mean = g->prune.fuse == IVITI_FUSE_MEAN;
    const uint32_t *rating = s->buffers.rating + picture * t->window;
    int64_t weights = mean ? 0 : (int64_t)g->stage[0].heads << 16;

    memset(c->sum, 0, dim * sizeof *c->sum);
    for (size_t i = g->prefix_tokens; i < t->window; i++) {
        if (c->chosen[i])
            continue;
        const int16_t *x = t->stream + (picture * t->window + i) * stride;
        const int64_t weight = (int64_t)rating[i] + mean; /* some weight even if nobody looks */
        for (size_t k = 0; k < dim; k++)
            c->sum[k] += weight * x[k];
        weights += mean ? weight : 0;
    }
    for (size_t k = 0; k < dim; k++) { /* floor(sum / weights + 1/2) */
        const int64_t twice = 2 * c->sum[k] + weights, below = twice % (2 * weights) < 0;
        y[k] = iviti_saturate_s16(twice / (2 * weights) - below);
    }
}

/* Merging: the mean of token `token` of B and those of A that join it, weighted by their sizes. Returns
 * the size of them all. */
static uint32_t merge(const iviti_session *s, const iviti_tokens *t, size_t picture, size_t token,
                      const choice *c, int16_t *y)
{
    const size_t dim = s->model->geometry.stage[0].dim, stride = iviti_row_stride(dim);
    const size_t first = picture * t->window;
    const uint16_t *partner = s->buffers.alike.partner + picture * s->buffers.alike.a_tokens;
    const int16_t *own = t->stream + (first + token) * stride;
    const uint32_t size = size_of(t, first + token);
    uint32_t total = size;

    for (size_t m = 0; m < c->merges; m++) {
        const size_t i = c->merged[m];
        if (partner[i / 2] != token / 2)
            continue;
        const int16_t *x = t->stream + (first + i) * stride;
        const uint32_t weight = size_of(t, first + i);
        for (size_t k = 0; k < dim && total == size; k++)
            c->sum[k] = (int64_t)size * own[k];
        for (size_t k = 0; k < dim; k++)
            c->sum[k] += (int64_t)weight * x[k];
        total += weight;
    }
    if (total == size)
        return size;
    const iviti_dyadic share = iviti_reciprocal(total, IVITI_DYADIC_ONE);
    for (size_t k = 0; k < dim; k++)
        y[k] = iviti_saturate_s16(
            iviti_scale((int32_t)c->sum[k], share.multiplier, share.shift));
    return total;
}

/* Which patch's token each patch has gone into. */
static void note_groups(iviti_session *s, uint32_t stage, const iviti_tokens *t, size_t picture,
                        const choice *c)
{
    const size_t patches = iviti_stage_tokens(&s->model->geometry, 0) - s->model->geometry.prefix_tokens;
    const uint16_t *partner = s->buffers.alike.partner + picture * s->buffers.alike.a_tokens;
    uint16_t *group = s->buffers.group + picture * patches;

    for (size_t p = 0; p < patches && stage == 0; p++)
        group[p] = (uint16_t)p;
    for (size_t m = 0; m < c->merges; m++) {
        const size_t i = c->merged[m];
        const size_t from = origin_of(s, t, picture * t->window + i);
        const size_t to = origin_of(s, t, picture * t->window + 2 * (size_t)partner[i / 2] + 1);
        for (size_t p = 0; p < patches; p++)
            group[p] = group[p] == from ? (uint16_t)to : group[p];
    }
}

/* Row `row` of the tokens `to`, token `number` of which was token c->list[number] of `from`. */
static void copy_row(iviti_session *s, const iviti_tokens *from, size_t picture, size_t number,
                     const choice *c, size_t row, int16_t *stream, uint16_t *origin, uint16_t *size)
{
    const iviti_geometry *g = &s->model->geometry;
    const size_t dim = g->stage[0].dim, stride = iviti_row_stride(dim);
    const uint32_t token = c->list[number];
    int16_t *y = stream + row * stride;

    origin[row] = IVITI_NO_PATCH;
    if (token == FUSED) {
        fuse(s, from, picture, c, y);
        return;
    }
    const size_t old = picture * from->window + token;
    if (token >= g->prefix_tokens)
        origin[row] = (uint16_t)origin_of(s, from, old);
    memcpy(y, from->stream + old * stride, dim * sizeof *y);
    if (g->prune.kind == IVITI_PRUNE_MERGE)
        size[row] = (uint16_t)(token >= g->prefix_tokens && !iviti_in_a(token)
                                   ? merge(s, from, picture, token, c, y)
                                   : size_of(from, old));
}

/* For the caller, by the thread that owns the picture's first row. */
static void note(iviti_session *s, uint32_t stage, const iviti_tokens *from, size_t picture,
                 const choice *c)
{
    const iviti_geometry *g = &s->model->geometry;
    const size_t patches = iviti_stage_tokens(g, 0) - g->prefix_tokens;
    uint32_t *kept = s->buffers.kept + (stage * s->batch + picture) * patches;

    for (size_t i = 0; i < g->prune.kept[stage]; i++) {
        const uint32_t token = c->list[g->prefix_tokens + i];
        const size_t origin = origin_of(s, from, picture * from->window + token);
        kept[i] = origin == IVITI_NO_PATCH ? UINT32_MAX : (uint32_t)origin;
    }
    if (s->record && g->prune.kind == IVITI_PRUNE_MERGE)
        note_groups(s, stage, from, picture, c);
}

/* This thread's share of the tokens that a stage leaves, all ratings being there. */
static iviti_rows go_on(iviti_session *s, uint32_t stage, iviti_tokens *t, unsigned thread)
{
    const iviti_geometry *g = &s->model->geometry;
    const iviti_buffers *b = &s->buffers;
    const iviti_tokens from = *t;
    choice c = choice_of(s, thread);
    int16_t *stream = t->stream == b->stream ? b->next_stream : b->stream;
    uint16_t *origin = b->origin[stage & 1], *size = b->size[stage & 1];

    t->window = iviti_leaving_tokens(g, g->prune.at[stage]);
    t->stream = stream;
    t->origin = origin;
    t->size = g->prune.kind == IVITI_PRUNE_MERGE ? size : NULL;
    const iviti_rows rows =
        iviti_share(s, s->pictures * t->window, t->window, IVITI_PANEL, thread);
    const size_t end = rows.first + rows.count;
    for (size_t picture = rows.first / t->window; picture * t->window < end; picture++) {
        const iviti_rows own = iviti_rows_of_picture(rows, picture, t->window);
        if (g->prune.kind == IVITI_PRUNE_MERGE)
            choose_merged(s, stage, &from, picture, &c);
        else
            choose_kept(s, stage, &from, picture, &c);
        if (own.first == 0)
            note(s, stage, &from, picture, &c);
        for (size_t i = own.first; i < own.first + own.count; i++)
            copy_row(s, &from, picture, i, &c, picture * t->window + i, stream, origin, size);
    }
    return rows;
}

/* ---- the class token's attention ----------------------------------------------------------------- */

/* What iviti_session_attention() gives of a picture in a block, from the sums over the heads. */
static void record(iviti_session *s, const iviti_tokens *t, uint32_t block, size_t picture,
                   const uint32_t *sums)
{
    const iviti_geometry *g = &s->model->geometry;
    const size_t prefix = g->prefix_tokens, patches = iviti_stage_tokens(g, 0) - prefix;
    const uint32_t heads = g->stage[0].heads;
    uint16_t *out = s->buffers.attention + (block * s->batch + picture) * patches;
    const uint16_t *group = t->size ? s->buffers.group + picture * patches : NULL;

    memset(out, 0, patches * sizeof *out);
    for (size_t i = prefix; i < t->window; i++) {
        const size_t row = picture * t->window + i, patch = origin_of(s, t, row);
        const uint32_t share = sums[i] / (heads * size_of(t, row));
        if (patch != IVITI_NO_PATCH)
            out[patch] = (uint16_t)(share < UINT16_MAX ? share : UINT16_MAX);
    }
    for (size_t p = 0; group && p < patches; p++) /* a merged patch's token keeps its own place */
        out[p] = out[group[p]];
}

/* The sums of the pictures whose class token this thread owns, where they are wanted. */
static void look_at_patches(iviti_session *s, uint32_t block, const iviti_tokens *t, iviti_rows rows,
                            bool rates, unsigned thread)
{
    const size_t first = (rows.first + t->window - 1) / t->window;
    if (!s->record && !rates)
        return; /* and there is no room for sums */
    for (size_t picture = first; picture * t->window < rows.first + rows.count; picture++) {
        uint32_t *sums = s->buffers.rating + picture * t->window;
        iviti_class_attention(s, &s->model->blocks[block], t, picture, sums, thread);
        if (s->record)
            record(s, t, block, picture, sums);
    }
}

void iviti_record_last(iviti_session *s, const iviti_tokens *t, unsigned thread)
{
    for (size_t picture = thread; s->record && picture < s->pictures; picture += s->threads)
        look_at_patches(s, s->model->geometry.depth - 1, t, (iviti_rows){ picture * t->window, 1 },
                        false, thread);
}

/* ---- where in a block -------------------------------------------------------------------------- */

iviti_rows iviti_prune_before(iviti_session *s, uint32_t block, iviti_tokens *t, iviti_rows rows,
                              unsigned thread)
{
    const iviti_geometry *g = &s->model->geometry;
    const int stage = g->prune.kind == IVITI_PRUNE_PREDICTOR ? iviti_prune_stage(g, block) : -1;
    if (stage < 0)
        return rows;
    iviti_predict(s, (uint32_t)stage, t, rows, thread);
    return go_on(s, (uint32_t)stage, t, thread);
}

iviti_rows iviti_prune_within(iviti_session *s, uint32_t block, iviti_tokens *t, iviti_rows rows,
                              unsigned thread)
{
    const iviti_geometry *g = &s->model->geometry;
    const int stage = g->prune.kind == IVITI_PRUNE_PREDICTOR ? -1 : iviti_prune_stage(g, block);
    const bool by_class = stage >= 0 && g->prune.kind == IVITI_PRUNE_CLS;

    look_at_patches(s, block, t, rows, by_class, thread);
    if (stage < 0)
        return rows;
    if (by_class)
        iviti_pool_barrier(&s->pool);
    else
        iviti_match(s, (uint32_t)stage, t, rows, thread);
    return go_on(s, (uint32_t)stage, t, thread);
}

/* ---- for the caller ---------------------------------------------------------------------------- */

const uint32_t *iviti_session_kept(const iviti_session *session, uint32_t stage, size_t *count)
{
    return iviti_session_kept_of(session, 0, stage, count);
}

const uint32_t *iviti_session_kept_of(const iviti_session *session, size_t picture, uint32_t stage,
                                      size_t *count)
{
    if (!session || !count || picture >= session->pictures ||
        stage >= session->model->geometry.prune.stages)
        return NULL;
    const iviti_geometry *g = &session->model->geometry;
    const size_t patches = iviti_stage_tokens(g, 0) - g->prefix_tokens;
    const uint32_t *kept = session->buffers.kept + (stage * session->batch + picture) * patches;
    const size_t last = g->prune.kept[stage] - 1;
    *count = last + (kept[last] != UINT32_MAX); /* an older fused token is the last if it is kept */
    return kept;
}

const uint16_t *iviti_session_attention(const iviti_session *session, size_t picture,
                                        uint32_t block)
{
    if (!session || !session->record || picture >= session->pictures ||
        block >= session->model->geometry.depth)
        return NULL;
    const iviti_geometry *g = &session->model->geometry;
    const size_t patches = iviti_stage_tokens(g, 0) - g->prefix_tokens;
    return session->buffers.attention + (block * session->batch + picture) * patches;
}

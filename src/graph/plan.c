/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory, decided once: every buffer of a run at its place in one block, after the session itself.
 */
#include <string.h>

#include "graph/prune.h"
#include "image/image.h"

#define ALIGNMENT 64

/* Hands out places in the block; without a base it only counts. */
typedef struct plan {
    uint8_t *base;
    uint64_t used;
} plan;

static void *take(plan *p, uint64_t bytes)
{
    void *place = p->base ? p->base + p->used : NULL;
    p->used += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return place;
}

/* The largest extent of each buffer over the stages. */
typedef struct extents {
    uint64_t stream, normed, panels_keys, panels_values, hidden, merged;
    uint32_t window_tokens;
} extents;

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static extents measure(const iviti_geometry *g, size_t batch)
{
    extents e = { 0 };

    for (uint32_t i = 0; i < g->stages; i++) {
        const iviti_stage *stage = &g->stage[i];
        const uint64_t tokens = batch * (uint64_t)iviti_stage_tokens(g, i);
        const uint32_t in_window = stage->window ? stage->window * stage->window
                                                 : iviti_stage_tokens(g, i);
        const uint64_t blocks = tokens / in_window * stage->heads;
        const uint32_t head_dim = stage->dim / stage->heads;

        e.window_tokens = e.window_tokens > in_window ? e.window_tokens : in_window;
        e.stream = larger(e.stream, tokens * iviti_row_stride(stage->dim) * sizeof(int16_t));
        e.normed = larger(e.normed, tokens * iviti_row_stride(stage->dim));
        e.panels_keys = larger(e.panels_keys, blocks * iviti_panel_bytes(in_window, head_dim));
        e.panels_values = larger(e.panels_values, blocks * iviti_panel_bytes(head_dim, in_window));
        e.hidden = larger(e.hidden, tokens * iviti_row_stride(stage->hidden));
        if (i + 1 < g->stages) {
            const uint64_t wide = tokens / 4 * iviti_row_stride(4 * (size_t)stage->dim);
            e.merged = larger(e.merged, wide * sizeof(int16_t));
            e.hidden = larger(e.hidden, wide); /* the merge borrows it for its normalised rows */
        }
    }
    return e;
}

/* One picture, whose first stream row is `first`. A token of a window lies at (y, x) of the grid that
 * was rolled by `shift`. */
static void fill_windows(const iviti_stage *g, uint32_t shift, uint32_t first, uint32_t *map,
                         uint8_t *region)
{
    const uint32_t w = g->window;
    size_t row = 0;

    for (uint32_t wy = 0; wy < g->grid_height; wy += w)
        for (uint32_t wx = 0; wx < g->grid_width; wx += w)
            for (uint32_t t = 0; t < w * w; t++, row++) {
                const uint32_t y = wy + t / w, x = wx + t % w;
                map[row] = first + (y + shift) % g->grid_height * g->grid_width +
                           (x + shift) % g->grid_width;
                if (region) {
                    /* The rolled grid's last rows and columns came from its other side. */
                    const int down = y >= g->grid_height - shift ? 2 : y >= g->grid_height - w;
                    const int right = x >= g->grid_width - shift ? 2 : x >= g->grid_width - w;
                    region[row] = (uint8_t)(3 * down + right);
                }
            }
}

static void plan_windows(plan *p, const iviti_geometry *g, size_t batch, iviti_session *session)
{
    for (uint32_t number = 0; number < g->stages; number++) {
        const iviti_stage *stage = &g->stage[number];
        const uint32_t tokens = stage->grid_width * stage->grid_height;
        if (!stage->window)
            continue;

        const bool shifts = stage->window < stage->grid_width && stage->window < stage->grid_height;
        uint32_t *plain = take(p, batch * tokens * sizeof(uint32_t));
        uint32_t *shifted = shifts ? take(p, batch * tokens * sizeof(uint32_t)) : NULL;
        uint8_t *region = shifts ? take(p, batch * tokens) : NULL;
        if (!session)
            continue;

        for (size_t i = 0; i < batch; i++) {
            const size_t first = i * tokens;
            fill_windows(stage, 0, (uint32_t)first, plain + first, NULL);
            if (shifts)
                fill_windows(stage, stage->window / 2, (uint32_t)first, shifted + first,
                             region + first);
        }
        const uint32_t in_window = stage->window * stage->window;
        session->windows[number] = (iviti_windows){
            tokens / in_window, in_window, { plain, shifted }, region
        };
    }
}

static bool any_wide(const iviti_geometry *g)
{
    bool any = false;
    for (uint32_t i = 0; i < iviti_activations(g); i++)
        any |= g->activation_bits[i] == IVITI_WIDE_BITS;
    return any;
}

static void plan_stem(plan *p, const iviti_geometry *g, unsigned threads, size_t batch,
                      iviti_buffers *b)
{
    uint64_t map[2] = { 0, 0 };
    for (uint32_t i = 0; i < g->convolutions; i++) {
        const iviti_convolution *c = &g->convolution[i];
        const size_t stride = iviti_row_stride(iviti_convolution_inputs(g, i));
        map[i % 2] = larger(map[i % 2], (uint64_t)batch * c->width * c->height * c->channels);
        b->window_stride = b->window_stride > stride ? b->window_stride : stride;
    }
    for (int i = 0; i < 2; i++)
        b->map[i] = map[i] ? take(p, map[i]) : NULL;
    b->windows = take(p, (uint64_t)threads * IVITI_STEM_ROWS * b->window_stride);
}

/* Merging: keys to compare, and what they are scaled with. */
static void plan_alike(plan *p, const iviti_geometry *g, size_t batch, iviti_alike *k)
{
    const size_t tokens = iviti_stage_tokens(g, 0), head_dim = g->stage[0].dim / g->stage[0].heads;

    k->stride = iviti_row_stride(head_dim);
    k->a_tokens = (tokens + 1) / 2;
    k->b_tokens = (tokens / 2 + IVITI_PANEL - 1) / IVITI_PANEL * IVITI_PANEL;
    k->panel_bytes = iviti_panel_bytes(k->b_tokens, head_dim);
    k->mean = take(p, batch * tokens * k->stride * sizeof *k->mean);
    k->inverse = take(p, batch * tokens * sizeof *k->inverse);
    k->b = take(p, batch * k->panel_bytes);
    k->b_bias = take(p, batch * k->b_tokens * sizeof *k->b_bias);
    k->multiplier = take(p, k->b_tokens * sizeof *k->multiplier);
    k->shift = take(p, k->b_tokens * sizeof *k->shift);
    k->partner = take(p, batch * k->a_tokens * sizeof *k->partner);
    for (size_t i = 0; p->base && i < k->b_tokens; i++) {
        k->multiplier[i] = INT32_MAX;
        k->shift[i] = 32;
    }
}

/* What pruning and the record of the class token's attention need. */
static void plan_pruning(plan *p, const iviti_model *m, unsigned threads, size_t batch, bool record,
                         iviti_buffers *b)
{
    const iviti_geometry *g = &m->geometry;
    const size_t tokens = iviti_stage_tokens(g, 0), patches = tokens - g->prefix_tokens;
    const bool merges = g->prune.kind == IVITI_PRUNE_MERGE;

    if (record || g->prune.stages)
        b->rating = take(p, batch * tokens * sizeof *b->rating);
    if (record)
        b->attention = take(p, g->depth * batch * patches * sizeof *b->attention);
    if (record && merges)
        b->group = take(p, batch * patches * sizeof *b->group);
    if (!g->prune.stages)
        return;
    for (int i = 0; i < 2; i++) {
        b->origin[i] = take(p, batch * tokens * sizeof *b->origin[i]);
        b->size[i] = merges ? take(p, batch * tokens * sizeof *b->size[i]) : NULL;
    }
    b->kept = take(p, g->prune.stages * batch * patches * sizeof *b->kept);
    b->choice_bytes = iviti_choice_bytes(g);
    b->choice = take(p, threads * b->choice_bytes);
    if (g->prune.kind == IVITI_PRUNE_PREDICTOR)
        b->sums = take(p, threads * batch * (g->stage[0].dim / 2) * sizeof *b->sums);
    if (!merges)
        return;
    plan_alike(p, g, batch, &b->alike);
    b->log2 = take(p, (patches + 1) * sizeof *b->log2);
    for (uint32_t i = 1; p->base && i <= patches; i++)
        b->log2[i] = iviti_log2(i);
}

size_t iviti_plan(const iviti_model *model, unsigned threads, size_t batch, bool record,
                  iviti_session *session)
{
    const iviti_geometry *g = &model->geometry;
    const extents e = measure(g, batch);
    plan p = { (uint8_t *)session, 0 };
    iviti_buffers b = { 0 };

    take(&p, sizeof *session);
    b.patch_stride = iviti_row_stride(iviti_embed_inputs(g));
    b.scratch_bytes = iviti_attention_scratch(e.window_tokens);
    b.fit_bytes = iviti_fit_scratch(&g->preprocess, g->image_width, g->image_height);

    b.pixels = take(&p, (uint64_t)batch * g->image_width * g->image_height * 3);
    b.patches = take(&p, (uint64_t)batch * g->stage[0].grid_width * g->stage[0].grid_height *
                             b.patch_stride);
    plan_stem(&p, g, threads, batch, &b);
    b.stream = take(&p, e.stream);
    b.next_stream = g->stages > 1 || g->prune.stages ? take(&p, e.stream) : NULL;
    b.merged = g->stages > 1 ? take(&p, e.merged) : NULL;
    b.normed = take(&p, e.normed);
    b.query = take(&p, e.normed);
    b.attended = take(&p, e.normed);
    for (int parity = 0; parity < 2; parity++) {
        /* Windows are private to a thread, so that one set of panels is enough. */
        const bool own = parity == 0 || g->family == IVITI_VIT;
        b.keys[parity] = own ? take(&p, e.panels_keys) : b.keys[0];
        b.values[parity] = own ? take(&p, e.panels_values) : b.values[0];
    }
    b.hidden = take(&p, e.hidden);
    if (any_wide(g)) {
        b.low = take(&p, e.normed);
        b.hidden_low = take(&p, e.hidden);
        b.middle = take(&p, larger(e.normed, e.hidden) * sizeof *b.middle);
    }
    b.features = take(&p, (uint64_t)batch * g->features);
    b.features_s8 = take(&p, (uint64_t)batch * g->features);
    b.logits = take(&p, (uint64_t)batch * g->classes * sizeof(int32_t));
    if (g->token_head)
        b.patch_logits =
            take(&p, (uint64_t)threads * (IVITI_PANEL + 1) * g->classes * sizeof(int32_t));
    b.fit = take(&p, (uint64_t)threads * b.fit_bytes);
    b.scratch = take(&p, (uint64_t)threads * b.scratch_bytes);
    plan_windows(&p, g, batch, session);
    if (g->family == IVITI_VIT)
        plan_pruning(&p, model, threads, batch, record, &b);

    if (session)
        session->buffers = b;
    return p.used <= SIZE_MAX ? (size_t)p.used : 0;
}

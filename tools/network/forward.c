/* SPDX-License-Identifier: Apache-2.0
 *
 * Pictures shared out among threads: a step of the forward pass for each, and whole passes.
 */
#include "network/forward.h"

#include <cblas.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "network/forward_one.h"

#define MAX_THREADS 64

uint32_t network_stage_of(const network *n, uint32_t block)
{
    uint32_t stage = 0;
    while (stage + 1 < n->geometry.stages && block >= n->geometry.stage[stage].depth)
        block -= n->geometry.stage[stage++].depth;
    return stage;
}

uint32_t network_tokens_of(const network *n, uint32_t block)
{
    if (n->geometry.prune.kind == IVITI_PRUNE_PREDICTOR)
        return iviti_entering_tokens(&n->geometry, block);
    return iviti_stage_tokens(&n->geometry, network_stage_of(n, block));
}

/* ---- sharing out ---------------------------------------------------------------------------- */

/* One step for one picture: a job's work, with the job's own data behind `data`. */
typedef void (*picture_step)(const network *n, workspace *w, size_t picture, const void *data);

typedef struct job {
    const network *n;
    picture_step step;
    const void *data;
    size_t count;
    atomic_size_t next; /* the first picture that nobody has taken */
    atomic_bool no_memory;
} job;

static void *work(void *argument)
{
    job *const j = argument;
    workspace w;
    if (!workspace_create(j->n, &w)) {
        atomic_store(&j->no_memory, true);
        return NULL;
    }
    for (size_t i = atomic_fetch_add(&j->next, 1); i < j->count; i = atomic_fetch_add(&j->next, 1))
        j->step(j->n, &w, i, j->data);
    workspace_free(&w);
    return NULL;
}

/* Pictures are what is shared out, and several callers may do so at a time: BLAS itself is told
 * once and for all to use one thread, which also keeps the order of its sums. */
static void use_one_blas_thread(void)
{
    openblas_set_num_threads(1);
}

/* Runs the step for every picture. A thread that cannot be started is done without. */
static bool share_out(const network *n, picture_step step, const void *data, size_t count,
                      unsigned threads, report *r)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    job j = { .n = n, .step = step, .data = data, .count = count };
    pthread_t thread[MAX_THREADS];
    unsigned started = 0;
    atomic_init(&j.next, 0);
    atomic_init(&j.no_memory, false);
    pthread_once(&once, use_one_blas_thread);
    while (started + 1 < threads && started + 1 < count && started < MAX_THREADS &&
           pthread_create(&thread[started], NULL, work, &j) == 0)
        started++;
    work(&j);
    for (unsigned i = 0; i < started; i++)
        pthread_join(thread[i], NULL);
    /* pictures are only left over where not one thread had memory */
    if (atomic_load(&j.no_memory) && atomic_load(&j.next) < count)
        return report_fail(r, "not enough memory for the float forward pass");
    return true;
}

/* ---- steps ---------------------------------------------------------------------------------- */

static float *row(float *base, size_t index, size_t width)
{
    return base == NULL ? NULL : base + index * width;
}

typedef struct embed_data {
    const uint8_t *pixels;
    float *x, *patches;
} embed_data;

static size_t picture_bytes(const iviti_geometry *g)
{
    return (size_t)g->image_width * g->image_height * 3;
}

static void embed_step(const network *n, workspace *w, size_t i, const void *data)
{
    const embed_data *d = data;
    const iviti_geometry *g = &n->geometry;
    const size_t dim = g->stage[0].dim, tokens = iviti_stage_tokens(g, 0);
    one_embed(n, w, d->pixels + i * picture_bytes(g), row(d->x, i, tokens * dim),
              row(d->patches, i, (tokens - g->prefix_tokens) * dim));
}

bool network_embed(const network *n, const uint8_t *pixels, size_t count, unsigned threads,
                   float *x, float *patches, report *r)
{
    const embed_data d = { pixels, x, patches };
    return share_out(n, embed_step, &d, count, threads, r);
}

typedef struct sample_data {
    const uint8_t *pixels;
    uint32_t index;
    network_map_sample sample;
} sample_data;

static void sample_step(const network *n, workspace *w, size_t i, const void *data)
{
    const sample_data *d = data;
    const iviti_convolution *c = &n->geometry.convolution[d->index];
    const size_t positions = (size_t)c->width * c->height, rows = d->sample.rows;
    const float *map =
        one_convolutions(n, w, d->pixels + i * picture_bytes(&n->geometry), d->index + 1);
    float *const values = row(d->sample.values, i, rows * c->channels);
    float *const largest = row(d->sample.largest, i, c->channels);
    for (size_t k = 0; k < rows; k++)
        memcpy(values + k * c->channels, map + k * positions / rows * c->channels,
               c->channels * sizeof *values);
    for (size_t k = 0; k < positions * c->channels; k++)
        if (k < c->channels || map[k] > largest[k % c->channels])
            largest[k % c->channels] = map[k];
}

bool network_sample_stem(const network *n, uint32_t index, const uint8_t *pixels, size_t count,
                         unsigned threads, const network_map_sample *sample, report *r)
{
    const sample_data d = { pixels, index, *sample };
    return share_out(n, sample_step, &d, count, threads, r);
}

typedef struct block_data {
    uint32_t block;
    float *x;
    network_capture capture;
} block_data;

static void block_step(const network *n, workspace *w, size_t i, const void *data)
{
    const block_data *d = data;
    const iviti_stage *stage = &n->geometry.stage[network_stage_of(n, d->block)];
    const size_t tokens = network_tokens_of(n, d->block);
    const size_t narrow = tokens * stage->dim, wide = tokens * stage->hidden;
    const network_capture mine = {
        .norm1 = row(d->capture.norm1, i, narrow),
        .qkv = row(d->capture.qkv, i, 3 * narrow),
        .attention = row(d->capture.attention, i, narrow),
        .proj = row(d->capture.proj, i, narrow),
        .middle = row(d->capture.middle, i, narrow),
        .norm2 = row(d->capture.norm2, i, narrow),
        .fc1 = row(d->capture.fc1, i, wide),
        .gelu = row(d->capture.gelu, i, wide),
        .fc2 = row(d->capture.fc2, i, narrow),
    };
    one_attend(n, w, d->block, tokens, NULL, row(d->x, i, narrow), &mine);
    one_mlp(n, w, d->block, tokens, row(d->x, i, narrow), &mine);
}

bool network_run_block(const network *n, uint32_t block, size_t count, unsigned threads, float *x,
                       const network_capture *capture, report *r)
{
    const network_capture nothing = { 0 };
    const block_data d = { block, x, capture != NULL ? *capture : nothing };
    return share_out(n, block_step, &d, count, threads, r);
}

typedef struct predictor_data {
    uint32_t stage;
    float *x;
    network_predictor_capture capture;
} predictor_data;

static size_t tokens_before(const network *n, uint32_t stage)
{
    const iviti_geometry *g = &n->geometry;
    return stage > 0 ? iviti_leaving_tokens(g, g->prune.at[stage - 1]) : iviti_stage_tokens(g, 0);
}

static void predictor_step(const network *n, workspace *w, size_t i, const void *data)
{
    const predictor_data *d = data;
    const iviti_geometry *g = &n->geometry;
    const size_t tokens = tokens_before(n, d->stage), dim = g->stage[0].dim;
    const size_t full = (tokens - g->prefix_tokens) * dim;
    const network_predictor_capture mine = {
        .norm = row(d->capture.norm, i, full),
        .in = row(d->capture.in, i, full),
        .mixed = row(d->capture.mixed, i, full),
        .out0 = row(d->capture.out0, i, full / 2),
        .gelu0 = row(d->capture.gelu0, i, full / 2),
        .out1 = row(d->capture.out1, i, full / 4),
        .gelu1 = row(d->capture.gelu1, i, full / 4),
    };
    float *const x = d->x + i * tokens * dim;
    one_predict(n, w, d->stage, tokens, x, d->capture.norm != NULL ? &mine : NULL);
    one_keep(n, w, tokens, g->prune.kept[d->stage], x);
}

bool network_run_predictor(const network *n, uint32_t stage, size_t count, unsigned threads,
                           float *x, const network_predictor_capture *capture, report *r)
{
    const iviti_geometry *g = &n->geometry;
    const network_predictor_capture nothing = { 0 };
    const predictor_data d = { stage, x, capture != NULL ? *capture : nothing };
    const size_t dim = g->stage[0].dim, before = tokens_before(n, stage) * dim;
    const size_t after = (g->prefix_tokens + g->prune.kept[stage]) * dim;
    if (!share_out(n, predictor_step, &d, count, threads, r))
        return false;
    for (size_t i = 1; i < count; i++)
        memmove(x + i * after, x + i * before, after * sizeof *x);
    return true;
}

typedef struct merge_data {
    uint32_t stage;
    const float *x;
    float *out, *norm;
} merge_data;

static void merge_step(const network *n, workspace *w, size_t i, const void *data)
{
    const merge_data *d = data;
    const size_t floats =
        (size_t)iviti_stage_tokens(&n->geometry, d->stage) * n->geometry.stage[d->stage].dim;
    one_merge(n, w, d->stage, d->x + i * floats, row(d->out, i, floats / 2),
              row(d->norm, i, floats));
}

bool network_run_merge(const network *n, uint32_t stage, size_t count, unsigned threads,
                       const float *x, float *out, float *norm, report *r)
{
    const merge_data d = { stage, x, out, norm };
    return share_out(n, merge_step, &d, count, threads, r);
}

typedef struct head_data {
    const float *x;
    float *logits, *features, *norm;
} head_data;

static void head_step(const network *n, workspace *w, size_t i, const void *data)
{
    const head_data *d = data;
    const iviti_geometry *g = &n->geometry;
    const size_t dim = g->stage[g->stages - 1].dim;
    const size_t tokens = network_tokens_of(n, g->depth - 1);
    const size_t kept = g->family == IVITI_SWIN || g->token_head ? tokens : g->prefix_tokens;
    one_head(n, w, tokens, d->x + i * tokens * dim, row(d->logits, i, g->classes),
             row(d->features, i, g->features), row(d->norm, i, kept * dim));
}

bool network_run_head(const network *n, size_t count, unsigned threads, const float *x,
                      float *logits, float *features, float *norm, report *r)
{
    const head_data d = { x, logits, features, norm };
    return share_out(n, head_step, &d, count, threads, r);
}

/* ---- whole passes --------------------------------------------------------------------------- */

typedef struct pass_data {
    const uint8_t *pixels;
    float *logits;
    uint32_t *kept;
    const uint32_t *follow;
} pass_data;

static void forward_step(const network *n, workspace *w, size_t i, const void *data)
{
    const pass_data *d = data;
    const network_capture nothing = { 0 };
    const iviti_geometry *g = &n->geometry;
    float *x = w->x[0], *other = w->x[1];
    uint32_t *kept = d->kept == NULL ? NULL : d->kept + i * network_kept_numbers(n);
    uint32_t block = 0;
    one_embed(n, w, d->pixels + i * picture_bytes(g), x, NULL);
    one_unpruned(n, w);
    w->follow = d->follow == NULL ? NULL : d->follow + i * network_kept_numbers(n);
    for (uint32_t s = 0; s < g->stages; s++) {
        w->tokens = s > 0 ? iviti_stage_tokens(g, s) : w->tokens;
        for (uint32_t j = 0; j < g->stage[s].depth; j++, block++) {
            one_prune_before(n, w, block, x, &kept);
            one_attend(n, w, block, w->tokens, w->size, x, &nothing);
            one_prune_within(n, w, block, x, &kept);
            one_mlp(n, w, block, w->tokens, x, &nothing);
        }
        if (s + 1 < g->stages) {
            one_merge(n, w, s, x, other, NULL);
            float *const done = x;
            x = other;
            other = done;
        }
    }
    one_head(n, w, w->tokens, x, row(d->logits, i, g->classes), NULL, NULL);
}

size_t network_kept_numbers(const network *n)
{
    size_t count = 0;
    for (uint32_t k = 0; k < n->geometry.prune.stages; k++)
        count += n->geometry.prune.kept[k];
    return count;
}

bool network_forward_following(const network *n, const uint8_t *pixels, size_t count,
                               unsigned threads, const uint32_t *follow, float *logits,
                               uint32_t *kept, report *r)
{
    const pass_data d = { pixels, logits, kept, follow };
    return share_out(n, forward_step, &d, count, threads, r);
}

bool network_forward_kept(const network *n, const uint8_t *pixels, size_t count, unsigned threads,
                          float *logits, uint32_t *kept, report *r)
{
    return network_forward_following(n, pixels, count, threads, NULL, logits, kept, r);
}

bool network_forward(const network *n, const uint8_t *pixels, size_t count, unsigned threads,
                     float *logits, report *r)
{
    return network_forward_kept(n, pixels, count, threads, logits, NULL, r);
}

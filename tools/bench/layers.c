/* SPDX-License-Identifier: Apache-2.0
 *
 * A kernel knows its layer by the constants it is given: norms are members of the model, and the
 * weights of a dense layer, whole or some of its columns, lie in one place.
 */
#include "bench/layers.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "bench/timing.h"
#include "common/clock.h"
#include "common/model_open.h"
#include "graph/session.h"
#include "image/image.h"

static const char *const NAMES[LAYERS] = {
    [LAYER_STEM] = "stem",
    [LAYER_EMBED] = "embed",
    [LAYER_EMBED_NORM] = "embed_norm",
    [LAYER_NORM1] = "norm1",
    [LAYER_QKV] = "qkv",
    [LAYER_ATTENTION] = "attention",
    [LAYER_PROJ] = "proj",
    [LAYER_NORM2] = "norm2",
    [LAYER_FC1] = "fc1",
    [LAYER_GELU] = "gelu",
    [LAYER_FC2] = "fc2",
    [LAYER_MERGE_NORM] = "merge_norm",
    [LAYER_MERGE] = "merge",
    [LAYER_NORM] = "norm",
    [LAYER_CHOICE] = "choice of tokens",
    [LAYER_HEAD] = "head",
    [LAYER_OTHER] = "other",
};

/* The run that is being timed. */
static struct {
    const iviti_model *model;
    iviti_kernels kernels; /* the real ones */
    double seconds[LAYERS];
    uint64_t macs[LAYERS];
    uint32_t calls[LAYERS];
} now;

/* ---- which layer --------------------------------------------------------------------------- */

typedef struct member {
    size_t offset;
    layer layer;
} member;

static const member BLOCK_MEMBERS[] = {
    { offsetof(iviti_block, norm1), LAYER_NORM1 },
    { offsetof(iviti_block, norm2), LAYER_NORM2 },
};
static const member MERGE_MEMBERS[] = {
    { offsetof(iviti_merge, norm), LAYER_MERGE_NORM },
};
static const member MODEL_MEMBERS[] = {
    { offsetof(iviti_model, embed_norm), LAYER_EMBED_NORM },
    { offsetof(iviti_model, norm), LAYER_NORM },
    { offsetof(iviti_model, patches_norm), LAYER_NORM },
};

/* The layer of a member of one of `count` structures of `size` bytes; LAYER_OTHER: of none. */
static layer find(const void *weights, const void *array, size_t count, size_t size,
                  const member *members, size_t member_count)
{
    const uintptr_t at = (uintptr_t)weights - (uintptr_t)array; /* wraps for what lies before */

    if (array != NULL && at < count * size) {
        for (size_t i = 0; i < member_count; i++) {
            if (at % size == members[i].offset) {
                return members[i].layer;
            }
        }
    }
    return LAYER_OTHER;
}

static layer layer_of_norm(const iviti_norm *weights)
{
    const iviti_model *const m = now.model;
    layer found = find(weights, m->blocks, m->geometry.depth, sizeof(iviti_block), BLOCK_MEMBERS,
                       sizeof(BLOCK_MEMBERS) / sizeof(BLOCK_MEMBERS[0]));

    if (found == LAYER_OTHER) {
        found = find(weights, m->merges, m->geometry.stages - 1, sizeof(iviti_merge), MERGE_MEMBERS,
                     sizeof(MERGE_MEMBERS) / sizeof(MERGE_MEMBERS[0]));
    }
    if (found == LAYER_OTHER) {
        found = find(weights, m, 1, sizeof(*m), MODEL_MEMBERS,
                     sizeof(MODEL_MEMBERS) / sizeof(MODEL_MEMBERS[0]));
    }
    for (uint32_t k = 0; m->predictors != NULL && k < m->geometry.prune.stages; k++) {
        if (weights == &m->predictors[k].norm) {
            return LAYER_CHOICE;
        }
    }
    return found;
}

/* Whether `part` is `whole` or some of its columns. */
static bool belongs(const iviti_dense *part, const iviti_dense *whole)
{
    const uintptr_t at = (uintptr_t)part->panels - (uintptr_t)whole->panels;
    return whole->panels != NULL && at < iviti_panel_bytes(whole->out, whole->in);
}

static layer layer_in_block(const iviti_dense *w, const iviti_block *b)
{
    if (belongs(w, &b->query) || belongs(w, &b->key) || belongs(w, &b->value)) {
        return LAYER_QKV;
    }
    if (belongs(w, &b->proj)) {
        return LAYER_PROJ;
    }
    if (belongs(w, &b->fc1)) {
        return LAYER_FC1;
    }
    return belongs(w, &b->fc2) ? LAYER_FC2 : LAYER_OTHER;
}

static layer layer_of_dense(const iviti_dense *w)
{
    const iviti_model *const m = now.model;
    layer found = LAYER_OTHER;

    if (belongs(w, &m->embed)) {
        return LAYER_EMBED;
    }
    if (belongs(w, &m->head) || belongs(w, &m->patches_head)) {
        return LAYER_HEAD;
    }
    for (uint32_t i = 0; i < m->geometry.convolutions; i++) {
        if (belongs(w, &m->stem[i])) {
            return LAYER_STEM;
        }
    }
    for (uint32_t i = 0; i + 1 < m->geometry.stages; i++) {
        if (belongs(w, &m->merges[i].reduction)) {
            return LAYER_MERGE;
        }
    }
    for (uint32_t i = 0; i < m->geometry.depth && found == LAYER_OTHER; i++) {
        found = layer_in_block(w, &m->blocks[i]);
    }
    /* what is left are predictors, mean keys, and products of these, which are no weights */
    return found == LAYER_OTHER && m->geometry.prune.stages > 0 ? LAYER_CHOICE : found;
}

/* ---- kernels that read the clock ----------------------------------------------------------- */

static void count(layer which, double seconds, uint64_t macs)
{
    now.seconds[which] += seconds;
    now.macs[which] += macs;
    now.calls[which]++;
}

static void count_dense(const iviti_dense *w, double started, size_t rows)
{
    const double seconds = clock_seconds() - started;
    count(layer_of_dense(w), seconds, (uint64_t)rows * w->in * w->out);
}

static void timed_dense_s8(const iviti_dense *w, const uint8_t *x, size_t x_stride, size_t rows,
                           uint8_t *y, size_t y_stride)
{
    const double started = clock_seconds();
    now.kernels.dense_s8(w, x, x_stride, rows, y, y_stride);
    count_dense(w, started, rows);
}

static void timed_dense_table(const iviti_dense *w, const uint8_t *tables, const uint8_t *x,
                              size_t x_stride, size_t rows, uint8_t *y, size_t y_stride)
{
    const double started = clock_seconds();
    now.kernels.dense_table(w, tables, x, x_stride, rows, y, y_stride);
    count_dense(w, started, rows);
}

static void timed_dense_s16(const iviti_dense *w, const uint8_t *x, size_t x_stride, size_t rows,
                            int16_t *y, size_t y_stride)
{
    const double started = clock_seconds();
    now.kernels.dense_s16(w, x, x_stride, rows, y, y_stride);
    count_dense(w, started, rows);
}

static void timed_dense_s32(const iviti_dense *w, const uint8_t *x, size_t x_stride, size_t rows,
                            int32_t *y, size_t y_stride)
{
    const double started = clock_seconds();
    now.kernels.dense_s32(w, x, x_stride, rows, y, y_stride);
    count_dense(w, started, rows);
}

static void timed_dense_join(const iviti_dense *w, const iviti_join *join, const uint8_t *x,
                             size_t x_stride, size_t rows, int16_t *stream, size_t stream_stride,
                             const uint32_t *map)
{
    const double started = clock_seconds();
    now.kernels.dense_join(w, join, x, x_stride, rows, stream, stream_stride, map);
    count_dense(w, started, rows);
}

static void timed_dense_keys(const iviti_dense *w, const uint8_t *x, size_t x_stride, size_t first,
                             size_t rows, const iviti_head_panels *keys)
{
    const double started = clock_seconds();
    now.kernels.dense_keys(w, x, x_stride, first, rows, keys);
    count_dense(w, started, rows);
}

static void timed_dense_values(const iviti_dense *w, const uint8_t *x, size_t x_stride,
                               size_t first, size_t rows, const iviti_head_panels *values)
{
    const double started = clock_seconds();
    now.kernels.dense_values(w, x, x_stride, first, rows, values);
    count_dense(w, started, rows);
}

static void timed_attention(const iviti_attention *a, const uint8_t *q, size_t q_stride,
                            size_t first, size_t rows, const int8_t *keys, const int8_t *values,
                            uint8_t *y, size_t y_stride, void *scratch)
{
    const double started = clock_seconds();
    now.kernels.attention(a, q, q_stride, first, rows, keys, values, y, y_stride, scratch);
    count(LAYER_ATTENTION, clock_seconds() - started, (uint64_t)2 * rows * a->tokens * a->head_dim);
}

static void timed_norm_s8(const iviti_norm *n, const int16_t *x, size_t x_stride,
                          const uint32_t *map, size_t rows, uint8_t *y, size_t y_stride)
{
    const double started = clock_seconds();
    now.kernels.norm_s8(n, x, x_stride, map, rows, y, y_stride);
    count(layer_of_norm(n), clock_seconds() - started, 0);
}

static void timed_norm_s16(const iviti_norm *n, const int16_t *x, size_t x_stride,
                           const uint32_t *map, size_t rows, int16_t *y, size_t y_stride)
{
    const double started = clock_seconds();
    now.kernels.norm_s16(n, x, x_stride, map, rows, y, y_stride);
    count(layer_of_norm(n), clock_seconds() - started, 0);
}

static void timed_shift_gelu(uint8_t *x, size_t stride, size_t rows, size_t width,
                             int32_t one_over_scale, iviti_dyadic output)
{
    const double started = clock_seconds();
    now.kernels.shift_gelu(x, stride, rows, width, one_over_scale, output);
    count(LAYER_GELU, clock_seconds() - started, 0);
}

static void put_clocks(iviti_session *session)
{
    iviti_kernels *const k = &session->kernels;

    now.model = session->model;
    now.kernels = *k;
    k->dense_s8 = timed_dense_s8;
    k->dense_table = timed_dense_table;
    k->dense_s16 = timed_dense_s16;
    k->dense_s32 = timed_dense_s32;
    k->dense_join = timed_dense_join;
    k->dense_keys = timed_dense_keys;
    k->dense_values = timed_dense_values;
    k->attention = timed_attention;
    k->norm_s8 = timed_norm_s8;
    k->norm_s16 = timed_norm_s16;
    k->shift_gelu = timed_shift_gelu;
}

/* ---- runs ---------------------------------------------------------------------------------- */

/* Times of `runs` runs: first those of whole runs, then those of each layer. */
typedef struct samples {
    uint32_t runs;
    double *whole;
    double *layer[LAYERS];
} samples;

static bool timed_run(iviti_session *session, const iviti_image *pixels, samples *s, uint32_t run)
{
    double kernels = 0;

    memset(now.seconds, 0, sizeof(now.seconds));
    memset(now.macs, 0, sizeof(now.macs));
    memset(now.calls, 0, sizeof(now.calls));
    const double started = clock_seconds();
    if (iviti_session_run_pixels(session, pixels) != IVITI_OK) {
        return false;
    }
    s->whole[run] = clock_seconds() - started;
    for (int i = 0; i < LAYERS; i++) {
        kernels += now.seconds[i];
        s->layer[i][run] = now.seconds[i];
    }
    s->layer[LAYER_OTHER][run] += s->whole[run] > kernels ? s->whole[run] - kernels : 0;
    return true;
}

static void summarise(const samples *s, layer_profile *profile)
{
    double sum = 0;

    *profile = (layer_profile){ .seconds = timing_median(s->whole, s->runs) };
    for (int i = 0; i < LAYERS; i++) {
        layer_use *const use = &profile->layer[i];
        *use = (layer_use){ .name = NAMES[i],
                            .calls = now.calls[i],
                            .macs = now.macs[i],
                            .seconds = timing_median(s->layer[i], s->runs) };
        profile->macs += use->macs;
        sum += use->seconds;
    }
    for (int i = 0; i < LAYERS && sum > 0; i++) {
        profile->layer[i].share = profile->layer[i].seconds / sum;
    }
}

/* The median time of fitting a picture as the model file says, with the session's own scratch. */
static bool measure_fit(iviti_session *session, uint32_t runs, double *seconds, double *median,
                        report *r)
{
    const size_t row = (size_t)LAYERS_PICTURE_WIDTH * 3;
    uint8_t *const black = calloc(LAYERS_PICTURE_HEIGHT, row);
    const iviti_image image = { black, LAYERS_PICTURE_WIDTH, LAYERS_PICTURE_HEIGHT,
                                (ptrdiff_t)row };
    const iviti_geometry *const g = &session->model->geometry;
    const iviti_buffers *const b = &session->buffers;

    if (black == NULL) {
        return report_fail(r, "no memory for a picture of %u x %u pixels",
                           (unsigned)LAYERS_PICTURE_WIDTH, (unsigned)LAYERS_PICTURE_HEIGHT);
    }
    for (uint32_t i = 0; i < runs; i++) {
        const double started = clock_seconds();
        iviti_fit_rows(&g->preprocess, &session->kernels, g->image_width, g->image_height, &image, 0,
                       g->image_height, b->pixels, b->fit);
        seconds[i] = clock_seconds() - started;
    }
    free(black);
    *median = timing_median(seconds, runs);
    return true;
}

bool layers_measure(const iviti_model *model, iviti_isa isa, const iviti_image *pixels,
                    uint32_t runs, layer_profile *profile, progress *p, report *r)
{
    double *const seconds = calloc((size_t)runs * (LAYERS + 1), sizeof(*seconds));
    samples s = { .runs = runs, .whole = seconds };

    if (seconds == NULL) {
        return report_fail(r, "no memory for %u times of %d layers", (unsigned)runs, LAYERS);
    }
    for (size_t i = 0; i < LAYERS; i++) {
        s.layer[i] = seconds + (i + 1) * runs;
    }
    iviti_session *const session = session_open(model, 1, isa, r);
    bool good = session != NULL;
    if (good) {
        good = iviti_session_run_pixels(session, pixels) == IVITI_OK; /* untimed */
        put_clocks(session);
        for (uint32_t i = 0; i < runs && good; i++) {
            good = timed_run(session, pixels, &s, i);
            progress_set(p, i + 1);
        }
        if (good) {
            summarise(&s, profile);
            good = measure_fit(session, runs, seconds, &profile->fit, r);
        } else {
            (void)report_fail(r, "the model refuses %u x %u pixels", (unsigned)pixels->width,
                              (unsigned)pixels->height);
        }
    }
    iviti_session_free(session);
    free(seconds);
    return good;
}

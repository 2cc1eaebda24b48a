/* SPDX-License-Identifier: Apache-2.0
 *
 * iviti-bench: how long one picture takes, where the time goes, and what others need for a part of
 * the same work. The pixels are pseudo-random and always the same; nothing in the engine depends on
 * them. Decoding and resizing are not part of what is timed.
 */
#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "bench/layers.h"
#include "bench/peers.h"
#include "bench/timing.h"
#include "common/clock.h"
#include "common/json_out.h"
#include "common/memory_use.h"
#include "common/model_open.h"
#include "common/options.h"
#include "common/progress.h"
#include "common/terminal.h"
#include "iviti/iviti.h"
#include "model/model.h"

#define DEFAULT_RUNS       50
#define MAX_RUNS           1000000
#define LEAST_RUNS         5
#define LEAST_RUNS_BESIDES 30   /* where peers take their turns */
#define PATIENCE           10.0 /* seconds, where --runs is not given */
#define WARM_UP_RUNS       2
#define LOADS              5

/* Threads that wait for work spin for a while before they sleep; a competitor whose turn begins
 * must not have them beside it. */
#define REST 0.02

typedef struct settings {
    uint32_t runs; /* 0: chosen by the time that they take */
    int isa;
    bool layers;
    bool peers;
    bool scaling;
    const char *beside; /* another model, or NULL */
    common_options common;
} settings;

static const option_spec OPTIONS[] = {
    { .name = "runs",
      .kind = OPTION_NUMBER,
      .offset = offsetof(settings, runs),
      .value = "N",
      .minimum = 1,
      .maximum = MAX_RUNS,
      .help = "Timed runs, after two that are not (default: 50, or what 10 seconds allow, at "
              "least 5; at least 30 turn by turn)." },
    OPTION_ISA(settings, isa),
    { .name = "layers",
      .kind = OPTION_FLAG,
      .offset = offsetof(settings, layers),
      .help = "Show besides where the time of a run on one thread goes, operator by operator." },
    { .name = "peers",
      .kind = OPTION_FLAG,
      .offset = offsetof(settings, peers),
      .help = "Time oneDNN besides, turn by turn, doing nothing but the matrix products of the "
              "same model, with as many threads and no instruction set beyond the model's." },
    { .name = "scaling",
      .kind = OPTION_FLAG,
      .offset = offsetof(settings, scaling),
      .help = "Time the model on one thread besides, turn by turn." },
    { .name = "beside",
      .kind = OPTION_TEXT,
      .offset = offsetof(settings, beside),
      .value = "MODEL",
      .help = "Time another model besides, turn by turn." },
};

static const char *const USAGE[] = { "[options] MODEL", NULL };
static const char *const OPERANDS[] = { "MODEL", NULL };

static const option_example EXAMPLES[] = {
    { "iviti-bench --threads 1 deit_tiny.gguf", "One thread on the best instruction set." },
    { "iviti-bench --threads 1 --layers --peers deit_tiny.gguf",
      "Where the time goes, and how near that is to the matrix products alone." },
    { "iviti-bench --json --isa avx2 --runs 200 deit_tiny.gguf",
      "JSON for a script, with kernels that every x86-64 processor since 2013 has." },
};

typedef struct rival_time {
    const char *name; /* NULL: was not asked for */
    double median;    /* seconds */
    double fastest;
} rival_time;

typedef struct result {
    const char *path;
    iviti_isa isa;
    unsigned threads;
    uint32_t runs;
    double median; /* seconds */
    double fastest;
    double load;       /* the median of several */
    double session;    /* to create one, likewise */
    uint64_t macs;     /* of the model as it is defined: what peers do */
    uint64_t resident; /* bytes, before peers are loaded */
    bool profiled;     /* `profile` holds what a run computes, and its times with --layers */
    layer_profile profile;
    rival_time one_thread;
    rival_time beside;
    size_t peers;
    rival_time peer[PEERS_MAX];
    char engine[128]; /* the peers' own words */
} result;

/* xorshift32, the same bytes on every machine. */
static void fill_pixels(uint8_t *pixels, size_t bytes)
{
    uint32_t state = 2463534242u;

    for (size_t i = 0; i < bytes; i++) {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        pixels[i] = (uint8_t)(state >> 24);
    }
}

/* The model's size of pixels, in `image`; the caller's until free(). NULL on failure. */
static uint8_t *make_pixels(const iviti_model *model, iviti_image *image, report *r)
{
    iviti_model_info info;

    iviti_model_describe(model, &info);
    const size_t row = (size_t)info.image_width * 3;
    uint8_t *const pixels = malloc(row * info.image_height);
    if (pixels == NULL) {
        (void)report_fail(r, "no memory for %u x %u pixels", (unsigned)info.image_width,
                          (unsigned)info.image_height);
        return NULL;
    }
    fill_pixels(pixels, row * info.image_height);
    *image = (iviti_image){ pixels, info.image_width, info.image_height, (ptrdiff_t)row };
    return pixels;
}

/* ---- load ---------------------------------------------------------------------------------- */

/* A second load must pay for its pages as the first of a program does. */
static void return_memory_at_once(void)
{
#if defined(__GLIBC__)
    (void)mallopt(M_MMAP_THRESHOLD, 128 * 1024);
#endif
}

/* Loads once to have the file in the page cache, then several times; the last model and session are
 * the caller's, NULL on failure. */
static void open_all(const char *path, const settings *s, result *out, iviti_model **model,
                     iviti_session **session, report *r)
{
    double loads[LOADS + 1], sessions[LOADS + 1];

    *model = NULL;
    *session = NULL;
    for (int i = 0; i <= LOADS; i++) {
        iviti_session_free(*session);
        iviti_model_free(*model);
        *session = NULL;
        const double started = clock_seconds();
        *model = model_open(path, r);
        const double loaded = clock_seconds();
        if (*model == NULL) {
            return;
        }
        *session = session_open(*model, out->threads, isa_from_choice(s->isa), r);
        sessions[i] = clock_seconds() - loaded;
        loads[i] = loaded - started;
        if (*session == NULL) {
            return;
        }
    }
    out->load = timing_median(loads + 1, LOADS);
    out->session = timing_median(sessions + 1, LOADS);
}

/* ---- runs ---------------------------------------------------------------------------------- */

typedef struct own_work {
    iviti_session *session;
    iviti_image pixels;
} own_work;

static bool run_own(void *context)
{
    const own_work *const w = context;

    return iviti_session_run_pixels(w->session, &w->pixels) == IVITI_OK;
}

typedef struct peer_work {
    peers *all;
    size_t index;
} peer_work;

static bool run_peer(void *context)
{
    const peer_work *const w = context;

    return peer_run(w->all, w->index);
}

static bool has_rivals(const settings *s)
{
    return s->peers || s->scaling || s->beside != NULL;
}

static timing_plan plan_of(const settings *s, unsigned threads)
{
    timing_plan plan = { .rounds = s->runs, .least = s->runs, .patience = DBL_MAX };

    if (s->runs == 0) {
        plan.rounds = DEFAULT_RUNS;
        plan.least = has_rivals(s) ? LEAST_RUNS_BESIDES : LEAST_RUNS;
        plan.patience = PATIENCE;
    }
    plan.rest = has_rivals(s) && threads > 1 ? REST : 0;
    return plan;
}

/* ---- rivals ------------------------------------------------------------------------------------
 */

#define RIVALS_MAX (2 + PEERS_MAX)

/* What takes turns with the model, and where its times go. */
typedef struct rivals {
    iviti_session *single;
    iviti_model *other_model;
    iviti_session *other;
    uint8_t *other_pixels;
    peers *engines;
    own_work own[2];
    peer_work peer[PEERS_MAX];
    size_t count;
    contestant contestant[RIVALS_MAX];
    rival_time *time[RIVALS_MAX];
} rivals;

static void add_rival(rivals *v, const char *name, bool (*work)(void *), void *context,
                      rival_time *time)
{
    v->contestant[v->count] = (contestant){ .run = work, .context = context };
    v->time[v->count++] = time;
    time->name = name;
}

static bool add_single(rivals *v, const own_work *own, const iviti_model *model, result *out,
                       report *r)
{
    v->single = session_open(model, 1, out->isa, r);
    v->own[0] = (own_work){ v->single, own->pixels };
    add_rival(v, "one thread", run_own, &v->own[0], &out->one_thread);
    return v->single != NULL;
}

static bool add_other(rivals *v, const char *path, result *out, report *r)
{
    v->other_model = model_open(path, r);
    if (v->other_model == NULL) {
        return false;
    }
    v->other = session_open(v->other_model, out->threads, out->isa, r);
    v->other_pixels = make_pixels(v->other_model, &v->own[1].pixels, r);
    v->own[1].session = v->other;
    add_rival(v, path, run_own, &v->own[1], &out->beside);
    return v->other != NULL && v->other_pixels != NULL;
}

static bool add_peers(rivals *v, const iviti_model *model, result *out, report *r)
{
    product_list products;

    products_of(&model->geometry, &products);
    v->engines = peers_open(&products, out->threads, out->isa, r);
    if (v->engines == NULL) {
        return false;
    }
    snprintf(out->engine, sizeof(out->engine), "%s", peers_describe(v->engines));
    out->peers = peers_count(v->engines);
    for (size_t i = 0; i < out->peers; i++) {
        v->peer[i] = (peer_work){ v->engines, i };
        add_rival(v, peer_name(v->engines, i), run_peer, &v->peer[i], &out->peer[i]);
    }
    return true;
}

static void close_rivals(rivals *v)
{
    iviti_session_free(v->single);
    iviti_session_free(v->other);
    iviti_model_free(v->other_model);
    free(v->other_pixels);
    peers_close(v->engines);
}

/* Times the model, and its rivals in turn with it. */
static bool compete(own_work *own, rivals *v, const settings *s, result *out, report *r)
{
    const timing_plan plan = plan_of(s, out->threads);
    contestant all[1 + RIVALS_MAX] = { { .run = run_own, .context = own } };
    double *const seconds = calloc((1 + v->count) * plan.rounds, sizeof(*seconds));
    progress p;

    if (seconds == NULL) {
        return report_fail(r, "no memory for %zu times", (1 + v->count) * plan.rounds);
    }
    memcpy(all + 1, v->contestant, v->count * sizeof(all[0]));
    for (size_t i = 0; i <= v->count; i++) {
        all[i].seconds = seconds + i * plan.rounds;
    }
    progress_start(&p, "timing", plan.rounds, s->common.quiet);
    out->runs = timing_rounds(all, 1 + v->count, &plan, &p);
    progress_end(&p);
    out->median = all[0].median;
    out->fastest = all[0].fastest;
    for (size_t i = 0; i < v->count; i++) {
        v->time[i]->median = all[1 + i].median;
        v->time[i]->fastest = all[1 + i].fastest;
    }
    free(seconds);
    if (out->runs == 0) {
        return report_fail(r, "a run failed, of the model or of what is timed beside it");
    }
    return true;
}

static bool measure_beside(own_work *own, const iviti_model *model, const settings *s, result *out,
                           report *r)
{
    rivals v = { 0 };
    const bool good = (!s->scaling || add_single(&v, own, model, out, r)) &&
                      (s->beside == NULL || add_other(&v, s->beside, out, r)) &&
                      (!s->peers || add_peers(&v, model, out, r)) && compete(own, &v, s, out, r);

    close_rivals(&v);
    return good;
}

/* With --layers as many runs as the model had; for the peers' sake one, to count. */
static bool profile(const own_work *own, const iviti_model *model, const settings *s, result *out,
                    report *r)
{
    const uint32_t runs = s->layers ? out->runs : 1;
    progress p;

    progress_start(&p, "timing layers", runs, s->common.quiet);
    out->profiled =
        layers_measure(model, isa_from_choice(s->isa), &own->pixels, runs, &out->profile, &p, r);
    progress_end(&p);
    return out->profiled;
}

static bool measure(const iviti_model *model, iviti_session *session, const settings *s,
                    result *out, report *r)
{
    iviti_model_info info;
    own_work own = { .session = session };
    uint8_t *const pixels = make_pixels(model, &own.pixels, r);

    if (pixels == NULL) {
        return false;
    }
    iviti_model_describe(model, &info);
    out->macs = info.macs;
    out->isa = iviti_session_isa(session);
    for (int i = 0; i < WARM_UP_RUNS; i++) {
        (void)run_own(&own); /* a failure shows again when it is timed */
    }
    out->resident = memory_use_peak();
    bool good = measure_beside(&own, model, s, out, r);
    if (good && (s->layers || s->peers)) {
        good = profile(&own, model, s, out, r);
    }
    free(pixels);
    return good;
}

/* ---- results ------------------------------------------------------------------------------- */

static double per_second(uint64_t macs, double seconds)
{
    return seconds > 0 ? (double)macs / 1e9 / seconds : 0;
}

static double ratio(double a, double b)
{
    return b > 0 ? a / b : 0;
}

static void print_json_rival(json_out *j, const char *key, const rival_time *t, const result *b)
{
    if (t->name != NULL) {
        json_put_object(j, key);
        json_put_text(j, "name", t->name);
        json_put_fixed(j, "median_ms", t->median * 1e3, 4);
        json_put_fixed(j, "min_ms", t->fastest * 1e3, 4);
        json_put_fixed(j, "ratio", ratio(b->median, t->median), 4);
        json_put_end(j);
    }
}

static void print_json_peers(json_out *j, const result *b)
{
    json_put_array(j, "peers");
    for (size_t i = 0; i < b->peers; i++) {
        const rival_time *const p = &b->peer[i];
        json_put_object(j, NULL);
        json_put_text(j, "name", p->name);
        json_put_fixed(j, "median_ms", p->median * 1e3, 4);
        json_put_fixed(j, "min_ms", p->fastest * 1e3, 4);
        json_put_fixed(j, "gmac_per_s", per_second(b->macs, p->median), 3);
        json_put_fixed(j, "ratio", ratio(b->median, p->median), 4);
        json_put_end(j);
    }
    json_put_end(j);
    json_put_text(j, "peers_engine", b->engine);
}

static void print_json_layers(json_out *j, const layer_profile *profile)
{
    json_put_array(j, "layers");
    for (int i = 0; i < LAYERS; i++) {
        const layer_use *const use = &profile->layer[i];
        if (use->calls == 0 && i != LAYER_OTHER) {
            continue;
        }
        json_put_object(j, NULL);
        json_put_text(j, "name", use->name);
        json_put_fixed(j, "ms", use->seconds * 1e3, 4);
        json_put_fixed(j, "share", use->share, 4);
        json_put_fixed(j, "gmac_per_s", per_second(use->macs, use->seconds), 3);
        json_put_unsigned(j, "calls", use->calls);
        json_put_end(j);
    }
    json_put_end(j);
    json_put_fixed(j, "layers_ms", profile->seconds * 1e3, 4);
    json_put_fixed(j, "resize_ms", profile->fit * 1e3, 4);
}

static bool print_json(const result *b, const settings *s)
{
    json_out j = json_out_to(stdout);

    json_put_object(&j, NULL);
    json_put_text(&j, "model", b->path);
    json_put_text(&j, "isa", iviti_isa_name(b->isa));
    json_put_unsigned(&j, "threads", b->threads);
    json_put_unsigned(&j, "runs", b->runs);
    json_put_fixed(&j, "median_ms", b->median * 1e3, 4);
    json_put_fixed(&j, "min_ms", b->fastest * 1e3, 4);
    json_put_fixed(&j, "gmac", (double)b->macs / 1e9, 6);
    json_put_fixed(&j, "gmac_per_s", per_second(b->macs, b->median), 3);
    json_put_fixed(&j, "rss_mb", (double)b->resident / 1e6, 2);
    json_put_fixed(&j, "load_ms", b->load * 1e3, 3);
    json_put_fixed(&j, "session_ms", b->session * 1e3, 3);
    if (b->profiled) {
        json_put_fixed(&j, "computed_gmac", (double)b->profile.macs / 1e9, 6);
    }
    print_json_rival(&j, "one_thread", &b->one_thread, b);
    print_json_rival(&j, "beside", &b->beside, b);
    if (s->peers) {
        print_json_peers(&j, b);
    }
    if (s->layers) {
        print_json_layers(&j, &b->profile);
    }
    json_put_end(&j);
    return json_put_line(&j);
}

static void print_people(const result *b)
{
    report path;

    (void)report_fail(&path, "%s", b->path);
    printf("%s, %s, %u thread%s, %u runs\n", path.text, iviti_isa_name(b->isa), b->threads,
           b->threads == 1 ? "" : "s", (unsigned)b->runs);
    printf("  median   %10.3f ms\n", b->median * 1e3);
    printf("  fastest  %10.3f ms\n", b->fastest * 1e3);
    printf("  work     %10.3f GMAC, %.1f GMAC/s\n", (double)b->macs / 1e9,
           per_second(b->macs, b->median));
    printf("  memory   %10.1f MB at most\n", (double)b->resident / 1e6);
    printf("  load     %10.3f ms, and %.3f ms for a session\n", b->load * 1e3, b->session * 1e3);
}

static void print_rival(const rival_time *t, const result *b, bool same_work)
{
    report name;

    if (t->name == NULL) {
        return;
    }
    (void)report_fail(&name, "%s", t->name);
    printf("  %-22s %10.3f ms %8.3f ms ", name.text, t->median * 1e3, t->fastest * 1e3);
    if (same_work) {
        printf("%8.1f", per_second(b->macs, t->median));
    } else {
        printf("%8s", "");
    }
    printf("  %13.3fx\n", ratio(b->median, t->median));
}

static void print_rivals(const result *b)
{
    printf("\n  beside it, turn by turn       median     fastest   GMAC/s  this model takes\n");
    print_rival(&b->one_thread, b, true);
    print_rival(&b->beside, b, false);
    for (size_t i = 0; i < b->peers; i++) {
        print_rival(&b->peer[i], b, true);
    }
    if (b->peers > 0) {
        printf("  %s, %u thread%s: the matrix products alone, all %.3f GMAC of the model;\n"
               "  a run of the library computes %.3f GMAC of them (%.1f %%) and everything else.\n",
               b->engine, b->threads, b->threads == 1 ? "" : "s", (double)b->macs / 1e9,
               (double)b->profile.macs / 1e9,
               100 * ratio((double)b->profile.macs, (double)b->macs));
    }
}

#define LAYER_COLUMNS 46 /* before the bar */
#define BAR_COLUMNS   40 /* at most */

static void print_layers(const layer_profile *profile)
{
    const int room = terminal_width(stdout) - LAYER_COLUMNS - 1;
    const int columns = room < 8 ? 8 : room > BAR_COLUMNS ? BAR_COLUMNS : room;
    double largest = 0;

    for (int i = 0; i < LAYERS; i++) {
        largest = profile->layer[i].share > largest ? profile->layer[i].share : largest;
    }
    printf("\n  layer, on one thread   ms     share    GMAC/s\n");
    for (int i = 0; i < LAYERS; i++) {
        const layer_use *const use = &profile->layer[i];
        if (use->calls == 0 && i != LAYER_OTHER) {
            continue;
        }
        printf("  %-12s %12.4f %7.1f %%", use->name, use->seconds * 1e3, 100 * use->share);
        if (use->macs > 0) {
            printf(" %9.1f  ", per_second(use->macs, use->seconds));
        } else {
            printf(" %9s  ", "");
        }
        terminal_bar(stdout, ratio(use->share, largest), columns);
        putchar('\n');
    }
    printf("  a run with its clocks: %.4f ms, %.3f GMAC; to resize a picture of %u x %u: %.4f ms\n",
           profile->seconds * 1e3, (double)profile->macs / 1e9, (unsigned)LAYERS_PICTURE_WIDTH,
           (unsigned)LAYERS_PICTURE_HEIGHT, profile->fit * 1e3);
}

static int run(const option_program *program, const settings *s, const char *path)
{
    report r = { "" };
    result b = { .path = path, .threads = options_threads(&s->common) };
    iviti_model *model;
    iviti_session *session;

    return_memory_at_once();
    open_all(path, s, &b, &model, &session, &r);
    const bool good = session != NULL && measure(model, session, s, &b, &r);
    iviti_session_free(session);
    iviti_model_free(model);
    if (!good) {
        return options_failed(program, &r);
    }
    if (s->common.json) {
        (void)print_json(&b, s); /* options_finish sees what could not be written */
    } else {
        print_people(&b);
        if (has_rivals(s)) {
            print_rivals(&b);
        }
        if (s->layers) {
            print_layers(&b.profile);
        }
    }
    return options_finish(program, EXIT_DONE);
}

int main(int argc, char **argv)
{
    settings s = { 0 };
    const option_group groups[] = { { "Options", OPTIONS, OPTION_COUNT(OPTIONS), &s },
                                    common_options_group(&s.common) };
    const option_program program = {
        .name = "iviti-bench",
        .summary = "how long a model takes for one picture",
        .usage = USAGE,
        .description = "Runs a model on pixels that are made up, and prints the median and the "
                       "fastest time, the arithmetic done, and the memory used. Reading and "
                       "resizing pictures are not timed. Close other programs first.",
        .operands = OPERANDS,
        .groups = groups,
        .group_count = OPTION_COUNT(groups),
        .examples = EXAMPLES,
        .example_count = OPTION_COUNT(EXAMPLES),
    };
    option_operands operands = { 0, NULL };
    int status = EXIT_DONE;

    if (!options_parse(&program, argc, argv, &operands, &status)) {
        return status;
    }
    return run(&program, &s, operands.item[0]);
}

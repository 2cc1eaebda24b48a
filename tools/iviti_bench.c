/* SPDX-License-Identifier: Apache-2.0
 *
 * iviti-bench: how long one picture takes. The pixels are pseudo-random and always the same;
 * nothing in the engine depends on them. Decoding and resizing are not part of what is timed.
 */
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/json_out.h"
#include "common/memory_use.h"
#include "common/model_open.h"
#include "common/options.h"
#include "common/progress.h"
#include "iviti/iviti.h"

#define DEFAULT_RUNS 50
#define MAX_RUNS     1000000
#define LEAST_RUNS   5
#define PATIENCE     10.0 /* seconds, where --runs is not given */
#define WARM_UP_RUNS 2

typedef struct settings {
    uint32_t runs; /* 0: chosen by the time that they take */
    int isa;
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
              "least 5)." },
    OPTION_ISA(settings, isa),
};

static const char *const USAGE[] = { "[options] MODEL", NULL };
static const char *const OPERANDS[] = { "MODEL", NULL };

static const option_example EXAMPLES[] = {
    { "iviti-bench --threads 1 deit_tiny.gguf", "One thread on the best instruction set." },
    { "iviti-bench --json --isa avx2 --runs 200 deit_tiny.gguf",
      "JSON for a script, with kernels that every x86-64 processor since 2013 has." },
};

typedef struct result {
    const char *path;
    iviti_isa isa;
    unsigned threads;
    uint32_t runs;
    double median; /* seconds */
    double fastest;
    double load; /* until the session is ready */
    uint64_t macs;
    uint64_t resident; /* bytes */
} result;

static int compare_seconds(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;

    return (x > y) - (x < y);
}

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

/* Times the runs into `seconds` (room for `limit`) and returns how many there were; 0 and a
 * sentence on failure. */
static uint32_t time_runs(iviti_session *session, const iviti_image *pixels, const settings *s,
                          double *seconds, uint32_t limit, report *r)
{
    progress p;
    uint32_t runs = 0;
    bool good = true;

    progress_start(&p, "timing", limit, s->common.quiet);
    for (uint32_t i = 0; i < WARM_UP_RUNS && good; i++) {
        good = iviti_session_run_pixels(session, pixels) == IVITI_OK;
    }
    const double started = clock_seconds();
    while (runs < limit && good) {
        const double before = clock_seconds();
        good = iviti_session_run_pixels(session, pixels) == IVITI_OK;
        const double after = clock_seconds();
        seconds[runs++] = after - before;
        progress_set(&p, runs);
        if (s->runs == 0 && runs >= LEAST_RUNS && after - started > PATIENCE) {
            break;
        }
    }
    progress_end(&p);
    if (!good) {
        (void)report_fail(r, "the model refuses %u x %u pixels", (unsigned)pixels->width,
                          (unsigned)pixels->height);
        return 0;
    }
    return runs;
}

static bool measure(iviti_session *session, const iviti_model_info *info, const settings *s,
                    result *out, report *r)
{
    const uint32_t limit = s->runs != 0 ? s->runs : DEFAULT_RUNS;
    const size_t row = (size_t)info->image_width * 3;
    uint8_t *const pixels = malloc(row * info->image_height);
    double *const seconds = calloc(limit, sizeof(*seconds));
    bool good = false;

    if (pixels == NULL || seconds == NULL) {
        (void)report_fail(r, "no memory for the pixels and %u times", (unsigned)limit);
    } else {
        fill_pixels(pixels, row * info->image_height);
        const iviti_image image = { pixels, info->image_width, info->image_height, (ptrdiff_t)row };
        out->runs = time_runs(session, &image, s, seconds, limit, r);
        good = out->runs > 0;
    }
    if (good) {
        qsort(seconds, out->runs, sizeof(*seconds), compare_seconds);
        out->median = (seconds[(out->runs - 1) / 2] + seconds[out->runs / 2]) / 2;
        out->fastest = seconds[0];
        out->resident = memory_use_peak();
    }
    free(seconds);
    free(pixels);
    return good;
}

/* ---- results
 * --------------------------------------------------------------------------------------- */

static double gmac(const result *b)
{
    return (double)b->macs / 1e9;
}

static double gmac_per_second(const result *b)
{
    return b->median > 0 ? gmac(b) / b->median : 0;
}

static void print_json(const result *b)
{
    json_out j = json_out_to(stdout);

    json_put_object(&j, NULL);
    json_put_text(&j, "model", b->path);
    json_put_text(&j, "isa", iviti_isa_name(b->isa));
    json_put_unsigned(&j, "threads", b->threads);
    json_put_unsigned(&j, "runs", b->runs);
    json_put_fixed(&j, "median_ms", b->median * 1e3, 4);
    json_put_fixed(&j, "min_ms", b->fastest * 1e3, 4);
    json_put_fixed(&j, "gmac", gmac(b), 6);
    json_put_fixed(&j, "gmac_per_s", gmac_per_second(b), 3);
    json_put_fixed(&j, "rss_mb", (double)b->resident / 1e6, 2);
    json_put_fixed(&j, "load_ms", b->load * 1e3, 3);
    json_put_end(&j);
    (void)json_put_line(&j);
}

static void print_people(const result *b)
{
    report path;

    (void)report_fail(&path, "%s", b->path);
    printf("%s, %s, %u thread%s, %u runs\n", path.text, iviti_isa_name(b->isa), b->threads,
           b->threads == 1 ? "" : "s", (unsigned)b->runs);
    printf("  median   %10.3f ms\n", b->median * 1e3);
    printf("  fastest  %10.3f ms\n", b->fastest * 1e3);
    printf("  work     %10.3f GMAC, %.1f GMAC/s\n", gmac(b), gmac_per_second(b));
    printf("  memory   %10.1f MB at most\n", (double)b->resident / 1e6);
    printf("  load     %10.3f ms\n", b->load * 1e3);
}

static int run(const option_program *program, const settings *s, const char *path)
{
    report r = { "" };
    iviti_model_info info;
    result b = { .path = path, .threads = options_threads(&s->common) };

    const double before = clock_seconds();
    iviti_model *const model = model_open(path, &r);
    if (model == NULL) {
        return options_failed(program, &r);
    }
    iviti_model_describe(model, &info);
    b.macs = info.macs;
    iviti_session *const session = session_open(model, b.threads, isa_from_choice(s->isa), &r);
    b.load = clock_seconds() - before;
    const bool good = session != NULL && measure(session, &info, s, &b, &r);
    if (good) {
        b.isa = iviti_session_isa(session);
    }
    iviti_session_free(session);
    iviti_model_free(model);
    if (!good) {
        return options_failed(program, &r);
    }
    if (s->common.json) {
        print_json(&b);
    } else {
        print_people(&b);
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

/* SPDX-License-Identifier: Apache-2.0
 *
 * iviti-classify: the most likely classes of pictures. Made to be a worker as well: one path in,
 * one line out, in order, flushed at once, never stopped by a bad picture, in constant memory.
 */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/attention_map.h"
#include "common/clock.h"
#include "common/json_out.h"
#include "common/lines.h"
#include "common/model_open.h"
#include "common/options.h"
#include "common/progress.h"
#include "common/terminal.h"
#include "iviti/iviti.h"
#include "picture/picture.h"

#define BAR_WIDTH   24
#define MAX_CLASSES 65536

typedef struct settings {
    uint32_t top;
    int isa;
    bool logits;
    bool lenient;
    const char *heatmap;
    common_options common;
} settings;

static const option_spec OPTIONS[] = {
    { .name = "top",
      .letter = 'k',
      .kind = OPTION_NUMBER,
      .offset = offsetof(settings, top),
      .value = "N",
      .minimum = 1,
      .maximum = MAX_CLASSES,
      .help = "Classes to print for each picture, the most likely first (default: 5)." },
    { .name = "logits",
      .kind = OPTION_FLAG,
      .offset = offsetof(settings, logits),
      .help = "Print integer logits too: beside each class, or with --json those of all classes "
              "in order and the scale that turns them into natural units." },
    { .name = "heatmap",
      .kind = OPTION_TEXT,
      .offset = offsetof(settings, heatmap),
      .value = "OUT.png",
      .help = "Draw what the class token looked at: the picture as the network saw it, the same under its "
              "attention, and, where the model prunes tokens, the patches that are left after each "
              "stage (at most four). With several pictures, or -, each gets a file of its own: "
              "OUT-0001.png for the first, and so on." },
    OPTION_ISA(settings, isa),
    { .name = "lenient",
      .kind = OPTION_FLAG,
      .offset = offsetof(settings, lenient),
      .help = "Exit with 0 although some pictures could not be read: for engines that take the "
              "status for the worker's. The line of each such picture still says why." },
};

static const char *const USAGE[] = { "[options] MODEL IMAGE...", "[options] MODEL -", NULL };
static const char *const OPERANDS[] = { "MODEL", "IMAGE", NULL };

static const option_example EXAMPLES[] = {
    { "iviti-classify models/digits-vit.gguf seven.png", "The five most likely digits." },
    { "iviti-classify -k 1 deit_tiny.gguf *.jpg", "One class for each photograph." },
    { "iviti-classify --heatmap seen.png deit_tiny.gguf dog.jpg",
      "Where the network looked, as a picture." },
    { "find photos -name '*.jpg' | iviti-classify --json deit_tiny.gguf -",
      "A line of JSON for every path on standard input." },
};

/* What a run needs from picture to picture. */
typedef struct work {
    const option_program *program;
    const settings *settings;
    const iviti_model *model;
    iviti_session *session;
    iviti_model_info info;
    iviti_class *top; /* (settings->top, at most the model's classes) */
    uint32_t top_count;
    progress progress;
    uint64_t pictures;
    uint64_t failures;
    bool numbered; /* heat maps: more than one picture may come */
    bool broken; /* standard output takes no more */
} work;

/* ---- JSON -------------------------------------------------------------------------------------
 */

static void print_json(work *w, const char *path, size_t written, double seconds)
{
    json_out j = json_out_to(stdout);

    json_put_object(&j, NULL);
    json_put_text(&j, "image", path);
    json_put_array(&j, "top");
    for (size_t i = 0; i < written; i++) {
        json_put_object(&j, NULL);
        json_put_unsigned(&j, "index", w->top[i].index);
        json_put_text(&j, "label", iviti_model_label(w->model, w->top[i].index));
        json_put_real(&j, "probability", (double)w->top[i].probability / 65536.0, 6);
        json_put_end(&j);
    }
    json_put_end(&j);
    json_put_fixed(&j, "ms", seconds * 1e3, 3);
    if (w->settings->logits) {
        const int32_t *const logits = iviti_session_logits(w->session);
        json_put_array(&j, "logits");
        for (uint32_t i = 0; i < w->info.classes; i++) {
            json_put_whole(&j, NULL, logits[i]);
        }
        json_put_end(&j);
        json_put_real(&j, "logits_scale",
                      ldexp((double)w->info.logits_multiplier, -(int)w->info.logits_shift), 17);
    }
    json_put_end(&j);
    w->broken = !json_put_line(&j);
}

static void print_json_error(work *w, const char *path, const char *sentence)
{
    json_out j = json_out_to(stdout);

    json_put_object(&j, NULL);
    json_put_text(&j, "image", path);
    json_put_text(&j, "error", sentence);
    json_put_end(&j);
    w->broken = !json_put_line(&j);
}

/* ---- for people ---------------------------------------------------------------------------------
 */

/* A class's name, safe to print on a terminal; its number where the model has no names. */
static void clean_label(const work *w, uint32_t index, report *out)
{
    const char *const label = iviti_model_label(w->model, index);

    if (label[0] != '\0') {
        (void)report_fail(out, "%s", label);
    } else {
        (void)report_fail(out, "class %u", (unsigned)index);
    }
}

static void print_people(work *w, const char *path, size_t written, double seconds)
{
    const bool bars = terminal_is(stdout);
    report text;
    int widest = 0;

    for (size_t i = 0; i < written; i++) {
        clean_label(w, w->top[i].index, &text);
        const int width = (int)terminal_columns(text.text);
        widest = width > widest ? width : widest;
    }
    (void)report_fail(&text, "%s", path);
    printf("%s  (%.2f ms)\n", text.text, seconds * 1e3);
    for (size_t i = 0; i < written; i++) {
        const double share = (double)w->top[i].probability / 65536.0;
        clean_label(w, w->top[i].index, &text);
        printf("  %5.1f %%  ", share * 100.0);
        if (w->settings->logits) {
            printf("%11ld  ", (long)w->top[i].logit);
        }
        printf("%s%s%s", terminal_style(stdout, i == 0 ? TERMINAL_STRONG : ""), text.text,
               terminal_style(stdout, i == 0 ? TERMINAL_PLAIN : ""));
        if (bars) {
            printf("%*s", widest - (int)terminal_columns(text.text) + 2, "");
            terminal_bar(stdout, share, BAR_WIDTH);
        }
        putchar('\n');
    }
    w->broken = fflush(stdout) != 0;
}

/* ---- the work
 * ------------------------------------------------------------------------------------- */

static void fail_picture(work *w, const char *path, const report *r)
{
    w->failures++;
    if (w->settings->common.json) {
        print_json_error(w, path, r->text);
        return;
    }
    progress_hide(&w->progress);
    (void)options_failed(w->program, r);
}

/* The heat map of the picture that was just classified, which is of the last run. */
static bool draw_heatmap(const work *w, const picture *image, report *r)
{
    char path[ATTENTION_MAP_PATH];

    return attention_map_path(w->settings->heatmap, w->numbered ? w->pictures : 0, path, r) &&
           attention_map_write(w->model, w->session, image, path, r);
}

static void classify(work *w, const char *path)
{
    picture image = { 0 };
    report r = { "" };
    size_t written = 0;

    w->pictures++;
    if (!picture_load(path, &image, &r)) {
        fail_picture(w, path, &r);
        return;
    }
    const double before = clock_seconds();
    bool done = session_run(w->session, &image, path, &r);
    const double seconds = clock_seconds() - before;
    done = done && (!w->settings->heatmap || draw_heatmap(w, &image, &r));
    picture_free(&image);
    if (!done) {
        fail_picture(w, path, &r);
        return;
    }
    if (iviti_session_top(w->session, w->top_count, w->top, &written) != IVITI_OK) {
        written = 0;
    }
    if (w->settings->common.json) {
        print_json(w, path, written, seconds);
    } else {
        print_people(w, path, written, seconds);
    }
}

/* Whether reading that path could wait for ever. On the command line a pipe is meant; in a list it is
 * a mistake that must not stop the others. */
static bool may_wait(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode);
}

static void classify_line(work *w, const lines *line, lines_result got)
{
    report bad;

    if (got == LINES_GOOD && line->length > 0 && !may_wait(line->text)) {
        classify(w, line->text);
        return;
    }
    w->pictures++;
    if (got == LINES_GOOD && line->length > 0) {
        (void)report_fail(&bad, "%s: is a pipe or a device, not a file", line->text);
    } else {
        (void)report_fail(&bad, "line %llu of standard input %s", (unsigned long long)line->number,
                          got == LINES_LONG  ? "is longer than a path may be"
                          : got == LINES_NUL ? "holds a NUL byte"
                                             : "is empty");
    }
    fail_picture(w, line->text, &bad);
}

/* One path per line of standard input, until it ends or nobody listens. */
static bool classify_listed(work *w, report *r)
{
    lines *const list = malloc(sizeof(*list));
    lines_result got = LINES_END;

    if (list == NULL) {
        return report_fail(r, "no memory for a line of %d bytes", LINES_LONGEST);
    }
    lines_start(list, stdin);
    while (!w->broken && (got = lines_next(list)) != LINES_END) {
        classify_line(w, list, got);
        progress_set(&w->progress, w->pictures);
    }
    const bool good = !ferror(stdin);
    free(list);
    return good || report_fail(r, "cannot read standard input: %s", strerror(errno));
}

static int classify_all(work *w, const option_operands *operands)
{
    report r = { "" };
    bool good = true;
    bool listed = false;

    for (size_t i = 1; i < operands->count; i++) {
        listed = listed || strcmp(operands->item[i], "-") == 0;
    }
    w->numbered = listed || operands->count > 2;
    /* Where results go to the same terminal, they are the progress. */
    progress_start(&w->progress, "classifying", listed ? 0 : operands->count - 1,
                   w->settings->common.quiet || terminal_is(stdout));
    for (size_t i = 1; i < operands->count && good && !w->broken; i++) {
        if (strcmp(operands->item[i], "-") == 0) {
            good = classify_listed(w, &r);
        } else {
            classify(w, operands->item[i]);
        }
        progress_set(&w->progress, w->pictures);
    }
    progress_end(&w->progress);
    if (!good) {
        (void)options_failed(w->program, &r);
    } else if (w->failures > 0 && (w->settings->common.json || w->pictures > 1)) {
        (void)report_fail(&r, "%llu of %llu pictures could not be classified",
                          (unsigned long long)w->failures, (unsigned long long)w->pictures);
        (void)options_failed(w->program, &r);
    }
    return options_finish(w->program, good && (w->failures == 0 || w->settings->lenient) ? EXIT_DONE
                                                                                           : EXIT_FAILED);
}

static int run(const option_program *program, const settings *s, const option_operands *operands)
{
    report r = { "" };
    work w = { .program = program, .settings = s };
    int status = EXIT_FAILED;

    iviti_model *const model = model_open(operands->item[0], &r);
    if (model == NULL) {
        return options_failed(program, &r);
    }
    w.model = model;
    iviti_model_describe(model, &w.info);
    w.top_count = s->top < w.info.classes ? s->top : w.info.classes;
    w.top = calloc(w.top_count, sizeof(*w.top));
    if (!s->heatmap || attention_map_possible(model, operands->item[0], &r)) {
        w.session = (s->heatmap ? session_open_attentive : session_open)(
            model, options_threads(&s->common), isa_from_choice(s->isa), &r);
    }
    if (w.top == NULL && w.session != NULL) {
        (void)report_fail(&r, "no memory for %u classes", (unsigned)w.top_count);
    }
    if (w.top != NULL && w.session != NULL) {
        status = classify_all(&w, operands);
    } else {
        (void)options_failed(program, &r);
    }
    iviti_session_free(w.session);
    free(w.top);
    iviti_model_free(model);
    return status;
}

int main(int argc, char **argv)
{
    settings s = { .top = 5 };
    const option_group groups[] = { { "Options", OPTIONS, OPTION_COUNT(OPTIONS), &s },
                                    common_options_group(&s.common) };
    const option_program program = {
        .name = "iviti-classify",
        .summary = "the most likely classes of pictures",
        .usage = USAGE,
        .description = "Classifies JPEG and PNG pictures of any size with a model made by "
                       "iviti-convert, in integer arithmetic. With - instead of a picture it reads "
                       "one path per line from standard input and prints the answer to each before "
                       "it reads the next; it ends when its input does, or when nobody reads its "
                       "output any more. A picture that cannot be read is "
                       "reported and the others go on; the exit status is then 1.",
        .operands = OPERANDS,
        .operands_repeat = true,
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
    if (s.heatmap && !attention_map_named(s.heatmap)) {
        return options_wrong(&program, "--heatmap takes a file that ends in .png, not %s", s.heatmap);
    }
    return run(&program, &s, &operands);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Nothing in the page is fetched from anywhere, runs, or is trusted: no script, pictures as data,
 * every name escaped.
 */
#include "common/evaluation_page.h"

#include <stdlib.h>
#include <string.h>

#include "common/html_out.h"
#include "common/model_open.h"
#include "picture/picture.h"
#include "picture/write_png.h"

#define WORST_CLASSES  10
#define WORST_PICTURES 24
#define BINS           40

/* Of the histogram, in units of the drawing. */
#define BIN_WIDTH  14
#define BAR_HEIGHT 160

typedef struct page {
    FILE *file;
    const char *path;
    const evaluation_task *task;
    const evaluation *e;
    iviti_model_info info;
} page;

typedef struct class_use {
    uint32_t index;
    uint32_t pictures;
    uint32_t right;
} class_use;

/* A picture and how bad it is. */
typedef struct ranked {
    size_t index;
    double badness;
} ranked;

static const char HEAD[] =
    "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
    "'unsafe-inline'; img-src data:\">\n"
    "<title>iviti-eval</title>\n<style>\n"
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;"
    "color:#222;background:#fff}\n"
    "table{border-collapse:collapse}td,th{padding:.15rem .6rem;text-align:right;"
    "border-bottom:1px solid #ddd}td:first-child,th:first-child{text-align:left}\n"
    ".cards{display:flex;flex-wrap:wrap;gap:1rem}figure{margin:0;width:11rem;font-size:.8rem}\n"
    "figure img{width:100%;image-rendering:pixelated;border:1px solid #ccc}\n"
    "svg{max-width:100%}svg rect{fill:#06c}svg text{font-size:11px;fill:#444}svg "
    "line{stroke:#b00}\n"
    "figcaption,td{overflow-wrap:anywhere}\n</style>\n</head>\n<body>\n";

static void put_class(const page *p, uint32_t index)
{
    const char *const label = iviti_model_label(p->task->model, index);

    if (label[0] != '\0') {
        html_put_text(p->file, label);
    } else {
        fprintf(p->file, "class %u", (unsigned)index);
    }
}

/* ---- figures -----------------------------------------------------------------------------------
 */

static void put_figure(const page *p, const char *name, double own, double reference,
                       const char *unit)
{
    fprintf(p->file, "<tr><td>%s<td>%.2f %s", name, own, unit);
    if (p->task->reference != NULL && reference >= 0) {
        fprintf(p->file, "<td>%.2f %s", reference, unit);
    } else {
        fputs("<td>", p->file);
    }
    putc('\n', p->file);
}

static void put_figures(const page *p)
{
    const evaluation *const e = p->e;

    fputs("<h1>", p->file);
    html_put_text(p->file, p->path);
    fprintf(p->file,
            "</h1>\n<p>%llu pictures; %s, %u x %u, %u classes.</p>\n"
            "<table>\n<tr><th><th>integer<th>%s\n",
            (unsigned long long)e->pictures, p->info.architecture, (unsigned)p->info.image_width,
            (unsigned)p->info.image_height, (unsigned)p->info.classes,
            p->task->reference != NULL ? "float" : "");
    put_figure(p, "top-1", e->top1, e->reference_top1, "%");
    put_figure(p, "top-5", e->top5, e->reference_top5, "%");
    put_figure(p, "time per picture", e->ms_per_image, -1, "ms");
    if (p->task->reference != NULL) {
        put_figure(p, "same answer as float", e->agreement, -1, "%");
        fprintf(p->file,
                "<tr><td>cosine of the logits<td>%.6f<td>\n"
                "<tr><td>relative mean squared error<td>%.6f<td>\n",
                e->cosine, e->relative_mse);
    }
    fputs("</table>\n", p->file);
}

/* ---- classes -----------------------------------------------------------------------------------
 */

/* Least often right first; then the one with more pictures, then the lower index. */
static int worse_class(const void *a, const void *b)
{
    const class_use *const x = a;
    const class_use *const y = b;
    const uint64_t left = (uint64_t)x->right * y->pictures;
    const uint64_t right = (uint64_t)y->right * x->pictures;

    if (left != right) {
        return left < right ? -1 : 1;
    }
    if (x->pictures != y->pictures) {
        return x->pictures > y->pictures ? -1 : 1;
    }
    return (x->index > y->index) - (x->index < y->index);
}

/* Counts and sorts; returns how many classes have a wrong picture. */
static size_t find_worst_classes(const page *p, class_use *use)
{
    size_t wrong = 0;

    for (uint32_t c = 0; c < p->info.classes; c++) {
        use[c].index = c;
    }
    for (size_t i = 0; i < p->e->pictures; i++) {
        class_use *const one = &use[p->task->pictures->item[i].label];
        one->pictures++;
        one->right += p->e->picture[i].rank == 0;
    }
    for (uint32_t c = 0; c < p->info.classes; c++) {
        if (use[c].right < use[c].pictures) {
            use[wrong++] = use[c];
        }
    }
    qsort(use, wrong, sizeof(*use), worse_class);
    return wrong;
}

/* A row: the class, and how often its pictures were taken for each of the shown classes. */
static void put_confused(const page *p, const class_use *use, size_t shown, size_t row)
{
    uint32_t taken[WORST_CLASSES] = { 0 };
    uint32_t other = 0;

    for (size_t i = 0; i < p->e->pictures; i++) {
        if (p->task->pictures->item[i].label != use[row].index) {
            continue;
        }
        size_t column = 0;
        while (column < shown && use[column].index != p->e->picture[i].best) {
            column++;
        }
        *(column < shown ? &taken[column] : &other) += 1;
    }
    fputs("<tr><td>", p->file);
    put_class(p, use[row].index);
    fprintf(p->file, "<td>%u<td>%.0f %%", (unsigned)use[row].pictures,
            100.0 * use[row].right / use[row].pictures);
    for (size_t column = 0; column < shown; column++) {
        fprintf(p->file, "<td style=\"background:rgba(%s,%.2f)\">%u",
                column == row ? "0,128,0" : "190,0,0", 0.6 * taken[column] / use[row].pictures,
                (unsigned)taken[column]);
    }
    fprintf(p->file, "<td style=\"background:rgba(190,0,0,%.2f)\">%u\n",
            0.6 * other / use[row].pictures, (unsigned)other);
}

static bool put_classes(const page *p, report *r)
{
    class_use *const use = calloc(p->info.classes, sizeof(*use));

    if (use == NULL) {
        return report_fail(r, "no memory for %u classes", (unsigned)p->info.classes);
    }
    const size_t wrong = find_worst_classes(p, use);
    const size_t shown = wrong < WORST_CLASSES ? wrong : WORST_CLASSES;
    fprintf(p->file,
            "<h2>Classes</h2>\n<p>%zu of %u classes have a picture that is taken for "
            "another.</p>\n",
            wrong, (unsigned)p->info.classes);
    if (shown > 0) {
        fprintf(p->file,
                "<p>The worst %zu, and what their pictures are taken for:</p>\n<table>\n"
                "<tr><th>true class<th>pictures<th>right",
                shown);
        for (size_t column = 0; column < shown; column++) {
            fputs("<th>", p->file);
            put_class(p, use[column].index);
        }
        fputs("<th>others\n", p->file);
        for (size_t row = 0; row < shown; row++) {
            put_confused(p, use, shown, row);
        }
        fputs("</table>\n", p->file);
    }
    free(use);
    return true;
}

/* ---- pictures ----------------------------------------------------------------------------------
 */

static int worse_picture(const void *a, const void *b)
{
    const ranked *const x = a;
    const ranked *const y = b;

    if (x->badness < y->badness || x->badness > y->badness) {
        return x->badness > y->badness ? -1 : 1;
    }
    return (x->index > y->index) - (x->index < y->index);
}

/* Beside a float network: another answer than its, the logits that are farthest off first. Else: a
 * wrong answer, the surest first. */
static bool is_bad(const page *p, size_t index, double *badness)
{
    const evaluation_picture *const one = &p->e->picture[index];

    if (p->task->reference != NULL) {
        *badness = one->energy > 0 ? one->difference / one->energy : 0;
        return !one->agrees;
    }
    *badness = (double)one->probability;
    return one->rank > 0;
}

static void take_png(void *context, void *data, int size)
{
    html_base64_put(context, data, (size_t)size);
}

/* The pixels that entered the network, as a picture inside the page. */
static bool put_pixels(const page *p, iviti_session *session, const char *path, report *r)
{
    html_base64 coded = { .file = p->file };
    picture image = { 0 };

    if (!picture_load(path, &image, r)) {
        return false;
    }
    bool good = session_run(session, &image, path, r);
    picture_free(&image);
    if (!good) {
        return false;
    }
    fputs("<img alt=\"\" src=\"data:image/png;base64,", p->file);
    good = encode_png(take_png, &coded, iviti_session_pixels(session), p->info.image_width,
                      p->info.image_height, 3);
    html_base64_end(&coded);
    fputs("\">\n", p->file);
    return good || report_fail(r, "no memory to show %s", path);
}

static bool put_picture(const page *p, iviti_session *session, size_t index, report *r)
{
    const labelled_picture *const item = &p->task->pictures->item[index];
    const evaluation_picture *const one = &p->e->picture[index];

    fputs("<figure>", p->file);
    if (!put_pixels(p, session, item->path, r)) {
        return false;
    }
    fputs("<figcaption>", p->file);
    html_put_text(p->file, item->path);
    fputs("<br>is <b>", p->file);
    put_class(p, item->label);
    fputs("</b><br>taken for <b>", p->file);
    put_class(p, one->best);
    fprintf(p->file, "</b>, %.1f %%", one->probability * 100.0 / 65536);
    if (p->task->reference != NULL) {
        fputs("<br>by float for <b>", p->file);
        put_class(p, one->reference_best);
        fputs("</b>", p->file);
    }
    fputs("</figcaption></figure>\n", p->file);
    return true;
}

static bool put_pictures(const page *p, report *r)
{
    ranked *const bad = calloc(p->e->pictures, sizeof(*bad));
    size_t count = 0;

    if (bad == NULL) {
        return report_fail(r, "no memory for %llu pictures", (unsigned long long)p->e->pictures);
    }
    for (size_t i = 0; i < p->e->pictures; i++) {
        bad[count].index = i;
        count += is_bad(p, i, &bad[count].badness);
    }
    qsort(bad, count, sizeof(*bad), worse_picture);
    fprintf(p->file, "<h2>%s</h2>\n<p>%zu of %llu%s</p>\n<div class=\"cards\">\n",
            p->task->reference != NULL ? "Other answers than the float network's"
                                       : "Wrong answers, the surest first",
            count, (unsigned long long)p->e->pictures,
            count > WORST_PICTURES ? "; these are the worst." : ".");
    iviti_session *const session =
        count > 0 ? session_open(p->task->model, 1, p->task->isa, r) : NULL;
    bool good = count == 0 || session != NULL;
    for (size_t i = 0; i < count && i < WORST_PICTURES && good; i++) {
        good = put_picture(p, session, bad[i].index, r);
    }
    fputs("</div>\n", p->file);
    iviti_session_free(session);
    free(bad);
    return good;
}

/* ---- times -------------------------------------------------------------------------------------
 */

static int longer(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Bars from the fastest to the 99th percentile; what took longer is in the last. */
static void put_bars(const page *p, const double *ms, size_t count)
{
    size_t bin[BINS] = { 0 };
    size_t most = 1;
    const double least = ms[0];
    const double reach = ms[(count - 1) * 99 / 100];
    const double width = reach > least ? (reach - least) / BINS : 1;

    for (size_t i = 0; i < count; i++) {
        const double place = (ms[i] - least) / width;
        const size_t b = place < BINS - 1 ? (size_t)place : BINS - 1;
        bin[b]++;
        most = bin[b] > most ? bin[b] : most;
    }
    fprintf(p->file, "<svg viewBox=\"0 0 %d %d\" width=\"%d\" role=\"img\">\n",
            BINS * BIN_WIDTH + 20, BAR_HEIGHT + 40, BINS * BIN_WIDTH + 20);
    for (int i = 0; i < BINS; i++) {
        const double height = BAR_HEIGHT * (double)bin[i] / (double)most;
        fprintf(p->file,
                "<rect x=\"%d\" y=\"%.1f\" width=\"%d\" height=\"%.1f\"><title>%zu from %.3f "
                "ms</title></rect>\n",
                10 + i * BIN_WIDTH, BAR_HEIGHT + 10 - height, BIN_WIDTH - 2, height, bin[i],
                least + width * i);
    }
    const double middle = 10 + BIN_WIDTH * (ms[count / 2] - least) / width;
    fprintf(p->file,
            "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"5\" y2=\"%d\"/>\n"
            "<text x=\"10\" y=\"%d\">%.3f ms</text>\n"
            "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%.3f ms and more</text>\n</svg>\n",
            middle, middle, BAR_HEIGHT + 10, BAR_HEIGHT + 28, least, 10 + BINS * BIN_WIDTH,
            BAR_HEIGHT + 28, reach);
}

static bool put_times(const page *p, report *r)
{
    const size_t count = p->e->pictures;
    double *const ms = malloc(count * sizeof(*ms));

    if (ms == NULL) {
        return report_fail(r, "no memory for %zu times", count);
    }
    for (size_t i = 0; i < count; i++) {
        ms[i] = p->e->picture[i].seconds * 1e3;
    }
    qsort(ms, count, sizeof(*ms), longer);
    fprintf(
        p->file,
        "<h2>Time</h2>\n<p>Resize and network on one thread, %u at the same time. Median %.3f ms "
        "(the line), 90 %% below %.3f ms, 99 %% below %.3f ms, at most %.3f ms.</p>\n",
        p->task->workers, ms[count / 2], ms[(count - 1) * 9 / 10], ms[(count - 1) * 99 / 100],
        ms[count - 1]);
    put_bars(p, ms, count);
    free(ms);
    return true;
}

bool evaluation_page(FILE *file, const char *path, const evaluation_task *task, const evaluation *e,
                     report *r)
{
    page p = { .file = file, .path = path, .task = task, .e = e };

    iviti_model_describe(task->model, &p.info);
    fputs(HEAD, file);
    put_figures(&p);
    if (!put_classes(&p, r) || !put_pictures(&p, r) || !put_times(&p, r)) {
        return false;
    }
    fprintf(file, "<p><small>iviti-eval %s</small></p>\n</body>\n</html>\n", iviti_version());
    if (fflush(file) != 0 || ferror(file)) {
        return report_fail(r, "the page cannot be written");
    }
    return true;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Draws progress.h's line.
 */
#include "common/progress.h"

#include <stdio.h>

#include "common/clock.h"
#include "common/terminal.h"

#define REDRAW_SECONDS 0.1
#define BAR            20

void progress_start(progress *p, const char *what, uint64_t total, bool quiet)
{
    const double now = clock_seconds();

    *p = (progress){ .what = what, .total = total, .started = now, .last = now };
    p->shown = !quiet && terminal_is(stderr);
}

/* "40 s", "3 min 20 s", "2 h 5 min". */
static void format_duration(double seconds, char *text, size_t bytes)
{
    const uint64_t s = seconds < 0 ? 0 : seconds > 1e9 ? 1000000000 : (uint64_t)(seconds + 0.5);

    if (s < 60) {
        snprintf(text, bytes, "%u s", (unsigned)s);
    } else if (s < 3600) {
        snprintf(text, bytes, "%u min %u s", (unsigned)(s / 60), (unsigned)(s % 60));
    } else {
        snprintf(text, bytes, "%u h %u min", (unsigned)(s / 3600), (unsigned)(s / 60 % 60));
    }
}

static void draw(progress *p, uint64_t done, double now)
{
    const double elapsed = now - p->started;
    const double rate = elapsed > 0 ? (double)done / elapsed : 0;
    char line[256];
    char left[32] = "";
    char bar[BAR + 1] = "";
    int used = snprintf(line, sizeof(line), "%s", p->what);
    const int width = terminal_width(stderr) - 1;

    if (p->total > 0 && used >= 0 && used < (int)sizeof(line)) {
        const uint64_t reached = done < p->total ? done : p->total;
        const double share = (double)reached / (double)p->total;
        for (int i = 0; i < BAR; i++) {
            bar[i] = i < (int)(share * BAR) ? '#' : '.';
        }
        format_duration(rate > 0 ? (double)(p->total - reached) / rate : 0, left, sizeof(left));
        used += snprintf(line + used, sizeof(line) - (size_t)used, " [%s] %llu/%llu", bar,
                         (unsigned long long)reached, (unsigned long long)p->total);
    } else if (used >= 0 && used < (int)sizeof(line)) {
        used +=
            snprintf(line + used, sizeof(line) - (size_t)used, " %llu", (unsigned long long)done);
    }
    if (used >= 0 && used < (int)sizeof(line) && done > 0) {
        snprintf(line + used, sizeof(line) - (size_t)used,
                 rate >= 10 ? "  %.0f/s%s%s%s" : "  %.2f/s%s%s%s", rate,
                 left[0] != '\0' ? "  " : "", left, left[0] != '\0' ? " left" : "");
    }
    fprintf(stderr, "\r%.*s\033[K", width > 0 ? width : 1, line);
    fflush(stderr);
    p->drawn = true;
    p->last = now;
}

void progress_set(progress *p, uint64_t done)
{
    if (!p->shown) {
        return;
    }
    const double now = clock_seconds();
    if (now - p->last >= REDRAW_SECONDS) {
        draw(p, done, now);
    }
}

void progress_hide(progress *p)
{
    if (p->drawn) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
        p->drawn = false;
        p->last = 0;
    }
}

void progress_end(progress *p)
{
    progress_hide(p);
    p->shown = false;
}

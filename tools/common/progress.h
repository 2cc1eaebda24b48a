/* SPDX-License-Identifier: Apache-2.0
 *
 * One line on standard error that tells how far long work is: share, rate, time left. It appears
 * only on a terminal, not with --quiet, and never on standard output; it is wiped when the work
 * ends, so that what follows begins on a clean line.
 *
 *     progress p;
 *     progress_start(&p, "calibrating", 128, common.quiet);
 *     for (...) { ...; progress_set(&p, i + 1); }
 *     progress_end(&p);
 *
 * One thread at a time: workers share one under their own lock.
 */
#ifndef PROGRESS_H
#define PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct progress {
    const char *what; /* "evaluating"; lives until progress_end */
    uint64_t total;   /* 0: not known beforehand */
    bool shown;       /* a line may be drawn */
    bool drawn;       /* a line is on the terminal now */
    double started;
    double last; /* when it was drawn */
} progress;

void progress_start(progress *p, const char *what, uint64_t total, bool quiet);

/* Cheap to call: draws at most ten times a second. */
void progress_set(progress *p, uint64_t done);

/* Wipes the line, before a message is printed; the next progress_set draws it again. */
void progress_hide(progress *p);

void progress_end(progress *p);

#endif

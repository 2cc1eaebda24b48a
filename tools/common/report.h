/* SPDX-License-Identifier: Apache-2.0
 *
 * How the tools' own code tells what went wrong: functions return false and leave one sentence that
 * names the file, the field, the value and the limit. The tool prints it and exits with 1.
 */
#ifndef REPORT_H
#define REPORT_H

#include <stdbool.h>
#include <stddef.h>

typedef struct report {
    char text[1024];
} report;

/* Formats the sentence (bytes that are not printable ASCII or UTF-8 are escaped) and returns false,
 * so that `return report_fail(r, ...)` reads well. A NULL report is allowed. */
bool report_fail(report *r, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;

#endif

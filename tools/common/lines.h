/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines of text of any length, from any stream, in constant memory. A line ends with LF or CRLF;
 * the last one needs no end. A line that cannot be used whole is still one line: the caller learns
 * why and goes on with the next.
 */
#ifndef LINES_H
#define LINES_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define LINES_LONGEST 65535

typedef enum lines_result {
    LINES_END, /* no more; ferror(file) tells whether it was a failure */
    LINES_GOOD,
    LINES_LONG, /* the first LINES_LONGEST bytes are in text, the rest is skipped */
    LINES_NUL   /* a NUL byte inside; text ends there */
} lines_result;

typedef struct lines {
    FILE *file;
    uint64_t number; /* of the line in text, from 1 */
    size_t length;
    char text[LINES_LONGEST + 1];
} lines;

void lines_start(lines *l, FILE *file);
lines_result lines_next(lines *l);

#endif

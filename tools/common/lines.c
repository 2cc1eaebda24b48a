/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads byte by byte through the stream's own buffer, so that a line from a pipe is delivered as
 * soon as it is complete.
 */
#include "common/lines.h"

#include <stdbool.h>
#include <string.h>

void lines_start(lines *l, FILE *file)
{
    l->file = file;
    l->number = 0;
    l->length = 0;
    l->text[0] = '\0';
}

lines_result lines_next(lines *l)
{
    uint64_t seen = 0;
    int last = EOF;
    int c = getc(l->file);

    l->length = 0;
    if (c == EOF) {
        l->text[0] = '\0';
        return LINES_END;
    }
    for (; c != EOF && c != '\n'; c = getc(l->file)) {
        if (l->length < LINES_LONGEST) {
            l->text[l->length++] = (char)c;
        }
        seen++;
        last = c;
    }
    l->number++;
    if (c == '\n' && last == '\r') {
        seen--;
        if (l->length > seen) {
            l->length = (size_t)seen;
        }
    }
    l->text[l->length] = '\0';
    const bool too_long = seen > LINES_LONGEST;
    if (strlen(l->text) != l->length) {
        return LINES_NUL;
    }
    return too_long ? LINES_LONG : LINES_GOOD;
}

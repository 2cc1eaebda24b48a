/* SPDX-License-Identifier: Apache-2.0
 *
 * The sentence of a failure. Names inside it come from files, so whatever could steer a terminal is
 * escaped before anyone prints it.
 */
#include "common/report.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/utf8.h"

/* Printable means: no control of C0, DEL or C1, and no half of a character. */
static size_t printable(const uint8_t *text, size_t length)
{
    const size_t step = utf8_sequence(text, length);
    if (step == 1 && (text[0] < 0x20 || text[0] == 0x7F)) {
        return 0;
    }
    if (step == 2 && text[0] == 0xC2 && text[1] < 0xA0) {
        return 0;
    }
    return step;
}

bool report_fail(report *r, const char *format, ...)
{
    if (r == NULL) {
        return false;
    }
    char raw[sizeof r->text];
    va_list arguments;
    va_start(arguments, format);
    const int written = vsnprintf(raw, sizeof raw, format, arguments);
    va_end(arguments);
    const size_t length = written < 0                    ? 0
                          : (size_t)written < sizeof raw ? (size_t)written
                                                         : sizeof raw - 1;
    size_t used = 0;
    for (size_t i = 0; i < length;) {
        const size_t step = printable((const uint8_t *)raw + i, length - i);
        const size_t room = sizeof r->text - 1 - used;
        if (room < (step == 0 ? 4 : step)) {
            break;
        }
        if (step == 0) {
            static const char hex[] = "0123456789abcdef";
            const uint8_t byte = (uint8_t)raw[i++];
            r->text[used++] = '\\';
            r->text[used++] = 'x';
            r->text[used++] = hex[byte >> 4];
            r->text[used++] = hex[byte & 15];
            continue;
        }
        memcpy(r->text + used, raw + i, step);
        used += step;
        i += step;
    }
    r->text[used] = '\0';
    return false;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Sentences for the caller's log. What a file says may be quoted in them, so everything that a
 * terminal could take for a command is escaped.
 */
#include "base/log.h"

#include <stdarg.h>

#include "base/format.h"
#include "base/utf8.h"

/* A printable character: not a control character of the C0 or C1 set. */
static bool printable(const uint8_t *text, size_t length)
{
    if (length == 1)
        return text[0] >= 0x20 && text[0] < 0x7F;
    return length > 1 && !(text[0] == 0xC2 && text[1] < 0xA0);
}

/* in NUL-terminated, out (bytes). Cuts between characters. */
static void escape(const char *in, char *out, size_t bytes)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *text = (const uint8_t *)in;
    size_t left = 0;
    while (text[left] != 0)
        left++;

    size_t used = 0;
    while (left > 0) {
        const size_t length = iviti_utf8_character(text, left);
        if (printable(text, length)) {
            if (used + length >= bytes)
                break;
            for (size_t i = 0; i < length; i++)
                out[used++] = (char)text[i];
            text += length;
            left -= length;
        } else {
            if (used + 4 >= bytes)
                break;
            out[used++] = '\\';
            out[used++] = 'x';
            out[used++] = digits[text[0] >> 4];
            out[used++] = digits[text[0] & 15];
            text++;
            left--;
        }
    }
    out[used] = 0;
}

iviti_status iviti_log_fail(const iviti_log *log, iviti_status status, const char *format, ...)
{
    if (log == NULL || log->write == NULL)
        return status;
    char sentence[IVITI_LOG_BYTES];
    char escaped[IVITI_LOG_BYTES];
    va_list arguments;
    va_start(arguments, format);
    iviti_vformat(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    escape(sentence, escaped, sizeof escaped);
    log->write(log->user, status, escaped);
    return status;
}

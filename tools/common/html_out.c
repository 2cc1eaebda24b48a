/* SPDX-License-Identifier: Apache-2.0
 *
 * Escaping after the HTML standard's rules for text and double-quoted attributes; base64 of RFC
 * 4648.
 */
#include "common/html_out.h"

#include <string.h>

#include "common/utf8.h"

static const char ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static const char *entity(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return (unsigned char)c < 0x20 || c == 0x7F ? "\xEF\xBF\xBD" : NULL;
    }
}

void html_put_text(FILE *file, const char *text)
{
    const size_t length = strlen(text);

    for (size_t i = 0; i < length;) {
        const size_t step = utf8_sequence((const uint8_t *)text + i, length - i);
        const char *const said = step == 0 ? "\xEF\xBF\xBD" : step == 1 ? entity(text[i]) : NULL;
        if (said != NULL) {
            fputs(said, file);
        } else {
            fwrite(text + i, 1, step, file);
        }
        i += step == 0 ? 1 : step;
    }
}

static void put_group(html_base64 *b, unsigned letters)
{
    for (unsigned i = 0; i < 4; i++) {
        putc(i < letters ? ALPHABET[b->held >> (18 - 6 * i) & 63] : '=', b->file);
    }
    b->held = 0;
    b->count = 0;
}

void html_base64_put(html_base64 *b, const uint8_t *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        b->held |= (uint32_t)data[i] << (16 - 8 * b->count);
        if (++b->count == 3) {
            put_group(b, 4);
        }
    }
}

void html_base64_end(html_base64 *b)
{
    if (b->count > 0) {
        put_group(b, b->count + 1);
    }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The writer of json_out.h.
 */
#include "common/json_out.h"

#include <math.h>

json_out json_out_to(FILE *file)
{
    return (json_out){ .file = file };
}

/* Length of the valid UTF-8 sequence at `s` (RFC 3629: shortest form, no surrogates, at most
 * U+10FFFF), or 0. */
static unsigned utf8_length(const unsigned char *s)
{
    const unsigned char c = s[0];
    unsigned length = 0;
    unsigned char low = 0x80;
    unsigned char high = 0xBF;

    if (c < 0x80) {
        return 1;
    }
    if (c >= 0xC2 && c <= 0xDF) {
        length = 2;
    } else if (c >= 0xE0 && c <= 0xEF) {
        length = 3;
        low = c == 0xE0 ? 0xA0 : 0x80;
        high = c == 0xED ? 0x9F : 0xBF;
    } else if (c >= 0xF0 && c <= 0xF4) {
        length = 4;
        low = c == 0xF0 ? 0x90 : 0x80;
        high = c == 0xF4 ? 0x8F : 0xBF;
    } else {
        return 0;
    }
    if (s[1] < low || s[1] > high) {
        return 0;
    }
    for (unsigned i = 2; i < length; i++) {
        if ((s[i] & 0xC0) != 0x80) { /* the ending NUL included */
            return 0;
        }
    }
    return length;
}

static void write_string(FILE *file, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;

    fputc('"', file);
    while (*s != '\0') {
        const unsigned length = utf8_length(s);
        if (length == 0) {
            fputs("\xEF\xBF\xBD", file); /* U+FFFD */
            s++;
        } else if (length > 1) {
            fwrite(s, 1, length, file);
            s += length;
        } else {
            if (*s == '"' || *s == '\\') {
                fputc('\\', file);
                fputc(*s, file);
            } else if (*s < 0x20 || *s == 0x7F) {
                fprintf(file, "\\u%04x", *s);
            } else {
                fputc(*s, file);
            }
            s++;
        }
    }
    fputc('"', file);
}

static void begin_value(json_out *j, const char *key)
{
    if (j->comma) {
        fputc(',', j->file);
    }
    if (key != NULL) {
        write_string(j->file, key);
        fputc(':', j->file);
    }
    j->comma = true;
}

static void open_level(json_out *j, const char *key, char open, char close)
{
    begin_value(j, key);
    fputc(open, j->file);
    j->comma = false;
    if (j->depth < JSON_OUT_DEPTH) {
        j->close[j->depth++] = close;
    }
}

void json_object(json_out *j, const char *key)
{
    open_level(j, key, '{', '}');
}

void json_array(json_out *j, const char *key)
{
    open_level(j, key, '[', ']');
}

void json_end(json_out *j)
{
    if (j->depth > 0) {
        fputc(j->close[--j->depth], j->file);
    }
    j->comma = true;
}

void json_text(json_out *j, const char *key, const char *text)
{
    begin_value(j, key);
    write_string(j->file, text);
}

void json_whole(json_out *j, const char *key, int64_t value)
{
    begin_value(j, key);
    fprintf(j->file, "%lld", (long long)value);
}

void json_unsigned(json_out *j, const char *key, uint64_t value)
{
    begin_value(j, key);
    fprintf(j->file, "%llu", (unsigned long long)value);
}

void json_truth(json_out *j, const char *key, bool value)
{
    begin_value(j, key);
    fputs(value ? "true" : "false", j->file);
}

void json_real(json_out *j, const char *key, double value, int digits)
{
    begin_value(j, key);
    if (isfinite(value)) {
        fprintf(j->file, "%.*g", digits, value);
    } else {
        fputs("null", j->file);
    }
}

bool json_line(json_out *j)
{
    fputc('\n', j->file);
    j->comma = false;
    return fflush(j->file) == 0 && !ferror(j->file);
}

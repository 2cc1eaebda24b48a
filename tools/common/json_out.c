/* SPDX-License-Identifier: Apache-2.0
 *
 * The writer of json_out.h.
 */
#include "common/json_out.h"

#include <math.h>
#include <string.h>

#include "common/utf8.h"

json_out json_out_to(FILE *file)
{
    return (json_out){ .file = file };
}

static void write_string(FILE *file, const char *text, size_t bytes)
{
    const uint8_t *s = (const uint8_t *)text;
    const uint8_t *const end = s + bytes;

    fputc('"', file);
    while (s < end) {
        const size_t length = utf8_sequence(s, (size_t)(end - s));
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
        write_string(j->file, key, strlen(key));
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

void json_put_object(json_out *j, const char *key)
{
    open_level(j, key, '{', '}');
}

void json_put_array(json_out *j, const char *key)
{
    open_level(j, key, '[', ']');
}

void json_put_end(json_out *j)
{
    if (j->depth > 0) {
        fputc(j->close[--j->depth], j->file);
    }
    j->comma = true;
}

void json_put_text(json_out *j, const char *key, const char *text)
{
    json_put_bytes(j, key, text, strlen(text));
}

void json_put_bytes(json_out *j, const char *key, const char *text, size_t length)
{
    begin_value(j, key);
    write_string(j->file, text, length);
}

void json_put_whole(json_out *j, const char *key, int64_t value)
{
    begin_value(j, key);
    fprintf(j->file, "%lld", (long long)value);
}

void json_put_unsigned(json_out *j, const char *key, uint64_t value)
{
    begin_value(j, key);
    fprintf(j->file, "%llu", (unsigned long long)value);
}

void json_put_truth(json_out *j, const char *key, bool value)
{
    begin_value(j, key);
    fputs(value ? "true" : "false", j->file);
}

void json_put_real(json_out *j, const char *key, double value, int digits)
{
    begin_value(j, key);
    if (isfinite(value)) {
        fprintf(j->file, "%.*g", digits, value);
    } else {
        fputs("null", j->file);
    }
}

void json_put_fixed(json_out *j, const char *key, double value, int decimals)
{
    char text[64];
    const int length = snprintf(text, sizeof(text), "%.*f", decimals, value);

    if (!isfinite(value) || length <= 0 || (size_t)length >= sizeof(text)) {
        json_put_real(j, key, value, 17);
        return;
    }
    const char *const point = strchr(text, '.');
    if (point != NULL) {
        char *end = text + length;
        while (end > point + 2 && end[-1] == '0') {
            end--;
        }
        *end = '\0';
    }
    begin_value(j, key);
    fputs(strcmp(text, "-0.0") == 0 ? "0.0" : text, j->file);
}

bool json_put_line(json_out *j)
{
    fputc('\n', j->file);
    j->comma = false;
    return fflush(j->file) == 0 && !ferror(j->file);
}

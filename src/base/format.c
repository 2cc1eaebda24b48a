/* SPDX-License-Identifier: Apache-2.0
 *
 * The few conversions that this library's sentences use.
 */
#include "base/format.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct output {
    char *text;
    size_t used, bytes;
} output;

typedef struct conversion {
    bool zeros;
    int width;
    int precision; /* -1: none */
    int length;    /* bytes of an integer */
    char kind;
} conversion;

static void put(output *o, char c)
{
    if (o->used + 1 < o->bytes)
        o->text[o->used++] = c;
}

static void put_padded(output *o, const conversion *c, const char *text, size_t length)
{
    for (size_t i = length; c->width > 0 && i < (size_t)c->width; i++)
        put(o, ' ');
    for (size_t i = 0; i < length; i++)
        put(o, text[i]);
}

static void put_string(output *o, const conversion *c, const char *text)
{
    size_t length = 0;
    while ((c->precision < 0 || length < (size_t)c->precision) && text[length] != 0)
        length++;
    put_padded(o, c, text, length);
}

static void put_number(output *o, const conversion *c, uintmax_t magnitude, bool negative)
{
    const unsigned base = c->kind == 'x' ? 16 : 10;
    char digits[24];
    size_t first = sizeof digits;
    do {
        digits[--first] = "0123456789abcdef"[magnitude % base];
        magnitude /= base;
    } while (magnitude > 0);
    const size_t used = sizeof digits - first + (negative ? 1 : 0);
    const size_t width = c->width > 0 ? (size_t)c->width : 0;
    for (size_t i = used; i < width && !c->zeros; i++)
        put(o, ' ');
    if (negative)
        put(o, '-');
    for (size_t i = used; i < width && c->zeros; i++)
        put(o, '0');
    for (; first < sizeof digits; first++)
        put(o, digits[first]);
}

/* The text after the length modifier, of which *bytes become the size of an integer. */
static const char *take_length(const char *f, int *bytes)
{
    *bytes = (int)sizeof(int);
    switch (*f) {
    case 'h': /* passed as an int */
        return f[1] == 'h' ? f + 2 : f + 1;
    case 'l':
        *bytes = f[1] == 'l' ? (int)sizeof(long long) : (int)sizeof(long);
        return f[1] == 'l' ? f + 2 : f + 1;
    case 'j':
        *bytes = (int)sizeof(intmax_t);
        return f + 1;
    case 'z':
    case 't':
        *bytes = (int)sizeof(size_t);
        return f + 1;
    default:
        return f;
    }
}

static const char *take_number(const char *f, int *number)
{
    for (*number = 0; *f >= '0' && *f <= '9' && *number < 10000; f++)
        *number = *number * 10 + (*f - '0');
    return f;
}

void iviti_vformat(char *text, size_t bytes, const char *format, va_list arguments)
{
    output o = { text, 0, bytes };
    for (const char *f = format; *f != 0;) {
        if (*f != '%') {
            put(&o, *f++);
            continue;
        }
        conversion c = { .precision = -1 };
        const char *const begin = f++;
        if ((c.zeros = *f == '0'))
            f++;
        f = *f == '*' ? (c.width = va_arg(arguments, int), f + 1) : take_number(f, &c.width);
        if (*f == '.')
            f = f[1] == '*' ? (c.precision = va_arg(arguments, int), f + 2)
                            : take_number(f + 1, &c.precision);
        f = take_length(f, &c.length);
        c.kind = *f;
        if (c.kind == 's') {
            put_string(&o, &c, va_arg(arguments, const char *));
        } else if (c.kind == 'c') {
            const char character = (char)va_arg(arguments, int);
            put_padded(&o, &c, &character, 1);
        } else if (c.kind == 'd' || c.kind == 'i') {
            const intmax_t value =
                c.length == (int)sizeof(long long) ? va_arg(arguments, long long)
                                                   : va_arg(arguments, int);
            const uintmax_t magnitude = (uintmax_t)value;
            put_number(&o, &c, value < 0 ? 0 - magnitude : magnitude, value < 0);
        } else if (c.kind == 'u' || c.kind == 'x') {
            put_number(&o, &c,
                       c.length == (int)sizeof(long long) ? va_arg(arguments, unsigned long long)
                                                          : va_arg(arguments, unsigned),
                       false);
        } else if (c.kind == '%') {
            put(&o, '%');
        } else {
            for (const char *p = begin; p <= f && *p != 0; p++)
                put(&o, *p);
        }
        if (*f != 0)
            f++;
    }
    if (bytes > 0)
        text[o.used] = 0;
}

void iviti_format(char *text, size_t bytes, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    iviti_vformat(text, bytes, format, arguments);
    va_end(arguments);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Sentences and names put together without the C library's stdio, which small devices do not have and
 * which would bring floating point with it.
 */
#ifndef IVITI_FORMAT_H
#define IVITI_FORMAT_H

#include <stdarg.h>
#include <stddef.h>

/* As vsnprintf() of %d %i %u %x %c %s %%, with the flag 0, a width, a precision of strings (both may be *)
 * and the lengths hh, h, l, ll, j, z, t; what else follows a % is copied as it is. Writes at most `bytes`
 * bytes, the terminating NUL included (none if bytes is 0). */
void iviti_vformat(char *text, size_t bytes, const char *format, va_list arguments)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 0)))
#endif
    ;

void iviti_format(char *text, size_t bytes, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;

#endif

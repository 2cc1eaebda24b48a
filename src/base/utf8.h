/* SPDX-License-Identifier: Apache-2.0
 *
 * UTF-8 as RFC 3629 defines it: no overlong forms, no surrogates, nothing above U+10FFFF.
 */
#ifndef IVITI_UTF8_H
#define IVITI_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the character at text[0] (1 to 4), or 0 if the first of `bytes` bytes begins none. */
static inline size_t iviti_utf8_character(const uint8_t *text, size_t bytes)
{
    if (bytes == 0)
        return 0;
    const uint8_t lead = text[0];
    if (lead < 0x80)
        return 1;
    const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4 || bytes < length)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((text[i] & 0xC0) != 0x80)
            return 0;
    if ((lead == 0xE0 && text[1] < 0xA0) || (lead == 0xED && text[1] > 0x9F) ||
        (lead == 0xF0 && text[1] < 0x90) || (lead == 0xF4 && text[1] > 0x8F))
        return 0;
    return length;
}

/* Whether all of it is UTF-8 without NUL. */
static inline bool iviti_utf8_text(const uint8_t *text, size_t bytes)
{
    for (size_t i = 0; i < bytes;) {
        const size_t length = iviti_utf8_character(text + i, bytes - i);
        if (length == 0 || text[i] == 0)
            return false;
        i += length;
    }
    return true;
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * One question that the readers and the sentences both ask: is this text well-formed UTF-8?
 */
#ifndef UTF8_H
#define UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Length of the well-formed sequence at `text` (1..4), 0 where there is none: overlong forms,
 * surrogates and values above U+10FFFF are not well-formed. */
size_t utf8_sequence(const uint8_t *text, size_t length);

/* Writes a code point that is not a surrogate and at most U+10FFFF; returns the bytes, 1..4. */
size_t utf8_encode(uint32_t code, uint8_t out[4]);

/* True where all of `text` is well-formed and holds no NUL. */
bool utf8_valid(const uint8_t *text, size_t length);

#endif

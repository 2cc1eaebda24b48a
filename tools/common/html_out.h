/* SPDX-License-Identifier: Apache-2.0
 *
 * What may not go into a page as it is: names from files, and bytes of pictures.
 */
#ifndef HTML_OUT_H
#define HTML_OUT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Text between tags or between quotation marks: any bytes give text and nothing but text. What is no
 * UTF-8, and control characters, become U+FFFD. */
void html_put_text(FILE *file, const char *text);

/* Base64 of bytes that come in pieces. Begin with zeros; the end pads. */
typedef struct html_base64 {
    FILE *file;
    uint32_t held;
    unsigned count;
} html_base64;

void html_base64_put(html_base64 *b, const uint8_t *data, size_t bytes);
void html_base64_end(html_base64 *b);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * What may be written to a stream for people's eyes: is it a terminal, how wide, in colour?
 */
#ifndef TERMINAL_H
#define TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* A terminal that can move its cursor. */
bool terminal_is(FILE *file);

/* A terminal, and nobody has set NO_COLOR (https://no-color.org). */
bool terminal_colour(FILE *file);

/* Columns, 80 where they are not known. */
int terminal_width(FILE *file);

/* Characters of UTF-8 text, each taken as one column wide. */
size_t terminal_columns(const char *text);

/* Whether the locale's names say that the terminal takes UTF-8. */
bool terminal_utf8(void);

#endif

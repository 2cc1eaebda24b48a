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

/* How to begin and to end a stretch of text in that style; "" where no colour may be. */
#define TERMINAL_STRONG "\033[1m"
#define TERMINAL_BAR    "\033[36m"
#define TERMINAL_BAD    "\033[1;31m"
#define TERMINAL_PLAIN  "\033[0m"
const char *terminal_style(FILE *file, const char *style);

/* A bar of up to `columns` for a share of the whole, in eighths where the terminal takes UTF-8. */
void terminal_bar(FILE *file, double share, int columns);

/* Columns, 80 where they are not known. */
int terminal_width(FILE *file);

/* Characters of UTF-8 text, each taken as one column wide. */
size_t terminal_columns(const char *text);

/* Whether the locale's names say that the terminal takes UTF-8. */
bool terminal_utf8(void);

#endif

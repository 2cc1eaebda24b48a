/* SPDX-License-Identifier: Apache-2.0
 *
 * The same table in the forms that other programs read: a man page and completions for three shells.
 * The build calls each program once for each form; what they say can never differ from `--help`.
 */
#ifndef OPTIONS_PAGES_H
#define OPTIONS_PAGES_H

#include "common/options.h"

/* Answers --help-man, --help-bash, --help-zsh and --help-fish on standard output; false for any
 * other word. */
bool options_print_page(const option_program *program, const char *word);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The page of `--help`, laid out from the table alone: 80 columns, one block per option.
 */
#include "common/options.h"

#include <string.h>

#define WIDTH       80
#define HELP_COLUMN 24
#define TEXT_INDENT 2

/* Prints words from column `at`, breaking lines before WIDTH; following lines begin at `indent`.
 * '\n' in the text begins a new line. */
static void print_wrapped(FILE *file, const char *text, int at, int indent)
{
    bool first = true;

    while (*text != '\0') {
        const size_t length = strcspn(text, " \n");
        const int word = (int)length;
        if (!first && at + 1 + word > WIDTH) {
            fprintf(file, "\n%*s", indent, "");
            at = indent;
            first = true;
        }
        fprintf(file, "%s%.*s", first || word == 0 ? "" : " ", word, text);
        at += word + (first ? 0 : 1);
        first = false;
        text += length;
        if (*text == '\n') {
            fprintf(file, "\n%*s", indent, "");
            at = indent;
            first = true;
        }
        if (*text != '\0') {
            text++;
        }
    }
    fputc('\n', file);
}

static void print_option(FILE *file, const char *name, char letter, const char *value,
                         const char *help)
{
    char left[128];
    const char short_form[] = { '-', letter, ',', ' ', '\0' };
    const int width =
        snprintf(left, sizeof(left), "  %s--%s%s%s", letter != 0 ? short_form : "    ", name,
                 value != NULL ? " " : "", value != NULL ? value : "");

    fputs(left, file);
    if (width + 2 > HELP_COLUMN) {
        fprintf(file, "\n%*s", HELP_COLUMN, "");
    } else {
        fprintf(file, "%*s", HELP_COLUMN - width, "");
    }
    print_wrapped(file, help, HELP_COLUMN, HELP_COLUMN);
}

static void print_group(FILE *file, const option_group *group)
{
    fprintf(file, "\n%s:\n", group->title);
    for (size_t i = 0; i < group->count; i++) {
        const option_spec *const option = &group->options[i];
        print_option(file, option->name, option->letter,
                     option->value != NULL ? option->value : option->choices, option->help);
    }
}

/* A command line that can be copied: what does not fit goes on behind a backslash. */
static void print_command(FILE *file, const char *text)
{
    int at = fprintf(file, "%*s", TEXT_INDENT, "");
    bool first = true;

    while (*text != '\0') {
        size_t length = strcspn(text, " ");
        if (text[0] == '-' && text[length] == ' ' && text[length + 1] != '-') {
            length += 1 + strcspn(text + length + 1, " "); /* an option keeps its value */
        }
        if (!first && at + 1 + (int)length + 2 > WIDTH) {
            at = fprintf(file, " \\\n%*s", 2 * TEXT_INDENT, "") - 3;
            first = true;
        }
        at += fprintf(file, "%s%.*s", first ? "" : " ", (int)length, text);
        first = false;
        text += length;
        text += *text == ' ';
    }
    fputc('\n', file);
}

void options_print_help(const option_program *program, FILE *file)
{
    fprintf(file, "%s: %s\n\n", program->name, program->summary);
    for (size_t i = 0; program->usage[i] != NULL; i++) {
        fprintf(file, "%s %s %s\n", i == 0 ? "Usage:" : "      ", program->name, program->usage[i]);
    }
    if (program->description != NULL) {
        fputc('\n', file);
        print_wrapped(file, program->description, 0, 0);
    }
    for (size_t g = 0; g < program->group_count; g++) {
        print_group(file, &program->groups[g]);
    }
    print_option(file, "help", 'h', NULL, "Print this page.");
    print_option(file, "version", 0, NULL, "Print the version.");

    if (program->example_count > 0) {
        fputs("\nExamples:\n", file);
    }
    for (size_t i = 0; i < program->example_count; i++) {
        fputs(i == 0 ? "" : "\n", file);
        print_command(file, program->examples[i].command);
        fprintf(file, "%*s", 2 * TEXT_INDENT + 2, "");
        print_wrapped(file, program->examples[i].text, 2 * TEXT_INDENT + 2, 2 * TEXT_INDENT + 2);
    }
    fputs("\nExit status: 0 done, 1 the work failed, 2 the command line is wrong.\n", file);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The parser of options.h. Values are read strictly: a number is digits and nothing else, and a
 * complaint names the option, what it takes and what it was given.
 */
#if defined(__linux__)
#define _GNU_SOURCE /* sched_getaffinity */
#else
#define _POSIX_C_SOURCE 200809L
#endif

#include "common/options.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if defined(__linux__)
#include <sched.h>
#endif

#include "common/options_pages.h"
#include "common/streams.h"
#include "common/terminal.h"
#include "iviti/iviti.h"

#define LONGEST_NAME 64

static const option_spec COMMON[] = {
    { .name = "threads",
      .kind = OPTION_NUMBER,
      .offset = offsetof(common_options, threads),
      .value = "N",
      .minimum = 1,
      .maximum = OPTION_MAX_THREADS,
      .help = "Threads to work with, 1 to 64 (default: all processors)." },
    { .name = "json",
      .kind = OPTION_FLAG,
      .offset = offsetof(common_options, json),
      .help = "Print JSON, and nothing else, on standard output." },
    { .name = "quiet",
      .kind = OPTION_FLAG,
      .offset = offsetof(common_options, quiet),
      .help = "No progress on standard error." },
};

option_group common_options_group(common_options *common)
{
    return (option_group){ "Common options", COMMON, OPTION_COUNT(COMMON), common };
}

unsigned options_threads(const common_options *common)
{
    long processors = 0;

    if (common->threads > 0) {
        return common->threads;
    }
#if defined(__linux__)
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0) {
        processors = CPU_COUNT(&allowed);
    }
#endif
    if (processors < 1) {
        processors = sysconf(_SC_NPROCESSORS_ONLN);
    }
    if (processors < 1) {
        return 1;
    }
    return processors > OPTION_MAX_THREADS ? OPTION_MAX_THREADS : (unsigned)processors;
}

/* ---- complaints ------------------------------------------------------------------------------ */

static void begin_complaint(const option_program *program)
{
    fprintf(stderr, "%s%s:%s ", terminal_style(stderr, TERMINAL_BAD), program->name,
            terminal_style(stderr, TERMINAL_PLAIN));
}

int options_wrong(const option_program *program, const char *format, ...)
{
    report sentence;
    report clean;
    va_list arguments;

    va_start(arguments, format);
    if (vsnprintf(sentence.text, sizeof(sentence.text), format, arguments) < 0) {
        sentence.text[0] = '\0';
    }
    va_end(arguments);
    (void)report_fail(&clean, "%s", sentence.text); /* escapes what a terminal would act upon */
    const size_t length = strlen(clean.text);
    const bool question = length > 0 && clean.text[length - 1] == '?';
    begin_complaint(program);
    fprintf(stderr, "%s%s try %s --help\n", clean.text, question ? "" : ";", program->name);
    return EXIT_USAGE;
}

int options_failed(const option_program *program, const report *r)
{
    begin_complaint(program);
    fprintf(stderr, "%s\n", r->text);
    return EXIT_FAILED;
}

int options_finish(const option_program *program, int status)
{
    errno = 0;
    if ((fflush(stdout) == 0 && !ferror(stdout)) || streams_reader_left()) {
        return status; /* a reader that has seen enough, as head has, is no failure */
    }
    const char *const why = errno != 0 ? strerror(errno) : "an earlier write failed";
    begin_complaint(program);
    fprintf(stderr, "cannot write to standard output: %s\n", why);
    return EXIT_FAILED;
}

/* ---- finding what was meant --------------------------------------------------------------------
 */

/* Edits (insert, delete, replace, swap neighbours) from one name to the other; LONGEST_NAME where a
 * name is too long to be worth comparing. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t rows[3][LONGEST_NAME + 1];
    const size_t a_length = strlen(a);
    const size_t b_length = strlen(b);

    if (a_length >= LONGEST_NAME || b_length >= LONGEST_NAME) {
        return LONGEST_NAME;
    }
    size_t *before = rows[0];
    size_t *above = rows[1];
    size_t *row = rows[2];
    memset(rows, 0, sizeof(rows));
    for (size_t j = 0; j <= b_length; j++) {
        above[j] = j;
    }
    for (size_t i = 1; i <= a_length; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t best = above[j - 1] + (a[i - 1] != b[j - 1]);
            if (above[j] + 1 < best) {
                best = above[j] + 1;
            }
            if (row[j - 1] + 1 < best) {
                best = row[j - 1] + 1;
            }
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < best) {
                best = before[j - 2] + 1;
            }
            row[j] = best;
        }
        size_t *const reuse = before;
        before = above;
        above = row;
        row = reuse;
    }
    return above[b_length];
}

/* Keeps in *best the name nearest to what was typed. A name that begins as typed is as near as one
 * edit. */
static void consider(const char *typed, const char *name, const char **best, size_t *distance)
{
    const size_t length = strlen(typed);
    const size_t here =
        length >= 2 && strncmp(typed, name, length) == 0 ? 1 : edit_distance(typed, name);
    const size_t limit = length <= 3 ? 1 : length <= 8 ? 2 : 3;

    if (here <= limit && here < *distance) {
        *best = name;
        *distance = here;
    }
}

static const char *nearest_option(const option_program *program, const char *typed)
{
    const char *best = NULL;
    size_t distance = SIZE_MAX;

    for (size_t g = 0; g < program->group_count; g++) {
        for (size_t i = 0; i < program->groups[g].count; i++) {
            consider(typed, program->groups[g].options[i].name, &best, &distance);
        }
    }
    consider(typed, "help", &best, &distance);
    consider(typed, "version", &best, &distance);
    return best;
}

/* The option of that name (length bytes of it) or letter; *group is where it belongs. */
static const option_spec *find_option(const option_program *program, const char *name,
                                      size_t length, char letter, const option_group **group)
{
    for (size_t g = 0; g < program->group_count; g++) {
        for (size_t i = 0; i < program->groups[g].count; i++) {
            const option_spec *const option = &program->groups[g].options[i];
            const bool found = name != NULL ? strlen(option->name) == length &&
                                                  strncmp(option->name, name, length) == 0
                                            : option->letter != 0 && option->letter == letter;
            if (found) {
                *group = &program->groups[g];
                return option;
            }
        }
    }
    return NULL;
}

/* ---- values
 * -------------------------------------------------------------------------------------- */

/* Digits alone, at most `maximum`. */
static bool parse_whole(const char *text, double minimum, double maximum, uint32_t *out)
{
    uint64_t value = 0;

    if (*text == '\0') {
        return false;
    }
    for (const char *c = text; *c != '\0'; c++) {
        if (*c < '0' || *c > '9') {
            return false;
        }
        value = value * 10 + (uint64_t)(*c - '0');
        if (value > UINT32_MAX) {
            return false;
        }
    }
    if ((double)value < minimum || (double)value > maximum) {
        return false;
    }
    *out = (uint32_t)value;
    return true;
}

/* A decimal number with or without fraction and exponent; no "inf", no hexadecimal, no blanks. */
static bool parse_real(const char *text, double minimum, double maximum, double *out)
{
    char *end = NULL;

    if (*text == '\0' || strspn(text, "0123456789+-.eE") != strlen(text)) {
        return false;
    }
    const double value = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(value) || value < minimum || value > maximum) {
        return false;
    }
    *out = value;
    return true;
}

/* Cuts the text at its commas; `whole` or `real` receives the numbers. */
static bool parse_list(const option_spec *option, const char *text, option_numbers *whole,
                       option_reals *real)
{
    char item[LONGEST_NAME];
    size_t count = 0;

    for (const char *at = text;; at++) {
        const size_t length = strcspn(at, ",");
        if (length >= sizeof(item) || count == OPTION_LIST_MAX) {
            return false;
        }
        memcpy(item, at, length);
        item[length] = '\0';
        const bool good =
            whole != NULL ? parse_whole(item, option->minimum, option->maximum, &whole->item[count])
                          : parse_real(item, option->minimum, option->maximum, &real->item[count]);
        if (!good) {
            return false;
        }
        count++;
        at += length;
        if (*at == '\0') {
            break;
        }
    }
    if (option->items != 0 && count != option->items) {
        return false;
    }
    *(whole != NULL ? &whole->count : &real->count) = count;
    return true;
}

void options_choice_name(const char *choices, int index, char *text, size_t text_bytes)
{
    const char *at = choices;

    text[0] = '\0';
    for (int i = 0; i < index; i++) {
        at += strcspn(at, "|");
        if (*at == '\0') {
            return;
        }
        at++;
    }
    const size_t length = strcspn(at, "|");
    if (index >= 0 && length < text_bytes) {
        memcpy(text, at, length);
        text[length] = '\0';
    }
}

static bool parse_choice(const char *choices, const char *text, int *out)
{
    int index = 0;

    for (const char *at = choices;; at++, index++) {
        const size_t length = strcspn(at, "|");
        if (strlen(text) == length && strncmp(at, text, length) == 0) {
            *out = index;
            return true;
        }
        at += length;
        if (*at == '\0') {
            return false;
        }
    }
}

/* Stores the value, or returns false where the option does not take it. */
static bool store(const option_spec *option, void *place, const char *text)
{
    option_numbers numbers = { 0 };
    option_reals reals = { 0 };

    switch (option->kind) {
    case OPTION_FLAG:
        *(bool *)place = true;
        return true;
    case OPTION_TEXT:
        *(const char **)place = text;
        return *text != '\0';
    case OPTION_NUMBER:
        return parse_whole(text, option->minimum, option->maximum, place);
    case OPTION_REAL:
        return parse_real(text, option->minimum, option->maximum, place);
    case OPTION_NUMBERS:
        if (!parse_list(option, text, &numbers, NULL)) {
            return false;
        }
        *(option_numbers *)place = numbers;
        return true;
    case OPTION_REALS:
        if (!parse_list(option, text, NULL, &reals)) {
            return false;
        }
        *(option_reals *)place = reals;
        return true;
    case OPTION_CHOICE:
        return parse_choice(option->choices, text, place);
    }
    return false;
}

/* "a whole number from 1 to 64", "3 numbers separated by commas, each from 0 to 1", ... */
static void describe_value(const option_spec *option, char *text, size_t bytes)
{
    const bool whole = option->kind == OPTION_NUMBER || option->kind == OPTION_NUMBERS;
    size_t used = 0;

    switch (option->kind) {
    case OPTION_NUMBER:
    case OPTION_REAL:
        snprintf(text, bytes, "a %s from %.10g to %.10g", whole ? "whole number" : "number",
                 option->minimum, option->maximum);
        break;
    case OPTION_NUMBERS:
    case OPTION_REALS:
        if (option->items != 0) {
            snprintf(text, bytes, "%zu %s separated by commas, each from %.10g to %.10g",
                     option->items, whole ? "whole numbers" : "numbers", option->minimum,
                     option->maximum);
        } else {
            snprintf(text, bytes, "up to %d %s separated by commas, each from %.10g to %.10g",
                     OPTION_LIST_MAX, whole ? "whole numbers" : "numbers", option->minimum,
                     option->maximum);
        }
        break;
    case OPTION_CHOICE:
        used = (size_t)snprintf(text, bytes, "one of ");
        for (const char *c = option->choices; *c != '\0' && used + 3 < bytes; c++) {
            text[used++] = *c == '|' ? ',' : *c;
            if (*c == '|') {
                text[used++] = ' ';
            }
        }
        text[used] = '\0';
        break;
    case OPTION_FLAG:
    case OPTION_TEXT:
        snprintf(text, bytes, "a value that is not empty");
        break;
    }
}

/* ---- the command line ---------------------------------------------------------------------------
 */

static bool wrong_value(const option_program *program, const option_spec *option, const char *typed,
                        const char *text, int *status)
{
    char what[256];

    describe_value(option, what, sizeof(what));
    *status = options_wrong(program, "%s takes %s, not \"%.200s\"", typed, what, text);
    return false;
}

/* One option at argv[*at]; moves *at past it and its value. */
static bool take_option(const option_program *program, int argc, char **argv, int *at, int *status)
{
    const char *const word = argv[*at];
    const bool is_long = word[1] == '-';
    const char *const name = word + (is_long ? 2 : 1);
    const size_t length = is_long ? strcspn(name, "=") : 1;
    const char *text = is_long ? (name[length] == '=' ? name + length + 1 : NULL)
                               : (name[1] != '\0' ? name + 1 : NULL);
    const option_group *group = NULL;
    char typed[LONGEST_NAME + 3];

    *at += 1;
    snprintf(typed, sizeof(typed), "%s%.*s", is_long ? "--" : "-",
             (int)(length < LONGEST_NAME ? length : LONGEST_NAME), name);

    const option_spec *const option =
        find_option(program, is_long ? name : NULL, length, name[0], &group);
    if (option == NULL) {
        const char *const near = is_long ? nearest_option(program, typed + 2) : NULL;
        *status = near != NULL
                      ? options_wrong(program, "unknown option %s; did you mean --%s?", typed, near)
                      : options_wrong(program, "unknown option %s", typed);
        return false;
    }
    void *const place = (char *)group->target + option->offset;

    if (option->kind == OPTION_FLAG) {
        if (text != NULL) {
            *status = is_long ? options_wrong(program, "%s takes no value", typed)
                              : options_wrong(program, "unknown option %.200s", word);
            return false;
        }
        return store(option, place, "");
    }
    if (text == NULL) {
        if (*at >= argc) {
            *status = options_wrong(program, "%s needs a value: %s %s", typed, typed,
                                    option->value != NULL ? option->value : option->choices);
            return false;
        }
        text = argv[*at];
        *at += 1;
    }
    return store(option, place, text) || wrong_value(program, option, typed, text, status);
}

static bool check_operands(const option_program *program, const option_operands *operands,
                           int *status)
{
    size_t wanted = 0;

    while (program->operands[wanted] != NULL) {
        wanted++;
    }
    if (operands->count < wanted) {
        *status = options_wrong(program, "%s is missing", program->operands[operands->count]);
        return false;
    }
    if (operands->count > wanted && !program->operands_repeat) {
        *status =
            options_wrong(program, "\"%.200s\" is one argument too many", operands->item[wanted]);
        return false;
    }
    return true;
}

/* Help and version are asked for anywhere before "--", even beside mistakes: who asks is lost. */
static bool answered(const option_program *program, int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            options_print_help(program, stdout);
            return true;
        }
        if (strcmp(argv[i], "--version") == 0) {
            printf("%s %s\n", program->name, iviti_version());
            return true;
        }
        if (options_print_page(program, argv[i])) {
            return true;
        }
    }
    return false;
}

bool options_parse(const option_program *program, int argc, char **argv, option_operands *operands,
                   int *status)
{
    size_t kept = 0;
    int at = 1;

    streams_prepare();
    if (answered(program, argc, argv)) {
        *status = options_finish(program, EXIT_DONE);
        return false;
    }
    operands->item = argv + (argc > 0 ? 1 : 0);
    while (at < argc) {
        const char *const word = argv[at];
        if (strcmp(word, "--") == 0) {
            at++;
            break;
        }
        if (word[0] != '-' || word[1] == '\0') {
            operands->item[kept++] = argv[at++];
        } else if (!take_option(program, argc, argv, &at, status)) {
            return false;
        }
    }
    while (at < argc) {
        operands->item[kept++] = argv[at++];
    }
    operands->count = kept;
    return check_operands(program, operands, status);
}

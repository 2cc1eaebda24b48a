/* SPDX-License-Identifier: Apache-2.0
 *
 * Command lines from one table per program. The table alone says what a program takes: the parser,
 * `--help` and every complaint are made from it, so none of them can disagree with the others.
 *
 *     static const option_spec OPTIONS[] = {
 *         { .name = "top", .letter = 'k', .kind = OPTION_NUMBER, .offset = offsetof(settings, top),
 *           .value = "N", .minimum = 1, .maximum = 1000, .help = "Classes to print (default: 5)."
 * },
 *     };
 *     settings s = { .top = 5 };
 *     const option_group groups[] = { { "Options", OPTIONS, OPTION_COUNT(OPTIONS), &s },
 *                                     common_options_group(&s.common) };
 *     const option_program program = { .name = "iviti-classify", ... };
 *     if (!options_parse(&program, argc, argv, &operands, &status))
 *         return status;
 *
 * Accepted: `--name value`, `--name=value`, `-k value`, `-kvalue`, flags without a value, options
 * and operands in any order; `--` ends the options, `-` is an operand; the last of several wins.
 */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/report.h"

/* Exit statuses of every tool. */
#define EXIT_DONE   0
#define EXIT_FAILED 1
#define EXIT_USAGE  2

#define OPTION_LIST_MAX     16
#define OPTION_COUNT(table) (sizeof(table) / sizeof((table)[0]))

typedef enum option_kind {
    OPTION_FLAG,    /* bool: set to true */
    OPTION_TEXT,    /* const char *: as typed, never empty */
    OPTION_NUMBER,  /* uint32_t, in minimum..maximum */
    OPTION_REAL,    /* double, in minimum..maximum */
    OPTION_NUMBERS, /* option_numbers: separated by commas, each in minimum..maximum */
    OPTION_REALS,   /* option_reals: the same with fractions */
    OPTION_CHOICE   /* int: which of `choices`, counted from 0 */
} option_kind;

typedef struct option_numbers {
    size_t count; /* 0: not given */
    uint32_t item[OPTION_LIST_MAX];
} option_numbers;

typedef struct option_reals {
    size_t count; /* 0: not given */
    double item[OPTION_LIST_MAX];
} option_reals;

typedef struct option_spec {
    const char *name; /* without the dashes */
    char letter;      /* short form, or 0 */
    option_kind kind;
    size_t offset;     /* of the value in the group's target */
    const char *value; /* what help calls the value; NULL: the choices */
    const char *help;  /* sentences; wrapped by whoever prints them */
    double minimum;    /* numbers: inclusive */
    double maximum;
    const char *choices; /* OPTION_CHOICE: "a|b|c" */
    size_t items;        /* lists: how many are needed; 0: 1..OPTION_LIST_MAX */
} option_spec;

/* A heading of the help and the options below it. `target` is the structure that they fill; what is
 * not given keeps the value that it had, so the caller sets the defaults. */
typedef struct option_group {
    const char *title;
    const option_spec *options;
    size_t count;
    void *target;
} option_group;

typedef struct option_example {
    const char *command;
    const char *text;
} option_example;

typedef struct option_program {
    const char *name;            /* "iviti-classify" */
    const char *summary;         /* "print the most likely classes of pictures" */
    const char *const *usage;    /* what follows the name, a form each, NULL-terminated */
    const char *description;     /* paragraphs separated by '\n' */
    const char *const *operands; /* name of each operand, NULL-terminated; the last may repeat */
    bool operands_repeat;
    const option_group *groups;
    size_t group_count;
    const option_example *examples;
    size_t example_count;
} option_program;

typedef struct option_operands {
    size_t count;
    char **item; /* into argv */
} option_operands;

/* Prepares the standard streams (streams.h), then fills the groups' targets and the operands (argv is reordered). False: the program ends with
 * *status, since help was printed or the command line was wrong and a sentence is on stderr. */
bool options_parse(const option_program *program, int argc, char **argv, option_operands *operands,
                   int *status);

/* The page of `--help`. */
void options_print_help(const option_program *program, FILE *file);

/* "NAME: SENTENCE; try NAME --help" on stderr; returns EXIT_USAGE. For rules that span options. */
int options_wrong(const option_program *program, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;

/* "NAME: SENTENCE" on stderr; returns EXIT_FAILED. */
int options_failed(const option_program *program, const report *r);

/* The exit status of a program that has printed everything: `status`, or EXIT_FAILED with a
 * sentence where standard output did not take it all (a full disk must not look like success). A
 * reader that has gone took what it wanted: that is no failure. */
int options_finish(const option_program *program, int status);

/* ---- what every tool takes ------------------------------------------------------------------- */

typedef struct common_options {
    uint32_t threads; /* after options_threads(): 1..64 */
    bool quiet;
    bool json;
} common_options;

#define OPTION_MAX_THREADS 64

/* --threads, --quiet, --json. (--help and --version need no place.) */
option_group common_options_group(common_options *common);

/* The number asked for, or that of the processors this process may use, at most 64. */
unsigned options_threads(const common_options *common);

/* ---- an option that several tools share -------------------------------------------------------
 */

/* The names of the instruction sets for OPTION_CHOICE; index 0 is "best". */
#define OPTION_ISA_CHOICES "best|ref|avx2|avxvnni|avx512vnni|neon|dotprod|i8mm"

#define OPTION_ISA(type, field)                                                                    \
    {                                                                                              \
        .name = "isa", .kind = OPTION_CHOICE, .offset = offsetof(type, field), .value = "NAME",    \
        .choices = OPTION_ISA_CHOICES,                                                             \
        .help = "Use at most this instruction set: best, ref (plain C), avx2, avxvnni, "           \
                "avx512vnni, neon, dotprod or i8mm. The logits are the same bits with all of "     \
                "them (default: best)."                                                            \
    }

#define OPTION_CALIB_COUNT(type, field)                                                            \
    {                                                                                              \
        .name = "calib-count", .kind = OPTION_NUMBER, .offset = offsetof(type, field),             \
        .value = "N", .minimum = 1, .maximum = 10000,                                              \
        .help = "How many of them are used, spread evenly over the names (default: 128)."          \
    }

/* The name of a choice ("avx2" for 2 of OPTION_ISA_CHOICES) in `text`; "" where there is none. */
void options_choice_name(const char *choices, int index, char *text, size_t text_bytes);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Each form has its own rules of quoting; each value is written through the one escape() that knows
 * them all.
 */
#include "common/options_pages.h"

#include <string.h>

#include "iviti/iviti.h"

/* What a value is, to complete it. */
typedef enum value_kind {
    VALUE_NONE,
    VALUE_CHOICE,
    VALUE_FOLDER,
    VALUE_FILE,
    VALUE_OTHER
} value_kind;

static const option_spec HELP[] = {
    { .name = "help", .letter = 'h', .kind = OPTION_FLAG, .help = "Print this page." },
    { .name = "version", .kind = OPTION_FLAG, .help = "Print the version." },
};

static value_kind value_of(const option_spec *option)
{
    switch (option->kind) {
    case OPTION_FLAG:
        return VALUE_NONE;
    case OPTION_CHOICE:
        return VALUE_CHOICE;
    case OPTION_TEXT:
        return strcmp(option->value, "DIR") == 0    ? VALUE_FOLDER
               : strcmp(option->value, "NAME") == 0 ? VALUE_OTHER
                                                    : VALUE_FILE;
    case OPTION_NUMBER:
    case OPTION_REAL:
    case OPTION_NUMBERS:
    case OPTION_REALS:
        break;
    }
    return VALUE_OTHER;
}

static const char *value_name(const option_spec *option)
{
    return option->kind == OPTION_FLAG ? NULL
           : option->value != NULL     ? option->value
                                       : option->choices;
}

/* Calls `print` for every option, --help and --version last. */
static void each_option(const option_program *program,
                        void (*print)(const option_program *program, const option_spec *option))
{
    for (size_t g = 0; g < program->group_count; g++) {
        for (size_t i = 0; i < program->groups[g].count; i++) {
            print(program, &program->groups[g].options[i]);
        }
    }
    for (size_t i = 0; i < OPTION_COUNT(HELP); i++) {
        print(program, &HELP[i]);
    }
}

/* Prints `length` bytes, `before` in front of every byte of `special`. */
static void escape(const char *text, size_t length, const char *special, const char *before)
{
    for (size_t i = 0; i < length; i++) {
        if (strchr(special, text[i]) != NULL) {
            fputs(before, stdout);
        }
        putchar(text[i]);
    }
}

/* The length of the first sentence, its full stop not counted. */
static size_t first_sentence(const char *text)
{
    size_t length = 0;

    while (text[length] != '\0' && text[length] != '\n' &&
           !(text[length] == '.' && (text[length + 1] == ' ' || text[length + 1] == '\0'))) {
        length++;
    }
    return length;
}

/* The name as a shell function may have it. */
static void function_name(const option_program *program)
{
    for (const char *c = program->name; *c != '\0'; c++) {
        putchar(*c == '-' ? '_' : *c);
    }
}

static void choices_in_blanks(const char *choices)
{
    for (; *choices != '\0'; choices++) {
        putchar(*choices == '|' ? ' ' : *choices);
    }
}

/* ---- man ---------------------------------------------------------------------------------------
 */

/* Text of a man page: a new line begins a paragraph, and no line begins with a request. */
static void man_text(const char *text)
{
    bool begins = true;

    for (; *text != '\0'; text++) {
        if (begins && (*text == '.' || *text == '\'')) {
            fputs("\\&", stdout);
        }
        begins = *text == '\n';
        if (*text == '\\') {
            fputs("\\e", stdout);
        } else if (*text == '-') {
            fputs("\\-", stdout);
        } else if (*text == '\n') {
            fputs("\n.PP\n", stdout);
        } else {
            putchar(*text);
        }
    }
    putchar('\n');
}

static void man_option(const option_program *program, const option_spec *option)
{
    (void)program;
    fputs(".TP\n", stdout);
    if (option->letter != 0) {
        printf("\\fB\\-%c\\fR, ", option->letter);
    }
    fputs("\\fB\\-\\-", stdout);
    escape(option->name, strlen(option->name), "-", "\\");
    fputs("\\fR", stdout);
    if (value_name(option) != NULL) {
        fputs(" \\fI", stdout);
        escape(value_name(option), strlen(value_name(option)), "-", "\\");
        fputs("\\fR", stdout);
    }
    putchar('\n');
    man_text(option->help);
}

static void print_man(const option_program *program)
{
    fputs(".TH \"", stdout);
    for (const char *c = program->name; *c != '\0'; c++) {
        putchar(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
    }
    printf("\" 1 \"\" \"libiviti %s\" \"User Commands\"\n.SH NAME\n", iviti_version());
    escape(program->name, strlen(program->name), "-", "\\");
    fputs(" \\- ", stdout);
    man_text(program->summary);
    fputs(".SH SYNOPSIS\n", stdout);
    for (size_t i = 0; program->usage[i] != NULL; i++) {
        fputs(i == 0 ? ".B " : ".br\n.B ", stdout);
        escape(program->name, strlen(program->name), "-", "\\");
        putchar('\n');
        man_text(program->usage[i]);
    }
    if (program->description != NULL) {
        fputs(".SH DESCRIPTION\n", stdout);
        man_text(program->description);
    }
    fputs(".SH OPTIONS\n", stdout);
    for (size_t g = 0; g < program->group_count; g++) {
        printf(".SS \"%s\"\n", program->groups[g].title);
        for (size_t i = 0; i < program->groups[g].count; i++) {
            man_option(program, &program->groups[g].options[i]);
        }
    }
    for (size_t i = 0; i < OPTION_COUNT(HELP); i++) {
        man_option(program, &HELP[i]);
    }
    fputs(program->example_count > 0 ? ".SH EXAMPLES\n" : "", stdout);
    for (size_t i = 0; i < program->example_count; i++) {
        fputs(".TP\n", stdout);
        man_text(program->examples[i].command);
        man_text(program->examples[i].text);
    }
    fputs(".SH \"EXIT STATUS\"\n0 done, 1 the work failed, 2 the command line is wrong.\n"
          ".SH ENVIRONMENT\n.TP\nNO_COLOR\nWhere set, nothing is printed in colour.\n"
          ".SH \"SEE ALSO\"\n\\fBiviti\\-convert\\fR(1), \\fBiviti\\-classify\\fR(1), "
          "\\fBiviti\\-eval\\fR(1), \\fBiviti\\-bench\\fR(1), \\fBiviti\\-info\\fR(1)\n",
          stdout);
}

/* ---- bash --------------------------------------------------------------------------------------
 */

static void bash_value(const option_program *program, const option_spec *option)
{
    (void)program;
    if (option->kind == OPTION_FLAG) {
        return;
    }
    printf("    --%s", option->name);
    if (option->letter != 0) {
        printf("|-%c", option->letter);
    }
    fputs(")\n", stdout);
    switch (value_of(option)) {
    case VALUE_CHOICE:
        fputs("        mapfile -t COMPREPLY < <(compgen -W '", stdout);
        choices_in_blanks(option->choices);
        fputs("' -- \"$word\") ;;\n", stdout);
        return;
    case VALUE_FOLDER:
    case VALUE_FILE:
        printf("        compopt -o filenames 2>/dev/null\n"
               "        mapfile -t COMPREPLY < <(compgen -%c -- \"$word\") ;;\n",
               value_of(option) == VALUE_FOLDER ? 'd' : 'f');
        return;
    case VALUE_NONE:
    case VALUE_OTHER:
        break;
    }
    fputs("        ;;\n", stdout);
}

static void bash_name(const option_program *program, const option_spec *option)
{
    (void)program;
    printf(" --%s", option->name);
}

static void print_bash(const option_program *program)
{
    printf("# bash completion of %s %s, printed by itself\n_", program->name, iviti_version());
    function_name(program);
    fputs("()\n{\n"
          "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}\n"
          "    # bash cuts --option=value into three words\n"
          "    [[ $before == = ]] && before=${COMP_WORDS[COMP_CWORD - 2]}\n"
          "    [[ $word == = ]] && word=\n"
          "    COMPREPLY=()\n"
          "    case $before in\n",
          stdout);
    each_option(program, bash_value);
    fputs("    *)\n        if [[ $word == -* ]]; then\n"
          "            mapfile -t COMPREPLY < <(compgen -W '",
          stdout);
    each_option(program, bash_name);
    fputs("' -- \"$word\")\n        else\n"
          "            compopt -o filenames 2>/dev/null\n"
          "            mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n        fi ;;\n"
          "    esac\n}\ncomplete -F _",
          stdout);
    function_name(program);
    printf(" %s\n", program->name);
}

/* ---- zsh ---------------------------------------------------------------------------------------
 */

/* Within '...:...[...]': a quotation mark is said outside the quotation marks. */
static void zsh_text(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\'') {
            fputs("'\\''", stdout);
        } else {
            escape(&text[i], 1, "[]:\\", "\\");
        }
    }
}

static void zsh_option(const option_program *program, const option_spec *option)
{
    const char *const assign = option->kind == OPTION_FLAG ? "" : "=";

    (void)program;
    if (option->letter != 0) {
        printf(" \\\n    '(-%c --%s)'{-%c%s,--%s%s}'[", option->letter, option->name,
               option->letter, option->kind == OPTION_FLAG ? "" : "+", option->name, assign);
    } else {
        printf(" \\\n    '--%s%s[", option->name, assign);
    }
    zsh_text(option->help, first_sentence(option->help));
    putchar(']');
    if (option->kind != OPTION_FLAG) {
        putchar(':');
        zsh_text(value_name(option), strlen(value_name(option)));
        putchar(':');
    }
    switch (value_of(option)) {
    case VALUE_CHOICE:
        putchar('(');
        choices_in_blanks(option->choices);
        putchar(')');
        break;
    case VALUE_FOLDER:
        fputs("_files -/", stdout);
        break;
    case VALUE_FILE:
        fputs("_files", stdout);
        break;
    case VALUE_NONE:
    case VALUE_OTHER:
        break;
    }
    putchar('\'');
}

static void print_zsh(const option_program *program)
{
    printf("#compdef %s\n# zsh completion of %s %s, printed by itself\n_arguments -s -S",
           program->name, program->name, iviti_version());
    each_option(program, zsh_option);
    for (size_t i = 0; program->operands[i] != NULL; i++) {
        const bool last = program->operands[i + 1] == NULL;
        const bool model = strcmp(program->operands[i], "MODEL") == 0;
        if (last && program->operands_repeat) {
            printf(" \\\n    '*:%s:", program->operands[i]);
        } else {
            printf(" \\\n    '%zu:%s:", i + 1, program->operands[i]);
        }
        printf("_files%s'", model ? " -g \"*.gguf(-.)\"" : "");
    }
    putchar('\n');
}

/* ---- fish --------------------------------------------------------------------------------------
 */

static void fish_option(const option_program *program, const option_spec *option)
{
    printf("complete -c %s", program->name);
    if (option->letter != 0) {
        printf(" -s %c", option->letter);
    }
    printf(" -l %s", option->name);
    switch (value_of(option)) {
    case VALUE_CHOICE:
        fputs(" -x -a '", stdout);
        choices_in_blanks(option->choices);
        putchar('\'');
        break;
    case VALUE_FOLDER:
        fputs(" -x -a '(__fish_complete_directories)'", stdout);
        break;
    case VALUE_FILE:
        fputs(" -r -F", stdout);
        break;
    case VALUE_OTHER:
        fputs(" -x", stdout);
        break;
    case VALUE_NONE:
        break;
    }
    fputs(" -d '", stdout);
    escape(option->help, first_sentence(option->help), "'\\", "\\");
    fputs("'\n", stdout);
}

static void print_fish(const option_program *program)
{
    printf("# fish completion of %s %s, printed by itself\n", program->name, iviti_version());
    each_option(program, fish_option);
}

bool options_print_page(const option_program *program, const char *word)
{
    static const struct {
        const char *word;
        void (*print)(const option_program *program);
    } pages[] = { { "--help-man", print_man },
                  { "--help-bash", print_bash },
                  { "--help-zsh", print_zsh },
                  { "--help-fish", print_fish } };

    for (size_t i = 0; i < OPTION_COUNT(pages); i++) {
        if (strcmp(word, pages[i].word) == 0) {
            pages[i].print(program);
            return true;
        }
    }
    return false;
}

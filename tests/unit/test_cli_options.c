/* SPDX-License-Identifier: Apache-2.0
 *
 * The option parser by itself: every kind of value, every way to write it, and that nothing changes
 * what was not given.
 */
#include "cli_run.h"

#include "common/options.h"

typedef struct values {
    bool flag;
    const char *text;
    uint32_t number;
    double real;
    option_numbers numbers;
    option_reals reals;
    int choice;
    common_options common;
} values;

static const option_spec TABLE[] = {
    { .name = "flag", .kind = OPTION_FLAG, .offset = offsetof(values, flag), .help = "Flag." },
    { .name = "text",
      .letter = 'o',
      .kind = OPTION_TEXT,
      .offset = offsetof(values, text),
      .value = "FILE",
      .help = "Text." },
    { .name = "number",
      .letter = 'k',
      .kind = OPTION_NUMBER,
      .offset = offsetof(values, number),
      .value = "N",
      .minimum = 2,
      .maximum = 4294967295.0,
      .help = "Number." },
    { .name = "real",
      .kind = OPTION_REAL,
      .offset = offsetof(values, real),
      .value = "X",
      .minimum = -1.5,
      .maximum = 1e3,
      .help = "Real." },
    { .name = "numbers",
      .kind = OPTION_NUMBERS,
      .offset = offsetof(values, numbers),
      .value = "A,B",
      .minimum = 0,
      .maximum = 63,
      .help = "Numbers." },
    { .name = "reals",
      .kind = OPTION_REALS,
      .offset = offsetof(values, reals),
      .value = "R,G,B",
      .minimum = 0,
      .maximum = 1,
      .items = 3,
      .help = "Reals." },
    { .name = "choice",
      .kind = OPTION_CHOICE,
      .offset = offsetof(values, choice),
      .choices = "table|shift|a",
      .help = "Choice." },
};

/* The outcome of one command line. */
typedef struct outcome {
    bool goes_on;
    int status;
    values v;
    option_operands operands;
    char *argv[CLI_MAX_ARGUMENTS + 1];
} outcome;

static void parse(outcome *o, const char *const *arguments)
{
    static const char *const usage[] = { "[options] FIRST REST...", NULL };
    static const char *const operands[] = { "FIRST", NULL };
    const option_group groups[] = { { "Options", TABLE, OPTION_COUNT(TABLE), &o->v },
                                    common_options_group(&o->v.common) };
    const option_program program = { .name = "prog",
                                     .summary = "a program",
                                     .usage = usage,
                                     .operands = operands,
                                     .operands_repeat = true,
                                     .groups = groups,
                                     .group_count = OPTION_COUNT(groups) };
    int count = 1;

    *o = (outcome){ .status = 77, .v = { .number = 7, .choice = -1, .real = 0.25 } };
    o->argv[0] = (char *)(uintptr_t) "prog";
    for (; arguments[count - 1] != NULL; count++) {
        o->argv[count] = (char *)(uintptr_t)arguments[count - 1];
    }
    o->goes_on = options_parse(&program, count, o->argv, &o->operands, &o->status);
}

#define PARSE(o, ...) parse(&(o), (const char *const[]){ __VA_ARGS__, NULL })

static void refuses(const char *const *arguments)
{
    outcome o;

    parse(&o, arguments);
    if (o.goes_on || o.status != EXIT_USAGE) {
        print_error("accepted: %s %s\n", arguments[0], arguments[1] != NULL ? arguments[1] : "");
    }
    assert_false(o.goes_on);
    assert_int_equal(o.status, EXIT_USAGE);
}

#define REFUSES(...) refuses((const char *const[]){ __VA_ARGS__, NULL })

static void what_is_not_given_stays(void **state)
{
    outcome o;

    (void)state;
    PARSE(o, "a");
    assert_true(o.goes_on);
    assert_false(o.v.flag);
    assert_null(o.v.text);
    assert_int_equal(o.v.number, 7);
    assert_true(o.v.real >= 0.25 && o.v.real <= 0.25);
    assert_int_equal(o.v.choice, -1);
    assert_int_equal(o.v.numbers.count, 0);
    assert_int_equal(o.v.reals.count, 0);
    assert_int_equal(o.v.common.threads, 0);
    assert_false(o.v.common.json || o.v.common.quiet);
    assert_in_range(options_threads(&o.v.common), 1, 64);
}

static void every_way_to_write_a_value(void **state)
{
    outcome o;

    (void)state;
    PARSE(o, "--number", "12", "a", "--text=x=y", "--flag", "--threads=3", "--json", "--quiet");
    assert_true(o.goes_on);
    assert_int_equal(o.v.number, 12);
    assert_string_equal(o.v.text, "x=y");
    assert_true(o.v.flag);
    assert_int_equal(options_threads(&o.v.common), 3);
    assert_true(o.v.common.json && o.v.common.quiet);
    PARSE(o, "-k", "4294967295", "a", "-oout");
    assert_int_equal(o.v.number, 4294967295u);
    assert_string_equal(o.v.text, "out");
    PARSE(o, "-k3", "a", "-k4", "--number=5");
    assert_int_equal(o.v.number, 5);
    PARSE(o, "--real", "-1.5", "a", "--text", "--flag");
    assert_true(o.v.real <= -1.5 && o.v.real >= -1.5);
    assert_string_equal(o.v.text, "--flag");
    assert_false(o.v.flag);
    PARSE(o, "--choice", "shift", "a");
    assert_int_equal(o.v.choice, 1);
    PARSE(o, "--choice=a", "a");
    assert_int_equal(o.v.choice, 2);
}

static void lists(void **state)
{
    outcome o;

    (void)state;
    PARSE(o, "--numbers", "3,6,63", "--reals=0.485,1,1e-3", "a");
    assert_true(o.goes_on);
    assert_int_equal(o.v.numbers.count, 3);
    assert_int_equal(o.v.numbers.item[0], 3);
    assert_int_equal(o.v.numbers.item[1], 6);
    assert_int_equal(o.v.numbers.item[2], 63);
    assert_int_equal(o.v.reals.count, 3);
    assert_int_equal((int)(o.v.reals.item[0] * 1000 + 0.5), 485);
    assert_int_equal((int)(o.v.reals.item[2] * 1e6 + 0.5), 1000);
    PARSE(o, "--numbers", "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15", "a");
    assert_int_equal(o.v.numbers.count, OPTION_LIST_MAX);
    assert_int_equal(o.v.numbers.item[15], 15);
    PARSE(o, "--numbers", "1,2,3", "--numbers", "9", "a");
    assert_int_equal(o.v.numbers.count, 1);
    assert_int_equal(o.v.numbers.item[0], 9);

    REFUSES("a", "--numbers", "");
    REFUSES("a", "--numbers", ",");
    REFUSES("a", "--numbers", "1,");
    REFUSES("a", "--numbers", "1,,2");
    REFUSES("a", "--numbers", "1, 2");
    REFUSES("a", "--numbers", "64");
    REFUSES("a", "--numbers", "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16");
    REFUSES("a", "--reals", "0.1,0.2");
    REFUSES("a", "--reals", "0.1,0.2,0.3,0.4");
    REFUSES("a", "--reals", "0.1,0.2,1.01");
}

static void operands_keep_their_order(void **state)
{
    outcome o;

    (void)state;
    PARSE(o, "a", "-k", "9", "-", "--flag", "b", "--", "--json", "--", "-k");
    assert_true(o.goes_on);
    static const char *const wanted[] = { "a", "-", "b", "--json", "--", "-k" };
    assert_int_equal(o.operands.count, OPTION_COUNT(wanted));
    for (size_t i = 0; i < OPTION_COUNT(wanted); i++) {
        assert_string_equal(o.operands.item[i], wanted[i]);
    }
    assert_false(o.v.common.json);
    assert_int_equal(o.v.number, 9);
}

static void numbers_are_strict(void **state)
{
    static const char *const wholes[] = { "",     "1",       "4294967296", "99999999999999999999",
                                          "+5",   "-5",      " 5",         "5 ",
                                          "0x10", "1e1",     "5.0",        "five",
                                          "5\n",  "\xD9\xA3" };
    static const char *const reals[] = { "",       "1001",  "-1.6", "nan", "inf",
                                         "1e9999", "0x1p3", " 1",   "1 ",  "1,5",
                                         ".",      "1e",    "--1",  "e5",  "1.2.3" };

    (void)state;
    for (size_t i = 0; i < OPTION_COUNT(wholes); i++) {
        REFUSES("a", "--number", wholes[i]);
    }
    for (size_t i = 0; i < OPTION_COUNT(reals); i++) {
        REFUSES("a", "--real", reals[i]);
    }
    REFUSES("a", "-k=5");
    REFUSES("a", "--text", "");
    REFUSES("a", "--text=");
    REFUSES("a", "--choice", "tab");
    REFUSES("a", "--choice", "table|shift");
    REFUSES("a", "--choice", "");
}

static void unknown_options(void **state)
{
    (void)state;
    REFUSES("a", "--numb", "3");
    REFUSES("a", "--numberss", "3");
    REFUSES("a", "-", "--=3");
    REFUSES("a", "-fk");
    REFUSES("a", "-x");
    REFUSES("--flag");
    REFUSES("a", "--flag=");
    REFUSES("a", "-k");
    REFUSES("a", "--text");
    REFUSES("a", "--a-name-that-is-far-longer-than-any-option-could-ever-be-for-a-sane-program=1");
}

static void names_of_choices(void **state)
{
    char name[8];

    (void)state;
    options_choice_name("a|bcd|e", 1, name, sizeof(name));
    assert_string_equal(name, "bcd");
    options_choice_name("a|bcd|e", 2, name, sizeof(name));
    assert_string_equal(name, "e");
    options_choice_name("a|bcd|e", 3, name, sizeof(name));
    assert_string_equal(name, "");
    options_choice_name("a|bcd|e", -1, name, sizeof(name));
    assert_string_equal(name, "");
    options_choice_name("longer-than-room", 0, name, sizeof(name));
    assert_string_equal(name, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_given_stays),
        cmocka_unit_test(every_way_to_write_a_value),
        cmocka_unit_test(lists),
        cmocka_unit_test(operands_keep_their_order),
        cmocka_unit_test(numbers_are_strict),
        cmocka_unit_test(unknown_options),
        cmocka_unit_test(names_of_choices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

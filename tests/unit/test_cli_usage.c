/* SPDX-License-Identifier: Apache-2.0
 *
 * What every program does with a command line: help, version, mistakes, and a model that is none.
 */
#include "cli_run.h"

#include <stdbool.h>

#include "iviti/iviti.h"

static const char *const TOOLS[] = { "iviti-convert", "iviti-classify", "iviti-eval", "iviti-info",
                                     "iviti-bench" };
#define TOOL_COUNT (sizeof(TOOLS) / sizeof(TOOLS[0]))

static void help_is_a_page_on_standard_output(void **state)
{
    (void)state;
    for (size_t i = 0; i < TOOL_COUNT; i++) {
        cli_result result = CLI(TOOLS[i], "--help");
        assert_int_equal(result.status, 0);
        assert_string_equal(result.err, "");
        assert_true(strncmp(result.out, TOOLS[i], strlen(TOOLS[i])) == 0);
        static const char *const parts[] = {
            "Usage: ", "--threads N", "--json",    "--quiet",
            "--help",  "--version",   "Examples:", "Exit status:"
        };
        for (size_t p = 0; p < sizeof(parts) / sizeof(parts[0]); p++) {
            cli_assert_holds(result.out, parts[p]);
        }
        for (const char *line = result.out; *line != '\0'; line += strcspn(line, "\n") + 1) {
            assert_true(strcspn(line, "\n") <= 80);
        }
        cli_free(&result);
    }
}

static void help_wins_over_mistakes(void **state)
{
    (void)state;
    for (size_t i = 0; i < TOOL_COUNT; i++) {
        cli_result result = CLI(TOOLS[i], "--threads", "no", "-h");
        assert_int_equal(result.status, 0);
        cli_assert_holds(result.out, "Usage: ");
        cli_free(&result);
    }
}

static void version_is_the_library_s(void **state)
{
    char wanted[64];

    (void)state;
    for (size_t i = 0; i < TOOL_COUNT; i++) {
        cli_result result = CLI(TOOLS[i], "--version");
        snprintf(wanted, sizeof(wanted), "%s %s\n", TOOLS[i], iviti_version());
        assert_int_equal(result.status, 0);
        assert_string_equal(result.out, wanted);
        assert_string_equal(result.err, "");
        cli_free(&result);
    }
}

static void mistakes_end_with_2_and_one_sentence(void **state)
{
    (void)state;
    for (size_t i = 0; i < TOOL_COUNT; i++) {
        const char *const t = TOOLS[i];
        char hint[64];
        snprintf(hint, sizeof(hint), " try %s --help\n", t);
        CLI_FAILS(2, CLI(t, "m", "--foo"), "unknown option --foo;", t, hint);
        CLI_FAILS(2, CLI(t, "m", "--thraeds", "2"),
                  "unknown option --thraeds; did you mean "
                  "--threads?",
                  hint);
        CLI_FAILS(2, CLI(t, "m", "-Z"), "unknown option -Z;", hint);
        CLI_FAILS(2, CLI(t, "m", "--threads"), "--threads needs a value", hint);
        CLI_FAILS(2, CLI(t, "m", "--threads", "0"), "from 1 to 64, not \"0\"", hint);
        CLI_FAILS(2, CLI(t, "m", "--threads=65"), "from 1 to 64, not \"65\"", hint);
        CLI_FAILS(2, CLI(t, "m", "--threads", "2x"), "not \"2x\"", hint);
        CLI_FAILS(2, CLI(t, "m", "--threads", "-1"), "not \"-1\"", hint);
        CLI_FAILS(2, CLI(t, "m", "--threads", ""), "not \"\"", hint);
        CLI_FAILS(2, CLI(t, "m", "--threads", "4294967297"), "not \"4294967297\"", hint);
        CLI_FAILS(2, CLI(t, "m", "--json=1"), "--json takes no value", hint);
        CLI_FAILS(2, CLI(t, "m", "--bad\033[31m"), "--bad\\x1b[31m", hint);
    }
}

static void operands_are_counted(void **state)
{
    (void)state;
    for (size_t i = 0; i < TOOL_COUNT; i++) {
        const bool converts = strcmp(TOOLS[i], "iviti-convert") == 0;
        const char *const sentence = converts ? "CHECKPOINT is missing" : "MODEL is missing";
        CLI_FAILS(2, CLI(TOOLS[i], "--quiet"), sentence);
        CLI_FAILS(2, CLI(TOOLS[i], "--"), sentence);
    }
    CLI_FAILS(2, CLI("iviti-classify", "model.gguf"), "IMAGE is missing");
    CLI_FAILS(2, CLI("iviti-info", "a.gguf", "b.gguf"), "\"b.gguf\" is one argument too many");
    CLI_FAILS(2, CLI("iviti-bench", "a.gguf", "b.gguf"), "\"b.gguf\" is one argument too many");
    CLI_FAILS(2, CLI("iviti-bench", "a.gguf", "--", "--json"), "\"--json\" is one argument");
}

static void each_tool_checks_its_own(void **state)
{
    (void)state;
    CLI_FAILS(2, CLI("iviti-classify", "m", "p", "-k", "0"), "-k takes a whole number from 1");
    CLI_FAILS(2, CLI("iviti-classify", "m", "p", "-kx"), "not \"x\"");
    CLI_FAILS(2, CLI("iviti-classify", "m", "p", "--isa", "mmx"), "--isa takes one of best, ref,");
    CLI_FAILS(2, CLI("iviti-bench", "m", "--runs", "0"), "--runs takes a whole number from 1");
    CLI_FAILS(2, CLI("iviti-eval", "m", "--labels", "l"), "--images is missing");
    CLI_FAILS(2, CLI("iviti-eval", "m", "--images", "d"), "--labels is missing");
    CLI_FAILS(2, CLI("iviti-eval", "m", "--images", "d", "--labels", "l", "--heads", "3"),
              "need --reference");
    CLI_FAILS(2,
              CLI("iviti-eval", "m", "--images", "d", "--labels", "l", "--reference", "c",
                  "--preset", "nothing"),
              "--preset takes one of", "not \"nothing\"");
    CLI_FAILS(2,
              CLI("iviti-eval", "m", "--images", "d", "--labels", "l", "--reference", "c", "--mean",
                  "0.5,0.5"),
              "--mean takes 3 numbers", "not \"0.5,0.5\"");
}

/* Runs every program on a model file. */
static void every_tool_refuses(const char *model, const char *part)
{
    CLI_FAILS(1, CLI("iviti-classify", model, "p.png"), model, part);
    CLI_FAILS(1, CLI("iviti-classify", "--json", model, "p.png"), model, part);
    CLI_FAILS(1, CLI("iviti-eval", model, "--images", ".", "--labels", "l"), model, part);
    CLI_FAILS(1, CLI("iviti-info", model), model, part);
    CLI_FAILS(1, CLI("iviti-info", "--json", model), model, part);
    CLI_FAILS(1, CLI("iviti-bench", model), model, part);
}

static void files_that_are_no_models_are_refused(void **state)
{
    static const uint8_t version_9[24] = { 'G', 'G', 'U', 'F', 9 };
    static const uint8_t cut[10] = { 'G', 'G', 'U', 'F', 3 };

    (void)state;
    every_tool_refuses(cli_path("absent.gguf"), "");
    every_tool_refuses(cli_folder, "");
    every_tool_refuses(cli_write("empty.gguf", "", 0), "");
    every_tool_refuses(cli_write_text("text.gguf", "this is not a model at all, but text\n"), "");
    every_tool_refuses(cli_write("version.gguf", version_9, sizeof(version_9)), "9");
    every_tool_refuses(cli_write("cut.gguf", cut, sizeof(cut)), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(help_is_a_page_on_standard_output),
        cmocka_unit_test(help_wins_over_mistakes),
        cmocka_unit_test(version_is_the_library_s),
        cmocka_unit_test(mistakes_end_with_2_and_one_sentence),
        cmocka_unit_test(operands_are_counted),
        cmocka_unit_test(each_tool_checks_its_own),
        cmocka_unit_test(files_that_are_no_models_are_refused),
    };
    return cmocka_run_group_tests(tests, cli_setup, cli_teardown);
}

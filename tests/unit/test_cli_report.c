/* SPDX-License-Identifier: Apache-2.0
 *
 * iviti-eval --report: one page that needs nothing else and trusts no name, with the figures that
 * the program prints.
 */
#include "cli_run.h"

#include "cli_json.h"
#include "cli_model.h"

#include <stdbool.h>

#include "common/html_out.h"

static char *read_file(const char *path)
{
    FILE *const file = fopen(path, "rb");

    assert_non_null(file);
    char *const text = cli_slurp(file, NULL);
    fclose(file);
    return text;
}

/* What html_put_text writes. */
static void shown(const char *text, const char *wanted)
{
    FILE *const file = tmpfile();

    assert_non_null(file);
    html_put_text(file, text);
    char *const got = cli_slurp(file, NULL);
    assert_string_equal(got, wanted);
    free(got);
    fclose(file);
}

static void any_text_is_text(void **state)
{
    (void)state;
    shown("plain", "plain");
    shown("<script>&\"'", "&lt;script&gt;&amp;&quot;&#39;");
    shown("caf\xC3\xA9", "caf\xC3\xA9");
    shown("\xFF|\xC3|\xE2\x82|\xC0\xBC", "\xEF\xBF\xBD|\xEF\xBF\xBD|\xEF\xBF\xBD\xEF\xBF\xBD|"
                                         "\xEF\xBF\xBD\xEF\xBF\xBD");
    shown("a\tb\x1B[31m\x7F", "a\xEF\xBF\xBD"
                              "b\xEF\xBF\xBD[31m\xEF\xBF\xBD");
    shown("", "");
}

static void base64_is_that_of_the_rfc(void **state)
{
    static const char *const coded[] = { "",         "Zg==",     "Zm8=",    "Zm9v",
                                         "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy" };

    (void)state;
    for (size_t length = 0; length <= 6; length++) {
        for (size_t cut = 0; cut <= length; cut++) {
            html_base64 b = { .file = tmpfile() };
            assert_non_null(b.file);
            html_base64_put(&b, (const uint8_t *)"foobar", cut);
            html_base64_put(&b, (const uint8_t *)"foobar" + cut, length - cut);
            html_base64_end(&b);
            char *const got = cli_slurp(b.file, NULL);
            assert_string_equal(got, coded[length]);
            free(got);
            fclose(b.file);
        }
    }
}

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;

    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part)) {
        count++;
    }
    return count;
}

/* Twenty pictures of which some must be wrong: the labels are those of another class for half. */
static const char *write_labels(const char *model, bool wicked)
{
    const char *const wicked_name = "<img src=x onerror=alert(1)>&\"'.png";
    char labels[4096] = "";

    for (unsigned i = 0; i < 20; i++) {
        char name[64];
        snprintf(name, sizeof(name), "%u.png", i);
        const char *const file = wicked && i == 7 ? wicked_name : name;
        json_t *objects[CLI_MAX_LINES];
        const char *const path = cli_write_png(file, 30 + i, 41, i);
        cli_result result = CLI("iviti-classify", "--json", "-k1", model, path);
        assert_int_equal(cli_objects(&result, objects), 1);
        const json_int_t best =
            cli_integer(json_array_get(json_object_get(objects[0], "top"), 0), "index");
        snprintf(labels + strlen(labels), sizeof(labels) - strlen(labels), "%s\t%d\n", file,
                 (int)((best + (i % 2 == 1 ? 3 : 0)) % CLI_MODEL_CLASSES));
        json_decref(objects[0]);
        cli_free(&result);
    }
    return cli_write_text("labels.tsv", labels);
}

static void the_page_needs_nothing_and_trusts_nobody(void **state)
{
    const char *const model = cli_write_model("model.gguf");
    const char *const labels = write_labels(model, true);
    const char *const page = cli_path("page.html");

    (void)state;
    cli_result result = CLI("iviti-eval", "--json", model, "--images", cli_folder, "--labels",
                            labels, "--report", page);
    json_t *const figures = cli_one_object(&result);
    assert_true(cli_number(figures, "top1") > 49.9 && cli_number(figures, "top1") < 50.1);
    char *const html = read_file(page);
    assert_true(strncmp(html, "<!doctype html>", 15) == 0);
    cli_assert_holds(html, "<td>50.00 %");
    cli_assert_holds(html, "20 pictures");
    cli_assert_holds(html, "10 of 20.");
    assert_int_equal(count_of(html, "<figure>"), 10);
    assert_int_equal(count_of(html, "src=\"data:image/png;base64,iVBORw0KGgo"), 10);
    assert_int_equal(count_of(html, "<img "), 10); /* and not that of the wicked name */
    cli_assert_holds(html, "&lt;img src=x onerror=alert(1)&gt;&amp;&quot;&#39;.png");
    assert_int_equal(count_of(html, "<script"), 0);
    assert_int_equal(count_of(html, "http://") + count_of(html, "https://"), 0);
    assert_int_equal(count_of(html, "<svg "), 1);
    assert_int_equal(count_of(html, "<rect "), 40);
    cli_assert_holds(html + strlen(html) - 10, "</html>\n");
    free(html);
    json_decref(figures);
    cli_free(&result);
}

static void nothing_wrong_is_a_page_as_well(void **state)
{
    const char *const model = cli_write_model("model.gguf");
    const char *const picture = cli_write_png("one.png", 20, 20, 5);
    json_t *objects[CLI_MAX_LINES];
    char label[64];

    (void)state;
    cli_result result = CLI("iviti-classify", "--json", "-k1", model, picture);
    assert_int_equal(cli_objects(&result, objects), 1);
    snprintf(label, sizeof(label), "one.png\t%d\n",
             (int)cli_integer(json_array_get(json_object_get(objects[0], "top"), 0), "index"));
    json_decref(objects[0]);
    cli_free(&result);

    const char *const page = cli_path("one.html");
    result = CLI("iviti-eval", model, "--images", cli_folder, "--labels",
                 cli_write_text("one.tsv", label), "--report", page);
    assert_int_equal(result.status, 0);
    char *const html = read_file(page);
    cli_assert_holds(html, "<td>100.00 %");
    cli_assert_holds(html, "0 of 10 classes");
    assert_int_equal(count_of(html, "<img "), 0);
    free(html);
    cli_free(&result);
}

static void a_page_that_cannot_be_is_told_before_the_work(void **state)
{
    const char *const model = cli_write_model("model.gguf");
    const char *const labels = write_labels(model, false);
    const char *const nowhere = cli_path("no/folder/page.html");
    const char *const unfinished = cli_path("unfinished.html");

    (void)state;
    CLI_FAILS(
        1,
        CLI("iviti-eval", model, "--images", cli_folder, "--labels", labels, "--report", nowhere),
        nowhere, "cannot be created");
    CLI_FAILS(1,
              CLI("iviti-eval", model, "--images", cli_folder, "--labels",
                  cli_write_text("absent.tsv", "absent.png\t1\n"), "--report", unfinished),
              "absent.png");
    assert_int_equal(access(unfinished, F_OK), -1); /* no half of a page stays */
    if (access("/dev/full", W_OK) == 0) {
        CLI_FAILS(1,
                  CLI("iviti-eval", model, "--images", cli_folder, "--labels", labels, "--report",
                      "/dev/full"),
                  "cannot be written");
        assert_int_equal(access("/dev/full", F_OK), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_text_is_text),
        cmocka_unit_test(base64_is_that_of_the_rfc),
        cmocka_unit_test(the_page_needs_nothing_and_trusts_nobody),
        cmocka_unit_test(nothing_wrong_is_a_page_as_well),
        cmocka_unit_test(a_page_that_cannot_be_is_told_before_the_work),
    };
    return cmocka_run_group_tests(tests, cli_setup, cli_teardown);
}

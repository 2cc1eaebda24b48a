/* SPDX-License-Identifier: Apache-2.0
 *
 * The programs' output and input helpers: JSON of any bytes, lines of any length, labelled
 * pictures.
 */
#include "cli_run.h"

#include <jansson.h>
#include <math.h>

#include "common/json_out.h"
#include "common/labelled.h"
#include "common/lines.h"
#include "common/options.h"

/* ---- JSON
 * ------------------------------------------------------------------------------------------ */

/* What one text becomes, without the quotes. */
static char *json_of(const char *text)
{
    FILE *const file = tmpfile();
    json_out j = json_out_to(file);

    assert_non_null(file);
    json_put_text(&j, NULL, text);
    assert_true(json_put_line(&j));
    char *const out = cli_slurp(file, NULL);
    fclose(file);
    return out;
}

static void text_is_escaped(void **state)
{
    static const struct {
        const char *text;
        const char *json;
    } cases[] = {
        { "", "\"\"\n" },
        { "plain/path.png", "\"plain/path.png\"\n" },
        { "a\"b\\c", "\"a\\\"b\\\\c\"\n" },
        { "\n\t\x01\x7F", "\"\\u000a\\u0009\\u0001\\u007f\"\n" },
        { "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"\n" },
        { "\xFF", "\"\xEF\xBF\xBD\"\n" },
        { "a\xC3", "\"a\xEF\xBF\xBD\"\n" },                               /* cut short */
        { "\xC0\x80", "\"\xEF\xBF\xBD\xEF\xBF\xBD\"\n" },                 /* overlong */
        { "\xED\xA0\x80", "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"\n" }, /* surrogate */
        { "\xF4\x90\x80\x80", "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"\n" },
        { "\xE2\x82z", "\"\xEF\xBF\xBD\xEF\xBF\xBDz\"\n" },
    };

    (void)state;
    for (size_t i = 0; i < OPTION_COUNT(cases); i++) {
        char *const out = json_of(cases[i].text);
        assert_string_equal(out, cases[i].json);
        free(out);
    }
}

static void any_two_bytes_make_valid_json(void **state)
{
    FILE *const file = tmpfile();
    json_out j = json_out_to(file);
    size_t bytes = 0;

    (void)state;
    assert_non_null(file);
    json_put_array(&j, NULL);
    for (int a = 1; a < 256; a++) {
        for (int b = 1; b < 256; b++) {
            const char text[] = { (char)a, (char)b, '\0' };
            json_put_text(&j, NULL, text);
        }
    }
    json_put_end(&j);
    assert_true(json_put_line(&j));
    char *const out = cli_slurp(file, &bytes);
    json_t *const parsed = json_loadb(out, bytes, 0, NULL);
    assert_non_null(parsed);
    assert_int_equal(json_array_size(parsed), 255 * 255);
    for (size_t i = 0; i < 255 * 255; i++) {
        assert_true(json_is_string(json_array_get(parsed, i)));
    }
    json_decref(parsed);
    free(out);
    fclose(file);
}

static void structure_and_numbers(void **state)
{
    FILE *const file = tmpfile();
    json_out j = json_out_to(file);

    (void)state;
    assert_non_null(file);
    json_put_object(&j, NULL);
    json_put_array(&j, "empty");
    json_put_end(&j);
    json_put_array(&j, "list");
    json_put_whole(&j, NULL, INT64_MIN);
    json_put_unsigned(&j, NULL, UINT64_MAX);
    json_put_object(&j, NULL);
    json_put_truth(&j, "yes", true);
    json_put_truth(&j, "no", false);
    json_put_end(&j);
    json_put_end(&j);
    json_put_real(&j, "real", 0.913, 6);
    json_put_real(&j, "small", 1.0 / 65536.0, 6);
    json_put_real(&j, "none", NAN, 6);
    json_put_fixed(&j, "fixed", 77.4, 2);
    json_put_fixed(&j, "whole", 100.0, 2);
    json_put_fixed(&j, "zero", -0.0001, 2);
    json_put_fixed(&j, "rounded", 2.0 / 3.0, 3);
    json_put_fixed(&j, "endless", INFINITY, 3);
    json_put_end(&j);
    assert_true(json_put_line(&j));
    json_put_whole(&j, NULL, 7);
    assert_true(json_put_line(&j));
    char *const out = cli_slurp(file, NULL);
    assert_string_equal(
        out, "{\"empty\":[],\"list\":[-9223372036854775808,18446744073709551615,"
             "{\"yes\":true,\"no\":false}],\"real\":0.913,\"small\":1.52588e-05,"
             "\"none\":null,\"fixed\":77.4,\"whole\":100.0,\"zero\":0.0,\"rounded\":0.667,"
             "\"endless\":null}\n7\n");
    free(out);
    fclose(file);
}

static void a_full_disk_is_noticed(void **state)
{
    FILE *const file = fopen("/dev/full", "w");

    (void)state;
    if (file == NULL) {
        print_message("skipped: no /dev/full here\n");
        skip();
    }
    json_out j = json_out_to(file);
    json_put_whole(&j, NULL, 1);
    assert_false(json_put_line(&j));
    fclose(file);
}

/* ---- lines
 * ------------------------------------------------------------------------------------------- */

static FILE *stream_of(const void *bytes, size_t count)
{
    FILE *const file = tmpfile();

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    rewind(file);
    return file;
}

static void lines_end_in_every_way(void **state)
{
    static const char text[] = "one\ntwo\r\n\nthree\r\rx\r\n\r\nnul\0here\nlast";
    static const struct {
        lines_result result;
        const char *text;
    } wanted[] = {
        { LINES_GOOD, "one" },        { LINES_GOOD, "two" }, { LINES_GOOD, "" },
        { LINES_GOOD, "three\r\rx" }, { LINES_GOOD, "" },    { LINES_NUL, "nul" },
        { LINES_GOOD, "last" },       { LINES_END, "" },
    };
    FILE *const file = stream_of(text, sizeof(text) - 1);
    lines *const l = malloc(sizeof(*l));

    (void)state;
    assert_non_null(l);
    lines_start(l, file);
    for (size_t i = 0; i < OPTION_COUNT(wanted); i++) {
        assert_int_equal(lines_next(l), wanted[i].result);
        assert_string_equal(l->text, wanted[i].text);
        assert_int_equal(l->number, i + 1 < OPTION_COUNT(wanted) ? i + 1 : i);
    }
    free(l);
    fclose(file);
}

static void lines_of_any_length(void **state)
{
    static const size_t lengths[] = { LINES_LONGEST - 1, LINES_LONGEST, LINES_LONGEST + 1,
                                      3 * LINES_LONGEST };
    lines *const l = malloc(sizeof(*l));
    char *const long_line = malloc(3 * LINES_LONGEST);

    (void)state;
    assert_non_null(l);
    assert_non_null(long_line);
    memset(long_line, 'x', 3 * LINES_LONGEST);
    for (size_t i = 0; i < OPTION_COUNT(lengths); i++) {
        for (int crlf = 0; crlf < 2; crlf++) {
            FILE *const file = tmpfile();
            assert_non_null(file);
            fwrite(long_line, 1, lengths[i], file);
            fputs(crlf ? "\r\nnext\n" : "\nnext\n", file);
            rewind(file);
            lines_start(l, file);
            const bool fits = lengths[i] <= LINES_LONGEST;
            assert_int_equal(lines_next(l), fits ? LINES_GOOD : LINES_LONG);
            assert_int_equal(l->length, fits ? lengths[i] : LINES_LONGEST);
            assert_int_equal(strlen(l->text), l->length);
            assert_int_equal(lines_next(l), LINES_GOOD);
            assert_string_equal(l->text, "next");
            assert_int_equal(lines_next(l), LINES_END);
            fclose(file);
        }
    }
    free(long_line);
    free(l);
}

/* ---- labelled pictures
 * --------------------------------------------------------------------------------- */

static void labels_are_read(void **state)
{
    const char *const path =
        cli_write_text("good.tsv", "a.png\t3\r\n\nsub/b c.png\t0\n/abs.png\t9\nx\ty.png\t1");
    labelled l;
    report r = { "" };

    (void)state;
    assert_true(labelled_read(&l, path, "dir", 10, 0, &r));
    assert_int_equal(l.count, 4);
    assert_string_equal(l.item[0].path, "dir/a.png");
    assert_int_equal(l.item[0].label, 3);
    assert_string_equal(l.item[1].path, "dir/sub/b c.png");
    assert_string_equal(l.item[2].path, "/abs.png");
    assert_int_equal(l.item[2].label, 9);
    assert_string_equal(l.item[3].path, "dir/x\ty.png");
    labelled_free(&l);
    assert_true(labelled_read(&l, path, "dir/", 10, 2, &r));
    assert_int_equal(l.count, 2);
    assert_string_equal(l.item[0].path, "dir/a.png");
    labelled_free(&l);
}

static void bad_labels_are_refused(void **state)
{
    static const struct {
        const char *text;
        const char *part;
    } cases[] = {
        { "", "holds no pictures" },
        { "\n\r\n", "holds no pictures" },
        { "a.png\t1\nb.png 2\n", "line 2 is not" },
        { "\t1\n", "line 1 is not" },
        { "a.png\t\n", "line 1 is not" },
        { "a.png\t-1\n", "line 1 is not" },
        { "a.png\t1 \n", "line 1 is not" },
        { "a.png\t99999999999\n", "line 1 is not" },
        { "a.png\t4294967296\n", "line 1 is not" },
        { "a.png\t10\n", "line 1 has class 10, but the model has 10 classes (0 to 9)" },
    };
    labelled l;
    report r;

    (void)state;
    for (size_t i = 0; i < OPTION_COUNT(cases); i++) {
        const char *const path = cli_write_text("bad.tsv", cases[i].text);
        r.text[0] = '\0';
        assert_false(labelled_read(&l, path, "dir", 10, 0, &r));
        cli_assert_holds(r.text, path);
        cli_assert_holds(r.text, cases[i].part);
    }
    assert_false(labelled_read(&l, cli_path("absent.tsv"), "dir", 10, 0, &r));
    cli_assert_holds(r.text, "absent.tsv: cannot open");
    assert_false(labelled_read(&l, cli_folder, "dir", 10, 0, &r));
    cli_assert_holds(r.text, cli_folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_escaped),        cmocka_unit_test(any_two_bytes_make_valid_json),
        cmocka_unit_test(structure_and_numbers),  cmocka_unit_test(a_full_disk_is_noticed),
        cmocka_unit_test(lines_end_in_every_way), cmocka_unit_test(lines_of_any_length),
        cmocka_unit_test(labels_are_read),        cmocka_unit_test(bad_labels_are_refused),
    };
    return cmocka_run_group_tests(tests, cli_setup, cli_teardown);
}

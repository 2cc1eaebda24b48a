/* SPDX-License-Identifier: Apache-2.0
 *
 * Folders of pictures and files of class names, as the tools read them.
 */
#define _POSIX_C_SOURCE 200809L

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "picture/class_names.h"
#include "picture/folder.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static char folder_path[] = "/tmp/iviti-folder-XXXXXX";

static const char *path_of(const char *name)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder_path, name);
    return path;
}

static void write_file(const char *name, const void *data, size_t size)
{
    FILE *const file = fopen(path_of(name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void write_text(const char *name, const char *text)
{
    write_file(name, text, strlen(text));
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder_path) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder_path);
}

/* ---- folders ----------------------------------------------------------------------------- */

static void a_folder_lists_its_pictures_in_bytewise_order(void **state)
{
    static const char *const files[] = { "b.png",  "B.PNG",  "a.jpeg",      "a.Jpg", "10.jpg",
                                         "9.jpg",  "c.gif",  "notes.txt",   ".png",  "jpg",
                                         "d.png.", "e.jpgx", "\xc3\xa9.png" };
    static const char *const want[] = { "10.jpg", "9.jpg", "B.PNG",       "a.Jpg",
                                        "a.jpeg", "b.png", "\xc3\xa9.png" };
    folder f;
    report r = { "" };
    (void)state;
    assert_int_equal(mkdir(path_of("inner.png"), 0700), 0); /* a folder is not a picture */
    for (size_t i = 0; i < COUNT(files); i++)
        write_text(files[i], "");
    for (int slash = 0; slash < 2; slash++) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s%s", folder_path, slash ? "/" : "");
        assert_true(folder_open(path, &f, &r));
        assert_int_equal(f.count, COUNT(want));
        for (size_t i = 0; i < f.count; i++) {
            assert_string_equal(f.names[i], want[i]);
            assert_string_equal(f.paths[i], path_of(want[i]));
        }
        folder_free(&f);
        assert_int_equal(f.count, 0);
    }
    for (size_t i = 0; i < COUNT(files); i++)
        assert_int_equal(unlink(path_of(files[i])), 0);
    assert_int_equal(rmdir(path_of("inner.png")), 0);
    folder_free(&f);
    folder_free(NULL);
}

static void a_folder_without_pictures_is_refused(void **state)
{
    folder f = { NULL, NULL, 0 };
    report r = { "" };
    (void)state;
    assert_false(folder_open(path_of("missing"), &f, &r));
    assert_non_null(strstr(r.text, "missing: folder cannot be opened: No such file"));
    write_text("plain", "");
    assert_false(folder_open(path_of("plain"), &f, &r));
    assert_non_null(strstr(r.text, "plain: is not a folder"));
    assert_false(folder_open(folder_path, &f, &r));
    assert_non_null(strstr(r.text, "no pictures (.jpg, .jpeg or .png) in the folder"));
    assert_null(f.paths);
    assert_int_equal(unlink(path_of("plain")), 0);
}

/* ---- class names ------------------------------------------------------------------------- */

static void class_names_are_lines(void **state)
{
    static const char *const texts[] = { "tench, Tinca tinca\ncrane\ncrane\n\xc3\xa9t\xc3\xa9",
                                         "tench, Tinca tinca\r\ncrane\r\ncrane\r\n\xc3\xa9t\xc3\xa9"
                                         "\r\n" };
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        class_names c;
        report r = { "" };
        write_text("names.txt", texts[i]);
        assert_true(class_names_read(path_of("names.txt"), &c, &r));
        assert_int_equal(c.count, 4);
        assert_string_equal(c.names[0], "tench, Tinca tinca");
        assert_string_equal(c.names[1], "crane");
        assert_string_equal(c.names[2], "crane");
        assert_string_equal(c.names[3], "\xc3\xa9t\xc3\xa9");
        class_names_free(&c);
        assert_null(c.names);
    }
    assert_int_equal(unlink(path_of("names.txt")), 0);
    class_names_free(NULL);
}

static void assert_no_names(const char *text, size_t size, const char *sentence)
{
    class_names c = { NULL, 0 };
    report r = { "" };
    write_file("names.txt", text, size);
    assert_false(class_names_read(path_of("names.txt"), &c, &r));
    if (!strstr(r.text, sentence) || !strstr(r.text, "names.txt: "))
        fail_msg("refused with \"%s\", not with \"%s\"", r.text, sentence);
    assert_null(c.names);
    assert_int_equal(unlink(path_of("names.txt")), 0);
}

static void wrong_class_names_are_refused(void **state)
{
    class_names c = { NULL, 0 };
    report r = { "" };
    (void)state;
    assert_no_names("", 0, "no class names in the file");
    assert_no_names("a\n\nb\n", 5, "line 2 is empty");
    assert_no_names("a\n\n", 3, "line 2 is empty");
    assert_no_names("a\nb\xff\n", 5, "line 2 is not UTF-8");
    assert_no_names("a\0b\n", 4, "line 1 holds a zero byte");
    char *const text = malloc(2 * 65537 + 1);
    assert_non_null(text);
    memset(text, 'x', 1025);
    assert_no_names(text, 1025, "line 1 is longer than a class name may be");
    for (size_t i = 0; i < 65537; i++)
        memcpy(text + 2 * i, "y\n", 2);
    assert_no_names(text, (size_t)2 * 65537, "more than 65536 lines");
    write_file("names.txt", text, (size_t)2 * 65536);
    assert_true(class_names_read(path_of("names.txt"), &c, &r));
    assert_int_equal(c.count, 65536);
    class_names_free(&c);
    assert_int_equal(unlink(path_of("names.txt")), 0);
    free(text);
    assert_false(class_names_read(path_of("missing.txt"), &c, &r));
    assert_non_null(strstr(r.text, "missing.txt: cannot be opened: No such file"));
    assert_false(class_names_read(folder_path, &c, &r));
    assert_non_null(strstr(r.text, "cannot be read: Is a directory"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_folder_lists_its_pictures_in_bytewise_order),
        cmocka_unit_test(a_folder_without_pictures_is_refused),
        cmocka_unit_test(class_names_are_lines),
        cmocka_unit_test(wrong_class_names_are_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

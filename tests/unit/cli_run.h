/* SPDX-License-Identifier: Apache-2.0
 *
 * For the tests of the programs: a scratch folder, files and pictures in it, and running a built
 * program with its standard streams caught. Included once per test program.
 */
#ifndef CLI_RUN_H
#define CLI_RUN_H

#define _POSIX_C_SOURCE 200809L

#include <limits.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>

#define CLI_MAX_ARGUMENTS 32

extern char **environ;

typedef struct cli_result {
    int status; /* exit status, or -1 where a signal ended the program */
    char *out;  /* NUL-terminated; bytes in out_length */
    char *err;
    size_t out_length;
} cli_result;

static char cli_folder[] = "/tmp/iviti-cli-XXXXXX";

/* Fixtures of a whole test program: the scratch folder exists in between. */
static inline int cli_setup(void **state)
{
    (void)state;
    return mkdtemp(cli_folder) != NULL ? 0 : -1;
}

static inline int cli_teardown(void **state)
{
    char *const arguments[] = { (char *)"rm", (char *)"-rf", cli_folder, NULL };
    pid_t child;
    int status = 0;

    (void)state;
    if (posix_spawnp(&child, "rm", NULL, NULL, arguments, environ) != 0) {
        return -1;
    }
    return waitpid(child, &status, 0) == child && status == 0 ? 0 : -1;
}

/* The path of a file in the scratch folder; valid for 64 more calls. */
static inline const char *cli_path(const char *name)
{
    static char paths[64][PATH_MAX];
    static unsigned turn;
    char *const path = paths[turn++ % 64];

    snprintf(path, PATH_MAX, "%s/%s", cli_folder, name);
    return path;
}

static inline const char *cli_write(const char *name, const void *bytes, size_t count)
{
    const char *const path = cli_path(name);
    FILE *const file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
    return path;
}

static inline const char *cli_write_text(const char *name, const char *text)
{
    return cli_write(name, text, strlen(text));
}

/* ---- pictures
 * ------------------------------------------------------------------------------------ */

static inline void cli_put_u32(uint8_t *at, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++) {
        at[i] = (uint8_t)(value >> (24 - 8 * i));
    }
}

static inline size_t cli_put_chunk(uint8_t *at, const char *kind, const uint8_t *data, size_t bytes)
{
    cli_put_u32(at, (uint32_t)bytes);
    memcpy(at + 4, kind, 4);
    if (bytes > 0) {
        memcpy(at + 8, data, bytes);
    }
    cli_put_u32(at + 8 + bytes, (uint32_t)crc32(0, at + 4, (uInt)bytes + 4));
    return bytes + 12;
}

/* An RGB picture of that size whose pixels follow from `seed` (a gradient with blocks in it). */
static inline const char *cli_write_png(const char *name, uint32_t width, uint32_t height,
                                        uint32_t seed)
{
    const size_t row = 1 + 3 * (size_t)width;
    uint8_t *const raw = calloc(height, row);
    uLongf packed_bytes = compressBound((uLong)(height * row));
    uint8_t *const packed = malloc(packed_bytes);
    uint8_t *const png = malloc(packed_bytes + 128);
    uint8_t header[13] = { 0 };
    size_t used = 8;

    assert_non_null(raw);
    assert_non_null(packed);
    assert_non_null(png);
    for (uint32_t y = 0; y < height; y++) {
        for (uint32_t x = 0; x < width; x++) {
            uint8_t *const pixel = raw + y * row + 1 + 3 * (size_t)x;
            const uint32_t block = (x / 3 + 7 * (y / 5) + seed) * 2654435761u;
            pixel[0] = (uint8_t)(block >> 24);
            pixel[1] = (uint8_t)(x * 255 / width);
            pixel[2] = (uint8_t)(y * 255 / height + seed);
        }
    }
    assert_int_equal(compress2(packed, &packed_bytes, raw, (uLong)(height * row), 6), Z_OK);
    memcpy(png, "\x89PNG\r\n\x1a\n", 8);
    cli_put_u32(header, width);
    cli_put_u32(header + 4, height);
    header[8] = 8;
    header[9] = 2;
    used += cli_put_chunk(png + used, "IHDR", header, sizeof(header));
    used += cli_put_chunk(png + used, "IDAT", packed, packed_bytes);
    used += cli_put_chunk(png + used, "IEND", NULL, 0);
    const char *const path = cli_write(name, png, used);
    free(raw);
    free(packed);
    free(png);
    return path;
}

/* ---- programs
 * --------------------------------------------------------------------------------------- */

/* Where a program is; an absolute path is its own. */
static inline const char *cli_program(const char *tool)
{
    static char path[PATH_MAX];
    const char *const build = getenv("IVITI_BUILD");

    if (tool[0] == '/') {
        return tool;
    }
    assert_non_null(build);
    snprintf(path, sizeof(path), "%s/%s", build, tool);
    return path;
}

static inline char *cli_slurp(FILE *file, size_t *bytes)
{
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    const long length = ftell(file);
    assert_true(length >= 0);
    rewind(file);
    char *const text = malloc((size_t)length + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, (size_t)length, file), (size_t)length);
    text[length] = '\0';
    if (bytes != NULL) {
        *bytes = (size_t)length;
    }
    return text;
}

/* Runs a program; `input` is what its standard input holds. `arguments` ends with NULL. */
static inline cli_result cli_run_with(const char *input, size_t input_bytes, const char *tool,
                                      const char *const *arguments)
{
    char *argv[CLI_MAX_ARGUMENTS + 2] = { (char *)(uintptr_t)tool };
    FILE *const streams[3] = { tmpfile(), tmpfile(), tmpfile() };
    posix_spawn_file_actions_t actions;
    cli_result result = { 0 };
    pid_t child;
    int status = 0;

    for (size_t i = 0; arguments[i] != NULL; i++) {
        assert_true(i < CLI_MAX_ARGUMENTS);
        argv[i + 1] = (char *)(uintptr_t)arguments[i];
    }
    assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
    for (int i = 0; i < 3; i++) {
        assert_non_null(streams[i]);
        assert_int_equal(posix_spawn_file_actions_adddup2(&actions, fileno(streams[i]), i), 0);
    }
    assert_int_equal(fwrite(input, 1, input_bytes, streams[0]), input_bytes);
    rewind(streams[0]);
    assert_int_equal(posix_spawn(&child, cli_program(tool), &actions, NULL, argv, environ), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    posix_spawn_file_actions_destroy(&actions);
    result.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    result.out = cli_slurp(streams[1], &result.out_length);
    result.err = cli_slurp(streams[2], NULL);
    for (int i = 0; i < 3; i++) {
        fclose(streams[i]);
    }
    return result;
}

static inline void cli_free(cli_result *result)
{
    free(result->out);
    free(result->err);
}

/* CLI("iviti-info", "--help"), with an empty standard input. */
#define CLI(tool, ...) cli_run_with("", 0, tool, (const char *const[]){ __VA_ARGS__, NULL })
#define CLI_INPUT(text, tool, ...)                                                                 \
    cli_run_with(text, strlen(text), tool, (const char *const[]){ __VA_ARGS__, NULL })

/* A command of the shell, composed as by printf. */
static inline cli_result cli_shell(const char *format, ...)
{
    char command[4096];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(command, sizeof(command), format, arguments);
    va_end(arguments);
    return CLI("/bin/sh", "-c", command);
}

/* Exactly one line on a stream. */
static inline void cli_assert_one_line(const char *text)
{
    const char *const end = strchr(text, '\n');

    assert_non_null(end);
    assert_true(end > text);
    assert_int_equal(end[1], '\0');
}

static inline void cli_assert_holds(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) {
        print_error("\"%s\" does not hold \"%s\"\n", text, part);
        fail();
    }
}

/* The program failed with that status, printed nothing but one line on standard error that holds
 * all the parts (NULL-terminated). */
static inline void cli_assert_fails(cli_result result, int status, const char *const *parts)
{
    if (result.status != status) {
        print_error("status %d, standard error \"%s\"\n", result.status, result.err);
    }
    assert_int_equal(result.status, status);
    assert_string_equal(result.out, "");
    cli_assert_one_line(result.err);
    for (; *parts != NULL; parts++) {
        cli_assert_holds(result.err, *parts);
    }
    cli_free(&result);
}

#define CLI_FAILS(status, result, ...)                                                             \
    cli_assert_fails(result, status, (const char *const[]){ __VA_ARGS__, NULL })

#endif

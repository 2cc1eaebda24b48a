/* SPDX-License-Identifier: Apache-2.0
 *
 * iviti-classify as a worker of an engine that hands out paths: thousands of lines in order and in
 * steady memory, slow readers, readers that leave, and paths that must not hold anybody up.
 */
#include "cli_run.h"

#include "cli_json.h"
#include "cli_model.h"

#include <fcntl.h>
#include <poll.h>
#include <time.h>

#define LINES 4000

/* A leak of a hundred bytes a line would be 73 pages of 4096; a sanitizer keeps what was freed. */
#if defined(__SANITIZE_ADDRESS__)
#define STEADY_PAGES 65536
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define STEADY_PAGES 65536
#endif
#endif
#ifndef STEADY_PAGES
#define STEADY_PAGES 32
#endif

/* A worker and our ends of its pipes. */
typedef struct pipes {
    pid_t child;
    int to;
    int from;
    char held[65536]; /* read and not yet looked at */
    size_t begin;
    size_t end;
} pipes;

static void start(pipes *p, const char *model, int output_flags)
{
    char *const argv[] = { (char *)(uintptr_t) "iviti-classify",
                           (char *)(uintptr_t) "--json",
                           (char *)(uintptr_t) "--threads=1",
                           (char *)(uintptr_t) "-k1",
                           (char *)(uintptr_t)model,
                           (char *)(uintptr_t) "-",
                           NULL };
    posix_spawn_file_actions_t actions;
    int to[2];
    int from[2];

    *p = (pipes){ 0 };
    assert_int_equal(pipe(to), 0);
    assert_int_equal(pipe(from), 0);
    assert_int_equal(fcntl(to[1], F_SETFD, FD_CLOEXEC), 0);
    assert_int_equal(fcntl(from[0], F_SETFD, FD_CLOEXEC), 0);
    assert_true(fcntl(from[1], F_SETFL, fcntl(from[1], F_GETFL) | output_flags) == 0);
    assert_true(fcntl(to[0], F_SETFL, fcntl(to[0], F_GETFL) | output_flags) == 0);
    assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
    assert_int_equal(posix_spawn_file_actions_adddup2(&actions, to[0], 0), 0);
    assert_int_equal(posix_spawn_file_actions_adddup2(&actions, from[1], 1), 0);
    assert_int_equal(posix_spawn_file_actions_addclose(&actions, to[0]), 0);
    assert_int_equal(posix_spawn_file_actions_addclose(&actions, from[1]), 0);
    assert_int_equal(
        posix_spawn(&p->child, cli_program("iviti-classify"), &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(to[0]);
    close(from[1]);
    p->to = to[1];
    p->from = from[0];
}

static void ask(const pipes *p, const char *path)
{
    char line[PATH_MAX + 1];
    const int length = snprintf(line, sizeof(line), "%s\n", path);

    assert_int_equal(write(p->to, line, (size_t)length), length);
}

static char next_byte(pipes *p)
{
    if (p->begin == p->end) {
        struct pollfd ready = { .fd = p->from, .events = POLLIN };
        assert_int_equal(poll(&ready, 1, 60000), 1);
        const ssize_t got = read(p->from, p->held, sizeof(p->held));
        assert_true(got > 0);
        p->begin = 0;
        p->end = (size_t)got;
    }
    return p->held[p->begin++];
}

/* The next line must be the answer to `path`: a class, or an error where `good` is false. */
static void answered(pipes *p, const char *path, bool good)
{
    char line[8192];
    size_t used = 0;

    do {
        assert_true(used + 1 < sizeof(line));
        line[used] = next_byte(p);
    } while (line[used++] != '\n');
    json_t *const object = json_loadb(line, used, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(object);
    assert_string_equal(cli_string(object, "image"), path);
    assert_int_equal(json_object_get(object, "top") != NULL, good);
    assert_int_equal(json_object_get(object, "error") != NULL, !good);
    json_decref(object);
}

static int ended(const pipes *p)
{
    int status = 0;

    assert_int_equal(waitpid(p->child, &status, 0), p->child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Pages in memory, or 0 where nobody tells. */
static long resident(pid_t child)
{
    char path[64];
    long total = 0;
    long pages = 0;

    snprintf(path, sizeof(path), "/proc/%ld/statm", (long)child);
    FILE *const file = fopen(path, "r");
    if (file == NULL || fscanf(file, "%ld %ld", &total, &pages) != 2) {
        pages = 0;
    }
    if (file != NULL) {
        fclose(file);
    }
    return pages;
}

static void thousands_of_lines_in_order_and_steady_memory(void **state)
{
    const char *const model = cli_write_model("model.gguf");
    const char *const paths[] = { cli_write_png("a.png", 33, 50, 1), cli_path("absent.png"),
                                  cli_write_png("b.png", 64, 20, 2),
                                  cli_write_text("text.jpg", "no picture"),
                                  cli_write_png("c.png", 160, 120, 3) };
    pipes p;
    long early = 0;

    (void)state;
    start(&p, model, 0);
    for (int i = 0; i < LINES; i++) {
        ask(&p, paths[i % 5]);
        answered(&p, paths[i % 5], i % 5 % 2 == 0);
        if (i == LINES / 4) {
            early = resident(p.child);
        }
    }
    const long late = resident(p.child);
    print_message("%ld pages after %d lines, %ld after %d\n", early, LINES / 4, late, LINES);
    assert_true(late <= early + STEADY_PAGES);
    close(p.to);
    close(p.from);
    assert_int_equal(ended(&p), 1); /* some pictures were bad */
}

/* Nobody reads for a while: the worker waits, loses nothing and does not grow. The second time its
 * streams are such that do not wait by themselves. */
static void slow_readers_are_waited_for(void **state)
{
    const char *const model = cli_write_model("model.gguf");
    const char *const good = cli_write_png("good.png", 33, 50, 2);
    const struct timespec pause = { 0, 20000000 };

    (void)state;
    for (int turn = 0; turn < 2; turn++) {
        pipes p;
        start(&p, model, turn == 0 ? 0 : O_NONBLOCK);
        nanosleep(&pause, NULL); /* an empty input that does not wait is not its end */
        for (int i = 0; i < 1000; i++) {
            ask(&p, good);
            if (i % 250 == 249) {
                nanosleep(&pause, NULL);
            }
        }
        nanosleep(&pause, NULL);
        for (int i = 0; i < 1000; i++) {
            answered(&p, good, true);
        }
        close(p.to);
        assert_int_equal(read(p.from, p.held, 1), 0);
        close(p.from);
        assert_int_equal(ended(&p), 0);
    }
}

static void a_reader_that_leaves_ends_it_quietly(void **state)
{
    const char *const model = cli_write_model("model.gguf");
    const char *const good = cli_write_png("good.png", 33, 50, 2);

    (void)state;
    cli_result result = cli_shell(
        "{ yes '%s' | { '%s' --json '%s' - ; echo $? >'%s'; } | head -n 3; } && cat '%s'", good,
        cli_program("iviti-classify"), model, cli_path("status"), cli_path("status"));
    size_t lines = 0;
    for (const char *c = result.out; *c != '\0'; c++) {
        lines += *c == '\n';
    }
    assert_int_equal(lines, 4);
    assert_int_equal(result.status, 0);
    assert_string_equal(result.err, "");
    assert_string_equal(result.out + result.out_length - 3, "\n0\n");
    cli_free(&result);

    /* Closed from the start is another matter: nothing can ever be delivered. */
    CLI_FAILS(
        1,
        cli_shell("echo '%s' | '%s' --json '%s' - >&-", good, cli_program("iviti-classify"), model),
        "cannot write to standard output");
}

/* What would be read for ever is refused in a list; on the command line a pipe is meant. */
static void pipes_and_devices_hold_nobody_up(void **state)
{
    const char *const model = cli_write_model("model.gguf");
    const char *const good = cli_write_png("good.png", 33, 50, 2);
    const char *const fifo = cli_path("fifo");
    const char *const paths[] = { fifo, "/dev/zero", "/dev/stdin", cli_folder };
    pipes p;

    (void)state;
    assert_int_equal(mkfifo(fifo, 0600), 0);
    start(&p, model, 0);
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        ask(&p, paths[i]);
        answered(&p, paths[i], false);
        ask(&p, good);
        answered(&p, good, true);
    }
    close(p.to);
    close(p.from);
    assert_int_equal(ended(&p), 1);

    cli_result result = cli_shell("cat '%s' >'%s' & '%s' -k1 '%s' '%s'; wait", good, fifo,
                                  cli_program("iviti-classify"), model, fifo);
    assert_int_equal(result.status, 0);
    cli_assert_holds(result.out, "%");
    cli_free(&result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thousands_of_lines_in_order_and_steady_memory),
        cmocka_unit_test(slow_readers_are_waited_for),
        cmocka_unit_test(a_reader_that_leaves_ends_it_quietly),
        cmocka_unit_test(pipes_and_devices_hold_nobody_up),
    };
    return cmocka_run_group_tests(tests, cli_setup, cli_teardown);
}

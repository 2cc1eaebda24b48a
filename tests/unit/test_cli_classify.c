/* SPDX-License-Identifier: Apache-2.0
 *
 * iviti-classify: what it prints is what the library computes, in the contract's form; bad pictures
 * stop nothing; as a worker it answers every line before it reads the next.
 */
#include "cli_run.h"

#include "cli_json.h"
#include "cli_model.h"

#include <poll.h>

#include "iviti/iviti.h"
#include "picture/picture.h"

#define CLASSES CLI_MODEL_CLASSES

/* The library's own answer for a picture. */
typedef struct answer {
    int32_t logits[CLASSES];
    iviti_class top[CLASSES];
    iviti_model_info info;
    char labels[CLASSES][64];
} answer;

static void compute(const char *model_path, const char *image_path, answer *out)
{
    iviti_model *model = NULL;
    iviti_session *session = NULL;
    picture image;
    size_t written = 0;

    assert_int_equal(iviti_model_load(model_path, NULL, &model), IVITI_OK);
    assert_int_equal(iviti_session_create(model, NULL, &session), IVITI_OK);
    assert_true(picture_load(image_path, &image, NULL));
    const iviti_image view = { image.pixels, image.width, image.height,
                               (ptrdiff_t)image.width * 3 };
    assert_int_equal(iviti_session_run(session, &view), IVITI_OK);
    assert_int_equal(iviti_session_top(session, CLASSES, out->top, &written), IVITI_OK);
    assert_int_equal(written, CLASSES);
    memcpy(out->logits, iviti_session_logits(session), sizeof(out->logits));
    iviti_model_describe(model, &out->info);
    for (uint32_t i = 0; i < CLASSES; i++) {
        snprintf(out->labels[i], sizeof(out->labels[i]), "%s", iviti_model_label(model, i));
    }
    picture_free(&image);
    iviti_session_free(session);
    iviti_model_free(model);
}

static void assert_top(json_t *object, const answer *wanted, size_t count)
{
    json_t *const top = json_object_get(object, "top");

    assert_true(json_is_array(top));
    assert_int_equal(json_array_size(top), count);
    for (size_t i = 0; i < count; i++) {
        json_t *const entry = json_array_get(top, i);
        CLI_KEYS(entry, "index", "label", "probability");
        assert_int_equal(cli_integer(entry, "index"), wanted->top[i].index);
        assert_string_equal(cli_string(entry, "label"), wanted->labels[wanted->top[i].index]);
        const double q16 = cli_number(entry, "probability") * 65536.0;
        assert_int_equal((long)(q16 + 0.5), wanted->top[i].probability);
    }
}

static void assert_logits(json_t *object, const answer *wanted)
{
    json_t *const logits = json_object_get(object, "logits");
    double scale = (double)wanted->info.logits_multiplier;

    assert_int_equal(json_array_size(logits), CLASSES);
    for (size_t i = 0; i < CLASSES; i++) {
        assert_int_equal(json_integer_value(json_array_get(logits, i)), wanted->logits[i]);
    }
    for (uint32_t i = 0; i < wanted->info.logits_shift; i++) {
        scale /= 2;
    }
    const double printed = cli_number(object, "logits_scale");
    assert_true(printed <= scale && printed >= scale);
}

static void json_is_what_the_library_says(void **state)
{
    const char *const model = cli_write_model("model.gguf");
    const char *const image = cli_write_png("a.png", 90, 61, 5);
    answer wanted;

    (void)state;
    compute(model, image, &wanted);
    cli_result result = CLI("iviti-classify", "--json", "-k", "3", model, image);
    json_t *object = cli_one_object(&result);
    assert_string_equal(result.err, "");
    CLI_KEYS(object, "image", "top", "ms");
    assert_string_equal(cli_string(object, "image"), image);
    assert_true(cli_number(object, "ms") > 0);
    assert_top(object, &wanted, 3);
    json_decref(object);
    cli_free(&result);

    result = CLI("iviti-classify", "--json", "--logits", model, image);
    object = cli_one_object(&result);
    CLI_KEYS(object, "image", "top", "ms", "logits", "logits_scale");
    assert_top(object, &wanted, CLASSES < 5 ? CLASSES : 5);
    assert_logits(object, &wanted);
    json_decref(object);
    cli_free(&result);

    /* more than there are: all of them */
    result = CLI("iviti-classify", "--json", "-k", "60000", model, image);
    object = cli_one_object(&result);
    assert_top(object, &wanted, CLASSES);
    json_decref(object);
    cli_free(&result);
}

static void threads_and_instruction_sets_change_nothing(void **state)
{
    const char *const model = cli_write_model("model.gguf");
    const char *const image = cli_write_png("a.png", 64, 80, 9);
    static const char *const variants[][2] = {
        { "--threads=1", "--isa=best" },
        { "--threads=2", "--isa=best" },
        { "--threads=7", "--isa=ref" },
        { "--threads=1", "--isa=ref" },
    };
    answer wanted;

    (void)state;
    compute(model, image, &wanted);
    for (size_t i = 0; i < sizeof(variants) / sizeof(variants[0]); i++) {
        cli_result result = CLI("iviti-classify", "--json", "--logits", variants[i][0],
                                variants[i][1], model, image);
        json_t *const object = cli_one_object(&result);
        assert_logits(object, &wanted);
        json_decref(object);
        cli_free(&result);
    }
}

static void people_see_names_and_percentages(void **state)
{
    const char *const model = cli_write_model("model.gguf");
    const char *const image = cli_write_png("a.png", 40, 40, 1);
    answer wanted;
    char line[128];

    (void)state;
    compute(model, image, &wanted);
    cli_result result = CLI("iviti-classify", "-k2", model, image);
    assert_int_equal(result.status, 0);
    assert_string_equal(result.err, "");
    assert_true(strncmp(result.out, image, strlen(image)) == 0);
    const char *at = strchr(result.out, '\n');
    assert_non_null(at);
    for (size_t i = 0; i < 2; i++) {
        snprintf(line, sizeof(line), "\n  %5.1f %%  %s",
                 (double)wanted.top[i].probability * 100 / 65536,
                 wanted.labels[wanted.top[i].index]);
        assert_true(strncmp(at, line, strlen(line)) == 0);
        at += strlen(line);
    }
    assert_string_equal(at, "\n");
    assert_null(strchr(result.out, '\033'));
    cli_free(&result);
}

/* Standard input and the command line meet the same good and bad pictures. */
static void bad_pictures_stop_nothing(void **state)
{
    const char *const model = cli_write_model("model.gguf");
    const char *const good = cli_write_png("good.png", 33, 50, 2);
    const char *const tiny = cli_write_png("tiny.png", 1, 1, 3);
    const char *const empty = cli_write("empty.png", "", 0);
    const char *const text = cli_write_text("text.jpg", "no picture");
    const char *const absent = cli_path("absent.png");
    const char *const images[] = { absent, good, cli_folder, empty, tiny, text, good };
    json_t *objects[CLI_MAX_LINES];
    char list[4096] = "";

    (void)state;
    for (size_t i = 0; i < sizeof(images) / sizeof(images[0]); i++) {
        strcat(strcat(list, images[i]), i % 2 == 0 ? "\n" : "\r\n");
    }
    cli_result results[] = {
        CLI("iviti-classify", "--json", model, images[0], images[1], images[2], images[3],
            images[4], images[5], images[6]),
        CLI_INPUT(list, "iviti-classify", "--json", model, "-"),
    };
    for (size_t run = 0; run < 2; run++) {
        assert_int_equal(results[run].status, 1);
        cli_assert_one_line(results[run].err);
        cli_assert_holds(results[run].err, "4 of 7 pictures");
        assert_int_equal(cli_objects(&results[run], objects), 7);
        for (size_t i = 0; i < 7; i++) {
            assert_string_equal(cli_string(objects[i], "image"), images[i]);
            if (images[i] == good || images[i] == tiny) {
                CLI_KEYS(objects[i], "image", "top", "ms");
            } else {
                CLI_KEYS(objects[i], "image", "error");
                cli_assert_holds(cli_string(objects[i], "error"), images[i]);
            }
            json_decref(objects[i]);
        }
        cli_free(&results[run]);
    }

    cli_result people = CLI("iviti-classify", model, absent, good);
    assert_int_equal(people.status, 1);
    cli_assert_holds(people.err, absent);
    assert_true(strncmp(people.out, good, strlen(good)) == 0);
    cli_free(&people);
    CLI_FAILS(1, CLI("iviti-classify", model, absent), absent);
    cli_result lenient = CLI("iviti-classify", "--lenient", "--json", model, absent, good);
    assert_int_equal(lenient.status, 0);
    cli_assert_holds(lenient.out, "\"error\"");
    cli_assert_holds(lenient.err, "1 of 2 pictures");
    cli_free(&lenient);
    CLI_FAILS(1, CLI("iviti-classify", "--lenient", absent, good), absent);
    CLI_FAILS(1, CLI("iviti-classify", model, cli_folder), cli_folder);
}

static void every_line_has_an_answer(void **state)
{
    const char *const model = cli_write_model("model.gguf");
    const char *const good = cli_write_png("good.png", 33, 50, 2);
    json_t *objects[CLI_MAX_LINES];
    const size_t longest = 100000;
    const size_t room = longest + 4096;
    char *const input = malloc(room);
    size_t used = 0;

    (void)state;
    assert_non_null(input);
    used += (size_t)snprintf(input, room, "\n%s\r\n", good);
    memset(input + used, 'y', longest);
    used += longest;
    used += (size_t)snprintf(input + used, room - used, "\nbad\xFF\xC3(\"name\"\n");
    memcpy(input + used, "cut\0off\n", 8);
    used += 8;
    used += (size_t)snprintf(input + used, room - used, "%s", good); /* no end of line */

    cli_result result = cli_run_with(input, used, "iviti-classify",
                                     (const char *const[]){ "--json", model, "-", NULL });
    assert_int_equal(result.status, 1);
    assert_int_equal(cli_objects(&result, objects), 6);
    CLI_KEYS(objects[0], "image", "error");
    cli_assert_holds(cli_string(objects[0], "error"), "line 1 of standard input is empty");
    CLI_KEYS(objects[1], "image", "top", "ms");
    assert_string_equal(cli_string(objects[1], "image"), good);
    cli_assert_holds(cli_string(objects[2], "error"), "line 3 of standard input is longer");
    assert_string_equal(cli_string(objects[3], "image"), "bad\xEF\xBF\xBD\xEF\xBF\xBD(\"name\"");
    CLI_KEYS(objects[3], "image", "error");
    cli_assert_holds(cli_string(objects[4], "error"), "line 5 of standard input holds a NUL");
    assert_string_equal(cli_string(objects[4], "image"), "cut");
    CLI_KEYS(objects[5], "image", "top", "ms");
    for (size_t i = 0; i < 6; i++) {
        json_decref(objects[i]);
    }
    cli_free(&result);
    free(input);

    result = CLI("iviti-classify", "--json", model, "-");
    assert_int_equal(result.status, 0);
    assert_string_equal(result.out, "");
    assert_string_equal(result.err, "");
    cli_free(&result);
}

/* Reads up to the end of a line, or fails after a while. */
static void read_line(int from, char *line, size_t bytes)
{
    size_t used = 0;

    do {
        struct pollfd ready = { .fd = from, .events = POLLIN };
        assert_int_equal(poll(&ready, 1, 60000), 1);
        assert_true(used + 1 < bytes);
        assert_int_equal(read(from, line + used, 1), 1);
    } while (line[used++] != '\n');
    line[used] = '\0';
}

/* A line is answered before the next is sent: nothing waits in a buffer. */
static void answers_come_at_once(void **state)
{
    const char *const model = cli_write_model("model.gguf");
    const char *const good = cli_write_png("good.png", 33, 50, 2);
    char *const argv[] = { (char *)(uintptr_t) "iviti-classify", (char *)(uintptr_t) "--json",
                           (char *)(uintptr_t)model, (char *)(uintptr_t) "-", NULL };
    posix_spawn_file_actions_t actions;
    int to[2];
    int from[2];
    pid_t child;
    int status = 0;
    char line[4096];
    char request[PATH_MAX + 2];

    (void)state;
    assert_int_equal(pipe(to), 0);
    assert_int_equal(pipe(from), 0);
    assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
    assert_int_equal(posix_spawn_file_actions_adddup2(&actions, to[0], 0), 0);
    assert_int_equal(posix_spawn_file_actions_adddup2(&actions, from[1], 1), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(posix_spawn_file_actions_addclose(&actions, to[i]), 0);
        assert_int_equal(posix_spawn_file_actions_addclose(&actions, from[i]), 0);
    }
    assert_int_equal(
        posix_spawn(&child, cli_program("iviti-classify"), &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(to[0]);
    close(from[1]);
    for (int i = 0; i < 3; i++) {
        const int length = snprintf(request, sizeof(request), "%s\n", good);
        assert_int_equal(write(to[1], request, (size_t)length), length);
        read_line(from[0], line, sizeof(line));
        json_t *const object = json_loads(line, 0, NULL);
        assert_non_null(object);
        assert_string_equal(cli_string(object, "image"), good);
        json_decref(object);
    }
    close(to[1]);
    assert_int_equal(read(from[0], line, 1), 0);
    close(from[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void a_full_disk_is_a_failure(void **state)
{
    const char *const model = cli_write_model("model.gguf");
    const char *const good = cli_write_png("good.png", 33, 50, 2);

    (void)state;
    if (access("/dev/full", W_OK) != 0) {
        print_message("skipped: no /dev/full here\n");
        skip();
    }
    CLI_FAILS(
        1,
        cli_shell("'%s' --json '%s' '%s' > /dev/full", cli_program("iviti-classify"), model, good),
        "cannot write to standard output");
    CLI_FAILS(1,
              cli_shell("'%s' '%s' '%s' '%s' > /dev/full", cli_program("iviti-classify"), model,
                        good, good),
              "cannot write to standard output");
}

static void a_foreign_instruction_set_is_refused(void **state)
{
    const char *const model = cli_write_model("model.gguf");
    const char *const name = iviti_isa_available(IVITI_ISA_NEON) ? "avx2" : "neon";

    (void)state;
    CLI_FAILS(1, CLI("iviti-classify", "--isa", name, model, "x.png"), "instruction set", name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_is_what_the_library_says),
        cmocka_unit_test(threads_and_instruction_sets_change_nothing),
        cmocka_unit_test(people_see_names_and_percentages),
        cmocka_unit_test(bad_pictures_stop_nothing),
        cmocka_unit_test(every_line_has_an_answer),
        cmocka_unit_test(answers_come_at_once),
        cmocka_unit_test(a_full_disk_is_a_failure),
        cmocka_unit_test(a_foreign_instruction_set_is_refused),
    };
    return cmocka_run_group_tests(tests, cli_setup, cli_teardown);
}

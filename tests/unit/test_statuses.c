/* SPDX-License-Identifier: Apache-2.0
 *
 * Every status of iviti.h is what some call really returns: the header is read, and each constant in it must
 * have a producer here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <ctype.h>
#include <cmocka.h>

#include "model_edit.h"
#include "model_toy.h"

static iviti_geometry geometry;
static model_fixture file;
static iviti_model *model;

static int set_up(void **state)
{
    (void)state;
    geometry = toy_geometry(FIXTURE_VIT_TABLE);
    file = fixture_build(&geometry, 1);
    return iviti_model_load_memory(file.image, file.size, NULL, &model) == IVITI_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    iviti_model_free(model);
    fixture_free(&file);
    return 0;
}

/* ---- files -------------------------------------------------------------------------------------- */

/* The file with `bytes` bytes changed at `at`. */
static iviti_status changed(size_t at, const void *bytes, size_t count, bool seal)
{
    model_fixture f = { malloc(file.size), file.size };
    memcpy(f.image, file.image, file.size);
    memcpy(f.image + at, bytes, count);
    if (seal)
        fixture_seal(f.image, f.size);
    const load_result r = edit_load(f.image, f.size, NULL);
    iviti_model_free(r.model);
    fixture_free(&f);
    assert_int_equal(r.status, r.logged);
    return r.status;
}

static iviti_status load_right(void)
{
    return changed(0, file.image, 1, false);
}

static iviti_status load_text(void)
{
    return changed(0, "text", 4, true);
}

static iviti_status load_half(void)
{
    const load_result r = edit_load(file.image, file.size / 2, NULL);
    return r.status;
}

static iviti_status load_wrong_type(void)
{
    return changed(edit_after(&file, "iviti.patch"), "\x05", 1, true);
}

static iviti_status load_unsealed(void)
{
    return changed(file.size - 1, "\x21", 1, false);
}

static iviti_status load_wrong_shift(void)
{
    return changed(edit_tensor(&file, &geometry, "embed.shift"), "\x3F", 1, true);
}

static iviti_status load_other_version(void)
{
    return changed(4, "\x02", 1, true);
}

static iviti_status load_other_architecture(void)
{
    return changed(edit_value(&file, "general.architecture") + 8, "llama", 5, true);
}

static iviti_status load_unknown_operator(void)
{
    return changed(edit_value(&file, "iviti.operators.norm") + 8, "exalt", 5, true);
}

static iviti_status load_within_little(void)
{
    return edit_load(file.image, file.size, &(iviti_load_options){ .max_memory = 1000 }).status;
}

static void *no_memory(void *user, size_t bytes)
{
    (void)user;
    (void)bytes;
    return NULL;
}

static void no_release(void *user, void *memory)
{
    (void)user;
    (void)memory;
}

static iviti_status load_without_memory(void)
{
    const iviti_load_options o = { .allocator = { no_memory, no_release, NULL } };
    return edit_load(file.image, file.size, &o).status;
}

static iviti_status load_no_file(void)
{
    iviti_model *none = NULL;
    const iviti_status status = iviti_model_load("no such folder/no such file", NULL, &none);
    assert_null(none);
    return status;
}

static iviti_status load_nothing(void)
{
    return iviti_model_load(NULL, NULL, NULL);
}

/* ---- sessions ----------------------------------------------------------------------------------- */

static iviti_session *session_of(unsigned threads)
{
    iviti_session *s = NULL;
    const iviti_session_options o = { .threads = threads };
    assert_int_equal(iviti_session_create(model, &o, &s), IVITI_OK);
    return s;
}

static iviti_status run_no_pixels(void)
{
    static const uint8_t pixel[3];
    iviti_session *const s = session_of(1);
    const iviti_status status = iviti_session_run(s, &(iviti_image){ pixel, 0, 1, 3 });
    iviti_session_free(s);
    return status;
}

static iviti_status create_in_too_little(void)
{
    static _Alignas(64) uint8_t memory[64];
    iviti_session *s = NULL;
    return iviti_session_create_in(memory, sizeof memory, model, NULL, &s);
}

static iviti_status ask_too_early(void)
{
    iviti_class top;
    iviti_session *const s = session_of(1);
    const iviti_status status = iviti_session_top(s, 1, &top, NULL);
    iviti_session_free(s);
    return status;
}

/* pthread_create of this program (see CMakeLists.txt), which may refuse. */
static int threads_left = -1;
int __real_pthread_create(void *, const void *, void *(*)(void *), void *);
int __wrap_pthread_create(void *, const void *, void *(*)(void *), void *);

int __wrap_pthread_create(void *thread, const void *attributes, void *(*run)(void *), void *argument)
{
    if (threads_left == 0)
        return 11; /* EAGAIN */
    if (threads_left > 0)
        threads_left--;
    return __real_pthread_create(thread, attributes, run, argument);
}

/* However many start before one does not: those end again. */
static iviti_status create_without_threads(void)
{
    iviti_status status = IVITI_ERROR_THREAD;
    for (int started = 0; started < 3 && status == IVITI_ERROR_THREAD; started++) {
        iviti_session *s = NULL;
        const iviti_session_options o = { .threads = 4 };
        threads_left = started;
        status = iviti_session_create(model, &o, &s);
        threads_left = -1;
        assert_null(s);
    }
    return status;
}

/* ---- the list ----------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    iviti_status status;
    iviti_status (*produce)(void);
} statuses[] = {
#define STATUS(name, produce) { #name, name, produce }
    STATUS(IVITI_OK, load_right),
    STATUS(IVITI_ERROR_ARGUMENT, load_nothing),
    STATUS(IVITI_ERROR_IMAGE_SIZE, run_no_pixels),
    STATUS(IVITI_ERROR_NOT_A_MODEL, load_text),
    STATUS(IVITI_ERROR_TRUNCATED, load_half),
    STATUS(IVITI_ERROR_CORRUPT, load_wrong_type),
    STATUS(IVITI_ERROR_CHECKSUM, load_unsealed),
    STATUS(IVITI_ERROR_RANGE, load_wrong_shift),
    STATUS(IVITI_ERROR_VERSION, load_other_version),
    STATUS(IVITI_ERROR_ARCHITECTURE, load_other_architecture),
    STATUS(IVITI_ERROR_UNSUPPORTED, load_unknown_operator),
    STATUS(IVITI_ERROR_LIMIT, load_within_little),
    STATUS(IVITI_ERROR_MEMORY, load_without_memory),
    STATUS(IVITI_ERROR_BUFFER, create_in_too_little),
    STATUS(IVITI_ERROR_IO, load_no_file),
    STATUS(IVITI_ERROR_STATE, ask_too_early),
    STATUS(IVITI_ERROR_THREAD, create_without_threads),
};

#define STATUSES (sizeof statuses / sizeof *statuses)

static void every_status_is_produced(void **state)
{
    (void)state;
    for (size_t i = 0; i < STATUSES; i++) {
        const iviti_status status = statuses[i].produce();
        if (status != statuses[i].status)
            fail_msg("%s was to come, %s came", statuses[i].name, iviti_status_name(status));
        assert_string_equal(iviti_status_name(status), statuses[i].name);
        assert_true(strlen(iviti_status_text(status)) > 3);
    }
}

/* Each constant of the header between `typedef enum iviti_status` and its end. */
static void every_status_is_in_the_list(void **state)
{
    char path[4096], line[256];
    const char *const source = getenv("IVITI_SOURCE");
    size_t found = 0;
    bool inside = false;
    (void)state;
    assert_non_null(source);
    snprintf(path, sizeof path, "%s/include/iviti/iviti.h", source);
    FILE *const header = fopen(path, "r");
    assert_non_null(header);
    while (fgets(line, sizeof line, header) != NULL) {
        inside = inside || strncmp(line, "typedef enum iviti_status", 25) == 0;
        const char *const name = strstr(line, "IVITI_");
        if (inside && name != NULL && strchr(line, '=') != NULL) {
            size_t length = 0, i = 0;
            while (isalnum((unsigned char)name[length]) || name[length] == '_')
                length++;
            while (i < STATUSES && !(strlen(statuses[i].name) == length &&
                                     strncmp(statuses[i].name, name, length) == 0))
                i++;
            if (i == STATUSES)
                fail_msg("no test produces %.*s", (int)length, name);
            found++;
        }
        if (inside && line[0] == '}')
            break;
    }
    fclose(header);
    assert_int_equal(found, STATUSES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_is_produced),
        cmocka_unit_test(every_status_is_in_the_list),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

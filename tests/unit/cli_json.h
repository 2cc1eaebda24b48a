/* SPDX-License-Identifier: Apache-2.0
 *
 * For the tests of the programs: looking into the JSON that they print. Included after cli_run.h.
 */
#ifndef CLI_JSON_H
#define CLI_JSON_H

#include <jansson.h>

#define CLI_MAX_LINES 64

/* The one line of JSON that a program printed, after it succeeded. */
static inline json_t *cli_one_object(const cli_result *result)
{
    json_error_t error;

    if (result->status != 0) {
        print_error("status %d, standard error \"%s\"\n", result->status, result->err);
    }
    assert_int_equal(result->status, 0);
    cli_assert_one_line(result->out);
    json_t *const object = json_loads(result->out, JSON_REJECT_DUPLICATES, &error);
    assert_non_null(object);
    assert_true(json_is_object(object));
    return object;
}

/* Every line as an object of its own; returns how many. */
static inline size_t cli_objects(const cli_result *result, json_t *objects[CLI_MAX_LINES])
{
    size_t count = 0;

    for (const char *at = result->out; *at != '\0';) {
        const size_t length = strcspn(at, "\n");
        assert_int_equal(at[length], '\n');
        assert_true(count < CLI_MAX_LINES);
        objects[count] = json_loadb(at, length, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(objects[count]);
        count++;
        at += length + 1;
    }
    return count;
}

/* Exactly these keys, in this order (NULL-terminated). */
static inline void cli_assert_keys(json_t *object, const char *const *keys)
{
    assert_true(json_is_object(object));
    for (void *at = json_object_iter(object); at != NULL; at = json_object_iter_next(object, at)) {
        if (*keys == NULL) {
            print_error("key \"%s\" is one too many\n", json_object_iter_key(at));
        }
        assert_non_null(*keys);
        assert_string_equal(json_object_iter_key(at), *keys);
        keys++;
    }
    assert_null(*keys);
}

#define CLI_KEYS(object, ...) cli_assert_keys(object, (const char *const[]){ __VA_ARGS__, NULL })

static inline json_int_t cli_integer(const json_t *object, const char *key)
{
    const json_t *const value = json_object_get(object, key);

    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

static inline double cli_number(const json_t *object, const char *key)
{
    const json_t *const value = json_object_get(object, key);

    assert_true(json_is_number(value));
    return json_number_value(value);
}

static inline const char *cli_string(const json_t *object, const char *key)
{
    const json_t *const value = json_object_get(object, key);

    assert_true(json_is_string(value));
    return json_string_value(value);
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * One model, eight threads: each loads nothing, has a session of its own, of several threads itself, and gets
 * the logits that a lone session gets. Built with -DIVITI_SANITIZE=thread this shows that they share nothing
 * that changes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "unit/model_fixture.h"

#define USERS    8
#define PICTURES 5
#define CLASSES  16
#define SIDE     23

static uint8_t pixels[PICTURES][SIDE * SIDE * 3];

typedef struct results {
    int32_t logits[PICTURES][CLASSES];
} results;

typedef struct user {
    const iviti_model *model;
    unsigned number;
    bool good;
    results results;
} user;

/* Every picture by a session of its own; says sentences to nobody and asserts nothing, since cmocka knows one
 * thread alone. */
static bool classify(const iviti_model *model, unsigned threads, results *r)
{
    iviti_model_info info;
    iviti_session *session = NULL;
    const iviti_session_options o = { .threads = threads };
    iviti_model_describe(model, &info);
    bool good = info.classes <= CLASSES &&
                iviti_session_create(model, &o, &session) == IVITI_OK;
    memset(r, 0, sizeof *r);
    for (size_t i = 0; i < PICTURES && good; i++) {
        const iviti_image image = { pixels[i], SIDE, SIDE, 3 * SIDE };
        iviti_class top;
        good = iviti_session_run(session, &image) == IVITI_OK &&
               iviti_session_top(session, 1, &top, NULL) == IVITI_OK &&
               iviti_model_label(model, top.index)[0] != 0;
        if (good)
            memcpy(r->logits[i], iviti_session_logits(session), info.classes * sizeof(int32_t));
    }
    iviti_session_free(session);
    return good;
}

static void *use(void *argument)
{
    user *const u = argument;
    u->good = true;
    for (unsigned round = 0; round < 1 && u->good; round++)
        u->good = classify(u->model, 1 + (u->number + round) % 3, &u->results);
    return NULL;
}

static void one_model_for_all(void **state)
{
    (void)state;
    for (size_t i = 0; i < PICTURES; i++)
        for (size_t k = 0; k < sizeof pixels[i]; k++)
            pixels[i][k] = (uint8_t)(k * (2 * i + 1) + k / 31);
    for (int kind = 0; kind < FIXTURE_KINDS; kind++) {
        const iviti_geometry g = fixture_geometry((fixture_kind)kind);
        model_fixture f = fixture_build(&g, 3);
        iviti_model *model = NULL;
        results alone;
        user users[USERS];
        pthread_t handles[USERS];
        assert_int_equal(iviti_model_load_memory(f.image, f.size, NULL, &model), IVITI_OK);
        assert_true(classify(model, 1, &alone));
        for (unsigned i = 0; i < USERS; i++) {
            users[i] = (user){ .model = model, .number = i };
            assert_int_equal(pthread_create(&handles[i], NULL, use, &users[i]), 0);
        }
        for (unsigned i = 0; i < USERS; i++) {
            assert_int_equal(pthread_join(handles[i], NULL), 0);
            assert_true(users[i].good);
            assert_memory_equal(&users[i].results, &alone, sizeof alone);
        }
        iviti_model_free(model);
        fixture_free(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(one_model_for_all) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions: the same bits whatever the instruction set, the number of threads, the buffer and the
 * order of runs; results against plain double precision; errors.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "iviti/iviti.h"
#include "unit/model_fixture.h"

static const iviti_isa sets[] = { IVITI_ISA_REF,        IVITI_ISA_AVX2, IVITI_ISA_AVXVNNI,
                                  IVITI_ISA_AVX512VNNI, IVITI_ISA_NEON, IVITI_ISA_DOTPROD,
                                  IVITI_ISA_I8MM };

static iviti_model *load(fixture_kind kind, uint64_t seed)
{
    const iviti_geometry g = fixture_geometry(kind);
    model_fixture f = fixture_build(&g, seed);
    iviti_model *model = NULL;
    assert_int_equal(iviti_model_load_memory(f.image, f.size, NULL, &model), IVITI_OK);
    fixture_free(&f);
    return model;
}

static uint8_t *random_pixels(uint32_t width, uint32_t height, uint64_t seed)
{
    uint8_t *pixels = malloc((size_t)width * height * 3);
    assert_non_null(pixels);
    for (size_t i = 0; i < (size_t)width * height * 3; i++)
        pixels[i] = (uint8_t)fixture_random(&seed);
    return pixels;
}

static int32_t *logits_of(const iviti_model *model, iviti_isa isa, unsigned threads,
                          const iviti_image *image)
{
    iviti_model_info info;
    iviti_session *session = NULL;
    iviti_model_describe(model, &info);
    assert_int_equal(iviti_session_create(model,
                                          &(iviti_session_options){ .isa = isa, .threads = threads },
                                          &session),
                     IVITI_OK);
    assert_int_equal(iviti_session_run(session, image), IVITI_OK);
    int32_t *copy = malloc(info.classes * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, iviti_session_logits(session), info.classes * sizeof *copy);
    iviti_session_free(session);
    return copy;
}

/* Reference in plain C on one thread, then everything else. */
static void same_bits_everywhere(void **state)
{
    (void)state;
    for (int kind = 0; kind < FIXTURE_KINDS; kind++)
        for (uint64_t seed = 1; seed <= 3; seed++) {
            iviti_model *model = load((fixture_kind)kind, seed);
            iviti_model_info info;
            iviti_model_describe(model, &info);
            uint8_t *pixels = random_pixels(61, 43, seed);
            const iviti_image image = { pixels, 61, 43, 61 * 3 };
            int32_t *expected = logits_of(model, IVITI_ISA_REF, 1, &image);

            bool varied = false; /* a network that answers a constant would prove nothing */
            for (uint32_t c = 1; c < info.classes; c++)
                varied |= expected[c] != expected[0];
            assert_true(varied);
            for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
                if (!iviti_isa_available(sets[i]))
                    continue;
                static const unsigned threads[] = { 1, 2, 7 };
                for (size_t t = 0; t < sizeof threads / sizeof *threads; t++) {
                    int32_t *logits = logits_of(model, sets[i], threads[t], &image);
                    assert_memory_equal(logits, expected, info.classes * sizeof *logits);
                    free(logits);
                }
            }
            free(expected);
            free(pixels);
            iviti_model_free(model);
        }
}

/* Three pictures together, then two, then one, against each by itself. */
static void batches_change_no_bit(void **state)
{
    (void)state;
    for (int kind = 0; kind < FIXTURE_KINDS; kind++) {
        iviti_model *model = load((fixture_kind)kind, 4);
        iviti_model_info info;
        iviti_model_describe(model, &info);
        iviti_image images[3];
        int32_t *expected[3];
        for (uint32_t i = 0; i < 3; i++) {
            const uint32_t width = 20 + 13 * i;
            images[i] = (iviti_image){ random_pixels(width, 30, i + 1), width, 30,
                                       (ptrdiff_t)width * 3 };
            expected[i] = logits_of(model, IVITI_ISA_REF, 1, &images[i]);
        }
        for (unsigned threads = 1; threads <= 5; threads++) {
            const iviti_session_options options = { .threads = threads, .batch = 3 };
            iviti_session *session = NULL;
            iviti_class one;
            assert_int_equal(iviti_session_create(model, &options, &session), IVITI_OK);
            for (size_t count = 3; count > 0; count--) {
                assert_int_equal(iviti_session_run_batch(session, images, count), IVITI_OK);
                assert_int_equal(iviti_session_count(session), count);
                const int32_t *logits = iviti_session_logits(session);
                for (size_t i = 0; i < count; i++) {
                    assert_memory_equal(logits + i * info.classes, expected[i],
                                        info.classes * sizeof *logits);
                    assert_int_equal(iviti_session_top_of(session, i, 1, &one, NULL), IVITI_OK);
                    assert_int_equal(one.logit, expected[i][one.index]);
                }
                assert_int_equal(iviti_session_top_of(session, count, 1, &one, NULL),
                                 IVITI_ERROR_ARGUMENT);
            }
            assert_int_equal(iviti_session_run_batch(session, images, 4), IVITI_ERROR_ARGUMENT);
            assert_int_equal(iviti_session_run_batch(session, images, 0), IVITI_ERROR_ARGUMENT);
            const iviti_image broken[2] = { images[1], { images[1].pixels, 0, 1, 3 } };
            assert_int_equal(iviti_session_run_batch(session, broken, 2), IVITI_ERROR_IMAGE_SIZE);
            assert_int_equal(iviti_session_count(session), 1); /* the last run's results stay */
            assert_memory_equal(iviti_session_logits(session), expected[0],
                                info.classes * sizeof *expected[0]);
            iviti_session_free(session);
        }
        for (int i = 0; i < 3; i++) {
            free((void *)(uintptr_t)images[i].pixels);
            free(expected[i]);
        }
        iviti_model_free(model);
    }
}

/* A session must not remember: A, B, A gives A's logits again, also in the caller's memory. */
static void runs_are_independent(void **state)
{
    (void)state;
    for (int kind = 0; kind < FIXTURE_KINDS; kind++) {
        iviti_model *model = load((fixture_kind)kind, 5);
        iviti_model_info info;
        iviti_model_describe(model, &info);
        uint8_t *a = random_pixels(info.image_width, info.image_height, 1);
        uint8_t *b = random_pixels(100, 30, 2);
        const iviti_image first = { a, info.image_width, info.image_height,
                                    (ptrdiff_t)info.image_width * 3 };
        const iviti_image second = { b, 100, 30, 300 };
        int32_t *expected = logits_of(model, IVITI_ISA_BEST, 1, &first);

        const iviti_session_options options = { .threads = 2 };
        const size_t bytes = iviti_session_bytes(model, &options);
        assert_true(bytes > 0);
        uint8_t *block = malloc(bytes + 64);
        assert_non_null(block);
        uint8_t *memory = block + (64 - (uintptr_t)block % 64);
        iviti_session *session = NULL;
        assert_int_equal(
            iviti_session_create_in(memory, bytes - 1, model, &options, &session),
            IVITI_ERROR_BUFFER);
        assert_null(session);
        assert_int_equal(iviti_session_create_in(memory, bytes, model, &options, &session),
                         IVITI_OK);
        for (int run = 0; run < 5; run++) {
            assert_int_equal(iviti_session_run(session, run & 1 ? &second : &first), IVITI_OK);
            const bool same = !memcmp(iviti_session_logits(session), expected,
                                      info.classes * sizeof *expected);
            assert_int_equal(same, !(run & 1));
        }
        /* What a run made of a picture, given as pixels, is the same run. */
        const size_t row = (size_t)info.image_width * 3;
        assert_memory_equal(iviti_session_logits(session), expected,
                            info.classes * sizeof *expected);
        memcpy(a, iviti_session_pixels(session), row * info.image_height);
        assert_int_equal(iviti_session_run(session, &second), IVITI_OK);
        assert_int_equal(iviti_session_run_pixels(session, &first), IVITI_OK);
        assert_memory_equal(iviti_session_logits(session), expected,
                            info.classes * sizeof *expected);
        iviti_session_free(session);
        free(block);
        free(expected);
        free(a);
        free(b);
        iviti_model_free(model);
    }
}

/* The probabilities are those of a softmax, whatever a step of the logits is worth. */
static void check_probabilities(uint32_t logits_shift)
{
    iviti_geometry g = fixture_geometry(FIXTURE_VIT_TABLE);
    g.logits_shift = logits_shift;
    model_fixture f = fixture_build(&g, 9);
    iviti_model *model = NULL;
    iviti_model_info info;
    iviti_session *session = NULL;
    iviti_class top[64];
    size_t written;
    assert_int_equal(iviti_model_load_memory(f.image, f.size, NULL, &model), IVITI_OK);
    fixture_free(&f);
    iviti_model_describe(model, &info);
    assert_int_equal(iviti_session_create(model, NULL, &session), IVITI_OK);
    uint8_t *pixels = random_pixels(20, 20, 4);
    assert_int_equal(iviti_session_run(session, &(iviti_image){ pixels, 20, 20, 60 }), IVITI_OK);
    assert_int_equal(iviti_session_top(session, 64, top, &written), IVITI_OK);
    assert_int_equal(written, info.classes);

    const int32_t *logits = iviti_session_logits(session);
    const double scale = ldexp(info.logits_multiplier, -(int)info.logits_shift);
    double sum = 0;
    for (uint32_t c = 0; c < info.classes; c++)
        sum += exp((logits[c] - top[0].logit) * scale);
    for (size_t i = 0; i < written; i++) {
        assert_int_equal(top[i].logit, logits[top[i].index]);
        if (i)
            assert_true(top[i - 1].logit > top[i].logit ||
                        (top[i - 1].logit == top[i].logit && top[i - 1].index < top[i].index));
        const double p = exp((top[i].logit - top[0].logit) * scale) / sum;
        assert_true(fabs(top[i].probability / 65536.0 - p) <= 1.5e-4 * p + 1.0 / 65536);
    }
    free(pixels);
    iviti_session_free(session);
    iviti_model_free(model);
}

static void top_orders_and_normalises(void **state)
{
    (void)state;
    for (uint32_t shift = 1; shift <= 62; shift++)
        check_probabilities(shift);
}

static void top_writes_what_there_is(void **state)
{
    (void)state;
    iviti_model *model = load(FIXTURE_VIT_TABLE, 9);
    iviti_model_info info;
    iviti_session *session = NULL;
    iviti_class top[64];
    size_t written = 77;
    iviti_model_describe(model, &info);
    assert_true(info.classes < 64);
    assert_int_equal(iviti_session_create(model, NULL, &session), IVITI_OK);
    assert_int_equal(iviti_session_top(session, 5, top, &written), IVITI_ERROR_STATE);
    assert_int_equal(written, 77);
    assert_null(iviti_session_logits(session));
    assert_null(iviti_session_features(session));
    assert_null(iviti_session_pixels(session));

    uint8_t *pixels = random_pixels(20, 20, 4);
    assert_int_equal(iviti_session_run(session, &(iviti_image){ pixels, 20, 20, 60 }), IVITI_OK);
    assert_int_equal(iviti_session_top(session, 64, top, &written), IVITI_OK);
    assert_int_equal(written, info.classes);
    assert_int_equal(iviti_session_top(session, 2, top, &written), IVITI_OK);
    assert_int_equal(written, 2);
    assert_int_equal(iviti_session_top(session, 0, NULL, &written), IVITI_OK);
    assert_int_equal(written, 0);
    free(pixels);
    iviti_session_free(session);
    iviti_model_free(model);
}

static int log_calls;
static char log_text[1024];

static void keep_log(void *user, iviti_status status, const char *message)
{
    (void)user, (void)status;
    log_calls++;
    snprintf(log_text, sizeof log_text, "%s", message);
}

static void *no_memory(void *user, size_t bytes)
{
    (void)user, (void)bytes;
    return NULL;
}

static void no_release(void *user, void *memory)
{
    (void)user, (void)memory;
}

static void errors_are_told(void **state)
{
    (void)state;
    iviti_model *model = load(FIXTURE_SWIN_TABLE, 3);
    iviti_session *session = NULL;
    iviti_session_options options = { .log = { keep_log, NULL } };

    options.threads = 65;
    assert_int_equal(iviti_session_bytes(model, &options), 0);
    assert_int_equal(iviti_session_create(model, &options, &session), IVITI_ERROR_ARGUMENT);
    assert_non_null(strstr(log_text, "65"));
    options.threads = 1;
    options.batch = 65;
    assert_int_equal(iviti_session_create(model, &options, &session), IVITI_ERROR_ARGUMENT);
    options.batch = 1;
    options.isa = iviti_isa_available(IVITI_ISA_NEON) ? IVITI_ISA_AVX2 : IVITI_ISA_NEON;
    assert_int_equal(iviti_session_create(model, &options, &session), IVITI_ERROR_UNSUPPORTED);
    options.isa = IVITI_ISA_BEST;
    options.max_memory = 1000;
    assert_int_equal(iviti_session_create(model, &options, &session), IVITI_ERROR_LIMIT);
    assert_non_null(strstr(log_text, "1000"));
    options.max_memory = 0;
    options.allocator = (iviti_allocator){ no_memory, no_release, NULL };
    assert_int_equal(iviti_session_create(model, &options, &session), IVITI_ERROR_MEMORY);
    options.allocator = (iviti_allocator){ no_memory, NULL, NULL };
    assert_int_equal(iviti_session_create(model, &options, &session), IVITI_ERROR_ARGUMENT);
    options.allocator = (iviti_allocator){ 0 };
    assert_int_equal(log_calls, 6);
    assert_null(session);
    assert_int_equal(iviti_session_create(NULL, &options, &session), IVITI_ERROR_ARGUMENT);
    assert_int_equal(iviti_session_create(model, &options, NULL), IVITI_ERROR_ARGUMENT);

    assert_int_equal(iviti_session_create(model, &options, &session), IVITI_OK);
    uint8_t pixel[3] = { 1, 2, 3 };
    assert_int_equal(iviti_session_run(session, NULL), IVITI_ERROR_ARGUMENT);
    assert_int_equal(iviti_session_run(session, &(iviti_image){ NULL, 1, 1, 3 }),
                     IVITI_ERROR_ARGUMENT);
    assert_int_equal(iviti_session_run(session, &(iviti_image){ pixel, 0, 1, 3 }),
                     IVITI_ERROR_IMAGE_SIZE);
    assert_int_equal(iviti_session_run(session, &(iviti_image){ pixel, 65536, 1, 3 * 65536 }),
                     IVITI_ERROR_IMAGE_SIZE);
    assert_int_equal(iviti_session_run_pixels(session, &(iviti_image){ pixel, 1, 1, 3 }),
                     IVITI_ERROR_IMAGE_SIZE);
    assert_null(iviti_session_logits(session));
    assert_int_equal(iviti_session_run(session, &(iviti_image){ pixel, 1, 1, 3 }), IVITI_OK);
    assert_non_null(iviti_session_logits(session));
    iviti_session_free(session);
    iviti_session_free(NULL);
    iviti_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bits_everywhere),
        cmocka_unit_test(batches_change_no_bit),
        cmocka_unit_test(runs_are_independent),
        cmocka_unit_test(top_orders_and_normalises),
        cmocka_unit_test(top_writes_what_there_is),
        cmocka_unit_test(errors_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

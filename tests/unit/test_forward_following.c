/* SPDX-License-Identifier: Apache-2.0
 *
 * A float DynamicViT that goes on with patches which others chose, for judging predictors one by
 * one.
 */
#include "cli_run.h"

#include "network/dialect.h"
#include "network/forward.h"

#define PICTURES 2
#define PATCHES  49
#define CLASSES  10

typedef struct pass {
    float logits[PICTURES * CLASSES];
    uint32_t kept[PICTURES * 3 * PATCHES];
} pass;

static network *dynamic_vit(void)
{
    const network_options options = {
        .heads = 2, .base_rate = 0.7, .prune_at = { 1, 2, 3 }, .prune_at_count = 3
    };
    const char *const path = cli_path("dynamic.safetensors");
    cli_result result = CLI("tests/make-checkpoint", "--image=112", "--dim=128", "--depth=4",
                            "--heads=2", "--predictors=3", "--classes=10", "-o", path);
    checkpoint *c = NULL;
    network *n = NULL;
    report r = { "" };
    assert_int_equal(result.status, 0);
    cli_free(&result);
    if (!checkpoint_open(path, &c, &r) || !network_from_checkpoint(c, &options, &n, &r))
        fail_msg("%s", r.text);
    checkpoint_close(c);
    return n;
}

static uint8_t *draw(const network *n)
{
    const size_t bytes = (size_t)PICTURES * n->geometry.image_width * n->geometry.image_height * 3;
    uint8_t *const pixels = malloc(bytes);
    uint32_t state = 1;
    assert_non_null(pixels);
    for (size_t i = 0; i < bytes; i++) {
        state = state * 1664525 + 1013904223;
        pixels[i] = (uint8_t)(state >> 24);
    }
    return pixels;
}

static void follow(const network *n, const uint8_t *pixels, const uint32_t *patches, pass *out)
{
    report r = { "" };
    if (!network_forward_following(n, pixels, PICTURES, 2, patches, out->logits, out->kept, &r))
        fail_msg("%s", r.text);
}

static bool holds(const uint32_t *list, size_t count, uint32_t value)
{
    for (size_t i = 0; i < count; i++)
        if (list[i] == value)
            return true;
    return false;
}

/* Following its own choice is what it does anyway. */
static void its_own_choice(void **state)
{
    (void)state;
    static pass own, followed;
    network *const n = dynamic_vit();
    uint8_t *const pixels = draw(n);
    report r = { "" };
    const size_t numbers = PICTURES * network_kept_numbers(n);
    if (!network_forward_kept(n, pixels, PICTURES, 1, own.logits, own.kept, &r))
        fail_msg("%s", r.text);
    follow(n, pixels, own.kept, &followed);
    assert_memory_equal(followed.logits, own.logits, sizeof own.logits);
    assert_memory_equal(followed.kept, own.kept, numbers * sizeof *own.kept);
    free(pixels);
    network_free(n);
}

/* Others' patches: the first stage chooses as ever, later ones among what they are given. */
static void the_choice_of_others(void **state)
{
    (void)state;
    static pass own, followed;
    static uint32_t first[PICTURES * 3 * PATCHES];
    network *const n = dynamic_vit();
    uint8_t *const pixels = draw(n);
    const uint32_t *const kept = n->geometry.prune.kept;
    const size_t numbers = network_kept_numbers(n);
    report r = { "" };
    for (size_t i = 0, at = 0; i < PICTURES; i++)
        for (size_t stage = 0; stage < 3; stage++)
            for (uint32_t k = 0; k < kept[stage]; k++)
                first[at++] = k; /* the first so many patches */
    if (!network_forward_kept(n, pixels, PICTURES, 1, own.logits, own.kept, &r))
        fail_msg("%s", r.text);
    follow(n, pixels, first, &followed);
    for (size_t i = 0; i < PICTURES; i++) {
        const uint32_t *mine = followed.kept + i * numbers;
        assert_memory_equal(mine, own.kept + i * numbers, kept[0] * sizeof *mine);
        for (size_t stage = 1; stage < 3; stage++) {
            mine += kept[stage - 1];
            for (uint32_t k = 0; k < kept[stage]; k++) {
                assert_true(holds(first, kept[stage - 1], mine[k]));
                assert_true(k == 0 || mine[k] > mine[k - 1]);
            }
        }
    }
    assert_memory_not_equal(followed.logits, own.logits, sizeof own.logits);
    free(pixels);
    network_free(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_own_choice),
        cmocka_unit_test(the_choice_of_others),
    };
    return cmocka_run_group_tests(tests, cli_setup, cli_teardown);
}

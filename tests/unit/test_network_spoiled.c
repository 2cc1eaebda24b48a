/* SPDX-License-Identifier: Apache-2.0
 *
 * Checkpoints spoiled at random, within what a checkpoint reader lets through: each is either
 * mapped or refused with a sentence, and nothing is read or written where it should not be.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "network/dialect.h"
#include "network_toy.h"

static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

/* Another shape of the same number of elements. */
static void reshape(checkpoint_tensor *t, uint64_t *random)
{
    uint64_t rest = t->count;
    t->rank = next_random(random) % (CHECKPOINT_MAX_RANK + 1);
    for (uint32_t i = 0; i < t->rank; i++) {
        uint64_t part = next_random(random) % 64 + 1;
        while (rest % part != 0)
            part--;
        t->shape[i] = i + 1 < t->rank ? part : rest;
        rest /= part;
    }
    if (t->rank == 0)
        t->count = 1;
}

/* Fewer elements; the data stay as they are. */
static void shorten(checkpoint_tensor *t, uint64_t *random)
{
    if (t->rank == 0)
        return;
    uint64_t *const side = &t->shape[next_random(random) % t->rank];
    *side = *side == 0 ? 0 : next_random(random) % *side;
    t->count = 1;
    for (uint32_t i = 0; i < t->rank; i++)
        t->count *= t->shape[i];
}

static void spoil(toy *t, uint64_t *random)
{
    const size_t a = next_random(random) % t->c.count, b = next_random(random) % t->c.count;
    checkpoint_tensor *const tensor = &t->tensor[a];
    char *const name = t->name[a];
    switch (next_random(random) % 6) {
    case 0:
        reshape(tensor, random);
        break;
    case 1:
        shorten(tensor, random);
        break;
    case 2:
        tensor->type = next_random(random) % 2 ? CHECKPOINT_F16 : CHECKPOINT_I16;
        break;
    case 3: /* an unused name */
        snprintf(name, TOY_NAME, "spare.%zu", a);
        break;
    case 4: /* the data of another tensor under this name */
        if (t->tensor[b].type == CHECKPOINT_F32 && tensor->type == CHECKPOINT_F32) {
            const checkpoint_tensor other = t->tensor[b];
            t->tensor[b].data = tensor->data, t->tensor[b].count = tensor->count;
            t->tensor[b].rank = tensor->rank;
            memcpy(t->tensor[b].shape, tensor->shape, sizeof tensor->shape);
            tensor->data = other.data, tensor->count = other.count, tensor->rank = other.rank;
            memcpy(tensor->shape, other.shape, sizeof other.shape);
        }
        break;
    default: /* another character */
        name[next_random(random) % strlen(name)] = (char)(' ' + next_random(random) % 95);
        break;
    }
}

static toy *fresh(uint32_t kind)
{
    toy_vit v = { 16, 8, 2, 2, 2, 3, kind == 1, kind == 2, kind == 2 };
    const toy_swin s = { 8, 2, { 1, 2 }, { 1, 2 }, 2, 2, 2, 3 };
    if (kind < 3)
        return toy_timm_vit(&v, "", "ls1.gamma", "ls2.gamma");
    return toy_microsoft_swin(&s, kind - 3, kind == 3 ? "head" : "head.fc");
}

static void spoiled_checkpoints_are_mapped_or_refused(void **state)
{
    (void)state;
    uint64_t random = 20240917;
    size_t mapped = 0, refused = 0;
    for (uint32_t i = 0; i < 4000; i++) {
        toy *const t = fresh(i % 5);
        const uint32_t times = next_random(&random) % 3;
        const network_options options = { .heads = i % 5 < 3 ? 2 : 0,
                                          .image = next_random(&random) % 2 * 8 + 8 };
        for (uint32_t k = 0; k < times; k++)
            spoil(t, &random);
        report r = { "" };
        network *n = NULL;
        if (network_from_checkpoint(toy_finish(t), &options, &n, &r)) {
            assert_non_null(n);
            assert_true(n->geometry.depth >= 1);
            mapped++;
        } else {
            assert_null(n);
            assert_true(strlen(r.text) > 10);
            refused++;
        }
        network_free(n);
        toy_free(t);
    }
    /* the test would prove little if everything ended the same way */
    assert_true(mapped > 500);
    assert_true(refused > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spoiled_checkpoints_are_mapped_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

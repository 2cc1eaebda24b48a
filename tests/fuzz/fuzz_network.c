/* SPDX-License-Identifier: Apache-2.0
 *
 * Checkpoints in anybody's naming to the canonical network: names, shapes and values are the file's.
 */
#include "fuzz_checkpoint.h"

#include "network/dialect.h"

static void check_values(const float *values, size_t count, double *sum)
{
    for (size_t i = 0; i < count; i++)
        *sum += values[i] > 0 ? 1.0 : 0.0;
}

static void map(const checkpoint *c, const network_options *options)
{
    network *n = NULL;
    report r = { "" };
    if (!network_from_checkpoint(c, options, &n, &r)) {
        FUZZ_PROMISE(n == NULL && r.text[0] != 0);
        return;
    }
    FUZZ_PROMISE(n != NULL);
    const iviti_stage *const first = &n->geometry.stage[0];
    const iviti_stage *const last = &n->geometry.stage[n->geometry.stages - 1];
    double sum = 0;
    check_values(n->embed.weight, (size_t)first->dim * iviti_embed_inputs(&n->geometry), &sum);
    check_values(n->blocks[0].qkv.weight, (size_t)3 * first->dim * first->dim, &sum);
    check_values(n->blocks[n->geometry.depth - 1].fc2.weight, (size_t)last->dim * last->hidden, &sum);
    check_values(n->head.weight, (size_t)n->geometry.classes * n->geometry.features, &sum);
    FUZZ_PROMISE(sum >= 0);
    network_free(n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    checkpoint *const c = fuzz_parse(data, size);
    if (c == NULL)
        return 0;
    map(c, NULL);
    map(c, &(network_options){ .heads = 2, .image = 8 }); /* what the file does not tell */
    (void)network_is_ivit(c);
    checkpoint_close(c);
    return 0;
}

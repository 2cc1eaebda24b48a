/* SPDX-License-Identifier: Apache-2.0
 *
 * LV-ViT's second head, on the patches: a norm of its own constants, since patches have other
 * ranges than the class token, and logits at the scale of the first head, to which the largest are
 * added.
 */
#include "quantize/dyadic.h"
#include "quantize/quantizer.h"

/* Row t of each picture from `first` on, put together. */
static float *take_rows(quantizer *q, const float *x, size_t tokens, size_t first, size_t count)
{
    const size_t dim = q->source->geometry.stage[0].dim;
    float *rows = ARENA_TAKE(&q->scratch, float, q->pictures *count *dim);
    for (size_t i = 0; i < q->pictures * count * dim && rows; i++) {
        const size_t picture = i / (count * dim);
        rows[i] = x[(picture * tokens + first) * dim + i % (count * dim)];
    }
    return rows;
}

float *quantizer_prefix_rows(quantizer *q, const float *normed, size_t tokens)
{
    return take_rows(q, normed, tokens, 0, q->source->geometry.prefix_tokens);
}

bool quantizer_patches_inputs(quantizer *q, const float *normed, size_t tokens, patches_inputs *out)
{
    const network *n = q->source;
    const size_t prefix = n->geometry.prefix_tokens, dim = n->geometry.stage[0].dim;
    out->rows = q->pictures * (tokens - prefix);
    out->x = take_rows(q, normed, tokens, prefix, tokens - prefix);
    if (out->x)
        out->code = code_per_channel(&q->scratch, out->x, out->rows, dim, n->norm.gain, 8,
                                     q->options->method);
    return !q->scratch.failed || report_fail(q->r, "patches.norm: out of memory");
}

bool quantize_patches_head(quantizer *q, const patches_inputs *in)
{
    const network *n = q->source;
    const iviti_geometry *g = &q->out->geometry;
    const iviti_dyadic scale = { (int32_t)g->logits_multiplier, (int32_t)g->logits_shift };
    const dense_fit fit = { .method = q->options->method, .bits = 8 };
    code out = code_new(&q->scratch, g->classes);

    if (q->scratch.failed)
        return report_fail(q->r, "patches.head: out of memory");
    for (size_t o = 0; o < g->classes; o++)
        out.scale[o] = dyadic_to_real(scale);
    if (!quantize_norm(q->memory, "patches.norm", &n->norm, n->epsilon, q->stream_scale[0],
                       g->norm_kind, &in->code, &q->out->patches_norm, q->r) ||
        !quantize_dense(q->memory, "patches.head", n->patches_head.weight, n->patches_head.bias,
                        g->classes, &in->code, &out, false, &fit, &q->out->patches_head, q->r))
        return false;
    quantizer_note(q, "patches.head", &q->out->patches_head, &n->patches_head, &in->code, &out,
                   in->x, in->rows);
    return true;
}

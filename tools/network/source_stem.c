/* SPDX-License-Identifier: Apache-2.0
 *
 * What a checkpoint tells of the convolutions before its patches: windows and channels, but neither
 * strides nor padding. Padding is what keeps a map's size but for the stride, as in every published
 * stem. Strides are 2 where the channels change, which fits LV-ViT and the early convolutions of
 * Xiao et al.; the number of patches then says whether that was right, or the caller does.
 */
#include "network/source_shape.h"

/* LV-ViT's rules besides the stem. The published networks divide their residual branches by 2, but
 * for the smallest (width 240) and the largest (128 channels in the stem). */
static void measure_lvvit(source *s, const network_options *options)
{
    iviti_geometry *g = &s->geometry;
    const double published = g->stage[0].dim == 240 ? 1 : g->convolution[0].channels == 128 ? 3 : 2;
    s->skip = options->skip > 0 ? options->skip : published;
    g->token_head = s->once[MODULE_HEAD_PATCHES].weight != NULL;
    source_note(s, "Residual branches are divided by %g, as in LV-ViT of that width.", s->skip);
}

/* Window and channels of convolution i; `before` channels enter it. */
static bool measure_convolution(source *s, uint32_t i, uint32_t before, report *r)
{
    iviti_convolution *c = &s->geometry.convolution[i];
    const source_layer *layers = s->stem[i];
    const checkpoint_tensor *weight = layers[MODULE_STEM].weight;
    char text[SHAPE_TEXT];
    shape_text(weight, text);
    if (weight->rank != 4 || weight->shape[1] != before || weight->shape[2] != weight->shape[3] ||
        weight->shape[2] % 2 == 0 || weight->shape[2] > IVITI_MAX_KERNEL || weight->shape[0] == 0 ||
        weight->shape[0] > IVITI_MAX_DIM)
        return report_fail(r,
                           "%s: tensor %s has the shape %s where a square window of an odd side up "
                           "to %d over %u channels is needed",
                           s->c->file, weight->name, text, IVITI_MAX_KERNEL, (unsigned)before);
    c->channels = (uint32_t)weight->shape[0];
    c->kernel = (uint32_t)weight->shape[2];
    c->padding = (c->kernel - 1) / 2;
    const checkpoint_tensor *vectors[] = {
        layers[MODULE_STEM].bias, layers[MODULE_STEM_NORM].weight, layers[MODULE_STEM_NORM].bias,
        layers[MODULE_STEM_MEAN].weight, layers[MODULE_STEM_VARIANCE].weight
    };
    for (size_t k = 0; k < sizeof vectors / sizeof *vectors; k++)
        if (vectors[k] != NULL && (vectors[k]->rank != 1 || vectors[k]->shape[0] != c->channels)) {
            shape_text(vectors[k], text);
            return report_fail(r, "%s: tensor %s has the shape %s where %u values are needed",
                               s->c->file, vectors[k]->name, text, (unsigned)c->channels);
        }
    return true;
}

bool source_measure_stem(source *s, const network_options *options, report *r)
{
    iviti_geometry *g = &s->geometry;
    uint32_t before = 3;
    g->embed_side = g->patch;
    if (g->convolutions == 0) {
        if (options->strides != 0 || options->skip > 0)
            return report_fail(
                r, "%s: has no convolutions before the patches, so that %s has no meaning",
                s->c->file, options->strides != 0 ? "--stem-strides" : "--skip");
        return true;
    }
    if (options->strides != 0 && options->strides != g->convolutions)
        return report_fail(r,
                           "%s: has %u convolutions before the patches, but %u strides are given",
                           s->c->file, (unsigned)g->convolutions, (unsigned)options->strides);
    for (uint32_t i = 0; i < g->convolutions; i++) {
        iviti_convolution *c = &g->convolution[i];
        if (!measure_convolution(s, i, before, r))
            return false;
        const uint32_t inferred = i == 0 || c->channels != before ? 2 : 1;
        c->stride = options->strides != 0 ? options->stride[i] : inferred;
        before = c->channels;
        g->patch *= c->stride;
        if (g->patch > IVITI_MAX_PATCH)
            return report_fail(
                r, "%s: strides and embedding make patches of %u pixels; the limit is %d",
                s->c->file, (unsigned)g->patch, IVITI_MAX_PATCH);
    }
    if (options->strides == 0)
        source_note(s, "Strides of the convolutions before the patches were inferred from their "
                       "channels.");
    if (s->lvvit)
        measure_lvvit(s, options);
    return true;
}

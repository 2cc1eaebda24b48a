/* SPDX-License-Identifier: Apache-2.0
 *
 * Networks that differ in their non-linear operators alone. The codes of a block's activations do not
 * depend on the softmax nor on the kind of LayerNorm, and GELU's concern fc1 and fc2 alone: so a
 * variant is the first network with attention, MLP or LayerNorm of another kind put in.
 */
#include <math.h>
#include <stdio.h>

#include "quantize/dyadic.h"
#include "quantize/quantizer.h"

#define MOST_ROWS 16 /* that a block adds to the table of layers */

/* ---- blocks ------------------------------------------------------------------------------------ */

static void copy_attention(const integer_block *from, integer_block *to)
{
    const integer_block old = *to;
    *to = *from;
    to->norm1 = old.norm1;
    to->norm2 = old.norm2;
    to->fc1 = old.fc1;
    to->gelu_table = old.gelu_table;
    to->wide_gelu = old.wide_gelu;
    to->gelu_scale = old.gelu_scale;
    to->gelu_polynomial[0] = old.gelu_polynomial[0];
    to->gelu_polynomial[1] = old.gelu_polynomial[1];
    to->gelu_multiplier = old.gelu_multiplier;
    to->gelu_shift = old.gelu_shift;
    to->fc2 = old.fc2;
    to->join2 = old.join2;
    to->reals.gelu = old.reals.gelu;
}

/* Scores of another kind have scales of q of another size, so that qkv is made anew, too. */
static bool make_attention(quantizer *w, uint32_t block, const network_capture *seen, size_t rows,
                           const code *norm1)
{
    const network_linear *layer = &w->source->blocks[block].qkv;
    char name[48];
    code qkv, attention;
    snprintf(name, sizeof name, "block.%u.qkv", block);
    return quantize_attention(w, block, seen, rows, &qkv, &attention) &&
           quantizer_dense(w, name, layer, qkv.width, norm1, &qkv,
                           quantizer_slot(w, block, LAYER_QKV), seen->norm1, rows,
                           &w->out->blocks[block].qkv);
}

/* The first network before variant v whose operator is v's. */
static size_t same_softmax(const variant_set *set, size_t v)
{
    size_t i = 0;
    while (set->kinds[i].softmax != set->kinds[v].softmax)
        i++;
    return i;
}

static size_t same_gelu(const variant_set *set, size_t v)
{
    size_t i = 0;
    while (set->kinds[i].gelu != set->kinds[v].gelu)
        i++;
    return i;
}

bool quantize_block_variants(quantizer *q, uint32_t block, const network_capture *seen, size_t rows,
                             const code *norm1, const code *norm2)
{
    const variant_set *set = q->variants;
    layer_row unused[MOST_ROWS];
    bool done = true;

    for (size_t v = 1; v < set->count && done; v++) {
        const size_t mlp = same_gelu(set, v), attention = same_softmax(set, v);
        quantizer w = *q;
        w.out = set->made[v];
        w.rows = unused;
        w.row_count = 0;
        w.variants = NULL;
        integer_block *to = &w.out->blocks[block];
        *to = set->made[mlp < v ? mlp : 0]->blocks[block];
        copy_attention(&set->made[attention < v ? attention : 0]->blocks[block], to);
        if (attention == v)
            done = make_attention(&w, block, seen, rows, norm1);
        if (mlp == v && done)
            done = quantize_mlp(&w, block, seen, rows, norm2);
        q->scratch = w.scratch;
    }
    return done;
}

/* ---- LayerNorms -------------------------------------------------------------------------------- */

/* From the exact form: the constants of L1 are the same, those of Newton's in other units. */
static bool vary_norm(arena *memory, iviti_norm_kind kind, integer_norm *n, report *r)
{
    const double units = sqrt((double)n->width) * 0x1p-30 / 0x1p-16;
    const integer_dyadics exact = n->factor;

    if (n->width == 0 || kind == IVITI_NORM_EXACT)
        return true;
    n->epsilon[0] = 1;
    n->epsilon[1] = 0;
    if (kind == IVITI_NORM_L1)
        return true;
    n->factor = (integer_dyadics){ ARENA_TAKE(memory, int32_t, n->width),
                                   ARENA_TAKE(memory, int8_t, n->width) };
    if (memory->failed)
        return report_fail(r, "norm: out of memory");
    for (size_t c = 0; c < n->width; c++) {
        const bool negative = exact.multiplier[c] < 0;
        const iviti_dyadic old = { negative ? -exact.multiplier[c] : exact.multiplier[c],
                                   exact.shift[c] };
        iviti_dyadic f;
        if (!dyadic_from_real(dyadic_to_real(old) * units, 31, 62, &f, r))
            return false;
        n->factor.multiplier[c] = negative ? -f.multiplier : f.multiplier;
        n->factor.shift[c] = (int8_t)f.shift;
    }
    return true;
}

bool integer_network_vary(integer_network *first, integer_network *variant, report *r)
{
    const integer_network own = *variant;
    const iviti_geometry *g = &first->geometry;
    const iviti_norm_kind kind = own.geometry.norm_kind;
    arena *const memory = &first->memory;

    *variant = *first;
    variant->memory = own.memory;
    variant->blocks = own.blocks;
    variant->geometry.norm_kind = kind;
    variant->geometry.softmax_kind = own.geometry.softmax_kind;
    variant->geometry.gelu_kind = own.geometry.gelu_kind;
    if (kind == g->norm_kind)
        return true;
    if (g->norm_kind != IVITI_NORM_EXACT)
        return report_fail(r, "LayerNorm %s cannot be made from %s", iviti_norm_name(kind),
                           iviti_norm_name(g->norm_kind));

    bool done = vary_norm(memory, kind, &variant->embed_norm, r) &&
                vary_norm(memory, kind, &variant->norm, r) &&
                vary_norm(memory, kind, &variant->patches_norm, r);
    for (uint32_t i = 0; i < g->depth && done; i++)
        done = vary_norm(memory, kind, &variant->blocks[i].norm1, r) &&
               vary_norm(memory, kind, &variant->blocks[i].norm2, r);
    if (g->prune.kind == IVITI_PRUNE_PREDICTOR) {
        variant->predictors = ARENA_TAKE(memory, integer_predictor, g->prune.stages);
        done = done && (variant->predictors || report_fail(r, "norm: out of memory"));
        for (uint32_t i = 0; i < g->prune.stages && done; i++) {
            variant->predictors[i] = first->predictors[i];
            done = vary_norm(memory, kind, &variant->predictors[i].norm, r);
        }
    }
    variant->merges = ARENA_TAKE(memory, integer_merge, g->stages);
    done = done && (variant->merges || report_fail(r, "norm: out of memory"));
    for (uint32_t i = 0; i + 1 < g->stages && done; i++) {
        variant->merges[i] = first->merges[i];
        done = vary_norm(memory, kind, &variant->merges[i].norm, r);
    }
    return done;
}

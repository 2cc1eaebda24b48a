/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a ViT goes on with fewer tokens, and with how many: DynamicViT's predictors and their official
 * rates, or what the options ask of any ViT. Rates end here: everything after has counts of tokens.
 */
#include <math.h>
#include <string.h>

#include "network/source.h"

#define OFFICIAL_RATE 0.7 /* of most published DynamicViTs */

static const char *kind_name(const source *s)
{
    return s->predictors > 0 ? "a DynamicViT" : "no DynamicViT";
}

static bool check_options(const source *s, const network_options *o, report *r)
{
    const bool dynamic = s->predictors > 0;
    if (s->geometry.family != IVITI_VIT &&
        (o->base_rate > 0 || o->keep_count > 0 || o->merge > 0 || o->prune_at_count > 0))
        return report_fail(r, "%s: is a Swin, whose tokens cannot be pruned or merged", s->c->file);
    if (dynamic ? o->keep_count > 0 || o->merge > 0 : o->base_rate > 0)
        return report_fail(r, "%s: is %s, which %s goes with", s->c->file, kind_name(s),
                           dynamic ? "--base-rate and neither --keep nor --merge" : "--keep or --merge and not --base-rate");
    if (o->keep_count > 0 && o->merge > 0)
        return report_fail(r, "--keep and --merge exclude each other");
    if (o->fuse != IVITI_FUSE_NONE && o->keep_count == 0)
        return report_fail(r, "--fuse has no meaning without --keep");
    if (o->prune_at_count > 0 && !dynamic && o->keep_count == 0 && o->merge == 0)
        return report_fail(r, "--prune-at has no meaning without --keep or --merge: %s is %s",
                           s->c->file, kind_name(s));
    return true;
}

/* The blocks of `stages` stages: as the options say, or after each quarter as published. */
static bool choose_blocks(source *s, const network_options *o, uint32_t stages, const char *counted,
                          report *r)
{
    iviti_prune *p = &s->geometry.prune;
    const uint32_t depth = s->geometry.depth;
    if (o->prune_at_count == 0 && (stages != 3 || depth % 4 != 0))
        return report_fail(r, "%s: it is not known before which of the %u blocks tokens are pruned: "
                              "use --prune-at",
                           s->c->file, (unsigned)depth);
    if (o->prune_at_count != 0 && o->prune_at_count != stages)
        return report_fail(r, "--prune-at names %u blocks where there are %u %s",
                           (unsigned)o->prune_at_count, (unsigned)stages, counted);
    p->stages = stages;
    for (uint32_t k = 0; k < stages; k++)
        p->at[k] = o->prune_at_count != 0 ? o->prune_at[k] : (k + 1) * (depth / 4);
    return true;
}

/* DynamicViT: shares of the first number of patches, each rounded down as a product of doubles is. */
static bool choose_predicted(source *s, const network_options *o, uint32_t patches, report *r)
{
    iviti_prune *p = &s->geometry.prune;
    const double rate = o->base_rate > 0 ? o->base_rate : OFFICIAL_RATE;
    p->kind = IVITI_PRUNE_PREDICTOR;
    if (!choose_blocks(s, o, s->predictors, "predictors", r))
        return false;
    for (uint32_t k = 0; k < p->stages; k++)
        p->kept[k] = (uint32_t)(patches * pow(rate, k + 1));
    if (o->base_rate > 0 && o->prune_at_count > 0)
        return true;
    source_note(s, "The share of tokens kept, %g, and the blocks of the predictors, %u and on, are those "
                   "usually published where they were not given.",
                rate, (unsigned)p->at[0]);
    return true;
}

/* EViT: shares of those that enter, each rounded up. */
static bool choose_attended(source *s, const network_options *o, uint32_t patches, report *r)
{
    iviti_prune *p = &s->geometry.prune;
    uint32_t entering = patches;
    p->kind = IVITI_PRUNE_CLS;
    p->fuse = o->fuse;
    if (!choose_blocks(s, o, o->keep_count, "shares to --keep", r))
        return false;
    for (uint32_t k = 0; k < p->stages; k++) {
        p->kept[k] = (uint32_t)ceil(o->keep[k] * entering);
        if (p->kept[k] >= entering)
            return report_fail(r, "--keep %g of %u patch tokens keeps them all", o->keep[k],
                               (unsigned)entering);
        entering = p->kept[k] + (p->fuse != IVITI_FUSE_NONE);
    }
    return true;
}

/* Merging: in every block but the last, whose tokens nobody reads, or in those that are named; at most
 * half of the patches at a time. */
static bool choose_merged(source *s, const network_options *o, uint32_t patches, report *r)
{
    iviti_prune *p = &s->geometry.prune;
    const uint32_t blocks = o->prune_at_count > 0 ? o->prune_at_count : s->geometry.depth - 1;
    p->kind = IVITI_PRUNE_MERGE;
    for (uint32_t k = 0; k < blocks; k++) {
        const uint32_t pairs = o->merge < patches / 2 ? o->merge : patches / 2;
        if (pairs == 0)
            break;
        patches -= pairs;
        p->at[k] = o->prune_at_count > 0 ? o->prune_at[k] : k;
        p->kept[k] = patches;
        p->stages++;
    }
    return p->stages > 0 ||
           report_fail(r, "%s: there are no two tokens to merge before the last block", s->c->file);
}

bool source_measure_pruning(source *s, const network_options *options, report *r)
{
    iviti_geometry *g = &s->geometry;
    const uint32_t patches = g->stage[0].grid_width * g->stage[0].grid_height;
    char text[256];

    if (!check_options(s, options, r))
        return false;
    bool done = true;
    if (s->predictors > 0)
        done = choose_predicted(s, options, patches, r);
    else if (options->keep_count > 0)
        done = choose_attended(s, options, patches, r);
    else if (options->merge > 0)
        done = choose_merged(s, options, patches, r);
    if (!done || g->prune.kind == IVITI_PRUNE_NONE)
        return done;
    return iviti_geometry_complete(g, text, sizeof text) == NULL ||
           report_fail(r, "%s: %s", s->c->file, text);
}

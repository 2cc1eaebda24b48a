/* SPDX-License-Identifier: Apache-2.0
 *
 * The way from a checkpoint to the canonical network: refuse what is not supported, name the
 * dialect, collect its tensors, measure, fill.
 */
#include "network/dialect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "network/keymap.h"
#include "network/source.h"

static bool ends_with(const char *text, const char *end)
{
    const size_t bytes = strlen(text), tail = strlen(end);
    return bytes >= tail && strcmp(text + bytes - tail, end) == 0;
}

bool network_is_ivit(const checkpoint *c)
{
    for (size_t i = 0; i < c->count; i++)
        if (ends_with(c->tensors[i].name, ".act_scaling_factor"))
            return true;
    return false;
}

bool network_scalar(const checkpoint *c, const char *name, double *value)
{
    const checkpoint_tensor *t = checkpoint_find(c, name);
    float single = 0;
    if (t == NULL || t->count != 1)
        return false;
    checkpoint_to_float(t, &single);
    *value = (double)single;
    return true;
}

static bool find_dialect(source *s, report *r)
{
    const char *key = NULL;
    const char *why = keymap_refusal(s->c, &key);
    if (why != NULL)
        return report_fail(r, "%s %s (tensor %s)", s->c->file, why, key);
    s->map = keymap_detect(s->c, &s->prefix);
    if (s->map == NULL)
        return report_fail(
            r,
            "%s: the names of its %zu tensors (%.80s, ...) are those of no ViT, DeiT "
            "or Swin that is known",
            s->c->file, s->c->count, s->c->count > 0 ? s->c->tensors[0].name : "");
    s->ivit = network_is_ivit(s->c);
    return true;
}

static void describe(const source *s, network *n)
{
    snprintf(n->dialect, sizeof n->dialect, "%s%s%s%s", s->ivit ? "I-ViT, " : "",
             s->lvvit ? "LV-ViT" : s->map->name,
             s->once[MODULE_DISTILL_TOKEN].weight != NULL ? ", distilled" : "",
             s->predictors > 0 ? ", DynamicViT" : "");
    memcpy(n->preset, s->preset, sizeof n->preset);
    memcpy(n->note, s->note, sizeof n->note);
    n->epsilon = s->epsilon;
    memcpy(n->mean, s->mean, sizeof n->mean);
    memcpy(n->std, s->std, sizeof n->std);
}

bool network_from_checkpoint(const checkpoint *c, const network_options *options, network **out,
                             report *r)
{
    const network_options none = { 0 };
    network *n = NULL;
    source *s = calloc(1, sizeof *s);
    bool *used = calloc(c->count + 1, sizeof *used);
    bool done = s != NULL && used != NULL;
    if (!done) {
        (void)report_fail(r, "%s: not enough memory to map its tensors", c->file);
    } else {
        s->c = c;
        s->used = used;
        done = find_dialect(s, r) && source_collect(s, r) &&
               source_measure(s, options != NULL ? options : &none, r) && source_fill(s, &n, r);
    }
    if (done) {
        describe(s, n);
        *out = n;
    }
    free(used);
    free(s);
    return done;
}

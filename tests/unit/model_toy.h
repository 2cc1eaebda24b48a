/* SPDX-License-Identifier: Apache-2.0
 *
 * The smallest model of each fixture: files of a few KiB, every byte of which can be tried.
 */
#ifndef MODEL_TOY_H
#define MODEL_TOY_H

#include "model_fixture.h"

/* The fixture's operators with a block or two of 8 channels. A fixture that cannot shrink that far stays
 * as it is. Complete. */
static inline iviti_geometry toy_geometry(fixture_kind kind)
{
    iviti_geometry whole = fixture_geometry(kind), g = whole;
    char text[200];
    g.classes = 3;
    if (g.family == IVITI_SWIN) {
        g.stages = g.stages > 2 ? 2 : g.stages;
        g.image_width = g.image_height = 4 * g.patch;
    } else {
        g.patch = 2;
        g.image_width = g.image_height = 4;
    }
    for (uint32_t i = 0; i < g.stages; i++) {
        const uint32_t window = g.stage[i].window != 0 ? 2 : 0;
        g.stage[i] = (iviti_stage){
            .depth = 1, .dim = 8u << i, .heads = 2, .hidden = 8, .window = window
        };
    }
    if (g.prune.stages > 0) { /* the first stage of pruning, its block and the next */
        g.prune.stages = 1;
        g.prune.kept[0] = 3;
        g.stage[0].depth = g.prune.at[0] + 2;
    }
    if (g.preprocess.fit == IVITI_FIT_CROP)
        g.preprocess.resize = g.image_width;
    if (iviti_geometry_complete(&g, text, sizeof text) == NULL &&
        iviti_geometry_check_file(&g, &(iviti_status){ IVITI_OK }, text, sizeof text) == NULL)
        return g;
    if (iviti_geometry_complete(&whole, text, sizeof text) != NULL) {
        fprintf(stderr, "fixture %d: %s\n", (int)kind, text);
        exit(1);
    }
    return whole;
}

#endif

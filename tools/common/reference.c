/* SPDX-License-Identifier: Apache-2.0
 *
 * Opens the checkpoint and refuses one that cannot be the model's.
 */
#include "common/reference.h"

static bool same_shape(const char *path, const iviti_geometry *g, const iviti_model_info *model,
                       report *r)
{
    if (g->image_width != model->image_width || g->image_height != model->image_height) {
        return report_fail(r, "%s: takes pictures of %u x %u, but the model takes %u x %u", path,
                           (unsigned)g->image_width, (unsigned)g->image_height,
                           (unsigned)model->image_width, (unsigned)model->image_height);
    }
    if (g->classes != model->classes) {
        return report_fail(r, "%s: has %u classes, but the model has %u", path,
                           (unsigned)g->classes, (unsigned)model->classes);
    }
    return true;
}

network *reference_open(const char *path, const network_options *options,
                        const iviti_model_info *model, report *r)
{
    checkpoint *file = NULL;
    network *n = NULL;

    if (!checkpoint_open(path, &file, r)) {
        return NULL;
    }
    const bool mapped = network_from_checkpoint(file, options, &n, r);
    checkpoint_close(file);
    if (!mapped) {
        return NULL;
    }
    if (!same_shape(path, &n->geometry, model, r)) {
        network_free(n);
        return NULL;
    }
    return n;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * write_models FOLDER: one small random model of each fixture into the folder.
 */
#include "unit/model_fixture.h"

int main(int argc, char **argv)
{
    static const char *const names[] = {
        "vit-table",     "vit-shift", "vit-distilled", "swin-table", "swin-shift", "vit-stem",
        "vit-sulq",      "vit-lis",   "swin-sulq",     "swin-i-exp", "swin-lis",   "vit-q15",
        "vit-predictor", "vit-cls",   "vit-merge",     "vit-wide",   "swin-wide"
    };
    _Static_assert(sizeof names / sizeof *names == FIXTURE_KINDS, "a name for each fixture");
    if (argc != 2) {
        fprintf(stderr, "usage: write_models FOLDER\n");
        return 2;
    }
    for (int kind = 0; kind < FIXTURE_KINDS; kind++) {
        const iviti_geometry g = fixture_geometry((fixture_kind)kind);
        char path[4096];
        snprintf(path, sizeof path, "%s/%s.gguf", argv[1], names[kind]);
        if (!fixture_model(&g, 1, path))
            return 1;
    }
    return 0;
}

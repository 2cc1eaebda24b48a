/* SPDX-License-Identifier: Apache-2.0
 *
 * For the tests of the programs: a small random model in the scratch folder. Included after
 * cli_run.h.
 */
#ifndef CLI_MODEL_H
#define CLI_MODEL_H

#include "model_fixture.h"

#define CLI_MODEL_CLASSES 10u
#define CLI_MODEL_IMAGE   16u

static inline const char *cli_write_model(const char *name)
{
    iviti_geometry g = fixture_geometry(FIXTURE_VIT_TABLE);
    const char *const path = cli_path(name);

    g.classes = CLI_MODEL_CLASSES;
    g.image_width = CLI_MODEL_IMAGE;
    g.image_height = CLI_MODEL_IMAGE;
    assert_true(fixture_model(&g, 1, path));
    return path;
}

#endif

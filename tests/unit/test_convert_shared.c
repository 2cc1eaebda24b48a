/* SPDX-License-Identifier: Apache-2.0
 *
 * Trained checkpoints through iviti-convert, where the folder of shared data is at hand: the same
 * network in another container or dialect becomes the same tensors, integer models keep the accuracy
 * of the float networks, and I-ViT checkpoints answer as their official simulation does.
 */
#include "cli_run.h"

#include <math.h>

#include "cli_json.h"
#include "checkpoint/checkpoint.h"
#include "model/gguf.h"
#include "model/model.h"
#include "picture/folder.h"

#define PICTURES 1024

static const char *shared(const char *file)
{
    static char paths[16][PATH_MAX];
    static unsigned turn;
    const char *const root = getenv("IVITI_SHARED"), *const source = getenv("IVITI_SOURCE");
    char *const path = paths[turn++ % 16];

    if (root != NULL)
        snprintf(path, PATH_MAX, "%s/%s", root, file);
    else
        snprintf(path, PATH_MAX, "%s/../shared/%s", source != NULL ? source : ".", file);
    return path;
}

static void skip_without(const char *file)
{
    if (access(shared(file), R_OK) != 0) {
        print_message("skipped: there is no %s\n", shared(file));
        skip();
    }
}

static void must_succeed(cli_result result)
{
    if (result.status != 0)
        fail_msg("%s", result.err);
    cli_free(&result);
}

/* ---- the same network in every dialect ----------------------------------------------------------- */

typedef struct section { /* everything from the first tensor's first byte on */
    uint8_t *bytes;
    size_t size;
} section;

static section tensor_section(const char *model)
{
    FILE *const file = fopen(model, "rb");
    size_t size = 0;
    assert_non_null(file);
    uint8_t *const bytes = (uint8_t *)cli_slurp(file, &size);
    fclose(file);

    const iviti_memory_source memory = { bytes, size };
    iviti_source source;
    iviti_allocator allocator = iviti_default_allocator();
    iviti_reader reader;
    iviti_gguf_counts counts;
    iviti_gguf_pair pair;
    iviti_gguf_tensor tensor;
    (void)memory;
    (void)source;
    (void)allocator;
    (void)reader;
    (void)counts;
    (void)pair;
    (void)tensor;
    return (section){ bytes, size };
}

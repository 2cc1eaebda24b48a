/* SPDX-License-Identifier: Apache-2.0 */
#include "common/integer_model.h"

#include "common/model_writer.h"
#include "quantize/emit.h"

static void keep_sentence(void *user, iviti_status status, const char *message)
{
    (void)status;
    report_fail(user, "model: %s", message);
}

iviti_model *integer_model_load(const integer_network *n, report *r)
{
    const model_metadata metadata = { .converter = iviti_version() };
    const iviti_load_options options = { .log = { keep_sentence, r } };
    model_writer *writer = NULL;
    iviti_model *model = NULL;
    iviti_tensor_spec spec;
    const uint8_t *image;
    size_t size;

    bool done = model_writer_open(&n->geometry, &metadata, &writer, r);
    for (size_t i = 0; done && iviti_schema_tensor(&n->geometry, i, &spec); i++)
        done = model_writer_put(writer, i, integer_network_tensor(n, &spec), (size_t)spec.bytes, r);
    done = done && model_writer_finish(writer, &image, &size, r) &&
           iviti_model_load_memory(image, size, &options, &model) == IVITI_OK;
    model_writer_close(writer);
    return done ? model : NULL;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Keeps the last sentence of the library's log and puts the path before it.
 */
#include "common/model_open.h"

#include <stdio.h>
#include <string.h>

#include "common/options.h"

static void keep_message(void *user, iviti_status status, const char *message)
{
    report *const kept = user;

    (void)status;
    snprintf(kept->text, sizeof(kept->text), "%s", message);
}

/* The logged sentence, or the status's own where nothing was logged. */
static const char *sentence(const report *kept, iviti_status status)
{
    return kept->text[0] != '\0' ? kept->text : iviti_status_text(status);
}

iviti_model *model_open(const char *path, report *r)
{
    report kept = { "" };
    const iviti_load_options options = { .log = { keep_message, &kept } };
    iviti_model *model = NULL;

    const iviti_status status = iviti_model_load(path, &options, &model);
    if (status != IVITI_OK) {
        const char *const why = sentence(&kept, status);
        const bool named = strstr(why, path) != NULL; /* where the file could not be read */
        (void)report_fail(r, "%s%s%s", named ? "" : path, named ? "" : ": ", why);
        return NULL;
    }
    return model;
}

iviti_session *session_open(const iviti_model *model, unsigned threads, iviti_isa isa, report *r)
{
    report kept = { "" };
    const iviti_session_options options = { .log = { keep_message, &kept },
                                            .threads = threads,
                                            .isa = isa };
    iviti_session *session = NULL;

    if (!iviti_isa_available(isa)) {
        (void)report_fail(r,
                          "instruction set %s is not available on this processor or in this build",
                          iviti_isa_name(isa));
        return NULL;
    }
    const iviti_status status = iviti_session_create(model, &options, &session);
    if (status != IVITI_OK) {
        (void)report_fail(r, "cannot start a session of %u threads: %s", threads,
                          sentence(&kept, status));
        return NULL;
    }
    return session;
}

iviti_isa isa_from_choice(int choice)
{
    char name[32];

    options_choice_name(OPTION_ISA_CHOICES, choice, name, sizeof(name));
    const int isa = iviti_isa_from_name(name);
    return isa < 0 ? IVITI_ISA_BEST : (iviti_isa)isa;
}

bool session_run(iviti_session *session, const picture *image, const char *path, report *r)
{
    const iviti_image view = { image->pixels, image->width, image->height,
                               (ptrdiff_t)image->width * 3 };
    const iviti_status status = iviti_session_run(session, &view);

    if (status != IVITI_OK) {
        return report_fail(r, "%s: %s", path, iviti_status_text(status));
    }
    return true;
}

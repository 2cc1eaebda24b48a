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

/* What to do about it, where there is something. */
static const char *advice(iviti_status status)
{
    switch (status) {
    case IVITI_ERROR_NOT_A_MODEL:
    case IVITI_ERROR_ARCHITECTURE:
        return "; iviti-convert makes a model of a checkpoint";
    case IVITI_ERROR_VERSION:
        return "; make it anew with iviti-convert of this version";
    case IVITI_ERROR_TRUNCATED:
    case IVITI_ERROR_CHECKSUM:
        return "; copy or make it again";
    default:
        return "";
    }
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
        (void)report_fail(r, "%s%s%s%s", named ? "" : path, named ? "" : ": ", why, advice(status));
        return NULL;
    }
    return model;
}

static iviti_session *create(const iviti_model *model, unsigned threads, iviti_isa isa,
                             bool attention, report *r)
{
    report kept = { "" };
    const iviti_session_options options = { .log = { keep_message, &kept },
                                            .threads = threads,
                                            .isa = isa,
                                            .attention = attention };
    iviti_session *session = NULL;

    if (!iviti_isa_available(isa)) {
        (void)report_fail(r,
                          "instruction set %s is not available on this processor or in this build; "
                          "leave --isa out for the fastest, or take ref",
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

iviti_session *session_open(const iviti_model *model, unsigned threads, iviti_isa isa, report *r)
{
    return create(model, threads, isa, false, r);
}

iviti_session *session_open_attentive(const iviti_model *model, unsigned threads, iviti_isa isa,
                                      report *r)
{
    return create(model, threads, isa, true, r);
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

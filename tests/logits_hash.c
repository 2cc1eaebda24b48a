/* SPDX-License-Identifier: Apache-2.0
 *
 * logits_hash [--isa NAME] [--pictures N] [--threads N] [--batch N] MODEL...: a line for each model
 * and picture with a hash of all logits. The pictures are made by program, the same everywhere, so
 * the same lines on two processors say that both computed the same bits.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "logits_picture.h"

typedef struct options {
    iviti_isa isa;
    unsigned pictures;
    unsigned threads;
    unsigned batch;
} options;

#define MAX_BATCH 64

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void complain(void *user, iviti_status status, const char *message)
{
    fprintf(stderr, "logits_hash: %s: %s: %s\n", (const char *)user, iviti_status_name(status),
            message);
}

/* Picture n, whose pixels are the caller's; they are NULL where there is no memory. */
static iviti_image make_picture(unsigned n)
{
    uint8_t *pixels = malloc(picture_bytes(n));
    return pixels ? paint(n, pixels) : (iviti_image){ NULL, 0, 0, 0 };
}

static iviti_status run_pictures(iviti_session *session, const char *path, const options *o,
                                 size_t classes)
{
    iviti_status status = IVITI_OK;

    for (unsigned n = 0; n < o->pictures && status == IVITI_OK; n += o->batch) {
        const unsigned count = o->pictures - n < o->batch ? o->pictures - n : o->batch;
        iviti_image images[MAX_BATCH];
        for (unsigned i = 0; i < count; i++)
            images[i] = make_picture(n + i);
        status = iviti_session_run_batch(session, images, count);
        for (unsigned i = 0; i < count; i++) {
            if (status == IVITI_OK)
                printf("%s %u %016llx\n", base_name(path), n + i,
                       (unsigned long long)hash_logits(iviti_session_logits(session) + i * classes,
                                                       classes));
            free((void *)(uintptr_t)images[i].pixels);
        }
    }
    return status;
}

/* Refuses to run with less than what was asked for, or the lines would say nothing about it. */
static iviti_status run_model(char *path, const options *o)
{
    const iviti_log log = { complain, path };
    const iviti_load_options load = { .log = log };
    const iviti_session_options run = {
        .log = log, .isa = o->isa, .threads = o->threads, .batch = o->batch
    };
    iviti_model *model = NULL;
    iviti_session *session = NULL;

    iviti_status status = iviti_model_load(path, &load, &model);
    if (status == IVITI_OK)
        status = iviti_session_create(model, &run, &session);
    if (status == IVITI_OK && o->isa != IVITI_ISA_BEST && iviti_session_isa(session) != o->isa)
        status = IVITI_ERROR_UNSUPPORTED;
    if (status == IVITI_OK) {
        iviti_model_info info;
        iviti_model_describe(model, &info);
        status = run_pictures(session, path, o, info.classes);
    }
    if (status != IVITI_OK)
        fprintf(stderr, "logits_hash: %s: %s\n", path, iviti_status_text(status));
    iviti_session_free(session);
    iviti_model_free(model);
    return status;
}

int main(int argc, char **argv)
{
    options o = { IVITI_ISA_BEST, 4, 1, 1 };
    int i = 1;

    for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2) {
        const int isa = iviti_isa_from_name(argv[i + 1]);
        if (strcmp(argv[i], "--isa") == 0 && isa >= 0)
            o.isa = (iviti_isa)isa;
        else if (strcmp(argv[i], "--pictures") == 0)
            o.pictures = (unsigned)strtoul(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--threads") == 0)
            o.threads = (unsigned)strtoul(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--batch") == 0)
            o.batch = (unsigned)strtoul(argv[i + 1], NULL, 10);
        else
            break;
    }
    if (i >= argc || strncmp(argv[i], "--", 2) == 0 || o.batch < 1 || o.batch > MAX_BATCH) {
        fprintf(stderr, "usage: logits_hash [--isa NAME] [--pictures N] [--threads N] [--batch N] "
                        "MODEL...\n");
        return 2;
    }
    for (; i < argc; i++)
        if (run_model(argv[i], &o) != IVITI_OK)
            return 1;
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * logits_hash [--isa NAME] [--pictures N] [--threads N] [--batch N] MODEL...: a line for each model
 * and picture with a hash of all logits. The pictures are made by program, the same everywhere, so
 * the same lines on two processors say that both computed the same bits.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "iviti/iviti.h"

typedef struct options {
    iviti_isa isa;
    unsigned pictures;
    unsigned threads;
    unsigned batch;
} options;

#define MAX_BATCH 64

/* FNV-1a over the logits, lowest byte first. */
static uint64_t hash_logits(const int32_t *logits, size_t count)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < count; i++)
        for (int b = 0; b < 32; b += 8)
            hash = (hash ^ ((uint32_t)logits[i] >> b & 0xFF)) * 0x100000001b3u;
    return hash;
}

/* Pictures of several sizes, so that some are enlarged and some reduced: waves of colour, and noise
 * that grows from one picture to the next. */
static void paint(unsigned number, uint8_t *pixels, uint32_t width, uint32_t height)
{
    uint32_t state = number * 2654435761u + 1;
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++)
            for (uint32_t c = 0; c < 3; c++) {
                const uint32_t wave = x * (number + c + 1) * 7 + y * (2 * c + 3) * 5;
                const uint32_t smooth = wave & 256 ? 255 - (wave & 255) : wave & 255;
                state = state * 1664525u + 1013904223u;
                const uint32_t noise = (state >> 24) * (number % 4);
                *pixels++ = (uint8_t)((smooth * 4 + noise) / (4 + number % 4));
            }
}

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
    const uint32_t width = 29 + 83 * n % 300, height = 31 + 131 * n % 290;
    uint8_t *pixels = malloc((size_t)width * height * 3);
    if (pixels)
        paint(n, pixels, width, height);
    return (iviti_image){ pixels, width, height, (ptrdiff_t)width * 3 };
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

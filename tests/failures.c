/* SPDX-License-Identifier: Apache-2.0
 *
 * failures SEEDS: memory that is not there. Every file that tests/fuzz/make_seeds has made is read (models:
 * loaded and run; networks: mapped) with the first, the second, ... allocation failing,
 * alone and with all that follow, until all succeed. Each time the answer is a clean refusal, and nothing
 * stays allocated.
 */
#define _POSIX_C_SOURCE   200809L
#define _FILE_OFFSET_BITS 64

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/container.h"
#include "failing_memory.h"
#include "iviti/iviti.h"
#include "network/dialect.h"
#include "picture/picture.h"

/* ---- what may fail ------------------------------------------------------------------------------- */

#define ALL    500
#define SPREAD 500

typedef struct input {
    const char *path;
    uint8_t *bytes; /* (size) */
    size_t size;
} input;

static checkpoint *parse(const input *in)
{
    checkpoint *c = NULL;
    report r = { "" };
    uint8_t *const copy = malloc(in->size);
    if (copy == NULL)
        return NULL;
    memcpy(copy, in->bytes, in->size);
    const bool good = checkpoint_parse(copy, in->size, "seed", &c, &r);
    must(good == (c != NULL) && good == (r.text[0] == 0), "reader without an answer");
    return c;
}

static bool read_checkpoint(const void *in)
{
    checkpoint *const c = parse(in);
    checkpoint_close(c);
    return c != NULL;
}

static bool read_picture(const void *file)
{
    const input *const in = file;
    picture p = { NULL, 0, 0 };
    report r = { "" };
    const bool good = picture_decode(in->bytes, in->size, "seed", &p, &r);
    must(good == (p.pixels != NULL) && good == (r.text[0] == 0), "decoder without an answer");
    picture_free(&p);
    return good;
}

static bool run_model(const void *file)
{
    const input *const in = file;
    static const uint8_t pixels[7 * 5 * 3] = { 9, 8, 7 };
    iviti_model *model = NULL;
    iviti_session *session = NULL;
    iviti_status status = iviti_model_load_memory(in->bytes, in->size, NULL, &model);
    must((status == IVITI_OK) == (model != NULL), "loader without an answer");
    must(!memory_fails() || status == IVITI_OK || status == IVITI_ERROR_MEMORY, "loader with another answer");
    if (status == IVITI_OK) {
        status = iviti_session_create(model, &(iviti_session_options){ .threads = 2, .batch = 2 },
                                      &session);
        must((status == IVITI_OK) == (session != NULL), "session without an answer");
        must(status == IVITI_OK || status == IVITI_ERROR_MEMORY, "session with another answer");
    }
    if (status == IVITI_OK)
        must(iviti_session_run(session, &(iviti_image){ pixels, 7, 5, 21 }) == IVITI_OK,
             "a run needs memory");
    iviti_session_free(session);
    iviti_model_free(model);
    return status == IVITI_OK;
}

/* Checkpoint to canonical network. */
static bool map_network(const void *in)
{
    const network_options told = { .heads = 2, .image = 8 };
    network *n = NULL;
    report r = { "" };
    checkpoint *const c = parse(in);
    const bool good = c != NULL && network_from_checkpoint(c, &told, &n, &r);
    must(c == NULL || (good == (n != NULL) && good == (r.text[0] == 0)), "mapping without an answer");
    checkpoint_close(c);
    network_free(n);
    return good;
}

/* ---- files -------------------------------------------------------------------------------------- */

static void read_file(input *in)
{
    FILE *const file = fopen(in->path, "rb");
    in->bytes = malloc(1 << 20);
    must(file != NULL && in->bytes != NULL, in->path);
    in->size = fread(in->bytes, 1, 1 << 20, file);
    fclose(file);
}

/* Files that the reader refuses with all memory there are cut ones, and not asked again. */
static void folder(const char *seeds, const char *name, memory_work work)
{
    char path[4096];
    struct dirent **entries;
    unsigned long files = 0, sites = 0;
    snprintf(path, sizeof path, "%s/%s", seeds, name);
    const int count = scandir(path, &entries, NULL, alphasort);
    must(count > 0, path);
    for (int i = 0; i < count; i++) {
        char inside[4400];
        snprintf(inside, sizeof inside, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.') {
            input in = { .path = inside };
            read_file(&in);
            const unsigned long found = memory_fail_in_turn(work, &in, LACK_REFUSED, ALL, SPREAD);
            files += found > 0;
            sites += found;
            free(in.bytes);
        }
        free(entries[i]);
    }
    free(entries);
    must(files > 0, "no file that can be read");
    printf("%-12s %3lu files, %6lu allocations\n", name, files, sites);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: failures SEEDS\n");
        return 2;
    }
    folder(argv[1], "model", run_model);
    folder(argv[1], "safetensors", read_checkpoint);
    folder(argv[1], "torch_zip", read_checkpoint);
    folder(argv[1], "npz", read_checkpoint);
    folder(argv[1], "legacy", read_checkpoint);
    folder(argv[1], "picture", read_picture);
    folder(argv[1], "network", map_network);
    return 0;
}

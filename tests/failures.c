/* SPDX-License-Identifier: Apache-2.0
 *
 * failures SEEDS: memory that is not there. Every file that tests/fuzz/make_seeds has made is read (models:
 * loaded and run; networks: mapped) with the first, the second, ... allocation failing,
 * alone and with all that follow, until all succeed. Each time the answer is a clean refusal, and nothing
 * stays allocated.
 *
 * The program is linked with the C library's allocating functions wrapped (CMakeLists.txt), so this counts
 * what our code asks for, not what the libraries beneath it do.
 */
#define _POSIX_C_SOURCE   200809L
#define _FILE_OFFSET_BITS 64

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/container.h"
#include "iviti/iviti.h"
#include "network/dialect.h"
#include "picture/picture.h"

/* ---- the C library's memory ---------------------------------------------------------------------- */

static unsigned long calls, fail_at; /* fail_at 0: none fails */
static bool later_too;
static long alive;
static bool counting;

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *memory, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
void __real_free(void *memory);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *memory, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
void __wrap_free(void *memory);

static bool refuse(void)
{
    if (!counting)
        return false;
    calls++;
    return calls == fail_at || (later_too && fail_at != 0 && calls > fail_at);
}

static void *counted(void *memory)
{
    alive += counting && memory != NULL;
    return memory;
}

void *__wrap_malloc(size_t bytes)
{
    return refuse() ? NULL : counted(__real_malloc(bytes));
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    return refuse() ? NULL : counted(__real_calloc(count, bytes));
}

void *__wrap_realloc(void *memory, size_t bytes)
{
    if (refuse())
        return NULL;
    void *const moved = __real_realloc(memory, bytes);
    alive += counting && memory == NULL && moved != NULL;
    return moved;
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    return refuse() ? NULL : counted(__real_aligned_alloc(alignment, bytes));
}

void __wrap_free(void *memory)
{
    alive -= counting && memory != NULL;
    __real_free(memory);
}

/* ---- what may fail ------------------------------------------------------------------------------- */

typedef struct input {
    const char *path;
    uint8_t *bytes; /* (size) */
    size_t size;
} input;

static void must(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "allocation %lu%s: %s\n", fail_at, later_too ? " and all later ones" : "", what);
    exit(1);
}

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

static bool read_checkpoint(const input *in)
{
    checkpoint *const c = parse(in);
    checkpoint_close(c);
    return c != NULL;
}

static bool read_picture(const input *in)
{
    picture p = { NULL, 0, 0 };
    report r = { "" };
    const bool good = picture_decode(in->bytes, in->size, "seed", &p, &r);
    must(good == (p.pixels != NULL) && good == (r.text[0] == 0), "decoder without an answer");
    picture_free(&p);
    return good;
}

static bool run_model(const input *in)
{
    static const uint8_t pixels[7 * 5 * 3] = { 9, 8, 7 };
    iviti_model *model = NULL;
    iviti_session *session = NULL;
    iviti_status status = iviti_model_load_memory(in->bytes, in->size, NULL, &model);
    must((status == IVITI_OK) == (model != NULL), "loader without an answer");
    must(fail_at == 0 || status == IVITI_OK || status == IVITI_ERROR_MEMORY, "loader with another answer");
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
static bool map_network(const input *in)
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

/* ---- every allocation in turn -------------------------------------------------------------------- */

static bool once(bool (*work)(const input *in), const input *in, unsigned long n, bool later)
{
    calls = 0;
    alive = 0;
    fail_at = n;
    later_too = later;
    counting = true;
    const bool good = work(in);
    counting = false;
    must(alive == 0, "memory is left behind");
    return good;
}

/* Files that the reader refuses with all memory there are cut ones, and not asked again. */
static unsigned long fail_in_turn(bool (*work)(const input *in), const input *in, unsigned long most)
{
    if (!once(work, in, 0, false))
        return 0;
    const unsigned long sites = calls;
    const unsigned long step = sites / most + 1;
    for (unsigned long n = 1; n <= sites; n += step)
        for (int later = 0; later < 2; later++)
            must(!once(work, in, n, later != 0), "all went well");
    return sites;
}

static void read_file(input *in)
{
    FILE *const file = fopen(in->path, "rb");
    in->bytes = malloc(1 << 20);
    must(file != NULL && in->bytes != NULL, in->path);
    in->size = fread(in->bytes, 1, 1 << 20, file);
    fclose(file);
}

static void folder(const char *seeds, const char *name, bool (*work)(const input *in),
                   unsigned long most)
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
            const unsigned long found = fail_in_turn(work, &in, most);
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
    folder(argv[1], "model", run_model, 1000);
    folder(argv[1], "safetensors", read_checkpoint, 1000);
    folder(argv[1], "torch_zip", read_checkpoint, 1000);
    folder(argv[1], "npz", read_checkpoint, 1000);
    folder(argv[1], "legacy", read_checkpoint, 1000);
    folder(argv[1], "picture", read_picture, 1000);
    folder(argv[1], "network", map_network, 1000);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * own-memory MODEL: model and session in memory of one's own, without a single call of malloc, as
 * on a device that has none. The model's bytes come through a function: from flash, from a socket.
 *
 *     cc own_memory.c $(pkg-config --cflags --libs iviti)
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "iviti/iviti.h"

#define ARENA  (4u << 20)
#define ALIGN  64u /* what iviti_session_create_in wants; more than an allocator owes */
#define STROKE 13  /* the column where an upright stroke is drawn */

static _Alignas(ALIGN) unsigned char arena[ARENA];
static size_t used;

static void *allocate(void *user, size_t bytes)
{
    const size_t from = (used + ALIGN - 1) / ALIGN * ALIGN;

    (void)user;
    if (from > ARENA || bytes > ARENA - from)
        return NULL; /* the library answers IVITI_ERROR_MEMORY */
    used = from + bytes;
    return arena + from;
}

static void release(void *user, void *memory)
{
    (void)user;
    (void)memory; /* all of it is given back at once: used = 0 */
}

static size_t read_some(void *user, void *buffer, size_t bytes)
{
    const ssize_t got = read(*(const int *)user, buffer, bytes);

    return got > 0 ? (size_t)got : 0;
}

int main(int argc, char **argv)
{
    static char out[256];
    static uint8_t pixels[28 * 28 * 3];
    int file = argc == 2 ? open(argv[1], O_RDONLY) : -1;
    struct stat status;
    iviti_model *model = NULL;
    iviti_session *session = NULL;
    iviti_class best;

    setvbuf(stdout, out, _IOLBF, sizeof(out)); /* stdio would allocate its own */
    if (file < 0 || fstat(file, &status) != 0)
        return 2;
    const iviti_source source = { read_some, &file, (uint64_t)status.st_size };
    const iviti_load_options load = { .allocator = { allocate, release, NULL } };
    if (iviti_model_load_source(&source, &load, &model) != IVITI_OK)
        return 1;
    const size_t bytes = iviti_session_bytes(model, NULL);
    void *const memory = allocate(NULL, bytes);
    if (memory == NULL || iviti_session_create_in(memory, bytes, model, NULL, &session) != IVITI_OK)
        return 1;
    for (int y = 4; y < 24; y++)
        for (int x = 0; x < 6; x++)
            pixels[(y * 28 + STROKE) * 3 + x] = 255;
    if (iviti_session_run(session, &(iviti_image){ pixels, 28, 28, 3 * 28 }) != IVITI_OK ||
        iviti_session_top(session, 1, &best, NULL) != IVITI_OK)
        return 1;
    printf("%s, in %zu bytes, of which %zu are the session\n", iviti_model_label(model, best.index),
           used, bytes);
    iviti_session_free(session);
    iviti_model_free(model);
    return 0;
}

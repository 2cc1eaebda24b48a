/* SPDX-License-Identifier: Apache-2.0
 *
 * many-threads MODEL PICTURE...: one model and four threads, each with a session of its own. This
 * gives the most pictures per second; options.threads of one session gives the least time for a
 * picture.
 *
 *     cc many_threads.c $(pkg-config --cflags --libs iviti) -I/usr/include/stb -lm -pthread
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define STB_IMAGE_IMPLEMENTATION
#include <stb_image.h>

#include "iviti/iviti.h"

#define THREADS 4

/* What the threads share. Only `next` changes; each class is written by the thread that took it. */
typedef struct work {
    const iviti_model *model;
    char **path;
    size_t count;
    atomic_size_t next;
    long *found; /* the class of each picture, or -1 */
} work;

static long classify(iviti_session *session, const char *path)
{
    iviti_class best = { 0 };
    int width = 0;
    int height = 0;
    stbi_uc *const pixels = stbi_load(path, &width, &height, NULL, 3);
    const iviti_image image = { pixels, (uint32_t)width, (uint32_t)height, 3 * width };
    const int good = pixels != NULL && iviti_session_run(session, &image) == IVITI_OK &&
                     iviti_session_top(session, 1, &best, NULL) == IVITI_OK;
    stbi_image_free(pixels);
    return good ? (long)best.index : -1;
}

static void *worker(void *argument)
{
    work *const w = argument;
    iviti_session *session = NULL;

    if (iviti_session_create(w->model, NULL, &session) != IVITI_OK)
        return NULL; /* the others do its share */
    for (size_t i = atomic_fetch_add(&w->next, 1); i < w->count; i = atomic_fetch_add(&w->next, 1))
        w->found[i] = classify(session, w->path[i]);
    iviti_session_free(session);
    return NULL;
}

int main(int argc, char **argv)
{
    iviti_model *model = NULL;
    pthread_t threads[THREADS];
    int started = 0;

    if (argc < 3 || iviti_model_load(argv[1], NULL, &model) != IVITI_OK)
        return fprintf(stderr, "usage: many-threads MODEL PICTURE...\n"), 2;
    work w = { .model = model, .path = argv + 2, .count = (size_t)argc - 2 };
    w.found = malloc(w.count * sizeof(*w.found));
    for (size_t i = 0; w.found != NULL && i < w.count; i++)
        w.found[i] = -1;
    while (w.found != NULL && started < THREADS &&
           pthread_create(&threads[started], NULL, worker, &w) == 0)
        started++;
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; started > 0 && i < w.count; i++)
        printf("%s\t%s\n", w.path[i],
               w.found[i] < 0 ? "?" : iviti_model_label(model, (uint32_t)w.found[i]));
    free(w.found);
    iviti_model_free(model);
    return started > 0 ? 0 : 1;
}

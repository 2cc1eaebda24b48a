/* SPDX-License-Identifier: Apache-2.0
 *
 * similar-pictures MODEL QUERY PICTURE...: the pictures in order of likeness to the first, by the
 * features that the classifier reads. A search over millions keeps those and compares the same way.
 *     cc similar_pictures.c $(pkg-config --cflags --libs iviti) -I/usr/include/stb -lm
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STB_IMAGE_IMPLEMENTATION
#include <stb_image.h>

#include "iviti/iviti.h"

typedef struct likeness {
    const char *path;
    double cosine;
} likeness;

/* Copied, since the next run overwrites them. */
static int describe(iviti_session *session, const char *path, int8_t *features, size_t count)
{
    int width = 0;
    int height = 0;
    stbi_uc *const pixels = stbi_load(path, &width, &height, NULL, 3);
    const iviti_image image = { pixels, (uint32_t)width, (uint32_t)height, 3 * width };
    const int good = pixels != NULL && iviti_session_run(session, &image) == IVITI_OK;
    if (good)
        memcpy(features, iviti_session_features(session), count);
    stbi_image_free(pixels);
    return good;
}

static double dot(const int8_t *a, const int8_t *b, size_t count)
{
    int64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += a[i] * b[i];
    return (double)sum;
}

static int nearer(const void *a, const void *b)
{
    const double x = ((const likeness *)a)->cosine;
    const double y = ((const likeness *)b)->cosine;
    return (x < y) - (x > y);
}

int main(int argc, char **argv)
{
    iviti_model *model = NULL;
    iviti_session *session = NULL;
    iviti_model_info info;

    if (argc < 4 || iviti_model_load(argv[1], NULL, &model) != IVITI_OK ||
        iviti_session_create(model, NULL, &session) != IVITI_OK)
        return fprintf(stderr, "usage: similar-pictures MODEL QUERY PICTURE...\n"), 2;
    iviti_model_describe(model, &info);
    const size_t n = info.features;
    int8_t *const features = malloc(2 * n); /* the query's, and another's */
    likeness *const found = calloc((size_t)argc, sizeof(*found));
    size_t count = 0;
    if (features == NULL || found == NULL || !describe(session, argv[2], features, n))
        return fprintf(stderr, "%s cannot be used\n", argv[2]), 1;
    for (int i = 3; i < argc; i++)
        if (describe(session, argv[i], features + n, n)) {
            const double a = dot(features, features, n), b = dot(features + n, features + n, n);
            found[count++] = (likeness){ argv[i], dot(features, features + n, n) / sqrt(a * b) };
        }
    qsort(found, count, sizeof(*found), nearer);
    for (size_t i = 0; i < count; i++)
        printf("%6.3f  %s\n", found[i].cosine, found[i].path);
    free(found), free(features);
    iviti_session_free(session);
    iviti_model_free(model);
    return 0;
}

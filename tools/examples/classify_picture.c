/* SPDX-License-Identifier: Apache-2.0
 *
 * classify-picture MODEL PICTURE: the five most likely classes of a JPEG or PNG file.
 *
 *     cc classify_picture.c $(pkg-config --cflags --libs iviti) -I/usr/include/stb -lm
 */
#include <stdio.h>

#define STB_IMAGE_IMPLEMENTATION
#include <stb_image.h>

#include "iviti/iviti.h"

#define TOP 5

/* What went wrong in detail: the field, its value and the limit. */
static void print_message(void *user, iviti_status status, const char *message)
{
    (void)user;
    fprintf(stderr, "%s: %s\n", iviti_status_name(status), message);
}

static iviti_status classify(iviti_session *session, const iviti_model *model,
                             const iviti_image *image)
{
    iviti_class top[TOP];
    size_t count = 0;

    iviti_status status = iviti_session_run(session, image);
    if (status == IVITI_OK)
        status = iviti_session_top(session, TOP, top, &count);
    for (size_t i = 0; i < count; i++)
        printf("%5.1f %%  %s\n", top[i].probability * 100.0 / 65536,
               iviti_model_label(model, top[i].index));
    return status;
}

int main(int argc, char **argv)
{
    const iviti_log log = { print_message, NULL };
    const iviti_load_options load = { .log = log };
    const iviti_session_options options = { .log = log, .threads = 2 };
    iviti_model *model = NULL;
    iviti_session *session = NULL;
    int width = 0;
    int height = 0;

    if (argc != 3) {
        fprintf(stderr, "usage: classify-picture MODEL PICTURE\n");
        return 2;
    }
    stbi_uc *const pixels = stbi_load(argv[2], &width, &height, NULL, 3);
    if (pixels == NULL) {
        fprintf(stderr, "%s: %s\n", argv[2], stbi_failure_reason());
        return 1;
    }
    iviti_status status = iviti_model_load(argv[1], &load, &model);
    if (status == IVITI_OK)
        status = iviti_session_create(model, &options, &session);
    if (status == IVITI_OK) {
        /* Any size will do: the library resizes as the model's training did. */
        const iviti_image image = { pixels, (uint32_t)width, (uint32_t)height, 3 * width };
        status = classify(session, model, &image);
    }
    iviti_session_free(session);
    iviti_model_free(model);
    stbi_image_free(pixels);
    return status == IVITI_OK ? 0 : 1;
}

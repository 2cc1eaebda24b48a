/* SPDX-License-Identifier: Apache-2.0
 *
 * What a user's first program does, in the common part of C and C++: load a model, run it on a drawn stroke,
 * print the class. `argv[1]` is the model.
 */
#include <stdio.h>

#include "iviti/iviti.h"
#include "iviti/kernels.h"

int main(int argc, char **argv)
{
    static uint8_t pixels[28 * 28 * 3];
    iviti_model *model = NULL;
    iviti_session *session = NULL;
    iviti_class best;
    iviti_image image;

    for (int y = 4; y < 24; y++)
        for (int x = 0; x < 6; x++)
            pixels[(y * 28 + 13) * 3 + x] = 255;
    image.pixels = pixels;
    image.width = 28;
    image.height = 28;
    image.stride = 3 * 28;
    if (argc != 2 || iviti_isqrt(144) != 12 || iviti_model_load(argv[1], NULL, &model) != IVITI_OK ||
        iviti_session_create(model, NULL, &session) != IVITI_OK ||
        iviti_session_run(session, &image) != IVITI_OK ||
        iviti_session_top(session, 1, &best, NULL) != IVITI_OK)
        return 1;
    printf("%s %s\n", iviti_version(), iviti_model_label(model, best.index));
    iviti_session_free(session);
    iviti_model_free(model);
    return 0;
}

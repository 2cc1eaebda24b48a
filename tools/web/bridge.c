/* SPDX-License-Identifier: Apache-2.0
 *
 * What the page calls: one model and one session, numbers and addresses in and out, so that the page
 * needs to know the layout of no structure.
 */
#include <stdio.h>
#include <stdlib.h>

#include "iviti/iviti.h"

#define EXPORT __attribute__((used, visibility("default")))
#define TOP    5

static iviti_model *model;
static iviti_session *session;
static iviti_model_info info;
static iviti_class top[TOP];
static char message[1024];

static void keep_message(void *user, iviti_status status, const char *sentence)
{
    (void)user;
    (void)status;
    snprintf(message, sizeof(message), "%s", sentence);
}

/* Room for bytes from the page; the page gives it back. */
EXPORT void *bridge_take(size_t bytes)
{
    return malloc(bytes);
}

EXPORT void bridge_give(void *memory)
{
    free(memory);
}

/* Why the last call failed. */
EXPORT const char *bridge_message(void)
{
    return message;
}

/* Takes the place of the model before it only where it can be used. */
EXPORT iviti_status bridge_load(const void *data, size_t bytes)
{
    const iviti_log log = { keep_message, NULL };
    const iviti_load_options load = { .log = log };
    const iviti_session_options options = { .log = log, .attention = 1 };
    iviti_model *new_model = NULL;
    iviti_session *new_session = NULL;

    message[0] = '\0';
    iviti_status status = iviti_model_load_memory(data, bytes, &load, &new_model);
    if (status == IVITI_OK)
        status = iviti_session_create(new_model, &options, &new_session);
    if (status != IVITI_OK) {
        if (message[0] == '\0')
            keep_message(NULL, status, iviti_status_text(status));
        iviti_model_free(new_model);
        return status;
    }
    iviti_session_free(session);
    iviti_model_free(model);
    model = new_model;
    session = new_session;
    iviti_model_describe(model, &info);
    return IVITI_OK;
}

/* Runs a picture of 4 bytes a pixel, as a canvas has them; the fourth is left out, in place. */
EXPORT iviti_status bridge_run(uint8_t *rgba, uint32_t width, uint32_t height)
{
    const iviti_image image = { rgba, width, height, (ptrdiff_t)width * 3 };

    for (size_t i = 0; i < (size_t)width * height; i++) {
        rgba[3 * i] = rgba[4 * i];
        rgba[3 * i + 1] = rgba[4 * i + 1];
        rgba[3 * i + 2] = rgba[4 * i + 2];
    }
    iviti_status status = iviti_session_run(session, &image);
    if (status == IVITI_OK)
        status = iviti_session_top(session, TOP, top, NULL);
    if (status != IVITI_OK)
        keep_message(NULL, status, iviti_status_text(status));
    return status;
}

EXPORT uint32_t bridge_classes(void)
{
    return info.classes;
}

EXPORT uint32_t bridge_width(void)
{
    return info.image_width;
}

EXPORT uint32_t bridge_height(void)
{
    return info.image_height;
}

EXPORT const char *bridge_label(uint32_t index)
{
    return iviti_model_label(model, index);
}

EXPORT const int32_t *bridge_logits(void)
{
    return iviti_session_logits(session);
}

/* What the network saw: RGB, (height, width, 3). */
EXPORT const uint8_t *bridge_pixels(void)
{
    return iviti_session_pixels(session);
}

/* How much the class token attends to each patch in the last block, (height / patch, width / patch), in
 * units of 2^-16; NULL for a model without a class token. */
EXPORT const uint16_t *bridge_attention(void)
{
    return iviti_session_attention(session, 0, info.depth - 1);
}

EXPORT uint32_t bridge_patch(void)
{
    return info.patch_size;
}

/* The class at that place, and its probability in units of 2^-16. */
EXPORT uint32_t bridge_top(uint32_t place)
{
    return place < TOP ? top[place].index : 0;
}

EXPORT uint32_t bridge_probability(uint32_t place)
{
    return place < TOP ? top[place].probability : 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * A program for a microcontroller: no operating system, no malloc, no files. The model lies in flash, all
 * memory in one array; every picture's line is that of tests/golden/logits.txt.
 */
#include "device.h"
#include "logits_picture.h"

#define PICTURES 4

extern const uint8_t model_begin[], model_end[]; /* model.S */

/* ---- memory ------------------------------------------------------------------------------------- */

/* The library asks for what it gives back at once before what stays: the first block comes from the end of
 * the memory, which is then free again. */
static _Alignas(64) uint8_t memory[3 << 20];
static size_t used;
static void *temporary;

static void *allocate(void *user, size_t bytes)
{
    const size_t rounded = (bytes + 63) / 64 * 64;
    (void)user;
    if (rounded < bytes || rounded > sizeof memory - used)
        return NULL;
    if (used == 0 && temporary == NULL)
        return temporary = memory + sizeof memory - rounded;
    if (temporary != NULL && memory + used + rounded > (uint8_t *)temporary)
        return NULL;
    used += rounded;
    return memory + used - rounded;
}

static void release(void *user, void *block)
{
    (void)user;
    if (block == temporary)
        temporary = memory + sizeof memory; /* nothing is taken from the end again */
}

static void complain(void *user, iviti_status status, const char *message)
{
    (void)user;
    device_print(iviti_status_name(status));
    device_print(": ");
    device_print(message);
    device_print("\n");
}

/* ---- pictures ----------------------------------------------------------------------------------- */

static void print_line(unsigned number, uint64_t hash)
{
    char line[] = "digits-vit.gguf 0 0123456789abcdef\n";
    line[16] = (char)('0' + number);
    for (int i = 0; i < 16; i++)
        line[18 + i] = "0123456789abcdef"[hash >> (60 - 4 * i) & 15];
    device_print(line);
}

static iviti_status run(const iviti_model *model)
{
    static uint8_t pixels[300 * 300 * 3];
    const iviti_log log = { complain, NULL };
    const iviti_session_options options = { .log = log };
    iviti_session *session = NULL;
    iviti_model_info info;
    const size_t bytes = iviti_session_bytes(model, &options);
    void *const place = allocate(NULL, bytes);
    iviti_model_describe(model, &info);
    iviti_status status = iviti_session_create_in(place, bytes, model, &options, &session);
    for (unsigned n = 0; n < PICTURES && status == IVITI_OK; n++) {
        const iviti_image image = paint(n, pixels);
        status = iviti_session_run(session, &image);
        if (status == IVITI_OK)
            print_line(n, hash_logits(iviti_session_logits(session), info.classes));
    }
    iviti_session_free(session);
    return status;
}

int main(void)
{
    const iviti_load_options options = { .allocator = { allocate, release, NULL },
                                         .log = { complain, NULL } };
    iviti_model *model = NULL;
    iviti_status status = iviti_model_load_memory(model_begin, (size_t)(model_end - model_begin),
                                                  &options, &model);
    if (status == IVITI_OK)
        status = run(model);
    iviti_model_free(model);
    return status == IVITI_OK ? 0 : 1;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * stb_image, compiled here and nowhere else, with everything off that these tools do not need.
 *
 * Its allocations are counted against a budget, because a few kilobytes of deflated zeros can ask
 * for gigabytes; what it frees is not credited, which keeps the count simple. Its blocks are noted,
 * because on some of its failures it forgets to free what it has. Budget and notes belong to the
 * thread, so that pictures may be decoded side by side.
 */
#include "picture/stb_decode.h"

#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "picture/picture.h"

static _Thread_local uint64_t budget;
static _Thread_local bool over_budget, out_of_memory;

#define MOST_BLOCKS 64 /* that the decoder holds at a time; it asks for about twenty */

static _Thread_local void *blocks[MOST_BLOCKS]; /* NULL: free */

/* Where the block is noted, or a free place for NULL; NULL where there is none. */
static void **note_of(const void *block)
{
    for (size_t i = 0; i < MOST_BLOCKS; i++)
        if (blocks[i] == block)
            return &blocks[i];
    return NULL;
}

static bool spend(size_t bytes)
{
    if (bytes > budget) {
        over_budget = true;
        return false;
    }
    budget -= bytes;
    return true;
}

/* Zeros, because tables and coefficients that a file leaves out are used as they are. */
static void *budget_allocate(size_t bytes)
{
    void **const note = note_of(NULL);
    void *const memory = note && spend(bytes) ? calloc(bytes ? bytes : 1, 1) : NULL;
    out_of_memory |= !memory;
    if (memory)
        *note = memory;
    return memory;
}

static void *budget_resize(void *memory, size_t old, size_t bytes)
{
    const size_t more = bytes > old ? bytes - old : 0;
    void **const note = note_of(memory);
    uint8_t *const moved = note && spend(more) ? realloc(memory, bytes) : NULL;
    out_of_memory |= !moved;
    if (!moved)
        return NULL;
    *note = moved;
    if (more > 0)
        memset(moved + old, 0, more);
    return moved;
}

static void budget_release(void *memory)
{
    void **const note = memory ? note_of(memory) : NULL;
    if (note)
        *note = NULL;
    free(memory);
}

/* What the decoder has left behind. */
static void release_all(void)
{
    for (size_t i = 0; i < MOST_BLOCKS; i++)
        budget_release(blocks[i]);
}

#define STBI_MALLOC(bytes)                     budget_allocate(bytes)
#define STBI_REALLOC_SIZED(memory, old, bytes) budget_resize(memory, old, bytes)
#define STBI_FREE(memory)                      budget_release(memory)
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
#define STBI_NO_HDR
#define STBI_NO_LINEAR
#define STBI_MAX_DIMENSIONS    PICTURE_MAX_SIDE
#define STBI_ASSERT(condition) ((void)0)
#define STB_IMAGE_IMPLEMENTATION
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized" /* fields for reading from callbacks */
#endif
#include <stb_image.h>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

/* What stb_image asks for in all, released or not: the compressed bytes, the inflated rows of up to
 * 8 bytes a pixel, the picture at 16 and at 8 bits, before and after its passes and its palette; or
 * the coefficients and planes of a JPEG, in blocks of up to 32 x 32 pixels. */
static uint64_t budget_of(size_t size, uint32_t width, uint32_t height)
{
    return 4 * (uint64_t)size + 48 * ((uint64_t)width + 31) * ((uint64_t)height + 31) +
           (UINT64_C(1) << 20);
}

uint8_t *stb_decode(const uint8_t *data, size_t size, uint32_t width, uint32_t height,
                    const char **reason)
{
    int decoded_width, decoded_height, channels;
    if (size > INT_MAX) {
        *reason = "it has too many bytes";
        return NULL;
    }
    budget = budget_of(size, width, height);
    over_budget = out_of_memory = false;
    stbi_uc *const pixels =
        stbi_load_from_memory(data, (int)size, &decoded_width, &decoded_height, &channels, 3);
    if (pixels)
        *note_of(pixels) = NULL; /* the caller's */
    release_all();
    if (!pixels) {
        *reason = over_budget     ? "it holds more data than its size allows"
                  : out_of_memory ? "there is not enough memory"
                                  : "its data are damaged";
        return NULL;
    }
    if (decoded_width != (int)width || decoded_height != (int)height) {
        free(pixels);
        *reason = "its size changes in the middle";
        return NULL;
    }
    return pixels;
}

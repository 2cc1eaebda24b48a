/* SPDX-License-Identifier: Apache-2.0
 *
 * Preloaded into a program that claims not to allocate: its first attempt ends it.
 */
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

void *malloc(size_t bytes)
{
    static const char sentence[] = "memory was asked for\n";

    (void)bytes;
    if (write(2, sentence, sizeof(sentence) - 1) < 0) {
        _exit(4);
    }
    _exit(3);
}

void *calloc(size_t count, size_t bytes)
{
    return malloc(count * bytes);
}

void *realloc(void *memory, size_t bytes)
{
    (void)memory;
    return malloc(bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    (void)alignment;
    return malloc(bytes);
}

void free(void *memory)
{
    (void)memory;
}

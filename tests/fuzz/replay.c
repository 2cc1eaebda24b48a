/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_NAME [--flips N] PATH...: gives every file, and every file of every folder, to the harness it is
 * linked with. With --flips each file is tried N more times with a few bytes changed at random, always the
 * same: a little fuzzing where there is no libFuzzer, such as under an emulator.
 */
#define _POSIX_C_SOURCE   200809L
#define _FILE_OFFSET_BITS 64

#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

static unsigned long flips;
static unsigned long executions, files;

static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static void execute(const uint8_t *data, size_t size)
{
    uint8_t *const copy = fuzz_copy(data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    executions++;
}

/* One to eight bytes become others, or the end is cut off. */
static void execute_flipped(const uint8_t *data, size_t size, uint64_t *state)
{
    static const uint8_t usual[] = { 0x00, 0x01, 0x7F, 0x80, 0xFF };
    uint8_t *const copy = fuzz_copy(data, size);
    const unsigned changes = 1 + next_random(state) % 8;
    for (unsigned i = 0; i < changes; i++) {
        uint8_t *const byte = copy + next_random(state) % size;
        const uint32_t how = next_random(state);
        *byte = how % 3 == 0   ? usual[how / 3 % sizeof usual]
                : how % 3 == 1 ? (uint8_t)(*byte ^ 1u << how / 3 % 8)
                               : (uint8_t)(how >> 8);
    }
    execute(copy, next_random(state) % 16 == 0 ? next_random(state) % size : size);
    free(copy);
}

static void replay_file(const char *path)
{
    FILE *const file = fopen(path, "rb");
    uint8_t *data = NULL;
    size_t size = 0, got;
    if (file == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(2);
    }
    do {
        data = realloc(data, size + 65536);
        if (data == NULL)
            exit(2);
        got = fread(data + size, 1, 65536, file);
        size += got;
    } while (got > 0);
    fclose(file);
    files++;
    execute(data, size);
    uint64_t state = fuzz_hash(data, size);
    for (unsigned long i = 0; i < flips && size > 0; i++)
        execute_flipped(data, size, &state);
    free(data);
}

static void replay(const char *path)
{
    struct stat status = { .st_mode = 0 }; /* MemorySanitizer does not see that stat() fills it */
    if (stat(path, &status) != 0 || !S_ISDIR(status.st_mode)) {
        replay_file(path);
        return;
    }
    struct dirent **entries;
    const int count = scandir(path, &entries, NULL, alphasort);
    if (count < 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(2);
    }
    for (int i = 0; i < count; i++) {
        char inside[4096];
        if (entries[i]->d_name[0] != '.') {
            snprintf(inside, sizeof inside, "%s/%s", path, entries[i]->d_name);
            replay_file(inside);
        }
        free(entries[i]);
    }
    free(entries);
}

int main(int argc, char **argv)
{
    int first = 1;
    if (argc > 2 && strcmp(argv[1], "--flips") == 0) {
        flips = strtoul(argv[2], NULL, 10);
        first = 3;
    }
    if (first >= argc) {
        fprintf(stderr, "usage: %s [--flips N] PATH...\n", argv[0]);
        return 2;
    }
    for (int i = first; i < argc; i++)
        replay(argv[i]);
    printf("%lu files, %lu executions\n", files, executions);
    return files > 0 ? 0 : 1;
}

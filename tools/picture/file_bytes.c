/* SPDX-License-Identifier: Apache-2.0
 *
 * Bounded reading of whole files, pipes included.
 */
#define _POSIX_C_SOURCE 200809L

#include "picture/file_bytes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FIRST_BLOCK ((size_t)64 << 10)

/* Reads until the end, doubling the block; one byte beyond the limit tells that there is more. */
static bool read_all(FILE *file, const char *path, uint64_t limit, size_t block, uint8_t **data,
                     size_t *size, report *r)
{
    uint8_t *bytes = malloc(block + 1);
    size_t used = 0;
    while (bytes) {
        used += fread(bytes + used, 1, block - used, file);
        if (used > limit) {
            free(bytes);
            return report_fail(r, "%s: file is longer than %llu bytes, the limit", path,
                               (unsigned long long)limit);
        }
        if (ferror(file)) {
            const int code = errno;
            free(bytes);
            return report_fail(r, "%s: cannot be read: %s", path, strerror(code));
        }
        if (used < block) {
            bytes[used] = 0;
            *data = bytes;
            *size = used;
            return true;
        }
        uint8_t *const longer = block <= SIZE_MAX / 4 ? realloc(bytes, 2 * block + 1) : NULL;
        if (!longer)
            free(bytes);
        bytes = longer;
        block *= 2;
    }
    return report_fail(r, "%s: not enough memory to read it", path);
}

bool file_bytes_read(const char *path, uint64_t limit, uint8_t **data, size_t *size, report *r)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return report_fail(r, "%s: cannot be opened: %s", path, strerror(errno));
    if (S_ISDIR(status.st_mode))
        return report_fail(r, "%s: is a folder, not a file", path);
    FILE *const file = fopen(path, "rb");
    if (!file)
        return report_fail(r, "%s: cannot be opened: %s", path, strerror(errno));
    size_t block = FIRST_BLOCK;
    if (status.st_size > 0 && (uint64_t)status.st_size <= limit)
        block = (size_t)status.st_size + 1;
    const bool done = read_all(file, path, limit, block, data, size, r);
    fclose(file);
    return done;
}

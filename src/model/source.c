/* SPDX-License-Identifier: Apache-2.0
 *
 * Files and blocks of memory as sources of a model's bytes.
 */
#if (defined(__unix__) || defined(__APPLE__)) && !defined(IVITI_FREESTANDING)
#define IVITI_POSIX       1
#define _POSIX_C_SOURCE   200809L
#define _FILE_OFFSET_BITS 64
#include <sys/stat.h>
#endif

#include "model/source.h"

#include <string.h>

#include "base/log.h"

#ifdef IVITI_FREESTANDING

iviti_status iviti_file_source_open(iviti_file_source *f, const char *path, const iviti_log *log)
{
    (void)f;
    return iviti_log_fail(log, IVITI_ERROR_UNSUPPORTED,
                          "cannot open '%s': this build of the library reads no files", path);
}

void iviti_file_source_close(iviti_file_source *f)
{
    (void)f;
}

#else
#include <errno.h>
#include <stdio.h>

static size_t read_file(void *user, void *buffer, size_t bytes)
{
    return fread(buffer, 1, bytes, user);
}

static const char *reason(int error)
{
    switch (error) {
    case ENOENT:
        return "there is no such file";
    case EACCES:
        return "permission denied";
#if defined(IVITI_POSIX)
    case ENOTDIR:
        return "a part of the path is not a folder";
    case EMFILE:
    case ENFILE:
        return "too many open files";
    case ENAMETOOLONG:
        return "the name is too long";
#endif
    default:
        return "the system refuses";
    }
}

/* The length of an open file, or a negative number. */
static int64_t file_size(FILE *file)
{
#if defined(IVITI_POSIX)
    struct stat status;
    return fstat(fileno(file), &status) == 0 ? status.st_size : -1;
#else
    if (fseek(file, 0, SEEK_END) != 0)
        return -1;
    const long size = ftell(file);
    return fseek(file, 0, SEEK_SET) == 0 ? size : -1;
#endif
}

iviti_status iviti_file_source_open(iviti_file_source *f, const char *path, const iviti_log *log)
{
    errno = 0;
#if defined(IVITI_POSIX)
    /* Before opening: a pipe without a writer would make fopen() wait for one. */
    struct stat status;
    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode))
        return iviti_log_fail(log, IVITI_ERROR_IO, "cannot read '%s': it is %s", path,
                              S_ISDIR(status.st_mode) ? "a folder" : "not a regular file");
#endif
    FILE *const file = fopen(path, "rb");
    if (file == NULL)
        return iviti_log_fail(log, IVITI_ERROR_IO, "cannot open '%s': %s", path, reason(errno));
    /* The reader asks for large pieces: a second buffer would only copy them once more. */
    setvbuf(file, NULL, _IONBF, 0);
    const int64_t size = file_size(file);
    if (size < 0) {
        fclose(file);
        return iviti_log_fail(log, IVITI_ERROR_IO, "cannot find the length of '%s'", path);
    }
    f->file = file;
    f->source = (iviti_source){ read_file, file, (uint64_t)size };
    return IVITI_OK;
}

void iviti_file_source_close(iviti_file_source *f)
{
    fclose(f->file);
}

#endif

static size_t read_memory(void *user, void *buffer, size_t bytes)
{
    iviti_memory_source *const m = user;
    memcpy(buffer, m->at, bytes);
    m->at += bytes;
    return bytes;
}

void iviti_memory_source_open(iviti_memory_source *m, const void *data, size_t size)
{
    m->at = data;
    m->source = (iviti_source){ read_memory, m, size };
}

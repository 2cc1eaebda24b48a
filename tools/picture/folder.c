/* SPDX-License-Identifier: Apache-2.0
 *
 * Listing of picture folders.
 */
#define _POSIX_C_SOURCE 200809L

#include "picture/folder.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool ends_in(const char *name, const char *ending)
{
    const size_t length = strlen(name), tail = strlen(ending);
    if (length <= tail)
        return false;
    for (size_t i = 0; i < tail; i++)
        if (lower(name[length - tail + i]) != ending[i])
            return false;
    return true;
}

static bool is_picture_name(const char *name)
{
    return ends_in(name, ".jpg") || ends_in(name, ".jpeg") || ends_in(name, ".png");
}

static int by_name(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

/* Appends folder/name; false without memory. */
static bool append(folder *f, size_t *room, const char *path, const char *name)
{
    if (f->count == *room) {
        const size_t wanted = *room ? 2 * *room : 64;
        char **const longer = realloc(f->paths, wanted * sizeof *longer);
        if (!longer)
            return false;
        f->paths = longer;
        *room = wanted;
    }
    const size_t bytes = strlen(path) + strlen(name) + 2;
    char *const joined = malloc(bytes);
    if (!joined)
        return false;
    const bool slash = path[0] != '\0' && path[strlen(path) - 1] != '/';
    snprintf(joined, bytes, "%s%s%s", path, slash ? "/" : "", name);
    f->paths[f->count++] = joined;
    return true;
}

static bool is_folder(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

static bool list(DIR *directory, const char *path, folder *f, report *r)
{
    size_t room = 0;
    for (;;) {
        errno = 0;
        const struct dirent *const entry = readdir(directory);
        if (!entry && errno != 0)
            return report_fail(r, "%s: folder cannot be read: %s", path, strerror(errno));
        if (!entry)
            return true;
        if (!is_picture_name(entry->d_name))
            continue;
        if (f->count == FOLDER_MAX_PICTURES)
            return report_fail(r, "%s: more than %u pictures in the folder, the limit", path,
                               FOLDER_MAX_PICTURES);
        if (!append(f, &room, path, entry->d_name))
            return report_fail(r, "%s: not enough memory to list the folder", path);
        if (is_folder(f->paths[f->count - 1]))
            free(f->paths[--f->count]);
    }
}

/* All paths have the same beginning, so their order is that of the names. */
static bool finish(const char *path, folder *f, report *r)
{
    if (f->count == 0)
        return report_fail(r, "%s: no pictures (.jpg, .jpeg or .png) in the folder", path);
    f->names = malloc(f->count * sizeof *f->names);
    if (!f->names)
        return report_fail(r, "%s: not enough memory to list the folder", path);
    qsort(f->paths, f->count, sizeof *f->paths, by_name);
    for (size_t i = 0; i < f->count; i++)
        f->names[i] = strrchr(f->paths[i], '/') + 1;
    return true;
}

bool folder_open(const char *path, folder *out, report *r)
{
    folder f = { NULL, NULL, 0 };
    DIR *const directory = opendir(path);
    if (!directory && errno == ENOTDIR)
        return report_fail(r, "%s: is not a folder", path);
    if (!directory)
        return report_fail(r, "%s: folder cannot be opened: %s", path, strerror(errno));
    const bool listed = list(directory, path, &f, r);
    closedir(directory);
    if (!listed || !finish(path, &f, r)) {
        folder_free(&f);
        return false;
    }
    *out = f;
    return true;
}

void folder_free(folder *f)
{
    if (!f)
        return;
    for (size_t i = 0; i < f->count; i++)
        free(f->paths[i]);
    free(f->paths);
    free(f->names);
    *f = (folder){ NULL, NULL, 0 };
}

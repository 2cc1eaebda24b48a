/* SPDX-License-Identifier: Apache-2.0
 *
 * The pictures that lie in a folder.
 */
#ifndef FOLDER_H
#define FOLDER_H

#include <stddef.h>

#include "common/report.h"

#define FOLDER_MAX_PICTURES 4194304u

typedef struct folder {
    char **paths; /* (count) the folder's path, '/', and a name; sorted bytewise by name */
    char **names; /* (count) the names, inside `paths` */
    size_t count; /* at least 1 */
} folder;

/* The files of `path` that end in .jpg, .jpeg or .png, in upper or lower case; folders inside are
 * not entered. It is an error if there are none. `out` is written on success only. */
bool folder_open(const char *path, folder *out, report *r);
void folder_free(folder *f); /* NULL and an empty folder are allowed */

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Names of classes, from a text file.
 */
#ifndef CLASS_NAMES_H
#define CLASS_NAMES_H

#include <stddef.h>

#include "common/report.h"

#define CLASS_NAMES_MAX     65536u
#define CLASS_NAMES_LONGEST 1024u /* bytes */

typedef struct class_names {
    char **names; /* (count), each malloc'ed */
    size_t count; /* 1 to CLASS_NAMES_MAX */
} class_names;

/* A name a line, in index order: UTF-8 of 1 to CLASS_NAMES_LONGEST bytes. `out` is written on
 * success only. */
bool class_names_read(const char *path, class_names *out, report *r);
void class_names_free(class_names *c); /* NULL and empty names are allowed */

#endif

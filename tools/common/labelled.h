/* SPDX-License-Identifier: Apache-2.0
 *
 * Pictures with their true classes, from a file of lines `FILE TAB CLASS INDEX`. Empty lines are
 * skipped; anything else that is not such a line is refused with its number.
 */
#ifndef LABELLED_H
#define LABELLED_H

#include <stddef.h>
#include <stdint.h>

#include "common/report.h"

#define LABELLED_MAX 10000000

typedef struct labelled_picture {
    char *path; /* the folder and the file's name */
    uint32_t label;
} labelled_picture;

typedef struct labelled {
    size_t count;
    labelled_picture *item;
} labelled;

/* Reads at most `limit` lines (0: all); every class must be below `classes`. False and a sentence
 * on failure, and nothing to free. */
bool labelled_read(labelled *out, const char *labels, const char *folder, uint32_t classes,
                   size_t limit, report *r);
void labelled_free(labelled *l);

#endif

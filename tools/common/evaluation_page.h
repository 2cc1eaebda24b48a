/* SPDX-License-Identifier: Apache-2.0
 *
 * An evaluation as one HTML file that needs no other: figures, confusion, pictures, times.
 */
#ifndef EVALUATION_PAGE_H
#define EVALUATION_PAGE_H

#include <stdio.h>

#include "common/evaluation.h"

/* `path` is what the page calls the model. The worst pictures are run once more, to show what the
 * network saw. False and a sentence on failure; the file stays the caller's. */
bool evaluation_page(FILE *file, const char *path, const evaluation_task *task, const evaluation *e,
                     report *r);

#endif

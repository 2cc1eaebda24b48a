/* SPDX-License-Identifier: Apache-2.0
 *
 * Files and blocks of memory as sources of a model's bytes.
 */
#ifndef IVITI_SOURCE_H
#define IVITI_SOURCE_H

#include "iviti/iviti.h"

typedef struct iviti_file_source {
    iviti_source source; /* of the whole file */
    void *file; /* a FILE */
} iviti_file_source;

/* Opens a regular file. Returns IVITI_OK or IO. The struct must not move while it is open. */
iviti_status iviti_file_source_open(iviti_file_source *f, const char *path, const iviti_log *log);
void iviti_file_source_close(iviti_file_source *f);

typedef struct iviti_memory_source {
    iviti_source source;
    const uint8_t *at; /* the next byte to deliver */
} iviti_memory_source;

/* The struct must not move while it is in use. */
void iviti_memory_source_open(iviti_memory_source *m, const void *data, size_t size);

#endif

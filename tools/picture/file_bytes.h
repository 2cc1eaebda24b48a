/* SPDX-License-Identifier: Apache-2.0
 *
 * A whole file in memory, within a limit.
 */
#ifndef FILE_BYTES_H
#define FILE_BYTES_H

#include <stdint.h>

#include "common/report.h"

/* Reads at most `limit` bytes; a longer file is refused. *data is malloc'ed, one byte longer than
 * *size, and that byte is 0. Outputs are written on success only. */
bool file_bytes_read(const char *path, uint64_t limit, uint8_t **data, size_t *size, report *r);

#endif

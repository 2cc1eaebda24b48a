/* SPDX-License-Identifier: Apache-2.0
 *
 * SHA-256 (FIPS 180-4), for the provenance of checkpoints.
 */
#ifndef SHA256_H
#define SHA256_H

#include <stddef.h>
#include <stdint.h>

/* 64 lower-case hexadecimal digits and a NUL. */
void sha256_hex(const void *data, size_t bytes, char out[65]);

#endif

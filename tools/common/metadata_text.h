/* SPDX-License-Identifier: Apache-2.0
 *
 * The value of a metadata pair of a GGUF file, of whatever type, for people and for JSON.
 */
#ifndef METADATA_TEXT_H
#define METADATA_TEXT_H

#include <stdio.h>

#include "common/json_out.h"
#include "model/gguf.h"

/* "KEY = VALUE" on one line; long arrays and strings are cut, and it says so. */
void metadata_print(FILE *file, const iviti_gguf_pair *pair);

/* The whole value under its key. */
void metadata_put(json_out *j, const iviti_gguf_pair *pair);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory from the caller's allocator, aligned for the kernels.
 */
#ifndef IVITI_MEMORY_H
#define IVITI_MEMORY_H

#include <stdbool.h>

#include "iviti/iviti.h"

#define IVITI_ALIGNMENT 64 /* of everything that a kernel reads or writes in bulk */

/* Whether both functions are given, or neither. */
bool iviti_allocator_valid(const iviti_allocator *given);

/* The allocator to use: malloc and free where none is given. */
iviti_allocator iviti_allocator_or_default(const iviti_allocator *given);

/* `bytes` bytes aligned to IVITI_ALIGNMENT, or NULL. `block` receives what to release. */
void *iviti_allocate(const iviti_allocator *allocator, size_t bytes, void **block);

/* NULL is allowed. */
void iviti_release(const iviti_allocator *allocator, void *block);

#endif

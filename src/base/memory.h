/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory from the caller's allocator, aligned for the kernels.
 */
#ifndef IVITI_MEMORY_H
#define IVITI_MEMORY_H

#include <stdbool.h>

#include "iviti/iviti.h"

#define IVITI_ALIGNMENT 64 /* of everything that a kernel reads or writes in bulk */

/* The allocator to use: malloc and free where none is given. False if only one of its two functions
 * is, or if none is given and the build is freestanding. `given` may be NULL. */
bool iviti_allocator_resolve(const iviti_allocator *given, iviti_allocator *resolved);

/* `bytes` bytes aligned to IVITI_ALIGNMENT, or NULL. `block` receives what to release. */
void *iviti_allocate(const iviti_allocator *allocator, size_t bytes, void **block);

/* NULL is allowed. */
void iviti_release(const iviti_allocator *allocator, void *block);

#endif

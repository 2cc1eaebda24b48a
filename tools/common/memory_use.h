/* SPDX-License-Identifier: Apache-2.0
 *
 * How much memory this process has taken.
 */
#ifndef MEMORY_USE_H
#define MEMORY_USE_H

#include <stdint.h>

/* The largest resident set so far, in bytes; 0 where the system does not tell. */
uint64_t memory_use_peak(void);

#endif

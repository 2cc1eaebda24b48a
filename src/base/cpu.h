/* SPDX-License-Identifier: Apache-2.0
 *
 * Which instruction sets this processor, its operating system and this build have together.
 */
#ifndef IVITI_CPU_H
#define IVITI_CPU_H

#include <stdbool.h>
#include <stdint.h>

#include "iviti/iviti.h"

/* A set of instruction sets: bit 1 << isa. */
typedef uint32_t iviti_isa_set;

static inline bool iviti_isa_in(iviti_isa isa, iviti_isa_set set)
{
    return (set >> isa & 1) != 0;
}

/* All that can run here; asks the processor each time, so keep the answer where it is used often.
 */
iviti_isa_set iviti_cpu_detect(void);

/* The fastest member of `set` that is not above `cap`; IVITI_ISA_BEST is no cap. */
iviti_isa iviti_isa_best(iviti_isa_set set, iviti_isa cap);

#endif

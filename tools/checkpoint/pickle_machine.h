/* SPDX-License-Identifier: Apache-2.0
 *
 * Between the pickle machine's two files: pickle.c steps through the opcodes, pickle_call.c checks
 * what torch.save expresses as calls.
 */
#ifndef CHECKPOINT_PICKLE_MACHINE_H
#define CHECKPOINT_PICKLE_MACHINE_H

#include "checkpoint/pickle.h"

#define PICKLE_MAX_MARKS 32

typedef struct machine {
    container *c;
    cursor *at;
    pickle *p;
    pickle_mode mode;
    const char *what;
    size_t opcode_at;
    uint32_t *stack; /* node indices */
    size_t depth, stack_capacity;
    size_t marks[PICKLE_MAX_MARKS]; /* stack depths */
    size_t mark_count;
    uint32_t *memo;
    size_t memo_count, memo_capacity;
    uint64_t memo_first;
} machine;

/* "FILE: data.pkl, byte N: sentence". */
bool machine_refuse(machine *m, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;

/* The array with room for one element more than `count`, perhaps moved; NULL and a sentence above
 * the limit, and the array stays as it was. */
void *machine_grow(machine *m, void *array, size_t *capacity, size_t count, size_t element,
                   size_t limit, const char *what);

bool machine_push(machine *m, uint32_t node);
bool machine_pop(machine *m, uint32_t *node);

/* A new node on the stack; the pointer is good until the next one. NULL and a sentence on failure.
 */
pickle_node *machine_new(machine *m, pickle_kind kind);

bool machine_global(machine *m);
bool machine_persistent_id(machine *m);
bool machine_reduce(machine *m);
bool machine_build(machine *m);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of checkkernel share: random numbers, guarded memory, and the comparison of a
 * kernel with its reference.
 */
#ifndef CHECK_H
#define CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/kernel.h"

/* ---- random numbers -------------------------------------------------------------------------- */

/* How the operands of a case are filled. */
typedef enum filling {
    UNIFORM, /* every value alike */
    EXTREME, /* the ends of the range alone */
    SPARSE,  /* mostly the middle of the range */
    FILLINGS
} filling;

typedef struct chance {
    uint64_t state;
    filling filling;
    const uint8_t *bytes; /* (left) taken before random ones: a fuzzer's input */
    size_t left;
} chance;

uint32_t chance_u32(chance *c);
int32_t chance_between(chance *c, int32_t low, int32_t high); /* uniform in [low, high] */
int32_t chance_value(chance *c, int32_t low, int32_t high);   /* as c->filling says */
bool chance_one_in(chance *c, uint32_t n);

/* m and c of a requantisation: c in [low, high], often such that a value of `bits` bits becomes one
 * of `to` bits, sometimes at the ends of the range. */
iviti_dyadic chance_factor(chance *c, int bits, int to, int32_t low, int32_t high);

/* ---- guarded memory -------------------------------------------------------------------------- */

/* Where blocks lie between the two untouchable pages around each. */
typedef enum placement {
    AT_END,   /* the last byte is the last that can be touched */
    AT_START, /* the first byte is the first that can be touched */
    ODD,      /* one element after it */
    PLACEMENTS
} placement;

#define BLOCKS 24

typedef struct memory {
    struct block {
        uint8_t *pages; /* that can be touched, an untouchable one on either side */
        size_t page_bytes;
        uint8_t *data;
    } block[BLOCKS];
    size_t blocks;
    placement placement;
} memory;

/* A block filled with poison. `align` is all the alignment that the contract promises. */
void *memory_take(memory *m, size_t bytes, size_t align);

/* From now on the block cannot be written: an input. */
void memory_protect(memory *m, const void *block);

void memory_release(memory *m);

/* ---- one kernel against its reference -------------------------------------------------------- */

typedef void function(void);

typedef struct test {
    const char *name;
    function *reference;
    function *kernel;
    chance chance;
    memory memory;
    bool bench;
    bool drawn; /* one case of a shape drawn by `chance` instead of the list of shapes */
    bool failed;
    unsigned cases;
} test;

/* Every operator also takes these widths, so that no tail of a vector is left to chance. */
#define TAIL_FIRST 29
#define TAIL_LAST  35

/* Two blocks with the same bytes: one for the reference, one for the kernel. */
typedef struct twins {
    uint8_t *expected;
    uint8_t *actual;
} twins;

twins twins_take(test *t, size_t bytes, size_t align);

/* The reference's block, once filled, is what the kernel finds too: an operand that it changes. */
void twins_copy(const twins *o, size_t bytes);

/* One case: `call` calls `f`, of the operator's type, with the operands in `context` and with
 * `output`. Compares what reference and kernel make of the twins and of all that surrounds them; a
 * fault in the kernel fails the test. With --bench prints the times of both; `work` counts
 * multiply-accumulates or elements. */
typedef void call_function(const void *context, function *f, uint8_t *output);

void run_case(test *t, const char *shape, double work, const twins *o, call_function *call,
              const void *context);

/* Called by the handler of faults: does not return while a kernel runs. */
void leave_kernel(void);

/* ---- the operators: every shape once, with the filling and placement that the test has ------- */

typedef void check_function(test *t);

check_function check_dense_s8, check_dense_table, check_dense_s16, check_dense_s32,
    check_dense_join, check_dense_keys, check_dense_values, check_attention, check_norm_s8,
    check_norm_s16, check_shift_gelu, check_clip_s8,
    check_resample_row, check_resample_add, check_crc32c;

#endif

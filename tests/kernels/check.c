/* SPDX-License-Identifier: Apache-2.0
 *
 * Random operands, guarded memory, and the verdict on one case.
 */
#define _DEFAULT_SOURCE
#include "check.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define POISON 0xA5

/* ---- random numbers -------------------------------------------------------------------------- */

/* SplitMix64: every seed gives a good sequence. */
uint32_t chance_u32(chance *c)
{
    if (c->left > 0) {
        uint32_t value = 0;
        for (int i = 0; i < 4 && c->left > 0; i++, c->left--)
            value = value << 8 | *c->bytes++;
        return value;
    }
    uint64_t z = c->state += 0x9E3779B97F4A7C15;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return (uint32_t)(z >> 32);
}

int32_t chance_between(chance *c, int32_t low, int32_t high)
{
    const uint64_t span = (uint64_t)((int64_t)high - low) + 1;
    return (int32_t)(low + (int64_t)(chance_u32(c) * span >> 32));
}

bool chance_one_in(chance *c, uint32_t n)
{
    return chance_u32(c) % n == 0;
}

int32_t chance_value(chance *c, int32_t low, int32_t high)
{
    switch (c->filling) {
    case EXTREME:
        return chance_one_in(c, 2) ? low : high;
    case SPARSE:
        if (!chance_one_in(c, 8))
            return (int32_t)(((int64_t)low + high + 1) / 2);
        break;
    default:
        break;
    }
    return chance_between(c, low, high);
}

iviti_dyadic chance_factor(chance *c, int bits, int to, int32_t low, int32_t high)
{
    iviti_dyadic f = { chance_between(c, 1 << 30, INT32_MAX), chance_between(c, low, high) };
    const int32_t usual = 31 + bits - to + chance_between(c, -2, 2);

    if (!chance_one_in(c, 4))
        f.shift = usual < low ? low : usual > high ? high : usual;
    else if (chance_one_in(c, 2))
        f.shift = chance_one_in(c, 2) ? low : high;
    if (chance_one_in(c, 4))
        f.multiplier = chance_one_in(c, 2) ? 1 << 30 : INT32_MAX;
    return f;
}

/* ---- guarded memory -------------------------------------------------------------------------- */

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

void *memory_take(memory *m, size_t bytes, size_t align)
{
    const size_t page = page_size();
    const size_t page_bytes = (bytes + 2 * 64 + page - 1) / page * page;

    if (m->blocks == BLOCKS)
        abort();
    uint8_t *map = mmap(NULL, page_bytes + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED || mprotect(map + page, page_bytes, PROT_READ | PROT_WRITE) != 0) {
        perror("checkkernel: mmap");
        exit(2);
    }

    struct block *b = &m->block[m->blocks++];
    *b = (struct block){ map + page, page_bytes, map + page };
    if (m->placement == AT_END)
        b->data += (page_bytes - bytes) / align * align;
    else if (m->placement == ODD)
        b->data += align;
    memset(b->pages, POISON, page_bytes);
    return b->data;
}

static struct block *block_of(memory *m, const void *data)
{
    for (size_t i = 0; i < m->blocks; i++)
        if (m->block[i].data == data)
            return &m->block[i];
    abort();
}

void memory_protect(memory *m, const void *data)
{
    const struct block *b = block_of(m, data);
    if (mprotect(b->pages, b->page_bytes, PROT_READ) != 0) {
        perror("checkkernel: mprotect");
        exit(2);
    }
}

void memory_release(memory *m)
{
    const size_t page = page_size();
    for (size_t i = 0; i < m->blocks; i++)
        munmap(m->block[i].pages - page, m->block[i].page_bytes + 2 * page);
    m->blocks = 0;
}

/* ---- verdicts -------------------------------------------------------------------------------- */

twins twins_take(test *t, size_t bytes, size_t align)
{
    uint8_t *expected = memory_take(&t->memory, bytes, align);
    uint8_t *actual = memory_take(&t->memory, bytes, align);
    return (twins){ expected, actual };
}

void twins_copy(const twins *o, size_t bytes)
{
    memcpy(o->actual, o->expected, bytes);
}

static void fail(test *t, const char *shape, const char *what)
{
    t->failed = true;
    printf("%s: %s: %s\n", t->name, shape, what);
}

static void compare(test *t, const char *shape, const twins *o)
{
    const struct block *expected = block_of(&t->memory, o->expected);
    const struct block *actual = block_of(&t->memory, o->actual);

    if (memcmp(expected->pages, actual->pages, expected->page_bytes) == 0)
        return;
    size_t i = 0;
    while (expected->pages[i] == actual->pages[i])
        i++;
    char what[128];
    snprintf(what, sizeof what, "byte %td of the output is %d instead of %d",
             expected->pages + i - expected->data, actual->pages[i], expected->pages[i]);
    fail(t, shape, what);
}

static jmp_buf fault_point;
static volatile int in_kernel;

void leave_kernel(void)
{
    if (in_kernel) {
        in_kernel = 0;
        longjmp(fault_point, 1);
    }
}

static bool survives(call_function *call, const void *context, function *kernel, uint8_t *output)
{
    if (setjmp(fault_point) != 0)
        return false;
    in_kernel = 1;
    call(context, kernel, output);
    in_kernel = 0;
    return true;
}

/* ---- times ----------------------------------------------------------------------------------- */

#define MOST_TIMES 1000
#define BENCH_NS   2e8

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median over as many calls as fit into a fifth of a second, at least 5. */
static double median_ns(call_function *call, const void *context, function *f, uint8_t *output)
{
    double times[MOST_TIMES];
    size_t count = 0;

    for (const double begin = now_ns();
         count < 5 || (count < MOST_TIMES && now_ns() < begin + BENCH_NS);) {
        const double before = now_ns();
        call(context, f, output);
        times[count++] = now_ns() - before;
    }
    qsort(times, count, sizeof *times, ascending);
    return times[count / 2];
}

void run_case(test *t, const char *shape, double work, const twins *o, call_function *call,
              const void *context)
{
    if (t->bench) {
        const double slow = median_ns(call, context, t->reference, o->expected);
        const double fast = median_ns(call, context, t->kernel, o->actual);
        printf("%-30s %-60s %11.0f ns, reference %11.0f ns, %6.1fx, %7.2f per ns\n", t->name, shape,
               fast, slow, slow / fast, work / fast);
        return;
    }
    t->cases++;
    call(context, t->reference, o->expected);
    if (survives(call, context, t->kernel, o->actual))
        compare(t, shape, o);
    else
        fail(t, shape, "faults: memory outside its operands, or an instruction that is not here");
}

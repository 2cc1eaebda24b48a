/* SPDX-License-Identifier: Apache-2.0
 *
 * checkkernel: every line of kernel_list.inc against the reference, bit for bit, over shapes with
 * every tail, operands at the ends of their ranges, memory that faults one byte outside, and
 * outputs whose surroundings are compared too. `--bench` times them instead.
 */
#define _DEFAULT_SOURCE
#include "check.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/prototypes.h"
#include "kernels/ref/ref.h"

static void on_fault(int number)
{
    leave_kernel();
    signal(number, SIG_DFL);
    raise(number);
}

static void catch_faults(void)
{
    struct sigaction action = { .sa_handler = on_fault, .sa_flags = SA_NODEFER };
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    sigaction(SIGILL, &action, NULL);
    sigaction(SIGFPE, &action, NULL);
}

static const struct line {
    const char *op;
    iviti_isa isa;
    const char *name;
    check_function *check;
    function *reference;
    function *kernel;
} lines[] = {
#define IVITI_KERNEL(op, level, fn)                                                                \
    { #op, IVITI_ISA_##level, #fn, check_##op, (function *)iviti_##op##_ref, (function *)fn },
#include "kernels/kernel_list.inc"
#undef IVITI_KERNEL
    { NULL, IVITI_ISA_REF, NULL, NULL, NULL, NULL },
};

typedef struct options {
    uint64_t seed;
    const char *op;
    const char *isa;
    unsigned rounds;
    bool bench;
    bool list;
} options;

static const char *value_of(const char *argument, const char *name)
{
    const size_t length = strlen(name);
    return strncmp(argument, name, length) == 0 ? argument + length : NULL;
}

static bool parse(options *o, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *value;
        if (strcmp(argv[i], "--list") == 0)
            o->list = true;
        else if (strcmp(argv[i], "--bench") == 0)
            o->bench = true;
        else if ((value = value_of(argv[i], "--op=")))
            o->op = value;
        else if ((value = value_of(argv[i], "--isa=")))
            o->isa = value;
        else if ((value = value_of(argv[i], "--seed=")))
            o->seed = strtoull(value, NULL, 0);
        else if ((value = value_of(argv[i], "--rounds=")))
            o->rounds = (unsigned)strtoul(value, NULL, 0);
        else
            return false;
    }
    return true;
}

/* Every filling with every placement. */
static bool check_line(const struct line *line, const options *o)
{
    test t = { .name = line->name,
               .reference = line->reference,
               .kernel = line->kernel,
               .bench = o->bench,
               .chance = { .state = o->seed, .filling = UNIFORM } };

    if (o->bench) {
        line->check(&t);
        return true;
    }
    for (unsigned round = 0; round < o->rounds && !t.failed; round++)
        for (int how = 0; how < FILLINGS && !t.failed; how++)
            for (int where = 0; where < PLACEMENTS && !t.failed; where++) {
                t.chance.filling = (filling)how;
                t.memory.placement = (placement)where;
                line->check(&t);
            }
    if (!t.failed)
        printf("%-36s %u cases\n", line->name, t.cases);
    return !t.failed;
}

int main(int argc, char **argv)
{
    options o = { .seed = (uint64_t)time(NULL), .rounds = 4 };
    unsigned passed = 0, failed = 0, skipped = 0;

    if (!parse(&o, argc, argv)) {
        fprintf(stderr, "usage: checkkernel [--list] [--bench] [--op=NAME] [--isa=NAME] "
                        "[--seed=N] [--rounds=N]\n");
        return 2;
    }
    catch_faults();
    if (!o.list)
        printf("seed %llu\n", (unsigned long long)o.seed);
    for (const struct line *line = lines; line->op; line++) {
        if ((o.op && strcmp(o.op, line->op) != 0) ||
            (o.isa && strcmp(o.isa, iviti_isa_name(line->isa)) != 0))
            continue;
        if (o.list)
            printf("%-14s %-12s %s\n", line->op, iviti_isa_name(line->isa), line->name);
        else if (!iviti_isa_available(line->isa))
            skipped++;
        else if (check_line(line, &o))
            passed++;
        else
            failed++;
    }
    if (!o.list)
        printf("%u passed, %u failed, %u not available here\n", passed, failed, skipped);
    if (!o.list && passed + failed + skipped == 0) {
        fprintf(stderr, "no kernel has that name and instruction set; --list shows all\n");
        return 2;
    }
    return failed ? 1 : 0;
}

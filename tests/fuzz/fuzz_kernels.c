/* SPDX-License-Identifier: Apache-2.0
 *
 * Every kernel of kernel_list.inc against its reference: the first byte chooses the kernel, the second how
 * operands are filled and where they lie, the others are shape, constants and operands for as long as they
 * last. See tests/kernels/check.h for what is compared.
 */
#include "fuzz.h"

#include "kernels/check.h"
#include "kernels/prototypes.h"
#include "kernels/ref/ref.h"

static const struct line {
    iviti_isa isa;
    const char *name;
    check_function *check;
    function *reference;
    function *kernel;
} lines[] = {
#define IVITI_KERNEL(op, level, fn)                                                                \
    { IVITI_ISA_##level, #fn, check_##op, (function *)iviti_##op##_ref, (function *)fn },
#include "kernels/kernel_list.inc"
#undef IVITI_KERNEL
    { IVITI_ISA_REF, NULL, NULL, NULL, NULL },
};

#define LINES (sizeof lines / sizeof lines[0] - 1)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || LINES == 0)
        return 0;
    const struct line *const line = &lines[data[0] % (LINES > 0 ? LINES : 1)];
    if (!iviti_isa_available(line->isa))
        return 0;
    test t = { .name = line->name,
               .reference = line->reference,
               .kernel = line->kernel,
               .drawn = true,
               .chance = { .state = fuzz_hash(data, size),
                           .filling = (filling)(data[1] % FILLINGS),
                           .bytes = data + 2,
                           .left = size - 2 },
               .memory = { .placement = (placement)(data[1] / FILLINGS % PLACEMENTS) } };
    line->check(&t);
    FUZZ_PROMISE(!t.failed);
    return 0;
}

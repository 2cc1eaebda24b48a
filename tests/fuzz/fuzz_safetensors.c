/* SPDX-License-Identifier: Apache-2.0
 *
 * Safetensors checkpoints. Anything may come: what is none is refused by the same door.
 */
#include "fuzz_checkpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_read(data, size);
    if (size < 9)
        return 0;
    /* Once more with the length of the header that there is: up to the last brace. */
    size_t end = size;
    while (end > 8 && data[end - 1] != '}')
        end--;
    uint8_t *const sealed = fuzz_copy(data, size);
    fuzz_put_u32(sealed, (uint32_t)(end - 8));
    fuzz_put_u32(sealed + 4, 0);
    fuzz_read(sealed, size);
    free(sealed);
    return 0;
}

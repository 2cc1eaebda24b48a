/* SPDX-License-Identifier: Apache-2.0
 *
 * The stream that torch.save wrote before 1.6. Inputs without its magic number get it, so that no input is
 * lost at the door.
 */
#include "fuzz_checkpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size >= LEGACY_MAGIC_BYTES && memcmp(data, LEGACY_MAGIC, LEGACY_MAGIC_BYTES) == 0) {
        fuzz_read(data, size);
        return 0;
    }
    uint8_t *const file = malloc(LEGACY_MAGIC_BYTES + size);
    FUZZ_PROMISE(file != NULL);
    memcpy(file, LEGACY_MAGIC, LEGACY_MAGIC_BYTES);
    if (size > 0)
        memcpy(file + LEGACY_MAGIC_BYTES, data, size);
    fuzz_read(file, LEGACY_MAGIC_BYTES + size);
    free(file);
    return 0;
}

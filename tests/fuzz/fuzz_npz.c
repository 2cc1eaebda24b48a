/* SPDX-License-Identifier: Apache-2.0
 *
 * NumPy archives: the input as an archive, and the input as the one array of a right archive.
 */
#include "fuzz_checkpoint.h"

#include "fuzz_zip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size >= 2 && data[0] == 'P' && data[1] == 'K') {
        fuzz_read_zip(data, size);
        return 0;
    }
    fuzz_archive a = { 0 };
    fuzz_archive_add(&a, "a.npy", data, size, false);
    fuzz_archive_close(&a);
    fuzz_read(a.bytes, a.size);
    fuzz_archive_free(&a);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The pickle machine: the input is the data.pkl of a right PyTorch archive with two storages (floats 0..5
 * and one int64), so that only the pickle can be at fault.
 */
#include "fuzz_checkpoint.h"

#include "fuzz_zip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t floats[24] = { 0, 0, 0,    0,    0, 0, 0x80, 0x3F, 0, 0, 0,    0x40,
                                        0, 0, 0x40, 0x40, 0, 0, 0x80, 0x40, 0, 0, 0xA0, 0x40 };
    static const uint8_t integer[8] = { 0xF9, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF };
    fuzz_archive a = { 0 };
    fuzz_archive_add(&a, "toy/data.pkl", data, size, true);
    fuzz_archive_add(&a, "toy/data/0", floats, sizeof floats, true);
    fuzz_archive_add(&a, "toy/data/1", integer, sizeof integer, true);
    fuzz_archive_add(&a, "toy/version", (const uint8_t *)"3\n", 2, true);
    fuzz_archive_close(&a);
    fuzz_read(a.bytes, a.size);
    fuzz_archive_free(&a);
    return 0;
}

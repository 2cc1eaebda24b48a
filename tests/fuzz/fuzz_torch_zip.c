/* SPDX-License-Identifier: Apache-2.0
 *
 * PyTorch's zip checkpoints, container and contents. fuzz_pickle has the contents alone.
 */
#include "fuzz_checkpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_read_zip(data, size);
    return 0;
}

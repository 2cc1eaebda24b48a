/* SPDX-License-Identifier: Apache-2.0
 *
 * CRC-32C with the processor's own instruction. It is optional in the first edition of the
 * architecture and part of all that have the dot product.
 */
#include <arm_acle.h>
#include <string.h>

#include "kernels/prototypes.h"

uint32_t iviti_crc32c_dotprod(uint32_t crc, const void *data, size_t bytes)
{
    const uint8_t *p = data;
    crc = ~crc;
    for (; bytes >= 8; bytes -= 8, p += 8) {
        uint64_t value;
        memcpy(&value, p, sizeof value);
        crc = __crc32cd(crc, value);
    }
    for (; bytes > 0; bytes--, p++)
        crc = __crc32cb(crc, *p);
    return ~crc;
}

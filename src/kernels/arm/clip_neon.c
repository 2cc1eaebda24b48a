/* SPDX-License-Identifier: Apache-2.0
 *
 * Activations of fewer than 8 bits. Clipping twice is clipping once: the end of a row is one vector
 * that overlaps those before it; rows shorter than a vector go byte by byte.
 */
#include <arm_neon.h>

#include "kernels/prototypes.h"
#include "kernels/ref/ref.h"

#define STEP 16

IVITI_DECLARE_clip_s8(iviti_clip_s8_neon)
{
    const uint8x16_t flips = vdupq_n_u8(flip);
    const int8x16_t lowest = vdupq_n_s8(low), highest = vdupq_n_s8(high);

    if (width < STEP) {
        iviti_clip_s8_ref(x, stride, rows, width, flip, low, high);
        return;
    }
    for (size_t r = 0; r < rows; r++, x += stride)
        for (size_t c = 0; c < width; c += STEP) {
            uint8_t *const at = x + (c + STEP <= width ? c : width - STEP);
            const int8x16_t v = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(at), flips));
            const int8x16_t kept = vminq_s8(vmaxq_s8(v, lowest), highest);
            vst1q_u8(at, veorq_u8(vreinterpretq_u8_s8(kept), flips));
        }
}

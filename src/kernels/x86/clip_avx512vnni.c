/* SPDX-License-Identifier: Apache-2.0
 *
 * Activations of fewer than 8 bits.
 */
#include <immintrin.h>

#include "kernels/prototypes.h"

#define STEP 64

IVITI_DECLARE_clip_s8(iviti_clip_s8_avx512vnni)
{
    const __m512i flips = _mm512_set1_epi8((char)flip);
    const __m512i lowest = _mm512_set1_epi8(low), highest = _mm512_set1_epi8(high);

    for (size_t r = 0; r < rows; r++, x += stride)
        for (size_t c = 0; c < width; c += STEP) {
            const size_t left = width - c;
            const __mmask64 lanes = left < STEP ? ((__mmask64)1 << left) - 1 : ~(__mmask64)0;
            __m512i v = _mm512_xor_si512(_mm512_maskz_loadu_epi8(lanes, x + c), flips);
            v = _mm512_min_epi8(_mm512_max_epi8(v, lowest), highest);
            _mm512_mask_storeu_epi8(x + c, lanes, _mm512_xor_si512(v, flips));
        }
}

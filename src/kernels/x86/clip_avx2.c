/* SPDX-License-Identifier: Apache-2.0
 *
 * Activations of fewer than 8 bits. Clipping twice is clipping once: the end of a row is one vector
 * that overlaps those before it; rows shorter than a vector go byte by byte.
 */
#include <immintrin.h>

#include "kernels/prototypes.h"
#include "kernels/ref/ref.h"

#define STEP 32

IVITI_DECLARE_clip_s8(iviti_clip_s8_avx2)
{
    const __m256i flips = _mm256_set1_epi8((char)flip);
    const __m256i lowest = _mm256_set1_epi8(low), highest = _mm256_set1_epi8(high);

    if (width < STEP) {
        iviti_clip_s8_ref(x, stride, rows, width, flip, low, high);
        return;
    }
    for (size_t r = 0; r < rows; r++, x += stride)
        for (size_t c = 0; c < width; c += STEP) {
            __m256i *const at = (__m256i *)(void *)(x + (c + STEP <= width ? c : width - STEP));
            __m256i v = _mm256_xor_si256(_mm256_loadu_si256(at), flips);
            v = _mm256_min_epi8(_mm256_max_epi8(v, lowest), highest);
            _mm256_storeu_si256(at, _mm256_xor_si256(v, flips));
        }
}

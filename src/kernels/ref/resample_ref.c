/* SPDX-License-Identifier: Apache-2.0
 *
 * The inner loops of a resize: a row by its columns, and rows by each other.
 */
#include "kernels/ref/ref.h"

void iviti_resample_row_ref(const iviti_row_filter *f, const uint8_t *in, uint8_t *out)
{
    const iviti_tap_pair *pairs = f->pairs;

    for (uint32_t x = 0; x < f->out; x++, pairs += f->stride, out += 3) {
        const iviti_window window = f->windows[x];
        const uint8_t *pixel = in + (size_t)3 * window.first;
        int32_t sum[3] = { IVITI_COEFFICIENT_HALF, IVITI_COEFFICIENT_HALF, IVITI_COEFFICIENT_HALF };
        for (uint32_t t = 0; t < window.taps; t++, pixel += 3) {
            const iviti_tap_pair *pair = &pairs[t / 2];
            const int32_t coefficient = pair->high[t % 2] * IVITI_TAP_UNIT + pair->low[t % 2];
            for (int c = 0; c < 3; c++)
                sum[c] += pixel[c] * coefficient;
        }
        for (int c = 0; c < 3; c++)
            out[c] = iviti_resampled(sum[c]);
    }
}

void iviti_resample_add_ref(int32_t *sums, const uint8_t *row, int32_t coefficient, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sums[i] += row[i] * coefficient;
}

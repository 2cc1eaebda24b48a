/* SPDX-License-Identifier: Apache-2.0
 *
 * The steps of attention that only SULQ, Log-Int-Softmax and wide activations have, the same for
 * all engines and in plain C that compilers vectorise. Scores and products are the engines'.
 */
#include "kernels/engine.h"
#include "kernels/ref/comparison.h"
#include "kernels/requantize.h"

void iviti_make_sulq_codes(const iviti_call *c, size_t rows, iviti_dyadic output[TILE_ROWS])
{
    for (size_t r = 0; r < rows; r++) {
        uint8_t *low = c->low + r * c->stride;
        uint32_t sum = 0;
        for (size_t t = 0; t < c->a->tokens; t++)
            sum += low[t];
        iviti_sulq_codes(low, c->a->tokens, sum, c->a->sulq->threshold, low);
        output[r] = c->a->output;
    }
}

void iviti_lessen_sulq(const iviti_sulq *s, const int32_t *all, size_t rows, size_t columns,
                       int32_t *sums)
{
    for (size_t r = 0; r < rows; r++, sums += TILE_COLUMNS)
        for (size_t n = 0; n < columns; n++)
            sums[n] = sums[n] * (1 << s->shift) - all[n] * s->eta;
}

/* s8 logits of one row into the place of its scores; returns the largest that the query sees. */
static int32_t make_logits(const iviti_call *c, size_t row, size_t query)
{
    const iviti_attention *a = c->a;
    const int32_t *bias = a->bias ? a->bias + query * a->bias_stride : NULL;
    int32_t max = INT8_MIN;

    for (size_t t = 0; t < a->tokens; t++) {
        int32_t *score = &c->scores[(t / BLOCK_TOKENS * TILE_ROWS + row) * TILE_COLUMNS +
                                    t % BLOCK_TOKENS];
        int32_t logit = iviti_requantize_s8(*score - c->correction[t], a->score);
        if (bias)
            logit = iviti_saturate_s8(iviti_requantize(logit, a->bias_score) + bias[t]);
        *score = logit;
        if ((!a->region || a->region[t] == a->region[query]) && logit > max)
            max = logit;
    }
    return max;
}

static void lis_row(const iviti_call *c, size_t row, size_t query)
{
    const iviti_attention *a = c->a;
    const int32_t max = make_logits(c, row, query);
    int32_t least[IVITI_LIS_CODES];
    uint16_t p[BLOCK_TOKENS];
    uint64_t sum = 0;

    for (size_t t = 0; t < c->stride; t++) {
        int32_t *score = &c->scores[(t / BLOCK_TOKENS * TILE_ROWS + row) * TILE_COLUMNS +
                                    t % BLOCK_TOKENS];
        const bool seen = t < a->tokens && (!a->region || a->region[t] == a->region[query]);
        *score = seen ? a->exp_shift[max - *score] : 0;
        sum += (uint64_t)*score;
    }
    iviti_lis_thresholds(sum, least);
    for (size_t t = 0; t < c->stride; t += BLOCK_TOKENS) {
        const size_t at = row * c->stride + t;
        iviti_lis_numerators(c->scores + (t / BLOCK_TOKENS * TILE_ROWS + row) * TILE_COLUMNS,
                             BLOCK_TOKENS, least, p);
        for (size_t i = 0; i < BLOCK_TOKENS; i++) {
            c->low[at + i] = (uint8_t)(p[i] & 0xFF);
            c->high[at + i] = (uint8_t)(p[i] >> 8);
        }
    }
}

void iviti_softmax_lis(const iviti_call *c, size_t rows, size_t query,
                       iviti_dyadic output[TILE_ROWS])
{
    for (size_t r = 0; r < rows; r++) {
        lis_row(c, r, query + r);
        output[r] = c->a->output;
    }
}

/* ---- wide attention ----------------------------------------------------------------------------
 */

/* Tokens that a query does not see get 0 whatever the table says: here the last index, whose
 * numerator is 0. */
void iviti_index_table(uint8_t table[256])
{
    for (size_t i = 0; i < 256; i++)
        table[i] = (uint8_t)(255 - i);
}

void iviti_make_wide_numerators(const iviti_call *c, size_t rows, iviti_dyadic output[TILE_ROWS])
{
    for (size_t r = 0; r < rows; r++) {
        uint8_t *low = c->low + r * c->stride, *high = c->high + r * c->stride;
        uint32_t sum = 0;
        for (size_t t = 0; t < c->stride; t++) {
            const uint16_t e = t < c->a->tokens ? c->a->wide_table[255 - low[t]] : 0;
            low[t] = (uint8_t)(e & 0xFF);
            high[t] = (uint8_t)(e >> 8);
            sum += e;
        }
        output[r] = iviti_reciprocal(sum, c->a->output);
    }
}

void iviti_finish_wide(const int32_t *low, const int32_t *high, iviti_dyadic output, uint8_t *y,
                       uint8_t *y_low, size_t columns)
{
    const int shift = output.shift - 32; /* at least 1: sums are at least 4095 */
    const int64_t round = ((int64_t)1 << (shift - 1)) + ((int64_t)IVITI_WIDE_ENTRIES / 2 << shift);

    /* R + 2048, of which negative ones are 0: nothing is shifted that could be negative, so that no
     * branch depends on a sign. The lower 32 bits of the product do not matter. */
    for (size_t n = 0; n < columns; n++) {
        const int64_t product = (int64_t)(low[n] + 256 * high[n]) * output.multiplier;
        const uint64_t upper = (uint64_t)(product + ((int64_t)1 << 62)) >> 32;
        const int64_t sum = (int64_t)upper - ((int64_t)1 << 30) + round;
        const uint64_t value = (uint64_t)(sum < 0 ? 0 : sum) >> shift;
        const uint64_t wide = value < IVITI_WIDE_ENTRIES ? value : IVITI_WIDE_ENTRIES - 1;
        y[n] = (uint8_t)(wide >> IVITI_DIGIT_BITS);
        y_low[n] = (uint8_t)(wide & ((1 << IVITI_DIGIT_BITS) - 1));
    }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Packing of weights. Rows lie up to 16 KiB apart, often by a multiple of 4096 bytes, so that the
 * 16 lines that one group of columns needs would fall into one set of the cache: 64 columns of each
 * row are brought together in a tile first.
 */
#include "model/pack.h"

#include <string.h>

#include "kernels/kernel.h"

#define TILE 64 /* columns, a cache line */

/* Adds up a tile row; at most 64 * 128 in magnitude. */
static int16_t tile_sum(const int8_t *row)
{
    int16_t sum = 0;
    for (int k = 0; k < TILE; k++)
        sum = (int16_t)(sum + row[k]);
    return sum;
}

/* 1 if a byte of the tile is -128. */
static unsigned tile_has_minimum(const int8_t *tile)
{
    uint8_t found = 0;
    for (int i = 0; i < IVITI_PANEL * TILE; i++)
        found |= (uint8_t)(tile[i] == INT8_MIN);
    return found;
}

/* `width` indices of 4 bits to the entries of the codebook. */
static void look_up(const uint8_t *from, size_t width, const int8_t *codebook, int8_t *to)
{
    for (size_t k = 0; k < width; k++)
        to[k] = codebook[k % 2 ? from[k / 2] >> 4 : from[k / 2] & 15];
}

/* `width` weights to s8. 1 if one of them is the least. */
static unsigned expand(const uint8_t *from, size_t width, uint32_t bits, int8_t *to)
{
    const uint32_t mask = (1u << bits) - 1, sign = 1u << (bits - 1);
    uint32_t held = 0, count = 0, found = 0;
    for (size_t k = 0; k < width; k++) {
        if (count < bits) {
            held |= (uint32_t)*from++ << count;
            count += 8;
        }
        const uint32_t code = held & mask;
        held >>= bits;
        count -= bits;
        found |= code == sign;
        to[k] = (int8_t)((int32_t)(code ^ sign) - (int32_t)sign);
    }
    return found;
}

bool iviti_packed_padding_zero(const uint8_t *rows, size_t count, size_t in, uint32_t bits)
{
    const size_t row = iviti_packed_row(in, bits);
    const size_t used = in * bits % 8;
    unsigned found = 0;
    for (size_t r = 1; r <= count && used != 0; r++)
        found |= (unsigned)rows[r * row - 1] >> used;
    return found == 0;
}

bool iviti_pack_panel(const uint8_t *rows, size_t count, size_t in, uint32_t bits,
                      const int8_t *codebook, int8_t *panel, int32_t *sums)
{
    const size_t stride = iviti_packed_row(in, bits);
    int8_t tile[IVITI_PANEL][TILE];
    unsigned minimum = 0;
    memset(sums, 0, IVITI_PANEL * sizeof *sums);
    memset(tile, 0, sizeof tile);
    for (size_t k = 0; k < in; k += TILE) {
        const size_t width = in - k < TILE ? in - k : TILE;
        if (width < TILE)
            memset(tile, 0, sizeof tile);
        for (size_t r = 0; r < count; r++) {
            if (codebook)
                look_up(rows + r * stride + k / 2, width, codebook, tile[r]);
            else if (bits < 8)
                minimum |= expand(rows + r * stride + k / 8 * bits, width, bits, tile[r]);
            else if (width == TILE)
                memcpy(tile[r], rows + r * in + k, TILE);
            else
                memcpy(tile[r], rows + r * in + k, width);
            sums[r] += tile_sum(tile[r]);
        }
        minimum |= tile_has_minimum(tile[0]);

        const size_t groups = (width + IVITI_GROUP - 1) / IVITI_GROUP;
        for (size_t g = 0; g < groups; g++, panel += IVITI_PANEL * IVITI_GROUP)
            for (size_t r = 0; r < IVITI_PANEL; r++)
                memcpy(panel + r * IVITI_GROUP, tile[r] + g * IVITI_GROUP, IVITI_GROUP);
    }
    return minimum == 0;
}

uint32_t iviti_panel_magnitude(const int8_t *panels, size_t n, size_t in)
{
    uint32_t sum = 0;
    for (size_t k = 0; k < in; k++) {
        const int weight = panels[iviti_panel_offset(n, k, in)];
        sum += (uint32_t)(weight < 0 ? -weight : weight);
    }
    return sum;
}

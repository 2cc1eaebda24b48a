/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention in float: of all tokens with each other, and in Swin's windows, shifted or not.
 */
#include <cblas.h>
#include <math.h>
#include <string.h>

#include "network/forward_one.h"

static void softmax(float *row, size_t count)
{
    float most = row[0];
    for (size_t i = 1; i < count; i++)
        most = row[i] > most ? row[i] : most;
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        row[i] = expf(row[i] - most);
        sum += (double)row[i];
    }
    const float factor = (float)(1 / sum);
    for (size_t i = 0; i < count; i++)
        row[i] *= factor;
}

/* scores (tokens, tokens) = q k^T / sqrt(width) of one head. */
static void score(const float *qkv, size_t stride, size_t dim, size_t width, size_t tokens,
                  float *scores)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)tokens, (int)tokens, (int)width,
                (float)(1 / sqrt((double)width)), qkv, (int)stride, qkv + dim, (int)stride, 0.0f,
                scores, (int)tokens);
}

/* out (tokens, width) = scores v of one head. */
static void gather(const float *scores, const float *qkv, size_t stride, size_t dim, size_t width,
                   size_t tokens, float *out, size_t out_stride)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)tokens, (int)width, (int)tokens,
                1.0f, scores, (int)tokens, qkv + 2 * dim, (int)stride, 0.0f, out, (int)out_stride);
}

/* Scores of keys that stand for several patches, as if these were there. */
static void weigh_keys(const float *size, size_t tokens, float *scores)
{
    for (size_t j = 0; j < tokens && size != NULL; j++) {
        const float bias = logf(size[j]);
        for (size_t i = 0; i < tokens; i++)
            scores[i * tokens + j] += bias;
    }
}

void attend_globally(const iviti_stage *stage, size_t tokens, const float *qkv, const float *size,
                     float *scores, float *class_row, float *out)
{
    const size_t dim = stage->dim, width = dim / stage->heads;
    memset(class_row, 0, tokens * sizeof *class_row);
    for (size_t h = 0; h < stage->heads; h++) {
        const float *head = qkv + h * width;
        score(head, 3 * dim, dim, width, tokens, scores);
        weigh_keys(size, tokens, scores);
        for (size_t i = 0; i < tokens; i++)
            softmax(scores + i * tokens, tokens);
        for (size_t i = 0; i < tokens; i++)
            class_row[i] += scores[i] / (float)stage->heads;
        gather(scores, head, 3 * dim, dim, width, tokens, out + h * width, dim);
    }
}

/* ---- windows -------------------------------------------------------------------------------- */

/* Which side of the border, where a shifted grid was wrapped around, a row or column lies on. */
static uint32_t region(uint32_t at, uint32_t grid, uint32_t window, uint32_t shift)
{
    if (shift == 0 || at < grid - window)
        return 0;
    return at < grid - shift ? 1 : 2;
}

/* One window's tokens: where each comes from, and its region. Windows divide the grid after it was
 * rolled by -shift, so that the token at p comes from (p + shift) mod grid. */
typedef struct window_map {
    size_t source[IVITI_MAX_WINDOW * IVITI_MAX_WINDOW];
    uint32_t region[IVITI_MAX_WINDOW * IVITI_MAX_WINDOW];
} window_map;

static void map_window(const iviti_stage *stage, uint32_t top, uint32_t left, uint32_t shift,
                       window_map *map)
{
    const uint32_t height = stage->grid_height, width = stage->grid_width, w = stage->window;
    size_t i = 0;
    for (uint32_t y = top; y < top + w; y++) {
        for (uint32_t x = left; x < left + w; x++, i++) {
            map->source[i] = (size_t)((y + shift) % height) * width + (x + shift) % width;
            map->region[i] = 3 * region(y, height, w, shift) + region(x, width, w, shift);
        }
    }
}

/* Adds the bias of each pair's relative position; pairs from different regions do not meet. */
static void bias_and_mask(const iviti_stage *stage, const window_map *map,
                          const float *position_bias, size_t head, float *scores)
{
    const size_t w = stage->window, tokens = w * w, side = 2 * w - 1;
    for (size_t a = 0; a < tokens; a++) {
        for (size_t b = 0; b < tokens; b++) {
            const size_t dy = a / w + w - 1 - b / w, dx = a % w + w - 1 - b % w;
            float *const cell = &scores[a * tokens + b];
            *cell = map->region[a] == map->region[b]
                        ? *cell + position_bias[(dy * side + dx) * stage->heads + head]
                        : -INFINITY;
        }
    }
}

static void attend_window(const iviti_stage *stage, const window_map *map,
                          const float *position_bias, const float *qkv, float *scores,
                          float *window, float *out)
{
    const size_t dim = stage->dim, width = dim / stage->heads;
    const size_t tokens = (size_t)stage->window * stage->window;
    float *const result = window + tokens * 3 * dim;
    for (size_t i = 0; i < tokens; i++)
        memcpy(window + i * 3 * dim, qkv + map->source[i] * 3 * dim, 3 * dim * sizeof *qkv);
    for (size_t h = 0; h < stage->heads; h++) {
        const float *head = window + h * width;
        score(head, 3 * dim, dim, width, tokens, scores);
        bias_and_mask(stage, map, position_bias, h, scores);
        for (size_t i = 0; i < tokens; i++)
            softmax(scores + i * tokens, tokens);
        gather(scores, head, 3 * dim, dim, width, tokens, result + h * width, dim);
    }
    for (size_t i = 0; i < tokens; i++)
        memcpy(out + map->source[i] * dim, result + i * dim, dim * sizeof *out);
}

void attend_in_windows(const iviti_stage *stage, bool shifted, const float *position_bias,
                       const float *qkv, float *scores, float *window, float *out)
{
    const uint32_t shift = shifted ? stage->window / 2 : 0;
    for (uint32_t top = 0; top < stage->grid_height; top += stage->window) {
        for (uint32_t left = 0; left < stage->grid_width; left += stage->window) {
            window_map map;
            map_window(stage, top, left, shift, &map);
            attend_window(stage, &map, position_bias, qkv, scores, window, out);
        }
    }
}

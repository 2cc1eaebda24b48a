/* SPDX-License-Identifier: Apache-2.0
 *
 * The block in the order of the paper, then backwards.
 */
#include "quantize/block_gradient.h"

#include <math.h>
#include <string.h>

#include <cblas.h>

#include "quantize/float_rows.h"

#define WINDOW_ARRAYS 8 /* q, k, v, output, and the gradient of each */

block_layout block_layout_of(const block_shape *s)
{
    const size_t c = s->dim, h = s->hidden;
    const size_t count[BLOCK_PARTS] = {
        [PART_GAIN1] = c,           [PART_BIAS1] = c,         [PART_QKV_WEIGHT] = 3 * c * c,
        [PART_QKV_BIAS] = 3 * c,    [PART_PROJ_WEIGHT] = c * c, [PART_PROJ_BIAS] = c,
        [PART_GAIN2] = c,           [PART_BIAS2] = c,         [PART_FC1_WEIGHT] = h * c,
        [PART_FC1_BIAS] = h,        [PART_FC2_WEIGHT] = c * h, [PART_FC2_BIAS] = c,
    };
    block_layout l = { { 0 } };
    for (int i = 0; i < BLOCK_PARTS; i++)
        l.offset[i + 1] = l.offset[i] + count[i];
    return l;
}

static size_t place_width(const block_shape *s, block_place place)
{
    return place == PLACE_QKV                          ? 3 * s->dim
           : place == PLACE_FC1 || place == PLACE_GELU ? s->hidden
                                                       : s->dim;
}

bool block_trace_take(arena *memory, const block_shape *s, block_trace *t)
{
    const size_t n = s->tokens, c = s->dim;
    *t = (block_trace){
        .normal1 = ARENA_TAKE(memory, float, n * c),
        .spread1 = ARENA_TAKE(memory, float, n),
        .normal2 = ARENA_TAKE(memory, float, n * c),
        .spread2 = ARENA_TAKE(memory, float, n),
        .chance = ARENA_TAKE(memory, float, s->heads * n * s->window),
        .middle = ARENA_TAKE(memory, float, n * c),
        .slope = ARENA_TAKE(memory, float, n * s->hidden),
        .back_middle = ARENA_TAKE(memory, float, n * c),
        .back_narrow = ARENA_TAKE(memory, float, n * 3 * c),
        .back_wide = ARENA_TAKE(memory, float, n * (s->hidden > c ? s->hidden : c)),
        .window = ARENA_TAKE(memory, float,
                             s->window * s->window + WINDOW_ARRAYS * s->window * (c / s->heads)),
    };
    t->chance_coded =
        s->probabilities ? ARENA_TAKE(memory, float, s->heads * n * s->window) : t->chance;
    for (int i = 0; i < BLOCK_PLACES; i++) {
        t->exact[i] = ARENA_TAKE(memory, float, n * place_width(s, (block_place)i));
        t->coded[i] = ARENA_TAKE(memory, float, n * place_width(s, (block_place)i));
    }
    return !memory->failed;
}

/* ---- quantisers ------------------------------------------------------------------------------ */

static void to_code(const step_code *c, const float *x, size_t rows, size_t width, float *y)
{
    if (!c->scale) {
        memcpy(y, x, rows * width * sizeof *y);
        return;
    }
    const float low = c->low, high = c->high;
    for (size_t r = 0; r < rows; r++) {
        const float *const from = x + r * width;
        float *const to = y + r * width;
        for (size_t i = 0; i < width; i++) {
            float q = (from[i] - c->offset[i]) / c->scale[i];
            q = q < low ? low : q;
            q = q > high ? high : q;
            to[i] = c->offset[i] + c->scale[i] * (c->clips_only ? q : float_nearest(q));
        }
    }
}

/* Takes the gradient away where x was clipped. */
static void clip_gradient(const step_code *c, const float *x, size_t rows, size_t width, float *back)
{
    const float half = c->clips_only ? 0 : 0.5f;
    const float low = c->low - half, high = c->high + half;
    for (size_t r = 0; r < rows && c->scale; r++, x += width, back += width)
        for (size_t i = 0; i < width; i++) {
            const float q = (x[i] - c->offset[i]) / c->scale[i];
            const int clipped = (q < low) | (q > high);
            back[i] = clipped ? 0 : back[i];
        }
}

/* ---- layers ---------------------------------------------------------------------------------- */

/* y (rows, out) = x (rows, in) weight^T + bias */
static void dense_forward(const float *weight, const float *bias, const float *x, size_t rows,
                          size_t in, size_t out, float *y)
{
    for (size_t r = 0; r < rows; r++)
        memcpy(y + r * out, bias, out * sizeof *y);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)out, (int)in, 1, x, (int)in,
                weight, (int)in, 1, y, (int)out);
}

static void dense_backward(const float *weight, const float *x, const float *back_y, size_t rows,
                           size_t in, size_t out, float *back_weight, float *back_bias,
                           float *back_x)
{
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)out, (int)in, (int)rows, 1, back_y,
                (int)out, x, (int)in, 1, back_weight, (int)in);
    for (size_t r = 0; r < rows; r++)
        for (size_t o = 0; o < out; o++)
            back_bias[o] += back_y[r * out + o];
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)in, (int)out, 1, back_y,
                (int)out, weight, (int)in, 0, back_x, (int)in);
}

static void norm_forward(const float *gain, const float *bias, double epsilon, const float *x,
                         size_t rows, size_t width, float *normal, float *spread, float *y)
{
    for (size_t r = 0; r < rows; r++, x += width, normal += width, y += width) {
        double sum = 0, squares = 0;
        for (size_t i = 0; i < width; i++)
            sum += x[i];
        const double mean = sum / (double)width;
        for (size_t i = 0; i < width; i++)
            squares += (x[i] - mean) * (x[i] - mean);
        const double factor = 1 / sqrt(squares / (double)width + epsilon);
        spread[r] = (float)factor;
        for (size_t i = 0; i < width; i++) {
            normal[i] = (float)((x[i] - mean) * factor);
            y[i] = normal[i] * gain[i] + bias[i];
        }
    }
}

/* Adds to back_x. back_y is used up. */
static void norm_backward(const float *gain, const float *normal, const float *spread, size_t rows,
                          size_t width, float *back_y, float *back_gain, float *back_bias,
                          float *back_x)
{
    for (size_t r = 0; r < rows; r++, normal += width, back_y += width) {
        double sum = 0, along = 0;
        for (size_t i = 0; i < width; i++) {
            back_gain[i] += back_y[i] * normal[i];
            back_bias[i] += back_y[i];
            back_y[i] *= gain[i];
            sum += back_y[i];
            along += (double)back_y[i] * normal[i];
        }
        const float mean = (float)(sum / (double)width), share = (float)(along / (double)width);
        for (size_t i = 0; i < width && back_x; i++)
            back_x[r * width + i] += spread[r] * (back_y[i] - mean - share * normal[i]);
    }
}

static void gelu_backward(const float *slope, size_t count, float *back)
{
    for (size_t i = 0; i < count; i++)
        back[i] *= slope[i];
}

/* ---- attention ------------------------------------------------------------------------------- */

/* Where the arrays of one head in one window lie. */
typedef struct head_window {
    float *q, *k, *v, *out, *back_q, *back_k, *back_v, *back_out, *back_score;
} head_window;

static head_window window_arrays(const block_shape *s, const block_trace *t)
{
    const size_t size = s->window * (s->dim / s->heads);
    float *at = t->window + s->window * s->window;
    return (head_window){ at,            at + size,     at + 2 * size, at + 3 * size, at + 4 * size,
                          at + 5 * size, at + 6 * size, at + 7 * size, t->window };
}

static size_t row_of(const block_shape *s, size_t token)
{
    return s->map ? s->map[token] : token;
}

/* Columns [column, column + width) of the window's rows of x (tokens, stride), to or from a small array. */
static void gather(const block_shape *s, size_t first, const float *x, size_t stride, size_t column,
                   float *part)
{
    const size_t width = s->dim / s->heads;
    for (size_t i = 0; i < s->window; i++)
        memcpy(part + i * width, x + row_of(s, first + i) * stride + column, width * sizeof *part);
}

static void scatter(const block_shape *s, size_t first, const float *part, float *x, size_t stride,
                    size_t column)
{
    const size_t width = s->dim / s->heads;
    for (size_t i = 0; i < s->window; i++)
        memcpy(x + row_of(s, first + i) * stride + column, part + i * width, width * sizeof *part);
}

static void product(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, size_t rows, size_t columns, size_t depth,
                    float factor, const float *a, const float *b, float *y)
{
    const int lda = (int)(ta == CblasNoTrans ? depth : rows);
    const int ldb = (int)(tb == CblasNoTrans ? columns : depth);
    cblas_sgemm(CblasRowMajor, ta, tb, (int)rows, (int)columns, (int)depth, factor, a, lda, b, ldb, 0, y,
                (int)columns);
}

static void softmax_row(const block_shape *s, size_t first, size_t query, size_t head, float *row)
{
    const size_t n = s->window;
    const float *bias = s->bias ? s->bias + (head * n + query) * n : NULL;
    for (size_t j = 0; j < n && bias; j++)
        row[j] += bias[j];
    for (size_t j = 0; j < n && s->region; j++)
        if (s->region[first + query] != s->region[first + j])
            row[j] = -INFINITY;
    const float most = row_largest(row, n);
    row_exp(row, n, most, row);
    const float share = 1 / row_sum(row, n);
    for (size_t j = 0; j < n; j++)
        row[j] *= share;
}

/* Values are coded about offsets, which attention is taken to hand on whole: where coded probabilities do
 * not sum to one, the engine still adds each offset once. */
static void restore_offsets(const block_shape *s, const step_code *values, size_t head, const float *p,
                            float *out)
{
    const size_t n = s->window, width = s->dim / s->heads;
    const float *offset = values->offset + 2 * s->dim + head * width;
    for (size_t i = 0; i < n; i++) {
        const float missing = 1 - row_sum(p + i * n, n);
        for (size_t d = 0; d < width; d++)
            out[i * width + d] += missing * offset[d];
    }
}

static void attention_forward(const block_shape *s, const step_code *values, block_trace *t)
{
    const size_t n = s->window, c = s->dim, width = c / s->heads;
    const float factor = (float)(1 / sqrt((double)width));
    const head_window w = window_arrays(s, t);
    const float *qkv = t->coded[PLACE_QKV];

    for (size_t first = 0; first < s->tokens; first += n)
        for (size_t head = 0; head < s->heads; head++) {
            const size_t at = (first * s->heads + head * n) * n;
            float *const p = t->chance + at, *const coded = t->chance_coded + at;
            gather(s, first, qkv, 3 * c, head * width, w.q);
            gather(s, first, qkv, 3 * c, c + head * width, w.k);
            gather(s, first, qkv, 3 * c, 2 * c + head * width, w.v);
            product(CblasNoTrans, CblasTrans, n, n, width, factor, w.q, w.k, p);
            for (size_t i = 0; i < n; i++)
                softmax_row(s, first, i, head, p + i * n);
            if (s->probabilities)
                memcpy(coded, p, n * n * sizeof *p);
            for (size_t i = 0; i < n && s->probabilities; i++)
                s->probabilities(s->probabilities_user, coded + i * n, n);
            product(CblasNoTrans, CblasNoTrans, n, width, n, 1, coded, w.v, w.out);
            if (s->probabilities && values->scale)
                restore_offsets(s, values, head, coded, w.out);
            scatter(s, first, w.out, t->exact[PLACE_ATTENTION], c, head * width);
        }
}

/* From the gradients of the output, back_y (tokens, C), to those of q, k and v, back_qkv (tokens, 3C). */
static void attention_backward(const block_shape *s, const block_trace *t, const float *back_y,
                               float *back_qkv)
{
    const size_t n = s->window, c = s->dim, width = c / s->heads;
    const float factor = (float)(1 / sqrt((double)width));
    const head_window w = window_arrays(s, t);
    const float *qkv = t->coded[PLACE_QKV];

    for (size_t first = 0; first < s->tokens; first += n)
        for (size_t head = 0; head < s->heads; head++) {
            const size_t at = (first * s->heads + head * n) * n;
            const float *const p = t->chance + at;
            gather(s, first, qkv, 3 * c, head * width, w.q);
            gather(s, first, qkv, 3 * c, c + head * width, w.k);
            gather(s, first, qkv, 3 * c, 2 * c + head * width, w.v);
            gather(s, first, back_y, c, head * width, w.back_out);
            product(CblasTrans, CblasNoTrans, n, width, n, 1, t->chance_coded + at, w.back_out, w.back_v);
            product(CblasNoTrans, CblasTrans, n, n, width, 1, w.back_out, w.v, w.back_score);
            for (size_t i = 0; i < n; i++) { /* through softmax: codes of probabilities pass the gradient */
                float *const row = w.back_score + i * n;
                const float along = row_product(row, p + i * n, n);
                for (size_t j = 0; j < n; j++)
                    row[j] = p[i * n + j] * (row[j] - along);
            }
            product(CblasNoTrans, CblasNoTrans, n, width, n, factor, w.back_score, w.k, w.back_q);
            product(CblasTrans, CblasNoTrans, n, width, n, factor, w.back_score, w.q, w.back_k);
            scatter(s, first, w.back_q, back_qkv, 3 * c, head * width);
            scatter(s, first, w.back_k, back_qkv, 3 * c, c + head * width);
            scatter(s, first, w.back_v, back_qkv, 3 * c, 2 * c + head * width);
        }
}

/* ---- the block ------------------------------------------------------------------------------- */

static void code_place(const block_shape *s, const step_code *codes, block_place place, block_trace *t)
{
    to_code(&codes[place], t->exact[place], s->tokens, place_width(s, place), t->coded[place]);
}

void block_forward(const block_shape *s, const step_code codes[BLOCK_PLACES], const float *parameters,
                   const float *x, block_trace *t, float *y)
{
    const block_layout l = block_layout_of(s);
    const size_t n = s->tokens, c = s->dim, h = s->hidden;
    const float *const p = parameters;
    const size_t *const o = l.offset;

    norm_forward(p + o[PART_GAIN1], p + o[PART_BIAS1], s->epsilon, x, n, c, t->normal1, t->spread1,
                 t->exact[PLACE_NORM1]);
    code_place(s, codes, PLACE_NORM1, t);
    dense_forward(p + o[PART_QKV_WEIGHT], p + o[PART_QKV_BIAS], t->coded[PLACE_NORM1], n, c, 3 * c,
                  t->exact[PLACE_QKV]);
    code_place(s, codes, PLACE_QKV, t);
    attention_forward(s, &codes[PLACE_QKV], t);
    code_place(s, codes, PLACE_ATTENTION, t);
    dense_forward(p + o[PART_PROJ_WEIGHT], p + o[PART_PROJ_BIAS], t->coded[PLACE_ATTENTION], n, c, c,
                  t->middle);
    cblas_saxpy((int)(n * c), 1, x, 1, t->middle, 1);

    norm_forward(p + o[PART_GAIN2], p + o[PART_BIAS2], s->epsilon, t->middle, n, c, t->normal2,
                 t->spread2, t->exact[PLACE_NORM2]);
    code_place(s, codes, PLACE_NORM2, t);
    dense_forward(p + o[PART_FC1_WEIGHT], p + o[PART_FC1_BIAS], t->coded[PLACE_NORM2], n, c, h,
                  t->exact[PLACE_FC1]);
    code_place(s, codes, PLACE_FC1, t);
    for (size_t r = 0; r < n; r++)
        row_gelu(t->coded[PLACE_FC1] + r * h, h, t->slope + r * h, t->exact[PLACE_GELU] + r * h);
    code_place(s, codes, PLACE_GELU, t);
    dense_forward(p + o[PART_FC2_WEIGHT], p + o[PART_FC2_BIAS], t->coded[PLACE_GELU], n, h, c, y);
    cblas_saxpy((int)(n * c), 1, t->middle, 1, y, 1);
}

static void clip_place(const block_shape *s, const step_code *codes, block_place place,
                       const block_trace *t, float *back)
{
    clip_gradient(&codes[place], t->exact[place], s->tokens, place_width(s, place), back);
}

void block_backward(const block_shape *s, const step_code codes[BLOCK_PLACES], const float *parameters,
                    const float *back_y, block_trace *t, float *gradient, float *back_x)
{
    const block_layout l = block_layout_of(s);
    const size_t n = s->tokens, c = s->dim, h = s->hidden;
    const float *const p = parameters;
    float *const g = gradient;
    const size_t *const o = l.offset;
    float *const narrow = t->back_narrow;

    dense_backward(p + o[PART_FC2_WEIGHT], t->coded[PLACE_GELU], back_y, n, h, c,
                   g + o[PART_FC2_WEIGHT], g + o[PART_FC2_BIAS], t->back_wide);
    clip_place(s, codes, PLACE_GELU, t, t->back_wide);
    gelu_backward(t->slope, n * h, t->back_wide);
    clip_place(s, codes, PLACE_FC1, t, t->back_wide);
    dense_backward(p + o[PART_FC1_WEIGHT], t->coded[PLACE_NORM2], t->back_wide, n, c, h,
                   g + o[PART_FC1_WEIGHT], g + o[PART_FC1_BIAS], narrow);
    clip_place(s, codes, PLACE_NORM2, t, narrow);
    memcpy(t->back_middle, back_y, n * c * sizeof *back_y);
    norm_backward(p + o[PART_GAIN2], t->normal2, t->spread2, n, c, narrow, g + o[PART_GAIN2],
                  g + o[PART_BIAS2], t->back_middle);

    dense_backward(p + o[PART_PROJ_WEIGHT], t->coded[PLACE_ATTENTION], t->back_middle, n, c, c,
                   g + o[PART_PROJ_WEIGHT], g + o[PART_PROJ_BIAS], t->back_wide);
    clip_place(s, codes, PLACE_ATTENTION, t, t->back_wide);
    attention_backward(s, t, t->back_wide, narrow);
    clip_place(s, codes, PLACE_QKV, t, narrow);
    dense_backward(p + o[PART_QKV_WEIGHT], t->coded[PLACE_NORM1], narrow, n, c, 3 * c,
                   g + o[PART_QKV_WEIGHT], g + o[PART_QKV_BIAS], t->back_wide);
    clip_place(s, codes, PLACE_NORM1, t, t->back_wide);
    if (back_x)
        memcpy(back_x, t->back_middle, n * c * sizeof *back_x);
    norm_backward(p + o[PART_GAIN1], t->normal1, t->spread1, n, c, t->back_wide, g + o[PART_GAIN1],
                  g + o[PART_BIAS1], back_x);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The operators of an integer-only Vision Transformer, each on its own, in plain C.
 *
 * These are the reference: src/NUMERICS.md states their arithmetic and proves its ranges, and every
 * fast kernel of the library gives the same bits. Matrices are row-major and without padding unless
 * a stride is given; strides count elements. No function allocates, fails or keeps state: the caller
 * vouches for the ranges stated here. Every `>>` of a negative number is a floor.
 */
#ifndef IVITI_KERNELS_H
#define IVITI_KERNELS_H

#include "iviti/iviti.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- requantisation ------------------------------------------------------------------------- */

/* A positive real factor m / 2^c as integers: m in [2^30, 2^31), c in [1, 62]. The factor lies in
 * [2^-32, 2^30). */
typedef struct iviti_dyadic {
    int32_t multiplier;
    int32_t shift;
} iviti_dyadic;

/* (z * m + 2^(c-1)) >> c: z times the factor, rounded half up. The one rounding rule of libiviti.
 * z: any int32. Result: at most 2^61 in magnitude. */
IVITI_API int64_t iviti_requantize(int32_t z, iviti_dyadic factor);

/* The same, saturated to the type's range. */
IVITI_API int8_t iviti_requantize_s8(int32_t z, iviti_dyadic factor);
IVITI_API int16_t iviti_requantize_s16(int32_t z, iviti_dyadic factor);
IVITI_API int32_t iviti_requantize_s32(int32_t z, iviti_dyadic factor);

/* ---- matrix products ------------------------------------------------------------------------ */

/* acc[r][o] = bias[o] + sum_k x[r][k] * w[o][k]   (I-ViT section 3.2, Dense)
 * x (rows, in), w (out, in), bias (out) or NULL for zeros, acc (rows, out).
 * Exact while in * 32640 + |bias| < 2^31 (u8) or in * 16384 + |bias| < 2^31 (s8). */
IVITI_API void iviti_dense_u8s8(const uint8_t *x, const int8_t *w, const int32_t *bias,
                                size_t rows, size_t in, size_t out, int32_t *acc);
IVITI_API void iviti_dense_s8s8(const int8_t *x, const int8_t *w, const int32_t *bias,
                                size_t rows, size_t in, size_t out, int32_t *acc);

/* acc[r][c] = sum_k a[r][k] * b[k][c]   (MatMul of two activations)
 * a (rows, inner), b (inner, columns), acc (rows, columns). a in s16 must keep the sums in int32:
 * attention probabilities do, their rows sum to at most 2^15. */
IVITI_API void iviti_matmul_u8s8(const uint8_t *a, const int8_t *b, size_t rows, size_t inner,
                                 size_t columns, int32_t *acc);
IVITI_API void iviti_matmul_s8s8(const int8_t *a, const int8_t *b, size_t rows, size_t inner,
                                 size_t columns, int32_t *acc);
IVITI_API void iviti_matmul_s16s8(const int16_t *a, const int8_t *b, size_t rows, size_t inner,
                                  size_t columns, int32_t *acc);

/* y[r][o] = saturate(acc[r][o] * factor[o]) with one factor per output channel.
 * acc and y (rows, channels), factor (channels). */
IVITI_API void iviti_requantize_rows_s8(const int32_t *acc, const iviti_dyadic *factor, size_t rows,
                                        size_t channels, int8_t *y);
IVITI_API void iviti_requantize_rows_s16(const int32_t *acc, const iviti_dyadic *factor,
                                         size_t rows, size_t channels, int16_t *y);

/* ---- shift family: I-ViT's operators over exact integers -------------------------------------- */

/* ShiftExp (I-ViT section 3.3): e^(x * S) in units of S / 2^n, with one_over_scale = ceil(1 / S).
 * x: |x| <= 2^24; one_over_scale in [1, 2^24]; n in [1, 30]. Saturates at 2^62; never negative. */
IVITI_API int64_t iviti_shift_exp(int32_t x, int32_t one_over_scale, int n);

/* Shiftmax of one row: p at scale 2^-(bits-1), bits 8 or 16, n = 15.
 * x (count) s8 at scale S, one_over_scale = ceil(1 / S) in [1, 2^15], p (count) s16 in
 * [0, 2^(bits-1) - 1]. count >= 1. */
IVITI_API void iviti_shiftmax(const int8_t *x, size_t count, int32_t one_over_scale, int bits,
                              int16_t *p);

/* ShiftGELU of one row: y = x * sigmoid, at scale S / 128, n = 23.
 * x (count) s8 at scale S, one_over_scale = ceil(1 / (1.702 * S)) in [1, 255] (above, the sigmoid
 * would leave its 7 bits), y (count) in [-16256, 16129]. count >= 1. */
IVITI_API void iviti_shift_gelu(const int8_t *x, size_t count, int32_t one_over_scale, int32_t *y);

/* I-LayerNorm of one row as published: ten Newton steps from 2^16 towards sqrt(V),
 * y[c] = ((x[c] - mean) * floor((2^31-1) / root)) >> 1 at scale sqrt(count) / 2^30.
 * x (count) s16, count in [1, 16384]; y (count), |y| < 2^30. Returns the root. */
IVITI_API uint32_t iviti_layernorm_newton(const int16_t *x, size_t count, int32_t *y);

/* ---- exact LayerNorm ------------------------------------------------------------------------ */

/* floor(sqrt(v)), v < 2^63. */
IVITI_API uint32_t iviti_isqrt(uint64_t v);

/* LayerNorm of one row without rounding the mean or the variance:
 * V = C * sum x^2 - (sum x)^2 + epsilon, y[c] = (C * x[c] - sum x) / floor(sqrt(V)) in units of
 * 2^-16. x (count) s16, count in [1, 16384]; epsilon (eps * C^2 / S^2) in [1, 2^54];
 * y (count), |y| <= 2^24. Returns the root. */
IVITI_API uint32_t iviti_layernorm_exact(const int16_t *x, size_t count, int64_t epsilon,
                                         int32_t *y);

/* The affine part of either: out[c] = saturate((y[c] * factor[c] + bias[c] + 128) >> 8), the product
 * requantised first. `multiplier` may be negative (gamma is), its magnitude in [2^30, 2^31); `shift`
 * in [25, 62] after the exact form and [31, 62] after Newton's; |bias| <= 2^30 - 256, in units of
 * 1/256 of the output. All arrays (count). */
IVITI_API void iviti_layernorm_affine_s8(const int32_t *y, const iviti_dyadic *factor,
                                         const int32_t *bias, size_t count, int8_t *out);
IVITI_API void iviti_layernorm_affine_s16(const int32_t *y, const iviti_dyadic *factor,
                                          const int32_t *bias, size_t count, int16_t *out);

/* ---- residual ------------------------------------------------------------------------------- */

/* out[i] = saturate(requantize(a[i], fa) + requantize(b[i], fb)), s16, each operand brought to the
 * output's scale on its own. The identity is m = 2^30, c = 30. */
IVITI_API void iviti_residual_add(const int16_t *a, iviti_dyadic fa, const int16_t *b,
                                  iviti_dyadic fb, size_t count, int16_t *out);

/* ---- table family --------------------------------------------------------------------------- */

/* Softmax numerators of one row: index = min(255, (max - score) * factor), e = table[index].
 * score (count) s32 with max - min < 2^31; table (256) u8, table[0] = 255, not increasing;
 * e (count). Returns their sum, at least 255. count in [1, 4096]. */
IVITI_API uint32_t iviti_exp_table(const int32_t *score, size_t count, iviti_dyadic factor,
                                   const uint8_t *table, uint8_t *e);

/* The factor that divides a row by its sum: `factor` / sum, by one integer division.
 * sum in [1, 2^30]. With L the length of sum in bits, the result's shift is factor.shift + L or one
 * less, and the caller keeps it in [1, 62]. */
IVITI_API iviti_dyadic iviti_reciprocal(uint32_t sum, iviti_dyadic factor);

/* y[i] = table[x[i] + 128]: any function of an s8, GELU above all. */
IVITI_API void iviti_table_s8(const int8_t *x, size_t count, const int8_t *table, int8_t *y);

/* ---- SULQ: probabilities as powers of two (I&S-ViT) ------------------------------------------- */

#define IVITI_SULQ_THRESHOLDS 7

/* Codes of one row of softmax numerators: code[i] = 2^k, k the number of thresholds that e[i] / sum
 * reaches, thresholds in units of 2^-24. e (count) and sum as iviti_exp_table gives them (sum <=
 * 2^20); threshold (7) not decreasing, each in [1, 2^25], above 2^24: never reached; code (count),
 * may be e. */
IVITI_API void iviti_sulq_codes(const uint8_t *e, size_t count, uint32_t sum,
                                const uint32_t *threshold, uint8_t *code);

/* ---- comparison operators: what I-ViT's ablation measures its own against ---------------------- */

/* The constants of i-exp at input scale S: ln2 = ceil(0.6931 / S), b = floor(2.7073 / S) and
 * c = floor(2.7921 / S^2). ln2 in [1, 2^14], b in [ln2, 2^15], c in [b^2 / 4, 2^30]. */
typedef struct iviti_i_exp_constants {
    int32_t ln2;
    int32_t b;
    int32_t c;
} iviti_i_exp_constants;

/* i-exp (I-BERT section 3.5): e^(x S) in units of 0.35815147 S^2 / 2^n. x <= 0; n in [0, 30].
 * Result in [0, c * 2^n]. */
IVITI_API int64_t iviti_i_exp(int32_t x, iviti_i_exp_constants k, int n);

/* The largest n with c * 2^n < 2^31. */
IVITI_API int iviti_i_exp_bits(iviti_i_exp_constants k);

/* Softmax of one row with i-exp, its exponentials requantised to 16 bits as published and
 * normalised as Shiftmax does: p at scale 2^-(bits-1), bits 8 or 16.
 * x (count) s8 at scale S, p (count) in [0, 2^(bits-1) - 1]; count in [1, 4096]. */
IVITI_API void iviti_i_softmax(const int8_t *x, size_t count, iviti_i_exp_constants k, int bits,
                               int16_t *p);

/* Log-Int-Softmax of one row (FQ-ViT section 4.2), 4 bits: the probability is 2^-code, or nothing
 * where code is 16. x (count) s8 at scale S, code (count); count in [1, 4096]. */
IVITI_API void iviti_log_int_softmax(const int8_t *x, size_t count, iviti_i_exp_constants k,
                                     uint8_t *code);

/* i-GELU (I-BERT section 3.4) of s8 inputs: y = x * (sign(x) * (c - (b - min(|x|, b))^2) + c), at
 * scale 0.2888 S^3 / 4, with b = ceil(1.769 * sqrt 2 / S), c = ceil(2 / (0.2888 S^2)).
 * b in [1, 2^11], c in [1, 2^22]; x and y (count), |y| < 2^31. */
IVITI_API void iviti_i_gelu(const int8_t *x, size_t count, int32_t b, int32_t c, int32_t *y);

/* L1 LayerNorm (Lin et al. 2020) of one row: y[i] = (C x[i] - sum x) / r in units of 2^-16, with
 * r = sqrt(pi / 2) * floor(sum |C x - sum x| / C) in the place of the root, but more than each
 * |C x - sum x| / 2^7. x (count) s16, count in [1, 16384]; y (count), |y| <= 2^23. Returns r. */
IVITI_API uint32_t iviti_layernorm_l1(const int16_t *x, size_t count, int32_t *y);

/* ---- pictures ------------------------------------------------------------------------------- */

/* Patches as rows: (height/patch * width/patch, patch * patch * 3), each patch row by row, RGB.
 * pixels (height, width, 3) with `stride` bytes from row to row; width and height multiples of
 * patch; out rows begin out_stride >= patch*patch*3 bytes apart, their tails are set to zero. */
IVITI_API void iviti_extract_patches(const uint8_t *pixels, ptrdiff_t stride, uint32_t width,
                                     uint32_t height, uint32_t patch, uint8_t *out,
                                     size_t out_stride);

typedef enum iviti_interpolation { IVITI_BILINEAR = 0, IVITI_BICUBIC = 1 } iviti_interpolation;

/* Bytes of scratch that iviti_resize needs for these sizes; 0 if a size is out of range. */
IVITI_API size_t iviti_resize_scratch(uint32_t in_width, uint32_t in_height, uint32_t out_width,
                                      uint32_t out_height, iviti_interpolation interpolation);

/* Antialiased resize, bit for bit Pillow's Image.resize of an RGB picture: integer coefficients of
 * 22 bits, the horizontal pass first, each pass rounded to 8 bits.
 * in: as iviti_image; out (out_height, out_width, 3) without padding; sides 1 to 65535.
 * Returns IVITI_OK, ARGUMENT, IMAGE_SIZE or BUFFER. */
IVITI_API iviti_status iviti_resize(const iviti_image *in, iviti_interpolation interpolation,
                                    uint32_t out_width, uint32_t out_height, uint8_t *out,
                                    void *scratch, size_t scratch_bytes);

#ifdef __cplusplus
}
#endif

#endif

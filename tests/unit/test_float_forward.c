/* SPDX-License-Identifier: Apache-2.0
 *
 * The float forward pass against an independent computation: plain loops in double precision over
 * all pairs of tokens, with Swin's windows stated as a relation between two tokens.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>

#include "network/dialect.h"
#include "network/forward.h"
#include "network_toy.h"

/* ---- the independent computation ------------------------------------------------------------ */

static double *reals(size_t count)
{
    double *const memory = calloc(count + 1, sizeof *memory);
    if (memory == NULL)
        abort();
    return memory;
}

static double *slow_linear(network_linear l, const double *x, size_t rows, size_t in, size_t out)
{
    double *const y = reals(rows * out);
    for (size_t r = 0; r < rows; r++)
        for (size_t o = 0; o < out; o++) {
            y[r * out + o] = l.bias[o];
            for (size_t i = 0; i < in; i++)
                y[r * out + o] += x[r * in + i] * l.weight[o * in + i];
        }
    return y;
}

static double *slow_norm(network_norm n, double epsilon, const double *x, size_t rows, size_t width)
{
    double *const y = reals(rows * width);
    for (size_t r = 0; r < rows; r++) {
        double mean = 0, variance = 0;
        for (size_t i = 0; i < width; i++)
            mean += x[r * width + i] / (double)width;
        for (size_t i = 0; i < width; i++)
            variance += pow(x[r * width + i] - mean, 2) / (double)width;
        for (size_t i = 0; i < width; i++)
            y[r * width + i] =
                (x[r * width + i] - mean) / sqrt(variance + epsilon) * n.gain[i] + n.bias[i];
    }
    return y;
}

/* Whether tokens a and b of a rolled and windowed grid meet, and their bias's row if they do: they
 * share a window after rolling, and both or neither were carried over each border. */
static bool meet(const iviti_stage *s, uint32_t shift, size_t a, size_t b, size_t *row)
{
    const size_t w = s->window, height = s->grid_height, width = s->grid_width;
    const size_t ay = a / width, ax = a % width, by = b / width, bx = b % width;
    const size_t ry = (ay + height - shift) % height, rx = (ax + width - shift) % width;
    const size_t sy = (by + height - shift) % height, sx = (bx + width - shift) % width;
    if (ry / w != sy / w || rx / w != sx / w)
        return false;
    if ((ay < shift) != (by < shift) || (ax < shift) != (bx < shift))
        return false;
    *row = (ry % w + w - 1 - sy % w) * (2 * w - 1) + rx % w + w - 1 - sx % w;
    return true;
}

static double *slow_attention(const network *n, uint32_t block, const double *qkv)
{
    const uint32_t stage = network_stage_of(n, block);
    const iviti_stage *s = &n->geometry.stage[stage];
    const size_t tokens = network_tokens_of(n, block), c = s->dim, width = c / s->heads;
    uint32_t in_stage = block;
    for (uint32_t i = 0; i < stage; i++)
        in_stage -= n->geometry.stage[i].depth;
    const uint32_t shift = in_stage % 2 == 1 && s->window < s->grid_width ? s->window / 2 : 0;
    double *const out = reals(tokens * c), *const p = reals(tokens);
    for (size_t h = 0; h < s->heads; h++) {
        for (size_t a = 0; a < tokens; a++) {
            double sum = 0;
            for (size_t b = 0; b < tokens; b++) {
                size_t row = 0;
                double score = 0;
                p[b] = 0;
                if (s->window != 0 && !meet(s, shift, a, b, &row))
                    continue;
                for (size_t i = 0; i < width; i++)
                    score += qkv[a * 3 * c + h * width + i] * qkv[b * 3 * c + c + h * width + i];
                score /= sqrt((double)width);
                if (s->window != 0)
                    score += n->blocks[block].position_bias[row * s->heads + h];
                sum += p[b] = exp(score);
            }
            for (size_t b = 0; b < tokens; b++)
                for (size_t i = 0; i < width; i++)
                    out[a * c + h * width + i] +=
                        p[b] / sum * qkv[b * 3 * c + 2 * c + h * width + i];
        }
    }
    free(p);
    return out;
}

/* What the double computation of a block passed by. */
typedef struct steps {
    double *norm1, *qkv, *attention, *proj, *middle, *norm2, *fc1, *gelu, *fc2;
} steps;

static steps slow_block(const network *n, uint32_t block, double *x)
{
    const network_block *b = &n->blocks[block];
    const iviti_stage *s = &n->geometry.stage[network_stage_of(n, block)];
    const size_t rows = network_tokens_of(n, block), c = s->dim, hidden = s->hidden;
    steps v;
    v.norm1 = slow_norm(b->norm1, n->epsilon, x, rows, c);
    v.qkv = slow_linear(b->qkv, v.norm1, rows, c, 3 * c);
    v.attention = slow_attention(n, block, v.qkv);
    v.proj = slow_linear(b->proj, v.attention, rows, c, c);
    v.middle = reals(rows * c);
    for (size_t i = 0; i < rows * c; i++)
        v.middle[i] = x[i] + v.proj[i];
    v.norm2 = slow_norm(b->norm2, n->epsilon, v.middle, rows, c);
    v.fc1 = slow_linear(b->fc1, v.norm2, rows, c, hidden);
    v.gelu = reals(rows * hidden);
    for (size_t i = 0; i < rows * hidden; i++)
        v.gelu[i] = v.fc1[i] * 0.5 * erfc(-v.fc1[i] / sqrt(2));
    v.fc2 = slow_linear(b->fc2, v.gelu, rows, hidden, c);
    for (size_t i = 0; i < rows * c; i++)
        x[i] = v.middle[i] + v.fc2[i];
    return v;
}

static void free_steps(steps v)
{
    double *const all[] = { v.norm1, v.qkv, v.attention, v.proj, v.middle,
                            v.norm2, v.fc1, v.gelu,      v.fc2 };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static double *slow_embed(const network *n, const uint8_t *pixels)
{
    const iviti_geometry *g = &n->geometry;
    const size_t p = g->patch, c = g->stage[0].dim, side = g->stage[0].grid_width;
    const size_t width = g->image_width;
    double *const patches = reals(side * side * p * p * 3);
    for (size_t t = 0; t < side * side; t++)
        for (size_t i = 0; i < p * p * 3; i++) {
            const size_t y = t / side * p + i / (3 * p), x = t % side * p + i / 3 % p, k = i % 3;
            patches[t * p * p * 3 + i] =
                (pixels[(y * width + x) * 3 + k] / 255.0 - (double)n->mean[k]) / (double)n->std[k];
        }
    double *const embedded = slow_linear(n->embed, patches, side * side, p * p * 3, c);
    free(patches);
    if (g->family == IVITI_SWIN) {
        double *const x = slow_norm(n->embed_norm, n->epsilon, embedded, side * side, c);
        free(embedded);
        return x;
    }
    double *const x = reals((g->prefix_tokens + side * side) * c);
    for (size_t i = 0; i < g->prefix_tokens * c; i++)
        x[i] = n->prefix[i];
    for (size_t i = 0; i < side * side * c; i++)
        x[g->prefix_tokens * c + i] = embedded[i] + (double)n->position[i];
    free(embedded);
    return x;
}

static double *slow_merge(const network *n, uint32_t stage, const double *x)
{
    static const size_t down[4] = { 0, 1, 0, 1 }, right[4] = { 0, 0, 1, 1 };
    const size_t c = n->geometry.stage[stage].dim, side = n->geometry.stage[stage].grid_width;
    const size_t half = side / 2;
    double *const four = reals(side * side * c);
    for (size_t t = 0; t < half * half; t++)
        for (size_t k = 0; k < 4; k++)
            for (size_t i = 0; i < c; i++) {
                const size_t y = t / half * 2 + down[k], column = t % half * 2 + right[k];
                four[(t * 4 + k) * c + i] = x[(y * side + column) * c + i];
            }
    double *const norm = slow_norm(n->merges[stage].norm, n->epsilon, four, half * half, 4 * c);
    double *const out = slow_linear(n->merges[stage].reduction, norm, half * half, 4 * c, 2 * c);
    free(four);
    free(norm);
    return out;
}

static double *slow_head(const network *n, const double *x)
{
    const iviti_geometry *g = &n->geometry;
    const size_t c = g->stage[g->stages - 1].dim, tokens = iviti_stage_tokens(g, g->stages - 1);
    double *const norm = slow_norm(n->norm, n->epsilon, x, tokens, c);
    double *const features = reals(g->features);
    for (size_t i = 0; i < g->features; i++) {
        if (g->family == IVITI_VIT)
            features[i] = norm[i];
        else
            for (size_t t = 0; t < tokens; t++)
                features[i] += norm[t * c + i] / (double)tokens;
    }
    double *const logits = slow_linear(n->head, features, 1, g->features, g->classes);
    free(norm);
    free(features);
    return logits;
}

static double *slow_forward(const network *n, const uint8_t *pixels)
{
    double *x = slow_embed(n, pixels);
    uint32_t block = 0;
    for (uint32_t s = 0; s < n->geometry.stages; s++) {
        for (uint32_t j = 0; j < n->geometry.stage[s].depth; j++)
            free_steps(slow_block(n, block++, x));
        if (s + 1 < n->geometry.stages) {
            double *const merged = slow_merge(n, s, x);
            free(x);
            x = merged;
        }
    }
    double *const logits = slow_head(n, x);
    free(x);
    return logits;
}

/* ---- comparison ----------------------------------------------------------------------------- */

#define TOLERANCE 2e-5 /* of the largest value: float against double */

static void agree(const char *what, const double *expected, const float *got, size_t count)
{
    double most = 0, worst = 0;
    for (size_t i = 0; i < count; i++) {
        most = fmax(most, fabs(expected[i]));
        worst = fmax(worst, fabs(expected[i] - (double)got[i]));
        assert_true(isfinite(got[i]));
    }
    assert_true(most > 0.01); /* something that nothing was computed of would agree as well */
    if (worst > TOLERANCE * most)
        fail_msg("%s differs by %g of %g", what, worst, most);
}

static float *floats(size_t count)
{
    float *const memory = calloc(count + 1, sizeof *memory);
    if (memory == NULL)
        abort();
    return memory;
}

static uint8_t *random_pixels(const network *n, size_t count)
{
    const size_t bytes = (size_t)n->geometry.image_width * n->geometry.image_height * 3 * count;
    uint8_t *const pixels = malloc(bytes + 1);
    if (pixels == NULL)
        abort();
    for (size_t i = 0; i < bytes; i++)
        pixels[i] = (uint8_t)(127.5f + 127.5f * toy_value("pixels", 0, i));
    return pixels;
}

static void check_forward(const network *n, size_t count)
{
    const size_t classes = n->geometry.classes;
    const size_t bytes = (size_t)n->geometry.image_width * n->geometry.image_height * 3;
    uint8_t *const pixels = random_pixels(n, count);
    float *const logits = floats(count * classes), *const again = floats(count * classes);
    report r = { "" };
    assert_true(network_forward(n, pixels, count, 1, logits, &r));
    for (size_t i = 0; i < count; i++) {
        double *const expected = slow_forward(n, pixels + i * bytes);
        agree("logits", expected, logits + i * classes, classes);
        free(expected);
    }
    /* neither more threads nor other company changes a bit */
    assert_true(network_forward(n, pixels, count, 3, again, &r));
    assert_memory_equal(logits, again, count * classes * sizeof *logits);
    assert_true(network_forward(n, pixels + (count - 1) * bytes, 1, 2, again, &r));
    assert_memory_equal(logits + (count - 1) * classes, again, classes * sizeof *logits);
    free(again);
    free(logits);
    free(pixels);
}

/* Every captured value of every block, both pictures, against the slow computation. */
static void check_block(const network *n, uint32_t block, size_t count, float *x, double **slow)
{
    const iviti_stage *s = &n->geometry.stage[network_stage_of(n, block)];
    const size_t tokens = network_tokens_of(n, block), c = tokens * s->dim;
    const size_t hidden = tokens * s->hidden;
    const network_capture v = {
        floats(count * c),      floats(count * 3 * c),  floats(count * c),
        floats(count * c),      floats(count * c),      floats(count * c),
        floats(count * hidden), floats(count * hidden), floats(count * c),
    };
    report r = { "" };
    assert_true(network_run_block(n, block, count, 2, x, &v, &r));
    for (size_t i = 0; i < count; i++) {
        const steps e = slow_block(n, block, slow[i]);
        agree("norm1", e.norm1, v.norm1 + i * c, c);
        agree("qkv", e.qkv, v.qkv + i * 3 * c, 3 * c);
        agree("attention", e.attention, v.attention + i * c, c);
        agree("proj", e.proj, v.proj + i * c, c);
        agree("middle", e.middle, v.middle + i * c, c);
        agree("norm2", e.norm2, v.norm2 + i * c, c);
        agree("fc1", e.fc1, v.fc1 + i * hidden, hidden);
        agree("gelu", e.gelu, v.gelu + i * hidden, hidden);
        agree("fc2", e.fc2, v.fc2 + i * c, c);
        agree("x", slow[i], x + i * c, c);
        free_steps(e);
    }
    float *const all[] = { v.norm1, v.qkv, v.attention, v.proj, v.middle,
                           v.norm2, v.fc1, v.gelu,      v.fc2 };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

/* The steps called one by one give what the whole pass gives, and show what they should. */
static void check_steps(const network *n)
{
    enum { COUNT = 2 };
    const iviti_geometry *g = &n->geometry;
    const size_t bytes = (size_t)g->image_width * g->image_height * 3;
    uint8_t *const pixels = random_pixels(n, COUNT);
    const size_t stream = (size_t)iviti_stage_tokens(g, 0) * g->stage[0].dim;
    float *x = floats(COUNT * stream), *other = floats(COUNT * stream);
    float *const logits = floats(COUNT * g->classes), *const whole = floats(COUNT * g->classes);
    double *slow[COUNT];
    report r = { "" };
    assert_true(network_embed(n, pixels, COUNT, 2, x, NULL, &r));
    for (size_t i = 0; i < COUNT; i++) {
        slow[i] = slow_embed(n, pixels + i * bytes);
        agree("embedding", slow[i], x + i * stream, stream);
    }
    uint32_t block = 0;
    for (uint32_t s = 0; s < g->stages; s++) {
        for (uint32_t j = 0; j < g->stage[s].depth; j++)
            check_block(n, block++, COUNT, x, slow);
        if (s + 1 == g->stages)
            break;
        const size_t merged = (size_t)iviti_stage_tokens(g, s + 1) * g->stage[s + 1].dim;
        assert_true(network_run_merge(n, s, COUNT, 2, x, other, NULL, &r));
        for (size_t i = 0; i < COUNT; i++) {
            double *const next = slow_merge(n, s, slow[i]);
            agree("merge", next, other + i * merged, merged);
            free(slow[i]);
            slow[i] = next;
        }
        float *const done = x;
        x = other;
        other = done;
    }
    assert_true(network_run_head(n, COUNT, 2, x, logits, NULL, NULL, &r));
    assert_true(network_forward(n, pixels, COUNT, 2, whole, &r));
    assert_memory_equal(logits, whole, COUNT * g->classes * sizeof *logits);
    for (size_t i = 0; i < COUNT; i++)
        free(slow[i]);
    free(x);
    free(other);
    free(logits);
    free(whole);
    free(pixels);
}

static void check_network(network *n)
{
    check_forward(n, 3);
    check_steps(n);
    network_free(n);
}

/* ---- tests ---------------------------------------------------------------------------------- */

static void vit_is_what_the_paper_says(void **state)
{
    (void)state;
    check_network(toy_map(toy_timm_vit(&toy_small_vit, "", "", ""),
                      &(network_options){ .heads = 4, .preset = "vit-augreg" }));
    const toy_vit odd = { 36, 20, 2, 5, 5, 3, false, false, false };
    check_network(toy_map(toy_timm_vit(&odd, "", "", ""), &(network_options){ .heads = 3 }));
}

static void distilled_vit_averages_two_heads(void **state)
{
    (void)state;
    toy_vit v = toy_small_vit;
    v.distilled = true;
    check_network(toy_map(toy_timm_vit(&v, "", "", ""), &(network_options){ .heads = 1 }));
}

static void swin_shifts_and_masks_its_windows(void **state)
{
    (void)state;
    check_network(
        toy_map(toy_microsoft_swin(&toy_small_swin, 0, "head"), &(network_options){ .image = 32 }));
    /* the last stage's grid is smaller than the window */
    check_network(
        toy_map(toy_microsoft_swin(&toy_small_swin, 0, "head"), &(network_options){ .image = 16 }));
    /* an odd window, four stages */
    const toy_swin odd = { 8, 4, { 2, 2, 2, 2 }, { 1, 1, 2, 4 }, 3, 2, 3, 5 };
    check_network(toy_map(toy_microsoft_swin(&odd, 0, "head"), &(network_options){ .image = 48 }));
    /* one stage, and a window as large as the grid */
    const toy_swin plain = { 8, 1, { 3 }, { 2 }, 4, 4, 4, 5 };
    check_network(toy_map(toy_microsoft_swin(&plain, 0, "head"), &(network_options){ .image = 16 }));
    check_network(toy_map(toy_microsoft_swin(&plain, 0, "head"), &(network_options){ .image = 32 }));
}

static void captures_of_the_ends_are_consistent(void **state)
{
    (void)state;
    network *const n =
        toy_map(toy_microsoft_swin(&toy_small_swin, 0, "head"), &(network_options){ .image = 32 });
    const iviti_geometry *g = &n->geometry;
    const size_t grid = 16 * 16, c = 16;
    uint8_t *const pixels = random_pixels(n, 1);
    float *const x = floats(grid * c), *const patches = floats(grid * c);
    float *const norm = floats(grid * c), *const out = floats(grid * c / 2);
    float *const features = floats(64), *const logits = floats(g->classes);
    report r = { "" };
    assert_true(network_embed(n, pixels, 1, 1, x, patches, &r));
    double *const raw = reals(grid * c);
    for (size_t i = 0; i < grid * c; i++)
        raw[i] = patches[i];
    double *const normalised = slow_norm(n->embed_norm, n->epsilon, raw, grid, c);
    agree("norm of patches", normalised, x, grid * c);

    assert_true(network_run_merge(n, 0, 1, 1, x, out, norm, &r));
    for (size_t i = 0; i < grid * c; i++)
        raw[i] = norm[i];
    double *const reduced = slow_linear(n->merges[0].reduction, raw, grid / 4, 4 * c, 2 * c);
    agree("reduction of norm", reduced, out, grid * c / 2);

    /* any stream of (16, 64) does as the last one */
    assert_true(network_run_head(n, 1, 1, out, logits, features, norm, &r));
    for (size_t i = 0; i < 64; i++) {
        double mean = 0;
        for (size_t t = 0; t < 16; t++)
            mean += (double)norm[t * 64 + i] / 16;
        assert_true(fabs(mean - (double)features[i]) < 1e-6);
    }
    free(raw);
    free(normalised);
    free(reduced);
    free(x);
    free(patches);
    free(norm);
    free(out);
    free(features);
    free(logits);
    free(pixels);
    network_free(n);
}

static void large_scores_do_not_overflow(void **state)
{
    (void)state;
    toy *const t = toy_timm_vit(&toy_small_vit, "", "", "");
    for (size_t i = 0; i < t->c.count; i++)
        if (strstr(t->name[i], "attn.qkv.weight") != NULL)
            for (size_t k = 0; k < t->tensor[i].count; k++)
                ((float *)(uintptr_t)t->tensor[i].data)[k] *= 100.0f;
    network *const n = toy_map(t, &(network_options){ .heads = 2 });
    uint8_t *const pixels = random_pixels(n, 1);
    float logits[7];
    report r = { "" };
    assert_true(network_forward(n, pixels, 1, 1, logits, &r));
    for (size_t i = 0; i < 7; i++)
        assert_true(isfinite(logits[i]));
    free(pixels);
    network_free(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vit_is_what_the_paper_says),
        cmocka_unit_test(distilled_vit_averages_two_heads),
        cmocka_unit_test(swin_shifts_and_masks_its_windows),
        cmocka_unit_test(captures_of_the_ends_are_consistent),
        cmocka_unit_test(large_scores_do_not_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

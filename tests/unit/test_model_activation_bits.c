/* SPDX-License-Identifier: Apache-2.0
 *
 * Activations of other than 8 bits: what the engine makes of them, the same for every instruction
 * set, number of threads and batch, and every way in which a file may be wrong about them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kernels/requantize.h"
#include "model/model.h"
#include "model_edit.h"

/* Each activation gets its bits in turn, 2 to 8; or all of them `bits`. */
static iviti_geometry narrow_geometry(fixture_kind kind, int bits)
{
    iviti_geometry g = edit_geometry(kind);
    for (uint32_t i = 0; i < iviti_activations(&g); i++)
        g.activation_bits[i] = (uint8_t)(bits ? bits : 2 + (int)(i % 7));
    return g;
}

/* A file whose GELU tables have the bits that `g` gives them. */
static model_fixture build(const iviti_geometry *g, uint64_t seed, bool obedient)
{
    const model_metadata metadata = { .name = "narrow" };
    model_writer *w = NULL;
    report r = { "" };
    iviti_tensor_spec spec;
    const uint8_t *image;
    model_fixture f = { NULL, 0 };
    assert_true(model_writer_open(g, &metadata, &w, &r));
    for (size_t i = 0; iviti_schema_tensor(g, i, &spec); i++) {
        int8_t *const values = fixture_tensor(g, &spec, seed);
        for (size_t k = 0; k < spec.count && obedient && spec.owner == IVITI_BLOCK_GELU_TABLE; k++)
            values[k] = (int8_t)(values[k] < spec.low    ? spec.low
                                 : values[k] > spec.high ? spec.high
                                                         : values[k]);
        assert_true(model_writer_put(w, i, values, (size_t)spec.bytes, &r));
        free(values);
    }
    assert_true(model_writer_finish(w, &image, &f.size, &r));
    f.image = malloc(f.size);
    assert_non_null(f.image);
    memcpy(f.image, image, f.size);
    model_writer_close(w);
    return f;
}

static iviti_model *load(const iviti_geometry *g, uint64_t seed)
{
    model_fixture f = build(g, seed, true);
    const load_result r = edit_load(f.image, f.size, NULL);
    if (r.status != IVITI_OK)
        print_error("%s\n", r.sentence);
    assert_int_equal(r.status, IVITI_OK);
    fixture_free(&f);
    return r.model;
}

enum { PICTURES = 3 };

static uint8_t *random_pixels(const iviti_geometry *g)
{
    const size_t bytes = PICTURES * (size_t)g->image_width * g->image_height * 3;
    uint8_t *pixels = malloc(bytes);
    uint64_t state = 5;
    assert_non_null(pixels);
    for (size_t i = 0; i < bytes; i++)
        pixels[i] = (uint8_t)fixture_uniform(&state, 0, 255);
    return pixels;
}

/* Logits (PICTURES, classes) as the session computes them. */
static int32_t *run(const iviti_model *m, const uint8_t *pixels, iviti_isa isa, unsigned threads,
                    size_t batch)
{
    const iviti_geometry *g = &m->geometry;
    const size_t row = (size_t)g->image_width * 3, bytes = row * g->image_height;
    const iviti_session_options options = { .threads = threads, .isa = isa, .batch = (unsigned)batch };
    int32_t *logits = malloc(PICTURES * g->classes * sizeof *logits);
    iviti_session *s = NULL;
    assert_non_null(logits);
    assert_int_equal(iviti_session_create(m, &options, &s), IVITI_OK);
    for (size_t i = 0; i < PICTURES; i += batch) {
        iviti_image images[PICTURES];
        const size_t count = PICTURES - i < batch ? PICTURES - i : batch;
        for (size_t k = 0; k < count; k++)
            images[k] = (iviti_image){ pixels + (i + k) * bytes, g->image_width, g->image_height,
                                       (ptrdiff_t)row };
        assert_int_equal(iviti_session_run_batch(s, images, count), IVITI_OK);
        memcpy(logits + i * g->classes, iviti_session_logits(s),
               count * g->classes * sizeof *logits);
    }
    iviti_session_free(s);
    return logits;
}

/* Pictures of the network's size enter as they are. */
static iviti_geometry unscaled(iviti_geometry g)
{
    g.preprocess.fit = IVITI_FIT_SQUASH;
    g.preprocess.resize = 0;
    return g;
}

/* ---- a plain forward pass of a ViT, each activation clamped value by value ------------------- */

enum { MOST_TOKENS = 32, MOST_WIDTH = 128 };

static void clamp_rows(const iviti_geometry *g, uint32_t block, iviti_activation which, uint8_t *x,
                       size_t count)
{
    const int bits = iviti_activation_bits(g, iviti_block_activation(block, 0, which));
    for (size_t i = 0; i < count; i++) {
        const int v = x[i] - 128, limit = 1 << (bits - 1);
        x[i] = (uint8_t)((v < -limit ? -limit : v > limit - 1 ? limit - 1 : v) + 128);
    }
}

static void plain_attention(const iviti_model *m, const iviti_block *b, uint32_t head, size_t tokens,
                            const uint8_t *q, const uint8_t *k, const uint8_t *v, uint8_t *y)
{
    static _Alignas(64) uint8_t scratch[1 << 16];
    static _Alignas(64) int8_t keys[MOST_TOKENS * MOST_WIDTH * 4], values[sizeof keys];
    const iviti_geometry *g = &m->geometry;
    const size_t dim = g->stage[0].dim, width = dim / g->stage[0].heads, at = head * width;
    const iviti_attention a = { .kind = g->softmax_kind,
                                .head_dim = (uint32_t)width,
                                .tokens = (uint32_t)tokens,
                                .score = b->score[head],
                                .exp_table = b->exp_table,
                                .exp_shift = b->exp_shift,
                                .output = b->output[head] };
    assert_true(iviti_attention_scratch(tokens) <= sizeof scratch);
    memset(keys, 0, sizeof keys);
    memset(values, 0, sizeof values);
    for (size_t t = 0; t < tokens; t++)
        for (size_t d = 0; d < width; d++) {
            keys[iviti_panel_offset(t, d, width)] = (int8_t)(k[t * dim + at + d] - 128);
            values[iviti_panel_offset(d, t, tokens)] = (int8_t)(v[t * dim + at + d] - 128);
        }
    iviti_attention_ref(&a, q + at, dim, 0, tokens, keys, values, y + at, dim, scratch);
}

/* ---- the same for wide activations, which are whole numbers here -------------------------------
 */

/* acc * f of output o, rounded for each digit of the inputs x by itself. */
static void plain_digits(const iviti_dense *w, const iviti_dense *low, size_t o, const int16_t *x,
                         int64_t y[2])
{
    int64_t bias = low->bias[o], sums[2] = { 0, 0 };
    int32_t total = 0;
    for (size_t k = 0; k < w->in; k++) {
        const int32_t weight = w->panels[iviti_panel_offset(o, k, w->in)];
        const int32_t digit = (x[k] + 2048) % 16;
        total += weight;
        sums[0] += (x[k] - digit) / 16 * weight;
        sums[1] += digit * weight;
    }
    bias += 16 * ((int64_t)w->bias[o] + 128 * total); /* as the file has it */
    const int64_t rest = ((bias % 16) + 16) % 16;
    sums[0] += (bias - rest) / 16;
    sums[1] += rest;
    for (int i = 0; i < 2; i++)
        y[i] = iviti_saturate_s16(
            iviti_scale((int32_t)sums[i], w->multiplier[o], low->shift[o] - (i == 0 ? 4 : 0)));
}

static void plain_join(const iviti_dense *w, const iviti_dense *low, const iviti_join *join,
                       const int16_t *x, size_t tokens, int16_t *stream, size_t dim)
{
    for (size_t t = 0; t < tokens; t++)
        for (size_t o = 0; o < dim; o++) {
            int64_t y[2];
            plain_digits(w, low, o, x + t * w->in, y);
            for (int i = 0; i < 2; i++)
                stream[t * dim + o] =
                    iviti_saturate_s16(iviti_requantize(stream[t * dim + o], join->stream) +
                                       iviti_requantize((int32_t)y[i], join->branch));
        }
}

static void plain_wide_attention(const iviti_model *m, const iviti_block *b, uint32_t head,
                                 size_t tokens, const uint8_t *q, const uint8_t *k,
                                 const uint8_t *v, int16_t *y)
{
    const size_t dim = m->geometry.stage[0].dim, width = dim / m->geometry.stage[0].heads;
    const size_t at = head * width;
    for (size_t i = 0; i < tokens; i++) {
        int32_t score[MOST_TOKENS], most = INT32_MIN;
        uint32_t e[MOST_TOKENS], sum = 0;
        for (size_t j = 0; j < tokens; j++) {
            score[j] = 0;
            for (size_t d = at; d < at + width; d++)
                score[j] += (q[i * dim + d] - 128) * (k[j * dim + d] - 128);
            most = score[j] > most ? score[j] : most;
        }
        for (size_t j = 0; j < tokens; j++) {
            const int64_t index = iviti_requantize(most - score[j], b->score[head]);
            e[j] = b->wide_exp[index < 255 ? index : 255];
            sum += e[j];
        }
        for (size_t d = at; d < at + width; d++) {
            int32_t o = 0;
            for (size_t j = 0; j < tokens; j++)
                o += (int32_t)e[j] * (v[j * dim + d] - 128);
            y[i * dim + d] =
                iviti_saturate_wide(iviti_requantize(o, iviti_reciprocal(sum, b->output[head])));
        }
    }
}

static void plain_wide_mlp(const iviti_model *m, const iviti_block *b, int16_t *stream)
{
    static int16_t wide[MOST_TOKENS * MOST_WIDTH], hidden[MOST_TOKENS * MOST_WIDTH];
    const size_t dim = b->fc1.in, width = b->fc1.out;
    const size_t tokens = iviti_stage_tokens(&m->geometry, 0);

    iviti_norm_s16_ref(&b->norm2, stream, dim, NULL, tokens, wide, dim);
    for (size_t n = 0; n < tokens * dim; n++)
        wide[n] = iviti_saturate_wide(wide[n]);
    for (size_t t = 0; t < tokens; t++)
        for (size_t o = 0; o < width; o++) {
            int64_t y[2];
            plain_digits(&b->fc1, &b->fc1_low, o, wide + t * dim, y);
            const uint16_t entry =
                b->wide_gelu[o / 64 * 4096 + (size_t)(iviti_saturate_wide(y[0] + y[1]) + 2048)];
            hidden[t * width + o] = (int16_t)(16 * (entry % 256 - 128) + entry / 256);
        }
    plain_join(&b->fc2, &b->fc2_low, &b->join2, hidden, tokens, stream, dim);
}

static void plain_block(const iviti_model *m, uint32_t i, int16_t *stream)
{
    static uint8_t x[MOST_TOKENS * MOST_WIDTH], q[sizeof x], k[sizeof x], v[sizeof x], y[sizeof x];
    static int16_t wide[MOST_TOKENS * MOST_WIDTH];
    const iviti_geometry *g = &m->geometry;
    const iviti_block *b = &m->blocks[i];
    const size_t dim = g->stage[0].dim, hidden = g->stage[0].hidden;
    const size_t tokens = iviti_stage_tokens(g, 0);

    iviti_norm_s8_ref(&b->norm1, stream, dim, NULL, tokens, x, dim);
    clamp_rows(g, i, IVITI_ACTIVATION_QKV, x, tokens * dim);
    iviti_dense_s8_ref(&b->query, x, dim, tokens, q, dim);
    iviti_dense_s8_ref(&b->key, x, dim, tokens, k, dim);
    iviti_dense_s8_ref(&b->value, x, dim, tokens, v, dim);
    clamp_rows(g, i, IVITI_ACTIVATION_ATTENTION, q, tokens * dim);
    clamp_rows(g, i, IVITI_ACTIVATION_ATTENTION, k, tokens * dim);
    clamp_rows(g, i, IVITI_ACTIVATION_ATTENTION, v, tokens * dim);
    for (uint32_t head = 0; head < g->stage[0].heads; head++)
        if (b->wide_attention)
            plain_wide_attention(m, b, head, tokens, q, k, v, wide);
        else
            plain_attention(m, b, head, tokens, q, k, v, y);
    clamp_rows(g, i, IVITI_ACTIVATION_PROJ, y, tokens * dim);
    if (b->wide_attention)
        plain_join(&b->proj, &b->proj_low, &b->join1, wide, tokens, stream, dim);
    else
        iviti_dense_join_ref(&b->proj, &b->join1, y, dim, tokens, stream, dim, NULL);

    if (b->wide_mlp) {
        plain_wide_mlp(m, b, stream);
        return;
    }
    iviti_norm_s8_ref(&b->norm2, stream, dim, NULL, tokens, x, dim);
    clamp_rows(g, i, IVITI_ACTIVATION_FC1, x, tokens * dim);
    if (g->gelu_kind == IVITI_GELU_TABLE) {
        iviti_dense_table_ref(&b->fc1, b->gelu_table, x, dim, tokens, y, hidden);
    } else {
        iviti_dense_s8_ref(&b->fc1, x, dim, tokens, y, hidden);
        iviti_shift_gelu_ref(y, hidden, tokens, hidden, b->gelu_one_over_scale, b->gelu_output);
    }
    clamp_rows(g, i, IVITI_ACTIVATION_FC2, y, tokens * hidden);
    iviti_dense_join_ref(&b->fc2, &b->join2, y, hidden, tokens, stream, dim, NULL);
}

static void plain_forward(const iviti_model *m, const uint8_t *pixels, int32_t *logits)
{
    static int16_t stream[MOST_TOKENS * MOST_WIDTH];
    static uint8_t patches[MOST_TOKENS * 64 * 3], features[2 * MOST_WIDTH];
    const iviti_geometry *g = &m->geometry;
    const size_t dim = g->stage[0].dim, tokens = iviti_stage_tokens(g, 0);
    const size_t prefix = g->prefix_tokens, side = g->patch, inputs = side * side * 3;

    for (size_t t = 0; t < tokens - prefix; t++)
        for (size_t i = 0; i < inputs; i++) {
            const size_t row = t / g->stage[0].grid_width * side + i / (side * 3);
            const size_t column = t % g->stage[0].grid_width * side * 3 + i % (side * 3);
            const uint8_t u = pixels[row * g->image_width * 3 + column];
            patches[t * inputs + i] = g->pixel_table ? m->pixel_table[i % 3 * 256 + u] : u;
        }
    memcpy(stream, m->position, tokens * dim * sizeof *stream);
    iviti_dense_join_ref(&m->embed, &m->embed_join, patches, inputs, tokens - prefix,
                         stream + prefix * dim, dim, NULL);
    for (uint32_t i = 0; i < g->depth; i++)
        plain_block(m, i, stream);
    iviti_norm_s8_ref(&m->norm, stream, dim, NULL, prefix, features, dim);
    iviti_dense_s32_ref(&m->head, features, g->features, 1, logits, g->classes);
}

static void test_definition(void **state)
{
    (void)state;
    static const int bits[] = { 8, 6, 4, 3, 2, 0 };
    for (int kind = FIXTURE_VIT_TABLE; kind <= FIXTURE_VIT_DISTILLED; kind++)
        for (size_t k = 0; k < sizeof bits / sizeof *bits; k++) {
            const iviti_geometry g = unscaled(narrow_geometry((fixture_kind)kind, bits[k]));
            iviti_model *m = load(&g, 3);
            uint8_t *pixels = random_pixels(&g);
            int32_t *logits = run(m, pixels, IVITI_ISA_REF, 1, 1);
            for (size_t i = 0; i < PICTURES; i++) {
                int32_t expected[64];
                plain_forward(m, pixels + i * (size_t)g.image_width * g.image_height * 3, expected);
                assert_memory_equal(logits + i * g.classes, expected, g.classes * sizeof *logits);
            }
            free(logits);
            free(pixels);
            iviti_model_free(m);
        }
}

/* Attention and MLP of every block by themselves, and all of them. */
static void test_wide_definition(void **state)
{
    (void)state;
    for (unsigned which = 1; which < 16; which++) {
        iviti_geometry g = unscaled(edit_geometry(FIXTURE_VIT_TABLE));
        for (uint32_t block = 0; block < g.depth; block++)
            fixture_widen(&g, block, 0, which >> 2 * block & 1, which >> (2 * block + 1) & 1);
        iviti_model *m = load(&g, 3);
        uint8_t *pixels = random_pixels(&g);
        int32_t *logits = run(m, pixels, IVITI_ISA_REF, 1, 1);
        int32_t *others = run(m, pixels, IVITI_ISA_BEST, 3, 2);
        for (size_t i = 0; i < PICTURES; i++) {
            int32_t expected[64];
            plain_forward(m, pixels + i * (size_t)g.image_width * g.image_height * 3, expected);
            assert_memory_equal(logits + i * g.classes, expected, g.classes * sizeof *logits);
        }
        assert_memory_equal(logits, others, PICTURES * g.classes * sizeof *logits);
        free(logits);
        free(others);
        free(pixels);
        iviti_model_free(m);
    }
}

static bool enters_fc2(const iviti_geometry *g, uint32_t slot)
{
    uint32_t block = 0;
    for (uint32_t stage = 0; stage < g->stages; stage++)
        for (uint32_t j = 0; j < g->stage[stage].depth; j++, block++)
            if (slot == iviti_block_activation(block, stage, IVITI_ACTIVATION_FC2))
                return true;
    return false;
}

/* Fewer bits give other logits, for each activation by itself: none is forgotten. */
static void test_each_counts(void **state)
{
    (void)state;
    for (int kind = 0; kind < FIXTURE_KINDS; kind++) {
        const iviti_geometry wide = unscaled(edit_geometry((fixture_kind)kind));
        uint8_t *pixels = random_pixels(&wide);
        for (uint32_t i = 0; i < iviti_activations(&wide); i++) {
            iviti_geometry g = wide;
            if (g.activation_bits[i] == IVITI_WIDE_BITS) /* three together, and other tensors */
                continue;
            g.activation_bits[i] = 2;
            iviti_model *m = load(&g, 3);
            m->geometry.activation_bits[i] = 2;
            int32_t *narrow = run(m, pixels, IVITI_ISA_REF, 1, 1);
            m->geometry.activation_bits[i] = 8; /* the same weights, and the same clipped tables */
            int32_t *same = run(m, pixels, IVITI_ISA_REF, 1, 1);
            const size_t bytes = PICTURES * g.classes * sizeof *same;
            if (g.gelu_kind == IVITI_GELU_SHIFT || !enters_fc2(&g, i)) /* tables clip by themselves */
                assert_memory_not_equal(narrow, same, bytes);
            free(narrow);
            free(same);
            iviti_model_free(m);
        }
        free(pixels);
    }
}

static void test_same_everywhere(void **state)
{
    (void)state;
    static const iviti_isa sets[] = { IVITI_ISA_REF,  IVITI_ISA_AVX2,    IVITI_ISA_AVXVNNI,
                                      IVITI_ISA_AVX512VNNI, IVITI_ISA_NEON, IVITI_ISA_DOTPROD,
                                      IVITI_ISA_I8MM };
    for (int kind = 0; kind < FIXTURE_KINDS; kind++) {
        const iviti_geometry g = unscaled(narrow_geometry((fixture_kind)kind, 0));
        iviti_model *m = load(&g, 4);
        uint8_t *pixels = random_pixels(&g);
        int32_t *expected = run(m, pixels, IVITI_ISA_REF, 1, 1);
        for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
            for (unsigned threads = 1; threads <= 3; threads += 2)
                for (size_t batch = 1; batch <= PICTURES && iviti_isa_available(sets[i]); batch += 2) {
                    int32_t *logits = run(m, pixels, sets[i], threads, batch);
                    assert_memory_equal(logits, expected, PICTURES * g.classes * sizeof *logits);
                    free(logits);
                }
        free(expected);
        free(pixels);
        iviti_model_free(m);
    }
}

/* ---- files that are wrong ------------------------------------------------------------------- */

static void test_damage(void **state)
{
    (void)state;
    const iviti_geometry g = narrow_geometry(FIXTURE_VIT_TABLE, 4);
    model_fixture f = build(&g, 2, true);
    edit_expect(&f, IVITI_OK, "");

    uint8_t *const table = f.image + edit_tensor(&f, &g, "block.1.gelu.table");
    const uint8_t before = table[17];
    table[17] = 8; /* of -8..7 */
    edit_expect(&f, IVITI_ERROR_RANGE, "block.1.gelu.table");
    table[17] = (uint8_t)-9;
    edit_expect(&f, IVITI_ERROR_RANGE, "block.1.gelu.table");
    table[17] = before;
    edit_expect(&f, IVITI_OK, "");

    const size_t array = edit_value(&f, "iviti.activations.bits");
    static const uint32_t wrong[] = { 0, 1, 9, 16, 0x104, UINT32_MAX };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        iviti_put_u32(f.image + array + 4, wrong[i]);
        edit_expect(&f, IVITI_ERROR_UNSUPPORTED, "iviti.activations.bits[1] is");
    }
    iviti_put_u32(f.image + array + 4, 4);
    iviti_put_u32(f.image + array - 12, 5); /* elements that are not u32 */
    edit_expect(&f, IVITI_ERROR_CORRUPT, "iviti.activations.bits has type");
    iviti_put_u32(f.image + array - 12, 4);
    edit_expect(&f, IVITI_OK, "");
    fixture_free(&f);
}

static void put_s16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)(value & 0xFF);
    at[1] = (uint8_t)(value >> 8);
}

/* Wide activations come in threes, and with tables. */
static void test_wide_damage(void **state)
{
    (void)state;
    iviti_geometry g = edit_geometry(FIXTURE_VIT_TABLE);
    for (uint32_t i = 0; i < iviti_activations(&g); i++)
        g.activation_bits[i] = 8;
    fixture_widen(&g, 1, 0, true, true);
    model_fixture f = fixture_build(&g, 2);
    edit_expect(&f, IVITI_OK, "");
    uint8_t *const bits = f.image + edit_value(&f, "iviti.activations.bits");
    iviti_put_u32(bits + 4 * 7, 8); /* proj is free, but its tensors are other ones then */
    edit_expect(&f, IVITI_ERROR_CORRUPT, "block.1.attention.table has type");
    iviti_put_u32(bits + 4 * 7, 12);
    for (uint32_t i = 8; i < 10; i++) {
        iviti_put_u32(bits + 4 * i, 8);
        edit_expect(&f, IVITI_ERROR_UNSUPPORTED, "fc2 of block 1 must both be 12 or none");
        iviti_put_u32(bits + 4 * i, 12);
    }
    static const uint32_t others[] = { 0, 1, 5, 6 };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        iviti_put_u32(bits + 4 * others[i], 12);
        edit_expect(&f, IVITI_ERROR_UNSUPPORTED, "12 for others than the inputs of proj");
        iviti_put_u32(bits + 4 * others[i], 8);
    }

    uint8_t *const numerators = f.image + edit_tensor(&f, &g, "block.1.attention.table");
    static const struct {
        size_t at;
        uint16_t right, wrong;
        const char *words;
    } entries[] = { { 0, 4095, 4094, "begins with 4094 and ends with 0" },
                    { 0, 4095, 4096, "attention.table[0] is 4096" },
                    { 255, 0, 1, "begins with 4095 and ends with 1" },
                    { 255, 0, 0xFFFF, "attention.table[255] is -1" } };
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
        put_s16(numerators + 2 * entries[i].at, entries[i].wrong);
        edit_expect(&f, IVITI_ERROR_RANGE, entries[i].words);
        put_s16(numerators + 2 * entries[i].at, entries[i].right);
    }
    uint8_t *const gelu = f.image + edit_tensor(&f, &g, "block.1.gelu.table") + 2 * 4097;
    const uint8_t before[2] = { gelu[0], gelu[1] };
    static const uint16_t beyond[] = { 2048, (uint16_t)-2049 };
    for (size_t i = 0; i < 2; i++) {
        put_s16(gelu, beyond[i]);
        edit_expect(&f, IVITI_ERROR_RANGE, "block.1.gelu.table[4097]");
    }
    memcpy(gelu, before, 2);
    uint8_t *const shift = f.image + edit_tensor(&f, &g, "block.1.fc1.shift");
    const uint8_t right = *shift;
    *shift = 35;
    edit_expect(&f, IVITI_ERROR_RANGE, "block.1.fc1.shift[0] is 35; it must be 36 to 62");
    *shift = right;
    edit_expect(&f, IVITI_OK, "");
    fixture_free(&f);

    const model_metadata metadata = { .name = "wide" };
    for (int mlp = 0; mlp < 2; mlp++) {
        iviti_geometry shifts = edit_geometry(FIXTURE_VIT_SHIFT);
        model_writer *w = NULL;
        report r = { "" };
        fixture_widen(&shifts, 0, 0, !mlp, mlp);
        assert_false(model_writer_open(&shifts, &metadata, &w, &r));
        assert_non_null(
            strstr(r.text, mlp ? "needs the GELU 'table'" : "needs the softmax 'table-u8'"));
    }
}

/* The array must name every activation, and no more. */
static void test_array_length(void **state)
{
    (void)state;
    const iviti_geometry g = edit_geometry(FIXTURE_SWIN_TABLE);
    assert_int_equal(iviti_activations(&g), 21);
    static const struct {
        uint32_t count;
        iviti_status status;
    } cases[] = { { 0, IVITI_ERROR_CORRUPT },
                  { 20, IVITI_ERROR_CORRUPT },
                  { 21, IVITI_OK },
                  { 22, IVITI_ERROR_CORRUPT },
                  { IVITI_MAX_ACTIVATIONS, IVITI_ERROR_CORRUPT },
                  { IVITI_MAX_ACTIVATIONS + 1, IVITI_ERROR_LIMIT } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        model_fixture f = fixture_build(&g, 2);
        edit_insert_array(&f, &g, "iviti.activations.bits", 4, cases[i].count, 8);
        edit_expect(&f, cases[i].status, "iviti.activations.bits has");
        fixture_free(&f);
    }
}

/* A file of 8 bits has no such key, and the writer refuses what the reader would. */
static void test_writer(void **state)
{
    (void)state;
    iviti_geometry g = edit_geometry(FIXTURE_VIT_TABLE);
    const model_metadata metadata = { .name = "narrow" };
    model_writer *w = NULL;
    report r = { "" };
    model_fixture plain = fixture_build(&g, 2);
    for (uint32_t i = 0; i < iviti_activations(&g); i++)
        g.activation_bits[i] = 8;
    model_fixture said = fixture_build(&g, 2);
    assert_int_equal(plain.size, said.size);
    assert_memory_equal(plain.image, said.image, plain.size);
    assert_int_equal(edit_find(&said, "activations", 11), said.size);
    fixture_free(&plain);
    fixture_free(&said);

    g.activation_bits[3] = 1;
    assert_false(model_writer_open(&g, &metadata, &w, &r));
    assert_non_null(strstr(r.text, "iviti.activations.bits[3] is 1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definition),      cmocka_unit_test(test_each_counts),
        cmocka_unit_test(test_same_everywhere), cmocka_unit_test(test_damage),
        cmocka_unit_test(test_array_length),    cmocka_unit_test(test_writer),
        cmocka_unit_test(test_wide_definition), cmocka_unit_test(test_wide_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Model files that are right: what is written is what is read, in the layout of the kernels.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "iviti/kernels.h"
#include "model/metadata.h"
#include "model/model.h"
#include "model_edit.h"

#define SEED 11

static iviti_model *load(const model_fixture *f)
{
    const load_result r = edit_load(f->image, f->size, NULL);
    if (r.status != IVITI_OK)
        print_error("%s: %s\n", iviti_status_name(r.status), r.sentence);
    assert_int_equal(r.status, IVITI_OK);
    assert_int_equal(r.sentences, 0);
    return r.model;
}

/* ---- layers -----------------------------------------------------------------------------------
 */

/* A file, its model and its tensors by name. */
typedef struct opened {
    iviti_geometry g;
    model_fixture f;
    iviti_model *m;
} opened;

static opened open_kind(fixture_kind kind)
{
    opened o = { .g = fixture_geometry(kind) };
    char text[200];
    assert_null(iviti_geometry_complete(&o.g, text, sizeof text));
    o.f = fixture_build(&o.g, SEED);
    o.m = load(&o.f);
    return o;
}

static void close_kind(opened *o)
{
    iviti_model_free(o->m);
    fixture_free(&o->f);
}

/* Element i of a tensor, from the file's bytes. */
static int32_t element(const opened *o, const char *layer, const char *field, size_t i)
{
    char name[100];
    snprintf(name, sizeof name, "%s%s", layer, field);
    const size_t entry = edit_after(&o->f, name);
    const uint32_t type =
        iviti_get_u32(o->f.image + entry + 4 + 8 * iviti_get_u32(o->f.image + entry));
    const uint8_t *const at = o->f.image + edit_tensor(&o->f, &o->g, name);
    return type == 24   ? iviti_get_s8(at + i)
           : type == 25 ? iviti_get_s16(at + 2 * i)
                        : iviti_get_s32(at + 4 * i);
}

static int32_t *elements(const opened *o, const char *layer, const char *field, size_t count)
{
    int32_t *const values = malloc(count * sizeof *values);
    char name[100];
    snprintf(name, sizeof name, "%s%s", layer, field);
    const size_t entry = edit_after(&o->f, name);
    const uint32_t type =
        iviti_get_u32(o->f.image + entry + 4 + 8 * iviti_get_u32(o->f.image + entry));
    const uint8_t *const at = o->f.image + edit_tensor(&o->f, &o->g, name);
    for (size_t i = 0; i < count; i++)
        values[i] = type == 24 ? iviti_get_s8(at + i) : iviti_get_s32(at + 4 * i);
    return values;
}

static void expect_aligned(const void *pointer)
{
    assert_non_null(pointer);
    assert_int_equal((uintptr_t)pointer % 64, 0);
}

/* Rows [first, first + out) of a dense layer in the file. offset: what was added to its inputs. */
static void expect_dense(const opened *o, const iviti_dense *d, const char *layer, uint32_t first,
                         uint32_t all, uint32_t out, uint32_t in, int offset)
{
    int32_t *const weight = elements(o, layer, ".weight", (size_t)all * in);
    int32_t *const bias = elements(o, layer, ".bias", all);
    int32_t *const multiplier = elements(o, layer, ".multiplier", all);
    int32_t *const shift = elements(o, layer, ".shift", all);
    assert_int_equal(d->in, in);
    assert_int_equal(d->out, out);
    expect_aligned(d->panels);
    expect_aligned(d->bias);
    expect_aligned(d->multiplier);
    expect_aligned(d->shift);
    const size_t rows = (out + 15) / 16 * 16, columns = (in + 3) / 4 * 4;
    for (size_t n = 0; n < rows; n++) {
        int32_t sum = 0;
        for (size_t k = 0; k < columns; k++) {
            const int32_t w = n < out && k < in ? weight[(first + n) * in + k] : 0;
            const size_t at = ((n / 16) * (columns / 4) + k / 4) * 64 + n % 16 * 4 + k % 4;
            assert_int_equal(d->panels[at], w);
            sum += w;
        }
        assert_int_equal(d->bias[n], n < out ? bias[first + n] - offset * sum : 0);
        assert_int_equal(d->multiplier[n], n < out ? multiplier[first + n] : 1 << 30);
        assert_int_equal(d->shift[n], n < out ? shift[first + n] : 62);
    }
    free(weight);
    free(bias);
    free(multiplier);
    free(shift);
}

/* A wide layer is two: the same weights with the biases and factors of either digit. */
static void expect_digits(const opened *o, const iviti_dense *high, const iviti_dense *low,
                          const char *layer, uint32_t out, uint32_t in)
{
    assert_true(low->panels == high->panels && low->multiplier == high->multiplier);
    assert_int_equal(low->in, in);
    assert_int_equal(low->out, out);
    expect_aligned(low->bias);
    expect_aligned(low->shift);
    for (size_t n = 0; n < (out + 15) / 16 * 16; n++) {
        int32_t sum = 0;
        for (size_t k = 0; k < in; k++) {
            const int32_t w = n < out ? element(o, layer, ".weight", n * in + k) : 0;
            assert_int_equal(high->panels[iviti_panel_offset(n, k, in)], w);
            sum += w;
        }
        const int32_t bias = n < out ? element(o, layer, ".bias", n) : 0;
        const int32_t shift = n < out ? element(o, layer, ".shift", n) : 62;
        assert_in_range(low->bias[n], 0, 15);
        assert_int_equal(16 * (high->bias[n] + 128 * sum) + low->bias[n], bias);
        assert_int_equal(low->shift[n], shift);
        assert_int_equal(high->shift[n], n < out ? shift - 4 : 62);
        assert_int_equal(high->multiplier[n],
                         n < out ? element(o, layer, ".multiplier", n) : 1 << 30);
    }
}

/* proj, fc1 or fc2. */
static void expect_layer(const opened *o, bool wide, const iviti_dense *d, const iviti_dense *low,
                         const char *layer, uint32_t out, uint32_t in)
{
    if (wide)
        expect_digits(o, d, low, layer, out, in);
    else
        expect_dense(o, d, layer, 0, out, out, in, 128);
}

static void expect_wide_gelu(const opened *o, const iviti_block *b, const char *layer,
                             size_t hidden)
{
    assert_null(b->gelu_table);
    for (size_t i = 0; i < (hidden + 63) / 64 * 4096; i++) {
        const int32_t high = b->wide_gelu[i] % 256 - 128, low = b->wide_gelu[i] / 256;
        assert_in_range(low, 0, 15);
        assert_int_equal(16 * high + low, element(o, layer, "", i));
    }
}

static void expect_norm(const opened *o, const iviti_norm *n, const char *layer, uint32_t width)
{
    assert_int_equal(n->width, width);
    assert_int_equal(n->kind, o->g.norm_kind);
    for (size_t i = 0; i < width; i++) {
        assert_int_equal(n->multiplier[i], element(o, layer, ".multiplier", i));
        assert_int_equal(n->shift[i], element(o, layer, ".shift", i));
        assert_int_equal(n->bias[i], element(o, layer, ".bias", i));
    }
    const int64_t epsilon = (int64_t)element(o, layer, ".epsilon", 0)
                            << element(o, layer, ".epsilon", 1);
    assert_true(n->epsilon == epsilon);
}

static void expect_factors(const opened *o, const iviti_dyadic *d, const char *layer, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(d[i].multiplier, element(o, layer, ".multiplier", i));
        assert_int_equal(d[i].shift, element(o, layer, ".shift", i));
    }
}

static void expect_join(const opened *o, const iviti_join *j, const char *layer)
{
    const iviti_dyadic both[2] = { j->stream, j->branch };
    expect_factors(o, both, layer, 2);
}

/* The bias of query i and key j is that of their distance. */
static void expect_position_bias(const opened *o, const int32_t *bias, const char *name,
                                 const iviti_stage *s)
{
    const int w = (int)s->window, tokens = w * w;
    const int stride = (tokens + 15) / 16 * 16;
    int32_t *const table =
        elements(o, name, "", (size_t)(2 * w - 1) * (size_t)(2 * w - 1) * s->heads);
    expect_aligned(bias);
    for (int h = 0; h < (int)s->heads; h++)
        for (int i = 0; i < tokens; i++)
            for (int j = 0; j < stride; j++) {
                const int dy = i / w - j / w + w - 1, dx = i % w - j % w + w - 1;
                const int32_t expected =
                    j < tokens ? table[(dy * (2 * w - 1) + dx) * (int)s->heads + h] : 0;
                assert_int_equal(bias[(h * tokens + i) * stride + j], expected);
            }
    free(table);
}

static void expect_sulq(const opened *o, const iviti_block *b, const char *block)
{
    char layer[64];
    snprintf(layer, sizeof layer, "%s.attention.thresholds", block);
    for (size_t i = 0; i < IVITI_SULQ_THRESHOLDS; i++)
        assert_int_equal(b->sulq.threshold[i], element(o, layer, "", i));
    snprintf(layer, sizeof layer, "%s.attention.eta", block);
    assert_int_equal(b->sulq.shift, element(o, layer, "", 0));
    assert_int_equal(b->sulq.eta, element(o, layer, "", 1));
}

static void expect_exponentials(const opened *o, const iviti_block *b, const char *block)
{
    char layer[64];
    if (o->g.softmax_kind == IVITI_SOFTMAX_Q15) {
        snprintf(layer, sizeof layer, "%s.attention.exponentials", block);
        for (size_t i = 0; i < 256; i++)
            assert_int_equal(b->exp_shift[i], element(o, layer, "", i));
    } else if (o->g.softmax_kind == IVITI_SOFTMAX_SHIFT16 ||
               o->g.softmax_kind == IVITI_SOFTMAX_SHIFT8) {
        snprintf(layer, sizeof layer, "%s.attention.scale", block);
        const int32_t one_over_scale = element(o, layer, "", 0);
        for (int i = 0; i < 256; i++)
            assert_true(b->exp_shift[i] == iviti_shift_exp(-i, one_over_scale, 15));
    } else {
        snprintf(layer, sizeof layer, "%s.attention.polynomial", block);
        const iviti_i_exp_constants k = { element(o, layer, "", 0), element(o, layer, "", 1),
                                          element(o, layer, "", 2) };
        const int n = iviti_i_exp_bits(k);
        const double one = ldexp(k.c, n);
        for (int i = 0; i < 256; i++) {
            const double e = (double)iviti_i_exp(-i, k, n);
            assert_true(b->exp_shift[i] == (o->g.softmax_kind == IVITI_SOFTMAX_LIS
                                                ? e
                                                : floor(e * 32767 / one + 0.5)));
        }
    }
}

static void expect_attention(const opened *o, const iviti_block *b, const char *block,
                             const iviti_stage *s)
{
    char layer[64];
    snprintf(layer, sizeof layer, "%s.attention.score", block);
    expect_factors(o, b->score, layer, s->heads);
    snprintf(layer, sizeof layer, "%s.attention.output", block);
    expect_factors(o, b->output, layer, s->heads);
    snprintf(layer, sizeof layer, "%s.attention.table", block);
    if (b->wide_attention) {
        for (size_t i = 0; i < 256; i++)
            assert_int_equal(b->wide_exp[i], element(o, layer, "", i));
        assert_null(b->exp_table);
    } else if (iviti_softmax_has_table(o->g.softmax_kind)) {
        for (size_t i = 0; i < 256; i++)
            assert_int_equal(b->exp_table[i], (uint8_t)element(o, layer, "", i));
        assert_null(b->exp_shift);
    } else {
        expect_exponentials(o, b, block);
        assert_null(b->exp_table);
    }
    if (o->g.softmax_kind == IVITI_SOFTMAX_SULQ)
        expect_sulq(o, b, block);
    if (o->g.family == IVITI_VIT) {
        assert_null(b->position_bias);
        return;
    }
    snprintf(layer, sizeof layer, "%s.attention.bias", block);
    expect_position_bias(o, b->position_bias, layer, s);
    if (!iviti_softmax_has_table(o->g.softmax_kind)) {
        snprintf(layer, sizeof layer, "%s.attention.bias_score", block);
        expect_factors(o, &b->bias_score, layer, 1);
    }
}

/* Every group's table is the operator's own. */
static void expect_i_gelu(const iviti_block *b, int32_t in_b, int32_t in_c, size_t hidden)
{
    for (size_t i = 0; i < (hidden + 63) / 64 * 256; i++) {
        const int8_t x = (int8_t)((int)(i % 256) - 128);
        int32_t y;
        iviti_i_gelu(&x, 1, in_b, in_c, &y);
        assert_int_equal(b->gelu_table[i], iviti_requantize_s8(y, b->gelu_output) + 128);
    }
}

static void expect_block(const opened *o, uint32_t index, const iviti_stage *s)
{
    const iviti_block *const b = &o->m->blocks[index];
    char block[32], layer[64];
    snprintf(block, sizeof block, "block.%u", index);
    snprintf(layer, sizeof layer, "%s.norm1", block);
    expect_norm(o, &b->norm1, layer, s->dim);
    snprintf(layer, sizeof layer, "%s.qkv", block);
    expect_dense(o, &b->query, layer, 0, 3 * s->dim, s->dim, s->dim, 128);
    expect_dense(o, &b->key, layer, s->dim, 3 * s->dim, s->dim, s->dim, 128);
    expect_dense(o, &b->value, layer, 2 * s->dim, 3 * s->dim, s->dim, s->dim, 128);
    expect_attention(o, b, block, s);
    snprintf(layer, sizeof layer, "%s.proj", block);
    expect_layer(o, b->wide_attention, &b->proj, &b->proj_low, layer, s->dim, s->dim);
    snprintf(layer, sizeof layer, "%s.join1", block);
    expect_join(o, &b->join1, layer);
    snprintf(layer, sizeof layer, "%s.norm2", block);
    expect_norm(o, &b->norm2, layer, s->dim);
    snprintf(layer, sizeof layer, "%s.fc1", block);
    expect_layer(o, b->wide_mlp, &b->fc1, &b->fc1_low, layer, s->hidden, s->dim);
    if (b->wide_mlp) {
        snprintf(layer, sizeof layer, "%s.gelu.table", block);
        expect_wide_gelu(o, b, layer, s->hidden);
    } else if (o->g.gelu_kind == IVITI_GELU_TABLE) {
        snprintf(layer, sizeof layer, "%s.gelu.table", block);
        for (size_t i = 0; i < (s->hidden + 63) / 64 * 256; i++)
            assert_int_equal(b->gelu_table[i], element(o, layer, "", i) + 128);
    } else {
        snprintf(layer, sizeof layer, "%s.gelu.output", block);
        expect_factors(o, &b->gelu_output, layer, 1);
    }
    if (o->g.gelu_kind == IVITI_GELU_SHIFT) {
        snprintf(layer, sizeof layer, "%s.gelu.scale", block);
        assert_int_equal(b->gelu_one_over_scale, element(o, layer, "", 0));
        assert_null(b->gelu_table);
    }
    if (o->g.gelu_kind == IVITI_GELU_I_GELU) {
        snprintf(layer, sizeof layer, "%s.gelu.polynomial", block);
        expect_i_gelu(b, element(o, layer, "", 0), element(o, layer, "", 1), s->hidden);
    }
    snprintf(layer, sizeof layer, "%s.fc2", block);
    expect_layer(o, b->wide_mlp, &b->fc2, &b->fc2_low, layer, s->dim, s->hidden);
    snprintf(layer, sizeof layer, "%s.join2", block);
    expect_join(o, &b->join2, layer);
}

/* s8 as it is, or u8 in offset binary. */
static void expect_bytes(const opened *o, const void *bytes, const char *layer, size_t count,
                         int offset)
{
    for (size_t i = 0; i < count; i++)
        assert_int_equal(((const uint8_t *)bytes)[i],
                         (uint8_t)(element(o, layer, "", i) + offset));
}

static void expect_predictor(const opened *o, uint32_t k)
{
    const iviti_predictor *const p = &o->m->predictors[k];
    const uint32_t dim = o->g.stage[0].dim;
    char layer[48];
#define LAYER(name) (snprintf(layer, sizeof layer, "predictor.%u." name, k), layer)
    expect_norm(o, &p->norm, LAYER("norm"), dim);
    expect_dense(o, &p->in, LAYER("in"), 0, dim, dim, dim, 128);
    expect_bytes(o, p->in_table, LAYER("in.table"), (dim + 63) / 64 * 256, 128);
    expect_factors(o, p->mean, LAYER("mean"), dim / 2);
    expect_bytes(o, p->global, LAYER("global"), dim / 2 * (dim / 2), 0);
    expect_dense(o, &p->local, LAYER("local"), 0, dim / 2, dim / 2, dim / 2, 128);
    expect_bytes(o, p->local_table, LAYER("local.table"), (dim / 2 + 63) / 64 * 256, 128);
    expect_dense(o, &p->out, LAYER("out"), 0, dim / 4, dim / 4, dim / 2, 128);
    expect_bytes(o, p->out_table, LAYER("out.table"), (dim / 4 + 63) / 64 * 256, 128);
    expect_bytes(o, p->score, LAYER("score"), dim / 4, 0);
#undef LAYER
}

static void expect_pruning(const opened *o)
{
    const iviti_geometry *const g = &o->g;
    const iviti_stage *const s = &g->stage[0];
    for (uint32_t k = 0; k < g->prune.stages && g->prune.kind == IVITI_PRUNE_PREDICTOR; k++)
        expect_predictor(o, k);
    if (g->prune.kind != IVITI_PRUNE_MERGE)
        return;
    for (uint32_t k = 0; k < g->prune.stages; k++) {
        char layer[32];
        snprintf(layer, sizeof layer, "merging.%u.key", k);
        expect_dense(o, &o->m->mean_keys[k], layer, 0, s->dim / s->heads, s->dim / s->heads, s->dim,
                     128);
    }
    expect_factors(o, o->m->blocks[0].size, "merging.size", g->depth * s->heads);
    for (uint32_t i = 0; i < g->depth; i++)
        assert_ptr_equal(o->m->blocks[i].size, o->m->blocks[0].size + (size_t)i * s->heads);
}

static void expect_model(const opened *o)
{
    const iviti_geometry *const g = &o->g;
    const iviti_model *const m = o->m;
    iviti_geometry said = *g; /* a file that gives the bits of any gives those of all */
    for (uint32_t i = 0; i < iviti_activations(g); i++)
        if (m->geometry.activation_bits[i] == 8)
            said.activation_bits[i] = 8;
    assert_memory_equal(&said, &m->geometry, sizeof said);
    if (g->pixel_table)
        for (size_t i = 0; i < 768; i++)
            assert_int_equal(m->pixel_table[i], element(o, "embed.pixels", "", i) + 128);
    else
        assert_null(m->pixel_table);
    for (uint32_t i = 0; i < g->convolutions; i++) {
        const uint32_t channels = g->convolution[i].channels;
        char layer[32];
        snprintf(layer, sizeof layer, "stem.%u", i);
        expect_dense(o, &m->stem[i], layer, 0, channels, channels, iviti_convolution_inputs(g, i),
                     0);
    }
    expect_dense(o, &m->embed, "embed", 0, g->stage[0].dim, g->stage[0].dim, iviti_embed_inputs(g),
                 g->pixel_table ? 128 : 0);
    if (g->family == IVITI_VIT) {
        for (size_t i = 0; i < (size_t)iviti_stage_tokens(g, 0) * g->stage[0].dim; i++)
            assert_int_equal(m->position[i], element(o, "embed.position", "", i));
        expect_join(o, &m->embed_join, "embed.join");
    } else {
        expect_norm(o, &m->embed_norm, "embed.norm", g->stage[0].dim);
        expect_factors(o, m->pool, "pool", g->features);
    }
    uint32_t block = 0;
    for (uint32_t s = 0; s < g->stages; s++) {
        for (uint32_t i = 0; i < g->stage[s].depth; i++)
            expect_block(o, block++, &g->stage[s]);
        if (s + 1 < g->stages) {
            const uint32_t dim = g->stage[s].dim;
            char layer[32];
            snprintf(layer, sizeof layer, "merge.%u.norm", s);
            expect_norm(o, &m->merges[s].norm, layer, 4 * dim);
            snprintf(layer, sizeof layer, "merge.%u.reduction", s);
            expect_dense(o, &m->merges[s].reduction, layer, 0, 2 * dim, 2 * dim, 4 * dim, 128);
        }
    }
    expect_norm(o, &m->norm, "norm", g->stage[g->stages - 1].dim);
    expect_dense(o, &m->head, "head", 0, g->classes, g->classes, g->features, 128);
    if (g->token_head) {
        expect_norm(o, &m->patches_norm, "patches.norm", g->stage[0].dim);
        expect_dense(o, &m->patches_head, "patches.head", 0, g->classes, g->classes,
                     g->stage[0].dim, 128);
    }
    expect_pruning(o);
}

static void test_round_trip(void **state)
{
    (void)state;
    for (int kind = 0; kind < FIXTURE_KINDS; kind++) {
        opened o = open_kind((fixture_kind)kind);
        expect_model(&o);
        close_kind(&o);
    }
}

/* ---- what may be asked ------------------------------------------------------------------------
 */

static void test_description(void **state)
{
    (void)state;
    opened o = open_kind(FIXTURE_VIT_DISTILLED);
    iviti_model_info info;
    iviti_model_describe(o.m, &info);
    assert_string_equal(info.architecture, "vit");
    assert_int_equal(info.image_width, 20);
    assert_int_equal(info.image_height, 15);
    assert_int_equal(info.patch_size, 5);
    assert_int_equal(info.depth, 3);
    assert_int_equal(info.dim, 24);
    assert_int_equal(info.classes, 7);
    assert_int_equal(info.features, 48);
    assert_int_equal(info.tokens, 14);
    assert_int_equal(info.prefix_tokens, 2);
    assert_int_equal(info.logits_multiplier, 1 << 30);
    assert_int_equal(info.logits_shift, 45);
    const uint64_t block = 2 * 2 * 24 + 72 * 24 + 72 + 24 * 24 + 24 + 76 * 24 + 76 + 24 * 76 + 24;
    assert_int_equal(info.parameters, 24 * 75 + 24 + 14 * 24 + 3 * block + 2 * 24 + 7 * 48 + 7);
    assert_int_equal(info.macs,
                     12 * 24 * 75 +
                         3 * (14 * (72 * 24 + 24 * 24 + 2 * 24 * 76) + 2 * 14 * 14 * 24) + 7 * 48);
    assert_true(info.memory > o.f.size / 2 && info.memory < 4 * o.f.size);
    close_kind(&o);

    o = open_kind(FIXTURE_SWIN_TABLE);
    iviti_model_describe(o.m, &info);
    assert_string_equal(info.architecture, "swin");
    assert_int_equal(info.prefix_tokens, 0);
    assert_int_equal(info.tokens, 64);
    assert_int_equal(info.features, 32);
    assert_int_equal(info.depth, 4);
    assert_int_equal(info.macs,
                     64 * 16 * 12 + 2 * (64 * (4 * 16 * 16 + 2 * 16 * 64) + 2 * 64 * 16 * 16) +
                         16 * 64 * 32 + 2 * (16 * (4 * 32 * 32 + 2 * 32 * 128) + 2 * 16 * 16 * 32) +
                         5 * 32);
    close_kind(&o);
}

static size_t lines(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static size_t dense_bytes(size_t out, size_t in)
{
    const size_t padded = (out + 15) / 16 * 16;
    return padded * ((in + 3) / 4 * 4) + 3 * lines(4 * padded);
}

static size_t block_bytes(const iviti_geometry *g, const iviti_stage *s)
{
    const size_t tokens = (size_t)s->window * s->window;
    return 3 * dense_bytes(s->dim, s->dim) + dense_bytes(s->dim, s->dim) +
           dense_bytes(s->hidden, s->dim) + dense_bytes(s->dim, s->hidden) +
           2 * 3 * lines(4 * s->dim) + 2 * lines(8 * s->heads) +
           (iviti_softmax_has_table(g->softmax_kind) ? 256 : 1024) +
           (g->gelu_kind != IVITI_GELU_SHIFT ? (s->hidden + 63) / 64 * 256 : 0) +
           s->heads * tokens * ((tokens + 15) / 16 * 16) * 4;
}

/* What wide blocks take more: biases and shifts of low digits, larger tables. */
static size_t wide_bytes(const iviti_geometry *g)
{
    size_t bytes = 0;
    uint32_t block = 0;
    for (uint32_t i = 0; i < g->stages; i++)
        for (uint32_t j = 0; j < g->stage[i].depth; j++, block++) {
            const iviti_stage *s = &g->stage[i];
            if (iviti_wide_attention(g, block, i))
                bytes += 2 * lines(4 * ((s->dim + 15) / 16 * 16)) + 256;
            if (iviti_wide_mlp(g, block, i))
                bytes += 2 * lines(4 * ((s->dim + 15) / 16 * 16)) +
                         2 * lines(4 * ((s->hidden + 15) / 16 * 16)) +
                         (s->hidden + 63) / 64 * (2 * 4096 - 256);
        }
    return bytes;
}

static size_t pruning_bytes(const iviti_geometry *g)
{
    const size_t dim = g->stage[0].dim, head_dim = dim / g->stage[0].heads;
    const size_t k = g->prune.stages;
    switch (g->prune.kind) {
    case IVITI_PRUNE_PREDICTOR:
        return lines(k * sizeof(iviti_predictor)) +
               k * (3 * lines(4 * dim) + dense_bytes(dim, dim) + (dim + 63) / 64 * 256 +
                    lines(4 * dim) + lines(dim * dim / 4) + dense_bytes(dim / 2, dim / 2) +
                    (dim / 2 + 63) / 64 * 256 + dense_bytes(dim / 4, dim / 2) +
                    (dim / 4 + 63) / 64 * 256 + lines(dim / 4));
    case IVITI_PRUNE_MERGE:
        return lines(k * sizeof(iviti_dense)) + k * dense_bytes(head_dim, dim) +
               lines(8 * g->depth * g->stage[0].heads);
    default:
        return 0;
    }
}

/* Not a line of memory more than the layers take. */
static void test_memory_figure(void **state)
{
    (void)state;
    for (int kind = 0; kind < FIXTURE_KINDS; kind++) {
        opened o = open_kind((fixture_kind)kind);
        const iviti_geometry *const g = &o.g;
        size_t bytes = lines(sizeof(iviti_model)) + lines(g->depth * sizeof(iviti_block)) +
                       lines((g->stages - 1) * sizeof(iviti_merge)) + lines(4 * g->classes) +
                       lines(g->classes * strlen("class 0.")) + (g->pixel_table ? 768 : 0) +
                       dense_bytes(g->stage[0].dim, iviti_embed_inputs(g));
        for (uint32_t i = 0; i < g->convolutions; i++)
            bytes += dense_bytes(g->convolution[i].channels, iviti_convolution_inputs(g, i));
        if (g->token_head)
            bytes += 3 * lines(4 * g->stage[0].dim) + dense_bytes(g->classes, g->stage[0].dim);
        if (g->family == IVITI_VIT)
            bytes += lines((size_t)2 * iviti_stage_tokens(g, 0) * g->stage[0].dim);
        else
            bytes += 3 * lines(4 * g->stage[0].dim) + lines(8 * g->features);
        for (uint32_t s = 0; s < g->stages; s++) {
            const size_t dim = g->stage[s].dim;
            bytes += g->stage[s].depth * block_bytes(g, &g->stage[s]);
            if (s + 1 < g->stages)
                bytes += 3 * lines(16 * dim) + dense_bytes(2 * dim, 4 * dim);
        }
        bytes += 3 * lines(4 * g->stage[g->stages - 1].dim) + dense_bytes(g->classes, g->features);
        bytes += pruning_bytes(g) + wide_bytes(g);
        iviti_model_info info;
        iviti_model_describe(o.m, &info);
        assert_int_equal(info.memory, bytes + 64); /* to align the whole */
        close_kind(&o);
    }
}

static void test_labels(void **state)
{
    (void)state;
    opened o = open_kind(FIXTURE_VIT_TABLE);
    assert_string_equal(iviti_model_label(o.m, 0), "class 0");
    assert_string_equal(iviti_model_label(o.m, 9), "class 9");
    assert_string_equal(iviti_model_label(o.m, 10), "");
    assert_string_equal(iviti_model_label(o.m, UINT32_MAX), "");
    size_t bytes;
    const size_t at = edit_pair(&o.f, "iviti.labels", &bytes);
    edit_splice(&o.f, &o.g, at, bytes, NULL, 0, -1);
    iviti_model *const without = load(&o.f);
    assert_string_equal(iviti_model_label(without, 0), "");
    iviti_model_free(without);
    iviti_model_free(NULL);
    close_kind(&o);
}

/* ---- ways in ----------------------------------------------------------------------------------
 */

/* Where temporary files go: the build folder, if it is known. */
static void temporary_path(char *path, size_t bytes, const char *name)
{
    const char *const build = getenv("IVITI_BUILD");
    snprintf(path, bytes, "%s/%s", build != NULL ? build : ".", name);
}

static void test_file_and_memory(void **state)
{
    (void)state;
    char path[1000];
    temporary_path(path, sizeof path, "test_model_file.gguf");
    iviti_geometry g = fixture_geometry(FIXTURE_SWIN_TABLE);
    assert_true(fixture_model(&g, SEED, path));
    model_fixture f = fixture_build(&g, SEED);

    FILE *const file = fopen(path, "rb");
    assert_non_null(file);
    uint8_t *const bytes = malloc(f.size + 1);
    assert_int_equal(fread(bytes, 1, f.size + 1, file), f.size);
    assert_memory_equal(bytes, f.image, f.size);
    fclose(file);
    free(bytes);

    iviti_model *m = NULL;
    assert_int_equal(iviti_model_load(path, NULL, &m), IVITI_OK);
    iviti_model_free(m);
    const iviti_load_options skip = { .skip_checksum = 1 };
    f.image[IVITI_CHECKSUM_OFFSET] ^= 1;
    assert_int_equal(edit_load(f.image, f.size, NULL).status, IVITI_ERROR_CHECKSUM);
    load_result r = edit_load(f.image, f.size, &skip);
    assert_int_equal(r.status, IVITI_OK);
    iviti_model_free(r.model);
    fixture_free(&f);
    remove(path);
}

static void test_wrong_paths(void **state)
{
    (void)state;
    load_result r = { .status = IVITI_OK };
    const iviti_load_options options = { .log = { edit_keep, &r } };
    iviti_model *m = NULL;
    assert_int_equal(iviti_model_load("/nowhere/at all.gguf", &options, &m), IVITI_ERROR_IO);
    assert_non_null(strstr(r.sentence, "/nowhere/at all.gguf"));
    assert_non_null(strstr(r.sentence, "no such file"));
    assert_int_equal(iviti_model_load(".", &options, &m), IVITI_ERROR_IO);
    assert_non_null(strstr(r.sentence, "folder"));
    assert_int_equal(r.logged, IVITI_ERROR_IO);
    assert_int_equal(iviti_model_load(NULL, &options, &m), IVITI_ERROR_ARGUMENT);
    assert_int_equal(iviti_model_load(".", &options, NULL), IVITI_ERROR_ARGUMENT);
    assert_int_equal(iviti_model_load_memory(NULL, 5, &options, &m), IVITI_ERROR_ARGUMENT);
    assert_int_equal(iviti_model_load_memory("GGUF", 4, &options, NULL), IVITI_ERROR_ARGUMENT);
    assert_int_equal(iviti_model_load_source(NULL, &options, &m), IVITI_ERROR_ARGUMENT);
    const iviti_source silent = { NULL, NULL, 5 };
    assert_int_equal(iviti_model_load_source(&silent, &options, &m), IVITI_ERROR_ARGUMENT);
    assert_null(m);

    char path[1000];
    temporary_path(path, sizeof path, "test_model_file_empty.gguf");
    FILE *const file = fopen(path, "wb");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(iviti_model_load(path, &options, &m), IVITI_ERROR_TRUNCATED);
    assert_non_null(strstr(r.sentence, "empty"));
    remove(path);
}

/* ---- the visitor ------------------------------------------------------------------------------
 */

typedef struct listing {
    size_t pairs, tensors;
    const iviti_geometry *g;
    uint32_t patch, mean_bits;
    char family[16];
} listing;

static void list_pair(void *user, const iviti_gguf_pair *pair)
{
    listing *const l = user;
    if (l->pairs++ == 0)
        assert_true(iviti_gguf_key_is(pair, "iviti.checksum"));
    if (iviti_gguf_key_is(pair, "iviti.patch"))
        l->patch = iviti_get_u32(pair->data);
    if (iviti_gguf_key_is(pair, "iviti.family"))
        snprintf(l->family, sizeof l->family, "%.*s", (int)pair->bytes, (const char *)pair->data);
    if (iviti_gguf_key_is(pair, "iviti.image.mean")) {
        assert_true(pair->array);
        assert_int_equal(pair->type, IVITI_GGUF_F32);
        assert_int_equal(pair->count, 3);
        l->mean_bits = iviti_get_u32(pair->data);
    }
    if (iviti_gguf_key_is(pair, "iviti.labels")) {
        const uint8_t *at = pair->data;
        for (uint64_t i = 0; i < pair->count; i++) {
            size_t bytes;
            assert_memory_equal(iviti_gguf_next_string(&at, &bytes), "class ", 6);
        }
        assert_ptr_equal(at, pair->data + pair->bytes);
    }
}

static void list_tensor(void *user, const iviti_gguf_tensor *tensor)
{
    listing *const l = user;
    iviti_tensor_spec spec;
    assert_true(iviti_schema_tensor(l->g, l->tensors++, &spec));
    assert_int_equal(tensor->name_bytes, strlen(spec.name));
    assert_memory_equal(tensor->name, spec.name, tensor->name_bytes);
    assert_int_equal(tensor->rank, spec.rank);
    assert_true(tensor->dimension[0] == spec.shape[spec.rank - 1]);
}

static void test_visitor(void **state)
{
    (void)state;
    char path[1000], text[200];
    temporary_path(path, sizeof path, "test_model_visit.gguf");
    iviti_geometry g = fixture_geometry(FIXTURE_VIT_SHIFT);
    assert_true(fixture_model(&g, SEED, path));
    assert_null(iviti_geometry_complete(&g, text, sizeof text));
    listing l = { .g = &g };
    const iviti_metadata_visitor visitor = { list_pair, list_tensor, &l };
    assert_int_equal(iviti_metadata_visit_file(path, NULL, &visitor), IVITI_OK);
    assert_int_equal(l.tensors, iviti_schema_count(&g));
    assert_int_equal(l.pairs, 32);
    assert_int_equal(l.patch, 4);
    assert_int_equal(l.mean_bits, 0x3F000000); /* 0.5 */
    assert_string_equal(l.family, "vit");

    const iviti_metadata_visitor deaf = { NULL, NULL, NULL };
    assert_int_equal(iviti_metadata_visit_file(path, NULL, &deaf), IVITI_OK);
    assert_int_equal(iviti_metadata_visit_file(".", NULL, &deaf), IVITI_ERROR_IO);
    assert_int_equal(iviti_metadata_visit_file(NULL, NULL, &deaf), IVITI_ERROR_ARGUMENT);
    assert_int_equal(iviti_metadata_visit(NULL, NULL, &deaf), IVITI_ERROR_ARGUMENT);
    remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),    cmocka_unit_test(test_description),
        cmocka_unit_test(test_labels),        cmocka_unit_test(test_file_and_memory),
        cmocka_unit_test(test_wrong_paths),   cmocka_unit_test(test_visitor),
        cmocka_unit_test(test_memory_figure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

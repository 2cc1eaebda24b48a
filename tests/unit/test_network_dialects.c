/* SPDX-License-Identifier: Apache-2.0
 *
 * The same toy network in every dialect becomes the same floats.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "network/dialect.h"
#include "network_toy.h"

/* ---- ViT in the other namings --------------------------------------------------------------- */

static toy *huggingface_vit(const toy_vit *v, const char *prefix)
{
    toy *const t = toy_new();
    char key[TOY_NAME];
    const uint64_t c = v->dim, tokens = v->distilled ? 2 : 1;
    toy_embed(t, toy_key(key, "%sembeddings.patch_embeddings.projection", prefix), c, v->patch);
    toy_tokens(t, toy_key(key, "%sembeddings.cls_token", prefix), "class", 1, c, 0);
    if (v->distilled)
        toy_tokens(t, toy_key(key, "%sembeddings.distillation_token", prefix), "distill", 1, c, 0);
    toy_tokens(t, toy_key(key, "%sembeddings.position_embeddings", prefix), "position",
               tokens + v->grid * v->grid, c, 0);
    for (uint32_t i = 0; i < v->depth; i++) {
        char p[64];
        snprintf(p, sizeof p, "%sencoder.layer.%u", prefix, i);
        toy_norm(t, toy_key(key, "%s.layernorm_before", p), "norm1", i, c);
        toy_linear(t, toy_key(key, "%s.attention.attention.query", p), "qkv", i, 0, c, c);
        toy_linear(t, toy_key(key, "%s.attention.attention.key", p), "qkv", i, c, c, c);
        toy_linear(t, toy_key(key, "%s.attention.attention.value", p), "qkv", i, 2 * c, c, c);
        toy_linear(t, toy_key(key, "%s.attention.output.dense", p), "proj", i, 0, c, c);
        toy_norm(t, toy_key(key, "%s.layernorm_after", p), "norm2", i, c);
        toy_linear(t, toy_key(key, "%s.intermediate.dense", p), "fc1", i, 0, v->hidden, c);
        toy_linear(t, toy_key(key, "%s.output.dense", p), "fc2", i, 0, c, v->hidden);
    }
    toy_norm(t, toy_key(key, "%slayernorm", prefix), "norm", 0, c);
    toy_linear(t, v->distilled ? "cls_classifier" : "classifier", "head", 0, 0, v->classes, c);
    if (v->distilled)
        toy_linear(t, "distillation_classifier", "head 2", 0, 0, v->classes, c);
    return t;
}

static toy *torchvision_vit(const toy_vit *v, const char *fc1, const char *fc2)
{
    toy *const t = toy_new();
    char key[TOY_NAME];
    const uint64_t c = v->dim;
    toy_embed(t, "conv_proj", c, v->patch);
    toy_tokens(t, "class_token", "class", 1, c, 0);
    toy_tokens(t, "encoder.pos_embedding", "position", 1 + v->grid * v->grid, c, 0);
    for (uint32_t i = 0; i < v->depth; i++) {
        char p[64];
        snprintf(p, sizeof p, "encoder.layers.encoder_layer_%u", i);
        toy_norm(t, toy_key(key, "%s.ln_1", p), "norm1", i, c);
        toy_matrix(t, toy_key(key, "%s.self_attention.in_proj_weight", p), "qkv", i, 0, 3 * c, c);
        toy_vector(t, toy_key(key, "%s.self_attention.in_proj_bias", p), "qkv bias", i, 3 * c, 0,
                   0.1f);
        toy_linear(t, toy_key(key, "%s.self_attention.out_proj", p), "proj", i, 0, c, c);
        toy_norm(t, toy_key(key, "%s.ln_2", p), "norm2", i, c);
        toy_linear(t, toy_key(key, "%s.%s", p, fc1), "fc1", i, 0, v->hidden, c);
        toy_linear(t, toy_key(key, "%s.%s", p, fc2), "fc2", i, 0, c, v->hidden);
    }
    toy_norm(t, "encoder.ln", "norm", 0, c);
    toy_linear(t, "heads.head", "head", 0, 0, v->classes, c);
    return t;
}

/* NAME/kernel of the given shape, the canonical (out, in) transposed, and NAME/bias. */
static void google_dense(toy *t, const char *name, const char *what, uint32_t block, size_t first,
                         uint64_t out, uint64_t in, uint32_t rank, const uint64_t *shape,
                         uint32_t bias_rank, const uint64_t *bias_shape)
{
    char key[TOY_NAME], bias_what[64];
    float *const kernel = toy_add(t, toy_key(key, "%s/kernel", name), rank, shape);
    for (size_t o = 0; o < out; o++)
        for (size_t i = 0; i < in; i++)
            kernel[i * out + o] = 0.3f * toy_value(what, block, (first + o) * in + i);
    float *const bias = toy_add(t, toy_key(key, "%s/bias", name), bias_rank, bias_shape);
    snprintf(bias_what, sizeof bias_what, "%s bias", what);
    for (size_t o = 0; o < out; o++)
        bias[o] = 0.1f * toy_value(bias_what, block, first + o);
}

static void google_norm(toy *t, const char *name, const char *what, uint32_t block, uint64_t width)
{
    char key[TOY_NAME], bias[64];
    toy_vector(t, toy_key(key, "%s/scale", name), what, block, width, 1.0f, 0.4f);
    snprintf(bias, sizeof bias, "%s bias", what);
    toy_vector(t, toy_key(key, "%s/bias", name), bias, block, width, 0.0f, 0.2f);
}

static void google_block(toy *t, const toy_vit *v, uint64_t heads, const char *prefix, uint32_t i)
{
    static const char *const names[3] = { "query", "key", "value" };
    const uint64_t c = v->dim;
    const uint64_t into[] = { c, heads, c / heads }, out_of[] = { heads, c / heads, c };
    char key[TOY_NAME], p[96];
    snprintf(p, sizeof p, "%sTransformer/encoderblock_%u", prefix, i);
    google_norm(t, toy_key(key, "%s/LayerNorm_0", p), "norm1", i, c);
    for (size_t j = 0; j < 3; j++)
        google_dense(t, toy_key(key, "%s/MultiHeadDotProductAttention_1/%s", p, names[j]), "qkv", i,
                     j * c, c, c, 3, into, 2, into + 1);
    google_dense(t, toy_key(key, "%s/MultiHeadDotProductAttention_1/out", p), "proj", i, 0, c, c, 3,
                 out_of, 1, &c);
    google_norm(t, toy_key(key, "%s/LayerNorm_2", p), "norm2", i, c);
    google_dense(t, toy_key(key, "%s/MlpBlock_3/Dense_0", p), "fc1", i, 0, v->hidden, c, 2,
                 (const uint64_t[]){ c, v->hidden }, 1, &v->hidden);
    google_dense(t, toy_key(key, "%s/MlpBlock_3/Dense_1", p), "fc2", i, 0, c, v->hidden, 2,
                 (const uint64_t[]){ v->hidden, c }, 1, &c);
}

static toy *google_vit(const toy_vit *v, uint64_t heads, const char *prefix)
{
    toy *const t = toy_new();
    char key[TOY_NAME];
    const uint64_t c = v->dim, p = v->patch;
    google_dense(t, toy_key(key, "%sembedding", prefix), "embed", 0, 0, c, p * p * 3, 4,
                 (const uint64_t[]){ p, p, 3, c }, 1, &c);
    toy_tokens(t, toy_key(key, "%scls", prefix), "class", 1, c, 0);
    toy_tokens(t, toy_key(key, "%sTransformer/posembed_input/pos_embedding", prefix), "position",
               1 + v->grid * v->grid, c, 0);
    for (uint32_t i = 0; i < v->depth; i++)
        google_block(t, v, heads, prefix, i);
    google_norm(t, toy_key(key, "%sTransformer/encoder_norm", prefix), "norm", 0, c);
    google_dense(t, toy_key(key, "%shead", prefix), "head", 0, 0, v->classes, c, 2,
                 (const uint64_t[]){ c, v->classes }, 1, &v->classes);
    return t;
}

/* ---- Swin in the other namings -------------------------------------------------------------- */

static toy *huggingface_swin(const toy_swin *v)
{
    toy *const t = toy_new();
    char key[TOY_NAME];
    uint64_t c = v->dim;
    uint32_t block = 0;
    toy_embed(t, "swin.embeddings.patch_embeddings.projection", c, v->patch);
    toy_norm(t, "swin.embeddings.norm", "embed norm", 0, c);
    for (uint32_t s = 0; s < v->stages; s++, c *= 2) {
        for (uint32_t j = 0; j < v->depth[s]; j++, block++) {
            char p[64];
            snprintf(p, sizeof p, "swin.encoder.layers.%u.blocks.%u", s, j);
            toy_norm(t, toy_key(key, "%s.layernorm_before", p), "norm1", block, c);
            toy_linear(t, toy_key(key, "%s.attention.self.query", p), "qkv", block, 0, c, c);
            toy_linear(t, toy_key(key, "%s.attention.self.key", p), "qkv", block, c, c, c);
            toy_linear(t, toy_key(key, "%s.attention.self.value", p), "qkv", block, 2 * c, c, c);
            toy_table(t, toy_key(key, "%s.attention.self.relative_position_bias_table", p), block,
                      v->window, v->heads[s]);
            toy_add(t, toy_key(key, "%s.attention.self.relative_position_index", p), 1,
                    (const uint64_t[]){ 4 });
            toy_linear(t, toy_key(key, "%s.attention.output.dense", p), "proj", block, 0, c, c);
            toy_norm(t, toy_key(key, "%s.layernorm_after", p), "norm2", block, c);
            toy_linear(t, toy_key(key, "%s.intermediate.dense", p), "fc1", block, 0,
                       v->hidden_ratio * c, c);
            toy_linear(t, toy_key(key, "%s.output.dense", p), "fc2", block, 0, c,
                       v->hidden_ratio * c);
        }
        if (s + 1 < v->stages) {
            toy_norm(t, toy_key(key, "swin.encoder.layers.%u.downsample.norm", s), "merge norm", s,
                     4 * c);
            toy_matrix(t, toy_key(key, "swin.encoder.layers.%u.downsample.reduction.weight", s),
                       "merge", s, 0, 2 * c, 4 * c);
        }
    }
    toy_norm(t, "swin.layernorm", "norm", 0, c / 2);
    toy_linear(t, "classifier", "head", 0, 0, v->classes, c / 2);
    return t;
}

static toy *torchvision_swin(const toy_swin *v)
{
    toy *const t = toy_new();
    char key[TOY_NAME];
    uint64_t c = v->dim;
    uint32_t block = 0;
    toy_embed(t, "features.0.0", c, v->patch);
    toy_norm(t, "features.0.2", "embed norm", 0, c);
    for (uint32_t s = 0; s < v->stages; s++, c *= 2) {
        for (uint32_t j = 0; j < v->depth[s]; j++, block++) {
            char p[64];
            snprintf(p, sizeof p, "features.%u.%u", 2 * s + 1, j);
            toy_norm(t, toy_key(key, "%s.norm1", p), "norm1", block, c);
            toy_linear(t, toy_key(key, "%s.attn.qkv", p), "qkv", block, 0, 3 * c, c);
            toy_table(t, toy_key(key, "%s.attn.relative_position_bias_table", p), block, v->window,
                      v->heads[s]);
            toy_linear(t, toy_key(key, "%s.attn.proj", p), "proj", block, 0, c, c);
            toy_norm(t, toy_key(key, "%s.norm2", p), "norm2", block, c);
            toy_linear(t, toy_key(key, "%s.mlp.0", p), "fc1", block, 0, v->hidden_ratio * c, c);
            toy_linear(t, toy_key(key, "%s.mlp.3", p), "fc2", block, 0, c, v->hidden_ratio * c);
        }
        if (s + 1 < v->stages) {
            toy_norm(t, toy_key(key, "features.%u.norm", 2 * s + 2), "merge norm", s, 4 * c);
            toy_matrix(t, toy_key(key, "features.%u.reduction.weight", 2 * s + 2), "merge", s, 0,
                       2 * c, 4 * c);
        }
    }
    toy_norm(t, "norm", "norm", 0, c / 2);
    toy_linear(t, "head", "head", 0, 0, v->classes, c / 2);
    return t;
}

/* ---- comparison ----------------------------------------------------------------------------- */

static network *map(toy *t, const network_options *options)
{
    report r = { "" };
    network *n = NULL;
    if (!network_from_checkpoint(toy_finish(t), options, &n, &r))
        fail_msg("%s", r.text);
    return n;
}

static void same_linear(network_linear a, network_linear b, size_t out, size_t in)
{
    assert_memory_equal(a.weight, b.weight, out * in * sizeof(float));
    assert_memory_equal(a.bias, b.bias, out * sizeof(float));
}

static void same_norm(network_norm a, network_norm b, size_t width)
{
    assert_memory_equal(a.gain, b.gain, width * sizeof(float));
    assert_memory_equal(a.bias, b.bias, width * sizeof(float));
}

static void same_network(const network *a, const network *b)
{
    const iviti_geometry *g = &a->geometry;
    assert_int_equal(g->family, b->geometry.family);
    assert_int_equal(g->stages, b->geometry.stages);
    assert_int_equal(g->depth, b->geometry.depth);
    assert_int_equal(g->image_width, b->geometry.image_width);
    assert_int_equal(g->prefix_tokens, b->geometry.prefix_tokens);
    assert_int_equal(g->features, b->geometry.features);
    assert_int_equal(g->classes, b->geometry.classes);
    assert_memory_equal(g->stage, b->geometry.stage, g->stages * sizeof *g->stage);
    same_linear(a->embed, b->embed, g->stage[0].dim, (size_t)g->patch * g->patch * 3);
    const size_t grid = (size_t)g->stage[0].grid_width * g->stage[0].grid_height;
    if (g->family == IVITI_VIT) {
        assert_memory_equal(a->prefix, b->prefix,
                            g->prefix_tokens * g->stage[0].dim * sizeof(float));
        assert_memory_equal(a->position, b->position, grid * g->stage[0].dim * sizeof(float));
    } else {
        same_norm(a->embed_norm, b->embed_norm, g->stage[0].dim);
    }
    const network_block *x = a->blocks, *y = b->blocks;
    for (uint32_t s = 0; s < g->stages; s++) {
        const size_t c = g->stage[s].dim, hidden = g->stage[s].hidden;
        const size_t side = 2 * (size_t)g->stage[s].window - 1;
        for (uint32_t j = 0; j < g->stage[s].depth; j++, x++, y++) {
            same_norm(x->norm1, y->norm1, c);
            same_linear(x->qkv, y->qkv, 3 * c, c);
            if (g->family == IVITI_SWIN)
                assert_memory_equal(x->position_bias, y->position_bias,
                                    side * side * g->stage[s].heads * sizeof(float));
            same_linear(x->proj, y->proj, c, c);
            same_norm(x->norm2, y->norm2, c);
            same_linear(x->fc1, y->fc1, hidden, c);
            same_linear(x->fc2, y->fc2, c, hidden);
        }
        if (s + 1 < g->stages) {
            same_norm(a->merges[s].norm, b->merges[s].norm, 4 * c);
            same_linear(a->merges[s].reduction, b->merges[s].reduction, 2 * c, 4 * c);
        }
    }
    same_norm(a->norm, b->norm, g->stage[g->stages - 1].dim);
    same_linear(a->head, b->head, g->classes, g->features);
}

/* Maps `other` and compares it with `expected`; frees `other`. */
static void expect_same(const network *expected, toy *other, const network_options *options,
                        const char *dialect, double epsilon)
{
    network *const n = map(other, options);
    same_network(expected, n);
    assert_string_equal(n->dialect, dialect);
    assert_true(n->epsilon == epsilon);
    network_free(n);
    toy_free(other);
}

static const network_options two_heads = { .heads = 2 };

static void every_vit_dialect_gives_the_same_floats(void **state)
{
    (void)state;
    const toy_vit *v = &toy_small_vit;
    toy *const t = toy_timm_vit(v, "", "", "");
    network *const n = map(t, &two_heads);
    assert_int_equal(n->geometry.image_width, 12);
    assert_int_equal(n->geometry.stage[0].heads, 2);
    assert_int_equal(n->geometry.features, 32);
    expect_same(n, toy_timm_vit(v, "model.", "", ""), &two_heads, "timm", 1e-6);
    expect_same(n, toy_timm_vit(v, "timm_model.", "", ""), &two_heads, "timm", 1e-6);
    expect_same(n, huggingface_vit(v, "vit."), &two_heads, "huggingface", 1e-12);
    expect_same(n, huggingface_vit(v, "deit."), &two_heads, "huggingface", 1e-12);
    expect_same(n, torchvision_vit(v, "mlp.0", "mlp.3"), &two_heads, "torchvision", 1e-6);
    expect_same(n, torchvision_vit(v, "mlp.linear_1", "mlp.linear_2"), &two_heads, "torchvision",
                1e-6);
    expect_same(n, google_vit(v, 2, ""), NULL, "google", 1e-6);
    expect_same(n, google_vit(v, 2, "opt/target/"), &two_heads, "google", 1e-6);
    network_free(n);
    toy_free(t);
}

static void every_swin_dialect_gives_the_same_floats(void **state)
{
    (void)state;
    const network_options options = { .image = 32 };
    const toy_swin *v = &toy_small_swin;
    toy *const t = toy_microsoft_swin(v, 0, "head");
    network *const n = map(t, &options);
    assert_string_equal(n->dialect, "microsoft");
    assert_int_equal(n->geometry.stage[0].grid_width, 16);
    assert_int_equal(n->geometry.stage[2].heads, 4);
    assert_int_equal(n->geometry.features, 64);
    expect_same(n, toy_microsoft_swin(v, 1, "head.fc"), &options, "timm", 1e-5);
    expect_same(n, huggingface_swin(v), &options, "huggingface", 1e-5);
    expect_same(n, torchvision_swin(v), &options, "torchvision", 1e-5);
    network_free(n);
    toy_free(t);
}

static void values_arrive_where_they_belong(void **state)
{
    (void)state;
    toy *const t = toy_timm_vit(&toy_small_vit, "", "", "");
    network *const n = map(t, &two_heads);
    const size_t c = 32;
    for (size_t i = 0; i < c * 48; i++)
        assert_true(n->embed.weight[i] == 0.3f * toy_value("embed", 0, i));
    for (size_t i = 0; i < c; i++)
        assert_true(n->prefix[i] ==
                    0.5f * toy_value("class", 0, i) + 0.5f * toy_value("position", 0, i));
    for (size_t i = 0; i < 9 * c; i++)
        assert_true(n->position[i] == 0.5f * toy_value("position", 0, c + i));
    for (size_t i = 0; i < 3 * c * c; i++)
        assert_true(n->blocks[2].qkv.weight[i] == 0.3f * toy_value("qkv", 2, i));
    for (size_t i = 0; i < 7 * c; i++)
        assert_true(n->head.weight[i] == 0.3f * toy_value("head", 0, i));
    network_free(n);
    toy_free(t);
}

/* The statistics that HuggingFace's configuration files give for DeiT are not those of the
 * training. */
static void huggingface_deit_is_told_from_vit(void **state)
{
    (void)state;
    static const struct expected {
        uint64_t dim;
        const char *prefix, *file, *preset;
    } expected[] = {
        { 192, "vit.", "model.safetensors", "hf-deit" },
        { 256, "vit.", "model.safetensors", "hf-vit" },
        { 256, "vit.", "deit-base.safetensors", "hf-deit" },
        { 256, "deit.", "model.safetensors", "hf-deit" },
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        const toy_vit v = { expected[i].dim, 8, 1, 2, 2, 2, false, false, false };
        toy *const t = huggingface_vit(&v, expected[i].prefix);
        report r = { "" };
        network *n = NULL;
        (void)toy_finish(t);
        snprintf(t->c.file, sizeof t->c.file, "%s", expected[i].file);
        assert_true(network_from_checkpoint(&t->c, NULL, &n, &r));
        assert_string_equal(n->preset, expected[i].preset);
        assert_non_null(strstr(n->note, expected[i].preset));
        network_free(n);
        toy_free(t);
    }
}

static void two_heads_become_one(void **state)
{
    (void)state;
    toy_vit v = toy_small_vit;
    v.distilled = true;
    toy *const t = toy_timm_vit(&v, "", "", "");
    network *const n = map(t, &two_heads);
    const size_t c = 32;
    assert_string_equal(n->dialect, "timm, distilled");
    assert_int_equal(n->geometry.prefix_tokens, 2);
    assert_int_equal(n->geometry.features, 64);
    for (size_t o = 0; o < 7; o++) {
        for (size_t i = 0; i < c; i++) {
            assert_true(n->head.weight[o * 2 * c + i] ==
                        0.5f * (0.3f * toy_value("head", 0, o * c + i)));
            assert_true(n->head.weight[o * 2 * c + c + i] ==
                        0.5f * (0.3f * toy_value("head 2", 0, o * c + i)));
        }
        assert_float_equal(
            n->head.bias[o],
            0.05f * toy_value("head bias", 0, o) + 0.05f * toy_value("head 2 bias", 0, o), 1e-8f);
    }
    for (size_t i = 0; i < c; i++)
        assert_true(n->prefix[c + i] ==
                    0.5f * toy_value("distill", 0, i) + 0.5f * toy_value("position", 0, c + i));
    expect_same(n, huggingface_vit(&v, "deit."), &two_heads, "huggingface, distilled", 1e-12);
    network_free(n);
    toy_free(t);
}

static void layer_scale_is_folded(void **state)
{
    (void)state;
    toy_vit v = toy_small_vit;
    v.scaled = true;
    v.no_class_position = true;
    toy *const t = toy_timm_vit(&v, "", "gamma_1", "gamma_2");
    network *const n = map(t, &two_heads);
    const size_t c = 32, hidden = 48;
    for (size_t o = 0; o < c; o++) {
        const float gamma1 = toy_value("scale1", 1, o), gamma2 = toy_value("scale2", 1, o);
        for (size_t i = 0; i < c; i++)
            assert_true(n->blocks[1].proj.weight[o * c + i] ==
                        0.3f * toy_value("proj", 1, o * c + i) * gamma1);
        for (size_t i = 0; i < hidden; i++)
            assert_true(n->blocks[1].fc2.weight[o * hidden + i] ==
                        0.3f * toy_value("fc2", 1, o * hidden + i) * gamma2);
        assert_true(n->blocks[1].proj.bias[o] == 0.1f * toy_value("proj bias", 1, o) * gamma1);
        assert_true(n->blocks[1].fc2.bias[o] == 0.1f * toy_value("fc2 bias", 1, o) * gamma2);
        /* the class token has no position of its own */
        assert_true(n->prefix[o] == 0.5f * toy_value("class", 0, o));
    }
    assert_string_equal(n->preset, "deit3");
    expect_same(n, toy_timm_vit(&v, "", "ls1.gamma", "ls2.gamma"), &two_heads, "timm", 1e-6);
    network_free(n);
    toy_free(t);
}

static void a_distillation_token_may_be_without_a_head(void **state)
{
    (void)state;
    toy_vit v = toy_small_vit;
    v.distilled = true;
    toy *const t = huggingface_vit(&v, "deit.");
    for (size_t i = 0; i < t->c.count; i++) {
        char *const name = t->name[i];
        if (strncmp(name, "cls_classifier", 14) == 0)
            snprintf(name, TOY_NAME, "classifier.%s", strstr(name, "bias") ? "bias" : "weight");
        if (strncmp(name, "distillation_classifier", 23) == 0)
            snprintf(name, TOY_NAME, "deit.pooler.%zu", i);
    }
    network *const n = map(t, &two_heads);
    for (size_t i = 0; i < 32; i++) {
        assert_true(n->head.weight[i] == 0.3f * toy_value("head", 0, i));
        assert_true(n->head.weight[32 + i] == 0.0f);
    }
    network_free(n);
    toy_free(t);
}

static void missing_qkv_biases_are_zero(void **state)
{
    (void)state;
    toy *const t = toy_timm_vit(&toy_small_vit, "", "", "");
    for (size_t i = 0; i < t->c.count; i++)
        if (strstr(t->name[i], "qkv.bias") != NULL)
            snprintf(t->name[i], TOY_NAME, "pooler.%zu", i);
    network *const n = map(t, &two_heads);
    for (size_t i = 0; i < 96; i++)
        assert_true(n->blocks[0].qkv.bias[i] == 0.0f);
    network_free(n);
    toy_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_vit_dialect_gives_the_same_floats),
        cmocka_unit_test(every_swin_dialect_gives_the_same_floats),
        cmocka_unit_test(values_arrive_where_they_belong),
        cmocka_unit_test(huggingface_deit_is_told_from_vit),
        cmocka_unit_test(two_heads_become_one),
        cmocka_unit_test(layer_scale_is_folded),
        cmocka_unit_test(a_distillation_token_may_be_without_a_head),
        cmocka_unit_test(missing_qkv_biases_are_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

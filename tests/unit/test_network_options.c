/* SPDX-License-Identifier: Apache-2.0
 *
 * What the shapes of a checkpoint cannot tell: heads, image size, preprocessing; and checkpoints
 * that are refused, each with the sentence that says why.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>

#include "network/dialect.h"
#include "network/preset.h"
#include "network/source.h"
#include "network_toy.h"

static const network_options two_heads = { .heads = 2 };

static network *map(toy *t, const network_options *options)
{
    report r = { "" };
    network *n = NULL;
    if (!network_from_checkpoint(toy_finish(t), options, &n, &r))
        fail_msg("%s", r.text);
    return n;
}

/* Maps a toy that must be refused with a sentence that has `words` in it. */
static void refused(toy *t, const network_options *options, const char *words)
{
    report r = { "" };
    network *n = NULL;
    if (network_from_checkpoint(toy_finish(t), options, &n, &r))
        fail_msg("accepted in place of \"%s\"", words);
    assert_null(n);
    if (strstr(r.text, words) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", r.text, words);
}

static toy *small_vit(void)
{
    return toy_timm_vit(&toy_small_vit, "", "", "");
}

static toy *small_swin(void)
{
    return toy_microsoft_swin(&toy_small_swin, 0, "head");
}

/* ---- heads ---------------------------------------------------------------------------------- */

static void heads_are_never_a_bad_guess(void **state)
{
    (void)state;
    toy *t = small_vit();
    refused(t, NULL, "use --heads");
    refused(t, &(network_options){ .heads = 5 }, "5 heads do not divide the width of 32");
    toy_free(t);

    const toy_vit one = { 64, 64, 1, 4, 2, 3, false, false, false };
    t = toy_timm_vit(&one, "", "", "");
    refused(t, NULL, "use --heads");
    network *n = map(t, &(network_options){ .preset = "digits" });
    assert_int_equal(n->geometry.stage[0].heads, 2);
    network_free(n);
    toy_free(t);

    const toy_vit three = { 192, 64, 1, 4, 2, 3, false, false, false };
    t = toy_timm_vit(&three, "", "", "");
    n = map(t, NULL);
    assert_int_equal(n->geometry.stage[0].heads, 3);
    assert_non_null(strstr(n->note, "heads, 3, was inferred"));
    network_free(n);
    n = map(t, &(network_options){ .heads = 6 });
    assert_int_equal(n->geometry.stage[0].heads, 6);
    assert_null(strstr(n->note, "heads"));
    network_free(n);
    toy_free(t);
}

static void swin_heads_come_from_the_tables(void **state)
{
    (void)state;
    toy *const t = small_swin();
    refused(t, &(network_options){ .image = 32, .heads = 2 }, "has 1 heads, not 2");
    refused(t, &(network_options){ .image = 32, .window = 7 }, "a window of 4, not 7");
    network *const n = map(t, &(network_options){ .image = 32, .heads = 1, .window = 4 });
    assert_int_equal(n->geometry.stage[1].heads, 2);
    network_free(n);
    toy_free(t);
}

/* ---- image size ----------------------------------------------------------------------------- */

static void positions_are_resampled(void **state)
{
    (void)state;
    toy *const t = small_vit();
    network *const n = map(t, &(network_options){ .heads = 2, .image = 24 });
    float expected[36 * 32];
    assert_int_equal(n->geometry.stage[0].grid_width, 6);
    assert_non_null(strstr(n->note, "resampled from 3 x 3 to 6 x 6"));
    const float *stored = toy_find(t, "pos_embed")->data;
    position_resample(stored + 32, 3, expected, 6, 32);
    assert_memory_equal(n->position, expected, sizeof expected);
    network_free(n);
    refused(t, &(network_options){ .heads = 2, .image = 26 }, "not a multiple of the patch");
    refused(t, &(network_options){ .heads = 2, .image = 24, .crop = 12 }, "contradict");
    refused(t, &(network_options){ .heads = 2, .image = 1024 }, "the limit is 4096");
    network *const cropped = map(t, &(network_options){ .heads = 2, .crop = 24 });
    assert_int_equal(cropped->geometry.image_height, 24);
    network_free(cropped);
    toy_free(t);
}

/* Values worked out by hand from the definition of bicubic interpolation with a = -0.75: twice the
 * size puts outputs a quarter of a pixel beside inputs. */
static void resampling_is_bicubic(void **state)
{
    (void)state;
    const float ramp[] = { 0, 0, 1, 0 }; /* (2, 2, 1): one bright corner below */
    float out[16];
    position_resample(ramp, 2, out, 4, 1);
    /* weights at a distance of .25, .75, 1.25, 1.75 for a = -0.75 */
    const double near[4] = { 0.87890625, 0.26171875, -0.10546875, -0.03515625 };
    /* outputs lie at -.25, .25, .75, 1.25; inputs below 0 repeat it, inputs above 1 likewise */
    const double second[4] = { near[2], near[1] + near[3], near[0] + near[2],
                               near[0] + near[1] + near[3] };
    for (size_t y = 0; y < 4; y++)
        for (size_t x = 0; x < 4; x++)
            assert_true(fabs((double)out[y * 4 + x] - second[y] * (1 - second[x])) < 1e-6);

    float same[4];
    position_resample(ramp, 2, same, 2, 1);
    assert_memory_equal(same, ramp, sizeof ramp);

    /* shrinking to one: the antialiased kernel is symmetric, all four weigh the same */
    float one;
    position_resample(ramp, 2, &one, 1, 1);
    assert_float_equal(one, 0.25f, 1e-6);
    float flat[49], small[9];
    for (size_t i = 0; i < 49; i++)
        flat[i] = 3.5f;
    position_resample(flat, 7, small, 3, 1);
    for (size_t i = 0; i < 9; i++)
        assert_float_equal(small[i], 3.5f, 1e-6);
}

static void swin_image_size_must_be_told(void **state)
{
    (void)state;
    toy *t = small_swin();
    refused(t, NULL, "use --img");
    network *n = map(t, &(network_options){ .preset = "cifar10" });
    assert_int_equal(n->geometry.image_width, 32);
    network_free(n);
    refused(t, &(network_options){ .image = 24 }, "do not tile");
    refused(t, &(network_options){ .image = 72 }, "do not tile");
    toy_free(t);

    t = small_swin();
    toy_add(t, "layers.0.blocks.1.attn_mask", 3, (const uint64_t[]){ 16, 16, 16 });
    n = map(t, NULL);
    assert_int_equal(n->geometry.image_width, 32);
    network_free(n);
    toy_free(t);

    const toy_swin tiny = { 8, 4, { 1, 1, 1, 1 }, { 4, 2, 4, 8 }, 4, 4, 7, 5 };
    t = toy_microsoft_swin(&tiny, 0, "head");
    refused(t, NULL, "the width of a head");
    toy_free(t);
    const toy_swin fair = { 8, 4, { 1, 1, 1, 1 }, { 1, 2, 2, 2 }, 4, 4, 7, 5 };
    t = toy_microsoft_swin(&fair, 0, "head");
    n = map(t, NULL);
    assert_int_equal(n->geometry.image_width, 224);
    assert_int_equal(n->geometry.stage[3].grid_width, 7);
    assert_non_null(strstr(n->note, "image size, 224"));
    network_free(n);
    toy_free(t);
}

static void large_tables_are_cut_to_the_window(void **state)
{
    (void)state;
    toy *const t = small_swin();
    network *const n = map(t, &(network_options){ .image = 16 });
    const float *table = toy_find(t, "layers.2.blocks.0.attn.relative_position_bias_table")->data;
    assert_int_equal(n->geometry.stage[1].window, 4);
    assert_int_equal(n->geometry.stage[2].window, 2);
    assert_non_null(strstr(n->note, "stage 2 were cut from a window of 4 to 2"));
    for (size_t y = 0; y < 3; y++)
        for (size_t x = 0; x < 3; x++)
            for (size_t h = 0; h < 4; h++)
                assert_true(n->blocks[4].position_bias[(y * 3 + x) * 4 + h] ==
                            table[((y + 2) * 7 + x + 2) * 4 + h]);
    network_free(n);
    toy_free(t);
}

/* ---- preprocessing -------------------------------------------------------------------------- */

static const toy_vit plain_224 = { 192, 64, 1, 16, 14, 3, false, false, false };

typedef struct expected_preset {
    const char *name;
    iviti_fit fit;
    uint32_t resize;
    iviti_interpolation interpolation;
    float mean, std; /* of the first channel */
} expected_preset;

static void presets_are_those_of_the_trainings(void **state)
{
    (void)state;
    static const expected_preset expected[] = {
        { "deit", IVITI_FIT_CROP, 256, IVITI_BICUBIC, 0.485f, 0.229f },
        { "deit-timm", IVITI_FIT_CROP, 248, IVITI_BICUBIC, 0.485f, 0.229f },
        { "vit-augreg", IVITI_FIT_CROP, 248, IVITI_BICUBIC, 0.5f, 0.5f },
        { "swin", IVITI_FIT_CROP, 256, IVITI_BICUBIC, 0.485f, 0.229f },
        { "torchvision", IVITI_FIT_CROP, 256, IVITI_BILINEAR, 0.485f, 0.229f },
        { "hf-vit", IVITI_FIT_SQUASH, 0, IVITI_BILINEAR, 0.5f, 0.5f },
        { "hf-deit", IVITI_FIT_CROP, 256, IVITI_BICUBIC, 0.485f, 0.229f },
        { "hf-swin", IVITI_FIT_SQUASH, 0, IVITI_BICUBIC, 0.485f, 0.229f },
    };
    toy *const t = toy_timm_vit(&plain_224, "", "", "");
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        network *const n = map(t, &(network_options){ .preset = expected[i].name });
        const iviti_preprocess *p = &n->geometry.preprocess;
        assert_string_equal(n->preset, expected[i].name);
        assert_non_null(strstr(network_preset_names(), expected[i].name));
        assert_int_equal(p->fit, expected[i].fit);
        assert_int_equal(p->resize, expected[i].resize);
        assert_int_equal(p->interpolation, expected[i].interpolation);
        assert_true(n->mean[0] == expected[i].mean && n->std[0] == expected[i].std);
        network_free(n);
    }
    refused(t, &(network_options){ .preset = "imagenet" }, "there is no preset imagenet");
    toy_free(t);
}

static void sizes_scale_with_the_image(void **state)
{
    (void)state;
    toy *const t = toy_timm_vit(&plain_224, "", "", "");
    network *n = map(t, &(network_options){ .preset = "deit", .image = 384 });
    assert_int_equal(n->geometry.preprocess.resize, 438);
    network_free(n);
    n = map(t, &(network_options){ .preset = "vit-augreg", .image = 384 });
    assert_int_equal(n->geometry.preprocess.resize, 384);
    network_free(n);
    n = map(t, &(network_options){ .preset = "deit", .image = 64 });
    assert_int_equal(n->geometry.preprocess.fit, IVITI_FIT_SQUASH);
    network_free(n);
    toy_free(t);
}

static void torchvision_preset_follows_the_model(void **state)
{
    (void)state;
    static const struct expected {
        uint32_t dim, third_depth, resize; /* Swin where there is a depth */
        uint32_t patch, image;
        iviti_interpolation interpolation;
    } expected[] = {
        { 768, 0, 256, 16, 224, IVITI_BILINEAR },  { 1024, 0, 242, 16, 224, IVITI_BILINEAR },
        { 1024, 0, 256, 32, 224, IVITI_BILINEAR }, { 768, 0, 384, 16, 384, IVITI_BICUBIC },
        { 1280, 0, 224, 14, 224, IVITI_BICUBIC },  { 1280, 0, 518, 14, 518, IVITI_BICUBIC },
        { 96, 6, 232, 4, 224, IVITI_BICUBIC },     { 96, 18, 246, 4, 224, IVITI_BICUBIC },
        { 128, 18, 238, 4, 224, IVITI_BICUBIC },
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        const struct expected *e = &expected[i];
        iviti_geometry g = { .family = e->third_depth != 0 ? IVITI_SWIN : IVITI_VIT,
                             .image_width = e->image,
                             .patch = e->patch,
                             .stages = e->third_depth != 0 ? 4 : 1 };
        g.stage[0].dim = e->dim;
        g.stage[2].depth = e->third_depth;
        preset p = *preset_find("torchvision");
        preset_adapt_torchvision(&p, &g);
        const iviti_preprocess got = preset_preprocess(&p, e->image);
        assert_int_equal(got.fit, IVITI_FIT_CROP);
        assert_int_equal(got.resize, e->resize);
        assert_int_equal(got.interpolation, e->interpolation);
    }
}

static void options_override_the_preset(void **state)
{
    (void)state;
    toy *const t = toy_timm_vit(&plain_224, "", "", "");
    const network_options options = { .resize = 240,
                                      .epsilon = 1e-3,
                                      .preset = "hf-vit",
                                      .has_interpolation = true,
                                      .has_mean = true,
                                      .has_std = true,
                                      .interpolation = IVITI_BICUBIC,
                                      .mean = { 0.1f, 0.2f, 0.3f },
                                      .std = { 0.4f, 0.5f, 0.6f } };
    network *const n = map(t, &options);
    assert_int_equal(n->geometry.preprocess.fit, IVITI_FIT_CROP);
    assert_int_equal(n->geometry.preprocess.resize, 240);
    assert_int_equal(n->geometry.preprocess.interpolation, IVITI_BICUBIC);
    assert_memory_equal(n->mean, options.mean, sizeof n->mean);
    assert_memory_equal(n->std, options.std, sizeof n->std);
    assert_true(n->epsilon == 1e-3);
    network_free(n);
    refused(t, &(network_options){ .resize = 223 }, "resize is 223");
    refused(t, &(network_options){ .resize = 2049 }, "resize is 2049");
    refused(t, &(network_options){ .epsilon = -1e-6 }, "epsilon of LayerNorm is -1e-06");
    refused(t, &(network_options){ .epsilon = NAN }, "epsilon of LayerNorm is ");
    refused(t, &(network_options){ .has_std = true }, "out of range");
    refused(t, &(network_options){ .has_mean = true, .mean = { NAN, 0, 0 } }, "out of range");
    toy_free(t);
}

static void file_names_tell_what_tensors_do_not(void **state)
{
    (void)state;
    static const char *const names[][2] = {
        { "DeiT_tiny_patch16_224.pth", "preset deit." },
        { "vit_tiny_patch16_224.augreg.bin", "preset vit-augreg; networks of the preset deit" },
        { "model.safetensors", "preset deit; networks of the preset vit-augreg" },
    };
    toy *const t = toy_timm_vit(&plain_224, "", "", "");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        report r = { "" };
        network *n = NULL;
        (void)toy_finish(t);
        snprintf(t->c.file, sizeof t->c.file, "%s", names[i][0]);
        assert_true(network_from_checkpoint(&t->c, NULL, &n, &r));
        assert_non_null(strstr(n->note, names[i][1]));
        network_free(n);
    }
    toy_free(t);
}

/* ---- refusals ------------------------------------------------------------------------------- */

static void unsupported_networks_are_named(void **state)
{
    (void)state;
    static const char *const keys[][2] = {
        { "layers.0.blocks.0.attn.logit_scale", "Swin V2" },
        { "layers.0.blocks.0.attn.cpb_mlp.0.weight", "Swin V2" },
        { "blocks.0.attn.q_norm.weight", "normalises queries and keys" },
        { "norm_pre.weight", "LayerNorm before the first block" },
        { "fc_norm.weight", "averages its patch tokens" },
        { "pre_logits.fc.weight", "tanh layer" },
        { "pre_logits/kernel", "tanh layer" },
        { "heads.pre_logits.weight", "tanh layer" },
        { "reg_token", "register tokens" },
        { "patch_embed.proj.0.0.weight", "convolutional stem" },
        { "patch_embed.backbone.stem.conv.weight", "convolutional backbone" },
        { "blocks.0.attn.q_bias", "BEiT" },
        { "layers.2.blocks.1.fastmlp.fc1.0.weight", "hierarchical DynamicViT" },
        { "absolute_pos_embed", "absolute position embedding" },
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        toy *const t = small_vit();
        toy_add(t, keys[i][0], 1, (const uint64_t[]){ 2 });
        refused(t, &two_heads, keys[i][1]);
        refused(t, &two_heads, keys[i][0]);
        toy_free(t);
    }
}

static void left_over_tensors_are_named(void **state)
{
    (void)state;
    toy *t = small_vit();
    toy_add(t, "blocks.0.attn.relative_position_index", 1, (const uint64_t[]){ 2 });
    toy_add(t, "head_bn.num_batches_tracked", 0, NULL);
    network_free(map(t, &two_heads));
    toy_add(t, "blocks.1.adapter.weight", 1, (const uint64_t[]){ 2 });
    refused(t, &two_heads,
            "1 tensor has no place in a ViT of the timm naming: "
            "blocks.1.adapter.weight");
    toy_add(t, "a", 1, (const uint64_t[]){ 2 });
    toy_add(t, "b", 1, (const uint64_t[]){ 2 });
    toy_add(t, "c", 1, (const uint64_t[]){ 2 });
    refused(t, &two_heads,
            "4 tensors have no place in a ViT of the timm naming: a, b, "
            "blocks.1.adapter.weight, ...");
    toy_free(t);
    /* a block beyond a gap is not silently dropped */
    t = small_vit();
    toy_norm(t, "blocks.4.norm1", "norm1", 4, 32);
    refused(t, &two_heads, "blocks.4.norm1.bias");
    toy_free(t);
}

static void missing_tensors_are_named(void **state)
{
    (void)state;
    static const char *const names[] = { "cls_token",
                                         "pos_embed",
                                         "norm.bias",
                                         "head.bias",
                                         "blocks.1.attn.proj.weight",
                                         "blocks.2.mlp.fc2.bias",
                                         "patch_embed.proj.bias" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char sentence[TOY_NAME];
        toy *const t = small_vit();
        (void)toy_finish(t);
        snprintf(t->name[(size_t)(toy_find(t, names[i])->name - t->name[0]) / TOY_NAME], TOY_NAME,
                 "pooler.spare");
        snprintf(sentence, sizeof sentence, "tensor %s of the timm naming is missing", names[i]);
        refused(t, &two_heads, sentence);
        toy_free(t);
    }
    toy *t = small_vit();
    (void)toy_finish(t);
    snprintf(t->name[(size_t)(toy_find(t, "head.weight")->name - t->name[0]) / TOY_NAME], TOY_NAME,
             "pooler.spare");
    refused(t, &two_heads, "no classifier");
    toy_free(t);
    t = toy_new();
    toy_norm(t, "conv1", "norm1", 0, 8);
    refused(t, NULL, "no ViT, DeiT or Swin");
    toy_free(t);
    t = toy_new();
    refused(t, NULL, "no ViT, DeiT or Swin");
    toy_free(t);
}

static void shapes_must_fit(void **state)
{
    (void)state;
    toy *t = small_vit();
    (void)toy_finish(t);
    checkpoint_tensor *tensor = toy_find(t, "blocks.1.attn.proj.weight");
    tensor->shape[0] = 16;
    tensor->shape[1] = 64;
    refused(t, &two_heads, "blocks.1.attn.proj.weight has the shape (16, 64)");
    tensor->shape[0] = tensor->shape[1] = 32;
    tensor = toy_find(t, "norm.weight");
    tensor->rank = 0;
    tensor->count = 1;
    refused(t, &two_heads, "norm.weight has the shape ()");
    toy_free(t);

    t = small_vit();
    (void)toy_finish(t);
    tensor = toy_find(t, "pos_embed");
    tensor->shape[1] = 8;
    refused(t, &two_heads, "no square grid");
    tensor->shape[1] = 1;
    tensor->shape[0] = 10;
    refused(t, &two_heads, "pos_embed has the shape (10, 1, 32)");
    toy_free(t);

    t = small_vit();
    (void)toy_finish(t);
    tensor = toy_find(t, "patch_embed.proj.weight");
    tensor->shape[1] = 1;
    refused(t, &two_heads, "patch_embed.proj.weight has the shape (32, 1, 4, 4)");
    tensor->shape[1] = 3;
    tensor->shape[0] = 0;
    refused(t, &two_heads, "dimension 0 must be 1 to 4096");
    tensor->shape[0] = UINT64_MAX;
    refused(t, &two_heads, "dimension 0 must be 1 to 4096");
    toy_free(t);

    t = small_swin();
    (void)toy_finish(t);
    tensor = toy_find(t, "layers.1.blocks.0.attn.relative_position_bias_table");
    tensor->shape[0] = 48;
    refused(t, &(network_options){ .image = 32 }, "(2w-1)^2 for no window");
    toy_free(t);
}

static void values_must_be_finite_floats(void **state)
{
    (void)state;
    toy *const t = small_vit();
    (void)toy_finish(t);
    checkpoint_tensor *const tensor = toy_find(t, "blocks.1.mlp.fc1.weight");
    float *const data = (float *)(uintptr_t)tensor->data;
    data[5] = INFINITY;
    refused(t, &two_heads, "blocks.1.mlp.fc1.weight holds a value that is not finite (element 5)");
    data[5] = NAN;
    refused(t, &two_heads, "not finite");
    data[5] = 0;
    tensor->type = CHECKPOINT_I32;
    refused(t, &two_heads, "holds integers");
    toy_free(t);
}

static void incomplete_layer_scale_is_refused(void **state)
{
    (void)state;
    toy *const t = small_vit();
    toy_vector(t, "blocks.1.gamma_1", "scale1", 1, 32, 0, 1);
    refused(t, &two_heads, "LayerScale is incomplete: block 1");
    toy_vector(t, "blocks.0.gamma_1", "scale1", 0, 32, 0, 1);
    refused(t, &two_heads, "LayerScale is incomplete: block 0");
    toy_free(t);
}

static void too_many_blocks_are_refused(void **state)
{
    (void)state;
    const toy_vit deep = { 8, 4, 38, 2, 1, 2, false, false, false };
    toy *const t = toy_timm_vit(&deep, "", "", "");
    network *const n = map(t, &two_heads);
    assert_int_equal(n->geometry.depth, 38);
    network_free(n);
    for (uint32_t i = 38; i < 65; i++) {
        char key[TOY_NAME];
        toy_vector(t, toy_key(key, "blocks.%u.norm1.weight", i), "norm1", i, 8, 1, 0);
    }
    refused(t, &two_heads, "more than 64 blocks");
    toy_free(t);
}

/* ---- I-ViT ---------------------------------------------------------------------------------- */

static void ivit_buffers_are_seen_and_passed_over(void **state)
{
    (void)state;
    toy *const t = small_vit();
    double value = 0;
    assert_false(network_is_ivit(toy_finish(t)));
    *toy_add(t, "blocks.0.qact1.act_scaling_factor", 0, NULL) = 0.25f;
    toy_add(t, "blocks.0.attn.qkv.weight_integer", 2, (const uint64_t[]){ 96, 32 });
    toy_add(t, "blocks.0.attn.qkv.fc_scaling_factor", 1, (const uint64_t[]){ 96 });
    toy_add(t, "blocks.0.norm1.norm_scaling_factor", 1, (const uint64_t[]){ 32 });
    network *const n = map(t, &two_heads);
    assert_true(network_is_ivit(&t->c));
    assert_string_equal(n->dialect, "I-ViT, timm");
    assert_true(network_scalar(&t->c, "blocks.0.qact1.act_scaling_factor", &value));
    assert_true(value == 0.25);
    assert_false(network_scalar(&t->c, "blocks.0.qact2.act_scaling_factor", &value));
    assert_false(network_scalar(&t->c, "blocks.0.norm1.norm_scaling_factor", &value));
    network_free(n);
    toy_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_are_never_a_bad_guess),
        cmocka_unit_test(swin_heads_come_from_the_tables),
        cmocka_unit_test(positions_are_resampled),
        cmocka_unit_test(resampling_is_bicubic),
        cmocka_unit_test(swin_image_size_must_be_told),
        cmocka_unit_test(large_tables_are_cut_to_the_window),
        cmocka_unit_test(presets_are_those_of_the_trainings),
        cmocka_unit_test(sizes_scale_with_the_image),
        cmocka_unit_test(torchvision_preset_follows_the_model),
        cmocka_unit_test(options_override_the_preset),
        cmocka_unit_test(file_names_tell_what_tensors_do_not),
        cmocka_unit_test(unsupported_networks_are_named),
        cmocka_unit_test(left_over_tensors_are_named),
        cmocka_unit_test(missing_tensors_are_named),
        cmocka_unit_test(shapes_must_fit),
        cmocka_unit_test(values_must_be_finite_floats),
        cmocka_unit_test(incomplete_layer_scale_is_refused),
        cmocka_unit_test(too_many_blocks_are_refused),
        cmocka_unit_test(ivit_buffers_are_seen_and_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

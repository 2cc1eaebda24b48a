/* SPDX-License-Identifier: Apache-2.0
 *
 * Models with convolutions before the patches, and with a head of the patches: the engine against
 * plain loops over the file's own integers, the list of tensors, and what the reader refuses.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "graph/session.h"
#include "image/image.h"
#include "model_edit.h"

#define SEED 3

/* ---- the engine ----------------------------------------------------------------------------- */

typedef struct opened {
    iviti_geometry g;
    model_fixture f;
    iviti_model *m;
} opened;

static opened open_model(iviti_geometry g)
{
    opened o = { .g = g };
    char text[200];
    assert_null(iviti_geometry_complete(&o.g, text, sizeof text));
    o.f = fixture_build(&o.g, SEED);
    assert_int_equal(iviti_model_load_memory(o.f.image, o.f.size, NULL, &o.m), IVITI_OK);
    return o;
}

static void close_model(opened *o)
{
    iviti_model_free(o->m);
    fixture_free(&o->f);
}

static const uint8_t *tensor(const opened *o, const char *layer, const char *field)
{
    char name[64];
    snprintf(name, sizeof name, "%s.%s", layer, field);
    return o->f.image + edit_tensor(&o->f, &o->g, name);
}

/* Output o of a dense layer of the file for inputs x (in), to 32 bits. */
static int32_t slow_output(const opened *o, const char *layer, uint32_t in, uint32_t output,
                           const int32_t *x)
{
    const uint8_t *weight = tensor(o, layer, "weight") + (size_t)output * in;
    int32_t acc = iviti_get_s32(tensor(o, layer, "bias") + 4 * output);
    for (uint32_t k = 0; k < in; k++)
        acc += x[k] * iviti_get_s8(weight + k);
    const iviti_dyadic f = { iviti_get_s32(tensor(o, layer, "multiplier") + 4 * output),
                             iviti_get_s8(tensor(o, layer, "shift") + output) };
    return iviti_requantize_s32(acc, f);
}

/* Convolution i of map to out (height, width, channels), value by value. */
static void slow_convolution(const opened *o, uint32_t i, const uint8_t *map, uint8_t *out)
{
    const iviti_convolution *c = &o->g.convolution[i];
    const uint32_t channels = iviti_convolution_channels(&o->g, i);
    const int width = (int)(i ? (c - 1)->width : o->g.image_width);
    const int height = (int)(i ? (c - 1)->height : o->g.image_height);
    const uint32_t in = iviti_convolution_inputs(&o->g, i);
    int32_t *x = malloc(in * sizeof *x);
    char layer[16];
    assert_non_null(x);
    snprintf(layer, sizeof layer, "stem.%u", i);
    for (uint32_t at = 0; at < c->width * c->height; at++) {
        for (uint32_t k = 0; k < in; k++) {
            const uint32_t channel = k % channels, tap = k / channels;
            const int y = (int)(at / c->width * c->stride + tap / c->kernel) - (int)c->padding;
            const int column = (int)(at % c->width * c->stride + tap % c->kernel) - (int)c->padding;
            const bool inside = y >= 0 && y < height && column >= 0 && column < width;
            x[k] =
                inside
                    ? map[((uint32_t)y * (uint32_t)width + (uint32_t)column) * channels + channel]
                : i ? 0
                    : (int32_t)o->g.pixel_padding[channel];
        }
        for (uint32_t n = 0; n < c->channels; n++) {
            const int32_t y = slow_output(o, layer, in, n, x) + 128;
            out[at * c->channels + n] = (uint8_t)(y < 0 ? 0 : y > 255 ? 255 : y);
        }
    }
    free(x);
}

static uint8_t *noise(size_t bytes, uint64_t seed)
{
    uint8_t *const pixels = malloc(bytes);
    assert_non_null(pixels);
    for (size_t i = 0; i < bytes; i++)
        pixels[i] = (uint8_t)fixture_random(&seed);
    return pixels;
}

static iviti_session *open_session(const opened *o, unsigned threads, unsigned batch, iviti_isa isa)
{
    const iviti_session_options options = { .threads = threads, .batch = batch, .isa = isa };
    iviti_session *session = NULL;
    assert_int_equal(iviti_session_create(o->m, &options, &session), IVITI_OK);
    return session;
}

static bool varied(const uint8_t *values, size_t count)
{
    size_t zeros = 0;
    for (size_t i = 0; i < count; i++)
        zeros += values[i] == 0;
    return zeros > count / 100 && zeros < count / 2;
}

/* The map that the patch embedding reads, with ReLU and padding at work. */
static void convolutions_are_those_of_the_file(void **state)
{
    (void)state;
    for (uint32_t threads = 1; threads <= 3; threads++) {
        opened o = open_model(fixture_geometry(FIXTURE_VIT_STEM));
        const size_t picture = (size_t)o.g.image_width * o.g.image_height * 3;
        uint8_t *pixels = noise(2 * picture, 5 + threads);
        iviti_session *s = open_session(&o, threads, 2, IVITI_ISA_BEST);
        iviti_image images[2];
        for (size_t i = 0; i < 2; i++)
            images[i] = (iviti_image){ pixels + i * picture, o.g.image_width, o.g.image_height,
                                       (ptrdiff_t)o.g.image_width * 3 };
        assert_int_equal(iviti_session_run_batch(s, images, 2), IVITI_OK);
        const uint32_t last = o.g.convolutions - 1;
        const iviti_convolution *c = &o.g.convolution[last];
        const size_t size = (size_t)c->width * c->height * c->channels;
        for (size_t p = 0; p < 2; p++) {
            static uint8_t map[2][32 * 32 * 32];
            slow_convolution(&o, 0, iviti_session_pixels(s) + p * picture, map[0]);
            for (uint32_t i = 1; i <= last; i++)
                slow_convolution(&o, i, map[(i - 1) % 2], map[i % 2]);
            assert_true(varied(map[last % 2], size));
            assert_memory_equal(s->buffers.map[last % 2] + p * size, map[last % 2], size);
        }
        iviti_session_free(s);
        free(pixels);
        close_model(&o);
    }
}

/* logits = those of the same model without the patches' head + the largest over its patches. */
static void the_patches_have_their_say(void **state)
{
    (void)state;
    iviti_geometry g = fixture_geometry(FIXTURE_VIT_STEM);
    opened with = open_model(g);
    g.token_head = false;
    opened without = open_model(g);
    const size_t classes = with.g.classes, dim = with.g.stage[0].dim;
    const size_t stride = iviti_row_stride(dim);
    uint8_t *pixels = noise(20 * 20 * 3, 8);
    const iviti_image image = { pixels, 20, 20, 60 };
    for (uint32_t threads = 1; threads <= 3; threads++) {
        iviti_session *a = open_session(&with, threads, 1, IVITI_ISA_BEST);
        iviti_session *b = open_session(&without, 1, 1, IVITI_ISA_REF);
        assert_int_equal(iviti_session_run(a, &image), IVITI_OK);
        assert_int_equal(iviti_session_run(b, &image), IVITI_OK);
        size_t from_several = 0, first = 0;
        for (uint32_t c = 0; c < classes; c++) {
            int32_t most = INT32_MIN;
            size_t from = 0;
            for (size_t t = 1; t < iviti_stage_tokens(&with.g, 0); t++) {
                int32_t x[64];
                for (size_t k = 0; k < dim; k++)
                    x[k] = a->buffers.normed[t * stride + k] - 128;
                const int32_t logit = slow_output(&with, "patches.head", (uint32_t)dim, c, x);
                from = logit > most ? t : from;
                most = logit > most ? logit : most;
            }
            first = c ? first : from;
            from_several += from != first;
            assert_int_equal(iviti_session_logits(a)[c], iviti_session_logits(b)[c] + most);
        }
        assert_true(from_several > 0);
        iviti_session_free(a);
        iviti_session_free(b);
    }
    free(pixels);
    close_model(&with);
    close_model(&without);
}

/* Windows at all four borders, with a constant of several channels around. */
static void windows_reach_over_the_border(void **state)
{
    (void)state;
    const uint8_t map[12] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 }; /* 3 x 2, two channels */
    const uint8_t around[2] = { 90, 91 };
    const iviti_window_grid g = { .width = 3,
                                  .height = 2,
                                  .channels = 2,
                                  .kernel = 3,
                                  .stride = 2,
                                  .padding = 1,
                                  .columns = 2,
                                  .rows = 1 };
    const uint8_t expected[2][18] = {
        { 90, 91, 90, 91, 90, 91, 90, 91, 1, 2, 3, 4, 90, 91, 7, 8, 9, 10 },
        { 90, 91, 90, 91, 90, 91, 3, 4, 5, 6, 90, 91, 9, 10, 11, 12, 90, 91 },
    };
    uint8_t out[2][20];
    memset(out, 77, sizeof out);
    iviti_extract_windows(&g, map, around, 0, 2, out[0], 20);
    for (int i = 0; i < 2; i++) {
        assert_memory_equal(out[i], expected[i], 18);
        assert_int_equal(out[i][18], 77); /* nothing is written behind a row */
    }
    iviti_extract_windows(&g, map, NULL, 1, 1, out[0], 20);
    for (int k = 0; k < 18; k++)
        assert_int_equal(out[0][k], expected[1][k] >= 90 ? 0 : expected[1][k]);

    /* a window that lies wholly beside the map */
    const iviti_window_grid far = { .width = 1,
                                    .height = 1,
                                    .channels = 1,
                                    .kernel = 2,
                                    .stride = 1,
                                    .padding = 1,
                                    .columns = 2,
                                    .rows = 2 };
    const uint8_t one = 5, corner[4] = { 0, 0, 0, 5 };
    iviti_extract_windows(&far, &one, NULL, 0, 1, out[0], 4);
    assert_memory_equal(out[0], corner, 4);
}

/* ---- geometry and tensors -------------------------------------------------------------------- */

static void expect(iviti_geometry g, iviti_status status, const char *word)
{
    char text[200] = "";
    iviti_status got = IVITI_OK;
    iviti_geometry_check(&g, &got, text, sizeof text);
    if (got == IVITI_OK)
        iviti_geometry_check_file(&g, &got, text, sizeof text);
    if (got != status || !strstr(text, word))
        print_error("%s: %s\n", iviti_status_name(got), text);
    assert_int_equal(got, status);
    assert_non_null(strstr(text, word));
}

#define EXPECT_WITH(change, status, word)                                                          \
    do {                                                                                           \
        iviti_geometry g = fixture_geometry(FIXTURE_VIT_STEM);                                     \
        change;                                                                                    \
        expect(g, status, word);                                                                   \
    } while (0)

static void limits_of_a_stem(void **state)
{
    (void)state;
    EXPECT_WITH((void)g, IVITI_OK, "");
    EXPECT_WITH(g.convolutions = 9, IVITI_ERROR_LIMIT, "convolutions");
    EXPECT_WITH(g.convolution[1].kernel = 0, IVITI_ERROR_CORRUPT, "iviti.stem.kernel is 0");
    EXPECT_WITH(g.convolution[1].kernel = 17, IVITI_ERROR_LIMIT, "iviti.stem.kernel is 17");
    EXPECT_WITH(g.convolution[1].stride = 0, IVITI_ERROR_CORRUPT, "iviti.stem.stride is 0");
    EXPECT_WITH(g.convolution[1].stride = 17, IVITI_ERROR_LIMIT, "iviti.stem.stride is 17");
    EXPECT_WITH(g.convolution[1].channels = 0, IVITI_ERROR_CORRUPT, "iviti.stem.channels is 0");
    EXPECT_WITH(g.convolution[1].channels = 6, IVITI_ERROR_CORRUPT, "multiple of 4");
    EXPECT_WITH(g.convolution[1].channels = 4100, IVITI_ERROR_LIMIT, "iviti.stem.channels is 4100");
    EXPECT_WITH(g.convolution[1].channels = 4096, IVITI_ERROR_LIMIT, "inputs of a convolution");
    EXPECT_WITH(g.convolution[0].padding = 4, IVITI_ERROR_CORRUPT, "iviti.stem.padding is 4");
    EXPECT_WITH(g.convolution[0].padding = UINT32_MAX, IVITI_ERROR_CORRUPT, "iviti.stem.padding");
    EXPECT_WITH(g.convolution[2].padding = 0, IVITI_ERROR_CORRUPT, "do not tile");
    EXPECT_WITH(g.convolution[0].stride = 16, IVITI_ERROR_CORRUPT, "do not tile");
    EXPECT_WITH((g.convolution[0].stride = 16, g.convolution[1].padding = 0), IVITI_ERROR_CORRUPT,
                "padded map");
    EXPECT_WITH((g.convolution[2].channels = 4096), IVITI_OK, "");
    EXPECT_WITH((g.convolution[2].channels = 4096, g.patch = 8, g.convolution[2].stride = 1),
                IVITI_ERROR_LIMIT, "inputs of the patch embedding");
    EXPECT_WITH(g.pixel_padding[1] = 256, IVITI_ERROR_RANGE, "iviti.stem.pixel[1] is 256");
    EXPECT_WITH(g.pixel_table = true, IVITI_ERROR_UNSUPPORTED, "raw");
    iviti_geometry swin = fixture_geometry(FIXTURE_SWIN_TABLE);
    swin.convolutions = 1;
    swin.convolution[0] = (iviti_convolution){ .kernel = 1, .stride = 1, .channels = 4 };
    expect(swin, IVITI_ERROR_UNSUPPORTED, "vit");
    swin.convolutions = 0;
    swin.token_head = true;
    expect(swin, IVITI_ERROR_UNSUPPORTED, "class+patches");
}

static void tensors_of_a_stem(void **state)
{
    (void)state;
    opened o = open_model(fixture_geometry(FIXTURE_VIT_STEM));
    static const struct {
        size_t index;
        const char *name;
        uint32_t rows, columns;
    } expected[] = {
        { 0, "stem.0.weight", 8, 48 },    { 3, "stem.0.shift", 8, 1 },
        { 4, "stem.1.weight", 20, 128 },  { 5, "stem.1.bias", 20, 1 },
        { 8, "stem.2.weight", 12, 180 },  { 12, "embed.weight", 32, 48 },
        { 16, "embed.position", 25, 32 },
    };
    iviti_tensor_spec spec;
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        assert_true(iviti_schema_tensor(&o.g, expected[i].index, &spec));
        assert_string_equal(spec.name, expected[i].name);
        assert_int_equal(spec.shape[0], expected[i].rows);
        assert_int_equal(spec.shape[1], expected[i].columns);
    }
    const size_t count = iviti_schema_count(&o.g);
    assert_true(iviti_schema_tensor(&o.g, count - 8, &spec));
    assert_string_equal(spec.name, "patches.norm.multiplier");
    assert_true(iviti_schema_tensor(&o.g, count - 4, &spec));
    assert_string_equal(spec.name, "patches.head.weight");
    assert_int_equal(spec.shape[0], 10);
    assert_int_equal(spec.shape[1], 32);
    assert_false(iviti_schema_tensor(&o.g, count, &spec));

    iviti_model_info info;
    iviti_model_describe(o.m, &info);
    assert_int_equal(info.patch_size, 4);
    iviti_geometry plain = o.g;
    plain.convolutions = 0;
    plain.token_head = false;
    opened p = open_model(plain);
    iviti_model_info without;
    iviti_model_describe(p.m, &without);
    const uint64_t stem = 11 * 7 * 8 * 48 + 12 * 8 * 20 * 128 + 12 * 8 * 12 * 180;
    assert_int_equal(info.macs, without.macs + stem + 24 * 32 * 10); /* both embeddings read 48 */
    close_model(&p);
    close_model(&o);
}

/* ---- what the reader refuses ------------------------------------------------------------------
 */

static model_fixture build(void)
{
    const iviti_geometry g = edit_geometry(FIXTURE_VIT_STEM);
    return fixture_build(&g, SEED);
}

static void refuse_number(const char *key, size_t index, uint32_t value, iviti_status status,
                          const char *word)
{
    model_fixture f = build();
    iviti_put_u32(f.image + edit_value(&f, key) + 4 * index, value);
    edit_expect(&f, status, word);
    fixture_free(&f);
}

/* The same network as a file that says less or more of it. */
static void refuse_count(const char *key, size_t count, iviti_status status, const char *word)
{
    const iviti_geometry g = edit_geometry(FIXTURE_VIT_STEM);
    model_fixture f = build();
    uint8_t pair[8 + 64 + 16 + 4 * 16] = { 0 };
    size_t bytes;
    const size_t begin = edit_pair(&f, key, &bytes), head = 8 + strlen(key) + 8;
    memcpy(pair, f.image + begin, head);
    iviti_put_u64(pair + head, count);
    for (size_t i = 0; i < count; i++)
        iviti_put_u32(pair + head + 8 + 4 * i, 4);
    edit_splice(&f, &g, begin, bytes, pair, head + 8 + 4 * count, 0);
    edit_expect(&f, status, word);
    fixture_free(&f);
}

static void refuse_without(const char *key, const char *word)
{
    const iviti_geometry g = edit_geometry(FIXTURE_VIT_STEM);
    model_fixture f = build();
    size_t bytes;
    const size_t begin = edit_pair(&f, key, &bytes);
    edit_splice(&f, &g, begin, bytes, NULL, 0, -1);
    edit_expect(&f, IVITI_ERROR_CORRUPT, word);
    fixture_free(&f);
}

static void files_that_are_wrong(void **state)
{
    (void)state;
    model_fixture f = build();
    edit_expect(&f, IVITI_OK, "");
    fixture_free(&f);
    static const char *const keys[] = { "iviti.stem.kernel", "iviti.stem.stride",
                                        "iviti.stem.padding", "iviti.stem.channels",
                                        "iviti.stem.pixel" };
    for (size_t i = 0; i < 5; i++) {
        const bool pixel = i == 4;
        refuse_without(keys[i], keys[i]);
        refuse_count(keys[i], 0, IVITI_ERROR_CORRUPT, keys[i]);
        refuse_count(keys[i], 2, IVITI_ERROR_CORRUPT, pixel ? keys[i] : "iviti.stem.");
        refuse_count(keys[i], 9, IVITI_ERROR_LIMIT, keys[i]);
        model_fixture typed = build();
        iviti_put_u32(typed.image + edit_after(&typed, keys[i]) + 4, 5); /* i32 */
        edit_expect(&typed, IVITI_ERROR_CORRUPT, keys[i]);
        fixture_free(&typed);
    }
    refuse_number("iviti.stem.kernel", 0, 0, IVITI_ERROR_CORRUPT, "iviti.stem.kernel");
    refuse_number("iviti.stem.kernel", 2, UINT32_MAX, IVITI_ERROR_LIMIT, "iviti.stem.kernel");
    refuse_number("iviti.stem.kernel", 2, 2, IVITI_ERROR_CORRUPT, "tile");
    refuse_number("iviti.stem.stride", 0, 0, IVITI_ERROR_CORRUPT, "iviti.stem.stride");
    refuse_number("iviti.stem.padding", 0, 77, IVITI_ERROR_CORRUPT, "iviti.stem.padding");
    refuse_number("iviti.stem.channels", 0, 12, IVITI_ERROR_CORRUPT, "dimension");
    refuse_number("iviti.stem.pixel", 2, 256, IVITI_ERROR_RANGE, "iviti.stem.pixel[2]");
    refuse_without("iviti.operators.head", "tensors"); /* without it, eight are too many */
}

static void an_unknown_head_is_refused(void **state)
{
    (void)state;
    model_fixture f = build();
    const size_t at = edit_after(&f, "iviti.operators.head") + 4 + 8;
    assert_memory_equal(f.image + at, "class+patches", 13);
    f.image[at + 6] = 'x';
    edit_expect(&f, IVITI_ERROR_UNSUPPORTED, "iviti.operators.head");
    fixture_free(&f);
}

/* An accumulator of a convolution that could overflow. */
static void dangerous_weights_are_refused(void **state)
{
    (void)state;
    const iviti_geometry g = edit_geometry(FIXTURE_VIT_STEM);
    model_fixture f = build();
    iviti_put_u32(f.image + edit_tensor(&f, &g, "stem.1.bias"), INT32_MAX - 1000);
    edit_expect(&f, IVITI_ERROR_RANGE, "stem.1.bias[0]");
    fixture_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions_are_those_of_the_file),
        cmocka_unit_test(the_patches_have_their_say),
        cmocka_unit_test(windows_reach_over_the_border),
        cmocka_unit_test(limits_of_a_stem),
        cmocka_unit_test(tensors_of_a_stem),
        cmocka_unit_test(files_that_are_wrong),
        cmocka_unit_test(an_unknown_head_is_refused),
        cmocka_unit_test(dangerous_weights_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * What all checkpoints share: opening, telling containers apart, widening to float, the digest, the
 * escaping of sentences; and, where they are at hand, the real files.
 */
#define _POSIX_C_SOURCE 200809L

#include "checkpoint_files.h"

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/report.h"
#include "common/sha256.h"
#include "common/utf8.h"

static void digests_are_those_of_fips(void **state)
{
    (void)state;
    char hex[65];
    sha256_hex("", 0, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    sha256_hex("abc", 3, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56, hex);
    assert_string_equal(hex, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    char *million = malloc(1000000);
    assert_non_null(million);
    memset(million, 'a', 1000000);
    sha256_hex(million, 1000000, hex);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(million);
}

static void sentences_are_escaped(void **state)
{
    (void)state;
    report r;
    assert_false(report_fail(&r, "%s %d", "plain \xC3\xA9 \xE2\x82\xAC", 7));
    assert_string_equal(r.text, "plain \xC3\xA9 \xE2\x82\xAC 7");
    report_fail(&r, "%s", "\x1B[31m\n\x7F\xC2\x9B\xFF\xE2\x82");
    assert_string_equal(r.text, "\\x1b[31m\\x0a\\x7f\\xc2\\x9b\\xff\\xe2\\x82");
    assert_false(report_fail(NULL, "nobody listens %d", 1));
    char text[3000];
    memset(text, '\x01', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    report_fail(&r, "%s", text);
    assert_int_equal(strlen(r.text), (sizeof r.text - 1) / 4 * 4);
    memset(text, 'x', sizeof text - 1);
    report_fail(&r, "%s", text);
    assert_int_equal(strlen(r.text), sizeof r.text - 1);
}

static void text_is_checked_as_unicode_says(void **state)
{
    (void)state;
    /* Every code point goes there and back; every surrogate and every overlong form is refused. */
    for (uint32_t code = 0; code <= 0x10FFFF; code++) {
        if (code >= 0xD800 && code < 0xE000) {
            continue;
        }
        uint8_t out[4];
        const size_t length = utf8_encode(code, out);
        assert_int_equal(utf8_sequence(out, length), length);
        assert_int_equal(utf8_sequence(out, length - 1), 0);
    }
    static const char *const wrong[] = {
        "\x80",         "\xC0\x80",         "\xC1\xBF",         "\xE0\x9F\xBF",
        "\xED\xA0\x80", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80",
        "\xC3("
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(utf8_sequence((const uint8_t *)wrong[i], strlen(wrong[i])), 0);
    }
    assert_true(utf8_valid((const uint8_t *)"", 0));
    assert_false(utf8_valid((const uint8_t *)"a\0b", 3));
}

static float widen(checkpoint_type type, const void *data)
{
    const checkpoint_tensor t = { .type = type, .count = 1, .data = data };
    float out;
    checkpoint_to_float(&t, &out);
    return out;
}

/* All 65536 halves against the definition. */
static void halves_are_exact(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 65536; bits++) {
        const uint8_t data[2] = { (uint8_t)bits, (uint8_t)(bits >> 8) };
        const int exponent = (int)(bits >> 10 & 31), fraction = (int)(bits & 1023);
        const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
        const float got = widen(CHECKPOINT_F16, data);
        assert_true((signbit(got) != 0) == (sign < 0));
        if (exponent == 31) {
            assert_true(fraction == 0 ? isinf(got) != 0 : isnan(got) != 0);
        } else {
            const double value =
                exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, exponent - 25);
            assert_true((double)got == sign * value);
        }
        uint32_t wide;
        const float brain = widen(CHECKPOINT_BF16, data);
        memcpy(&wide, &brain, sizeof wide);
        assert_int_equal(wide, bits << 16);
    }
}

static void numbers_are_widened(void **state)
{
    (void)state;
    assert_true(widen(CHECKPOINT_I8, "\x80") == -128.0F);
    assert_true(widen(CHECKPOINT_I8, "\x7F") == 127.0F);
    assert_true(widen(CHECKPOINT_U8, "\xFF") == 255.0F);
    assert_true(widen(CHECKPOINT_BOOL, "\x02") == 1.0F);
    assert_true(widen(CHECKPOINT_BOOL, "\x00") == 0.0F);
    assert_true(widen(CHECKPOINT_I16, "\x00\x80") == -32768.0F);
    assert_true(widen(CHECKPOINT_I32, "\x00\x00\x00\x80") == -2147483648.0F);
    assert_true(widen(CHECKPOINT_I32, "\xFF\xFF\xFF\xFF") == -1.0F);
    assert_true(widen(CHECKPOINT_I32, "\x81\x00\x00\x01") == 16777344.0F); /* to even */
    assert_true(widen(CHECKPOINT_I32, "\x83\x00\x00\x01") == 16777348.0F);
    assert_true(widen(CHECKPOINT_I64, "\0\0\0\0\0\0\0\x80") == -9223372036854775808.0F);
    assert_true(widen(CHECKPOINT_I64, "\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF") == -2.0F);
    static const struct {
        double value;
        float expected;
    } doubles[] = {
        { 1.0, 1.0F },          { 0x1.000001p0, 1.0F },       { 0x1.000003p0, 0x1.000004p0F },
        { 1e300, INFINITY },    { -1e300, -INFINITY },        { 0x1.fffffefp127, 0x1.fffffep127F },
        { 1e-300, 0.0F },       { 0x1.ffffffp127, INFINITY }, { -0x1.8p-149, -0x1p-148F },
        { INFINITY, INFINITY },
    };
    for (size_t i = 0; i < sizeof doubles / sizeof doubles[0]; i++) {
        bytes b = { 0 };
        uint64_t bits;
        memcpy(&bits, &doubles[i].value, sizeof bits);
        put_number(&b, bits, 8);
        assert_true(widen(CHECKPOINT_F64, b.p) == doubles[i].expected);
        drop(&b);
    }
    assert_true(isnan(widen(CHECKPOINT_F64, "\0\0\0\0\0\0\xF8\x7F")));
}

static void other_files_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        const char *start;
        size_t size;
        const char *expected;
    } cases[] = {
        { "", 0, "not a checkpoint" },
        { "{", 1, "not a checkpoint" },
        { "\x00\x00\x00\x00\x00\x00\x00\x00x", 9, "not a checkpoint" },
        { "<html>404</html>", 16, "not a checkpoint" },
        { "version https://git-lfs.github.com/spec/v1\n", 43, "Git LFS pointer" },
        { "GGUF\x03\0\0\0", 8, "a GGUF model file" },
        { "\x1F\x8B\x08\0", 4, "gzip" },
        { "\x89HDF\r\n\x1A\n", 8, "HDF5" },
        { "\x93NUMPY\x01\x00", 8, "a single NumPy array" },
        { "\x80\x04\x95", 3, "a bare pickle" },
        { "\x80\x02}.", 4, "a bare pickle" },
        { "PK\x03\x04", 4, "too small" },
        { "PK\x05\x06", 4, "an empty zip file" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bytes b = { 0 };
        put(&b, "", 0);
        put(&b, cases[i].start, cases[i].size);
        if (b.p == NULL) {
            b.p = malloc(1);
            b.capacity = 1;
        }
        must_fail_and_drop(&b, cases[i].expected);
    }
    bytes tar = { 0 };
    for (size_t i = 0; i < 512; i++) {
        put_number(&tar, 0, 1);
    }
    memcpy(tar.p + 257, "ustar", 5);
    must_fail_and_drop(&tar, "a tar archive");
}

/* A header length whose first bytes are the magic of gzip or of a pickle. */
static void lengths_may_look_like_magics(void **state)
{
    (void)state;
    static const uint64_t lengths[] = { 0x8B1F, 0x80 };
    for (size_t i = 0; i < 2; i++) {
        bytes b = { 0 };
        const char *header = "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}";
        put_number(&b, lengths[i], 8);
        put_text(&b, header);
        while (b.size < 8 + lengths[i]) {
            put_text(&b, " ");
        }
        put_text(&b, "x");
        checkpoint_close(must_load(&b));
        drop(&b);
    }
}

static void files_are_opened(void **state)
{
    (void)state;
    checkpoint *c = NULL;
    report r = { "" };
    assert_false(checkpoint_open("no-such-file.pth", &c, &r));
    assert_string_equal(r.text, "no-such-file.pth: No such file or directory");
    assert_false(checkpoint_open(".", &c, &r));
    assert_string_equal(r.text, ".: not a regular file");
    assert_null(c);
    char path[] = "/tmp/iviti-checkpoint-XXXXXX";
    const int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    FILE *file = fdopen(descriptor, "wb");
    assert_non_null(file);
    bytes b = { 0 };
    const char *header = "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";
    put_number(&b, strlen(header), 8);
    put_text(&b, header);
    put_float(&b, 2.5F);
    assert_int_equal(fwrite(b.p, 1, b.size, file), b.size);
    assert_int_equal(fflush(file), 0);
    assert_true(checkpoint_open(path, &c, &r));
    char digest[65];
    sha256_hex(b.p, b.size, digest);
    assert_string_equal(c->sha256, digest);
    assert_string_equal(c->file, strrchr(path, '/') + 1);
    must_hold(c, "a", (const float[]){ 2.5F }, 1);
    checkpoint_close(c);
    checkpoint_close(NULL);
    /* A file with a hole of 5 GiB is refused by its length, before any memory is taken. */
    c = NULL;
    assert_int_equal(ftruncate(fileno(file), (off_t)5 << 30), 0);
    assert_false(checkpoint_open(path, &c, &r));
    assert_non_null(strstr(r.text, "has 5368709120 bytes, the limit is 4294967295"));
    assert_null(c);
    fclose(file);
    unlink(path);
    drop(&b);
}

static bool open_shared(const char *relative, checkpoint **c)
{
    char path[4096];
    const char *shared = getenv("IVITI_SHARED"), *source = getenv("IVITI_SOURCE");
    if (shared != NULL) {
        snprintf(path, sizeof path, "%s/models/%s", shared, relative);
    } else {
        snprintf(path, sizeof path, "%s/../shared/models/%s", source == NULL ? ".." : source,
                 relative);
    }
    struct stat status;
    if (stat(path, &status) != 0) {
        return false;
    }
    report r = { "" };
    if (!checkpoint_open(path, c, &r)) {
        fail_msg("%s", r.text);
    }
    return true;
}

static void real_files_open(void **state)
{
    (void)state;
    static const struct {
        const char *path, *container;
        size_t tensors;
        const char *name; /* one of them */
    } files[] = {
        { "digits_vit/timm_f32.safetensors", "safetensors", 56, "pos_embed" },
        { "digits_vit/timm_f16.safetensors", "safetensors", 56, "pos_embed" },
        { "digits_vit/timm_bf16.safetensors", "safetensors", 56, "pos_embed" },
        { "digits_vit/timm_state_dict.pth", "pytorch zip", 56, "pos_embed" },
        { "digits_vit/timm_model_dict.pth", "pytorch zip", 56, "pos_embed" },
        { "digits_vit/timm_module_prefix.pth", "pytorch zip", 56, "pos_embed" },
        { "digits_vit/timm_legacy_format.pth", "pytorch legacy", 56, "pos_embed" },
        { "digits_vit/torchvision_state_dict.pth", "pytorch zip", 56, "class_token" },
        { "digits_vit/google_augreg.npz", "npz", 72, "Transformer/posembed_input/pos_embedding" },
        { "digits_vit/ivit_checkpoint.pth.tar", "pytorch zip", 198, "pos_embed" },
        { "digits_dynamicvit/digits_dynamicvit.pth", "pytorch zip", 86, "pos_embed" },
        { "cifar10_swin/microsoft_model_dict.pth", "pytorch zip", 92, "head.weight" },
        { "cifar10_swin/ivit_checkpoint.pth.tar", "pytorch zip", 327, "head.weight" },
        { "deit_tiny/ivit_checkpoint.pth.tar", "pytorch zip", 550, "pos_embed" },
    };
    size_t opened = 0;
    float *position = NULL;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        checkpoint *c = NULL;
        if (!open_shared(files[i].path, &c)) {
            continue;
        }
        opened++;
        assert_string_equal(c->container, files[i].container);
        assert_int_equal(c->count, files[i].tensors);
        const checkpoint_tensor *t = checkpoint_find(c, files[i].name);
        assert_non_null(t);
        touch(c);
        /* The same network in five float files: the same numbers. */
        if (strncmp(files[i].path, "digits_vit/timm", 15) == 0 && t->type == CHECKPOINT_F32) {
            float *values = malloc(t->count * sizeof(float));
            assert_non_null(values);
            checkpoint_to_float(t, values);
            if (position != NULL) {
                assert_memory_equal(values, position, t->count * sizeof(float));
                free(values);
            } else {
                position = values;
            }
        }
        checkpoint_close(c);
    }
    free(position);
    if (opened == 0) {
        print_message("shared models are absent, skipped\n");
        skip();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests_are_those_of_fips),
        cmocka_unit_test(sentences_are_escaped),
        cmocka_unit_test(text_is_checked_as_unicode_says),
        cmocka_unit_test(halves_are_exact),
        cmocka_unit_test(numbers_are_widened),
        cmocka_unit_test(other_files_are_told_apart),
        cmocka_unit_test(lengths_may_look_like_magics),
        cmocka_unit_test(files_are_opened),
        cmocka_unit_test(real_files_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

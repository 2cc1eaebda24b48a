/* SPDX-License-Identifier: Apache-2.0
 *
 * iviti-info: the description agrees with the file and with the library; metadata of every type.
 */
#include "cli_run.h"

#include "cli_json.h"
#include "cli_model.h"

#include "common/metadata_text.h"
#include "iviti/iviti.h"

static void json_agrees_with_the_file(void **state)
{
    const char *const path = cli_write_model("model.gguf");
    iviti_model *model = NULL;
    iviti_model_info info;
    struct stat status;
    json_int_t sum = 0;
    json_int_t tensors = 0;

    (void)state;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(iviti_model_load(path, NULL, &model), IVITI_OK);
    iviti_model_describe(model, &info);

    cli_result result = CLI("iviti-info", "--json", "--tensors", path);
    json_t *const object = cli_one_object(&result);
    assert_string_equal(result.err, "");
    CLI_KEYS(object, "model", "architecture", "image", "patch", "prefix_tokens", "stages",
             "features", "classes", "operators", "codebooks", "activation_bits", "logits_scale", "parameters", "macs",
             "file_bytes", "memory_bytes", "parts", "metadata", "tensors");
    assert_string_equal(cli_string(object, "architecture"), info.architecture);
    assert_int_equal(cli_integer(object, "classes"), info.classes);
    assert_int_equal(cli_integer(object, "macs"), info.macs);
    assert_int_equal(cli_integer(object, "parameters"), info.parameters);
    assert_int_equal(cli_integer(object, "file_bytes"), status.st_size);
    assert_int_equal(cli_integer(json_object_get(object, "image"), "width"), info.image_width);
    iviti_model_free(model);

    json_t *const parts = json_object_get(object, "parts");
    for (size_t i = 0; i < json_array_size(parts); i++) {
        CLI_KEYS(json_array_get(parts, i), "name", "tensors", "weights", "bits", "bytes");
        sum += cli_integer(json_array_get(parts, i), "bytes");
        tensors += cli_integer(json_array_get(parts, i), "tensors");
    }
    json_t *const list = json_object_get(object, "tensors");
    assert_int_equal(json_array_size(list), tensors);
    for (size_t i = 0; i < json_array_size(list); i++) {
        CLI_KEYS(json_array_get(list, i), "name", "type", "shape", "bytes");
        sum -= cli_integer(json_array_get(list, i), "bytes");
    }
    assert_int_equal(sum, 0);

    json_t *const metadata = json_object_get(object, "metadata");
    assert_string_equal(cli_string(metadata, "general.architecture"), "iviti");
    assert_int_equal(cli_integer(metadata, "general.alignment"), 64);
    assert_int_equal(cli_integer(metadata, "iviti.classes"), info.classes);
    assert_true(json_is_array(json_object_get(metadata, "iviti.stage.dim")));
    json_decref(object);
    cli_free(&result);

    result = CLI("iviti-info", "--json", path);
    json_t *const without = cli_one_object(&result);
    assert_null(json_object_get(without, "tensors"));
    json_decref(without);
    cli_free(&result);
}

static void people_get_a_page(void **state)
{
    const char *const path = cli_write_model("model.gguf");
    static const char *const parts[] = { "\n  network ",
                                         "\n  picture ",
                                         "\n  operators ",
                                         "\n  size ",
                                         "attention",
                                         "iviti.format = 1\n",
                                         "general.architecture = iviti\n" };

    (void)state;
    cli_result result = CLI("iviti-info", path);
    assert_int_equal(result.status, 0);
    assert_string_equal(result.err, "");
    assert_true(strncmp(result.out, path, strlen(path)) == 0);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        cli_assert_holds(result.out, parts[i]);
    }
    assert_null(strstr(result.out, "block.0.qkv.weight"));
    cli_free(&result);

    result = CLI("iviti-info", "--tensors", path);
    assert_int_equal(result.status, 0);
    cli_assert_holds(result.out, "\n  block.0.qkv.weight ");
    cli_assert_holds(result.out, "\n  head.bias ");
    cli_free(&result);
}

/* A copy of the model with one byte changed, or cut. */
static void damaged_files_are_told(void **state)
{
    const char *const path = cli_write_model("model.gguf");
    FILE *const file = fopen(path, "rb");
    size_t bytes = 0;

    (void)state;
    assert_non_null(file);
    char *const copy = cli_slurp(file, &bytes);
    fclose(file);
    const size_t places[] = { 0, 4, 50, bytes / 2, bytes - 1 };
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        copy[places[i]] = (char)(copy[places[i]] ^ 0x40);
        const char *const bad = cli_write("bad.gguf", copy, bytes);
        CLI_FAILS(1, CLI("iviti-info", "--json", bad), bad);
        copy[places[i]] = (char)(copy[places[i]] ^ 0x40);
    }
    const size_t lengths[] = { 0, 3, 24, 100, bytes / 2, bytes - 1 };
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        const char *const bad = cli_write("bad.gguf", copy, lengths[i]);
        CLI_FAILS(1, CLI("iviti-info", bad), bad);
    }
    free(copy);
}

/* ---- metadata of every type
 * ----------------------------------------------------------------------------- */

typedef struct metadata_case {
    uint32_t type;
    bool array;
    uint64_t count;
    const char *data;
    size_t bytes;
    const char *json;
    const char *text;
} metadata_case;

#define DATA(text) text, sizeof(text) - 1

static const metadata_case CASES[] = {
    { IVITI_GGUF_U8, false, 1, DATA("\xFF"), "255", "255" },
    { IVITI_GGUF_I8, false, 1, DATA("\x80"), "-128", "-128" },
    { IVITI_GGUF_U16, false, 1, DATA("\x01\x02"), "513", "513" },
    { IVITI_GGUF_I16, false, 1, DATA("\xFE\xFF"), "-2", "-2" },
    { IVITI_GGUF_U32, false, 1, DATA("\xFF\xFF\xFF\xFF"), "4294967295", "4294967295" },
    { IVITI_GGUF_I32, false, 1, DATA("\0\0\0\x80"), "-2147483648", "-2147483648" },
    { IVITI_GGUF_U64, false, 1, DATA("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"), "18446744073709551615",
      "18446744073709551615" },
    { IVITI_GGUF_I64, false, 1, DATA("\0\0\0\0\0\0\0\x80"), "-9223372036854775808",
      "-9223372036854775808" },
    { IVITI_GGUF_I64, false, 1, DATA("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F"), "9223372036854775807",
      "9223372036854775807" },
    { IVITI_GGUF_F32, false, 1, DATA("\0\0\0\x3F"), "0.5", "0.5" },
    { IVITI_GGUF_F32, false, 1, DATA("\0\0\xC0\x7F"), "null", "nan" },
    { IVITI_GGUF_F64, false, 1, DATA("\0\0\0\0\0\0\xF0\xBF"), "-1", "-1" },
    { IVITI_GGUF_BOOL, false, 1, DATA("\x01"), "true", "true" },
    { IVITI_GGUF_STRING, false, 1, DATA("a \"b\""), "\"a \\\"b\\\"\"", "a \"b\"" },
    { IVITI_GGUF_STRING, false, 1, DATA("\033[2J"), "\"\\u001b[2J\"", "\\x1b[2J" },
    { IVITI_GGUF_U16, true, 3, DATA("\1\0\2\0\3\0"), "[1,2,3]", "[1, 2, 3]" },
    { IVITI_GGUF_U8, true, 9, DATA("\1\2\3\4\5\6\7\x8\x9"), "[1,2,3,4,5,6,7,8,9]",
      "[1, 2, 3, 4, 5, 6, 7, 8, ... 9 in all]" },
    { IVITI_GGUF_STRING, true, 2, DATA("\1\0\0\0\0\0\0\0x\0\0\0\0\0\0\0\0"), "[\"x\",\"\"]",
      "[x, ]" },
    { IVITI_GGUF_U32, true, 0, DATA(""), "[]", "[]" },
};

static void metadata_of_every_type(void **state)
{
    char wanted[256];

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        const metadata_case *const c = &CASES[i];
        const iviti_gguf_pair pair = { .key = "a.key|",
                                       .key_bytes = 5,
                                       .type = c->type,
                                       .array = c->array,
                                       .count = c->count,
                                       .data = (const uint8_t *)c->data,
                                       .bytes = c->bytes };
        FILE *const file = tmpfile();
        assert_non_null(file);
        json_out j = json_out_to(file);
        metadata_print(file, &pair);
        json_put_object(&j, NULL);
        metadata_put(&j, &pair);
        json_put_end(&j);
        assert_true(json_put_line(&j));
        char *const out = cli_slurp(file, NULL);
        snprintf(wanted, sizeof(wanted), "a.key = %s\n{\"a.key\":%s}\n", c->text, c->json);
        assert_string_equal(out, wanted);
        free(out);
        fclose(file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_agrees_with_the_file),
        cmocka_unit_test(people_get_a_page),
        cmocka_unit_test(damaged_files_are_told),
        cmocka_unit_test(metadata_of_every_type),
    };
    return cmocka_run_group_tests(tests, cli_setup, cli_teardown);
}

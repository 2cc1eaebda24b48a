/* SPDX-License-Identifier: Apache-2.0
 *
 * make_seeds FOLDER: what the fuzzers start from, made by program. FOLDER/NAME/ gets small right files for
 * fuzz_NAME, and FOLDER/NAME.dict the words of the format.
 */
#define _POSIX_C_SOURCE 200809L

#include "unit/checkpoint_files.h"
#include "unit/model_toy.h"

#include <errno.h>
#include <sys/stat.h>

#include <stb_image_write.h>

#include "base/bytes.h"
#include "model/gguf.h"
#include "model/source.h"

static const char *folder;

static FILE *create(const char *path)
{
    FILE *const file = fopen(path, "wb");
    if (file == NULL) {
        fprintf(stderr, "make_seeds: %s: %s\n", path, strerror(errno));
        exit(1);
    }
    return file;
}

static void save(const char *harness, const char *name, const void *data, size_t size)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, harness);
    mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/%s/%s", folder, harness, name);
    FILE *const file = create(path);
    fwrite(data, 1, size, file);
    if (fclose(file) != 0)
        exit(1);
}

static void save_and_drop(const char *harness, const char *name, bytes *b)
{
    save(harness, name, b->p, b->size);
    drop(b);
}

static FILE *dictionary(const char *harness)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.dict", folder, harness);
    return create(path);
}

static void word(FILE *file, const void *data, size_t size)
{
    const uint8_t *const p = data;
    if (size == 0 || size > 100)
        return;
    fputc('"', file);
    for (size_t i = 0; i < size; i++)
        fprintf(file, "\\x%02x", p[i]);
    fputs("\"\n", file);
}

static void words(const char *harness, const char *const *list)
{
    FILE *const file = dictionary(harness);
    for (; *list != NULL; list++)
        word(file, *list, strlen(*list));
    fclose(file);
}

/* ---- models ------------------------------------------------------------------------------------- */

/* Every key, string value and tensor name of a model, with the length before it and without, by the
 * reader's own syntax. */
static void model_words(FILE *file, const model_fixture *f)
{
    iviti_memory_source source;
    iviti_reader r;
    iviti_gguf_counts counts;
    iviti_gguf_pair pair;
    iviti_gguf_tensor tensor;
    uint8_t *const buffer = malloc(f->size);
    const iviti_allocator none = { NULL, NULL, NULL };
    iviti_memory_source_open(&source, f->image, f->size);
    iviti_reader_open(&r, &source.source, &none, NULL, buffer, f->size);
    if (iviti_gguf_begin(&r, &counts) != IVITI_OK)
        exit(1);
    for (uint64_t i = 0; i < counts.pairs && iviti_gguf_next_pair(&r, &pair) == IVITI_OK; i++) {
        word(file, pair.key - 8, pair.key_bytes + 8);
        if (pair.type == IVITI_GGUF_STRING && !pair.array)
            word(file, pair.data - 8, pair.bytes + 8);
        else
            word(file, pair.key - 8, (size_t)((const char *)pair.data - pair.key) + 8 + pair.bytes);
    }
    for (uint64_t i = 0; i < counts.tensors && iviti_gguf_next_tensor(&r, &tensor) == IVITI_OK; i++)
        word(file, tensor.name - 8, tensor.name_bytes + 8);
    free(buffer);
}

static void numbers_of_interest(FILE *file)
{
    static const uint64_t values[] = { 0,           1,          0x7FFFFFFF,         0x80000000,
                                       0xFFFFFFFF,  0x40000000, 0x3FFFFFFF,         0x100000000,
                                       1024,        1025,       4096,               4097,
                                       16384,       65536,      0x8000000000000000, UINT64_MAX };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        uint8_t value[8];
        iviti_put_u64(value, values[i]);
        word(file, value, values[i] > UINT32_MAX ? 8 : 4);
    }
}

static void make_models(void)
{
    FILE *const file = dictionary("model");
    for (int kind = 0; kind < FIXTURE_KINDS; kind++) {
        const iviti_geometry g = toy_geometry((fixture_kind)kind);
        char name[32];
        model_fixture f = fixture_build(&g, 1);
        snprintf(name, sizeof name, "toy-%d", kind);
        save("model", name, f.image, f.size);
        model_words(file, &f);
        save("model", "cut", f.image, f.size / 2);
        fixture_free(&f);
    }
    numbers_of_interest(file);
    fclose(file);
}

/* ---- safetensors -------------------------------------------------------------------------------- */

static bytes safetensors(const char *header, size_t data)
{
    bytes b = { 0 };
    put_number(&b, strlen(header), 8);
    put_text(&b, header);
    for (size_t i = 0; i < data; i++)
        put_number(&b, i, 1);
    return b;
}

static void make_safetensors(void)
{
    static const char *const dictionary_words[] = {
        "\"dtype\":", "\"shape\":", "\"data_offsets\":", "\"__metadata__\":", "\"F64\"", "\"F32\"",
        "\"F16\"", "\"BF16\"", "\"I64\"", "\"I32\"", "\"I16\"", "\"I8\"", "\"U8\"", "\"BOOL\"",
        "[0,4]", "[]", "{}", "\\u00e9", "\\ud83d\\ude00", "\\\\", "\\\"", "18446744073709551615",
        "4294967296", "-1", "1e3", "null", "true", "  ", NULL
    };
    static const struct {
        const char *name, *header;
        size_t data;
    } seeds[] = {
        { "one", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8 },
        { "two",
          "{\"a\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,4]},"
          "\"b\":{\"dtype\":\"I64\",\"shape\":[1,1],\"data_offsets\":[4,12]}}",
          12 },
        { "metadata",
          "{\"__metadata__\":{\"format\":\"pt\",\"x\":\"\\u00e9\\n\"},"
          "\"a\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[0,2]}}  ",
          2 },
        { "empty",
          "{\"a\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[0,0]},"
          "\"module.b\":{\"dtype\":\"I8\",\"shape\":[3],\"data_offsets\":[0,3]}}",
          3 },
    };
    for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++) {
        bytes b = safetensors(seeds[i].header, seeds[i].data);
        save_and_drop("safetensors", seeds[i].name, &b);
    }
    words("safetensors", dictionary_words);
}

/* ---- pickles and PyTorch ------------------------------------------------------------------------ */

#define PUT(b, literal) put((b), (literal), sizeof(literal) - 1)

static const toy_tensor floats = { .type = "FloatStorage",
                                   .key = "0",
                                   .elements = 6,
                                   .rank = 2,
                                   .size = { 2, 3 },
                                   .stride = { 1, 2 } };
static const toy_tensor integer = { .type = "LongStorage", .key = "1", .elements = 1 };

static void put_state(bytes *b, const char *nesting, const toy_tensor *first,
                      const toy_tensor *second)
{
    op_proto(b);
    if (nesting != NULL) {
        put_text(b, "}");
        op_string(b, nesting);
    }
    op_ordered_dict(b);
    op(b, '(');
    op_string(b, "module.a");
    op_tensor(b, first);
    op_string(b, "b");
    op_tensor(b, second);
    put_text(b, nesting != NULL ? "us." : "u.");
}

static bytes archive_of(const bytes *pickle, bool zip64)
{
    toy_zip z = { 0 };
    bytes ramp = { 0 };
    put_ramp(&ramp, 6);
    zip_add(&z, "toy/data.pkl", pickle->p, pickle->size, true);
    zip_add(&z, "toy/byteorder", "little", 6, true);
    zip_add(&z, "toy/data/0", ramp.p, ramp.size, true);
    zip_add(&z, "toy/data/1", "\xF9\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 8, true);
    zip_add(&z, "toy/version", "3\n", 2, true);
    zip_close(&z, zip64);
    drop(&ramp);
    return z.file;
}

static void make_torch(void)
{
    static const char *const dictionary_words[] = {
        "ctorch._utils\n_rebuild_tensor_v2\n", "ctorch\nFloatStorage\n", "ctorch\nHalfStorage\n",
        "ctorch\nBFloat16Storage\n", "ctorch\nDoubleStorage\n", "ctorch\nLongStorage\n",
        "ctorch\nIntStorage\n", "ctorch\nShortStorage\n", "ctorch\nCharStorage\n",
        "ctorch\nByteStorage\n", "ctorch\nBoolStorage\n", "ccollections\nOrderedDict\n)R",
        "ctorch._utils\n_rebuild_parameter\n", "storage", "X\x01", "cpu", "state_dict",
        "model_state_dict", "model", "\x85", "\x86", "\x87", "\x88", "\x89", "\x8a\x08", "tQ", "tR",
        "NtQ", "(", ")", "}", "]", "s", "u", "a", "e", "q", "r", "h", "j", "K", "M", "J", "N", "t",
        "R", "Q", "U", "G", "\x80\x02", ".", "little", "big", "version", "/data.pkl", "/data/0",
        "/byteorder", "PK\x01\x02", "PK\x03\x04", "PK\x05\x06", "PK\x06\x06", "PK\x06\x07",
        "PK\x07\x08", NULL
    };
    static const char *const nestings[] = { NULL, "model", "state_dict", "model_state_dict" };
    for (size_t i = 0; i < sizeof nestings / sizeof *nestings; i++) {
        char name[32];
        bytes pickle = { 0 };
        put_state(&pickle, nestings[i], &floats, &integer);
        snprintf(name, sizeof name, "state-%zu", i);
        save("pickle", name, pickle.p, pickle.size);
        bytes file = archive_of(&pickle, i % 2 == 0);
        save_and_drop("torch_zip", name, &file);
        drop(&pickle);
    }
    bytes memo = { 0 }; /* every form of integer, and the memo */
    op_proto(&memo);
    PUT(&memo, "}q\x00(U\x01xq\x01K\x01U\x01yM\x01\x01U\x01zJ\xFF\xFF\xFF\xFF");
    PUT(&memo, "U\x01wh\x01X\x01\x00\x00\x00v\x8A\x01\x07U\x01n]q\x02(K\x01h\x01");
    PUT(&memo, "eU\x01m");
    PUT(&memo, "G\x3F\xF0\x00\x00\x00\x00\x00\x00u.");
    save_and_drop("pickle", "memo", &memo);
    words("pickle", dictionary_words);
    words("torch_zip", dictionary_words);
    words("legacy", dictionary_words);
}

static void make_legacy(void)
{
    toy_tensor first = floats, second = integer;
    bytes b = { 0 };
    first.legacy = second.legacy = true;
    put(&b, LEGACY_MAGIC, LEGACY_MAGIC_BYTES);
    put(&b, "\x80\x02M\xE9\x03.", 6);
    op_proto(&b);
    put_text(&b, "}(");
    op_string(&b, "protocol_version");
    op_int(&b, 1001);
    op_string(&b, "little_endian");
    op(&b, '\x88');
    put_text(&b, "u.");
    put_state(&b, "model", &first, &second);
    op_proto(&b);
    put_text(&b, "](");
    op_string(&b, "0");
    op_string(&b, "1");
    put_text(&b, "e.");
    put_number(&b, 6, 8);
    put_ramp(&b, 6);
    put_number(&b, 1, 8);
    put_number(&b, 7, 8);
    save("legacy", "right", b.p, b.size);
    save("legacy", "headless", b.p + LEGACY_MAGIC_BYTES, b.size - LEGACY_MAGIC_BYTES);
    drop(&b);
}

/* ---- NumPy -------------------------------------------------------------------------------------- */

static bytes npy(unsigned version, const char *header, size_t data)
{
    bytes b = { 0 };
    put(&b, "\x93NUMPY", 6);
    put_number(&b, version, 1);
    put_number(&b, 0, 1);
    put_number(&b, strlen(header) + 1, version == 1 ? 2 : 4);
    put_text(&b, header);
    put_text(&b, "\n");
    for (size_t i = 0; i < data; i++)
        put_number(&b, i, 1);
    return b;
}

static void make_npz(void)
{
    static const char *const dictionary_words[] = {
        "'descr': ", "'fortran_order': ", "'shape': ", "False", "True", "'<f4'", "'<f8'", "'<f2'",
        "'|i1'", "'<i2'", "'<i4'", "'<i8'", "'|u1'", "'|b1'", "'>f4'", "(2, 3)", "()", "(6,)",
        "\x93NUMPY\x01", "\x93NUMPY\x02", "\x93NUMPY\x03", ".npy", "PK\x01\x02", "PK\x03\x04",
        "PK\x05\x06", "PK\x06\x06", "PK\x06\x07", NULL
    };
    static const char *const headers[] = {
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }",
        "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }",
        "{\"shape\":(),\"fortran_order\":False,\"descr\":\"<i8\"}",
    };
    static const size_t sizes[] = { 24, 24, 24, 8 };
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        char name[32];
        bytes array = npy(1 + (unsigned)i % 3, headers[i], sizes[i]);
        snprintf(name, sizeof name, "array-%zu", i);
        save("npz", name, array.p, array.size);

        toy_zip z = { 0 };
        uint8_t packed[1024];
        z_stream s = { .next_in = array.p,
                       .avail_in = (uInt)array.size,
                       .next_out = packed,
                       .avail_out = sizeof packed };
        zip_add(&z, "a.npy", array.p, array.size, false);
        if (deflateInit2(&s, 9, Z_DEFLATED, -MAX_WBITS, 9, Z_DEFAULT_STRATEGY) != Z_OK ||
            deflate(&s, Z_FINISH) != Z_STREAM_END)
            exit(1);
        deflateEnd(&s);
        zip_add_record(&z, &(toy_record){ .name = "b/c.npy",
                                          .data = packed,
                                          .stored = sizeof packed - s.avail_out,
                                          .size = array.size,
                                          .crc = (uint32_t)crc32(0, array.p, (uInt)array.size),
                                          .method = 8 });
        zip_close(&z, i % 2 == 1);
        snprintf(name, sizeof name, "archive-%zu", i);
        save_and_drop("npz", name, &z.file);
        drop(&array);
    }
    words("npz", dictionary_words);
}

/* ---- networks ----------------------------------------------------------------------------------- */

/* A safetensors file under construction: header entries and floats. */
typedef struct named {
    bytes header, data;
} named;

static void add_named(named *n, const char *name, size_t rank, const unsigned *shape)
{
    char text[64];
    size_t count = 1;
    put_text(&n->header, n->header.size == 0 ? "{\"" : ",\"");
    put_text(&n->header, name);
    put_text(&n->header, "\":{\"dtype\":\"F32\",\"shape\":[");
    for (size_t i = 0; i < rank; i++) {
        snprintf(text, sizeof text, "%s%u", i > 0 ? "," : "", shape[i]);
        put_text(&n->header, text);
        count *= shape[i];
    }
    snprintf(text, sizeof text, "],\"data_offsets\":[%zu,%zu]}", n->data.size,
             n->data.size + 4 * count);
    put_text(&n->header, text);
    for (size_t i = 0; i < count; i++)
        put_float(&n->data, (float)(i % 7) * 0.25f - 0.5f);
}

static void add_layer(named *n, const char *name, unsigned out, unsigned in)
{
    char text[128];
    snprintf(text, sizeof text, "%s.weight", name);
    add_named(n, text, in > 0 ? 2 : 1, (const unsigned[]){ out, in });
    snprintf(text, sizeof text, "%s.bias", name);
    add_named(n, text, 1, &out);
}

static void add_block(named *n, const char *place, unsigned dim)
{
    static const char *const parts[] = { "norm1",   "attn.qkv", "attn.proj",
                                         "norm2",   "mlp.fc1",  "mlp.fc2" };
    const unsigned out[] = { dim, 3 * dim, dim, dim, 2 * dim, dim };
    const unsigned in[] = { 0, dim, dim, 0, dim, 2 * dim };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char text[96];
        snprintf(text, sizeof text, "%s.%s", place, parts[i]);
        add_layer(n, text, out[i], in[i]);
    }
}

static void save_named(named *n, const char *name)
{
    bytes b = { 0 };
    put_text(&n->header, "}");
    put_number(&b, n->header.size, 8);
    put(&b, n->header.p, n->header.size);
    put(&b, n->data.p, n->data.size);
    save_and_drop("network", name, &b);
    drop(&n->header);
    drop(&n->data);
}

static void make_networks(void)
{
    static const char *const dictionary_words[] = {
        "patch_embed.proj.weight", "cls_token", "dist_token", "pos_embed", "blocks.0.attn.qkv",
        "blocks.1.", "layers.0.blocks.0.", "layers.1.downsample.reduction.weight",
        "relative_position_bias_table", "head_dist.weight", "encoder.layer.0.", "encoder.layers.",
        "vit.embeddings.cls_token", "Transformer/encoderblock_0/", "ls1.gamma", "gamma_1",
        "model.", "act_scaling_factor", "weight_integer", "[1,1,8]", "[8,3,2,2]", "\"F32\"",
        "\"F16\"", "\"BF16\"", "\"I8\"", NULL
    };
    named vit = { { 0 }, { 0 } }, swin = { { 0 }, { 0 } };
    add_named(&vit, "cls_token", 3, (const unsigned[]){ 1, 1, 8 });
    add_named(&vit, "pos_embed", 3, (const unsigned[]){ 1, 5, 8 });
    add_named(&vit, "patch_embed.proj.weight", 4, (const unsigned[]){ 8, 3, 2, 2 });
    add_named(&vit, "patch_embed.proj.bias", 1, (const unsigned[]){ 8 });
    add_block(&vit, "blocks.0", 8);
    add_layer(&vit, "norm", 8, 0);
    add_layer(&vit, "head", 3, 8);
    save_named(&vit, "vit");

    add_named(&swin, "patch_embed.proj.weight", 4, (const unsigned[]){ 8, 3, 2, 2 });
    add_named(&swin, "patch_embed.proj.bias", 1, (const unsigned[]){ 8 });
    add_layer(&swin, "patch_embed.norm", 8, 0);
    add_named(&swin, "layers.0.blocks.0.attn.relative_position_bias_table", 2,
              (const unsigned[]){ 9, 2 });
    add_block(&swin, "layers.0.blocks.0", 8);
    add_layer(&swin, "layers.1.downsample.norm", 32, 0);
    add_named(&swin, "layers.1.downsample.reduction.weight", 2, (const unsigned[]){ 16, 32 });
    add_named(&swin, "layers.1.blocks.0.attn.relative_position_bias_table", 2,
              (const unsigned[]){ 9, 4 });
    add_block(&swin, "layers.1.blocks.0", 16);
    add_layer(&swin, "norm", 16, 0);
    add_layer(&swin, "head.fc", 3, 16);
    save_named(&swin, "swin");
    words("network", dictionary_words);
}

/* ---- pictures ----------------------------------------------------------------------------------- */

static void put_big(bytes *b, uint32_t value)
{
    const uint8_t p[4] = { (uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
                           (uint8_t)value };
    put(b, p, 4);
}

static void put_chunk(bytes *b, const char *type, const void *data, size_t size)
{
    put_big(b, (uint32_t)size);
    put(b, type, 4);
    put(b, data, size);
    put_big(b, (uint32_t)crc32(0, b->p + b->size - size - 4, (uInt)size + 4));
}

/* A PNG of one colour type and depth whose rows use every filter. */
static void make_png(unsigned depth, unsigned colour, unsigned interlaced)
{
    static const unsigned samples[] = { 1, 0, 3, 1, 2, 0, 4 };
    static const uint8_t palette[] = { 10, 20, 30, 40, 50, 60, 70, 80, 90, 1, 2, 3 };
    enum { WIDTH = 9, HEIGHT = 7 };
    const size_t row = 1 + (WIDTH * samples[colour] * depth + 7) / 8;
    uint8_t rows[1024], packed[2048];
    uLongf packed_size = sizeof packed;
    bytes b = { 0 }, header = { 0 };
    for (size_t i = 0; i < sizeof rows; i++)
        rows[i] = (uint8_t)(i * 7);
    for (size_t y = 0; y < HEIGHT; y++)
        rows[y * row] = (uint8_t)(y % 5);
    if (interlaced) /* seven passes, each row of filter 0 */
        memset(rows, 0, sizeof rows);
    compress2(packed, &packed_size, rows, (uLong)(interlaced ? 2 * row * HEIGHT : row * HEIGHT), 9);
    put(&b, "\x89PNG\r\n\x1a\n", 8);
    put_big(&header, WIDTH);
    put_big(&header, HEIGHT);
    put(&header, (const uint8_t[]){ (uint8_t)depth, (uint8_t)colour, 0, 0, (uint8_t)interlaced }, 5);
    put_chunk(&b, "IHDR", header.p, header.size);
    if (colour == 3)
        put_chunk(&b, "PLTE", palette, depth == 1 ? 6 : sizeof palette);
    put_chunk(&b, "IDAT", packed, packed_size);
    put_chunk(&b, "IEND", NULL, 0);
    char name[48];
    snprintf(name, sizeof name, "png-%u-%u%s", depth, colour, interlaced ? "-interlaced" : "");
    save_and_drop("picture", name, &b);
    drop(&header);
}

static void append(void *user, void *data, int size)
{
    put(user, data, (size_t)size);
}

static void make_pictures(void)
{
    static const char *const dictionary_words[] = {
        "IHDR", "PLTE", "IDAT", "IEND", "tRNS", "CgBI", "\x89PNG\r\n\x1a\n", "\xff\xd8", "\xff\xd9",
        "\xff\xc0", "\xff\xc1", "\xff\xc2", "\xff\xc4", "\xff\xda", "\xff\xdb", "\xff\xdd",
        "\xff\xd0", "\xff\xe0", "\xff\xee", "JFIF", "Adobe", "\x78\x01", "\x78\xda", NULL
    };
    static const struct {
        unsigned depth, colour;
    } kinds[] = { { 1, 0 },  { 2, 0 }, { 4, 0 }, { 8, 0 }, { 16, 0 }, { 8, 2 }, { 16, 2 }, { 1, 3 },
                  { 2, 3 },  { 4, 3 }, { 8, 3 }, { 8, 4 }, { 16, 4 }, { 8, 6 }, { 16, 6 } };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        for (unsigned interlaced = 0; interlaced < 2; interlaced++)
            make_png(kinds[i].depth, kinds[i].colour, interlaced);
    for (int channels = 1; channels <= 3; channels += 2)
        for (int quality = 30; quality <= 95; quality += 65) {
            uint8_t pixels[17 * 13 * 3];
            char name[48];
            bytes b = { 0 };
            for (size_t i = 0; i < sizeof pixels; i++)
                pixels[i] = (uint8_t)(i * 3 + i / 17);
            stbi_write_jpg_to_func(append, &b, 17, 13, channels, pixels, quality);
            snprintf(name, sizeof name, "jpeg-%d-%d", channels, quality);
            save_and_drop("picture", name, &b);
        }
    words("picture", dictionary_words);
}

/* ---- calls and kernels -------------------------------------------------------------------------- */

static void make_random(const char *harness, unsigned files, size_t size)
{
    uint64_t state = 1;
    for (unsigned i = 0; i < files; i++) {
        uint8_t data[256];
        char name[32];
        for (size_t k = 0; k < size; k++)
            data[k] = (uint8_t)fixture_random(&state);
        data[0] = (uint8_t)i; /* fuzz_kernels: every kernel in turn */
        snprintf(name, sizeof name, "random-%u", i);
        save(harness, name, data, size);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: make_seeds FOLDER\n");
        return 2;
    }
    folder = argv[1];
    mkdir(folder, 0777);
    make_models();
    make_safetensors();
    make_torch();
    make_legacy();
    make_npz();
    make_networks();
    make_pictures();
    make_random("api", 16, 200);
    make_random("kernels", 96, 60);
    return 0;
}

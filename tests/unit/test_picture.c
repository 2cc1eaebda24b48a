/* SPDX-License-Identifier: Apache-2.0
 *
 * Pictures as the tools read them. Every file is made here: PNGs of each
 * kind chunk by chunk, JPEGs by stb_image_write; then they are cut, bent and swollen.
 */
#define _POSIX_C_SOURCE 200809L

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <stb_image_write.h>
#include <zlib.h>

#include "picture/picture.h"
#include "picture/write_png.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* ---- bytes and files --------------------------------------------------------------------- */

typedef struct bytes {
    uint8_t *data;
    size_t size;
} bytes;

static void append(bytes *b, const void *data, size_t size)
{
    b->data = realloc(b->data, b->size + size + 1);
    assert_non_null(b->data);
    if (size > 0)
        memcpy(b->data + b->size, data, size);
    b->size += size;
}

static void append_to_bytes(void *context, void *data, int size)
{
    append(context, data, (size_t)size);
}

static char folder_path[] = "/tmp/iviti-picture-XXXXXX";

static const char *path_of(const char *name)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder_path, name);
    return path;
}

static void write_file(const char *name, const void *data, size_t size)
{
    FILE *const file = fopen(path_of(name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void write_text(const char *name, const char *text)
{
    write_file(name, text, strlen(text));
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder_path) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder_path);
}

/* Decodes from a block of exactly that size, so that reading beyond it shows. */
static bool decode(const uint8_t *data, size_t size, picture *out, report *r)
{
    uint8_t *const copy = malloc(size ? size : 1);
    assert_non_null(copy);
    if (size > 0)
        memcpy(copy, data, size);
    const bool done = picture_decode(copy, size, "x", out, r);
    free(copy);
    return done;
}

static void assert_refused(const uint8_t *data, size_t size, const char *sentence)
{
    picture p = { NULL, 0, 0 };
    report r = { "" };
    if (decode(data, size, &p, &r))
        fail_msg("read, though it should be refused with \"%s\"", sentence);
    if (!strstr(r.text, sentence))
        fail_msg("refused with \"%s\", not with \"%s\"", r.text, sentence);
    assert_null(p.pixels);
}

/* ---- PNG, chunk by chunk ----------------------------------------------------------------- */

static void append_be32(bytes *b, uint32_t value)
{
    append(b,
           (uint8_t[]){ (uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
                        (uint8_t)value },
           4);
}

static void append_chunk(bytes *b, const char *type, const void *data, size_t size)
{
    append_be32(b, (uint32_t)size);
    append(b, type, 4);
    append(b, data, size);
    append_be32(b, (uint32_t)crc32(0, b->data + b->size - size - 4, (uInt)size + 4));
}

typedef struct png_kind {
    uint32_t width, height;
    uint8_t depth, colour; /* as in the file */
    const uint8_t *palette;
    size_t palette_bytes;
} png_kind;

static bytes png_begin(const png_kind *kind)
{
    bytes b = { NULL, 0 };
    bytes header = { NULL, 0 };
    append(&b, "\x89PNG\r\n\x1a\n", 8);
    append_be32(&header, kind->width);
    append_be32(&header, kind->height);
    append(&header, (uint8_t[]){ kind->depth, kind->colour, 0, 0, 0 }, 5);
    append_chunk(&b, "IHDR", header.data, header.size);
    if (kind->palette)
        append_chunk(&b, "PLTE", kind->palette, kind->palette_bytes);
    free(header.data);
    return b;
}

/* rows: each a filter byte and its samples. */
static bytes png_of(const png_kind *kind, const uint8_t *rows, size_t size)
{
    bytes b = png_begin(kind);
    uLongf packed_size = compressBound((uLong)size);
    uint8_t *const packed = malloc(packed_size);
    assert_non_null(packed);
    assert_int_equal(compress2(packed, &packed_size, rows, (uLong)size, 9), Z_OK);
    append_chunk(&b, "IDAT", packed, packed_size);
    append_chunk(&b, "IEND", NULL, 0);
    free(packed);
    return b;
}

static void assert_pixels(bytes file, uint32_t width, uint32_t height, const uint8_t *pixels)
{
    picture p;
    report r = { "" };
    if (!decode(file.data, file.size, &p, &r))
        fail_msg("%s", r.text);
    assert_int_equal(p.width, width);
    assert_int_equal(p.height, height);
    assert_memory_equal(p.pixels, pixels, (size_t)3 * width * height);
    picture_free(&p);
    assert_null(p.pixels);
    free(file.data);
}

static void every_kind_of_png_becomes_rgb(void **state)
{
    static const uint8_t palette[] = { 10, 20, 30, 40, 50, 60, 70, 80, 90 };
    static const struct {
        png_kind kind;
        uint8_t rows[32];
        size_t size;
        uint8_t pixels[12];
    } cases[] = {
        { { 2, 1, 8, 2, NULL, 0 }, { 0, 1, 2, 3, 4, 5, 6 }, 7, { 1, 2, 3, 4, 5, 6 } },
        { { 2, 2, 8, 0, NULL, 0 },
          { 0, 9, 200, 0, 3, 4 },
          6,
          { 9, 9, 9, 200, 200, 200, 3, 3, 3, 4, 4, 4 } },
        { { 3, 1, 1, 0, NULL, 0 }, { 0, 0xa0 }, 2, { 255, 255, 255, 0, 0, 0, 255, 255, 255 } },
        { { 2, 1, 4, 0, NULL, 0 }, { 0, 0x1f }, 2, { 17, 17, 17, 255, 255, 255 } },
        { { 2, 1, 8, 4, NULL, 0 },
          { 0, 9, 0, 8, 77 },
          5,
          { 9, 9, 9, 8, 8, 8 } }, /* alpha dropped */
        { { 2, 1, 8, 6, NULL, 0 }, { 0, 1, 2, 3, 0, 4, 5, 6, 128 }, 9, { 1, 2, 3, 4, 5, 6 } },
        { { 3, 1, 2, 3, palette, sizeof palette },
          { 0, 0x60 },
          2,
          { 40, 50, 60, 70, 80, 90, 10, 20, 30 } },
        { { 3, 1, 8, 3, palette, 6 }, /* an index beyond the palette is black */
          { 0, 1, 2, 255 },
          4,
          { 40, 50, 60, 0, 0, 0, 0, 0, 0 } },
        { { 1, 1, 16, 2, NULL, 0 }, { 0, 1, 255, 2, 0, 3, 128 }, 7, { 1, 2, 3 } }, /* high bytes */
        { { 1, 1, 16, 0, NULL, 0 }, { 0, 99, 255 }, 3, { 99, 99, 99 } },
        { { 2, 2, 8, 2, NULL, 0 }, /* filters: left neighbour, then upper neighbour */
          { 1, 1, 2, 3, 3, 3, 3, 2, 1, 1, 1, 1, 1, 1 },
          14,
          { 1, 2, 3, 4, 5, 6, 2, 3, 4, 5, 6, 7 } },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_pixels(png_of(&cases[i].kind, cases[i].rows, cases[i].size), cases[i].kind.width,
                      cases[i].kind.height, cases[i].pixels);
}

static const png_kind one_pixel = { 1, 1, 8, 2, NULL, 0 };
static const uint8_t one_pixel_rows[] = { 0, 5, 6, 7 };

static void damaged_png_is_refused(void **state)
{
    (void)state;
    bytes b = png_of(&one_pixel, one_pixel_rows, sizeof one_pixel_rows);
    for (size_t i = 0; i < b.size; i++)
        assert_refused(b.data, i, i == 0 ? "file is empty" : "ends after");
    for (size_t i = 8; i < b.size; i++) /* lengths, types, contents and checksums alike */
        for (unsigned bit = 0; bit < 8; bit++) {
            b.data[i] ^= (uint8_t)(1u << bit);
            assert_refused(b.data, b.size, "x: ");
            b.data[i] ^= (uint8_t)(1u << bit);
        }
    b.data[b.size - 30] ^= 1;
    assert_refused(b.data, b.size, "is damaged, its checksum is wrong");
    free(b.data);

    b = png_of(&one_pixel, one_pixel_rows, 3); /* a row too short */
    assert_refused(b.data, b.size,
                   "picture of 1 x 1 pixels cannot be decoded, its data are damaged");
    free(b.data);

    b = png_begin(&one_pixel);
    append_chunk(&b, "IDAT", "nonsense", 8);
    append_chunk(&b, "IEND", NULL, 0);
    assert_refused(b.data, b.size,
                   "picture of 1 x 1 pixels cannot be decoded, its data are damaged");
    free(b.data);

    b = png_begin(&one_pixel);
    append_chunk(&b, "IEND", NULL, 0);
    assert_refused(b.data, b.size,
                   "picture of 1 x 1 pixels cannot be decoded, its data are damaged");
    free(b.data);

    b = png_begin(&one_pixel);
    append_be32(&b, 0x80000000u);
    append(&b, "tEXtxxxxxxxx", 12);
    assert_refused(b.data, b.size, "has length 2147483648; the limit is 2147483647");
    free(b.data);
}

static void wrong_chunks_are_refused(void **state)
{
    static const uint8_t colour[] = { 1, 2, 3, 4 };
    static const struct {
        png_kind kind;
        const char *chunk;
        size_t size;
        const char *sentence;
    } cases[] = {
        { { 1, 1, 8, 2, NULL, 0 }, "IHDR", 4, "is not known or has no place there" },
        { { 1, 1, 8, 2, NULL, 0 }, "ABCD", 4, "is not known or has no place there" },
        { { 1, 1, 8, 2, NULL, 0 }, "PLTE", 4, "PNG palette of 4 bytes" },
        { { 1, 1, 8, 2, NULL, 0 }, "PLTE", 0, "PNG palette of 0 bytes" },
        { { 1, 1, 8, 3, NULL, 0 }, "IDAT", 4, "PNG of palette colours without a palette" },
        { { 1, 1, 8, 5, NULL, 0 }, "IDAT", 4, "PNG of colour type 5 with 8 bits a sample" },
        { { 1, 1, 4, 2, NULL, 0 }, "IDAT", 4, "PNG of colour type 2 with 4 bits a sample" },
        { { 1, 1, 16, 3, NULL, 0 }, "IDAT", 4, "PNG of colour type 3 with 16 bits a sample" },
        { { 1, 1, 33, 0, NULL, 0 }, "IDAT", 4, "PNG of colour type 0 with 33 bits a sample" },
        { { 1, 1, 8, 99, NULL, 0 }, "IDAT", 4, "PNG of colour type 99 with 8 bits a sample" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        bytes b = png_begin(&cases[i].kind);
        append_chunk(&b, cases[i].chunk, colour, cases[i].size);
        append_chunk(&b, "IEND", NULL, 0);
        assert_refused(b.data, b.size, cases[i].sentence);
        free(b.data);
    }
    bytes b = { NULL, 0 };
    append(&b, "\x89PNG\r\n\x1a\n", 8);
    append_chunk(&b, "IEND", NULL, 0);
    assert_refused(b.data, b.size, "PNG does not begin with a header (IHDR) of 13 bytes");
    free(b.data);
}

static void chunks_that_need_not_be_known_change_nothing(void **state)
{
    static const uint8_t want[] = { 5, 6, 7 };
    bytes b = png_begin(&one_pixel), data = png_of(&one_pixel, one_pixel_rows, 4);
    (void)state;
    append_chunk(&b, "tEXt", "Title\0nothing", 13);
    append_chunk(&b, "tRNS", "\0\5\0\6\0\7", 6); /* this colour is transparent */
    append(&b, data.data + 33, data.size - 33);
    free(data.data);
    append(&b, "after the end", 13);
    assert_pixels(b, 1, 1, want);
}

static void sizes_beyond_the_limits_are_refused(void **state)
{
    static const struct {
        uint32_t width, height;
        const char *sentence;
    } cases[] = {
        { 0, 1, "picture of 0 x 1 pixels has none" },
        { 1, 0, "picture of 1 x 0 pixels has none" },
        { 16385, 1, "picture of 16385 x 1 pixels; a side is at most 16384" },
        { 1, 0xffffffffu, "a side is at most 16384" },
        { 16384, 4097, "at most 67108864 pixels are read" },
        { 16384, 4096,
          "cannot be decoded, its data are damaged" }, /* within the limits, but without its rows */
        { 16384, 1, "cannot be decoded, its data are damaged" },
        { 1, 16384, "cannot be decoded, its data are damaged" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const png_kind kind = { cases[i].width, cases[i].height, 8, 2, NULL, 0 };
        const bytes b = png_of(&kind, one_pixel_rows, sizeof one_pixel_rows);
        assert_refused(b.data, b.size, cases[i].sentence);
        free(b.data);
    }
}

static void rows_that_inflate_without_end_are_refused(void **state)
{
    (void)state;
    const size_t size = (size_t)32 << 20;
    uint8_t *const zeros = calloc(size, 1);
    assert_non_null(zeros);
    const bytes b = png_of(&one_pixel, zeros, size);
    assert_true(b.size < 100000);
    assert_refused(
        b.data, b.size,
        "picture of 1 x 1 pixels cannot be decoded, it holds more data than its size allows");
    free(zeros);
    free(b.data);
}

/* ---- JPEG -------------------------------------------------------------------------------- */

enum { JPEG_WIDTH = 37, JPEG_HEIGHT = 21 };

/* A smooth picture, in which neighbours differ little. */
static void draw(uint8_t *pixels, uint32_t width, uint32_t height, uint32_t channels)
{
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++)
            for (uint32_t c = 0; c < channels; c++)
                pixels[(y * width + x) * channels + c] = (uint8_t)(40 + x * (c + 1) + y * (3 - c));
}

static bytes jpeg_of(uint32_t channels, int quality)
{
    uint8_t pixels[JPEG_WIDTH * JPEG_HEIGHT * 3];
    bytes b = { NULL, 0 };
    draw(pixels, JPEG_WIDTH, JPEG_HEIGHT, channels);
    assert_true(stbi_write_jpg_to_func(append_to_bytes, &b, JPEG_WIDTH, JPEG_HEIGHT, (int)channels,
                                       pixels, quality));
    return b;
}

static void jpeg_is_read(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        const uint32_t channels = i & 1 ? 3 : 1;
        const int quality = i & 2 ? 100 : 85; /* stb_image_write halves the colours up to 90 */
        uint8_t want[JPEG_WIDTH * JPEG_HEIGHT * 3];
        const bytes b = jpeg_of(channels, quality);
        picture p;
        report r = { "" };
        if (!decode(b.data, b.size, &p, &r))
            fail_msg("%s", r.text);
        assert_int_equal(p.width, JPEG_WIDTH);
        assert_int_equal(p.height, JPEG_HEIGHT);
        draw(want, JPEG_WIDTH, JPEG_HEIGHT, channels);
        for (size_t k = 0; k < (size_t)3 * JPEG_WIDTH * JPEG_HEIGHT; k++) {
            const int difference = p.pixels[k] - want[channels == 3 ? k : k / 3];
            assert_in_range(difference + 12, 0, 24); /* JPEG itself loses that much */
        }
        picture_free(&p);
        free(b.data);
    }
}

/* Where the segment of this marker begins (its 0xff). */
static size_t find_marker(bytes b, uint8_t marker)
{
    for (size_t i = 0; i + 1 < b.size; i++)
        if (b.data[i] == 0xff && b.data[i + 1] == marker)
            return i;
    fail_msg("no marker %02x", marker);
    return 0;
}

static void other_kinds_of_jpeg_are_refused(void **state)
{
    static const struct {
        size_t offset; /* in the frame header's segment */
        uint8_t value;
        const char *sentence;
    } cases[] = {
        { 1, 0xc3, "JPEG of coding process 3" },
        { 1, 0xc9, "JPEG of coding process 9" },
        { 1, 0xc4, "JPEG" },
        { 3, 7, "JPEG frame header of 5 bytes" },
        { 4, 12, "JPEG of 12 bits a channel" },
        { 5, 0xff, "a side is at most 16384" },
        { 7, 0xff, "a side is at most 16384" },
        { 9, 4, "JPEG of four channels (CMYK or YCCK)" },
        { 9, 2, "JPEG of 2 channels" },
        { 9, 0, "JPEG of 0 channels" },
    };
    (void)state;
    bytes b = jpeg_of(3, 90);
    const size_t frame = find_marker(b, 0xc0);
    for (size_t i = 0; i < COUNT(cases); i++) {
        const uint8_t before = b.data[frame + cases[i].offset];
        b.data[frame + cases[i].offset] = cases[i].value;
        assert_refused(b.data, b.size, cases[i].sentence);
        b.data[frame + cases[i].offset] = before;
    }
    b.data[frame + 6] = 0;
    b.data[frame + 5] = 0;
    assert_refused(b.data, b.size, "picture of 37 x 0 pixels has none");
    free(b.data);
    assert_refused((const uint8_t *)"\xff\xd8\xff\xd9", 4, "JPEG without a picture in it");
    assert_refused((const uint8_t *)"\xff\xd8\xff\x02\0\0\0", 7,
                   "marker 02 at byte 2 is not known");
    assert_refused((const uint8_t *)"\xff\xd8\xff\xe0\0\1\0", 7, "has length 1; at least 2");
}

static void huffman_tables_that_are_too_large_are_refused(void **state)
{
    static const struct {
        uint8_t size, counts[16];
        const char *sentence;
    } cases[] = {
        { 19, { 255, 2 }, "has 257 codes; the limit is 256" },
        { 18, { 0 }, "ends inside a Huffman table" },
        { 20, { 2 }, "ends inside a Huffman table" },
        { 3, { 0 }, "ends inside a Huffman table" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        bytes b = { NULL, 0 };
        append(&b, "\xff\xd8\xff\xc4\0", 5);
        append(&b, &cases[i].size, 1);
        append(&b, "\0", 1);
        append(&b, cases[i].counts, sizeof cases[i].counts);
        append(&b, "abcdefgh\xff\xd9", 10);
        assert_refused(b.data, b.size, cases[i].sentence);
        free(b.data);
    }
}

static void a_jpeg_of_too_many_scans_is_refused(void **state)
{
    (void)state;
    const bytes whole = jpeg_of(1, 90);
    const size_t scan = find_marker(whole, 0xda);
    bytes b = { NULL, 0 };
    append(&b, whole.data, scan);
    for (int i = 0; i < 101; i++)
        append(&b, whole.data + scan, whole.size - 2 - scan);
    append(&b, "\xff\xd9", 2);
    assert_refused(b.data, b.size, "JPEG of more than 100 scans");
    free(whole.data);
    free(b.data);
}

static void a_cut_jpeg_is_refused(void **state)
{
    (void)state;
    for (uint32_t channels = 1; channels <= 3; channels += 2) {
        const bytes b = jpeg_of(channels, 90);
        for (size_t i = 0; i < b.size; i++)
            assert_refused(b.data, i, i == 0 ? "file is empty" : "ends after");
        free(b.data);
    }
}

/* Whatever a bent file is taken for, it is read whole or refused in a sentence. */
static void assert_survives(const uint8_t *data, size_t size)
{
    picture p = { NULL, 0, 0 };
    report r = { "" };
    if (decode(data, size, &p, &r)) {
        uint32_t sum = 0;
        for (size_t i = 0; i < (size_t)3 * p.width * p.height; i++)
            sum += p.pixels[i];
        assert_true(sum <= 255u * 3 * p.width * p.height);
        picture_free(&p);
    } else {
        assert_memory_equal(r.text, "x: ", 3);
        assert_null(p.pixels);
    }
}

static void a_bent_jpeg_is_read_or_refused(void **state)
{
    (void)state;
    for (uint32_t channels = 1; channels <= 3; channels += 2) {
        const bytes b = jpeg_of(channels, 50);
        /* A larger picture costs time, not insight. */
        const size_t size_at = find_marker(b, 0xc0) + 5;
        for (size_t i = 0; i < b.size; i++) {
            const uint8_t before = b.data[i];
            const uint8_t values[] = { 0x00,
                                       0xff,
                                       (uint8_t)(before ^ 0x01),
                                       (uint8_t)(before ^ 0x80),
                                       (uint8_t)(before + 1),
                                       (uint8_t)(before - 1) };
            for (size_t k = 0; k < COUNT(values) && (i < size_at || i > size_at + 3); k++) {
                b.data[i] = values[k];
                assert_survives(b.data, b.size);
            }
            b.data[i] = before;
        }
        free(b.data);
    }
}

/* The same behind right checksums, so that the decoder sees it. */
static void a_bent_png_with_right_checksums_is_read_or_refused(void **state)
{
    static const uint8_t palette[] = { 10, 20, 30, 40, 50, 60 };
    static const uint8_t rows[] = { 0, 0xaa, 1, 0x55, 2, 0xff, 3, 0, 4, 0xf0 };
    static const png_kind kind = { 8, 5, 1, 3, palette, sizeof palette };
    (void)state;
    const bytes b = png_of(&kind, rows, sizeof rows);
    for (size_t i = 16; i < b.size; i++) {
        if (i >= 16 && i < 24)
            continue; /* the size */
        for (unsigned change = 1; change < 256; change += change < 16 ? 1 : 15) {
            bytes bent = { NULL, 0 };
            append(&bent, b.data, b.size);
            bent.data[i] ^= (uint8_t)change;
            for (size_t at = 8; bent.size - at >= 12;) {
                const uint32_t length = (uint32_t)bent.data[at + 2] << 8 | bent.data[at + 3];
                if (length > bent.size - at - 12)
                    break;
                const uint32_t sum = (uint32_t)crc32(0, bent.data + at + 4, length + 4);
                uint8_t *const stored = bent.data + at + 8 + length;
                for (unsigned k = 0; k < 4; k++)
                    stored[k] = (uint8_t)(sum >> (24 - 8 * k));
                at += (size_t)12 + length;
            }
            assert_survives(bent.data, bent.size);
            free(bent.data);
        }
    }
    free(b.data);
}

/* ---- files ------------------------------------------------------------------------------- */

static void other_formats_are_named(void **state)
{
    static const struct {
        const char *text;
        size_t size;
        const char *sentence;
    } cases[] = {
        { "GIF89a..", 8, "is a GIF; only JPEG and PNG are read" },
        { "BM......", 8, "is a BMP" },
        { "RIFF....WEBPVP8 ", 16, "is a WebP" },
        { "II*\0....", 8, "is a TIFF" },
        { "MM\0*....", 8, "is a TIFF" },
        { "\0\0\0\x20"
          "ftypavif",
          12, "is an AVIF" },
        { "\0\0\0\x20"
          "ftypheic",
          12, "is a HEIF" },
        { "P6\n1 1\n255\n...", 14, "is a PNM" },
        { "8BPS....", 8, "is a PSD" },
        { "<svg xmlns=", 11, "is an SVG" },
        { "GGUF....", 8, "is a GGUF" },
        { "hello, world", 12, "is neither JPEG nor PNG" },
        { "P", 1, "is neither JPEG nor PNG" },
        { "\xff\xd8\x00\x00\x00\x00\x00\x00", 8, "is neither JPEG nor PNG" },
        { "", 0, "file is empty" },
        { "\x89P", 2, "ends after 2 bytes" },
        { "\xff\xd8", 2, "ends after 2 bytes" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_refused((const uint8_t *)cases[i].text, cases[i].size, cases[i].sentence);
}

static void assert_not_loaded(const char *name, const char *sentence)
{
    picture p = { NULL, 0, 0 };
    report r = { "" };
    assert_false(picture_load(path_of(name), &p, &r));
    if (!strstr(r.text, sentence) || !strstr(r.text, path_of(name)))
        fail_msg("refused with \"%s\", not with \"%s\"", r.text, sentence);
    assert_null(p.pixels);
}

static void files_that_cannot_be_read_are_refused(void **state)
{
    (void)state;
    assert_not_loaded("missing.png", "cannot be opened: No such file");
    assert_not_loaded(".", "is a folder, not a file");
    write_text("empty.png", "");
    assert_not_loaded("empty.png", "file is empty");
    assert_int_equal(unlink(path_of("empty.png")), 0);
    write_text("text.png", "no picture");
    assert_not_loaded("text.png", "file is neither JPEG nor PNG");
    assert_int_equal(truncate(path_of("text.png"), (off_t)PICTURE_MAX_FILE + 1), 0); /* sparse */
    assert_not_loaded("text.png", "file is longer than 268435456 bytes, the limit");
    assert_int_equal(unlink(path_of("text.png")), 0);
    picture_free(NULL);
}

static void what_is_written_is_read_back(void **state)
{
    (void)state;
    for (uint32_t channels = 1; channels <= 3; channels += 2) {
        uint8_t pixels[50 * 30 * 3];
        picture p;
        report r = { "" };
        draw(pixels, 50, 30, channels);
        assert_true(write_png(path_of("a.png"), pixels, 50, 30, channels, &r));
        assert_true(picture_load(path_of("a.png"), &p, &r));
        assert_int_equal(p.width, 50);
        assert_int_equal(p.height, 30);
        for (size_t i = 0; i < (size_t)3 * 50 * 30; i++)
            assert_int_equal(p.pixels[i], pixels[channels == 3 ? i : i / 3]);
        picture_free(&p);
        assert_int_equal(unlink(path_of("a.png")), 0);
    }
}

static void what_cannot_be_written_is_told(void **state)
{
    static const uint8_t pixel[3] = { 1, 2, 3 };
    report r = { "" };
    (void)state;
    assert_false(write_png(path_of("no/such/folder.png"), pixel, 1, 1, 3, &r));
    assert_non_null(strstr(r.text, "cannot be created: No such file"));
    assert_false(write_png(path_of("a.png"), pixel, 0, 1, 3, &r));
    assert_false(write_png(path_of("a.png"), pixel, 1, 16385, 3, &r));
    assert_false(write_png(path_of("a.png"), pixel, 1, 1, 2, &r));
    assert_non_null(strstr(r.text, "picture of 1 x 1 pixels and 2 channels cannot be written"));
    assert_int_not_equal(access(path_of("a.png"), F_OK), 0);
    if (access("/dev/full", W_OK) == 0) {
        assert_false(write_png("/dev/full", pixel, 1, 1, 3, &r));
        assert_non_null(strstr(r.text, "/dev/full: cannot be written: No space left"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_png_becomes_rgb),
        cmocka_unit_test(damaged_png_is_refused),
        cmocka_unit_test(wrong_chunks_are_refused),
        cmocka_unit_test(chunks_that_need_not_be_known_change_nothing),
        cmocka_unit_test(sizes_beyond_the_limits_are_refused),
        cmocka_unit_test(rows_that_inflate_without_end_are_refused),
        cmocka_unit_test(jpeg_is_read),
        cmocka_unit_test(other_kinds_of_jpeg_are_refused),
        cmocka_unit_test(huffman_tables_that_are_too_large_are_refused),
        cmocka_unit_test(a_jpeg_of_too_many_scans_is_refused),
        cmocka_unit_test(a_cut_jpeg_is_refused),
        cmocka_unit_test(a_bent_jpeg_is_read_or_refused),
        cmocka_unit_test(a_bent_png_with_right_checksums_is_read_or_refused),
        cmocka_unit_test(other_formats_are_named),
        cmocka_unit_test(files_that_cannot_be_read_are_refused),
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(what_cannot_be_written_is_told),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Structure of JPEG and PNG files.
 */
#include "picture/inspect.h"

#include <string.h>
#include <zlib.h>

#include "picture/picture.h"

#define MAX_SCANS 100 /* of a JPEG; encoders write about ten */

static const uint8_t png_signature[8] = { 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n' };

static uint32_t be16(const uint8_t *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}

static uint32_t be32(const uint8_t *p)
{
    return be16(p) << 16 | be16(p + 2);
}

static bool begins(const uint8_t *data, size_t size, size_t offset, const char *text, size_t bytes)
{
    return size >= offset + bytes && memcmp(data + offset, text, bytes) == 0;
}

/* The usual name of a format that is not read, or NULL. */
static const char *other_format(const uint8_t *data, size_t size)
{
    static const struct {
        const char *name;
        size_t offset;
        const char *text;
        size_t bytes;
    } formats[] = {
        { "a GIF", 0, "GIF8", 4 },
        { "a BMP", 0, "BM", 2 },
        { "a WebP", 8, "WEBP", 4 },
        { "a TIFF", 0, "II*\0", 4 },
        { "a TIFF", 0, "MM\0*", 4 },
        { "an AVIF", 4, "ftypavif", 8 },
        { "a HEIF", 4, "ftyp", 4 },
        { "a JPEG 2000", 0, "\0\0\0\x0cjP  ", 8 },
        { "a JPEG XL", 0, "\0\0\0\x0cJXL ", 8 },
        { "a JPEG XL", 0, "\xff\x0a", 2 },
        { "a PSD", 0, "8BPS", 4 },
        { "a QOI", 0, "qoif", 4 },
        { "a PDF", 0, "%PDF", 4 },
        { "an SVG or XML", 0, "<?xml", 5 },
        { "an SVG", 0, "<svg", 4 },
        { "a zip", 0, "PK\x03\x04", 4 },
        { "a GGUF", 0, "GGUF", 4 },
    };
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (begins(data, size, formats[i].offset, formats[i].text, formats[i].bytes))
            return formats[i].name;
    if (size >= 3 && data[0] == 'P' && data[1] >= '1' && data[1] <= '7' &&
        (data[2] == '\n' || data[2] == '\r' || data[2] == ' '))
        return "a PNM";
    return NULL;
}

static bool truncated(const char *name, const char *format, size_t size, report *r)
{
    return report_fail(r, "%s: %s file ends after %zu bytes, before its picture does", name, format,
                       size);
}

static bool within_limits(const inspection *in, const char *name, report *r)
{
    if (in->width == 0 || in->height == 0)
        return report_fail(r, "%s: picture of %u x %u pixels has none", name, in->width,
                           in->height);
    if (in->width > PICTURE_MAX_SIDE || in->height > PICTURE_MAX_SIDE)
        return report_fail(r, "%s: picture of %u x %u pixels; a side is at most %u", name,
                           in->width, in->height, PICTURE_MAX_SIDE);
    if ((uint64_t)in->width * in->height > PICTURE_MAX_PIXELS)
        return report_fail(r, "%s: picture of %u x %u pixels; at most %u pixels are read", name,
                           in->width, in->height, PICTURE_MAX_PIXELS);
    return true;
}

/* ---- PNG --------------------------------------------------------------------------------- */

/* Bits a sample that each colour type may have, as a set. */
static bool is_png_kind(unsigned depth, unsigned colour)
{
    static const uint32_t depths[7] = {
        1u << 1 | 1u << 2 | 1u << 4 | 1u << 8 | 1u << 16, /* gray */
        0,
        1u << 8 | 1u << 16,                    /* RGB */
        1u << 1 | 1u << 2 | 1u << 4 | 1u << 8, /* palette */
        1u << 8 | 1u << 16,                    /* gray and alpha */
        0,
        1u << 8 | 1u << 16, /* RGB and alpha */
    };
    return colour < 7 && depth <= 16 && (depths[colour] >> depth & 1);
}

static bool inspect_png_header(const uint8_t *body, const char *name, inspection *out, report *r)
{
    *out = (inspection){ PICTURE_PNG, be32(body), be32(body + 4) };
    if (!is_png_kind(body[8], body[9]))
        return report_fail(r, "%s: PNG of colour type %u with %u bits a sample is not known", name,
                           body[9], body[8]);
    if (body[10] != 0 || body[11] != 0 || body[12] > 1)
        return report_fail(r, "%s: PNG of compression %u, filter %u, interlacing %u is not known",
                           name, body[10], body[11], body[12]);
    return within_limits(out, name, r);
}

/* A chunk beyond the first. Those that need not be understood have a small first letter. */
static bool inspect_chunk(const uint8_t *type, uint32_t length, size_t at, const char *name,
                          report *r)
{
    if (memcmp(type, "PLTE", 4) == 0 && (length == 0 || length > 768 || length % 3 != 0))
        return report_fail(r,
                           "%s: PNG palette of %u bytes; 3 for each of 1 to 256 colours are "
                           "needed",
                           name, length);
    if ((type[0] & 0x20) || memcmp(type, "PLTE", 4) == 0 || memcmp(type, "IDAT", 4) == 0 ||
        memcmp(type, "IEND", 4) == 0)
        return true;
    return report_fail(r, "%s: PNG chunk at byte %zu is not known or has no place there", name, at);
}

static bool inspect_png(const uint8_t *data, size_t size, const char *name, inspection *out,
                        report *r)
{
    bool palette = false;
    for (size_t at = sizeof png_signature;;) {
        if (size - at < 12)
            return truncated(name, "PNG", size, r);
        const uint32_t length = be32(data + at);
        const uint8_t *const type = data + at + 4;
        const uint8_t *const body = type + 4;
        if (length > INT32_MAX)
            return report_fail(r, "%s: PNG chunk at byte %zu has length %u; the limit is %d", name,
                               at, length, INT32_MAX);
        if (length > size - at - 12)
            return truncated(name, "PNG", size, r);
        if (crc32(crc32(0, NULL, 0), type, length + 4) != be32(body + length))
            return report_fail(r, "%s: PNG chunk at byte %zu is damaged, its checksum is wrong",
                               name, at);
        if (at == sizeof png_signature) {
            if (memcmp(type, "IHDR", 4) != 0 || length != 13)
                return report_fail(r, "%s: PNG does not begin with a header (IHDR) of 13 bytes",
                                   name);
            if (!inspect_png_header(body, name, out, r))
                return false;
            palette = body[9] == 3;
        } else if (!inspect_chunk(type, length, at, name, r)) {
            return false;
        }
        if (memcmp(type, "PLTE", 4) == 0)
            palette = false;
        if (palette && memcmp(type, "IDAT", 4) == 0)
            return report_fail(r, "%s: PNG of palette colours without a palette", name);
        if (memcmp(type, "IEND", 4) == 0)
            return true;
        at += (size_t)12 + length;
    }
}

/* ---- JPEG -------------------------------------------------------------------------------- */

static bool is_frame(uint8_t marker)
{
    return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
}

/* The frame header: process, precision, size, components. */
static bool inspect_frame(const uint8_t *body, uint32_t length, uint8_t marker, const char *name,
                          inspection *out, report *r)
{
    if (marker > 0xc2)
        return report_fail(r,
                           "%s: JPEG of coding process %u; baseline, extended and progressive "
                           "Huffman coding (0 to 2) are read",
                           name, marker - 0xc0u);
    if (length < 6)
        return report_fail(r, "%s: JPEG frame header of %u bytes; at least 6 are needed", name,
                           length);
    if (body[0] != 8)
        return report_fail(r, "%s: JPEG of %u bits a channel; only 8 are read", name, body[0]);
    *out = (inspection){ PICTURE_JPEG, be16(body + 3), be16(body + 1) };
    if (body[5] == 4)
        return report_fail(r,
                           "%s: JPEG of four channels (CMYK or YCCK); only gray and colour of "
                           "three channels are read",
                           name);
    if (body[5] != 1 && body[5] != 3)
        return report_fail(r, "%s: JPEG of %u channels; only 1 and 3 are read", name, body[5]);
    return within_limits(out, name, r);
}

/* The next marker at or after `at`, past entropy-coded data if there is any; size if none. */
static size_t next_marker(const uint8_t *data, size_t size, size_t at)
{
    for (; at + 1 < size; at++)
        if (data[at] == 0xff && data[at + 1] != 0 && data[at + 1] != 0xff &&
            (data[at + 1] < 0xd0 || data[at + 1] > 0xd7))
            return at;
    return size;
}

/* Huffman tables: a byte, the numbers of codes of 1 to 16 bits, and a byte for every code. */
static bool inspect_codes(const uint8_t *body, uint32_t length, size_t at, const char *name,
                          report *r)
{
    while (length > 0) {
        uint32_t codes = 0;
        for (uint32_t i = 1; i <= 16 && i < length; i++)
            codes += body[i];
        if (codes > 256)
            return report_fail(r,
                               "%s: JPEG Huffman table at byte %zu has %u codes; the limit is "
                               "256",
                               name, at, codes);
        if (length < 17 + codes)
            return report_fail(r, "%s: JPEG segment at byte %zu ends inside a Huffman table", name,
                               at);
        body += 17 + codes;
        length -= 17 + codes;
    }
    return true;
}

typedef struct jpeg_parts {
    unsigned frames;
    unsigned scans;
} jpeg_parts;

static bool inspect_segment(const uint8_t *segment, uint32_t length, size_t at, const char *name,
                            jpeg_parts *parts, inspection *out, report *r)
{
    const uint8_t marker = segment[1];
    const uint8_t *const body = segment + 4;
    if (marker == 0xc4)
        return inspect_codes(body, length - 2, at, name, r);
    if (marker == 0xda && ++parts->scans > MAX_SCANS)
        return report_fail(r, "%s: JPEG of more than %d scans", name, MAX_SCANS);
    if (marker == 0xda && parts->frames == 0)
        return report_fail(r, "%s: JPEG scan at byte %zu comes before the frame header", name, at);
    if (!is_frame(marker))
        return true;
    if (++parts->frames > 1)
        return report_fail(r, "%s: JPEG has a second frame header at byte %zu", name, at);
    return inspect_frame(body, length - 2, marker, name, out, r);
}

static bool inspect_jpeg(const uint8_t *data, size_t size, const char *name, inspection *out,
                         report *r)
{
    jpeg_parts parts = { 0, 0 };
    for (size_t at = 2;;) {
        at = next_marker(data, size, at);
        if (at == size)
            return truncated(name, "JPEG", size, r);
        const uint8_t marker = data[at + 1];
        if (marker == 0xd9)
            break;
        if (marker < 0xc0 || marker == 0xd8) /* no parameters, or not a marker of this format */
            return report_fail(r, "%s: JPEG marker %02x at byte %zu is not known there", name,
                               marker, at);
        if (size - at < 4)
            return truncated(name, "JPEG", size, r);
        const uint32_t length = be16(data + at + 2);
        if (length < 2)
            return report_fail(r,
                               "%s: JPEG segment at byte %zu has length %u; at least 2 is needed",
                               name, at, length);
        if (length > size - at - 2)
            return truncated(name, "JPEG", size, r);
        if (!inspect_segment(data + at, length, at, name, &parts, out, r))
            return false;
        at += 2 + (size_t)length;
    }
    if (parts.scans == 0)
        return report_fail(r, "%s: JPEG without a picture in it", name);
    return true;
}

bool inspect_picture(const uint8_t *data, size_t size, const char *name, inspection *out, report *r)
{
    if (size == 0)
        return report_fail(r, "%s: file is empty", name);
    if (begins(data, size, 0, (const char *)png_signature, sizeof png_signature))
        return inspect_png(data, size, name, out, r);
    if (begins(data, size, 0, "\xff\xd8\xff", 3))
        return inspect_jpeg(data, size, name, out, r);
    const char *const other = other_format(data, size);
    if (other)
        return report_fail(r, "%s: file is %s; only JPEG and PNG are read", name, other);
    if (size < sizeof png_signature && (memcmp(data, png_signature, size) == 0 ||
                                        memcmp(data, "\xff\xd8", size < 2 ? size : 2) == 0))
        return truncated(name, "picture", size, r);
    return report_fail(r, "%s: file is neither JPEG nor PNG", name);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers are little-endian as in the file and are read byte by byte.
 */
#include "common/metadata_text.h"

#include <string.h>

#include "common/report.h"

#define SHOWN_ELEMENTS 8
#define SHOWN_BYTES    200
#define LONGEST_KEY    127

typedef enum shape { SHAPE_UNSIGNED, SHAPE_SIGNED, SHAPE_REAL, SHAPE_TRUTH, SHAPE_STRING } shape;

/* One element, whatever its type. */
typedef struct element {
    shape shape;
    uint64_t natural;
    int64_t whole;
    double real;
    int digits;
    const char *text;
    size_t bytes;
} element;

static uint64_t little_endian(const uint8_t *data, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint64_t)data[i] << (8 * i);
    }
    return value;
}

static element natural(const uint8_t **at, unsigned bytes)
{
    const element e = { .shape = SHAPE_UNSIGNED, .natural = little_endian(*at, bytes) };

    *at += bytes;
    return e;
}

static element whole(const uint8_t **at, unsigned bytes)
{
    const uint64_t raw = little_endian(*at, bytes);
    const uint64_t sign = (uint64_t)1 << (8 * bytes - 1);

    *at += bytes;
    /* Two's complement without a conversion that is not exact. */
    return (element){ .shape = SHAPE_SIGNED,
                      .whole = (raw & sign) == 0 ? (int64_t)raw
                                                 : -(int64_t)(sign - 1 - (raw & (sign - 1))) - 1 };
}

static element real(const uint8_t **at, unsigned bytes)
{
    element e = { .shape = SHAPE_REAL, .digits = bytes == 4 ? 9 : 17 };

    if (bytes == 4) {
        const uint32_t raw = (uint32_t)little_endian(*at, 4);
        float value;
        memcpy(&value, &raw, sizeof(value));
        e.real = (double)value;
    } else {
        const uint64_t raw = little_endian(*at, 8);
        memcpy(&e.real, &raw, sizeof(e.real));
    }
    *at += bytes;
    return e;
}

/* The element at *at, which moves to the next. */
static element take(const iviti_gguf_pair *pair, const uint8_t **at)
{
    element e = { .shape = SHAPE_STRING };

    switch (pair->type) {
    case IVITI_GGUF_U8:
        return natural(at, 1);
    case IVITI_GGUF_U16:
        return natural(at, 2);
    case IVITI_GGUF_U32:
        return natural(at, 4);
    case IVITI_GGUF_U64:
        return natural(at, 8);
    case IVITI_GGUF_I8:
        return whole(at, 1);
    case IVITI_GGUF_I16:
        return whole(at, 2);
    case IVITI_GGUF_I32:
        return whole(at, 4);
    case IVITI_GGUF_I64:
        return whole(at, 8);
    case IVITI_GGUF_F32:
        return real(at, 4);
    case IVITI_GGUF_F64:
        return real(at, 8);
    case IVITI_GGUF_BOOL:
        e = natural(at, 1);
        e.shape = SHAPE_TRUTH;
        return e;
    default:
        if (pair->array) {
            e.text = iviti_gguf_next_string(at, &e.bytes);
        } else {
            e.text = (const char *)*at;
            e.bytes = pair->bytes;
        }
        return e;
    }
}

/* ---- for people
 * -------------------------------------------------------------------------------------- */

static void print_element(FILE *file, const element *e)
{
    report clean;

    switch (e->shape) {
    case SHAPE_UNSIGNED:
        fprintf(file, "%llu", (unsigned long long)e->natural);
        break;
    case SHAPE_SIGNED:
        fprintf(file, "%lld", (long long)e->whole);
        break;
    case SHAPE_REAL:
        fprintf(file, "%.7g", e->real);
        break;
    case SHAPE_TRUTH:
        fputs(e->natural != 0 ? "true" : "false", file);
        break;
    case SHAPE_STRING:
        (void)report_fail(&clean, "%.*s", (int)(e->bytes < SHOWN_BYTES ? e->bytes : SHOWN_BYTES),
                          e->text);
        fprintf(file, "%s%s", clean.text, e->bytes > SHOWN_BYTES ? "..." : "");
        break;
    }
}

void metadata_print(FILE *file, const iviti_gguf_pair *pair)
{
    const uint8_t *at = pair->data;

    fprintf(file, "%.*s = %s", (int)pair->key_bytes, pair->key, pair->array ? "[" : "");
    for (uint64_t i = 0; i < pair->count && i < SHOWN_ELEMENTS; i++) {
        const element e = take(pair, &at);
        fputs(i > 0 ? ", " : "", file);
        print_element(file, &e);
    }
    if (pair->count > SHOWN_ELEMENTS) {
        fprintf(file, ", ... %llu in all", (unsigned long long)pair->count);
    }
    fputs(pair->array ? "]\n" : "\n", file);
}

/* ---- for JSON
 * ------------------------------------------------------------------------------------------ */

static void put_element(json_out *j, const char *key, const element *e)
{
    switch (e->shape) {
    case SHAPE_UNSIGNED:
        json_put_unsigned(j, key, e->natural);
        break;
    case SHAPE_SIGNED:
        json_put_whole(j, key, e->whole);
        break;
    case SHAPE_REAL:
        json_put_real(j, key, e->real, e->digits);
        break;
    case SHAPE_TRUTH:
        json_put_truth(j, key, e->natural != 0);
        break;
    case SHAPE_STRING:
        json_put_bytes(j, key, e->text, e->bytes);
        break;
    }
}

void metadata_put(json_out *j, const iviti_gguf_pair *pair)
{
    const size_t length = pair->key_bytes < LONGEST_KEY ? pair->key_bytes : LONGEST_KEY;
    char key[LONGEST_KEY + 1];
    const uint8_t *at = pair->data;

    memcpy(key, pair->key, length);
    key[length] = '\0';
    if (!pair->array) {
        const element e = take(pair, &at);
        put_element(j, key, &e);
        return;
    }
    json_put_array(j, key);
    for (uint64_t i = 0; i < pair->count; i++) {
        const element e = take(pair, &at);
        put_element(j, NULL, &e);
    }
    json_put_end(j);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON, written as it is said: keys in the order of the calls, one line, numbers always with a
 * point (the tools never leave the C locale). Text may be any bytes: a byte that is not part of
 * valid UTF-8 is written as U+FFFD, so a path of any bytes still gives a valid line.
 *
 *     json_out j = json_out_to(stdout);
 *     json_put_object(&j, NULL);
 *     json_put_text(&j, "image", path);
 *     json_put_array(&j, "top");
 *     json_put_whole(&j, NULL, 207);
 *     json_put_end(&j);
 *     json_put_end(&j);
 *     json_put_line(&j);
 *
 * Named apart from jansson's functions, which parse. `key` is NULL within an array and for the
 * outermost value.
 */
#ifndef JSON_OUT_H
#define JSON_OUT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define JSON_OUT_DEPTH 32

typedef struct json_out {
    FILE *file;
    bool comma; /* something precedes on this level */
    unsigned depth;
    char close[JSON_OUT_DEPTH]; /* what ends each open level */
} json_out;

json_out json_out_to(FILE *file);

void json_put_object(json_out *j, const char *key);
void json_put_array(json_out *j, const char *key);
void json_put_end(json_out *j);

void json_put_text(json_out *j, const char *key, const char *text);
void json_put_bytes(json_out *j, const char *key, const char *text, size_t length);
void json_put_whole(json_out *j, const char *key, int64_t value);
void json_put_unsigned(json_out *j, const char *key, uint64_t value);
void json_put_truth(json_out *j, const char *key, bool value);

/* `digits` significant ones, 1 to 17; what is not finite becomes null. */
void json_put_real(json_out *j, const char *key, double value, int digits);

/* One to `decimals` places after the point, no more zeros at the end than that; a whole number keeps
 * its ".0", so that a key always has the same type. */
void json_put_fixed(json_out *j, const char *key, double value, int decimals);

/* Ends the line and hands it over at once. False where it could not be written. */
bool json_put_line(json_out *j);

#endif

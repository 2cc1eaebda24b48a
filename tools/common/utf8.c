/* SPDX-License-Identifier: Apache-2.0
 *
 * UTF-8 as Unicode's table 3-7 has it: the range of the second byte depends on the first.
 */
#include "common/utf8.h"

size_t utf8_sequence(const uint8_t *text, size_t length)
{
    if (length == 0) {
        return 0;
    }
    const uint8_t first = text[0];
    if (first < 0x80) {
        return 1;
    }
    if (first < 0xC2 || first > 0xF4) {
        return 0;
    }
    const size_t need = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    if (length < need) {
        return 0;
    }
    const uint8_t low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    const uint8_t high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    if (text[1] < low || text[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < need; i++) {
        if ((text[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    return need;
}

size_t utf8_encode(uint32_t code, uint8_t out[4])
{
    if (code < 0x80) {
        out[0] = (uint8_t)code;
        return 1;
    }
    const size_t length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const uint8_t lead[5] = { 0, 0, 0xC0, 0xE0, 0xF0 };
    for (size_t i = length - 1; i > 0; i--) {
        out[i] = (uint8_t)(0x80 | (code & 0x3F));
        code >>= 6;
    }
    out[0] = (uint8_t)(lead[length] | code);
    return length;
}

bool utf8_valid(const uint8_t *text, size_t length)
{
    for (size_t i = 0; i < length;) {
        const size_t step = utf8_sequence(text + i, length - i);
        if (step == 0 || text[i] == 0) {
            return false;
        }
        i += step;
    }
    return true;
}

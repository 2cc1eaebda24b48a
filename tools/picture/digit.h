/* SPDX-License-Identifier: Apache-2.0
 *
 * Handwritten-looking digits, drawn: white strokes on black, of the height, width and place that
 * the MNIST collection gives its digits. Pictures for tests and examples that nobody else has a
 * right to.
 */
#ifndef DIGIT_H
#define DIGIT_H

#include <stdint.h>

#define DIGIT_MAX_SIDE 1024u

/* Draws `digit` (0 to 9) in one of many hands, by `seed`, into the square in the middle of pixels
 * (height, width, 3). Sides 1 to DIGIT_MAX_SIDE; the same bits on every machine. */
void digit_draw(unsigned digit, uint32_t seed, uint32_t width, uint32_t height, uint8_t *pixels);

#endif

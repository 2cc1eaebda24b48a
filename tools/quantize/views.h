/* SPDX-License-Identifier: Apache-2.0
 *
 * Calibration pictures looked at anew: mirrored, and cut to a part of themselves. Training that is told
 * what the float network makes of each needs no labels, and learns less by heart.
 */
#ifndef VIEWS_H
#define VIEWS_H

#include <stddef.h>
#include <stdint.h>

/* `views` of each picture: view v of picture i is number v * count + i of out (views * count, height, width,
 * 3). pixels (count, height, width, 3). The first view is the mirrored picture; the others are parts of
 * any place, size and, within limits, proportion, half of them mirrored. The same seed gives the same. */
void views_make(const uint8_t *pixels, size_t count, uint32_t width, uint32_t height, unsigned views,
                uint64_t seed, uint8_t *out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "quantize/adam.h"

#include <math.h>

#define MEAN_DECAY   0.9
#define SQUARE_DECAY 0.999
#define EPSILON      1e-8
#define PI           3.14159265358979323846

bool adam_init(arena *memory, size_t count, unsigned steps, adam *a)
{
    *a = (adam){ .count = count,
                 .mean = ARENA_TAKE(memory, float, count),
                 .square = ARENA_TAKE(memory, float, count),
                 .steps = steps };
    return !memory->failed;
}

double adam_cosine(const adam *a)
{
    return 0.5 * (1 + cos(PI * a->step / a->steps));
}

void adam_move(adam *a, size_t first, size_t count, double rate, const float *unit,
               const float *gradient, float *values)
{
    const double done = a->step + 1;
    const float factor = (float)(rate * adam_cosine(a) / (1 - pow(MEAN_DECAY, done)));
    const float root = (float)(1 / sqrt(1 - pow(SQUARE_DECAY, done)));
    const float keep = (float)MEAN_DECAY, keep_square = (float)SQUARE_DECAY;

    for (size_t i = first; i < first + count; i++) {
        a->mean[i] = keep * a->mean[i] + (1 - keep) * gradient[i];
        a->square[i] = keep_square * a->square[i] + (1 - keep_square) * gradient[i] * gradient[i];
        values[i] -= (unit ? unit[i - first] : 1) * factor * a->mean[i] /
                     (sqrtf(a->square[i]) * root + (float)EPSILON);
    }
}

void adam_next(adam *a)
{
    a->step++;
}

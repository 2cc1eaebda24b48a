/* SPDX-License-Identifier: Apache-2.0
 *
 * camera-loop MODEL [FRAMES [PER_SECOND]]: frames arrive at fixed times, a square of each is
 * classified where it lies (a stride, no copy), and the program keeps count of the time. The camera
 * is drawn here: an upright stroke that wanders through 640 x 480 pixels.
 *
 *     cc camera_loop.c $(pkg-config --cflags --libs iviti)
 */
#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "iviti/iviti.h"

enum { WIDTH = 640, HEIGHT = 480, SIDE = 280 }; /* the last: of the square that is looked at */

static uint8_t frame[HEIGHT][WIDTH][3];

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* The camera: returns the square's left edge. */
static int next_frame(int number)
{
    const int left = number * 7 % (WIDTH - SIDE);
    memset(frame, 0, sizeof(frame));
    for (int y = 140; y < 340; y++)
        memset(frame[y][left + 130], 255, 60);
    return left;
}

static void wait_until(double when)
{
    const double left = when - seconds();
    const struct timespec pause = { (time_t)left, (long)((left - (double)(time_t)left) * 1e9) };
    if (left > 0)
        nanosleep(&pause, NULL);
}

int main(int argc, char **argv)
{
    const int frames = argc > 2 ? atoi(argv[2]) : 60;
    const double period = 1.0 / (argc > 3 ? atof(argv[3]) : 30.0);
    double sum = 0, longest = 0;
    iviti_model *model = NULL;
    iviti_session *session = NULL;
    iviti_class best = { 0 };
    int late = 0;

    if (argc < 2 || frames < 1 || iviti_model_load(argv[1], NULL, &model) != IVITI_OK ||
        iviti_session_create(model, NULL, &session) != IVITI_OK)
        return fprintf(stderr, "usage: camera-loop MODEL [FRAMES [PER_SECOND]]\n"), 2;
    for (int i = 0; i < frames; i++) {
        const int left = next_frame(i);
        const iviti_image square = { frame[(HEIGHT - SIDE) / 2][left], SIDE, SIDE,
                                     sizeof(frame[0]) };
        const double begun = seconds();
        if (iviti_session_run(session, &square) != IVITI_OK ||
            iviti_session_top(session, 1, &best, NULL) != IVITI_OK)
            return 1;
        const double took = seconds() - begun;
        sum += took;
        longest = took > longest ? took : longest;
        late += took > period;
        wait_until(begun + period);
    }
    printf("%s: %d frames, %.2f ms each, %.2f ms the slowest, %d took longer than a frame lasts\n",
           iviti_model_label(model, best.index), frames, sum / frames * 1e3, longest * 1e3, late);
    iviti_session_free(session);
    iviti_model_free(model);
    return 0;
}

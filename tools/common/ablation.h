/* SPDX-License-Identifier: Apache-2.0
 *
 * What each non-linear operator costs: one float network quantised with several sets of operators, all else
 * being the same, and each of them measured on labelled pictures beside the float network.
 */
#ifndef ABLATION_H
#define ABLATION_H

#include <stdio.h>

#include "common/evaluation.h"
#include "quantize/calibration.h"
#include "quantize/quantize.h"

#define ABLATION_ROWS 24

typedef struct ablation_task {
    const network *source;
    const calibration *calibration;
    const labelled *pictures;
    iviti_isa isa;
    unsigned threads; /* of calibration; each worker takes a picture with one thread */
    bool quiet;
} ablation_task;

typedef struct ablation_row {
    const char *part; /* what the rows of a group have in common; the same pointer in all of them */
    const char *name; /* what differs from the group's base */
    operators kinds;
    bool simulated; /* floating point between the products: `kinds` does not hold, nor the time */
    evaluation result; /* ms_per_image: median, the network alone */
} ablation_row;

typedef struct ablation {
    size_t count;
    ablation_row row[ABLATION_ROWS];
    double reference_top1;
    uint64_t pictures;
    size_t calibration_pictures;
    char note[256]; /* why a row is missing, or nothing */
} ablation;

/* Each picture passes through all networks before the next, in changing order, so that their times may be
 * compared. */
bool ablation_run(const ablation_task *task, ablation *out, report *r);

void ablation_print(const ablation *a, FILE *file);
void ablation_print_json(const ablation *a, FILE *file);

#endif

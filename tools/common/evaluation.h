/* SPDX-License-Identifier: Apache-2.0
 *
 * A model on labelled pictures, beside its float checkpoint where one is given. Workers take
 * pictures in turn, each with a session of one thread; results are kept by picture and added up in
 * order, so that no figure but the time depends on the number of workers.
 */
#ifndef EVALUATION_H
#define EVALUATION_H

#include "common/labelled.h"
#include "common/report.h"
#include "iviti/iviti.h"
#include "network/network.h"

typedef struct evaluation_task {
    const iviti_model *model;
    const labelled *pictures;
    const network *reference; /* NULL: the integer model alone */
    iviti_isa isa;
    unsigned workers;
    bool quiet;
} evaluation_task;

typedef struct evaluation_picture {
    uint32_t rank; /* of the true class, 0: most likely; ties to the lower index */
    uint32_t reference_rank;
    uint32_t best;        /* the most likely class */
    uint32_t probability; /* its probability in units of 2^-16 */
    uint32_t reference_best;
    bool agrees;       /* the same most likely class */
    double cosine;     /* between the two vectors of logits */
    double difference; /* sum of squared differences of the logits */
    double energy;     /* sum of squared reference logits */
    float overlap[IVITI_MAX_BLOCKS]; /* share of the patches kept at each stage of pruning that the
                                        float network keeps as well */
    bool alone; /* there is the next: predictors, that keep as many patches in both networks */
    float overlap_alone[IVITI_MAX_BLOCKS]; /* the same, of those that the float network
                                              would keep of the patches that entered the stage */
    double seconds;    /* resize and network, without decoding */
} evaluation_picture;

typedef struct evaluation {
    uint64_t pictures;
    double top1; /* in percent, as the next four */
    double top5;
    double reference_top1;
    double reference_top5;
    double agreement;
    double cosine;       /* mean over the pictures */
    double relative_mse; /* mean squared difference / mean squared reference logit */
    double ms_per_image;
    uint32_t prune_stages; /* where both keep some of their tokens; else 0 */
    double overlap[IVITI_MAX_BLOCKS]; /* in percent, mean over the pictures */
    bool alone;                       /* there are the next, too */
    double overlap_alone[IVITI_MAX_BLOCKS];
    evaluation_picture *picture; /* (pictures), in the order of the task's */
} evaluation;

/* Fails, with a sentence, on the first picture that cannot be read: figures over what is left would
 * not be those that were asked for. */
bool evaluate(const evaluation_task *task, evaluation *out, report *r);
/* The figures over `count` results, which are not kept. */
void evaluation_add_up(const evaluation_picture *results, size_t count, evaluation *out);

void evaluation_free(evaluation *e); /* also one of zeros */

#endif

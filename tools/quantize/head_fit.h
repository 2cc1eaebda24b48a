/* SPDX-License-Identifier: Apache-2.0
 *
 * The classifier behind a reconstructed network: a linear map from the features that the quantised
 * blocks leave to those of the float network, which folds into its weights at no cost.
 */
#ifndef HEAD_FIT_H
#define HEAD_FIT_H

#include "network/network.h"

typedef struct head_fit {
    const float *exact; /* (rows, features) of the float network */
    const float *coded; /* (rows, features) of the quantised one */
    size_t rows, features, classes;
    bool (*held)(const void *user, size_t row); /* not trained on: decides how far the map is trusted */
    const void *user;
} head_fit;

/* A ridge regression about the means, drawn towards the identity, and a factor: features that carry noise
 * reach further than those they stand for. Ridge and factor are those of least error of the logits on
 * the rows held out. fitted: weight (classes, features) and bias (classes) to fill. False where memory
 * runs out. *gain: squared error of the logits on those rows beside that without the map; 1: no map. */
bool head_fit_solve(const head_fit *fit, const network_linear *head, const network_linear *fitted,
                    double *gain);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The float checkpoint that an integer model is measured against.
 */
#ifndef REFERENCE_H
#define REFERENCE_H

#include "common/report.h"
#include "iviti/iviti.h"
#include "network/dialect.h"

/* Reads a checkpoint, whose picture size and number of classes must be the model's. The caller's
 * until network_free(); NULL and a sentence on failure. */
network *reference_open(const char *path, const network_options *options,
                        const iviti_model_info *model, report *r);

#endif

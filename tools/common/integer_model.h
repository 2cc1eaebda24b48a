/* SPDX-License-Identifier: Apache-2.0
 *
 * An integer network as a model of the library, without a file.
 */
#ifndef INTEGER_MODEL_H
#define INTEGER_MODEL_H

#include "common/report.h"
#include "iviti/iviti.h"
#include "quantize/integer_network.h"

/* The bytes that its file would have, read by the library. The caller's until iviti_model_free(); NULL and
 * a sentence on failure. */
iviti_model *integer_model_load(const integer_network *n, report *r);

#endif

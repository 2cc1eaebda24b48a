/* SPDX-License-Identifier: Apache-2.0
 *
 * Checkpoints of I-ViT's quantisation-aware training: the scales are in the file, so nothing is
 * calibrated; the shift family, as that code defines it.
 */
#ifndef IVIT_H
#define IVIT_H

#include "checkpoint/checkpoint.h"
#include "quantize/quantize.h"

/* n: the float master weights of the same checkpoint (network_from_checkpoint). Outputs as those of
 * quantize_network(). */
bool ivit_import(const checkpoint *c, const network *n, integer_network **out,
                 quantize_table *table, report *r);

#endif

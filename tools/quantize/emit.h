/* SPDX-License-Identifier: Apache-2.0
 *
 * The tensors of the model file, taken from the integer network.
 */
#ifndef EMIT_H
#define EMIT_H

#include "model/schema.h"
#include "quantize/integer_network.h"

/* The elements that the specification asks for, in the file's layout. */
const void *integer_network_tensor(const integer_network *n, const iviti_tensor_spec *spec);

#endif

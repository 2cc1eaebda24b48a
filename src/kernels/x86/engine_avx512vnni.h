/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts of the AVX512-VNNI engine.
 */
#ifndef IVITI_ENGINE_AVX512VNNI_H
#define IVITI_ENGINE_AVX512VNNI_H

#include "kernels/engine.h"

iviti_join_row iviti_join_row_avx512vnni;
iviti_spread_tokens iviti_spread_keys_avx512vnni, iviti_spread_values_avx512vnni;
iviti_softmax iviti_softmax_table_avx512vnni, iviti_softmax_shift_avx512vnni;
iviti_finish_output iviti_finish_output_avx512vnni;

#endif

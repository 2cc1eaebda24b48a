/* SPDX-License-Identifier: Apache-2.0
 *
 * Chooses the kernels of a session: the reference first, then every faster one that runs here and
 * that the caller's cap allows, in the order of kernel_list.inc.
 */
#include "base/cpu.h"
#include "kernels/prototypes.h"
#include "kernels/ref/ref.h"

void iviti_kernels_select(iviti_kernels *kernels, iviti_isa isa)
{
    const iviti_isa_set set = iviti_cpu_detect();
    const iviti_isa best = iviti_isa_best(set, isa);

    *kernels = (iviti_kernels){
        .isa = best,
        .dense_s8 = iviti_dense_s8_ref,
        .dense_table = iviti_dense_table_ref,
        .dense_s16 = iviti_dense_s16_ref,
        .dense_s32 = iviti_dense_s32_ref,
        .dense_join = iviti_dense_join_ref,
        .dense_keys = iviti_dense_keys_ref,
        .dense_values = iviti_dense_values_ref,
        .attention = iviti_attention_ref,
        .norm_s8 = iviti_norm_s8_ref,
        .norm_s16 = iviti_norm_s16_ref,
        .shift_gelu = iviti_shift_gelu_ref,
        .clip_s8 = iviti_clip_s8_ref,
        .resample_row = iviti_resample_row_ref,
        .resample_add = iviti_resample_add_ref,
        .crc32c = iviti_crc32c_ref,
    };

#define IVITI_KERNEL(op, level, function)                                                          \
    if (IVITI_ISA_##level <= best && iviti_isa_in(IVITI_ISA_##level, set))                         \
        kernels->op = function;
#include "kernels/kernel_list.inc"
#undef IVITI_KERNEL
}

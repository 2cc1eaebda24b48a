/* SPDX-License-Identifier: Apache-2.0
 *
 * The model file, byte by byte.
 */
    .section .rodata.model, "a"
    .global model_begin, model_end
    .balign 4
model_begin:
    .incbin MODEL_FILE
model_end:
    .balign 4

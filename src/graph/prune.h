/* SPDX-License-Identifier: Apache-2.0
 *
 * Fewer tokens on the way through a ViT. What is left keeps its order: prefix tokens, then patches as
 * they lie in the picture, then the fused one. All pictures of a batch keep the same number.
 *
 * The threads rate the tokens together. Then each of them chooses by itself, for the pictures that it
 * will own rows of, and copies these rows to the other of two streams: no thread waits for another's
 * choice, and all come to the same.
 */
#ifndef IVITI_PRUNE_H
#define IVITI_PRUNE_H

#include "graph/session.h"

/* Before block `block`: DynamicViT's predictors. Changes `t` to the tokens that are left, and returns
 * this thread's share of them; nothing changes where no stage of pruning belongs to the block. */
iviti_rows iviti_prune_before(iviti_session *s, uint32_t block, iviti_tokens *t, iviti_rows rows,
                              unsigned thread);

/* Between attention and MLP of block `block`: EViT and token merging, likewise. Notes the class token's
 * attention where the session records it. */
iviti_rows iviti_prune_within(iviti_session *s, uint32_t block, iviti_tokens *t, iviti_rows rows,
                              unsigned thread);

/* Notes the class token's attention in the last block, when that is done. */
void iviti_record_last(iviti_session *s, const iviti_tokens *t, unsigned thread);

/* ---- the parts of it ------------------------------------------------------------------------ */

/* buffers.rating of this thread's rows by the predictor of a stage. All threads meet in it. */
void iviti_predict(iviti_session *s, uint32_t stage, const iviti_tokens *t, iviti_rows rows,
                   unsigned thread);

/* buffers.rating and alike.partner of the tokens of A among this thread's rows, whose mean keys are
 * made from what entered attention. All threads meet in it. */
void iviti_match(iviti_session *s, uint32_t stage, const iviti_tokens *t, iviti_rows rows,
                 unsigned thread);

/* Whether a token of a picture is one of A, which may be merged away; its number in A or B. */
static inline bool iviti_in_a(size_t token)
{
    return token % 2 == 0;
}

/* What each thread needs besides for its choices. */
size_t iviti_choice_bytes(const iviti_geometry *g);

/* log2 of `value` in units of 2^-16, value in [1, 4096] (NUMERICS.md, Fewer tokens). */
uint32_t iviti_log2(uint32_t value);

#endif

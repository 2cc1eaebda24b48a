/* SPDX-License-Identifier: Apache-2.0
 *
 * Other engines, doing nothing but the matrix products of a model, to be measured beside it: no
 * normalisation, softmax, activation function or residual, on made-up numbers.
 */
#ifndef PEERS_H
#define PEERS_H

#include "bench/products.h"
#include "common/report.h"

#define PEERS_MAX 2

typedef struct peers peers;

/* Prepares all peers of this build for one model: weights of their own for every layer, in the
 * layout that the peer prefers; that many threads; no instruction set beyond `isa`. NULL and a
 * sentence where there are none or one cannot be had. Loads the peer's library, so the process's
 * memory is measured before. Once per process: instruction sets are fixed when a library loads. */
peers *peers_open(const product_list *products, unsigned threads, iviti_isa isa, report *r);
void peers_close(peers *all);

size_t peers_count(const peers *all);
const char *peer_name(const peers *all, size_t index);

/* "oneDNN 2.6.3, avx512_core_vnni": what ran, as the peer itself tells. */
const char *peers_describe(const peers *all);

/* All products once, in order. */
bool peer_run(peers *all, size_t index);

#endif

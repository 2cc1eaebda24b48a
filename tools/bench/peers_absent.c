/* SPDX-License-Identifier: Apache-2.0
 *
 * For builds that found no oneDNN.
 */
#include "bench/peers.h"

peers *peers_open(const product_list *products, unsigned threads, iviti_isa isa, report *r)
{
    (void)products;
    (void)threads;
    (void)isa;
    (void)report_fail(r, "this build has no oneDNN to compare with");
    return NULL;
}

void peers_close(peers *all)
{
    (void)all;
}

size_t peers_count(const peers *all)
{
    (void)all;
    return 0;
}

const char *peer_name(const peers *all, size_t index)
{
    (void)all;
    (void)index;
    return "";
}

const char *peers_describe(const peers *all)
{
    (void)all;
    return "";
}

bool peer_run(peers *all, size_t index)
{
    (void)all;
    (void)index;
    return false;
}

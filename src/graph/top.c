/* SPDX-License-Identifier: Apache-2.0
 *
 * From logits to the most likely classes, with softmax probabilities in integers (NUMERICS.md, Top-k).
 */
#include "graph/session.h"
#include "kernels/requantize.h"

/* log2(e) as a dyadic factor: 1.4426950408889634 = multiplier / 2^30. */
#define LOG2E_MULTIPLIER 1549082005

/* 2^-(i/32) * 2^31, rounded, i = 0..32. */
static const uint32_t exp2_table[33] = {
    2147483648u, 2101467502u, 2056437387u, 2012372174u, 1969251188u, 1927054196u, 1885761398u,
    1845353420u, 1805811301u, 1767116489u, 1729250827u, 1692196547u, 1655936265u, 1620452965u,
    1585730000u, 1551751076u, 1518500250u, 1485961921u, 1454120821u, 1422962010u, 1392470869u,
    1362633090u, 1333434672u, 1304861917u, 1276901417u, 1249540052u, 1222764986u, 1196563654u,
    1170923762u, 1145833280u, 1121280436u, 1097253708u, 1073741824u,
};

/* e^-d in units of 2^-31, d >= 0 in units of 2^-16. The power of two is split into whole, 32nds and
 * a straight line between: at most 6e-5 off, relative. */
static uint32_t exp_negative(uint64_t d)
{
    if (d > (uint64_t)40 << 16) /* below a unit, and the product below fits */
        return 0;
    const uint64_t power = (d * LOG2E_MULTIPLIER) >> 30; /* units of 2^-16 */
    const uint64_t halvings = power >> 16;
    const uint32_t fraction = (uint32_t)(power & 0xffff);
    const uint32_t low = exp2_table[fraction >> 11];
    const uint32_t high = exp2_table[(fraction >> 11) + 1];
    const uint32_t value = low - (uint32_t)(((uint64_t)(low - high) * (fraction & 0x7ff)) >> 11);
    return halvings < 32 ? value >> halvings : 0;
}

/* max - logit in units of 2^-16. */
static uint64_t distance(const iviti_geometry *g, int32_t max, int32_t logit)
{
    const uint64_t d = (uint64_t)((int64_t)max - logit); /* below 2^32 */
    const uint64_t product = d * g->logits_multiplier;   /* below 2^63 */
    if (g->logits_shift < 16) /* a step of one is 2^14 or more in natural units */
        return product ? UINT64_MAX : 0;
    return product >> (g->logits_shift - 16);
}

/* Inserts class i into the best ones so far, which are sorted; ties stay in order of index. */
static void insert(iviti_class *top, size_t held, size_t room, uint32_t index, int32_t logit)
{
    size_t at = held;
    while (at > 0 && top[at - 1].logit < logit)
        at--;
    for (size_t i = held < room ? held : room - 1; i > at; i--)
        top[i] = top[i - 1];
    if (at < room)
        top[at] = (iviti_class){ index, logit, 0 };
}

iviti_status iviti_session_top(const iviti_session *session, size_t count, iviti_class *top,
                               size_t *written)
{
    return iviti_session_top_of(session, 0, count, top, written);
}

iviti_status iviti_session_top_of(const iviti_session *session, size_t picture, size_t count,
                                  iviti_class *top, size_t *written)
{
    if (!session || (count && !top))
        return IVITI_ERROR_ARGUMENT;
    if (!session->pictures)
        return IVITI_ERROR_STATE;
    if (picture >= session->pictures)
        return IVITI_ERROR_ARGUMENT;

    const iviti_geometry *g = &session->model->geometry;
    const int32_t *logits = session->buffers.logits + picture * g->classes;
    const size_t room = count < g->classes ? count : g->classes;
    size_t held = 0;
    for (uint32_t i = 0; i < g->classes && room; i++) {
        insert(top, held, room, i, logits[i]);
        held += held < room;
    }

    uint64_t sum = 0; /* at most 2^16 classes of 2^31 */
    for (uint32_t i = 0; i < g->classes && room; i++)
        sum += exp_negative(distance(g, top[0].logit, logits[i]));
    for (size_t i = 0; i < room; i++) {
        const uint64_t e = exp_negative(distance(g, top[0].logit, top[i].logit));
        top[i].probability = (uint32_t)(((e << 16) + sum / 2) / sum);
    }
    if (written)
        *written = room;
    return IVITI_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "quantize/agreement.h"

#include <math.h>
#include <stdlib.h>

#include "common/model_open.h"
#include "network/forward.h"

/* Sums over pictures of what the three figures are made of. */
typedef struct sums {
    size_t same;
    double cosine, difference, reference;
} sums;

static void add_picture(sums *s, const float *exact, const int32_t *integer, double scale,
                        size_t classes)
{
    size_t best_exact = 0, best_integer = 0;
    double product = 0, power_exact = 0, power_integer = 0;

    for (size_t i = 0; i < classes; i++) {
        const double a = exact[i], b = integer[i] * scale;
        best_exact = exact[i] > exact[best_exact] ? i : best_exact;
        best_integer = integer[i] > integer[best_integer] ? i : best_integer;
        product += a * b;
        power_exact += a * a;
        power_integer += b * b;
        s->difference += (a - b) * (a - b);
    }
    s->same += best_exact == best_integer;
    s->reference += power_exact;
    if (power_exact > 0 && power_integer > 0)
        s->cosine += product / sqrt(power_exact * power_integer);
}

bool agreement_measure(const network *n, const iviti_model *model, const uint8_t *pixels,
                       size_t count, unsigned threads, agreement *out, report *r)
{
    const iviti_geometry *g = &n->geometry;
    const size_t bytes = (size_t)g->image_width * g->image_height * 3;
    float *logits = malloc(count * g->classes * sizeof *logits);
    iviti_session *session = NULL;
    iviti_model_info info;
    sums s = { 0 };

    bool done = logits || report_fail(r, "comparison: out of memory");
    done = done && network_forward(n, pixels, count, threads, logits, r);
    done = done && (session = session_open(model, threads, IVITI_ISA_BEST, r));
    iviti_model_describe(model, &info);
    const double scale = ldexp(info.logits_multiplier, -(int)info.logits_shift);
    for (size_t i = 0; i < count && done; i++) {
        const iviti_image image = { pixels + i * bytes, g->image_width, g->image_height,
                                    (ptrdiff_t)g->image_width * 3 };
        done = iviti_session_run_pixels(session, &image) == IVITI_OK ||
               report_fail(r, "comparison: the integer model does not run");
        if (done)
            add_picture(&s, logits + i * g->classes, iviti_session_logits(session), scale,
                        g->classes);
    }
    iviti_session_free(session);
    free(logits);
    if (!done)
        return false;
    out->same_top1 = 100.0 * (double)s.same / (double)count;
    out->cosine = s.cosine / (double)count;
    out->relative_mse = s.reference > 0 ? s.difference / s.reference : 0;
    return true;
}

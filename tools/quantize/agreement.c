/* SPDX-License-Identifier: Apache-2.0 */
#include "quantize/agreement.h"

#include <math.h>
#include <stdlib.h>

#include "common/model_open.h"
#include "network/forward.h"
#include "quantize/float_nonlinear.h"

/* Sums over pictures of what the three figures are made of. */
typedef struct sums {
    size_t same;
    double cosine, difference, reference;
} sums;

static void add_picture(sums *s, const float *exact, const double *other, size_t classes)
{
    size_t best_exact = 0, best_other = 0;
    double product = 0, power_exact = 0, power_other = 0;

    for (size_t i = 0; i < classes; i++) {
        const double a = exact[i], b = other[i];
        best_exact = exact[i] > exact[best_exact] ? i : best_exact;
        best_other = other[i] > other[best_other] ? i : best_other;
        product += a * b;
        power_exact += a * a;
        power_other += b * b;
        s->difference += (a - b) * (a - b);
    }
    s->same += best_exact == best_other;
    s->reference += power_exact;
    if (power_exact > 0 && power_other > 0)
        s->cosine += product / sqrt(power_exact * power_other);
}

static agreement figures_of(const sums *s, size_t count)
{
    return (agreement){
        .same_top1 = 100.0 * (double)s->same / (double)count,
        .cosine = s->cosine / (double)count,
        .relative_mse = s->reference > 0 ? s->difference / s->reference : 0,
    };
}

bool agreement_measure(const network *n, const iviti_model *model, const uint8_t *pixels,
                       size_t count, unsigned threads, agreement *out, report *r)
{
    const iviti_geometry *g = &n->geometry;
    const size_t bytes = (size_t)g->image_width * g->image_height * 3;
    float *logits = malloc(count * g->classes * sizeof *logits);
    double *real = malloc(g->classes * sizeof *real);
    iviti_session *session = NULL;
    iviti_model_info info;
    sums s = { 0 };

    bool done = (logits && real) || report_fail(r, "comparison: out of memory");
    done = done && network_forward(n, pixels, count, threads, logits, r);
    done = done && (session = session_open(model, threads, IVITI_ISA_BEST, r));
    iviti_model_describe(model, &info);
    const double scale = ldexp(info.logits_multiplier, -(int)info.logits_shift);
    for (size_t i = 0; i < count && done; i++) {
        const iviti_image image = { pixels + i * bytes, g->image_width, g->image_height,
                                    (ptrdiff_t)g->image_width * 3 };
        done = iviti_session_run_pixels(session, &image) == IVITI_OK ||
               report_fail(r, "comparison: the integer model does not run");
        for (size_t k = 0; k < g->classes && done; k++)
            real[k] = iviti_session_logits(session)[k] * scale;
        if (done)
            add_picture(&s, logits + i * g->classes, real, g->classes);
    }
    iviti_session_free(session);
    free(logits);
    free(real);
    if (done)
        *out = figures_of(&s, count);
    return done;
}

bool agreement_simulate(const network *n, const integer_network *model, const uint8_t *pixels,
                        size_t count, unsigned threads, agreement *out, report *r)
{
    const size_t classes = n->geometry.classes;
    float *exact = malloc(count * classes * sizeof *exact);
    float *other = malloc(count * classes * sizeof *other);
    double *real = malloc(classes * sizeof *real);
    float_nonlinear *simulation = NULL;
    sums s = { 0 };

    bool done = (exact && other && real) || report_fail(r, "comparison: out of memory");
    done = done && float_nonlinear_open(model, &simulation, r) &&
           network_forward(n, pixels, count, threads, exact, r) &&
           float_nonlinear_run(simulation, pixels, count, threads, other, r);
    for (size_t i = 0; i < count && done; i++) {
        for (size_t k = 0; k < classes; k++)
            real[k] = other[i * classes + k];
        add_picture(&s, exact + i * classes, real, classes);
    }
    float_nonlinear_free(simulation);
    free(exact);
    free(other);
    free(real);
    if (done)
        *out = figures_of(&s, count);
    return done;
}

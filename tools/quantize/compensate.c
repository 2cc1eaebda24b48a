/* SPDX-License-Identifier: Apache-2.0 */
#include "quantize/compensate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cblas.h>

#define DAMPING    0.01  /* of the mean variance */
#define MOST_ROWS  32768 /* spread over what was seen; more tell no more */
#define CHUNK_ROWS 1024  /* summed in float, then in double */
#define BLOCK      64
#define MOST_SWEEPS 16

static bool cholesky_small(double *a, size_t n, size_t stride)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++) {
            double sum = a[i * stride + j];
            for (size_t k = 0; k < j; k++)
                sum -= a[i * stride + k] * a[j * stride + k];
            if (i == j && !(sum > 0 && isfinite(sum)))
                return false;
            a[i * stride + j] = i == j ? sqrt(sum) : sum / a[j * stride + j];
        }
    return true;
}

bool cholesky(double *a, size_t n)
{
    for (size_t k = 0; k < n; k += BLOCK) {
        const size_t size = n - k < BLOCK ? n - k : BLOCK;
        const size_t below = n - k - size;
        double *const corner = a + k * n + k;
        double *const panel = a + (k + size) * n + k;
        if (!cholesky_small(corner, size, n))
            return false;
        if (below == 0)
            break;
        cblas_dtrsm(CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit, (int)below,
                    (int)size, 1, corner, (int)n, panel, (int)n);
        cblas_dsyrk(CblasRowMajor, CblasLower, CblasNoTrans, (int)below, (int)size, -1, panel, (int)n,
                    1, panel + size, (int)n);
    }
    return true;
}

/* Adds the products of all pairs of columns: sum += a^T b, both (rows, width). */
static void add_products(const float *a, const float *b, size_t rows, size_t width, float *chunk,
                         double *sum)
{
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)width, (int)width, (int)rows, 1, a,
                (int)width, b, (int)width, 0, chunk, (int)width);
    for (size_t i = 0; i < width * width; i++)
        sum[i] += chunk[i];
}

/* The means of cov(q) and cov(d, q) over the rows. */
static bool covariances(const code *in, const float *x, size_t rows, const row_weights *w,
                        double *codes, double *rest)
{
    double total = 0;
    const size_t width = in->width;
    const size_t used = rows < MOST_ROWS ? rows : MOST_ROWS;
    float *q = malloc(CHUNK_ROWS * width * sizeof *q);
    float *d = malloc(CHUNK_ROWS * width * sizeof *d);
    float *chunk = malloc(width * width * sizeof *chunk);
    const bool good = q && d && chunk;

    for (size_t first = 0; first < used && good; first += CHUNK_ROWS) {
        const size_t count = used - first < CHUNK_ROWS ? used - first : CHUNK_ROWS;
        for (size_t i = 0; i < count; i++)
            memcpy(d + i * width, x + (first + i) * rows / used * width, width * sizeof *d);
        code_integers(in, d, count, q);
        for (size_t i = 0; i < count; i++) {
            const double weight = row_weight(w, (first + i) * rows / used), root = sqrt(weight);
            total += weight;
            for (size_t k = 0; k < width; k++) {
                const double centred = q[i * width + k] - in->mean_code[k];
                const double exact = d[i * width + k] - in->mean[k];
                q[i * width + k] = (float)(root * centred);
                d[i * width + k] = (float)(root * (exact - in->scale[k] * centred));
            }
        }
        add_products(q, q, count, width, chunk, codes);
        add_products(d, q, count, width, chunk, rest);
    }
    for (size_t i = 0; i < width * width && good; i++) {
        codes[i] /= total;
        rest[i] /= total;
    }
    free(q);
    free(d);
    free(chunk);
    return good;
}

typedef struct variance {
    size_t input;
    double value;
} variance;

static int by_variance(const void *a, const void *b)
{
    const variance *x = a, *y = b;
    if (x->value != y->value)
        return x->value < y->value ? -1 : 1;
    return x->input < y->input ? -1 : x->input > y->input;
}

/* Inputs that move most are rounded first, while all others can still answer. */
static bool choose_order(const double *h, size_t width, size_t *order)
{
    variance *v = malloc(width * sizeof *v);
    for (size_t k = 0; k < width && v; k++)
        v[k] = (variance){ k, h[k * width + k] };
    if (v)
        qsort(v, width, sizeof *v, by_variance);
    for (size_t k = 0; k < width && v; k++)
        order[k] = v[k].input;
    free(v);
    return v != NULL;
}

bool compensation_prepare(arena *memory, const code *in, const float *x, size_t rows,
                          const row_weights *w, compensation *c)
{
    const size_t width = in->width;
    *c = (compensation){ width, ARENA_TAKE(memory, size_t, width),
                         ARENA_TAKE(memory, double, width * width),
                         ARENA_TAKE(memory, double, width * width),
                         ARENA_TAKE(memory, double, width * width) };
    double *codes = memory->failed ? NULL : calloc(width * width, sizeof *codes);
    double *rest = memory->failed ? NULL : calloc(width * width, sizeof *rest);
    const bool good = codes && rest && covariances(in, x, rows, w, codes, rest) &&
                      choose_order(codes, width, c->order);

    double mean = 0;
    for (size_t k = 0; k < width && good; k++)
        mean += codes[k * width + k] / (double)width;
    const double damping = mean > 0 ? DAMPING * mean : 1; /* inputs that never move */
    for (size_t i = 0; i < width && good; i++) {
        for (size_t j = 0; j < width; j++) {
            c->factor[i * width + j] = codes[c->order[i] * width + c->order[j]];
            c->correction[i * width + j] = rest[i * width + c->order[j]];
        }
        c->factor[i * width + i] += damping;
        memcpy(c->square + i * width, c->factor + i * width, width * sizeof *c->square);
    }
    free(codes);
    free(rest);
    return good && cholesky(c->factor, width);
}

bool compensation_target(const compensation *c, const code *in, const float *weight, size_t outputs,
                         double *target)
{
    const size_t width = c->width;
    const int n = (int)width, rows = (int)outputs;
    double *exact = malloc(outputs * width * sizeof *exact);
    if (!exact)
        return false;
    for (size_t i = 0; i < outputs * width; i++)
        exact[i] = weight[i];
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, n, n, 1, exact, n, c->correction, n, 0,
                target, n);
    cblas_dtrsm(CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit, rows, n, 1, c->factor,
                n, target, n);
    cblas_dtrsm(CblasRowMajor, CblasRight, CblasLower, CblasNoTrans, CblasNonUnit, rows, n, 1, c->factor,
                n, target, n);
    for (size_t o = 0; o < outputs; o++)
        for (size_t k = 0; k < width; k++)
            target[o * width + k] +=
                exact[o * width + c->order[k]] * in->scale[c->order[k]];
    free(exact);
    return true;
}

double weight_nearest(const weight_grid *grid, double x)
{
    if (!grid->entry) {
        const double q = nearbyint(x);
        return q > grid->limit ? grid->limit : q < -grid->limit ? -grid->limit : q;
    }
    int at = 0;
    while (at + 1 < IVITI_CODEBOOK && 2 * x > grid->entry[at] + grid->entry[at + 1])
        at++;
    return grid->entry[at];
}

double compensation_round(const compensation *c, const double *target, double scale,
                          const weight_grid *grid, double *error, int8_t *integers)
{
    const size_t width = c->width;
    double total = 0;

    /* error[j], for columns still to come: what the columns done so far add to theirs, times L_jj. */
    memset(error, 0, width * sizeof *error);
    for (size_t j = width; j-- > 0;) {
        const double *const row = c->factor + j * width;
        const double wanted = target[j] + error[j] / row[j];
        const double q = weight_nearest(grid, wanted / scale);
        const double missed = (wanted - q * scale) * row[j];
        const double own = target[j] - q * scale;
        integers[j] = (int8_t)q;
        total += missed * missed;
        for (size_t i = 0; i < j; i++)
            error[i] += own * row[i];
    }
    return total;
}

void compensation_refine(const compensation *c, const double *target, double scale,
                         const weight_grid *grid, double *gradient, int8_t *integers)
{
    const size_t width = c->width;
    memset(gradient, 0, width * sizeof *gradient);
    for (size_t k = 0; k < width; k++)
        cblas_daxpy((int)width, target[k] - integers[k] * scale, c->square + k * width, 1, gradient, 1);
    bool changed = true;
    for (int sweep = 0; sweep < MOST_SWEEPS && changed; sweep++) {
        changed = false;
        for (size_t k = 0; k < width; k++) {
            const double *const row = c->square + k * width;
            const double q = weight_nearest(grid, integers[k] + gradient[k] / (scale * row[k]));
            const double step = q - integers[k];
            if (!(fabs(step) > 0))
                continue;
            changed = true;
            integers[k] = (int8_t)q;
            cblas_daxpy((int)width, -step * scale, row, 1, gradient, 1);
        }
    }
}

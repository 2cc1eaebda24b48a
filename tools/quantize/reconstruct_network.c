/* SPDX-License-Identifier: Apache-2.0
 *
 * Reconstruction's place in the walk through the network: a block's codes, its training, and the
 * integers that come of it.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "quantize/dyadic.h"
#include "quantize/quantizer.h"
#include "quantize/reconstruct.h"

#define SEED         UINT64_C(0x1B1F5EED)
#define UNBOUNDED    1e30f
#define SULQ_PART    64   /* probabilities at a time */
#define BIAS_MARGIN  4    /* training moves biases */
#define SCALE_MARGIN 2.01 /* of a branch: its factors must stay below one half */

/* What SULQ makes of probabilities from each threshold on. */
typedef struct sulq_steps {
    float threshold[IVITI_SULQ_THRESHOLDS];
    float step[IVITI_SULQ_THRESHOLDS]; /* to the value from there on */
    float least;                       /* below the first */
} sulq_steps;

/* A block on its way through reconstruction. */
typedef struct passage {
    quantizer *q;
    uint32_t block, stage;
    const network_block *from;
    size_t dim, hidden, tokens, rows;
    network_capture seen;
    code norm1, qkv, attention, norm2;
    mlp_codes mlp;
    block_shape shape;
    sulq_steps sulq;
    step_code codes[BLOCK_PLACES];
    reconstruction job;
    block_layout layout;
    double fold_mean[BLOCK_LAYERS]; /* mean scale of a layer's inputs */
} passage;

/* ---- what training needs ---------------------------------------------------------------------- */

static step_code to_step_code(quantizer *q, const code *c)
{
    float *scale = ARENA_TAKE(&q->scratch, float, c->width);
    float *offset = ARENA_TAKE(&q->scratch, float, c->width);
    for (size_t i = 0; i < c->width && scale && offset; i++) {
        scale[i] = (float)c->scale[i];
        offset[i] = (float)c->offset[i];
    }
    return (step_code){ scale, offset, (float)code_low(c->bits), (float)code_high(c->bits), false };
}

/* Which side of the border, where a shifted grid was wrapped around, a row or column lies on. */
static uint8_t side_of(uint32_t at, uint32_t grid, uint32_t window, uint32_t shift)
{
    return (uint8_t)(shift == 0 || at < grid - window ? 0 : at < grid - shift ? 1 : 2);
}

/* Swin: the stage's tokens window by window, of a grid rolled by the shift. */
static void fill_windows(const iviti_stage *s, uint32_t shift, uint32_t *map, uint8_t *region)
{
    const uint32_t w = s->window;
    size_t i = 0;
    for (uint32_t top = 0; top < s->grid_height; top += w)
        for (uint32_t left = 0; left < s->grid_width; left += w)
            for (uint32_t t = 0; t < w * w; t++, i++) {
                const uint32_t y = top + t / w, x = left + t % w;
                map[i] = (y + shift) % s->grid_height * s->grid_width + (x + shift) % s->grid_width;
                region[i] = (uint8_t)(3 * side_of(y, s->grid_height, w, shift) +
                                      side_of(x, s->grid_width, w, shift));
            }
}

/* A row of probabilities as SULQ has it: each is a power of two less eta. */
static void code_by_sulq(const void *user, float *row, size_t count)
{
    const sulq_steps *s = user;
    float p[SULQ_PART];
    for (size_t first = 0; first < count; first += SULQ_PART) {
        const size_t length = count - first < SULQ_PART ? count - first : SULQ_PART;
        float *const part = row + first;
        for (size_t i = 0; i < length; i++) {
            p[i] = part[i];
            part[i] = s->least;
        }
        for (int k = 0; k < IVITI_SULQ_THRESHOLDS; k++) {
            const float threshold = s->threshold[k], step = s->step[k];
            for (size_t i = 0; i < length; i++)
                part[i] += p[i] >= threshold ? step : 0;
        }
    }
}

static void set_sulq(passage *p)
{
    const integer_block *b = &p->q->out->blocks[p->block];
    const double unit = b->reals.probability;
    p->sulq.least = (float)(unit * (ldexp(1, b->sulq_eta[0]) - b->sulq_eta[1]));
    for (int k = 0; k < IVITI_SULQ_THRESHOLDS; k++) {
        p->sulq.step[k] = (float)(unit * ldexp(1, k + b->sulq_eta[0])); /* 2^(k + 1) - 2^k */
        p->sulq.threshold[k] = (float)ldexp(b->sulq_thresholds[k], -24);
    }
    p->shape.probabilities = code_by_sulq;
    p->shape.probabilities_user = &p->sulq;
}

static bool set_shape(passage *p)
{
    quantizer *q = p->q;
    const iviti_stage *s = &q->source->geometry.stage[p->stage];
    const uint32_t w = s->window;
    uint32_t first = 0;

    p->shape = (block_shape){ .tokens = p->tokens, .dim = p->dim, .heads = s->heads,
                              .hidden = p->hidden, .epsilon = q->source->epsilon,
                              .window = p->tokens };
    p->layout = block_layout_of(&p->shape);
    if (q->out->geometry.softmax_kind == IVITI_SOFTMAX_SULQ)
        set_sulq(p);
    if (!w)
        return true;
    for (uint32_t i = 0; i < p->stage; i++)
        first += q->source->geometry.stage[i].depth;
    const bool shifted = (p->block - first) % 2 == 1 && w < s->grid_width && w < s->grid_height;
    const size_t window = (size_t)w * w;
    uint32_t *map = ARENA_TAKE(&q->scratch, uint32_t, p->tokens);
    uint8_t *region = ARENA_TAKE(&q->scratch, uint8_t, p->tokens);
    float *bias = ARENA_TAKE(&q->scratch, float, s->heads *window *window);
    if (q->scratch.failed)
        return false;
    fill_windows(s, shifted ? w / 2 : 0, map, region);
    for (size_t head = 0; head < s->heads; head++)
        for (size_t a = 0; a < window; a++)
            for (size_t b = 0; b < window; b++) {
                const size_t dy = a / w + w - 1 - b / w, dx = a % w + w - 1 - b % w;
                bias[(head * window + a) * window + b] =
                    p->from->position_bias[(dy * (2 * w - 1) + dx) * s->heads + head];
            }
    p->shape.window = window;
    p->shape.map = map;
    p->shape.region = region;
    p->shape.bias = bias;
    return true;
}

/* The codes of all activations, from what the float block computes. */
static bool choose_codes(passage *p)
{
    quantizer *q = p->q;

    if (!quantizer_code_norm(q, &p->from->norm1, p->seen.norm1, p->rows, &p->from->qkv, 3 * p->dim,
                             p->dim, quantizer_bits(q, p->block, IVITI_ACTIVATION_QKV),
                             quantizer_weight_bits(q, p->block, LAYER_QKV), &p->norm1) ||
        !quantizer_code_norm(q, &p->from->norm2, p->seen.norm2, p->rows, &p->from->fc1, p->hidden,
                             p->dim, quantizer_bits(q, p->block, IVITI_ACTIVATION_FC1),
                             quantizer_weight_bits(q, p->block, LAYER_FC1), &p->norm2) ||
        !quantize_attention(q, p->block, &p->seen, p->rows, &p->qkv, &p->attention) ||
        !quantize_mlp_codes(q, p->block, &p->seen, p->rows, &p->mlp))
        return false;
    code_observe_weighted(&p->attention, p->seen.attention, p->rows, &q->weights);
    code_observe_weighted(&p->mlp.out, p->mlp.gelu, p->rows, &q->weights);
    p->codes[PLACE_NORM1] = to_step_code(q, &p->norm1);
    p->codes[PLACE_QKV] = to_step_code(q, &p->qkv);
    p->codes[PLACE_ATTENTION] = to_step_code(q, &p->attention);
    p->codes[PLACE_NORM2] = to_step_code(q, &p->norm2);
    p->codes[PLACE_FC1] = to_step_code(q, &p->mlp.in);
    p->codes[PLACE_GELU] = to_step_code(q, &p->mlp.out);
    return !q->scratch.failed || report_fail(q->r, "block %u: out of memory", p->block);
}

/* What the weights of a layer may become. in: the code of its inputs; out: that of its outputs, NULL
 * for a branch, whose scale follows. */
static bool set_grid(passage *p, int index, const network_linear *layer, size_t outputs, const code *in,
                     const code *out)
{
    arena *memory = &p->q->scratch;
    float *fold = ARENA_TAKE(memory, float, in->width);
    float *centre = ARENA_TAKE(memory, float, in->width);
    float *smallest = ARENA_TAKE(memory, float, outputs);
    float *coarsest = ARENA_TAKE(memory, float, outputs);
    float *scale = ARENA_TAKE(memory, float, outputs);
    if (memory->failed)
        return false;
    double mean = 0;
    for (size_t k = 0; k < in->width; k++)
        mean += in->scale[k] / (double)in->width;
    for (size_t k = 0; k < in->width; k++) {
        fold[k] = (float)(in->scale[k] / mean);
        centre[k] = (float)(in->offset[k] + in->scale[k] * in->mean_code[k]);
    }
    for (size_t o = 0; o < outputs; o++) {
        const double out_scale = out ? out->scale[o] : p->q->stream_scale[p->stage];
        double constant = layer->bias[o] - (out ? out->offset[o] : 0);
        for (size_t k = 0; k < in->width; k++)
            constant += layer->weight[o * in->width + k] * in->offset[k];
        smallest[o] = (float)(dense_smallest_scale(BIAS_MARGIN * constant, out_scale) / mean);
        coarsest[o] = out ? (float)(DENSE_COARSEST * out_scale / mean) : UNBOUNDED;
    }
    const int bits = quantizer_weight_bits(p->q, p->block, (block_layer)index);
    p->fold_mean[index] = mean;
    p->job.layer[index] = (layer_grid){ weight_limit(bits), fold, centre,
                                        smallest, coarsest, scale };
    return true;
}

static void put(const passage *p, block_part part, const float *values)
{
    const size_t first = p->layout.offset[part], count = p->layout.offset[part + 1] - first;
    memcpy(p->job.parameters + first, values, count * sizeof *values);
}

static bool set_parameters(passage *p)
{
    p->job.parameters = ARENA_TAKE(&p->q->scratch, float, p->layout.offset[BLOCK_PARTS]);
    if (!p->job.parameters)
        return false;
    put(p, PART_GAIN1, p->from->norm1.gain);
    put(p, PART_BIAS1, p->from->norm1.bias);
    put(p, PART_QKV_WEIGHT, p->from->qkv.weight);
    put(p, PART_QKV_BIAS, p->from->qkv.bias);
    put(p, PART_PROJ_WEIGHT, p->from->proj.weight);
    put(p, PART_PROJ_BIAS, p->from->proj.bias);
    put(p, PART_GAIN2, p->from->norm2.gain);
    put(p, PART_BIAS2, p->from->norm2.bias);
    put(p, PART_FC1_WEIGHT, p->mlp.fc1.weight);
    put(p, PART_FC1_BIAS, p->mlp.fc1.bias);
    put(p, PART_FC2_WEIGHT, p->mlp.fc2.weight);
    put(p, PART_FC2_BIAS, p->mlp.fc2.bias);
    return set_grid(p, 0, &p->from->qkv, 3 * p->dim, &p->norm1, &p->qkv) &&
           set_grid(p, 1, &p->from->proj, p->dim, &p->attention, NULL) &&
           set_grid(p, 2, &p->mlp.fc1, p->hidden, &p->norm2, &p->mlp.in) &&
           set_grid(p, 3, &p->mlp.fc2, p->dim, &p->mlp.out, NULL);
}

static void show_progress(void *user, unsigned done)
{
    const passage *p = user;
    const quantize_options *o = p->q->options;
    const size_t depth = p->q->source->geometry.depth, steps = quantizer_steps(p->q);
    if (o->progress)
        o->progress(o->user, depth + steps * p->block + done, (1 + steps) * depth);
}

/* The weights of a layer after stage 1 as the closed form compensates them. */
static bool begin_with(void *user, int index, const float *parameters, int8_t *integers, float *scale)
{
    static const block_part parts[BLOCK_LAYERS] = { PART_QKV_WEIGHT, PART_PROJ_WEIGHT, PART_FC1_WEIGHT,
                                                    PART_FC2_WEIGHT };
    passage *p = user;
    quantizer *q = p->q;
    const code *const ins[BLOCK_LAYERS] = { &p->norm1, &p->attention, &p->norm2, &p->mlp.out };
    const float *const seen[BLOCK_LAYERS] = { p->seen.norm1, p->seen.attention, p->seen.norm2,
                                              p->mlp.gelu };
    const size_t outputs[BLOCK_LAYERS] = { 3 * p->dim, p->dim, p->hidden, p->dim };
    const block_part weight = parts[index];
    const int bits = quantizer_weight_bits(q, p->block, (block_layer)index);
    code out = index == LAYER_QKV ? p->qkv : p->mlp.in;
    integer_join join;
    integer_dense dense;
    compensation c;
    arena memory;
    arena_init(&memory);
    float *values = ARENA_TAKE(&memory, float, p->layout.offset[BLOCK_PARTS]);
    if (!values)
        return false;
    memcpy(values, parameters, p->layout.offset[BLOCK_PARTS] * sizeof *values);
    const network_linear layer = { values + p->layout.offset[weight],
                                   values + p->layout.offset[weight + 1] };
    const dense_fit fit = { .method = q->options->method, .bits = bits, .compensation = &c };
    const bool branch = index == LAYER_PROJ || index == LAYER_FC2;
    const bool done =
        (!branch || quantizer_branch(q, p->stage, &layer, ins[index], bits, &out, &join)) &&
        compensation_prepare(&memory, ins[index], seen[index], p->rows, &q->weights, &c) &&
        quantize_dense(&memory, "reconstruction", layer.weight, layer.bias, outputs[index], ins[index],
                       &out, false, &fit, &dense, q->r);
    for (size_t o = 0; o < outputs[index] && done; o++) {
        const iviti_dyadic f = { dense.factor.multiplier[o], dense.factor.shift[o] };
        scale[o] = (float)(dyadic_to_real(f) * out.scale[o] / p->fold_mean[index]);
    }
    if (done)
        memcpy(integers, dense.weight, outputs[index] * ins[index]->width);
    arena_free(&memory);
    return done;
}

/* Runs the float block on the float stream, chooses codes and trains. */
static bool train(passage *p, float *x)
{
    quantizer *q = p->q;
    const size_t picture = p->tokens * p->dim, values = (q->pictures + q->views) * picture;
    float *before = ARENA_TAKE(&q->scratch, float, values);

    if (!before || !quantizer_capture(q, p->rows, p->dim, p->hidden, &p->seen))
        return report_fail(q->r, "block %u: out of memory", p->block);
    memcpy(before, x, values * sizeof *x);
    if (!network_run_block(q->source, p->block, q->pictures, q->options->threads, x, &p->seen, q->r) ||
        !network_run_block(q->source, p->block, q->views, q->options->threads,
                           x + q->pictures * picture, NULL, q->r) ||
        !choose_codes(p))
        return false;
    if (!set_shape(p) || !set_parameters(p))
        return report_fail(q->r, "block %u: out of memory", p->block);

    p->job.shape = &p->shape;
    p->job.codes = p->codes;
    p->job.pictures = q->pictures + q->views;
    p->job.sources = q->pictures;
    p->job.float_in = before;
    p->job.float_out = x;
    p->job.coded_in = p->job.coded_out = q->coded;
    p->job.scored = p->tokens; /* in a last block too: class tokens alone are soon learned by heart */
    p->job.weights = q->weights;
    p->job.begin = q->options->compensate ? begin_with : NULL;
    p->job.iterations = q->options->iterations;
    p->job.threads = q->options->threads;
    p->job.seed = SEED + p->block;
    p->job.progress = show_progress;
    p->job.user = p;
    return reconstruct_block(&p->job, q->r);
}

/* ---- integers --------------------------------------------------------------------------------- */

/* What the integers stand for is what was trained: no mean is put right. */
static void forget_means(code *c)
{
    for (size_t i = 0; i < c->width; i++) {
        c->mean[i] = c->offset[i];
        c->mean_code[i] = 0;
    }
}

/* The code of a branch that these integers can write, and its join. */
static bool branch_code(passage *p, int index, code *branch, integer_join *join)
{
    const double stream = p->q->stream_scale[p->stage];
    double scale = stream;
    iviti_dyadic f;
    *branch = quantizer_stream_code(p->q, p->stage);
    if (p->q->scratch.failed)
        return report_fail(p->q->r, "block %u: out of memory", p->block);
    for (size_t o = 0; o < p->dim; o++)
        scale = fmax(scale, SCALE_MARGIN * p->job.layer[index].scale[o] * p->fold_mean[index]);
    for (size_t o = 0; o < p->dim; o++)
        branch->scale[o] = scale;
    if (!dyadic_from_real(scale / stream, 20, 62, &f, p->q->r))
        return false;
    *join = (integer_join){ { 1 << 30, f.multiplier }, { 30, (int8_t)f.shift } };
    return true;
}

static bool emit_dense(passage *p, int index, const char *field, const network_linear *exact,
                       block_part weight, size_t outputs, code *in, const code *out, const float *x,
                       integer_dense *to)
{
    quantizer *q = p->q;
    const float *trained = p->job.parameters + p->layout.offset[weight];
    const float *bias = p->job.parameters + p->layout.offset[weight + 1];
    double *scales = ARENA_TAKE(&q->scratch, double, outputs);
    char name[48];
    if (!scales)
        return report_fail(q->r, "block %u: out of memory", p->block);
    for (size_t o = 0; o < outputs; o++)
        scales[o] = (double)p->job.layer[index].scale[o] * p->fold_mean[index];
    const dense_fit fit = { .method = q->options->method,
                            .bits = quantizer_weight_bits(q, p->block, (block_layer)index),
                            .scales = scales };
    snprintf(name, sizeof name, "block.%u.%s", p->block, field);
    forget_means(in);
    if (!quantize_dense(q->memory, name, trained, bias, outputs, in, out, false, &fit, to, q->r))
        return false;
    quantizer_note(q, name, to, exact, in, out, x, p->rows);
    return true;
}

static bool emit_norm(passage *p, const char *field, block_part gain, const code *out,
                      integer_norm *to)
{
    const network_norm norm = { p->job.parameters + p->layout.offset[gain],
                                p->job.parameters + p->layout.offset[gain + 1] };
    char name[48];
    snprintf(name, sizeof name, "block.%u.%s", p->block, field);
    return quantize_norm(p->q->memory, name, &norm, p->q->source->epsilon,
                         p->q->stream_scale[p->stage], p->q->out->geometry.norm_kind, out, to, p->q->r);
}

bool quantize_reconstructible(const iviti_geometry *g, report *r)
{
    if (g->norm_kind != IVITI_NORM_EXACT || g->gelu_kind != IVITI_GELU_TABLE ||
        !iviti_softmax_has_table(g->softmax_kind))
        return report_fail(r, "reconstruction needs exact LayerNorm, GELU by tables, and softmax by "
                              "tables or SULQ: gradients are those of the exact operators");
    for (uint32_t i = 0; i < iviti_activations(g); i++)
        if (g->activation_bits[i] == IVITI_WIDE_BITS)
            return report_fail(
                r, "reconstruction with activations of 12 bits is not supported: it is for "
                   "few bits");
    if (g->prune.kind != IVITI_PRUNE_NONE)
        return report_fail(r, "reconstruction of networks that drop or merge tokens is not supported: "
                              "the float and the quantised network may keep different ones");
    return true;
}

static bool emit(passage *p)
{
    integer_block *to = &p->q->out->blocks[p->block];
    code branch1, branch2;

    return emit_norm(p, "norm1", PART_GAIN1, &p->norm1, &to->norm1) &&
           emit_dense(p, 0, "qkv", &p->from->qkv, PART_QKV_WEIGHT, 3 * p->dim, &p->norm1, &p->qkv,
                      p->seen.norm1, &to->qkv) &&
           branch_code(p, 1, &branch1, &to->join1) &&
           emit_dense(p, 1, "proj", &p->from->proj, PART_PROJ_WEIGHT, p->dim, &p->attention, &branch1,
                      p->seen.attention, &to->proj) &&
           emit_norm(p, "norm2", PART_GAIN2, &p->norm2, &to->norm2) &&
           emit_dense(p, 2, "fc1", &p->mlp.fc1, PART_FC1_WEIGHT, p->hidden, &p->norm2, &p->mlp.in,
                      p->seen.norm2, &to->fc1) &&
           branch_code(p, 3, &branch2, &to->join2) &&
           emit_dense(p, 3, "fc2", &p->mlp.fc2, PART_FC2_WEIGHT, p->dim, &p->mlp.out, &branch2,
                      p->mlp.gelu, &to->fc2);
}

bool quantize_reconstructed(quantizer *q, uint32_t block, float *x)
{
    const uint32_t stage = network_stage_of(q->source, block);
    passage p = { .q = q,
                  .block = block,
                  .stage = stage,
                  .from = &q->source->blocks[block],
                  .dim = q->source->geometry.stage[stage].dim,
                  .hidden = q->source->geometry.stage[stage].hidden,
                  .tokens = network_tokens_of(q->source, block),
                  .rows = q->pictures * network_tokens_of(q->source, block) };
    return train(&p, x) && emit(&p);
}

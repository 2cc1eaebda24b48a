/* SPDX-License-Identifier: Apache-2.0
 *
 * iviti-convert: a float checkpoint and a folder of pictures to an integer model.
 */
#define _POSIX_C_SOURCE 200809L

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checkpoint/checkpoint.h"
#include "common/checkpoint_options.h"
#include "common/clock.h"
#include "common/json_out.h"
#include "common/model_open.h"
#include "common/model_writer.h"
#include "common/options.h"
#include "common/progress.h"
#include "picture/class_names.h"
#include "quantize/agreement.h"
#include "quantize/calibration.h"
#include "quantize/emit.h"
#include "quantize/ivit.h"
#include "quantize/mixed.h"
#include "quantize/quantize.h"

typedef struct settings {
    common_options common;
    checkpoint_options checkpoint;
    const char *output;
    const char *calib;
    uint32_t calib_count;
    const char *labels;
    int weights;
    double budget_mb; /* 0: not given */
    int allocation;
    uint32_t seed;
    int acts;
    uint32_t wide_mlps;
    int nonlinear;
    int attention;
    int softmax, gelu, layernorm;
    int recipe;
    bool simulate;
    uint32_t iterations;
} settings;

#define WEIGHT_CHOICES    "8|6|4|3|mixed|codebook16"
#define ACTS_CHOICES       "8|6|4|3|12"
#define ALLOCATION_CHOICES "sensitivity|prefix|random" /* mixed_allocation */
#define NONLINEAR_CHOICES "table|shift"
#define ATTENTION_CHOICES "u8|q15|sulq"
#define SOFTMAX_CHOICES   "table|shiftmax16|shiftmax8|sulq|lis|i-exp|q15" /* iviti_softmax_kind */
#define GELU_CHOICES      "table|shiftgelu|i-gelu"                        /* iviti_gelu_kind */
#define NORM_CHOICES      "exact|newton|l1"                               /* iviti_norm_kind */
#define RECIPE_CHOICES    "minmax|mse|compensate|reconstruct"
enum { NONLINEAR_TABLE, NONLINEAR_SHIFT };
enum { UNSET = -1 };
#define ALL_BLOCKS IVITI_MAX_BLOCKS
enum { RECIPE_UNSET = -1, RECIPE_MINMAX, RECIPE_MSE, RECIPE_COMPENSATE, RECIPE_RECONSTRUCT };
#define RECONSTRUCT_ITERATIONS 240
static const int WEIGHT_BITS[] = { 8, 6, 4, 3, 4, 4 };
static const int ACTS_BITS[] = { 8, 6, 4, 3, IVITI_WIDE_BITS };
enum { WEIGHTS_MIXED = 4, WEIGHTS_CODEBOOK = 5 };

static const option_spec OPTIONS[] = {
    { .name = "output",
      .letter = 'o',
      .kind = OPTION_TEXT,
      .offset = offsetof(settings, output),
      .value = "MODEL.gguf",
      .help = "Where the model is written. It appears there when it is complete." },
    { .name = "calib",
      .kind = OPTION_TEXT,
      .offset = offsetof(settings, calib),
      .value = "DIR",
      .help =
          "A folder of JPEG or PNG pictures like those the model will see. They need no labels; "
          "about a hundred are enough. I-ViT checkpoints bring their own scales and need none." },
    OPTION_CALIB_COUNT(settings, calib_count),
    { .name = "labels",
      .kind = OPTION_TEXT,
      .offset = offsetof(settings, labels),
      .value = "FILE",
      .help = "The names of the classes, one a line, to be stored in the model." },
    { .name = "weights",
      .kind = OPTION_CHOICE,
      .offset = offsetof(settings, weights),
      .value = "BITS",
      .choices = WEIGHT_CHOICES,
      .help =
          "Bits of a weight of the blocks (default: 8), or mixed: of each layer what serves the "
          "logits best within --budget-mb, or codebook16: 4 bits that choose one of 16 integers of "
          "the layer. Stem, patch embedding and classifier keep 8." },
    { .name = "budget-mb",
      .kind = OPTION_REAL,
      .offset = offsetof(settings, budget_mb),
      .value = "X",
      .minimum = 0.001,
      .maximum = 2147,
      .help =
          "With --weights mixed: the most that the model file may take, in millions of bytes." },
    { .name = "allocation",
      .kind = OPTION_CHOICE,
      .offset = offsetof(settings, allocation),
      .choices = ALLOCATION_CHOICES,
      .help = "With --weights mixed, for comparisons: by what a layer's bits cost at the logits, "
              "or the "
              "first layers one width more than the rest, or layers drawn with --seed (default: "
              "sensitivity)." },
    { .name = "seed",
      .kind = OPTION_NUMBER,
      .offset = offsetof(settings, seed),
      .value = "N",
      .maximum = 4294967295.0,
      .help = "With --allocation random (default: 1)." },
    { .name = "acts",
      .kind = OPTION_CHOICE,
      .offset = offsetof(settings, acts),
      .value = "BITS",
      .choices = ACTS_CHOICES,
      .help =
          "Bits of an activation within the blocks (default: 8). Pixels, the residual stream, "
          "probabilities of attention and the classifier's input keep theirs. 12: for the inputs "
          "of proj, fc1 and fc2, and for attention's numerators: nearer to the float network, at "
          "less "
          "than half of the speed." },
    { .name = "wide-mlps",
      .kind = OPTION_NUMBER,
      .offset = offsetof(settings, wide_mlps),
      .value = "N",
      .minimum = 0,
      .maximum = IVITI_MAX_BLOCKS,
      .help = "With --acts 12: fc1 and fc2 have them in the first N blocks only, whose rounding "
              "all others "
              "carry on, proj in all (default: all)." },
    { .name = "nonlinear",
      .kind = OPTION_CHOICE,
      .offset = offsetof(settings, nonlinear),
      .choices = NONLINEAR_CHOICES,
      .help = "Softmax, GELU and LayerNorm as tables and exact statistics, or as I-ViT's shift "
              "operators (default: table)." },
    { .name = "attention",
      .kind = OPTION_CHOICE,
      .offset = offsetof(settings, attention),
      .choices = ATTENTION_CHOICES,
      .help = "Probabilities of attention: u8, divided by their sum after the product with the "
              "values; q15, 15 bits, divided before; sulq, powers of two chosen among as many "
              "codes as --acts has bits, 4 where that is 8 (I&S-ViT). Default: u8, or Shiftmax "
              "with --nonlinear shift." },
    { .name = "softmax",
      .kind = OPTION_CHOICE,
      .offset = offsetof(settings, softmax),
      .value = "NAME",
      .choices = SOFTMAX_CHOICES,
      .help = "For comparison, instead of --attention: table, shiftmax16, shiftmax8, sulq, lis "
              "(FQ-ViT), i-exp (I-BERT) or q15." },
    { .name = "gelu",
      .kind = OPTION_CHOICE,
      .offset = offsetof(settings, gelu),
      .value = "NAME",
      .choices = GELU_CHOICES,
      .help = "For comparison: table, shiftgelu or i-gelu (I-BERT)." },
    { .name = "layernorm",
      .kind = OPTION_CHOICE,
      .offset = offsetof(settings, layernorm),
      .value = "NAME",
      .choices = NORM_CHOICES,
      .help = "For comparison: exact, newton (I-ViT) or l1." },
    { .name = "simulate",
      .kind = OPTION_FLAG,
      .offset = offsetof(settings, simulate),
      .help =
          "Compare the simulation with the float network, too: the model's integers in every "
          "product, floating point between them. The difference is the price of integers alone." },
    { .name = "recipe",
      .kind = OPTION_CHOICE,
      .offset = offsetof(settings, recipe),
      .choices = RECIPE_CHOICES,
      .help =
          "How constants are chosen: ranges that hold everything that was seen, ranges of least "
          "squared error, or these with weights that make up for one another's rounding "
          "(default: compensate for weights of fewer than 8 bits, for activations of others than 8 "
          "and for DynamicViT, else "
          "mse)." },
    { .name = "iterations",
      .kind = OPTION_NUMBER,
      .offset = offsetof(settings, iterations),
      .value = "N",
      .minimum = 1,
      .maximum = 100000,
      .help = "Steps of reconstruction for each block and stage (default: 240). Time is in "
              "proportion." },
};

/* What a conversion holds until the end. */
typedef struct conversion {
    const settings *settings;
    bool ivit; /* the checkpoint brings its own scales */
    checkpoint *checkpoint;
    network *network;
    class_names labels;
    calibration calibration;
    integer_network *integer;
    quantize_table table;
    mixed_plan plan; /* --weights mixed */
    agreement agreement;
    agreement simulated; /* --simulate */
    uint64_t file_bytes;
    double seconds;
} conversion;

static void show_progress(void *user, size_t done, size_t of)
{
    ((progress *)user)->total = of;
    progress_set(user, done);
}

/* Single operators override the family. */
static operators chosen_operators(const settings *s)
{
    static const iviti_softmax_kind attentions[] = { IVITI_SOFTMAX_TABLE, IVITI_SOFTMAX_Q15,
                                                     IVITI_SOFTMAX_SULQ };
    operators o = s->nonlinear == NONLINEAR_SHIFT ? OPERATORS_SHIFT : OPERATORS_TABLE;
    if (s->attention != UNSET)
        o.softmax = attentions[s->attention];
    if (s->softmax != UNSET)
        o.softmax = (iviti_softmax_kind)s->softmax;
    if (s->gelu != UNSET)
        o.gelu = (iviti_gelu_kind)s->gelu;
    if (s->layernorm != UNSET)
        o.norm = (iviti_norm_kind)s->layernorm;
    return o;
}

/* The recipe asked for, or what suits the network: few bits, and predictors that rank tokens by small
 * differences, need weights that make up for one another. */
static int chosen_recipe(const conversion *c)
{
    const settings *s = c->settings;
    if (s->recipe != RECIPE_UNSET)
        return s->recipe;
    return WEIGHT_BITS[s->weights] < 8 || ACTS_BITS[s->acts] != 8 ||
                   c->network->geometry.prune.kind == IVITI_PRUNE_PREDICTOR
               ? RECIPE_COMPENSATE
               : RECIPE_MSE;
}

/* The options that decide the bytes of the model. */
static void describe_recipe(const conversion *c, char *text, size_t bytes)
{
    const settings *s = c->settings;
    char nonlinear[64], recipe[16];
    if (c->ivit) {
        snprintf(text, bytes, "weights 8, nonlinear shift, ranges of the checkpoint, preset %s",
                 c->network->preset);
        return;
    }
    options_choice_name(NONLINEAR_CHOICES, s->nonlinear, nonlinear, sizeof nonlinear);
    if (s->attention != UNSET || s->softmax != UNSET || s->gelu != UNSET || s->layernorm != UNSET) {
        const operators o = chosen_operators(s);
        snprintf(nonlinear, sizeof nonlinear, "%s + %s + %s", iviti_norm_name(o.norm),
                 iviti_softmax_name(o.softmax), iviti_gelu_name(o.gelu));
    }
    options_choice_name(RECIPE_CHOICES, chosen_recipe(c), recipe, sizeof recipe);
    char weights[64], allocation[16], activations[48] = "";
    options_choice_name(WEIGHT_CHOICES, s->weights, weights, sizeof weights);
    if (s->weights == WEIGHTS_MIXED) {
        options_choice_name(ALLOCATION_CHOICES, s->allocation, allocation, sizeof allocation);
        snprintf(weights, sizeof weights, "mixed by %s within %.3f MB", allocation, s->budget_mb);
        if (s->allocation == MIXED_RANDOM)
            snprintf(weights, sizeof weights, "mixed by seed %u within %.3f MB", s->seed, s->budget_mb);
    }
    if (ACTS_BITS[s->acts] != 8 && s->wide_mlps == ALL_BLOCKS)
        snprintf(activations, sizeof activations, "activations %d, ", ACTS_BITS[s->acts]);
    else if (ACTS_BITS[s->acts] != 8)
        snprintf(activations, sizeof activations, "activations %d in %u MLPs, ", ACTS_BITS[s->acts],
                 s->wide_mlps);
    char iterations[32] = "";
    if (s->recipe == RECIPE_RECONSTRUCT)
        snprintf(iterations, sizeof iterations, " of %u iterations", (unsigned)s->iterations);
    snprintf(text, bytes,
             "weights %s, %snonlinear %s, recipe %s%s, %zu calibration pictures, preset %s", weights,
             activations, nonlinear, recipe, iterations, c->calibration.count, c->network->preset);
}

static bool open_writer(const conversion *c, const iviti_geometry *g, model_writer **writer, report *r)
{
    char recipe[256];
    describe_recipe(c, recipe, sizeof recipe);
    const model_note notes[] = { { "dialect", c->network->dialect } };
    const model_metadata metadata = {
        .labels = (const char *const *)c->labels.names,
        .source_name = c->checkpoint->file,
        .source_sha256 = c->checkpoint->sha256,
        .converter = iviti_version(),
        .recipe = recipe,
        .mean = c->network->mean,
        .std = c->network->std,
        .notes = notes,
        .note_count = 1,
    };
    return model_writer_open(g, &metadata, writer, r);
}

/* Measures what the layers' bits cost and chooses them. */
static bool plan_bits(conversion *c, const quantize_options *options, report *r)
{
    const settings *s = c->settings;
    sensitivity measured;
    model_writer *writer = NULL;
    if (s->allocation == MIXED_SENSITIVITY
            ? !sensitivity_measure(c->network, c->calibration.pixels, c->calibration.count, options,
                                   &measured, r)
            : !sensitivity_unknown(c->network, options, &measured, r))
        return false;
    iviti_geometry lowest = measured.geometry;
    for (uint32_t i = 0; i < measured.layers; i++)
        lowest.weight_bits[i] = (uint8_t)sensitivity_bits[0];
    const bool done =
        open_writer(c, &lowest, &writer, r) &&
        mixed_plan_make(&measured, model_writer_size(writer), (uint64_t)llround(s->budget_mb * 1e6),
                        (mixed_allocation)s->allocation, s->seed, &c->plan, r);
    model_writer_close(writer);
    sensitivity_free(&measured);
    return done;
}

static bool quantize(conversion *c, report *r)
{
    const settings *s = c->settings;
    const uint64_t steps = 3 * (uint64_t)c->network->geometry.depth;
    const bool mixed = s->weights == WEIGHTS_MIXED;
    const int recipe = chosen_recipe(c);
    progress p;
    quantize_options options = {
        .method = recipe == RECIPE_MINMAX ? RANGE_MINMAX : RANGE_MSE,
        .compensate = recipe == RECIPE_COMPENSATE || recipe == RECIPE_RECONSTRUCT,
        .weight_bits = WEIGHT_BITS[s->weights],
        .codebook = s->weights == WEIGHTS_CODEBOOK,
        .activation_bits = ACTS_BITS[s->acts],
        .wide_mlps = s->wide_mlps,
        .operators = chosen_operators(s),
        .threads = options_threads(&s->common),
        .progress = show_progress,
        .user = &p,
    };
    bool done = true;
    if (mixed) {
        progress_start(&p, "measuring layers", steps, s->common.quiet);
        done = plan_bits(c, &options, r);
        progress_end(&p);
        options.layer_bits = c->plan.bits;
    }
    options.iterations = s->recipe == RECIPE_RECONSTRUCT ? s->iterations : 0;
    progress_start(&p, "quantising", steps, s->common.quiet);
    done = done && quantize_network(c->network, c->calibration.pixels, c->calibration.count, &options,
                                    &c->integer, &c->table, r);
    progress_end(&p);
    return done;
}

static bool write_model(conversion *c, report *r)
{
    const iviti_geometry *g = &c->integer->geometry;
    model_writer *writer = NULL;
    iviti_tensor_spec spec;

    bool done = open_writer(c, g, &writer, r);
    for (size_t i = 0; done && iviti_schema_tensor(g, i, &spec); i++)
        done = model_writer_put(writer, i, integer_network_tensor(c->integer, &spec),
                                (size_t)spec.bytes, r);
    done = done && model_writer_save(writer, c->settings->output, r);
    model_writer_close(writer);

    struct stat status;
    if (done && stat(c->settings->output, &status) == 0)
        c->file_bytes = (uint64_t)status.st_size;
    return done;
}

/* The model as written, read back and run. */
static bool compare(conversion *c, report *r)
{
    iviti_model *model = model_open(c->settings->output, r);
    if (!model)
        return false;
    const bool done =
        agreement_measure(c->network, model, c->calibration.pixels, c->calibration.count,
                          options_threads(&c->settings->common), &c->agreement, r);
    iviti_model_free(model);
    return done && (!c->settings->simulate ||
                    agreement_simulate(c->network, c->integer, c->calibration.pixels,
                                       c->calibration.count, options_threads(&c->settings->common),
                                       &c->simulated, r));
}

static bool read_labels(conversion *c, report *r)
{
    const char *path = c->settings->labels;
    if (!path)
        return true;
    if (!class_names_read(path, &c->labels, r))
        return false;
    return c->labels.count == c->network->geometry.classes ||
           report_fail(r, "%s: has %zu names, but the checkpoint has %u classes", path,
                       c->labels.count, c->network->geometry.classes);
}

/* Said before minutes of work rather than after. */
static bool check_output(const char *path, report *r)
{
    const char *slash = strrchr(path, '/');
    char folder[4096];
    struct stat status;

    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path + 1) : 1, slash ? path : ".");
    if (stat(folder, &status) || !S_ISDIR(status.st_mode))
        return report_fail(r, "%s: cannot be written: %s is not a folder", path, folder);
    if (access(folder, W_OK | X_OK))
        return report_fail(r, "%s: cannot be written: no permission in %s", path, folder);
    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
        return report_fail(r, "%s: cannot be written: it is a folder", path);
    return true;
}

static bool convert(conversion *c, const char *path, const network_options *options, report *r)
{
    const settings *s = c->settings;
    const double started = clock_seconds();

    if (!check_output(s->output, r) || !checkpoint_open(path, &c->checkpoint, r) ||
        !network_from_checkpoint(c->checkpoint, options, &c->network, r) || !read_labels(c, r))
        return false;
    if (c->network->note[0] && !s->common.quiet)
        fprintf(stderr, "iviti-convert: note: %s\n", c->network->note);
    c->ivit = network_is_ivit(c->checkpoint);
    if (c->ivit && s->simulate)
        return report_fail(r, "--simulate knows no I-ViT checkpoints: their scales are not the converter's");
    if (!c->ivit && !s->calib)
        return report_fail(r, "--calib DIR is missing: this checkpoint needs pictures to calibrate on");
    if (s->calib && !calibration_load(&c->network->geometry, s->calib, s->calib_count, s->common.quiet,
                          &c->calibration, r))
        return false;
    if (c->calibration.skipped && !s->common.quiet)
        fprintf(stderr, "iviti-convert: note: %zu pictures were skipped; the first: %s\n",
                c->calibration.skipped, c->calibration.first_skipped);
    const bool quantised = c->ivit ? ivit_import(c->checkpoint, c->network, &c->integer, &c->table, r)
                                   : quantize(c, r);
    if (!quantised || !write_model(c, r) || (c->calibration.count && !compare(c, r)))
        return false;
    c->seconds = clock_seconds() - started;
    return true;
}

static void print_table(const conversion *c)
{
    const bool mixed = c->settings->weights == WEIGHTS_MIXED;
    printf("%-24s %5s %10s %12s%s\n", "layer", "bits", "SNR (dB)", "bytes",
           mixed ? "  logit error" : "");
    for (size_t i = 0; i < c->table.count; i++) {
        const layer_row *row = &c->table.rows[i];
        printf("%-24s %5d ", row->name, row->bits);
        if (isnan(row->snr))
            printf("%10s ", "-");
        else
            printf("%10.1f ", row->snr);
        printf("%12zu", row->bytes);
        if (mixed && row->slot >= 0 && !isnan(c->plan.error[row->slot]))
            printf(" %12.6f", c->plan.error[row->slot]);
        printf("\n");
    }
    printf("%s: %.2f MB in %.1f s", c->settings->output, (double)c->file_bytes / 1e6, c->seconds);
    if (c->calibration.count)
        printf("; on %zu calibration pictures the same top-1 as the float model for %.1f %%, cosine "
               "%.4f, relative mse %.4f",
               c->calibration.count, c->agreement.same_top1, c->agreement.cosine,
               c->agreement.relative_mse);
    if (c->settings->simulate)
        printf("; with floating point between its products %.1f %%, cosine %.4f, relative mse %.4f",
               c->simulated.same_top1, c->simulated.cosine, c->simulated.relative_mse);
    printf("\n");
}

static void print_json(const conversion *c)
{
    json_out j = json_out_to(stdout);
    json_put_object(&j, NULL);
    json_put_text(&j, "model", c->settings->output);
    json_put_unsigned(&j, "bytes", c->file_bytes);
    json_put_text(&j, "dialect", c->network->dialect);
    json_put_unsigned(&j, "calibration_pictures", c->calibration.count);
    if (c->calibration.count) {
        json_put_fixed(&j, "agreement", c->agreement.same_top1, 2);
        json_put_fixed(&j, "cosine", c->agreement.cosine, 6);
        json_put_fixed(&j, "relative_mse", c->agreement.relative_mse, 6);
    }
    if (c->settings->simulate) {
        json_put_object(&j, "simulated");
        json_put_fixed(&j, "agreement", c->simulated.same_top1, 2);
        json_put_fixed(&j, "cosine", c->simulated.cosine, 6);
        json_put_fixed(&j, "relative_mse", c->simulated.relative_mse, 6);
        json_put_end(&j);
    }
    json_put_fixed(&j, "seconds", c->seconds, 2);
    json_put_array(&j, "layers");
    for (size_t i = 0; i < c->table.count; i++) {
        const layer_row *row = &c->table.rows[i];
        json_put_object(&j, NULL);
        json_put_text(&j, "name", row->name);
        json_put_whole(&j, "bits", row->bits);
        json_put_fixed(&j, "snr_db", row->snr, 2);
        json_put_unsigned(&j, "bytes", row->bytes);
        if (c->settings->weights == WEIGHTS_MIXED && row->slot >= 0)
            json_put_fixed(&j, "logit_error", c->plan.error[row->slot], 8);
        json_put_end(&j);
    }
    json_put_end(&j);
    json_put_end(&j);
    json_put_line(&j);
}

static void release(conversion *c)
{
    integer_network_free(c->integer);
    calibration_free(&c->calibration);
    class_names_free(&c->labels);
    network_free(c->network);
    checkpoint_close(c->checkpoint);
}

int main(int argc, char **argv)
{
    settings s = {
        .checkpoint = checkpoint_options_none(),
        .calib_count = 128,
        .recipe = RECIPE_UNSET,
        .seed = 1,
        .attention = UNSET,
        .softmax = UNSET,
        .gelu = UNSET,
        .layernorm = UNSET,
        .iterations = RECONSTRUCT_ITERATIONS,
        .wide_mlps = ALL_BLOCKS,
    };
    const option_group groups[] = {
        { "Conversion", OPTIONS, OPTION_COUNT(OPTIONS), &s },
        checkpoint_options_group(&s.checkpoint, "What the checkpoint does not say"),
        common_options_group(&s.common),
    };
    static const char *const usage[] = { "CHECKPOINT -o MODEL.gguf --calib DIR", NULL };
    static const char *const operand_names[] = { "CHECKPOINT", NULL };
    static const option_example examples[] = {
        { "iviti-convert deit_tiny.safetensors -o deit_tiny.gguf --calib photos/",
          "Convert a DeiT checkpoint, calibrated on 128 photographs." },
        { "iviti-convert model.pth -o model.gguf --calib photos/ --labels names.txt --preset deit",
          "Store the names of the classes, and name the preprocessing." },
    };
    const option_program program = {
        .name = "iviti-convert",
        .summary = "turn a float Vision Transformer checkpoint into an integer model",
        .usage = usage,
        .description = "Finds the dialect and the architecture of the checkpoint by itself, runs "
                       "the float network on the calibration pictures, chooses the integer "
                       "constants and writes a model file.\nEnds with a table of the layers and a "
                       "line with the size and the agreement with the float model.",
        .operands = operand_names,
        .groups = groups,
        .group_count = sizeof groups / sizeof *groups,
        .examples = examples,
        .example_count = sizeof examples / sizeof *examples,
    };
    option_operands operands;
    network_options options;
    conversion c = { .settings = &s };
    report r = { "" };
    int status;

    if (!options_parse(&program, argc, argv, &operands, &status) ||
        !checkpoint_options_network(&s.checkpoint, &program, &options, &status))
        return status;
    if (!s.output)
        return options_wrong(&program, "-o MODEL.gguf is missing: where to write the model");
    if (s.attention != UNSET && s.softmax != UNSET)
        return options_wrong(&program, "--attention and --softmax both choose the softmax");

    if (s.simulate && ACTS_BITS[s.acts] == IVITI_WIDE_BITS)
        return options_wrong(&program, "--simulate knows no activations of 12 bits");
    if (s.simulate && !s.calib)
        return options_wrong(&program, "--simulate needs --calib DIR: pictures to compare on");
    if (s.wide_mlps != ALL_BLOCKS && ACTS_BITS[s.acts] != IVITI_WIDE_BITS)
        return options_wrong(&program, "--wide-mlps N needs --acts 12");
    if (s.weights == WEIGHTS_CODEBOOK && s.recipe == RECIPE_RECONSTRUCT)
        return options_wrong(&program, "--recipe reconstruct trains weights of equal steps, which "
                                       "--weights codebook16 has not");
    if ((s.weights == WEIGHTS_MIXED) != (s.budget_mb > 0))
        return options_wrong(&program, "--weights mixed and --budget-mb X go together");

    status = EXIT_DONE;
    if (!convert(&c, operands.item[0], &options, &r))
        status = options_failed(&program, &r);
    else if (s.common.json)
        print_json(&c);
    else if (!s.common.quiet)
        print_table(&c);
    release(&c);
    return options_finish(&program, status);
}

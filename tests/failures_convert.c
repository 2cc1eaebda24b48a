/* SPDX-License-Identifier: Apache-2.0
 *
 * failures_convert FOLDER [ALL]: the converter with memory that is not there. The checkpoints of the folder,
 * which failures_convert.sh makes, are converted in every way that there is, with the first, the second, ...
 * allocation failing, alone and with all that follow. Each time there is a sentence about memory and nothing
 * where the model would have been; or, where a thread fewer did the work, the same model to the byte. Nothing
 * stays allocated. Each of the first ALL allocations fails, and some of the others.
 */
#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/integer_model.h"
#include "common/model_open.h"
#include "common/model_writer.h"
#include "failing_memory.h"
#include "network/dialect.h"
#include "quantize/agreement.h"
#include "quantize/emit.h"
#include "quantize/ivit.h"
#include "quantize/mixed.h"

#define PICTURES 3
#define SPREAD   30
#define MOST_SCALARS 64

typedef struct recipe {
    const char *name;
    const char *checkpoint;
    network_options told;
    quantize_options options;
    enum { PLAIN, MIXED, SIMULATED, IMPORTED, VARIANTS } way;
} recipe;

#define ROW { IVITI_NORM_NEWTON, IVITI_SOFTMAX_SHIFT16, IVITI_GELU_SHIFT }
#define TABLE { IVITI_NORM_EXACT, IVITI_SOFTMAX_TABLE, IVITI_GELU_TABLE }
#define SULQ { IVITI_NORM_EXACT, IVITI_SOFTMAX_SULQ, IVITI_GELU_TABLE }

static const recipe recipes[] = {
    { "mse, simulated",
      "vit",
      { .heads = 2 },
      { .method = RANGE_MSE, .weight_bits = 8, .activation_bits = 8, .operators = TABLE },
      SIMULATED },
    { "shift operators",
      "swin",
      { .image = 32 },
      { .method = RANGE_MINMAX, .weight_bits = 8, .activation_bits = 8, .operators = ROW },
      PLAIN },
    { "compensated, 4 bits of all",
      "vit",
      { .heads = 2 },
      { .method = RANGE_MSE,
        .compensate = true,
        .weight_bits = 4,
        .activation_bits = 4,
        .operators = TABLE },
      PLAIN },
    { "codebook",
      "swin",
      { .image = 32 },
      { .method = RANGE_MINMAX,
        .weight_bits = 4,
        .codebook = true,
        .activation_bits = 8,
        .operators = TABLE },
      PLAIN },
    { "mixed",
      "vit",
      { .heads = 2 },
      { .method = RANGE_MINMAX,
        .compensate = true,
        .weight_bits = 8,
        .activation_bits = 8,
        .operators = TABLE },
      MIXED },
    { "reconstructed",
      "vit",
      { .heads = 2 },
      { .method = RANGE_MINMAX,
        .compensate = true,
        .weight_bits = 4,
        .activation_bits = 8,
        .operators = TABLE,
        .iterations = 2 },
      PLAIN },
    { "reconstructed, windows",
      "swin",
      { .image = 32 },
      { .method = RANGE_MINMAX,
        .weight_bits = 6,
        .activation_bits = 4,
        .operators = SULQ,
        .iterations = 2 },
      PLAIN },
    { "predictors",
      "predictor",
      { .heads = 2, .base_rate = 0.7, .prune_at = { 1 }, .prune_at_count = 1 },
      { .method = RANGE_MINMAX, .weight_bits = 4, .activation_bits = 8, .operators = TABLE },
      PLAIN },
    { "merging",
      "vit",
      { .heads = 2, .merge = 2 },
      { .method = RANGE_MINMAX, .weight_bits = 4, .activation_bits = 8, .operators = TABLE },
      PLAIN },
    { "12 bits",
      "vit",
      { .heads = 2 },
      { .method = RANGE_MSE,
        .compensate = true,
        .weight_bits = 8,
        .activation_bits = 12,
        .wide_mlps = 1,
        .operators = TABLE },
      PLAIN },
    { "convolutions, two heads",
      "stem",
      { .heads = 2 },
      { .method = RANGE_MINMAX, .weight_bits = 8, .activation_bits = 8, .operators = TABLE },
      PLAIN },
    { "I-ViT", "vit", { .heads = 2 }, { .weight_bits = 8 }, IMPORTED },
    { "three sets of operators",
      "vit",
      { .heads = 2 },
      { .method = RANGE_MINMAX, .weight_bits = 8, .activation_bits = 8, .operators = TABLE },
      VARIANTS },
};

/* A recipe at work. */
typedef struct task {
    const recipe *how;
    const checkpoint *checkpoint;
    const network *source;
    const uint8_t *pixels;
    char output[4096], partial[4096];
    uint8_t *model; /* (size) as it is with all memory there; NULL until then */
    size_t size;
} task;

/* ---- the converter's way ------------------------------------------------------------------------- */

/* The middle between the smallest and the largest file. */
static bool plan_bits(const task *t, const quantize_options *options, mixed_plan *plan, report *r)
{
    const model_metadata none = { .converter = "test" };
    size_t bytes[2] = { 0, 0 };
    sensitivity measured;
    bool done = sensitivity_measure(t->source, t->pixels, PICTURES, options, &measured, r);
    if (!done)
        return false;
    for (int i = 0; i < 2 && done; i++) {
        model_writer *writer = NULL;
        iviti_geometry g = measured.geometry;
        for (uint32_t k = 0; k < measured.layers; k++)
            g.weight_bits[k] = (uint8_t)sensitivity_bits[i ? SENSITIVITY_WIDTHS - 1 : 0];
        done = model_writer_open(&g, &none, &writer, r);
        if (done)
            bytes[i] = model_writer_size(writer);
        model_writer_close(writer);
    }
    done = done && mixed_plan_make(&measured, bytes[0], (bytes[0] + bytes[1]) / 2, MIXED_SENSITIVITY, 1, plan, r);
    sensitivity_free(&measured);
    return done;
}

static bool quantise(const task *t, integer_network **n, report *r)
{
    quantize_options options = t->how->options;
    quantize_table table;
    mixed_plan plan;
    options.threads = 2;
    if (t->how->way == IMPORTED)
        return ivit_import(t->checkpoint, t->source, n, &table, r);
    if (t->how->way == MIXED) {
        quantize_options measured = options;
        measured.iterations = 0;
        if (!plan_bits(t, &measured, &plan, r))
            return false;
        options.layer_bits = plan.bits;
    }
    return quantize_network(t->source, t->pixels, PICTURES, &options, n, &table, r);
}

static bool write_model(const task *t, const integer_network *n, report *r)
{
    const model_metadata metadata = { .converter = "test" };
    model_writer *writer = NULL;
    iviti_tensor_spec spec;
    bool done = model_writer_open(&n->geometry, &metadata, &writer, r);
    for (size_t i = 0; done && iviti_schema_tensor(&n->geometry, i, &spec); i++)
        done = model_writer_put(writer, i, integer_network_tensor(n, &spec), (size_t)spec.bytes, r);
    done = done && model_writer_save(writer, t->output, r);
    model_writer_close(writer);
    return done;
}

static bool compare(const task *t, const integer_network *n, report *r)
{
    agreement found;
    if (t->how->way == SIMULATED)
        return agreement_simulate(t->source, n, t->pixels, PICTURES, 1, &found, r);
    iviti_model *const model = model_open(t->output, r);
    const bool done = model && agreement_measure(t->source, model, t->pixels, PICTURES, 1, &found, r);
    iviti_model_free(model);
    return done;
}

/* ---- what must hold ------------------------------------------------------------------------------ */

/* The first time it is kept, then compared. */
static void check_model(task *t)
{
    memory_count(false);
    FILE *const file = fopen(t->output, "rb");
    uint8_t *const bytes = malloc(1 << 20);
    must(file != NULL && bytes != NULL, "no model");
    const size_t size = fread(bytes, 1, 1 << 20, file);
    fclose(file);
    if (t->model == NULL) {
        must(size > 0 && size < 1 << 20, "a model of this size is not for this test");
        t->model = bytes;
        t->size = size;
    } else {
        must(size == t->size && memcmp(bytes, t->model, size) == 0, "another model");
        free(bytes);
    }
    memory_count(true);
}

static void check_refusal(const task *t, const report *r, bool written)
{
    must(memory_fails() || r->text[0] == 0, r->text);
    must(strstr(r->text, "memory") != NULL, r->text[0] ? r->text : "no sentence");
    must(written || access(t->output, F_OK) != 0, "a refusal leaves a model");
    must(access(t->partial, F_OK) != 0, "a refusal leaves half a model");
}

static bool convert(const void *work)
{
    task *const t = (task *)(uintptr_t)work;
    integer_network *n = NULL;
    report r = { "" };
    remove(t->output);
    const bool quantised = quantise(t, &n, &r);
    must(quantised == (n != NULL), "a network in spite of a refusal, or none");
    const bool written = quantised && write_model(t, n, &r);
    if (written)
        check_model(t);
    const bool done = written && compare(t, n, &r);
    if (!done)
        check_refusal(t, &r, written);
    integer_network_free(n);
    return done;
}

static bool vary(const void *work)
{
    static const operators kinds[] = { TABLE, ROW, SULQ };
    const task *const t = work;
    integer_network *n[3] = { NULL };
    quantize_options options = t->how->options;
    quantize_table table;
    report r = { "" };
    options.threads = 2;
    bool done = quantize_variants(t->source, t->pixels, PICTURES, &options, kinds, 3, n, &table, &r);
    const bool made = done;
    for (size_t i = 0; i < 3 && done; i++) {
        iviti_model *const model = integer_model_load(n[i], &r);
        done = model != NULL;
        iviti_model_free(model);
    }
    if (!done)
        check_refusal(t, &r, false);
    for (size_t i = 3; i-- > 0 && made;)
        integer_network_free(n[i]);
    return done;
}

/* ---- checkpoints --------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    const checkpoint_tensor *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* The checkpoint with a scale for every activation, as training for integers leaves them. */
static void add_scales(const checkpoint *from, checkpoint *to)
{
    static const char *const places[] = { "qact_input", "patch_embed.qact", "qact_pos", "qact1", "qact2" };
    static const char *const of_block[] = { "attn.qact_attn1", "attn.qact1", "attn.qact2", "attn.qact3",
                                            "qact1", "qact2", "qact3", "qact4", "mlp.qact_gelu",
                                            "mlp.qact1", "mlp.qact2" };
    static char names[MOST_SCALARS][64];
    static const float wide = 0x1p-4f, fine = 0x1p-10f; /* of codes of 8 and 16 bits */
    const size_t ends = sizeof places / sizeof *places, inner = sizeof of_block / sizeof *of_block;
    *to = *from;
    to->tensors = malloc((from->count + MOST_SCALARS) * sizeof *to->tensors);
    must(to->tensors != NULL, "no memory for the test");
    memcpy(to->tensors, from->tensors, from->count * sizeof *to->tensors);
    for (size_t i = 0; i < ends + 2 * inner; i++) {
        const size_t k = i < ends ? i : (i - ends) % inner;
        const char *const place = i < ends ? places[k] : of_block[k];
        if (i < ends)
            snprintf(names[i], sizeof names[i], "%s.act_scaling_factor", place);
        else
            snprintf(names[i], sizeof names[i], "blocks.%zu.%s.act_scaling_factor", (i - ends) / inner, place);
        const bool narrow = i < ends ? k == 0 || k == 4 : k < 5 || k == 6 || k == 8 || k == 9;
        to->tensors[to->count++] = (checkpoint_tensor){
            .name = names[i], .type = CHECKPOINT_F32, .count = 1, .data = narrow ? &wide : &fine
        };
    }
    qsort(to->tensors, to->count, sizeof *to->tensors, by_name);
}

static void try_recipe(const char *folder, const recipe *how, unsigned long all)
{
    task t = { .how = how };
    checkpoint *c = NULL;
    checkpoint scaled = { .tensors = NULL };
    network *n = NULL;
    report r = { "" };
    char path[4096];

    snprintf(path, sizeof path, "%s/%s.safetensors", folder, how->checkpoint);
    snprintf(t.output, sizeof t.output, "%s/model.gguf", folder);
    snprintf(t.partial, sizeof t.partial, "%s/model.gguf.partial", folder);
    must(checkpoint_open(path, &c, &r) && network_from_checkpoint(c, &how->told, &n, &r), r.text);
    if (how->way == IMPORTED)
        add_scales(c, &scaled);
    const size_t bytes = (size_t)PICTURES * n->geometry.image_width * n->geometry.image_height * 3;
    uint8_t *const pixels = malloc(bytes);
    must(pixels != NULL, "no memory for the test");
    for (size_t i = 0; i < bytes; i++)
        pixels[i] = (uint8_t)(i * i / 7 + i / 5);
    t.checkpoint = how->way == IMPORTED ? &scaled : c;
    t.source = n;
    t.pixels = pixels;
    const unsigned long sites =
        memory_fail_in_turn(how->way == VARIANTS ? vary : convert, &t, LACK_BORNE, all, SPREAD);
    must(sites > 0, how->name);
    printf("%-28s %6lu allocations\n", how->name, sites);
    fflush(stdout);
    remove(t.output);
    free(t.model);
    free(pixels);
    free(scaled.tensors);
    network_free(n);
    checkpoint_close(c);
}

int main(int argc, char **argv)
{
    if (argc != 2 && argc != 3) {
        fprintf(stderr, "usage: failures_convert FOLDER [ALL]\n");
        return 2;
    }
    const unsigned long all = argc == 3 ? strtoul(argv[2], NULL, 10) : 50;
    for (size_t i = 0; i < sizeof recipes / sizeof *recipes; i++)
        try_recipe(argv[1], &recipes[i], all);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * iviti-info: what is in a model file, or in one sentence what is wrong with it. The page is
 * composed in memory and printed when the whole file has proved good.
 */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/json_out.h"
#include "common/metadata_text.h"
#include "common/model_open.h"
#include "common/model_parts.h"
#include "common/options.h"
#include "iviti/iviti.h"
#include "model/metadata.h"
#include "model/model.h"

typedef struct settings {
    bool tensors;
    common_options common;
} settings;

static const option_spec OPTIONS[] = {
    { .name = "tensors",
      .kind = OPTION_FLAG,
      .offset = offsetof(settings, tensors),
      .help = "List every tensor: name, type, shape, bytes." },
};

static const char *const USAGE[] = { "[options] MODEL", NULL };
static const char *const OPERANDS[] = { "MODEL", NULL };

static const option_example EXAMPLES[] = {
    { "iviti-info models/digits-vit.gguf",
      "The network, the size of its parts, where it came from." },
    { "iviti-info --json --tensors deit_tiny.gguf | python3 -m json.tool",
      "Everything that the file says of itself." },
};

/* All that is known of a good file. */
typedef struct subject {
    const char *path;
    uint64_t file_bytes;
    const iviti_geometry *geometry;
    iviti_model_info info;
    model_part_size parts[PART_COUNT];
    uint64_t tensor_bytes;
    bool tensors;
} subject;

/* ---- names
 * ------------------------------------------------------------------------------------------- */

static const char *fit_name(const iviti_geometry *g)
{
    return g->preprocess.fit == IVITI_FIT_SQUASH ? "squash" : "crop";
}

static const char *interpolation_name(const iviti_geometry *g)
{
    return g->preprocess.interpolation == IVITI_BICUBIC ? "bicubic" : "bilinear";
}

/* ---- for people
 * -------------------------------------------------------------------------------------- */

/* "12.3 kB"; text must have room for 24 bytes. */
static const char *human_bytes(uint64_t bytes, char *text)
{
    static const char *const units[] = { "B", "kB", "MB", "GB", "TB" };
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 999.5 && unit + 1 < OPTION_COUNT(units)) {
        value /= 1000;
        unit++;
    }
    snprintf(text, 24, value < 99.95 && unit > 0 ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return text;
}

static void print_stages(FILE *file, const iviti_geometry *g)
{
    for (uint32_t i = 0; i < g->stages; i++) {
        const iviti_stage *const s = &g->stage[i];
        if (g->stages > 1) {
            fprintf(file, "  stage %-6u", (unsigned)i);
        } else {
            fprintf(file, "  blocks      ");
        }
        fprintf(file, "%u of width %u, %u head%s, MLP of %u, %u x %u tokens", (unsigned)s->depth,
                (unsigned)s->dim, (unsigned)s->heads, s->heads == 1 ? "" : "s", (unsigned)s->hidden,
                (unsigned)s->grid_width, (unsigned)s->grid_height);
        if (g->prefix_tokens > 0) {
            fprintf(file, " and %u more", (unsigned)g->prefix_tokens);
        }
        if (s->window > 0) {
            fprintf(file, " in windows of %u x %u", (unsigned)s->window, (unsigned)s->window);
        }
        fputc('\n', file);
    }
}

static const char *prune_name(const iviti_geometry *g)
{
    switch (g->prune.kind) {
    case IVITI_PRUNE_PREDICTOR:
        return "predictor";
    case IVITI_PRUNE_CLS:
        return "cls";
    case IVITI_PRUNE_MERGE:
        return "merge";
    default:
        return "none";
    }
}

static const char *fuse_name(const iviti_geometry *g)
{
    return g->prune.fuse == IVITI_FUSE_MEAN ? "mean" : g->prune.fuse == IVITI_FUSE_SUM ? "sum" : "none";
}

static void print_pruning(FILE *file, const iviti_geometry *g)
{
    static const char *const ways[] = { [IVITI_PRUNE_PREDICTOR] = "kept by predictors (DynamicViT)",
                                        [IVITI_PRUNE_CLS] = "kept by the class token's attention (EViT)",
                                        [IVITI_PRUNE_MERGE] = "left when the most alike are merged" };
    if (g->prune.kind == IVITI_PRUNE_NONE) {
        return;
    }
    fputs("  patches    ", file);
    for (uint32_t k = 0; k < g->prune.stages; k++) {
        fprintf(file, "%s %u", k > 0 ? "," : "", (unsigned)g->prune.kept[k]);
    }
    fprintf(file, " %s, %s block", ways[g->prune.kind],
            g->prune.kind == IVITI_PRUNE_PREDICTOR ? "before" : "in");
    for (uint32_t k = 0; k < g->prune.stages; k++) {
        fprintf(file, "%s %u", k > 0 ? "," : "", (unsigned)g->prune.at[k]);
    }
    fprintf(file, "%s\n", g->prune.fuse != IVITI_FUSE_NONE ? "; the others become one token" : "");
}

static void put_pruning(json_out *j, const iviti_geometry *g)
{
    if (g->prune.kind == IVITI_PRUNE_NONE) {
        return;
    }
    json_put_object(j, "prune");
    json_put_text(j, "kind", prune_name(g));
    json_put_text(j, "fuse", fuse_name(g));
    json_put_array(j, "at");
    for (uint32_t k = 0; k < g->prune.stages; k++) {
        json_put_unsigned(j, NULL, g->prune.at[k]);
    }
    json_put_end(j);
    json_put_array(j, "kept");
    for (uint32_t k = 0; k < g->prune.stages; k++) {
        json_put_unsigned(j, NULL, g->prune.kept[k]);
    }
    json_put_end(j);
    json_put_end(j);
}

static void print_stem(FILE *file, const iviti_geometry *g)
{
    for (uint32_t i = 0; i < g->convolutions; i++) {
        const iviti_convolution *const c = &g->convolution[i];
        fprintf(file, "%s%u x %u to %u channels of %u x %u", i ? ", " : "  stem        ",
                (unsigned)c->kernel, (unsigned)c->kernel, (unsigned)c->channels,
                (unsigned)c->width, (unsigned)c->height);
    }
    fputs(g->convolutions ? "\n" : "", file);
}

static void print_picture(FILE *file, const iviti_geometry *g)
{
    fprintf(file, "  picture     %u x %u, patches of %u x %u; ", (unsigned)g->image_width,
            (unsigned)g->image_height, (unsigned)g->patch, (unsigned)g->patch);
    if (g->preprocess.fit == IVITI_FIT_SQUASH) {
        fputs("both sides resized", file);
    } else {
        fprintf(file, "shorter side to %u, then the centre", (unsigned)g->preprocess.resize);
    }
    fprintf(file, " (%s)\n", interpolation_name(g));
}

static void print_parts(FILE *file, const subject *s)
{
    char size[24];

    fprintf(file, "\n  %-22s %8s %12s %5s %10s %6s\n", "part", "tensors", "weights", "bits",
            "bytes", "share");
    for (size_t i = 0; i < PART_COUNT; i++) {
        const model_part_size *const part = &s->parts[i];
        if (part->tensors == 0) {
            continue;
        }
        fprintf(file, "  %-22s %8llu ", part->name, (unsigned long long)part->tensors);
        if (part->weights > 0) {
            fprintf(file, "%12llu %5.3g", (unsigned long long)part->weights, part->bits);
        } else {
            fprintf(file, "%12s %5s", "", "");
        }
        fprintf(file, " %10s %4.0f %%\n", human_bytes(part->bytes, size),
                100.0 * (double)part->bytes / (double)s->file_bytes);
    }
    fprintf(file, "  %-22s %8s %12s %5s %10s %4.0f %%\n", "header and alignment", "", "", "",
            human_bytes(s->file_bytes - s->tensor_bytes, size),
            100.0 * (double)(s->file_bytes - s->tensor_bytes) / (double)s->file_bytes);
}

static void print_tensor(FILE *file, const iviti_tensor_spec *spec)
{
    char shape[32];

    if (spec->rank == 2) {
        snprintf(shape, sizeof(shape), "(%u, %u)", (unsigned)spec->shape[0],
                 (unsigned)spec->shape[1]);
    } else {
        snprintf(shape, sizeof(shape), "(%u)", (unsigned)spec->shape[0]);
    }
    fprintf(file, "  %-36s %-4s %-16s %12llu\n", spec->name, model_type_name(spec->type), shape,
            (unsigned long long)spec->bytes);
}

static void visit_print(void *user, const iviti_gguf_pair *pair)
{
    FILE *const file = user;

    fputs("  ", file);
    metadata_print(file, pair);
}

/* The least and most bits that activations of the blocks and merges have. */
static void activation_bits(const iviti_geometry *g, int *least, int *most)
{
    *least = *most = iviti_activation_bits(g, 0);
    for (uint32_t i = 1; i < iviti_activations(g); i++) {
        const int bits = iviti_activation_bits(g, i);
        *least = bits < *least ? bits : *least;
        *most = bits > *most ? bits : *most;
    }
}

static void count_wide(const iviti_geometry *g, uint32_t *attention, uint32_t *mlp)
{
    uint32_t block = 0;
    *attention = *mlp = 0;
    for (uint32_t stage = 0; stage < g->stages; stage++)
        for (uint32_t j = 0; j < g->stage[stage].depth; j++, block++) {
            *attention += iviti_wide_attention(g, block, stage);
            *mlp += iviti_wide_mlp(g, block, stage);
        }
}

static void print_activations(FILE *file, const iviti_geometry *g)
{
    uint32_t attention, mlp;
    int least, most;
    count_wide(g, &attention, &mlp);
    activation_bits(g, &least, &most);
    if (g->codebooks)
        fprintf(file, "  codebooks   a weight of 4 bits is one of 16 integers of its layer\n");
    if (most == IVITI_WIDE_BITS)
        fprintf(file,
                "  activations %d bits before proj in %u of %u blocks, before fc1 and fc2 in %u\n",
                IVITI_WIDE_BITS, attention, g->depth, mlp);
    if (least == 8 || most == IVITI_WIDE_BITS)
        return;
    if (least == most)
        fprintf(file, "  activations %d bits within the blocks\n", least);
    else
        fprintf(file, "  activations %d to %d bits within the blocks\n", least, most);
}

/* What people read first; the rest follows from the metadata. */
static void print_summary(FILE *file, const subject *s)
{
    const iviti_geometry *const g = s->geometry;
    char file_size[24];
    char memory[24];
    report path;

    (void)report_fail(&path, "%s", s->path);
    fprintf(file, "%s\n", path.text);
    fprintf(file, "  network     %s, %u blocks, %.2f million parameters\n", s->info.architecture,
            (unsigned)g->depth, (double)s->info.parameters / 1e6);
    print_stem(file, g);
    print_stages(file, g);
    print_pruning(file, g);
    print_picture(file, g);
    fprintf(file, "  classes     %u, from %u features%s\n", (unsigned)g->classes,
            (unsigned)g->features, g->token_head ? ", and from the patches" : "");
    fprintf(file, "  operators   norm %s, softmax %s, GELU %s, pixels %s\n",
            iviti_norm_name(g->norm_kind), iviti_softmax_name(g->softmax_kind),
            iviti_gelu_name(g->gelu_kind), g->pixel_table ? "table" : "raw");
    fprintf(file, "  integers    8-bit products into 32 bits, 16-bit residual stream\n");
    print_activations(file, g);
    fprintf(file, "  logits      integer x %.6g\n",
            ldexp((double)g->logits_multiplier, -(int)g->logits_shift));
    fprintf(file, "  work        %.4g million multiply-accumulates for a picture\n",
            (double)s->info.macs / 1e6);
    fprintf(file, "  size        %s file, %s in memory\n", human_bytes(s->file_bytes, file_size),
            human_bytes(s->info.memory, memory));
}

/* Hands every metadata pair of the file to `pair`. */
static bool visit(const subject *s, void (*pair)(void *user, const iviti_gguf_pair *pair),
                  void *user, report *r)
{
    const iviti_metadata_visitor visitor = { .pair = pair, .user = user };
    const iviti_status status = iviti_metadata_visit_file(s->path, NULL, &visitor);

    if (status != IVITI_OK) {
        return report_fail(r, "%s: %s", s->path, iviti_status_text(status));
    }
    return true;
}

static bool compose_page(FILE *file, const subject *s, report *r)
{
    iviti_tensor_spec spec;

    print_summary(file, s);
    print_parts(file, s);
    fputs("\n  metadata\n", file);
    if (!visit(s, visit_print, file, r)) {
        return false;
    }
    if (s->tensors) {
        fprintf(file, "\n  %-36s %-4s %-16s %12s\n", "tensor", "type", "shape", "bytes");
        for (size_t i = 0; iviti_schema_tensor(s->geometry, i, &spec); i++) {
            print_tensor(file, &spec);
        }
    }
    return true;
}

/* ---- JSON
 * ---------------------------------------------------------------------------------------------- */

static void put_geometry(json_out *j, const iviti_geometry *g)
{
    json_put_object(j, "image");
    json_put_unsigned(j, "width", g->image_width);
    json_put_unsigned(j, "height", g->image_height);
    json_put_text(j, "fit", fit_name(g));
    if (g->preprocess.fit == IVITI_FIT_CROP) {
        json_put_unsigned(j, "resize", g->preprocess.resize);
    }
    json_put_text(j, "interpolation", interpolation_name(g));
    json_put_end(j);
    json_put_unsigned(j, "patch", g->patch);
    json_put_unsigned(j, "prefix_tokens", g->prefix_tokens);
    if (g->convolutions > 0) {
        json_put_array(j, "stem");
        for (uint32_t i = 0; i < g->convolutions; i++) {
            const iviti_convolution *const c = &g->convolution[i];
            json_put_object(j, NULL);
            json_put_unsigned(j, "kernel", c->kernel);
            json_put_unsigned(j, "stride", c->stride);
            json_put_unsigned(j, "padding", c->padding);
            json_put_unsigned(j, "channels", c->channels);
            json_put_unsigned(j, "width", c->width);
            json_put_unsigned(j, "height", c->height);
            json_put_end(j);
        }
        json_put_end(j);
    }
    if (g->token_head) {
        json_put_text(j, "head", "class+patches");
    }
    json_put_array(j, "stages");
    for (uint32_t i = 0; i < g->stages; i++) {
        const iviti_stage *const stage = &g->stage[i];
        json_put_object(j, NULL);
        json_put_unsigned(j, "depth", stage->depth);
        json_put_unsigned(j, "dim", stage->dim);
        json_put_unsigned(j, "heads", stage->heads);
        json_put_unsigned(j, "hidden", stage->hidden);
        json_put_unsigned(j, "grid_width", stage->grid_width);
        json_put_unsigned(j, "grid_height", stage->grid_height);
        json_put_unsigned(j, "window", stage->window);
        json_put_end(j);
    }
    json_put_end(j);
    put_pruning(j, g);
    json_put_unsigned(j, "features", g->features);
    json_put_unsigned(j, "classes", g->classes);
    json_put_object(j, "operators");
    json_put_text(j, "pixels", g->pixel_table ? "table" : "raw");
    json_put_text(j, "norm", iviti_norm_name(g->norm_kind));
    json_put_text(j, "softmax", iviti_softmax_name(g->softmax_kind));
    json_put_text(j, "gelu", iviti_gelu_name(g->gelu_kind));
    json_put_end(j);
    json_put_truth(j, "codebooks", g->codebooks);
    json_put_array(j, "activation_bits");
    for (uint32_t i = 0; i < iviti_activations(g); i++)
        json_put_whole(j, NULL, iviti_activation_bits(g, i));
    json_put_end(j);
}

static void put_parts(json_out *j, const subject *s)
{
    json_put_array(j, "parts");
    for (size_t i = 0; i < PART_COUNT; i++) {
        const model_part_size *const part = &s->parts[i];
        if (part->tensors == 0) {
            continue;
        }
        json_put_object(j, NULL);
        json_put_text(j, "name", part->name);
        json_put_unsigned(j, "tensors", part->tensors);
        json_put_unsigned(j, "weights", part->weights);
        json_put_real(j, "bits", part->bits, 4);
        json_put_unsigned(j, "bytes", part->bytes);
        json_put_end(j);
    }
    json_put_end(j);
}

static void put_tensors(json_out *j, const iviti_geometry *g)
{
    iviti_tensor_spec spec;

    json_put_array(j, "tensors");
    for (size_t i = 0; iviti_schema_tensor(g, i, &spec); i++) {
        json_put_object(j, NULL);
        json_put_text(j, "name", spec.name);
        json_put_text(j, "type", model_type_name(spec.type));
        json_put_array(j, "shape");
        for (uint32_t d = 0; d < spec.rank; d++) {
            json_put_unsigned(j, NULL, spec.shape[d]);
        }
        json_put_end(j);
        json_put_unsigned(j, "bytes", spec.bytes);
        json_put_end(j);
    }
    json_put_end(j);
}

static void visit_put(void *user, const iviti_gguf_pair *pair)
{
    metadata_put(user, pair);
}

static bool compose_json(FILE *file, const subject *s, report *r)
{
    const iviti_geometry *const g = s->geometry;
    json_out j = json_out_to(file);

    json_put_object(&j, NULL);
    json_put_text(&j, "model", s->path);
    json_put_text(&j, "architecture", s->info.architecture);
    put_geometry(&j, g);
    json_put_real(&j, "logits_scale", ldexp((double)g->logits_multiplier, -(int)g->logits_shift),
                  17);
    json_put_unsigned(&j, "parameters", s->info.parameters);
    json_put_unsigned(&j, "macs", s->info.macs);
    json_put_unsigned(&j, "file_bytes", s->file_bytes);
    json_put_unsigned(&j, "memory_bytes", s->info.memory);
    put_parts(&j, s);
    json_put_object(&j, "metadata");
    if (!visit(s, visit_put, &j, r)) {
        return false;
    }
    json_put_end(&j);
    if (s->tensors) {
        put_tensors(&j, g);
    }
    json_put_end(&j);
    return json_put_line(&j);
}

/* ---- the program
 * ------------------------------------------------------------------------------------------ */

/* Composes the page and prints it whole, or nothing. */
static bool describe(const subject *s, bool json, report *r)
{
    char *page = NULL;
    size_t bytes = 0;
    FILE *const file = open_memstream(&page, &bytes);

    if (file == NULL) {
        return report_fail(r, "%s: no memory for its description", s->path);
    }
    bool good = json ? compose_json(file, s, r) : compose_page(file, s, r);
    const bool complete = !ferror(file);
    if ((fclose(file) != 0 || !complete) && good) {
        good = report_fail(r, "%s: no memory for its description", s->path);
    }
    if (good) {
        fwrite(page, 1, bytes, stdout); /* options_finish() tells of a failure */
    }
    free(page);
    return good;
}

static int run(const option_program *program, const settings *wanted, const char *path)
{
    report r = { "" };
    subject s = { .path = path, .tensors = wanted->tensors };
    struct stat status;

    iviti_model *const model = model_open(path, &r);
    if (model == NULL) {
        return options_failed(program, &r);
    }
    bool good = stat(path, &status) == 0;
    if (good) {
        s.file_bytes = (uint64_t)status.st_size;
        s.geometry = &model->geometry;
        iviti_model_describe(model, &s.info);
        s.tensor_bytes = model_parts(s.geometry, s.parts);
        good = describe(&s, wanted->common.json, &r);
    } else {
        (void)report_fail(&r, "%s: %s", path, strerror(errno));
    }
    iviti_model_free(model);
    return good ? options_finish(program, EXIT_DONE) : options_failed(program, &r);
}

int main(int argc, char **argv)
{
    settings s = { 0 };
    const option_group groups[] = { { "Options", OPTIONS, OPTION_COUNT(OPTIONS), &s },
                                    common_options_group(&s.common) };
    const option_program program = {
        .name = "iviti-info",
        .summary = "what is in a model file",
        .usage = USAGE,
        .description =
            "Prints the geometry of the network, its operators, the bits and the size of "
            "its parts, and where it came from. The whole file is checked; what is wrong "
            "with a bad one is said in one sentence.",
        .operands = OPERANDS,
        .groups = groups,
        .group_count = OPTION_COUNT(groups),
        .examples = EXAMPLES,
        .example_count = OPTION_COUNT(EXAMPLES),
    };
    option_operands operands = { 0, NULL };
    int status = EXIT_DONE;

    if (!options_parse(&program, argc, argv, &operands, &status)) {
        return status;
    }
    return run(&program, &s, operands.item[0]);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * iviti-eval: how often a model is right on labelled pictures, and how near its logits are to those
 * of the float checkpoint that it was made from.
 */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "common/ablation.h"
#include "common/checkpoint_options.h"
#include "common/evaluation.h"
#include "common/evaluation_page.h"
#include "common/json_out.h"
#include "common/labelled.h"
#include "common/model_open.h"
#include "common/options.h"
#include "common/reference.h"
#include "iviti/iviti.h"

typedef struct settings {
    const char *images;
    const char *labels;
    const char *reference;
    const char *report;
    uint32_t limit;
    int isa;
    bool ablation;
    const char *calib;
    uint32_t calib_count;
    checkpoint_options checkpoint;
    common_options common;
} settings;

static const option_spec OPTIONS[] = {
    { .name = "images",
      .kind = OPTION_TEXT,
      .offset = offsetof(settings, images),
      .value = "DIR",
      .help = "Folder of the pictures." },
    { .name = "labels",
      .kind = OPTION_TEXT,
      .offset = offsetof(settings, labels),
      .value = "FILE",
      .help = "One picture per line: file name, tab, index of its class." },
    { .name = "reference",
      .kind = OPTION_TEXT,
      .offset = offsetof(settings, reference),
      .value = "CHECKPOINT",
      .help = "Run this float checkpoint on the same pixels and compare the logits." },
    { .name = "report",
      .kind = OPTION_TEXT,
      .offset = offsetof(settings, report),
      .value = "OUT.html",
      .help = "Write a page as well, one file for any browser: the figures, the worst classes and "
              "what they are taken for, the worst pictures, and how long pictures take." },
    { .name = "limit",
      .kind = OPTION_NUMBER,
      .offset = offsetof(settings, limit),
      .value = "N",
      .minimum = 1,
      .maximum = LABELLED_MAX,
      .help = "Take the first N pictures only." },
    OPTION_ISA(settings, isa),
    { .name = "ablation",
      .kind = OPTION_FLAG,
      .offset = offsetof(settings, ablation),
      .help = "Take a float CHECKPOINT instead of a model, quantise it with each of the non-linear "
              "operators of I-ViT's ablation in turn, and print what each costs: top-1, agreement "
              "with the float network, error of the logits, and time. The times are only those of "
              "an undisturbed machine with --threads 1." },
    { .name = "calib",
      .kind = OPTION_TEXT,
      .offset = offsetof(settings, calib),
      .value = "DIR",
      .help = "With --ablation: a folder of pictures to calibrate on." },
    OPTION_CALIB_COUNT(settings, calib_count),
};

static const char *const USAGE[] = {
    "[options] MODEL --images DIR --labels FILE",
    "--ablation CHECKPOINT --calib DIR --images DIR --labels FILE", NULL
};
static const char *const OPERANDS[] = { "MODEL", NULL };

static const option_example EXAMPLES[] = {
    { "iviti-eval deit_tiny.gguf --images val --labels val/labels.tsv",
      "Top-1 and top-5 accuracy and the time per picture." },
    { "iviti-eval deit_tiny.gguf --images val --labels val/labels.tsv --reference "
      "deit_tiny_patch16_224.safetensors --limit 500",
      "The same for 500 pictures, beside the float network." },
    { "iviti-eval --ablation deit_tiny_patch16_224.safetensors --calib photos --images val --labels "
      "val/labels.tsv",
      "What each non-linear operator costs on this network." },
    { "iviti-eval deit_tiny.gguf --images val --labels val/labels.tsv --report deit.html",
      "The same figures, and a page to look at what went wrong." },
};

static void put_percents(json_out *j, const char *key, const double *percent, uint32_t count)
{
    json_put_array(j, key);
    for (uint32_t k = 0; k < count; k++) {
        json_put_fixed(j, NULL, percent[k], 2);
    }
    json_put_end(j);
}

/* Two places are a hundredth of a percent: a picture in ten thousand. */
static void print_json(const evaluation *e, bool compared)
{
    json_out j = json_out_to(stdout);

    json_put_object(&j, NULL);
    json_put_unsigned(&j, "images", e->pictures);
    json_put_fixed(&j, "top1", e->top1, 2);
    json_put_fixed(&j, "top5", e->top5, 2);
    if (compared) {
        json_put_fixed(&j, "reference_top1", e->reference_top1, 2);
        json_put_fixed(&j, "agreement", e->agreement, 2);
        json_put_fixed(&j, "cosine", e->cosine, 6);
        json_put_real(&j, "relative_mse", e->relative_mse, 6);
        if (e->prune_stages > 0) {
            put_percents(&j, "kept_overlap", e->overlap, e->prune_stages);
        }
        if (e->alone) {
            put_percents(&j, "kept_overlap_alone", e->overlap_alone, e->prune_stages);
        }
    }
    json_put_fixed(&j, "ms_per_image", e->ms_per_image, 3);
    json_put_end(&j);
    (void)json_put_line(&j);
}

static void print_people(const evaluation *e, bool compared)
{
    char top1[32] = "";
    char top5[32] = "";

    if (compared) {
        snprintf(top1, sizeof(top1), "  %7.2f %%", e->reference_top1);
        snprintf(top5, sizeof(top5), "  %7.2f %%", e->reference_top5);
    }
    printf("%llu picture%s\n\n", (unsigned long long)e->pictures, e->pictures == 1 ? "" : "s");
    printf("              integer%s\n", compared ? "      float" : "");
    printf("  top-1     %7.2f %%%s\n", e->top1, top1);
    printf("  top-5     %7.2f %%%s\n", e->top5, top5);
    printf("  time      %7.2f ms per picture\n", e->ms_per_image);
    if (compared) {
        printf("\n  agreement %7.2f %%   same most likely class as the float network\n",
               e->agreement);
        printf("  cosine    %9.5f   between the logits\n", e->cosine);
        printf("  error     %9.5f   mean squared difference / mean squared float logit\n",
               e->relative_mse);
        for (uint32_t k = 0; k < e->prune_stages; k++) {
            printf("  kept %-4u %7.2f %%   of the patches after stage %u are those of the float network\n",
                   (unsigned)k + 1, e->overlap[k], (unsigned)k + 1);
        }
        for (uint32_t k = 0; k < e->prune_stages && e->alone; k++) {
            printf("  alone %-3u %7.2f %%   if the float network chooses at stage %u among the "
                   "same patches\n",
                   (unsigned)k + 1, e->overlap_alone[k], (unsigned)k + 1);
        }
    }
}

/* With the model open. */
static int evaluate_model(const option_program *program, const settings *s,
                          const network_options *float_options, const char *path,
                          const iviti_model *model)
{
    labelled pictures = { 0 };
    report r = { "" };
    iviti_model_info info;
    evaluation result = { 0 };
    network *f = NULL;
    FILE *page = NULL;
    struct stat status;

    iviti_model_describe(model, &info);
    bool good = labelled_read(&pictures, s->labels, s->images, info.classes, s->limit, &r);
    if (good && s->report != NULL) {
        page = fopen(s->report, "w"); /* now, so that nothing is computed in vain */
        good = page != NULL || report_fail(&r,
                                           "%s: cannot be created: %s; name a file in a folder "
                                           "that you may write to",
                                           s->report, strerror(errno));
    }
    if (good && s->reference != NULL) {
        f = reference_open(s->reference, float_options, &info, &r);
        good = f != NULL;
        if (good && f->note[0] != '\0' && !s->common.quiet) {
            fprintf(stderr, "%s: note: %s\n", program->name, f->note);
        }
    }
    if (good) {
        const evaluation_task task = { .model = model,
                                       .pictures = &pictures,
                                       .reference = f,
                                       .isa = isa_from_choice(s->isa),
                                       .workers = options_threads(&s->common),
                                       .quiet = s->common.quiet };
        good = evaluate(&task, &result, &r);
        good = good && (page == NULL || evaluation_page(page, path, &task, &result, &r));
    }
    if (page != NULL && fclose(page) != 0 && good) {
        good = report_fail(&r, "%s: cannot be written: %s", s->report, strerror(errno));
    }
    if (page != NULL && !good && stat(s->report, &status) == 0 && S_ISREG(status.st_mode)) {
        (void)remove(s->report); /* never a device */
    }
    network_free(f);
    labelled_free(&pictures);
    evaluation_free(&result);
    if (!good) {
        return options_failed(program, &r);
    }
    if (s->common.json) {
        print_json(&result, s->reference != NULL);
    } else {
        print_people(&result, s->reference != NULL);
    }
    return options_finish(program, EXIT_DONE);
}

static int run(const option_program *program, const settings *s,
               const network_options *float_options, const char *path)
{
    report r = { "" };

    iviti_model *const model = model_open(path, &r);
    if (model == NULL) {
        return options_failed(program, &r);
    }
    const int status = evaluate_model(program, s, float_options, path, model);
    iviti_model_free(model);
    return status;
}

/* With the checkpoint read. */
static bool ablate(const option_program *program, const settings *s, const network *n, report *r)
{
    calibration c = { 0 };
    labelled pictures = { 0 };
    ablation result;

    if (n->note[0] != '\0' && !s->common.quiet) {
        fprintf(stderr, "%s: note: %s\n", program->name, n->note);
    }
    bool good = labelled_read(&pictures, s->labels, s->images, n->geometry.classes, s->limit, r) &&
                calibration_load(&n->geometry, s->calib, s->calib_count == 0 ? 128 : s->calib_count,
                                 s->common.quiet, &c, r);
    if (good) {
        const ablation_task task = { .source = n,
                                     .calibration = &c,
                                     .pictures = &pictures,
                                     .isa = isa_from_choice(s->isa),
                                     .threads = options_threads(&s->common),
                                     .quiet = s->common.quiet };
        good = ablation_run(&task, &result, r);
    }
    calibration_free(&c);
    labelled_free(&pictures);
    if (good && s->common.json) {
        ablation_print_json(&result, stdout);
    } else if (good) {
        ablation_print(&result, stdout);
    }
    return good;
}

static int run_ablation(const option_program *program, const settings *s,
                        const network_options *float_options, const char *path)
{
    checkpoint *file = NULL;
    network *n = NULL;
    report r = { "" };

    bool good = checkpoint_open(path, &file, &r);
    if (good) {
        good = network_from_checkpoint(file, float_options, &n, &r);
        checkpoint_close(file);
    }
    good = good && ablate(program, s, n, &r);
    network_free(n);
    return good ? options_finish(program, EXIT_DONE) : options_failed(program, &r);
}

/* What --ablation and the other options demand of each other; NULL, or the sentence. */
static const char *contradiction(const settings *s)
{
    if (!s->ablation && (s->calib != NULL || s->calib_count != 0)) {
        return "--calib and --calib-count need --ablation";
    }
    if (s->ablation && s->calib == NULL) {
        return "--ablation needs --calib DIR";
    }
    if (s->ablation && (s->reference != NULL || s->report != NULL)) {
        return "--ablation goes with neither --reference nor --report";
    }
    if (s->reference == NULL && !s->ablation && checkpoint_options_given(&s->checkpoint)) {
        return "options of a checkpoint need --reference";
    }
    return NULL;
}

int main(int argc, char **argv)
{
    settings s = { .checkpoint = checkpoint_options_none() };
    const option_group groups[] = { { "Options", OPTIONS, OPTION_COUNT(OPTIONS), &s },
                                    checkpoint_options_group(
                                        &s.checkpoint,
                                        "With --reference or --ablation, as in iviti-convert"),
                                    common_options_group(&s.common) };
    const option_program program = {
        .name = "iviti-eval",
        .summary = "accuracy of a model on labelled pictures",
        .usage = USAGE,
        .description = "Runs a model on every picture that the labels name and prints top-1 and "
                       "top-5 accuracy. Each of the --threads works on a picture of its own; the "
                       "figures, save the time, do not depend on their number.",
        .operands = OPERANDS,
        .groups = groups,
        .group_count = OPTION_COUNT(groups),
        .examples = EXAMPLES,
        .example_count = OPTION_COUNT(EXAMPLES),
    };
    option_operands operands = { 0, NULL };
    network_options float_options;
    int status = EXIT_DONE;

    if (!options_parse(&program, argc, argv, &operands, &status)) {
        return status;
    }
    if (s.images == NULL || s.labels == NULL) {
        return options_wrong(&program, "%s is missing", s.images == NULL ? "--images" : "--labels");
    }
    if (contradiction(&s) != NULL) {
        return options_wrong(&program, "%s", contradiction(&s));
    }
    if (!checkpoint_options_network(&s.checkpoint, &program, &float_options, &status)) {
        return status;
    }
    return s.ablation ? run_ablation(&program, &s, &float_options, operands.item[0])
                      : run(&program, &s, &float_options, operands.item[0]);
}

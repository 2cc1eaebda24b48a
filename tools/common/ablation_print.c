/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of an ablation, for people and as JSON.
 */
#include <math.h>

#include "common/ablation.h"
#include "common/json_out.h"

void ablation_print(const ablation *a, FILE *file)
{
    const char *part = NULL;

    fprintf(file, "%llu pictures, %zu calibration pictures; top-1 of the float network %.2f %%\n\n",
            (unsigned long long)a->pictures, a->calibration_pictures, a->reference_top1);
    fprintf(file, "%-46s %8s %11s %13s %8s\n", "", "top-1 %", "agreement %", "relative mse", "ms");
    for (size_t i = 0; i < a->count; i++) {
        const ablation_row *row = &a->row[i];
        char name[64];
        if (row->part != part && row->name[0] != '\0')
            fprintf(file, "%s\n", row->part);
        part = row->part;
        snprintf(name, sizeof name, "%s%s", row->name[0] == '\0' ? row->part : "  ", row->name);
        fprintf(file, "%-46s %8.2f %11.2f %13.5f ", name, row->result.top1, row->result.agreement,
                row->result.relative_mse);
        if (isfinite(row->result.ms_per_image))
            fprintf(file, "%8.2f\n", row->result.ms_per_image);
        else
            fprintf(file, "%8s\n", "-");
    }
    fprintf(file, "\nms: median over the pictures, the network alone, one thread each\n");
    if (a->note[0] != '\0')
        fprintf(file, "note: %s\n", a->note);
}

void ablation_print_json(const ablation *a, FILE *file)
{
    json_out j = json_out_to(file);

    json_put_object(&j, NULL);
    json_put_unsigned(&j, "images", a->pictures);
    json_put_unsigned(&j, "calibration_pictures", a->calibration_pictures);
    json_put_fixed(&j, "reference_top1", a->reference_top1, 2);
    if (a->note[0] != '\0')
        json_put_text(&j, "note", a->note);
    json_put_array(&j, "rows");
    for (size_t i = 0; i < a->count; i++) {
        const ablation_row *row = &a->row[i];
        json_put_object(&j, NULL);
        json_put_text(&j, "part", row->part);
        json_put_text(&j, "changed", row->name);
        json_put_text(&j, "norm", row->simulated ? "float" : iviti_norm_name(row->kinds.norm));
        json_put_text(&j, "softmax", row->simulated ? "float" : iviti_softmax_name(row->kinds.softmax));
        json_put_text(&j, "gelu", row->simulated ? "float" : iviti_gelu_name(row->kinds.gelu));
        json_put_fixed(&j, "top1", row->result.top1, 2);
        json_put_fixed(&j, "top5", row->result.top5, 2);
        json_put_fixed(&j, "agreement", row->result.agreement, 2);
        json_put_fixed(&j, "cosine", row->result.cosine, 6);
        json_put_real(&j, "relative_mse", row->result.relative_mse, 6);
        if (!row->simulated)
            json_put_fixed(&j, "ms_per_image", row->result.ms_per_image, 3);
        json_put_end(&j);
    }
    json_put_end(&j);
    json_put_end(&j);
    (void)json_put_line(&j);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The heat map of a session's last run: what the class token attended to, over the picture.
 */
#ifndef ATTENTION_MAP_H
#define ATTENTION_MAP_H

#include "common/report.h"
#include "iviti/iviti.h"
#include "picture/picture.h"

/* Whether the model can have one; a sentence if not. `path` is what the sentence calls the model.
 */
bool attention_map_possible(const iviti_model *model, const char *path, report *r);

/* Draws the first picture of the last run, `image`, of a session with options.attention, and writes
 * a PNG. What `path` held before is replaced once the new file is complete. */
bool attention_map_write(const iviti_model *model, const iviti_session *session,
                         const picture *image, const char *path, report *r);

/* How many times as large as the network's picture a panel is. */
uint32_t attention_map_zoom(const iviti_model_info *info);

/* Whether the name ends in .png, in upper or lower case. */
bool attention_map_named(const char *path);

/* The file of picture `number`, counted from 1, for an OUT.png of several: OUT-0001.png; 0: OUT.png
 * itself. */
#define ATTENTION_MAP_PATH 4096
bool attention_map_path(const char *out, uint64_t number, char path[ATTENTION_MAP_PATH], report *r);

#endif

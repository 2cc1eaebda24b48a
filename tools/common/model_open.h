/* SPDX-License-Identifier: Apache-2.0
 *
 * Models and sessions for the tools: the library's log becomes one sentence with the file's path.
 */
#ifndef MODEL_OPEN_H
#define MODEL_OPEN_H

#include "common/report.h"
#include "iviti/iviti.h"
#include "picture/picture.h"

/* The caller's until iviti_model_free(); NULL and a sentence on failure. */
iviti_model *model_open(const char *path, report *r);

/* A session of that many threads and at most that instruction set; NULL and a sentence on failure.
 */
iviti_session *session_open(const iviti_model *model, unsigned threads, iviti_isa isa, report *r);

/* The same, with the class token's attention recorded (options.attention). */
iviti_session *session_open_attentive(const iviti_model *model, unsigned threads, iviti_isa isa,
                                      report *r);

/* The instruction set of an index into OPTION_ISA_CHOICES. */
iviti_isa isa_from_choice(int choice);

/* Runs a picture; false and a sentence on failure. `path` is what the sentence calls it. */
bool session_run(iviti_session *session, const picture *image, const char *path, report *r);

#endif

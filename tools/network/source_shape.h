/* SPDX-License-Identifier: Apache-2.0
 *
 * Shapes of a checkpoint's tensors against the geometry. Private to the mapping of checkpoints.
 */
#ifndef SOURCE_SHAPE_H
#define SOURCE_SHAPE_H

#include "network/source.h"

#define SHAPE_TEXT 200

/* "(64, 3, 7, 7)" */
void shape_text(const checkpoint_tensor *t, char text[SHAPE_TEXT]);

/* Every tensor's shape against the geometry, which is complete but for the image. */
bool source_check_shapes(const source *s, report *r);

#endif

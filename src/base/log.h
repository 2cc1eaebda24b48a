/* SPDX-License-Identifier: Apache-2.0
 *
 * How the library tells what went wrong: one sentence to the caller's log, and the status back.
 */
#ifndef IVITI_LOG_H
#define IVITI_LOG_H

#include "iviti/iviti.h"

#define IVITI_LOG_BYTES 512 /* longest sentence, with its NUL; longer ones are cut */

/* Formats the sentence, escapes what is not printable UTF-8 as \xNN, hands it to the log (which may
 * be NULL, as may its function) and returns `status`, so that `return iviti_log_fail(...)` reads
 * well. */
iviti_status iviti_log_fail(const iviti_log *log, iviti_status status, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;

#endif

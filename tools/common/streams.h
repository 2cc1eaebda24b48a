/* SPDX-License-Identifier: Apache-2.0
 *
 * The three standard streams as whoever started the program left them: open or not, waiting or not,
 * with or without a reader.
 */
#ifndef STREAMS_H
#define STREAMS_H

#include <stdbool.h>

/* Once, before anything is opened or printed.
 *   A stream that is closed is opened on nothing, so that no file of ours gets its number and the
 *   results along with it; what is printed there fails as it should.
 *   A stream that does not wait (O_NONBLOCK, as some parents leave it) is made to: who reads slowly
 *   is waited for, and nothing is lost.
 *   A reader that has gone is an error of the write, not a signal. */
void streams_prepare(void);

/* Whether standard output is a pipe that nobody reads any more. */
bool streams_reader_left(void);

#endif

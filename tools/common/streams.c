/* SPDX-License-Identifier: Apache-2.0
 *
 * Plain POSIX; on failure the streams stay as they were.
 */
#define _POSIX_C_SOURCE 200809L

#include "common/streams.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

void streams_prepare(void)
{
    for (int stream = STDIN_FILENO; stream <= STDERR_FILENO; stream++) {
        const int flags = fcntl(stream, F_GETFL);
        if (flags < 0) {
            /* The lowest free number is this one. Opened the wrong way round on purpose. */
            (void)open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);
        } else if (flags & O_NONBLOCK) {
            (void)fcntl(stream, F_SETFL, flags & ~O_NONBLOCK);
        }
    }
    (void)signal(SIGPIPE, SIG_IGN);
}

bool streams_reader_left(void)
{
    struct pollfd out = { .fd = STDOUT_FILENO, .events = POLLOUT };

    return poll(&out, 1, 0) > 0 && (out.revents & (POLLERR | POLLHUP)) != 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Linux tells the peak of this very program in /proc; getrusage() would carry over the peak of the
 * process that started it.
 */
#define _DEFAULT_SOURCE /* getrusage */

#include "common/memory_use.h"

#include <stdio.h>
#include <sys/resource.h>

uint64_t memory_use_peak(void)
{
    char line[256];
    unsigned long long kilobytes = 0;
    FILE *const file = fopen("/proc/self/status", "r");

    if (file != NULL) {
        while (kilobytes == 0 && fgets(line, sizeof(line), file) != NULL) {
            if (sscanf(line, "VmHWM: %llu kB", &kilobytes) != 1) {
                kilobytes = 0;
            }
        }
        fclose(file);
    }
    if (kilobytes == 0) {
        struct rusage usage;
        if (getrusage(RUSAGE_SELF, &usage) == 0 && usage.ru_maxrss > 0) {
            kilobytes = (unsigned long long)usage.ru_maxrss;
        }
    }
    return (uint64_t)kilobytes * 1024;
}

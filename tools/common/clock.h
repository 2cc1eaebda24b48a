/* SPDX-License-Identifier: Apache-2.0
 *
 * Time that only runs forward, for measurements and progress.
 */
#ifndef CLOCK_H
#define CLOCK_H

/* Seconds since some moment in the past. */
double clock_seconds(void);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The little that the example needs of its device.
 */
#ifndef DEVICE_H
#define DEVICE_H

void device_print(const char *text);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANAGER_DISK_H
#define MANAGER_DISK_H

#include <stdint.h>

#include "lib/error.h"

/* Makes a disk 'path', qcow2, whose content begins as that of 'image'; 'size' in bytes, 0: as the image. */
int disk_create_overlay(const char *path, const char *image, uint64_t size, struct error *error);

#endif

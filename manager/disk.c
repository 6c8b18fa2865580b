/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/disk.h"

#include <inttypes.h>
#include <stdio.h>

#include "manager/command.h"

int disk_create_overlay(const char *path, const char *image, uint64_t size, struct error *error)
{
    char bytes[24];

    snprintf(bytes, sizeof bytes, "%" PRIu64, size);
    return command_run((const char *const[]){"qemu-img", "create", "-q", "-f", "qcow2", "-b", image, "-F",
                                             "qcow2", path, size ? bytes : NULL, NULL},
                       error);
}

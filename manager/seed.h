/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANAGER_SEED_H
#define MANAGER_SEED_H

/*
 * What tells a cloud image who it is: a NoCloud seed for cloud-init, an ISO 9660 image called "cidata" with meta-data,
 * user-data and network-config, https://cloudinit.readthedocs.io/en/latest/reference/datasources/nocloud.html.
 *
 * The documents that we write are JSON, which YAML 1.2 includes, made by jansson: no name or address in
 * them can become a key of its own.
 */

#include "lib/error.h"
#include "slice/slice.h"

/*
 * Writes the seed of 'node' to 'path', for QEMU's user. 'macs' are those of its interfaces, in their order: each gets its name, MTU
 * and addresses by them. Returns 0, or an errno value, and leaves what was at 'path' then.
 */
int seed_write(const char *path, const struct slice_node *node, const char macs[][18], struct error *error);

#endif

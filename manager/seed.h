/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANAGER_SEED_H
#define MANAGER_SEED_H

#include "slice/slice.h"

struct error;

/* Writes what tells cloud-init about a node, a NoCloud image, to the file 'path'. */
int seed_write(const char *path, const struct slice_node *node, const char macs[][18], struct error *error);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SLICE_SLICE_INTERNAL_H
#define SLICE_SLICE_INTERNAL_H

/* What the files that parse slices share. */

#include "slice/reader.h"
#include "slice/slice.h"

#define VM_MEMORY_DEFAULT (UINT64_C(256) << 20) /* bytes: what the small guest needs */

/* Adds an interface to a node; NULL: no memory. */
struct slice_interface *slice_add_interface(struct slice_node *node, const char *name, struct slice_place at);

/* Reads the list 'links' of a slice whose nodes are all there; adds the interfaces that it names. */
void slice_read_links(struct reader *reader, yaml_node_t *links, struct slice *slice);

/* Checks what the items of a slice mean together. */
void slice_check(struct reader *reader, const yaml_node_t *root, const struct slice *slice);

#endif

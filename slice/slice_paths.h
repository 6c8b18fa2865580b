/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SLICE_SLICE_PATHS_H
#define SLICE_SLICE_PATHS_H

/*
 * Paths in slice files: images. In a file they may be relative to the folder it lies in; who gets the text alone, such as the
 * manager, needs whole ones.
 */

#include "slice/slice.h"

/*
 * The text of a slice file with its relative paths made whole, relative to 'folder'; all else stays as it was. To be freed; NULL with
 * errors when that is not possible.
 */
char *slice_with_whole_paths(const char *text, size_t size, const char *folder, struct slice_errors *errors);

/* A node with a path that is not whole; NULL: there is none. */
const struct slice_node *slice_find_relative_path(const struct slice *slice);

#endif

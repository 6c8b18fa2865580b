/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_SLICE_FILE_H
#define CLI_SLICE_FILE_H

#include "cli/cli.h"
#include "slice/slice.h"

/* Reads a slice file; NULL: all its mistakes have been told, in the form that the user asked for. */
struct slice *slice_file_read(const struct cli *cli, const char *path);

#endif

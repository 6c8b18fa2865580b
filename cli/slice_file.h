/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_SLICE_FILE_H
#define CLI_SLICE_FILE_H

#include "cli/cli.h"
#include "slice/slice.h"

/* Reads a slice file; NULL: all its mistakes have been told, in the form that the user asked for. */
struct slice *slice_file_read(const struct cli *cli, const char *path);

/*
 * The text of a slice file that is good, with whole paths, to be freed; '*name' is the slice's. NULL: its mistakes have been told.
 */
char *slice_file_text(const struct cli *cli, const char *path, char name[SLICE_NAME_SIZE]);

/*
 * The slice file that a command means: 'given', or when that is NULL the only one in the folder. EXIT_OK, or it has been told that
 * there is none, or several.
 */
int slice_file_choose(const char *given, char path[SLICE_PATH_SIZE]);

#endif

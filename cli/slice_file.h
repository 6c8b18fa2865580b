/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_SLICE_FILE_H
#define CLI_SLICE_FILE_H

/* Slice files, and which slice a command means: the one in the only file of the folder, if nothing else is said. */

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

/* Options that say which slice a command means. */
struct slice_choice {
    const char *file;  /* -t FILE */
    const char *slice; /* --slice SLICE */
};

/* Takes them out of the arguments; false: a value is missing, or both are there. */
bool slice_choice_take(struct slice_choice *choice, int *argc, char **argv);

/* The name of the slice that is meant. EXIT_OK, or the failure has been told. */
int slice_choose(const struct cli *cli, const struct slice_choice *choice, char name[SLICE_NAME_SIZE]);

/* Tells that something has been done with a slice: "Slice demo: running." */
void slice_print_done(const json_t *result);

#endif

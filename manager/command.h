/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANAGER_COMMAND_H
#define MANAGER_COMMAND_H

/*
 * Runs programs of the system, such as ip(8), to their end.
 *
 *     command_run((const char *[]){"ip", "netns", "add", name, NULL}, &error);
 *
 * No shell stands between: a word is a word, whatever is in it.
 */

#include <stddef.h>

#include "lib/error.h"

#define COMMAND_WAIT_MS 20000

/* A program to run. */
struct command {
    const char *const *words; /* ended by NULL */
    const char *user;         /* as whom; NULL: as we are, and that alone works without being root */
    char *output; /* for what it prints to standard output, with a NUL behind it; NULL: nobody wants it */
    size_t output_size;
};

/*
 * Runs 'words', ended by NULL, with no input. Returns 0 when it ended with status 0; ENOENT when there is no such program;
 * ETIMEDOUT when it took longer than COMMAND_WAIT_MS, and was killed; else EIO, and the sentence has its last line of output.
 */
int command_run(const char *const words[], struct error *error);

/* The same with more to be said. EMSGSIZE: it printed more than there is room for. */
int command_run_with(const struct command *command, struct error *error);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_CHANGE_H
#define CLI_CHANGE_H

/*
 * A CHANGE message of the control protocol under construction:
 *
 *     struct change change = {0};
 *
 *     change_put(&change, "port", "%s", name);
 *     return change_send(cli, "port/set", &change);
 */

#include "cli/cli.h"

#define CHANGE_ARGUMENTS_MAX 8

/* Arguments, with the texts that they point to. All zero to begin with. */
struct change {
    unsigned n;
    struct message_argument arguments[CHANGE_ARGUMENTS_MAX];
    char texts[CHANGE_ARGUMENTS_MAX][96];
};

/* Adds the argument 'name'; its text is cut at 95 bytes. There are CHANGE_ARGUMENTS_MAX at most. */
void change_put(struct change *change, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4), nonnull));

/* Connects if need be, sends 'change' and awaits the reply. EXIT_OK, or the failure has been told. */
int change_send(struct cli *cli, const char *what, const struct change *change);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_CONSOLE_H
#define CLI_CONSOLE_H

/* A terminal at a machine's serial console, whose socket QEMU serves to one client at a time. */

#include <stdbool.h>

#include "lib/error.h"

#define CONSOLE_ESCAPE 0x1d /* Ctrl-] */

/* Whether somebody is attached to the console at 'path'; only the kernel's list of sockets knows. */
bool console_is_taken(const char *path);

/*
 * Connects what is typed at 'input' with the console at 'path', and what that prints with 'output', until CONSOLE_ESCAPE or the end of
 * 'input', or a signal to end. A terminal is raw meanwhile, and as it was behind. Returns 0; EPIPE when the machine has
 * ended; else a positive errno value: EBUSY when somebody else is attached.
 */
int console_attach(const char *path, int input, int output, struct error *error);

#endif

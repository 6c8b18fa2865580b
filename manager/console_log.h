/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANAGER_CONSOLE_LOG_H
#define MANAGER_CONSOLE_LOG_H

/*
 * Logs of serial consoles. QEMU appends what a guest prints to a file, whether the manager runs or not, and has no bound of
 * its own; virtlogd has, but is a daemon of the system's that the embedded driver does without. So the manager looks now and
 * then. A serial port is slow, which bounds what a guest can write in between.
 */

#include <stdint.h>

#include "lib/error.h"

#define CONSOLE_LOG_SIZE_MAX (1u << 20) /* with its predecessor twice that are kept */

/*
 * If the log 'path' has more than 'size_max' bytes, moves the last 'size_max' of them to "PATH.1", and empties it. What is printed
 * in that moment may be lost. Nothing is done, and that is no error, when there is no log.
 */
int console_log_bound(const char *path, uint64_t size_max, struct error *error);

/* Removes a log with its predecessor. */
void console_log_remove(const char *path);

#endif

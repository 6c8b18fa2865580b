/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANAGER_MANAGER_H
#define MANAGER_MANAGER_H

/*
 * The node's manager: daemons, keeper and socket put together, on one event loop. The keeper's thread does what takes long;
 * what it tells comes through a mailbox. The loop waits for nobody.
 */

#include "lib/error.h"
#include "manager/config.h"

/*
 * Runs until SIGTERM or SIGINT, which leave everything else running, or until a request has taken the node down. 'down': takes it
 * down at once, and listens to nobody. 0, or an errno value with a sentence.
 */
int manager_run(const struct config *config, bool down, struct error *error);

/*
 * Takes the node down: has the manager that runs do it, or if there is none does it itself. Slices stay in the database, and run
 * again with the next manager.
 */
int manager_take_down(const struct config *config, struct error *error);

#endif

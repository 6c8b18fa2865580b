/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_CONTROL_FAKE_H
#define FASTPATH_CONTROL_FAKE_H

/*
 * A fast path without packets, for tests of the control server and of the
 * command line: ports are names in an array, workers do nothing, rules are real.
 * control_fake.c stands in for port.c, worker.c and what lies below them.
 */

#include <stdbool.h>
#include <stdint.h>

#include "lib/limits.h"

/* How often workers_synchronize() was called. */
extern uint32_t fake_n_synchronized;

/* Room for so many rules, when the next fast path is made. */
extern uint32_t fake_rules_max;

/* Ports that have a link; those with even ids have one anyway. */
extern bool fake_up[PORTS_MAX];

/* Opens the control socket at 'path', for someone else to serve. */
void fake_create(const char *path);

/* Forgets all settings of what is offloaded. There are no ports and rules. */
void fake_restart_offload(void);

/* Ends what fake_create() began: removes all ports and rules, and closes the socket. */
void fake_destroy(void);

/* The same, and serves it in a thread, until a client says STOP. */
void fake_start(const char *path);

/* Waits for the end of that thread, removes all ports and rules, and closes the socket. */
void fake_finish(void);

#endif

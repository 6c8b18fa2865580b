/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_FASTPATH_H
#define FASTPATH_FASTPATH_H

/*
 * The daemon: DPDK, workers, rule table, control socket, in the order in which
 * they are started. One fast path in a process.
 */

#include "fastpath/options.h"

/* Starts everything; on return ports can be added and the control socket answers. */
int fastpath_start(const struct options *options, struct error *error);

/* Serves the control socket until SIGTERM, SIGINT or a client says stop. */
int fastpath_run(struct error *error);

/* Stops and frees everything, also what a failed fastpath_start() left. */
void fastpath_stop(void);

#endif

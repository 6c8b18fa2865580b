/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANAGER_DAEMONS_H
#define MANAGER_DAEMONS_H

/*
 * The daemons of the node: ovsdb-server with our database and Open vSwitch's, vnode-fastpath, ovs-vswitchd. They are found
 * again when they run already, and go on when the manager ends; daemons_stop() alone ends them.
 *
 *     daemons_open(&daemons, loop, &config, changed, argument, &error);   // database server and fast path
 *     daemons_start_vswitch(daemons, &error);    // when its database says how it shall run
 *     ...
 *     daemons_leave(daemons);
 *
 * Everything happens on the loop's thread; opening takes as long as ovsdb-tool(1) needs.
 */

#include <jansson.h>
#include <uv.h>

#include "lib/error.h"
#include "manager/config.h"

#define DAEMON_VSWITCH "ovs-vswitchd"

struct daemons;

/*
 * Makes the folders, and starts or finds what can run at once. 'changed' is told when a daemon has been started, with its process
 * id, and when it has ended, with 0.
 */
int daemons_open(struct daemons **daemons, uv_loop_t *loop, const struct config *config,
                 void (*changed)(const char *name, int pid, void *argument), void *argument,
                 struct error *error);

/* Starts or finds ovs-vswitchd, if it is ours to run; no error when it is there already. */
int daemons_start_vswitch(struct daemons *daemons, struct error *error);

/* Our database, and Open vSwitch's: "unix:/...". */
const char *daemons_db(const struct daemons *daemons);
const char *daemons_vswitch_db(const struct daemons *daemons);

/* How a private Open vSwitch shall run, other_config: an object, to be freed; NULL: it is not ours. */
json_t *daemons_vswitch_config(const struct config *config);

/* An array of {"name", "pid", "starts", "cpu_time_ns", "memory"}, to be freed. */
json_t *daemons_list(const struct daemons *daemons);

/* Ends them all, those that need others first; calls 'ended' and frees 'daemons'. */
void daemons_stop(struct daemons *daemons, void (*ended)(void *argument), void *argument);

/* Frees 'daemons' (NULL: nothing); they go on. */
void daemons_leave(struct daemons *daemons);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PMD_CONNECTION_H
#define PMD_CONNECTION_H

/*
 * The control connection to one fast path. All devices with the same fastpath= argument share one. A thread of
 * its own does all that goes over the socket: it connects (for ever, with growing pauses), attaches
 * as the vSwitch, adds the devices' ports and opens their rings, sends what flow.c wants sent and hands it the
 * replies. When the fast path dies it takes the rings from the bursts and starts anew; the devices stay.
 *
 *     struct connection *connection = connection_get("/run/vnode/fastpath.sock");
 *     connection_add(connection, representor);      returns at once; the port is there later
 *     ...
 *     connection_remove(connection, representor);   waits at most DRIVER_WAIT_MS
 *     connection_put(connection);
 *
 * For flow.c: put a request on a list of your own, call connection_wake(); the thread then calls
 * flows_next_request() until that returns false or CLIENT_WINDOW requests are unanswered, and flows_reply() for each
 * reply, in the order of the requests.
 *
 * Locks, in the order in which they are taken: that of all connections (get, put), one connection's (its devices), those of flow.c,
 * one connection's shared counters. flow.c is called with the connection's lock held in
 * flows_representor_changed() only.
 */

#include <stdbool.h>
#include <stdint.h>

#include "pmd/driver.h"

struct flows;

/* The connection to the fast path at 'path', made if need be; NULL: no memory, no thread. DPDK's user's thread. */
struct connection *connection_get(const char *path);

/* The last one ends the connection, which takes at most DRIVER_WAIT_MS of the caller's time. */
void connection_put(struct connection *connection);

/* Gives the connection a device to set up. The device must stay until connection_remove() has returned. */
void connection_add(struct connection *connection, struct representor *representor);

/*
 * Takes it back; the bursts find no rings any more. A port that the driver added is removed from the fast path, of another one
 * the rings are given back, so that whoever comes next gets them; the caller waits for that, at most DRIVER_WAIT_MS.
 */
void connection_remove(struct connection *connection, struct representor *representor);

/* There is a request to send. Any thread; a system call only when the connection's thread sleeps. */
void connection_wake(struct connection *connection);

/* Whether requests can be sent now: the fast path is there, and we are its vSwitch. Any thread. */
bool connection_is_attached(const struct connection *connection);

/* The rules of this connection (flow.h). Set once. */
struct flows *connection_flows(const struct connection *connection);

/* Packets and bytes in slot 'slot' of the shared counters. False: not attached. Any thread, a lock and two loads. */
bool connection_rule_counters(struct connection *connection, uint32_t slot, uint64_t *packets, uint64_t *bytes);

/* All that was ever counted of the representor's port, by this fast path and earlier ones. Any thread. */
void connection_port_totals(struct connection *connection, const struct representor *representor,
                            struct representor_totals *totals);

/* Whether packets can pass: the fast path is there, and says that the port's link is up. Any thread. */
bool connection_port_is_up(struct connection *connection, const struct representor *representor);

/* How often the connection was lost. */
uint64_t connection_n_reconnects(const struct connection *connection);

/* DPDK's number of this fast path as a switch (struct rte_eth_switch_info). */
uint16_t connection_switch_domain(const struct connection *connection);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PMD_FLOW_H
#define PMD_FLOW_H

/*
 * Rules: what Open vSwitch asks for by rte_flow becomes managed rules of the fast path. 'struct flows' are those
 * of one connection.
 */

#include <stdbool.h>
#include <stdint.h>

#include "pmd/connection.h"
#include "proto/client.h"

struct rte_flow_ops;
struct flows;

#define FLOW_SLOTS (1u << 20) /* rules of one connection at most: slots of the shared counters asked for */

extern const struct rte_flow_ops vnode_flow_ops;

/* NULL: no memory. When the connection is made, and when it is given up and its thread has ended. */
struct flows *flows_create(struct connection *connection);
void flows_destroy(struct flows *flows);

/*
 * The device comes and goes. DPDK's user's thread; when the second one returns, no rule refers to it. The fast path removes the
 * rules that have to do with a port along with the port.
 */
int flows_add_representor(struct flows *flows, struct representor *representor);
void flows_remove_representor(struct flows *flows, struct representor *representor);

/* The connection's thread: the fast path answers, the ports (those that could be had) are set up. */
void flows_attached(struct flows *flows, const struct message_attached *attached);

/* The connection's thread: the connection is lost; there will be no reply to what was sent. */
void flows_detached(struct flows *flows);

/* The connection's thread, while attached: this device got its port (port_id is set), or lost it. */
void flows_representor_changed(struct flows *flows, struct representor *representor);

/*
 * The connection's thread: there is room for a request. Begins it (client_begin() and its body; the caller
 * sends it) and leaves in '*cookie' what is to come back with the reply. False: there is nothing to send.
 */
bool flows_next_request(struct flows *flows, struct client *client, uint64_t *cookie);

/* The connection's thread: the reply, OK or ERROR. */
void flows_reply(struct flows *flows, uint64_t cookie, struct message *reply);

/* Counters of a device for xstats: how many there are, their names ("rules_refused_..."), their values. Any thread. */
unsigned flows_n_counters(void);
const char *flows_counter_name(unsigned i);
uint64_t flows_counter(const struct representor *representor, unsigned i);

#endif

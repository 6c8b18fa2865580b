/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PMD_FLOW_CARRY_H
#define PMD_FLOW_CARRY_H

/*
 * Packets that a flow counted between its last query and its end were never told to anybody. Open vSwitch changes a flow by
 * destroying and creating it, and soon learns one again that it removed; so they are given to the next flow of the same
 * input port with the same match, and what Open vSwitch adds up stays exact.
 *
 * A bounded number of ended flows is kept, the oldest is forgotten. The caller locks.
 */

#include <stdint.h>
#include <sys/queue.h>

struct rte_flow;

#define FLOW_CARRY_MAX 4096     /* ended flows that are remembered */
#define FLOW_CARRY_BUCKETS 4096 /* a power of two */

TAILQ_HEAD(flow_bucket, rte_flow);

struct flow_carry {
    struct flow_bucket *buckets; /* NULL: none yet */
    struct flow_bucket order;    /* the oldest first */
    unsigned n;
    uint64_t n_forgotten_packets;
};

void flow_carry_init(struct flow_carry *carry);
void flow_carry_finish(struct flow_carry *carry);

/* Takes over an ended flow, in no list, whose 'packets' and 'bytes' are what is to be subtracted from 0. */
void flow_carry_put(struct flow_carry *carry, struct rte_flow *flow);

/* Gives 'flow', new, what was kept for its match. Returns the number of packets. */
uint64_t flow_carry_take(struct flow_carry *carry, struct rte_flow *flow);

/* Forgets what was kept for the input port with DPDK's id 'port'. */
void flow_carry_forget(struct flow_carry *carry, uint16_t port);

#endif

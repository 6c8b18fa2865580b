/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PMD_BURST_H
#define PMD_BURST_H

/*
 * A device's packets: bursts copy between its rings and mbufs. One copy, no allocation but mbufs, no lock that
 * anybody holds longer than a burst.
 *
 * A frame is given back to the fast path as soon as it is copied. That the vSwitch is done with a burst the fast path
 * sees from the ring's 'came_back': it changes when the vSwitch asks the same queue again, and Open vSwitch sends what
 * a burst made it send before it does that.
 */

#include "pmd/driver.h"

struct rte_mbuf;

/* rte_eth_rx_burst(). 'queue' is a struct receive_queue. 0 when the fast path is not there. */
uint16_t representor_receive(void *queue, struct rte_mbuf **packets, uint16_t n);

/*
 * rte_eth_tx_burst(). 'queue' is a struct send_queue. Fewer than 'n' when the ring is full; when the fast path is
 * not there all packets are freed and counted.
 */
uint16_t representor_send(void *queue, struct rte_mbuf **packets, uint16_t n);

/* Gives mbufs taken ahead back to the pool. Nobody receives from the queue. */
void receive_queue_drain(struct receive_queue *queue);

/*
 * Puts rings to use, which are mapped in representor->memory, and takes them out of it; after the second no burst touches
 * them. The connection's thread, or whoever holds its lock.
 */
int representor_attach_rings(struct representor *representor, struct error *error);
void representor_detach_rings(struct representor *representor);

#endif

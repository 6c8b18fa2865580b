/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_ETHDEV_PORT_H
#define FASTPATH_ETHDEV_PORT_H

/*
 * Uplinks: ports on anything that DPDK drives. ethdev_port.c sets devices up and takes
 * them down, ethdev_queue.c moves packets; this header is between the two, and for tests.
 */

#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "fastpath/port_internal.h"

struct ethdev_receive_queue {
    struct receive_queue queue;
    uint16_t device; /* DPDK's port id */
    bool has_switch; /* its wake-ups are turned on and off by rte_eth_dev_rx_intr_*() */
    int wake_fd;     /* readable when packets arrive; -1: there is none */
    uint16_t n_descriptors;
    uint16_t n_stashed; /* received while the worker was about to sleep, still to be handed out */
    struct rte_mbuf *mbufs[BURST_MAX];
};

struct ethdev_send_queue {
    struct send_queue queue;
    uint16_t device;
    uint16_t index;
    bool multiple_segments; /* the driver takes chained mbufs */
    struct rte_mempool *pool;
};

extern const struct receive_ops ethdev_receive_ops;      /* a packet can wake the worker */
extern const struct receive_ops ethdev_receive_ops_naps; /* ... or not */
extern const struct send_ops ethdev_send_ops;

/*
 * Makes 'packet' of a received 'mbuf', with room for its pieces in 'more'. The mbuf
 * belongs to the packet on success. Returns 0, or a drop reason + 1.
 */
int packet_from_mbuf(struct packet *packet, struct rte_mbuf *mbuf, uint16_t in_port,
                     struct packet_segment *more);

/*
 * Makes an mbuf of 'packet', ready to send by 'queue': the packet's own when it has one that is
 * not 'shared' with further outputs and fits (packet->mbuf is NULL then), else a copy. Returns
 * NULL when no mbuf is free.
 */
struct rte_mbuf *packet_to_mbuf(struct packet *packet, const struct ethdev_send_queue *queue, bool shared);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PMD_DRIVER_H
#define PMD_DRIVER_H

/*
 * The DPDK driver net_vnode: each of its devices is a *representor*, the vSwitch's view
 * of one port of a fast path. Open vSwitch loads it (dpdk-extra="-d.../librte_net_vnode.so") and
 * adds devices by name and arguments:
 *
 *     net_vnode_vm1,vhost=/run/vm1.sock
 *
 * What follows "net_vnode_" is the port's name in the fast path. docs/vswitch.md lists the arguments.
 *
 * driver.c          devices come and go
 * arguments.c       what a device's arguments say
 * connection*.c     the control connection to a fast path, shared by all devices that name its socket
 * representor.c     a device: what DPDK asks and sets
 * burst.c           a device's packets
 * statistics.c      a device's counters
 * flow*.c           rules (rte_flow)
 *
 * Threads: DPDK's user (Open vSwitch's main thread) makes, configures and closes devices, one call at a time;
 * its polling threads call the bursts, each queue by one thread at a time; its offload thread calls rte_flow. Each
 * connection has a thread of its own, which alone uses the control socket. Nobody else ever waits for the fast path
 * longer than DRIVER_WAIT_MS.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <rte_ether.h>

#include "lib/limits.h"
#include "pmd/ring_claim.h"
#include "proto/message.h"
#include "proto/packet_ring.h"

#define DRIVER_NAME_PREFIX "net_vnode_"
#define DRIVER_WAIT_MS 100 /* longest wait of DPDK's user for an answer of the fast path */

#define REPRESENTOR_MTU_MAX 9000
#define REPRESENTOR_BURST_MAX 32 /* frames that a burst takes from a ring at once */
#define REPRESENTOR_SEND_QUEUES_MAX 128

struct connection;
struct representor;
struct rte_mbuf;
struct rte_mempool;

/* What the fast path sends to the vSwitch from one receive queue of its port. */
struct receive_ring {
    struct ring_claim claim;
    bool attached; /* the ring is mapped */
    bool faulty;   /* it broke, and that was counted */
    struct packet_ring_consumer consumer;
    _Atomic uint64_t n_packets, n_oversized, n_unfinished, n_faults; /* driver_count() */
    uint64_t n_dropped_before; /* by the producers of the rings that were here before */
} __attribute__((aligned(128)));

/* What the vSwitch sends out of the port; several send queues of DPDK may share one. */
struct send_ring {
    struct ring_claim claim;
    bool attached;
    int doorbell; /* eventfd */
    struct packet_ring_producer producer;
    _Atomic uint64_t n_packets, n_full, n_oversized, n_detached;
} __attribute__((aligned(128)));

/* A receive queue of DPDK: it polls the rings index, index + n, ... where n is the number of such queues. */
struct receive_queue {
    struct representor *representor;
    struct rte_mempool *pool;
    uint32_t room; /* bytes of a frame that fit one mbuf of the pool */
    uint16_t index, n_queues;
    uint16_t turn; /* which of its rings is polled first next time */
    uint16_t n_spare;
    _Atomic uint64_t n_no_mbuf;                    /* bursts that found the pool empty */
    struct rte_mbuf *spare[REPRESENTOR_BURST_MAX]; /* taken from the pool ahead of the frames */
} __attribute__((aligned(64)));

/* A send queue of DPDK: it uses the ring index % n, where n is the number of rings. */
struct send_queue {
    struct representor *representor;
    uint16_t index;
};

enum representor_state {
    REPRESENTOR_ABSENT,  /* the fast path does not know of it, or is not there */
    REPRESENTOR_ADDING,  /* PORT_ADD is under way */
    REPRESENTOR_OPENING, /* RING_OPEN is under way */
    REPRESENTOR_READY,
};

/* A port's counters: of the present fast path, or of the earlier ones together. */
struct representor_totals {
    uint64_t rx_packets, rx_bytes, rx_dropped;
    uint64_t tx_packets, tx_bytes, tx_dropped;
};

struct representor {
    /* set once */
    struct connection *connection;
    uint16_t ethdev_id;           /* DPDK's port id */
    struct message_port_add spec; /* the port in the fast path */
    struct rte_ether_addr mac;    /* DPDK's user may change it */
    uint16_t n_receive_max;       /* receive queues that make sense */

    /* written by the connection's thread */
    _Atomic int32_t port_id; /* in the fast path; -1: not there (bursts do nothing then, rules cannot name it) */
    _Atomic uint32_t n_rings;
    struct packet_ring_memory memory;
    int doorbells[2]; /* eventfds: the one for us (not used: the vSwitch polls), the one for the fast path */

    /* under the connection's lock */
    enum representor_state state;
    bool is_added;     /* the fast path said so, and has not been lost since */
    bool opening_sent; /* RING_OPEN was */
    int32_t added_id;  /* the reply to PORT_ADD: 'port_id' once the rings are there */
    uint32_t handle;   /* of the rings, for RING_CLOSE; 0: there are none */
    uint64_t retry_at_ns, retry_delay_ns;
    char complaint[256]; /* what the log was told last, so as not to repeat it */
    struct representor *next;
    struct representor_totals earlier; /* counted by fast paths that are gone, or by another port of that name */
    struct representor_totals latest; /* what the present one said last */
    uint64_t counted_by;              /* start time of the fast path that 'latest' is of */

    _Atomic bool started;           /* by DPDK's user */
    struct representor_totals zero; /* what was there at the last reset. DPDK's user's thread */

    /* the rules' (flow.c) */
    void *flows;

    struct receive_ring receive[QUEUES_MAX];
    struct send_ring send[QUEUES_MAX];
};

/* Adds to a counter that one thread at a time writes and any thread reads. */
static inline void driver_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

/* The representor behind DPDK's port 'ethdev_id'; NULL: that is not a device of this driver. Any thread. */
struct representor *representor_by_ethdev(uint16_t ethdev_id);

/* One line each in the log of DPDK's user, with the driver's name in front. Not in bursts. */
void driver_log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void driver_log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void driver_log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_PORT_INTERNAL_H
#define FASTPATH_PORT_INTERNAL_H

/*
 * What workers and port back ends know of a port.
 *
 * A port has receive queues, each polled by one worker, and send queues that
 * any worker may use, one at a time. A back end embeds 'struct port',
 * 'struct receive_queue' and 'struct send_queue' at the start of its own
 * structures and fills the ops in.
 *
 * Life: port_ops.create() builds a port that is not 'up'; port_add() publishes it
 * to the workers; the back end raises and lowers 'ready' of its queues as its guest
 * or link comes and goes. Before it takes anything from under a queue, a back
 * end clears 'ready' and calls workers_synchronize(). port_remove() unpublishes
 * the port, synchronizes, and calls destroy().
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fastpath/doorbell.h"
#include "fastpath/packet.h"
#include "fastpath/port.h"

struct burst;
struct flow_table;
struct move_queue;
struct port;
struct rate_bucket;
struct rate_in;
struct representor;
struct send_queue;
struct worker;

/* Counters of one port, kept by one worker. */
struct port_counters {
    uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes, to_vswitch, from_vswitch;
    uint64_t n_holds, held_units; /* port_rate.h, rate.h */
    uint64_t drops[DROP_REASON_COUNT];
} __attribute__((aligned(64)));

/* What a queue whose owner can wait has to do with the vSwitch's ring (onload.h). The queue's worker only. */
struct onload_state {
    uint32_t size; /* bytes of the largest packet of the last burst that went to the vSwitch; 0: none did */
    uint8_t gso_bursts; /* for so many bursts yet, packets may be as large as those that are to be segmented */
    bool is_held;
    uint64_t until;    /* time (rate.h) of the next look, when it is held */
    uint64_t progress; /* representor_progress() at the last look that found no room ... */
    uint64_t since;    /* ... and since when it is that */
};

struct receive_queue {
    struct port *port;
    const struct receive_ops *ops;
    uint16_t index;                     /* of the queue in its port */
    uint16_t worker;                    /* who polls it */
    uint16_t likely_output;             /* worker: id of the port that its packets went to last */
    bool from_vswitch;                  /* packets leave by 'port' without a look-up (a representor's ring) */
    _Atomic bool ready;                 /* workers may touch it */
    _Atomic(struct move_queue *) moves; /* rules that move, see move.h; NULL: none */
    _Atomic(struct rate_in *) rate;     /* the port's limit, see port_rate.h; NULL: none */
    struct onload_state onload;
};

struct receive_ops {
    /*
     * Looks at what will be received next and gets it on its way into the cache. Called while
     * there is other work to do. Returns how many packets that is, at most BURST_MAX. May be NULL.
     */
    uint16_t (*prepare)(struct receive_queue *queue);

    /*
     * Takes up to 'most' packets, which is 1 to BURST_MAX, from 'queue' into 'burst': sets burst->n and
     * packets[0..n), heads in burst->heads or in mbufs. A device that has its own way takes up to BURST_MAX whatever
     * 'most' is. Counts rx and drops of what is malformed. Returns how many were taken off the queue, dropped ones included.
     */
    uint16_t (*receive)(struct receive_queue *queue, struct burst *burst, uint16_t most);

    /* The burst of the last receive() (packets[0..n_received)) is finished: its buffers go back to their owner. */
    void (*release)(struct receive_queue *queue, struct burst *burst);

    /*
     * Notifies the owner of the buffers released since the last call, if it wants to know. Called
     * behind a full memory fence, once for the work of a round. May be NULL. Makes system calls.
     */
    void (*notify)(struct receive_queue *queue);

    /*
     * The worker is about to sleep: asks for a wake-up when something arrives.
     * Returns false when something has arrived already. NULL: can not wake;
     * the worker then sleeps for short times only.
     */
    bool (*arm)(struct receive_queue *queue);

    /* The worker is awake again: wake-ups are not needed. May be NULL. */
    void (*disarm)(struct receive_queue *queue);

    /*
     * Whether packets may soon be lost because nobody takes them. Asked while the queue is paused (move.h). NULL: its
     * sender waits, or it cannot be told.
     */
    bool (*crowded)(struct receive_queue *queue);
};

struct send_queue {
    struct port *port;
    const struct send_ops *ops;
    _Atomic bool ready;
    _Atomic bool busy; /* taken by a worker for one burst, when there are several */
};

struct send_ops {
    /* Up to 'n' packets are probably going to be sent: looks at the buffers for them. Claimed like send(). May be NULL. */
    void (*prepare)(struct send_queue *queue, uint16_t n);

    /*
     * Sends 'n' packets, in order. All fit the port's offloads and frame_size_max. Returns
     * how many were sent; drops, with their reasons, are counted by the callee. An ethdev
     * may keep a packet's mbuf: it then sets packet->mbuf to NULL, unless 'shared'
     * (more outputs follow), in which case it has to copy.
     */
    uint16_t (*send)(struct send_queue *queue, struct worker *worker, struct packet *const packets[],
                     uint16_t n, bool shared);

    /* Like receive_ops.notify, for what was sent. May be NULL. */
    void (*notify)(struct send_queue *queue);
};

/* Bits of 'offloads': what may be left to the receiver. */
#define PORT_OFFLOAD_BASE 1u                  /* always set: packets without any request */
#define PORT_OFFLOAD_GSO(type) (1u << (type)) /* PACKET_GSO_* without ECN: 1, 3, 4, 5 */
#define PORT_OFFLOAD_ECN (1u << 8)
#define PORT_OFFLOAD_CSUM (1u << 9)

/* Bytes of a frame that its MTU does not count: Ethernet header and two VLAN tags. */
#define PORT_FRAME_OVERHEAD 22

struct port {
    /* set once */
    uint16_t id;
    uint16_t n_receive, n_send;
    const struct port_ops *ops;
    struct flow_table *table;
    struct receive_queue *receive[QUEUES_MAX];
    struct send_queue *send[QUEUES_MAX];
    struct port_counters *counters; /* [WORKERS_MAX] */
    struct port_spec spec;

    /* set by the back end while its queues are not ready */
    uint32_t offloads;       /* PORT_OFFLOAD_* of the receiver */
    uint32_t frame_size_max; /* bytes that the receiver takes, for a frame without segmentation */
    bool shared_rules;       /* receive queues on several workers: rule counters need atomic adds */

    /* shared */
    _Atomic uint16_t n_send_active;            /* send queues that the receiver uses, >= 1 when up */
    _Atomic(struct representor *) representor; /* NULL: misses are dropped */
    _Atomic(struct capture *) capture;         /* NULL: nobody looks */
    _Atomic(struct rate_bucket *) rate_out;    /* NULL: no limit */
    struct doorbell_peer vswitch, watcher;     /* who has the other end of those, one after the other */

    /* control only */
    struct port_rates rates; /* as asked for */
};

struct port_ops {
    /* Makes a port from '*spec' with all but id, table and counters filled in; NULL with 'error' on failure. */
    struct port *(*create)(const struct port_spec *spec, struct error *error);

    /* Called once the workers know the port: begins to connect, listen or receive. */
    int (*start)(struct port *port, struct error *error);

    /* Takes the queues out of use (workers may still look at them until the next synchronize). */
    void (*stop)(struct port *port);

    /* No worker knows the port any more: frees it. */
    void (*destroy)(struct port *port);

    void (*get_status)(const struct port *port, struct port_status *status);

    /* port_get_missed(). May be NULL. */
    uint64_t (*get_missed)(const struct port *port);
};

extern const struct port_ops vhost_port_ops, ethdev_port_ops;

/* The published ports, by id; NULL where there is none. Workers load with acquire, between quiescent states. */
extern _Atomic(struct port *) ports[PORTS_MAX];

static inline struct port *port_by_id(uint16_t id)
{
    return id < PORTS_MAX ? atomic_load_explicit(&ports[id], memory_order_acquire) : NULL;
}

/* A worker's memory for the burst it works on. */
struct burst {
    uint16_t n;
    uint16_t n_received; /* back ends that need it: what receive() gave; those rejected since lie behind the 'n' */
    bool parsed; /* all packets, so that 'keys' and offsets count; else only those with open requests */
    struct worker *worker;
    struct packet *all[BURST_MAX]; /* &packets[0], &packets[1], ... */
    struct packet packets[BURST_MAX];
    struct flow_key keys[BURST_MAX];
    struct rule *rules[BURST_MAX];
    struct packet_segment more[BURST_MAX][PACKET_SEGMENTS_MAX];
    struct {
        uint8_t headroom[PACKET_HEADROOM];
        uint8_t bytes[SNAPSHOT_SIZE_MAX];
    } heads[BURST_MAX] __attribute__((aligned(64)));
};

#endif

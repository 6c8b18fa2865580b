/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_MOVE_TESTBED_H
#define FASTPATH_MOVE_TESTBED_H

/*
 * Three ports with representors, rules between them, and the vSwitch's ends of the rings, all in one process and without
 * worker threads: tests poll queues and move frames step by step, or from threads of their own. It stands in for
 * the port table and the workers.
 *
 * Every frame bears its flow and a sequence number. A port's only send queue checks that those of a flow leave one by
 * one, none missing, none late.
 */

#include "fastpath/flow_table.h"
#include "fastpath/representor.h"
#include "fastpath/worker_internal.h"
#include "proto/packet_ring.h"

#define BED_FLOWS 32
#define BED_FRAME_SIZE 60
#define BED_QUEUES 2 /* receive queues of every port */

enum bed_port_id { BED_IN, BED_OUT, BED_OTHER, BED_PORTS };

struct bed_port {
    struct port port;
    struct port_counters counters[WORKERS_MAX];
    struct receive_queue receive[BED_QUEUES];
    struct send_queue send;

    /* what the send queue saw: written by whoever has claimed it */
    _Atomic uint64_t next[BED_FLOWS]; /* sequence number that is to come */
    _Atomic uint64_t n_delivered, n_lost, n_reordered;
    _Atomic uint64_t n_offloaded; /* delivered that came in by another port */

    /* the representor, and the vSwitch's ends of its rings */
    struct representor_offer offer;
    struct receive_queue *rings[BED_QUEUES];
    struct packet_ring_memory memory;
    struct packet_ring_consumer from_fastpath[BED_QUEUES];
    struct packet_ring_producer to_fastpath[BED_QUEUES];
};

struct bed {
    struct flow_tables *tables;
    struct bed_port ports[BED_PORTS];
    struct worker workers[2];
    uint64_t next[BED_FLOWS]; /* sequence number that is sent next, of each flow */
};

/* Called for workers_synchronize(); NULL: nothing to wait for. */
extern void (*bed_synchronize)(void);
extern unsigned bed_n_synchronized, bed_n_woken;

struct bed *bed_create(void);
void bed_destroy(struct bed *bed);

/* Gives a port a representor, and the vSwitch its rings; or ends that. */
void bed_attach(struct bed *bed, enum bed_port_id port);
void bed_detach(struct bed *bed, enum bed_port_id port);

/* Adds rule 'id' for 'flow', from BED_IN, and onload, with 'n' actions. */
struct rule *bed_add_rule(struct bed *bed, uint64_t id, unsigned flow, const struct action actions[],
                          uint16_t n);

/* Worker 'worker' forwards 'n' frames of 'flow' that it took from queue 'queue' of BED_IN. */
void bed_forward(struct bed *bed, unsigned worker, unsigned queue, unsigned flow, uint16_t n);

/* The same with a flow for each frame. */
void bed_forward_mixed(struct bed *bed, unsigned worker, unsigned queue, const unsigned flows[], uint16_t n);

/* Worker 'worker' polls a ring from the vSwitch once. Returns how many frames it took. */
uint16_t bed_poll_ring(struct bed *bed, unsigned worker, enum bed_port_id port, unsigned queue);

/* The vSwitch puts a copy of 'frame' into a ring, unpublished. False: it is full. */
bool bed_output(struct bed *bed, enum bed_port_id port, unsigned queue, const struct packet_ring_frame *frame);

/* What a frame bears. */
unsigned bed_flow(const uint8_t *frame);
uint64_t bed_sequence(const uint8_t *frame);

#endif

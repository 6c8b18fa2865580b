/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_WORKER_H
#define FASTPATH_WORKER_H

/*
 * Workers: one thread on each core given to the fast path. A worker polls the
 * receive queues assigned to it, forwards what it finds, and sleeps when it
 * found nothing for a bounded time. It takes new configuration only between
 * bursts, and says so (a quiescent state) once each round of its loop.
 */

#include <stdint.h>

#include "lib/error.h"

/* Starts a worker on each DPDK worker lcore. */
int workers_start(struct error *error);
void workers_stop(void);
uint16_t workers_count(void);

/* Waits until each worker has passed a quiescent state, or sleeps. Any thread but a worker; takes microseconds. */
void workers_synchronize(void);

/* What a worker does with a burst, for finding out where the cycles go. */
enum worker_stage {
    WORKER_STAGE_RECEIVE, /* prepare and receive: descriptors and headers out of the guests' memory */
    WORKER_STAGE_SURVEY,  /* counting, and what the packets ask of the receiver */
    WORKER_STAGE_RULES,   /* parsing, look-up and actions; outputs that are not a rule's last action, too */
    WORKER_STAGE_SEND,    /* copies into the receivers' buffers */
    WORKER_STAGE_RELEASE, /* buffers back to the senders; notifications */
    WORKER_STAGE_COUNT
};

/* Such as "receive". */
const char *worker_stage_name(enum worker_stage stage);

struct worker_stats {
    uint64_t n_packets;    /* received from queues */
    uint64_t n_bursts;     /* bursts with at least one packet */
    uint64_t busy_cycles;  /* of rounds that received a packet */
    uint64_t idle_cycles;  /* of rounds that did not, awake */
    uint64_t sleep_cycles; /* asleep */
    uint64_t n_sleeps;
    uint64_t cache_hits; /* exact-match cache */
    uint64_t cache_misses;
    uint64_t n_lookups_missed;                 /* packets no rule matched */
    uint64_t stage_cycles[WORKER_STAGE_COUNT]; /* of one round in many */
    unsigned cpu;
    unsigned n_queues; /* receive queues polled */
};

void worker_get_stats(uint16_t index, struct worker_stats *stats);

#endif

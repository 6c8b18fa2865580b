/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_PORT_RATE_H
#define FASTPATH_PORT_RATE_H

/*
 * A port's rate may be limited, each way for itself; rate.h has the bucket. All queues and workers of the port share it.
 *
 * What comes in by the port is *held*: while the bucket is empty, no worker polls the port's queues. A guest's packets stay in its
 * ring, so nothing is lost or reordered, and the guest notices by a full ring that it is too fast. A NIC cannot wait: it drops
 * and counts what its ring does not hold (port_get_missed()).
 *
 * What goes out by the port comes from others, who have other business, too: what finds the bucket empty is dropped (tx-rate).
 *
 * Counted are the bytes of frames from the Ethernet header to the end of the payload, without preamble, padding and frame check
 * sequence. A packet that is to be segmented counts as what it would be on a wire: each segment with headers of its own.
 */

#include "fastpath/port_internal.h"
#include "fastpath/rate.h"
#include "lib/compiler.h"

/* When a queue of a port that is limited may be polled. Its worker's alone. */
struct rate_hold {
    uint64_t until; /* when it is 'is_held': not before then */
    uint64_t since;
    uint16_t most; /* packets to be taken at once */
    bool is_held;
} __attribute__((aligned(64)));

/* The limit of what comes in by a port. */
struct rate_in {
    struct rate_bucket bucket;
    uint64_t quantum;       /* units of time: held is a queue until so much is in the bucket ... */
    uint64_t quantum_bytes; /* ... which is so much, and then about as much is taken at once */
    struct rate_hold holds[QUEUES_MAX];
};

/* Workers */

/*
 * How many packets may be taken from 'queue', whose limit is 'rate', at once: 0, when it is held. To be followed by taking
 * them, and rate_in_took(), in the same worker.
 */
uint16_t rate_in_allowance(struct rate_in *rate, const struct receive_queue *queue,
                           struct port_counters *counters);

/* 'n' packets of 'n_bytes' came from 'queue'. Returns whether it is held now. */
bool rate_in_took(struct rate_in *rate, const struct receive_queue *queue, uint16_t n, uint64_t n_bytes);

/* Whether 'queue' will not be polled before '*until'. */
static inline bool rate_in_holds(const struct receive_queue *queue, uint64_t *until)
{
    const struct rate_in *rate = atomic_load_explicit(&queue->rate, memory_order_acquire);

    if (likely(!rate) || !rate->holds[queue->index].is_held)
        return false;
    *until = rate->holds[queue->index].until;
    return true;
}

/* Drops the last of 'n' packets that are to leave by 'out', which has a limit, and counts them; returns how many remain. */
uint16_t rate_out_admit(struct worker *worker, struct port *out, struct packet *const packets[], uint16_t n);

/* Control thread: no worker knows 'port' any more. */
void port_free_rates(struct port *port);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_ONLOAD_H
#define FASTPATH_ONLOAD_H

/*
 * The way to the vSwitch. What senders left open is finished first: checksums are completed, and what is to be
 * segmented is, in order with its neighbours; for Open vSwitch passes on neither request (userspace-tso, its
 * experiment, aside). So frames to the vSwitch ask for nothing, and those that were cut fit the MTU of the port that they came in by.
 */

#include "fastpath/worker_internal.h"
#include "lib/compiler.h"

/* Hands 'n' packets, taken from 'queue', to the vSwitch, or counts them as dropped. Those with open requests have been parsed. */
void onload(struct worker *worker, struct receive_queue *queue, struct packet *const packets[], uint16_t n);

/*
 * A guest whose packets find no room in the ring to the vSwitch *waits*: it notices by a full ring of its own that the vSwitch is
 * slower, as with a vSwitch alone, and nothing is lost. So its other packets wait, too; but for a vSwitch that deals with
 * nothing any more nobody waits longer than ONLOAD_PATIENCE_US: then what does not fit is dropped. Before the packets are taken nobody knows
 * where they will go; so for some bursts after one that needed room, and after one with packets to be segmented, no more
 * are taken than find room.
 */
#define ONLOAD_PATIENCE_US 50000
#define ONLOAD_GSO_BURSTS 64

/* Whether there might be too little room for the next burst of 'queue', so that onload_allowance() has to be asked. */
static inline bool onload_needs_room(const struct receive_queue *queue)
{
    return queue->onload.size | queue->onload.gso_bursts;
}

/* How many packets may be taken at once from 'queue', then; 0: none, the queue is held. */
uint16_t onload_allowance(struct receive_queue *queue);

/* Whether whoever sends by 'queue' can wait; a NIC, which can be asked whether it is crowded, waits for nobody. */
static inline bool onload_can_wait(const struct receive_queue *queue)
{
    return !queue->ops->crowded;
}

/* A burst was taken from 'queue', with packets that are to be segmented or without; before onload() gets any of it. */
static inline void onload_begin(struct receive_queue *queue, bool has_gso)
{
    queue->onload.size = 0;
    if (unlikely(has_gso) && onload_can_wait(queue))
        queue->onload.gso_bursts = ONLOAD_GSO_BURSTS;
    else
        queue->onload.gso_bursts -= queue->onload.gso_bursts > 0;
}

/* Whether 'queue' will not be polled before '*until' (rate.h), for that reason. */
static inline bool onload_holds(const struct receive_queue *queue, uint64_t *until)
{
    if (likely(!queue->onload.is_held))
        return false;
    *until = queue->onload.until;
    return true;
}

#endif

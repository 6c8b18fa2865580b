/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_DOORBELL_H
#define FASTPATH_DOORBELL_H

/*
 * Ringing doorbells: eventfds that a peer made or has a copy of, such as a guest's call eventfd.
 *
 *     struct doorbell_peer peer = {0};               // one for all doorbells of a peer
 *
 *     doorbell_watch_start();
 *     doorbell_ring(&peer, fd);                      // in any thread
 *     if (doorbell_peer_blocks(&peer))               // now or later
 *         have done with that peer
 *     doorbell_watch_stop();
 *
 * A peer can make a ring block: it fills the eventfd's counter and clears O_NONBLOCK, which
 * belongs to the open file description that both sides share. No flag that we could
 * set or look at first prevents that. So a thread of this module, the watch, interrupts whoever
 * is ringing at a tick; a ring that was interrupted did block, which a ring never does unless the
 * peer is up to something. From then on that peer's doorbells are not rung any more. So
 * a peer costs the threads that ring for it at most DOORBELL_DELAY_MS in one go, and as
 * much on average altogether if it lets go of them before the tick and blocks them again.
 */

#include <stdatomic.h>
#include <stdbool.h>

/* How long a thread waits at most for the watch to free it, on a machine that is not overloaded. */
#define DOORBELL_DELAY_MS 20

/* Whoever is woken by one or several doorbells. All zero to begin with. */
struct doorbell_peer {
    _Atomic bool blocks; /* set by doorbell_ring(), for good */
};

/* Rings the eventfd 'fd', unless a doorbell of 'peer' has blocked before. Any thread; makes a system call. */
void doorbell_ring(struct doorbell_peer *peer, int fd);

/* Whether a doorbell of 'peer' has blocked. */
static inline bool doorbell_peer_blocks(const struct doorbell_peer *peer)
{
    return atomic_load_explicit(&peer->blocks, memory_order_relaxed);
}

/*
 * Starts the watch, a thread on the caller's CPUs, which sleeps while nothing is rung; ends it, when nobody
 * rings any more. Without it rings may block. It takes the signal SIGURG for itself. Returns 0, or EAGAIN.
 */
int doorbell_watch_start(void);
void doorbell_watch_stop(void);

#endif

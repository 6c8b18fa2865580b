/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PMD_RING_CLAIM_H
#define PMD_RING_CLAIM_H

/*
 * The right to touch one end of a packet ring. A burst claims it, so that the connection's thread, which
 * unmaps rings when the fast path dies, and other send queues that share the ring keep off. A claim is held for one burst at
 * most, and its holder waits for nothing, so neither does anybody else for longer than that.
 */

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <rte_pause.h>

struct ring_claim {
    _Atomic bool taken;
};

#define RING_CLAIM_SPINS 1000 /* then the holder was probably put off its core: let it run */

/* Acquire: what the last holder did is visible. */
static inline bool ring_claim_try(struct ring_claim *claim)
{
    return !atomic_load_explicit(&claim->taken, memory_order_relaxed) &&
           !atomic_exchange_explicit(&claim->taken, true, memory_order_acquire);
}

static inline void ring_claim_wait(struct ring_claim *claim)
{
    for (unsigned spins = 0; !ring_claim_try(claim); spins++) {
        if (spins < RING_CLAIM_SPINS)
            rte_pause();
        else
            sched_yield();
    }
}

static inline void ring_claim_end(struct ring_claim *claim)
{
    atomic_store_explicit(&claim->taken, false, memory_order_release);
}

#endif

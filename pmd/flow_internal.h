/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PMD_FLOW_INTERNAL_H
#define PMD_FLOW_INTERNAL_H

/*
 * The rules of one connection, as flow.c (what DPDK's user does) and flow_sync.c (what the connection's thread does)
 * share them. A rule, in DPDK's words a flow, is in one state, and in the list that belongs to it:
 *
 *     PENDING   `pending`     it is to be sent; with no fast path there, until there is one
 *     SENT      of a batch    RULE_ADD is unanswered
 *     ACTIVE    none          the fast path has it; its slot counts
 *     WAITING   `waiting`     the fast path cannot take it now: a port of it is missing, or it was refused
 *     REMOVAL   `removals`    it is to be removed
 *     REMOVING  of a batch    RULE_REMOVE is unanswered
 *
 * From REMOVAL on, and when `doomed`, DPDK's user has given it up, and its port may be gone. What its slot counted beyond what
 * the user was told is kept by flow_carry for the next flow with the same match.
 *
 * Everything here is under flows->lock, but for what is set once and the counters. Lock order: flows->lock, then whatever
 * the connection locks for its shared counters.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "pmd/flow.h"
#include "pmd/flow_carry.h"
#include "pmd/flow_slots.h"
#include "pmd/flow_translate.h"

#define FLOW_BATCH_MAX 256 /* rules in one request */

enum flow_state { FLOW_PENDING, FLOW_SENT, FLOW_ACTIVE, FLOW_WAITING, FLOW_REMOVAL, FLOW_REMOVING };

struct rte_flow {
    TAILQ_ENTRY(rte_flow) of_port; /* flow_carry: of a bucket */
    TAILQ_ENTRY(rte_flow) of_list; /* by its state */
    struct flow_port *port;        /* NULL: the device is gone */
    uint64_t id;                   /* under which the fast path may know it; 0: it does not */
    /*
     * What is to be subtracted from the slot (from 0, while that does not count): what the user was told, less what
     * was carried over. Modulo 2^64.
     */
    uint64_t packets, bytes;
    uint32_t slot;
    uint32_t wait;       /* who waits for its removal (struct flow_wait); 0: nobody */
    uint32_t match_hash; /* of the input port and the matches */
    uint16_t wire_size, matches_size;
    uint8_t state; /* enum flow_state */
    bool counts;   /* the slot is this flow's, and was reset for it */
    bool doomed;   /* SENT: to be removed as soon as the reply is there */
    bool alone;    /* PENDING: to be sent in a request of its own */
    /* As wire_put_rule() writes it, with DPDK's ids of ports; 'matches_size' bytes of matches from FLOW_MATCHES on. */
    uint8_t wire[];
};

#define FLOW_IN_PORT 8 /* offsets in 'wire' */
#define FLOW_N_MATCHES 13
#define FLOW_N_ACTIONS 14
#define FLOW_MATCHES WIRE_RULE_SIZE_MIN

#define FLOW_NO_PORT UINT16_MAX /* in 'wire': a port that is gone for good */

TAILQ_HEAD(flow_list, rte_flow);

/* Counters of a device. Only the owner's and the connection's thread write, but both may. */
#define FLOW_COUNTERS(X)                   \
    X(RULES, "rules_present")              \
    X(IN_FASTPATH, "rules_in_fastpath")    \
    X(CREATED, "rules_created")            \
    X(DESTROYED, "rules_destroyed")        \
    X(FAILED, "rules_failed_in_fastpath")  \
    X(REMOVALS_LATE, "rules_removed_late") \
    X(CARRIED, "rules_carried_packets")

enum flow_counter {
#define X(id, name) FLOW_COUNTER_##id,
    FLOW_COUNTERS(X)
#undef X
        FLOW_COUNTERS_END
};

/* The rules' part of a device. */
struct flow_port {
    struct representor *representor;
    struct flow_list flows; /* those that the user has not destroyed, in the order of their creation */
    _Atomic uint64_t counters[FLOW_COUNTERS_END];
    _Atomic uint64_t refused[FLOW_REASONS_END];
    TAILQ_ENTRY(flow_port) next;
};

static inline void flow_count(struct flow_port *port, enum flow_counter counter, uint64_t n)
{
    atomic_fetch_add_explicit(&port->counters[counter], n, memory_order_relaxed);
}

/* A request that is unanswered. */
struct flow_batch {
    struct flow_list flows; /* in the order of the request */
    unsigned n;
    bool removal;
    TAILQ_ENTRY(flow_batch) next;
};

/* Somebody waits until flows are removed. */
struct flow_wait {
    uint32_t number;
    unsigned n_left;
    TAILQ_ENTRY(flow_wait) next;
};

struct flows {
    struct connection *connection;
    pthread_mutex_t lock;
    pthread_cond_t removed; /* some flow_wait's n_left is 0 */
    bool attached;
    uint16_t generation;
    uint16_t use;     /* makes ids differ */
    uint64_t started; /* of the fast path that was attached last */
    struct flow_slots slots;
    struct flow_carry carry;
    struct flow_list pending, waiting, removals;
    TAILQ_HEAD(, flow_batch) batches; /* the oldest first */
    TAILQ_HEAD(, flow_batch) spare_batches;
    TAILQ_HEAD(, flow_wait) waits;
    TAILQ_HEAD(, flow_port) ports;
    uint32_t last_wait;
    uint64_t complained_at; /* CLOCK_MONOTONIC seconds: when a refused rule was logged last */
    uint64_t n_complaints;  /* ... and how many were not */
};

/* Packets and bytes that the user was not told of. */
void flow_untold(struct flows *flows, const struct rte_flow *flow, uint64_t *packets, uint64_t *bytes);

/* Puts the flow into the list of its new state. It is in none. */
void flow_enter(struct flows *flows, struct rte_flow *flow, enum flow_state state);

/* Takes a flow that is PENDING, WAITING or due for REMOVAL out of its list. */
void flow_leave(struct flows *flows, struct rte_flow *flow);

/* The fast path has no such rule (any more), the user gave the flow up: frees it, keeps what it counted. */
void flow_end(struct flows *flows, struct rte_flow *flow);

/* The operands of the outputs in 'wire': the next one behind 'place' (NULL: the first), or NULL. */
uint8_t *flow_next_output(struct rte_flow *flow, uint8_t *place);

static inline uint16_t flow_get_port(const uint8_t *place)
{
    return (uint16_t)(place[0] | place[1] << 8);
}

static inline void flow_set_port(uint8_t *place, uint16_t port)
{
    place[0] = (uint8_t)port;
    place[1] = (uint8_t)(port >> 8);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_MOVE_H
#define FASTPATH_MOVE_H

/*
 * Rules move between the vSwitch and the fast path while their packets flow, and no packet overtakes another. move.c
 * says how and why.
 *
 *     if (move_begin(rule) == 0)                     RULE_ONLOAD -> RULE_MOVING
 *         every MOVE_TICK_US while moves_under_way():
 *             moves_reap(ended);                     -> RULE_OFFLOADED, or back to RULE_ONLOAD
 *     move_back(rule);                               RULE_OFFLOADED -> RULE_ONLOAD
 *
 * A move ends by itself within some 50 ms, whatever the vSwitch does. Whoever removes a rule has to cancel its
 * move first: flow_tables_on_remove(tables, move_cancel) does.
 *
 * Threads: the control thread (with the control lock held), but for the section at the end.
 */

#include <stdbool.h>
#include <stdint.h>

#include "fastpath/flow_table.h"

struct port;
struct receive_queue;

#define MOVE_TICK_US 200

enum move_result {
    MOVE_DONE,      /* the rule is offloaded */
    MOVE_DEADLINE,  /* the vSwitch was too slow, or broke its rings: the rule is onload as before */
    MOVE_CANCELLED, /* by move_cancel() */
    MOVE_RESULTS
};

/* Before the first move: a clock for control and workers alike, that counts 'hz' ticks a second. */
void moves_start(uint64_t hz, uint64_t (*clock)(void));

/*
 * Starts to move 'rule', which is RULE_ONLOAD. 0; ENOMEM; ENOENT: its input port is gone; EBUSY: MOVES_MAX moves are
 * under way.
 */
int move_begin(struct rule *rule);

/* Ends the move of a rule that is RULE_MOVING: it is RULE_ONLOAD on return, and no worker knows of the move. Else harmless. */
void move_cancel(struct rule *rule);

/*
 * Gives the packets of 'rule' back to the vSwitch, from the next burst of each worker on. Order needs no waiting.
 * Who has to know when the last packet was offloaded calls workers_synchronize(), once for many rules. A rule that is
 * moving is cancelled; one that is onload stays so.
 */
void move_back(struct rule *rule);

typedef void move_ended(struct rule *rule, enum move_result result, uint64_t duration_ns);

/*
 * Ends the moves that the workers have finished: sets their rules' states, waits for the workers once for all, and
 * calls 'ended' for each, which may begin, cancel and take back moves. Returns how many there were.
 */
unsigned moves_reap(move_ended *ended);

unsigned moves_under_way(void);

/* Durations are counted in classes that are an eighth of a power of two wide. */
#define MOVE_DURATION_CLASSES 320

struct move_totals {
    uint64_t n_begun;
    uint64_t n_ended[MOVE_RESULTS];
    uint64_t n_back;          /* from offloaded to onload */
    uint64_t n_pauses;        /* of a receive queue, see move.c */
    uint64_t paused_ns;       /* sum of all pauses */
    uint64_t paused_max_ns;   /* the longest */
    uint64_t duration_max_ns; /* of moves that were done, from move_begin() to the last worker's being done */
    uint64_t n_durations[MOVE_DURATION_CLASSES];
};

/* Since the start. Valid until the next call. */
const struct move_totals *moves_totals(void);

/* Nanoseconds within which the part 'share' (0 to 1) of the moves was done; 0: there was none. */
uint64_t move_duration_quantile(const struct move_totals *totals, double share);

/* Port 'port' is about to be freed; its rules are gone, and no worker knows it any more. */
void moves_forget_port(const struct port *port);

/* Workers. */

/*
 * To be called by the worker of 'queue' before each burst when queue->moves is not NULL, whether the queue is ready or
 * not: looks after the rules that move. True: the queue is paused; leave its packets where they are.
 */
bool move_look(struct receive_queue *queue, uint64_t now);

/* Whether moves wait for looks at 'queue', so that its worker must not sleep. */
bool move_pending(const struct receive_queue *queue);

/* Whether packets of 'rule', whose state was read (with acquire) as RULE_MOVING, taken from 'queue' now, have to go to the vSwitch still. */
bool move_onload(const struct rule *rule, const struct receive_queue *queue);

#endif

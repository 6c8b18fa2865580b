/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_MOVE_INTERNAL_H
#define FASTPATH_MOVE_INTERNAL_H

/* What move.c (control thread) and move_queue.c (workers) share. */

#include "fastpath/move.h"
#include "fastpath/port_internal.h"

/* A place in a ring from the vSwitch, up to which its frames have to be delivered. */
struct move_place {
    uint32_t handle; /* of the representor whose ring it is; 0: there was none */
    uint64_t position;
};

enum move_entry_result { MOVE_ENTRY_OPEN, MOVE_ENTRY_DONE, MOVE_ENTRY_FAILED };

/* A move, as one receive queue is concerned. */
struct move_entry {
    /* set once */
    struct move *move;
    struct receive_queue *queue;
    struct move_place *places; /* move->n_places of them */

    /* the list of the queue's entries: control writes, the worker reads */
    _Atomic(struct move_entry *) next;
    struct move_entry *previous; /* control only */

    /* the queue's worker only */
    bool begun;      /* has been looked at */
    bool sent;       /* packets went to the vSwitch since the last look */
    bool sent_again; /* and some time after the first look */
    bool answered;   /* the vSwitch has dealt with all there was at the first look */
    bool covered;    /* by the pause under way, which waits for this */
    bool returning;  /* the vSwitch has dealt with all: 'places' are set, and are waited for */
    uint32_t handle; /* of the representor to whose ring packets went; 0: there was none */
    uint32_t first_handle;
    uint64_t position; /* behind the last of them */
    uint64_t first_position;
    uint64_t since;        /* time of the first look */
    uint64_t answer_ticks; /* from there until 'answered' */

    /* written by the worker, read by control; the latter first */
    uint64_t ended;
    _Atomic uint8_t result; /* enum move_entry_result */
};

struct move_output {
    uint16_t port;
    uint16_t n_queues;
};

struct move {
    /* set once */
    struct rule *rule;
    uint64_t began;
    uint16_t n_entries, n_outputs, n_places;
    struct move_output outputs[RULE_ACTIONS_MAX];

    /* workers */
    _Atomic uint16_t n_open; /* entries that are; 0: control may end the move */
    _Atomic bool failed;     /* one of the entries did: the others need not wait */

    /* control only */
    struct move *next, *previous; /* of all moves */

    struct move_entry entries[]; /* one for each receive queue of the rule's input port, places behind them */
};

/* What a receive queue needs when rules move. There is one from its first move until its port goes. */
struct move_queue {
    /* control writes, the worker reads */
    _Atomic(struct move_entry *) entries;
    _Atomic uint32_t n_published; /* entries so far */

    /* both */
    _Atomic uint32_t n_open; /* entries for the worker to look after */

    /* the worker only */
    bool delivering;       /* an entry waits for packets to be delivered: each look may find that they were */
    uint64_t seen_to;      /* representor_progress() at the last look that went through the entries ... */
    uint32_t seen_entries; /* ... and 'n_published' then */
    uint64_t next_look;    /* time of the next such look, if nothing happens before */
    bool paused;
    uint64_t paused_at;
    uint64_t pause_limit;   /* ticks */
    uint64_t pause_allowed; /* time before which there is no other pause */

    /* written by the worker, read by control */
    _Atomic uint64_t n_pauses, paused_ticks, paused_max_ticks;
};

/* Times in ticks of the clock, set by moves_start(). */
struct move_times {
    uint64_t pause_after, patience, pause_min, pause_max, look_each;
};

extern struct move_times move_times;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_OFFLOAD_INTERNAL_H
#define FASTPATH_OFFLOAD_INTERNAL_H

/*
 * What the files of offload.h share:
 *
 *     offload.c           session, clock, what a tick does
 *     offload_counters.c  shared counters
 *     offload_rules.c     managed rules come and go; orphans
 *     offload_slices.c    settings of node, slices and ports; quotas
 *     offload_queue.c     rules over quota, waiting outside of the rule table
 *     offload_policy.c    which rules are to be offloaded
 *     offload_table.c     in which order: rules by rate, moves per second
 *     offload_query.c     questions
 */

#include "fastpath/flow_table.h"
#include "fastpath/offload.h"
#include "fastpath/reason.h"
#include "proto/rule.h"
#include "proto/shared_counters.h"

#define OFFLOAD_TICK_MS 20      /* the usual time between two ticks ... */
#define OFFLOAD_TICK_SHORT_MS 1 /* ... and while much is to be done; while rules move, MOVE_TICK_US */

/* Rules that wait over quota, outside of the rule table: of all slices, of one. */
#define QUEUED_MAX 65536
#define QUEUED_OF_SLICE_MAX 16384

#define SLICES_MAX (PORTS_MAX + 512)
#define SLICE_NONE 0 /* of ports that belong to none */

/* Where a managed rule is listed; it is in one list at most. */
enum managed_list {
    LIST_NONE,
    LIST_WAITING, /* onload, and is to be moved, by falling rate */
    LIST_INSIDE,  /* offloaded, and may have to make room, by rising rate */
    LIST_DELAYED, /* onload, and to wait until its timer */
};

#define BUCKETS 131       /* of rates, a quarter of an octave wide */
#define BUCKET_PINNED 130 /* before all others */

/* What there is to know about each rule of the vSwitch, by the rule's number. */
struct managed_rule {
    uint64_t base_packets, base_bytes; /* of the rule's own counters, when it got its present id */
    uint64_t n_seen;                   /* packets, offloaded or not, when its rate was last measured ... */
    uint32_t seen_ms;                  /* ... at this time */
    uint32_t rate;                     /* packets per second then */
    uint32_t smooth;                   /* the same, averaged over some measurements */
    uint32_t since_ms;                 /* when it last came in or went out */
    uint32_t timer_ms; /* offloaded: since when it is below 'demote'; onload: until when it has to wait; 0: not so */
    uint32_t slot;           /* of the shared counters */
    uint32_t previous, next; /* in its list; numbers, 0: none */
    uint16_t generation;     /* of the session that it belongs to; 0: this is no managed rule */
    uint8_t list, bucket;
    uint8_t reason;     /* enum offload_reason, while it is onload and in no list */
    uint8_t n_failures; /* moves in a row that missed their deadline */
    bool pinned;
    bool was_inside; /* since_ms says when it went out */
} __attribute__((aligned(64)));

static_assert(sizeof(struct managed_rule) == 64, "a managed rule is one cache line");

struct managed_ends {
    uint32_t first, last;
};

#define SETTING_INHERIT UINT32_MAX /* for numbers */

/* What one level (node, slice, port) says. */
struct offload_settings {
    enum offload_mode mode;
    uint32_t promote, demote; /* packets per second */
    uint32_t hold_ms;
};

/* A rule over quota, as it came. */
struct queued_rule {
    struct queued_rule *next, *previous; /* of its slice */
    uint64_t id;
    uint16_t slice;
    uint16_t size;
    uint8_t reason; /* enum offload_reason */
    bool pinned;
    uint8_t bytes[]; /* wire_put_rule() */
};

struct slice {
    char name[SLICE_NAME_SIZE]; /* "": not in use */
    struct offload_settings settings;
    uint32_t rules_max, masks_max, operations_max; /* 0: no limit */
    uint32_t n_ports, n_rules, n_queued;
    uint64_t tokens;    /* thousandths of operations that it may do now ... */
    uint32_t tokens_ms; /* ... as of this time */
    struct queued_rule *first, *last;
};

struct offload_port {
    uint16_t slice;
    bool up;
    struct offload_settings settings;
    struct offload_settings effective; /* nothing inherited any more */
};

struct offloading {
    struct flow_tables *tables;
    struct flow_table *any_table; /* of some port, to find rules by number */
    uint32_t rules_max;
    uint64_t started; /* nanoseconds since 1970 */
    uint64_t now_ns, due_ns;
    uint32_t now_ms; /* wraps around; only differences count */

    /* the session */
    bool attached;
    uint16_t generation;
    char software[64];
    struct shared_counters counters;
    uint32_t *slot_rules;             /* number of the rule that counts in a slot; 0: none */
    struct queued_rule **slot_queued; /* the rule over quota that is to count there */

    /* rules */
    struct managed_rule *rules; /* by number */
    uint32_t n_managed;         /* in the rule table, orphans included */
    uint32_t n_current;         /* ... that belong to the session */
    uint32_t n_inside;          /* ... that are offloaded or moving */
    uint32_t n_queued;          /* over quota, of all slices */
    bool removed;               /* rules, and nobody has waited for the workers since */

    /* settings */
    struct offload_settings node;
    struct slice slices[SLICES_MAX];
    struct offload_port ports[PORTS_MAX];
    uint32_t table_size;      /* rules inside at most; 0: no limit */
    uint32_t moves_max;       /* per second */
    uint32_t orphans_hold_ms; /* for which orphans are kept */

    /* the table */
    struct managed_ends waiting[BUCKETS], inside[BUCKETS], delayed;
    uint32_t n_waiting, n_delayed;
    uint64_t tokens; /* thousandths of moves that may begin now ... */
    uint32_t tokens_ms;
    bool full; /* what waits, waits for room */
    uint64_t n_swapped, n_demoted;

    /* ticks */
    uint32_t shared_ms, ticked_ms, status_ms;  /* when shares, the usual work, and looks at ports were done */
    uint32_t round_ms;                         /* when this round of measurements began */
    uint32_t measured, published, swept, kept; /* cursors: rules */
    bool sweeping;        /* settings have changed: all rules are looked at, from 'swept' on */
    bool purging;         /* orphans are removed, from 'kept' on */
    uint32_t orphaned_ms; /* when the time of orphans began to run */
};

extern struct offloading offloading;

static inline struct managed_rule *managed(uint32_t number)
{
    return &offloading.rules[number];
}

static inline struct rule *rule_of(uint32_t number)
{
    return flow_table_rule(offloading.any_table, number);
}

static inline uint32_t number_of(const struct rule *rule)
{
    return flow_table_rule_number(offloading.any_table, rule);
}

static inline enum rule_state state_of(const struct rule *rule)
{
    return atomic_load_explicit(&rule->state, memory_order_relaxed);
}

static inline bool is_orphan(const struct managed_rule *rule)
{
    return !offloading.attached || rule->generation != offloading.generation;
}

/* Going over many rules: gets those that come next on their way into the cache. Past the end it is harmless. */
static inline void offload_prefetch(const struct rule *rule, const struct managed_rule *entry)
{
    __builtin_prefetch(rule + 8);
    __builtin_prefetch(entry + 8);
}

/* Milliseconds from 'then' to now. */
static inline uint32_t ms_since(uint32_t then)
{
    return offloading.now_ms - then;
}

/* A time for a timer, where 0 says that there is none: a millisecond early, rather. */
static inline uint32_t timer_of(uint32_t time_ms)
{
    return time_ms ? time_ms : UINT32_MAX;
}

/* Writes counters of ports into the shared memory; 'with_status': also their links and MTUs, which takes longer. */
void offload_publish_ports(bool with_status);

/* Writes the counters of a share of the rules, of all of them when they are few. */
void offload_publish_rules(void);
void offload_publish_rule(const struct rule *rule, const struct managed_rule *entry);
void offload_publish_none(uint32_t slot); /* what the slot's former rule left goes */

/* Looks which ports have a link; a sweep begins when one came up. */
void offload_look_at_ports(void);

/* The reason why 'entry' is onload; REASON_NONE: it is not. */
enum offload_reason offload_reason_of(const struct rule *rule, const struct managed_rule *entry);

/* Brings the rule where it belongs by its mode and rate: has it moved, or lists it for that. */
void offload_decide(uint32_t number);

/* Measures and decides, for the rules whose turn it is. */
void offload_measure_share(void);

/* Decides for some of the rules after a change of settings. */
void offload_sweep_share(void);
void offload_sweep(void);

/* The rule begins, or has ceased, to be managed. */
void offload_policy_enter(uint32_t number);
void offload_policy_leave(uint32_t number);

/* Moves what may move now; makes room when there is too much inside. */
void offload_table_run(void);

/* Ends moves that are finished. */
void offload_table_reap(void);

void offload_list(uint32_t number, enum managed_list list, unsigned bucket);
void offload_unlist(uint32_t number);
unsigned offload_bucket(uint32_t rate);

/* Whether one more move may begin (or a rule be taken back); if so, it counts. */
bool offload_take_move(void);

/* Takes a rule out of the fast path, for 'reason'. */
void offload_take_back(uint32_t number, enum offload_reason reason);

/* Tells subscribers where the rule is now. */
void offload_tell(const struct rule *rule, enum offload_reason reason);

/* The slice called 'name', made if need be ('make'). NULL: there is none, or too many. */
struct slice *offload_slice(const char *name, bool make);

/* Why 'slice' cannot have the rule now; REASON_NONE: it can. */
enum offload_reason offload_quota(struct slice *slice, const struct rule_spec *spec);

/* Counts an operation of 'slice'. False: it has done too many already. */
bool offload_take_operation(struct slice *slice);

/* Brings the settings that count for each port up to date, and has all rules looked at. */
void offload_settle(void);

/* Puts a rule into the queue of its slice. ENOSPC: no room; ENOMEM. */
int offload_queue_add(const struct wire_rule *rule, uint16_t slice, enum offload_reason reason,
                      struct error *error);
void offload_queue_drop(struct queued_rule *rule);
uint16_t offload_queued_port(const struct queued_rule *rule);
void offload_queue_drop_all(void);
void offload_queue_drop_port(uint16_t port);

/* Tries some of the rules over quota again. */
void offload_queue_retry(void);

/* A rule is about to leave the rule table, whoever wants that. */
void offload_rule_leaves(struct rule *rule);

/* Enters a rule of the session into the rule table. REASON_NONE; else why it does not fit, or '*code' is an error. */
enum offload_reason offload_enter(const struct rule_spec *spec, bool pinned, int *code, struct error *error);

/* Removes some orphans, when their time is over. */
void offload_purge_share(void);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_FLOW_TABLE_H
#define FASTPATH_FLOW_TABLE_H

/*
 * The rule table: for every input port a *flow table*, in it a *subtable* per
 * distinct mask, in that a hash of the rules.
 *
 * Threads: one writer at a time (the caller holds the control lock) inserts and
 * removes; any number of workers look up meanwhile without a lock. Memory that
 * a removal frees is reused only after flow_table_reclaim() was called behind
 * a quiescent period of all workers.
 *
 * Priority: of several rules that match, the one with the highest 'priority'
 * counts; among equals the one inserted last.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fastpath/action.h"
#include "fastpath/flow_key.h"
#include "lib/error.h"

/* What becomes of packets that a rule matches. */
enum rule_state {
    RULE_OFFLOADED, /* the rule's actions are executed */
    RULE_ONLOAD,    /* they go to the vSwitch */
    RULE_MOVING,    /* on its way from onload to offloaded: each receive queue for itself, see move.h */
};

/* What a user or the vSwitch asks for. */
struct rule_spec {
    uint64_t id;       /* chosen by the owner, unique in the fast path, not 0 */
    uint16_t in_port;  /* port id */
    uint16_t priority; /* higher wins */
    uint16_t n_actions;
    bool onload; /* true: packets go to the vSwitch, though the rule is known (not offloaded) */
    struct flow_key key;
    struct flow_key mask;
    struct action actions[RULE_ACTIONS_MAX];
};

/*
 * A rule in a table. The first cache line has all that a hit touches, if the mask has bits in five of a key's eight
 * words at most and the rule does no more than output; else the second is fetched with it.
 */
struct rule {
    /* written by workers: what the rule's actions were executed on; rule_offload() has what went to the vSwitch */
    _Atomic uint64_t n_packets;
    _Atomic uint64_t n_bytes;

    /* set before workers see the rule */
    /* Port of the only action when that is OUTPUT, else RULE_NO_FAST_OUTPUT. */
    uint16_t fast_output;
    uint16_t in_port;
    uint16_t priority;
    uint8_t n_actions;
    _Atomic uint8_t state; /* enum rule_state; written by control at any time */
    uint64_t words[8]; /* the packed key, see key_packing.h and rule_key(); the last three in the second line */
    struct action *actions; /* 'n_actions' of them */
    uint64_t id;
    struct flow_table *table;
    uint64_t rank;     /* what decides between rules that match: priority, below it order of insertion */
    uint32_t subtable; /* index in the flow table */

    uint32_t link; /* control thread only: chains of equal matches, of free rules */
} __attribute__((aligned(128)));

static_assert(sizeof(struct rule) == 128, "a rule is two cache lines");

#define RULE_NO_FAST_OUTPUT UINT16_MAX

struct offload_rule;
struct flow_table;  /* of one port */
struct flow_tables; /* of all ports: rules by id, memory, limits */

/* 'rules_max' bounds the rules of all ports together. NULL: no memory. */
struct flow_tables *flow_tables_create(uint32_t rules_max, struct error *error);
void flow_tables_destroy(struct flow_tables *tables);

/*
 * The flow table of port 'in_port' (created empty on first use, never moved, never freed before destroy). NULL:
 * no memory, or 'in_port' is not below PORTS_MAX.
 */
struct flow_table *flow_tables_get(struct flow_tables *tables, uint16_t in_port);

/*
 * Adds a rule, a copy of 'spec'. EINVAL: a field of 'spec' is out of its range; EEXIST: the id is taken;
 * ENOSPC: rules_max reached (removed rules count until they are reclaimed), or more than MASKS_MAX masks on that
 * port; ENOMEM. Nothing has changed when it fails.
 */
int flow_tables_insert(struct flow_tables *tables, const struct rule_spec *spec, struct error *error);

/* Takes a rule out, so that new lookups miss it. ENOENT: no such id. */
int flow_tables_remove(struct flow_tables *tables, uint64_t id, struct error *error);

/* Takes all rules out whose input port, or, if 'outputs_too', one of whose outputs, is 'port'. Returns how many. */
uint32_t flow_tables_remove_port(struct flow_tables *tables, uint16_t port, bool outputs_too);

/*
 * Has 'removed' called with each rule that is about to be taken out, while it is still found and all in order. It
 * may wait for the workers, and must not change the tables. NULL: nobody.
 */
void flow_tables_on_remove(struct flow_tables *tables, void (*removed)(struct rule *rule));

/* To be called when every worker has been quiescent since the removals: frees what they took out. */
void flow_tables_reclaim(struct flow_tables *tables);

/* The rule with that id, or NULL. A removed rule stays readable until the next reclaim. Control thread only. */
struct rule *flow_tables_find(struct flow_tables *tables, uint64_t id);

/* The mask that 'rule' matches under. Control thread only. */
const struct flow_key *rule_mask(const struct rule *rule);

/* Writes what 'rule' matches to '*key': the key that it was made from, with zeroes outside of its mask. Control thread only. */
void rule_key(const struct rule *rule, struct flow_key *key);

/* What there is to know about 'rule' beside its being offloaded. Workers; control thread. */
struct offload_rule *rule_offload(const struct rule *rule);

/* The rule in slot 'cursor' or the next used one, advancing '*cursor' past it; NULL at the end. Control thread only. */
struct rule *flow_tables_next(struct flow_tables *tables, uint32_t *cursor);

/*
 * The rule that matches what 'spec' matches: the same input port, mask and, under it, key. Of several the one that counts;
 * with it as 'previous' the next one, and so on; NULL: there is none, or no more. Control thread only.
 */
struct rule *flow_tables_equal(struct flow_tables *tables, const struct rule_spec *spec,
                               const struct rule *previous);

/* Whether some rule of the input port of 'spec' has its mask. Control thread only. */
bool flow_tables_have_mask(const struct flow_tables *tables, const struct rule_spec *spec);

/* Gives 'rule' another id. EEXIST: it is taken. Control thread only. */
int flow_tables_rename(struct flow_tables *tables, struct rule *rule, uint64_t id);

uint32_t flow_tables_count(const struct flow_tables *tables);
uint32_t flow_table_mask_count(const struct flow_table *table);

/*
 * A number that no other table has or had, and that changes with each change to 'table' (before the call that makes
 * it returns). What was looked up after reading it still holds while it reads the same. Any thread.
 */
uint64_t flow_table_version(const struct flow_table *table);

/* Every rule as a small number, for caches: 1 to rules_max, 0 for NULL. Any thread. */
uint32_t flow_table_rule_number(const struct flow_table *table, const struct rule *rule);
struct rule *flow_table_rule(const struct flow_table *table, uint32_t number);

/*
 * Whether no rule of the table looks at the packet, so that no key is needed to look it up:
 * then '*rule' is the rule of every packet, or NULL. Workers; between two quiescent states.
 */
bool flow_table_lookup_keyless(const struct flow_table *table, struct rule **rule);

/*
 * Looks up 'n' <= BURST_MAX keys of packets that came in by the table's port:
 * rules[i] becomes the best rule for keys[i], or NULL. Workers; between two
 * quiescent states of the calling worker. The memory accesses of the whole
 * burst are overlapped by prefetching.
 */
void flow_table_lookup(struct flow_table *table, const struct flow_key keys[], uint16_t n,
                       struct rule *rules[]);

/* The same for the 'n' keys whose index stands in 'index' only: it sets rules[index[0]], rules[index[1]], ... */
void flow_table_lookup_some(struct flow_table *table, const struct flow_key keys[], const uint8_t index[],
                            uint16_t n, struct rule *rules[]);

#endif

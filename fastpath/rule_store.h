/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_RULE_STORE_H
#define FASTPATH_RULE_STORE_H

/*
 * The memory of all rules, and their ids. Rules lie in one array, so that a
 * 32-bit index names one; index 0 names none, and the
 * packed key there is one that no packet has, so that lookups need no special case. Control thread only; workers reach rules through
 * subtables, and may do so until rule_store_reclaim().
 *
 * A rule is free, used (has an id that is found), or retired (taken out, and
 * possibly still read by workers).
 */

#include "fastpath/flow_table.h"
#include "fastpath/keyed_hash.h"

struct rule_id_slot {
    uint32_t hash; /* upper half of the id's hash: spares most visits to rules */
    uint32_t rule; /* index; 0: empty */
};

struct rule_store {
    struct rule *rules;
    struct action *single_actions; /* [i]: the action of rule i when it has one only */
    struct offload_rule *offload;  /* [i]: of rule i */
    uint64_t *used;                /* bitmap */
    uint32_t capacity;             /* indexes: one more than rules at most */
    uint32_t n_touched;            /* all indexes ever handed out are below */
    uint32_t n_used;
    uint32_t n_retired;
    uint32_t free; /* lists through rule.link */
    uint32_t retired;

    struct rule_id_slot *ids; /* open addressing, linear probing, at most half full */
    uint32_t ids_mask;
    struct hash_seed seed;
};

/* 0 or ENOMEM. */
int rule_store_init(struct rule_store *store, uint32_t rules_max, struct error *error);
void rule_store_finish(struct rule_store *store);

/*
 * A rule with everything of 'spec' in it but key, table, subtable, rank and link. EINVAL, EEXIST, ENOSPC or
 * ENOMEM: see flow_tables_insert().
 */
int rule_store_add(struct rule_store *store, const struct rule_spec *spec, struct rule **rule,
                   struct error *error);

/* Makes 'rule' retired: its id is free again. */
void rule_store_retire(struct rule_store *store, struct rule *rule);

/* Gives 'rule' another id. EEXIST: it is taken. */
int rule_store_rename(struct rule_store *store, struct rule *rule, uint64_t id);

/* Frees all retired rules. */
void rule_store_reclaim(struct rule_store *store);

/* The rule with that id, or NULL. */
struct rule *rule_store_find(const struct rule_store *store, uint64_t id);

/* The first used rule whose index is >= '*cursor', which becomes its index + 1; NULL at the end. */
struct rule *rule_store_next(const struct rule_store *store, uint32_t *cursor);

static inline uint32_t rule_store_index(const struct rule_store *store, const struct rule *rule)
{
    return rule - store->rules;
}

#endif

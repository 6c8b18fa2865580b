/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_FLOW_SUBTABLE_H
#define FASTPATH_FLOW_SUBTABLE_H

/*
 * The rules of one input port that share a mask: a hash table of buckets, each
 * a cache line of 15 slots. A slot is a tag (11 bits of the hash) and a rule's
 * index (0: empty), so one vector comparison finds the slots of a bucket worth following.
 * A rule goes to the first bucket with room from its home on; every full
 * bucket it passed counts that, and a search that meets 0 there ends.
 *
 * One writer, any number of lock-free readers: slots never move inside an array of
 * buckets. To grow, a new array is filled and then published, and the old one goes to
 * 'retired' for the caller to free when no reader can hold it any more. So a reader
 * never misses a rule that is there all along.
 *
 * Rules with equal keys: the one that counts is in the slot, the others are
 * chained behind it (rule.link) in falling order of rank; readers never see them.
 */

#include "fastpath/flow_table.h"
#include "fastpath/key_packing.h"
#include "fastpath/keyed_hash.h"

#define BUCKET_SLOTS 15
#define BUCKET_PASSED BUCKET_SLOTS /* the word of a bucket that is no slot */
#define SLOT_TAG_MASK 0xffe00000u
#define SLOT_RULE_MASK 0x001fffffu

static_assert(RULES_MAX <= SLOT_RULE_MASK, "a slot can name each rule");

/*
 * The last word counts the rules in later buckets that found this one full, in units of a tag's lowest bit, so that
 * read as a slot it names rule 0. Once it is full it stays so.
 */
#define PASSED_ONE (SLOT_RULE_MASK + 1)
#define PASSED_FULL SLOT_TAG_MASK

struct bucket {
    _Atomic uint32_t words[BUCKET_SLOTS + 1];
} __attribute__((aligned(64)));

static_assert(sizeof(struct bucket) == 64, "a bucket is one cache line");

struct bucket_array {
    uint32_t mask; /* buckets - 1; a power of two of them */
    struct bucket_array *next_retired;
    struct bucket buckets[];
} __attribute__((aligned(64)));

struct flow_subtable {
    /* set once */
    struct flow_key mask;
    struct key_packing packing;
    struct hash_seed seed;
    struct rule *rules;
    bool matches_all; /* the mask is zero */

    /* written by control, read by workers */
    _Atomic(struct bucket_array *) array;
    _Atomic uint64_t rank_max;        /* no rule here has a higher rank */
    _Atomic uint32_t n_beyond_output; /* rules of which a hit needs the second line for their actions */

    /* control only */
    uint32_t n_rules;
    uint32_t n_slots; /* in use: rules but those chained behind equal ones */
    struct bucket_array *retired;
    struct flow_subtable *next_retired;
};

/* NULL: no memory. 'rules' is the array that indexes in slots refer to. */
struct flow_subtable *flow_subtable_create(const struct flow_key *mask, struct rule *rules);

/* Frees it and all its arrays; nobody may be reading. */
void flow_subtable_destroy(struct flow_subtable *subtable);

/* Gives 'rule', whose rank is set, 'key' under the mask, and publishes it. 0 or ENOMEM. */
int flow_subtable_insert(struct flow_subtable *subtable, struct rule *rule, const struct flow_key *key);

/* Takes 'rule', which is in the subtable, out. */
void flow_subtable_remove(struct flow_subtable *subtable, struct rule *rule);

/* Frees what 'retired' holds. */
void flow_subtable_reclaim(struct flow_subtable *subtable);

/*
 * For each of the 'n' <= BURST_MAX keys whose index stands in 'index': bit i of the result says whether a rule
 * matches keys[index[i]], and then found[i] is it; else found[i] is not to be used. Workers.
 */
uint32_t flow_subtable_lookup(const struct flow_subtable *subtable, const struct flow_key keys[],
                              const uint8_t index[], unsigned n, struct rule *found[]);

#endif

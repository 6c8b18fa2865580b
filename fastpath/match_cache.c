/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Four ways. What says whether a way holds a key (version, tag) lies in one cache
 * line per set, apart from the keys, so that a burst touches one such line and
 * one key for each packet, both prefetched.
 */

#include "fastpath/match_cache.h"

#include <stdlib.h>

#include "fastpath/keyed_hash.h"
#include "fastpath/wide.h"

#define WAYS 4
#define SETS (MATCH_CACHE_ENTRIES / WAYS)

/*
 * What things cost (./run bench rules), in halves of a table's work for one packet and one mask: asking the
 * cache for a packet, and putting a packet in that was not there.
 */
#define COST_MASK 2
#define COST_ASK 3
#define COST_STORE 2

/* Fewer masks are never worth it. */
#define MASKS_MIN 2

/*
 * When the cache has cost more than it spared over WINDOW_PACKETS packets, it is passed by for PAUSE_PACKETS. A
 * window is as long as it takes to fill the cache.
 */
#define WINDOW_PACKETS MATCH_CACHE_ENTRIES
#define PAUSE_PACKETS (WINDOW_PACKETS * 32)

struct set {
    uint64_t versions[WAYS]; /* of the table; 0: empty way */
    uint32_t tags[WAYS];     /* upper half of the key's hash */
    uint32_t numbers[WAYS];  /* flow_table_rule_number() */
} __attribute__((aligned(64)));

static_assert(sizeof(struct set) == 64, "a set is one cache line");

struct match_cache {
    struct set sets[SETS];
    struct flow_key keys[SETS][WAYS];
    uint8_t next_ways[SETS]; /* to be replaced when all are in use: the one stored first */
    struct hash_seed seed;
    struct flow_key whole;   /* a mask of ones */
    uint32_t window_packets; /* left in this window */
    int64_t window_gain;     /* COST_* spared less COST_* spent */
    uint32_t pause_packets;  /* left to pass by; 0: not pausing */
    struct match_cache_stats stats;
};

struct match_cache *match_cache_create(void)
{
    struct match_cache *cache = aligned_alloc(64, (sizeof *cache + 63) / 64 * 64);

    if (cache) {
        memset(cache, 0, sizeof *cache);
        hash_seed_fill(&cache->seed);
        memset(&cache->whole, 255, sizeof cache->whole);
        cache->window_packets = WINDOW_PACKETS;
    }
    return cache;
}

void match_cache_destroy(struct match_cache *cache)
{
    free(cache);
}

const struct match_cache_stats *match_cache_get_stats(const struct match_cache *cache)
{
    return &cache->stats;
}

/* The way of 'set' that may hold a key with this hash, WAYS if none. Only its key can tell for sure. */
static inline unsigned find_way(const struct set *set, uint64_t version, uint64_t hash)
{
    unsigned ways = 0;

    for (unsigned way = 0; way < WAYS; way++)
        ways |= (unsigned)((set->tags[way] == hash >> 32) & (set->versions[way] == version)) << way;
    return __builtin_ctz(ways | 1u << WAYS);
}

static void store(struct match_cache *cache, uint64_t version, uint64_t hash, const struct flow_key *key,
                  uint32_t number)
{
    struct set *set = &cache->sets[hash % SETS];
    uint8_t *next_way = &cache->next_ways[hash % SETS];
    unsigned way;

    /*
     * Its own way, of an older version; else an empty one; else the set's oldest, so that what is no longer used
     * goes before what is. One order for all sets would let flows that come in a fixed
     * sequence drive each other out for ever, beside ways that nobody asks for.
     */
    for (way = 0; way < WAYS && set->tags[way] != hash >> 32 && set->versions[way] != 0; way++)
        ;
    if (way == WAYS)
        way = (*next_way)++ % WAYS;
    set->versions[way] = version;
    set->tags[way] = hash >> 32;
    set->numbers[way] = number;
    cache->keys[hash % SETS][way] = *key;
}

static void count(_Atomic uint64_t *counter, unsigned n)
{
    /* One writer: no read-modify-write is needed. */
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

/* Counts a burst for a table of 'masks' masks, and decides whether the cache is worth asking next time. */
static void adapt(struct match_cache *cache, unsigned n, unsigned hits, unsigned masks)
{
    count(&cache->stats.hits, hits);
    count(&cache->stats.misses, n - hits);
    cache->window_gain += (int)(hits * masks * COST_MASK) - (int)(n * COST_ASK + (n - hits) * COST_STORE);
    if (cache->window_packets > n) {
        cache->window_packets -= n;
        return;
    }
    if (cache->window_gain < 0)
        cache->pause_packets = PAUSE_PACKETS;
    cache->window_packets = WINDOW_PACKETS;
    cache->window_gain = 0;
}

static void lookup_cached(struct match_cache *cache, struct flow_table *table, const struct flow_key keys[],
                          unsigned n, struct rule *rules[], unsigned masks)
{
    /* Read before the lookup: what changes from here on makes the entries stored below stale at once. */
    uint64_t version = flow_table_version(table), hashes[BURST_MAX];
    /* A flow on two ports gets two places. */
    uint64_t start = hash_fold((uintptr_t)table, cache->seed.last);
    uint8_t ways[BURST_MAX], missed[BURST_MAX];
    unsigned n_missed = 0;

    for (unsigned i = 0; i < n; i++) {
        hashes[i] = start ^ hash_key(&keys[i], &cache->whole, &cache->seed);
        __builtin_prefetch(&cache->sets[hashes[i] % SETS]);
    }
    for (unsigned i = 0; i < n; i++) {
        ways[i] = find_way(&cache->sets[hashes[i] % SETS], version, hashes[i]);
        __builtin_prefetch(&cache->keys[hashes[i] % SETS][ways[i] % WAYS]);
    }
    for (unsigned i = 0; i < n; i++) {
        unsigned index = hashes[i] % SETS, way = ways[i];

        if (way < WAYS && wide_equal(&cache->keys[index][way], &keys[i]))
            rules[i] = flow_table_rule(table, cache->sets[index].numbers[way]);
        else
            missed[n_missed++] = i;
    }
    adapt(cache, n, n - n_missed, masks);
    if (n_missed == 0)
        return;
    flow_table_lookup_some(table, keys, missed, n_missed, rules);
    for (unsigned i = 0; i < n_missed; i++) {
        unsigned packet = missed[i];

        store(cache, version, hashes[packet], &keys[packet], flow_table_rule_number(table, rules[packet]));
    }
}

void match_cache_lookup(struct match_cache *cache, struct flow_table *table, const struct flow_key keys[],
                        uint16_t n, struct rule *rules[])
{
    unsigned masks = flow_table_mask_count(table);

    if (masks < MASKS_MIN) {
        flow_table_lookup(table, keys, n, rules);
    } else if (cache->pause_packets > 0) {
        cache->pause_packets -= cache->pause_packets < n ? cache->pause_packets : n;
        flow_table_lookup(table, keys, n, rules);
    } else {
        lookup_cached(cache, table, keys, n, rules, masks);
    }
}

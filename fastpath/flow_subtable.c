/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/flow_subtable.h"

#include <errno.h>
#include <stdlib.h>

#include "fastpath/keyed_hash.h"
#include "fastpath/lazy_memory.h"
#include "fastpath/wide.h"

#define BUCKET_SLOTS_AIM 9 /* mean use at which an array doubles: 60%; then 2 buckets in 100 overflow */

#define ARRAY_MAPPED_SIZE 65536 /* bytes from which an array gets pages of its own */

#define ALL_SLOTS ((1u << BUCKET_SLOTS) - 1)

static size_t array_size(uint32_t n_buckets)
{
    return sizeof(struct bucket_array) + (size_t)n_buckets * sizeof(struct bucket);
}

static struct bucket_array *array_create(uint32_t n_buckets)
{
    size_t size = array_size(n_buckets);
    struct bucket_array *array;

    if (size >= ARRAY_MAPPED_SIZE) {
        array = lazy_memory_map(size);
    } else {
        array = aligned_alloc(64, size);
        if (array)
            memset(array, 0, size);
    }
    if (array)
        array->mask = n_buckets - 1;
    return array;
}

static void array_destroy(struct bucket_array *array)
{
    size_t size = array_size(array->mask + 1);

    if (size >= ARRAY_MAPPED_SIZE)
        lazy_memory_unmap(array, size);
    else
        free(array);
}

struct flow_subtable *flow_subtable_create(const struct flow_key *mask, struct rule *rules)
{
    static const struct flow_key no_bits;
    struct flow_subtable *subtable = aligned_alloc(64, (sizeof *subtable + 63) / 64 * 64);
    struct bucket_array *array = array_create(1);

    if (!subtable || !array) {
        free(subtable);
        if (array)
            array_destroy(array);
        return NULL;
    }
    memset(subtable, 0, sizeof *subtable);
    subtable->mask = *mask;
    key_packing_init(&subtable->packing, mask);
    subtable->rules = rules;
    subtable->matches_all = wide_equal(mask, &no_bits);
    hash_seed_fill(&subtable->seed);
    atomic_init(&subtable->array, array);
    return subtable;
}

void flow_subtable_reclaim(struct flow_subtable *subtable)
{
    while (subtable->retired) {
        struct bucket_array *array = subtable->retired;

        subtable->retired = array->next_retired;
        array_destroy(array);
    }
}

void flow_subtable_destroy(struct flow_subtable *subtable)
{
    flow_subtable_reclaim(subtable);
    array_destroy(atomic_load_explicit(&subtable->array, memory_order_relaxed));
    free(subtable);
}

static inline uint64_t hash_of(const struct flow_subtable *subtable, const struct flow_key *key)
{
    return hash_key(key, &subtable->mask, &subtable->seed);
}

/* The tag for a hash, in its place in a slot: bits that do not choose the bucket. */
static inline uint32_t hash_tag(uint64_t hash)
{
    return hash >> 32 & SLOT_TAG_MASK;
}

static inline bool is_key_of(const struct flow_subtable *subtable, const struct flow_key *key,
                             const struct rule *rule)
{
    return rule_matches(&subtable->packing, key, rule, subtable->packing.one_line);
}

/* Where the rule with 'key' is, '*distance' buckets behind its home, or NULL. For the writer. */
static _Atomic uint32_t *find_slot(struct flow_subtable *subtable, struct bucket_array *array,
                                   const struct flow_key *key, uint64_t hash, uint32_t *distance)
{
    uint32_t tag = hash_tag(hash);

    for (uint32_t passed = 0; passed <= array->mask; passed++) {
        struct bucket *bucket = &array->buckets[(hash + passed) & array->mask];
        uint32_t matches = wide_match16(bucket, SLOT_TAG_MASK, tag) & ALL_SLOTS;

        for (; matches; matches &= matches - 1) {
            _Atomic uint32_t *slot = &bucket->words[__builtin_ctz(matches)];
            uint32_t value = atomic_load_explicit(slot, memory_order_relaxed);

            if (value && is_key_of(subtable, key, &subtable->rules[value & SLOT_RULE_MASK])) {
                *distance = passed;
                return slot;
            }
        }
        if (atomic_load_explicit(&bucket->words[BUCKET_PASSED], memory_order_relaxed) == 0)
            break;
    }
    return NULL;
}

/* Puts 'value' into the first free slot from the home bucket on. The array has one. */
static void take_slot(struct bucket_array *array, uint64_t hash, uint32_t value)
{
    for (uint64_t i = hash;; i++) {
        struct bucket *bucket = &array->buckets[i & array->mask];
        uint32_t empty = wide_match16(bucket, UINT32_MAX, 0) & ALL_SLOTS;
        uint32_t passed = atomic_load_explicit(&bucket->words[BUCKET_PASSED], memory_order_relaxed);

        if (empty) {
            /* Release: a reader that sees the slot sees the rule, and the counts of the buckets before. */
            atomic_store_explicit(&bucket->words[__builtin_ctz(empty)], value, memory_order_release);
            return;
        }
        if (passed != PASSED_FULL)
            atomic_store_explicit(&bucket->words[BUCKET_PASSED], passed + PASSED_ONE, memory_order_relaxed);
    }
}

/* Empties 'slot', 'distance' buckets behind the home of 'hash'. */
static void leave_slot(struct bucket_array *array, uint64_t hash, uint32_t distance, _Atomic uint32_t *slot)
{
    atomic_store_explicit(slot, 0, memory_order_release);
    for (uint32_t i = 0; i < distance; i++) {
        struct bucket *bucket = &array->buckets[(hash + i) & array->mask];
        uint32_t passed = atomic_load_explicit(&bucket->words[BUCKET_PASSED], memory_order_relaxed);

        if (passed != PASSED_FULL)
            atomic_store_explicit(&bucket->words[BUCKET_PASSED], passed - PASSED_ONE, memory_order_release);
    }
}

/* Publishes an array of twice the size. 0 or ENOMEM. */
static int grow(struct flow_subtable *subtable)
{
    struct bucket_array *old = atomic_load_explicit(&subtable->array, memory_order_relaxed);
    uint32_t n_buckets = old->mask + 1;
    struct bucket_array *array = array_create(n_buckets * 2);

    if (!array)
        return ENOMEM;
    for (uint32_t i = 0; i < n_buckets; i++) {
        uint32_t ahead = i + 1 < n_buckets ? i + 1 : i;

        for (unsigned j = 0; j < BUCKET_SLOTS; j++) {
            uint32_t value = atomic_load_explicit(&old->buckets[ahead].words[j], memory_order_relaxed);

            __builtin_prefetch(&subtable->rules[value & SLOT_RULE_MASK]);
            if (!subtable->packing.one_line)
                __builtin_prefetch(&subtable->rules[value & SLOT_RULE_MASK].id);
        }
        for (unsigned j = 0; j < BUCKET_SLOTS; j++) {
            uint32_t value = atomic_load_explicit(&old->buckets[i].words[j], memory_order_relaxed);

            struct flow_key key;

            if (!value)
                continue;
            key_packing_unpack(&subtable->packing, &subtable->rules[value & SLOT_RULE_MASK], &key);
            take_slot(array, hash_of(subtable, &key), value);
        }
    }
    /* Release: readers that see the array see what is in it. */
    atomic_store_explicit(&subtable->array, array, memory_order_release);
    old->next_retired = subtable->retired;
    subtable->retired = old;
    return 0;
}

/* Puts 'rule' behind 'first', which has the same key and a higher rank. */
static void chain(struct flow_subtable *subtable, struct rule *first, struct rule *rule)
{
    while (first->link && subtable->rules[first->link].rank > rule->rank)
        first = &subtable->rules[first->link];
    rule->link = first->link;
    first->link = rule - subtable->rules;
}

/* Adds 'change' to the number of rules with actions to fetch, if 'rule' is such a one. */
static void count_beyond_output(struct flow_subtable *subtable, const struct rule *rule, int change)
{
    uint32_t n = atomic_load_explicit(&subtable->n_beyond_output, memory_order_relaxed);

    /* Relaxed: it is about speed only. */
    if (rule->fast_output == RULE_NO_FAST_OUTPUT)
        atomic_store_explicit(&subtable->n_beyond_output, n + change, memory_order_relaxed);
}

int flow_subtable_insert(struct flow_subtable *subtable, struct rule *rule, const struct flow_key *key)
{
    struct bucket_array *array = atomic_load_explicit(&subtable->array, memory_order_relaxed);
    uint64_t hash = hash_of(subtable, key);
    uint32_t distance, value = hash_tag(hash) | (uint32_t)(rule - subtable->rules);
    _Atomic uint32_t *slot = find_slot(subtable, array, key, hash, &distance);

    if (!slot && subtable->n_slots >= (array->mask + 1) * BUCKET_SLOTS_AIM) {
        if (grow(subtable) != 0)
            return ENOMEM;
        array = atomic_load_explicit(&subtable->array, memory_order_relaxed);
    }
    /* Before the rule is seen, so that no reader passes the subtable over on an old bound. */
    if (atomic_load_explicit(&subtable->rank_max, memory_order_relaxed) < rule->rank)
        atomic_store_explicit(&subtable->rank_max, rule->rank, memory_order_relaxed);
    key_packing_pack(&subtable->packing, key, rule);
    subtable->n_rules++;
    count_beyond_output(subtable, rule, 1);
    rule->link = 0;
    if (!slot) {
        take_slot(array, hash, value);
        subtable->n_slots++;
    } else {
        uint32_t index = atomic_load_explicit(slot, memory_order_relaxed) & SLOT_RULE_MASK;

        if (subtable->rules[index].rank > rule->rank) {
            chain(subtable, &subtable->rules[index], rule);
        } else {
            rule->link = index;
            atomic_store_explicit(slot, value, memory_order_release);
        }
    }
    return 0;
}

void flow_subtable_remove(struct flow_subtable *subtable, struct rule *rule)
{
    struct bucket_array *array = atomic_load_explicit(&subtable->array, memory_order_relaxed);
    _Atomic uint32_t *slot;
    struct flow_key key;
    struct rule *first;
    uint32_t distance;
    uint64_t hash;

    key_packing_unpack(&subtable->packing, rule, &key);
    hash = hash_of(subtable, &key);
    slot = find_slot(subtable, array, &key, hash, &distance);
    assert(slot);
    subtable->n_rules--;
    count_beyond_output(subtable, rule, -1);
    first = &subtable->rules[atomic_load_explicit(slot, memory_order_relaxed) & SLOT_RULE_MASK];
    if (first != rule) {
        while (&subtable->rules[first->link] != rule)
            first = &subtable->rules[first->link];
        first->link = rule->link;
    } else if (rule->link) {
        /* One store: at no moment do readers find none of the two. */
        atomic_store_explicit(slot, hash_tag(hash) | rule->link, memory_order_release);
    } else {
        leave_slot(array, hash, distance, slot);
        subtable->n_slots--;
    }
}

/* The whole search for one key. */
static struct rule *probe(const struct flow_subtable *subtable, const struct bucket_array *array,
                          const struct flow_key *key, uint64_t hash)
{
    uint32_t tag = hash_tag(hash);

    for (uint32_t passed = 0; passed <= array->mask; passed++) {
        const struct bucket *bucket = &array->buckets[(hash + passed) & array->mask];
        uint32_t matches = wide_match16(bucket, SLOT_TAG_MASK, tag) & ALL_SLOTS;

        for (; matches; matches &= matches - 1) {
            /* Again and atomically: what counts is this value, see wide_match16(). */
            uint32_t value = atomic_load_explicit(&bucket->words[__builtin_ctz(matches)], memory_order_acquire);
            struct rule *rule = &subtable->rules[value & SLOT_RULE_MASK];

            if (value && is_key_of(subtable, key, rule))
                return rule;
        }
        if (atomic_load_explicit(&bucket->words[BUCKET_PASSED], memory_order_acquire) == 0)
            break;
    }
    return NULL;
}

/*
 * The first candidate for each packet of a burst by its tag, rule 0 for none, and these rules on their way to the
 * cache, with their second lines if 'both_lines'. Returns whether some packet may have another. Without branches:
 * with several masks nobody can predict which packet finds its rule where.
 */
static inline bool match_burst(const struct flow_subtable *subtable, const struct bucket_array *array,
                               const uint64_t hashes[], unsigned n, struct rule *found[], bool both_lines)
{
    const struct bucket *buckets = array->buckets;
    struct rule *rules = subtable->rules;
    uint32_t more = 0, passed = 0;
    uint64_t mask = array->mask;

    for (unsigned i = 0; i < n; i++) {
        const struct bucket *bucket = &buckets[hashes[i] & mask];
        uint32_t matches = wide_match16(bucket, SLOT_TAG_MASK, hash_tag(hashes[i])) | 1u << BUCKET_PASSED;
        uint32_t value = atomic_load_explicit(&bucket->words[__builtin_ctz(matches)], memory_order_acquire);

        found[i] = &rules[value & SLOT_RULE_MASK];
        __builtin_prefetch(found[i]);
        if (both_lines)
            __builtin_prefetch(&found[i]->id);
        more |= matches & (matches - 1);
        passed |= atomic_load_explicit(&bucket->words[BUCKET_PASSED], memory_order_acquire);
    }
    return (more & ALL_SLOTS) || passed;
}

/* Bit i of the result: whether found[i] matches keys[index[i]]. Without branches, as above. */
static inline uint32_t compare_burst(const struct flow_subtable *subtable, const struct flow_key keys[],
                                     const uint8_t index[], unsigned n, struct rule *const found[],
                                     bool one_line)
{
    uint32_t equal = 0;

    /* No packet's key is rule 0's. */
    for (unsigned i = 0; i < n; i++)
        equal |= (uint32_t)rule_matches(&subtable->packing, &keys[index[i]], found[i], one_line) << i;
    return equal;
}

uint32_t flow_subtable_lookup(const struct flow_subtable *subtable, const struct flow_key keys[],
                              const uint8_t index[], unsigned n, struct rule *found[])
{
    const struct bucket_array *array = atomic_load_explicit(&subtable->array, memory_order_acquire);
    uint64_t hashes[BURST_MAX];
    uint32_t equal;
    bool more;

    static_assert(BURST_MAX <= 32, "a bit for each packet of a burst");
    if (subtable->matches_all) {
        /* There is one key, in the first slot. */
        uint32_t value = atomic_load_explicit(&array->buckets[0].words[0], memory_order_acquire);

        for (unsigned i = 0; i < n; i++)
            found[i] = &subtable->rules[value & SLOT_RULE_MASK];
        return value ? bits_below(n) : 0;
    }
    for (unsigned i = 0; i < n; i++) {
        hashes[i] = hash_of(subtable, &keys[index[i]]);
        __builtin_prefetch(&array->buckets[hashes[i] & array->mask]);
    }
    /* Loops of their own, so that what most masks need costs no more for the others' sake. */
    if (!subtable->packing.one_line || atomic_load_explicit(&subtable->n_beyond_output, memory_order_relaxed))
        more = match_burst(subtable, array, hashes, n, found, true);
    else
        more = match_burst(subtable, array, hashes, n, found, false);
    if (subtable->packing.one_line)
        equal = compare_burst(subtable, keys, index, n, found, true);
    else
        equal = compare_burst(subtable, keys, index, n, found, false);
    if (more) {
        for (uint32_t rest = ~equal & bits_below(n); rest; rest &= rest - 1) {
            unsigned i = __builtin_ctz(rest);

            found[i] = probe(subtable, array, &keys[index[i]], hashes[i]);
            equal |= (uint32_t)(found[i] != NULL) << i;
        }
    }
    return equal;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/rule_store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "fastpath/key_packing.h"
#include "fastpath/lazy_memory.h"
#include "fastpath/offload_rule.h"

#define IDS_SIZE_MIN 1024

static uint32_t id_hash(const struct rule_store *store, uint64_t id)
{
    return hash_finish(id + store->seed.halves[0], &store->seed) >> 32;
}

int rule_store_init(struct rule_store *store, uint32_t rules_max, struct error *error)
{
    uint32_t capacity = rules_max + 1;

    memset(store, 0, sizeof *store);
    store->capacity = capacity;
    store->n_touched = 1;
    store->ids_mask = IDS_SIZE_MIN - 1;
    hash_seed_fill(&store->seed);
    store->rules = lazy_memory_map(capacity * sizeof store->rules[0]);
    store->single_actions = lazy_memory_map(capacity * sizeof store->single_actions[0]);
    store->offload = lazy_memory_map(capacity * sizeof store->offload[0]);
    store->used = calloc(capacity / 64 + 1, sizeof store->used[0]);
    store->ids = calloc(IDS_SIZE_MIN, sizeof store->ids[0]);
    if (!store->rules || !store->single_actions || !store->offload || !store->used || !store->ids) {
        rule_store_finish(store);
        return error_set(error, ENOMEM, "No memory for a table of %" PRIu32 " rules; allow fewer.", rules_max);
    }
    key_packing_pack_none(&store->rules[0]);
    return 0;
}

static void free_actions(struct rule_store *store, struct rule *rule)
{
    if (rule->actions != &store->single_actions[rule_store_index(store, rule)])
        free(rule->actions);
    rule->actions = NULL;
}

void rule_store_finish(struct rule_store *store)
{
    if (store->rules) {
        for (uint32_t i = 1; i < store->n_touched; i++)
            free_actions(store, &store->rules[i]);
    }
    lazy_memory_unmap(store->rules, store->capacity * sizeof store->rules[0]);
    lazy_memory_unmap(store->single_actions, store->capacity * sizeof store->single_actions[0]);
    lazy_memory_unmap(store->offload, store->capacity * sizeof store->offload[0]);
    free(store->used);
    free(store->ids);
}

/* The slot of 'id', or the empty one where it would go. */
static struct rule_id_slot *find_id(const struct rule_store *store, uint64_t id)
{
    uint32_t hash = id_hash(store, id);

    for (uint32_t i = hash & store->ids_mask;; i = (i + 1) & store->ids_mask) {
        struct rule_id_slot *slot = &store->ids[i];

        if (!slot->rule)
            return slot;
        if (slot->hash == hash) {
            /* Who looks for a rule wants its counters, too, and these are in the other line. */
            __builtin_prefetch(&store->rules[slot->rule]);
            if (store->rules[slot->rule].id == id)
                return slot;
        }
    }
}

static int grow_ids(struct rule_store *store)
{
    uint32_t mask = store->ids_mask * 2 + 1;
    struct rule_id_slot *ids = calloc((size_t)mask + 1, sizeof ids[0]);

    if (!ids)
        return ENOMEM;
    for (uint32_t i = 0; i <= store->ids_mask; i++) {
        uint32_t j = store->ids[i].hash & mask;

        if (!store->ids[i].rule)
            continue;
        while (ids[j].rule)
            j = (j + 1) & mask;
        ids[j] = store->ids[i];
    }
    free(store->ids);
    store->ids = ids;
    store->ids_mask = mask;
    return 0;
}

/* Empties 'slot' and moves what probing would no longer reach (Knuth, TAOCP 3, 6.4, algorithm R). */
static void remove_id(struct rule_store *store, struct rule_id_slot *slot)
{
    uint32_t mask = store->ids_mask, hole = slot - store->ids;

    for (uint32_t i = (hole + 1) & mask; store->ids[i].rule; i = (i + 1) & mask) {
        uint32_t distance = (i - store->ids[i].hash) & mask;

        if (distance >= ((i - hole) & mask)) {
            store->ids[hole] = store->ids[i];
            hole = i;
        }
    }
    store->ids[hole].rule = 0;
}

/*
 * Gives 'rule' a copy of the spec's actions: one alone in the array made for that, several in
 * memory of their own, with the bytes of raw encapsulations behind them.
 */
static int copy_actions(struct rule_store *store, struct rule *rule, const struct rule_spec *spec)
{
    size_t raw_size = 0;
    uint8_t *raw;

    for (unsigned i = 0; i < spec->n_actions; i++) {
        if (spec->actions[i].type == ACTION_ENCAP_RAW)
            raw_size += spec->actions[i].raw_size;
    }
    if (spec->n_actions <= 1 && raw_size == 0)
        rule->actions = &store->single_actions[rule_store_index(store, rule)];
    else
        rule->actions = malloc(spec->n_actions * sizeof rule->actions[0] + raw_size);
    if (!rule->actions)
        return ENOMEM;
    memcpy(rule->actions, spec->actions, spec->n_actions * sizeof rule->actions[0]);
    raw = (uint8_t *)(rule->actions + spec->n_actions);
    for (unsigned i = 0; i < spec->n_actions; i++) {
        if (rule->actions[i].type != ACTION_ENCAP_RAW)
            continue;
        if (rule->actions[i].raw_size)
            memcpy(raw, spec->actions[i].raw, spec->actions[i].raw_size);
        rule->actions[i].raw = raw;
        raw += rule->actions[i].raw_size;
    }
    return 0;
}

static int check_spec(const struct rule_spec *spec, struct error *error)
{
    if (spec->id == 0)
        return error_set(error, EINVAL, "A rule's id cannot be 0.");
    if (spec->n_actions > RULE_ACTIONS_MAX)
        return error_set(error, EINVAL, "Rule %" PRIu64 " has %u actions; %u are the limit.", spec->id,
                         spec->n_actions, RULE_ACTIONS_MAX);
    for (unsigned i = 0; i < spec->n_actions; i++) {
        const struct action *action = &spec->actions[i];

        if (action->type >= ACTION_TYPE_COUNT)
            return error_set(error, EINVAL, "Action %u of rule %" PRIu64 " is of an unknown type.", i + 1,
                             spec->id);
        if (action->type == ACTION_ENCAP_RAW && action->raw_size > RAW_ENCAP_SIZE_MAX)
            return error_set(error, EINVAL,
                             "Action %u of rule %" PRIu64 " puts %u bytes before the frame; "
                             "%u are the limit.",
                             i + 1, spec->id, action->raw_size, RAW_ENCAP_SIZE_MAX);
    }
    return 0;
}

/* A free rule, or NULL. */
static struct rule *take_free(struct rule_store *store)
{
    struct rule *rule;

    if (store->free) {
        rule = &store->rules[store->free];
        store->free = rule->link;
        return rule;
    }
    if (store->n_touched == store->capacity)
        return NULL;
    return &store->rules[store->n_touched++];
}

static void put_free(struct rule_store *store, struct rule *rule)
{
    rule->link = store->free;
    store->free = rule_store_index(store, rule);
}

static void fill(struct rule *rule, const struct rule_spec *spec)
{
    rule->id = spec->id;
    rule->priority = spec->priority;
    rule->n_actions = spec->n_actions;
    rule->in_port = spec->in_port;
    rule->fast_output = RULE_NO_FAST_OUTPUT;
    if (spec->n_actions == 1 && spec->actions[0].type == ACTION_OUTPUT)
        rule->fast_output = spec->actions[0].port;
    atomic_store_explicit(&rule->state, spec->onload ? RULE_ONLOAD : RULE_OFFLOADED, memory_order_relaxed);
    atomic_store_explicit(&rule->n_packets, 0, memory_order_relaxed);
    atomic_store_explicit(&rule->n_bytes, 0, memory_order_relaxed);
}

int rule_store_add(struct rule_store *store, const struct rule_spec *spec, struct rule **added,
                   struct error *error)
{
    struct rule_id_slot *slot;
    struct rule *rule;
    uint32_t index;
    int code = check_spec(spec, error);

    if (code)
        return code;
    if (find_id(store, spec->id)->rule)
        return error_set(error, EEXIST, "There is a rule %" PRIu64 " already; remove it first.", spec->id);
    if (store->n_used + 1 > store->ids_mask / 2 && grow_ids(store) != 0)
        return error_set(error, ENOMEM, "No memory for the ids of more than %" PRIu32 " rules.", store->n_used);
    rule = take_free(store);
    if (!rule)
        return error_set(error, ENOSPC, "The table is full: %" PRIu32 " rules are its limit; remove some.",
                         store->capacity - 1);
    if (copy_actions(store, rule, spec) != 0) {
        put_free(store, rule);
        return error_set(error, ENOMEM, "No memory for the actions of rule %" PRIu64 ".", spec->id);
    }
    fill(rule, spec);
    index = rule_store_index(store, rule);
    offload_rule_reset(&store->offload[index]);
    slot = find_id(store, spec->id);
    slot->hash = id_hash(store, spec->id);
    slot->rule = index;
    store->used[index / 64] |= 1ull << index % 64;
    store->n_used++;
    *added = rule;
    return 0;
}

void rule_store_retire(struct rule_store *store, struct rule *rule)
{
    uint32_t index = rule_store_index(store, rule);

    remove_id(store, find_id(store, rule->id));
    store->used[index / 64] &= ~(1ull << index % 64);
    store->n_used--;
    store->n_retired++;
    rule->link = store->retired;
    store->retired = index;
}

int rule_store_rename(struct rule_store *store, struct rule *rule, uint64_t id)
{
    struct rule_id_slot *slot;

    if (find_id(store, id)->rule)
        return EEXIST;
    remove_id(store, find_id(store, rule->id));
    rule->id = id;
    slot = find_id(store, id);
    slot->hash = id_hash(store, id);
    slot->rule = rule_store_index(store, rule);
    return 0;
}

void rule_store_reclaim(struct rule_store *store)
{
    while (store->retired) {
        struct rule *rule = &store->rules[store->retired];

        store->retired = rule->link;
        free_actions(store, rule);
        put_free(store, rule);
    }
    store->n_retired = 0;
}

struct rule *rule_store_find(const struct rule_store *store, uint64_t id)
{
    const struct rule_id_slot *slot = find_id(store, id);

    return slot->rule ? &store->rules[slot->rule] : NULL;
}

struct rule *rule_store_next(const struct rule_store *store, uint32_t *cursor)
{
    for (uint32_t i = *cursor; i < store->n_touched; i = (i | 63) + 1) {
        uint64_t rest = store->used[i / 64] >> i % 64;

        if (rest) {
            i += __builtin_ctzll(rest);
            *cursor = i + 1;
            return &store->rules[i];
        }
    }
    *cursor = store->n_touched;
    return NULL;
}

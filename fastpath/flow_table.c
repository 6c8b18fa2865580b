/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A flow table is an array of subtables in falling order of the highest
 * priority in each (tuple space search: Srinivasan, Suri, Varghese, SIGCOMM
 * 1999, with the early end that sorting by priority allows). Readers take the
 * array by one pointer; a change of it makes a new one and retires the old.
 */

#include "fastpath/flow_table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "fastpath/flow_subtable.h"
#include "fastpath/offload_rule.h"
#include "fastpath/rule_store.h"
#include "fastpath/wide.h"

#define RANK_PRIORITY_SHIFT 48 /* of a rank: priority above, order of insertion below */

struct subtable_list {
    uint32_t n;
    struct subtable_list *next_retired;
    struct flow_subtable *subtables[];
};

struct flow_table {
    /* written by control, read by workers */
    _Atomic(struct subtable_list *) list; /* NULL: no rules */
    _Atomic uint64_t version;

    /* set once */
    struct rule *rules;
    struct offload_rule *offload;

    /* control only */
    struct flow_subtable *slots[MASKS_MAX]; /* rule.subtable is an index here */
} __attribute__((aligned(64)));

struct flow_tables {
    struct rule_store store;
    struct flow_table *tables[PORTS_MAX];
    uint64_t n_inserted; /* rules ever: their order */
    uint64_t n_versions; /* handed out to tables */
    struct subtable_list *retired_lists;
    struct flow_subtable *retired_subtables;
    bool arrays_retired; /* some subtable has arrays to free */
    void (*removed)(struct rule *rule);
};

struct flow_tables *flow_tables_create(uint32_t rules_max, struct error *error)
{
    struct flow_tables *tables;

    if (rules_max == 0 || rules_max > RULES_MAX) {
        error_set(error, EINVAL, "A table of %" PRIu32 " rules is not possible; 1 to %u are.", rules_max,
                  RULES_MAX);
        return NULL;
    }
    tables = calloc(1, sizeof *tables);
    if (!tables) {
        error_set(error, ENOMEM, "No memory for the rule table.");
        return NULL;
    }
    if (rule_store_init(&tables->store, rules_max, error) != 0) {
        free(tables);
        return NULL;
    }
    return tables;
}

void flow_tables_destroy(struct flow_tables *tables)
{
    if (!tables)
        return;
    flow_tables_reclaim(tables);
    for (unsigned port = 0; port < PORTS_MAX; port++) {
        struct flow_table *table = tables->tables[port];

        if (!table)
            continue;
        for (unsigned i = 0; i < MASKS_MAX; i++) {
            if (table->slots[i])
                flow_subtable_destroy(table->slots[i]);
        }
        free(atomic_load_explicit(&table->list, memory_order_relaxed));
        free(table);
    }
    rule_store_finish(&tables->store);
    free(tables);
}

/* Tells caches that what they know about 'table' is out of date. */
static void change_version(struct flow_tables *tables, struct flow_table *table)
{
    /* Release: who sees the new number sees the change. */
    atomic_store_explicit(&table->version, ++tables->n_versions, memory_order_release);
}

struct flow_table *flow_tables_get(struct flow_tables *tables, uint16_t in_port)
{
    struct flow_table *table;

    if (in_port >= PORTS_MAX)
        return NULL;
    if (!tables->tables[in_port]) {
        table = aligned_alloc(64, sizeof *table);
        if (!table)
            return NULL;
        memset(table, 0, sizeof *table);
        table->rules = tables->store.rules;
        table->offload = tables->store.offload;
        change_version(tables, table);
        tables->tables[in_port] = table;
    }
    return tables->tables[in_port];
}

static uint64_t rank_of(uint16_t priority, uint64_t order)
{
    return (uint64_t)priority << RANK_PRIORITY_SHIFT | order;
}

static uint16_t highest_priority(const struct flow_subtable *subtable)
{
    return atomic_load_explicit(&subtable->rank_max, memory_order_relaxed) >> RANK_PRIORITY_SHIFT;
}

/* Publishes the subtables in 'slots' that have rules, or are 'one', in order. 0 or ENOMEM. */
static int publish_list(struct flow_tables *tables, struct flow_table *table, const struct flow_subtable *one)
{
    struct subtable_list *old = atomic_load_explicit(&table->list, memory_order_relaxed);
    struct subtable_list *list = malloc(sizeof *list + MASKS_MAX * sizeof list->subtables[0]);

    if (!list)
        return ENOMEM;
    list->n = 0;
    for (unsigned i = 0; i < MASKS_MAX; i++) {
        struct flow_subtable *subtable = table->slots[i];
        unsigned j = list->n;

        if (!subtable || (subtable->n_rules == 0 && subtable != one))
            continue;
        for (; j > 0 && highest_priority(list->subtables[j - 1]) < highest_priority(subtable); j--)
            list->subtables[j] = list->subtables[j - 1];
        list->subtables[j] = subtable;
        list->n++;
    }
    /* Release: readers that see the list see the subtables. */
    atomic_store_explicit(&table->list, list, memory_order_release);
    if (old) {
        old->next_retired = tables->retired_lists;
        tables->retired_lists = old;
    }
    return 0;
}

/* Finds the subtable for 'spec', or makes an empty one that no reader knows yet, in '*slot'. */
static int get_subtable(struct flow_table *table, const struct rule_spec *spec, uint32_t *slot,
                        struct error *error)
{
    uint32_t unused = MASKS_MAX;

    for (uint32_t i = 0; i < MASKS_MAX; i++) {
        if (!table->slots[i])
            unused = unused < i ? unused : i;
        else if (wide_equal(&table->slots[i]->mask, &spec->mask)) {
            *slot = i;
            return 0;
        }
    }
    if (unused == MASKS_MAX)
        return error_set(error, ENOSPC,
                         "Rule %" PRIu64 " would bring one more mask to input port %u, whose rules "
                         "have %u different ones already, the limit; let rules match the same fields.",
                         spec->id, spec->in_port, MASKS_MAX);
    table->slots[unused] = flow_subtable_create(&spec->mask, table->rules);
    if (!table->slots[unused])
        return error_set(error, ENOMEM, "No memory for a new mask on input port %u.", spec->in_port);
    *slot = unused;
    return 0;
}

/* Drops the subtable in 'slot' when it has no rules. If there is no memory for a shorter list, it stays, empty. */
static void retire_empty_subtable(struct flow_tables *tables, struct flow_table *table, uint32_t slot)
{
    struct flow_subtable *subtable = table->slots[slot];

    if (subtable->n_rules > 0 || publish_list(tables, table, NULL) != 0)
        return;
    subtable->next_retired = tables->retired_subtables;
    tables->retired_subtables = subtable;
    table->slots[slot] = NULL;
}

/* Puts 'rule' with 'key' under 'slot' and makes sure that readers look there, early enough for its priority. 0 or ENOMEM. */
static int publish_rule(struct flow_tables *tables, struct flow_table *table, struct rule *rule,
                        uint32_t slot, const struct flow_key *key)
{
    struct flow_subtable *subtable = table->slots[slot];
    bool reorder = subtable->n_rules == 0 || highest_priority(subtable) < rule->priority;

    rule->table = table;
    rule->subtable = slot;
    rule->rank = rank_of(rule->priority, ++tables->n_inserted);
    if (reorder) {
        /* First the list, so that no reader meets the rule behind the place where it may stop. */
        atomic_store_explicit(&subtable->rank_max, rule->rank, memory_order_relaxed);
        if (publish_list(tables, table, subtable) != 0)
            return ENOMEM;
    }
    if (flow_subtable_insert(subtable, rule, key) != 0)
        return ENOMEM;
    tables->arrays_retired |= subtable->retired != NULL;
    return 0;
}

int flow_tables_insert(struct flow_tables *tables, const struct rule_spec *spec, struct error *error)
{
    struct flow_table *table = flow_tables_get(tables, spec->in_port);
    struct rule *rule;
    uint32_t slot = 0;
    int code;

    if (spec->in_port >= PORTS_MAX)
        return error_set(error, EINVAL, "Rule %" PRIu64 " names input port %u; ids are below %u.", spec->id,
                         spec->in_port, PORTS_MAX);
    if (!table)
        return error_set(error, ENOMEM, "No memory for the rules of input port %u.", spec->in_port);
    code = rule_store_add(&tables->store, spec, &rule, error);
    if (code)
        return code;
    code = get_subtable(table, spec, &slot, error);
    if (code == 0 && publish_rule(tables, table, rule, slot, &spec->key) != 0) {
        retire_empty_subtable(tables, table, slot);
        code = error_set(error, ENOMEM, "No memory to enter rule %" PRIu64 ".", spec->id);
    }
    if (code)
        rule_store_retire(&tables->store, rule);
    else
        change_version(tables, table);
    return code;
}

static void remove_rule(struct flow_tables *tables, struct rule *rule)
{
    struct flow_table *table = rule->table;

    if (tables->removed)
        tables->removed(rule);
    flow_subtable_remove(table->slots[rule->subtable], rule);
    retire_empty_subtable(tables, table, rule->subtable);
    change_version(tables, table);
    rule_store_retire(&tables->store, rule);
}

void flow_tables_on_remove(struct flow_tables *tables, void (*removed)(struct rule *rule))
{
    tables->removed = removed;
}

int flow_tables_remove(struct flow_tables *tables, uint64_t id, struct error *error)
{
    struct rule *rule = rule_store_find(&tables->store, id);

    if (!rule)
        return error_set(error, ENOENT, "There is no rule %" PRIu64 ".", id);
    remove_rule(tables, rule);
    return 0;
}

static bool outputs_to(const struct rule *rule, uint16_t port)
{
    for (unsigned i = 0; i < rule->n_actions; i++) {
        if (rule->actions[i].type == ACTION_OUTPUT && rule->actions[i].port == port)
            return true;
    }
    return false;
}

uint32_t flow_tables_remove_port(struct flow_tables *tables, uint16_t port, bool outputs_too)
{
    uint32_t cursor = 0, n = 0;
    struct rule *rule;

    while ((rule = rule_store_next(&tables->store, &cursor))) {
        if (rule->in_port == port || (outputs_too && outputs_to(rule, port))) {
            remove_rule(tables, rule);
            n++;
        }
    }
    return n;
}

void flow_tables_reclaim(struct flow_tables *tables)
{
    while (tables->retired_lists) {
        struct subtable_list *list = tables->retired_lists;

        tables->retired_lists = list->next_retired;
        free(list);
    }
    while (tables->retired_subtables) {
        struct flow_subtable *subtable = tables->retired_subtables;

        tables->retired_subtables = subtable->next_retired;
        flow_subtable_destroy(subtable);
    }
    for (unsigned port = 0; tables->arrays_retired && port < PORTS_MAX; port++) {
        for (unsigned i = 0; tables->tables[port] && i < MASKS_MAX; i++) {
            if (tables->tables[port]->slots[i])
                flow_subtable_reclaim(tables->tables[port]->slots[i]);
        }
    }
    tables->arrays_retired = false;
    rule_store_reclaim(&tables->store);
}

struct rule *flow_tables_find(struct flow_tables *tables, uint64_t id)
{
    return rule_store_find(&tables->store, id);
}

const struct flow_key *rule_mask(const struct rule *rule)
{
    return &rule->table->slots[rule->subtable]->mask;
}

void rule_key(const struct rule *rule, struct flow_key *key)
{
    key_packing_unpack(&rule->table->slots[rule->subtable]->packing, rule, key);
}

struct offload_rule *rule_offload(const struct rule *rule)
{
    const struct flow_table *table = rule->table;

    return &table->offload[rule - table->rules];
}

struct rule *flow_tables_next(struct flow_tables *tables, uint32_t *cursor)
{
    return rule_store_next(&tables->store, cursor);
}

static const uint8_t all_packets[] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                      16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};

static_assert(sizeof all_packets == BURST_MAX, "an index for each packet of a burst");

static struct flow_subtable *find_subtable(const struct flow_tables *tables, const struct rule_spec *spec)
{
    const struct flow_table *table = spec->in_port < PORTS_MAX ? tables->tables[spec->in_port] : NULL;

    for (uint32_t i = 0; table && i < MASKS_MAX; i++)
        if (table->slots[i] && wide_equal(&table->slots[i]->mask, &spec->mask))
            return table->slots[i];
    return NULL;
}

struct rule *flow_tables_equal(struct flow_tables *tables, const struct rule_spec *spec,
                               const struct rule *previous)
{
    const struct flow_subtable *subtable;
    struct rule *found[1];

    if (previous)
        return previous->link ? &tables->store.rules[previous->link] : NULL;
    subtable = find_subtable(tables, spec);
    return subtable && flow_subtable_lookup(subtable, &spec->key, all_packets, 1, found) & 1 ? found[0] : NULL;
}

bool flow_tables_have_mask(const struct flow_tables *tables, const struct rule_spec *spec)
{
    return find_subtable(tables, spec) != NULL;
}

int flow_tables_rename(struct flow_tables *tables, struct rule *rule, uint64_t id)
{
    return rule_store_rename(&tables->store, rule, id);
}

uint32_t flow_tables_count(const struct flow_tables *tables)
{
    return tables->store.n_used;
}

uint32_t flow_table_mask_count(const struct flow_table *table)
{
    const struct subtable_list *list = atomic_load_explicit(&table->list, memory_order_acquire);

    return list ? list->n : 0;
}

uint64_t flow_table_version(const struct flow_table *table)
{
    return atomic_load_explicit(&table->version, memory_order_acquire);
}

uint32_t flow_table_rule_number(const struct flow_table *table, const struct rule *rule)
{
    return rule ? rule - table->rules : 0;
}

struct rule *flow_table_rule(const struct flow_table *table, uint32_t number)
{
    return number ? &table->rules[number] : NULL;
}

static void lookup_single(const struct flow_subtable *subtable, const struct flow_key keys[], unsigned n,
                          struct rule *rules[])
{
    uint32_t hits = flow_subtable_lookup(subtable, keys, all_packets, n, rules);

    for (uint32_t misses = ~hits & bits_below(n); misses; misses &= misses - 1)
        rules[__builtin_ctz(misses)] = NULL;
}

/* Whether 'rule' counts rather than 'best'. Of both, the second line is touched only when they are of one priority. */
static bool outranks(const struct rule *rule, const struct rule *best)
{
    if (!best || rule->priority != best->priority)
        return !best || rule->priority > best->priority;
    return rule->rank > best->rank;
}

/* Several subtables: each is asked for the packets whose best rule so far may be outranked there. */
static void lookup_ranked(const struct subtable_list *list, const struct flow_key keys[],
                          const uint8_t index[], unsigned n, struct rule *rules[])
{
    uint64_t ranks[BURST_MAX]; /* by packet: at most that of its best rule, 0: none yet */
    struct rule *found[BURST_MAX];
    uint8_t open[BURST_MAX];

    for (unsigned i = 0; i < n; i++) {
        ranks[index[i]] = 0;
        rules[index[i]] = NULL;
    }
    for (uint32_t s = 0; s < list->n; s++) {
        const struct flow_subtable *subtable = list->subtables[s];
        uint64_t rank_max = atomic_load_explicit(&subtable->rank_max, memory_order_relaxed),
                 lowest = UINT64_MAX;
        unsigned n_open = 0;

        for (unsigned i = 0; i < n; i++) {
            uint64_t rank = ranks[index[i]];

            open[n_open] = index[i];
            n_open += rank < rank_max;
            lowest = rank < lowest ? rank : lowest;
        }
        if (lowest >> RANK_PRIORITY_SHIFT > rank_max >> RANK_PRIORITY_SHIFT)
            break;
        if (n_open == 0)
            continue;
        for (uint32_t hits = flow_subtable_lookup(subtable, keys, open, n_open, found) & bits_below(n_open);
             hits; hits &= hits - 1) {
            unsigned i = __builtin_ctz(hits), packet = open[i];

            if (outranks(found[i], rules[packet])) {
                /* Without the order of insertion, which is in the second line. */
                ranks[packet] = rank_of(found[i]->priority, 0);
                rules[packet] = found[i];
            }
        }
    }
}

bool flow_table_lookup_keyless(const struct flow_table *table, struct rule **rule)
{
    const struct subtable_list *list = atomic_load_explicit(&table->list, memory_order_acquire);

    *rule = NULL;
    if (!list || !list->n)
        return true;
    if (list->n > 1 || !list->subtables[0]->matches_all)
        return false;
    lookup_single(list->subtables[0], NULL, 1, rule);
    return true;
}

void flow_table_lookup_some(struct flow_table *table, const struct flow_key keys[], const uint8_t index[],
                            uint16_t n, struct rule *rules[])
{
    const struct subtable_list *list = atomic_load_explicit(&table->list, memory_order_acquire);

    if (list) {
        lookup_ranked(list, keys, index, n, rules);
    } else {
        for (unsigned i = 0; i < n; i++)
            rules[index[i]] = NULL;
    }
}

void flow_table_lookup(struct flow_table *table, const struct flow_key keys[], uint16_t n, struct rule *rules[])
{
    const struct subtable_list *list = atomic_load_explicit(&table->list, memory_order_acquire);

    if (!list || list->n == 0)
        memset(rules, 0, n * sizeof rules[0]);
    else if (list->n == 1)
        lookup_single(list->subtables[0], keys, n, rules);
    else
        lookup_ranked(list, keys, all_packets, n, rules);
}

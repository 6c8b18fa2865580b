/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <errno.h>
#include <cmocka.h>

#include "fastpath/flow_table.h"

/* A small generator of its own, so that a failing sequence repeats. */
static uint64_t random_state = 88172645463325252u;

static uint32_t random_below(uint32_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (random_state >> 32) % bound;
}

static struct flow_tables *create(uint32_t rules_max)
{
    struct error error;
    struct flow_tables *tables = flow_tables_create(rules_max, &error);

    assert_non_null(tables);
    return tables;
}

/* A rule for all packets of port 3, output to port 5. */
static struct rule_spec simple_spec(uint64_t id)
{
    return (struct rule_spec){
        .id = id, .in_port = 3, .n_actions = 1, .actions = {{.type = ACTION_OUTPUT, .port = 5}}};
}

static struct rule *lookup(struct flow_tables *tables, uint16_t port, const struct flow_key *key)
{
    struct rule *rule;

    flow_table_lookup(flow_tables_get(tables, port), key, 1, &rule);
    return rule;
}

static uint64_t lookup_id(struct flow_tables *tables, uint16_t port, const struct flow_key *key)
{
    struct rule *rule = lookup(tables, port, key);

    return rule ? rule->id : 0;
}

static void insert(struct flow_tables *tables, const struct rule_spec *spec)
{
    struct error error;

    assert_int_equal(flow_tables_insert(tables, spec, &error), 0);
}

static void test_empty(void **state)
{
    struct flow_tables *tables = create(4);
    struct flow_key keys[BURST_MAX] = {0};
    struct rule *rules[BURST_MAX];

    memset(rules, 1, sizeof rules);
    flow_table_lookup(flow_tables_get(tables, 0), keys, BURST_MAX, rules);
    for (int i = 0; i < BURST_MAX; i++)
        assert_null(rules[i]);
    flow_table_lookup(flow_tables_get(tables, 0), keys, 0, rules);
    assert_null(flow_tables_get(tables, PORTS_MAX));
    assert_int_equal(flow_tables_count(tables), 0);
    assert_int_equal(flow_table_mask_count(flow_tables_get(tables, 0)), 0);
    flow_tables_destroy(tables);
    flow_tables_destroy(NULL);
}

static void test_rule_fields(void **state)
{
    struct flow_tables *tables = create(4);
    uint8_t raw[2][3] = {{1, 2, 3}, {4, 5, 6}};
    struct rule_spec spec = simple_spec(7);
    struct flow_key key = {.ip_proto = 17, .ip_tos = 9}, found;
    struct rule *rule;

    spec.key = (struct flow_key){.ip_proto = 17, .ip_ttl = 3};
    spec.mask.ip_proto = 255;
    spec.priority = 12;
    insert(tables, &spec);
    rule = lookup(tables, 3, &key);
    assert_non_null(rule);
    assert_ptr_equal(rule, flow_tables_find(tables, 7));
    assert_int_equal(rule->id, 7);
    assert_int_equal(rule->priority, 12);
    assert_int_equal(rule->in_port, 3);
    assert_int_equal(rule->fast_output, 5);
    assert_int_equal(rule->n_actions, 1);
    assert_int_equal(rule->actions[0].port, 5);
    rule_key(rule, &found);
    assert_int_equal(found.ip_proto, 17);
    assert_int_equal(found.ip_ttl, 0); /* not under the mask */
    assert_memory_equal(rule_mask(rule), &spec.mask, sizeof spec.mask);

    /* Several actions, two with bytes of their own, which the caller may reuse. */
    spec = simple_spec(8);
    spec.in_port = 4;
    spec.onload = true;
    spec.n_actions = 3;
    spec.actions[0] = (struct action){.type = ACTION_ENCAP_RAW, .raw_size = 3, .raw = raw[0]};
    spec.actions[1] = (struct action){.type = ACTION_ENCAP_RAW, .raw_size = 3, .raw = raw[1]};
    spec.actions[2] = (struct action){.type = ACTION_OUTPUT, .port = 6};
    insert(tables, &spec);
    memset(raw, 0, sizeof raw);
    rule = lookup(tables, 4, &key);
    assert_int_equal(rule->id, 8);
    assert_int_equal(rule->fast_output, RULE_NO_FAST_OUTPUT);
    assert_int_equal(atomic_load(&rule->state), RULE_ONLOAD);
    assert_memory_equal(rule->actions[0].raw, ((uint8_t[]){1, 2, 3}), 3);
    assert_memory_equal(rule->actions[1].raw, ((uint8_t[]){4, 5, 6}), 3);
    assert_int_equal(rule->actions[2].port, 6);

    /* A rule without actions. */
    spec = simple_spec(9);
    spec.n_actions = 0;
    spec.in_port = 5;
    insert(tables, &spec);
    assert_int_equal(lookup(tables, 5, &key)->n_actions, 0);
    assert_int_equal(lookup(tables, 5, &key)->fast_output, RULE_NO_FAST_OUTPUT);
    flow_tables_destroy(tables);
}

static void test_errors(void **state)
{
    struct flow_tables *tables;
    struct rule_spec spec = simple_spec(1);
    struct error error;

    assert_null(flow_tables_create(0, &error));
    assert_null(flow_tables_create(RULES_MAX + 1, &error));
    assert_int_equal(error.code, EINVAL);
    tables = create(2);
    insert(tables, &spec);
    assert_int_equal(flow_tables_insert(tables, &spec, &error), EEXIST);
    assert_string_equal(error.text, "There is a rule 1 already; remove it first.");
    assert_int_equal(flow_tables_remove(tables, 2, &error), ENOENT);
    spec.id = 0;
    assert_int_equal(flow_tables_insert(tables, &spec, &error), EINVAL);
    spec = simple_spec(2);
    spec.in_port = PORTS_MAX;
    assert_int_equal(flow_tables_insert(tables, &spec, &error), EINVAL);
    spec = simple_spec(2);
    spec.n_actions = RULE_ACTIONS_MAX + 1;
    assert_int_equal(flow_tables_insert(tables, &spec, &error), EINVAL);
    spec = simple_spec(2);
    spec.actions[0].type = ACTION_TYPE_COUNT;
    assert_int_equal(flow_tables_insert(tables, &spec, &error), EINVAL);
    spec.actions[0].type = ACTION_ENCAP_RAW;
    spec.actions[0].raw_size = RAW_ENCAP_SIZE_MAX + 1;
    assert_int_equal(flow_tables_insert(tables, &spec, &error), EINVAL);
    assert_int_equal(flow_tables_count(tables), 1);
    flow_tables_destroy(tables);
}

static void test_limits(void **state)
{
    struct flow_tables *tables = create(MASKS_MAX + 2);
    struct rule_spec spec;
    struct error error;

    for (unsigned i = 0; i < MASKS_MAX; i++) {
        spec = simple_spec(i + 1);
        spec.mask.ip_src[0] = i;
        insert(tables, &spec);
    }
    assert_int_equal(flow_table_mask_count(flow_tables_get(tables, 3)), MASKS_MAX);
    spec = simple_spec(1000);
    spec.mask.ip_ttl = 1;
    assert_int_equal(flow_tables_insert(tables, &spec, &error), ENOSPC);
    assert_null(flow_tables_find(tables, 1000));
    /* The masks of another port are its own; one mask given up makes room for another. */
    spec.in_port = 4;
    flow_tables_reclaim(tables);
    insert(tables, &spec);
    spec.in_port = 3;
    spec.id = 1001;
    assert_int_equal(flow_tables_remove(tables, 5, &error), 0);
    flow_tables_reclaim(tables);
    insert(tables, &spec);
    assert_int_equal(flow_table_mask_count(flow_tables_get(tables, 3)), MASKS_MAX);
    /* Now the rules. */
    spec.id = 1002;
    insert(tables, &spec);
    spec.id = 1003;
    assert_int_equal(flow_tables_insert(tables, &spec, &error), ENOSPC);
    assert_string_equal(error.text, "The table is full: 130 rules are its limit; remove some.");
    flow_tables_destroy(tables);
}

static void test_memory_reused_after_reclaim_only(void **state)
{
    struct flow_tables *tables = create(2);
    struct rule_spec spec = simple_spec(1);
    struct rule *rule;
    struct error error;

    insert(tables, &spec);
    spec.id = 2;
    insert(tables, &spec);
    rule = flow_tables_find(tables, 1);
    assert_int_equal(flow_tables_remove(tables, 1, NULL), 0);
    assert_null(flow_tables_find(tables, 1));
    assert_int_equal(flow_tables_count(tables), 1);
    /* A worker may still read it. */
    assert_int_equal(rule->id, 1);
    assert_int_equal(rule->actions[0].port, 5);
    spec.id = 3;
    assert_int_equal(flow_tables_insert(tables, &spec, &error), ENOSPC);
    flow_tables_reclaim(tables);
    insert(tables, &spec);
    assert_ptr_equal(flow_tables_find(tables, 3), rule);
    flow_tables_destroy(tables);
}

static void test_duplicates(void **state)
{
    struct flow_tables *tables = create(16);
    struct flow_key key = {.ip_proto = 6};
    struct rule_spec spec = simple_spec(1);

    for (int exact = 0; exact < 2; exact++) {
        static const uint16_t priorities[] = {5, 9, 5, 9, 1};

        spec.key = key;
        spec.mask.ip_proto = exact ? 255 : 0;
        for (unsigned i = 0; i < 5; i++) {
            spec.id = i + 1;
            spec.priority = priorities[i];
            insert(tables, &spec);
        }
        assert_int_equal(lookup_id(tables, 3, &key), 4);
        flow_tables_remove(tables, 2, NULL);
        assert_int_equal(lookup_id(tables, 3, &key), 4);
        flow_tables_remove(tables, 4, NULL);
        assert_int_equal(lookup_id(tables, 3, &key), 3);
        flow_tables_remove(tables, 3, NULL);
        assert_int_equal(lookup_id(tables, 3, &key), 1);
        flow_tables_remove(tables, 1, NULL);
        assert_int_equal(lookup_id(tables, 3, &key), 5);
        flow_tables_remove(tables, 5, NULL);
        assert_int_equal(lookup_id(tables, 3, &key), 0);
        flow_tables_reclaim(tables);
    }
    flow_tables_destroy(tables);
}

static void test_version(void **state)
{
    struct flow_tables *tables = create(16);
    struct flow_table *table = flow_tables_get(tables, 3);
    uint64_t other = flow_table_version(flow_tables_get(tables, 4)), version = flow_table_version(table), next;
    struct rule_spec spec = simple_spec(1);

    assert_int_not_equal(version, other);
    insert(tables, &spec);
    next = flow_table_version(table);
    assert_int_not_equal(next, version);
    assert_int_not_equal(next, other);
    flow_tables_remove(tables, 1, NULL);
    assert_int_not_equal(flow_table_version(table), next);
    assert_int_equal(flow_table_version(flow_tables_get(tables, 4)), other);
    flow_tables_destroy(tables);
}

static void test_remove_port(void **state)
{
    struct flow_tables *tables = create(300);
    struct rule_spec spec;
    uint32_t cursor = 0, n = 0;
    struct rule *rule;

    /* Input ports 0 to 2, output ports 10 to 13. */
    for (unsigned i = 0; i < 240; i++) {
        spec = simple_spec(i + 1);
        spec.in_port = i % 3;
        spec.actions[0].port = 10 + i % 4;
        spec.mask.l4_src = UINT16_MAX;
        spec.key.l4_src = i;
        insert(tables, &spec);
    }
    assert_int_equal(flow_tables_remove_port(tables, 10, false), 0);
    assert_int_equal(flow_tables_remove_port(tables, 1, false), 80);
    assert_int_equal(flow_tables_remove_port(tables, 10, true), 40);
    while ((rule = flow_tables_next(tables, &cursor))) {
        assert_int_not_equal(rule->in_port, 1);
        assert_int_not_equal(rule->actions[0].port, 10);
        assert_ptr_equal(rule, flow_tables_find(tables, rule->id));
        n++;
    }
    assert_int_equal(n, 120);
    assert_int_equal(flow_tables_count(tables), 120);
    assert_int_equal(flow_table_mask_count(flow_tables_get(tables, 1)), 0);
    flow_tables_destroy(tables);
}

static void test_growth(void **state)
{
    enum { N = 200000 };
    struct flow_tables *tables = create(N);
    struct flow_table *table = flow_tables_get(tables, 3);
    struct rule_spec spec = simple_spec(1);
    struct flow_key keys[BURST_MAX] = {0};
    struct rule *rules[BURST_MAX];

    memset(spec.mask.ip_src, 255, 4);
    memset(&spec.mask.l4_src, 255, 4);
    for (uint32_t i = 0; i < N; i++) {
        spec.id = i + 1;
        memcpy(spec.key.ip_src, &i, 4);
        spec.key.l4_src = i;
        insert(tables, &spec);
        if (i % 1000 == 0)
            flow_tables_reclaim(tables);
    }
    for (uint32_t i = 0; i < N; i += BURST_MAX) {
        for (uint32_t j = 0; j < BURST_MAX; j++) {
            uint32_t k = i + j;

            memcpy(keys[j].ip_src, &k, 4);
            keys[j].l4_src = k;
            keys[j].ip_ttl = 9;
            /* Every 8th has no rule. */
            keys[j].l4_dst = j % 8 == 0;
        }
        flow_table_lookup(table, keys, BURST_MAX, rules);
        for (uint32_t j = 0; j < BURST_MAX; j++) {
            if (j % 8 == 0)
                assert_null(rules[j]);
            else
                assert_int_equal(rules[j]->id, i + j + 1);
            assert_ptr_equal(flow_table_rule(table, flow_table_rule_number(table, rules[j])), rules[j]);
        }
    }
    for (uint32_t i = 0; i < N; i++)
        assert_int_equal(flow_tables_remove(tables, i + 1, NULL), 0);
    flow_table_lookup(table, keys, BURST_MAX, rules);
    for (uint32_t j = 0; j < BURST_MAX; j++)
        assert_null(rules[j]);
    flow_tables_destroy(tables);
}

/* A mask with all bits of the words of a key that 'words' names. */
static struct flow_key words_mask(unsigned words)
{
    struct flow_key mask = {0};

    for (unsigned i = 0; i < 8; i++)
        ((uint64_t *)&mask)[i] = words >> i & 1 ? UINT64_MAX : 0;
    return mask;
}

/* Rules under each choice of whole words are found, differ by each word of it and by no other, and give their key back. */
static void test_mask_words(void **state)
{
    struct flow_tables *tables = create(512);

    for (unsigned words = 0; words < 256; words++) {
        struct rule_spec spec = simple_spec(words + 1);
        struct flow_key key, found;
        struct rule *rule;

        for (unsigned i = 0; i < sizeof key; i++)
            ((uint8_t *)&key)[i] = random_below(256);
        spec.key = key;
        spec.mask = words_mask(words);
        spec.in_port = words % 64;
        insert(tables, &spec);
        rule = lookup(tables, spec.in_port, &key);
        assert_ptr_equal(rule, flow_tables_find(tables, spec.id));
        rule_key(rule, &found);
        for (unsigned i = 0; i < 8; i++) {
            uint64_t *word = (uint64_t *)&key + i;

            assert_true(((uint64_t *)&found)[i] == (words >> i & 1 ? *word : 0));
            *word ^= 1ull << random_below(64);
            assert_ptr_equal(lookup(tables, spec.in_port, &key), words >> i & 1 ? NULL : rule);
            *word = ((uint64_t *)&spec.key)[i];
        }
        assert_int_equal(flow_tables_remove(tables, spec.id, NULL), 0);
        assert_null(lookup(tables, spec.in_port, &key));
    }
    flow_tables_destroy(tables);
}

/*
 * What is in empty slots is never found, not even by packets of all ones, so far as there are any, under masks of all
 * ones: where a subtable has no rule for them, or just another.
 */
static void test_no_rule_of_ones(void **state)
{
    struct flow_tables *tables = create(512);
    struct flow_key ones = words_mask(255);

    ones.vlan_ad = VLAN_AD_OUTER | VLAN_AD_INNER;
    for (unsigned words = 1; words < 256; words++) {
        struct rule_spec spec = simple_spec(words);
        struct flow_key keys[BURST_MAX];
        struct rule *rules[BURST_MAX];

        spec.mask = words_mask(words);
        spec.key = words_mask(0);
        insert(tables, &spec);
        for (unsigned i = 0; i < BURST_MAX; i++)
            keys[i] = ones;
        flow_table_lookup(flow_tables_get(tables, 3), keys, BURST_MAX, rules);
        for (unsigned i = 0; i < BURST_MAX; i++)
            assert_null(rules[i]);
        /* With the only rule of ones there is, it is that. */
        spec.id += 1000;
        spec.key = ones;
        insert(tables, &spec);
        assert_int_equal(lookup_id(tables, 3, &ones), spec.id);
        assert_int_equal(flow_tables_remove(tables, words, NULL), 0);
        assert_int_equal(flow_tables_remove(tables, spec.id, NULL), 0);
        flow_tables_reclaim(tables);
    }
    flow_tables_destroy(tables);
}

/* Rules of equal priority under several masks: the one inserted last counts, though lookups meet the masks in another order. */
static void test_equal_priorities(void **state)
{
    struct flow_tables *tables = create(64);
    struct flow_key key = words_mask(255);

    for (unsigned i = 0; i < 24; i++) {
        struct rule_spec spec = simple_spec(i + 1);

        spec.mask = words_mask(1u << (i * 5 % 8));
        spec.key = key;
        insert(tables, &spec);
        assert_int_equal(lookup_id(tables, 3, &key), i + 1);
    }
    for (unsigned i = 24; i > 0; i--) {
        assert_int_equal(lookup_id(tables, 3, &key), i);
        assert_int_equal(flow_tables_remove(tables, i, NULL), 0);
    }
    flow_tables_destroy(tables);
}

/* The model: a plain list. */
struct model_rule {
    struct rule_spec spec;
    uint64_t order;
    bool used;
};

enum { MODEL_RULES = 600 };

static bool matches(const struct rule_spec *spec, const struct flow_key *key)
{
    const uint8_t *a = (const uint8_t *)&spec->key, *m = (const uint8_t *)&spec->mask,
                  *b = (const uint8_t *)key;

    for (unsigned i = 0; i < sizeof *key; i++) {
        if ((a[i] & m[i]) != (b[i] & m[i]))
            return false;
    }
    return true;
}

static uint64_t model_lookup(const struct model_rule model[], uint16_t port, const struct flow_key *key)
{
    const struct model_rule *best = NULL;

    for (unsigned i = 0; i < MODEL_RULES; i++) {
        const struct model_rule *rule = &model[i];

        if (!rule->used || rule->spec.in_port != port || !matches(&rule->spec, key))
            continue;
        if (!best || rule->spec.priority > best->spec.priority ||
            (rule->spec.priority == best->spec.priority && rule->order > best->order))
            best = rule;
    }
    return best ? best->spec.id : 0;
}

/* Few values in few fields, so that rules overlap and equal ones happen. */
static struct flow_key random_key(void)
{
    struct flow_key key = {
        .eth_dst = {random_below(3)},
        .ip_src = {10, random_below(4)},
        .ip_dst = {10, random_below(4)},
        .ip_proto = random_below(2),
        .l4_src = random_below(3),
        .l4_dst = random_below(3),
        .tunnel_id = random_below(2),
    };

    return key;
}

static struct flow_key random_mask(unsigned n_masks)
{
    unsigned bits = random_below(n_masks) * 37 % 128;
    struct flow_key mask = {
        .eth_dst = {bits & 1 ? 255 : 0},
        .ip_src = {bits & 2 ? 255 : 0, bits & 2 ? 254 : 0},
        .ip_dst = {bits & 4 ? 255 : 0, bits & 8 ? 255 : 0},
        .ip_proto = bits & 16 ? 255 : 0,
        .l4_src = bits & 32 ? UINT16_MAX : 0,
        .tunnel_id = bits & 64 ? UINT32_MAX : 0,
    };

    return mask;
}

static void check_against_model(struct flow_tables *tables, const struct model_rule model[])
{
    uint16_t port = 3 + random_below(2), n = 1 + random_below(BURST_MAX);
    struct flow_key keys[BURST_MAX];
    struct rule *rules[BURST_MAX];

    for (unsigned i = 0; i < n; i++)
        keys[i] = random_key();
    flow_table_lookup(flow_tables_get(tables, port), keys, n, rules);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(rules[i] ? rules[i]->id : 0, model_lookup(model, port, &keys[i]));
}

static void run_model(unsigned n_masks, unsigned n_priorities, unsigned n_rules)
{
    static struct model_rule model[MODEL_RULES];
    struct flow_tables *tables = create(MODEL_RULES);
    uint64_t order = 0;
    uint32_t n = 0;

    memset(model, 0, sizeof model);
    for (unsigned step = 0; step < 6000; step++) {
        unsigned i = random_below(n_rules);

        if (model[i].used) {
            assert_int_equal(flow_tables_remove(tables, model[i].spec.id, NULL), 0);
            model[i].used = false;
            n--;
        } else {
            model[i].spec = simple_spec(i + 1);
            model[i].spec.in_port = 3 + random_below(2);
            model[i].spec.priority = random_below(n_priorities);
            model[i].spec.key = random_key();
            model[i].spec.mask = random_mask(n_masks);
            model[i].order = ++order;
            model[i].used = true;
            /* Removed rules count until they are reclaimed. */
            if (flow_tables_insert(tables, &model[i].spec, NULL) != 0) {
                flow_tables_reclaim(tables);
                insert(tables, &model[i].spec);
            }
            n++;
        }
        assert_int_equal(flow_tables_count(tables), n);
        if (random_below(16) == 0)
            flow_tables_reclaim(tables);
        if (step % 4 == 0)
            check_against_model(tables, model);
    }
    flow_tables_destroy(tables);
}

static void test_model(void **state)
{
    run_model(1, 1, 20);
    run_model(1, 4, MODEL_RULES);
    run_model(3, 3, MODEL_RULES);
    run_model(128, 1, MODEL_RULES);
    run_model(128, 1000, MODEL_RULES);
    run_model(128, 4, 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_rule_fields),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_memory_reused_after_reclaim_only),
        cmocka_unit_test(test_duplicates),
        cmocka_unit_test(test_version),
        cmocka_unit_test(test_remove_port),
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_mask_words),
        cmocka_unit_test(test_no_rule_of_ones),
        cmocka_unit_test(test_equal_priorities),
        cmocka_unit_test(test_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fastpath/match_cache.h"

enum { MASKS = 8, FLOWS = 1024 };

/* One rule for each flow, under MASKS masks, which differ in the last byte of the source MAC address. */
static struct rule_spec spec_of(uint32_t flow, uint16_t in_port)
{
    struct rule_spec spec = {.id = flow + 1 + in_port * 1000000u, .in_port = in_port, .priority = 1};

    memcpy(spec.key.ip_src, &flow, 4);
    memset(spec.mask.ip_src, 255, 4);
    spec.mask.eth_src[5] = flow % MASKS;
    return spec;
}

static struct flow_tables *create(void)
{
    struct flow_tables *tables = flow_tables_create(4 * FLOWS, NULL);

    assert_non_null(tables);
    for (uint16_t port = 1; port <= 2; port++) {
        for (uint32_t flow = 0; flow < FLOWS; flow++) {
            struct rule_spec spec = spec_of(flow, port);

            assert_int_equal(flow_tables_insert(tables, &spec, NULL), 0);
        }
    }
    return tables;
}

static struct flow_key key_of(uint32_t flow)
{
    struct flow_key key = {0};

    memcpy(key.ip_src, &flow, 4);
    return key;
}

/* Looks up a burst of flows from 'first' on, through the cache, and checks against the table. */
static void check(struct match_cache *cache, struct flow_tables *tables, uint16_t port, uint32_t first)
{
    struct flow_table *table = flow_tables_get(tables, port);
    struct flow_key keys[BURST_MAX];
    struct rule *rules[BURST_MAX], *expected[BURST_MAX];

    for (uint32_t i = 0; i < BURST_MAX; i++)
        keys[i] = key_of(first + i);
    match_cache_lookup(cache, table, keys, BURST_MAX, rules);
    flow_table_lookup(table, keys, BURST_MAX, expected);
    assert_memory_equal(rules, expected, sizeof rules);
}

static uint64_t hits(const struct match_cache *cache)
{
    return atomic_load(&match_cache_get_stats(cache)->hits);
}

static uint64_t misses(const struct match_cache *cache)
{
    return atomic_load(&match_cache_get_stats(cache)->misses);
}

static void test_hits_and_misses(void **state)
{
    struct flow_tables *tables = create();
    struct match_cache *cache = match_cache_create();

    assert_non_null(cache);
    check(cache, tables, 1, 0);
    assert_int_equal(hits(cache), 0);
    assert_int_equal(misses(cache), BURST_MAX);
    check(cache, tables, 1, 0);
    assert_int_equal(hits(cache), BURST_MAX);
    /* Also what no rule matches is known. */
    check(cache, tables, 1, FLOWS + 5);
    check(cache, tables, 1, FLOWS + 5);
    assert_int_equal(hits(cache), 2 * BURST_MAX);
    /* The same flow on another port is another. */
    check(cache, tables, 2, 0);
    assert_int_equal(misses(cache), 3 * BURST_MAX);
    match_cache_destroy(cache);
    flow_tables_destroy(tables);
}

static void test_changes_are_seen(void **state)
{
    struct flow_tables *tables = create();
    struct match_cache *cache = match_cache_create();
    struct rule_spec spec = {.id = 5000, .in_port = 3, .priority = 2};
    uint64_t found;

    check(cache, tables, 1, 0);
    check(cache, tables, 2, 0);
    /* A removal, after which the memory goes to another rule. */
    assert_int_equal(flow_tables_remove(tables, spec_of(3, 1).id, NULL), 0);
    check(cache, tables, 1, 0);
    flow_tables_reclaim(tables);
    assert_int_equal(flow_tables_insert(tables, &spec, NULL), 0);
    found = hits(cache);
    check(cache, tables, 1, 0);
    assert_int_equal(hits(cache), found + BURST_MAX);
    /* A rule above those in the cache. */
    spec.id = 5001;
    spec.in_port = 1;
    assert_int_equal(flow_tables_insert(tables, &spec, NULL), 0);
    check(cache, tables, 1, 0);
    assert_int_equal(hits(cache), found + BURST_MAX);
    /* The other table's entries have stayed good all the time. */
    check(cache, tables, 2, 0);
    assert_int_equal(hits(cache), found + 2 * BURST_MAX);
    match_cache_destroy(cache);
    flow_tables_destroy(tables);
}

static void test_few_masks_pass_by(void **state)
{
    struct flow_tables *tables = flow_tables_create(4, NULL);
    struct match_cache *cache = match_cache_create();
    struct rule_spec spec = {.id = 1, .in_port = 1};

    assert_int_equal(flow_tables_insert(tables, &spec, NULL), 0);
    check(cache, tables, 1, 0);
    check(cache, tables, 1, 0);
    assert_int_equal(hits(cache) + misses(cache), 0);
    match_cache_destroy(cache);
    flow_tables_destroy(tables);
}

static void test_adapts(void **state)
{
    enum { PACKETS = 1000000, PAUSE = 32 * MATCH_CACHE_ENTRIES };
    struct flow_tables *tables = create();
    struct match_cache *cache = match_cache_create();
    uint64_t asked, found;

    /* Always new flows: it is asked for as many packets as it has entries, then passed by for 32 times as many. */
    for (uint32_t flow = 0; flow < PACKETS; flow += BURST_MAX)
        check(cache, tables, 1, flow);
    asked = hits(cache) + misses(cache);
    assert_in_range(asked, PACKETS / 33, PACKETS / 33 + MATCH_CACHE_ENTRIES);
    /*
     * Always the same: after the pause, if there was one, it is asked for all. Flows that share a set with four
     * others drive each other out: of 1024 in 1024 sets that is 2 in 100 on average (the flows of a set
     * are Poisson distributed), with a standard deviation of 1, and never 10.
     */
    found = hits(cache);
    for (uint32_t n = 0; n < PACKETS; n += BURST_MAX)
        check(cache, tables, 1, n % FLOWS);
    asked = hits(cache) + misses(cache) - asked;
    assert_in_range(asked, PACKETS - PAUSE, PACKETS);
    assert_in_range(hits(cache) - found, (asked - FLOWS) / 10 * 9, asked);
    match_cache_destroy(cache);
    flow_tables_destroy(tables);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hits_and_misses),
        cmocka_unit_test(test_changes_are_seen),
        cmocka_unit_test(test_few_masks_pass_by),
        cmocka_unit_test(test_adapts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

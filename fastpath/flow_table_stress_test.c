/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Readers look up while a writer inserts, removes, grows and reclaims. Rules that
 * are there all along are never missed, and no other rule is ever found in
 * place of the right one. Also to be run with -Db_sanitize=thread.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>

#include "fastpath/match_cache.h"

enum { READERS = 2, PERMANENT = 96, TRANSIENT = 1500, MASKS = 3, TABLES = 40, TOGGLES = 1000, PORT = 1 };

struct reader {
    pthread_t thread;
    bool cached;
    _Atomic uint64_t n_quiescent; /* written by the reader */
};

static struct flow_tables *tables;
static struct reader readers[READERS];
static _Atomic bool stop;
static _Atomic uint64_t n_wrong;

/* Flows 0 to PERMANENT - 1 have rules with these ids all along; TRANSIENT more have them now and then. */
static uint64_t id_of(uint32_t flow)
{
    return flow + 1;
}

static struct flow_key key_of(uint32_t flow)
{
    struct flow_key key = {.eth_src = {0, 0, 0, 0, 0, 255}};

    memcpy(key.ip_dst, &flow, 4);
    return key;
}

static struct rule_spec spec_of(uint32_t flow)
{
    struct rule_spec spec = {.id = id_of(flow), .in_port = PORT, .priority = 10, .key = key_of(flow)};

    memset(spec.mask.ip_dst, 255, 4);
    spec.mask.eth_src[5] = flow % MASKS;
    return spec;
}

/* A rule equal to a permanent one, that is found instead while it is there. */
static struct rule_spec shadow_of(uint32_t flow)
{
    struct rule_spec spec = spec_of(flow);

    spec.id += 1000000;
    spec.priority++;
    return spec;
}

static bool is_right(uint32_t flow, const struct rule *rule)
{
    if (!rule)
        return flow >= PERMANENT;
    return rule->id == id_of(flow) || (flow < PERMANENT && rule->id == shadow_of(flow).id);
}

static void *run_reader(void *argument)
{
    struct reader *reader = argument;
    struct flow_table *table = flow_tables_get(tables, PORT);
    struct match_cache *cache = match_cache_create();
    uint32_t transient = 0, permanent = 0;

    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        struct flow_key keys[BURST_MAX];
        struct rule *rules[BURST_MAX];
        uint32_t flows[BURST_MAX];

        for (unsigned i = 0; i < BURST_MAX; i++) {
            flows[i] = i % 4 ? permanent++ % PERMANENT : PERMANENT + transient++ % TRANSIENT;
            keys[i] = key_of(flows[i]);
        }
        if (reader->cached)
            match_cache_lookup(cache, table, keys, BURST_MAX, rules);
        else
            flow_table_lookup(table, keys, BURST_MAX, rules);
        for (unsigned i = 0; i < BURST_MAX; i++)
            atomic_fetch_add_explicit(&n_wrong, !is_right(flows[i], rules[i]), memory_order_relaxed);
        /* Release: what was read above is read before the writer sees this. */
        atomic_fetch_add_explicit(&reader->n_quiescent, 1, memory_order_release);
    }
    match_cache_destroy(cache);
    return NULL;
}

/* Waits until each reader has passed a quiescent state, twice as it may have been near the end of one. */
static void synchronize(void)
{
    for (unsigned i = 0; i < READERS; i++) {
        uint64_t before = atomic_load_explicit(&readers[i].n_quiescent, memory_order_acquire);

        while (atomic_load_explicit(&readers[i].n_quiescent, memory_order_acquire) < before + 2)
            sched_yield();
    }
}

static void insert(const struct rule_spec *spec)
{
    struct error error;

    if (flow_tables_insert(tables, spec, &error) != 0)
        fail_msg("%s", error.text);
}

/* Rules come, so that the table grows, and go. */
static void grow_and_empty(void)
{
    for (uint32_t flow = 0; flow < TRANSIENT; flow++) {
        struct rule_spec spec = spec_of(PERMANENT + flow);

        insert(&spec);
    }
    for (uint32_t flow = 0; flow < TRANSIENT; flow++)
        assert_int_equal(flow_tables_remove(tables, id_of(PERMANENT + flow), NULL), 0);
    synchronize();
    flow_tables_reclaim(tables);
}

/* Rules equal to permanent ones, of higher priority, cover these and go again. */
static void toggle_shadows(void)
{
    for (unsigned i = 0; i < TOGGLES; i++) {
        struct rule_spec spec = shadow_of(i % PERMANENT);

        insert(&spec);
        assert_int_equal(flow_tables_remove(tables, spec.id, NULL), 0);
    }
    synchronize();
    flow_tables_reclaim(tables);
}

/* Masks of a rule that matches no packet come and go. */
static void change_masks(void)
{
    struct rule_spec spec = {.id = 2000000, .in_port = PORT, .priority = 1000, .key = {.ip_proto = 128}};

    for (unsigned i = 1; i < 20; i++) {
        spec.mask.ip_proto = 255 - i;
        insert(&spec);
        assert_int_equal(flow_tables_remove(tables, spec.id, NULL), 0);
    }
    synchronize();
    flow_tables_reclaim(tables);
}

/* A new table each time, for growth happens once to each. */
static void use_table(void)
{
    tables = flow_tables_create(3 * TRANSIENT, NULL);
    assert_non_null(tables);
    for (uint32_t flow = 0; flow < PERMANENT; flow++) {
        struct rule_spec spec = spec_of(flow);

        insert(&spec);
    }
    atomic_store(&stop, false);
    for (unsigned i = 0; i < READERS; i++) {
        readers[i].cached = i % 2;
        assert_int_equal(pthread_create(&readers[i].thread, NULL, run_reader, &readers[i]), 0);
    }
    synchronize();
    grow_and_empty();
    toggle_shadows();
    change_masks();
    atomic_store(&stop, true);
    for (unsigned i = 0; i < READERS; i++)
        pthread_join(readers[i].thread, NULL);
    assert_int_equal(atomic_load(&n_wrong), 0);
    flow_tables_destroy(tables);
}

static void test_readers_and_writer(void **state)
{
    for (unsigned i = 0; i < TABLES; i++)
        use_table();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_readers_and_writer)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}

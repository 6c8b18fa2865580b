/* SPDX-License-Identifier: Apache-2.0 */
/* What DPDK's user does with rules. */

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <rte_ethdev.h>
#include <ethdev_driver.h>
#include <rte_errno.h>
#include <rte_flow_driver.h>

#include "pmd/flow_carry.h"
#include "pmd/flow_fake.h"
#include "pmd/flow_testbed.h"

static void test_create(void **state)
{
    struct rte_flow *flow =
        fake_create("eth type=0806 has_vlan=0 / end", "count / port_id=1 / port_id=2 / end");
    const struct wire_rule *rule;
    char text[256];

    assert_true(fake.woken);
    fake_serve();
    assert_int_equal(fake.n_known, 1);
    rule = fake_last_rule();
    assert_int_equal(rule->in_port, 100);
    assert_int_equal(rule->flags, WIRE_RULE_MANAGED);
    assert_int_equal(rule->id >> 48, 0x8000 | 5);
    flow_text_write(rule, text, sizeof text);
    assert_string_equal(text, "eth_type=0x0806 vlan=0 actions=output:101,output:102");
    assert_int_equal(fake_counter("rules_present"), 1);
    assert_int_equal(fake_counter("rules_created"), 1);
    fake_destroy(flow);
    assert_int_equal(fake.n_known, 0);
    assert_int_equal(fake_counter("rules_present"), 0);
    assert_int_equal(fake_counter("rules_destroyed"), 1);
}

static void test_batch(void **state)
{
    struct rte_flow *flows[10];

    for (unsigned i = 0; i < 10; i++)
        flows[i] = fake_create(FAKE_MATCH, "drop / end");
    fake_serve();
    assert_int_equal(fake.n_requests, 1);
    assert_int_equal(fake.n_last, 10);
    for (unsigned i = 0; i < 10; i++)
        fake_destroy(flows[i]);
    assert_int_equal(fake.n_known, 0);
}

static void test_refusal(void **state)
{
    assert_null(fake_create_on(0, "eth / gre / end", "drop / end"));
    assert_int_equal(fake_last_error.type, RTE_FLOW_ERROR_TYPE_ITEM);
    assert_int_equal(rte_errno, ENOTSUP);
    assert_non_null(fake_last_error.message);
    assert_int_equal(fake_counter("rules_refused_match_not_supported"), 1);
    assert_null(fake_create_on(0, FAKE_MATCH, "port_id=3 / end"));
    assert_int_equal(fake_counter("rules_refused_output_elsewhere"), 1);
    assert_false(fake_take_request());
}

static void test_validate(void **state)
{
    static struct flow_text text;

    flow_text_parse_items(&text, FAKE_MATCH);
    flow_text_parse_actions(&text, "port_id=1 / end");
    assert_int_equal(vnode_flow_ops.validate(&rte_eth_devices[0], &fake_transfer, text.items, text.actions,
                                             &fake_last_error),
                     0);
    flow_text_parse_actions(&text, "jump=00000000 / end");
    assert_int_equal(vnode_flow_ops.validate(&rte_eth_devices[0], &fake_transfer, text.items, text.actions,
                                             &fake_last_error),
                     -ENOTSUP);
    assert_false(fake_take_request());
}

static void test_not_attached(void **state)
{
    fake_detach();
    assert_null(fake_create_on(0, FAKE_MATCH, "drop / end"));
    assert_int_equal(rte_errno, ENOTCONN);
    assert_int_equal(fake_counter("rules_refused_not_attached"), 1);
}

static void test_table_full(void **state)
{
    struct rte_flow *flows[FAKE_SLOTS];

    for (unsigned i = 0; i < FAKE_SLOTS; i++)
        flows[i] = fake_create(FAKE_MATCH, "drop / end");
    assert_null(fake_create_on(0, FAKE_MATCH, "drop / end"));
    assert_int_equal(rte_errno, ENOSPC);
    assert_int_equal(fake_counter("rules_refused_table_full"), 1);
    fake_serve();
    fake_destroy(flows[7]);
    flows[7] = fake_create_active(FAKE_MATCH, "drop / end");
    assert_int_equal(fake_last_slot(), 7);
}

/* Never sent, so there is nothing to take back. */
static void test_destroy_pending(void **state)
{
    fake_destroy(fake_create(FAKE_MATCH, "drop / end"));
    assert_false(fake_take_request());
    assert_int_equal(fake.n_requests, 0);
}

static void test_destroy_sent(void **state)
{
    struct rte_flow *flow = fake_create(FAKE_MATCH, "drop / end");

    assert_true(fake_take_request());
    fake_destroy(flow);
    assert_int_equal(fake.n_requests, 2);
    assert_int_equal(fake.n_known, 0);
}

/* The fast path does not answer: the caller gets away, the slot is taken until it does. */
static void test_destroy_unanswered(void **state)
{
    struct rte_flow *flow = fake_create_active(FAKE_MATCH, "drop / end"), *other;
    uint32_t slot = fake_last_slot();
    uint64_t before = fake_milliseconds();

    assert_int_equal(vnode_flow_ops.destroy(&rte_eth_devices[0], flow, &fake_last_error), 0);
    assert_in_range(fake_milliseconds() - before, DRIVER_WAIT_MS - 1, 20 * DRIVER_WAIT_MS);
    assert_int_equal(fake_counter("rules_removed_late"), 1);
    other = fake_create(FAKE_OTHER_MATCH, "drop / end");
    fake_serve();
    assert_int_equal(fake.n_known, 1);
    assert_int_not_equal(fake_last_slot(), slot);
    fake_destroy(other);
    other = fake_create_active(FAKE_OTHER_MATCH, "drop / end");
    fake_destroy(other);
}

static void test_query(void **state)
{
    struct rte_flow *flow = fake_create(FAKE_MATCH, "drop / end");
    const struct rte_flow_action age = {.type = RTE_FLOW_ACTION_TYPE_AGE};
    struct rte_flow_query_count result;

    /* What the slot's former user left there is not ours. */
    fake_count(0, 77);
    assert_int_equal(fake_query(flow, true).hits, 0);
    fake_serve();
    assert_int_equal(fake_query(flow, true).hits, 0);
    fake_count(fake_last_slot(), 5);
    result = fake_query(flow, false);
    assert_int_equal(result.hits, 5);
    assert_int_equal(result.bytes, 500);
    assert_int_equal(fake_query(flow, true).hits, 5);
    assert_int_equal(fake_query(flow, true).hits, 0);
    fake_count(fake_last_slot(), 1);
    assert_int_equal(fake_query(flow, true).hits, 1);
    assert_int_equal(vnode_flow_ops.query(&rte_eth_devices[0], flow, &age, &result, &fake_last_error),
                     -ENOTSUP);
    fake_destroy(flow);
}

static _Atomic uint64_t told_packets, told_bytes;
static _Atomic bool queries_end;

static void *query_thread(void *flow)
{
    bool last = false;

    while (!last) {
        const struct rte_flow_action action = {.type = RTE_FLOW_ACTION_TYPE_COUNT};
        struct rte_flow_query_count result = {.reset = 1};

        last = atomic_load(&queries_end);
        vnode_flow_ops.query(&rte_eth_devices[0], flow, &action, &result, NULL);
        atomic_fetch_add(&told_packets, result.hits);
        atomic_fetch_add(&told_bytes, result.bytes);
    }
    return NULL;
}

/* Every packet is told once, whoever asks. */
static void test_query_concurrently(void **state)
{
    struct rte_flow *flow = fake_create_active(FAKE_MATCH, "drop / end");
    pthread_t threads[3];

    atomic_store(&told_packets, 0);
    atomic_store(&told_bytes, 0);
    atomic_store(&queries_end, false);
    for (unsigned i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, query_thread, flow);
    for (unsigned i = 0; i < 20000; i++)
        fake_count(fake_last_slot(), 1);
    atomic_store(&queries_end, true);
    for (unsigned i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(told_packets, 20000);
    assert_int_equal(told_bytes, 2000000);
    fake_destroy(flow);
}

/* Open vSwitch changes a flow by destroying and creating it. */
static void test_carry_over(void **state)
{
    struct rte_flow *flow = fake_create_active(FAKE_MATCH, "port_id=1 / end"), *other;

    fake_count(fake_last_slot(), 10);
    assert_int_equal(fake_query(flow, true).hits, 10);
    fake_count(fake_last_slot(), 3);
    fake_destroy(flow);
    other = fake_create_active(FAKE_OTHER_MATCH, "port_id=1 / end");
    assert_int_equal(fake_query(other, true).hits, 0);
    flow = fake_create(FAKE_MATCH, "port_id=2 / end");
    assert_int_equal(fake_counter("rules_carried_packets"), 3);
    assert_int_equal(fake_query(flow, false).hits, 3);
    fake_serve();
    fake_count(fake_last_slot(), 2);
    assert_int_equal(fake_query(flow, false).hits, 5);
    assert_int_equal(fake_query(flow, true).bytes, 500);
    assert_int_equal(fake_query(flow, true).hits, 0);
    fake_destroy(flow);
    flow = fake_create_active(FAKE_MATCH, "port_id=2 / end");
    assert_int_equal(fake_query(flow, true).hits, 0);
    fake_destroy(flow);
    fake_destroy(other);
}

/* What was carried over and not asked for is carried on, also by a flow that was never sent. */
static void test_carry_on(void **state)
{
    struct rte_flow *flow = fake_create_active(FAKE_MATCH, "drop / end"),
                    *twin = fake_create_active(FAKE_MATCH, "drop / end");

    fake_count(0, 3);
    fake_count(1, 4);
    fake_destroy(flow);
    fake_destroy(twin);
    fake_destroy(fake_create(FAKE_MATCH, "drop / end"));
    flow = fake_create_active(FAKE_MATCH, "drop / end");
    assert_int_equal(fake_query(flow, true).hits, 7);
    fake_destroy(flow);
    /* Another port's flow with the same match has nothing to do with it. */
    flow = fake_create_active(FAKE_MATCH, "drop / end");
    fake_count(fake_last_slot(), 9);
    fake_destroy(flow);
    twin = fake_create_on(1, FAKE_MATCH, "drop / end");
    assert_int_equal(fake_query(twin, true).hits, 0);
    fake_destroy_on(1, twin);
}

static void test_carry_is_bounded(void **state)
{
    char items[80];

    for (unsigned i = 0; i <= FLOW_CARRY_MAX; i++) {
        struct rte_flow *flow;

        snprintf(items, sizeof items, "eth type=%04x has_vlan=0 / end", 0x9200 + i);
        flow = fake_create_active(items, "drop / end");
        fake_count(fake_last_slot(), 1);
        fake_destroy(flow);
    }
    assert_int_equal(fake_query(fake_create("eth type=9200 has_vlan=0 / end", "drop / end"), true).hits, 0);
    assert_int_equal(fake_query(fake_create("eth type=9201 has_vlan=0 / end", "drop / end"), true).hits, 1);
}

static void test_flush(void **state)
{
    struct rte_flow *other;

    for (unsigned i = 0; i < 20; i++)
        fake_create(FAKE_MATCH, "drop / end");
    fake_serve();
    fake_create(FAKE_MATCH, "drop / end");
    other = fake_create_on(1, FAKE_MATCH, "drop / end");
    fake_set_automatic(true);
    assert_int_equal(vnode_flow_ops.flush(&rte_eth_devices[0], &fake_last_error), 0);
    fake_set_automatic(false);
    fake_serve();
    assert_int_equal(fake.n_known, 1);
    assert_int_equal(fake_counter("rules_present"), 0);
    fake_destroy_on(1, other);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_set_up, fake_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_create),
        TEST(test_batch),
        TEST(test_refusal),
        TEST(test_validate),
        TEST(test_not_attached),
        TEST(test_table_full),
        TEST(test_destroy_pending),
        TEST(test_destroy_sent),
        TEST(test_destroy_unanswered),
        TEST(test_query),
        TEST(test_query_concurrently),
        TEST(test_carry_over),
        TEST(test_carry_on),
        TEST(test_carry_is_bounded),
        TEST(test_flush),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

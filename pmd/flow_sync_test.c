/* SPDX-License-Identifier: Apache-2.0 */
/* Rules when the fast path refuses them, goes and comes, and when ports do. */

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

static void test_one_fails(void **state)
{
    struct rte_flow *flows[3];

    fake.fail_first = 1;
    fake.fail_n = 1;
    fake.fail_code = EINVAL;
    for (unsigned i = 0; i < 3; i++)
        flows[i] = fake_create(FAKE_MATCH, "drop / end");
    fake_serve();
    assert_int_equal(fake.n_requests, 1);
    assert_int_equal(fake.n_known, 2);
    assert_int_equal(fake_counter("rules_failed_in_fastpath"), 1);
    assert_non_null(strstr(fake_last_warning, "No."));
    /* It never counts, and goes without a request. */
    fake_count(1, 5);
    assert_int_equal(fake_query(flows[1], true).hits, 0);
    fake_destroy(flows[1]);
    assert_int_equal(fake.n_requests, 1);
    fake_destroy(flows[0]);
    fake_destroy(flows[2]);
    assert_int_equal(fake.n_known, 0);
}

/* Which ones failed beside the first is not in the reply. */
static void test_many_fail(void **state)
{
    struct rte_flow *flows[6];

    fake.fail_first = 1;
    fake.fail_n = 2;
    fake.fail_code = EINVAL;
    for (unsigned i = 0; i < 6; i++)
        flows[i] = fake_create(FAKE_MATCH, "drop / end");
    fake_serve();
    /* 1 fails, 2 to 5 are sent again, alone; then only 2 is new, and succeeds. */
    assert_int_equal(fake.n_requests, 5);
    assert_int_equal(fake.n_known, 5);
    assert_int_equal(fake_counter("rules_failed_in_fastpath"), 1);
    for (unsigned i = 0; i < 6; i++) {
        fake_count(i, 1);
        assert_int_equal(fake_query(flows[i], true).hits, i != 1);
    }
    for (unsigned i = 0; i < 6; i++)
        fake_destroy(flows[i]);
    assert_int_equal(fake.n_known, 0);
}

/* The fast path died and is there again: it gets all rules, with its new ids of ports. */
static void test_restart(void **state)
{
    struct rte_flow *flow = fake_create_active(FAKE_MATCH, "port_id=1 / end");
    struct rte_flow *sent = fake_create(FAKE_OTHER_MATCH, "port_id=2 / end");
    struct rte_flow *gone = fake_create("eth type=88cd has_vlan=0 / end", "drop / end");
    uint64_t before;

    assert_true(fake_take_request());
    fake_count(0, 8);
    assert_int_equal(fake_query(flow, true).hits, 8);
    fake_count(0, 2);
    fake_detach();
    fake_forget_rules();
    before = fake_milliseconds();
    assert_int_equal(vnode_flow_ops.destroy(&rte_eth_devices[0], gone, &fake_last_error), 0);
    assert_in_range(fake_milliseconds() - before, 0, DRIVER_WAIT_MS / 2);
    assert_int_equal(fake_query(flow, false).hits, 2);
    atomic_store(&fake_representors[0]->port_id, 7);
    atomic_store(&fake_representors[1]->port_id, 8);
    atomic_store(&fake_representors[2]->port_id, 9);
    fake_attach(2, 6);
    fake_serve();
    assert_int_equal(fake.n_known, 2);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(fake.known[i].rule->in_port, 7);
        assert_int_equal(fake.known[i].id >> 48, 0x8000 | 6);
    }
    fake_count(0, 1);
    assert_int_equal(fake_query(flow, true).hits, 3);
    fake_destroy(flow);
    fake_destroy(sent);
    assert_int_equal(fake.n_known, 0);
}

/* The same fast path has kept the rules as orphans: what was destroyed meanwhile is removed by its old id. */
static void test_reconnect(void **state)
{
    struct rte_flow *flow = fake_create_active(FAKE_MATCH, "port_id=1 / end");
    struct rte_flow *gone = fake_create_active(FAKE_OTHER_MATCH, "port_id=1 / end");
    uint64_t kept_id = fake.known[0].id, gone_id = fake.known[1].id;

    fake_detach();
    fake_destroy(gone);
    assert_non_null(fake_find_known(gone_id));
    fake_attach(1, 6);
    fake_serve();
    assert_null(fake_find_known(gone_id));
    /* This fast path does not adopt, so the orphan is there beside its successor. */
    assert_non_null(fake_find_known(kept_id));
    assert_int_equal(fake.n_known, 2);
    fake_destroy(flow);
}

static void test_port_lost(void **state)
{
    struct rte_flow *flow = fake_create_active(FAKE_MATCH, "port_id=1 / end");
    struct rte_flow *other = fake_create_active(FAKE_OTHER_MATCH, "port_id=2 / end");

    fake_count(0, 6);
    atomic_store(&fake_representors[1]->port_id, -1);
    fake_forget_rules();
    flows_representor_changed(fake.flows, fake_representors[1]);
    fake_serve();
    assert_int_equal(fake.n_known, 0);
    assert_int_equal(fake_query(flow, false).hits, 6);
    atomic_store(&fake_representors[1]->port_id, 55);
    flows_representor_changed(fake.flows, fake_representors[1]);
    fake_serve();
    assert_int_equal(fake.n_known, 1);
    assert_int_equal(wire_action_port(&fake_last_rule()->actions[0]), 55);
    fake_count(0, 1);
    assert_int_equal(fake_query(flow, true).hits, 7);
    fake_destroy(flow);
    fake_destroy(other);
}

/* A device goes, and another one gets its number: no rule for the former goes to the latter. */
static void test_device_replaced(void **state)
{
    struct rte_flow *flow = fake_create_active(FAKE_MATCH, "port_id=1 / end"),
                    *own = fake_create_on(1, FAKE_MATCH, "drop / end");

    assert_non_null(own);
    fake_serve();
    assert_int_equal(fake.n_known, 2);
    fake_remove_device(1);
    assert_int_equal(fake.n_known, 1);
    fake_add_device(1, 60);
    flows_representor_changed(fake.flows, fake_representors[1]);
    fake_detach();
    fake_forget_rules();
    fake_attach(3, 1);
    fake_serve();
    assert_int_equal(fake.n_known, 0);
    fake_destroy(flow);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_set_up, fake_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_one_fails), TEST(test_many_fail), TEST(test_restart),
        TEST(test_reconnect), TEST(test_port_lost), TEST(test_device_replaced),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */

/* The fast path comes, goes, hangs and refuses; devices bear it. */
#include "pmd/driver_testbed.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <rte_bus_vdev.h>
#include <rte_ethdev.h>

static void device_without_fast_path_has_no_link(void **state)
{
    uint16_t ethdev_id = plug();
    struct rte_mbuf *packets[2] = {make_packet(1, 60, 60), make_packet(2, 60, 60)};
    struct timespec begin;

    await_log("no fast path answers at");
    assert_false(link_is_up(ethdev_id));
    assert_int_equal(rte_eth_tx_burst(ethdev_id, 0, packets, 2), 2);
    assert_int_equal(extended_counter(ethdev_id, "tx_fastpath_gone_dropped"), 2);
    assert_int_equal(rte_eth_rx_burst(ethdev_id, 0, packets, 2), 0);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    unplug(ethdev_id);
    assert_true(elapsed_ms(&begin) < TESTBED_SLOW_MS);
}

static void fast_path_may_come_later(void **state)
{
    uint16_t ethdev_id = plug();

    await_log("no fast path answers at");
    start_fake(1);
    port_with_link(ethdev_id, "vm1");
    fake_set_link(fake, "vm1", false);
    await_link(ethdev_id, false);
    unplug(ethdev_id);
    assert_false(fake_has_port(fake, "vm1"));
}

/* The event may come before the port is known to the driver; the counters follow at any time. */
static void link_that_comes_up_late_is_seen(void **state)
{
    uint16_t ethdev_id;

    start_fake(1);
    ethdev_id = plug();
    fake_await_port(fake, "vm1");
    fake_set_link_late(fake, "vm1", true);
    await_link(ethdev_id, true);
    unplug(ethdev_id);
}

static void ports_come_back_with_the_fast_path(void **state)
{
    uint16_t first, second;

    start_fake(1);
    first = plug();
    second = plug_with("net_vnode_vm2", "uplink=[net_null0,size=64],slice=blue,mtu=2000");
    start_device(second, 1, 1);
    for (uint64_t started = 2; started < 6; started++) {
        struct fake_port *port = port_with_link(first, "vm1");
        struct rte_mbuf *packet;

        assert_string_equal(port->spec.target, "/nowhere/vm1.sock");
        port_with_link(second, "vm2");
        assert_string_equal(fake_await_port(fake, "vm2")->spec.target, "net_null0,size=64");
        assert_string_equal(fake_await_port(fake, "vm2")->spec.slice, "blue");
        offer_frame(&port->to_vswitch[0], 1, 60, 0);
        assert_int_equal(rte_eth_rx_burst(first, 0, &packet, 1), 1);
        rte_pktmbuf_free(packet);
        fake_stop(fake);
        await_link(first, false);
        await_link(second, false);
        assert_int_equal(rte_eth_rx_burst(first, 0, &packet, 1), 0);
        start_fake(started);
    }
    port_with_link(first, "vm1");
    unplug(first);
    unplug(second);
}

/* A polling thread, as Open vSwitch's: it returns what it gets. */
struct poller {
    uint16_t ethdev_id;
    _Atomic bool ending;
    _Atomic uint64_t n_polls;
};

static void *poll_device(void *argument)
{
    struct poller *poller = argument;

    while (!poller->ending) {
        struct rte_mbuf *packets[32];
        uint16_t n = rte_eth_rx_burst(poller->ethdev_id, 0, packets, 32), n_sent;

        if (n == 0)
            packets[n++] = make_packet(0, 60, 60);
        n_sent = rte_eth_tx_burst(poller->ethdev_id, 0, packets, n);
        rte_pktmbuf_free_bulk(packets + n_sent, n - n_sent);
        poller->n_polls++;
    }
    return NULL;
}

static void fast_path_dies_under_traffic(void **state)
{
    struct poller poller = {.ethdev_id = plug()};
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, poll_device, &poller), 0);
    for (uint64_t started = 1; started <= 20; started++) {
        struct fake_port *port;

        start_fake(started);
        port = port_with_link(poller.ethdev_id, "vm1");
        for (unsigned i = 0; i < 1000 && offer_frame(&port->to_vswitch[0], i, 60, 0); i++)
            continue;
        fake_stop(fake);
        fake = NULL;
        await_link(poller.ethdev_id, false);
    }
    poller.ending = true;
    pthread_join(thread, NULL);
    assert_true(poller.n_polls > 0);
    unplug(poller.ethdev_id);
}

static void other_protocol_version_is_refused_with_a_sentence(void **state)
{
    uint16_t ethdev_id;

    fake = fake_start(testbed_socket, &(struct fake_options){.version = PROTOCOL_VERSION_MAX + 1});
    ethdev_id = plug();
    await_log("This fast path speaks no version");
    fake_await_connections(fake, 3);
    assert_false(link_is_up(ethdev_id));
    unplug(ethdev_id);
    assert_null(strstr(strstr(logged(), "This fast path speaks no version") + 1, "This fast path speaks"));
}

static void second_vswitch_waits_for_the_first_to_go(void **state)
{
    uint16_t ethdev_id;

    fake = fake_start(testbed_socket, &(struct fake_options){.attach_error = EBUSY});
    ethdev_id = plug();
    await_log("Another vSwitch is attached.");
    fake_stop(fake);
    start_fake(1);
    port_with_link(ethdev_id, "vm1");
    unplug(ethdev_id);
}

static void hung_fast_path_holds_nobody_up(void **state)
{
    uint16_t first, second;
    struct timespec begin;

    start_fake(1);
    first = plug();
    second = plug_with("net_vnode_vm2", "vhost=/nowhere");
    start_device(second, 1, 1);
    port_with_link(first, "vm1");
    port_with_link(second, "vm2");
    fake_hang(fake, true);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    unplug(second);
    assert_true(elapsed_ms(&begin) < TESTBED_SLOW_MS);
    await_log("does not answer; it will remove the port when it does");
    assert_true(fake_has_port(fake, "vm2"));
    fake_hang(fake, false);
    fake_await_no_port(fake, "vm2");
    fake_hang(fake, true);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    unplug(first);
    assert_true(elapsed_ms(&begin) < TESTBED_SLOW_MS);
    fake_hang(fake, false);
    fake_await_no_port(fake, "vm1"); /* the last device is gone, and still */
}

static void existing_port_stays(void **state)
{
    uint16_t ethdev_id;

    start_fake(1);
    ethdev_id = plug_with("net_vnode_x", "port=old");
    start_device(ethdev_id, 1, 1);
    await_log("There is no such port.");
    fake_add_port(fake, "old", 4);
    assert_int_equal(port_with_link(ethdev_id, "old")->n_rings, 4);
    unplug(ethdev_id);
    assert_true(fake_has_port(fake, "old"));
}

/* As when Open vSwitch moves an interface to another bridge: the connection stays, because of a second device. */
static void existing_port_goes_to_the_next_device(void **state)
{
    uint16_t first, second;

    start_fake(1);
    fake_add_port(fake, "old", 1);
    second = plug();
    for (unsigned i = 0; i < 3; i++) {
        first = plug_with(i % 2 ? "net_vnode_x" : "net_vnode_y", "port=old");
        start_device(first, 1, 1);
        port_with_link(first, "old");
        unplug(first);
        assert_false(fake_is_open(fake, "old"));
    }
    assert_null(strstr(logged(), "busy"));
    unplug(second);
}

static void device_closed_before_its_rings_come_gives_them_back(void **state)
{
    uint16_t first, second;

    fake = fake_start(testbed_socket, &(struct fake_options){.started = 1, .hang_at = MESSAGE_RING_OPEN});
    fake_add_port(fake, "old", 1);
    first = plug_with("net_vnode_x", "port=old");
    start_device(first, 1, 1);
    second = plug_with("net_vnode_y", "port=old");
    start_device(second, 1, 1);
    fake_await_hang(fake);
    unplug(first);
    fake_hang(fake, false);
    port_with_link(second, "old");
    unplug(second);
}

static void port_removed_by_others_is_added_again(void **state)
{
    uint16_t ethdev_id;

    start_fake(1);
    ethdev_id = plug();
    port_with_link(ethdev_id, "vm1");
    fake_remove_port(fake, "vm1");
    await_log("removed from the fast path by somebody else");
    port_with_link(ethdev_id, "vm1");
    unplug(ethdev_id);
}

static void unknown_arguments_are_refused_with_a_sentence(void **state)
{
    assert_int_not_equal(rte_vdev_init("net_vnode_vm1", "colour=red"), 0);
    await_log("net_vnode_vm1: 'colour=red' is unknown or malformed");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, before_each, after_each)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(device_without_fast_path_has_no_link),
        TEST(fast_path_may_come_later),
        TEST(link_that_comes_up_late_is_seen),
        TEST(ports_come_back_with_the_fast_path),
        TEST(fast_path_dies_under_traffic),
        TEST(other_protocol_version_is_refused_with_a_sentence),
        TEST(second_vswitch_waits_for_the_first_to_go),
        TEST(hung_fast_path_holds_nobody_up),
        TEST(existing_port_stays),
        TEST(existing_port_goes_to_the_next_device),
        TEST(device_closed_before_its_rings_come_gives_them_back),
        TEST(port_removed_by_others_is_added_again),
        TEST(unknown_arguments_are_refused_with_a_sentence),
    };

    return cmocka_run_group_tests(tests, start_eal, stop_eal);
}

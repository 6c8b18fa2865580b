/* SPDX-License-Identifier: Apache-2.0 */

/* One device: what DPDK is told about it, and its packets. */
#include "pmd/driver_testbed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <rte_ethdev.h>

static const uint32_t sizes[] = {60, 64, 65, 128, 590, 1499, 1514, 1518, 2048};
#define N_SIZES (sizeof sizes / sizeof sizes[0])

static void device_tells_what_open_vswitch_asks(void **state)
{
    uint16_t ethdev_id = plug();
    struct rte_ether_addr mac, same, other = {.addr_bytes = {2, 0, 0, 0, 0, 7}};
    struct rte_eth_dev_info information;

    assert_int_equal(rte_eth_dev_info_get(ethdev_id, &information), 0);
    assert_int_equal(information.max_rx_queues, 1);
    assert_true(information.max_tx_queues >= 64);
    assert_int_equal(information.max_mtu, 9000);
    assert_true(information.max_rx_pktlen >= 9018);
    assert_true(information.rx_offload_capa & RTE_ETH_RX_OFFLOAD_TCP_CKSUM);
    assert_int_not_equal(information.switch_info.domain_id, RTE_ETH_DEV_SWITCH_DOMAIN_ID_INVALID);
    assert_int_equal(rte_eth_macaddr_get(ethdev_id, &mac), 0);
    assert_int_equal(mac.addr_bytes[0], 2);
    assert_int_equal(rte_eth_dev_default_mac_addr_set(ethdev_id, &other), 0);
    assert_int_equal(rte_eth_macaddr_get(ethdev_id, &same), 0);
    assert_memory_equal(&same, &other, sizeof same);
    assert_int_equal(rte_eth_dev_set_mtu(ethdev_id, 9000), 0);
    assert_int_not_equal(rte_eth_dev_set_mtu(ethdev_id, 9001), 0);
    assert_int_equal(rte_eth_promiscuous_enable(ethdev_id), 0);
    assert_int_equal(rte_eth_allmulticast_enable(ethdev_id), 0);
    unplug(ethdev_id);
    ethdev_id = plug();
    assert_int_equal(rte_eth_macaddr_get(ethdev_id, &same), 0);
    assert_memory_equal(&same, &mac, sizeof mac);
    unplug(ethdev_id);
}

static void frames_of_all_sizes_are_received(void **state)
{
    struct rte_mbuf *packets[64];
    struct fake_port *port;
    uint16_t ethdev_id;

    start_fake(1);
    ethdev_id = plug();
    port = port_with_link(ethdev_id, "vm1");
    for (unsigned i = 0; i < 5 * N_SIZES; i++)
        assert_true(offer_frame(&port->to_vswitch[0], i, sizes[i % N_SIZES], 0));
    assert_int_equal(rte_eth_rx_burst(ethdev_id, 0, packets, 32), 32);
    assert_int_equal(rte_eth_rx_burst(ethdev_id, 0, packets + 32, 32), 5 * N_SIZES - 32);
    for (unsigned i = 0; i < 5 * N_SIZES; i++) {
        check_packet(packets[i], i, sizes[i % N_SIZES]);
        assert_int_equal(packets[i]->port, ethdev_id);
        assert_int_equal(packets[i]->ol_flags, 0);
        rte_pktmbuf_free(packets[i]);
    }
    assert_int_equal(rte_eth_rx_burst(ethdev_id, 0, packets, 32), 0);
    assert_int_equal(extended_counter(ethdev_id, "rx_ring_packets"), 5 * N_SIZES);
    unplug(ethdev_id);
}

static void checksums_are_good_when_the_fast_path_says_so(void **state)
{
    struct rte_mbuf *packets[4];
    struct fake_port *port;
    uint16_t ethdev_id;

    start_fake(1);
    ethdev_id = plug();
    port = port_with_link(ethdev_id, "vm1");
    offer_frame(&port->to_vswitch[0], 0, 60, 2);
    offer_frame(&port->to_vswitch[0], 1, 60, 1);
    offer_frame(&port->to_vswitch[0], 2, 60, 0);
    offer_frame(&port->to_vswitch[0], 3, 5000, 0);
    assert_int_equal(rte_eth_rx_burst(ethdev_id, 0, packets, 4), 2);
    check_packet(packets[0], 0, 60);
    check_packet(packets[1], 2, 60);
    assert_true(packets[0]->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_GOOD);
    assert_int_equal(packets[1]->ol_flags, 0);
    assert_int_equal(extended_counter(ethdev_id, "rx_unfinished_errors"), 1);
    assert_int_equal(extended_counter(ethdev_id, "rx_oversize_errors"), 1);
    rte_pktmbuf_free_bulk(packets, 2);
    unplug(ethdev_id);
}

static void fast_path_sees_when_a_burst_is_done_with(void **state)
{
    struct packet_ring_producer *ring;
    struct rte_mbuf *packet;
    uint16_t ethdev_id;
    uint64_t tail;

    start_fake(1);
    ethdev_id = plug();
    ring = &port_with_link(ethdev_id, "vm1")->to_vswitch[0];
    offer_frame(ring, 0, 60, 0);
    tail = packet_ring_tail(ring);
    assert_false(packet_ring_came_back(ring, tail));
    assert_int_equal(rte_eth_rx_burst(ethdev_id, 0, &packet, 1), 1);
    assert_false(packet_ring_came_back(ring, tail));
    rte_pktmbuf_free(packet);
    assert_int_equal(rte_eth_rx_burst(ethdev_id, 0, &packet, 1), 0);
    assert_true(packet_ring_came_back(ring, tail));
    unplug(ethdev_id);
}

static void packets_are_sent_in_one_piece(void **state)
{
    struct packet_ring_frame frames[32];
    struct rte_mbuf *packets[N_SIZES + 1];
    struct fake_port *port;
    uint16_t ethdev_id;
    uint64_t rung;

    start_fake(1);
    ethdev_id = plug();
    port = port_with_link(ethdev_id, "vm1");
    assert_true(packet_ring_may_sleep(&port->from_vswitch[0]));
    for (unsigned i = 0; i < N_SIZES; i++)
        packets[i] = make_packet(i, sizes[i], i % 2 ? 2048 : 500);
    packets[N_SIZES] = make_packet(N_SIZES, 9018, 2048);
    assert_int_equal(rte_eth_tx_burst(ethdev_id, 0, packets, N_SIZES + 1), N_SIZES + 1);
    assert_int_equal(read(port->doorbells[1], &rung, sizeof rung), sizeof rung);
    assert_int_equal(rung, 1);
    assert_int_equal(packet_ring_peek(&port->from_vswitch[0], frames, 32), N_SIZES + 1);
    for (unsigned i = 0; i <= N_SIZES; i++)
        check_frame(&frames[i], i, i < N_SIZES ? sizes[i] : 9018);
    packet_ring_release(&port->from_vswitch[0]);
    packets[0] = make_packet(0, 60, 60);
    assert_int_equal(rte_eth_tx_burst(ethdev_id, 1, packets, 1), 1); /* awake: no doorbell */
    assert_int_equal(read(port->doorbells[1], &rung, sizeof rung), -1);
    assert_int_equal(packet_ring_peek(&port->from_vswitch[0], frames, 32), 1);
    unplug(ethdev_id);
}

static void full_ring_leaves_packets_to_the_sender(void **state)
{
    uint64_t n_sent = 0;
    struct rte_mbuf *packet;
    uint16_t ethdev_id;

    start_fake(1);
    ethdev_id = plug();
    port_with_link(ethdev_id, "vm1");
    for (;;) {
        packet = make_packet(0, 2048, 2048);
        if (rte_eth_tx_burst(ethdev_id, 0, &packet, 1) == 0)
            break;
        n_sent++;
    }
    rte_pktmbuf_free(packet);
    assert_true(n_sent > 100);
    assert_int_equal(extended_counter(ethdev_id, "tx_ring_packets"), n_sent);
    assert_int_equal(extended_counter(ethdev_id, "tx_ring_full_dropped"), 1);
    unplug(ethdev_id);
}

static void empty_pool_loses_nothing(void **state)
{
    static struct rte_mbuf *hoard[TESTBED_POOL_SIZE];
    struct packet_ring_producer *ring;
    struct rte_mbuf *packet;
    uint16_t ethdev_id;

    start_fake(1);
    ethdev_id = plug();
    ring = &port_with_link(ethdev_id, "vm1")->to_vswitch[0];
    assert_int_equal(rte_pktmbuf_alloc_bulk(testbed_pool, hoard, TESTBED_POOL_SIZE), 0);
    offer_frame(ring, 5, 60, 0);
    assert_int_equal(rte_eth_rx_burst(ethdev_id, 0, &packet, 1), 0);
    assert_true(extended_counter(ethdev_id, "rx_mbuf_errors") > 0);
    rte_pktmbuf_free_bulk(hoard, TESTBED_POOL_SIZE);
    assert_int_equal(rte_eth_rx_burst(ethdev_id, 0, &packet, 1), 1);
    check_packet(packet, 5, 60);
    rte_pktmbuf_free(packet);
    unplug(ethdev_id);
}

static void queues_share_rings(void **state)
{
    struct packet_ring_frame frames[8];
    struct rte_mbuf *packets[32];
    struct fake_port *port;
    uint16_t ethdev_id, n;

    start_fake(1);
    ethdev_id = plug_with("net_vnode_vm2", "vhost=/nowhere,queues=3");
    start_device(ethdev_id, 2, 5);
    port = port_with_link(ethdev_id, "vm2");
    assert_int_equal(port->n_rings, 3);
    for (unsigned i = 0; i < 12; i++)
        offer_frame(&port->to_vswitch[i % 3], i, 60, 0);
    n = rte_eth_rx_burst(ethdev_id, 1, packets, 32);
    assert_int_equal(n, 4); /* ring 1 */
    rte_pktmbuf_free_bulk(packets, n);
    n = rte_eth_rx_burst(ethdev_id, 0, packets, 6);
    n += rte_eth_rx_burst(ethdev_id, 0, packets + n, 6);
    assert_int_equal(n, 8); /* rings 0 and 2 */
    rte_pktmbuf_free_bulk(packets, n);
    for (uint16_t i = 0; i < 5; i++) {
        packets[0] = make_packet(i, 60, 60);
        assert_int_equal(rte_eth_tx_burst(ethdev_id, i, packets, 1), 1);
    }
    assert_int_equal(packet_ring_peek(&port->from_vswitch[0], frames, 8), 2);
    assert_int_equal(packet_ring_peek(&port->from_vswitch[1], frames, 8), 2);
    assert_int_equal(packet_ring_peek(&port->from_vswitch[2], frames, 8), 1);
    unplug(ethdev_id);
}

static void counters_are_the_ports(void **state)
{
    struct shared_port_counters *counters;
    struct rte_eth_stats statistics;
    uint16_t ethdev_id;

    start_fake(1);
    ethdev_id = plug();
    port_with_link(ethdev_id, "vm1");
    counters = fake_counters(fake, "vm1");
    counters->rx_packets = 1000;
    counters->rx_bytes = 64000;
    counters->tx_packets = 500;
    counters->tx_bytes = 50000;
    counters->tx_dropped = 3;
    counters->rx_dropped = 4;
    assert_int_equal(rte_eth_stats_get(ethdev_id, &statistics), 0);
    assert_int_equal(statistics.ipackets, 1000);
    assert_int_equal(statistics.ibytes, 64000);
    assert_int_equal(statistics.opackets, 500);
    assert_int_equal(statistics.obytes, 50000);
    assert_int_equal(statistics.oerrors, 3);
    assert_int_equal(statistics.imissed, 4);
    fake_stop(fake);
    await_link(ethdev_id, false);
    start_fake(2);
    port_with_link(ethdev_id, "vm1");
    fake_counters(fake, "vm1")->rx_packets = 10;
    assert_int_equal(rte_eth_stats_get(ethdev_id, &statistics), 0);
    assert_int_equal(statistics.ipackets, 1010);
    assert_int_equal(rte_eth_stats_reset(ethdev_id), 0);
    fake_counters(fake, "vm1")->rx_packets = 11;
    assert_int_equal(rte_eth_stats_get(ethdev_id, &statistics), 0);
    assert_int_equal(statistics.ipackets, 1);
    assert_int_equal(statistics.opackets, 0);
    assert_int_equal(extended_counter(ethdev_id, "reconnects"), 1);
    unplug(ethdev_id);
}

static void broken_ring_is_counted_once(void **state)
{
    struct rte_mbuf *packet;
    struct fake_port *port;
    uint16_t ethdev_id;

    start_fake(1);
    ethdev_id = plug();
    port = port_with_link(ethdev_id, "vm1");
    offer_frame(&port->to_vswitch[0], 0, 60, 0);
    port->to_vswitch[0].shared->produced = 77;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(rte_eth_rx_burst(ethdev_id, 0, &packet, 1), 0);
    assert_int_equal(extended_counter(ethdev_id, "rx_ring_fault_errors"), 1);
    unplug(ethdev_id);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, before_each, after_each)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(device_tells_what_open_vswitch_asks),
        TEST(frames_of_all_sizes_are_received),
        TEST(checksums_are_good_when_the_fast_path_says_so),
        TEST(fast_path_sees_when_a_burst_is_done_with),
        TEST(packets_are_sent_in_one_piece),
        TEST(full_ring_leaves_packets_to_the_sender),
        TEST(empty_pool_loses_nothing),
        TEST(queues_share_rings),
        TEST(counters_are_the_ports),
        TEST(broken_ring_is_counted_once),
    };

    return cmocka_run_group_tests(tests, start_eal, stop_eal);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/onload.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fastpath/move_testbed.h"
#include "fastpath/rate.h"
#include "fastpath/segment.h"
#include "fastpath/test_frame.h"

#define N_PACKETS 4

static uint8_t bytes[N_PACKETS][TEST_FRAME_SIZE_MAX];
static struct test_packet tests[N_PACKETS];
static size_t sizes[N_PACKETS];

static const struct frame_spec tcp4 = {.version = 4, .protocol = 6, .payload = 5000, .seed = 1};
static const struct frame_spec tcp6 = {.version = 6, .protocol = 6, .payload = 5000, .seed = 2, .n_vlans = 1};
static const struct frame_spec udp4 = {.version = 4, .protocol = 17, .payload = 5000, .seed = 3};
static const struct frame_spec small = {.version = 4, .protocol = 17, .payload = 40, .seed = 4};

/* Packet 'i' as a guest sends it that leaves its checksum open, and with a 'gso_type' the cutting. */
static void make(unsigned i, struct frame_spec spec, bool open, uint8_t gso_type, uint16_t gso_size)
{
    struct packet *packet = &tests[i].packet;

    spec.partial_checksum = open;
    sizes[i] = frame_build(&spec, bytes[i]);
    test_packet_make(&tests[i], bytes[i], sizes[i], SNAPSHOT_SIZE, 2);
    packet->in_port = BED_IN;
    packet->slot = (uint16_t)i;
    if (!open)
        return;
    test_packet_request_checksum(&tests[i], spec.protocol);
    packet->offload.gso_type = gso_type;
    packet->offload.gso_size = gso_size;
    assert_int_equal(packet_check_offload(packet), 0);
}

static void send(struct bed *bed, uint16_t n)
{
    struct packet *const packets[N_PACKETS] = {&tests[0].packet, &tests[1].packet, &tests[2].packet,
                                               &tests[3].packet};

    onload(&bed->workers[0], &bed->ports[BED_IN].receive[1], packets, n);
}

static bool is_fragment(const uint8_t *ipv4_frame)
{
    return (ipv4_frame[20] << 8 | ipv4_frame[21]) & 0x3fff;
}

/* The next frame that the vSwitch gets: finished, right, and asking for nothing. Returns its size. */
static uint32_t next_frame(struct bed *bed, uint8_t *copy)
{
    struct packet_ring_consumer *ring = &bed->ports[BED_IN].from_fastpath[1];
    struct packet_ring_frame frame;

    if (!packet_ring_peek(ring, &frame, 1))
        return 0;
    memcpy(copy, frame.data, frame.size);
    packet_ring_release(ring);
    assert_int_equal(frame.offload.flags & PACKET_NEEDS_CSUM, 0);
    assert_int_equal(frame.offload.gso_type, 0);
    if (!is_fragment(copy))
        assert_null(frame_check(copy, frame.size));
    return frame.size;
}

/* Collects the payloads of frames that packet 'i' was cut into; 'header_size' bytes come before each. Returns how many frames. */
static unsigned collect(struct bed *bed, unsigned i, size_t header_size, uint32_t size_max)
{
    static uint8_t copy[FRAME_SIZE_MAX];
    size_t offset = header_size;
    unsigned n = 0;

    while (offset < sizes[i]) {
        uint32_t size = next_frame(bed, copy);

        assert_in_range(size, header_size + 1, size_max);
        assert_memory_equal(copy + header_size, bytes[i] + offset, size - header_size);
        offset += size - header_size;
        n++;
    }
    assert_int_equal(offset, sizes[i]);
    return n;
}

static const struct port_counters *counters(struct bed *bed)
{
    return &bed->ports[BED_IN].counters[0];
}

static bool is_crowded(struct receive_queue *queue)
{
    return false;
}

static int set_up(void **state)
{
    *state = bed_create();
    return 0;
}

static int tear_down(void **state)
{
    bed_destroy(*state);
    return 0;
}

static void segments_come_in_order_with_their_neighbours(void **state)
{
    static uint8_t copy[FRAME_SIZE_MAX];
    struct bed *bed = *state;

    make(0, small, false, 0, 0);
    make(1, tcp4, true, PACKET_GSO_TCPV4, 1448);
    make(2, small, true, 0, 0);
    make(3, tcp6, true, PACKET_GSO_TCPV6, 1428);
    send(bed, 4);
    assert_int_equal(next_frame(bed, copy), sizes[0]);
    assert_memory_equal(copy, bytes[0], sizes[0]);
    assert_int_equal(collect(bed, 1, 54, 1502), 4);
    assert_int_equal(next_frame(bed, copy), sizes[2]);
    assert_int_equal(collect(bed, 3, 18 + 40 + 20, 1506), 4);
    assert_int_equal(next_frame(bed, copy), 0);
    assert_int_equal(counters(bed)->to_vswitch, 10);
}

static void datagrams_are_cut_either_way(void **state)
{
    static uint8_t copy[FRAME_SIZE_MAX];
    struct bed *bed = *state;
    size_t payload = 0;

    make(0, udp4, true, PACKET_GSO_UDP_L4, 1000);
    make(1, udp4, true, PACKET_GSO_UDP, 1480);
    send(bed, 2);
    assert_int_equal(collect(bed, 0, 42, 1042), 5);
    for (uint32_t size; (size = next_frame(bed, copy));) {
        assert_true(size <= 14 + 1500);
        assert_true(is_fragment(copy));
        payload += size - 34;
    }
    assert_int_equal(payload, 5008);
}

/* A guest may not send segments that its own port would not take whole. */
static void segments_fit_the_mtu(void **state)
{
    static uint8_t copy[FRAME_SIZE_MAX];
    struct bed *bed = *state;
    unsigned n = 0;

    make(0, udp4, true, PACKET_GSO_UDP_L4, 3000);
    send(bed, 1);
    for (uint32_t size; (size = next_frame(bed, copy)); n++)
        assert_true(size <= 1500 + PORT_FRAME_OVERHEAD);
    assert_int_equal(n, 5);
}

/* So many of the largest packets, cut to 42 segments each, are more than a ring takes. */
#define RING_BURSTS 80

static void what_does_not_fit_is_counted(void **state)
{
    struct bed *bed = *state;
    struct frame_spec large = tcp4;

    large.payload = 60000;
    make(0, large, true, PACKET_GSO_TCPV4, 1448);
    for (unsigned i = 0; i < RING_BURSTS; i++)
        send(bed, 1);
    assert_true(counters(bed)->drops[DROP_RING_FULL] > 0);
    assert_int_equal(counters(bed)->drops[DROP_RING_FULL] + counters(bed)->to_vswitch, RING_BURSTS * 42);
    assert_int_equal(packet_ring_n_dropped(&bed->ports[BED_IN].from_fastpath[1]),
                     counters(bed)->drops[DROP_RING_FULL]);
}

static uint64_t clock_us;

static uint64_t read_clock(void)
{
    return clock_us;
}

/* Sends large packets for as long as they may be taken; returns how many. */
static unsigned send_allowed(struct bed *bed, struct receive_queue *queue)
{
    unsigned n = 0;

    do {
        assert_in_range(n, 0, 20);
        send(bed, 1);
        n++;
        assert_true(queue->onload.size > 60000);
    } while (onload_allowance(queue));
    return n;
}

static void guests_wait_for_room(void **state)
{
    struct bed *bed = *state;
    struct receive_queue *queue = &bed->ports[BED_IN].receive[1];
    struct frame_spec large = tcp4;
    uint64_t until = 0;
    unsigned n;

    rate_start(1000000, read_clock);
    clock_us = 1000000;
    large.payload = 60000;
    make(0, large, true, PACKET_GSO_TCPV4, 1448);
    send(bed, 1);
    collect(bed, 0, 54, 1502);
    n = send_allowed(bed, queue);
    assert_in_range(n, 12, 16);
    assert_int_equal(counters(bed)->drops[DROP_RING_FULL], 0);
    assert_true(onload_holds(queue, &until));
    assert_int_equal(rate_ns(until - rate_now()), 50000);
    /* There is room for one packet when the vSwitch has taken one. */
    assert_int_equal(onload_allowance(queue), 0);
    collect(bed, 0, 54, 1502);
    assert_int_equal(onload_allowance(queue), 1);
    assert_false(onload_holds(queue, &until));
    /* Of small ones there may be many. */
    make(0, small, false, 0, 0);
    send(bed, 1);
    assert_int_equal(onload_allowance(queue), BURST_MAX);
    assert_int_equal(counters(bed)->drops[DROP_RING_FULL], 0);
    onload_begin(queue, false);
    assert_false(onload_needs_room(queue));
}

static void room_is_kept_for_what_is_to_be_segmented(void **state)
{
    struct bed *bed = *state;
    struct receive_queue *queue = &bed->ports[BED_IN].receive[1];

    onload_begin(queue, true);
    for (unsigned i = 0; i < ONLOAD_GSO_BURSTS; i++) {
        assert_true(onload_needs_room(queue));
        assert_in_range(onload_allowance(queue), 10, 16);
        onload_begin(queue, false);
    }
    assert_false(onload_needs_room(queue));
    bed_detach(bed, BED_IN);
    onload_begin(queue, true);
    assert_int_equal(onload_allowance(queue), BURST_MAX);
    bed_attach(bed, BED_IN);
}

static void nobody_waits_long_for_a_vswitch_that_hangs(void **state)
{
    struct bed *bed = *state;
    struct receive_queue *queue = &bed->ports[BED_IN].receive[1];
    struct frame_spec large = tcp4;
    uint64_t until = 0;

    rate_start(1000000, read_clock);
    clock_us = 1000000;
    large.payload = 60000;
    make(0, large, true, PACKET_GSO_TCPV4, 1448);
    send(bed, 1);
    collect(bed, 0, 54, 1502);
    send_allowed(bed, queue);
    clock_us += ONLOAD_PATIENCE_US;
    assert_int_equal(onload_allowance(queue), 0);
    clock_us++;
    assert_int_equal(onload_allowance(queue), BURST_MAX);
    assert_false(onload_holds(queue, &until));
    for (unsigned i = 0; i < RING_BURSTS; i++)
        send(bed, 1);
    assert_true(counters(bed)->drops[DROP_RING_FULL] > 0);
    /* No second time, until it has dealt with something. */
    assert_int_equal(onload_allowance(queue), BURST_MAX);
    collect(bed, 0, 54, 1502);
    send_allowed(bed, queue);
    assert_true(onload_holds(queue, &until));
}

static void a_nic_waits_for_nobody(void **state)
{
    static const struct receive_ops nic_ops = {.crowded = is_crowded};
    struct bed *bed = *state;

    bed->ports[BED_IN].receive[1].ops = &nic_ops;
    make(0, small, false, 0, 0);
    send(bed, 1);
    assert_int_equal(bed->ports[BED_IN].receive[1].onload.size, 0);
}

static void without_vswitch_all_is_dropped(void **state)
{
    struct bed *bed = *state;

    bed_detach(bed, BED_IN);
    make(0, tcp4, true, PACKET_GSO_TCPV4, 1448);
    make(1, small, false, 0, 0);
    send(bed, 2);
    assert_int_equal(counters(bed)->drops[DROP_NO_RULE], 2);
    bed_attach(bed, BED_IN);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test_setup_teardown(segments_come_in_order_with_their_neighbours, set_up, tear_down),
        cmocka_unit_test_setup_teardown(datagrams_are_cut_either_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(segments_fit_the_mtu, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_does_not_fit_is_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(guests_wait_for_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(room_is_kept_for_what_is_to_be_segmented, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_waits_long_for_a_vswitch_that_hangs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_nic_waits_for_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_vswitch_all_is_dropped, set_up, tear_down),
    };

    return cmocka_run_group_tests(cases, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What a sender leaves to the receiver, and the receiver cannot do, the fast path
 * does: two guests of all abilities and ring layouts, every byte compared.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/integration/guest_pair.h"

#define MTU_DEFAULT 9000

static struct guest_pair pair;

static unsigned get16(const uint8_t *from)
{
    return (unsigned)from[0] << 8 | from[1];
}

static uint32_t get32(const uint8_t *from)
{
    return (uint32_t)get16(from) << 16 | get16(from + 2);
}

static void connect_pair(struct fast_path *fast_path, const struct layout *from, const struct ability *sender,
                         const struct layout *to, const struct ability *receiver, unsigned mtu)
{
    guest_pair_connect(&pair, fast_path, from, sender, to, receiver, mtu);
    fast_path_add_rule(fast_path, "in=sender actions=output:receiver");
}

/* The receiver gets the frame as it was sent, requests included. */
static void expect_whole(void)
{
    struct virtio_net_hdr header;
    size_t size = guest_pair_receive(&pair, &header);

    assert_int_equal(size, pair.sent.size);
    assert_int_equal(header.gso_type, pair.sent.gso_type);
    assert_int_equal(header.gso_size, pair.sent.gso_size);
    assert_int_equal(header.hdr_len, pair.sent.gso_type ? pair.sent.header_size : 0);
    if (!pair.sent.spec.partial_checksum) {
        assert_int_equal(header.flags, 0);
    } else if (pair.takes & BIT(VIRTIO_NET_F_GUEST_CSUM)) {
        assert_int_equal(header.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
        assert_int_equal(header.csum_start, pair.sent.l4);
        assert_memory_equal(pair.received, pair.sent.bytes, size);
        return;
    } else {
        assert_int_equal(header.flags, 0);
        assert_null(frame_check(pair.received, size));
        frame_fix_checksums(pair.sent.bytes, size);
    }
    assert_memory_equal(pair.received, pair.sent.bytes, size);
}

static void check_segment(const struct virtio_net_hdr *header, size_t size, size_t offset)
{
    unsigned l4 = pair.sent.l4, left = (unsigned)(pair.sent.spec.payload - offset);

    assert_int_equal(header->gso_type, 0);
    assert_int_equal(header->flags,
                     pair.takes & BIT(VIRTIO_NET_F_GUEST_CSUM) ? VIRTIO_NET_HDR_F_NEEDS_CSUM : 0);
    if (header->flags) {
        assert_int_equal(header->csum_start, l4);
        frame_finish_checksum(pair.received, size, header);
    }
    assert_int_equal(size - pair.sent.header_size, left < pair.sent.gso_size ? left : pair.sent.gso_size);
    assert_null(frame_check(pair.received, size));
    assert_memory_equal(pair.received, pair.sent.bytes, frame_l3_offset(pair.sent.bytes, pair.sent.size));
    assert_memory_equal(pair.received + l4, pair.sent.bytes + l4, 4);
    if (pair.sent.spec.protocol == 6)
        assert_int_equal(get32(pair.received + l4 + 4), get32(pair.sent.bytes + l4 + 4) + offset);
    assert_memory_equal(pair.received + pair.sent.header_size,
                        pair.sent.bytes + pair.sent.header_size + offset, size - pair.sent.header_size);
}

/* The receiver gets segments whose payload makes up the frame's. */
static void expect_segments(void)
{
    size_t offset = 0;

    do {
        struct virtio_net_hdr header;
        size_t size = guest_pair_receive(&pair, &header);

        check_segment(&header, size, offset);
        offset += size - pair.sent.header_size;
    } while (offset < pair.sent.spec.payload);
}

static void exchange(struct frame_spec spec, uint8_t gso_type, uint16_t gso_size)
{
    if (!guest_pair_build(&pair, spec, gso_type, gso_size))
        return;
    guest_pair_send(&pair);
    if (!gso_type || !(features_to_take(gso_type) & ~pair.takes))
        expect_whole();
    else
        expect_segments();
}

/* Frames of many kinds and sizes; those that the sender must not send are left out. */
static void exchange_all(unsigned seed)
{
    static const size_t payloads[] = {0, 1, 1447, 1448, 1449, 2896, 8000, 40001};
    struct frame_spec tcp4 = {.version = 4, .protocol = 6},
                      tcp6 = {.version = 6, .protocol = 6, .tcp_options_size = 12};
    struct frame_spec udp4 = {.version = 4, .protocol = 17}, udp6 = {.version = 6, .protocol = 17};

    for (unsigned i = 0; i < sizeof payloads / sizeof payloads[0]; i++) {
        tcp4.payload = tcp6.payload = udp4.payload = udp6.payload = payloads[i];
        tcp4.seed = tcp6.seed = udp4.seed = udp6.seed = seed + i;
        tcp4.n_vlans = udp6.n_vlans = i % 3 == 2;
        exchange(tcp4, VIRTIO_NET_HDR_GSO_TCPV4, 1448);
        exchange(tcp6, VIRTIO_NET_HDR_GSO_TCPV6 | (i & 1 ? VIRTIO_NET_HDR_GSO_ECN : 0), 1428);
        exchange(udp4, VIRTIO_NET_HDR_GSO_UDP_L4, 1400);
        exchange(udp6, VIRTIO_NET_HDR_GSO_UDP_L4, 1200);
        if (payloads[i] <= 8000) {
            exchange(tcp4, 0, 0);
            exchange(tcp6, 0, 0);
            exchange(udp4, 0, 0);
            exchange(udp6, 0, 0);
        }
    }
    /* The largest that IP can say: frames of 65,549 and 65,550 bytes and more with a tag. */
    tcp4.payload = 65535 - 40;
    exchange(tcp4, VIRTIO_NET_HDR_GSO_TCPV4, 8960);
    tcp4.n_vlans = 0;
    exchange(tcp4, VIRTIO_NET_HDR_GSO_TCPV4, 1448);
    tcp6.payload = 65550 - 14 - 40 - 32;
    exchange(tcp6, VIRTIO_NET_HDR_GSO_TCPV6, 1428);
    for (unsigned i = 0; i < 30; i++) {
        struct frame_spec spec = frame_spec_random(seed + i, 9000 - 200);

        exchange(spec, 0, 0);
    }
}

static void run(struct fast_path *fast_path, const struct layout *from, const struct ability *sender,
                const struct layout *to, const struct ability *receiver)
{

    print_message("%s (%s) to %s (%s)\n", from->name, sender->name, to->name, receiver->name);
    connect_pair(fast_path, from, sender, to, receiver, MTU_DEFAULT);
    exchange_all(1);
    assert_int_equal(fast_path_drops(fast_path, "sender", NULL), 0);
    assert_int_equal(fast_path_drops(fast_path, "receiver", NULL), 0);
    guest_pair_disconnect(&pair);
}

static void every_ability_meets_every_other(void **state)
{
    for (unsigned i = 0; i < N_ABILITIES; i++)
        for (unsigned j = 0; j < N_ABILITIES; j++)
            run(&common_fast_path, &layouts[(i + j) % N_LAYOUTS], &abilities[i],
                &layouts[(i + 3 * j) % N_LAYOUTS], &abilities[j]);
}

/* Each sends to every second one, and receives from every second one. */
static void layouts_meet_each_other(void **state)
{
    for (unsigned i = 0; i < N_LAYOUTS; i++)
        for (unsigned j = i % 2; j < N_LAYOUTS; j += 2)
            run(&common_fast_path, &layouts[i], &abilities[ABILITY_EVERYTHING], &layouts[j],
                &abilities[(i + j) % N_ABILITIES]);
}

/* Joins IPv4 fragments (RFC 791) and compares them with the datagram pair.sent. */
static void expect_fragments(void)
{
    unsigned l3 = frame_l3_offset(pair.sent.bytes, pair.sent.size),
             header_size = l3 + (pair.sent.bytes[l3] & 15) * 4u;
    size_t offset = 0;

    frame_fix_checksums(pair.sent.bytes, pair.sent.size);
    while (header_size + offset < pair.sent.size) {
        struct virtio_net_hdr header;
        size_t size = guest_pair_receive(&pair, &header);
        unsigned flags = get16(pair.received + l3 + 6);

        assert_int_equal(header.flags | header.gso_type, 0);
        assert_in_range(size, header_size + 1, l3 + pair.mtu);
        assert_int_equal(get16(pair.received + l3 + 2), size - l3);
        assert_int_equal(get16(pair.received + l3 + 4), get16(pair.sent.bytes + l3 + 4));
        assert_int_equal((flags & 0x1fff) * 8, offset);
        assert_memory_equal(pair.received + header_size, pair.sent.bytes + header_size + offset,
                            size - header_size);
        offset += size - header_size;
        assert_int_equal(flags & 0x2000, header_size + offset < pair.sent.size ? 0x2000 : 0);
    }
}

static void a_smaller_mtu_gets_fragments_or_nothing(void **state)
{
    struct frame_spec udp4 = {.version = 4, .protocol = 17, .payload = 4000}, udp6 = udp4, fixed = udp4;
    struct fast_path *fast_path = &common_fast_path;

    udp6.version = 6;
    fixed.fragment = 0x4000; /* don't fragment */
    for (unsigned i = 0; i < 2; i++) {
        connect_pair(fast_path, &layouts[0], &abilities[3], &layouts[6 * i], &abilities[3 * i], 1500);
        for (udp4.payload = 1472; udp4.payload < 4500; udp4.payload += 301) {
            assert_true(guest_pair_build(&pair, udp4, 0, 0));
            guest_pair_send(&pair);
            if (udp4.payload == 1472)
                expect_whole();
            else
                expect_fragments();
        }
        assert_true(guest_pair_build(&pair, udp6, 0, 0));
        guest_pair_send(&pair);
        fast_path_await_drops(fast_path, "receiver", "tx-mtu", 1);
        assert_true(guest_pair_build(&pair, fixed, 0, 0));
        guest_pair_send(&pair);
        fast_path_await_drops(fast_path, "receiver", "tx-mtu", 2);
        assert_int_equal(fast_path_drops(fast_path, "receiver", NULL), 2);
        exchange((struct frame_spec){.version = 4, .protocol = 6, .payload = 20000}, VIRTIO_NET_HDR_GSO_TCPV4,
                 1448);
        guest_pair_disconnect(&pair);
    }
}

/* A sender that cuts for a larger MTU than the receiver's: no frame may exceed what the receiver takes. */
static void segments_for_a_larger_mtu_are_fragmented(void **state)
{
    struct frame_spec spec = {.version = 4, .protocol = 6, .payload = 4000, .seed = 5};
    struct fast_path *fast_path = &common_fast_path;

    connect_pair(fast_path, &layouts[LAYOUT_SPLIT], &abilities[ABILITY_EVERYTHING], &layouts[LAYOUT_SPLIT],
                 &abilities[ABILITY_NOTHING], 1500);
    assert_true(guest_pair_build(&pair, spec, VIRTIO_NET_HDR_GSO_TCPV4, 4000)); /* a single segment */
    guest_pair_send(&pair);
    expect_fragments();
    spec.fragment = 0x4000; /* don't fragment */
    assert_true(guest_pair_build(&pair, spec, VIRTIO_NET_HDR_GSO_TCPV4, 2000));
    guest_pair_send(&pair);
    fast_path_await_drops(fast_path, "receiver", "tx-mtu", 2); /* both segments */
    guest_pair_disconnect(&pair);
}

/* Whatever a guest writes into the virtio header, others see sound requests only. */
static void unsound_requests_are_dropped(void **state)
{
    static const struct virtio_net_hdr unsound[] = {
        {.flags = 1, .csum_start = 65535, .csum_offset = 65535},
        {.flags = 1, .csum_start = 14, .csum_offset = 16},
        {.flags = 1, .gso_type = VIRTIO_NET_HDR_GSO_TCPV6, .gso_size = 100, .csum_start = 34, .csum_offset = 16},
        {.flags = 1, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .csum_start = 34, .csum_offset = 16},
        {.flags = 1, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 1, .csum_start = 34, .csum_offset = 16},
        {.flags = 0, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 1448},
        {.flags = 1, .gso_type = 0x7f, .gso_size = 1448, .csum_start = 34, .csum_offset = 16},
    };
    struct frame_spec spec = {.version = 4, .protocol = 6, .payload = 3000, .seed = 3};

    connect_pair(&common_fast_path, &layouts[LAYOUT_SPLIT], &abilities[ABILITY_EVERYTHING],
                 &layouts[LAYOUT_SPLIT], &abilities[ABILITY_EVERYTHING], MTU_DEFAULT);
    for (unsigned i = 0; i < sizeof unsound / sizeof unsound[0]; i++) {
        assert_true(guest_pair_build(&pair, spec, 0, 0));
        guest_pair_send_with(&pair, &unsound[i]);
        fast_path_await_drops(&common_fast_path, "sender", "rx-bad-offload", i + 1);
    }
    exchange(spec, 0, 0); /* and the port goes on */
    guest_pair_disconnect(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fast_path_starts),
        cmocka_unit_test(every_ability_meets_every_other),
        cmocka_unit_test(layouts_meet_each_other),
        cmocka_unit_test(a_smaller_mtu_gets_fragments_or_nothing),
        cmocka_unit_test(segments_for_a_larger_mtu_are_fragmented),
        cmocka_unit_test(unsound_requests_are_dropped),
        cmocka_unit_test(fast_path_ends_without_a_warning),
    };

    return cmocka_run_group_tests_name("offload", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Rules that rewrite packets whose checksums and segmentation are still open: what
 * the receiver gets must be right, whether the fast path finishes it or the receiver.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/integration/guest_pair.h"

#define TCP_PAYLOAD 6000
#define MSS 1448
#define VXLAN_OUTER_SIZE 50 /* Ethernet, IPv4, UDP, VXLAN */

static struct guest_pair pair;

static const struct frame_spec tcp4 = {.version = 4, .protocol = 6, .payload = TCP_PAYLOAD, .seed = 1};

static void connect(struct fast_path *fast_path, unsigned receiver, const char *rule)
{
    guest_pair_connect(&pair, fast_path, &layouts[LAYOUT_SPLIT], &abilities[ABILITY_EVERYTHING],
                       &layouts[LAYOUT_PACKED], &abilities[receiver], 9000);
    fast_path_add_rule(fast_path, rule);
}

static void disconnect(void)
{
    assert_int_equal(fast_path_drops(pair.fast_path, "sender", NULL), 0);
    assert_int_equal(fast_path_drops(pair.fast_path, "receiver", NULL), 0);
    guest_pair_disconnect(&pair);
}

/* Receives a frame and finishes its checksum when that is left to us. */
static size_t receive(struct virtio_net_hdr *header)
{
    size_t size = guest_pair_receive(&pair, header);

    if (header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
        frame_finish_checksum(pair.received, size, header);
    assert_null(frame_check(pair.received, size));
    return size;
}

static void assert_rewritten(const uint8_t *frame)
{
    static const uint8_t tag[] = {0x81, 0x00, 0x60, 0x07, 0x08, 0x00};
    static const uint8_t addresses[] = {10, 0, 0, 1, 10, 0, 0, 2}, ports[] = {0x12, 0x34, 0x56, 0x78};

    assert_memory_equal(frame + 12, tag, sizeof tag);
    assert_int_equal(frame[18 + 8], 33);
    assert_memory_equal(frame + 18 + 12, addresses, sizeof addresses);
    assert_memory_equal(frame + 38, ports, sizeof ports);
}

#define REWRITE                                                                              \
    "push_vlan:0x8100,set_vlan_vid:7,set_vlan_pcp:3,set_ttl:34,dec_ttl,set_ip_src:10.0.0.1," \
    "set_ip_dst:10.0.0.2,set_l4_src:4660,set_l4_dst:22136"

static void rewritten_requests_stay_right(void **state)
{
    for (unsigned receiver = 0; receiver < N_ABILITIES; receiver++) {
        size_t offset = 0, size;
        struct virtio_net_hdr header;

        connect(&common_fast_path, receiver,
                "in=sender tcp ip_src=0.0.0.0/0 actions=" REWRITE ",output:receiver");
        assert_true(guest_pair_build(&pair, tcp4, VIRTIO_NET_HDR_GSO_TCPV4, MSS));
        guest_pair_send(&pair);
        do {
            size = receive(&header);
            assert_rewritten(pair.received);
            size -= pair.sent.header_size + 4;
            assert_memory_equal(pair.received + pair.sent.header_size + 4,
                                pair.sent.bytes + pair.sent.header_size + offset, size);
            offset += size;
        } while (offset < TCP_PAYLOAD);
        assert_int_equal(header.gso_type,
                         pair.takes & BIT(VIRTIO_NET_F_GUEST_TSO4) ? VIRTIO_NET_HDR_GSO_TCPV4 : 0);
        disconnect();
    }
}

/* Each output sees what the actions before it have made of the packet. */
static void outputs_between_actions(void **state)
{
    for (unsigned receiver = 0; receiver < 2; receiver++) {
        struct virtio_net_hdr header;
        size_t size;

        connect(&common_fast_path, receiver,
                "in=sender tcp ip_src=0.0.0.0/0 actions=output:receiver," REWRITE
                ",output:receiver,pop_vlan,output:receiver");
        for (unsigned round = 0; round < 3; round++) {
            struct frame_spec spec = tcp4;

            spec.payload = 100 + 1000 * round;
            spec.seed = round;
            assert_true(guest_pair_build(&pair, spec, 0, 0));
            guest_pair_send(&pair);
            frame_fix_checksums(pair.sent.bytes, pair.sent.size);
            size = receive(&header);
            assert_int_equal(size, pair.sent.size);
            assert_memory_equal(pair.received, pair.sent.bytes, size);
            assert_int_equal(receive(&header), size + 4);
            assert_rewritten(pair.received);
            assert_int_equal(receive(&header), size);
            assert_memory_equal(pair.received, pair.sent.bytes, 14);
            assert_int_equal(pair.received[14 + 8], 33);
        }
        disconnect();
    }
}

#define ENCAPSULATE \
    "encap_vxlan(eth_src=02:00:00:00:00:01,eth_dst=02:00:00:00:00:02,ip_src=192.168.0.1,ip_dst=192.168.0.2,vni=77)"

/* A tunnel header hides what is open behind it, so that is finished before. */
static void tunnels_carry_finished_frames(void **state)
{
    for (unsigned receiver = 0; receiver < N_ABILITIES; receiver += ABILITY_EVERYTHING) {
        unsigned n = 0;
        size_t offset = 0;

        connect(&common_fast_path, receiver, "in=sender actions=" ENCAPSULATE ",output:receiver");
        assert_true(guest_pair_build(&pair, tcp4, VIRTIO_NET_HDR_GSO_TCPV4, MSS));
        guest_pair_send(&pair);
        while (offset < TCP_PAYLOAD) {
            const uint8_t *inner = pair.received + VXLAN_OUTER_SIZE;
            struct virtio_net_hdr header;
            size_t size = guest_pair_receive(&pair, &header), payload;

            assert_int_equal(header.flags | header.gso_type, 0);
            assert_null(frame_check(pair.received, size));
            assert_null(frame_check(inner, size - VXLAN_OUTER_SIZE));
            payload = size - VXLAN_OUTER_SIZE - pair.sent.header_size;
            assert_memory_equal(inner, pair.sent.bytes, 14);
            assert_memory_equal(inner + pair.sent.header_size,
                                pair.sent.bytes + pair.sent.header_size + offset, payload);
            offset += payload;
            n++;
        }
        assert_int_equal(n, (TCP_PAYLOAD + MSS - 1) / MSS);
        disconnect();
    }
}

static void tunnels_end_where_they_are_told(void **state)
{
    struct virtio_net_hdr header = {0}; /* nothing is left open; what comes back says the same */

    connect(&common_fast_path, ABILITY_NOTHING,
            "in=sender actions=" ENCAPSULATE ",decap_vxlan,dec_ttl,output:receiver");
    for (unsigned i = 0; i < 20; i++) {
        struct frame_spec spec = {
            .version = i & 1 ? 6 : 4, .protocol = i & 2 ? 6 : 17, .payload = 300 * i, .seed = i};
        unsigned ttl = i & 1 ? 14 + 7 : 14 + 8;
        size_t size;

        assert_true(guest_pair_build(&pair, spec, 0, 0));
        pair.sent.bytes[ttl] = 64;
        frame_fix_checksums(pair.sent.bytes, pair.sent.size);
        guest_pair_send_with(&pair, &header);
        pair.sent.bytes[ttl] = 63;
        frame_fix_checksums(pair.sent.bytes, pair.sent.size);
        size = guest_pair_receive(&pair, &header);
        assert_int_equal(header.flags | header.gso_type, 0);
        assert_int_equal(size, pair.sent.size);
        assert_memory_equal(pair.received, pair.sent.bytes, size);
    }
    disconnect();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fast_path_starts),
        cmocka_unit_test(rewritten_requests_stay_right),
        cmocka_unit_test(outputs_between_actions),
        cmocka_unit_test(tunnels_carry_finished_frames),
        cmocka_unit_test(tunnels_end_where_they_are_told),
        cmocka_unit_test(fast_path_ends_without_a_warning),
    };

    return cmocka_run_group_tests_name("rewrite", tests, NULL, NULL);
}

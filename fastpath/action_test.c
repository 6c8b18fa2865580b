/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/action.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fastpath/drop.h"
#include "fastpath/segment.h"
#include "fastpath/test_frame.h"

static uint8_t frame[TEST_FRAME_SIZE_MAX], expected[TEST_FRAME_SIZE_MAX], result[TEST_FRAME_SIZE_MAX];
static struct test_packet test;

static const struct frame_spec udp4 = {.version = 4, .protocol = 17, .payload = 301, .seed = 1};
static const struct frame_spec tcp4 = {
    .version = 4, .protocol = 6, .payload = 300, .seed = 2, .tcp_options_size = 12};
static const struct frame_spec udp6 = {.version = 6, .protocol = 17, .payload = 11, .seed = 3};
static const struct frame_spec tcp6 = {.version = 6, .protocol = 6, .payload = 1400, .seed = 4, .n_vlans = 1};
static const struct frame_spec icmp6 = {.version = 6, .protocol = 58, .payload = 56, .seed = 5};
static const struct frame_spec sctp4 = {.version = 4, .protocol = 132, .payload = 1000, .seed = 6};
static const struct frame_spec sctp6 = {
    .version = 6, .protocol = 132, .payload = 3, .seed = 7, .options_size = 8};
static const struct frame_spec gre4 = {.version = 4, .protocol = 47, .payload = 80, .seed = 8};
static const struct frame_spec plain = {.payload = 46, .seed = 9};

static const uint8_t address6[16] = {0xfd, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

/* Builds the frame both as 'test.packet' and, to be changed by hand, as 'expected'. */
static size_t make(const struct frame_spec *spec)
{
    size_t size = frame_build(spec, frame);

    memcpy(expected, frame, size);
    test_packet_make(&test, frame, size, SNAPSHOT_SIZE, 3);
    if (spec->partial_checksum)
        test_packet_request_checksum(&test, spec->protocol);
    return size;
}

static int apply(struct action action)
{
    return action_apply(&action, &test.packet);
}

static void assert_result(size_t size)
{
    struct packet *packet = &test.packet;
    size_t n = packet_flatten(packet, result);

    assert_int_equal(n, size);
    assert_memory_equal(result, expected, size);
    assert_true(packet->head - packet->headroom >= test.headroom);
    assert_int_equal(packet->l3_offset, frame_l3_offset(result, n));
}

static struct action set_address(enum action_type type, const uint8_t *address)
{
    struct action action = {.type = type};

    memcpy(action.ip, address, 16);
    return action;
}

static void sets_mac_addresses(void **state)
{
    size_t size = make(&udp4);

    assert_int_equal(apply((struct action){.type = ACTION_SET_ETH_SRC, .eth = {2, 0, 0, 0, 0, 1}}), 0);
    assert_int_equal(apply((struct action){.type = ACTION_SET_ETH_DST, .eth = {2, 0, 0, 0, 0, 2}}), 0);
    memcpy(expected, (uint8_t[]){2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1}, 12);
    assert_result(size);
}

static void sets_ipv4_addresses(void **state)
{
    const struct frame_spec *specs[] = {&udp4, &tcp4, &sctp4, &gre4};

    for (unsigned i = 0; i < 4; i++) {
        size_t size = make(specs[i]);

        assert_int_equal(apply(set_address(ACTION_SET_IPV4_SRC, (uint8_t[16]){10, 0, 0, 1})), 0);
        assert_int_equal(apply(set_address(ACTION_SET_IPV4_DST, (uint8_t[16]){10, 0, 0, 2})), 0);
        memcpy(expected + 14 + 12, (uint8_t[]){10, 0, 0, 1, 10, 0, 0, 2}, 8);
        frame_fix_checksums(expected, size);
        assert_result(size);
        assert_null(frame_check(result, size));
    }
}

static void sets_ipv6_addresses(void **state)
{
    const struct frame_spec *specs[] = {&udp6, &tcp6, &icmp6, &sctp6};

    for (unsigned i = 0; i < 4; i++) {
        size_t size = make(specs[i]);
        unsigned l3 = frame_l3_offset(frame, size);

        assert_int_equal(apply(set_address(ACTION_SET_IPV6_SRC, address6)), 0);
        assert_int_equal(apply(set_address(ACTION_SET_IPV6_DST, address6)), 0);
        memcpy(expected + l3 + 8, address6, 16);
        memcpy(expected + l3 + 24, address6, 16);
        frame_fix_checksums(expected, size);
        assert_result(size);
    }
}

static void routed_ipv6_destination_is_not_in_the_checksum(void **state)
{
    struct frame_spec spec = tcp6;
    size_t size;

    spec.routed = true;
    spec.n_vlans = 0;
    size = make(&spec);
    assert_int_equal(apply(set_address(ACTION_SET_IPV6_DST, address6)), 0);
    memcpy(expected + 14 + 24, address6, 16);
    assert_result(size);
    assert_null(frame_check(result, size));
    assert_int_equal(apply(set_address(ACTION_SET_IPV6_SRC, address6)), 0);
    memcpy(expected + 14 + 8, address6, 16);
    frame_fix_checksums(expected, size);
    assert_result(size);
}

static void changes_a_pseudo_header_sum(void **state)
{
    struct frame_spec specs[] = {udp4, tcp4, udp6, tcp6};

    for (unsigned i = 0; i < 4; i++) {
        enum action_type type = specs[i].version == 4 ? ACTION_SET_IPV4_SRC : ACTION_SET_IPV6_SRC;
        size_t size;

        specs[i].partial_checksum = true;
        make(&specs[i]);
        assert_int_equal(apply(set_address(type, address6)), 0);
        assert_int_equal(apply((struct action){.type = ACTION_SET_L4_DST, .be16 = 0x3412}), 0);
        assert_int_equal(apply((struct action){.type = ACTION_PUSH_VLAN, .be16 = 0x0081}), 0);
        assert_int_equal(test.packet.offload.csum_start, test.packet.l4_offset);
        packet_finish_checksum(&test.packet);
        size = packet_flatten(&test.packet, result);
        assert_null(frame_check(result, size));
    }
}

static void sets_ttl_and_tos(void **state)
{
    size_t size = make(&udp4);

    assert_int_equal(apply((struct action){.type = ACTION_SET_TTL, .byte = 77}), 0);
    assert_int_equal(apply((struct action){.type = ACTION_SET_TOS, .byte = 0xb8}), 0);
    expected[14 + 8] = 77;
    expected[14 + 1] = 0xb8;
    frame_fix_checksums(expected, size);
    assert_result(size);

    size = make(&udp6);
    assert_int_equal(apply((struct action){.type = ACTION_SET_TTL, .byte = 78}), 0);
    assert_int_equal(apply((struct action){.type = ACTION_SET_TOS, .byte = 0xb8}), 0);
    expected[14 + 7] = 78;
    expected[14] = 0x6b;
    expected[14 + 1] = (uint8_t)(0x80 | (expected[14 + 1] & 15));
    assert_result(size);
}

static void decrements_ttl_down_to_one(void **state)
{
    const struct frame_spec *specs[] = {&udp4, &udp6};

    for (unsigned i = 0; i < 2; i++) {
        unsigned place = 14 + (i ? 7 : 8);
        size_t size = make(specs[i]);

        assert_int_equal(apply((struct action){.type = ACTION_SET_TTL, .byte = 2}), 0);
        assert_int_equal(apply((struct action){.type = ACTION_DEC_TTL}), 0);
        expected[place] = 1;
        frame_fix_checksums(expected, size);
        assert_result(size);
        assert_int_equal(apply((struct action){.type = ACTION_DEC_TTL}), DROP_TTL + 1);
        assert_result(size);
        assert_int_equal(apply((struct action){.type = ACTION_SET_TTL, .byte = 0}), 0);
        assert_int_equal(apply((struct action){.type = ACTION_DEC_TTL}), DROP_TTL + 1);
    }
}

static void sets_ports(void **state)
{
    const struct frame_spec *specs[] = {&udp4, &tcp4, &udp6, &tcp6, &sctp4, &sctp6};

    for (unsigned i = 0; i < 6; i++) {
        size_t size = make(specs[i]);
        unsigned l4 = frame_l4_offset(frame, size);

        assert_int_equal(apply((struct action){.type = ACTION_SET_L4_SRC, .be16 = 0x3412}), 0);
        assert_int_equal(apply((struct action){.type = ACTION_SET_L4_DST, .be16 = 0x7856}), 0);
        memcpy(expected + l4, (uint8_t[]){0x12, 0x34, 0x56, 0x78}, 4);
        frame_fix_checksums(expected, size);
        assert_result(size);
    }
}

static void keeps_a_missing_udp_checksum(void **state)
{
    struct frame_spec spec = udp4;
    size_t size;

    spec.no_udp_checksum = true;
    size = make(&spec);
    assert_int_equal(apply(set_address(ACTION_SET_IPV4_SRC, (uint8_t[16]){10, 0, 0, 1})), 0);
    assert_int_equal(apply((struct action){.type = ACTION_SET_L4_DST, .be16 = 0x3412}), 0);
    memcpy(expected + 26, (uint8_t[]){10, 0, 0, 1}, 4);
    memcpy(expected + 36, (uint8_t[]){0x12, 0x34}, 2);
    frame_fix_checksums(expected, size);
    assert_result(size);
    assert_int_equal(result[40] | result[41], 0);
}

static void never_makes_a_udp_checksum_zero(void **state)
{
    unsigned n_ffff = 0;

    for (unsigned port = 0; port < 65536; port++) {
        make(&udp6);
        assert_int_equal(apply((struct action){.type = ACTION_SET_L4_SRC, .be16 = (uint16_t)port}), 0);
        assert_true(test.head[60] | test.head[61]);
        n_ffff += test.head[60] == 0xff && test.head[61] == 0xff;
    }
    assert_int_equal(n_ffff, 1); /* the port whose checksum would be 0 */
}

static void leaves_absent_headers_alone(void **state)
{
    const struct action on_ip[] = {
        set_address(ACTION_SET_IPV4_SRC, address6), set_address(ACTION_SET_IPV4_DST, address6),
        set_address(ACTION_SET_IPV6_SRC, address6), set_address(ACTION_SET_IPV6_DST, address6),
        {.type = ACTION_SET_TTL, .byte = 3},        {.type = ACTION_DEC_TTL},
        {.type = ACTION_SET_TOS, .byte = 3},        {.type = ACTION_SET_L4_SRC, .be16 = 3},
        {.type = ACTION_SET_L4_DST, .be16 = 3},     {.type = ACTION_SET_VLAN_VID, .be16 = 3},
        {.type = ACTION_SET_VLAN_PCP, .byte = 3},   {.type = ACTION_POP_VLAN},
    };
    size_t size;

    for (unsigned i = 0; i < sizeof on_ip / sizeof on_ip[0]; i++) {
        size = make(&plain);
        assert_int_equal(apply(on_ip[i]), 0);
        assert_result(size);
    }
    size = make(&udp4);
    assert_int_equal(apply(set_address(ACTION_SET_IPV6_DST, address6)), 0);
    assert_result(size);
    size = make(&udp6);
    assert_int_equal(apply(set_address(ACTION_SET_IPV4_DST, address6)), 0);
    assert_result(size);
    size = make(&icmp6);
    assert_int_equal(apply((struct action){.type = ACTION_SET_L4_DST, .be16 = 3}), 0);
    assert_result(size);
    size = make(&plain);
    assert_int_equal(apply((struct action){.type = ACTION_DECAP_VXLAN}), DROP_ACTION + 1);
    assert_result(size);
}

static void later_fragments_have_no_ports(void **state)
{
    struct frame_spec specs[] = {udp4, tcp6};

    for (unsigned i = 0; i < 2; i++) {
        size_t size;
        unsigned l3;

        specs[i].fragment = i ? 8 * 100 : 100;
        size = make(&specs[i]);
        l3 = frame_l3_offset(frame, size);
        assert_int_equal(apply((struct action){.type = ACTION_SET_L4_DST, .be16 = 3}), 0);
        assert_int_equal(apply(set_address(i ? ACTION_SET_IPV6_SRC : ACTION_SET_IPV4_SRC, address6)), 0);
        memcpy(expected + l3 + (i ? 8 : 12), address6, i ? 16 : 4);
        frame_fix_checksums(expected, size); /* the IPv4 header's */
        assert_result(size);
    }
}

static void refuses_what_it_cannot_correct(void **state)
{
    struct frame_spec spec = sctp4;
    size_t size;

    spec.fragment = 0x2000;
    size = make(&spec); /* the CRC covers bytes of other fragments */
    assert_int_equal(apply((struct action){.type = ACTION_SET_L4_DST, .be16 = 3}), DROP_ACTION + 1);
    assert_result(size);

    spec = tcp6;
    spec.options_size = 104;
    size = make(&spec); /* the TCP header does not lie in the head */
    assert_int_equal(test.packet.l4_offset, 0);
    assert_int_equal(apply(set_address(ACTION_SET_IPV6_DST, address6)), DROP_ACTION + 1);
    packet_flatten(&test.packet, result);
    assert_memory_equal(result, expected, size);
    assert_int_equal(apply((struct action){.type = ACTION_TYPE_COUNT}), DROP_ACTION + 1);
    assert_int_equal(apply((struct action){.type = ACTION_DROP}), DROP_RULE + 1);
    assert_int_equal(apply((struct action){.type = ACTION_OUTPUT}), 0);
}

static void pushes_sets_and_pops_vlan_tags(void **state)
{
    size_t size = make(&tcp4);

    assert_int_equal(apply((struct action){.type = ACTION_PUSH_VLAN, .be16 = 0x0081}), 0);
    assert_int_equal(apply((struct action){.type = ACTION_SET_VLAN_VID, .be16 = 0xffff}), 0);
    assert_int_equal(apply((struct action){.type = ACTION_SET_VLAN_VID, .be16 = 0x3402}), 0);
    assert_int_equal(apply((struct action){.type = ACTION_SET_VLAN_PCP, .byte = 5}), 0);
    assert_int_equal(apply((struct action){.type = ACTION_PUSH_VLAN, .be16 = 0xa888}), 0);
    memmove(expected + 20, frame + 12, size - 12);
    memcpy(expected + 12, (uint8_t[]){0x88, 0xa8, 0, 0, 0x81, 0, 0xa2, 0x34}, 8);
    assert_result(size + 8);
    assert_int_equal(test.packet.headroom, PACKET_HEADROOM - 8);
    assert_int_equal(test.packet.l4_offset, 14 + 8 + 20);

    assert_int_equal(apply((struct action){.type = ACTION_POP_VLAN}), 0);
    assert_int_equal(apply((struct action){.type = ACTION_POP_VLAN}), 0);
    assert_int_equal(apply((struct action){.type = ACTION_POP_VLAN}), 0);
    memcpy(expected, frame, size);
    assert_result(size);
    assert_int_equal(test.packet.headroom, PACKET_HEADROOM);
    for (unsigned i = 0; i < PACKET_HEADROOM / 4; i++)
        assert_int_equal(apply((struct action){.type = ACTION_PUSH_VLAN, .be16 = 0x0081}), 0);
    assert_int_equal(apply((struct action){.type = ACTION_PUSH_VLAN, .be16 = 0x0081}), DROP_ACTION + 1);
}

/* Outer headers: Ethernet, IPv4 or IPv6, UDP, VXLAN. Lengths and checksums are left open, as in a rule. */
static const uint8_t vxlan4[50] = {
    2,    0,   0,   0, 0, 9,   2,   0, 0, 0, 0, 8,    8,    0, 0x45, 0, 0, 0, 0, 0, 0x40, 0, 64,   17,   0x12,
    0x34, 192, 168, 0, 1, 192, 168, 0, 2, 0, 0, 0x12, 0xb5, 0, 0,    0, 0, 8, 0, 0, 0,    0, 0x12, 0x34, 0,
};
static const uint8_t vxlan6[74] = {
    2, 0,    0,    0,    0,    9,  2,  0,    0, 0, 0, 8, 0x81, 0, 0,    7,    0x86, 0xdd, 0x60,
    0, 0,    0,    0,    0,    17, 64, 0xfd, 0, 0, 0, 0, 0,    0, 0,    0,    0,    0,    0,
    0, 0,    0,    1,    0xfd, 0,  0,  0,    0, 0, 0, 0, 0,    0, 0,    0,    0,    0,    0,
    2, 0xc0, 0x01, 0x12, 0xb5, 0,  0,  0,    1, 8, 0, 0, 0,    0, 0x12, 0x34, 0,
};

static struct action encapsulation(const void *raw, size_t size)
{
    return (struct action){
        .type = ACTION_ENCAP_RAW, .raw = (uint8_t *)(uintptr_t)raw, .raw_size = (uint16_t)size};
}

static void encapsulates_in_vxlan_over_ipv4(void **state)
{
    size_t size = make(&tcp6), n;
    uint16_t port;

    assert_int_equal(apply(encapsulation(vxlan4, sizeof vxlan4)), 0);
    n = packet_flatten(&test.packet, result);
    port = (uint16_t)(result[34] << 8 | result[35]);
    assert_in_range(port, 49152, 65535);
    memcpy(expected, vxlan4, sizeof vxlan4);
    memcpy(expected + sizeof vxlan4, frame, size);
    expected[16] = (uint8_t)((n - 14) >> 8);
    expected[17] = (uint8_t)(n - 14);
    expected[34] = (uint8_t)(port >> 8);
    expected[35] = (uint8_t)port;
    expected[38] = (uint8_t)((n - 34) >> 8);
    expected[39] = (uint8_t)(n - 34);
    frame_fix_checksums(expected, n);
    assert_result(size + sizeof vxlan4);
    assert_null(frame_check(result, n));
    assert_int_equal(test.packet.l4_offset, 34);

    assert_int_equal(apply((struct action){.type = ACTION_DECAP_VXLAN}), 0);
    memcpy(expected, frame, size);
    assert_result(size);
    assert_int_equal(test.packet.l4_offset, 18 + 40);
}

static void encapsulates_in_vxlan_over_ipv6(void **state)
{
    size_t size = make(&udp4), n;

    assert_int_equal(apply(encapsulation(vxlan6, sizeof vxlan6)), 0);
    assert_int_equal(test.packet.offload.flags, PACKET_NEEDS_CSUM); /* the template has a checksum */
    assert_int_equal(test.packet.offload.csum_start, 58);
    packet_finish_checksum(&test.packet);
    n = packet_flatten(&test.packet, result);
    assert_int_equal(n, size + sizeof vxlan6);
    assert_null(frame_check(result, n));
    assert_int_equal(result[58] << 8 | result[59], 0xc001);
    assert_true(result[64] | result[65]);
    assert_int_equal(apply((struct action){.type = ACTION_DECAP_VXLAN}), 0);
    assert_result(size);
}

static void tunnel_port_is_the_flow_s(void **state)
{
    struct frame_spec spec = {.version = 4, .protocol = 17, .payload = 64};
    unsigned n_distinct = 0;
    uint8_t seen[16384] = {0};

    for (spec.seed = 1; spec.seed <= 1000; spec.seed++) {
        uint16_t port;

        make(&spec);
        assert_int_equal(apply(encapsulation(vxlan4, sizeof vxlan4)), 0);
        port = (uint16_t)(test.packet.head[34] << 8 | test.packet.head[35]);
        n_distinct += !seen[port - 49152]++;
        make(&spec);
        test.head[42] ^= 1; /* another payload */
        assert_int_equal(apply(encapsulation(vxlan4, sizeof vxlan4)), 0);
        assert_int_equal(port, (uint16_t)(test.packet.head[34] << 8 | test.packet.head[35]));
    }
    assert_true(n_distinct > 940); /* 970 are expected of a perfect hash */
}

static void encapsulates_in_anything(void **state)
{
    static const uint8_t gre[38] = {2, 0, 0, 0,  0,  9, 2, 0,  0, 0, 0, 8,  8, 0, 0x45, 0, 0, 0,    0,
                                    0, 0, 0, 64, 47, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,    0, 0, 0x65, 0x58};
    static const uint8_t mac_in_mac[18] = {2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8, 0x88, 0xe7, 1, 2, 3, 4};
    size_t size = make(&udp4), n;

    assert_int_equal(apply(encapsulation(gre, sizeof gre)), 0);
    n = packet_flatten(&test.packet, result);
    assert_int_equal(n, size + sizeof gre);
    assert_null(frame_check(result, n));
    assert_int_equal(result[16] << 8 | result[17], n - 14);
    assert_memory_equal(result + sizeof gre, frame, size);

    make(&udp4);
    assert_int_equal(apply(encapsulation(mac_in_mac, sizeof mac_in_mac)), 0);
    memcpy(expected, mac_in_mac, sizeof mac_in_mac);
    memcpy(expected + sizeof mac_in_mac, frame, size);
    assert_result(size + sizeof mac_in_mac);
    assert_int_equal(test.packet.l4_offset, 0);
}

static void refuses_encapsulation_without_room(void **state)
{
    struct frame_spec spec = udp4;
    size_t size = make(&udp4);

    test.packet.headroom = sizeof vxlan4 - 1;
    assert_int_equal(apply(encapsulation(vxlan4, sizeof vxlan4)), DROP_ACTION + 1);
    assert_result(size);
    spec.payload = 65480;
    size = make(&spec);
    assert_int_equal(apply(encapsulation(vxlan4, sizeof vxlan4)), DROP_ACTION + 1);
    assert_result(size);
    spec = udp4;
    spec.partial_checksum = true;
    make(&spec);
    assert_int_equal(apply(encapsulation(vxlan4, sizeof vxlan4)), DROP_ACTION + 1);
}

static void decapsulation_validates_the_outer_headers(void **state)
{
    static const struct {
        unsigned offset;
        uint8_t value;
    } broken[] = {{42, 0}, {23, 6}, {20, 0x20}, {21, 1}, {39, 29}, {38, 255}};

    for (unsigned i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        struct frame_spec spec = udp4;
        size_t size;

        spec.payload = 100;
        make(&spec);
        assert_int_equal(apply(encapsulation(vxlan4, sizeof vxlan4)), 0);
        size = packet_flatten(&test.packet, result);
        result[broken[i].offset] = broken[i].value;
        if (broken[i].offset == 39)
            result[38] = 0;
        memcpy(expected, result, size);
        memcpy(frame, result, size);
        test_packet_make(&test, frame, size, SNAPSHOT_SIZE, 1);
        assert_int_equal(apply((struct action){.type = ACTION_DECAP_VXLAN}), DROP_ACTION + 1);
        assert_result(size);
    }
}

static void decapsulation_rechecks_the_checksum_request(void **state)
{
    struct frame_spec spec = udp4;
    size_t size;

    make(&spec);
    assert_int_equal(apply(encapsulation(vxlan4, sizeof vxlan4)), 0);
    size = packet_flatten(&test.packet, result);
    memcpy(frame, result, size);
    test_packet_make(&test, frame, size, SNAPSHOT_SIZE, 1);
    /* Behind the outer headers, but upon the inner destination address. */
    test.packet.offload =
        (struct packet_offload){.flags = PACKET_NEEDS_CSUM, .csum_start = 50, .csum_offset = 30};
    assert_int_equal(packet_check_offload(&test.packet), 0);
    assert_int_equal(apply((struct action){.type = ACTION_DECAP_VXLAN}), DROP_RX_BAD_OFFLOAD + 1);

    test_packet_make(&test, frame, size, SNAPSHOT_SIZE, 1);
    test.packet.offload =
        (struct packet_offload){.flags = PACKET_NEEDS_CSUM, .csum_start = 34, .csum_offset = 6};
    assert_int_equal(apply((struct action){.type = ACTION_DECAP_VXLAN}), 0);
    assert_int_equal(test.packet.offload.flags, 0); /* the outer header's went with it */
}

static struct action random_action(void)
{
    struct action action = {
        .type = (uint8_t)(rand() % ACTION_TYPE_COUNT), .byte = (uint8_t)rand(), .be16 = (uint16_t)rand()};

    for (unsigned i = 0; i < 16; i++)
        action.ip[i] = rand() % 3 ? (uint8_t)rand() : 0xff;
    if (action.type == ACTION_PUSH_VLAN)
        action.be16 = rand() & 1 ? 0x0081 : 0xa888;
    if (action.type == ACTION_SET_L4_DST && rand() & 1)
        action.be16 = 0xb512; /* VXLAN's */
    if (action.type == ACTION_DROP)
        action.type = ACTION_DECAP_VXLAN;
    if (action.type == ACTION_ENCAP_RAW)
        return rand() & 1 ? encapsulation(vxlan4, sizeof vxlan4) : encapsulation(vxlan6, sizeof vxlan6);
    return action;
}

/* What was right stays right, whatever the packet and whatever is done to it. */
static void checksums_stay_right(void **state)
{
    unsigned n_passed = 0;

    srand(1);
    for (unsigned round = 0; round < 60000; round++) {
        struct frame_spec spec = frame_spec_random(round, 200);
        size_t size;
        const char *complaint;
        int reason = 0;

        make(&spec);
        for (unsigned i = 0; i < 6 && !reason; i++) {
            struct action action = random_action();

            if (action.type == ACTION_ENCAP_RAW)
                packet_finish_checksum(&test.packet);
            reason = apply(action);
        }
        if (reason)
            continue;
        packet_finish_checksum(&test.packet);
        size = packet_flatten(&test.packet, result);
        complaint = frame_check(result, size);
        if (complaint)
            fail_msg("round %u: %s", round, complaint);
        for (unsigned i = 0; i < sizeof test.guard; i++)
            assert_int_equal(test.guard[i], 0);
        n_passed++;
    }
    assert_true(n_passed > 20000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_mac_addresses),
        cmocka_unit_test(sets_ipv4_addresses),
        cmocka_unit_test(sets_ipv6_addresses),
        cmocka_unit_test(routed_ipv6_destination_is_not_in_the_checksum),
        cmocka_unit_test(changes_a_pseudo_header_sum),
        cmocka_unit_test(sets_ttl_and_tos),
        cmocka_unit_test(decrements_ttl_down_to_one),
        cmocka_unit_test(sets_ports),
        cmocka_unit_test(keeps_a_missing_udp_checksum),
        cmocka_unit_test(never_makes_a_udp_checksum_zero),
        cmocka_unit_test(leaves_absent_headers_alone),
        cmocka_unit_test(later_fragments_have_no_ports),
        cmocka_unit_test(refuses_what_it_cannot_correct),
        cmocka_unit_test(pushes_sets_and_pops_vlan_tags),
        cmocka_unit_test(encapsulates_in_vxlan_over_ipv4),
        cmocka_unit_test(encapsulates_in_vxlan_over_ipv6),
        cmocka_unit_test(tunnel_port_is_the_flow_s),
        cmocka_unit_test(encapsulates_in_anything),
        cmocka_unit_test(refuses_encapsulation_without_room),
        cmocka_unit_test(decapsulation_validates_the_outer_headers),
        cmocka_unit_test(decapsulation_rechecks_the_checksum_request),
        cmocka_unit_test(checksums_stay_right),
    };

    return cmocka_run_group_tests_name("action", tests, NULL, NULL);
}

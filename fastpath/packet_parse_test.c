/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "fastpath/packet_parse.h"

/* A frame under construction. */
struct frame {
    uint8_t bytes[256];
    unsigned size;
};

static void put(struct frame *frame, const void *bytes, unsigned size)
{
    memcpy(frame->bytes + frame->size, bytes, size);
    frame->size += size;
}

#define PUT(frame, ...)                            \
    do {                                           \
        const uint8_t put_bytes[] = {__VA_ARGS__}; \
        put(frame, put_bytes, sizeof put_bytes);   \
    } while (0)

#define ETH(frame) PUT(frame, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2)

/* Source 10.0.0.1, destination 10.0.0.2, TOS 0x48, TTL 63. */
static void put_ipv4(struct frame *frame, uint8_t proto, uint16_t payload, uint16_t fragment)
{
    PUT(frame, 0x45, 0x48, (20 + payload) >> 8, (20 + payload) & 255, 0x12, 0x34, fragment >> 8,
        fragment & 255, 63, proto, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2);
}

/* Source 20::1, destination 20::2, traffic class 0x5a, hop limit 64. */
static void put_ipv6(struct frame *frame, uint8_t next, uint16_t payload)
{
    PUT(frame, 0x65, 0xa0, 0, 1, payload >> 8, payload & 255, next, 64);
    PUT(frame, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);
    PUT(frame, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2);
}

/* Ports 0x1122 to 0x3344. */
static void put_udp(struct frame *frame)
{
    PUT(frame, 0x11, 0x22, 0x33, 0x44, 0, 8, 0, 0);
}

static void put_tcp(struct frame *frame, uint8_t data_offset, uint8_t flags)
{
    PUT(frame, 0x11, 0x22, 0x33, 0x44, 0, 0, 0, 1, 0, 0, 0, 2, data_offset << 4, flags, 0, 9, 0, 0, 0, 0);
}

static struct flow_key eth_key(uint16_t eth_type)
{
    return (struct flow_key){
        .eth_dst = {2, 0, 0, 0, 0, 1}, .eth_src = {2, 0, 0, 0, 0, 2}, .eth_type = htons(eth_type)};
}

static struct flow_key ipv4_key(uint8_t proto)
{
    struct flow_key key = eth_key(0x0800);

    memcpy(key.ip_src, (uint8_t[]){10, 0, 0, 1}, 4);
    memcpy(key.ip_dst, (uint8_t[]){10, 0, 0, 2}, 4);
    key.ip_proto = proto;
    key.ip_tos = 0x48;
    key.ip_ttl = 63;
    return key;
}

static struct flow_key ipv6_key(uint8_t proto)
{
    struct flow_key key = eth_key(0x86dd);

    key.ip_src[1] = key.ip_dst[1] = 32;
    key.ip_src[15] = 1;
    key.ip_dst[15] = 2;
    key.ip_proto = proto;
    key.ip_tos = 0x5a;
    key.ip_ttl = 64;
    return key;
}

static void set_ports(struct flow_key *key)
{
    key->l4_src = htons(0x1122);
    key->l4_dst = htons(0x3344);
}

/*
 * Parses the first 'head_size' bytes of the frame, at the end of an allocation of
 * that size, both ways, and compares all.
 */
static void check_cut(const struct frame *frame, unsigned head_size, const struct flow_key *expected,
                      unsigned l3, unsigned l4)
{
    for (int general = 0; general < 2; general++) {
        struct packet packet = {
            .head_size = head_size, .size = frame->size, .tail_size = frame->size - head_size};
        struct flow_key key;

        packet.head = malloc(head_size);
        assert_non_null(packet.head);
        memcpy(packet.head, frame->bytes, head_size);
        packet.l3_offset = packet.l4_offset = 77;
        memset(&key, 0x77, sizeof key);
        if (general)
            packet_parse_general(&packet, &key);
        else
            packet_parse(&packet, &key);
        assert_memory_equal(&key, expected, sizeof key);
        assert_int_equal(packet.l3_offset, l3);
        assert_int_equal(packet.l4_offset, l4);
        free(packet.head);
    }
}

static void check(const struct frame *frame, const struct flow_key *expected, unsigned l3, unsigned l4)
{
    check_cut(frame, frame->size, expected, l3, l4);
}

static void test_udp_ipv4(void **state)
{
    struct frame frame = {0};
    struct flow_key key = ipv4_key(17);

    ETH(&frame);
    PUT(&frame, 8, 0);
    put_ipv4(&frame, 17, 8, 0x4000 /* DF */);
    put_udp(&frame);
    set_ports(&key);
    check(&frame, &key, 14, 34);
    frame.size += 18; /* Ethernet padding */
    check(&frame, &key, 14, 34);
}

static void test_tcp_ipv4(void **state)
{
    struct frame frame = {0};
    struct flow_key key = ipv4_key(6);

    ETH(&frame);
    PUT(&frame, 8, 0);
    put_ipv4(&frame, 6, 20 + 12 + 1, 0);
    put_tcp(&frame, 8, 0x18);
    frame.size += 13;
    set_ports(&key);
    key.tcp_flags = 0x18;
    check(&frame, &key, 14, 34);
    /* TCP options may lie behind the head. */
    check_cut(&frame, 54, &key, 14, 34);
    key = ipv4_key(6);
    for (unsigned head_size = 34; head_size < 54; head_size++)
        check_cut(&frame, head_size, &key, 14, 0);
    /* A header longer than the packet, or shorter than a header, is none. */
    frame.bytes[46] = 9 << 4;
    check(&frame, &key, 14, 0);
    frame.bytes[46] = 4 << 4;
    check(&frame, &key, 14, 0);
}

static void test_udp_ipv6(void **state)
{
    struct frame frame = {0};
    struct flow_key key = ipv6_key(17);

    ETH(&frame);
    PUT(&frame, 0x86, 0xdd);
    put_ipv6(&frame, 17, 8);
    put_udp(&frame);
    set_ports(&key);
    check(&frame, &key, 14, 54);
    /* The transport header lies in the head, but not in the packet. */
    frame.bytes[19] = 7;
    key.l4_src = key.l4_dst = 0;
    check(&frame, &key, 14, 0);
    /* A length beyond the frame: no IP header. */
    frame.bytes[19] = 9;
    key = eth_key(0x86dd);
    check(&frame, &key, 0, 0);
}

static void test_tcp_ipv6_vlan(void **state)
{
    struct frame frame = {0};
    struct flow_key key = ipv6_key(6);

    ETH(&frame);
    PUT(&frame, 0x81, 0, 0x60, 0x07, 0x86, 0xdd);
    put_ipv6(&frame, 6, 20);
    put_tcp(&frame, 5, 2);
    set_ports(&key);
    key.vlan_tci = htons(0x7007);
    key.tcp_flags = 2;
    check(&frame, &key, 18, 58);
}

static void test_vlan_tags(void **state)
{
    struct frame frame = {0};
    struct flow_key key = ipv4_key(17);

    ETH(&frame);
    PUT(&frame, 0x81, 0, 0, 0, 8, 0); /* a priority tag with VLAN id 0 is a tag */
    put_ipv4(&frame, 17, 8, 0);
    put_udp(&frame);
    set_ports(&key);
    key.vlan_tci = htons(0x1000);
    check(&frame, &key, 18, 38);

    frame.size = 0;
    ETH(&frame);
    PUT(&frame, 0x88, 0xa8, 0, 5, 0x81, 0, 0xe0, 6, 8, 0);
    put_ipv4(&frame, 17, 8, 0);
    put_udp(&frame);
    key.vlan_ad = 1;
    key.vlan_tci = htons(0x1005);
    key.inner_tci = htons(0xf006);
    check(&frame, &key, 22, 42);

    /* A tag that the frame's end cuts is an unknown type. */
    key = eth_key(0x88a8);
    check_cut(&frame, 17, &key, 0, 0);
    key = eth_key(0x8100);
    key.vlan_ad = 1;
    key.vlan_tci = htons(0x1005);
    check_cut(&frame, 21, &key, 0, 0);

    /* Each tag has a kind of its own. */
    frame.size = 0;
    ETH(&frame);
    PUT(&frame, 0x81, 0, 0, 5, 0x88, 0xa8, 0xe0, 6, 0x12, 0x34);
    key = eth_key(0x1234);
    key.vlan_ad = VLAN_AD_INNER;
    key.vlan_tci = htons(0x1005);
    key.inner_tci = htons(0xf006);
    check(&frame, &key, 0, 0);

    /* Third tag: not looked into. */
    frame.size = 0;
    ETH(&frame);
    PUT(&frame, 0x81, 0, 0, 5, 0x81, 0, 0, 6, 0x81, 0, 0, 7, 8, 0);
    key = eth_key(0x8100);
    key.vlan_tci = htons(0x1005);
    key.inner_tci = htons(0x1006);
    check(&frame, &key, 0, 0);
}

static void test_no_ip(void **state)
{
    struct frame frame = {0};
    struct flow_key key = eth_key(0x0806);

    ETH(&frame);
    PUT(&frame, 8, 6);
    frame.size += 28;
    check(&frame, &key, 0, 0);
    check_cut(&frame, 14, &key, 0, 0);

    frame.bytes[12] = 0;
    frame.bytes[13] = 38; /* 802.3 length */
    key = eth_key(ETH_TYPE_802_3);
    check(&frame, &key, 0, 0);
}

static void test_ipv4_options(void **state)
{
    struct frame frame = {0};
    struct flow_key key = ipv4_key(17);

    ETH(&frame);
    PUT(&frame, 8, 0);
    put_ipv4(&frame, 17, 4 + 8, 0);
    frame.bytes[14] = 0x46;
    PUT(&frame, 1, 1, 1, 0);
    put_udp(&frame);
    set_ports(&key);
    check(&frame, &key, 14, 38);
    key.l4_src = key.l4_dst = 0;
    check_cut(&frame, 45, &key, 14, 0);
    key = eth_key(0x0800);
    check_cut(&frame, 37, &key, 0, 0);
}

static void test_ipv4_inconsistent(void **state)
{
    static const struct {
        unsigned offset;
        uint8_t value;
    } damages[] = {
        {14, 0x55}, /* version */
        {14, 0x44}, /* header size below 20 */
        {14, 0x4f}, /* header size beyond the packet */
        {17, 19},   /* total length below the header's */
        {17, 29},   /* total length beyond the frame */
        {16, 1},
    };
    struct flow_key key = eth_key(0x0800);

    for (unsigned i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        struct frame frame = {0};

        ETH(&frame);
        PUT(&frame, 8, 0);
        put_ipv4(&frame, 17, 8, 0);
        put_udp(&frame);
        frame.bytes[damages[i].offset] = damages[i].value;
        check(&frame, &key, 0, 0);
    }
}

static void test_ipv4_fragments(void **state)
{
    struct frame frame = {0};
    struct flow_key key = ipv4_key(17);

    ETH(&frame);
    PUT(&frame, 8, 0);
    put_ipv4(&frame, 17, 16, 0x2000);
    put_udp(&frame);
    frame.size += 8;
    set_ports(&key);
    key.ip_frag = FLOW_FRAG_ANY;
    check(&frame, &key, 14, 34);

    frame.bytes[20] = 0;
    frame.bytes[21] = 1; /* the last fragment, at byte 8 */
    key = ipv4_key(17);
    key.ip_frag = FLOW_FRAG_ANY | FLOW_FRAG_LATER;
    check(&frame, &key, 14, 0);
}

static void test_ipv6_extensions(void **state)
{
    struct frame frame = {0};
    struct flow_key key = ipv6_key(17);

    ETH(&frame);
    PUT(&frame, 0x86, 0xdd);
    put_ipv6(&frame, 0, 8 + 16 + 16 + 8 + 8);
    PUT(&frame, 60, 0, 1, 4, 0, 0, 0, 0);                          /* hop by hop */
    PUT(&frame, 51, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0); /* destination */
    PUT(&frame, 43, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);  /* authentication: (2 + 2) * 4 */
    PUT(&frame, 17, 0, 0, 0, 0, 0, 0, 0);                          /* routing */
    put_udp(&frame);
    set_ports(&key);
    check(&frame, &key, 14, 102);
    key = ipv6_key(0);
    check_cut(&frame, 101, &key, 14, 0);
    key = ipv6_key(17);
    check_cut(&frame, 109, &key, 14, 0);
}

static void test_ipv6_too_many_extensions(void **state)
{
    struct frame frame = {0};
    struct flow_key key = ipv6_key(0);

    ETH(&frame);
    PUT(&frame, 0x86, 0xdd);
    put_ipv6(&frame, 60, 10 * 8);
    for (int i = 0; i < 10; i++)
        PUT(&frame, i == 8 ? 17 : 60, 0, 1, 4, 0, 0, 0, 0);
    check(&frame, &key, 14, 0);
}

static void test_ipv6_fragments(void **state)
{
    struct frame frame = {0};
    struct flow_key key = ipv6_key(17);

    ETH(&frame);
    PUT(&frame, 0x86, 0xdd);
    put_ipv6(&frame, 44, 8 + 8);
    PUT(&frame, 17, 0, 0, 1, 0, 0, 0, 9);
    put_udp(&frame);
    set_ports(&key);
    key.ip_frag = FLOW_FRAG_ANY;
    check(&frame, &key, 14, 62);

    frame.bytes[54 + 3] = 0; /* offset 0 and no more: the packet is whole, RFC 6946 */
    key.ip_frag = 0;
    check(&frame, &key, 14, 62);

    frame.bytes[54 + 3] = 8;
    key = ipv6_key(44);
    key.ip_frag = FLOW_FRAG_ANY | FLOW_FRAG_LATER;
    check(&frame, &key, 14, 0);
}

static void test_icmp(void **state)
{
    struct frame frame = {0};
    struct flow_key key = ipv4_key(1);

    ETH(&frame);
    PUT(&frame, 8, 0);
    put_ipv4(&frame, 1, 8, 0);
    PUT(&frame, 3, 4, 0, 0, 0, 0, 0, 0);
    key.l4_src = htons(3);
    key.l4_dst = htons(4);
    check(&frame, &key, 14, 34);

    frame.size = 0;
    ETH(&frame);
    PUT(&frame, 0x86, 0xdd);
    put_ipv6(&frame, 58, 8);
    PUT(&frame, 128, 0, 0, 0, 0, 0, 0, 0);
    key = ipv6_key(58);
    key.l4_src = htons(128);
    check(&frame, &key, 14, 54);
    /* The other family's ICMP is not ICMP. */
    frame.bytes[20] = 1;
    key = ipv6_key(1);
    check(&frame, &key, 14, 0);
}

static void test_sctp(void **state)
{
    struct frame frame = {0};
    struct flow_key key = ipv4_key(132);

    ETH(&frame);
    PUT(&frame, 8, 0);
    put_ipv4(&frame, 132, 12, 0);
    PUT(&frame, 0x11, 0x22, 0x33, 0x44, 0, 0, 0, 0, 0, 0, 0, 0);
    check_cut(&frame, 45, &key, 14, 0);
    set_ports(&key);
    check(&frame, &key, 14, 34);
}

static void test_vxlan(void **state)
{
    struct frame frame = {0};
    struct flow_key key = ipv4_key(17);

    ETH(&frame);
    PUT(&frame, 8, 0);
    put_ipv4(&frame, 17, 16, 0);
    PUT(&frame, 0x11, 0x22, 0x12, 0xb5, 0, 16, 0, 0);
    PUT(&frame, 8, 0, 0, 0, 0xab, 0xcd, 0xef, 0);
    key.l4_src = htons(0x1122);
    key.l4_dst = htons(4789);
    key.tunnel_id = htonl(0x80abcdef);
    check(&frame, &key, 14, 34);
    key.tunnel_id = 0;
    check_cut(&frame, 49, &key, 14, 34);
    frame.bytes[42] = 0; /* no valid VNI */
    check(&frame, &key, 14, 34);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_udp_ipv4),
        cmocka_unit_test(test_tcp_ipv4),
        cmocka_unit_test(test_udp_ipv6),
        cmocka_unit_test(test_tcp_ipv6_vlan),
        cmocka_unit_test(test_vlan_tags),
        cmocka_unit_test(test_no_ip),
        cmocka_unit_test(test_ipv4_options),
        cmocka_unit_test(test_ipv4_inconsistent),
        cmocka_unit_test(test_ipv4_fragments),
        cmocka_unit_test(test_ipv6_extensions),
        cmocka_unit_test(test_ipv6_too_many_extensions),
        cmocka_unit_test(test_ipv6_fragments),
        cmocka_unit_test(test_icmp),
        cmocka_unit_test(test_sctp),
        cmocka_unit_test(test_vxlan),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

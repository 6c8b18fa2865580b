/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Header parsing: Ethernet II (IEEE 802.3), tags (802.1Q), IPv4 (RFC 791), IPv6
 * (RFC 8200), TCP (RFC 9293), UDP (RFC 768), SCTP (RFC 9260), ICMP (RFC 792),
 * ICMPv6 (RFC 4443), VXLAN (RFC 7348).
 *
 * All bytes come from the packet's private head, so nothing can change between
 * a check and its use. A header counts when its fixed part lies in the head and
 * the lengths that it states fit the frame.
 */

#include <endian.h>

#include "fastpath/packet_parse.h"

#define ETH_SIZE 14
#define VLAN_TAG_SIZE 4
#define IPV4_SIZE 20
#define IPV6_SIZE 40
#define TCP_SIZE 20
#define UDP_SIZE 8
#define SCTP_SIZE 12
#define ICMP_SIZE 8
#define VXLAN_SIZE 8

#define TYPE_IPV4 0x0800
#define TYPE_VLAN 0x8100
#define TYPE_IPV6 0x86dd
#define TYPE_VLAN_AD 0x88a8
#define TYPE_FIRST 0x0600 /* smaller values are the length of an 802.3 frame */

#define PROTO_HOP_BY_HOP 0
#define PROTO_ICMP 1
#define PROTO_TCP 6
#define PROTO_UDP 17
#define PROTO_ROUTING 43
#define PROTO_FRAGMENT 44
#define PROTO_AUTHENTICATION 51
#define PROTO_ICMPV6 58
#define PROTO_DESTINATION 60
#define PROTO_SCTP 132

#define IPV4_MORE_FRAGMENTS 0x2000
#define IPV4_FRAGMENT_OFFSET 0x1fff
#define IPV6_MORE_FRAGMENTS 0x0001
#define IPV6_FRAGMENT_OFFSET 0xfff8
#define IPV6_EXTENSIONS_MAX 8 /* more are not followed: the packet has no transport header for us */

#define VXLAN_PORT 4789
#define VXLAN_HAS_VNI 0x08

/* What the parsers of inner headers need of the outer ones. Offsets count from the head's first byte. */
struct parse {
    struct packet *packet;
    struct flow_key *key;
    const uint8_t *head;
    unsigned limit; /* no byte at this offset or behind is read */
    unsigned end;   /* end of the IP packet by its own length field; may lie behind 'limit' */
};

/* A value in network order, unaligned. */
static inline uint16_t load16(const uint8_t *bytes)
{
    uint16_t value;

    memcpy(&value, bytes, sizeof value);
    return value;
}

static inline uint16_t load_be16(const uint8_t *bytes)
{
    return be16toh(load16(bytes));
}

static inline bool is_vlan(uint16_t type)
{
    return type == TYPE_VLAN || type == TYPE_VLAN_AD;
}

/* Returns the offset of what follows the Ethernet header and its tags. */
static unsigned parse_ethernet(struct parse *parse)
{
    struct flow_key *key = parse->key;
    const uint8_t *head = parse->head;
    unsigned offset = ETH_SIZE;
    uint16_t type = load_be16(head + 12);

    memcpy(key->eth_dst, head, 6);
    memcpy(key->eth_src, head + 6, 6);
    if (is_vlan(type) && parse->limit >= offset + VLAN_TAG_SIZE) {
        key->vlan_ad = type == TYPE_VLAN_AD ? VLAN_AD_OUTER : 0;
        key->vlan_tci = load16(head + offset) | htobe16(VLAN_PRESENT);
        type = load_be16(head + offset + 2);
        offset += VLAN_TAG_SIZE;
        if (is_vlan(type) && parse->limit >= offset + VLAN_TAG_SIZE) {
            key->vlan_ad |= type == TYPE_VLAN_AD ? VLAN_AD_INNER : 0;
            key->inner_tci = load16(head + offset) | htobe16(VLAN_PRESENT);
            type = load_be16(head + offset + 2);
            offset += VLAN_TAG_SIZE;
        }
    }
    key->eth_type = htobe16(type < TYPE_FIRST ? ETH_TYPE_802_3 : type);
    return offset;
}

/* Whether 'size' bytes from 'offset' on lie in the head and in the IP packet. */
static inline bool holds(const struct parse *parse, unsigned offset, unsigned size)
{
    return offset + size <= parse->limit && offset + size <= parse->end;
}

static void parse_vxlan(struct parse *parse, unsigned offset)
{
    const uint8_t *vxlan = parse->head + offset;

    if (!parse->key->ip_frag && holds(parse, offset, VXLAN_SIZE) && (vxlan[0] & VXLAN_HAS_VNI)) {
        uint32_t vni = (uint32_t)vxlan[4] << 16 | (uint32_t)vxlan[5] << 8 | vxlan[6];

        parse->key->tunnel_id = htobe32(vni | TUNNEL_PRESENT);
    }
}

/* The transport header of a packet that is no later fragment. 'icmp' is the protocol number of the family's ICMP. */
static void parse_transport(struct parse *parse, unsigned offset, uint8_t icmp)
{
    struct flow_key *key = parse->key;
    const uint8_t *l4 = parse->head + offset;
    uint8_t proto = key->ip_proto;

    if (offset > UINT8_MAX)
        return;
    if (proto == PROTO_TCP) {
        unsigned size;

        if (!holds(parse, offset, TCP_SIZE))
            return;
        /* Options may be cut off by the end of the head, not by that of the packet. */
        size = (l4[12] >> 4) * 4u;
        if (size < TCP_SIZE || offset + size > parse->end)
            return;
        key->tcp_flags = l4[13];
    } else if (proto == icmp) {
        if (!holds(parse, offset, ICMP_SIZE))
            return;
        key->l4_src = htobe16(l4[0]);
        key->l4_dst = htobe16(l4[1]);
        parse->packet->l4_offset = offset;
        return;
    } else if (!(proto == PROTO_UDP && holds(parse, offset, UDP_SIZE)) &&
               !(proto == PROTO_SCTP && holds(parse, offset, SCTP_SIZE))) {
        return;
    }
    key->l4_src = load16(l4);
    key->l4_dst = load16(l4 + 2);
    parse->packet->l4_offset = offset;
    if (proto == PROTO_UDP && key->l4_dst == htobe16(VXLAN_PORT))
        parse_vxlan(parse, offset + UDP_SIZE);
}

static void parse_ipv4(struct parse *parse, unsigned offset)
{
    struct flow_key *key = parse->key;
    const uint8_t *ip = parse->head + offset;
    unsigned header_size, size, fragment;

    if (offset + IPV4_SIZE > parse->limit || ip[0] >> 4 != 4)
        return;
    header_size = (ip[0] & 15) * 4u;
    size = load_be16(ip + 2);
    if (header_size < IPV4_SIZE || offset + header_size > parse->limit || size < header_size ||
        offset + size > parse->packet->size)
        return;
    parse->packet->l3_offset = offset;
    parse->end = offset + size;
    key->ip_tos = ip[1];
    key->ip_ttl = ip[8];
    key->ip_proto = ip[9];
    memcpy(key->ip_src, ip + 12, 4);
    memcpy(key->ip_dst, ip + 16, 4);
    fragment = load_be16(ip + 6);
    if (fragment & (IPV4_MORE_FRAGMENTS | IPV4_FRAGMENT_OFFSET))
        key->ip_frag = FLOW_FRAG_ANY;
    if (fragment & IPV4_FRAGMENT_OFFSET)
        key->ip_frag |= FLOW_FRAG_LATER;
    else
        parse_transport(parse, offset + header_size, PROTO_ICMP);
}

/*
 * Follows the extension headers from '*offset' on, whose kind is '*proto'.
 * Returns whether the chain ended at a transport header, or at what we take for
 * one. A later fragment is of protocol 'fragment', since the chain may go on in the
 * part that it does not carry.
 */
static bool skip_ipv6_extensions(struct parse *parse, unsigned *offset, uint8_t *proto)
{
    for (unsigned n = 0; n <= IPV6_EXTENSIONS_MAX; n++) {
        const uint8_t *header = parse->head + *offset;
        unsigned size, fragment;

        switch (*proto) {
        case PROTO_HOP_BY_HOP:
        case PROTO_ROUTING:
        case PROTO_DESTINATION:
        case PROTO_AUTHENTICATION:
            if (!holds(parse, *offset, 8))
                return false;
            size = *proto == PROTO_AUTHENTICATION ? (header[1] + 2) * 4u : (header[1] + 1) * 8u;
            if (!holds(parse, *offset, size))
                return false;
            break;
        case PROTO_FRAGMENT:
            size = 8;
            if (!holds(parse, *offset, size))
                return false;
            fragment = load_be16(header + 2);
            if (fragment & (IPV6_MORE_FRAGMENTS | IPV6_FRAGMENT_OFFSET))
                parse->key->ip_frag = FLOW_FRAG_ANY;
            if (fragment & IPV6_FRAGMENT_OFFSET) {
                parse->key->ip_frag |= FLOW_FRAG_LATER;
                return true;
            }
            break;
        default: return true;
        }
        *proto = header[0];
        *offset += size;
    }
    return false;
}

static void parse_ipv6(struct parse *parse, unsigned offset)
{
    struct flow_key *key = parse->key;
    const uint8_t *ip = parse->head + offset;
    unsigned size;
    uint8_t proto;

    if (offset + IPV6_SIZE > parse->limit || ip[0] >> 4 != 6)
        return;
    size = IPV6_SIZE + load_be16(ip + 4);
    if (offset + size > parse->packet->size)
        return;
    parse->packet->l3_offset = offset;
    parse->end = offset + size;
    key->ip_tos = load_be16(ip) >> 4;
    key->ip_ttl = ip[7];
    memcpy(key->ip_src, ip + 8, 16);
    memcpy(key->ip_dst, ip + 24, 16);
    proto = ip[6];
    offset += IPV6_SIZE;
    if (!skip_ipv6_extensions(parse, &offset, &proto))
        return;
    key->ip_proto = proto;
    if (!(key->ip_frag & FLOW_FRAG_LATER))
        parse_transport(parse, offset, PROTO_ICMPV6);
}

void packet_parse_general(struct packet *packet, struct flow_key *key)
{
    struct parse parse = {.packet = packet, .key = key, .head = packet->head, .limit = packet->head_size};
    unsigned offset;

    packet->l3_offset = 0;
    packet->l4_offset = 0;
    memset(key, 0, sizeof *key);
    offset = parse_ethernet(&parse);
    if (key->eth_type == htobe16(TYPE_IPV4))
        parse_ipv4(&parse, offset);
    else if (key->eth_type == htobe16(TYPE_IPV6))
        parse_ipv6(&parse, offset);
}

/*
 * The short way builds the key's eight words in registers. Each has the order in memory, so a
 * field's first byte is a word's lowest.
 */
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words are put together for a little-endian CPU");

#define KEY_WORDS 8

static inline uint32_t load32(const uint8_t *bytes)
{
    uint32_t value;

    memcpy(&value, bytes, sizeof value);
    return value;
}

static inline uint64_t load64(const uint8_t *bytes)
{
    uint64_t value;

    memcpy(&value, bytes, sizeof value);
    return value;
}

/* A copy of what 'packet' says, which stores into the key cannot change as far as the compiler knows. */
struct plain {
    struct packet *packet;
    const uint8_t *head;
    unsigned head_size;
    unsigned size;
};

/*
 * A TCP header, or a UDP header but VXLAN's, at 'offset': the key's words 6 and 7. 'ip_word' is what the IP header
 * gives to word 6, 'end' the offset at which the IP packet ends; at least UDP_SIZE bytes are in it and in the head.
 */
static inline __attribute__((always_inline)) bool parse_plain_transport(struct plain plain, uint64_t words[],
                                                                        unsigned offset, unsigned end,
                                                                        uint8_t proto, uint32_t ip_word)
{
    const uint8_t *l4 = plain.head + offset;
    uint32_t ports = load32(l4);
    uint8_t flags = 0;

    if (proto == PROTO_TCP) {
        unsigned header_end;

        if (plain.head_size < offset + TCP_SIZE)
            return false;
        header_end = offset + (l4[12] >> 4) * 4u;
        if (header_end < offset + TCP_SIZE || header_end > end)
            return false;
        flags = l4[13];
    } else if (proto != PROTO_UDP || ports >> 16 == htobe16(VXLAN_PORT)) {
        return false;
    }
    words[6] = ip_word | (uint64_t)ports << 32;
    words[7] = flags;
    plain.packet->l4_offset = offset;
    return true;
}

static inline __attribute__((always_inline)) bool parse_plain_ipv4(struct plain plain, uint64_t words[],
                                                                   unsigned offset)
{
    const uint8_t *ip = plain.head + offset;
    uint64_t first;
    unsigned size;
    uint8_t proto;

    if (plain.head_size < offset + IPV4_SIZE + UDP_SIZE)
        return false;
    /* Version and header size, and what makes a fragment, in one comparison. */
    first = load64(ip);
    size = be16toh(first >> 16);
    if ((first & (0xff | (uint64_t)htobe16(IPV4_MORE_FRAGMENTS | IPV4_FRAGMENT_OFFSET) << 48)) != 0x45 ||
        size < IPV4_SIZE + UDP_SIZE || offset + size > plain.size)
        return false;
    proto = ip[9];
    words[2] = load32(ip + 12);
    words[3] = 0;
    words[4] = load32(ip + 16);
    words[5] = 0;
    plain.packet->l3_offset = offset;
    return parse_plain_transport(plain, words, offset + IPV4_SIZE, offset + size, proto,
                                 proto | (uint32_t)ip[1] << 8 | (uint32_t)ip[8] << 16);
}

static inline __attribute__((always_inline)) bool parse_plain_ipv6(struct plain plain, uint64_t words[],
                                                                   unsigned offset)
{
    const uint8_t *ip = plain.head + offset;
    unsigned payload_size;
    uint8_t proto;

    if (plain.head_size < offset + IPV6_SIZE + UDP_SIZE || ip[0] >> 4 != 6)
        return false;
    payload_size = load_be16(ip + 4);
    if (payload_size < UDP_SIZE || offset + IPV6_SIZE + payload_size > plain.size)
        return false;
    proto = ip[6];
    for (unsigned i = 0; i < 4; i++)
        words[2 + i] = load64(ip + 8 + 8 * i);
    plain.packet->l3_offset = offset;
    return parse_plain_transport(plain, words, offset + IPV6_SIZE, offset + IPV6_SIZE + payload_size, proto,
                                 proto | (uint32_t)(load_be16(ip) >> 4 & 0xff) << 8 | (uint32_t)ip[7] << 16);
}

/* What follows the Ethernet header, whose type is 'type' and which ends at 'offset'. */
static inline __attribute__((always_inline)) bool parse_plain_ip(struct plain plain, uint64_t words[],
                                                                 unsigned offset, uint16_t type)
{
    if (type == htobe16(TYPE_IPV4))
        return parse_plain_ipv4(plain, words, offset);
    if (type == htobe16(TYPE_IPV6))
        return parse_plain_ipv6(plain, words, offset);
    return false;
}

/*
 * The short way: Ethernet, at most one 802.1Q tag, IPv4 without options or IPv6
 * without extension headers, no fragment, TCP or UDP. Returns false for anything
 * else, with 'words', the key's, in any state.
 */
static inline bool parse_plain(struct plain plain, uint64_t words[])
{
    const uint8_t *head = plain.head;
    uint64_t type = load16(head + 12), tci;

    words[0] = load64(head);
    if (type != htobe16(TYPE_VLAN)) {
        words[1] = load32(head + 8) | type << 32;
        return parse_plain_ip(plain, words, ETH_SIZE, type);
    }
    if (plain.head_size < ETH_SIZE + VLAN_TAG_SIZE)
        return false;
    tci = load16(head + ETH_SIZE) | htobe16(VLAN_PRESENT);
    type = load16(head + ETH_SIZE + 2);
    words[1] = load32(head + 8) | type << 32 | tci << 48;
    return parse_plain_ip(plain, words, ETH_SIZE + VLAN_TAG_SIZE, type);
}

void packet_parse(struct packet *packet, struct flow_key *key)
{
    struct plain plain = {packet, packet->head, packet->head_size, packet->size};

    static_assert(sizeof *key == KEY_WORDS * sizeof(uint64_t), "a key is eight words");
    if (__builtin_expect(!parse_plain(plain, (uint64_t *)key), 0))
        packet_parse_general(packet, key);
}

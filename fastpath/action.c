/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/action.h"

#include "fastpath/checksum.h"
#include "fastpath/drop.h"
#include "fastpath/packet_header.h"
#include "fastpath/segment.h"

#define IMPOSSIBLE (DROP_ACTION + 1)

#define IPV4_SOURCE 12 /* offsets in the headers */
#define IPV4_DESTINATION 16
#define IPV6_SOURCE 8
#define IPV6_DESTINATION 24

#define VXLAN_VALID_VNI 0x08
#define TUNNEL_PORT_FIRST 49152 /* RFC 7348, section 5: the dynamic range */
#define TUNNEL_PORT_MASK 0x3fff

/* Offset of the checksum in a transport header with a pseudo header; 0: no such protocol. */
static unsigned pseudo_checksum_offset(uint8_t protocol)
{
    switch (protocol) {
    case PROTOCOL_TCP: return 16;
    case PROTOCOL_UDP: return 6;
    case PROTOCOL_ICMPV6: return 2;
    default: return 0;
    }
}

/* While the sender leaves the transport checksum to others, its field holds the pseudo header's sum, not complemented. */
static bool holds_pseudo_sum(const struct packet *packet, unsigned checksum_offset)
{
    return packet->offload.flags & PACKET_NEEDS_CSUM && packet->offload.csum_start == packet->l4_offset &&
           packet->offload.csum_offset == checksum_offset;
}

/* Corrects the transport checksum for covered words that changed from the sum 'from' to the sum 'to'. */
static void update_transport_checksum(struct packet *packet, uint8_t protocol, uint16_t from, uint16_t to,
                                      bool in_pseudo_header)
{
    unsigned offset = pseudo_checksum_offset(protocol);
    uint8_t *field = packet->head + packet->l4_offset + offset;
    uint16_t checksum;

    if (!offset || packet->l4_offset + offset + 2 > packet->head_size)
        return;
    checksum = load_raw16(field);
    if (holds_pseudo_sum(packet, offset)) {
        if (in_pseudo_header)
            store_raw16(field, checksum_exchange(checksum, from, to));
        return;
    }
    if (protocol == PROTOCOL_UDP && !checksum) /* the sender did without */
        return;
    checksum = checksum_update16(checksum, from, to);
    store_raw16(field, protocol == PROTOCOL_UDP && !checksum ? 0xffff : checksum);
}

/* Whether there is a transport checksum that covers the addresses, but not in the head, where it could be corrected. */
static bool checksum_is_out_of_reach(const struct transport *transport)
{
    return !transport->in_head && !transport->later &&
           (pseudo_checksum_offset(transport->protocol) || is_ipv6_extension(transport->protocol));
}

static void set_eth(struct packet *packet, unsigned offset, const uint8_t address[6])
{
    if (packet->head_size >= ETH_HEADER_SIZE)
        memcpy(packet->head + offset, address, 6);
}

static void update_ipv4_checksum(uint8_t *ip, uint16_t from, uint16_t to)
{
    store_raw16(ip + 10, checksum_update16(load_raw16(ip + 10), from, to));
}

static int set_ipv4_address(struct packet *packet, unsigned offset, const uint8_t address[4])
{
    uint8_t *ip = packet->head + packet->l3_offset;
    struct transport transport;
    uint16_t from, to;

    if (packet_ip_version(packet) != 4)
        return 0;
    transport = packet_transport(packet);
    if (checksum_is_out_of_reach(&transport))
        return IMPOSSIBLE;
    from = checksum_sum(ip + offset, 4);
    to = checksum_sum(address, 4);
    memcpy(ip + offset, address, 4);
    update_ipv4_checksum(ip, from, to);
    if (transport.in_head)
        update_transport_checksum(packet, transport.protocol, from, to, true);
    return 0;
}

static int set_ipv6_address(struct packet *packet, unsigned offset, const uint8_t address[16])
{
    uint8_t *field = packet->head + packet->l3_offset + offset;
    struct transport transport;
    uint16_t from, to;

    if (packet_ip_version(packet) != 6)
        return 0;
    transport = packet_transport(packet);
    if (checksum_is_out_of_reach(&transport))
        return IMPOSSIBLE;
    from = checksum_sum(field, 16);
    to = checksum_sum(address, 16);
    memcpy(field, address, 16);
    if (transport.in_head && !(offset == IPV6_DESTINATION && transport.routed))
        update_transport_checksum(packet, transport.protocol, from, to, true);
    return 0;
}

static void set_ttl(struct packet *packet, uint8_t ttl)
{
    uint8_t *ip = packet->head + packet->l3_offset;
    uint16_t from;

    switch (packet_ip_version(packet)) {
    case 4:
        from = load_raw16(ip + 8);
        ip[8] = ttl;
        update_ipv4_checksum(ip, from, load_raw16(ip + 8));
        break;
    case 6: ip[7] = ttl; break;
    }
}

static int decrement_ttl(struct packet *packet)
{
    unsigned version = packet_ip_version(packet);
    uint8_t ttl;

    if (!version)
        return 0;
    ttl = packet->head[packet->l3_offset + (version == 4 ? 8 : 7)];
    if (ttl <= 1)
        return DROP_TTL + 1;
    set_ttl(packet, ttl - 1);
    return 0;
}

static void set_tos(struct packet *packet, uint8_t tos)
{
    uint8_t *ip = packet->head + packet->l3_offset;
    uint16_t from;

    switch (packet_ip_version(packet)) {
    case 4:
        from = load_raw16(ip);
        ip[1] = tos;
        update_ipv4_checksum(ip, from, load_raw16(ip));
        break;
    case 6: /* version, traffic class, flow label: 4, 8, 20 bits */
        ip[0] = (uint8_t)(0x60 | tos >> 4);
        ip[1] = (uint8_t)(tos << 4 | (ip[1] & 0x0f));
        break;
    }
}

/*
 * SCTP's CRC covers the whole packet, whose size the IP header tells (the frame may be
 * padded). It cannot be corrected in a fragment: the datagram's size is unknown.
 */
static int set_sctp_port(struct packet *packet, unsigned offset, uint16_t port, bool fragment)
{
    uint8_t *ip = packet->head + packet->l3_offset, *sctp = packet->head + packet->l4_offset;
    int ip_size = ip[0] >> 4 == 4 ? load_be16(ip + 2) : load_be16(ip + 4) + IPV6_HEADER_SIZE;
    int size = ip_size - (packet->l4_offset - packet->l3_offset);
    uint32_t from, to, crc;

    if (fragment || size < SCTP_HEADER_SIZE)
        return IMPOSSIBLE;
    memcpy(&from, sctp, 4);
    store_raw16(sctp + offset, port);
    memcpy(&to, sctp, 4);
    memcpy(&crc, sctp + 8, 4);
    crc ^= checksum_crc32c_change(from, to, (uint32_t)size);
    memcpy(sctp + 8, &crc, 4);
    return 0;
}

/* 'offset': 0 source, 2 destination. */
static int set_port(struct packet *packet, unsigned offset, uint16_t port)
{
    struct transport transport = packet_transport(packet);
    uint8_t *l4 = packet->head + packet->l4_offset;
    int room = packet->head_size - packet->l4_offset;
    uint16_t from;

    if (!transport.in_head)
        return 0;
    switch (transport.protocol) {
    case PROTOCOL_TCP:
    case PROTOCOL_UDP:
        if (room < (transport.protocol == PROTOCOL_TCP ? TCP_HEADER_SIZE : UDP_HEADER_SIZE))
            return 0;
        from = load_raw16(l4 + offset);
        store_raw16(l4 + offset, port);
        update_transport_checksum(packet, transport.protocol, from, port, false);
        return 0;
    case PROTOCOL_SCTP:
        return room < SCTP_HEADER_SIZE ? 0 : set_sctp_port(packet, offset, port, transport.fragment);
    default: return 0;
    }
}

static bool has_vlan_tag(const struct packet *packet)
{
    return packet->head_size >= ETH_HEADER_SIZE + VLAN_TAG_SIZE && is_vlan_type(load_be16(packet->head + 12));
}

static void set_vlan_tci(struct packet *packet, uint16_t mask, uint16_t value)
{
    if (has_vlan_tag(packet)) {
        uint8_t *tci = packet->head + ETH_HEADER_SIZE;

        store_be16(tci, (uint16_t)((load_be16(tci) & ~mask) | (value & mask)));
    }
}

/* Moves the beginning of the frame; what lies behind it keeps its place. */
static void move_head(struct packet *packet, int towards_front)
{
    int headroom = packet->headroom - towards_front;

    packet->head -= towards_front;
    packet->head_size = (uint16_t)(packet->head_size + towards_front);
    packet->size += (uint32_t)towards_front;
    packet->headroom = (uint8_t)(headroom < UINT8_MAX ? headroom : UINT8_MAX);
}

/* Tells the offsets that all headers behind the MAC addresses now begin 'distance' further back. */
static void move_offsets(struct packet *packet, int distance)
{
    if (packet->l3_offset)
        packet->l3_offset = (uint8_t)(packet->l3_offset + distance);
    if (packet->l4_offset)
        packet->l4_offset = (uint8_t)(packet->l4_offset + distance);
    if (packet->offload.flags & PACKET_NEEDS_CSUM)
        packet->offload.csum_start = (uint16_t)(packet->offload.csum_start + distance);
    if (packet->offload.gso_type)
        packet->offload.hdr_len = (uint16_t)(packet->offload.hdr_len + distance);
}

static int push_vlan(struct packet *packet, uint16_t tpid)
{
    if (packet->head_size < ETH_HEADER_SIZE || packet->headroom < VLAN_TAG_SIZE ||
        packet->l3_offset > UINT8_MAX - VLAN_TAG_SIZE || packet->l4_offset > UINT8_MAX - VLAN_TAG_SIZE)
        return IMPOSSIBLE;
    move_head(packet, VLAN_TAG_SIZE);
    move_offsets(packet, VLAN_TAG_SIZE);
    memmove(packet->head, packet->head + VLAN_TAG_SIZE, 12);
    store_raw16(packet->head + 12, tpid);
    store_raw16(packet->head + ETH_HEADER_SIZE, 0);
    return 0;
}

static void pop_vlan(struct packet *packet)
{
    if (!has_vlan_tag(packet))
        return;
    memmove(packet->head + VLAN_TAG_SIZE, packet->head, 12);
    move_head(packet, -VLAN_TAG_SIZE);
    move_offsets(packet, -VLAN_TAG_SIZE);
}

/* Where the headers of an encapsulation template lie; 0: it has none. */
struct outer {
    uint8_t l3_offset, l4_offset; /* l4: UDP only */
    uint8_t version;
};

static struct outer parse_outer(const uint8_t *raw, unsigned size)
{
    struct outer outer = {0};
    unsigned type_offset = 12, l3, l4 = 0;
    uint8_t protocol;

    while (type_offset + 2 + VLAN_TAG_SIZE <= size && is_vlan_type(load_be16(raw + type_offset)))
        type_offset += VLAN_TAG_SIZE;
    l3 = type_offset + 2;
    if (l3 + IPV4_HEADER_SIZE > size)
        return outer;
    if (load_be16(raw + type_offset) == 0x0800 && raw[l3] >> 4 == 4 && (raw[l3] & 15) >= 5) {
        outer.version = 4;
        protocol = raw[l3 + 9];
        l4 = l3 + (raw[l3] & 15) * 4u;
    } else if (load_be16(raw + type_offset) == 0x86dd && raw[l3] >> 4 == 6 && l3 + IPV6_HEADER_SIZE <= size) {
        outer.version = 6;
        protocol = raw[l3 + 6];
        l4 = l3 + IPV6_HEADER_SIZE;
    }
    if (!outer.version || l4 > size)
        return (struct outer){0};
    outer.l3_offset = (uint8_t)l3;
    if (protocol == PROTOCOL_UDP && l4 + UDP_HEADER_SIZE <= size)
        outer.l4_offset = (uint8_t)l4;
    return outer;
}

static uint64_t mix(uint64_t hash, const uint8_t *data, unsigned size)
{
    uint64_t word = 0;

    memcpy(&word, data, size);
    hash = (hash ^ word) * 0x9e3779b97f4a7c15u; /* 2^64 divided by the golden ratio: spreads every bit upwards */
    return hash ^ hash >> 32;
}

/* The same for all packets of a flow, all fragments included, so that equal-cost paths keep its order. */
static uint16_t tunnel_source_port(const struct packet *packet)
{
    unsigned version = packet_ip_version(packet);
    const uint8_t *ip = packet->head + packet->l3_offset;
    struct transport transport;
    uint64_t hash = 0;
    bool has_ports;

    if (version == 4) {
        hash = mix(hash, ip + 12, 8);
    } else if (version == 6) {
        for (unsigned offset = 8; offset < IPV6_HEADER_SIZE; offset += 8)
            hash = mix(hash, ip + offset, 8);
    } else {
        hash = mix(hash, packet->head, 8);
        hash = mix(hash, packet->head + 8, 6);
    }
    transport = packet_transport(packet);
    has_ports = transport.protocol == PROTOCOL_TCP || transport.protocol == PROTOCOL_UDP ||
                transport.protocol == PROTOCOL_SCTP;
    if (has_ports && transport.in_head && !transport.fragment && packet->l4_offset + 4 <= packet->head_size)
        hash = mix(hash ^ transport.protocol, packet->head + packet->l4_offset, 4);
    return (uint16_t)(TUNNEL_PORT_FIRST + (hash & TUNNEL_PORT_MASK));
}

/*
 * Completes the outer UDP header. Over IPv4 the checksum is 0 (RFC 7348, section 5); over
 * IPv6 a template with 0 keeps it (RFC 6935), else it is left to the receiver or
 * to packet_finish_checksum(), as a guest would.
 */
static void finish_outer_udp(struct packet *packet, unsigned version, uint16_t source_port)
{
    const uint8_t *ip = packet->head + packet->l3_offset;
    uint8_t *udp = packet->head + packet->l4_offset;
    uint16_t size = (uint16_t)(packet->size - packet->l4_offset);

    if (!load_raw16(udp))
        store_be16(udp, source_port);
    store_be16(udp + 4, size);
    if (version == 6 && load_raw16(udp + 6)) {
        store_raw16(udp + 6, checksum_pseudo_ipv6(ip + 8, ip + 24, PROTOCOL_UDP, size));
        packet->offload.flags = PACKET_NEEDS_CSUM;
        packet->offload.csum_start = packet->l4_offset;
        packet->offload.csum_offset = 6;
    } else {
        store_raw16(udp + 6, 0);
    }
}

static int encapsulate(struct packet *packet, const uint8_t *raw, unsigned raw_size)
{
    struct outer outer = parse_outer(raw, raw_size);
    uint32_t ip_size = packet->size + raw_size - outer.l3_offset;
    uint16_t source_port;
    uint8_t *ip;

    if (raw_size > packet->headroom || packet->head_size < ETH_HEADER_SIZE || packet->offload.gso_type ||
        packet->offload.flags & PACKET_NEEDS_CSUM)
        return IMPOSSIBLE;
    if (outer.version && ip_size > UINT16_MAX) /* short by 40 bytes of what IPv6 can say */
        return IMPOSSIBLE;
    source_port = tunnel_source_port(packet);
    move_head(packet, (int)raw_size);
    memcpy(packet->head, raw, raw_size);
    packet->offload = (struct packet_offload){0};
    packet->l3_offset = outer.l3_offset;
    packet->l4_offset = outer.l4_offset;
    ip = packet->head + packet->l3_offset;
    if (outer.version == 4) {
        store_be16(ip + 2, (uint16_t)ip_size);
        store_raw16(ip + 10, 0);
        store_raw16(ip + 10, (uint16_t)~checksum_sum(ip, (ip[0] & 15) * 4u));
    } else if (outer.version == 6) {
        store_be16(ip + 4, (uint16_t)(ip_size - IPV6_HEADER_SIZE));
    }
    if (outer.l4_offset)
        finish_outer_udp(packet, outer.version, source_port);
    return 0;
}

/*
 * The rule has matched the tunnel; here is checked that the headers hold together. Bytes behind
 * the outer datagram stay, as padding of the inner frame.
 */
static int decapsulate_vxlan(struct packet *packet)
{
    struct transport transport = packet_transport(packet);
    const uint8_t *udp = packet->head + packet->l4_offset;
    unsigned outer_size = packet->l4_offset + UDP_HEADER_SIZE + VXLAN_HEADER_SIZE;
    struct packet_offload *offload = &packet->offload;
    struct flow_key key;

    if (transport.protocol != PROTOCOL_UDP || !transport.in_head || transport.fragment || offload->gso_type ||
        outer_size + ETH_HEADER_SIZE > packet->head_size || !(udp[UDP_HEADER_SIZE] & VXLAN_VALID_VNI) ||
        load_be16(udp + 4) < UDP_HEADER_SIZE + VXLAN_HEADER_SIZE + ETH_HEADER_SIZE ||
        load_be16(udp + 4) > packet->size - packet->l4_offset)
        return IMPOSSIBLE;
    move_head(packet, -(int)outer_size);
    if (offload->flags & PACKET_NEEDS_CSUM && offload->csum_start >= outer_size)
        offload->csum_start = (uint16_t)(offload->csum_start - outer_size);
    else
        *offload = (struct packet_offload){0};
    packet_parse(packet, &key);
    return packet_check_offload(packet); /* on receive it was checked against the outer headers */
}

int action_apply(const struct action *action, struct packet *packet)
{
    switch ((enum action_type)action->type) {
    case ACTION_OUTPUT: return 0;
    case ACTION_DROP: return DROP_RULE + 1;
    case ACTION_SET_ETH_SRC: set_eth(packet, 6, action->eth); return 0;
    case ACTION_SET_ETH_DST: set_eth(packet, 0, action->eth); return 0;
    case ACTION_SET_IPV4_SRC: return set_ipv4_address(packet, IPV4_SOURCE, action->ip);
    case ACTION_SET_IPV4_DST: return set_ipv4_address(packet, IPV4_DESTINATION, action->ip);
    case ACTION_SET_IPV6_SRC: return set_ipv6_address(packet, IPV6_SOURCE, action->ip);
    case ACTION_SET_IPV6_DST: return set_ipv6_address(packet, IPV6_DESTINATION, action->ip);
    case ACTION_SET_TTL: set_ttl(packet, action->byte); return 0;
    case ACTION_DEC_TTL: return decrement_ttl(packet);
    case ACTION_SET_TOS: set_tos(packet, action->byte); return 0;
    case ACTION_SET_L4_SRC: return set_port(packet, 0, action->be16);
    case ACTION_SET_L4_DST: return set_port(packet, 2, action->be16);
    case ACTION_SET_VLAN_VID: set_vlan_tci(packet, 0x0fff, __builtin_bswap16(action->be16)); return 0;
    case ACTION_SET_VLAN_PCP: set_vlan_tci(packet, 0xe000, (uint16_t)(action->byte << 13)); return 0;
    case ACTION_PUSH_VLAN: return push_vlan(packet, action->be16);
    case ACTION_POP_VLAN: pop_vlan(packet); return 0;
    case ACTION_ENCAP_RAW: return encapsulate(packet, action->raw, action->raw_size);
    case ACTION_DECAP_VXLAN: return decapsulate_vxlan(packet);
    case ACTION_TYPE_COUNT: break;
    }
    return IMPOSSIBLE;
}

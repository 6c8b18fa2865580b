/* SPDX-License-Identifier: Apache-2.0 */
#include "fastpath/segment.h"

#include <assert.h>

#include "fastpath/checksum.h"
#include "fastpath/packet_header.h"

#define BAD_OFFLOAD (DROP_RX_BAD_OFFLOAD + 1)
#define CANNOT_FRAGMENT (DROP_TX_MTU + 1)

#define TCP_FIN 0x01
#define TCP_PSH 0x08
#define TCP_CWR 0x80

#define IPV4_DONT_FRAGMENT 0x4000
#define IPV4_MORE_FRAGMENTS 0x2000
#define IPV4_FRAGMENT_OFFSET 0x1fff

#define PROTOCOL_ICMP 1

/* Header bytes of a segment: l4_offset is at most 255, a TCP header 60 bytes. */
#define SEGMENT_HEAD_SIZE 384

/* Bytes of a transport header that no checksum request may change: what a flow key holds of it, and VXLAN's. */
static unsigned transport_header_size(uint8_t protocol)
{
    switch (protocol) {
    case PROTOCOL_TCP: return TCP_HEADER_SIZE;
    case PROTOCOL_UDP: return UDP_HEADER_SIZE + VXLAN_HEADER_SIZE;
    case PROTOCOL_SCTP: return SCTP_HEADER_SIZE;
    default: /* ICMP and ICMPv6 */ return 8;
    }
}

/* The csum_offset of a transport protocol, as senders state it; 0: none that can be asked for. */
static unsigned transport_checksum_offset(uint8_t protocol)
{
    switch (protocol) {
    case PROTOCOL_TCP: return 16;
    case PROTOCOL_UDP: return 6;
    case PROTOCOL_ICMP:
    case PROTOCOL_ICMPV6: return 2;
    default: /* SCTP's is a CRC */ return 0;
    }
}

/* Bytes of the Ethernet header and all its tags; 0 when an IP header is said to follow. */
static unsigned ethernet_size_before_unknown(const struct packet *packet)
{
    unsigned size = ETH_HEADER_SIZE;
    uint16_t type;

    while (size <= packet->head_size && is_vlan_type(load_be16(packet->head + size - 2)))
        size += VLAN_TAG_SIZE;
    if (size > packet->head_size)
        return size;
    type = load_be16(packet->head + size - 2);
    return type == 0x0800 || type == 0x86dd ? 0 : size;
}

static bool checksum_request_is_sound(const struct packet *packet, struct transport transport)
{
    unsigned start = packet->offload.csum_start, offset = packet->offload.csum_offset;
    unsigned l4 = packet->l4_offset;

    if (start + offset + 2 > packet->head_size)
        return false;
    if (!packet->l3_offset) {
        unsigned header_size = ethernet_size_before_unknown(packet);

        return header_size && start >= header_size;
    }
    if (!transport.in_head || transport.fragment)
        return false;
    if (start == l4)
        return offset && offset == transport_checksum_offset(transport.protocol);
    return start > l4 && start + offset >= l4 + transport_header_size(transport.protocol);
}

/* Bytes of the headers that each segment of 'packet' repeats; 0: the request does not fit the packet. */
static unsigned gso_header_size(const struct packet *packet, struct transport transport)
{
    const struct packet_offload *offload = &packet->offload;
    unsigned version = packet_ip_version(packet);
    bool tcp = transport.protocol == PROTOCOL_TCP, udp = transport.protocol == PROTOCOL_UDP;
    unsigned l4 = packet->l4_offset, size = UDP_HEADER_SIZE;

    switch (offload->gso_type) {
    case PACKET_GSO_TCPV4:
    case PACKET_GSO_TCPV4 | PACKET_GSO_ECN:
        if (!tcp || version != 4)
            return 0;
        break;
    case PACKET_GSO_TCPV6:
    case PACKET_GSO_TCPV6 | PACKET_GSO_ECN:
        if (!tcp || version != 6)
            return 0;
        break;
    case PACKET_GSO_UDP:
        if (!udp || version != 4)
            return 0;
        break;
    case PACKET_GSO_UDP_L4:
        if (!udp)
            return 0;
        break;
    default: return 0;
    }
    if (!transport.in_head || l4 + (tcp ? TCP_HEADER_SIZE : UDP_HEADER_SIZE) > packet->head_size)
        return 0;
    if (tcp)
        size = (packet->head[l4 + 12] >> 4) * 4u;
    if ((tcp && size < TCP_HEADER_SIZE) || l4 + size > packet->head_size)
        return 0;
    if (transport.fragment || offload->csum_start != l4 ||
        packet->size - packet->l3_offset > UINT16_MAX + (version == 6 ? IPV6_HEADER_SIZE : 0u))
        return 0;
    if (!offload->gso_size || packet->size - l4 - size > (uint32_t)offload->gso_size * GSO_SEGMENTS_MAX)
        return 0;
    return l4 + size;
}

int packet_check_requests(struct packet *packet)
{
    struct packet_offload *offload = &packet->offload;
    struct transport transport = packet_transport(packet);
    unsigned header_size = 0;

    if (!(offload->flags & PACKET_NEEDS_CSUM) || !checksum_request_is_sound(packet, transport))
        return BAD_OFFLOAD;
    if (offload->gso_type) {
        header_size = gso_header_size(packet, transport);
        if (!header_size)
            return BAD_OFFLOAD;
    } else {
        offload->gso_size = 0;
    }
    offload->hdr_len = (uint16_t)header_size;
    offload->flags = PACKET_NEEDS_CSUM;
    return 0;
}

void packet_finish_checksum(struct packet *packet)
{
    unsigned start = packet->offload.csum_start, field = start + packet->offload.csum_offset;
    uint32_t offset = packet->head_size - start;
    uint16_t sum;

    if (!(packet->offload.flags & PACKET_NEEDS_CSUM))
        return;
    assert(field + 2 <= packet->head_size);
    sum = checksum_sum(packet->head + start, offset);
    if (packet->tail_size)
        sum = checksum_append(sum, offset, packet->tail, packet->tail_size);
    offset += packet->tail_size;
    for (unsigned i = 0; i < packet->n_more; i++) {
        sum = checksum_append(sum, offset, packet->more[i].data, packet->more[i].size);
        offset += packet->more[i].size;
    }
    store_raw16(packet->head + field, checksum_finish(sum));
    packet->offload.flags &= ~PACKET_NEEDS_CSUM;
}

/* Cuts a packet into a header, which is repeated, and a payload, which is handed out from front to back. */
struct cutter {
    const struct packet *packet;
    unsigned header_size;

    /* where the next payload byte lies: piece 0 is the head behind the headers, 1 the tail, then 'more' */
    unsigned piece;
    uint32_t piece_offset;

    struct packet segment; /* the last one cut */
    struct packet_segment more[PACKET_SEGMENTS_MAX];
    uint8_t headroom[PACKET_HEADROOM];
    uint8_t head[SEGMENT_HEAD_SIZE];
};

static void cutter_begin(struct cutter *cutter, const struct packet *packet, unsigned header_size)
{
    assert(header_size <= SEGMENT_HEAD_SIZE && header_size <= packet->head_size);
    cutter->packet = packet;
    cutter->header_size = header_size;
    cutter->piece = 0;
    cutter->piece_offset = 0;
}

static struct packet_segment cutter_piece(const struct cutter *cutter)
{
    const struct packet *packet = cutter->packet;

    if (cutter->piece == 0)
        return (struct packet_segment){packet->head + cutter->header_size,
                                       packet->head_size - cutter->header_size};
    if (cutter->piece == 1)
        return (struct packet_segment){packet->tail, packet->tail_size};
    assert(cutter->piece - 2 < packet->n_more);
    return packet->more[cutter->piece - 2];
}

/* Adds payload to the segment under construction; what lies in the head is copied if there is room. Returns false if there are too many pieces. */
static bool cutter_add(struct cutter *cutter, const uint8_t *data, uint32_t size)
{
    struct packet *segment = &cutter->segment;

    if (cutter->piece == 0 && segment->head_size + size <= SEGMENT_HEAD_SIZE) {
        memcpy(segment->head + segment->head_size, data, size);
        segment->head_size = (uint16_t)(segment->head_size + size);
    } else if (!segment->tail_size) {
        segment->tail = data;
        segment->tail_size = size;
    } else if (segment->n_more < PACKET_SEGMENTS_MAX) {
        cutter->more[segment->n_more++] = (struct packet_segment){data, size};
    } else {
        return false;
    }
    return true;
}

/* Makes 'segment' of a copy of the headers and the next 'size' bytes of payload. */
static bool cutter_next(struct cutter *cutter, uint32_t size)
{
    const struct packet *packet = cutter->packet;

    memcpy(cutter->head, packet->head, cutter->header_size);
    cutter->segment = (struct packet){
        .head = cutter->head,
        .head_size = (uint16_t)cutter->header_size,
        .size = cutter->header_size + size,
        .headroom = PACKET_HEADROOM,
        .l3_offset = packet->l3_offset,
        .l4_offset = packet->l4_offset,
        .in_port = packet->in_port,
        .slot = packet->slot,
        .more = cutter->more,
    };
    while (size) {
        struct packet_segment piece = cutter_piece(cutter);
        uint32_t left = piece.size - cutter->piece_offset, taken = left < size ? left : size;

        if (taken && !cutter_add(cutter, piece.data + cutter->piece_offset, taken))
            return false;
        size -= taken;
        cutter->piece_offset += taken;
        if (taken == left) {
            cutter->piece++;
            cutter->piece_offset = 0;
        }
    }
    return true;
}

static void finish_ipv4_header(uint8_t *ip, uint32_t size)
{
    store_be16(ip + 2, (uint16_t)size);
    store_raw16(ip + 10, 0);
    store_raw16(ip + 10, (uint16_t)~checksum_sum(ip, (ip[0] & 15) * 4u));
}

/* Corrects the headers of segment number 'index', which begins 'payload_offset' bytes into the payload. */
static void finish_segment(struct packet *segment, const struct packet *packet, unsigned index,
                           uint32_t payload_offset, bool last)
{
    uint8_t *ip = segment->head + segment->l3_offset, *l4 = segment->head + segment->l4_offset;
    uint16_t l4_size = (uint16_t)(segment->size - segment->l4_offset);
    uint8_t *checksum = l4 + packet->offload.csum_offset;

    if (ip[0] >> 4 == 4) {
        store_be16(ip + 4, (uint16_t)(load_be16(ip + 4) + index));
        finish_ipv4_header(ip, segment->size - segment->l3_offset);
    } else {
        store_be16(ip + 4, (uint16_t)(segment->size - segment->l3_offset - IPV6_HEADER_SIZE));
    }
    if (packet->offload.gso_type == PACKET_GSO_UDP_L4) {
        store_be16(l4 + 4, l4_size);
    } else {
        store_be32(l4 + 4, load_be32(l4 + 4) + payload_offset);
        if (index)
            l4[13] &= (uint8_t)~TCP_CWR;
        if (!last)
            l4[13] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
    }
    /* The field holds the sum of the pseudo header, in which only the size is another. */
    store_raw16(checksum, checksum_exchange(load_raw16(checksum),
                                            __builtin_bswap16((uint16_t)(packet->size - packet->l4_offset)),
                                            __builtin_bswap16(l4_size)));
    segment->offload = (struct packet_offload){
        .flags = PACKET_NEEDS_CSUM,
        .csum_start = packet->offload.csum_start,
        .csum_offset = packet->offload.csum_offset,
    };
}

int packet_segment_gso(const struct packet *packet, bool keep_checksum, segment_sink sink, void *argument)
{
    struct transport transport = packet_transport(packet);
    unsigned header_size = gso_header_size(packet, transport), index = 0;
    uint32_t payload, offset = 0;
    struct cutter cutter;

    if (!header_size || packet->offload.gso_type == PACKET_GSO_UDP ||
        !checksum_request_is_sound(packet, transport))
        return BAD_OFFLOAD;
    payload = packet->size - header_size;
    cutter_begin(&cutter, packet, header_size);
    do {
        uint32_t left = payload - offset;
        uint32_t size = left < packet->offload.gso_size ? left : packet->offload.gso_size;

        if (!cutter_next(&cutter, size))
            return DROP_TX_NO_ROOM + 1;
        finish_segment(&cutter.segment, packet, index++, offset, size == left);
        if (!keep_checksum)
            packet_finish_checksum(&cutter.segment);
        offset += size;
        if (!sink(&cutter.segment, argument))
            break;
    } while (offset < payload);
    return 0;
}

/* Overwrites the options that only a first fragment carries with "no operation" (RFC 791, section 3.1), so that sizes stay. */
static void blank_uncopied_options(uint8_t *ip)
{
    unsigned end = (ip[0] & 15) * 4u, offset = IPV4_HEADER_SIZE;

    while (offset < end && ip[offset] != 0) {
        unsigned size = 1;

        if (ip[offset] != 1) {
            if (offset + 2 > end || ip[offset + 1] < 2 || offset + ip[offset + 1] > end)
                return;
            size = ip[offset + 1];
            if (!(ip[offset] & 0x80))
                memset(ip + offset, 1, size);
        }
        offset += size;
    }
}

/* How an IPv4 packet is to be cut up. */
struct fragments {
    unsigned header_size; /* bytes before the payload of the IP packet */
    uint32_t payload;     /* bytes */
    uint32_t piece;       /* payload bytes of each fragment but the last, a multiple of 8 */
    unsigned first;       /* offset of the first one, in units of 8 bytes */
    bool more;            /* the packet is itself a fragment, and not the last */
};

/* Returns false when the packet cannot or may not be fragmented. */
static bool plan_fragments(const struct packet *packet, uint32_t mtu, struct fragments *fragments)
{
    const uint8_t *ip = packet->head + packet->l3_offset;
    unsigned ip_header_size, ip_size, flags;

    if (packet_ip_version(packet) != 4)
        return false;
    ip_header_size = (ip[0] & 15) * 4u;
    ip_size = load_be16(ip + 2);
    flags = load_be16(ip + 6);
    fragments->header_size = packet->l3_offset + ip_header_size;
    if (ip_header_size < IPV4_HEADER_SIZE || fragments->header_size > packet->head_size ||
        ip_size <= ip_header_size || packet->l3_offset + ip_size > packet->size || mtu < ip_header_size + 8)
        return false;
    if (flags & IPV4_DONT_FRAGMENT && packet->offload.gso_type != PACKET_GSO_UDP)
        return false;
    fragments->payload = ip_size - ip_header_size;
    fragments->piece = (mtu - ip_header_size) & ~7u;
    fragments->first = flags & IPV4_FRAGMENT_OFFSET;
    fragments->more = flags & IPV4_MORE_FRAGMENTS;
    return fragments->first * 8 + fragments->payload <= UINT16_MAX &&
           fragments->payload <= fragments->piece * (uint64_t)GSO_SEGMENTS_MAX;
}

static void finish_fragment(struct packet *fragment, const struct fragments *fragments, uint32_t offset,
                            bool last)
{
    uint8_t *ip = fragment->head + fragment->l3_offset;
    unsigned flags = (fragments->first + offset / 8) | (last && !fragments->more ? 0 : IPV4_MORE_FRAGMENTS);

    if (offset)
        blank_uncopied_options(ip);
    store_be16(ip + 6, (uint16_t)flags);
    finish_ipv4_header(ip, fragment->size - fragment->l3_offset);
    /* A transport header counts when it is in the head as it was in the original's. */
    if (offset || fragment->head_size == fragments->header_size)
        fragment->l4_offset = 0;
}

int packet_fragment(struct packet *packet, uint32_t mtu, segment_sink sink, void *argument)
{
    struct fragments fragments;
    struct cutter cutter;
    uint32_t offset = 0;

    if (packet->offload.gso_type && packet->offload.gso_type != PACKET_GSO_UDP)
        return CANNOT_FRAGMENT;
    if (packet->l3_offset && packet->size - packet->l3_offset <= mtu && !packet->offload.gso_type) {
        sink(packet, argument);
        return 0;
    }
    if (!plan_fragments(packet, mtu, &fragments))
        return CANNOT_FRAGMENT;
    packet_finish_checksum(packet);
    packet->offload.gso_type = PACKET_GSO_NONE;
    cutter_begin(&cutter, packet, fragments.header_size);
    while (offset < fragments.payload) {
        uint32_t left = fragments.payload - offset;
        uint32_t size = left < fragments.piece ? left : fragments.piece;

        if (!cutter_next(&cutter, size))
            return DROP_TX_NO_ROOM + 1;
        finish_fragment(&cutter.segment, &fragments, offset, size == left);
        offset += size;
        if (!sink(&cutter.segment, argument))
            break;
    }
    return 0;
}

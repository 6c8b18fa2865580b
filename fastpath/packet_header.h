/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_PACKET_HEADER_H
#define FASTPATH_PACKET_HEADER_H

/*
 * Access to the headers in a packet's head, for the code that rewrites them. It relies
 * on l3_offset and l4_offset for where the headers begin, and checks again that
 * they lie in the head. Offsets of fields are those of RFC 791 (IPv4), RFC
 * 8200 (IPv6), RFC 9293 (TCP), RFC 768 (UDP), RFC 4443 (ICMPv6), RFC 9260 (SCTP).
 */

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "fastpath/packet.h"

#define ETH_HEADER_SIZE 14
#define VLAN_TAG_SIZE 4
#define IPV4_HEADER_SIZE 20 /* without options */
#define IPV6_HEADER_SIZE 40
#define TCP_HEADER_SIZE 20 /* without options */
#define UDP_HEADER_SIZE 8
#define SCTP_HEADER_SIZE 12
#define VXLAN_HEADER_SIZE 8

#define PROTOCOL_TCP 6
#define PROTOCOL_UDP 17
#define PROTOCOL_ICMPV6 58
#define PROTOCOL_SCTP 132
#define PROTOCOL_UNKNOWN 255 /* reserved by IANA */

static inline uint16_t load_be16(const uint8_t *from)
{
    return (uint16_t)(from[0] << 8 | from[1]);
}

static inline void store_be16(uint8_t *to, uint16_t value)
{
    to[0] = (uint8_t)(value >> 8);
    to[1] = (uint8_t)value;
}

static inline uint32_t load_be32(const uint8_t *from)
{
    return (uint32_t)load_be16(from) << 16 | load_be16(from + 2);
}

static inline void store_be32(uint8_t *to, uint32_t value)
{
    store_be16(to, (uint16_t)(value >> 16));
    store_be16(to + 2, (uint16_t)value);
}

/* Two bytes as they are, for checksums. */
static inline uint16_t load_raw16(const uint8_t *from)
{
    uint16_t value;

    memcpy(&value, from, sizeof value);
    return value;
}

static inline void store_raw16(uint8_t *to, uint16_t value)
{
    memcpy(to, &value, sizeof value);
}

static inline bool is_vlan_type(uint16_t eth_type)
{
    return eth_type == 0x8100 || eth_type == 0x88a8;
}

/* 4 or 6, when the header (without options) lies in the head; else 0. */
static inline unsigned packet_ip_version(const struct packet *packet)
{
    unsigned l3 = packet->l3_offset, version;

    if (!l3 || l3 + IPV4_HEADER_SIZE > packet->head_size)
        return 0;
    version = packet->head[l3] >> 4;
    return version == 4 || (version == 6 && l3 + IPV6_HEADER_SIZE <= packet->head_size) ? version : 0;
}

/* The transport header of an IP packet, and what stands before it. */
struct transport {
    uint8_t protocol; /* behind the extension headers, or of the first one that is cut off; PROTOCOL_UNKNOWN: not IP */
    bool in_head;  /* the header begins at l4_offset */
    bool fragment; /* the rest of the datagram is in other packets */
    bool later;    /* ... and the transport header is */
    bool routed;   /* an IPv6 routing header holds the final destination: that one is in the pseudo header */
};

struct transport packet_transport(const struct packet *packet);

/* Whether 'protocol' is that of an IPv6 extension header, which another header follows. */
bool is_ipv6_extension(uint8_t protocol);

#endif

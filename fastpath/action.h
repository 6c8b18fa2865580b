/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_ACTION_H
#define FASTPATH_ACTION_H

/*
 * The actions of a rule, executed in order. Checksums (IP, TCP, UDP, ICMPv6,
 * SCTP where addresses or ports are covered) are kept right: incrementally, or
 * in the pseudo-header sum when the sender left the checksum to the receiver.
 */

#include <stdint.h>

#include "fastpath/packet.h"

enum action_type {
    ACTION_OUTPUT,      /* .port */
    ACTION_DROP,        /* ends the list */
    ACTION_SET_ETH_SRC, /* .eth */
    ACTION_SET_ETH_DST,
    ACTION_SET_IPV4_SRC, /* .ip, first 4 bytes */
    ACTION_SET_IPV4_DST,
    ACTION_SET_IPV6_SRC, /* .ip */
    ACTION_SET_IPV6_DST,
    ACTION_SET_TTL,    /* .byte; IPv4 TTL or IPv6 hop limit */
    ACTION_DEC_TTL,    /* drops the packet at TTL 1 or 0 */
    ACTION_SET_TOS,    /* .byte; the whole TOS or traffic class octet */
    ACTION_SET_L4_SRC, /* .be16 */
    ACTION_SET_L4_DST,
    ACTION_SET_VLAN_VID, /* .be16; 12 bits */
    ACTION_SET_VLAN_PCP, /* .byte; 3 bits */
    ACTION_PUSH_VLAN,    /* .be16: TPID (0x8100 or 0x88a8); TCI 0, set by SET_VLAN_* behind it */
    ACTION_POP_VLAN,
    ACTION_ENCAP_RAW,   /* .raw: bytes put before the frame; an IPv4 or IPv6 outer header gets its
                           lengths and IPv4 checksum, a UDP outer header its length and a source
                           port from the inner flow's hash when the template's is 0 */
    ACTION_DECAP_VXLAN, /* takes off everything up to and including the VXLAN header */
    ACTION_TYPE_COUNT
};

struct action {
    uint8_t type; /* enum action_type */
    uint8_t byte;
    uint16_t be16; /* big endian */
    uint16_t port; /* port id */
    uint16_t raw_size;
    union {
        uint8_t eth[6];
        uint8_t ip[16];
        uint8_t *raw; /* 'raw_size' bytes; in a rule they belong to the rule */
    };
};

/*
 * Executes one action other than OUTPUT and DROP on 'packet', whose l3_offset and
 * l4_offset are those of packet_parse() and are kept up to date, as are the fields of a
 * checksum or segmentation request. Returns 0, or a drop reason + 1: the packet is to be
 * dropped and counted. Never reads or writes outside head and headroom.
 *
 * As in Open vSwitch, setting a field of a header that the packet does not have, DEC_TTL
 * of what is not IP and POP_VLAN of an untagged frame do nothing. SET_L4_* is for TCP, UDP
 * and SCTP, and does nothing to later fragments, which have no ports.
 *
 * DROP_ACTION + 1, the packet unchanged: no headroom for a tag or a tunnel header;
 * an address change whose transport checksum lies behind the head (or is cut off); new ports in a
 * fragment of SCTP, whose CRC covers the other fragments; DECAP_VXLAN of anything but a
 * whole VXLAN packet; an encapsulated IP packet of more than 64 KiB.
 *
 * Encapsulation expects a packet with gso_type NONE and no NEEDS_CSUM (the caller
 * finishes those first, see segment.h), and may leave one with NEEDS_CSUM: that is how a
 * template with a UDP checksum over IPv6 gets it computed. Over IPv4 the outer UDP
 * checksum is 0. Decapsulation expects gso_type NONE; a request for the outer header is
 * dropped with it, one for the inner headers is kept when it is sound (else
 * DROP_RX_BAD_OFFLOAD + 1).
 */
int action_apply(const struct action *action, struct packet *packet);

#endif

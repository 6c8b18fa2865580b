/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_SEGMENT_H
#define FASTPATH_SEGMENT_H

/*
 * Work that a sender left open and a receiver cannot do, finished in software:
 * checksums, TCP and UDP segmentation, fragments for a smaller MTU. Any thread; a
 * packet belongs to one at a time. Nothing is allocated: finished pieces are on
 * the stack, and their payload stays where it is.
 */

#include "fastpath/drop.h"
#include "fastpath/packet.h"

/* The part of packet_check_offload() for packets that leave work open. */
int packet_check_requests(struct packet *packet);

/*
 * Checks what the sender of 'packet' asks for against the headers that
 * packet_parse() found. Returns 0 or DROP_RX_BAD_OFFLOAD + 1. To be called once on
 * receive; everything else relies on it.
 *
 * Refused are a checksum field that lies in a header that rules look at (but the checksum
 * of the transport header itself), for the receiver would rewrite what the rule has
 * matched; checksum requests for IP packets without a whole transport header and for
 * fragments; gso_type without NEEDS_CSUM, for another protocol or IP version than
 * the packet's, UDP fragmentation (PACKET_GSO_UDP) over IPv6, or ECN without TCP;
 * headers that do not lie in the head; a gso_size of 0 or one that makes more than
 * GSO_SEGMENTS_MAX segments.
 *
 * 'hdr_len', for the sender a mere hint, becomes right; DATA_VALID, which only a
 * device may say, and fields without meaning are cleared where work is left open.
 */
static inline int packet_check_offload(struct packet *packet)
{
    if (__builtin_expect(!(packet->offload.flags & PACKET_NEEDS_CSUM) && !packet->offload.gso_type, 1))
        return 0;
    return packet_check_requests(packet);
}

/*
 * Bytes that segmentation would add to 'packet', which has been checked: the headers of all segments (of UDP fragmentation:
 * fragments) but the first.
 */
static inline uint32_t packet_size_added(const struct packet *packet)
{
    const struct packet_offload *offload = &packet->offload;
    uint32_t header_size, n_segments;

    if (__builtin_expect(!offload->gso_type, 1))
        return 0;
    header_size = offload->gso_type == PACKET_GSO_UDP ? packet->l4_offset : offload->hdr_len;
    n_segments = (packet->size - header_size + offload->gso_size - 1) / offload->gso_size;
    return n_segments > 1 ? (n_segments - 1) * header_size : 0;
}

/*
 * Computes the checksum that NEEDS_CSUM asks for, over head, tail and more, into the
 * head, and clears the flag. A result of 0 becomes 0xffff, which is equal and which UDP needs.
 */
void packet_finish_checksum(struct packet *packet);

/*
 * Gets each finished piece, in order. Its head is private memory with
 * PACKET_HEADROOM bytes before it, to be changed at will, but valid during the call
 * only, as are its pieces' descriptions; the payload they point to is the original's tail
 * (or head) and as valid as that is. 'mbuf' is NULL: the original keeps it.
 * Returns whether to go on.
 */
typedef bool (*segment_sink)(struct packet *segment, void *argument);

/*
 * Cuts 'packet' (gso_type TCPV4, TCPV6 or UDP_L4) into frames of at most
 * gso_size bytes of payload each and gives them to 'sink'. Lengths, IPv4
 * identification, sequence numbers, flags (FIN and PSH on the last, CWR on the
 * first) and IP checksum are right in every one. 'keep_checksum': the
 * receiver completes transport checksums, so each segment keeps NEEDS_CSUM with a
 * correct pseudo-header sum; otherwise they are computed here. 'packet' is
 * unchanged afterwards. Returns 0 or a drop reason + 1 for the whole packet.
 * Semantics: Linux's tcp_gso_segment and __udp_gso_segment.
 */
int packet_segment_gso(const struct packet *packet, bool keep_checksum, segment_sink sink, void *argument);

/*
 * Cuts an IPv4 packet without DF, or with gso_type PACKET_GSO_UDP, into IP
 * fragments that fit 'mtu' (bytes behind the Ethernet and VLAN headers), RFC 791;
 * the transport checksum is finished first, and bytes behind the IP packet are left
 * out. A packet that fits goes to 'sink' as it is. Returns 0, or DROP_TX_MTU + 1
 * when the packet may not be fragmented, is of another gso_type, or would become more than
 * GSO_SEGMENTS_MAX fragments.
 */
int packet_fragment(struct packet *packet, uint32_t mtu, segment_sink sink, void *argument);

#endif

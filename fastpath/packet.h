/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_PACKET_H
#define FASTPATH_PACKET_H

/*
 * A packet under way through a worker. Its first 'head_size' bytes are private
 * memory of the fast path (a snapshot of a guest's header bytes, or an mbuf);
 * what follows, the tail, still lies with the sender and is read exactly once,
 * by the copy into the receiver. Every decision uses the head only, so a guest
 * that rewrites its buffer meanwhile cannot get past a rule.
 *
 *     frame = head[0 .. head_size)  ++  tail[0 .. tail_size)  ++  more[0 .. n_more)
 *
 * Actions change the head in place, and may move 'head' by up to
 * PACKET_HEADROOM bytes towards lower addresses (push VLAN, encapsulation).
 * A packet belongs to one worker from receive to release.
 */

#include <stdbool.h>
#include <stdint.h>

#include "fastpath/flow_key.h"
#include "lib/limits.h"

struct rte_mbuf;

/* A piece of a sender's memory that has been checked to lie inside it. */
struct packet_segment {
    const uint8_t *data;
    uint32_t size;
};

/*
 * Work that the sender left to the receiver: struct virtio_net_hdr of the
 * virtio specification 1.2, 5.1.6, in host order. Validated on receive:
 * with PACKET_NEEDS_CSUM, csum_start + csum_offset + 2 <= head_size; with a
 * gso_type, NEEDS_CSUM is set, gso_size > 0, and all headers that segmentation
 * has to repeat lie in the head.
 */
struct packet_offload {
    uint8_t flags;    /* PACKET_NEEDS_CSUM, PACKET_DATA_VALID */
    uint8_t gso_type; /* PACKET_GSO_* | PACKET_GSO_ECN */
    uint16_t hdr_len;
    uint16_t gso_size;
    uint16_t csum_start;
    uint16_t csum_offset;
};

#define PACKET_NEEDS_CSUM 1 /* values of VIRTIO_NET_HDR_F_* */
#define PACKET_DATA_VALID 2
#define PACKET_GSO_NONE 0 /* values of VIRTIO_NET_HDR_GSO_* */
#define PACKET_GSO_TCPV4 1
#define PACKET_GSO_UDP 3
#define PACKET_GSO_TCPV6 4
#define PACKET_GSO_UDP_L4 5
#define PACKET_GSO_ECN 0x80

struct packet {
    uint8_t *head;       /* first byte of the frame */
    const uint8_t *tail; /* first byte behind the head; unset when tail_size is 0 */
    uint32_t tail_size;  /* contiguous bytes at 'tail' */
    uint32_t size;       /* bytes of the whole frame */
    uint16_t head_size;  /* bytes at 'head' */
    uint8_t n_more;      /* further pieces, at 'more' */
    uint8_t l3_offset;   /* of the IP header in the head; 0: not IP */
    uint8_t l4_offset;   /* of the transport header; 0: none, or a later fragment */
    uint8_t headroom;    /* bytes free before 'head' */
    uint16_t in_port;    /* id of the port that it came in by */
    struct packet_offload offload;
    uint16_t slot; /* in its burst; the same for packets cut from it */
    const struct packet_segment *more;
    struct rte_mbuf *mbuf; /* holds the frame when it came from an ethdev; else NULL */
} __attribute__((aligned(64)));

static_assert(sizeof(struct packet) == 64, "a packet is one cache line");

/*
 * Reads the headers in the packet's head into 'key' and sets l3_offset and
 * l4_offset. Needs head_size >= 14. Never reads behind head_size; a header that
 * is cut short or inconsistent counts as absent (its key fields stay 0).
 */
void packet_parse(struct packet *packet, struct flow_key *key);

#endif

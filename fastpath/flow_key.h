/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTPATH_FLOW_KEY_H
#define FASTPATH_FLOW_KEY_H

#include <assert.h>
#include <stdint.h>
#include <string.h>

/*
 * What rules can match of a packet, one cache line. Multi-byte fields are as on
 * the wire (big endian). Fields that the packet does not have are 0, so that a
 * key is compared and hashed as 64 plain bytes under a mask of the same shape.
 * The input port is not here: each port has a flow table of its own.
 */
struct flow_key {
    uint8_t eth_dst[6];
    uint8_t eth_src[6];
    uint16_t eth_type;  /* behind the VLAN tags; for 802.3 frames (length < 0x600): 0x05ff */
    uint16_t vlan_tci;  /* outer tag's TCI | VLAN_PRESENT, 0 when untagged */
    uint8_t ip_src[16]; /* IPv6; IPv4 in the first 4 bytes */
    uint8_t ip_dst[16];
    uint8_t ip_proto; /* IPv6: behind the extension headers */
    uint8_t ip_tos;   /* TOS, or IPv6 traffic class */
    uint8_t ip_ttl;   /* TTL, or IPv6 hop limit */
    uint8_t ip_frag;  /* FLOW_FRAG_* */
    uint16_t l4_src;  /* TCP, UDP, SCTP port; ICMP type (in the low byte) */
    uint16_t l4_dst;  /* TCP, UDP, SCTP port; ICMP code (in the low byte) */
    uint8_t tcp_flags;
    uint8_t vlan_ad;    /* tags that are 802.1ad (0x88a8): VLAN_AD_* */
    uint16_t inner_tci; /* second tag's TCI | VLAN_PRESENT */
    uint32_t tunnel_id; /* VXLAN: VNI in the low 24 bits | TUNNEL_PRESENT, else 0 */
} __attribute__((aligned(64)));

static_assert(sizeof(struct flow_key) == 64, "a key is one cache line");

#define VLAN_PRESENT 0x1000 /* host order: the CFI bit's place, set for every tagged frame */
#define VLAN_AD_OUTER 1
#define VLAN_AD_INNER 2
#define TUNNEL_PRESENT 0x80000000u /* host order */
#define ETH_TYPE_802_3 0x05ff

#define FLOW_FRAG_ANY 1   /* a fragment */
#define FLOW_FRAG_LATER 2 /* ... and not the first: no ports */

/* A key as eight words, for code that masks, hashes and compares. */
typedef uint64_t flow_words __attribute__((vector_size(64), may_alias));

#endif

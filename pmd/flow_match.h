/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PMD_FLOW_MATCH_H
#define PMD_FLOW_MATCH_H

/*
 * What the items of a pattern say about a packet, put together, so that it can be written as matches, and so that actions
 * know which headers there are. A part of flow_translate.
 */

#include "pmd/flow_translate.h"

/* What is known of something that a packet may have. */
enum flow_presence { FLOW_MAYBE, FLOW_ABSENT, FLOW_PRESENT };

struct flow_tag {
    enum flow_presence presence;
    enum flow_presence service; /* it is 802.1ad (present), 802.1Q (absent) */
    uint16_t tci, tci_mask;     /* host order; 3 bits priority, 0, 12 bits identifier */
};

struct flow_match {
    uint8_t eth_dst[6], eth_dst_mask[6], eth_src[6], eth_src_mask[6];
    struct flow_tag tags[2];             /* outer, second */
    bool has_type;                       /* 'type' is matched exactly ... */
    uint16_t type;                       /* ... behind the tags, host order */
    unsigned ip_version;                 /* 0: not known to be IP */
    uint8_t ip_src[16], ip_src_mask[16]; /* 4 bytes for IPv4 */
    uint8_t ip_dst[16], ip_dst_mask[16];
    uint8_t proto, proto_mask, tos, tos_mask, ttl, ttl_mask;
    uint8_t fragment, fragment_mask; /* as in FIELD_IP_FRAG */
    /* The transport header: TCP, UDP, SCTP ports or ICMP type and code, network order. */
    uint8_t l4_src[2], l4_src_mask[2], l4_dst[2], l4_dst_mask[2];
    uint8_t tcp_flags, tcp_flags_mask;
    bool has_tunnel; /* VXLAN */
    uint8_t vni[4], vni_mask[4];
};

/* Reads the items up to END. Returns 0, or the refusal's code. */
int flow_match_read(const struct rte_flow_item items[], struct flow_match *match, struct flow_refusal *refusal);

/* Writes 'rule->matches'. */
void flow_match_write(const struct flow_match *match, struct wire_rule *rule);

/* The transport protocol, when it is matched exactly; else -1. */
int flow_match_protocol(const struct flow_match *match);

/* Reads the actions up to END into 'rule->actions'. 'match' says which headers the packets have. */
int flow_actions_read(const struct flow_place *place, const struct flow_match *match,
                      const struct rte_flow_action actions[], struct wire_rule *rule,
                      struct flow_refusal *refusal);

/* The headers of a VXLAN_ENCAP or RAW_ENCAP action as the action ENCAP_RAW. */
int flow_encapsulation_read(const struct rte_flow_action *action, struct wire_action *wire,
                            struct flow_refusal *refusal);

#endif

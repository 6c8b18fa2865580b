/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "pmd/flow_match.h"

/* The value and mask of 'size' bytes, unless nothing is masked. */
static void put(struct wire_rule *rule, enum wire_field field, const void *value, const void *mask, uint8_t size)
{
    static const uint8_t zeros[16];
    struct wire_match *match = &rule->matches[rule->n_matches];

    if (!memcmp(mask, zeros, size))
        return;
    match->field = field;
    match->size = size;
    memcpy(match->value, value, size);
    memcpy(match->mask, mask, size);
    rule->n_matches++;
}

static void put_number(struct wire_rule *rule, enum wire_field field, uint16_t value, uint16_t mask,
                       uint8_t size)
{
    uint8_t bytes[2] = {(uint8_t)(value >> 8), (uint8_t)value}, bits[2] = {(uint8_t)(mask >> 8), (uint8_t)mask};

    put(rule, field, bytes + 2 - size, bits + 2 - size, size);
}

static void put_presence(struct wire_rule *rule, enum wire_field field, enum flow_presence presence)
{
    put_number(rule, field, presence == FLOW_PRESENT, presence != FLOW_MAYBE, 1);
}

static void put_tags(const struct flow_match *match, struct wire_rule *rule)
{
    const struct flow_tag *outer = &match->tags[0], *inner = &match->tags[1];

    put_presence(rule, FIELD_VLAN_TAGGED, outer->presence);
    if (outer->presence != FLOW_PRESENT)
        return;
    put_number(rule, FIELD_VLAN_VID, outer->tci & 0xfff, outer->tci_mask & 0xfff, 2);
    put_number(rule, FIELD_VLAN_PCP, outer->tci >> 13, outer->tci_mask >> 13, 1);
    put_presence(rule, FIELD_VLAN_AD, outer->service);
    put_presence(rule, FIELD_INNER_TAGGED, inner->presence);
    if (inner->presence != FLOW_PRESENT)
        return;
    put_number(rule, FIELD_INNER_VID, inner->tci & 0xfff, inner->tci_mask & 0xfff, 2);
    put_number(rule, FIELD_INNER_PCP, inner->tci >> 13, inner->tci_mask >> 13, 1);
    put_presence(rule, FIELD_INNER_AD, inner->service);
}

static void put_transport(const struct flow_match *match, struct wire_rule *rule)
{
    int protocol = flow_match_protocol(match);

    if (protocol == (match->ip_version == 4 ? 1 : 58)) {
        put(rule, FIELD_ICMP_TYPE, match->l4_src + 1, match->l4_src_mask + 1, 1);
        put(rule, FIELD_ICMP_CODE, match->l4_dst + 1, match->l4_dst_mask + 1, 1);
    } else {
        put(rule, FIELD_L4_SRC, match->l4_src, match->l4_src_mask, 2);
        put(rule, FIELD_L4_DST, match->l4_dst, match->l4_dst_mask, 2);
        put(rule, FIELD_TCP_FLAGS, &match->tcp_flags, &match->tcp_flags_mask, 1);
    }
}

void flow_match_write(const struct flow_match *match, struct wire_rule *rule)
{
    uint8_t address_size = match->ip_version == 4 ? 4 : 16;

    rule->n_matches = 0;
    put(rule, FIELD_ETH_SRC, match->eth_src, match->eth_src_mask, 6);
    put(rule, FIELD_ETH_DST, match->eth_dst, match->eth_dst_mask, 6);
    put_number(rule, FIELD_ETH_TYPE, match->type, match->has_type ? UINT16_MAX : 0, 2);
    put_tags(match, rule);
    if (!match->ip_version)
        return;
    put(rule, FIELD_IP_SRC, match->ip_src, match->ip_src_mask, address_size);
    put(rule, FIELD_IP_DST, match->ip_dst, match->ip_dst_mask, address_size);
    put(rule, FIELD_IP_PROTO, &match->proto, &match->proto_mask, 1);
    put(rule, FIELD_TOS, &match->tos, &match->tos_mask, 1);
    put(rule, FIELD_TTL, &match->ttl, &match->ttl_mask, 1);
    put(rule, FIELD_IP_FRAG, &match->fragment, &match->fragment_mask, 1);
    put_transport(match, rule);
    if (match->has_tunnel) {
        struct wire_match *tunnel = &rule->matches[rule->n_matches++];

        /* With a mask of 0 it says that there is a tunnel. */
        *tunnel = (struct wire_match){.field = FIELD_TUNNEL_ID, .size = 4};
        memcpy(tunnel->value, match->vni, 4);
        memcpy(tunnel->mask, match->vni_mask, 4);
    }
}

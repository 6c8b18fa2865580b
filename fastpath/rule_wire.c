/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

#include "fastpath/control_internal.h"

#define ETH_TYPE_IPV4 0x0800
#define ETH_TYPE_IPV6 0x86dd

static uint32_t get_number(const uint8_t *bytes, unsigned size)
{
    uint32_t number = 0;

    for (unsigned i = 0; i < size; i++)
        number = number << 8 | bytes[i];
    return number;
}

/* Puts one match's value, or its mask, into the key of the same shape. */
static void put_field(struct flow_key *key, const struct wire_match *match, const uint8_t *bytes)
{
    uint32_t number = match->size <= 4 ? get_number(bytes, match->size) : 0;

    switch (match->field) {
    case FIELD_ETH_SRC: memcpy(key->eth_src, bytes, 6); break;
    case FIELD_ETH_DST: memcpy(key->eth_dst, bytes, 6); break;
    case FIELD_ETH_TYPE: key->eth_type = htons(number); break;
    case FIELD_VLAN_TAGGED: key->vlan_tci |= htons(number ? VLAN_PRESENT : 0); break;
    case FIELD_VLAN_VID: key->vlan_tci |= htons(number); break;
    case FIELD_VLAN_PCP: key->vlan_tci |= htons(number << 13); break;
    case FIELD_VLAN_AD: key->vlan_ad |= number ? VLAN_AD_OUTER : 0; break;
    case FIELD_INNER_TAGGED: key->inner_tci |= htons(number ? VLAN_PRESENT : 0); break;
    case FIELD_INNER_VID: key->inner_tci |= htons(number); break;
    case FIELD_INNER_AD: key->vlan_ad |= number ? VLAN_AD_INNER : 0; break;
    case FIELD_INNER_PCP: key->inner_tci |= htons(number << 13); break;
    case FIELD_IP_SRC: memcpy(key->ip_src, bytes, match->size); break;
    case FIELD_IP_DST: memcpy(key->ip_dst, bytes, match->size); break;
    case FIELD_IP_PROTO: key->ip_proto = number; break;
    case FIELD_TOS: key->ip_tos = number; break;
    case FIELD_TTL: key->ip_ttl = number; break;
    case FIELD_IP_FRAG: key->ip_frag = number; break;
    case FIELD_L4_SRC:
    case FIELD_ICMP_TYPE: key->l4_src = htons(number); break;
    case FIELD_L4_DST:
    case FIELD_ICMP_CODE: key->l4_dst = htons(number); break;
    case FIELD_TCP_FLAGS: key->tcp_flags = number; break;
    case FIELD_TUNNEL_ID: key->tunnel_id = htonl(number | TUNNEL_PRESENT); break;
    }
}

/* Sets of fields that only packets of some kind have. */
#define BIT(field) (1ull << (field))
#define ADDRESS_FIELDS (BIT(FIELD_IP_SRC) | BIT(FIELD_IP_DST))
#define IP_FIELDS \
    (ADDRESS_FIELDS | BIT(FIELD_IP_PROTO) | BIT(FIELD_TOS) | BIT(FIELD_TTL) | BIT(FIELD_IP_FRAG))
#define PORT_FIELDS (BIT(FIELD_L4_SRC) | BIT(FIELD_L4_DST))
#define ICMP_FIELDS (BIT(FIELD_ICMP_TYPE) | BIT(FIELD_ICMP_CODE))
#define OUTER_FIELDS (BIT(FIELD_VLAN_VID) | BIT(FIELD_VLAN_PCP) | BIT(FIELD_VLAN_AD))
#define INNER_FIELDS (BIT(FIELD_INNER_VID) | BIT(FIELD_INNER_PCP) | BIT(FIELD_INNER_AD))

static bool requires_proto(uint64_t fields, uint64_t those, bool holds)
{
    return !(fields & those) || holds;
}

/*
 * A field that a packet does not have is 0 in its key. So a rule has to say what
 * kind of packet it means, or a match on port 0 would catch all packets without ports.
 */
static int check_kind(const struct rule_spec *spec, uint64_t fields, uint8_t address_size, struct error *error)
{
    uint16_t type = spec->mask.eth_type == 0xffff ? ntohs(spec->key.eth_type) : 0;
    uint8_t proto = spec->mask.ip_proto == 0xff ? spec->key.ip_proto : 0;

    if (fields & IP_FIELDS && type != ETH_TYPE_IPV4 && type != ETH_TYPE_IPV6)
        return error_set(error, EINVAL, "A match on IP fields needs eth_type 0x0800 or 0x86dd, exactly.");
    if (fields & ADDRESS_FIELDS && type != (address_size == 4 ? ETH_TYPE_IPV4 : ETH_TYPE_IPV6))
        return error_set(error, EINVAL, "A match on an IPv%d address contradicts eth_type 0x%04x.",
                         address_size == 4 ? 4 : 6, type);
    if (!requires_proto(fields, BIT(FIELD_TCP_FLAGS), proto == IPPROTO_TCP))
        return error_set(error, EINVAL, "A match on tcp_flags needs ip_proto 6.");
    if (!requires_proto(fields, BIT(FIELD_TUNNEL_ID), proto == IPPROTO_UDP))
        return error_set(error, EINVAL, "A match on tunnel_id needs ip_proto 17.");
    if (!requires_proto(fields, PORT_FIELDS,
                        proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP))
        return error_set(error, EINVAL, "A match on ports needs ip_proto 6 (TCP), 17 (UDP) or 132 (SCTP).");
    if (!requires_proto(fields, ICMP_FIELDS, proto == (type == ETH_TYPE_IPV4 ? IPPROTO_ICMP : IPPROTO_ICMPV6)))
        return error_set(error, EINVAL, "A match on icmp_type or icmp_code needs ip_proto 1, or 58 with IPv6.");
    if (fields & OUTER_FIELDS && !(spec->key.vlan_tci & htons(VLAN_PRESENT)))
        return error_set(error, EINVAL, "A match on the VLAN tag needs vlan=1.");
    if (fields & INNER_FIELDS && !(spec->key.inner_tci & htons(VLAN_PRESENT)))
        return error_set(error, EINVAL, "A match on the second VLAN tag needs inner_vlan=1.");
    return 0;
}

static int put_matches(const struct wire_rule *wire, struct rule_spec *spec, struct error *error)
{
    uint8_t address_size = 0;
    uint64_t fields = 0;

    memset(&spec->key, 0, sizeof spec->key);
    memset(&spec->mask, 0, sizeof spec->mask);
    for (unsigned i = 0; i < wire->n_matches; i++) {
        const struct wire_match *match = &wire->matches[i];

        fields |= BIT(match->field);
        if (BIT(match->field) & ADDRESS_FIELDS) {
            if (address_size && address_size != match->size)
                return error_set(error, EINVAL, "One address of the rule is IPv4, the other IPv6.");
            address_size = match->size;
        }
        put_field(&spec->key, match, match->value);
        put_field(&spec->mask, match, match->mask);
    }
    return check_kind(spec, fields, address_size, error);
}

static const struct {
    uint8_t wire, type;
    uint8_t address_size; /* where two actions share a name */
} action_types[] = {
    {WIRE_ACTION_OUTPUT, ACTION_OUTPUT, 0},
    {WIRE_ACTION_DROP, ACTION_DROP, 0},
    {WIRE_ACTION_SET_ETH_SRC, ACTION_SET_ETH_SRC, 0},
    {WIRE_ACTION_SET_ETH_DST, ACTION_SET_ETH_DST, 0},
    {WIRE_ACTION_SET_IP_SRC, ACTION_SET_IPV4_SRC, 4},
    {WIRE_ACTION_SET_IP_SRC, ACTION_SET_IPV6_SRC, 16},
    {WIRE_ACTION_SET_IP_DST, ACTION_SET_IPV4_DST, 4},
    {WIRE_ACTION_SET_IP_DST, ACTION_SET_IPV6_DST, 16},
    {WIRE_ACTION_SET_TTL, ACTION_SET_TTL, 0},
    {WIRE_ACTION_DEC_TTL, ACTION_DEC_TTL, 0},
    {WIRE_ACTION_SET_TOS, ACTION_SET_TOS, 0},
    {WIRE_ACTION_SET_L4_SRC, ACTION_SET_L4_SRC, 0},
    {WIRE_ACTION_SET_L4_DST, ACTION_SET_L4_DST, 0},
    {WIRE_ACTION_SET_VLAN_VID, ACTION_SET_VLAN_VID, 0},
    {WIRE_ACTION_SET_VLAN_PCP, ACTION_SET_VLAN_PCP, 0},
    {WIRE_ACTION_PUSH_VLAN, ACTION_PUSH_VLAN, 0},
    {WIRE_ACTION_POP_VLAN, ACTION_POP_VLAN, 0},
    {WIRE_ACTION_ENCAP_RAW, ACTION_ENCAP_RAW, 0},
    {WIRE_ACTION_DECAP_VXLAN, ACTION_DECAP_VXLAN, 0},
};

#define N_ACTION_TYPES (sizeof action_types / sizeof *action_types)

static int put_action(const struct wire_action *wire, struct action *action, struct error *error)
{
    const struct wire_item *item = wire_action(wire->type);
    unsigned i = 0;

    while (action_types[i].wire != wire->type ||
           (action_types[i].address_size && action_types[i].address_size != wire->size))
        i++;
    *action = (struct action){.type = action_types[i].type};
    switch (item->kind) {
    case VALUE_PORT: action->port = wire_action_port(wire); break;
    case VALUE_MAC: memcpy(action->eth, wire->operand, 6); break;
    case VALUE_ADDRESS: memcpy(action->ip, wire->operand, wire->size); break;
    case VALUE_BYTES:
        /* The table copies it. */
        action->raw = (uint8_t *)(uintptr_t)wire->operand;
        action->raw_size = wire->size;
        break;
    default:
        if (wire->size == 1)
            action->byte = wire->operand[0];
        else if (wire->size == 2)
            memcpy(&action->be16, wire->operand, 2);
    }
    if (action->type == ACTION_PUSH_VLAN && action->be16 != htons(0x8100) && action->be16 != htons(0x88a8))
        return error_set(error, EINVAL, "push_vlan takes 0x8100 or 0x88a8.");
    if (action->type == ACTION_ENCAP_RAW && action->raw_size < 14)
        return error_set(error, EINVAL, "encap_raw needs at least the 14 bytes of an Ethernet header.");
    return 0;
}

int rule_from_wire(const struct wire_rule *wire, struct rule_spec *spec, struct error *error)
{
    int result;

    spec->id = wire->id;
    spec->in_port = wire->in_port;
    spec->priority = wire->priority;
    spec->onload = wire->flags & WIRE_RULE_ONLOAD;
    spec->n_actions = wire->n_actions;
    result = put_matches(wire, spec, error);
    for (unsigned i = 0; i < wire->n_actions && !result; i++)
        result = put_action(&wire->actions[i], &spec->actions[i], error);
    if (!result && !wire->n_actions && !spec->onload)
        result = error_set(error, EINVAL, "The rule has no action; the action drop drops packets.");
    return result;
}

static void put_bytes(struct wire_rule *wire, unsigned field, const void *value, const void *mask, uint8_t size)
{
    struct wire_match *match = &wire->matches[wire->n_matches++];

    match->field = field;
    match->size = size;
    memcpy(match->value, value, size);
    memcpy(match->mask, mask, size);
}

/* The mask and value of 'size' bytes in the keys, as a match, unless nothing is masked. */
static void get_bytes(struct wire_rule *wire, unsigned field, const void *value, const void *mask, uint8_t size)
{
    static const uint8_t zeros[16];

    if (memcmp(mask, zeros, size))
        put_bytes(wire, field, value, mask, size);
}

static void put_match(struct wire_rule *wire, unsigned field, uint32_t value, uint32_t mask)
{
    uint8_t size = wire_field(field)->size, value_bytes[4], mask_bytes[4];

    for (unsigned i = size; i-- > 0; value >>= 8, mask >>= 8) {
        value_bytes[i] = value;
        mask_bytes[i] = mask;
    }
    put_bytes(wire, field, value_bytes, mask_bytes, size);
}

static void get_number_field(struct wire_rule *wire, unsigned field, uint32_t value, uint32_t mask)
{
    if (mask)
        put_match(wire, field, value, mask);
}

static void get_tag(struct wire_rule *wire, unsigned tagged, unsigned vid, unsigned pcp, uint16_t tci,
                    uint16_t mask)
{
    get_number_field(wire, tagged, !!(tci & VLAN_PRESENT), !!(mask & VLAN_PRESENT));
    get_number_field(wire, vid, tci & 0xfff, mask & 0xfff);
    get_number_field(wire, pcp, tci >> 13, mask >> 13);
}

void rule_key_to_wire(const struct flow_key *key, const struct flow_key *mask, struct wire_rule *wire)
{
    bool ipv6 = key->eth_type == htons(ETH_TYPE_IPV6);
    bool icmp = mask->ip_proto == 0xff && key->ip_proto == (ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);

    wire->n_matches = 0;
    get_bytes(wire, FIELD_ETH_SRC, key->eth_src, mask->eth_src, 6);
    get_bytes(wire, FIELD_ETH_DST, key->eth_dst, mask->eth_dst, 6);
    get_tag(wire, FIELD_VLAN_TAGGED, FIELD_VLAN_VID, FIELD_VLAN_PCP, ntohs(key->vlan_tci),
            ntohs(mask->vlan_tci));
    get_number_field(wire, FIELD_VLAN_AD, key->vlan_ad & VLAN_AD_OUTER, mask->vlan_ad & VLAN_AD_OUTER);
    get_tag(wire, FIELD_INNER_TAGGED, FIELD_INNER_VID, FIELD_INNER_PCP, ntohs(key->inner_tci),
            ntohs(mask->inner_tci));
    get_number_field(wire, FIELD_INNER_AD, (key->vlan_ad & VLAN_AD_INNER) != 0,
                     (mask->vlan_ad & VLAN_AD_INNER) != 0);
    get_number_field(wire, FIELD_ETH_TYPE, ntohs(key->eth_type), ntohs(mask->eth_type));
    get_bytes(wire, FIELD_IP_SRC, key->ip_src, mask->ip_src, ipv6 ? 16 : 4);
    get_bytes(wire, FIELD_IP_DST, key->ip_dst, mask->ip_dst, ipv6 ? 16 : 4);
    get_number_field(wire, FIELD_IP_PROTO, key->ip_proto, mask->ip_proto);
    get_number_field(wire, FIELD_TOS, key->ip_tos, mask->ip_tos);
    get_number_field(wire, FIELD_TTL, key->ip_ttl, mask->ip_ttl);
    get_number_field(wire, FIELD_IP_FRAG, key->ip_frag & 3, mask->ip_frag & 3);
    get_number_field(wire, icmp ? FIELD_ICMP_TYPE : FIELD_L4_SRC, ntohs(key->l4_src), ntohs(mask->l4_src));
    get_number_field(wire, icmp ? FIELD_ICMP_CODE : FIELD_L4_DST, ntohs(key->l4_dst), ntohs(mask->l4_dst));
    get_number_field(wire, FIELD_TCP_FLAGS, key->tcp_flags, mask->tcp_flags);
    /* With a mask of 0 the field says that there is a tunnel. */
    if (mask->tunnel_id)
        put_match(wire, FIELD_TUNNEL_ID, ntohl(key->tunnel_id) & ~TUNNEL_PRESENT,
                  ntohl(mask->tunnel_id) & ~TUNNEL_PRESENT);
}

void action_to_wire(const struct action *action, struct wire_action *wire)
{
    const struct wire_item *item;
    unsigned i = 0;

    while (action_types[i].type != action->type)
        i++;
    item = wire_action(action_types[i].wire);
    wire->type = action_types[i].wire;
    wire->size = action_types[i].address_size ? action_types[i].address_size : item->size;
    switch (item->kind) {
    case VALUE_PORT: wire_action_set_port(wire, action->port); break;
    case VALUE_MAC: memcpy(wire->operand, action->eth, 6); break;
    case VALUE_ADDRESS: memcpy(wire->operand, action->ip, wire->size); break;
    case VALUE_BYTES:
        wire->size = action->raw_size;
        memcpy(wire->operand, action->raw, action->raw_size);
        break;
    default:
        if (wire->size == 1)
            wire->operand[0] = action->byte;
        else if (wire->size == 2)
            memcpy(wire->operand, &action->be16, 2);
    }
}

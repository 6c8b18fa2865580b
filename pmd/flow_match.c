/* SPDX-License-Identifier: Apache-2.0 */
#include "pmd/flow_match.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <rte_ip.h>
#include <string.h>

#define TYPE_IPV4 0x0800
#define TYPE_VLAN 0x8100
#define TYPE_IPV6 0x86dd
#define TYPE_VLAN_AD 0x88a8
#define TYPE_FIRST 0x0600 /* smaller ones are the length of an 802.3 frame */
#define VXLAN_PORT 4789

#define TCI_DEI 0x1000

#define FRAGMENT_ANY 1 /* bits of FIELD_IP_FRAG */
#define FRAGMENT_LATER 2
#define FRAGMENT_MASK 3

/* How far into a packet the items have come; the next one has to lie further in. */
enum layer {
    LAYER_NONE,
    LAYER_ETH,
    LAYER_VLAN,
    LAYER_SECOND_VLAN,
    LAYER_IP,
    LAYER_EXTENSION,
    LAYER_TRANSPORT,
    LAYER_TUNNEL
};

/* Of the type field of the Ethernet header or tag read last: what of the next header is known. */
struct next_header {
    bool has_type;
    uint16_t type; /* host order */
    enum flow_presence tag;
};

struct reading {
    struct flow_match *match;
    struct flow_refusal *refusal;
    const struct rte_flow_item *item; /* the one that is read */
    enum layer layer;
    unsigned n_tags;
    struct next_header next;
};

static int refuse_as(struct reading *reading, enum rte_flow_error_type type, const char *sentence)
{
    return flow_refuse(reading->refusal, FLOW_REFUSED_MATCH, ENOTSUP, type, reading->item, sentence);
}

/* The item as a whole is the reason. */
static int refuse(struct reading *reading, const char *sentence)
{
    return refuse_as(reading, RTE_FLOW_ERROR_TYPE_ITEM, sentence);
}

static int refuse_mask(struct reading *reading, const char *sentence)
{
    return refuse_as(reading, RTE_FLOW_ERROR_TYPE_ITEM_MASK, sentence);
}

static bool is_zero(const void *bytes, size_t size)
{
    const uint8_t *byte = bytes;

    while (size && !*byte) {
        byte++;
        size--;
    }
    return !size;
}

/* A value under its mask; both have 'size' bytes. */
static void take(void *value_to, void *mask_to, const void *value, const void *mask, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        ((uint8_t *)mask_to)[i] = ((const uint8_t *)mask)[i];
        ((uint8_t *)value_to)[i] = ((const uint8_t *)value)[i] & ((const uint8_t *)mask)[i];
    }
}

static int take_type(struct reading *reading, rte_be16_t type, rte_be16_t mask)
{
    reading->next.has_type = mask == UINT16_MAX;
    reading->next.type = ntohs(type);
    return mask && mask != UINT16_MAX
               ? refuse_mask(reading, "An Ethernet type is matched as a whole or not at all")
               : 0;
}

static int read_eth(struct reading *reading, const void *spec, const void *mask)
{
    const struct rte_flow_item_eth *value = spec, *bits = mask;
    struct flow_match *match = reading->match;

    take(match->eth_dst, match->eth_dst_mask, &value->hdr.dst_addr, &bits->hdr.dst_addr, 6);
    take(match->eth_src, match->eth_src_mask, &value->hdr.src_addr, &bits->hdr.src_addr, 6);
    if (bits->has_vlan)
        reading->next.tag = value->has_vlan ? FLOW_PRESENT : FLOW_ABSENT;
    return take_type(reading, value->hdr.ether_type, bits->hdr.ether_type);
}

static bool is_tag_type(uint16_t type)
{
    return type == TYPE_VLAN || type == TYPE_VLAN_AD;
}

/* There is a tag, so the type before it was the tag's kind. */
static int enter_tag(struct reading *reading)
{
    struct flow_tag *tag = &reading->match->tags[reading->n_tags];

    if (reading->next.tag == FLOW_ABSENT)
        return refuse(reading, "The item before says that there is no VLAN tag");
    if (reading->next.has_type) {
        if (!is_tag_type(reading->next.type))
            return refuse(reading, "VLAN tags are those of types 0x8100 and 0x88a8");
        tag->service = reading->next.type == TYPE_VLAN_AD ? FLOW_PRESENT : FLOW_ABSENT;
    }
    tag->presence = FLOW_PRESENT;
    reading->n_tags++;
    reading->next = (struct next_header){0};
    return 0;
}

static int read_vlan(struct reading *reading, const void *spec, const void *mask)
{
    const struct rte_flow_item_vlan *value = spec, *bits = mask;
    struct flow_tag *tag = &reading->match->tags[reading->n_tags - 1];

    tag->tci_mask = ntohs(bits->hdr.vlan_tci);
    tag->tci = ntohs(value->hdr.vlan_tci) & tag->tci_mask;
    if (tag->tci_mask & TCI_DEI)
        return refuse_mask(reading, "The drop eligible bit of a VLAN tag cannot be matched");
    if (bits->has_more_vlan && reading->n_tags == 2)
        return refuse_mask(reading, "What follows the second VLAN tag is matched by its type only");
    if (bits->has_more_vlan)
        reading->next.tag = value->has_more_vlan ? FLOW_PRESENT : FLOW_ABSENT;
    return take_type(reading, value->hdr.eth_proto, bits->hdr.eth_proto);
}

/*
 * What the last Ethernet type says when no VLAN item follows. A type that is no tag's means that there is no (further)
 * tag; a tag's type says that there is one. Behind the second tag each type is one like others: no further tag is looked into.
 */
static int leave_ethernet(struct reading *reading)
{
    const struct next_header *next = &reading->next;
    struct flow_match *match = reading->match;
    enum flow_presence present = next->tag;

    if (next->has_type && reading->n_tags < 2 && is_tag_type(next->type)) {
        if (present == FLOW_ABSENT)
            return refuse(reading, "A VLAN tag's Ethernet type and no VLAN tag contradict each other");
        match->tags[reading->n_tags].service = next->type == TYPE_VLAN_AD ? FLOW_PRESENT : FLOW_ABSENT;
        present = FLOW_PRESENT;
    } else if (next->has_type) {
        if (next->type < TYPE_FIRST)
            return refuse(reading, "802.3 frames (Ethernet type under 0x0600) cannot be told apart");
        if (present == FLOW_PRESENT)
            return refuse(reading, "An Ethernet type is that behind the VLAN tags: a VLAN item has to follow");
        match->has_type = true;
        match->type = next->type;
        present = FLOW_ABSENT;
    }
    if (reading->n_tags < 2)
        match->tags[reading->n_tags].presence = present;
    reading->next = (struct next_header){0};
    return 0;
}

/* An IP item follows: it is as if the type before had said so. */
static int enter_ip(struct reading *reading, unsigned version, uint16_t type)
{
    struct next_header *next = &reading->next;

    if (next->has_type && next->type != type)
        return refuse(reading, "The Ethernet type before says something else");
    next->has_type = true;
    next->type = type;
    reading->match->ip_version = version;
    return leave_ethernet(reading);
}

/*
 * Which fragments are meant by a field with an offset ('offset_mask', of which 'unit' is the lowest bit)
 * and a bit for more fragments. 'last' is the end of a range, or 0: none.
 */
static bool read_fragment(struct flow_match *match, uint16_t value, uint16_t mask, uint16_t last,
                          uint16_t offset_mask, uint16_t more)
{
    uint16_t unit = offset_mask & (~offset_mask + 1);

    if (!mask)
        return !last;
    match->fragment_mask = FRAGMENT_MASK;
    if (mask == offset_mask && last) {
        /* Open vSwitch 3.1 to 3.7 write the first offset of IPv4, 1, as 8; the last one is all ones. */
        match->fragment = FRAGMENT_ANY | FRAGMENT_LATER;
        return (value == unit || value == 8) && last == offset_mask;
    }
    if (mask == offset_mask) {
        match->fragment = 0;
        match->fragment_mask = FRAGMENT_LATER;
        return !(value & mask);
    }
    match->fragment = value & more ? FRAGMENT_ANY : 0;
    match->fragment_mask = value & more ? FRAGMENT_MASK : FRAGMENT_ANY;
    return mask == (offset_mask | more) && !last && !(value & offset_mask);
}

static int read_ipv4(struct reading *reading, const void *spec, const void *mask)
{
    const struct rte_flow_item_ipv4 *value = spec, *bits = mask, *last = reading->item->last;
    struct flow_match *match = reading->match;
    struct rte_ipv4_hdr rest = bits->hdr;

    take(match->ip_src, match->ip_src_mask, &value->hdr.src_addr, &bits->hdr.src_addr, 4);
    take(match->ip_dst, match->ip_dst_mask, &value->hdr.dst_addr, &bits->hdr.dst_addr, 4);
    take(&match->proto, &match->proto_mask, &value->hdr.next_proto_id, &bits->hdr.next_proto_id, 1);
    take(&match->tos, &match->tos_mask, &value->hdr.type_of_service, &bits->hdr.type_of_service, 1);
    take(&match->ttl, &match->ttl_mask, &value->hdr.time_to_live, &bits->hdr.time_to_live, 1);
    if (!read_fragment(match, ntohs(value->hdr.fragment_offset), ntohs(bits->hdr.fragment_offset),
                       last ? ntohs(last->hdr.fragment_offset) : 0, RTE_IPV4_HDR_OFFSET_MASK,
                       RTE_IPV4_HDR_MF_FLAG))
        return refuse(reading, "Of IPv4 fragments only none, any first and any later one can be matched");
    rest.src_addr = rest.dst_addr = 0;
    rest.next_proto_id = rest.type_of_service = rest.time_to_live = 0;
    rest.fragment_offset = 0;
    return is_zero(&rest, sizeof rest)
               ? 0
               : refuse_mask(reading, "That field of the IPv4 header cannot be matched");
}

static int read_ipv6(struct reading *reading, const void *spec, const void *mask)
{
    const struct rte_flow_item_ipv6 *value = spec, *bits = mask;
    struct flow_match *match = reading->match;
    struct rte_flow_item_ipv6 rest = *bits;
    uint8_t class_value = (uint8_t)(ntohl(value->hdr.vtc_flow) >> RTE_IPV6_HDR_TC_SHIFT);
    uint8_t class_mask = (uint8_t)(ntohl(bits->hdr.vtc_flow) >> RTE_IPV6_HDR_TC_SHIFT);

    take(match->ip_src, match->ip_src_mask, &value->hdr.src_addr, &bits->hdr.src_addr, 16);
    take(match->ip_dst, match->ip_dst_mask, &value->hdr.dst_addr, &bits->hdr.dst_addr, 16);
    take(&match->proto, &match->proto_mask, &value->hdr.proto, &bits->hdr.proto, 1);
    take(&match->ttl, &match->ttl_mask, &value->hdr.hop_limits, &bits->hdr.hop_limits, 1);
    take(&match->tos, &match->tos_mask, &class_value, &class_mask, 1);
    if (bits->has_frag_ext) {
        /* A fragment header alone does not make a fragment (RFC 6946), neither here nor for Open vSwitch. */
        match->fragment = value->has_frag_ext ? FRAGMENT_ANY : 0;
        match->fragment_mask = FRAGMENT_ANY;
    }
    memset(&rest.hdr.src_addr, 0, 16);
    memset(&rest.hdr.dst_addr, 0, 16);
    rest.hdr.proto = rest.hdr.hop_limits = 0;
    rest.hdr.vtc_flow &= ~htonl(RTE_IPV6_HDR_TC_MASK);
    rest.has_frag_ext = 0;
    return is_zero(&rest, sizeof rest)
               ? 0
               : refuse_mask(reading, "That field of the IPv6 header cannot be matched");
}

static int read_fragment_header(struct reading *reading, const void *spec, const void *mask)
{
    const struct rte_flow_item_ipv6_frag_ext *value = spec, *bits = mask, *last = reading->item->last;
    struct flow_match *match = reading->match;

    if (bits->hdr.next_header)
        take(&match->proto, &match->proto_mask, &value->hdr.next_header, &bits->hdr.next_header, 1);
    if (bits->hdr.reserved || bits->hdr.id)
        return refuse_mask(reading, "That field of the IPv6 fragment header cannot be matched");
    if (!bits->hdr.frag_data)
        return 0;
    if (!read_fragment(match, ntohs(value->hdr.frag_data), ntohs(bits->hdr.frag_data),
                       last ? ntohs(last->hdr.frag_data) : 0, RTE_IPV6_EHDR_FO_MASK, RTE_IPV6_EHDR_MF_MASK) ||
        !match->fragment)
        return refuse(reading, "Of IPv6 fragments only any first and any later one can be matched");
    return 0;
}

/* A transport header follows, so the IP header says so, in a packet that has it: not a later fragment. */
static int enter_transport(struct reading *reading, uint8_t proto)
{
    struct flow_match *match = reading->match;

    if (!match->ip_version)
        return refuse(reading, "An IPv4 or IPv6 item has to come first");
    if ((proto & match->proto_mask) != match->proto)
        return refuse(reading, "The IP protocol before says something else");
    match->proto = proto;
    match->proto_mask = UINT8_MAX;
    if (!match->fragment_mask)
        match->fragment_mask = FRAGMENT_LATER;
    return 0;
}

/* Ports are where all three headers have them. */
static void read_ports(struct flow_match *match, const void *src, const void *src_mask, const void *dst,
                       const void *dst_mask)
{
    take(match->l4_src, match->l4_src_mask, src, src_mask, 2);
    take(match->l4_dst, match->l4_dst_mask, dst, dst_mask, 2);
}

static int read_tcp(struct reading *reading, const void *spec, const void *mask)
{
    const struct rte_flow_item_tcp *value = spec, *bits = mask;
    struct rte_tcp_hdr rest = bits->hdr;

    read_ports(reading->match, &value->hdr.src_port, &bits->hdr.src_port, &value->hdr.dst_port,
               &bits->hdr.dst_port);
    take(&reading->match->tcp_flags, &reading->match->tcp_flags_mask, &value->hdr.tcp_flags,
         &bits->hdr.tcp_flags, 1);
    rest.src_port = rest.dst_port = 0;
    rest.tcp_flags = 0;
    return is_zero(&rest, sizeof rest)
               ? 0
               : refuse_mask(reading, "Of the TCP header ports and the lower 8 flags can be matched");
}

static int read_udp(struct reading *reading, const void *spec, const void *mask)
{
    const struct rte_flow_item_udp *value = spec, *bits = mask;
    struct rte_udp_hdr rest = bits->hdr;

    read_ports(reading->match, &value->hdr.src_port, &bits->hdr.src_port, &value->hdr.dst_port,
               &bits->hdr.dst_port);
    rest.src_port = rest.dst_port = 0;
    return is_zero(&rest, sizeof rest) ? 0 : refuse_mask(reading, "Of the UDP header ports can be matched");
}

static int read_sctp(struct reading *reading, const void *spec, const void *mask)
{
    const struct rte_flow_item_sctp *value = spec, *bits = mask;
    struct rte_sctp_hdr rest = bits->hdr;

    read_ports(reading->match, &value->hdr.src_port, &bits->hdr.src_port, &value->hdr.dst_port,
               &bits->hdr.dst_port);
    rest.src_port = rest.dst_port = 0;
    return is_zero(&rest, sizeof rest) ? 0 : refuse_mask(reading, "Of the SCTP header ports can be matched");
}

/* Type and code stand where the ports do, in the low byte. */
static void read_type_and_code(struct flow_match *match, uint8_t type, uint8_t type_mask, uint8_t code,
                               uint8_t code_mask)
{
    take(&match->l4_src[1], &match->l4_src_mask[1], &type, &type_mask, 1);
    take(&match->l4_dst[1], &match->l4_dst_mask[1], &code, &code_mask, 1);
}

static int read_icmp(struct reading *reading, const void *spec, const void *mask)
{
    const struct rte_flow_item_icmp *value = spec, *bits = mask;
    struct rte_icmp_hdr rest = bits->hdr;

    /* Open vSwitch has this item also for protocol 1 over IPv6, which has no ICMP header. */
    if (reading->match->ip_version == 6 && !is_zero(bits, sizeof *bits))
        return refuse_mask(reading, "There is no ICMP header for IPv4 behind IPv6");
    read_type_and_code(reading->match, value->hdr.icmp_type, bits->hdr.icmp_type, value->hdr.icmp_code,
                       bits->hdr.icmp_code);
    rest.icmp_type = rest.icmp_code = 0;
    return is_zero(&rest, sizeof rest)
               ? 0
               : refuse_mask(reading, "Of the ICMP header type and code can be matched");
}

static int read_icmp6(struct reading *reading, const void *spec, const void *mask)
{
    const struct rte_flow_item_icmp6 *value = spec, *bits = mask;

    if (reading->match->ip_version == 4 && !is_zero(bits, sizeof *bits))
        return refuse_mask(reading, "There is no ICMPv6 header behind IPv4");
    read_type_and_code(reading->match, value->type, bits->type, value->code, bits->code);
    return bits->checksum ? refuse_mask(reading, "Of the ICMPv6 header type and code can be matched") : 0;
}

static int enter_vxlan(struct reading *reading)
{
    struct flow_match *match = reading->match;
    uint16_t port = htons(VXLAN_PORT);

    if (reading->layer != LAYER_TRANSPORT || match->proto != IPPROTO_UDP)
        return refuse(reading, "A UDP item has to come first");
    for (unsigned i = 0; i < 2; i++)
        if ((((const uint8_t *)&port)[i] ^ match->l4_dst[i]) & match->l4_dst_mask[i])
            return refuse(reading, "VXLAN is known by the UDP port 4789 only");
    match->has_tunnel = true;
    return 0;
}

static int read_vxlan(struct reading *reading, const void *spec, const void *mask)
{
    const struct rte_flow_item_vxlan *value = spec, *bits = mask;
    struct rte_flow_item_vxlan rest = *bits;

    take(reading->match->vni + 1, reading->match->vni_mask + 1, value->vni, bits->vni, 3);
    memset(rest.vni, 0, sizeof rest.vni);
    return is_zero(&rest, sizeof rest)
               ? 0
               : refuse_mask(reading, "Of the VXLAN header the network identifier can be matched");
}

/* DPDK has no default mask for this item before 23.11. */
static const struct rte_flow_item_ipv6_frag_ext no_mask;

/* What is read of an item; the default mask is for an item with a value, but without a mask. */
static const struct item_kind {
    enum rte_flow_item_type type;
    enum layer layer;
    const void *default_mask;
    int (*read)(struct reading *reading, const void *spec, const void *mask);
    bool may_have_range;
    uint8_t proto; /* of a transport header */
} item_kinds[] = {
    {RTE_FLOW_ITEM_TYPE_ETH, LAYER_ETH, &rte_flow_item_eth_mask, read_eth, false, 0},
    {RTE_FLOW_ITEM_TYPE_VLAN, LAYER_VLAN, &rte_flow_item_vlan_mask, read_vlan, false, 0},
    {RTE_FLOW_ITEM_TYPE_IPV4, LAYER_IP, &rte_flow_item_ipv4_mask, read_ipv4, true, 0},
    {RTE_FLOW_ITEM_TYPE_IPV6, LAYER_IP, &rte_flow_item_ipv6_mask, read_ipv6, false, 0},
    {RTE_FLOW_ITEM_TYPE_IPV6_FRAG_EXT, LAYER_EXTENSION, &no_mask, read_fragment_header, true, 0},
    {RTE_FLOW_ITEM_TYPE_TCP, LAYER_TRANSPORT, &rte_flow_item_tcp_mask, read_tcp, false, IPPROTO_TCP},
    {RTE_FLOW_ITEM_TYPE_UDP, LAYER_TRANSPORT, &rte_flow_item_udp_mask, read_udp, false, IPPROTO_UDP},
    {RTE_FLOW_ITEM_TYPE_SCTP, LAYER_TRANSPORT, &rte_flow_item_sctp_mask, read_sctp, false, IPPROTO_SCTP},
    {RTE_FLOW_ITEM_TYPE_ICMP, LAYER_TRANSPORT, &rte_flow_item_icmp_mask, read_icmp, false, IPPROTO_ICMP},
    {RTE_FLOW_ITEM_TYPE_ICMP6, LAYER_TRANSPORT, &rte_flow_item_icmp6_mask, read_icmp6, false, IPPROTO_ICMPV6},
    {RTE_FLOW_ITEM_TYPE_VXLAN, LAYER_TUNNEL, &rte_flow_item_vxlan_mask, read_vxlan, false, 0},
};

static const struct item_kind *find_kind(enum rte_flow_item_type type)
{
    for (unsigned i = 0; i < sizeof item_kinds / sizeof *item_kinds; i++)
        if (item_kinds[i].type == type)
            return &item_kinds[i];
    return NULL;
}

/* That the item is there says something already, whatever of it is matched. */
static int enter(struct reading *reading, const struct item_kind *kind)
{
    enum layer layer =
        kind->layer == LAYER_VLAN && reading->layer == LAYER_VLAN ? LAYER_SECOND_VLAN : kind->layer;
    int result = 0;

    if (layer <= reading->layer)
        return refuse(reading, reading->layer == LAYER_TUNNEL
                                   ? "Packets inside a tunnel cannot be matched"
                                   : "The item lies further out than the one before");
    switch (layer) {
    case LAYER_VLAN:
    case LAYER_SECOND_VLAN: result = enter_tag(reading); break;
    case LAYER_IP:
        result = kind->type == RTE_FLOW_ITEM_TYPE_IPV4 ? enter_ip(reading, 4, TYPE_IPV4)
                                                       : enter_ip(reading, 6, TYPE_IPV6);
        break;
    case LAYER_EXTENSION:
        if (reading->match->ip_version != 6)
            return refuse(reading, "An IPv6 item has to come first");
        if (reading->match->fragment_mask && !reading->match->fragment)
            return refuse(reading, "The IPv6 item says that there is no fragment header");
        reading->match->fragment = reading->match->fragment_mask = FRAGMENT_ANY;
        break;
    case LAYER_TRANSPORT: result = enter_transport(reading, kind->proto); break;
    case LAYER_TUNNEL: result = enter_vxlan(reading); break;
    default: break;
    }
    reading->layer = layer;
    return result;
}

static int read_item(struct reading *reading)
{
    const struct rte_flow_item *item = reading->item;
    const struct item_kind *kind = find_kind(item->type);
    int result;

    if (!kind)
        return refuse(reading, "The fast path cannot match such an item");
    if (!item->spec && (item->mask || item->last))
        return refuse_as(reading, RTE_FLOW_ERROR_TYPE_ITEM_SPEC,
                         "An item without a value can have neither mask nor range");
    if (item->last && !kind->may_have_range)
        return refuse_as(reading, RTE_FLOW_ERROR_TYPE_ITEM_LAST, "Ranges cannot be matched");
    result = enter(reading, kind);
    if (!result && item->spec)
        result = kind->read(reading, item->spec, item->mask ? item->mask : kind->default_mask);
    return result;
}

int flow_match_read(const struct rte_flow_item items[], struct flow_match *match, struct flow_refusal *refusal)
{
    struct reading reading = {.match = match, .refusal = refusal};
    int result = 0;

    *match = (struct flow_match){0};
    for (reading.item = items; !result && reading.item->type != RTE_FLOW_ITEM_TYPE_END; reading.item++)
        if (reading.item->type != RTE_FLOW_ITEM_TYPE_VOID)
            result = read_item(&reading);
    if (!result && reading.layer < LAYER_IP)
        result = leave_ethernet(&reading);
    return result;
}

int flow_match_protocol(const struct flow_match *match)
{
    return match->ip_version && match->proto_mask == UINT8_MAX ? match->proto : -1;
}

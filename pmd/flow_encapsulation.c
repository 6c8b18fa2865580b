/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Headers that a rule puts before a frame. The fast path sets the lengths of outer IP and UDP headers and the IPv4
 * checksum for each packet, and a UDP source port of 0 (RFC 7348, section 4); all else is as the action has it. So what would have
 * to be different for each packet in any other place is refused: UDP checksums over IPv4, checksums and sequence
 * numbers of GRE (RFC 2784, RFC 2890), the length of GTP-U (3GPP TS 29.281).
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_udp.h>
#include <rte_vxlan.h>
#include <string.h>

#include "pmd/flow_match.h"

#define GRE_CHECKSUM_OR_SEQUENCE 0x90 /* bits of a GRE header's first byte */
#define GTPU_VERSION_1 0x30           /* version and protocol type of a GTP-U header */
#define GTPU_VERSION_MASK 0xf0

static int refuse(struct flow_refusal *refusal, const struct rte_flow_action *action, const char *sentence)
{
    return flow_refuse(refusal, FLOW_REFUSED_ACTION, ENOTSUP, RTE_FLOW_ERROR_TYPE_ACTION, action, sentence);
}

static uint16_t load_be16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

/* What stops the outer headers from being the same for all packets; NULL: nothing. */
static const char *find_problem(const uint8_t *raw, unsigned size)
{
    const uint8_t *ip = raw + RTE_ETHER_HDR_LEN, *inner;
    uint16_t type = load_be16(raw + 12);
    unsigned l4;
    uint8_t protocol;

    if (type == RTE_ETHER_TYPE_IPV4 && size >= RTE_ETHER_HDR_LEN + sizeof(struct rte_ipv4_hdr)) {
        if (ip[0] >> 4 != 4 || (ip[0] & 15) < 5)
            return "The outer IPv4 header is malformed";
        protocol = ip[9];
        l4 = RTE_ETHER_HDR_LEN + (ip[0] & 15) * 4u;
    } else if (type == RTE_ETHER_TYPE_IPV6 && size >= RTE_ETHER_HDR_LEN + sizeof(struct rte_ipv6_hdr)) {
        if (ip[0] >> 4 != 6)
            return "The outer IPv6 header is malformed";
        protocol = ip[6];
        l4 = RTE_ETHER_HDR_LEN + sizeof(struct rte_ipv6_hdr);
    } else {
        return "Outer headers are Ethernet without a VLAN tag, and IPv4 or IPv6";
    }
    inner = raw + l4;
    if (protocol == IPPROTO_UDP && l4 + sizeof(struct rte_udp_hdr) < size) {
        if (type == RTE_ETHER_TYPE_IPV4 && load_be16(inner + 6))
            return "Outer UDP checksums are not computed over IPv4";
        if ((inner[8] & GTPU_VERSION_MASK) == GTPU_VERSION_1)
            return "The length in a GTP-U header is not set";
        return NULL;
    }
    if (protocol == IPPROTO_GRE && l4 + 4 <= size)
        return inner[0] & GRE_CHECKSUM_OR_SEQUENCE ? "Checksums and sequence numbers of GRE are not set" : NULL;
    return "Outer headers end with UDP and a tunnel's header, or with GRE";
}

static int finish(struct wire_action *wire, const struct rte_flow_action *action, struct flow_refusal *refusal)
{
    const char *problem = find_problem(wire->operand, wire->size);

    wire->type = WIRE_ACTION_ENCAP_RAW;
    return problem ? refuse(refusal, action, problem) : 0;
}

static int read_raw(const struct rte_flow_action *action, struct wire_action *wire, struct flow_refusal *refusal)
{
    const struct rte_flow_action_raw_encap *raw = action->conf;

    if (!raw->data || raw->size < RTE_ETHER_HDR_LEN || raw->size > RAW_ENCAP_SIZE_MAX)
        return refuse(refusal, action, "Outer headers have 14 to 128 bytes");
    if (raw->preserve)
        return refuse(refusal, action, "Outer headers with bytes to be preserved are not supported");
    wire->size = (uint8_t)raw->size;
    memcpy(wire->operand, raw->data, raw->size);
    return finish(wire, action, refusal);
}

/* The headers in their order; where there is a choice, that is one step of the order. */
static const struct outer_kind {
    unsigned step;
    enum rte_flow_item_type type;
    uint8_t size;
    uint16_t ether_type; /* that leads to it */
} outer_kinds[] = {
    {0, RTE_FLOW_ITEM_TYPE_ETH, sizeof(struct rte_ether_hdr), 0},
    {1, RTE_FLOW_ITEM_TYPE_IPV4, sizeof(struct rte_ipv4_hdr), RTE_ETHER_TYPE_IPV4},
    {1, RTE_FLOW_ITEM_TYPE_IPV6, sizeof(struct rte_ipv6_hdr), RTE_ETHER_TYPE_IPV6},
    {2, RTE_FLOW_ITEM_TYPE_UDP, sizeof(struct rte_udp_hdr), 0},
    {3, RTE_FLOW_ITEM_TYPE_VXLAN, sizeof(struct rte_vxlan_hdr), 0},
};

#define OUTER_STEPS 4

static const struct outer_kind *find_kind(enum rte_flow_item_type type, unsigned step)
{
    for (unsigned i = 0; i < sizeof outer_kinds / sizeof *outer_kinds; i++)
        if (outer_kinds[i].type == type && outer_kinds[i].step == step)
            return &outer_kinds[i];
    return NULL;
}

/*
 * The items' values, without masks, are the headers. Open vSwitch lets them point into a header of its own, so
 * they are not aligned, and no longer than the header.
 */
static int read_vxlan(const struct rte_flow_action *action, struct wire_action *wire,
                      struct flow_refusal *refusal)
{
    const struct rte_flow_action_vxlan_encap *encap = action->conf;
    const struct rte_flow_item *item = encap->definition;
    unsigned step = 0;

    wire->size = 0;
    for (; item && item->type != RTE_FLOW_ITEM_TYPE_END; item++) {
        const struct outer_kind *kind = find_kind(item->type, step);

        if (item->type == RTE_FLOW_ITEM_TYPE_VOID)
            continue;
        if (!kind || !item->spec)
            break;
        if (kind->ether_type && load_be16(wire->operand + 12) != kind->ether_type)
            break;
        memcpy(wire->operand + wire->size, item->spec, kind->size);
        wire->size = (uint8_t)(wire->size + kind->size);
        step++;
    }
    if (step != OUTER_STEPS || item->type != RTE_FLOW_ITEM_TYPE_END)
        return refuse(refusal, action,
                      "A VXLAN encapsulation is given by whole Ethernet, IP, UDP and VXLAN headers");
    return finish(wire, action, refusal);
}

int flow_encapsulation_read(const struct rte_flow_action *action, struct wire_action *wire,
                            struct flow_refusal *refusal)
{
    return action->type == RTE_FLOW_ACTION_TYPE_RAW_ENCAP ? read_raw(action, wire, refusal)
                                                          : read_vxlan(action, wire, refusal);
}

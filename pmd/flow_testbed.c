/* SPDX-License-Identifier: Apache-2.0 */
#include "pmd/flow_testbed.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/rule_text.h"
#include "proto/value_text.h"

struct field {
    const char *name;
    uint8_t offset, size; /* size 0: a bit of the flags behind the header */
};

#define FIELD(item, member, text, size)                           \
    {                                                             \
        text, offsetof(struct rte_flow_item_##item, member), size \
    }
#define FIELDS_MAX 8

static const struct item_text {
    const char *name;
    enum rte_flow_item_type type;
    struct field fields[FIELDS_MAX];
} item_texts[] = {
    {"eth",
     RTE_FLOW_ITEM_TYPE_ETH,
     {FIELD(eth, hdr.dst_addr, "dst", 6),
      FIELD(eth, hdr.src_addr, "src", 6),
      FIELD(eth, hdr.ether_type, "type", 2),
      {"has_vlan", 0, 0}}},
    {"vlan",
     RTE_FLOW_ITEM_TYPE_VLAN,
     {FIELD(vlan, hdr.vlan_tci, "tci", 2), FIELD(vlan, hdr.eth_proto, "type", 2), {"has_more", 0, 0}}},
    {"ipv4",
     RTE_FLOW_ITEM_TYPE_IPV4,
     {FIELD(ipv4, hdr.src_addr, "src", 4), FIELD(ipv4, hdr.dst_addr, "dst", 4),
      FIELD(ipv4, hdr.next_proto_id, "proto", 1), FIELD(ipv4, hdr.type_of_service, "tos", 1),
      FIELD(ipv4, hdr.time_to_live, "ttl", 1), FIELD(ipv4, hdr.fragment_offset, "frag", 2),
      FIELD(ipv4, hdr.packet_id, "id", 2)}},
    {"ipv6",
     RTE_FLOW_ITEM_TYPE_IPV6,
     {FIELD(ipv6, hdr.src_addr, "src", 16),
      FIELD(ipv6, hdr.dst_addr, "dst", 16),
      FIELD(ipv6, hdr.proto, "proto", 1),
      FIELD(ipv6, hdr.vtc_flow, "class", 4),
      FIELD(ipv6, hdr.hop_limits, "ttl", 1),
      {"has_frag", 0, 0},
      {"has_hop", 0, 0}}},
    {"frag",
     RTE_FLOW_ITEM_TYPE_IPV6_FRAG_EXT,
     {FIELD(ipv6_frag_ext, hdr.next_header, "proto", 1), FIELD(ipv6_frag_ext, hdr.frag_data, "data", 2),
      FIELD(ipv6_frag_ext, hdr.id, "id", 4)}},
    {"tcp",
     RTE_FLOW_ITEM_TYPE_TCP,
     {FIELD(tcp, hdr.src_port, "src", 2), FIELD(tcp, hdr.dst_port, "dst", 2),
      FIELD(tcp, hdr.tcp_flags, "flags", 1), FIELD(tcp, hdr.data_off, "offset", 1)}},
    {"udp",
     RTE_FLOW_ITEM_TYPE_UDP,
     {FIELD(udp, hdr.src_port, "src", 2), FIELD(udp, hdr.dst_port, "dst", 2),
      FIELD(udp, hdr.dgram_len, "length", 2)}},
    {"sctp",
     RTE_FLOW_ITEM_TYPE_SCTP,
     {FIELD(sctp, hdr.src_port, "src", 2), FIELD(sctp, hdr.dst_port, "dst", 2), FIELD(sctp, hdr.tag, "tag", 4)}},
    {"icmp",
     RTE_FLOW_ITEM_TYPE_ICMP,
     {FIELD(icmp, hdr.icmp_type, "type", 1), FIELD(icmp, hdr.icmp_code, "code", 1),
      FIELD(icmp, hdr.icmp_ident, "id", 2)}},
    {"icmp6",
     RTE_FLOW_ITEM_TYPE_ICMP6,
     {FIELD(icmp6, type, "type", 1), FIELD(icmp6, code, "code", 1), FIELD(icmp6, checksum, "sum", 2)}},
    {"vxlan", RTE_FLOW_ITEM_TYPE_VXLAN, {FIELD(vxlan, vni, "vni", 3), FIELD(vxlan, flags, "flags", 1)}},
    {"void", RTE_FLOW_ITEM_TYPE_VOID, {{0}}},
    {"gre", RTE_FLOW_ITEM_TYPE_GRE, {{0}}},
    {"end", RTE_FLOW_ITEM_TYPE_END, {{0}}},
};

static void fail(const char *what)
{
    fprintf(stderr, "flow_testbed: wrong text: %s\n", what);
    abort();
}

static void set_flag(const struct item_text *kind, const char *name, void *place, unsigned value)
{
    if (!strcmp(name, "has_vlan"))
        ((struct rte_flow_item_eth *)place)->has_vlan = value;
    else if (!strcmp(name, "has_more"))
        ((struct rte_flow_item_vlan *)place)->has_more_vlan = value;
    else if (!strcmp(name, "has_hop"))
        ((struct rte_flow_item_ipv6 *)place)->has_hop_ext = value;
    else
        ((struct rte_flow_item_ipv6 *)place)->has_frag_ext = value;
}

static void parse_hex(const char *text, uint8_t *bytes, size_t size)
{
    if (hex_parse(text, bytes, size) != size)
        fail(text);
}

/* FIELD=VALUE[-VALUE][/MASK] */
static void parse_field(const struct item_text *kind, char *word, struct rte_flow_item *item,
                        struct flow_text_item *to)
{
    char *value = strchr(word, '='), *mask = strchr(word, '/'), *last = strchr(word, '-');
    unsigned i = 0;

    if (!value)
        fail(word);
    *value++ = '\0';
    if (mask)
        *mask++ = '\0';
    if (last)
        *last++ = '\0';
    while (i < FIELDS_MAX && kind->fields[i].name && strcmp(kind->fields[i].name, word))
        i++;
    if (i == FIELDS_MAX || !kind->fields[i].name)
        fail(word);
    item->spec = to->spec;
    item->mask = to->mask;
    if (!kind->fields[i].size) {
        set_flag(kind, word, to->spec, *value == '1');
        set_flag(kind, word, to->mask, 1);
        return;
    }
    parse_hex(value, to->spec + kind->fields[i].offset, kind->fields[i].size);
    memset(to->mask + kind->fields[i].offset, 0xff, kind->fields[i].size);
    if (mask)
        parse_hex(mask, to->mask + kind->fields[i].offset, kind->fields[i].size);
    if (last) {
        item->last = to->last;
        parse_hex(last, to->last + kind->fields[i].offset, kind->fields[i].size);
    }
}

static const struct item_text *find_item(const char *name)
{
    for (unsigned i = 0; i < sizeof item_texts / sizeof *item_texts; i++)
        if (!strcmp(item_texts[i].name, name))
            return &item_texts[i];
    fail(name);
    return NULL;
}

void flow_text_parse_items(struct flow_text *text, const char *items)
{
    char copy[1024], *rest = copy, *word;
    const struct item_text *kind = NULL;
    unsigned n = 0;

    snprintf(copy, sizeof copy, "%s", items);
    memset(text->items, 0, sizeof text->items);
    memset(text->item_values, 0, sizeof text->item_values);
    while ((word = strsep(&rest, " ")) && n < TESTBED_LIST_MAX) {
        struct rte_flow_item *item = &text->items[n];

        if (!strcmp(word, "/")) {
            kind = NULL;
            n++;
        } else if (!kind) {
            kind = find_item(word);
            item->type = kind->type;
        } else if (!strcmp(word, "default")) {
            item->spec = text->item_values[n].spec;
        } else if (!strcmp(word, "unvalued")) {
            item->mask = text->item_values[n].mask;
        } else {
            parse_field(kind, word, item, &text->item_values[n]);
        }
    }
    if (!kind || kind->type != RTE_FLOW_ITEM_TYPE_END)
        fail(items);
}

#define ACTION(name, type, size)                \
    {                                           \
        name, RTE_FLOW_ACTION_TYPE_##type, size \
    }

static const struct action_text {
    const char *name;
    enum rte_flow_action_type type;
    uint8_t size; /* of the configuration, plain bytes */
} action_texts[] = {
    ACTION("end", END, 0),
    ACTION("void", VOID, 0),
    ACTION("count", COUNT, 0),
    ACTION("drop", DROP, 0),
    ACTION("mark", MARK, 4),
    ACTION("rss", RSS, 0),
    ACTION("jump", JUMP, 4),
    ACTION("queue", QUEUE, 2),
    ACTION("dec_ttl", DEC_TTL, 0),
    ACTION("raw_decap", RAW_DECAP, 0),
    ACTION("port_id", PORT_ID, 0),
    ACTION("original", PORT_ID, 0),
    ACTION("represented_port", REPRESENTED_PORT, 0),
    ACTION("set_mac_src", SET_MAC_SRC, 6),
    ACTION("set_mac_dst", SET_MAC_DST, 6),
    ACTION("set_ipv4_src", SET_IPV4_SRC, 4),
    ACTION("set_ipv4_dst", SET_IPV4_DST, 4),
    ACTION("set_ipv6_src", SET_IPV6_SRC, 16),
    ACTION("set_ipv6_dst", SET_IPV6_DST, 16),
    ACTION("set_ttl", SET_TTL, 1),
    ACTION("set_ipv4_dscp", SET_IPV4_DSCP, 1),
    ACTION("set_ipv6_dscp", SET_IPV6_DSCP, 1),
    ACTION("set_tp_src", SET_TP_SRC, 2),
    ACTION("set_tp_dst", SET_TP_DST, 2),
    ACTION("push_vlan", OF_PUSH_VLAN, 2),
    ACTION("set_vlan_vid", OF_SET_VLAN_VID, 2),
    ACTION("set_vlan_pcp", OF_SET_VLAN_PCP, 1),
    ACTION("pop_vlan", OF_POP_VLAN, 0),
    ACTION("vxlan_decap", VXLAN_DECAP, 0),
    ACTION("raw_encap", RAW_ENCAP, 0),
    ACTION("vxlan_encap", VXLAN_ENCAP, 0),
};

/* The headers as Open vSwitch gives them: items whose values point into the bytes of the whole. */
static void split_headers(struct flow_text_action *to)
{
    bool ipv4 = to->bytes[12] == 0x08;
    unsigned l4 = ipv4 ? 34 : 54;

    memset(to->headers, 0, sizeof to->headers);
    to->headers[0] = (struct rte_flow_item){.type = RTE_FLOW_ITEM_TYPE_ETH, .spec = to->bytes};
    to->headers[1] = (struct rte_flow_item){.type = ipv4 ? RTE_FLOW_ITEM_TYPE_IPV4 : RTE_FLOW_ITEM_TYPE_IPV6,
                                            .spec = to->bytes + 14};
    to->headers[2] = (struct rte_flow_item){.type = RTE_FLOW_ITEM_TYPE_UDP, .spec = to->bytes + l4};
    to->headers[3] = (struct rte_flow_item){.type = RTE_FLOW_ITEM_TYPE_VXLAN, .spec = to->bytes + l4 + 8};
    to->vxlan.definition = to->headers;
}

static void parse_operand(const struct action_text *kind, const char *operand, struct rte_flow_action *action,
                          struct flow_text_action *to)
{
    struct rte_flow_action_port_id port = {.original = !strcmp(kind->name, "original")};
    struct rte_flow_action_ethdev ethdev;

    action->conf = to->bytes;
    switch (kind->type) {
    case RTE_FLOW_ACTION_TYPE_PORT_ID:
        port.id = (uint32_t)atoi(operand);
        memcpy(to->bytes, &port, sizeof port);
        break;
    case RTE_FLOW_ACTION_TYPE_REPRESENTED_PORT:
        ethdev.port_id = (uint16_t)atoi(operand);
        memcpy(to->bytes, &ethdev, sizeof ethdev);
        break;
    case RTE_FLOW_ACTION_TYPE_RAW_ENCAP:
        to->raw = (struct rte_flow_action_raw_encap){.data = to->bytes};
        to->raw.size = hex_parse(operand, to->bytes, sizeof to->bytes);
        action->conf = &to->raw;
        break;
    case RTE_FLOW_ACTION_TYPE_VXLAN_ENCAP:
        hex_parse(operand, to->bytes, sizeof to->bytes);
        split_headers(to);
        action->conf = &to->vxlan;
        break;
    default: parse_hex(operand, to->bytes, kind->size);
    }
}

void flow_text_parse_actions(struct flow_text *text, const char *actions)
{
    char copy[4096], *rest = copy, *word;
    unsigned n = 0;

    snprintf(copy, sizeof copy, "%s", actions);
    memset(text->actions, 0, sizeof text->actions);
    memset(text->action_values, 0, sizeof text->action_values);
    while ((word = strsep(&rest, " ")) && n < TESTBED_LIST_MAX) {
        char *operand = strchr(word, '=');
        unsigned i = 0;

        if (!strcmp(word, "/"))
            continue;
        if (operand)
            *operand++ = '\0';
        while (i < sizeof action_texts / sizeof *action_texts && strcmp(action_texts[i].name, word))
            i++;
        if (i == sizeof action_texts / sizeof *action_texts)
            fail(word);
        text->actions[n].type = action_texts[i].type;
        if (operand)
            parse_operand(&action_texts[i], operand, &text->actions[n], &text->action_values[n]);
        n++;
    }
    if (!n || text->actions[n - 1].type != RTE_FLOW_ACTION_TYPE_END)
        fail(actions);
}

void flow_text_write(const struct wire_rule *rule, char *text, size_t room)
{
    char piece[ACTION_TEXT_SIZE], port[8];
    size_t used = 0;

    text[0] = '\0';
    for (unsigned i = 0; i < rule->n_matches && used < room; i++) {
        const struct wire_match *match = &rule->matches[i];
        const struct wire_item *field = wire_field(match->field);

        value_format(field, match->value, match->mask, match->size, piece, sizeof piece);
        used += snprintf(text + used, room - used, "%s=%s ", field->name, piece);
    }
    used += snprintf(text + used, room - used, "actions=");
    for (unsigned i = 0; i < rule->n_actions && used < room; i++) {
        snprintf(port, sizeof port, "%u", wire_action_port(&rule->actions[i]));
        action_format(&rule->actions[i], port, piece, sizeof piece);
        used += snprintf(text + used, room - used, "%s%s", i ? "," : "", piece);
    }
    assert(used < room);
}

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_RULE_H
#define PROTO_RULE_H

/*
 * A rule as the control protocol carries it: what to match, as a list of
 * (field, value, mask), and what to do, as a list of (action, operand). The two
 * tables here name every field and action once, for the codec, for the text
 * that people type (rule_text.h) and for JSON.
 */

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/limits.h"
#include "proto/wire.h"

/* How a value is written as text; also the shape of its bytes. */
enum wire_value_kind {
    VALUE_NONE,
    VALUE_MAC,       /* 6 bytes: 02:00:00:00:00:01 */
    VALUE_HEX,       /* a number, written in hexadecimal: 0x0800 */
    VALUE_DECIMAL,   /* a number, written in decimal */
    VALUE_ADDRESS,   /* 4 or 16 bytes: IPv4 or IPv6 */
    VALUE_FRAGMENT,  /* ip_frag: no, yes, first, later, not-later */
    VALUE_TCP_FLAGS, /* +syn-ack */
    VALUE_PORT,      /* a port id, little-endian; written as the port's name */
    VALUE_BYTES,     /* any number of bytes: hexadecimal digits */
};

/*
 * Fields: identifier on the wire, name, kind, size in bytes, number of bits that
 * count (the low ones), description. Values and masks are bytes in network order,
 * right-aligned in 'size'. An address has 4 or 16 bytes.
 */
#define WIRE_FIELDS(X)                                                                             \
    X(ETH_SRC, 1, "eth_src", VALUE_MAC, 6, 48, "source MAC address")                               \
    X(ETH_DST, 2, "eth_dst", VALUE_MAC, 6, 48, "destination MAC address")                          \
    X(ETH_TYPE, 3, "eth_type", VALUE_HEX, 2, 16, "EtherType behind the VLAN tags")                 \
    X(VLAN_TAGGED, 4, "vlan", VALUE_DECIMAL, 1, 1, "1: has a VLAN tag, 0: has none")               \
    X(VLAN_VID, 5, "vlan_vid", VALUE_DECIMAL, 2, 12, "VLAN identifier of the outer tag")           \
    X(VLAN_PCP, 6, "vlan_pcp", VALUE_DECIMAL, 1, 3, "VLAN priority of the outer tag")              \
    X(VLAN_AD, 7, "vlan_ad", VALUE_DECIMAL, 1, 1, "1: the outer tag is 802.1ad")                   \
    X(INNER_TAGGED, 8, "inner_vlan", VALUE_DECIMAL, 1, 1, "1: has a second VLAN tag, 0: has none") \
    X(INNER_VID, 9, "inner_vid", VALUE_DECIMAL, 2, 12, "VLAN identifier of the second tag")        \
    X(INNER_PCP, 10, "inner_pcp", VALUE_DECIMAL, 1, 3, "VLAN priority of the second tag")          \
    X(IP_SRC, 11, "ip_src", VALUE_ADDRESS, 16, 128, "source IPv4 or IPv6 address")                 \
    X(IP_DST, 12, "ip_dst", VALUE_ADDRESS, 16, 128, "destination IPv4 or IPv6 address")            \
    X(IP_PROTO, 13, "ip_proto", VALUE_DECIMAL, 1, 8, "IP protocol")                                \
    X(TOS, 14, "tos", VALUE_HEX, 1, 8, "IPv4 TOS or IPv6 traffic class octet")                     \
    X(TTL, 15, "ttl", VALUE_DECIMAL, 1, 8, "IPv4 TTL or IPv6 hop limit")                           \
    X(IP_FRAG, 16, "ip_frag", VALUE_FRAGMENT, 1, 2, "fragments: no, yes, first, later, not-later") \
    X(L4_SRC, 17, "l4_src", VALUE_DECIMAL, 2, 16, "source TCP, UDP or SCTP port")                  \
    X(L4_DST, 18, "l4_dst", VALUE_DECIMAL, 2, 16, "destination TCP, UDP or SCTP port")             \
    X(ICMP_TYPE, 19, "icmp_type", VALUE_DECIMAL, 1, 8, "ICMP or ICMPv6 type")                      \
    X(ICMP_CODE, 20, "icmp_code", VALUE_DECIMAL, 1, 8, "ICMP or ICMPv6 code")                      \
    X(TCP_FLAGS, 21, "tcp_flags", VALUE_TCP_FLAGS, 1, 8, "TCP flags, such as +syn-ack")            \
    X(TUNNEL_ID, 22, "tunnel_id", VALUE_DECIMAL, 4, 24, "VXLAN network identifier")                \
    X(INNER_AD, 23, "inner_ad", VALUE_DECIMAL, 1, 1, "1: the second tag is 802.1ad")

/* Actions: identifier on the wire, name, kind and size of the operand, number of bits, description. */
#define WIRE_ACTIONS(X)                                                                              \
    X(OUTPUT, 1, "output", VALUE_PORT, 2, 16, "send the packet out of a port")                       \
    X(DROP, 2, "drop", VALUE_NONE, 0, 0, "drop the packet")                                          \
    X(SET_ETH_SRC, 3, "set_eth_src", VALUE_MAC, 6, 48, "set the source MAC address")                 \
    X(SET_ETH_DST, 4, "set_eth_dst", VALUE_MAC, 6, 48, "set the destination MAC address")            \
    X(SET_IP_SRC, 5, "set_ip_src", VALUE_ADDRESS, 16, 128, "set the source IP address")              \
    X(SET_IP_DST, 6, "set_ip_dst", VALUE_ADDRESS, 16, 128, "set the destination IP address")         \
    X(SET_TTL, 7, "set_ttl", VALUE_DECIMAL, 1, 8, "set the TTL or hop limit")                        \
    X(DEC_TTL, 8, "dec_ttl", VALUE_NONE, 0, 0, "take 1 off the TTL; drop the packet at 1")           \
    X(SET_TOS, 9, "set_tos", VALUE_HEX, 1, 8, "set the TOS or traffic class octet")                  \
    X(SET_L4_SRC, 10, "set_l4_src", VALUE_DECIMAL, 2, 16, "set the source port")                     \
    X(SET_L4_DST, 11, "set_l4_dst", VALUE_DECIMAL, 2, 16, "set the destination port")                \
    X(SET_VLAN_VID, 12, "set_vlan_vid", VALUE_DECIMAL, 2, 12, "set the outer tag's VLAN identifier") \
    X(SET_VLAN_PCP, 13, "set_vlan_pcp", VALUE_DECIMAL, 1, 3, "set the outer tag's priority")         \
    X(PUSH_VLAN, 14, "push_vlan", VALUE_HEX, 2, 16, "put a VLAN tag on: 0x8100 or 0x88a8")           \
    X(POP_VLAN, 15, "pop_vlan", VALUE_NONE, 0, 0, "take the outer VLAN tag off")                     \
    X(ENCAP_RAW, 16, "encap_raw", VALUE_BYTES, RAW_ENCAP_SIZE_MAX, 0, "put bytes before the frame")  \
    X(DECAP_VXLAN, 17, "decap_vxlan", VALUE_NONE, 0, 0, "take everything up to the VXLAN header off")

enum wire_field {
#define X(id, number, name, kind, size, bits, description) FIELD_##id = number,
    WIRE_FIELDS(X)
#undef X
        FIELD_END
};

enum wire_action_type {
#define X(id, number, name, kind, size, bits, description) WIRE_ACTION_##id = number,
    WIRE_ACTIONS(X)
#undef X
        WIRE_ACTION_END
};

/* A row of either table. 'name' is NULL for an identifier that is not in use. */
struct wire_item {
    const char *name;
    enum wire_value_kind kind;
    uint8_t size; /* bytes of a value; for VALUE_BYTES the most */
    uint8_t bits;
    const char *description;
};

#define WIRE_MATCHES_MAX (FIELD_END - 1) /* each field at most once */

struct wire_match {
    uint8_t field; /* enum wire_field */
    uint8_t size;
    uint8_t value[16];
    uint8_t mask[16];
};

struct wire_action {
    uint8_t type; /* enum wire_action_type */
    uint8_t size; /* bytes of the operand */
    uint8_t operand[RAW_ENCAP_SIZE_MAX];
};

static_assert(RAW_ENCAP_SIZE_MAX <= UINT8_MAX, "the size of an operand fits its byte");

#define WIRE_RULE_ONLOAD 1 /* packets of the rule go to the vSwitch */
#define WIRE_RULE_MANAGED \
    2 /* a rule of the attached vSwitch: the fast path decides whether it is offloaded */

struct wire_rule {
    uint64_t id;      /* 0: the fast path chooses one */
    uint16_t in_port; /* port id */
    uint16_t priority;
    uint8_t flags; /* WIRE_RULE_* */
    uint8_t n_matches;
    uint8_t n_actions;
    struct wire_match matches[WIRE_MATCHES_MAX];
    struct wire_action actions[RULE_ACTIONS_MAX];
};

#define WIRE_RULE_SIZE_MIN 16 /* bytes of a rule without matches and actions */

/* The table's row, or NULL for an identifier that is not in use. */
const struct wire_item *wire_field(unsigned field);
const struct wire_item *wire_action(unsigned type);

/* The identifier of the field or action called by the 'size' bytes at 'name', or 0. */
unsigned wire_field_find(const char *name, size_t size);
unsigned wire_action_find(const char *name, size_t size);

/* The port id that an OUTPUT action names, and the action for it. */
uint16_t wire_action_port(const struct wire_action *action);
void wire_action_set_port(struct wire_action *action, uint16_t port);

/*
 * Appends the rule to the message. Returns false, with the writer as it was
 * before, when the rule does not fit into what is left.
 */
bool wire_put_rule(struct wire_writer *writer, const struct wire_rule *rule);

/*
 * Reads one rule and checks its form: known fields and actions, each field once,
 * sizes as in the tables, no bits beyond a field's width, no value bits outside the
 * mask. Returns NULL, or what is wrong as the tail of a sentence ("the field 99 is not known").
 * After an error the reader is bad. Nothing behind 'n_matches' and 'n_actions' entries is written.
 */
const char *wire_get_rule(struct wire_reader *reader, struct wire_rule *rule);

#endif

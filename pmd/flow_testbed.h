/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PMD_FLOW_TESTBED_H
#define PMD_FLOW_TESTBED_H

/*
 * Patterns and actions of rte_flow written as text, and rules as text again, for tests:
 *
 *     "eth type=0800 has_vlan=0 / ipv4 dst=0a000002 / udp dst=0035 / end"
 *     "count / set_ttl=3f / port_id=2 / end"
 *
 * Values are hexadecimal digits, as the bytes lie in the header; VALUE/MASK gives a mask, VALUE-VALUE/MASK a range.
 * Fields that are not named are not matched. An item without fields has no value; "eth default" has
 * one, all zeros, and no mask. An action without an operand that needs one has no configuration. Functions abort
 * when the text is wrong.
 */

#include <rte_flow.h>

#include "proto/rule.h"

#define TESTBED_LIST_MAX 24

struct flow_text_item {
    uint8_t spec[64], mask[64], last[64];
};

struct flow_text_action {
    _Alignas(8) uint8_t bytes[160];
    struct rte_flow_action_raw_encap raw;
    struct rte_flow_action_vxlan_encap vxlan;
    struct rte_flow_item headers[8];
};

/* The lists, and all that they point at. */
struct flow_text {
    struct rte_flow_item items[TESTBED_LIST_MAX];
    struct rte_flow_action actions[TESTBED_LIST_MAX];
    _Alignas(8) struct flow_text_item item_values[TESTBED_LIST_MAX];
    struct flow_text_action action_values[TESTBED_LIST_MAX];
};

void flow_text_parse_items(struct flow_text *text, const char *items);
void flow_text_parse_actions(struct flow_text *text, const char *actions);

/* Writes the rule's matches and actions ("eth_type=0x0800 ip_frag=no actions=output:2"), ports as numbers. */
void flow_text_write(const struct wire_rule *rule, char *text, size_t room);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "pmd/flow_testbed.h"
#include "pmd/flow_translate.h"
#include "proto/rule_text.h"

#define ITEM RTE_FLOW_ERROR_TYPE_ITEM
#define ITEM_MASK RTE_FLOW_ERROR_TYPE_ITEM_MASK

static bool under_ten(uint16_t port, const void *context)
{
    return port < 10;
}

static const struct flow_place place = {.in_port = 1, .is_ours = under_ten};

static int translate(const struct rte_flow_attr *attributes, const char *items, const char *actions,
                     struct flow_text *text, struct wire_rule *rule, struct flow_refusal *refusal)
{
    flow_text_parse_items(text, items);
    flow_text_parse_actions(text, actions);
    return flow_translate(&place, attributes, text->items, text->actions, rule, refusal);
}

static const struct rte_flow_attr transfer = {.transfer = 1};

/* The rule as text, and that it can be sent and is well-formed when it arrives. */
static void check_rule(const struct wire_rule *rule, const char *expected)
{
    static struct wire_rule received;
    uint8_t bytes[4096];
    struct wire_writer writer = wire_writer(bytes, sizeof bytes);
    struct wire_reader reader;
    char text[4096];

    flow_text_write(rule, text, sizeof text);
    assert_string_equal(text, expected);
    assert_true(wire_put_rule(&writer, rule));
    reader = wire_reader(bytes, wire_size(&writer));
    assert_null(wire_get_rule(&reader, &received));
}

static void expect_rule(const char *items, const char *actions, const char *expected)
{
    static struct flow_text text;
    struct flow_refusal refusal;
    struct wire_rule rule;

    if (translate(&transfer, items, actions, &text, &rule, &refusal))
        fail_msg("%s -> %s: refused: %s", items, actions, refusal.sentence);
    check_rule(&rule, expected);
    assert_int_equal(rule.in_port, 1);
    assert_int_equal(rule.flags, WIRE_RULE_MANAGED);
    assert_int_equal(rule.id, 0);
}

static void expect_match(const char *items, const char *expected)
{
    char rule[1024];

    snprintf(rule, sizeof rule, "%s%sactions=drop", expected, *expected ? " " : "");
    expect_rule(items, "drop / end", rule);
}

static void expect_actions(const char *items, const char *actions, const char *expected)
{
    static struct flow_text text;
    char written[4096], *place_of_actions;
    struct flow_refusal refusal;
    struct wire_rule rule;

    if (translate(&transfer, items, actions, &text, &rule, &refusal))
        fail_msg("%s -> %s: refused: %s", items, actions, refusal.sentence);
    flow_text_write(&rule, written, sizeof written);
    place_of_actions = strstr(written, "actions=");
    assert_string_equal(place_of_actions + strlen("actions="), expected);
}

static void expect_refusal(const char *items, const char *actions, enum flow_reason reason,
                           enum rte_flow_error_type type)
{
    static struct flow_text text;
    struct flow_refusal refusal;
    struct wire_rule rule;

    if (!translate(&transfer, items, actions, &text, &rule, &refusal))
        fail_msg("%s -> %s: not refused", items, actions);
    if (refusal.reason != reason || refusal.type != type)
        fail_msg("%s -> %s: reason %d, type %d: %s", items, actions, refusal.reason, refusal.type,
                 refusal.sentence);
    assert_non_null(refusal.cause);
    assert_true(strlen(refusal.sentence) > 10);
}

static void expect_no_match(const char *items, enum rte_flow_error_type type)
{
    expect_refusal(items, "drop / end", FLOW_REFUSED_MATCH, type);
}

static void expect_no_action(const char *items, const char *actions)
{
    expect_refusal(items, actions, FLOW_REFUSED_ACTION, RTE_FLOW_ERROR_TYPE_ACTION);
}

#define IPV4 "eth type=0800 has_vlan=0 / ipv4 frag=0000/3fff"
#define IPV4_RULE "eth_type=0x0800 vlan=0"
#define IPV6 "eth type=86dd has_vlan=0 / ipv6 has_frag=0"
#define IPV6_RULE "eth_type=0x86dd vlan=0"

static void test_ethernet(void **state)
{
    expect_match("end", "");
    expect_match("eth / end", "");
    expect_match("void / eth / void / end", "");
    expect_match("eth dst=020000000001 src=020000000002 type=0806 has_vlan=0 / end",
                 "eth_src=02:00:00:00:00:02 eth_dst=02:00:00:00:00:01 eth_type=0x0806 vlan=0");
    expect_match("eth dst=010000000000/010000000000 / end", "eth_dst=01:00:00:00:00:00/01:00:00:00:00:00");
    /* Bits of the value outside the mask do not count. */
    expect_match("eth dst=ffffffffffff/010000000000 / end", "eth_dst=01:00:00:00:00:00/01:00:00:00:00:00");
    /* Without a mask both addresses count. */
    expect_match("eth default / end", "eth_src=00:00:00:00:00:00 eth_dst=00:00:00:00:00:00");
    /* A type that is no tag's says that there is no tag. */
    expect_match("eth type=0806 / end", "eth_type=0x0806 vlan=0");
    expect_match("eth has_vlan=0 / end", "vlan=0");
    expect_match("eth has_vlan=1 / end", "vlan=1");
    expect_match("eth type=8100 / end", "vlan=1 vlan_ad=0");
    expect_match("eth type=88a8 has_vlan=1 / end", "vlan=1 vlan_ad=1");
}

static void test_ethernet_refused(void **state)
{
    expect_no_match("eth type=05ff has_vlan=0 / end", ITEM);
    expect_no_match("eth type=0026 / end", ITEM);
    expect_no_match("eth type=0800/ff00 / end", ITEM_MASK);
    expect_no_match("eth type=8100 has_vlan=0 / end", ITEM);
    expect_no_match("eth type=0800 has_vlan=1 / end", ITEM);
    expect_no_match("eth / eth / end", ITEM);
    expect_no_match("eth dst=020000000001-020000000009 / end", RTE_FLOW_ERROR_TYPE_ITEM_LAST);
    expect_no_match("eth unvalued / end", RTE_FLOW_ERROR_TYPE_ITEM_SPEC);
}

static void test_vlan(void **state)
{
    /* As Open vSwitch writes it: the type of the whole is in the VLAN item, the tag's bit 12 does not count. */
    expect_match("eth type=8100 has_vlan=1 / vlan tci=0064/efff type=0806 / end",
                 "eth_type=0x0806 vlan=1 vlan_vid=100 vlan_pcp=0 vlan_ad=0 inner_vlan=0");
    expect_match("eth type=0000/0000 has_vlan=1 / vlan tci=a00a/efff type=0806 / end",
                 "eth_type=0x0806 vlan=1 vlan_vid=10 vlan_pcp=5 inner_vlan=0");
    expect_match("eth type=88a8 has_vlan=1 / vlan tci=000a/0fff type=0800 / ipv4 / end",
                 "eth_type=0x0800 vlan=1 vlan_vid=10 vlan_ad=1 inner_vlan=0");
    expect_match("eth / vlan tci=000a/000f / end", "vlan=1 vlan_vid=10/0xf");
    expect_match("eth / vlan tci=e000/e000 / ipv6 / end", "eth_type=0x86dd vlan=1 vlan_pcp=7 inner_vlan=0");
    expect_match("eth / vlan default / end", "vlan=1 vlan_vid=0");
    expect_match("vlan / end", "vlan=1");
    expect_match("eth / vlan has_more=0 / end", "vlan=1 inner_vlan=0");
    expect_match("eth / vlan has_more=1 / end", "vlan=1 inner_vlan=1");
    expect_match("eth type=88a8 / vlan tci=0001/0fff / vlan tci=6002/efff type=0800 / end",
                 "eth_type=0x0800 vlan=1 vlan_vid=1 vlan_ad=1 inner_vlan=1 inner_vid=2 inner_pcp=3");
    /* As Open vSwitch writes it when it looks at one tag only: what follows is a tag of that kind. */
    expect_match("eth type=8100 has_vlan=1 / vlan tci=0064/efff type=8100 / end",
                 "vlan=1 vlan_vid=100 vlan_pcp=0 vlan_ad=0 inner_vlan=1 inner_ad=0");
    expect_match("eth / vlan type=88a8 / vlan / end", "vlan=1 inner_vlan=1 inner_ad=1");
    /* Behind the second one a tag's type is a type like others. */
    expect_match("eth / vlan / vlan type=8100 / end", "eth_type=0x8100 vlan=1 inner_vlan=1");
}

static void test_vlan_refused(void **state)
{
    expect_no_match("eth has_vlan=0 / vlan / end", ITEM);
    expect_no_match("eth type=0800 / vlan / end", ITEM);
    expect_no_match("eth type=9100 has_vlan=1 / vlan / end", ITEM);
    expect_no_match("eth / vlan tci=1000/1000 / end", ITEM_MASK);
    expect_no_match("eth / vlan type=0800 / vlan / end", ITEM);
    expect_no_match("eth / vlan type=8100 has_more=0 / end", ITEM);
    expect_no_match("eth / vlan / vlan has_more=0 / end", ITEM_MASK);
    expect_no_match("eth / vlan has_more=0 / vlan / end", ITEM);
    expect_no_match("eth / vlan has_more=1 type=0800 / end", ITEM);
    expect_no_match("eth / vlan / vlan / vlan / end", ITEM);
    expect_no_match("eth / vlan type=05ff / end", ITEM);
}

static void test_ipv4(void **state)
{
    expect_match("eth type=0800 has_vlan=0 / ipv4 / end", IPV4_RULE);
    expect_match("eth / ipv4 / end", IPV4_RULE);
    expect_match("ipv4 / end", IPV4_RULE);
    expect_match(IPV4 " src=0a000001 dst=0a000000/ff000000 proto=2f tos=b8/fc ttl=40 / end",
                 IPV4_RULE " ip_src=10.0.0.1 ip_dst=10.0.0.0/8 ip_proto=47 tos=0xb8/0xfc ttl=64 ip_frag=no");
    expect_match("eth / ipv4 default / end", IPV4_RULE " ip_src=0.0.0.0 ip_dst=0.0.0.0");
    expect_match("eth / ipv4 frag=2000/3fff / end", IPV4_RULE " ip_frag=first");
    expect_match("eth / ipv4 frag=0008-1fff/1fff / end", IPV4_RULE " ip_frag=later");
    expect_match("eth / ipv4 frag=0001-1fff/1fff / end", IPV4_RULE " ip_frag=later");
    expect_match("eth / ipv4 frag=0000/1fff / end", IPV4_RULE " ip_frag=not-later");
}

static void test_ipv4_refused(void **state)
{
    expect_no_match("eth type=86dd / ipv4 / end", ITEM);
    expect_no_match("eth / ipv4 frag=0000/2000 / end", ITEM);
    expect_no_match("eth / ipv4 frag=0010-1fff/1fff / end", ITEM);
    expect_no_match("eth / ipv4 frag=0001-0fff/1fff / end", ITEM);
    expect_no_match("eth / ipv4 frag=0004/3fff / end", ITEM);
    expect_no_match("eth / ipv4 id=0001 / end", ITEM_MASK);
    expect_no_match("ipv4 / eth / end", ITEM);
    expect_no_match("ipv4 / ipv4 / end", ITEM);
    expect_no_match("eth / ipv4 / gre / end", ITEM);
}

#define ADDRESS "20010db8000000000000000000000001"

static void test_ipv6(void **state)
{
    expect_match("eth / ipv6 / end", IPV6_RULE);
    expect_match(IPV6 " src=" ADDRESS " proto=3a class=0b800000/0ff00000 ttl=ff / end",
                 IPV6_RULE " ip_src=2001:db8::1 ip_proto=58 tos=0xb8 ttl=255 ip_frag=no");
    expect_match("eth / ipv6 dst=20010db8000000000000000000000000/ffffffff000000000000000000000000 / end",
                 IPV6_RULE " ip_dst=2001:db8::/32");
    expect_match("eth / ipv6 has_frag=1 / end", IPV6_RULE " ip_frag=yes");
    expect_match("eth / ipv6 has_frag=1 / frag data=0001/fff9 proto=11 / udp dst=0035 / end",
                 IPV6_RULE " ip_proto=17 ip_frag=first l4_dst=53");
    expect_match("eth / ipv6 has_frag=1 / frag data=0008-fff8/fff8 / end", IPV6_RULE " ip_frag=later");
    expect_match("eth / ipv6 / frag / end", IPV6_RULE " ip_frag=yes");
}

static void test_ipv6_refused(void **state)
{
    expect_no_match("eth / ipv6 class=00000001/00000001 / end", ITEM_MASK);
    expect_no_match("eth / ipv6 has_hop=1 / end", ITEM_MASK);
    expect_no_match(IPV6 " / frag / end", ITEM);
    expect_no_match("eth / frag / end", ITEM);
    expect_no_match("eth / ipv4 / frag / end", ITEM);
    /* A fragment header on what is not a fragment. */
    expect_no_match("eth / ipv6 / frag data=0000/fff9 / end", ITEM);
    expect_no_match("eth / ipv6 / frag data=0000/fff8 / end", ITEM);
    expect_no_match("eth / ipv6 / frag id=00000001 / end", ITEM_MASK);
}

static void test_transport(void **state)
{
    expect_match(IPV4 " proto=06 / tcp src=0050 dst=1000/f000 flags=02/12 / end",
                 IPV4_RULE " ip_proto=6 ip_frag=no l4_src=80 l4_dst=4096/0xf000 tcp_flags=+syn-ack");
    expect_match(IPV4 " proto=11 / udp default / end", IPV4_RULE " ip_proto=17 ip_frag=no l4_src=0 l4_dst=0");
    expect_match(IPV6 " / udp dst=0035 / end", IPV6_RULE " ip_proto=17 ip_frag=no l4_dst=53");
    expect_match(IPV4 " / sctp src=0001 dst=0002 / end",
                 IPV4_RULE " ip_proto=132 ip_frag=no l4_src=1 l4_dst=2");
    expect_match(IPV4 " / icmp type=08 code=00 / end",
                 IPV4_RULE " ip_proto=1 ip_frag=no icmp_type=8 icmp_code=0");
    expect_match(IPV6 " / icmp6 type=87 / end", IPV6_RULE " ip_proto=58 ip_frag=no icmp_type=135");
    /* Without a word on fragments: those with a transport header. */
    expect_match("eth / ipv4 / tcp / end", IPV4_RULE " ip_proto=6 ip_frag=not-later");
    /* Open vSwitch has the item for later fragments, too, without ports. */
    expect_match("eth / ipv4 proto=06 frag=0008-1fff/1fff / tcp src=0000/0000 / end",
                 IPV4_RULE " ip_proto=6 ip_frag=later");
    expect_match(IPV6 " proto=01 / icmp type=00/00 / end", IPV6_RULE " ip_proto=1 ip_frag=no");
    expect_match(IPV4 " proto=00/f9 / tcp / end", IPV4_RULE " ip_proto=6 ip_frag=no");
}

static void test_transport_refused(void **state)
{
    expect_no_match("eth / tcp / end", ITEM);
    expect_no_match(IPV4 " proto=11 / tcp / end", ITEM);
    expect_no_match(IPV4 " / tcp / udp / end", ITEM);
    expect_no_match(IPV4 " / tcp offset=01/0f / end", ITEM_MASK);
    expect_no_match(IPV4 " / udp length=0001 / end", ITEM_MASK);
    expect_no_match(IPV4 " / sctp tag=00000001 / end", ITEM_MASK);
    expect_no_match(IPV4 " / icmp id=0001 / end", ITEM_MASK);
    expect_no_match(IPV6 " / icmp type=08 / end", ITEM_MASK);
    expect_no_match(IPV4 " / icmp6 type=08 / end", ITEM_MASK);
    expect_no_match(IPV6 " / icmp6 sum=0001 / end", ITEM_MASK);
    expect_no_match(IPV4 " proto=00/01 / icmp / end", ITEM);
}

static void test_vxlan(void **state)
{
    expect_match(IPV4 " / udp dst=12b5 / vxlan vni=00002a / end",
                 IPV4_RULE " ip_proto=17 ip_frag=no l4_dst=4789 tunnel_id=42");
    expect_match(IPV6 " / udp / vxlan / end", IPV6_RULE " ip_proto=17 ip_frag=no tunnel_id=0/0x0");
    expect_no_match(IPV4 " / udp dst=0035 / vxlan / end", ITEM);
    expect_no_match(IPV4 " / tcp / vxlan / end", ITEM);
    expect_no_match("eth / vxlan / end", ITEM);
    expect_no_match(IPV4 " / udp / vxlan flags=08 / end", ITEM_MASK);
    expect_no_match(IPV4 " / udp / vxlan / eth / end", ITEM);
}

static void test_outputs(void **state)
{
    expect_actions("eth / end", "count / port_id=2 / end", "output:2");
    expect_actions("eth / end", "count / represented_port=3 / port_id=2 / end", "output:3,output:2");
    expect_actions("eth / end", "original=7 / void / end", "output:1");
    expect_actions("eth / end", "count / drop / end", "drop");
    expect_actions("eth / end", "port_id=2 / set_mac_src=020000000009 / port_id=3 / end",
                   "output:2,set_eth_src:02:00:00:00:00:09,output:3");
    expect_refusal("eth / end", "port_id=2 / port_id=10 / end", FLOW_REFUSED_OUTPUT_ELSEWHERE,
                   RTE_FLOW_ERROR_TYPE_ACTION);
    expect_refusal("eth / end", "port_id=65538 / end", FLOW_REFUSED_OUTPUT_ELSEWHERE,
                   RTE_FLOW_ERROR_TYPE_ACTION);
    expect_no_action("eth / end", "count / end");
    expect_no_action("eth / end", "set_mac_src=020000000009 / end");
    expect_no_action("eth / end", "end");
    expect_no_action("eth / end", "drop / port_id=2 / end");
    expect_no_action("eth / end", "port_id / end");
    expect_no_action("eth / end", "set_mac_src / port_id=2 / end");
    expect_no_action("eth / end", "jump=00000000 / end");
    expect_no_action("eth / end", "queue=0000 / end");
    expect_no_action("eth / end", "mark=00000001 / port_id=2 / end");
    expect_no_action(IPV4 " / end", "dec_ttl / port_id=2 / end");
    expect_no_action("eth / end",
                     "port_id=1 / port_id=1 / port_id=1 / port_id=1 / port_id=1 / port_id=1 / port_id=1 / "
                     "port_id=1 / port_id=1 / port_id=1 / port_id=1 / port_id=1 / port_id=1 / port_id=1 / "
                     "port_id=1 / port_id=1 / port_id=1 / end");
}

static void test_rewriting(void **state)
{
    expect_actions("eth / end", "set_mac_dst=020000000001 / set_mac_src=020000000002 / port_id=2 / end",
                   "set_eth_dst:02:00:00:00:00:01,set_eth_src:02:00:00:00:00:02,output:2");
    expect_actions(IPV4 " / end",
                   "set_ipv4_src=0a000001 / set_ipv4_dst=0a000002 / set_ttl=3f / port_id=2 / end",
                   "set_ip_src:10.0.0.1,set_ip_dst:10.0.0.2,set_ttl:63,output:2");
    expect_actions(IPV6 " / end",
                   "set_ipv6_src=" ADDRESS " / set_ipv6_dst=" ADDRESS " / set_ttl=3f / port_id=2 / end",
                   "set_ip_src:2001:db8::1,set_ip_dst:2001:db8::1,set_ttl:63,output:2");
    expect_actions(IPV4 " proto=06 / tcp / end", "set_tp_src=0050 / set_tp_dst=1f90 / port_id=2 / end",
                   "set_l4_src:80,set_l4_dst:8080,output:2");
    expect_actions(IPV4 " tos=02/03 / end", "set_ipv4_dscp=2e / port_id=2 / end", "set_tos:0xba,output:2");
    expect_actions(IPV6 " class=00000000/0ff00000 / end", "set_ipv6_dscp=2e / port_id=2 / end",
                   "set_tos:0xb8,output:2");
    expect_no_action("eth / end", "set_ipv4_src=0a000001 / port_id=2 / end");
    expect_no_action(IPV6 " / end", "set_ipv4_dst=0a000001 / port_id=2 / end");
    expect_no_action(IPV4 " / end", "set_ipv6_dst=" ADDRESS " / port_id=2 / end");
    expect_no_action("eth / end", "set_ttl=3f / port_id=2 / end");
    expect_no_action(IPV4 " / end", "set_tp_dst=0050 / port_id=2 / end");
    expect_no_action(IPV4 " / icmp / end", "set_tp_dst=0050 / port_id=2 / end");
    expect_no_action(IPV4 " tos=02/02 / end", "set_ipv4_dscp=2e / port_id=2 / end");
    expect_no_action(IPV4 " tos=02/03 / end", "set_ipv6_dscp=2e / port_id=2 / end");
}

#define TAGGED "eth type=8100 has_vlan=1 / vlan tci=0064/efff type=0806"

static void test_vlan_actions(void **state)
{
    expect_actions("eth has_vlan=0 / end",
                   "push_vlan=8100 / set_vlan_pcp=05 / set_vlan_vid=0064 / port_id=2 / end",
                   "push_vlan:0x8100,set_vlan_pcp:5,set_vlan_vid:100,output:2");
    expect_actions(TAGGED " / end", "pop_vlan / port_id=2 / end", "pop_vlan,output:2");
    expect_actions(TAGGED " / end", "set_vlan_vid=0065 / port_id=2 / end", "set_vlan_vid:101,output:2");
    expect_actions(
        TAGGED " / end",
        "pop_vlan / port_id=2 / push_vlan=88a8 / set_vlan_pcp=00 / set_vlan_vid=0001 / port_id=3 / end",
        "pop_vlan,output:2,push_vlan:0x88a8,set_vlan_pcp:0,set_vlan_vid:1,output:3");
    expect_no_action("eth / end", "push_vlan=9100 / port_id=2 / end");
    expect_no_action("eth / end", "pop_vlan / port_id=2 / end");
    expect_no_action("eth has_vlan=0 / end", "set_vlan_vid=0001 / port_id=2 / end");
    expect_no_action("eth / end", "set_vlan_pcp=01 / port_id=2 / end");
    expect_no_action(TAGGED " / end", "pop_vlan / pop_vlan / port_id=2 / end");
}

#define OUTER_ETH "020000000002020000000001"
#define OUTER_IPV4 OUTER_ETH "0800450000000000400040110000c0a80001c0a80002"
#define OUTER_IPV6 OUTER_ETH "86dd6000000000001140" ADDRESS ADDRESS
#define VXLAN \
    "08000000002a0000" /* flags, reserved, VNI 0x00002a, wrong on purpose by nothing that is looked at */

static void test_encapsulation(void **state)
{
    expect_actions("eth / end", "vxlan_encap=" OUTER_IPV4 "000012b500000000" VXLAN " / port_id=2 / end",
                   "encap_raw:" OUTER_IPV4 "000012b500000000" VXLAN ",output:2");
    expect_actions("eth / end",
                   "port_id=3 / raw_encap=" OUTER_IPV4 "000012b500000000" VXLAN " / port_id=2 / end",
                   "output:3,encap_raw:" OUTER_IPV4 "000012b500000000" VXLAN ",output:2");
    /* Over IPv6 the checksum is computed. */
    expect_actions("eth / end", "vxlan_encap=" OUTER_IPV6 "000012b50000ffff" VXLAN " / port_id=2 / end",
                   "encap_raw:" OUTER_IPV6 "000012b50000ffff" VXLAN ",output:2");
    expect_actions("eth / end",
                   "set_mac_src=020000000009 / raw_encap=" OUTER_ETH "0800450000000000400040"
                   "2f0000c0a80001c0a80002"
                   "00006558 / port_id=2 / end",
                   "set_eth_src:02:00:00:00:00:09,encap_raw:" OUTER_ETH "0800450000000000400040"
                   "2f0000c0a80001c0a80002"
                   "00006558,output:2");
}

static void test_encapsulation_refused(void **state)
{
    /* A checksum over IPv4, GRE with a checksum or a sequence number, GTP-U. */
    expect_no_action("eth / end", "vxlan_encap=" OUTER_IPV4 "000012b50000ffff" VXLAN " / port_id=2 / end");
    expect_no_action("eth / end", "raw_encap=" OUTER_ETH "0800450000000000400040"
                                  "2f0000c0a80001c0a80002"
                                  "800065580000 / port_id=2 / end");
    expect_no_action("eth / end", "raw_encap=" OUTER_ETH "0800450000000000400040"
                                  "2f0000c0a80001c0a80002"
                                  "1000655800000000 / port_id=2 / end");
    expect_no_action("eth / end", "raw_encap=" OUTER_IPV4 "0000086800000000"
                                  "30ff000000000001 / port_id=2 / end");
    expect_no_action("eth / end", "raw_encap=0200 / port_id=2 / end");
    expect_no_action("eth / end", "raw_encap=" OUTER_ETH "0806 / port_id=2 / end");
    expect_no_action("eth / end", "raw_encap=" OUTER_ETH "0800"
                                  "46 / port_id=2 / end");
    expect_no_action("eth / end", "raw_encap / port_id=2 / end");
    expect_no_action("eth / end", "vxlan_encap=" OUTER_ETH "0806 / port_id=2 / end");
    expect_no_action("eth / end", "raw_encap=" OUTER_IPV4 "000012b500000000" VXLAN
                                  " / set_mac_src=020000000001 / port_id=2 / end");
    expect_no_action("eth / end", "raw_encap=" OUTER_IPV4 "000012b500000000" VXLAN " / end");
}

static void test_decapsulation(void **state)
{
    expect_actions(IPV4 " / udp / vxlan vni=00002a / end", "vxlan_decap / port_id=2 / end",
                   "decap_vxlan,output:2");
    expect_no_action(IPV4 " / udp dst=12b5 / end", "vxlan_decap / port_id=2 / end");
    expect_no_action(IPV4 " / udp / vxlan / end", "vxlan_decap / set_ttl=01 / port_id=2 / end");
    expect_no_action(IPV4 " / udp / vxlan / end", "vxlan_decap / vxlan_decap / port_id=2 / end");
    expect_no_action(IPV4 " / udp / vxlan / end", "raw_decap / port_id=2 / end");
}

static void expect_attribute_refusal(struct rte_flow_attr attributes, enum flow_reason reason,
                                     enum rte_flow_error_type type)
{
    static struct flow_text text;
    struct flow_refusal refusal;
    struct wire_rule rule;

    assert_int_not_equal(translate(&attributes, "eth / end", "drop / end", &text, &rule, &refusal), 0);
    assert_int_equal(refusal.reason, reason);
    assert_int_equal(refusal.type, type);
}

static void test_attributes(void **state)
{
    static struct flow_text text;
    struct flow_refusal refusal;
    struct wire_rule rule;

    assert_int_equal(translate(&transfer, "eth / end", "drop / end", &text, &rule, &refusal), 0);
    assert_int_equal(rule.priority, RULE_PRIORITY_DEFAULT);
    assert_int_equal(translate(&(struct rte_flow_attr){.transfer = 1, .ingress = 1, .priority = 2},
                               "eth / end", "drop / end", &text, &rule, &refusal),
                     0);
    assert_int_equal(rule.priority, RULE_PRIORITY_DEFAULT - 2);
    expect_attribute_refusal((struct rte_flow_attr){.transfer = 1, .group = 1}, FLOW_REFUSED_ATTRIBUTE,
                             RTE_FLOW_ERROR_TYPE_ATTR_GROUP);
    expect_attribute_refusal((struct rte_flow_attr){.transfer = 1, .priority = 32769}, FLOW_REFUSED_ATTRIBUTE,
                             RTE_FLOW_ERROR_TYPE_ATTR_PRIORITY);
    expect_attribute_refusal((struct rte_flow_attr){.transfer = 1, .egress = 1}, FLOW_REFUSED_ATTRIBUTE,
                             RTE_FLOW_ERROR_TYPE_ATTR_EGRESS);
    expect_attribute_refusal((struct rte_flow_attr){.ingress = 1}, FLOW_REFUSED_NOT_TRANSFER,
                             RTE_FLOW_ERROR_TYPE_ATTR_TRANSFER);
}

/* Open vSwitch's second try. It logs errors of this type for debugging only. */
static void test_mark_and_rss(void **state)
{
    static struct flow_text text;
    struct flow_refusal refusal;
    struct wire_rule rule;

    assert_int_equal(translate(&(struct rte_flow_attr){.ingress = 1}, IPV4 " / end",
                               "mark=00000001 / rss / end", &text, &rule, &refusal),
                     ENOTSUP);
    assert_int_equal(refusal.reason, FLOW_REFUSED_NOT_TRANSFER);
    assert_int_equal(refusal.type, RTE_FLOW_ERROR_TYPE_ACTION);
    assert_ptr_equal(refusal.cause, &text.actions[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ethernet),      cmocka_unit_test(test_ethernet_refused),
        cmocka_unit_test(test_vlan),          cmocka_unit_test(test_vlan_refused),
        cmocka_unit_test(test_ipv4),          cmocka_unit_test(test_ipv4_refused),
        cmocka_unit_test(test_ipv6),          cmocka_unit_test(test_ipv6_refused),
        cmocka_unit_test(test_transport),     cmocka_unit_test(test_transport_refused),
        cmocka_unit_test(test_vxlan),         cmocka_unit_test(test_outputs),
        cmocka_unit_test(test_rewriting),     cmocka_unit_test(test_vlan_actions),
        cmocka_unit_test(test_encapsulation), cmocka_unit_test(test_encapsulation_refused),
        cmocka_unit_test(test_decapsulation), cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_mark_and_rss),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
